"""LD score regression as sums over chunks of SNPs: what the executors compute.

A chunk is a run of :data:`CHUNK_SNPS` consecutive SNPs of the LD-score panel, so chunks come from the data and never from
partitions; every number here depends on one chunk alone. Two passes over the chunks give all pairs of traits at once:

1. :func:`first_pass`: counts and means per pair, from which the driver knows each pair's weights and where its blocks end;
2. :func:`second_pass`: XᵀWX and XᵀWy per pair and block.

Between them and after them the driver adds the chunks up in chunk order (:mod:`gsem_spark.methods.ldsc.blocks`).

Source: Bulik-Sullivan et al. 2015, Nat Genet 47:291 (regression and weights); 47:1236 (cross-trait); the single-step weights
from each trait's aggregate h2 are those of Grotzinger et al. 2019, Nat Hum Behav 3:513 (GenomicSEM 0.0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK_SNPS: Final = 4096
"""Panel SNPs per chunk: chunk = ord // 4096. Part of the result (it fixes the order of summation); never change it lightly."""

PAIR_SUMS: Final = 7
"""Columns of a pair's first-pass sums after its count: N1, N2, z1², z2², L·N1, L·N2, z1·z2."""
BLOCK_SUMS: Final = 5
"""Columns of a block's sums after its count: w²L², w²L, w², w²L·z1z2, w²·z1z2."""

MEDIAN_BINS: Final = 384
_MEDIAN_SHIFT: Final = 48
_MEDIAN_FIRST: Final = (1023 - 14) << 4
"""Chi-square bins of 16 per power of two, from 2**-14 to 2**10: the leading 16 bits of the float are the bin."""


@dataclass(frozen=True)
class TraitRows:
    """One trait's SNPs in one chunk, by place in the panel; a SNP that a file holds twice stands here twice.

    Parameters
    ----------
    ord
        (n,) place in the LD-score panel, not decreasing.
    z, n
        (n,) Z-scores and sample sizes.
    l2, wld
        (n,) LD score, and LD score of the regression weights.
    """

    ord: Ints
    z: Floats
    n: Floats
    l2: Floats
    wld: Floats

    def take(self, at: slice | Ints | NDArray[np.bool_]) -> TraitRows:
        """Take some of the rows."""
        return TraitRows(self.ord[at], self.z[at], self.n[at], self.l2[at], self.wld[at])

    @property
    def unique(self) -> bool:
        """Whether no SNP stands here twice."""
        return bool((self.ord[1:] > self.ord[:-1]).all())


@dataclass(frozen=True)
class FirstPass:
    """Sums of one chunk.

    Parameters
    ----------
    chunk
        Chunk number.
    count
        (p,) SNPs that both traits of a pair have.
    sums
        (p, 7) sums over them, see :data:`PAIR_SUMS`.
    bins
        (k, MEDIAN_BINS) SNPs of each trait by chi-square bin.
    """

    chunk: int
    count: Ints
    sums: Floats
    bins: Ints


@dataclass(frozen=True)
class SecondPass:
    """Block sums of one chunk, one row per pair and block that the chunk touches, and the chi-squares near the medians.

    Parameters
    ----------
    chunk
        Chunk number.
    pair, block, count
        (r,) pair number, block number, SNPs.
    sums
        (r, 5) see :data:`BLOCK_SUMS`.
    middle_trait, middle
        (q,) trait numbers and chi-squares that lie in the bins that hold their trait's median.
    """

    chunk: int
    pair: Ints
    block: Ints
    count: Ints
    sums: Floats
    middle_trait: Ints
    middle: Floats


@dataclass(frozen=True)
class PassPlan:
    """What the second pass must know of the whole: small, made by the driver, sent to every worker.

    Parameters
    ----------
    pairs
        (p, 2) trait numbers.
    chunks
        (c,) chunk numbers, increasing.
    offsets
        (c, p) SNPs of each pair in all earlier chunks.
    edges
        (p, n_blocks + 1) first SNP of each block among the pair's SNPs, and their number at the end.
    h2_per_snp
        (p, 2) aggregate h2 / M of both traits over the pair's SNPs.
    median_bins
        (k, 2) first and last bin that holds a trait's median; (0, -1) where no median is wanted.
    """

    pairs: Ints
    chunks: Ints
    offsets: Ints
    edges: Ints
    h2_per_snp: Floats
    median_bins: Ints


def split_chunk(trait: Ints, rows: TraitRows, chisq_max: Floats) -> list[TraitRows]:
    """Sort a chunk's rows out by trait, leaving out what is not finite and SNPs with z² above the trait's limit.

    Parameters
    ----------
    trait
        (r,) trait number of each row, not decreasing.
    rows
        Rows of all traits, one trait after the other.
    chisq_max
        (k,) largest chi-square that takes part, per trait.
    """
    keep = (rows.z * rows.z <= chisq_max[trait]) & np.isfinite(rows.n)
    if not keep.all():
        trait, rows = trait[keep], rows.take(keep)
    at = np.searchsorted(trait, np.arange(chisq_max.size + 1))
    return [rows.take(slice(i, j)) for i, j in pairwise(at)]


def first_pass(chunk: int, rows: Sequence[TraitRows], pairs: Ints) -> FirstPass:
    """Count and add up every pair's SNPs in one chunk, and bin every trait's chi-squares for its exact median."""
    count = np.zeros(len(pairs), dtype=np.int64)
    sums = np.zeros((len(pairs), PAIR_SUMS))
    match = _Matcher(rows)
    for p, (i, j) in enumerate(pairs):
        at_i, at_j = match(i, j)
        z1, n1, l2 = rows[i].z[at_i], rows[i].n[at_i], rows[i].l2[at_i]
        z2, n2 = rows[j].z[at_j], rows[j].n[at_j]
        count[p] = z1.size
        sums[p] = np.stack([n1, n2, z1 * z1, z2 * z2, l2 * n1, l2 * n2, z1 * z2]).sum(axis=1)
    bins = np.stack([np.bincount(chisq_bin(t.z * t.z), minlength=MEDIAN_BINS) for t in rows]).astype(np.int64)
    return FirstPass(chunk, count, sums, bins)


def second_pass(chunk: int, rows: Sequence[TraitRows], plan: PassPlan) -> SecondPass:
    """Add up XᵀWX and XᵀWy of every pair and block in one chunk.

    The weights are not normalised: a common factor of a pair's weights cancels out of its solution.
    """
    offsets = plan.offsets[np.searchsorted(plan.chunks, chunk)]
    pair, block, count, sums = [], [], [], []
    match = _Matcher(rows)
    for p, (i, j) in enumerate(plan.pairs):
        at_i, at_j = match(i, j)
        terms = _terms(rows[i], at_i, rows[j], at_j, plan.h2_per_snp[p])
        if terms.shape[1] == 0:
            continue
        blocks, starts, sizes = _cut(plan.edges[p], int(offsets[p]), terms.shape[1])
        pair.append(np.full(blocks.size, p))
        block.append(blocks)
        count.append(sizes)
        sums.append(np.add.reduceat(terms, starts, axis=1).T)
    middle_trait, middle = _middle(rows, plan.median_bins)
    return SecondPass(
        chunk, _joined(pair), _joined(block), _joined(count),
        np.concatenate(sums) if sums else np.zeros((0, BLOCK_SUMS)), middle_trait, middle,
    )


def aggregate_h2_per_snp(n_snps: Floats, sum_chisq: Floats, sum_l2_n: Floats, M: float) -> Floats:
    """Aggregate h2 over M: (mean χ² − 1) / mean(L·N), the h2 held between 0 and 1.

    Source: Bulik-Sullivan et al. 2015, Nat Genet 47:291, eq. 1 averaged over SNPs with an intercept of 1.
    """
    usable = sum_l2_n > 0
    aggregate = np.where(usable, M * (sum_chisq - n_snps) / np.where(usable, sum_l2_n, 1.0), 0.0)
    return np.clip(aggregate, 0.0, 1.0) / M


def block_edges(n_snps: int, n_blocks: int) -> Ints:
    """First SNP (0-based) of each of ``n_blocks`` consecutive blocks, and ``n_snps`` at the end; (n_blocks + 1,).

    Block b starts at floor(1 + b (n − 1) / n_blocks), counted from 1, as R's ``seq`` gives it.
    """
    step = (n_snps - 1) / n_blocks
    edges = np.floor(1.0 + np.arange(n_blocks + 1) * step).astype(np.int64) - 1
    edges[-1] = n_snps
    return np.asarray(edges, dtype=np.int64)


def chisq_bin(chisq: Floats) -> Ints:
    """Bin of each chi-square; bins grow with the value, and 0 and the last one are open."""
    key = np.ascontiguousarray(chisq).view(np.int64) >> _MEDIAN_SHIFT
    return np.asarray(np.clip(key - _MEDIAN_FIRST, 0, MEDIAN_BINS - 1), dtype=np.int64)


class _Matcher:
    """Rows of two traits of a chunk that belong together: every copy of a SNP with every copy (as a database join)."""

    def __init__(self, rows: Sequence[TraitRows]) -> None:
        self._rows = rows
        self._unique = [t.unique for t in rows]

    def __call__(self, i: int, j: int) -> tuple[slice | Ints, slice | Ints]:
        everything = slice(None)
        a, b = self._rows[i].ord, self._rows[j].ord
        if i == j:
            return everything, everything
        if self._unique[i] and self._unique[j]:
            if np.array_equal(a, b):
                return everything, everything
            place = np.searchsorted(b, a)
            place[place == b.size] = 0
            hit = b[place] == a if b.size else np.zeros(a.size, dtype=bool)
            return np.flatnonzero(hit), place[hit]
        first, last = np.searchsorted(b, a, "left"), np.searchsorted(b, a, "right")
        copies = last - first
        at_i = np.repeat(np.arange(a.size), copies)
        before = np.cumsum(copies) - copies
        return at_i, np.arange(at_i.size) - np.repeat(before, copies) + np.repeat(first, copies)


def _terms(a: TraitRows, at_a: slice | Ints, b: TraitRows, at_b: slice | Ints, h2_per_snp: Floats) -> Floats:
    """Per SNP the five products whose block sums are XᵀWX and XᵀWy; (5, m)."""
    l2 = a.l2[at_a]
    floor_l2 = np.maximum(l2, 1.0)
    root_wld = np.sqrt(2.0 * np.maximum(a.wld[at_a], 1.0))
    root_w = 1.0 / ((1.0 + h2_per_snp[0] * a.n[at_a] * floor_l2) * root_wld)
    if a is not b:
        root_w = root_w + 1.0 / ((1.0 + h2_per_snp[1] * b.n[at_b] * floor_l2) * root_wld)
    w = root_w * root_w
    y = a.z[at_a] * b.z[at_b]
    out = np.empty((BLOCK_SUMS, l2.size))
    out[2] = w
    np.multiply(w, l2, out=out[1])
    np.multiply(out[1], l2, out=out[0])
    np.multiply(out[1], y, out=out[3])
    np.multiply(w, y, out=out[4])
    return out


def _cut(edges: Ints, offset: int, size: int) -> tuple[Ints, Ints, Ints]:
    """Blocks that SNPs offset .. offset + size - 1 of a pair fall into, where each starts among them, and its size there."""
    first = int(np.searchsorted(edges, offset, "right")) - 1
    last = int(np.searchsorted(edges, offset + size - 1, "right")) - 1
    blocks = np.arange(first, last + 1)
    starts = np.maximum(edges[blocks] - offset, 0)
    return blocks, starts, np.diff(np.append(starts, size))


def _middle(rows: Sequence[TraitRows], bins: Ints) -> tuple[Ints, Floats]:
    traits, values = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for t, (low, high) in enumerate(bins):
        if high < low:
            continue
        chisq = rows[t].z * rows[t].z
        at = chisq_bin(chisq)
        chosen = chisq[(at >= low) & (at <= high)]
        traits.append(np.full(chosen.size, t, dtype=np.int64))
        values.append(chosen)
    return np.concatenate(traits), np.concatenate(values)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
