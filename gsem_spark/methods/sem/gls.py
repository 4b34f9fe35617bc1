"""Generalised least squares of estimates on predictors, their sampling covariance known: what genetic correlations depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import ConfigError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.sem.inference import RANK_RTOL
from gsem_spark.methods.sem.smooth import is_positive_definite

Floats = NDArray[np.float64]

BAND_POINTS: Final = 50


@dataclass(frozen=True, eq=False)
class Gls:
    """A fitted meta-regression.

    Parameters
    ----------
    names
        (p,) names of the coefficients.
    beta
        (p,) coefficients.
    covariance
        (p, p) their sampling covariance.
    chisq, df, p, neglog10p
        Test that the predictors explain all that differs beyond sampling error: residual' V^-1 residual on n - p degrees.
    """

    names: tuple[str, ...]
    beta: Floats
    covariance: Floats
    chisq: float
    df: int
    p: float
    neglog10p: float

    def table(self) -> pd.DataFrame:
        """One row a coefficient: ``name beta se z p neglog10p``."""
        se = np.sqrt(np.diag(self.covariance))
        p, neglog10p = pvalues.from_z(self.beta / se)
        return pd.DataFrame({
            "name": list(self.names), "beta": self.beta, "se": se, "z": self.beta / se, "p": p, "neglog10p": neglog10p,
        })

    def predict(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """Fitted values and their standard errors at rows (n, p) of the design, intercept column included."""
        design = np.asarray(X, dtype=np.float64)
        return design @ self.beta, np.sqrt(np.einsum("ij,jk,ik->i", design, self.covariance, design))


def summary_gls(
    y: ArrayLike, V: ArrayLike, X: ArrayLike | pd.DataFrame, *, intercept: bool = True, names: Sequence[str] | None = None
) -> Gls:
    """Regress estimates with a known sampling covariance on predictors.

    Parameters
    ----------
    y
        (n,) estimates, e.g. genetic correlations from :func:`gsem_spark.methods.sem.genetic_correlations.sub_cov`.
    V
        (n, n) their sampling covariance, positive definite.
    X
        (n,) or (n, p) predictors.
    intercept
        Put a column of ones, named b0, first.
    names
        Of the predictors; by default a frame's columns, else b1, b2, …

    Raises
    ------
    ConfigError
        When sizes disagree or a number is not finite.
    ModelError
        When V is not positive definite or the predictors are collinear.

    Notes
    -----
    b = (X'V^-1 X)^-1 X'V^-1 y with covariance (X'V^-1 X)^-1 [Aitken 1935], by a QR of the whitened design.

    Examples
    --------
    >>> import numpy as np
    >>> fit = summary_gls([0.2, 0.4, 0.6], np.eye(3) * 0.01, [1.0, 2.0, 3.0])
    >>> fit.beta.round(3).tolist()
    [0.0, 0.2]
    """
    target, sampling, design, labels = _checked(y, V, X, intercept, names)
    root = linalg.cholesky(sampling, lower=True)
    white_x = linalg.solve_triangular(root, design, lower=True)
    white_y = linalg.solve_triangular(root, target, lower=True)
    scale = np.linalg.norm(white_x, axis=0)
    q, r = linalg.qr(white_x / np.where(scale > 0, scale, 1.0), mode="economic")
    singular = np.linalg.svd(r, compute_uv=False)
    if singular[-1] <= RANK_RTOL * singular[0]:
        raise ModelError("the predictors are collinear (a constant one beside the intercept?)", remedy="drop one of them")
    inner = linalg.solve_triangular(r, np.eye(r.shape[0])) / scale[:, None]
    residual = white_y - q @ (q.T @ white_y)
    chisq, df = float(residual @ residual), target.size - design.shape[1]
    p, neglog10p = pvalues.from_chisq(chisq, df)
    return Gls(labels, inner @ (q.T @ white_y), inner @ inner.T, chisq, df, float(p), float(neglog10p))


def gls_bands(
    y: ArrayLike, V: ArrayLike, x: ArrayLike, *, quadratic: bool = False, controls: ArrayLike | pd.DataFrame | None = None,
    points: int = BAND_POINTS, width: float = 1.0,
) -> tuple[Gls, pd.DataFrame]:
    """Fit a line or a parabola in one predictor and give the band of its errors, for a plot.

    Parameters
    ----------
    y, V
        As :func:`summary_gls`.
    x
        (n,) the predictor on the axis.
    quadratic
        Add its square.
    controls
        (n,) or (n, c) further predictors; the band is drawn at their means.
    points
        Places along the range of x.
    width
        Half-width of the band in standard errors (1.96 for 95 %).

    Returns
    -------
    Gls, DataFrame
        The fit, and one row a place: ``x fitted se low high``.

    Notes
    -----
    GenomicSEM's ``summaryGLSbands`` computes its errors at places shifted from those at which it draws them; here both are the
    same.
    """
    axis = np.asarray(x, dtype=np.float64).ravel()
    grid = np.linspace(axis.min(), axis.max(), points)
    columns, places = [axis], [grid]
    if quadratic:
        columns.append(axis**2)
        places.append(grid**2)
    if controls is not None:
        other = np.asarray(controls, dtype=np.float64).reshape(axis.size, -1)
        columns += list(other.T)
        places += [np.full(points, m) for m in other.mean(axis=0)]
    fit = summary_gls(y, V, np.column_stack(columns))
    fitted, se = fit.predict(np.column_stack([np.ones(points), *places]))
    return fit, pd.DataFrame({"x": grid, "fitted": fitted, "se": se, "low": fitted - width * se, "high": fitted + width * se})


def _checked(
    y: ArrayLike, V: ArrayLike, X: ArrayLike | pd.DataFrame, intercept: bool, names: Sequence[str] | None
) -> tuple[Floats, Floats, Floats, tuple[str, ...]]:
    target = np.asarray(y, dtype=np.float64).ravel()
    n = target.size
    sampling, design = np.asarray(V, dtype=np.float64), np.asarray(X, dtype=np.float64)
    design = design[:, None] if design.ndim == 1 else design
    if sampling.shape != (n, n) or design.shape[0] != n:
        raise ConfigError(f"y has {n} values, V is {sampling.shape}, X is {design.shape}", remedy="give V n x n and X n rows")
    if not all(np.all(np.isfinite(part)) for part in (target, sampling, design)):
        raise ConfigError("y, V and X must be finite", remedy="leave out elements with missing predictors")
    labels = [*(f"b{i + 1}" for i in range(design.shape[1]))] if names is None else [str(x) for x in names]
    if names is None and isinstance(X, pd.DataFrame):
        labels = [str(c) for c in X.columns]
    if len(labels) != design.shape[1]:
        raise ConfigError(f"there are {len(labels)} names for {design.shape[1]} predictors")
    if intercept:
        design, labels = np.column_stack([np.ones(n), design]), ["b0", *labels]
    if design.shape[1] > n:
        raise ModelError(f"{n} estimates cannot carry {design.shape[1]} coefficients", remedy="use fewer predictors")
    if not is_positive_definite(sampling):
        raise ModelError("V is not positive definite", remedy="smooth it with near_pd, or leave out the elements that cause it")
    return target, (sampling + sampling.T) / 2.0, design, tuple(labels)
