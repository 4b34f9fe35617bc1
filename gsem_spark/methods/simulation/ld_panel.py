"""The SNPs of a simulation: LD scores (a real panel's or simulated ones), frequencies, alleles and positions, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.simulation.streams import stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]

BASES: Final = "ACGT"
"""Alleles are stored as positions in this string, chosen so that the complement of code c is 3 - c."""

AUTOSOME_BP: Final = (
    249_250_621, 243_199_373, 198_022_430, 191_154_276, 180_915_260, 171_115_067, 159_138_663, 146_364_022, 141_213_431,
    135_534_747, 135_006_516, 133_851_895, 115_169_878, 107_349_540, 102_531_392, 90_354_753, 81_195_210, 78_077_248,
    59_128_983, 63_025_520, 48_129_895, 51_304_566,
)  # fmt: skip
"""Lengths of chromosomes 1 to 22 in GRCh37, base pairs."""
CM_PER_BP: Final = 1.1e-6
MAF_DIGITS: Final = 4
"""Decimals of frequencies in written files; the panel is rounded to them first, so that files and draws agree."""


@dataclass(frozen=True)
class Panel:
    """SNPs with LD scores, sorted by chromosome and position.

    Parameters
    ----------
    snp
        rsIDs, shape (M,), text.
    chr, bp, cm
        Chromosome 1 to 22, position (base pairs, 1-based), position (centimorgan); shape (M,).
    maf
        Minor allele frequency, shape (M,), in (0, 0.5].
    l2
        LD score, shape (M,), sum of r² with the reference SNPs.
    m_5_50
        Number of reference SNPs with MAF above 5 % per chromosome, in the order of ``chromosomes``.
    a1, a2
        Allele codes into :data:`BASES`, shape (M,), uint8; the panel's allele order.
    a1_freq
        Frequency of a1, shape (M,), maf or 1 - maf.
    """

    snp: NDArray[Any]
    chr: Ints
    bp: Ints
    cm: Floats
    maf: Floats
    l2: Floats
    m_5_50: Floats
    a1: Codes
    a2: Codes
    a1_freq: Floats

    @property
    def size(self) -> int:
        """Number of SNPs."""
        return len(self.bp)

    @property
    def M(self) -> float:
        """M_5_50 over all chromosomes: LDSC's M."""
        return float(self.m_5_50.sum())

    @property
    def chromosomes(self) -> Ints:
        """The chromosomes that have SNPs, ascending."""
        return np.unique(self.chr)

    def chromosome_slices(self) -> list[tuple[int, slice]]:
        """(chromosome, rows) pairs in order."""
        codes, start = np.unique(self.chr, return_index=True)
        stop = np.append(start[1:], self.size)
        return [(int(c), slice(int(a), int(b))) for c, a, b in zip(codes, start, stop, strict=True)]

    @property
    def ambiguous(self) -> NDArray[np.bool_]:
        """SNPs whose alleles are each other's complement (A/T, C/G), shape (M,)."""
        return np.asarray(self.a1 + self.a2 == 3)


def panel_from_ld_scores(
    snp: NDArray[Any], chr: Ints, bp: Ints, cm: Floats, maf: Floats, l2: Floats, m_5_50: Floats, *, seed: int,
    ambiguous: float = 0.01,
) -> Panel:  # fmt: skip
    """Make a panel of given LD scores; alleles, which LD-score files do not hold, are drawn.

    Raises
    ------
    DataError
        When the panel is empty, not sorted by chromosome, or its MAF or L2 column has values that cannot be used.
    """
    if len(bp) == 0 or np.any(np.diff(chr) < 0):
        raise DataError("LD scores must be sorted by chromosome and hold at least one SNP", where="simulate/ld_scores")
    bad = ~(np.isfinite(maf) & (maf > 0) & (maf < 1) & np.isfinite(l2))
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(bp)} SNPs have no usable MAF in (0, 1) or no L2, the first is {snp[int(np.argmax(bad))]}",
            where="simulate/ld_scores", remedy="Use a panel with MAF and L2 columns, or leave these SNPs out.",
        )  # fmt: skip
    minor = np.maximum(np.round(np.minimum(maf, 1.0 - maf), MAF_DIGITS), 10.0**-MAF_DIGITS)
    panel = Panel(snp, chr, bp, cm, minor, l2, m_5_50, np.zeros(len(bp), np.uint8), np.zeros(len(bp), np.uint8), minor)
    return _with_alleles(panel, seed, ambiguous)


def simulate_panel(
    n_snps: int, *, seed: int, M: float = 1_000_000.0, mean_l2: float = 78.0, log_sd: float = 0.74, neighbour: float = 0.9,
    ambiguous: float = 0.01, first_id: int = 90_000_000,
) -> Panel:  # fmt: skip
    """Draw a panel: log-normal LD scores that are alike between neighbours, uniform MAF, uniform positions.

    log l2 is a stationary AR(1) series along each chromosome, so that LDSC's block jackknife meets blocks that differ, as
    it does in real panels. SNPs are shared out over 22 chromosomes by length.

    Parameters
    ----------
    n_snps
        SNPs, at least 22.
    M
        M_5_50 of the whole genome, shared out like the SNPs.
    mean_l2, log_sd
        Mean of l2, standard deviation of log l2.
    neighbour
        Correlation of log l2 between neighbours, in [0, 1).
    ambiguous
        Share of A/T and C/G SNPs, in [0, 1].
    first_id
        rsIDs are ``rs<first_id>`` upwards.
    """
    lengths = np.array(AUTOSOME_BP, dtype=np.float64)
    if n_snps < len(lengths):
        raise ConfigError(f"a panel needs at least {len(lengths)} SNPs, one a chromosome, got {n_snps}", where="simulate/n_snps")
    counts = _share_out(n_snps, lengths)
    parts: dict[str, list[Floats]] = {"bp": [], "maf": [], "l2": []}
    for i, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        rng = stream(seed, "panel", i + 1)
        parts["bp"].append(np.sort(_distinct_positions(rng, int(count), int(length))).astype(np.float64))
        parts["maf"].append(np.round(rng.uniform(0.01, 0.5, count), MAF_DIGITS))
        log_l2 = np.log(mean_l2) - log_sd**2 / 2 + log_sd * autoregressive(rng.standard_normal(count), neighbour)
        parts["l2"].append(np.round(np.exp(log_l2), 3))
    bp = np.concatenate(parts["bp"]).astype(np.int64)
    snp = np.char.add("rs", np.arange(first_id, first_id + n_snps).astype(str)).astype(object)
    maf = np.concatenate(parts["maf"])
    empty = np.zeros(n_snps, np.uint8)
    panel = Panel(
        snp=snp, chr=np.repeat(np.arange(1, 23), counts), bp=bp, cm=np.round(bp * CM_PER_BP, 4), maf=maf,
        l2=np.concatenate(parts["l2"]), m_5_50=_share_out(round(M), lengths).astype(np.float64), a1=empty, a2=empty, a1_freq=maf,
    )  # fmt: skip
    return _with_alleles(panel, seed, ambiguous)


def autoregressive(noise: Floats, rho: float) -> Floats:
    """Turn independent standard normals (first axis: SNPs) into a stationary AR(1) series with unit variance."""
    if rho == 0.0 or len(noise) == 0:
        return noise
    x = noise * np.sqrt(1.0 - rho**2)
    x[0] = noise[0]
    return np.asarray(lfilter([1.0], [1.0, -rho], x, axis=0), dtype=np.float64)


def _share_out(total: int, weights: Floats) -> Ints:
    """Share a whole number out by weights, at least 1 each, by largest remainders; the parts sum to ``total``."""
    share = (total - len(weights)) * weights / weights.sum()
    parts = np.floor(share).astype(np.int64)
    short = total - len(weights) - int(parts.sum())
    parts[np.argsort(parts - share, kind="stable")[:short]] += 1
    return np.asarray(parts + 1)


def _distinct_positions(rng: np.random.Generator, count: int, length: int) -> Ints:
    """Distinct positions in 1..length: gaps between sorted uniform values are opened by one base pair each."""
    if count > length:
        raise ConfigError(f"{count} SNPs do not fit on a chromosome of {length} base pairs", where="simulate/n_snps",
                          remedy="Lower n_snps.")  # fmt: skip
    return np.asarray(np.sort(rng.integers(1, length - count + 2, count)) + np.arange(count), dtype=np.int64)


def _with_alleles(panel: Panel, seed: int, ambiguous: float) -> Panel:
    a1, a2 = np.empty(panel.size, np.uint8), np.empty(panel.size, np.uint8)
    minor_first = np.empty(panel.size, bool)
    for chromosome, rows in panel.chromosome_slices():
        rng = stream(seed, "alleles", chromosome)
        m = rows.stop - rows.start
        first = rng.integers(0, 4, m).astype(np.uint8)
        # The three other bases are the complement (ambiguous) and two that are not.
        unlike = np.array([[1, 2], [0, 3], [0, 3], [1, 2]], np.uint8)[first, rng.integers(0, 2, m)]
        a1[rows], a2[rows] = first, np.where(rng.random(m) < ambiguous, 3 - first, unlike)
        minor_first[rows] = rng.random(m) < 0.5
    freq: Floats = np.round(np.where(minor_first, panel.maf, 1.0 - panel.maf), MAF_DIGITS).astype(np.float64)
    return replace(panel, a1=a1, a2=a2, a1_freq=freq)
