"""Raw text files as Spark frames of numbered lines, whatever they are compressed with.

A compressed file is one task and is unpacked by it, where executors see the file themselves. Elsewhere, gzip (also blocked
gzip) named ``.gz`` is read by the JVM, and anything else, such as zstd, comes whole and is unpacked in Python. Plain text is cut
by the JVM and its parts renumbered.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyspark.sql import functions as F

from gsem_spark.catalog.arrow_access import Source
from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats.sniff import MIN_COLUMNS, RawFormat, sniff
from gsem_spark.steps.munge import text_lines

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HEAD_BYTES: Final = 1 << 17
SAMPLE_BYTES: Final = 1 << 20
"""Compressed bytes read on the driver to learn a file's format and the kind of its effects."""
_SPLIT_SHIFT: Final = 33  # monotonically_increasing_id keeps the partition above this bit and the row below it
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class TextSource:
    """One raw file: where it is, how it is compressed, how its lines are to be cut."""

    path: str
    name: str
    size: int
    compression: str
    format: RawFormat

    @property
    def by_jvm(self) -> bool:
        """Whether Spark's own reader unpacks the file rightly: it goes by the name's ending."""
        lower = self.path.lower()
        named_gzip = lower.endswith(".gz")
        other_codec = lower.endswith((".bz2", ".zst", ".snappy", ".lz4", ".deflate"))
        return (self.compression == "gzip") == named_gzip and self.compression in ("gzip", "none") and not other_codec


def open_text(spark: SparkSession, path: str, min_columns: int = MIN_COLUMNS) -> TextSource:
    """Look at a raw file's beginning: existence, compression, delimiter, header.

    Raises
    ------
    DataError
        The file is absent, empty, not text, or has no recognisable header.
    """
    files = HadoopFiles(spark)
    name = path.rstrip("/").rsplit("/", 1)[-1]
    if not files.exists(path):
        raise DataError(
            "the file does not exist", where=path, remedy="correct the path; relative paths count from the study file"
        )
    size = files.size(path)
    if size == 0:
        raise DataError("the file is empty (0 bytes)", where=path, remedy="fetch it again")
    packed = files.read_head(path, SAMPLE_BYTES)
    compression = "gzip" if packed[:2] == _GZIP else "zstd" if packed[:4] == _ZSTD else "none"
    head = _unpack_head(packed, compression, path)
    form = sniff(head[:HEAD_BYTES], name, min_columns=min_columns)
    return TextSource(path, name, size, compression, form)


def line_source(spark: SparkSession, source: TextSource) -> Source:
    """Data lines of a file as ``row`` (line number, the header's included, 1-based) and ``value`` (the text), without blank ones.

    Compressed files that executors see in their own file system are unpacked by the task that uses the lines; others come
    through Spark's readers.
    """
    first, compression = source.format.preamble_lines + 1, source.compression
    path = local_folder(source.path) if compression != "none" else None
    if path is not None:

        def read_file(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for _ in (row for batch in batches for row in range(batch.num_rows)):
                with Path(path).open("rb") as stream:
                    yield from text_lines.data_lines(text_lines.unpacked(stream, compression), first)

        return Source(spark.range(0, 1, 1, 1), read_file)
    if source.by_jvm:
        numbered = _jvm_lines(spark, source)
        return Source(numbered.where((F.col("row") > first) & (F.trim("value") != "")), iter)

    def read_content(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for content in (content for batch in batches for content in batch.column(0)):
            with pa.BufferReader(content.as_buffer()) as stream:
                yield from text_lines.data_lines(text_lines.unpacked(stream, compression), first)

    return Source(spark.read.format("binaryFile").load(escaped(source.path)).select("content"), read_content)


def body_source(spark: SparkSession, sources: Sequence[TextSource]) -> Source:
    """Lines of several small files as ``value``, in no order. Header lines may be among them: Spark's reader leaves them in."""
    paths = [local_folder(source.path) for source in sources]
    if all(path is not None for path in paths):
        files = [(str(path), s.compression, s.format.preamble_lines + 1) for path, s in zip(paths, sources, strict=True)]
        tasks = min(len(files), 2 * int(spark.sparkContext.defaultParallelism))

        def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for number in (n for batch in batches for n in batch.column(0).to_pylist()):
                path, compression, first = files[number]
                with Path(path).open("rb") as stream:
                    yield from text_lines.data_lines(text_lines.unpacked(stream, compression), first)

        return Source(spark.range(0, len(files), 1, tasks), read)
    return Source(spark.read.text([escaped(source.path) for source in sources]), iter)


def _jvm_lines(spark: SparkSession, source: TextSource) -> DataFrame:
    lines = spark.read.text(escaped(source.path)).withColumn("at", F.monotonically_increasing_id())
    split = F.shiftright("at", _SPLIT_SHIFT)
    within = F.col("at").bitwiseAND(F.lit((1 << _SPLIT_SHIFT) - 1))
    if source.compression != "none":  # one task, numbered from 0
        return lines.select((within + 1).alias("row"), "value")
    counts = {r["split"]: r["n"] for r in lines.groupBy(split.alias("split")).agg(F.count("*").alias("n")).collect()}
    offsets, total = {}, 0
    for part in sorted(counts):
        offsets[part] = total
        total += counts[part]
    if len(offsets) <= 1:
        return lines.select((within + 1).alias("row"), "value")
    table = F.create_map(*[F.lit(x).cast("long") for pair in offsets.items() for x in pair])
    return lines.select((within + 1 + table[split]).alias("row"), "value")


def _unpack_head(packed: bytes, compression: str, path: str) -> bytes:
    try:
        if compression == "gzip":
            return _gunzip_head(packed)
        if compression == "zstd":
            with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
                return bytes(stream.read(4 * HEAD_BYTES))
    except (OSError, zlib.error) as error:
        raise DataError(
            f"the file begins as {compression} but cannot be unpacked ({error})", where=path, remedy="fetch it again"
        ) from error
    return packed


def _gunzip_head(packed: bytes) -> bytes:
    """What the first bytes of a (possibly blocked) gzip file unpack to."""
    out, rest = b"", packed
    while rest and len(out) < 4 * SAMPLE_BYTES:
        member = zlib.decompressobj(31)
        out += member.decompress(rest)
        if not member.eof:
            break
        rest = member.unused_data
    return out


def escaped(path: str) -> str:
    """Keep Hadoop from reading a file name as a pattern."""
    return "".join("\\" + c if c in "[]{}*?" else c for c in path)
