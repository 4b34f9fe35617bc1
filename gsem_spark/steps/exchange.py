"""Rows brought together by name in packed form: a shuffle of some thousand byte strings instead of millions of rows.

Each task cuts its rows into buckets by a hash of the variant name and packs each bucket's rows as Arrow bytes; Spark moves
the packages; the receiving task puts a bucket's packages together. All copies of a name, of whatever origin, meet in one
bucket. The hash depends on the name alone, so results do not depend on tasks, hosts or Python's own hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import Source

PACKED_SCHEMA: Final = "bucket int, kind string, packed binary"
BUCKETS_PER_PARTITION: Final = 4
"""Buckets that a task handles one after the other, so that it holds a quarter of its share unpacked at a time."""
PACK_ROWS: Final = 100_000
"""Rows a task gathers of its input before it packs them: a package stays at some MB."""
HASHED_NAMES: Final = 8_192
_NAMES: Final = ("bucket", "kind", "packed")
_LONGEST: Final = 64
_MULTIPLIERS: Final = np.random.Generator(np.random.PCG64(20260101)).integers(1, 2**63, _LONGEST, dtype=np.uint64) * 2 + 1


def name_hashes(names: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """64-bit hash of each name, multilinear in its bytes; null and empty names give 0."""
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    # Some thousand at a time: what is worked on stays in the processor's cache.
    blocks = [_block_hashes(pc.fill_null(names.slice(low, HASHED_NAMES), "")) for low in range(0, len(names), HASHED_NAMES)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.uint64)


def _block_hashes(filled: pa.Array) -> NDArray[np.uint64]:
    size = len(filled)
    offsets = np.frombuffer(filled.buffers()[1], np.int32, size + 1, filled.offset * 4).astype(np.int64)
    data = filled.buffers()[2]
    letters = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.zeros(0, np.uint8)
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    place = np.arange(letters.size, dtype=np.int64) - np.repeat(starts, lengths)
    terms = (letters.astype(np.uint64) + np.uint64(1)) * _MULTIPLIERS[place % _LONGEST]
    sums = np.zeros(size, np.uint64)
    filled_ones = np.flatnonzero(lengths)
    if filled_ones.size:
        sums[filled_ones] = np.add.reduceat(terms, starts[filled_ones])
    return sums


def name_buckets(names: pa.Array | pa.ChunkedArray, n: int) -> NDArray[np.int64]:
    """Bucket (0 … n - 1) of each name; null and empty names fall into bucket 0."""
    mixed = mix(name_hashes(names))
    return ((mixed >> np.uint64(33)) % np.uint64(n)).astype(np.int64)


def mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread what the bits say over all of them."""
    mixed: NDArray[np.uint64] = (bits ^ (bits >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def packages(kind: str, tables: Iterable[pa.Table], buckets: Callable[[pa.Table], NDArray[np.int64]]) -> Iterator[pa.RecordBatch]:
    """Cut tables into buckets, as the function numbers them, and pack them, PACK_ROWS rows of input or more at a time."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows >= PACK_ROWS:
            yield _pack(kind, pa.concat_tables(held), buckets)
            held, rows = [], 0
    if rows:
        yield _pack(kind, pa.concat_tables(held), buckets)


def pieces(tables: Iterable[pa.Table], buckets: Callable[[pa.Table], NDArray[np.int64]]) -> Iterator[tuple[int, pa.Table]]:
    """All rows by bucket, the smallest number first; tables that are in the order of their buckets are cut, not sorted."""
    found: dict[int, list[pa.Table]] = {}
    for table in tables:
        for number, rows in _cut(table, buckets(table)):
            found.setdefault(number, []).append(rows)
    for number in sorted(found):
        yield number, pa.concat_tables(found.pop(number)).combine_chunks()


def packed_names(rows: Source, kind: str, buckets: int) -> DataFrame:
    """Rows of a table, packed by the column ``snp``."""
    read = rows.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (pa.Table.from_batches([batch]) for batch in read(batches))
        yield from packages(kind, tables, by_name("snp", buckets))

    return rows.frame.mapInArrow(run, PACKED_SCHEMA)


def received(
    batches: Iterable[pa.RecordBatch], notes: tuple[str, list[bytes]] | None = None
) -> Iterator[tuple[int, Mapping[str, pa.Table]]]:
    """Buckets of a task, smallest first, each with its rows by kind; rows of a kind stand in no order.

    What comes under the kind that ``notes`` names is no package of rows; it is added to the list beside the name.
    """
    parts: dict[int, dict[str, list[bytes]]] = {}
    for batch in batches:
        for bucket, kind, packed in zip(*(batch.column(name).to_pylist() for name in _NAMES), strict=True):
            if notes is not None and kind == notes[0]:
                notes[1].append(packed)
            else:
                parts.setdefault(bucket, {}).setdefault(kind, []).append(packed)
    for bucket in sorted(parts):
        of_bucket = parts.pop(bucket)
        yield bucket, {kind: pa.concat_tables(map(unpack, blobs)).combine_chunks() for kind, blobs in sorted(of_bucket.items())}


def pack(table: pa.Table, compression: str | None = None) -> bytes:
    """A table as the bytes of an Arrow stream; compressed (zstd) where many of them are held for long."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def unpack(packed: bytes) -> pa.Table:
    """The table that :func:`pack` packed."""
    with pa.ipc.open_stream(packed) as stream:
        return stream.read_all()


def by_name(column: str, n: int) -> Callable[[pa.Table], NDArray[np.int64]]:
    """Buckets by the hash of a column of names."""
    return lambda table: name_buckets(table.column(column), n)


def _pack(kind: str, table: pa.Table, buckets: Callable[[pa.Table], NDArray[np.int64]]) -> pa.RecordBatch:
    table = table.combine_chunks()
    numbers, blobs = [], []
    for number, rows in _cut(table, buckets(table)):
        numbers.append(number)
        blobs.append(pack(rows.combine_chunks()))
    return pa.RecordBatch.from_arrays(
        [pa.array(numbers, pa.int32()), pa.array([kind] * len(blobs)), pa.array(blobs, pa.binary())], names=list(_NAMES)
    )


def _cut(table: pa.Table, bucket: NDArray[np.int64]) -> Iterator[tuple[int, pa.Table]]:
    """Rows of each bucket, the smallest number first, in the order they stand in; rows in the order of their buckets stay put."""
    if (np.diff(bucket) < 0).any():
        # NumPy sorts 16-bit integers by radix, several times faster than wider ones.
        order = np.argsort(bucket.astype(np.int16) if bucket.max() < 2**15 else bucket, kind="stable")
        bucket, table = bucket[order], table.take(pa.array(order))
    numbers, starts = np.unique(bucket, return_index=True)
    for number, start, end in zip(numbers.tolist(), starts.tolist(), [*starts[1:].tolist(), bucket.size], strict=True):
        yield number, table.slice(start, end - start)
