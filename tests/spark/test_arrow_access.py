"""Tables through Arrow: what Python writes and reads by itself is what Spark writes and reads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import cloudpickle
from pyspark.sql import SparkSession

from gsem_spark.catalog.part_files import Part
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ContractError, StorageError

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test's own module
ODD = "A b%/c=d~:1"
FORMATS = ("delta", "parquet")


def row(trait: str, file_id: str = "f") -> dict[str, object]:
    return {"trait": trait, "file_id": file_id, "file": "a.gz", "sha256": "s", "scale": "linear", "n": None,
            "sample_prevalence": float("nan"), "population_prevalence": 0.1, "columns": {"snp": "SNP"}, "settings": "{}",
            "rows_in": 2, "rows_kept": 1}  # fmt: skip


@pytest.fixture(params=FORMATS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    return str(tmp_path / "ws"), request.param


def opened(root: tuple[str, str], spark: SparkSession, monkeypatch: pytest.MonkeyPatch, direct: bool) -> Workspace:
    monkeypatch.setenv("GSEM_SPARK_DIRECT", "1" if direct else "0")
    return Workspace.create(root[0], root[1], spark)  # type: ignore[arg-type]


def seen(ws: Workspace) -> list[tuple[str, str]]:
    return sorted((r["trait"], r["file_id"]) for r in ws.records("traits"))


@pytest.mark.parametrize("writer", [True, False])
@pytest.mark.parametrize("reader", [True, False])
def test_either_engine_reads_what_the_other_wrote(root, spark, monkeypatch, writer: bool, reader: bool) -> None:
    opened(root, spark, monkeypatch, writer).put("traits", [row("B"), row(ODD)], [{"trait": "B"}, {"trait": ODD}])
    ws = opened(root, spark, monkeypatch, reader)
    assert seen(ws) == [(ODD, "f"), ("B", "f")]
    assert ws.records("traits", {"trait": ODD})[0]["columns"] == {"snp": "SNP"}
    assert ws.records("traits", {"trait": "B"}, ["n", "sample_prevalence"]) == [{"n": None, "sample_prevalence": None}]
    assert dict(ws.count("traits")) == {(ODD,): 1, ("B",): 1}
    ws.put("traits", [row(ODD, "new")], {"trait": ODD})
    assert seen(opened(root, spark, monkeypatch, writer)) == [(ODD, "new"), ("B", "f")]
    ws.put("traits", [], {"trait": ODD})
    assert seen(ws) == [("B", "f")]
    assert sorted(r.trait for r in ws.read("traits").collect()) == ["B"]


@pytest.mark.parametrize("direct", [True, False])
def test_letters_beyond_ascii(root, spark, monkeypatch, direct: bool) -> None:
    ws = opened(root, spark, monkeypatch, direct)
    for file_id in ("first", "second"):
        ws.put("traits", [row("Größe", file_id)], {"trait": "Größe"})
    assert seen(ws) == [("Größe", "second")]
    assert [r.trait for r in ws.read("traits").collect()] == ["Größe"]
    if not direct and root[1] == "delta":
        with pytest.raises(StorageError, match="GSEM_SPARK_DIRECT=0"):
            opened(root, spark, monkeypatch, True).put("traits", [row("Größe")], {"trait": "Größe"})


@pytest.mark.parametrize("direct", [True, False])
def test_parts_are_checked_counted_and_read_back(root, spark, monkeypatch, direct: bool) -> None:
    ws = opened(root, spark, monkeypatch, direct)
    counts = ws.replace_parts("rejects", spark.range(0, 100, 1, 3), parts, [{"file_id": "even"}, {"file_id": "odd"}])
    assert dict(counts) == {("even",): 50, ("odd",): 50} == dict(ws.count("rejects"))
    source = ws.source("rejects", ["file_id", "row"], {"file_id": "odd"})
    read = source.read

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from read(batches)

    found = source.frame.mapInArrow(rows, "file_id string, row long").collect()
    assert sorted((r.file_id, r.row) for r in found) == [("odd", i + 1) for i in range(1, 100, 2)]


@pytest.mark.parametrize("direct", [True, False])
def test_a_broken_rule_is_named_and_nothing_is_written(root, spark, monkeypatch, direct: bool) -> None:
    ws = opened(root, spark, monkeypatch, direct)
    with pytest.raises(ContractError, match="rows_in is below 0 at trait=C"):
        ws.put("traits", [{**row("C"), "rows_in": -1}], {"trait": "C"})
    with pytest.raises(ContractError, match="row is below 1 at file_id=even, row=0"):
        scopes = [{"file_id": "even"}, {"file_id": "odd"}]
        ws.replace_parts("rejects", spark.range(0, 4, 1, 1), lambda batches: parts(batches, shift=0), scopes)
    assert not ws.exists("traits")
    assert not ws.exists("rejects")


@pytest.mark.parametrize("direct", [True, False])
def test_what_is_staged_is_seen_when_committed_only(root, spark, monkeypatch, direct: bool) -> None:
    ws = opened(root, spark, monkeypatch, direct)

    def both(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Part] | bytes]:
        yield b"note"
        yield from (("rejects", part) for part in parts(batches))

    scopes = [{"file_id": "even"}, {"file_id": "odd"}]
    with ws.stage(["rejects"], spark.range(0, 10, 1, 2), both) as staged:
        assert staged.notes == [b"note", b"note"]
        assert not ws.exists("rejects")
        staged.commit("rejects", scopes)
    assert ws.read("rejects").count() == 10
    with ws.stage(["rejects"], spark.range(0, 4, 1, 1), both):
        pass
    assert ws.read("rejects").count() == 10
    if direct:
        listed = {Path(ws._store.files(_schema())[0], f.path) for f in ws._store.files(_schema())[1]}
        assert set(Path(ws.location).rglob("*.parquet")) == listed


def parts(batches: Iterable[pa.RecordBatch], shift: int = 1) -> Iterator[Part]:
    for batch in batches:
        numbers = batch.column(0).to_numpy()
        for name, rest in (("even", 0), ("odd", 1)):
            mine = numbers[numbers % 2 == rest]
            rows = {"row": mine + shift, "text": [f"line {i}" for i in mine], "rule": ["low_info"] * mine.size}
            yield Part({"file_id": name}, pa.table(rows))


def _schema():
    from gsem_spark.catalog.schemas import REJECTS

    return REJECTS
