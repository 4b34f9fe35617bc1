"""Forms of a trait covariance matrix, and the fit of forms that are not free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from gsem_spark.errors import ConfigError
from gsem_spark.methods.lmm import traitkernel
from gsem_spark.methods.lmm.traitkernel import RotatedTraits

Floats = NDArray[np.float64]

GRADIENT_TOL: Final = 1e-5
"""Largest slope of the log likelihood by an element of a factor scaled to the traits' standard deviations."""
VARIANCE_FLOOR: Final = 1e-10
"""Residual variances stay above this share of the trait's variance."""


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
        """Parameters near a matrix."""
        if self.form == "fixed":
            return np.empty(0)
        if self.form == "diagonal":
            return np.sqrt(np.maximum(np.diag(C), 0))
        if self.form == "free":
            floor = 1e-6 * np.trace(C) / self.P * np.eye(self.P)
            return np.linalg.cholesky(C + floor)[np.tril_indices(self.P)]
        values, vectors = np.linalg.eigh(C)
        F = vectors[:, -self.rank :] * np.sqrt(np.maximum(values[-self.rank :], 1e-6 * values[-1]) * 0.8)
        return np.concatenate([F.ravel(), np.sqrt(np.maximum(np.diag(C) - (F**2).sum(axis=1), 0.05 * np.diag(C)))])

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

    Returns
    -------
    Cg, Cn, converged
    """
    x0 = [f.start(C) for f, C in zip(forms, start, strict=True)]
    cut = len(x0[0])
    floor = np.diag(VARIANCE_FLOOR * np.maximum(np.diag(start[1]), np.finfo(float).tiny))

    def matrices(x: Floats) -> tuple[Floats, Floats]:
        return forms[0].build(x[:cut]), forms[1].build(x[cut:]) + (0 if forms[1].form == "fixed" else floor)

    def objective(x: Floats) -> tuple[float, Floats]:
        Cg, Cn = matrices(x)
        at = traitkernel.evaluate(data, Cg, Cn, reml)
        m = len(at.gradient) // 2
        slopes = [f.slope(part, _unfold(at.gradient[k * m : (k + 1) * m], at.T))
                  for k, (f, part) in enumerate(zip(forms, (x[:cut], x[cut:]), strict=True))]
        return -at.value, -np.concatenate(slopes)

    x = np.concatenate(x0)
    if not len(x):
        return (*matrices(x), True)
    for _ in range(3):
        found = optimize.minimize(objective, x, jac=True, method="BFGS", options={"gtol": GRADIENT_TOL * 0.01, "maxiter": 2000})
        x = found.x
    scale = np.abs(objective(x)[1]).max() * np.abs(x).max()
    return (*matrices(x), bool(scale < GRADIENT_TOL * max(1.0, abs(float(found.fun)))))


def _unfold(gradient: Floats, T: Floats) -> Floats:
    """Gradient by the elements of T C Tᵀ as a symmetric matrix by C."""
    P = len(T)
    G = np.zeros((P, P))
    G[np.triu_indices(P)] = gradient
    G = 0.5 * (G + G.T)
    return np.asarray(T.T @ G @ T)
