"""Rotation of genotypes: by look-up where a variant's calls are 0, 1 and 2, by a matrix product where they are dosages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.lmm import hard_calls_kernel as kernel
from gsem_spark.methods.lmm.tiles import Tile, loaded_tiles, tile_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MISSING_SHARE: Final = 0.125
"""Largest share of missing calls of a variant that is looked up: each costs as much as the calls of four samples."""
LEAST_COLUMNS: Final = 64
"""Columns of a matrix from which on tables pay; below, decoding the genotypes is most of the work anyway."""
SLAB_ROWS: Final = 1024
"""Variants that share the tables: making them takes as long as the look-ups of 81."""
SLAB_VALUES: Final = 16_000_000
"""Rotated values held at a time, 128 MB."""


@dataclass(frozen=True)
class HardCalls:
    """Those rows of a block that hold the calls 0, 1 and 2, coded for look-up.

    Parameters
    ----------
    which
        (k,) their positions in the block.
    turned
        (k,) whether copies of the other allele are coded: the rarer one, so that little is lost when the mean is taken off.
    mean, constant
        (k,) mean of the calls, and whether all are equal.
    codes
        (passes, k, PASS) combinations of the calls of four samples.
    start, gaps
        Samples ``gaps[start[s]:start[s + 1]]`` miss in row s.
    groups
        Groups of four samples.
    """

    which: Ints
    turned: NDArray[np.bool_]
    mean: Floats
    constant: NDArray[np.bool_]
    codes: NDArray[np.uint8]
    start: Ints
    gaps: Ints
    groups: int


def encode_calls(block: NDArray[Any]) -> HardCalls:
    """The rows of a block (S, n) of int8 or floating-point genotypes whose product with a matrix can be looked up.

    Which they are depends on each row alone, so that a variant is rotated in the same way beside any others.
    """
    S, n = block.shape
    largest, total, missing = (np.empty(S, dtype=np.int64) for _ in range(3))
    (kernel.inspect_integers if block.dtype == np.int8 else kernel.inspect_numbers)(block, largest, total, missing)
    which = np.flatnonzero((largest <= 2) & (missing <= MISSING_SHARE * n))
    called = n - missing[which]
    mean = total[which] / np.maximum(called, 1)
    start = np.concatenate([[0], np.cumsum(missing[which])])
    gaps = np.empty(start[-1], dtype=np.int64)
    several = kernel.GROUP * kernel.UNROLLED
    groups = -(-n // several) * kernel.UNROLLED
    codes = np.empty((-(-groups // kernel.PASS), len(which), kernel.PASS), dtype=np.uint8)
    turned = mean > 1.0
    kernel.encode(block, which, turned, codes, start, gaps)
    return HardCalls(which, turned, mean, total[which] == largest[which] * called, codes, start, gaps, groups)


def rotate_calls(calls: HardCalls, basis: NDArray[np.floating], centre: bool, out: Floats) -> None:
    """Put the product of coded genotypes with a matrix (n, q) into their rows of ``out`` (S, q); the others stay.

    Missing calls count as the variant's mean, and with ``centre`` the mean is taken off. The same as the product of the decoded
    rows but for rounding: about 1e-15 of the lengths of both.

    Notes
    -----
    Arlazarov, Dinic, Kronrod & Faradžev 1970, Soviet Math Dokl 11:1209 (the method of the four Russians), for ternary rows.
    """
    if not len(calls.which):
        return
    n, q = basis.shape
    sign, shift, fill = np.where(calls.turned, -1.0, 1.0), np.where(calls.turned, 2.0, 0.0), calls.mean
    if centre:
        # nothing is left of calls that are all equal, not even rounding
        sign, shift, fill = np.where(calls.constant, 0.0, sign), np.where(calls.constant, 0.0, shift - fill), np.zeros(len(fill))
    rows = max(calls.groups * kernel.GROUP, n)
    panel = _aligned(rows * kernel.WIDTH)
    columns = panel.reshape(rows, kernel.WIDTH)
    tables = _aligned(kernel.PASS * kernel.ROWS * kernel.LANES)
    sums, lost = _aligned(len(sign) * kernel.LANES), _aligned(kernel.LANES)
    codes = calls.codes.ravel()
    for first in range(0, q, kernel.WIDTH):
        part = basis[:, first : first + kernel.WIDTH]
        columns[:n, : part.shape[1]] = part
        kernel.rotate_panel(codes, calls.which, sign, shift, fill, calls.start, calls.gaps, calls.groups, panel,
                            columns.sum(axis=0), tables, sums, lost, out, first)


def rotated_tiles(block: NDArray[Any], basis: NDArray[np.floating], centre: bool) -> Iterator[tuple[Tile, Floats]]:
    """The tiles of a block (S, n) of genotypes, each with its rows times a matrix (n, q).

    Rows of hard calls are looked up where the matrix is of double precision; dosages, and all rows where it is of single
    precision, are multiplied. The product (tile_rows, q) has rows of zeros behind the last variant. A tile's rows are
    overwritten by those of the next.
    """
    n, q = basis.shape
    height = tile_rows(n)
    slab = max(min(SLAB_ROWS, SLAB_VALUES // max(q, 1)) // height, 1) * height
    looked_up = basis.dtype == np.float64 and q >= LEAST_COLUMNS
    for first in range(0, len(block), slab):
        part = block[first : first + slab]
        rotated = np.zeros((-(-len(part) // height) * height, q))
        multiplied = np.ones(len(part), dtype=np.bool_)
        if looked_up:
            calls = encode_calls(part)
            rotate_calls(calls, basis, centre, rotated)
            multiplied[calls.which] = False
        for number, tile in enumerate(loaded_tiles(part, centre)):
            start = number * height
            own, rest = rotated[start : start + height], multiplied[start : start + height]
            if rest.all():
                own[:] = _product(tile.rows, basis)
            elif rest.any():
                own[: tile.size][rest] = _product(tile.rows, basis)[: tile.size][rest]
            yield tile, own


def _product(rows: Floats, basis: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray((rows.astype(np.float32) if basis.dtype == np.float32 else rows) @ basis)


def _aligned(size: int) -> Floats:
    """Zeros that begin at a line of the cache: a vector that crosses one is loaded twice."""
    line = 64 // 8
    whole = np.zeros(size + line)
    return whole[(-whole.ctypes.data // 8) % line :][:size]
