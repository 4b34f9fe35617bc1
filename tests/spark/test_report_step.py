"""The report of a run, from tables to files: what executors thin is what pandas would, and writing it twice changes nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from gsem_spark.catalog.arrow_access import Source
from gsem_spark.catalog.runs import RunEntry
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ConfigError, DataError, StorageError
from gsem_spark.methods import pvalues
from gsem_spark.methods.gwas.loci import find_loci
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.report import thinning
from gsem_spark.steps.ldsc.step import covstruct_row
from gsem_spark.steps.report.data import SCAN_COLUMNS, Signals, Thinner, thinned_scan, thinned_signals
from gsem_spark.steps.report.files import ReportFolder
from gsem_spark.steps.report.step import report, report_content

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TRAITS = ("AAA", "BBB", "CCC", "DDD")
RUN = "common_factor_gwas-0123456789ab"


def scan(n: int = 4_000) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    z, q = rng.normal(size=n), rng.chisquare(3, n)
    z[:12], q[:3] = np.linspace(6, 45, 12), 80.0
    bp = rng.integers(1, 90_000_000, n)
    bp[:12] = np.arange(1, 13) * 5_000_000
    (p, y), (q_p, q_y) = pvalues.from_z(z), pvalues.from_chisq(q, 3)
    return pd.DataFrame({
        "run_id": RUN, "snp": [f"rs{i}" for i in range(n)], "chr": 1 + np.arange(n) % 3,
        "slice": (1 + np.arange(n) % 3) * 100, "bp": bp, "a1": "A", "a2": "G", "maf": 0.3,
        "lhs": "F1", "op": "~", "rhs": "SNP", "est": z / 100, "se": 0.01, "z": z, "p": p, "neglog10p": y, "chisq": q,
        "chisq_df": 3,
        "chisq_p": q_p, "aic": q, "q_snp": q, "q_snp_df": 3, "q_snp_p": q_p, "q_snp_neglog10p": q_y, "status": "ok",
        "message": None,
        "z_smooth": 0.0,
    })  # fmt: skip


def covstruct() -> CovStruct:
    loadings = np.array([0.8, 0.7, 0.6, 0.5])
    S = np.outer(loadings, loadings) * 0.2 + np.diag(0.2 * (1 - loadings**2))
    return CovStruct.from_matrices(S, np.eye(10) * 1e-4, np.eye(4) * 1.01, TRAITS, M=1e6, settings={"n_blocks": 200})


def fill(ws: Workspace, frame: pd.DataFrame) -> None:
    """Put a finished run of a scan into a workspace, as the GWAS step leaves it."""
    cov = covstruct()
    identity = f"covstruct-{cov.fingerprint()}"
    ws.replace("covstructs", ws.frame("covstructs", [covstruct_row(cov, identity)]), {"covstruct_id": identity})
    loci = find_loci(frame[(frame["p"] < 5e-8) | (frame["q_snp_p"] < 5e-8)]).assign(run_id=RUN, path="F1~SNP")
    if len(frame):
        scopes = [{"run_id": RUN, "slice": int(n)} for n in sorted(frame["slice"].unique())]
        ws.replace("gwas_results", ws.frame("gwas_results", frame), scopes)
        ws.replace("loci", ws.frame("loci", loci), {"run_id": RUN})
    traits = [{"trait": t, "file_id": f"f{t}", "file": f"{t}.gz", "sha256": "ab" * 32, "scale": "linear", "n": None,
               "columns": {},
               "sample_prevalence": None, "population_prevalence": None, "settings": json.dumps({"info_min": 0.6, "n": t}),
               "rows_in": 9, "rows_kept": 8} for t in TRAITS]  # fmt: skip
    ws.replace("traits", ws.frame("traits", traits), [{"trait": t} for t in TRAITS])
    qc = [{"file_id": f"f{t}", "trait": t, "step": 0, "rule": "low_info", "meaning": "INFO below .6", "rows_in": 9,
           "rows_dropped": 1, "examples": ["2: rs1"]} for t in TRAITS]  # fmt: skip
    ws.replace("qc_log", ws.frame("qc_log", qc), [{"file_id": f"f{t}"} for t in TRAITS])
    effects = [{**r, "trait": t, "eaf": 0.3, "info": 1.0, "n": 1e5, "beta": r["est"], "file_id": f"f{t}"}
               for r in frame.head(12).to_dict("records") for t in TRAITS]  # fmt: skip
    if effects:
        ws.replace("sumstats", ws.frame("sumstats", effects), [{"trait": t} for t in TRAITS])
    when = dt.datetime(2026, 1, 2, 3, 4, 5)
    summary = {"status": {"ok": len(frame)}, "lambda_gc": 1.01, "lambda_gc_q": 1.0, "mean_chisq": 1.2, "effective_n": 1e5,
               "factor_hits": int((frame["p"] < 5e-8).sum())}  # fmt: skip
    config = json.dumps({"traits": TRAITS, "estimation": "DWLS", "gc": "standard"})
    ws.runs.record(RunEntry(RUN, "common_factor_gwas", "done" if len(frame) else "empty", "h", config, "0.1.0",
                            {"covstruct": cov.fingerprint()}, when, summary=summary, ended=when, rows=len(frame)))  # fmt: skip


def as_source(spark: SparkSession, frame: pd.DataFrame, partitions: int = 1, words: Sequence[str] = ()) -> Source:
    schema = ", ".join(["chr int, bp long, neglog10p double, q_snp_neglog10p double", *(f"{word} string" for word in words)])
    rows = spark.createDataFrame(pa.Table.from_pandas(frame[[*SCAN_COLUMNS, *words]], preserve_index=False), schema)
    return Source(rows.repartition(partitions), iter)


def test_executors_thin_as_pandas_does(spark: SparkSession) -> None:
    frame = scan()
    frame.loc[20, "neglog10p"] = np.nan
    factor, q = thinned_scan(as_source(spark, frame, 5))
    span = float(frame.groupby("chr")["bp"].agg(lambda bp: bp.max() - bp.min() + 1).sum())
    for signal, points in (("neglog10p", factor), ("q_snp_neglog10p", q)):
        cells = thinning.ManhattanCells.for_scan(span, int((frame[signal] >= 4).sum()))
        pd.testing.assert_frame_equal(points.manhattan, thinning.thin_for_manhattan(frame, cells, y=signal))
        pd.testing.assert_frame_equal(points.qq, thinning.qq_points(thinning.thin_for_qq(frame[signal])))


def test_paths_thinned_together_are_each_thinned_as_if_alone(spark: SparkSession) -> None:
    frame = scan().assign(lhs=np.resize(["F1", "F1", "b"], 4_000))
    wanted = [Signals(("neglog10p", "q_snp_neglog10p"), {"lhs": "F1", "op": "~"}), Signals(("neglog10p",), {"lhs": "b"})]
    found = thinned_signals(as_source(spark, frame, 4, ["lhs", "op"]), wanted)
    assert [len(points) for points in found] == [2, 1]
    for signals, points in zip(wanted, found, strict=True):
        alone = thinned_signals(as_source(spark, frame[frame["lhs"] == signals.words["lhs"]]), [Signals(signals.columns)])
        for one, other in zip(points, alone[0], strict=True):
            pd.testing.assert_frame_equal(one.manhattan, other.manhattan)
            pd.testing.assert_frame_equal(one.qq, other.qq)
            assert len(one.manhattan)


@pytest.mark.parametrize("cells", [thinning.ManhattanCells(), thinning.ManhattanCells.for_scan(2.7e8, 10**6)])
def test_thinning_by_parts_is_thinning_the_whole(cells: thinning.ManhattanCells) -> None:
    frame = scan()
    thinner = Thinner({"neglog10p": cells})
    for start in range(0, len(frame), 97):
        thinner.add(frame.iloc[start : start + 97])
    points = thinner.points("neglog10p")
    pd.testing.assert_frame_equal(points.manhattan, thinning.thin_for_manhattan(frame, cells))
    pd.testing.assert_frame_equal(points.qq, thinning.qq_points(thinning.thin_for_qq(frame["neglog10p"])))


def test_infinite_p_is_drawn_and_an_empty_scan_is_thinned_to_nothing(spark: SparkSession) -> None:
    frame = pd.DataFrame({"chr": [1, 1], "bp": [5, 9], "neglog10p": [np.inf, 1.0], "q_snp_neglog10p": [None, 2.0]})
    frame["q_snp_neglog10p"] = frame["q_snp_neglog10p"].astype(float)
    factor, q = thinned_scan(as_source(spark, frame))
    assert np.isfinite(factor.manhattan["neglog10p"]).all()
    assert (len(factor.manhattan), len(q.manhattan), len(q.qq)) == (2, 1, 1)
    factor, q = thinned_scan(as_source(spark, frame.iloc[:0]))
    assert factor.manhattan.empty
    assert q.qq.empty


def test_report_is_written_whole_and_is_the_same_the_second_time(tmp_workspace: Workspace, tmp_path: Path) -> None:
    fill(tmp_workspace, scan())
    truth = pd.DataFrame([{"quantity": "h2 of AAA", "truth": 0.2, "estimate": 0.2, "se": 0.01}])
    path = Path(report(tmp_workspace, RUN, title="A study", truth=truth))
    assert path == Path(tmp_workspace.location) / "reports" / f"{RUN}.html"
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert set(before) == {f"{RUN}.html"} | {
        f"{RUN}_{name}.{kind}" for name in ("heatmap", "path_diagram", "manhattan", "qq", "forest") for kind in ("png", "svg")
    }
    page = path.read_text(encoding="utf-8")
    for text in (
        "A study",
        "4\u202f000 SNPs tested",
        "low info",
        "Comparison with the truth",
        "by trait: AAA, BBB, CCC, DDD",
        "rs11",
    ):
        assert text in page
    assert str(tmp_path) not in page
    report(tmp_workspace, RUN, title="A study", truth=truth)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_report_of_an_empty_run(any_workspace: Workspace) -> None:
    fill(any_workspace, scan().iloc[:0])
    content = report_content(any_workspace, RUN)
    assert content.gwas is None
    assert content.model is not None
    assert Path(report(any_workspace, RUN)).exists()


def test_report_goes_elsewhere_on_request(tmp_workspace: Workspace, tmp_path: Path) -> None:
    fill(tmp_workspace, scan().iloc[:0])
    assert Path(report(tmp_workspace, RUN, out=tmp_path / "elsewhere")).parent == tmp_path / "elsewhere"


def test_a_run_that_is_not_there_or_not_done(tmp_workspace: Workspace) -> None:
    with pytest.raises(DataError, match="not in the ledger"):
        report(tmp_workspace, "common_factor_gwas-nothing")
    when = dt.datetime(2026, 1, 2)
    tmp_workspace.runs.record(RunEntry(RUN, "common_factor_gwas", "running", "h", "{}", "0.1.0", {}, when))
    with pytest.raises(DataError, match="state running"):
        report(tmp_workspace, RUN)


def test_files_are_replaced_whole(tmp_workspace: Workspace, tmp_path: Path) -> None:
    for place in (tmp_path / "a", f"file://{tmp_path}/b"):
        folder = ReportFolder(tmp_workspace, place)
        folder._local = not str(place).startswith("file:")  # the second goes through Hadoop, as on HDFS
        for content in (b"one", b"two"):
            folder.publish("x.html", content)
        assert folder.exists("x.html")
        assert not folder.exists("y.html")
    names = {p.name for d in ("a", "b") for p in (tmp_path / d).iterdir() if not p.name.endswith(".crc")}
    assert names == {"x.html"}
    assert {(tmp_path / d / "x.html").read_bytes() for d in ("a", "b")} == {b"two"}


def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(tmp_workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Remedy"):
        ReportFolder(tmp_workspace, tmp_path / "file" / "reports").publish("x.html", b"")


def test_metastore_workspaces_need_a_folder(tmp_workspace: Workspace) -> None:
    ws = Workspace("catalog.schema", tmp_workspace._store, tmp_workspace.spark)
    with pytest.raises(ConfigError, match="out=folder"):
        ReportFolder(ws)


def test_only_the_run_is_drawn(tmp_workspace: Workspace) -> None:
    frame = scan(600)
    fill(tmp_workspace, frame)
    other = tmp_workspace.frame("gwas_results", frame.assign(run_id="other-run", neglog10p=300.0))
    tmp_workspace.replace("gwas_results", other, [{"run_id": "other-run", "slice": n} for n in (100, 200, 300)])
    gwas = report_content(tmp_workspace, RUN).gwas
    assert gwas is not None
    assert gwas.factor_qq["n"].sum() == 600
    assert gwas.factor_points["n"].sum() == tmp_workspace.read("gwas_results").where(F.col("run_id") == RUN).count()
    assert set(gwas.effects["trait"]) == set(TRAITS)
