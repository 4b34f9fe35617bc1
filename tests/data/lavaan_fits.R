# Fits every model below a folder in one R process and writes parameter tables with estimates.
# Each model n: n.lav (syntax), n.S.tsv (with header), n.W.tsv (weight matrix in vech order of the header), n.txt (estimator, std.lv)
suppressMessages(library(lavaan))
folder <- commandArgs(trailingOnly = TRUE)[1]
write_numbers <- function(x, path) {
  for (column in names(x)) if (is.double(x[[column]])) x[[column]] <- sprintf("%.17g", x[[column]])
  write.table(x, path, sep = "\t", quote = FALSE, row.names = FALSE)
}
for (file in sort(list.files(folder, pattern = "\\.lav$"))) {
  stem <- file.path(folder, sub("\\.lav$", "", file))
  text <- paste(readLines(paste0(stem, ".lav")), collapse = "\n")
  S <- as.matrix(read.delim(paste0(stem, ".S.tsv"), check.names = FALSE))
  rownames(S) <- colnames(S)
  W <- as.matrix(read.delim(paste0(stem, ".W.tsv"), header = FALSE))
  dimnames(W) <- NULL
  how <- strsplit(readLines(paste0(stem, ".txt")), " ")[[1]]
  arguments <- list(model = text, sample.cov = S, sample.nobs = 200, std.lv = how[2] == "TRUE", fixed.x = FALSE,
    sample.cov.rescale = FALSE, meanstructure = FALSE, se = "none", test = "none",
    control = list(rel.tol = 1e-14, x.tol = 1e-10, abs.tol = 0, iter.max = 5000, eval.max = 10000))
  if (how[1] == "DWLS") arguments <- c(arguments, list(estimator = "DWLS", WLS.V = W, NACOV = diag(nrow(W))))
  else arguments <- c(arguments, list(estimator = "ML"))
  began <- proc.time()[["elapsed"]]
  fit <- tryCatch(suppressWarnings(do.call("sem", arguments)), error = function(e) conditionMessage(e))
  if (is.character(fit)) { writeLines(fit, paste0(stem, ".error")); next }
  table <- parTable(fit)
  write_numbers(data.frame(table[, c("lhs", "op", "rhs", "free", "label", "ustart")], est = table$est), paste0(stem, ".table.tsv"))
  write_numbers(data.frame(converged = as.numeric(lavInspect(fit, "converged")), fx = lavInspect(fit, "optim")$fx,
    seconds = proc.time()[["elapsed"]] - began), paste0(stem, ".end.tsv"))
}
