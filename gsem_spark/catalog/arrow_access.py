"""Tables as Arrow: small ones read and written by the driver, large ones mapped on executors batch by batch.

Where the store lies within Python's reach, files are read and written by Python itself and Spark only hands out the work;
elsewhere (object stores, HDFS, catalogs) the same calls go through Spark's readers and writers. Callers see no difference.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from gsem_spark.catalog.arrow_contracts import ARROW_TYPES, arrow_rows, arrow_schema, check_rows
from gsem_spark.catalog.contracts import spark_schema
from gsem_spark.catalog.part_files import Part, PartFile, PartitionValue, PartWriter, read_part, tasks_of
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.catalog.store import Scope, Store, in_scopes, scope_predicate

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Where = Mapping[str, PartitionValue | Collection[PartitionValue]]
"""Column → the value, or the values, that rows must have."""
Batches = Iterable[pa.RecordBatch]
PartFunction = Callable[[Batches], Iterable[Part]]
StageFunction = Callable[[Batches], Iterable[tuple[str, Part] | bytes]]
_STAGED: Final = "table string, packed binary"
BYTES_PER_BATCH: Final = 64_000_000
"""What Spark hands to Python at a time where rows hold packed matrices; by itself it counts rows only."""
_NO_LIMIT: Final = f"{2**31 - 1}b"


@dataclass(frozen=True)
class Source:
    """Rows of a table spread over tasks: ``frame.mapInArrow(f)``, where ``f`` first calls ``read`` on what it is given."""

    frame: DataFrame
    read: Callable[[Batches], Iterator[pa.RecordBatch]]


def read_rows(
    spark: SparkSession, store: Store, schema: TableSchema, where: Where | None, columns: Sequence[str] | None
) -> pa.Table:
    """Rows of a small table, on the driver."""
    names, wanted = list(columns or schema.names), _as_lists(where)
    kind = pa.schema([pa.field(n, ARROW_TYPES[schema.column(n).type]) for n in names])
    if not store.exists(schema):
        return kind.empty_table()
    if not store.direct:
        from pyspark.sql import functions as F

        frame = store.read(schema)
        for name, values in wanted.items():
            frame = frame.where(F.col(name).isin(values))
        return frame.select(*names).toArrow().cast(kind)
    folder, files = store.files(schema)
    needed = [*names, *(n for n in wanted if n not in names)]
    batches = [b for file in pruned(files, wanted) for b in read_part(folder, file, schema, needed)]
    rows = pa.Table.from_batches(batches) if batches else pa.schema(
        [pa.field(n, ARROW_TYPES[schema.column(n).type]) for n in needed]).empty_table()
    for name, values in wanted.items():
        if name not in schema.partitions:
            rows = rows.filter(pc.is_in(rows.column(name), value_set=pa.array(values, rows.column(name).type)))
    return rows.select(names)


def write_rows(
    spark: SparkSession,
    store: Store,
    schema: TableSchema,
    records: list[dict[str, Any]],
    scopes: list[Scope] | None,
    metadata: str,
) -> None:
    """Write rows held on the driver, in place of the scopes' (added, when ``scopes`` is None)."""
    rows = arrow_rows(schema, records)
    if not store.direct:
        check_rows(schema, rows, {})
        frame = spark.createDataFrame(rows if records else [], spark_schema(schema))
        store.write(schema, frame.coalesce(1), scopes, metadata)
        return
    staging = store.staging(schema)
    writer = PartWriter(staging.folder, schema)
    for part in parts_of(schema, rows):
        writer.add(part)
    store.add_files(schema, staging, writer.close(), scopes, metadata)


def source(
    spark: SparkSession, store: Store, schema: TableSchema, columns: Sequence[str], where: Where | None
) -> Source:
    """Rows of a large table for the executors, with the given columns; ``where`` may name partition columns only."""
    wanted = _as_lists(where)
    if not store.direct:
        from pyspark.sql import functions as F

        frame = store.read(schema) if store.exists(schema) else spark.createDataFrame([], spark_schema(schema))
        for name, values in wanted.items():
            frame = frame.where(F.col(name).isin(values))
        if any(schema.column(name).type == "binary" for name in columns):
            bound_batches(spark)
        return Source(frame.select(*columns), iter)
    folder, files = store.files(schema)
    tasks = tasks_of(pruned(files, wanted), int(spark.sparkContext.defaultParallelism))

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                for file in tasks[number]:
                    yield from read_part(folder, file, schema, columns)

    return Source(spark.range(0, len(tasks), 1, max(len(tasks), 1)), read)


def bound_batches(spark: SparkSession) -> None:
    """Have Spark hand rows to Python in batches of so many bytes at most, where it has no limit yet."""
    setting = "spark.sql.execution.arrow.maxBytesPerBatch"
    if spark.conf.get(setting, _NO_LIMIT) == _NO_LIMIT:
        spark.conf.set(setting, str(BYTES_PER_BATCH))


def write_parts(
    store: Store, schema: TableSchema, frame: DataFrame, function: PartFunction, scopes: list[Scope] | None, metadata: str
) -> Counter[tuple[PartitionValue, ...]]:
    """Map a frame's batches to parts of a table on the executors and commit them in one go.

    Returns
    -------
    Counter
        Rows by partition values, in the order of the schema's partition columns.
    """
    if not store.direct:
        return _through_spark(store, schema, frame, function, scopes, metadata)
    name = schema.name
    staged = stage(store, [schema], frame, lambda batches: ((name, part) for part in function(batches)))
    try:
        return staged.commit(name, scopes, metadata)
    finally:
        staged.clear()


@dataclass
class Staged:
    """What a job made for several tables: nothing of it is visible until it is committed, table by table."""

    notes: list[bytes]
    _commit: Callable[[str, list[Scope] | None, str], Counter[tuple[PartitionValue, ...]]]
    _clear: Callable[[], None]

    def commit(self, table: str, scopes: list[Scope] | None, metadata: str) -> Counter[tuple[PartitionValue, ...]]:
        """Commit those of a table's rows that belong to the scopes, in place of theirs; rows by partition values."""
        return self._commit(table, scopes, metadata)

    def clear(self) -> None:
        """Clear away what was not committed."""
        self._clear()


def stage(store: Store, schemas: Sequence[TableSchema], frame: DataFrame, function: StageFunction) -> Staged:
    """Run a job that makes parts of several tables, and notes for the driver, in one pass over a frame.

    Parameters
    ----------
    store, frame
        Where the tables are; what the function is given, task by task.
    schemas
        The tables.
    function
        Arrow batches → (table name, part) pairs, and bytes, which come to the driver as notes.
    """
    return _staged_files(store, schemas, frame, function) if store.direct else _staged_rows(store, schemas, frame, function)


def _staged_files(store: Store, schemas: Sequence[TableSchema], frame: DataFrame, function: StageFunction) -> Staged:
    by_name = {schema.name: schema for schema in schemas}
    places = {name: store.staging(schema) for name, schema in by_name.items()}
    folders = {name: place.folder for name, place in places.items()}

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        writers = {name: PartWriter(folders[name], by_name[name]) for name in by_name}
        for made in function(batches):
            if isinstance(made, bytes):
                yield _staged_batch("", made)
            elif made[1].rows.num_rows:
                writers[made[0]].add(made[1])
        for name, writer in writers.items():
            files = [{**file.__dict__, "values": dict(file.values)} for file in writer.close()]
            yield _staged_batch(name, json.dumps(files).encode())

    notes: list[bytes] = []
    files: dict[str, list[PartFile]] = {name: [] for name in by_name}
    for row in frame.mapInArrow(write, _STAGED).collect():
        if row["table"]:
            files[row["table"]] += [PartFile(**f) for f in json.loads(bytes(row["packed"]))]
        else:
            notes.append(bytes(row["packed"]))

    def commit(name: str, scopes: list[Scope] | None, metadata: str) -> Counter[tuple[PartitionValue, ...]]:
        ordered = sorted((f for f in files[name] if in_scopes(f.values, scopes)), key=lambda f: (str(f.values), f.path))
        store.add_files(by_name[name], places[name], ordered, scopes, metadata)
        files[name] = [f for f in files[name] if not in_scopes(f.values, scopes)]
        counts: Counter[tuple[PartitionValue, ...]] = Counter()
        for file in ordered:
            counts[tuple(file.values[p] for p in by_name[name].partitions)] += file.rows
        return counts

    def clear() -> None:
        for name, left in files.items():
            for file in left:
                Path(folders[name], file.path).unlink(missing_ok=True)

    return Staged(notes, commit, clear)


def _staged_rows(store: Store, schemas: Sequence[TableSchema], frame: DataFrame, function: StageFunction) -> Staged:
    """The same where Spark has to write: parts are kept packed until their table is committed."""
    from pyspark import StorageLevel

    by_name = {schema.name: schema for schema in schemas}

    def pack(batches: Batches) -> Iterator[pa.RecordBatch]:
        for made in function(batches):
            if isinstance(made, bytes):
                yield _staged_batch("", made)
            else:
                yield _staged_batch(made[0], pickle.dumps(made[1]))

    kept = frame.mapInArrow(pack, _STAGED).persist(StorageLevel.MEMORY_AND_DISK)
    notes = [bytes(row["packed"]) for row in kept.where("table = ''").collect()]

    def commit(name: str, scopes: list[Scope] | None, metadata: str) -> Counter[tuple[PartitionValue, ...]]:
        def parts(batches: Batches) -> Iterator[Part]:
            for batch in batches:
                made = (pickle.loads(packed) for packed in batch.column("packed").to_pylist())
                yield from (part for part in made if in_scopes(part.values, scopes))

        return _through_spark(store, by_name[name], kept.where(f"table = '{name}'"), parts, scopes, metadata)

    return Staged(notes, commit, lambda: _ignore(kept.unpersist()))


def _ignore(_: object) -> None:
    return None


def _staged_batch(table: str, packed: bytes) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([table]), pa.array([packed], pa.binary())], names=["table", "packed"])


def count_rows(store: Store, schema: TableSchema, where: Where | None) -> Counter[tuple[PartitionValue, ...]]:
    """Rows by partition values, from the log's or the files' own counts where they have them."""
    counts: Counter[tuple[PartitionValue, ...]] = Counter()
    if not store.exists(schema):
        return counts
    wanted = _as_lists(where)
    if store.direct:
        folder, files = store.files(schema)
        for file in pruned(files, wanted):
            known = file.rows if file.rows >= 0 else pa.parquet.read_metadata(f"{folder}/{file.path}").num_rows
            counts[tuple(file.values[name] for name in schema.partitions)] += known
        return counts
    from pyspark.sql import functions as F

    frame = store.read(schema)
    for name, values in wanted.items():
        frame = frame.where(F.col(name).isin(values))
    for row in frame.groupBy(*schema.partitions).agg(F.count("*").alias("rows_")).collect():
        counts[tuple(row[name] for name in schema.partitions)] += int(row["rows_"])
    return counts


def parts_of(schema: TableSchema, rows: pa.Table) -> Iterator[Part]:
    """Cut rows by their partition values, in order of first occurrence."""
    rest = [name for name in rows.column_names if name not in schema.partitions]
    if not schema.partitions:
        yield Part({}, rows)
        return
    keys = list(zip(*(rows.column(name).to_pylist() for name in schema.partitions), strict=True))
    for key in dict.fromkeys(keys):
        at = pa.array([k == key for k in keys])
        yield Part(dict(zip(schema.partitions, key, strict=True)), rows.filter(at).select(rest))


def _through_spark(
    store: Store, schema: TableSchema, frame: DataFrame, function: PartFunction, scopes: list[Scope] | None, metadata: str
) -> Counter[tuple[PartitionValue, ...]]:
    kind = arrow_schema(schema)

    def rows(batches: Batches) -> Iterator[pa.RecordBatch]:
        for part in function(batches):
            check_rows(schema, part.rows, part.values)
            n = part.rows.num_rows
            columns = [
                pa.repeat(pa.scalar(part.values[f.name], f.type), n) if f.name in part.values else part.rows.column(f.name)
                for f in kind
            ]
            yield from pa.table(columns, schema=kind).combine_chunks().to_batches(max_chunksize=100_000)

    ddl = ", ".join(f"{f.name} {f.dataType.simpleString()}" for f in spark_schema(schema).fields)
    store.write(schema, frame.mapInArrow(rows, ddl), scopes, metadata)
    counts: Counter[tuple[PartitionValue, ...]] = Counter()
    written = store.read(schema) if not scopes or scopes == [{}] else store.read(schema).where(scope_predicate(scopes))
    for row in written.groupBy(*schema.partitions).count().collect():
        counts[tuple(row[name] for name in schema.partitions)] += int(row["count"])
    return counts


def _as_lists(where: Where | None) -> dict[str, list[Any]]:
    given = where or {}
    return {k: [v] if v is None or isinstance(v, (str, int)) else list(v) for k, v in given.items()}


def pruned(files: Iterable[PartFile], where: Where | None) -> list[PartFile]:
    """Files of the partitions that can hold the rows."""
    wanted = _as_lists(where)
    return [f for f in files if all(f.values[k] in v for k, v in wanted.items() if k in f.values)]
