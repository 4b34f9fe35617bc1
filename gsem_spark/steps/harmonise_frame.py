"""Raw lines of many files to harmonised rows: one shuffle by variant name, then batches through the pure rules.

All copies of a variant of a file come to the same task one after the other, so duplicates are settled inside a batch. Rows
that a rule drops come out with the rule and the line; counts come out as rows of their own, a few per batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from gsem_spark.methods.sumstats import Counters, Harmonised, HarmoniseSpec, harmonise
from gsem_spark.steps.raw_fields import FieldReader
from gsem_spark.steps.text_source import TextSource, read_lines

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from gsem_spark.catalog.workspace import Workspace

FIELD_COUNT_RULE: Final = "field_count"
EXAMPLES: Final = 3
_MISSING_KEY: Final = "\x00"
_REFERENCE: Final = {"ref_chr": "chr", "ref_bp": "bp", "ref_a1": "a1", "ref_a2": "a2", "ref_maf": "maf", "ref_hm3": "hm3"}
_VALUES: Final = ("eaf", "maf", "info", "n", "z", "beta", "se", "neglog10p")
PACK_ROWS: Final = 100_000
"""Rows of one packed batch at most; a task packs what it has of a file and chromosome into as few as that allows."""
KEPT, LOST, COUNTS = "kept", "lost", "counts"
_PACKED_SCHEMA: Final = "file int, kind string, chr int, packed binary"
_LOST_ROW: Final = pa.schema([("row", pa.int64()), ("text", pa.string()), ("rule", pa.string())])
_KEPT_ROW: Final = pa.schema(
    [("snp", pa.string()), ("chr", pa.int32()), ("bp", pa.int64()), ("a1", pa.string()), ("a2", pa.string())]
    + [(name, pa.float64()) for name in _VALUES]
)
_ORDER: Final = {KEPT: [("bp", "ascending"), ("snp", "ascending"), ("z", "ascending")], LOST: [("row", "ascending")]}
_NO_CHROMOSOME: Final = -1


@dataclass(frozen=True)
class FileTask:
    """One file of a munge run: its source, how its lines are cut, and how its rows are read."""

    source: TextSource
    reader: FieldReader
    spec: HarmoniseSpec
    notes: tuple[str, ...] = ()


def harmonised(ws: Workspace, tasks: Sequence[FileTask], partitions: int) -> DataFrame:
    """Plan the harmonisation of several files against the workspace's variant reference.

    Rows go on as packed Arrow batches, one column of bytes: moving and keeping some thousand byte strings costs a fraction of
    moving and keeping millions of rows.

    Returns
    -------
    DataFrame
        ``file`` (place in ``tasks``), ``kind`` (``kept``, ``lost`` or ``counts``), ``chr`` (-1 where none), ``packed``; all
        of a file and chromosome in the same partition. :func:`unpacked` gives the rows, :func:`merge_counts` reads counts.
    """
    lines = reduce(lambda a, b: a.unionAll(b), [_keyed(ws, number, task) for number, task in enumerate(tasks)])
    reference = ws.read("reference_variants").select(
        F.col("snp").alias("key"), *(F.col(column).alias(name) for name, column in _REFERENCE.items())
    )
    # One shuffle of each side by name. A hash join keeps the partitioning; the sort brings a file's copies together.
    joined = lines.repartition(partitions, "key").join(
        reference.repartition(partitions, "key").hint("shuffle_hash"), "key", "left"
    )
    ordered = joined.sortWithinPartitions("key", "file", "row")
    readers, specs = [t.reader for t in tasks], [t.spec for t in tasks]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        packer = _Packer()
        for whole in whole_groups(batches):
            for file in sorted(pc.unique(whole.column("file")).to_pylist()):
                rows = whole.filter(pc.equal(whole.column("file"), file))
                yield from packer.add(file, harmonise_rows(rows, readers[file], specs[file]))
        yield from packer.rest()

    return ordered.mapInArrow(run, _PACKED_SCHEMA).repartition(partitions, "file", "chr")


def unpacked(packed: DataFrame, kind: str, columns: str) -> DataFrame:
    """The rows of a kind, sorted by place within each file and chromosome; ``columns`` is their type, ``file`` first."""
    names = [field.name for field in (_KEPT_ROW if kind == KEPT else _LOST_ROW)]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for file, parts in _groups(batches):
            table = pa.concat_tables(parts).sort_by(_ORDER[kind]).combine_chunks()
            for batch in table.to_batches(max_chunksize=PACK_ROWS):
                constant = pa.array(np.full(batch.num_rows, file, np.int32))
                yield pa.RecordBatch.from_arrays([constant, *batch.columns], names=["file", *names])

    return packed.where(F.col("kind") == kind).sortWithinPartitions("file", "chr").mapInArrow(run, columns)


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[pa.Table]]]:
    """Packed batches of one file and chromosome at a time, from a stream sorted by both."""
    current: tuple[int, int] | None = None
    parts: list[pa.Table] = []
    for batch in batches:
        for at in range(batch.num_rows):
            place = (batch.column("file")[at].as_py(), batch.column("chr")[at].as_py())
            if place != current and current is not None:
                yield current[0], parts
                parts = []
            current = place
            with pa.ipc.open_stream(batch.column("packed")[at].as_buffer()) as stream:
                parts.append(stream.read_all())
    if current is not None:
        yield current[0], parts


class _Packer:
    """Collects a task's rows by file, kind and chromosome and gives them out packed, PACK_ROWS at a time."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, str, int], list[pa.RecordBatch]] = {}
        self._rows: dict[tuple[int, str, int], int] = {}

    def add(self, file: int, parts: Iterable[tuple[str, pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
        """Take a batch's kept rows, lost rows and counts; give out what is full."""
        for kind, rows in parts:
            for chromosome, part in _by_chromosome(rows) if kind == KEPT else [(_NO_CHROMOSOME, rows)]:
                place = (file, kind, chromosome)
                self._held.setdefault(place, []).append(part)
                self._rows[place] = self._rows.get(place, 0) + part.num_rows
                if self._rows[place] >= PACK_ROWS:
                    yield self._pack(place)

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Give out everything that is left."""
        for place in sorted(self._held):
            yield self._pack(place)

    def _pack(self, place: tuple[int, str, int]) -> pa.RecordBatch:
        parts = self._held.pop(place)
        del self._rows[place]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, parts[0].schema) as stream:
            stream.write_table(pa.Table.from_batches(parts).combine_chunks())
        file, kind, chromosome = place
        arrays = [pa.array([file], pa.int32()), pa.array([kind]), pa.array([chromosome], pa.int32())]
        return pa.RecordBatch.from_arrays([*arrays, pa.array([sink.getvalue().to_pybytes()], pa.binary())], names=_PACKED_NAMES)


_PACKED_NAMES: Final = ["file", "kind", "chr", "packed"]


def _by_chromosome(rows: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    chromosome = pc.fill_null(rows.column("chr"), _NO_CHROMOSOME).to_numpy(zero_copy_only=False)
    order = np.argsort(chromosome, kind="stable")
    ordered = rows.take(pa.array(order))
    values, starts = np.unique(chromosome[order], return_index=True)
    ends = [*starts[1:].tolist(), rows.num_rows]
    for value, start, end in zip(values.tolist(), starts.tolist(), ends, strict=True):
        yield value, ordered.slice(start, end - start)


def whole_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Recut a stream that is sorted by ``key`` so that all rows of a key stand in the same batch."""
    held: pa.RecordBatch | None = None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        joined = batch if held is None else pa.Table.from_batches([held, batch]).combine_chunks().to_batches()[0]
        keys = joined.column("key")
        last = keys[joined.num_rows - 1].as_py()
        start = joined.num_rows - 1
        while start > 0 and keys[start - 1].as_py() == last:
            start -= 1
        held = joined.slice(start)
        if start:
            yield joined.slice(0, start)
    if held is not None:
        yield held


def harmonise_rows(rows: pa.RecordBatch, reader: FieldReader, spec: HarmoniseSpec) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Rows of one file through the rules: kept rows, lost rows, and the counts, each under its kind."""
    fits = reader.fits(rows.column("value"))
    torn = rows.filter(pc.invert(fits))
    if torn.num_rows:
        yield LOST, _lost(torn.column("row"), torn.column("value"), [FIELD_COUNT_RULE] * torn.num_rows)
        rows = rows.filter(fits)
    lines, numbers = rows.column("value"), rows.column("row")
    columns: dict[str, Any] = {
        **reader.read(lines),
        "row": numbers,
        **{name: rows.column(name) for name in _REFERENCE if name != "ref_hm3"},
        "ref_matched": pc.is_valid(rows.column("ref_a1")),
        "hm3": pc.fill_null(rows.column("ref_hm3"), False),
    }
    done = harmonise(columns, spec)
    kept = np.flatnonzero(done.keep)
    if kept.size:
        yield KEPT, _kept(rows, done, kept)
    lost = np.flatnonzero(~done.keep)
    if lost.size:
        names = np.array(["", *(rule.name for rule in spec.rules)], dtype=object)
        yield LOST, _lost(numbers.take(pa.array(lost)), lines.take(pa.array(lost)), names[done.rule[lost]].tolist())
    yield COUNTS, _counts(done, numbers, lines, torn, spec)


def merge_counts(packed: Iterable[bytes], spec: HarmoniseSpec) -> tuple[Counters, dict[str, list[str]], int]:
    """Add up the counts of a file's batches.

    Returns
    -------
    counters, examples, torn
        Sum of the counters; rule → up to three examples, those that stand first in the file; lines with a wrong number of
        fields.
    """
    counters, torn = Counters.zero(spec), 0
    found: dict[str, list[tuple[int, str]]] = {}
    texts = (text for blob in packed for text in pa.ipc.open_stream(blob).read_all().column("counts").to_pylist())
    for part in map(json.loads, texts):
        counters = counters + Counters.from_dict(part["counters"])
        torn += part["torn"]
        for rule, examples in part["examples"].items():
            found.setdefault(rule, []).extend((int(row), line) for row, line in examples)
    return counters, {rule: [f"{row}: {line}" for row, line in sorted(rows)[:EXAMPLES]] for rule, rows in found.items()}, torn


def _keyed(ws: Workspace, number: int, task: FileTask) -> DataFrame:
    """Lines of one file with the variant name cut out by the JVM, for the join."""
    key = _field(task.reader, task.reader.roles["snp"])
    if task.spec.compat is None:  # some tools print rsIDs in capitals
        key = F.when(key.rlike("^RS[0-9]+$"), F.lower(key)).otherwise(key)
    spread = F.concat(F.lit(_MISSING_KEY), F.col("row").cast("string"))  # rows without a name meet nothing, and nobody
    return read_lines(ws.spark, task.source).select(
        F.lit(number).cast("int").alias("file"),
        "row",
        "value",
        F.when((key == "") | key.isNull(), spread).otherwise(key).alias("key"),
    )


def _field(reader: FieldReader, place: int) -> Column:
    line: Column = F.col("value")
    if reader.quoted:
        schema = ", ".join(f"c{i} string" for i in range(reader.n_fields))
        return F.trim(
            F.from_csv(line, F.lit(schema), {"sep": "\t" if reader.delimiter == "\t" else reader.delimiter})[f"c{place}"]
        )
    if reader.runs:
        return F.get(F.split(F.trim(line), r"[ \t]+"), F.lit(place))
    upto = F.substring_index(line, reader.delimiter, place + 1)
    return F.trim(F.substring_index(upto, reader.delimiter, -1))


def _kept(rows: pa.RecordBatch, done: Harmonised, at: np.ndarray) -> pa.RecordBatch:
    index = pa.array(at)
    names = {"snp": "key", "chr": "ref_chr", "bp": "ref_bp", "a1": "ref_a1", "a2": "ref_a2"}
    arrays = [rows.column(source).take(index) for source in names.values()]
    return pa.RecordBatch.from_arrays([*arrays, *(_finite(getattr(done, name)[at]) for name in _VALUES)], schema=_KEPT_ROW)


def _finite(values: np.ndarray) -> pa.Array:
    """Numbers as tables keep them: what is not finite (no value; Z of a p-value that is 0) is null."""
    return pa.array(np.where(np.isfinite(values), values, np.nan), pa.float64(), from_pandas=True)


def _lost(numbers: pa.Array, lines: pa.Array, rules: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([numbers, lines, pa.array(rules, pa.string())], schema=_LOST_ROW)


def _counts(done: Harmonised, numbers: pa.Array, lines: pa.Array, torn: pa.RecordBatch, spec: HarmoniseSpec) -> pa.RecordBatch:
    row = numbers.to_numpy()
    examples: dict[str, list[tuple[int, str]]] = {}
    for rule in spec.rules:
        if rule.scope == "repair":
            hit = (done.repairs >> (rule.code - 1)) & 1 == 1
        else:
            hit = (done.rule == rule.code) | (done.rule_ldsc == rule.code) | (done.rule_per_snp == rule.code)
        at = np.flatnonzero(hit)
        if at.size:
            first = at[np.argsort(row[at], kind="stable")[:EXAMPLES]]
            examples[rule.name] = [(int(row[i]), lines[int(i)].as_py()) for i in first]
    if torn.num_rows:
        order = np.argsort(torn.column("row").to_numpy(), kind="stable")[:EXAMPLES]
        examples[FIELD_COUNT_RULE] = [(torn.column("row")[int(i)].as_py(), torn.column("value")[int(i)].as_py()) for i in order]
    text = json.dumps({"counters": done.counters.to_dict(), "examples": examples, "torn": torn.num_rows})
    return pa.RecordBatch.from_arrays([pa.array([text], pa.string())], names=["counts"])
