"""Models of a covariance structure without SNPs."""
