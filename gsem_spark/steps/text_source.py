"""Raw text files as Spark frames of numbered lines, whatever they are compressed with.

Plain text and gzip (also blocked gzip) named ``.gz`` are read by the JVM. Anything else, such as zstd or a gzip file under
another name, is unpacked in a Python task. A compressed file is one task; plain text is cut and its parts renumbered.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyspark.sql import functions as F

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats.sniff import MIN_COLUMNS, RawFormat, sniff

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HEAD_BYTES: Final = 1 << 17
SAMPLE_BYTES: Final = 1 << 20
"""Compressed bytes read on the driver to learn a file's format and the kind of its effects."""
_LINES_PER_BATCH: Final = 50_000
_SPLIT_SHIFT: Final = 33  # monotonically_increasing_id keeps the partition above this bit and the row below it
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class TextSource:
    """One raw file: where it is, what its bytes are, how its lines are to be cut."""

    path: str
    name: str
    sha256: str
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
    return TextSource(path, name, files.sha256(path), size, compression, form)


def read_lines(spark: SparkSession, source: TextSource) -> DataFrame:
    """Data lines of a file as ``row`` (line number, the header's included, 1-based) and ``value`` (the text)."""
    numbered = _jvm_lines(spark, source) if source.by_jvm else _python_lines(spark, source)
    first = source.format.preamble_lines + 1
    return numbered.where((F.col("row") > first) & (F.trim("value") != ""))


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


def _python_lines(spark: SparkSession, source: TextSource) -> DataFrame:
    compression = source.compression
    files = spark.read.format("binaryFile").load(escaped(source.path)).select("content")

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for content in batch.column(0):
                yield from _line_batches(content.as_buffer(), compression)

    return files.mapInArrow(unpack, "row long, value string")


def _line_batches(content: Any, compression: str) -> Iterator[pa.RecordBatch]:
    raw = pa.BufferReader(content)
    stream: Any = (
        gzip.GzipFile(fileobj=raw)
        if compression == "gzip"
        else pa.CompressedInputStream(raw, "zstd")
        if compression == "zstd"
        else raw
    )
    row, lines = 0, []
    for line in io.TextIOWrapper(io.BufferedReader(stream, 1 << 20), encoding="utf-8", errors="replace", newline=None):
        lines.append(line.rstrip("\r\n"))
        if len(lines) == _LINES_PER_BATCH:
            yield _numbered(row, lines)
            row, lines = row + len(lines), []
    if lines:
        yield _numbered(row, lines)


def _numbered(start: int, lines: list[str]) -> pa.RecordBatch:
    rows = pa.array(range(start + 1, start + 1 + len(lines)), pa.int64())
    return pa.RecordBatch.from_arrays([rows, pa.array(lines, pa.string())], names=["row", "value"])


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
