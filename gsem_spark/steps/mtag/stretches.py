"""Wide rows on executors: the traits' rows brought together once, stretch by stretch of genome, then read by every later pass.

Sums are made stretch by stretch, so that they do not depend on tasks. Where Python reads the tables' files itself, a task has a
chromosome's files of all traits, and what it makes of them goes to files that later passes map into memory. Elsewhere Spark
brings packed rows together and keeps them.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.catalog.scratch import mapped_rows, put_rows
from gsem_spark.catalog.spans import Cut, Spans
from gsem_spark.steps import exchange
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.mtag.rows import COLUMNS, Chosen, by_trait
from gsem_spark.steps.mtag.wide import Alleles, wide_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from gsem_spark.catalog.workspace import Workspace

T = TypeVar("T")
Batches = Iterable[pa.RecordBatch]
STRETCH_BP: Final = 25_000_000
"""Length of a stretch; sums are made stretch by stretch, so this is part of what the last bits of results are."""
TASK_CELLS: Final = 3_000_000
"""SNPs times traits that a task of a later pass is given, unless one stretch has more."""
TASKS_PER_CORE: Final = 4
_KEPT_SCHEMA: Final = "chr int, part long, said binary, packed binary"
_STRETCHES: Final = 10_000


@dataclass(frozen=True)
class Stretch:
    """Wide rows of a stretch, ``part`` its number in the genome."""

    chromosome: int
    part: int
    rows: pa.Table


@dataclass(frozen=True)
class Stretches:
    """``frame.mapInArrow(f)``, where ``f`` first calls ``read``."""

    frame: DataFrame
    read: Callable[[Batches], Iterator[Stretch]]

    def then(self, function: Callable[[Iterator[Stretch]], Iterable[T]]) -> Callable[[Batches], Iterable[T]]:
        """The function that takes stretches as one that takes the frame's batches."""
        read = self.read
        return lambda batches: function(read(batches))


class WideRows(Protocol):
    """What was brought together."""

    def source(self, chromosomes: Collection[int] | None = None) -> Stretches:
        """Stretches, of all chromosomes or of some; those without a SNP are left out."""


@contextmanager
def brought_together(
    ws: Workspace, chosen: Chosen, name: str, measure: Callable[[Stretch, Alleles], T]
) -> Iterator[tuple[WideRows, list[T]]]:
    """Wide rows of the SNPs that all traits have, while the block runs, and what a function makes of each stretch.

    Parameters
    ----------
    ws, chosen
        The traits' rows.
    name
        Of the run: its passing files are called so.
    measure
        Called on executors for each stretch, with how alleles fit; what it makes comes to the driver, in no order.
    """
    spans = ws.spans("sumstats", COLUMNS, {"trait": list(chosen.traits)}, "chr", Cut("bp", STRETCH_BP))
    if spans is not None:
        with ws.scratch(name) as folder:
            yield _through_files(ws, chosen, spans, folder, measure)
        return

    def measured(batches: Batches) -> Iterator[T]:
        return (measure(stretch, pickle.loads(said)) for stretch, said in _unpacked(batches))

    frame = _through_shuffle(ws, chosen).persist()
    try:
        yield _KeptRows(frame), gathered(frame, measured)
    finally:
        frame.unpersist()


@dataclass(frozen=True)
class _File:
    """Where a stretch's rows are."""

    chromosome: int
    part: int
    path: str
    cells: int

    def load(self) -> Stretch:
        return Stretch(self.chromosome, self.part, mapped_rows(self.path))


@dataclass(frozen=True)
class _FiledRows:
    spark: SparkSession
    files: Sequence[_File]

    def source(self, chromosomes: Collection[int] | None = None) -> Stretches:
        tasks: list[list[_File]] = []
        for file in self.files:
            if file.cells and (chromosomes is None or file.chromosome in chromosomes):
                last = tasks[-1] if tasks else []
                if last and last[0].chromosome == file.chromosome and sum(f.cells for f in last) + file.cells <= TASK_CELLS:
                    last.append(file)
                else:
                    tasks.append([file])

        def read(batches: Batches) -> Iterator[Stretch]:
            for number in (n for batch in batches for n in batch.column(0).to_pylist()):
                yield from (file.load() for file in tasks[number])

        return Stretches(self.spark.range(0, len(tasks), 1, max(len(tasks), 1)), read)


def _through_files(
    ws: Workspace, chosen: Chosen, spans: Spans, folder: Path, measure: Callable[[Stretch, Alleles], T]
) -> tuple[WideRows, list[T]]:
    read, k = spans.read, len(chosen.traits)

    def join(batches: Batches) -> Iterator[tuple[_File, T]]:
        for _, found in read(batches):
            parts = (part for batch in found for part in by_trait(batch))
            tables = (chosen.rows(rows, chosen.traits.index(trait)) for trait, rows in parts)
            for number, rows in exchange.pieces(tables, _place):
                wide, said = wide_rows(rows, k)
                # A task that is repeated writes files of its own; those of the one that counts are told to the driver.
                stretch, path = Stretch(number // _STRETCHES, number, wide), folder / f"{number}-{uuid.uuid4().hex}.arrow"
                put_rows(path, wide.combine_chunks())
                yield _File(stretch.chromosome, number, str(path), k * wide.num_rows), measure(stretch, said)

    made = sorted(gathered(spans.frame, join), key=lambda pair: pair[0].part)
    return _FiledRows(ws.spark, [file for file, _ in made]), [measured for _, measured in made]


def _place(rows: pa.Table) -> NDArray[np.int64]:
    chromosome, bp = (rows.column(name).to_numpy().astype(np.int64) for name in ("chr", "bp"))
    place: NDArray[np.int64] = chromosome * _STRETCHES + bp // STRETCH_BP
    return place


@dataclass(frozen=True)
class _KeptRows:
    frame: DataFrame

    def source(self, chromosomes: Collection[int] | None = None) -> Stretches:
        frame = self.frame if chromosomes is None else self.frame.where(self.frame["chr"].isin(sorted(chromosomes)))
        return Stretches(frame, lambda batches: (s for s, _ in _unpacked(batches) if s.rows.num_rows))


def _unpacked(batches: Batches) -> Iterator[tuple[Stretch, bytes]]:
    for batch in batches:
        for i in range(batch.num_rows):
            chromosome, part, said = (batch.column(name)[i].as_py() for name in ("chr", "part", "said"))
            yield Stretch(chromosome, part, exchange.unpack(batch.column("packed")[i].as_buffer())), said


def _through_shuffle(ws: Workspace, chosen: Chosen) -> DataFrame:
    """One row a stretch, in the columns of the kept schema."""
    rows = ws.source("sumstats", COLUMNS, {"trait": list(chosen.traits)})
    read, k = rows.read, len(chosen.traits)

    def send(batches: Batches) -> Iterator[pa.RecordBatch]:
        parts = (part for batch in read(batches) for part in by_trait(batch))
        tables = (chosen.rows(rows, chosen.traits.index(trait)) for trait, rows in parts)
        yield from exchange.packages("rows", (t for t in tables if t.num_rows), _place)

    def receive(batches: Batches) -> Iterator[pa.RecordBatch]:
        for bucket, kinds in exchange.received(batches):
            wide, said = wide_rows(kinds["rows"], k)
            values = ([bucket // _STRETCHES], [bucket], [pickle.dumps(said)], [exchange.pack(wide)])
            kinds_of = (pa.int32(), pa.int64(), pa.binary(), pa.binary())
            arrays = [pa.array(v, t) for v, t in zip(values, kinds_of, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=["chr", "part", "said", "packed"])

    # What is kept in memory keeps its partitions: as few as give all cores work, and hold a trait's worth of rows each.
    partitions = max(TASKS_PER_CORE * int(ws.spark.sparkContext.defaultParallelism), k)
    together = rows.frame.mapInArrow(send, exchange.PACKED_SCHEMA).repartition(partitions, "bucket")
    return together.mapInArrow(receive, _KEPT_SCHEMA)
