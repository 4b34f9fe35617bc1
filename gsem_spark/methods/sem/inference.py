"""Standard errors by the sandwich, the model chi-square, and whether the model is identified.

The estimate weighs the moments by W, their true sampling covariance is V; so cov(theta) = A D'W V W D A with D the Jacobian
and A = (D'W D)^-1 [Savalei 2014, Struct Equ Modeling 21:149; Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods].
Parameters held equal are one parameter here, so the SEs respect the constraint (GenomicSEM's do not).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.vech import unvech, vech_indices

Floats = NDArray[np.float64]

MIN_INDICATORS: Final = 3
"""Indicators that identify a factor on their own."""
RANK_RTOL: Final = 1e-9
"""Singular values of the column-scaled Jacobian below this share of the largest count as zero."""

CLEAR_RANK: Final = 1e-4
"""A reciprocal condition number above this leaves no doubt about full rank: it is exact to a small factor."""


def moment_weights(implied: Floats, V: Floats, estimation: Estimation) -> Floats:
    """Return the weight matrix W (k*, k*) of an estimation.

    Parameters
    ----------
    implied
        (k, k) implied covariances at the estimate; used by ML only, whose W is the normal-theory one.
    V
        (k*, k*) sampling covariance; used by DWLS only, W = diag(V)^-1.

    Notes
    -----
    Normal theory: half of D'(U x U)D with U the inverse of the implied matrix and D the duplication matrix
    [Browne 1974, S Afr Stat J 8:1].
    """
    if estimation == "DWLS":
        return np.diag(1.0 / np.diag(V))
    k = implied.shape[0]
    u = linalg.cho_solve(linalg.cho_factor(implied, lower=True), np.eye(k))
    i, j = vech_indices(k)
    twice = np.where(i == j, 1.0, 2.0)
    both = u[np.ix_(i, i)] * u[np.ix_(j, j)] + u[np.ix_(i, j)] * u[np.ix_(j, i)]
    out: Floats = 0.25 * both * np.outer(twice, twice)
    return out


def sandwich(jacobian: Floats, weights: Floats, V: Floats, toler: float = 0.0) -> Floats | None:
    """Return the sampling covariance (q, q) of the estimates, or None where the Jacobian has no full column rank.

    Parameters
    ----------
    jacobian
        (k*, q) at the estimate.
    weights
        (k*, k*) W, positive definite.
    V
        (k*, k*) sampling covariance of the moments.
    toler
        Share of its squared length that a column of the weighted Jacobian has to have beside the others, where that is more
        than full rank asks for: a pivot of the scaled normal equations.
    """
    if jacobian.shape[1] == 0:
        return np.zeros((0, 0))
    diagonal = np.diag(weights)
    if np.count_nonzero(weights) == np.count_nonzero(diagonal):  # DWLS: its root needs no factoring
        root = np.sqrt(diagonal)
        weighted, rooted = root[:, None] * jacobian, V * np.outer(root, root)
    else:
        full = linalg.cholesky(weights, lower=False)
        weighted, rooted = full @ jacobian, full @ V @ full.T
    scale = np.sqrt(np.sum(weighted**2, axis=0))
    if np.any(scale == 0):
        return None
    q, r = _factored(weighted / scale)
    if rank_of(r) < r.shape[1] or not np.min(np.diag(r) ** 2) > toler:
        return None
    # theta moves with the moments, these scaled by W's root, by (D'WD)^-1 D' root' = R^-1 Q', in scaled parameters.
    influence = linalg.lapack.dtrtrs(r, np.ascontiguousarray(q.T), lower=0)[0] / scale[:, None]
    out = influence @ rooted @ influence.T
    covariance: Floats = (out + out.T) / 2.0
    return covariance


def _factored(matrix: Floats) -> tuple[Floats, Floats]:
    """Q (n, q) with orthonormal columns and the upper triangle R (q, q) with QR = matrix, n >= q."""
    packed, tau, _, _ = linalg.lapack.dgeqrf(matrix)
    triangle = np.triu(packed[: matrix.shape[1]])
    return linalg.lapack.dorgqr(packed, tau)[0], triangle


def rank_of(triangle: Floats) -> int:
    """Rank of an upper triangle (q, q): its singular values above ``RANK_RTOL`` of the largest.

    Where its condition number is clearly small it has full rank, and the singular values are not needed.
    """
    if linalg.lapack.dtrcon(triangle)[0] > CLEAR_RANK:
        return int(triangle.shape[1])
    singular = np.linalg.svd(triangle, compute_uv=False)
    return int(np.sum(singular > RANK_RTOL * singular[0]))


def restricted_sandwich(
    jacobian: Floats, weights: Floats, V: Floats, free_directions: Floats, toler: float = 0.0
) -> Floats | None:
    """Return the sampling covariance (q, q) of estimates that can only move along ``free_directions`` (q, r), a basis.

    The constraints take out the other directions: theta moves as N phi, and cov(theta) = N cov(phi) N' [Savalei & Rosseel 2022,
    Struct Equ Modeling 29:163; the sandwich of the reduced parameters]. None where the Jacobian along N loses rank.
    """
    if free_directions.shape[1] == jacobian.shape[1]:
        return sandwich(jacobian, weights, V, toler)
    inner = sandwich(jacobian @ free_directions, weights, V, toler)
    return None if inner is None else free_directions @ inner @ free_directions.T


def quadratic_form(residual: Floats, V: Floats) -> float:
    """Compute residual' V^-1 residual for a positive definite V, scaled to unit diagonal before it is factored.

    With residual = s - sigma this is the model chi-square of GenomicSEM, which takes V^-1 from V's eigenvectors; the
    Cholesky factor gives the same number.
    """
    return quadratic_forms(residual[None, :], V)[0]


def quadratic_forms(residuals: Floats, V: Floats) -> tuple[float, ...]:
    """:func:`quadratic_form` of each row of ``residuals`` (n, k*), V factored once."""
    root = np.sqrt(np.diag(V))
    factor = linalg.cholesky(V / np.outer(root, root), lower=True)
    half, _ = linalg.lapack.dtrtrs(factor, (residuals / root).T, lower=1)
    return tuple(float(x) for x in np.sum(half**2, axis=0))


def check_enough_moments(model: Model) -> None:
    """Refuse a model with more free parameters than moments. Raises :class:`ModelError`."""
    if model.df < 0:
        raise ModelError(
            f"the model has {model.n_estimated} free parameters but {model.k} traits give only {model.n_moments} moments "
            f"(df = {model.df})" + _small_factors(model),
            remedy="fix or equate parameters, or add traits",
        )


def check_identified(model: Model, S: Floats, theta: Floats) -> None:
    """Refuse a model that no data can identify.

    The rank of the Jacobian is taken at a generic point near ``theta``, each moment scaled to a correlation.

    Raises
    ------
    ModelError
        When there are more free parameters than moments, or directions of theta that move no moment; the parameters on
        them are named.
    """
    check_enough_moments(model)
    if model.n_free == 0:
        return
    # A fixed irrational pattern: no cell stays at a special value such as zero, and reruns agree.
    shake = 1.0 + 0.05 * np.sin(1.0 + np.sqrt(2.0) * np.arange(model.n_free))
    unit = _unit(model, S)
    generic = theta * shake + 0.05 * np.where(theta == 0, unit, 0.0) * shake
    rows, columns = vech_indices(model.k)
    sd = np.sqrt(np.diag(S))
    jacobian = model.jacobian(generic) * unit / (sd[rows] * sd[columns])[:, None]
    directions = model.restrictions.null_space(generic)
    if directions.shape[1] < model.n_free:
        directions = null_space_basis(directions / unit[:, None])
        jacobian = jacobian @ directions
    length = np.sqrt(np.sum(jacobian**2, axis=0))
    dead = length <= RANK_RTOL * float(np.max(length, initial=0.0))
    scaled = jacobian / np.where(dead, 1.0, length)
    rank = rank_of(_factored(scaled)[1])
    if rank == jacobian.shape[1]:
        return
    right = np.linalg.svd(scaled)[2]
    null = right[rank:] / np.where(dead, 1.0, length)
    moved = np.max(np.abs(null @ directions.T) / np.max(np.abs(null @ directions.T), axis=1, keepdims=True), axis=0)
    names = [n for n, m in zip(model.free_names, moved, strict=True) if m > 1e-6]
    raise ModelError(
        f"the model is not identified: {len(null)} combination(s) of these parameters change no moment: {', '.join(names)}"
        + _small_factors(model),
        remedy="fix one of them (a loading or a factor variance at 1), or equate some; a factor needs three traits unless "
               "constraints or its relations to others identify it",
    )


def null_space_basis(directions: Floats) -> Floats:
    """Orthonormal basis of the space that the columns of ``directions`` (q, r) span."""
    return np.asarray(np.linalg.qr(directions)[0])


def _small_factors(model: Model) -> str:
    """Name the factors with fewer than three indicators."""
    counts = {f: sum(p.op == "=~" and p.lhs == f and p.fixed != 0 for p in model.paths) for f in model.latent}
    small = [f"{f} has {n}" for f, n in counts.items() if n < MIN_INDICATORS]
    return f" (fewer than {MIN_INDICATORS} indicators: {', '.join(small)})" if small else ""


def _unit(model: Model, S: Floats) -> Floats:
    """(q,) a value of each free parameter that is large enough to be felt: a variance or covariance scale."""
    sd = dict(zip(model.observed, np.sqrt(np.diag(S)), strict=True))
    out = np.ones(model.n_free)
    for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
        if i >= 0:
            lhs, rhs = sd.get(path.lhs, 1.0), sd.get(path.rhs, 1.0)
            out[i] = {"=~": rhs, "~": lhs / rhs, "~~": lhs * rhs}[path.op]
    return out


def standardise_moments(S: Floats, V: Floats) -> tuple[Floats, Floats]:
    """Return S as correlations and V rescaled alike, the variances of S taken as known (GenomicSEM's S_Stand and V_Stand)."""
    rows, columns = vech_indices(S.shape[0])
    sd = np.sqrt(np.diag(S))
    scale = 1.0 / (sd[rows] * sd[columns])
    return unvech((S[rows, columns]) * scale), V * np.outer(scale, scale)
