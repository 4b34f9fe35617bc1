"""Adding the chunks up on the driver: block boundaries after the first pass, block sums after the second.

Chunks are added in chunk order and in no other, so that the sums are the same bits whatever the partitions were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.regression import (
    BLOCK_SUMS,
    PAIR_SUMS,
    FirstPass,
    PassPlan,
    SecondPass,
    aggregate_h2_per_snp,
    block_edges,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHISQ1_MEDIAN = 0.454936423119572768
"""Median of the chi-square distribution with one degree of freedom."""


@dataclass(frozen=True)
class PairTotals:
    """One pair of traits over all its SNPs.

    Parameters
    ----------
    n_snps
        SNPs that both traits have.
    mean_n, mean_chisq
        Per trait of the pair: mean sample size and mean chi-square over these SNPs.
    mean_zz
        Mean product of the Z-scores.
    lambda_gc
        Median chi-square over its expectation; NaN for pairs of different traits.
    """

    n_snps: int
    mean_n: tuple[float, float]
    mean_chisq: tuple[float, float]
    mean_zz: float
    lambda_gc: float

    def as_record(self) -> dict[str, Any]:
        """Plain numbers, for JSON; an unknown λGC is None."""
        known = bool(np.isfinite(self.lambda_gc))
        return {
            "n_snps": self.n_snps, "mean_n": list(self.mean_n), "mean_chisq": list(self.mean_chisq),
            "mean_zz": self.mean_zz, "lambda_gc": self.lambda_gc if known else None,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PairTotals:
        """Rebuild from :meth:`as_record`."""
        return cls(
            int(record["n_snps"]), (record["mean_n"][0], record["mean_n"][1]), (record["mean_chisq"][0], record["mean_chisq"][1]),
            float(record["mean_zz"]), np.nan if record["lambda_gc"] is None else float(record["lambda_gc"]),
        )


@dataclass(frozen=True)
class PairBlocks:
    """Sufficient statistics of one pair's regression.

    Parameters
    ----------
    count
        (n_blocks,) SNPs.
    xtx, xty
        (n_blocks, 2, 2) and (n_blocks, 2): XᵀWX and XᵀWy with columns (LD score, intercept), weights not normalised.
    totals
        The pair over all blocks.
    """

    count: Ints
    xtx: Floats
    xty: Floats
    totals: PairTotals


@dataclass(frozen=True)
class PassTotals:
    """What the first pass says about each pair: (p,) counts, (p, 7) sums; and each trait's chi-square bins (k, bins)."""

    count: Ints
    sums: Floats
    bins: Ints


def plan_second_pass(
    first: Sequence[FirstPass], pairs: Ints, names: Sequence[str], M: float, n_blocks: int
) -> tuple[PassPlan, PassTotals]:
    """Turn first-pass sums into weights and block boundaries.

    Parameters
    ----------
    first
        One per chunk, any order.
    pairs
        (p, 2) trait numbers.
    names
        Trait names, for messages.
    M
        SNPs of the LD-score panel.
    n_blocks
        Jackknife blocks.

    Raises
    ------
    DataError
        When a pair shares fewer SNPs than there are blocks; all such pairs are counted.
    """
    ordered = sorted(first, key=lambda part: part.chunk)
    count = np.zeros(len(pairs), dtype=np.int64)
    sums = np.zeros((len(pairs), PAIR_SUMS))
    bins = np.zeros_like(ordered[0].bins) if ordered else np.zeros((len(names), 1), dtype=np.int64)
    offsets = np.zeros((len(ordered), len(pairs)), dtype=np.int64)
    for c, part in enumerate(ordered):
        offsets[c] = count
        count += part.count
        sums += part.sums
        bins += part.bins
    _enough_snps(count, pairs, names, n_blocks)
    h2 = np.column_stack([
        aggregate_h2_per_snp(count.astype(np.float64), sums[:, 2 + side], sums[:, 4 + side], M) for side in (0, 1)
    ])
    wanted = {int(i) for i, j in pairs if i == j}
    median = np.array([_median_bins(bins[t]) if t in wanted else (0, -1) for t in range(len(names))], dtype=np.int64)
    edges = np.stack([block_edges(int(n), n_blocks) for n in count])
    chunks = np.array([part.chunk for part in ordered], dtype=np.int64)
    return PassPlan(pairs, chunks, offsets, edges, h2, median), PassTotals(count, sums, bins)


def collect_blocks(second: Sequence[SecondPass], plan: PassPlan, totals: PassTotals) -> list[PairBlocks]:
    """Add second-pass sums up, block by block, and attach each pair's totals; in the order of ``plan.pairs``."""
    ordered = sorted(second, key=lambda part: part.chunk)
    n_pairs, n_blocks = len(plan.pairs), plan.edges.shape[1] - 1
    count = np.zeros((n_pairs, n_blocks), dtype=np.int64)
    sums = np.zeros((n_pairs, n_blocks, BLOCK_SUMS))
    for part in ordered:
        # A chunk touches a block of a pair at most once, so plain indexed addition is safe.
        count[part.pair, part.block] += part.count
        sums[part.pair, part.block] += part.sums
    medians = _medians(ordered, plan, totals)
    out = []
    for p, (i, j) in enumerate(plan.pairs):
        s = sums[p]
        xtx = np.stack([s[:, [0, 1]], s[:, [1, 2]]], axis=1)
        n, t = int(totals.count[p]), totals.sums[p]
        lambda_gc = float(medians[i]) / CHISQ1_MEDIAN if i == j else np.nan
        figures = PairTotals(n, (t[0] / n, t[1] / n), (t[2] / n, t[3] / n), t[6] / n, lambda_gc)
        out.append(PairBlocks(count[p], xtx, s[:, 3:5].copy(), figures))
    return out


def _enough_snps(count: Ints, pairs: Ints, names: Sequence[str], n_blocks: int) -> None:
    few = np.flatnonzero(count < 2 * n_blocks)
    if few.size == 0:
        return
    i, j = pairs[few[0]]
    what = f"{names[i]} has {count[few[0]]:,} SNPs" if i == j else f"{names[i]} and {names[j]} share {count[few[0]]:,} SNPs"
    more = f" ({few.size - 1} more pairs likewise)" if few.size > 1 else ""
    raise DataError(
        f"{what} with the LD scores, too few for {n_blocks} jackknife blocks of at least 2{more}",
        remedy="check that SNP names match the LD-score panel (rsIDs), or lower n_blocks",
    )


def _median_bins(bins: Ints) -> tuple[int, int]:
    """First and last bin that hold the middle one or two of the values."""
    below = np.cumsum(bins)
    n = int(below[-1])
    return int(np.searchsorted(below, (n - 1) // 2, "right")), int(np.searchsorted(below, n // 2, "right"))


def _medians(second: Sequence[SecondPass], plan: PassPlan, totals: PassTotals) -> Floats:
    """Exact median chi-square per trait, from the values of the bins that hold it; NaN where none was asked for."""
    trait = np.concatenate([part.middle_trait for part in second])
    value = np.concatenate([part.middle for part in second])
    out = np.full(len(plan.median_bins), np.nan)
    for t, (low, high) in enumerate(plan.median_bins):
        if high < low:
            continue
        n, below = int(totals.bins[t].sum()), int(totals.bins[t][:low].sum())
        middle = np.sort(value[trait == t])
        out[t] = (middle[(n - 1) // 2 - below] + middle[n // 2 - below]) / 2.0
    return out
