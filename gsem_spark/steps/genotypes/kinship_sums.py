"""Sums over the blocks of a cohort's genotypes, made by tasks in an order that only the data fix.

A unit of work is a segment of a chromosome (so many blocks, by their number) and some tiles of the kinship. A task goes through
its segment block by block; the driver adds segments in order. Neither tasks, partitions nor files move a bit of the result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.catalog.ordered_rows import Stretch
from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.kinship import Kind, KinshipSums
from gsem_spark.methods.lmm.kinship_tiles import TILE_SIDE, Tile, add_block, put_tile, tiles_of
from gsem_spark.methods.lmm.low_rank import add_product
from gsem_spark.steps.genotypes.source import decode
from gsem_spark.steps.large_results import SCHEMA, LargeResults

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.steps.progress import Stage

Floats = NDArray[np.float64]

SEGMENT_BLOCKS: Final = 64
"""Blocks of a segment: work for seconds to minutes, by number so that it never depends on a cluster's size."""
UNIT_BYTES: Final = 256_000_000
"""Sums that a task holds."""
WAVE_BYTES: Final = 400_000_000
"""Sums that come to the driver at a time; below Spark's limit for results (spark.driver.maxResultSize, 1 GB)."""
_COLUMNS: Final = ("block", "snp", "maf", "missing", "genotypes", "n_variants", "n_samples")


@dataclass(frozen=True)
class VariantChoice:
    """Which of a cohort's variants a kinship is made of."""

    maf: float = 0.0
    missing: float = 1.0
    names: frozenset[str] | None = None

    def rows(self, row: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which variants of a block are wanted."""
        chosen = (np.array(row["maf"], float) >= self.maf) & (np.array(row["missing"], float) <= self.missing)
        if self.names is not None:
            chosen &= np.array([name in self.names for name in row["snp"]], bool)
        return np.asarray(chosen)

    @property
    def everything(self) -> bool:
        """Whether no variant is left out."""
        return self.maf <= 0 and self.missing >= 1 and self.names is None

    def genotypes(self, row: Mapping[str, Any]) -> NDArray[Any]:
        """Genotypes of the wanted variants of a block."""
        G = decode(row)
        return G if self.everything else G[self.rows(row)]


@dataclass(frozen=True)
class _Unit:
    """A segment of a chromosome, and the tiles or columns that are made of it."""

    chr: int
    segment: int
    tiles: tuple[Tile, ...] = ()

    @property
    def stretch(self) -> Stretch:
        """The segment's blocks."""
        return Stretch({"chr": self.chr}, self.segment * SEGMENT_BLOCKS, (self.segment + 1) * SEGMENT_BLOCKS)


@dataclass
class ChromosomeSums:
    """Sums of z zᵀ of each chromosome, in files of a folder: all of them together may be larger than memory."""

    folder: Path
    n: int
    variants: dict[int, int] = field(default_factory=dict)

    def add(self, chromosome: int, tile: Tile, values: Floats) -> None:
        """Add a tile's sum."""
        matrix = self._open(chromosome)
        put_tile(matrix, tile, values)

    def of(self, chromosome: int) -> KinshipSums:
        """A chromosome's sums."""
        return KinshipSums(np.asarray(self._open(chromosome)), self.variants[chromosome])

    def total(self) -> KinshipSums:
        """The sums of all chromosomes, added in their order."""
        if not self.variants:
            raise DataError("no variant to compute a kinship from", where="kinship", remedy="loosen the filters")
        first, *rest = sorted(self.variants)
        product, variants = self.of(first).product.copy(), self.variants[first]
        for chromosome in rest:
            product += self.of(chromosome).product
            variants += self.variants[chromosome]
        return KinshipSums(product, variants)

    def without(self, total: KinshipSums, chromosome: int) -> KinshipSums:
        """All chromosomes but one."""
        return KinshipSums(total.product - self.of(chromosome).product, total.variants - self.variants[chromosome])

    def _open(self, chromosome: int) -> np.memmap[Any, np.dtype[np.float64]]:
        path = self.folder / f"chr{chromosome}.npy"
        mode: Any = "r+" if path.exists() else "w+"
        return np.lib.format.open_memmap(path, mode=mode, dtype=np.float64, shape=None if mode == "r+" else (self.n, self.n))


def chromosome_sums(
    ws: Workspace, cohort: str, n: int, kind: Kind, choice: VariantChoice, folder: Path, results: LargeResults, stage: Stage
) -> ChromosomeSums:
    """Sums of every chromosome of a cohort.

    Parameters
    ----------
    ws, cohort, n
        The cohort, and its number of samples.
    kind
        ``centred``, ``standardised`` or ``gcta``.
    choice
        Variants that are used.
    folder
        An empty folder of the driver for the sums.
    results
        How tasks hand their sums over.
    stage
        Progress, in units.
    """
    sums = ChromosomeSums(folder, n)
    groups = _tile_groups(n)
    units = [_Unit(c, s, g) for c, s in segments(ws, cohort) for g in groups]
    for wave in _waves(units):
        for number, part, variants, values in _tile_sums(ws, cohort, wave, kind, choice, results):
            unit = wave[number]
            tile = unit.tiles[part]
            sums.add(unit.chr, tile, values.reshape(tile.shape))
            if tile.row == 0:  # one tile of a segment; its unit has counted the variants
                sums.variants[unit.chr] = sums.variants.get(unit.chr, 0) + variants
        stage.advance(len(wave))
    sums.variants = {c: v for c, v in sorted(sums.variants.items()) if v}
    return sums


def segments(ws: Workspace, cohort: str, without: Collection[int] = ()) -> list[tuple[int, int]]:
    """Chromosomes and numbers of the segments of a cohort's blocks, in order."""
    rows = ws.source("genotype_blocks", ["chr", "block"], {"cohort": cohort})
    read = rows.read

    def numbers(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            segment = pc.cast(pc.divide(batch.column("block"), SEGMENT_BLOCKS), pa.int32())
            pairs = pa.table({"chr": batch.column("chr"), "segment": segment}).group_by(["chr", "segment"]).aggregate([])
            yield from pairs.combine_chunks().to_batches()

    found = rows.frame.mapInArrow(numbers, "chr int, segment int").distinct().collect()
    return sorted((int(r["chr"]), int(r["segment"])) for r in found if r["chr"] not in without)


def product_with(
    ws: Workspace, cohort: str, parts: Sequence[tuple[int, int]], Q: Floats, kind: Kind, choice: VariantChoice,
    results: LargeResults,
) -> tuple[Floats, int]:
    """Sum of Zᵀ Z Q over the blocks of some segments, and the number of variants that vary.

    Q is cut by columns where it is large, so that a task holds two cuts at most; each cut is a pass over the genotypes.
    """
    n, k = Q.shape
    width = max(8, UNIT_BYTES // (16 * n))
    out, variants = np.zeros((n, k)), 0
    units = [_Unit(c, s) for c, s in parts]
    for start in range(0, k, width):
        columns = np.ascontiguousarray(Q[:, start : start + width])
        shared = ws.spark.sparkContext.broadcast(columns)
        counted = 0
        for wave in _waves(units, columns.nbytes):
            stretches = [Stretch({"cohort": cohort, **u.stretch.values}, u.stretch.low, u.stretch.high) for u in wave]
            source = ws.stretches("genotype_blocks", _COLUMNS, "block", stretches)
            read = source.read

            def run(batches: Iterable[pa.RecordBatch], read: Any = read, shared: Any = shared) -> Iterator[pa.RecordBatch]:
                for number, rows in read(batches):
                    total, found = np.zeros(shared.value.shape), 0
                    for row in rows:
                        found += add_product(choice.genotypes(row), kind, shared.value, total)
                    yield results.leave(number, 0, found, total)

            for _, _, found, values in results.collect(source.frame.mapInArrow(run, SCHEMA)):
                out[:, start : start + width] += values.reshape(columns.shape)
                counted += found
        variants = counted
        shared.unpersist()
    return out, variants


def _tile_groups(n: int) -> list[tuple[Tile, ...]]:
    """Tiles that one task makes together."""
    tiles = tiles_of(n, TILE_SIDE)
    size = max(1, UNIT_BYTES // (8 * TILE_SIDE * TILE_SIDE))
    return [tuple(tiles[a : a + size]) for a in range(0, len(tiles), size)]


def _waves(units: Sequence[_Unit], unit_bytes: int = 0) -> Iterator[list[_Unit]]:
    """Units in order, so many at a time that their sums fit through to the driver."""
    wave: list[_Unit] = []
    size = 0
    for unit in units:
        held = 8 * sum(t.shape[0] * t.shape[1] for t in unit.tiles) or unit_bytes
        if wave and size + held > WAVE_BYTES:
            yield wave
            wave, size = [], 0
        wave.append(unit)
        size += held
    if wave:
        yield wave


def _tile_sums(
    ws: Workspace, cohort: str, wave: Sequence[_Unit], kind: Kind, choice: VariantChoice, results: LargeResults
) -> Iterator[tuple[int, int, int, Floats]]:
    stretches = [Stretch({"cohort": cohort, **u.stretch.values}, u.stretch.low, u.stretch.high) for u in wave]
    source = ws.stretches("genotype_blocks", _COLUMNS, "block", stretches)
    read, tiles = source.read, [u.tiles for u in wave]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number, rows in read(batches):
            totals, variants = [np.zeros(tile.shape) for tile in tiles[number]], 0
            for row in rows:
                variants += add_block(choice.genotypes(row), kind, tiles[number], totals)
            for part, total in enumerate(totals):
                yield results.leave(number, part, variants, total)

    yield from results.collect(source.frame.mapInArrow(run, SCHEMA))
