"""Stretches of a table's rows, each read in its order by one task: for sums whose order must not depend on files or tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from gsem_spark.catalog.arrow_access import Batches, bound_batches
from gsem_spark.catalog.contracts import spark_schema
from gsem_spark.catalog.part_files import PartFile, PartitionValue
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.catalog.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NUMBER: Final = "stretch_"


@dataclass(frozen=True)
class Stretch:
    """Rows of one partition whose order column is at least ``low`` and below ``high``."""

    values: Mapping[str, PartitionValue]
    low: int
    high: int


@dataclass(frozen=True)
class Stretches:
    """``frame.mapInArrow(f)``, where ``f`` first calls ``read``: numbers of stretches, each with its rows one by one in order."""

    frame: DataFrame
    read: Callable[[Batches], Iterator[tuple[int, Iterator[dict[str, Any]]]]]


def stretches(
    spark: SparkSession, store: Store, schema: TableSchema, columns: Sequence[str], by: str, wanted: Sequence[Stretch]
) -> Stretches:
    """Stretches of a table, each a task's; the same rows may be in several."""
    names = list(dict.fromkeys([by, *columns]))
    if not store.direct:
        return _through_spark(spark, store, schema, names, by, wanted)
    folder, files = store.files(schema)
    of_stretch = [[f for f in files if all(f.values[k] == v for k, v in s.values.items())] for s in wanted]
    parts = tuple(wanted)

    def read(batches: Batches) -> Iterator[tuple[int, Iterator[dict[str, Any]]]]:
        for number in (n for batch in batches for n in batch.column(0).to_pylist()):
            yield number, ordered_rows(folder, of_stretch[number], names, by, parts[number])

    return Stretches(spark.range(0, len(parts), 1, max(len(parts), 1)), read)


def ordered_rows(
    folder: str, files: Collection[PartFile], columns: Sequence[str], by: str, stretch: Stretch
) -> Iterator[dict[str, Any]]:
    """Rows of a stretch from files, in order; one row group of one file is in memory at a time."""
    places: list[tuple[int, str, int, int]] = []
    for file in files:
        with pq.ParquetFile(Path(folder) / file.path) as parquet:
            for group in range(parquet.num_row_groups):
                keys = parquet.read_row_group(group, columns=[by]).column(0).to_pylist()
                places += [(k, file.path, group, row) for row, k in enumerate(keys) if stretch.low <= k < stretch.high]
    for (path, group), rows in groupby(sorted(places), key=lambda p: (p[1], p[2])):
        with pq.ParquetFile(Path(folder) / path) as parquet:
            held = parquet.read_row_group(group, columns=list(columns))
        for _, _, _, row in rows:
            yield held.slice(row, 1).to_pylist()[0]


def _through_spark(
    spark: SparkSession, store: Store, schema: TableSchema, names: Sequence[str], by: str, wanted: Sequence[Stretch]
) -> Stretches:
    """The same where Spark has to read: rows are brought to their stretches and sorted there."""
    from pyspark.sql import functions as F

    bound_batches(spark)
    parts = tuple(wanted)
    keys = list(dict.fromkeys(k for s in parts for k in s.values))
    frame = store.read(schema) if store.exists(schema) else spark.createDataFrame([], spark_schema(schema))
    for key in keys:
        frame = frame.where(F.col(key).isin(sorted({s.values[key] for s in parts}, key=str)))
    kept = [*keys, *(n for n in names if n not in keys)]

    def tag(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in range(batch.num_rows):
                one = batch.slice(row, 1)
                values = {name: one.column(name)[0].as_py() for name in (*keys, by)}
                for number, s in enumerate(parts):
                    if s.low <= values[by] < s.high and all(values[k] == v for k, v in s.values.items()):
                        yield pa.RecordBatch.from_arrays([pa.array([number], pa.int32()), *(one.column(n) for n in names)],
                                                         names=[_NUMBER, *names])

    kinds = {f.name: f.dataType.simpleString() for f in spark_schema(schema).fields}
    ddl = ", ".join([f"{_NUMBER} int", *(f"{n} {kinds[n]}" for n in names)])
    tagged = frame.select(*kept).mapInArrow(tag, ddl)
    placed = tagged.repartition(max(len(parts), 1), _NUMBER).sortWithinPartitions(_NUMBER, by)

    def read(batches: Batches) -> Iterator[tuple[int, Iterator[dict[str, Any]]]]:
        rows = (row for batch in batches for i in range(batch.num_rows) for row in batch.slice(i, 1).to_pylist())
        yield from groupby(rows, key=lambda row: row[_NUMBER])

    return Stretches(placed, read)
