"""Loci of several analyses at once: every significant SNP of any of them in one region, by distance or by LD blocks."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.clumping import leads_by_distance
from gsem_spark.thresholds import CLUMP_WINDOW_BP

Ints = NDArray[np.int64]

_BED_FIELDS: Final = 3
_NAMED_CHROMOSOMES: Final = {"X": 23, "Y": 24, "XY": 25, "M": 26, "MT": 26}


def regions_by_distance(chromosome: ArrayLike, bp: ArrayLike, strength: ArrayLike, window_bp: int = CLUMP_WINDOW_BP) -> Ints:
    """Put SNPs into loci: the strongest takes all within the window, the strongest of the rest leads the next.

    Parameters
    ----------
    chromosome, bp
        (m,) chromosome codes and positions.
    strength
        (m,) the largest -log10 p of any analysis; equals go to the lower chromosome, then position.
    window_bp
        Distance in bp; a SNP exactly that far belongs to the locus.

    Returns
    -------
    Ints
        (m,) locus numbers from 0, in genome order of the leads.
    """
    chromosome, position = np.asarray(chromosome, np.int64), np.asarray(bp, np.int64)
    ranked = np.lexsort((position, chromosome, -np.asarray(strength, np.float64)))
    return _numbered(leads_by_distance(chromosome, position, ranked, window_bp), chromosome, position)


def regions_by_blocks(
    chromosome: ArrayLike, bp: ArrayLike, strength: ArrayLike, blocks: pd.DataFrame, window_bp: int = CLUMP_WINDOW_BP
) -> Ints:
    """Put SNPs into loci: those of one LD block together, those outside all blocks by distance.

    Parameters
    ----------
    chromosome, bp, strength, window_bp
        As :func:`regions_by_distance`.
    blocks
        From :func:`read_blocks`.
    """
    chromosome, position = np.asarray(chromosome, np.int64), np.asarray(bp, np.int64)
    strength = np.asarray(strength, np.float64)
    block = np.full(position.size, -1, dtype=np.int64)
    for code in np.unique(chromosome):
        mine = blocks[blocks["chr"] == code]
        if mine.empty:
            continue
        start, end = mine["start"].to_numpy(np.int64), mine["end"].to_numpy(np.int64)
        rows = np.flatnonzero(chromosome == code)
        at = np.searchsorted(start, position[rows] - 1, "right") - 1
        inside = (at >= 0) & (position[rows] <= end[np.maximum(at, 0)])
        block[rows[inside]] = mine.index.to_numpy(np.int64)[at[inside]]
    owner = np.full(position.size, -1, dtype=np.int64)
    order = np.lexsort((position, chromosome, -strength))
    for b in np.unique(block[block >= 0]):
        owner[block == b] = order[block[order] == b][0]
    free = np.flatnonzero(block < 0)
    if free.size:
        loci = regions_by_distance(chromosome[free], position[free], strength[free], window_bp)
        for locus in np.unique(loci):
            members = free[loci == locus]
            owner[members] = members[np.lexsort((position[members], chromosome[members], -strength[members]))[0]]
    return _numbered(owner, chromosome, position)


def read_blocks(text: str) -> pd.DataFrame:
    """Read LD blocks from the text of a BED file (chromosome, start, end; start counted from 0, end excluded).

    Returns
    -------
    DataFrame
        ``chr`` (numeric code), ``start``, ``end``, sorted, numbered from 0. A SNP at bp lies in a block when
        start < bp <= end.

    Raises
    ------
    DataError
        For a line with fewer than three fields or no numbers, an empty block, blocks that overlap, or no block.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser") or fields[0].lower() in ("chr", "chrom"):
            continue
        code = _chromosome(fields[0])
        bounds = fields[1:_BED_FIELDS]
        if code is None or len(bounds) < _BED_FIELDS - 1 or not all(b.isdigit() for b in bounds):
            raise DataError(
                f"{line.strip()[:60]!r} is not a chromosome, a start and an end", where=f"LD blocks, line {number}",
                remedy="give a BED file: chromosome, start (from 0), end, separated by blanks or tabs",
            )
        if int(bounds[1]) <= int(bounds[0]):
            raise DataError(f"the block ends at {bounds[1]}, not behind its start {bounds[0]}", where=f"LD blocks, line {number}")
        rows.append((code, int(bounds[0]), int(bounds[1])))
    if not rows:
        raise DataError("there is no block", where="LD blocks", remedy="give a BED file with at least one line")
    out = pd.DataFrame(rows, columns=["chr", "start", "end"]).sort_values(["chr", "start"], ignore_index=True)
    overlap = (out["chr"].shift(-1) == out["chr"]) & (out["start"].shift(-1) < out["end"])
    if overlap.any():
        first = out[overlap].iloc[0]
        raise DataError(
            f"{int(overlap.sum())} blocks overlap the next one, the first at {first['chr']}:{first['start']}-{first['end']}",
            where="LD blocks", remedy="give blocks that do not overlap",
        )
    return out


def _chromosome(text: str) -> int | None:
    name = text.removeprefix("chr").upper()
    return int(name) if name.isdigit() else _NAMED_CHROMOSOMES.get(name)


def _numbered(owner: Ints, chromosome: Ints, bp: Ints) -> Ints:
    """Number loci by the place of their leads."""
    leads = np.unique(owner)
    order = leads[np.lexsort((leads, bp[leads], chromosome[leads]))]
    number = np.empty(owner.size, dtype=np.int64)
    number[order] = np.arange(order.size)
    return number[owner]
