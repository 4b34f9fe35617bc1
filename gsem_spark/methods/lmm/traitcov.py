"""Forms of a trait covariance matrix, and the fit of forms that are not free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from gsem_spark.errors import ConfigError
from gsem_spark.methods.lmm import traitkernel
from gsem_spark.methods.lmm.traitkernel import RotatedTraits

Floats = NDArray[np.float64]

GRADIENT_AIM: Final = 1e-9
"""Slope of the log likelihood, for each observation, by an element of a factor in standard deviations, at which searches stop."""
GRADIENT_RESTART: Final = 1e-8
"""A search that ends above this slope, its line search lost in rounding, is started again."""
GRADIENT_TOL: Final = 1e-5
"""A fit that has not come below this slope has not converged."""
VARIANCE_FLOOR: Final = 1e-12
"""Residual variances stay above this share of the trait's variance."""
START_FLOOR: Final = 1e-6
"""Share of a trait's variance that each matrix starts with at least: at nought a factor has no slope, whatever the data say."""


@dataclass(frozen=True)
class TraitCovariance:
    """A (P, P) covariance as a function of free parameters.

    Parameters
    ----------
    form
        ``free``: L Lᵀ, L lower triangular. ``diagonal``: squares. ``low_rank``: F Fᵀ + squares on the diagonal, F (P, rank).
        ``fixed``: ``matrix``.
    """

    form: Literal["free", "diagonal", "low_rank", "fixed"]
    P: int
    rank: int = 1
    matrix: Floats | None = None

    def __post_init__(self) -> None:
        if self.form not in ("free", "diagonal", "low_rank", "fixed"):
            raise ConfigError(f"unknown form {self.form!r}", where="covariance",
                              remedy='choose "free", "diagonal", "low_rank" or give a matrix')
        if self.form == "low_rank" and not 1 <= self.rank < self.P:
            raise ConfigError(f"rank {self.rank} for {self.P} traits", where="rank", remedy=f"choose 1 to {self.P - 1}")

    def start(self, C: Floats) -> Floats:
        """Parameters near a matrix, in units in which the traits have variance 1."""
        if self.form == "fixed":
            return np.empty(0)
        if self.form == "diagonal":
            return np.sqrt(np.maximum(np.diag(C), START_FLOOR))
        if self.form == "free":
            return np.asarray(np.linalg.cholesky(C + START_FLOOR * np.eye(self.P))[np.tril_indices(self.P)])
        values, vectors = np.linalg.eigh(C)
        F = vectors[:, -self.rank :] * np.sqrt(np.maximum(values[-self.rank :], 1e-6 * values[-1]) * 0.8)
        return np.concatenate([F.ravel(), np.sqrt(np.maximum(np.diag(C) - (F**2).sum(axis=1), 0.05 * np.diag(C)))])

    def scaled(self, by: Floats) -> TraitCovariance:
        """The same form of matrices multiplied by ``by`` (P, P), element by element."""
        return self if self.matrix is None else replace(self, matrix=self.matrix * by)

    def build(self, x: Floats) -> Floats:
        """The matrix of parameters."""
        if self.form == "fixed":
            assert self.matrix is not None
            return self.matrix
        if self.form == "diagonal":
            return np.diag(x**2)
        if self.form == "free":
            L = np.zeros((self.P, self.P))
            L[np.tril_indices(self.P)] = x
            return L @ L.T
        F = x[: self.P * self.rank].reshape(self.P, self.rank)
        return np.asarray(F @ F.T + np.diag(x[self.P * self.rank :] ** 2))

    def slope(self, x: Floats, G: Floats) -> Floats:
        """Derivative by the parameters of tr(Gᵀ C) at a symmetric G."""
        if self.form == "fixed":
            return np.empty(0)
        if self.form == "diagonal":
            return 2 * np.diag(G) * x
        if self.form == "free":
            L = np.zeros((self.P, self.P))
            L[np.tril_indices(self.P)] = x
            return np.asarray((2 * G @ L)[np.tril_indices(self.P)])
        F = x[: self.P * self.rank].reshape(self.P, self.rank)
        return np.concatenate([(2 * G @ F).ravel(), 2 * np.diag(G) * x[self.P * self.rank :]])


def fit_structured(data: RotatedTraits, forms: tuple[TraitCovariance, TraitCovariance], start: tuple[Floats, Floats], reml: bool
                   ) -> tuple[Floats, Floats, bool]:
    """Maximise the likelihood over the parameters of both matrices by BFGS.

    The search runs in units in which traits have variance 1 at the start, and the kinship a mean eigenvalue of 1: first steps
    and stops of BFGS depend on units.

    Returns
    -------
    Cg, Cn, converged
    """
    mean_d = data.mean_d
    scale = np.sqrt(mean_d * np.diag(start[0]) + np.diag(start[1]))
    unit_n = np.outer(scale, scale)
    unit_g = unit_n / mean_d
    scaled = (forms[0].scaled(1 / unit_g), forms[1].scaled(1 / unit_n))
    Cg, Cn, converged = _fit_standardised(data.standardised(scale), scaled, (start[0] / unit_g, start[1] / unit_n), reml)
    return Cg * unit_g, Cn * unit_n, converged


def _fit_standardised(
    data: RotatedTraits, forms: tuple[TraitCovariance, TraitCovariance], start: tuple[Floats, Floats], reml: bool,
) -> tuple[Floats, Floats, bool]:
    x0 = [f.start(C) for f, C in zip(forms, start, strict=True)]
    cut = len(x0[0])
    floor = VARIANCE_FLOOR * np.eye(len(start[1]))

    def matrices(x: Floats) -> tuple[Floats, Floats]:
        return forms[0].build(x[:cut]), forms[1].build(x[cut:]) + (0 if forms[1].form == "fixed" else floor)

    def objective(x: Floats) -> tuple[float, Floats]:
        at = traitkernel.evaluate(data, *matrices(x), reml, information=False)
        m = len(at.gradient) // 2
        slopes = [f.slope(part, _unfold(at.gradient[k * m : (k + 1) * m], at.T))
                  for k, (f, part) in enumerate(zip(forms, (x[:cut], x[cut:]), strict=True))]
        return -at.value, -np.concatenate(slopes)

    x = np.concatenate(x0)
    if not len(x):
        return (*matrices(x), True)
    observations = (len(data.d) + data.hidden) * data.Y.shape[1]
    slope = np.inf
    for _ in range(3):
        found = optimize.minimize(objective, x, jac=True, method="BFGS",
                                  options={"gtol": GRADIENT_AIM * observations, "maxiter": 2000})
        x, slope = found.x, float(np.abs(found.jac).max()) / observations
        if slope < GRADIENT_RESTART:
            break
    return (*matrices(x), slope < GRADIENT_TOL)


def _unfold(gradient: Floats, T: Floats) -> Floats:
    """Gradient by the elements of T C Tᵀ as a symmetric matrix by C."""
    P = len(T)
    G = np.zeros((P, P))
    G[np.triu_indices(P)] = gradient
    G = 0.5 * (G + G.T)
    return np.asarray(T.T @ G @ T)
