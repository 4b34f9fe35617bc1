"""MTAG's false discovery rate where causal SNPs are shared out among the traits in a given way.

MTAG takes all SNPs to have the same Omega. Where SNPs are null for some traits, it may find a trait's "hit" at a SNP that is null
for it. Take a mixture: a SNP is in state s (the set of traits it is causal for) with probability pi_s; causal SNPs have the
covariances Omega_pq / P(causal for p and q), so that the whole keeps Omega. For given probabilities trait t has

    FDR_t = sum over s without t of pi_s power_st / sum over all s of pi_s power_st,
    power_st = P(|Z_t| > z(p) | state s), Z_t normal with variance w' (Omega_s + Sigma_N) w / w' A w,

w being MTAG's weights of trait t. That variance is linear in the inverse shares 1 / P(causal for p and q), so that a block of
points is a few sums of vectors.

Source: Turley et al. 2018, Nat Genet 50:229, Online Methods and Supplementary Note 1.1.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.mtag.estimate import checked_sigma, fixed_omega
from gsem_spark.methods.mtag.lattice import causal_states
from gsem_spark.methods.mtag.matrices import PSD_RTOL
from gsem_spark.thresholds import GENOME_WIDE_P

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

BLOCK_POINTS: Final = 8192
"""Points that are worked on at a time, to stay in the processor's cache."""
_CLEAR_PIVOT: Final = 1e-9
_EIGENVALUE_TOLERANCE: Final = 1e-12
"""On the scale of correlations: a smallest eigenvalue above minus this is 0 to rounding."""


@dataclass(frozen=True)
class FdrProblem:
    """What does not change from point to point; small, sent to every worker.

    Parameters
    ----------
    states
        (s, k) which traits a SNP of each state is causal for.
    p_threshold
        Significance of a hit.
    omega
        (k, k).
    pairs
        (2, k(k+1)/2) trait numbers of the distinct pairs, p <= q.
    both
        (s, pairs) 1 where the state is causal for both.
    noise
        (k,) variance of the trait's MTAG Z in a SNP that is null for all.
    gain
        (k, pairs, s) what 1 / P(causal for p and q) adds to that variance in each state.
    """

    states: Bools
    p_threshold: float
    omega: Floats
    pairs: Ints
    both: Floats
    noise: Floats
    gain: Floats


def fdr_problem(
    omega: ArrayLike,
    sigma: ArrayLike,
    n: ArrayLike,
    *,
    p_threshold: float = GENOME_WIDE_P,
    states: ArrayLike | None = None,
    traits: Sequence[str] | None = None,
) -> FdrProblem:
    """Compute what all points share; parameters as for :func:`~gsem_spark.methods.mtag.maxfdr.max_fdr`.

    Raises
    ------
    ConfigError
        For a p-threshold outside (0, 1), or states by which some pair of traits never shares a SNP.
    DataError, ModelError
        As :func:`~gsem_spark.methods.mtag.estimate.estimate`.
    """
    N = np.asarray(n, np.float64)
    k = N.size
    names = tuple(traits) if traits is not None else tuple(f"trait {i + 1}" for i in range(k))
    sigma_used, _ = checked_sigma(sigma, names)
    om = fixed_omega(omega, names).omega
    if not (np.isfinite(N) & (N > 0)).all():
        raise DataError(f"mean sample sizes are {', '.join(map(str, N.tolist()))}", where="n", remedy="give N above 0")
    if not 0.0 < p_threshold < 1.0:
        raise ConfigError(f"the p-value threshold is {p_threshold}", where="p_threshold", remedy="give a number in (0, 1)")
    chosen = causal_states(k) if states is None else _checked_states(states, k)
    pairs = np.stack(np.triu_indices(k)).astype(np.int64)
    both = (chosen[:, pairs[0]] & chosen[:, pairs[1]]).astype(np.float64)
    if not both.any(axis=0).all():
        i, j = pairs[:, int(np.flatnonzero(~both.any(axis=0))[0])]
        raise ConfigError(
            f"in none of the {len(chosen)} states a SNP is causal for both {names[i]} and {names[j]}", where="states",
            remedy="allow the state in which a SNP is causal for all traits",
        )
    noise, gain = _variances(om, sigma_used, N, pairs, both)
    return FdrProblem(chosen, float(p_threshold), om, pairs, both, noise, gain)


def fdr_at(points: ArrayLike, problem: FdrProblem) -> Floats:
    """False discovery rate of each trait at given probabilities.

    Parameters
    ----------
    points
        (g, s) probabilities of the states, rows that sum to 1.
    problem
        From :func:`fdr_problem`.

    Returns
    -------
    Floats
        (g, k); NaN in rows that are not feasible: a pair of traits shares no causal SNP, or the covariance matrix of SNPs
        causal for all traits is not positive semidefinite.
    """
    P = np.atleast_2d(np.asarray(points, np.float64))
    k = problem.states.shape[1]
    out = np.full((len(P), k), np.nan)
    for low in range(0, len(P), BLOCK_POINTS):
        part = np.ascontiguousarray(P[low : low + BLOCK_POINTS].T)
        shared = _shared(part, problem)
        rows = np.flatnonzero((shared > 0).all(axis=0))
        rows = rows[_semidefinite(shared[:, rows], problem)]
        if rows.size:
            out[low + rows] = _fdr_of(part[:, rows], 1.0 / shared[:, rows], problem).T
    return out


def _variances(omega: Floats, sigma: Floats, n: Floats, pairs: Ints, both: Floats) -> tuple[Floats, Floats]:
    """``noise`` and ``gain`` of :class:`FdrProblem`.

    With C = D Omega D + Sigma the weights of trait t on the Z-scores are proportional to u = C^-1 D omega_t, and
    w' A w = u'Cu - (u' D omega_t)^2 / omega_tt = q - q^2 / omega_tt for q = u' D omega_t.
    """
    k = len(n)
    root = np.sqrt(n)
    covariance = root[:, None] * omega * root + sigma
    u = np.linalg.solve(covariance, root[:, None] * omega)
    q = np.einsum("it,it->t", u, root[:, None] * omega)
    denominator = q - q * q / np.diag(omega)
    noise = np.einsum("it,ij,jt->t", u, sigma, u) / denominator
    p, r = pairs
    twice = np.where(p == r, 1.0, 2.0)
    each = twice * (root[p] * root[r] * omega[p, r])[None, :] * u[p].T * u[r].T / denominator[:, None]
    return noise, np.stack([each[t][:, None] * both.T for t in range(k)])


def _shared(points: Floats, problem: FdrProblem) -> Floats:
    """P(causal for p and q), (pairs, g), of points (s, g)."""
    return np.stack([_added(points, np.flatnonzero(states)) for states in problem.both.T])


def _added(rows: Floats, numbers: Iterable[int]) -> Floats:
    """Some rows of an array, added up in their order: NumPy's own sum takes another order where there is one column."""
    total = np.zeros(rows.shape[1])
    for number in numbers:
        total += rows[number]
    return total


def _semidefinite(shared: Floats, problem: FdrProblem) -> Bools:
    """Whether Omega_pq / P(p and q) is positive semidefinite at each point: all eigenvalues at least 0, to rounding."""
    k = problem.states.shape[1]
    p, r = problem.pairs
    scaled = problem.omega[p, r][:, None] / shared
    if k == 2:
        return np.asarray(np.sqrt(scaled[0] * scaled[2]) >= np.abs(scaled[1]) * (1.0 - PSD_RTOL), dtype=np.bool_)
    # On the scale of correlations eigenvalues are of order 1, and Cholesky's pivots tell all but the borderline cases.
    scale = np.sqrt(scaled[np.flatnonzero(p == r)])
    pivots = _smallest_pivot(scaled, scale, k)
    verdict = pivots > _CLEAR_PIVOT
    doubtful = np.flatnonzero(np.abs(pivots) <= _CLEAR_PIVOT)
    if doubtful.size:
        full = np.empty((doubtful.size, k, k))
        full[:, p, r] = full[:, r, p] = (scaled[:, doubtful] / (scale[p][:, doubtful] * scale[r][:, doubtful])).T
        values = np.linalg.eigvalsh(full)
        verdict[doubtful] = values[:, 0] >= -_EIGENVALUE_TOLERANCE
    return np.asarray(verdict, dtype=np.bool_)


def _smallest_pivot(scaled: Floats, scale: Floats, k: int) -> Floats:
    """Smallest pivot of L D L' of each correlation matrix; past one that is not clearly positive the others mean nothing."""
    places = combinations_with_replacement(range(k), 2)
    a = {(i, j): scaled[c] / (scale[i] * scale[j]) for c, (i, j) in enumerate(places)}
    smallest = np.ones(scaled.shape[1])
    for j in range(k):
        pivot = a[j, j]
        smallest = np.minimum(smallest, pivot)
        safe = np.where(pivot > _CLEAR_PIVOT, pivot, 1.0)
        for i in range(j + 1, k):
            ratio = a[j, i] / safe
            for m in range(i, k):
                a[i, m] = a[i, m] - ratio * a[j, m]
    return smallest


def _fdr_of(points: Floats, inverse_shared: Floats, problem: FdrProblem) -> Floats:
    """(k, g) of points (s, g), by sums that go state by state: a matrix product's bits depend on how many points it is given."""
    k, s = problem.states.shape[1], len(problem.states)
    limit = -special.ndtri(problem.p_threshold / 2.0) / np.sqrt(2.0)
    out, hits, term = np.empty((k, points.shape[1])), np.empty_like(points), np.empty(points.shape[1])
    for t in range(k):
        hits[:] = problem.noise[t]
        for state in range(s):
            for c in np.flatnonzero(problem.gain[t, :, state]):
                np.multiply(inverse_shared[c], problem.gain[t, c, state], out=term)
                hits[state] += term
        np.sqrt(hits, out=hits)
        np.divide(limit, hits, out=hits)
        special.erfc(hits, out=hits)
        hits *= points
        out[t] = _added(hits, np.flatnonzero(~problem.states[:, t])) / _added(hits, range(s))
    return out


def _checked_states(states: ArrayLike, k: int) -> Bools:
    chosen = np.asarray(states)
    if chosen.ndim != 2 or chosen.shape[1] != k or not np.isin(chosen, (0, 1)).all():
        raise ConfigError(
            f"states have the shape {chosen.shape}, but there are {k} traits", where="states",
            remedy=f"give rows of {k} zeros and ones, one row a state",
        )
    chosen = chosen.astype(bool)
    if len(np.unique(chosen, axis=0)) != len(chosen):
        raise ConfigError("a state stands there twice", where="states", remedy="give every state once")
    return chosen
