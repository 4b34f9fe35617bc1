"""Genetic multiple regression: one trait's genetic values on those of others, from S alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.errors import ConfigError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.inference import quadratic_form
from gsem_spark.methods.sem.rotation import complex_jacobian
from gsem_spark.methods.sem.smooth import smooth_moments
from gsem_spark.methods.vech import vech, vech_indices

Floats = NDArray[np.float64]
Numbers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class GeneticRegression:
    """A fitted genetic regression.

    Parameters
    ----------
    outcome, predictors
        Trait names; p predictors.
    coefficients
        One row a predictor: ``predictor est se z p neglog10p std_est std_se``: slopes in the units of S, and with all traits
        scaled to a genetic variance of 1.
    covariance
        (p, p) sampling covariance of the slopes.
    r2, r2_se
        Share of the outcome's genetic variance that the predictors explain, with its standard error. Near 0 the interval
        r2 +- 2 r2_se means little; the test of all slopes does.
    residual_h2, residual_h2_se
        Genetic variance of the outcome that they leave.
    chisq, df, p, neglog10p
        Wald test that all slopes are 0.
    messages
        What was smoothed.
    """

    outcome: str
    predictors: tuple[str, ...]
    coefficients: pd.DataFrame
    covariance: Floats
    r2: float
    r2_se: float
    residual_h2: float
    residual_h2_se: float
    chisq: float
    df: int
    p: float
    neglog10p: float
    messages: tuple[str, ...]

    def summary(self) -> str:
        """The result as text."""
        head = f"{self.outcome} ~ {' + '.join(self.predictors)}"
        tail = (
            f"R2 {self.r2:.3f} (SE {self.r2_se:.3f}); residual h2 {self.residual_h2:.4f} (SE {self.residual_h2_se:.4f}); "
            f"all slopes 0: chi-square {self.chisq:.2f}, df {self.df}, p {self.p:.3g}"
        )
        return "\n".join([head, self.coefficients.round(4).to_string(index=False), tail, *self.messages])


def genetic_regression(cov: CovStruct, outcome: str, predictors: Sequence[str]) -> GeneticRegression:
    """Regress the genetic component of one trait on those of others.

    Parameters
    ----------
    cov
        Structure with all the traits.
    outcome, predictors
        Trait names, at least one predictor.

    Raises
    ------
    ConfigError
        When no predictor is given, one repeats, or the outcome is one of them.
    ModelError
        When a trait is unknown, or S or V cannot be made positive definite.

    Notes
    -----
    With S split into predictors x and outcome y: b = S_xx^-1 s_xy, R2 = s_yx b / s_yy. The model is saturated, so the delta
    method on V gives what a fit of ``y ~ x1 + x2`` gives; derivatives are exact, by imaginary steps.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.array([[1.0, 0.5, 0.4], [0.5, 1.0, 0.2], [0.4, 0.2, 1.0]])
    >>> cov = CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3), ["y", "a", "b"])
    >>> genetic_regression(cov, "y", ["a", "b"]).coefficients["std_est"].round(4).tolist()
    [0.4375, 0.3125]
    """
    names = tuple(predictors)
    if not names or len(set(names)) < len(names) or outcome in names:
        raise ConfigError(
            f"{outcome} ~ {' + '.join(names)} is no regression", remedy="give at least one predictor, each once, not the outcome"
        )
    part = cov.subset((*names, outcome))
    moments = smooth_moments(part.S, part.V)
    s, p = vech(moments.S), len(names)
    values = np.real(_quantities(s))
    jacobian = complex_jacobian(_quantities, s)
    covariance = jacobian @ moments.V @ jacobian.T
    se = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    slopes, slope_cov = values[:p], covariance[:p, :p]
    chisq = quadratic_form(slopes, slope_cov)
    z_p, z_neglog10p = pvalues.from_z(slopes / se[:p])
    all_p, all_neglog10p = pvalues.from_chisq(chisq, p)
    table = pd.DataFrame({
        "predictor": list(names), "est": slopes, "se": se[:p], "z": slopes / se[:p], "p": z_p, "neglog10p": z_neglog10p,
        "std_est": values[p : 2 * p], "std_se": se[p : 2 * p],
    })
    return GeneticRegression(
        outcome=outcome, predictors=names, coefficients=table, covariance=slope_cov, r2=float(values[-2]), r2_se=float(se[-2]),
        residual_h2=float(values[-1]), residual_h2_se=float(se[-1]), chisq=chisq, df=p, p=float(all_p),
        neglog10p=float(all_neglog10p), messages=moments.messages,
    )


def _quantities(s: Numbers) -> Numbers:
    """Slopes (p,), standardised slopes (p,), R2 and residual variance from vech(S), the outcome last; s may be complex."""
    k = round((np.sqrt(8 * s.size + 1) - 1) / 2)
    rows, columns = vech_indices(k)
    S = np.zeros((k, k), dtype=s.dtype)
    S[rows, columns] = S[columns, rows] = s
    variance = S[-1, -1]
    slopes = linalg.solve(S[:-1, :-1], S[:-1, -1])
    explained = slopes @ S[:-1, -1]
    standard = slopes * np.sqrt(np.diagonal(S)[:-1] / variance)
    return np.concatenate([slopes, standard, [explained / variance, variance - explained]])
