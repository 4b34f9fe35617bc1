# Milliseconds of processor time, best of seven: (1) the two sem() calls behind one GenomicSEM usermodel(), on S and on its
# correlations; (2) all that usermodel() asks of lavaan: besides these a first sem() that only orders the moments, the Jacobian
# of both fits for the sandwich, and the completely standardised solution with its errors.
suppressMessages(library(lavaan))
folder <- commandArgs(trailingOnly = TRUE)[1]
text <- paste(readLines(file.path(folder, "model.lav")), collapse = "\n")
S <- as.matrix(read.delim(file.path(folder, "S.tsv"), check.names = FALSE))
rownames(S) <- colnames(S)
V <- scan(file.path(folder, "V_diagonal.tsv"), quiet = TRUE)
W <- diag(1 / V)
sd <- sqrt(diag(S))
scale <- outer(sd, sd)[lower.tri(S, diag = TRUE)]
R <- S / outer(sd, sd)
W_standard <- diag(scale^2 / V)
fit <- function(moments, weights, ...) suppressWarnings(
  sem(text, sample.cov = moments, estimator = "DWLS", WLS.V = weights, sample.nobs = 2, optim.dx.tol = .01, ...))
milliseconds <- function(work) {
  work()
  1000 * min(sapply(1:7, function(i) { used <- system.time(work()); sum(used[c("user.self", "sys.self")]) }))
}
two <- milliseconds(function() { fit(S, W); fit(R, W_standard) })
all <- milliseconds(function() {
  ordered <- fit(S, W, optim.force.converged = TRUE, control = list(iter.max = 1))
  lavInspect(ordered, "implied")
  for (end in list(fit(S, W), fit(R, W_standard))) { lavInspect(end, "delta"); parTable(end); lavInspect(end, "implied") }
  standardizedSolution(end, type = "std.all")
})
cat(two, all)
