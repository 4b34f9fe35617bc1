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

from gsem_spark.catalog.contracts import spark_type
from gsem_spark.catalog.schemas import SUMSTATS
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
_OUT: Final = ("file", "row", "rule", "text", "counts", "snp", "chr", "bp", "a1", "a2", *_VALUES)
_OUT_SCHEMA: Final = ", ".join(
    ["file int", "row long", "rule string", "text string", "counts string", "snp string"]
    + [f"{name} {spark_type(SUMSTATS.column(name)).simpleString()}" for name in ("chr", "bp", "a1", "a2", *_VALUES)]
)


@dataclass(frozen=True)
class FileTask:
    """One file of a munge run: its source, how its lines are cut, and how its rows are read."""

    source: TextSource
    reader: FieldReader
    spec: HarmoniseSpec
    notes: tuple[str, ...] = ()


def harmonised(ws: Workspace, tasks: Sequence[FileTask], partitions: int) -> DataFrame:
    """Plan the harmonisation of several files against the workspace's variant reference.

    Returns
    -------
    DataFrame
        ``file`` (place in ``tasks``), ``row`` (line number), then either a kept row (``rule`` and ``counts`` null), a dropped
        one (``rule``, ``text``), or a batch's counts (``counts``: JSON).
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
        for whole in whole_groups(batches):
            for file in sorted(pc.unique(whole.column("file")).to_pylist()):
                rows = whole.filter(pc.equal(whole.column("file"), file))
                yield from harmonise_rows(file, rows, readers[file], specs[file])

    return ordered.mapInArrow(run, _OUT_SCHEMA)


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


def harmonise_rows(file: int, rows: pa.RecordBatch, reader: FieldReader, spec: HarmoniseSpec) -> Iterator[pa.RecordBatch]:
    """Rows of one file through the rules: kept rows, dropped rows, and one row of counts."""
    fits = reader.fits(rows.column("value"))
    torn = rows.filter(pc.invert(fits))
    if torn.num_rows:
        yield _dropped(file, torn.column("row"), torn.column("value"), [FIELD_COUNT_RULE] * torn.num_rows)
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
        yield _kept(file, rows, done, kept)
    lost = np.flatnonzero(~done.keep)
    if lost.size:
        names = np.array(["", *(rule.name for rule in spec.rules)], dtype=object)
        yield _dropped(file, numbers.take(pa.array(lost)), lines.take(pa.array(lost)), names[done.rule[lost]].tolist())
    yield _counts(file, done, numbers, lines, torn, spec)


def merge_counts(texts: Iterable[str], spec: HarmoniseSpec) -> tuple[Counters, dict[str, list[str]], int]:
    """Add up the counts of a file's batches.

    Returns
    -------
    counters, examples, torn
        Sum of the counters; rule → up to three examples, those that stand first in the file; lines with a wrong number of
        fields.
    """
    counters, torn = Counters.zero(spec), 0
    found: dict[str, list[tuple[int, str]]] = {}
    for text in texts:
        part = json.loads(text)
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


def _kept(file: int, rows: pa.RecordBatch, done: Harmonised, at: np.ndarray) -> pa.RecordBatch:
    index = pa.array(at)
    columns: dict[str, Any] = {
        "snp": rows.column("key").take(index),
        "row": rows.column("row").take(index),
        "chr": rows.column("ref_chr").take(index),
        "bp": rows.column("ref_bp").take(index),
        "a1": rows.column("ref_a1").take(index),
        "a2": rows.column("ref_a2").take(index),
        **{name: _finite(getattr(done, name)[at]) for name in _VALUES},
    }
    return _batch(file, at.size, columns)


def _finite(values: np.ndarray) -> pa.Array:
    """Numbers as tables keep them: what is not finite (no value; Z of a p-value that is 0) is null."""
    return pa.array(np.where(np.isfinite(values), values, np.nan), pa.float64(), from_pandas=True)


def _dropped(file: int, numbers: pa.Array, lines: pa.Array, rules: list[str]) -> pa.RecordBatch:
    return _batch(file, len(rules), {"row": numbers, "text": lines, "rule": pa.array(rules, pa.string())})


def _counts(
    file: int, done: Harmonised, numbers: pa.Array, lines: pa.Array, torn: pa.RecordBatch, spec: HarmoniseSpec
) -> pa.RecordBatch:
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
    return _batch(file, 1, {"row": pa.array([1], pa.int64()), "counts": pa.array([text], pa.string())})


_ARROW: Final = {
    "file": pa.int32(),
    "row": pa.int64(),
    "chr": pa.int32(),
    "bp": pa.int64(),
    **dict.fromkeys(_VALUES, pa.float64()),
    **dict.fromkeys(("rule", "text", "counts", "snp", "a1", "a2"), pa.string()),
}


def _batch(file: int, size: int, columns: dict[str, Any]) -> pa.RecordBatch:
    columns["file"] = pa.array(np.full(size, file, np.int32))
    arrays = [columns[name] if name in columns else pa.nulls(size, _ARROW[name]) for name in _OUT]
    return pa.RecordBatch.from_arrays(arrays, names=list(_OUT))
