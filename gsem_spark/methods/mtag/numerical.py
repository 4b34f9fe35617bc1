"""Omega by maximum likelihood: z of a SNP is normal with covariance D Omega D + Sigma, D = diag(sqrt(N)).

The method of moments is the default; the likelihood is an option, searched for a limited time and reported as such. SNPs with the
same sample sizes enter through one sum of z z', so that a scan with constant N costs no more than a matrix.

Source: Turley et al. 2018, Nat Genet 50:229, Supplementary Note 1.2.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.mtag.matrices import Repair
from gsem_spark.methods.mtag.omega import OmegaEstimate

Floats = NDArray[np.float64]

TIME_LIMIT_SECONDS: Final = 3600.0
_BLOCK: Final = 4096
_GRADIENT_TOLERANCE: Final = 1e-5
_MAX_ITERATIONS: Final = 500
_START_SHRINK: Final = 0.5
"""The search starts from the moment estimate's variances and half of its covariances, which is inside the cone."""


@dataclass(frozen=True)
class OmegaSearch:
    """Result of the search.

    Parameters
    ----------
    omega
        (k, k) the best matrix found, positive semidefinite by construction.
    log_likelihood
        At ``omega``, up to a constant.
    converged
        Whether the gradient vanished; False where time or iterations ran out.
    iterations, seconds
        What it took.
    message
        How the search ended, for the report.
    """

    omega: Floats
    log_likelihood: float
    converged: bool
    iterations: int
    seconds: float
    message: str


@dataclass(frozen=True)
class Grouped:
    """Z-scores by distinct rows of sample sizes: (g, k) sizes, (g,) SNPs, (g, k, k) sums of z z'."""

    n: Floats
    count: Floats
    zz: Floats


def group_by_n(z: ArrayLike, n: ArrayLike) -> Grouped:
    """Add up z z' of SNPs with equal sample sizes; SNPs with a missing value are left out.

    Raises
    ------
    DataError
        When no SNP is left.
    """
    Z = np.asarray(z, np.float64)
    N = np.broadcast_to(np.asarray(n, np.float64), Z.shape)
    with np.errstate(invalid="ignore"):
        usable = (np.isfinite(Z) & np.isfinite(N) & (N > 0)).all(axis=1)
    Z, N = Z[usable], N[usable]
    if len(Z) == 0:
        raise DataError("no SNP has a Z-score and a sample size in all traits", remedy="check that the traits share SNPs")
    sizes, group, count = np.unique(N, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(group.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    products = np.empty((len(sizes), Z.shape[1], Z.shape[1]))
    for j in range(Z.shape[1]):
        products[:, j] = np.add.reduceat(Z[order, j, None] * Z[order], starts, axis=0)
    return Grouped(sizes, count.astype(np.float64), products)


def numerical_omega(
    data: Grouped,
    sigma: Floats,
    start: Floats,
    *,
    perfect_gencov: bool = False,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> OmegaSearch:
    """Maximise the likelihood over Omega = L L' (or a a' with ``perfect_gencov``).

    Parameters
    ----------
    data
        From :func:`group_by_n`.
    sigma
        (k, k) error matrix, positive definite.
    start
        (k, k) where to start from; its variances must be positive (the moment estimate).
    perfect_gencov
        Whether genetic correlations are 1.
    time_limit_seconds
        After which the search stops with the best matrix so far and ``converged`` False.
    clock
        Seconds that pass; to be replaced in tests.

    Raises
    ------
    ConfigError
        For a time limit that is not positive.
    DataError
        For a start without positive variances.
    """
    if not time_limit_seconds > 0:
        raise ConfigError(f"the time limit is {time_limit_seconds} s", where="time_limit_seconds", remedy="give seconds above 0")
    variance = np.diag(start)
    if not (variance > 0).all():
        raise DataError("the search for Omega needs a start with positive variances", where="start")
    scale = np.sqrt(variance)
    first, unpack = _parametrisation(start / np.outer(scale, scale), perfect_gencov)
    total, began = float(data.count.sum()), clock()
    best = _Best()

    def objective(x: Floats) -> tuple[float, Floats]:
        root = unpack(x)
        value, gradient = _log_likelihood(data, sigma, scale[:, None] * root)
        slope = 2.0 * (scale[:, None] * (gradient @ (scale[:, None] * root)))
        best.see(-value / total, x)
        if clock() - began > time_limit_seconds:
            raise _TimeUp
        return -value / total, -_pack(slope, perfect_gencov) / total

    try:
        found = optimize.minimize(
            objective, first, jac=True, method="L-BFGS-B",
            options={"maxiter": _MAX_ITERATIONS, "gtol": _GRADIENT_TOLERANCE, "ftol": 0.0},
        )
        # Without an ftol the line search may end on rounding at the optimum: the gradient decides.
        converged = bool(np.abs(found.jac).max() <= 10 * _GRADIENT_TOLERANCE)
        message = "the gradient vanished" if converged else f"stopped before the optimum: {found.message}"
        iterations = int(found.nit)
    except _TimeUp:
        converged, iterations = False, best.evaluations
        message = f"the time limit of {time_limit_seconds:g} s ran out: the best of {best.evaluations} matrices, not the optimum"
    root = scale[:, None] * unpack(best.x)
    return OmegaSearch(root @ root.T, -best.value * total, converged, iterations, clock() - began, message)


def searched_omega(search: OmegaSearch, raw: Floats, n_snps: int, *, perfect_gencov: bool = False) -> OmegaEstimate:
    """Take the search's matrix as Omega; ``raw`` is the moment estimate (k, k) it started from."""
    smallest = float(np.linalg.eigvalsh(search.omega)[0])
    unrepaired = Repair(search.omega, False, True, smallest, smallest)
    return OmegaEstimate(search.omega, raw, unrepaired, "perfect_gencov" if perfect_gencov else "numerical", n_snps)


class _TimeUp(Exception):
    """Raised inside the search when its time is over."""


class _Best:
    """The best point that the search has seen."""

    def __init__(self) -> None:
        self.value, self.evaluations = np.inf, 0
        self.x: Floats = np.zeros(0)

    def see(self, value: float, x: Floats) -> None:
        self.evaluations += 1
        if value < self.value:
            self.value, self.x = value, x.copy()


def _parametrisation(correlation: Floats, perfect: bool) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Start vector, and the function from a vector to the root of Omega in units of the start's standard deviations."""
    k = len(correlation)
    if perfect:
        return np.ones(k), lambda x: x[:, None]
    lower = np.tril_indices(k)
    shrunk = _START_SHRINK * np.clip(correlation, -1.0, 1.0) + (1.0 - _START_SHRINK) * np.eye(k)
    values, vectors = np.linalg.eigh(shrunk)
    inside = (vectors * np.maximum(values, 0.1)) @ vectors.T

    def unpack(x: Floats) -> Floats:
        root = np.zeros((k, k))
        root[lower] = x
        return root

    return np.asarray(np.linalg.cholesky(inside)[lower], dtype=np.float64), unpack


def _pack(slope: Floats, perfect: bool) -> Floats:
    return slope[:, 0] if perfect else slope[np.tril_indices(len(slope))]


def _log_likelihood(data: Grouped, sigma: Floats, root: Floats) -> tuple[float, Floats]:
    """Log-likelihood up to a constant, and its gradient by Omega = root root' (k, k): D (C^-1 S C^-1 - m C^-1) D / 2 summed."""
    omega = root @ root.T
    value, gradient = 0.0, np.zeros_like(omega)
    for low in range(0, len(data.count), _BLOCK):
        part = slice(low, low + _BLOCK)
        d = np.sqrt(data.n[part])
        C = d[:, :, None] * omega * d[:, None, :] + sigma
        m = data.count[part]
        factor = np.linalg.cholesky(C)
        inverse = np.linalg.solve(C, np.broadcast_to(np.eye(len(omega)), C.shape))
        log_det = 2.0 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        product = inverse @ data.zz[part]
        value -= 0.5 * float((m * log_det).sum() + np.trace(product, axis1=1, axis2=2).sum())
        inner = product @ inverse - m[:, None, None] * inverse
        gradient += 0.5 * (d[:, :, None] * inner * d[:, None, :]).sum(axis=0)
    return value, (gradient + gradient.T) / 2.0
