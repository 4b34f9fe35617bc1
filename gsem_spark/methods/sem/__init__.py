"""Structural equation models of a genetic covariance matrix with a known sampling covariance."""

from gsem_spark.methods.sem.commonfactor import common_factor, common_factor_model
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.indices import verdict
from gsem_spark.methods.sem.model import Model, Path, factor_model
from gsem_spark.methods.sem.smooth import SmoothResult, near_pd

__all__ = [
    "Fit", "Model", "Path", "SmoothResult", "common_factor", "common_factor_model", "factor_model", "fit_model", "near_pd",
    "verdict",
]
