"""Positive definite neighbours of S and V, and what the move to them changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import ModelError
from gsem_spark.methods.vech import unvech, vech
from gsem_spark.thresholds import SMOOTH_Z_WARN

Floats = NDArray[np.float64]

EIGEN_RTOL: Final = 1e-6
"""Projection step: eigenvalues below this share of the largest are dropped."""
CONVERGENCE_RTOL: Final = 1e-7
"""The alternating projections stop when the relative change in the infinity norm falls below this."""
PD_RTOL: Final = 1e-8
"""Floor of the final eigenvalues, as a share of the largest."""
MAX_ITERATIONS: Final = 100
LARGE_CHANGE: Final = 0.025
"""Largest change of a cell of S that smoothing may make before the result is called doubtful (GenomicSEM's own limit)."""


@dataclass(frozen=True)
class SmoothResult:
    """A positive definite matrix near the one given.

    Parameters
    ----------
    matrix
        (n, n), symmetric, positive definite.
    largest_change
        Largest absolute difference of any cell from the matrix given.
    iterations
        Projections made.
    converged
        Whether the projections met their tolerance; the matrix is positive definite either way.
    """

    matrix: Floats
    largest_change: float
    iterations: int
    converged: bool


def is_positive_definite(x: ArrayLike) -> bool:
    """Whether a symmetric (n, n) matrix is positive definite beyond rounding, whatever the scales of its rows.

    The eigenvalues are taken after scaling to a unit diagonal, which changes no sign, so that traits measured on very
    different scales do not look singular.
    """
    a = np.asarray(x, dtype=np.float64)
    d = np.diag(a)
    if not (np.all(np.isfinite(a)) and np.all(d > 0)):
        return False
    root = 1.0 / np.sqrt(d)
    scaled = a * np.outer(root, root)
    # The Cholesky factor exists where the lowest eigenvalue is above its own rounding; it costs a tenth of the eigenvalues.
    scaled[np.diag_indices_from(scaled)] -= 2.0 * a.shape[0] * np.finfo(np.float64).eps
    return int(linalg.lapack.dpotrf(scaled, lower=1)[1]) == 0


def near_pd(x: ArrayLike) -> SmoothResult:
    """Nearest positive definite matrix in the Frobenius norm, the diagonal free to move.

    Parameters
    ----------
    x
        (n, n) symmetric matrix of finite numbers.

    Returns
    -------
    SmoothResult
        Its matrix keeps the diagonal that the projections ended with; eigenvalues are at least 1e-8 of the largest before
        that diagonal is put back.

    Raises
    ------
    ModelError
        When ``x`` is not square, holds NaN or infinity, or has no positive eigenvalue.

    Notes
    -----
    Source: Higham 2002, IMA J Numer Anal 22:329 (alternating projections with Dykstra's correction), with the tolerances,
    and the final lift of small eigenvalues, of ``Matrix::nearPD(corr = FALSE)`` in R, whose results it reproduces.
    """
    given = np.asarray(x, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise ModelError(f"only a square matrix can be smoothed, not one of shape {given.shape}")
    if not np.all(np.isfinite(given)):
        raise ModelError("a matrix with NaN or infinite cells cannot be smoothed", remedy="remove the traits that cause them")
    given = _symmetric(given)
    current, iterations, converged = _alternating_projections(given)
    out = _lift_eigenvalues(current)
    return SmoothResult(out, float(np.max(np.abs(out - given))), iterations, converged)


def _alternating_projections(given: Floats) -> tuple[Floats, int, bool]:
    correction = np.zeros_like(given)
    current = given
    for iteration in range(1, MAX_ITERATIONS + 1):
        corrected = current - correction
        values, vectors = np.linalg.eigh(corrected)
        kept = values > EIGEN_RTOL * values[-1]
        if not kept.any() or values[-1] <= 0:
            raise ModelError("the matrix has no positive eigenvalue; there is no positive definite matrix near it",
                             remedy="S and V must have positive diagonals: leave out traits without heritability, check V's sign")
        projected = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
        correction = projected - corrected
        change = _infinity_norm(projected - current) / _infinity_norm(current)
        current = projected
        if change <= CONVERGENCE_RTOL:
            return current, iteration, True
    return current, MAX_ITERATIONS, False


def _lift_eigenvalues(x: Floats) -> Floats:
    values, vectors = np.linalg.eigh(x)
    floor = PD_RTOL * abs(values[-1])
    if values[0] >= floor:
        return _symmetric(x)
    lifted = (vectors * np.maximum(values, floor)) @ vectors.T
    back = np.sqrt(np.maximum(floor, np.diag(x)) / np.diag(lifted))
    return _symmetric(lifted * np.outer(back, back))


def _symmetric(x: Floats) -> Floats:
    out: Floats = (x + x.T) / 2.0
    return out


def _infinity_norm(x: Floats) -> float:
    return float(np.max(np.sum(np.abs(x), axis=1)))


@dataclass(frozen=True)
class SmoothedMoments:
    """S (k, k) and V (k*, k*), positive definite, with what had to be changed said in ``messages``."""

    S: Floats
    V: Floats
    smoothed_s: bool
    smoothed_v: bool
    largest_z_change: float
    messages: tuple[str, ...]

    @property
    def smoothed(self) -> bool:
        """Whether either matrix was changed."""
        return self.smoothed_s or self.smoothed_v


def smooth_moments(S: Floats, V: Floats) -> SmoothedMoments:
    """Replace S and V by their nearest positive definite matrices where they are not positive definite.

    Parameters
    ----------
    S, V
        (k, k) covariances and (k*, k*) sampling covariance of vech(S).
    """
    s_pd, v_pd = is_positive_definite(S), is_positive_definite(V)
    if s_pd and v_pd:
        return SmoothedMoments(S, V, False, False, 0.0, ())
    s = SmoothResult(S, 0.0, 0, True) if s_pd else near_pd(S)
    v = SmoothResult(V, 0.0, 0, True) if v_pd else near_pd(V)
    with np.errstate(divide="ignore", invalid="ignore"):
        before = S / unvech(np.sqrt(np.diag(V)))
        after = s.matrix / unvech(np.sqrt(np.diag(v.matrix)))
    moved = np.abs(vech(after) - vech(before))
    z_change = float(np.max(moved, where=np.isfinite(moved), initial=0.0))
    messages = [
        f"{name} was not positive definite and was replaced by the nearest positive definite matrix; the largest change of a "
        f"cell is {result.largest_change:.3g}, the largest change of a Z-statistic {z_change:.3g}"
        for name, result, was_pd in (("S", s, s_pd), ("V", v, v_pd)) if not was_pd
    ]
    if s.largest_change > LARGE_CHANGE or z_change > SMOOTH_Z_WARN:
        messages.append("smoothing changed the moments much; leave out the traits with the weakest signal and compare")
    return SmoothedMoments(s.matrix, v.matrix, not s_pd, not v_pd, z_change, tuple(messages))
