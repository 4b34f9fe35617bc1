"""Blocks of genotypes as tiles of a fixed number of rows.

A matrix product may add in another order when its shape changes. Every product here is of a tile of ``tile_rows`` variants, the
last one filled up with rows of zeros, so that a variant's result has the same bytes whatever block it comes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.compiled import jit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROWS: Final = ((131_072, 256), (524_288, 64))
"""Variants a tile up to so many samples: 256 are within 2 % of the rate of larger tiles; a tile stays below 256 MB."""
_ROWS_MANY: Final = 16


@dataclass(frozen=True)
class Tile:
    """Up to ``tile_rows`` variants, missing calls replaced by the variant's mean.

    Parameters
    ----------
    rows
        (tile_rows, n) genotypes, less their mean where the tile is centred; rows behind the last variant are 0.
    mean
        (size,) mean of the calls; NaN where all are missing.
    missing
        (size,) number of missing calls.
    sumsq
        (size,) sum of squares of the row as given in ``rows``.
    constant
        (size,) whether all calls are equal.
    """

    rows: Floats
    mean: Floats
    missing: Ints
    sumsq: Floats
    constant: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Variants in the tile."""
        return len(self.mean)


def tile_rows(n: int) -> int:
    """Variants a tile of n samples, by n alone, so that they are the same for every block of a plan."""
    return next((rows for most, rows in _ROWS if n <= most), _ROWS_MANY)


def as_block(G: Any, n: int) -> NDArray[Any]:
    """A (S, n) block of genotypes, variants in rows, as int8, float32 or float64, not copied where it is one of them.

    Raises
    ------
    DataError
        When it is not a numeric matrix with one column a sample.
    """
    block = np.asarray(G)
    if block.ndim != 2 or block.shape[1] != n:
        raise DataError(f"genotypes of {block.shape[-1] if block.ndim else 0} samples meet a model of {n}", where="G",
                        remedy="match genotypes to phenotypes by sample")
    if block.dtype.kind not in "iufb":
        raise DataError(f"genotypes are numbers, these are {block.dtype}", where="G")
    if block.dtype not in (np.dtype(np.int8), np.dtype(np.float32), np.dtype(np.float64)):
        block = block.astype(np.float64)
    return np.ascontiguousarray(block)


def load_tile(block: NDArray[Any], start: int, centre: bool, scratch: Floats | None = None) -> Tile:
    """Decode a tile of rows of a block from ``start`` on; NaN, infinities and negative hard calls (int8) are missing.

    ``scratch`` is the rows of an earlier tile of the same samples that is no longer needed: they are overwritten.
    """
    height = tile_rows(block.shape[1])
    part = block[start : start + height]
    size, n = part.shape
    rows = np.zeros((height, n)) if scratch is None else scratch
    rows[size:] = 0.0
    mean, sumsq = np.empty(size), np.empty(size)
    missing, constant = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.bool_)
    decode = _decode_int8 if part.dtype == np.int8 else _decode_float
    decode(part, centre, rows, mean, missing, sumsq, constant)
    return Tile(rows, mean, missing, sumsq, constant)


def loaded_tiles(block: NDArray[Any], centre: bool) -> Iterator[Tile]:
    """All tiles of a block in order; a tile's rows are overwritten by those of the next."""
    scratch = None
    for start in range(0, len(block), tile_rows(block.shape[1])):
        tile = load_tile(block, start, centre, scratch)
        scratch = tile.rows
        yield tile


@jit
def _decode_int8(part: Any, centre: bool, rows: Any, mean: Any, missing: Any, sumsq: Any, constant: Any) -> None:
    n = part.shape[1]
    for s in range(part.shape[0]):
        total: Any = 0
        squares: Any = 0
        low: Any = 127
        high: Any = -1
        gone = 0
        for i in range(n):
            g = np.int64(part[s, i])
            low = min(low, g)
            high = max(high, g)
            total += g
            squares += g * g
        if low < 0:
            total, squares, low = 0, 0, 127
            for i in range(n):
                g = np.int64(part[s, i])
                if g < 0:
                    gone += 1
                else:
                    total += g
                    squares += g * g
                    low = min(low, g)
        mean[s] = total / (n - gone) if gone < n else np.nan
        missing[s] = gone
        constant[s] = low >= high
        shift = mean[s] if centre else 0.0
        fill = mean[s] - shift
        if gone == n:
            shift, fill = 0.0, 0.0
        if gone == 0:
            for i in range(n):
                rows[s, i] = part[s, i] - shift
        else:
            for i in range(n):
                rows[s, i] = part[s, i] - shift if part[s, i] >= 0 else fill
        # whole numbers: nothing is lost by taking the mean's part from the sum of squares
        called = n - gone
        if called > 0:
            centred = squares - total * (total / called)
            sumsq[s] = centred if centre else centred + n * mean[s] * mean[s]
        else:
            sumsq[s] = 0.0


@jit
def _decode_float(part: Any, centre: bool, rows: Any, mean: Any, missing: Any, sumsq: Any, constant: Any) -> None:
    n = part.shape[1]
    for s in range(part.shape[0]):
        total, low, high = 0.0, np.inf, -np.inf
        for i in range(n):
            g = np.float64(part[s, i])
            total += g
            low = g if g < low else low
            high = g if g > high else high
        gone = 0
        if not np.isfinite(total):
            total, low, high = 0.0, np.inf, -np.inf
            for i in range(n):
                g = np.float64(part[s, i])
                if np.isfinite(g):
                    total += g
                    low, high = min(low, g), max(high, g)
                else:
                    gone += 1
        mean[s] = total / (n - gone) if gone < n else np.nan
        missing[s] = gone
        constant[s] = low >= high
        shift = mean[s] if centre and gone < n else 0.0
        acc = 0.0
        if gone == 0:
            for i in range(n):
                value = np.float64(part[s, i]) - shift
                rows[s, i] = value
                acc += value * value
        else:
            fill = mean[s] - shift if gone < n else 0.0
            for i in range(n):
                g = np.float64(part[s, i])
                value = g - shift if np.isfinite(g) else fill
                rows[s, i] = value
                acc += value * value
        sumsq[s] = acc


@jit
def row_sums_of_squares(rows: Any, out: Any) -> None:
    """Sum of squares of each row, in float64."""
    for s in range(rows.shape[0]):
        acc = 0.0
        for i in range(rows.shape[1]):
            value = np.float64(rows[s, i])
            acc += value * value
        out[s] = acc
