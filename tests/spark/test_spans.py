"""Rows of a partition's value with one task: every row once, whatever the cuts; files that cannot hold any are not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from gsem_spark.catalog import spans
from gsem_spark.catalog.part_files import ENDLESS, Range
from gsem_spark.catalog.spans import Cut
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import StorageError
from gsem_spark.steps.gather import gathered

MB = 1_000_000
COLUMNS = ("trait", "chr", "snp", "bp")


def sumstats(trait: str) -> pd.DataFrame:
    chromosome = np.repeat([1, 2, 21], [60, 40, 10])
    bp = np.concatenate([np.arange(60) * 4 * MB + 1, np.arange(40) * 6 * MB, np.arange(10) * 100])
    names = [f"rs{c}_{b}" for c, b in zip(chromosome, bp, strict=True)]
    return pd.DataFrame({
        "trait": trait, "chr": chromosome, "snp": names, "bp": bp, "a1": "A", "a2": "C", "maf": 0.2, "n": 1e4, "z": 1.0,
        "beta": 0.1, "se": 0.1, "file_id": f"file-{trait}",
    })  # fmt: skip


@pytest.fixture
def workspace(spark: SparkSession, tmp_path: Path) -> Workspace:
    ws = Workspace.create(str(tmp_path / "ws"), "parquet", spark)
    for trait in ("A", "B", "C"):
        ws.put("sumstats", sumstats(trait), {"trait": trait})
    return ws


@pytest.mark.parametrize("span_bytes", [spans.SPAN_BYTES, 2_000])
def test_a_value_s_rows_of_all_traits_meet(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, span_bytes: int) -> None:
    monkeypatch.setattr(spans, "SPAN_BYTES", span_bytes)
    found = workspace.spans("sumstats", COLUMNS, {"trait": ["A", "B"]}, "chr", Cut("bp", 25 * MB, 250 * MB))
    assert found is not None
    read = found.read

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pd.DataFrame]]:
        for value, mine in read(batches):
            if held := list(mine):
                yield value, pa.Table.from_batches(held).to_pandas()  # type: ignore[misc]

    parts = gathered(found.frame, rows)
    cut = [value for value, _ in parts]
    assert sorted(set(cut)) == [1, 2, 21]
    assert (len(cut) > 3) == (span_bytes < 10_000)
    for value, frame in parts:
        assert set(frame["chr"]) <= {value}
        places = frame["bp"] // (25 * MB)
        assert all(set(group["trait"]) == {"A", "B"} for _, group in frame.groupby(places))
    together = pd.concat([frame for _, frame in parts]).sort_values(["trait", "chr", "bp"], ignore_index=True)
    wanted = pd.concat([sumstats(t)[list(COLUMNS)] for t in ("A", "B")], ignore_index=True)
    pd.testing.assert_frame_equal(together, wanted, check_dtype=False)


def test_where_python_does_not_reach_the_files_there_are_none(
    workspace: Workspace, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GSEM_SPARK_DIRECT", "0")
    elsewhere = Workspace.open(workspace.location, spark)
    assert elsewhere.spans("sumstats", COLUMNS, None, "chr", Cut("bp", 25 * MB, 250 * MB)) is None
    with pytest.raises(StorageError, match="no mounted folder"), elsewhere.scratch("run"):
        pass


def test_scratch_is_cleared_before_and_behind(workspace: Workspace) -> None:
    left = Path(workspace.location, "scratch", "run-1", "left.arrow")
    left.parent.mkdir(parents=True)
    left.write_text("of a run that was killed")
    with pytest.raises(KeyError), workspace.scratch("run-1") as folder:
        assert not list(folder.iterdir())
        (folder / "mine.arrow").write_text("x")
        raise KeyError
    assert not left.parent.exists()


@pytest.mark.parametrize(("n", "edges"), [
    (1, []), (2, [125]), (3, [100, 200]), (10, [25, 50, 75, 100, 125, 150, 175, 200, 225]),
    (99, [25, 50, 75, 100, 125, 150, 175, 200, 225]),
])  # fmt: skip
def test_cuts_stand_at_multiples_of_the_step(n: int, edges: list[int]) -> None:
    ranges = Cut("bp", 25, 250).ranges(n)
    assert [r.low for r in ranges[1:] if r is not None] == edges
    assert (ranges == [None]) == (edges == [])


def test_row_groups_outside_a_range_are_not_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"snp": [str(i) for i in range(100)], "bp": range(100)}), tmp_path / "f.parquet", row_group_size=10)
    metadata = pq.read_metadata(tmp_path / "f.parquet")
    assert Range("bp", 25, 41).row_groups(metadata) == [2, 3, 4]
    assert Range("bp", 30, 40).row_groups(metadata) == [3]
    assert Range("bp", 30, 40).holds(pa.array([29, 30, 39, 40, None])).to_pylist() == [False, True, True, False, False]
    assert Range("bp", -ENDLESS, 40).holds(pa.array([None, 39, 40])).to_pylist() == [True, True, False]
    assert Range("bp", -ENDLESS, 25).row_groups(metadata) == [0, 1, 2]
