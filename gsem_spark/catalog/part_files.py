"""Parquet files that Python processes write and read by themselves, where the table's folder is within their reach.

Rows that come out of a worker as Arrow batches cost several times their making when they go through the JVM to be written.
Here the worker writes the files; the driver commits the list of them in one transaction. A file that no commit names is
invisible, so tasks may die and be repeated.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gsem_spark.catalog.arrow_contracts import ARROW_TYPES, arrow_schema, check_rows
from gsem_spark.catalog.schemas import TableSchema

PartitionValue = str | int | None
ROW_GROUP_ROWS: Final = 250_000
HELD_BYTES: Final = 200_000_000
"""What a task holds of all its open files together: where they are many, row groups become smaller."""
ROW_GROUP_BYTES: Final = 64_000_000
"""Rows that hold arrays or packed matrices are large: a row group, which is written and read whole, ends at this size too."""
BATCH_ROWS: Final = 100_000
ENDLESS: Final = 2**62
"""Beyond every value of a column."""
LARGE_BATCH_ROWS: Final = 4
"""Rows read at a time where a column holds packed matrices of tens of MB each."""
_ESCAPED: Final = frozenset("\"#%'*/:=?\\{[]^\x7f")
NULL_FOLDER: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """Rows of one partition of a table: the partition columns' values, and the other columns."""

    values: Mapping[str, PartitionValue]
    rows: pa.Table


@dataclass(frozen=True)
class PartFile:
    """A Parquet file of one partition: where it is below the table's data folder, and what is in it."""

    path: str
    values: Mapping[str, PartitionValue]
    rows: int
    size: int
    modified_ms: int = 0


@dataclass
class PartWriter:
    """Writes parts below a folder, one file a partition, in row groups of a quarter of a million rows."""

    folder: str
    schema: TableSchema
    _open: dict[tuple[PartitionValue, ...], _Pending] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """Take rows of a partition; they are checked against the table's rules first."""
        check_rows(self.schema, part.rows, part.values)
        key = tuple(part.values[name] for name in self.schema.partitions)
        if key not in self._open:
            self._open[key] = _Pending(self.folder, self.schema, dict(part.values))
        self._open[key].add(part.rows)
        while sum(pending.held_bytes for pending in self._open.values()) > HELD_BYTES:
            max(self._open.values(), key=lambda pending: pending.held_bytes).flush()

    def close(self) -> list[PartFile]:
        """Finish every file and say what was written."""
        return [pending.close() for _, pending in sorted(self._open.items(), key=lambda item: str(item[0]))]


class _Pending:
    """The file of one partition while it is written."""

    def __init__(self, folder: str, schema: TableSchema, values: dict[str, PartitionValue]) -> None:
        self._type = arrow_schema(schema, partitions=False)
        self._values, self._rows = values, 0
        self._held: list[pa.Table] = []
        self._held_rows = self.held_bytes = 0
        below = "/".join(f"{name}={_folder_name(values[name])}" for name in schema.partitions)
        self._path = f"{below}/part-{uuid.uuid4().hex}.zstd.parquet" if below else f"part-{uuid.uuid4().hex}.zstd.parquet"
        self._target = Path(folder) / self._path
        self._target.parent.mkdir(parents=True, exist_ok=True)
        # Dictionaries serve words that repeat; tried on numbers and names they only cost time.
        repeating = [f.name for f in self._type if f.type == pa.string() and f.name not in ("snp", "text")]
        self._writer = pq.ParquetWriter(
            self._target, self._type, compression="zstd", compression_level=1, use_dictionary=repeating,
            write_statistics=[n for n in ("bp", "snp", "row") if n in self._type.names],
        )

    def add(self, rows: pa.Table) -> None:
        ordered = rows.select(self._type.names)
        self._held.append(ordered if ordered.schema.equals(self._type) else ordered.cast(self._type))
        self._held_rows += rows.num_rows
        self.held_bytes += rows.nbytes
        if self._held_rows >= ROW_GROUP_ROWS or self.held_bytes >= ROW_GROUP_BYTES:
            self.flush()

    def close(self) -> PartFile:
        self.flush()
        self._writer.close()
        modified = int(time.time() * 1000)
        return PartFile(self._path, self._values, self._rows, self._target.stat().st_size, modified)

    def flush(self) -> None:
        """Write the rows held as a row group."""
        if self._held_rows:
            self._writer.write_table(pa.concat_tables(self._held), row_group_size=max(self._held_rows, 1))
        self._rows += self._held_rows
        self._held, self._held_rows, self.held_bytes = [], 0, 0


def read_part(
    folder: str, file: PartFile, schema: TableSchema, columns: Sequence[str], within: Range | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows of one file, a batch at a time, the partition columns among ``columns`` filled in; only those of a range, if given."""
    stored = [name for name in columns if name not in schema.partitions]
    kinds = {c.name: ARROW_TYPES[c.type] for c in schema.columns}
    large = any(kinds[name] == pa.binary() for name in stored)
    with pq.ParquetFile(Path(folder) / file.path, pre_buffer=not large) as parquet:
        if not stored:
            yield _filled(parquet.metadata.num_rows, {}, file, columns, kinds)
            return
        rows, groups = LARGE_BATCH_ROWS if large else BATCH_ROWS, None if within is None else within.row_groups(parquet.metadata)
        for batch in parquet.iter_batches(batch_size=rows, row_groups=groups, columns=stored, use_threads=False):
            mine = batch if within is None else batch.filter(within.holds(batch.column(within.column)))
            yield _filled(mine.num_rows, dict(zip(mine.schema.names, mine.columns, strict=True)), file, columns, kinds)


@dataclass(frozen=True)
class Range:
    """Rows whose integer ``column`` (one of those read) is at least ``low`` and below ``high``.

    Those without a value belong to the range whose ``low`` is ``-ENDLESS``.
    """

    column: str
    low: int
    high: int

    def holds(self, values: pa.Array) -> pa.Array:
        """Which values lie in it."""
        known = pc.fill_null(values.cast(pa.int64()), -ENDLESS)
        return pc.and_(pc.greater_equal(known, self.low), pc.less(known, self.high))

    def row_groups(self, metadata: pq.FileMetaData) -> list[int]:
        """Row groups of a file that can hold such rows."""
        place = metadata.schema.names.index(self.column)
        statistics = [metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups)]
        return [group for group, known in enumerate(statistics) if known is None or self._may_hold(known)]

    def _may_hold(self, known: pq.Statistics) -> bool:
        if not known.has_min_max or (self.low == -ENDLESS and known.null_count != 0):
            return True
        return bool(known.max >= self.low and known.min < self.high)


def _filled(
    n: int, stored: Mapping[str, pa.Array], file: PartFile, columns: Sequence[str], kinds: Mapping[str, pa.DataType]
) -> pa.RecordBatch:
    arrays = []
    for name in columns:
        if name not in stored:
            arrays.append(pa.repeat(pa.scalar(file.values[name], kinds[name]), n))
        else:
            found = stored[name]
            arrays.append(found if found.type.equals(kinds[name]) else found.cast(kinds[name]))
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def tasks_of(files: Iterable[PartFile], cores: int, bytes_per_task: int = 48_000_000) -> list[list[PartFile]]:
    """Share files out among tasks of about the same size: the largest first, each to the task that has least.

    There are as many tasks for each core: three tasks of one size on two cores take as long as four.
    """
    ordered = sorted(files, key=lambda f: (-f.size, f.path))
    total = sum(f.size for f in ordered)
    rounds = max(1, -(-total // (bytes_per_task * max(cores, 1))))
    n = max(1, min(len(ordered), rounds * cores))
    tasks: list[list[PartFile]] = [[] for _ in range(n)]
    sizes = [0] * n
    for file in ordered:
        least = sizes.index(min(sizes))
        tasks[least].append(file)
        sizes[least] += file.size
    return [sorted(task, key=lambda f: f.path) for task in tasks if task]


def typed_value(schema: TableSchema, name: str, text: Any) -> PartitionValue:
    """A partition value as the column's type, from the text that logs and folder names keep."""
    if text is None or text == NULL_FOLDER:
        return None
    return int(text) if schema.column(name).type in ("int", "long") else str(text)


def _folder_name(value: PartitionValue) -> str:
    """A value as Hive and Spark spell it in a folder's name."""
    if value is None:
        return NULL_FOLDER
    return "".join(f"%{ord(c):02X}" if c in _ESCAPED or ord(c) < 32 else c for c in str(value))
