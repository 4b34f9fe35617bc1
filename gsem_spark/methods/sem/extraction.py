"""Unrotated exploratory factor extraction: the best k x m loadings of a covariance matrix with a known sampling covariance.

The model is Sigma = A A' + Psi. A is determined up to a rotation of the factors; for the estimation its leading rows are
held triangular, which any A can be turned to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem.estimate import LeastSquares, MaximumLikelihood, Objective, Optimum, minimise_from
from gsem_spark.methods.sem.model import Model, Path, factor_model
from gsem_spark.methods.vech import vech

Floats = NDArray[np.float64]
Extraction = Literal["DWLS", "ML", "WLS"]

START_ITERATIONS: Final = 25
"""Principal axis iterations before the estimation proper; it converges to the minimum by itself from there."""
START_SCALES: Final = (1.0, 0.8, 1.15, 0.5)
"""The estimation starts from these multiples of the principal-axis loadings, one after the other until it converges."""
SMALLEST_UNIQUENESS: Final = 0.05
"""Share of the variance that a residual variance starts with at least."""


@dataclass(frozen=True, eq=False)
class Extracted:
    """Unrotated solution.

    Parameters
    ----------
    loadings
        (k, m), on principal axes: L'L is diagonal, largest first.
    uniquenesses
        (k,) residual variances; negative ones are Heywood cases.
    optimum
        How the estimation ended.
    """

    loadings: Floats
    uniquenesses: Floats
    optimum: Optimum


def largest_factor_number(k: int) -> int:
    """Return the largest m with (k - m)^2 >= k + m: more factors have more parameters than k traits have moments."""
    return max((m for m in range(1, k + 1) if (k - m) ** 2 >= k + m), default=0)


def extract(S: Floats, V: Floats, factors: int, estimation: Extraction) -> Extracted:
    """Estimate unrotated loadings.

    Parameters
    ----------
    S
        (k, k) correlations (or covariances of like size), positive definite.
    V
        (k*, k*) sampling covariance of vech(S), positive definite.
    factors
        m, from 1 to :func:`largest_factor_number`.
    estimation
        ``DWLS``, ``ML`` or ``WLS`` (the full inverse of V as the weights).

    Raises
    ------
    ModelError
        When k traits do not identify m factors.
    """
    k = S.shape[0]
    most = largest_factor_number(k)
    if not 1 <= factors <= most:
        raise ModelError(
            f"{k} traits identify {f'1 to {most} exploratory factor(s)' if most else 'no exploratory factor'}, not {factors}",
            remedy="ask for fewer factors or add traits" if most else "add traits",
        )
    loadings = _principal_axis(S, factors)
    pivots = np.asarray(linalg.qr(loadings.T, mode="r", pivoting=True)[1][:factors], dtype=np.intp)
    model = triangular_model(k, factors, pivots)
    starts = [_as_theta(model, S, loadings * shrink, pivots) for shrink in START_SCALES]
    optimum = minimise_from(_objective(model, S, V, estimation), starts)
    directed, p = model.matrices(optimum.theta)
    u, size, _ = np.linalg.svd(directed[:k, k:], full_matrices=False)
    return Extracted(u * size, np.diagonal(p)[:k].copy(), optimum)


def triangular_model(k: int, factors: int, pivots: NDArray[np.intp]) -> Model:
    """Uncorrelated factors; the j-th pivot trait loads on the first j + 1 of them only."""
    traits, names = _names("x", k), _names("f", factors)
    rank = {int(p): j for j, p in enumerate(pivots)}
    indicators = {
        name: [t for i, t in enumerate(traits) if j <= rank.get(i, factors)] for j, name in enumerate(names)
    }
    return factor_model(indicators, observed=traits)


def rotated_model(traits: tuple[str, ...], factors: tuple[str, ...], *, orthogonal: bool) -> Model:
    """Every trait on every factor, factor variances 1: as many parameters as a rotated solution shows, more than it has."""
    covariances = [] if orthogonal else [Path(a, "~~", b) for i, b in enumerate(factors) for a in factors[:i]]
    return factor_model(dict.fromkeys(factors, traits), covariances, observed=traits)


def _names(letter: str, n: int) -> tuple[str, ...]:
    return tuple(f"{letter}{i + 1}" for i in range(n))


def _objective(model: Model, S: Floats, V: Floats, estimation: Extraction) -> Objective:
    if estimation == "ML":
        return MaximumLikelihood(model, S)
    return LeastSquares(model, vech(S), full_weights(V, estimation))


def full_weights(V: Floats, estimation: Extraction) -> Floats:
    """(k*, k*) weights of a least-squares estimation."""
    if estimation == "DWLS":
        return np.asarray(np.diag(1.0 / np.diag(V)), dtype=np.float64)
    root = np.sqrt(np.diag(V))
    scaled = linalg.cho_solve(linalg.cho_factor(V / np.outer(root, root), lower=True), np.eye(root.size))
    return np.asarray((scaled + scaled.T) / 2.0 / np.outer(root, root), dtype=np.float64)


def _principal_axis(S: Floats, factors: int) -> Floats:
    """Loadings (k, m) of a few iterations of principal axis factoring."""
    uniquenesses = 0.5 * np.diag(S)
    loadings = np.zeros((len(S), factors))
    for _ in range(START_ITERATIONS):
        values, vectors = np.linalg.eigh(S - np.diag(uniquenesses))
        loadings = vectors[:, -factors:] * np.sqrt(np.maximum(values[-factors:], SMALLEST_UNIQUENESS))
        uniquenesses = _uniquenesses(S, loadings)
    return loadings


def _uniquenesses(S: Floats, loadings: Floats) -> Floats:
    variance = np.diag(S)
    return np.asarray(np.maximum(variance - np.sum(loadings**2, axis=1), SMALLEST_UNIQUENESS * variance), dtype=np.float64)


def _as_theta(model: Model, S: Floats, loadings: Floats, pivots: NDArray[np.intp]) -> Floats:
    """Turn loadings until the pivot rows are lower triangular, and put them in the model's order."""
    uniquenesses = _uniquenesses(S, loadings)
    q, _ = np.linalg.qr(loadings[pivots].T)
    turned = loadings @ q
    rows, columns, directed = model.cells
    k = model.k
    theta = np.zeros(model.n_free)
    for row, column, one_headed, i in zip(rows, columns, directed, model.path_index, strict=True):
        if i >= 0:
            theta[i] = turned[row, column - k] if one_headed else uniquenesses[row]
    return theta


def eigenvalues(S: Floats) -> Floats:
    """(k,) eigenvalues of a symmetric matrix (k, k), largest first."""
    return np.asarray(np.linalg.eigvalsh(S)[::-1], dtype=np.float64).copy()


def factor_eigenvalues(S: Floats, uniquenesses: Floats) -> Floats:
    """(k,) eigenvalues, largest first, of S with communalities on its diagonal."""
    return eigenvalues(S - np.diag(uniquenesses))
