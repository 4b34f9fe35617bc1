"""The upper bound of MTAG's false discovery rate: a search over how causal SNPs may be shared out among the traits.

The largest FDR (:mod:`gsem_spark.methods.mtag.fdr`) over all probabilities of the causal states on a lattice is maxFDR. States
are numbered as the binary numbers with the first trait in front: FFF FFT FTF FTT TFF ... . Lattice points are numbered in
lexicographic order, so that a range of numbers is a piece of work of its own and its best point is merged with the others'.

Source: Turley et al. 2018, Nat Genet 50:229, Online Methods and Supplementary Note 1.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.mtag.fdr import BLOCK_POINTS, FdrProblem, fdr_at, fdr_problem
from gsem_spark.methods.mtag.lattice import Lattice, grid
from gsem_spark.thresholds import GENOME_WIDE_P, MAX_FDR_WARN

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

REFINE_ROUNDS: Final = 8
"""Halvings of the step in the refinement: from 1/10 to about 1/2500."""
_GAIN: Final = 1e-12
"""A move of the refinement must raise the FDR by more than rounding."""


@dataclass(frozen=True)
class GridBest:
    """The best point so far for each trait; pieces of the grid merge to the whole's, whatever their order.

    Parameters
    ----------
    fdr
        (k,) largest FDR; -inf where no point was feasible.
    index
        (k,) lattice number of the point, the lowest of equals; -1 for none.
    probabilities
        (k, s) the points.
    searched, feasible
        Lattice points looked at, and those of them that satisfy all conditions.
    """

    fdr: Floats
    index: Ints
    probabilities: Floats
    searched: int
    feasible: int


@dataclass(frozen=True)
class MaxFdr:
    """Upper bound of each trait's false discovery rate.

    Parameters
    ----------
    traits, states
        (k,) names; (s, k) states in the order of the probabilities.
    fdr
        (k,) largest FDR on the lattice.
    index, probabilities
        (k,) number and (k, s) probabilities of the point that reaches it.
    refined_fdr, refined_probabilities
        The same after the refinement between lattice points; those of the lattice where there was none.
    searched, feasible
        Lattice points in all, and those that satisfy all conditions.
    intervals, p_threshold
        Settings.
    notices
        Sentences on traits whose bound is above 5 %, with the remedies.
    """

    traits: tuple[str, ...]
    states: Bools
    fdr: Floats
    index: Ints
    probabilities: Floats
    refined_fdr: Floats
    refined_probabilities: Floats
    searched: int
    feasible: int
    intervals: int
    p_threshold: float
    notices: tuple[str, ...]


def max_fdr(
    omega: ArrayLike,
    sigma: ArrayLike,
    n: ArrayLike,
    *,
    intervals: int = 10,
    p_threshold: float = GENOME_WIDE_P,
    states: ArrayLike | None = None,
    causal_share: ArrayLike | None = None,
    refine: bool = False,
    traits: Sequence[str] | None = None,
) -> MaxFdr:
    """Search the whole lattice in one process.

    Parameters
    ----------
    omega, sigma
        (k, k) as MTAG used them.
    n
        (k,) mean sample sizes.
    intervals
        Parts that [0, 1] is cut into; there are C(intervals + s - 1, s - 1) points for s states.
    p_threshold
        Significance of a hit.
    states
        (s, k) states that a SNP may be in; all 2^k when None. Fewer states make the bound smaller and the search faster.
    causal_share
        (k,) share of SNPs that are causal for each trait (see ``spike_slab``); only lattice points within one interval of it
        are searched. None: no restriction.
    refine
        Whether to search on between lattice points from the best one, with steps halved ``REFINE_ROUNDS`` times.
    traits
        Names, for messages.

    Raises
    ------
    ConfigError
        For settings that leave no point, or too many to number.
    DataError, ModelError
        As :func:`~gsem_spark.methods.mtag.estimate.estimate`.
    """
    problem = fdr_problem(omega, sigma, n, p_threshold=p_threshold, states=states, traits=traits)
    lattice = grid(problem.states.shape[1], intervals, problem.states)
    best = search(problem, lattice, 0, lattice.size, causal_share)
    return conclude(problem, lattice, best, traits=traits, refine=refine)


def search(
    problem: FdrProblem, lattice: Lattice, start: int, stop: int, causal_share: ArrayLike | None = None
) -> GridBest:
    """Find the best points among lattice numbers ``start`` to ``stop`` (excluded): the work of one task."""
    k, s = problem.states.shape[1], len(problem.states)
    best = GridBest(np.full(k, -np.inf), np.full(k, -1, dtype=np.int64), np.zeros((k, s)), 0, 0)
    for low in range(start, stop, BLOCK_POINTS):
        high = min(low + BLOCK_POINTS, stop)
        points = lattice.points(low, high)
        numbers = np.arange(low, high)
        if causal_share is not None:
            near = _near_share(points, problem.states, np.asarray(causal_share, np.float64), 1.0 / lattice.intervals)
            points, numbers = points[near], numbers[near]
        fdr = fdr_at(points, problem)
        best = merge_best([best, _best_of(fdr, points, numbers, high - low)])
    return best


def merge_best(parts: Sequence[GridBest]) -> GridBest:
    """Merge the best points of pieces of the lattice; of equal FDRs the lower number wins, so that order does not matter."""
    if not parts:
        raise DataError("there is no piece of the grid to merge")
    fdr, index = np.stack([p.fdr for p in parts]), np.stack([p.index for p in parts])
    order = np.lexsort((index, -fdr), axis=0)[0]
    traits = np.arange(fdr.shape[1])
    probabilities = np.stack([p.probabilities for p in parts])[order, traits]
    return GridBest(
        fdr[order, traits], index[order, traits], probabilities,
        sum(p.searched for p in parts), sum(p.feasible for p in parts),
    )


def conclude(
    problem: FdrProblem, lattice: Lattice, best: GridBest, *, traits: Sequence[str] | None = None, refine: bool = False,
    warn_above: float = MAX_FDR_WARN,
) -> MaxFdr:
    """Turn the best points of the whole lattice into the result, refined if asked for.

    Raises
    ------
    ConfigError
        When no lattice point is feasible.
    """
    k = problem.states.shape[1]
    names = tuple(traits) if traits is not None else tuple(f"trait {i + 1}" for i in range(k))
    if best.feasible == 0:
        raise ConfigError(
            f"none of {best.searched:,} grid points keeps the covariances of the causal SNPs positive semidefinite within the "
            "restrictions", where="intervals", remedy="take more intervals, more states, or no restriction of the causal shares",
        )
    refined = [refine_point(problem, t, best.probabilities[t], 1.0 / lattice.intervals) for t in range(k)] if refine else []
    refined_fdr = np.array([f for f, _ in refined]) if refine else best.fdr
    refined_points = np.stack([p for _, p in refined]) if refine else best.probabilities
    notices = tuple(
        f"maxFDR of {names[t]} is {refined_fdr[t]:.1%}, above {warn_above:.0%}: leave out the trait with the least power, "
        "restrict the grid to plausible shares of causal SNPs, or use Genomic SEM with Q_SNP instead"
        for t in np.flatnonzero(refined_fdr > warn_above)
    )
    return MaxFdr(
        names, problem.states, best.fdr, best.index, best.probabilities, refined_fdr, refined_points, best.searched,
        best.feasible, lattice.intervals, problem.p_threshold, notices,
    )


def refine_point(problem: FdrProblem, trait: int, point: Floats, step: float) -> tuple[float, Floats]:
    """Climb from a lattice point: move probability from one state to another, by steps halved when no move gains.

    Every pair of traits keeps sharing at least one interval's worth of causal SNPs, as at every lattice point: without that
    floor the bound grows without end as the shared SNPs become few and their effects large.

    Returns
    -------
    fdr, point
        Never below the FDR of the point given.
    """
    s = len(problem.states)
    giver, taker = (i.ravel() for i in np.meshgrid(np.arange(s), np.arange(s), indexing="ij"))
    moves = np.zeros((s * s, s))
    moves[np.arange(s * s), taker] += 1.0
    moves[np.arange(s * s), giver] -= 1.0
    moves = moves[giver != taker]
    here, current = float(fdr_at(point, problem)[0, trait]), np.asarray(point, np.float64)
    floor = step * (1.0 - _GAIN)
    for _ in range(REFINE_ROUNDS):
        step /= 2.0
        while True:
            tried = current + step * moves
            tried = tried[(tried >= -_GAIN).all(axis=1)].clip(min=0.0)
            tried = tried[(tried @ problem.both >= floor).all(axis=1)]
            if not len(tried):
                break
            fdr = fdr_at(tried, problem)[:, trait]
            if not np.isfinite(fdr).any() or np.nanmax(fdr) <= here + _GAIN:
                break
            at = int(np.nanargmax(fdr))
            here, current = float(fdr[at]), tried[at]
    return here, current


def _best_of(fdr: Floats, points: Floats, numbers: Ints, searched: int) -> GridBest:
    k, s = fdr.shape[1], points.shape[1]
    feasible = int(np.isfinite(fdr[:, 0]).sum())
    if feasible == 0:
        return GridBest(np.full(k, -np.inf), np.full(k, -1, dtype=np.int64), np.zeros((k, s)), searched, 0)
    at = np.nanargmax(fdr, axis=0)
    return GridBest(fdr[at, np.arange(k)], numbers[at].astype(np.int64), points[at], searched, feasible)


def _near_share(points: Floats, states: Bools, share: Floats, within: float) -> Bools:
    marginal = points @ states.astype(np.float64)
    return np.asarray((np.abs(marginal - share) < within).all(axis=1), dtype=np.bool_)
