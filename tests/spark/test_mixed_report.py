"""The report of mixed models from tables to a page: alone, and beside a GWAS of a factor."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_report_step import RUN, fill
from test_report_step import scan as factor_scan

from gsem_spark.catalog.runs import RunEntry
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import DataError
from gsem_spark.methods.lmm import bootstrap, fit_lmm, kinship
from gsem_spark.steps.lmm.config import BootstrapConfig, LmmConfig
from gsem_spark.steps.lmm.models import model_row
from gsem_spark.steps.lmm.summary import summarise
from gsem_spark.steps.report.step import report, report_content, sorted_runs

LMM, BOOTSTRAP = "lmm-00000000000a", "lmm_bootstrap-00000000000b"


def enter(ws: Workspace, run_id: str, summary: dict, minute: int) -> None:
    at = dt.datetime(2026, 1, 1, 12, minute)
    kind = LmmConfig if run_id == LMM else BootstrapConfig
    config = kind(phenotypes="/gone/pheno.tsv", formula="y ~ 1").model_dump(mode="json")
    ws.runs.record(
        RunEntry(
            run_id=run_id,
            step=run_id.split("-")[0],
            status="done",
            config_hash="c",
            config=json.dumps(config),
            code_version="0",
            inputs={"cohort": "m"},
            started=at,
            ended=at,
            state={},
            summary=summary,
            warnings=(),
            rows=5,
        )
    )


def fill_mixed(ws: Workspace) -> None:
    """A finished scan and a finished bootstrap, as their steps leave them."""
    rng = np.random.default_rng(2)
    G = rng.binomial(2, 0.4, (60, 150)).astype(float)
    K = kinship(G.T, "standardised") + 0.05 * np.eye(60)
    fit = fit_lmm(K, np.linalg.cholesky(K) @ rng.normal(size=60) + rng.normal(size=60), names=["intercept"])
    known = {
        "trait": "y",
        "chr": 0,
        "samples": "s",
        "kinship_id": None,
        "traits": ["y"],
        **model_row(fit, ("intercept",), None, False),
    }
    for run in (LMM, BOOTSTRAP):
        ws.put("lmm_models", [{"run_id": run, **known}], {"run_id": run, "chr": 0})
    n = 300
    p = np.r_[1e-12, 3e-9, rng.uniform(size=n - 2)]
    rows = pd.DataFrame({
        "run_id": LMM, "snp": [f"rs{i}" for i in range(n)], "chr": 1, "bp": 1000 * np.arange(1, n + 1), "a1": "A", "a2": "C",
        "trait": "y", "design": "effect", "test": "wald_f", "size": 1, "af": 0.3, "n": 60, "missing": 0, "beta": 0.1, "se": 0.02,
        "betas": [[]] * n, "ses": [[]] * n, "df": 1, "stat": 1.0, "p": p, "neglog10p": -np.log10(p), "hsq": 0.3, "status": "ok",
        "message": None})  # fmt: skip
    ws.put("lmm_results", rows, {"run_id": LMM, "chr": 1})
    summary, _ = summarise(ws, LMM)
    enter(ws, LMM, {**summary, "cohort": "m", "kinship_id": None, "loco": False}, 1)
    made = bootstrap(fit, 40)
    cells = [
        {"run_id": BOOTSTRAP, "replicate": i, "names": list(made.names), "estimates": e.tolist(), "ses": s.tolist()}
        for i, (e, s) in enumerate(zip(made.replicates, made.replicate_se, strict=True))
    ]
    ws.put("lmm_bootstraps", cells, {"run_id": BOOTSTRAP})
    intervals = made.intervals().merge(made.p_values()[["name", "p"]], on="name").assign(run_id=BOOTSTRAP, trait="y", level=0.95)
    ws.put("lmm_intervals", intervals, {"run_id": BOOTSTRAP})
    enter(ws, BOOTSTRAP, {"trait": "y", "n": 40, "samples": 60, "failed": 0}, 2)


def test_a_workspace_of_mixed_models_alone_has_a_report(parquet_workspace: Workspace, tmp_path: Path) -> None:
    ws = parquet_workspace
    with pytest.raises(DataError, match="no finished run to report"):
        report(ws)
    fill_mixed(ws)
    page = Path(report(ws, out=tmp_path))
    text = page.read_text(encoding="utf-8")
    assert page.name == f"{LMM}.html"
    for words in (
        "Mixed models of y",
        "one locus of y",
        "rs0",
        "Bootstraps of mixed models",
        "Percentile",
        "no genotypes are loaded",
    ):
        assert words in text, words
    assert {p.name for p in tmp_path.glob("*_mixed_1_*.png")} == {
        f"{LMM}_mixed_1_{f}.png" for f in ("h2_profile", "1_manhattan", "1_qq")
    }
    before = page.read_bytes()
    assert Path(report(ws, LMM, out=tmp_path)).read_bytes() == before
    alone = report_content(ws, BOOTSTRAP, mixed=[])
    assert not alone.mixed and [b.run_id for b in alone.bootstraps] == [BOOTSTRAP] and alone.title == "Mixed models of y"


def test_beside_a_gwas_mixed_models_have_sections_of_its_page(parquet_workspace: Workspace, tmp_path: Path) -> None:
    ws = parquet_workspace
    fill(ws, factor_scan(600))
    assert not report_content(ws).mixed
    fill_mixed(ws)
    content = report_content(ws)
    assert content.run_id == RUN and content.gwas is not None
    assert [m.run_id for m in content.mixed] == [LMM] and [b.run_id for b in content.bootstraps] == [BOOTSTRAP]
    text = Path(report(ws, out=tmp_path)).read_text(encoding="utf-8")
    assert "Genome-wide association of the factor" in text and "Mixed models of genotypes" in text
    assert not report_content(ws, RUN, mixed=[]).mixed
    assert sorted_runs(ws, [BOOTSTRAP, RUN, LMM]) == (RUN, [], [BOOTSTRAP, LMM])
    assert sorted_runs(ws, [LMM]) == (LMM, [], [LMM])
    with pytest.raises(DataError, match="there is no finished run 'lmm-nothing'"):
        sorted_runs(ws, ["lmm-nothing"])
