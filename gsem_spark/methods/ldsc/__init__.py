"""LD score regression: heritabilities, genetic covariances and their joint sampling covariance."""
