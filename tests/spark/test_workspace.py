"""Workspaces: both formats keep the same promises."""

from __future__ import annotations

import pytest

from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ConfigError, ContractError, StorageError


def _fit_row(fit_id: str, model: str = "F1 =~ A + B + C") -> dict[str, object]:
    return {
        "fit_id": fit_id,
        "covstruct_id": "c",
        "model": model,
        "estimation": "DWLS",
        "parameters": "[]",
        "indices": "{}",
        "messages": ["none"],
        "fit": "{}",
    }


def _panel_rows(panel: str, chromosomes: list[int]) -> list[dict[str, object]]:
    return [
        {
            "panel": panel,
            "chr": c,
            "snp": f"rs{panel}{c}",
            "bp": 10,
            "cm": None,
            "maf": 0.2,
            "l2": 3.0,
            "wld": 2.0,
            "ord": i,
            "m": 9.0,
        }
        for i, c in enumerate(chromosomes)
    ]


def test_an_unwritten_table_reads_as_empty_and_typed(any_workspace: Workspace) -> None:
    frame = any_workspace.read("sumstats")
    assert frame.count() == 0
    assert dict(frame.dtypes)["beta"] == "double"


def test_replace_touches_only_its_scope(any_workspace: Workspace) -> None:
    ws = any_workspace
    ws.replace("ld_scores", ws.frame("ld_scores", _panel_rows("eur", [1, 2])), {"panel": "eur"})
    ws.replace("ld_scores", ws.frame("ld_scores", _panel_rows("eas", [1])), {"panel": "eas"})
    ws.replace("ld_scores", ws.frame("ld_scores", _panel_rows("eur", [3])), {"panel": "eur"})
    rows = {(r.panel, r.chr) for r in ws.read("ld_scores").collect()}
    assert rows == {("eas", 1), ("eur", 3)}
    assert ws.partitions("ld_scores", {"panel": "eur"}) == [{"panel": "eur", "chr": "3"}]


def test_two_scopes_in_one_commit(any_workspace: Workspace) -> None:
    ws = any_workspace
    both = [{"fit_id": "a"}, {"fit_id": "b"}]
    ws.replace("fits", ws.frame("fits", [_fit_row("a"), _fit_row("b")]), both)
    version = ws.version("fits")
    ws.replace("fits", ws.frame("fits", [_fit_row("a", "new"), _fit_row("b", "new")]), both)
    assert ws.version("fits") == version + 1
    assert {r.model for r in ws.read("fits").collect()} == {"new"}


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"l2": float("nan")}, "l2 is NaN"),
        ({"maf": 0.7}, "maf is above 0.5"),
        ({"snp": None}, "snp is null"),
    ],
)
def test_a_row_that_breaks_a_rule_stops_the_commit(any_workspace: Workspace, change: dict[str, object], phrase: str) -> None:
    ws = any_workspace
    good = _panel_rows("eur", [1, 2])
    ws.replace("ld_scores", ws.frame("ld_scores", good), {"panel": "eur"})
    from gsem_spark.catalog.contracts import spark_schema
    from gsem_spark.catalog.schemas import LD_SCORES

    schema = spark_schema(LD_SCORES)
    for f in schema.fields:
        f.nullable = True
    bad = ws.spark.createDataFrame([tuple({**r, **change}.values()) for r in good], schema)
    with pytest.raises(ContractError, match=phrase):
        ws.replace("ld_scores", bad, {"panel": "eur"})
    assert ws.read("ld_scores").count() == 2


def test_wrong_columns_and_types_are_all_named(any_workspace: Workspace) -> None:
    ws = any_workspace
    frame = ws.spark.createDataFrame([("a", 1.5)], "fit_id string, covstruct_id double")
    with pytest.raises(ContractError) as error:
        ws.replace("fits", frame, {"fit_id": "a"})
    assert "missing columns: model" in error.value.what
    assert "covstruct_id is double, must be string" in error.value.what


def test_a_workspace_keeps_its_format(any_workspace: Workspace) -> None:
    other = "parquet" if any_workspace.format == "delta" else "delta"
    with pytest.raises(ConfigError, match=f"is in {any_workspace.format} format"):
        Workspace.create(any_workspace.location, other, any_workspace.spark)  # type: ignore[arg-type]
    assert Workspace.open(any_workspace.location, any_workspace.spark).format == any_workspace.format


def test_opening_nothing_says_how_to_make_it(spark, tmp_path) -> None:
    with pytest.raises(StorageError, match="gsem-spark init"):
        Workspace.open(str(tmp_path / "none"), spark)


def test_a_scope_without_value_is_refused(any_workspace: Workspace) -> None:
    with pytest.raises(StorageError, match="no value was given"):
        any_workspace.replace("fits", any_workspace.empty("fits"))


def test_parquet_writer_that_comes_second_is_told(spark, tmp_path, monkeypatch) -> None:
    ws = Workspace.create(str(tmp_path / "ws"), "parquet", spark)
    ws.replace("fits", ws.frame("fits", [_fit_row("a")]), {"fit_id": "a"})
    store = ws._store
    from gsem_spark.catalog.schemas import FITS

    stale = store.version(FITS)
    publish = store._publish
    monkeypatch.setattr(store, "_publish", lambda schema, version, manifest: publish(schema, stale, manifest))
    with pytest.raises(StorageError, match="another writer committed"):
        ws.replace("fits", ws.frame("fits", [_fit_row("b")]), {"fit_id": "b"})
    assert [r.fit_id for r in ws.read("fits").collect()] == ["a"]


def test_replacing_with_nothing_empties_the_scope(any_workspace: Workspace) -> None:
    ws = any_workspace
    ws.replace("fits", ws.frame("fits", [_fit_row("a"), _fit_row("b")]), [{"fit_id": "a"}, {"fit_id": "b"}])
    ws.replace("fits", ws.empty("fits"), {"fit_id": "a"})
    assert [r.fit_id for r in ws.read("fits").collect()] == ["b"]
