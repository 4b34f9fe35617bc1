"""Structural equation models of a genetic covariance matrix with a known sampling covariance."""

from gsem_spark.methods.sem.commonfactor import common_factor, common_factor_model
from gsem_spark.methods.sem.comparison import FitTest, NestedTest, bic, compare, local_srmd, nested_test, residual_test
from gsem_spark.methods.sem.diagnose import diagnose
from gsem_spark.methods.sem.findings import Diagnosis, Finding
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.indices import verdict
from gsem_spark.methods.sem.model import Model, Path, factor_model
from gsem_spark.methods.sem.modification import modification_indices, what_if
from gsem_spark.methods.sem.named_matrices import structure_from_frames
from gsem_spark.methods.sem.smooth import SmoothResult, near_pd
from gsem_spark.methods.sem.usermodel import user_model, with_bounded_residuals

__all__ = [
    "Diagnosis", "Finding", "Fit", "FitTest", "Model", "NestedTest", "Path", "SmoothResult", "bic", "common_factor",
    "common_factor_model", "compare", "diagnose", "factor_model", "fit_model", "local_srmd", "modification_indices", "near_pd",
    "nested_test", "residual_test", "structure_from_frames", "user_model", "verdict", "what_if", "with_bounded_residuals",
]
