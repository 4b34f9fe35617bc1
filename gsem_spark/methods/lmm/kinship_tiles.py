"""A kinship in square tiles, so that it can be summed by tasks that hold a few tiles instead of all n² cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.genotypes import standardise
from gsem_spark.methods.lmm.kinship import SLICE, Kind, scale_of

Floats = NDArray[np.float64]

TILE_SIDE: Final = 2048
"""Samples along a tile's side: 32 MB."""
SLICE_VALUES: Final = 4_000_000
"""Genotypes standardised at a time: some 200 MB while it lasts."""


@dataclass(frozen=True)
class Tile:
    """Cells of a kinship: samples ``row`` to ``row_end`` by ``column`` to ``column_end`` (ends not included)."""

    row: int
    row_end: int
    column: int
    column_end: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.row_end - self.row, self.column_end - self.column

    @property
    def rows(self) -> slice:
        """Samples down the side."""
        return slice(self.row, self.row_end)

    @property
    def columns(self) -> slice:
        """Samples along the top."""
        return slice(self.column, self.column_end)


def tiles_of(n: int, side: int | None = None) -> list[Tile]:
    """Tiles of the lower triangle of a kinship of n samples, row by row."""
    length = side or TILE_SIDE
    starts = range(0, n, length)
    return [Tile(i, min(i + length, n), j, min(j + length, n)) for i in starts for j in starts if j <= i]


def add_block(G: ArrayLike, kind: Kind, tiles: Sequence[Tile], totals: list[Floats]) -> int:
    """Add one block's part of a kinship to some of its tiles.

    Parameters
    ----------
    G
        (S, n) genotypes, variants in rows; missing calls take the variant's mean over all n samples.
    kind
        As in :func:`~gsem_spark.methods.lmm.kinship.kinship_sums`.
    tiles
        Tiles wanted.
    totals
        Their sums so far; changed in place.

    Returns
    -------
    int
        Variants of the block that vary.

    Raises
    ------
    ConfigError
        When ``kind`` is unknown.
    """
    block = np.asarray(G)
    scale = scale_of(kind)
    if block.ndim != 2:
        raise DataError(f"a block of genotypes is a matrix, this has the shape {block.shape}", where="G")
    variants = 0
    for part in variant_slices(*block.shape):
        Z = standardise(block[part], scale)
        variants += int(Z.any(axis=1).sum())
        for at, tile in enumerate(tiles):
            totals[at] += Z[:, tile.rows].T @ Z[:, tile.columns]
    return variants


def variant_slices(variants: int, n: int) -> list[slice]:
    """Variants standardised at a time; depends on the block alone."""
    size = max(1, min(SLICE, SLICE_VALUES // max(n, 1)))
    return [slice(a, min(a + size, variants)) for a in range(0, variants, size)]


def put_tile(matrix: NDArray[Any], tile: Tile, values: Floats) -> None:
    """Add a tile's sum to the whole matrix, and its mirror image."""
    matrix[tile.rows, tile.columns] += values
    if tile.row != tile.column:
        matrix[tile.columns, tile.rows] += values.T
