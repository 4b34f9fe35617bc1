# Milliseconds of processor time of the two sem() calls behind one GenomicSEM usermodel(), best of five.
suppressMessages(library(lavaan))
folder <- commandArgs(trailingOnly = TRUE)[1]
text <- paste(readLines(file.path(folder, "model.lav")), collapse = "\n")
S <- as.matrix(read.delim(file.path(folder, "S.tsv"), check.names = FALSE))
rownames(S) <- colnames(S)
W <- as.matrix(read.delim(file.path(folder, "W.tsv"), header = FALSE))
dimnames(W) <- NULL
fit <- function() suppressWarnings(sem(text, sample.cov = S, estimator = "DWLS", WLS.V = W, sample.nobs = 2, optim.dx.tol = .01))
invisible(fit())
best <- min(sapply(1:5, function(i) { used <- system.time({ fit(); fit() }); sum(used[c("user.self", "sys.self")]) }))
cat(1000 * best)
