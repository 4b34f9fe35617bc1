"""Rotation of genotypes: by look-up where a variant's calls are 0, 1 and 2, by a matrix product where they are dosages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    kernel.encode(block, which, turned, groups, codes, start, gaps)
    return HardCalls(which, turned, mean, total[which] == largest[which] * called, codes, start, gaps, groups)


def rotate_calls(calls: HardCalls, basis: NDArray[np.floating], centre: bool, out: Floats) -> None:
    """Put the product of coded genotypes with a matrix (n, q) into their rows of ``out`` (S, q); the others stay.

    Missing calls count as the variant's mean, and with ``centre`` the mean is taken off. The same as the product of the decoded
    rows but for rounding: about 1e-15 of the lengths of both.

    Notes
    -----
    Arlazarov, Dinic, Kronrod & Faradžev 1970, Soviet Math Dokl 11:1209 (the method of the four Russians), for ternary rows.
    """
    for first, width, sums in _sums(calls, basis, triangular=False):
        sums.put(calls, centre, out, calls.which, first, width)


def squares_of_calls(calls: HardCalls, factor: NDArray[np.floating], centre: bool, out: Floats) -> None:
    """Put the sum of squares of R x into each coded row's element of ``out`` (S,), x its genotypes, R (n, n) upper triangular."""
    out[calls.which] = 0.0
    part = np.empty((len(calls.which), kernel.WIDTH))
    rows = np.arange(len(part))
    for _, width, sums in _sums(calls, factor.T, triangular=True):
        sums.put(calls, centre, part, rows, 0, width)
        kernel.add_squares(part, width, calls.which, out)


@dataclass(frozen=True)
class Products:
    """What a tile's rows give with the matrices of a plan.

    Parameters
    ----------
    rotated
        For each basis (n, q) the (tile_rows, q) product, with rows of zeros behind the last variant.
    squares
        For each factor R the (size,) sums of squares of R x, NaN where they were not looked up.
    """

    rotated: dict[str, Floats]
    squares: dict[str, Floats]


def tile_products(
    block: NDArray[Any], centre: bool, bases: Mapping[str, NDArray[np.floating]], factors: Mapping[str, NDArray[np.floating]]
) -> Iterator[tuple[Tile, Products]]:
    """The tiles of a block (S, n) of genotypes, each with its products with bases (n, q) and triangular factors (n, n).

    Rows of hard calls are looked up where a matrix is of double precision and has many columns; dosages, and all rows with other
    matrices, are multiplied by the basis (those of a factor are left to its owner). A tile's rows are overwritten by those of
    the next.
    """
    n = block.shape[1]
    height = tile_rows(n)
    columns = sum(basis.shape[1] for basis in bases.values())
    slab = max(min(SLAB_ROWS, SLAB_VALUES // max(columns, 1)) // height, 1) * height
    coded = any(_looked_up(matrix) for matrix in (*bases.values(), *factors.values()))
    for first in range(0, len(block), slab):
        part = block[first : first + slab]
        calls = encode_calls(part) if coded else None
        squares = {name: np.full(len(part), np.nan) for name in factors}
        for name, factor in factors.items():
            if calls is not None and _looked_up(factor):
                squares_of_calls(calls, factor, centre, squares[name])
        found = {}
        for name, basis in bases.items():
            found[name] = np.zeros((-(-len(part) // height) * height, basis.shape[1]))
            if calls is not None and _looked_up(basis):
                rotate_calls(calls, basis, centre, found[name])
        for number, tile in enumerate(loaded_tiles(part, centre)):
            start = number * height
            rotated = {name: one[start : start + height] for name, one in found.items()}
            for name, basis in bases.items():
                left = np.ones(tile.size, dtype=np.bool_)
                if calls is not None and _looked_up(basis):
                    left[calls.which[(calls.which >= start) & (calls.which < start + height)] - start] = False
                _multiply(tile, basis, left, rotated[name])
            yield tile, Products(rotated, {name: one[start : start + height] for name, one in squares.items()})


def rotated_tiles(block: NDArray[Any], basis: NDArray[np.floating], centre: bool) -> Iterator[tuple[Tile, Floats]]:
    """The tiles of a block, each with its rows times a basis; see ``tile_products``."""
    for tile, products in tile_products(block, centre, {"": basis}, {}):
        yield tile, products.rotated[""]


def _looked_up(matrix: NDArray[np.floating]) -> bool:
    return bool(matrix.dtype == np.float64 and matrix.size and matrix.shape[1] >= LEAST_COLUMNS)


def _multiply(tile: Tile, basis: NDArray[np.floating], wanted: NDArray[np.bool_], out: Floats) -> None:
    """Put those rows of a tile that are wanted, times a basis, into ``out``; always by a product of the whole tile."""
    if not wanted.any():
        return
    product = (tile.rows.astype(np.float32) if basis.dtype == np.float32 else tile.rows) @ basis
    if wanted.all():
        out[:] = product
    else:
        out[: tile.size][wanted] = product[: tile.size][wanted]


@dataclass(frozen=True)
class _Sums:
    """Coded calls times ``WIDTH`` columns of a matrix: sums of its rows by call, at the gaps of each variant, and of all."""

    by_call: Floats
    lost: Floats
    total: Floats

    def put(self, calls: HardCalls, centre: bool, out: Floats, rows: Ints, first: int, width: int) -> None:
        """Put the products of the genotypes themselves into ``rows`` of ``out``, and its columns from ``first`` on."""
        sign, shift, fill = np.where(calls.turned, -1.0, 1.0), np.where(calls.turned, 2.0, 0.0), calls.mean
        if centre:
            # nothing is left of calls that are all equal, not even rounding
            sign, shift = np.where(calls.constant, 0.0, sign), np.where(calls.constant, 0.0, shift - fill)
            fill = np.zeros(len(fill))
        kernel.put_genotypes(self.by_call, self.lost, self.total, sign, shift, fill, calls.start, out, rows, first, width)


def _sums(calls: HardCalls, matrix: NDArray[np.floating], *, triangular: bool) -> Iterator[tuple[int, int, _Sums]]:
    """Columns of a matrix (n, q), ``WIDTH`` at a time: the first, how many, and their sums, in one place for all.

    Of a triangular one, whose columns hold zeros above the diagonal, only what lies below is read.
    """
    n, q = matrix.shape
    size = len(calls.which)
    if not size:
        return
    segment = min(kernel.SEGMENT, calls.groups * kernel.GROUP)
    panel = _aligned(segment * kernel.WIDTH)
    columns = panel.reshape(segment, kernel.WIDTH)
    tables = _aligned(kernel.PASS * kernel.ROWS * kernel.LANES)
    sums = _Sums(_aligned(size * kernel.WIDTH), _aligned(size * kernel.WIDTH if len(calls.gaps) else 0), np.empty(kernel.WIDTH))
    codes = calls.codes.ravel()
    lanes = np.arange(0, kernel.WIDTH, kernel.LANES)
    for first in range(0, q, kernel.WIDTH):
        width = min(kernel.WIDTH, q - first)
        top = first if triangular else 0
        begin = (top + (lanes if triangular else 0 * lanes)) // (kernel.PASS * kernel.GROUP) * kernel.PASS
        for whole in (sums.by_call, sums.lost, sums.total):
            whole[:] = 0.0
        reached = calls.start[:-1].copy()
        for origin in range(0, n, segment):
            end = min(origin + segment, n)
            empty = min(max(top, origin), end)
            columns[: empty - origin] = 0.0
            columns[empty - origin : end - origin, :width] = matrix[empty:end, first : first + width]
            sums.total[:] += columns[: end - origin].sum(axis=0)
            last = min((origin + segment) // kernel.GROUP, calls.groups)
            kernel.add_panel(codes, size, begin, last, panel, origin // kernel.GROUP, width, tables, sums.by_call,
                             calls.start, calls.gaps, reached, sums.lost)
        yield first, width, sums


def _aligned(size: int) -> Floats:
    """Zeros that begin at a line of the cache: a vector that crosses one is loaded twice."""
    line = 64 // 8
    whole = np.zeros(size + line)
    return whole[(-whole.ctypes.data // 8) % line :][:size]
