"""Raw lines of many files to harmonised rows: one shuffle by variant name, then batches through the pure rules.

All copies of a variant of a file come to the same task one after the other, so duplicates are settled inside a batch. Rows
that a rule drops come out with the rule and the line; counts come out as rows of their own, a few per batch.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gsem_spark.catalog.arrow_contracts import ARROW_TYPES
from gsem_spark.catalog.part_files import Part
from gsem_spark.catalog.schemas.inputs import REFERENCE_VARIANTS
from gsem_spark.methods.sumstats import Counters, Harmonised, HarmoniseSpec, harmonise
from gsem_spark.steps import exchange
from gsem_spark.steps.munge.raw_fields import FieldReader
from gsem_spark.steps.munge.text_source import TextSource, line_source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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
_NO_CHROMOSOME: Final = -1
_FILE: Final = struct.Struct("<i")
_REFERENCE_KIND: Final = "reference"


@dataclass(frozen=True)
class FileTask:
    """One file of a munge run: its source, how its lines are cut, and how its rows are read."""

    source: TextSource
    reader: FieldReader
    spec: HarmoniseSpec
    notes: tuple[str, ...] = ()


def harmonised(ws: Workspace, tasks: Sequence[FileTask], partitions: int) -> DataFrame:
    """Plan the harmonisation of several files against the workspace's variant reference.

    Lines and reference variants meet by name (see :mod:`gsem_spark.steps.exchange`), and results go on as packed Arrow
    batches: moving and keeping some thousand byte strings costs a fraction of moving and keeping millions of rows.

    Returns
    -------
    DataFrame
        ``file`` (place in ``tasks``), ``kind`` (``kept``, ``lost`` or ``counts``), ``chr`` (-1 where none), ``packed``; all
        of a file and chromosome in the same partition. :func:`table_parts` makes parts of tables of them.
    """
    buckets = exchange.BUCKETS_PER_PARTITION * partitions
    packages = [_packed_lines(ws, number, task, buckets) for number, task in enumerate(tasks)]
    together = reduce(lambda a, b: a.unionAll(b), [*packages, _packed_reference(ws, buckets)])
    readers, specs = [t.reader for t in tasks], [t.spec for t in tasks]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        packer = _Packer()
        for _, kinds in exchange.received(batches):
            reference = kinds.get(_REFERENCE_KIND)
            for file in range(len(readers)):
                if (lines := kinds.get(_file_kind(file))) is not None:
                    yield from packer.add(file, harmonise_rows(matched(lines, reference), readers[file], specs[file]))
        yield from packer.rest()

    return together.repartition(partitions, "bucket").mapInArrow(run, _PACKED_SCHEMA).repartition(partitions, "file", "chr")


def _packed_lines(ws: Workspace, number: int, task: FileTask, buckets: int) -> DataFrame:
    """Lines of one file, packed by the variant name that stands in them."""
    reader, lower = replace(task.reader, roles={"snp": task.reader.roles["snp"]}), task.spec.compat is None

    lines = line_source(ws.spark, task.source)
    read = lines.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (keyed(batch, reader, lower) for batch in read(batches) if batch.num_rows)
        yield from exchange.packages(_file_kind(number), tables, exchange.by_name("key", buckets))

    return lines.frame.mapInArrow(run, exchange.PACKED_SCHEMA)


def _packed_reference(ws: Workspace, buckets: int) -> DataFrame:
    rows = ws.source("reference_variants", ["snp", *_REFERENCE.values()])
    read = rows.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (pa.Table.from_batches([batch]) for batch in read(batches))
        yield from exchange.packages(_REFERENCE_KIND, tables, exchange.by_name("snp", buckets))

    return rows.frame.mapInArrow(run, exchange.PACKED_SCHEMA)


def keyed(lines: pa.RecordBatch, reader: FieldReader, lower: bool) -> pa.Table:
    """Lines with the variant name cut out. Rows without one get a name of their own: they meet nothing, and nobody."""
    value, row = lines.column("value"), lines.column("row")
    spread = pc.binary_join_element_wise(pa.scalar(_MISSING_KEY), pc.cast(row, pa.string()), "")
    fits = reader.fits(value)
    if pc.all(fits).as_py():
        names = reader.read(value)["snp"]
    else:
        at = np.flatnonzero(fits.to_numpy(zero_copy_only=False))
        places = np.full(lines.num_rows, -1)
        places[at] = np.arange(at.size)
        names = reader.read(value.take(pa.array(at)))["snp"].take(pa.array(places, mask=places < 0))
    if lower:  # some tools print rsIDs in capitals
        names = pc.if_else(pc.match_substring_regex(names, "^RS[0-9]+$"), pc.utf8_lower(names), names)
    absent = pc.or_(pc.is_null(names), pc.equal(pc.fill_null(names, ""), ""))
    return pa.table({"row": row, "key": pc.if_else(absent, spread, names), "value": value})


def matched(lines: pa.Table, reference: pa.Table | None) -> pa.RecordBatch:
    """Lines of a bucket with the reference beside them, all copies of a name one after the other in the order of the file."""
    row = lines.column("row").to_numpy()
    in_file = lines.take(pa.array(np.argsort(row, kind="stable"))).combine_chunks()
    names = in_file.column("key").combine_chunks()
    codes = names.dictionary_encode().indices.to_numpy()
    order = pa.array(np.argsort(codes, kind="stable"))
    ordered = in_file.take(order)
    if reference is None:
        kinds = {name: ARROW_TYPES[REFERENCE_VARIANTS.column(column).type] for name, column in _REFERENCE.items()}
        beside = {name: pa.nulls(lines.num_rows, kind) for name, kind in kinds.items()}
    else:
        at = pc.index_in(names, value_set=reference.column("snp").combine_chunks()).take(order)
        beside = {name: reference.column(column).combine_chunks().take(at) for name, column in _REFERENCE.items()}
    columns = {name: ordered.column(name) for name in ("row", "key", "value")} | beside
    return pa.table(columns).combine_chunks().to_batches()[0]


def table_parts(
    batches: Iterable[pa.RecordBatch], traits: Sequence[str], file_ids: Sequence[str]
) -> Iterator[tuple[str, Part] | bytes]:
    """Kept rows as parts of ``sumstats`` sorted by place, dropped ones as parts of ``rejects`` in the order of the file.

    Counts come out as bytes, for :func:`counts_of`.
    """
    packed: dict[tuple[int, str, int], list[bytes]] = {}
    for batch in batches:
        for *place, blob in zip(*(batch.column(name).to_pylist() for name in _PACKED_NAMES), strict=True):
            packed.setdefault(tuple(place), []).append(blob)
    for file, kind, chromosome in sorted(packed):
        blobs = packed.pop((file, kind, chromosome))
        if kind == COUNTS:
            yield from (_FILE.pack(file) + blob for blob in blobs)
            continue
        rows = pa.concat_tables(map(exchange.unpack, blobs)).combine_chunks()
        if kind == LOST:
            yield "rejects", Part({"file_id": file_ids[file]}, rows.sort_by("row"))
        else:
            ordered = rows.sort_by([("bp", "ascending"), ("snp", "ascending"), ("z", "ascending")]).drop_columns(["chr"])
            whole = ordered.append_column("file_id", pa.repeat(pa.scalar(file_ids[file]), rows.num_rows))
            values = {"trait": traits[file], "chr": None if chromosome == _NO_CHROMOSOME else chromosome}
            yield "sumstats", Part(values, whole)


def counts_of(notes: Iterable[bytes], files: int) -> list[list[bytes]]:
    """The batches' counts that :func:`table_parts` gave out, by file."""
    found: list[list[bytes]] = [[] for _ in range(files)]
    for note in notes:
        found[_FILE.unpack_from(note)[0]].append(note[_FILE.size :])
    return found


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
        blob = exchange.pack(pa.Table.from_batches(parts).combine_chunks())
        file, kind, chromosome = place
        arrays = [pa.array([file], pa.int32()), pa.array([kind]), pa.array([chromosome], pa.int32())]
        return pa.RecordBatch.from_arrays([*arrays, pa.array([blob], pa.binary())], names=_PACKED_NAMES)


_PACKED_NAMES: Final = ["file", "kind", "chr", "packed"]


def _file_kind(number: int) -> str:
    return f"file {number}"


def _by_chromosome(rows: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    chromosome = pc.fill_null(rows.column("chr"), _NO_CHROMOSOME).to_numpy(zero_copy_only=False)
    order = np.argsort(chromosome, kind="stable")
    ordered = rows.take(pa.array(order))
    values, starts = np.unique(chromosome[order], return_index=True)
    ends = [*starts[1:].tolist(), rows.num_rows]
    for value, start, end in zip(values.tolist(), starts.tolist(), ends, strict=True):
        yield value, ordered.slice(start, end - start)


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
    texts = (text for blob in packed for text in exchange.unpack(blob).column("counts").to_pylist())
    for part in map(json.loads, texts):
        counters = counters + Counters.from_dict(part["counters"])
        torn += part["torn"]
        for rule, examples in part["examples"].items():
            found.setdefault(rule, []).extend((int(row), line) for row, line in examples)
    return counters, {rule: [f"{row}: {line}" for row, line in sorted(rows)[:EXAMPLES]] for rule, rows in found.items()}, torn


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
