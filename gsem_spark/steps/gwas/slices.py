"""Slices: the parts of a genome that per-SNP steps compute, commit and resume by, and how they are shared out.

A slice is a stretch of 50 Mb of one chromosome, whatever the run: results of the same SNPs stand in the same slice however many
workers, sessions or jobs of a scheduler made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError

SLICE_BP: Final = 50_000_000
"""Length of a slice: some 70 of like size on a human genome."""
_PER_CHROMOSOME: Final = 100
"""Slices of one chromosome are numbered from chromosome x 100; what lies beyond the hundredth belongs to it."""


def slice_of(chromosome: NDArray[np.int64], bp: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slice of each position; SNPs without a position belong to the first of their chromosome."""
    stretch = np.minimum(np.maximum(bp, 0) // SLICE_BP, _PER_CHROMOSOME - 1)
    return np.asarray(chromosome * _PER_CHROMOSOME + stretch, dtype=np.int64)


def chromosome_of(number: int) -> int:
    """Chromosome of a slice."""
    return number // _PER_CHROMOSOME


def described(number: int) -> str:
    """A slice in words, e.g. ``chr 3, 50–100 Mb``."""
    length, stretch = SLICE_BP // 1_000_000, number % _PER_CHROMOSOME
    return f"chr {chromosome_of(number)}, {stretch * length}–{(stretch + 1) * length} Mb"


def share(counts: Mapping[int, int], part: tuple[int, int] | None) -> list[int]:
    """Slices of the i-th of n jobs, in genome order: consecutive ones, of about the n-th part of all SNPs.

    Parameters
    ----------
    counts
        SNPs of every slice.
    part
        (i, n), i from 1 to n; None for all.
    """
    ordered = sorted(counts)
    if part is None:
        return ordered
    i, n = part
    total, before, mine = max(sum(counts.values()), 1), 0, []
    for number in ordered:
        if (2 * before + counts[number]) * n // (2 * total) == i - 1:  # by where the slice's middle lies
            mine.append(number)
        before += counts[number]
    return mine


def parse_part(text: str) -> tuple[int, int]:
    """Read ``i/n``.

    Raises
    ------
    ConfigError
        It is not two whole numbers with 1 <= i <= n.

    Examples
    --------
    >>> parse_part("3/8")
    (3, 8)
    """
    first, _, second = text.partition("/")
    if not (first.strip().isdecimal() and second.strip().isdecimal() and 1 <= int(first) <= int(second)):
        raise ConfigError(
            f"{text!r} is no part of a whole", where="--slice", remedy="write i/n with i from 1 to n, e.g. --slice 3/8"
        )
    return int(first), int(second)


def waves(counts: Mapping[int, int], snps: int, most: int | None = None) -> list[list[int]]:
    """Slices in order, packed into waves of at least so many SNPs (the last may be smaller), or of at most so many slices."""
    packed: list[list[int]] = []
    current: list[int] = []
    size = 0
    for number in sorted(counts):
        current.append(number)
        size += counts[number]
        if size >= snps or len(current) == most:
            packed.append(current)
            current, size = [], 0
    return [*packed, current] if current else packed
