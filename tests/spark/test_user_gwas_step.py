"""GWAS of users' models and Wald tests as steps: the array functions spread out, in one pass, by parts; restart, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gsem_spark as gs
from gsem_spark.errors import ConfigError, ConvergenceError, DataError, ModelError
from gsem_spark.methods.gwas import fit_snps, wald
from gsem_spark.methods.gwas.factor_scale import factor_variances
from gsem_spark.methods.gwas.user_model import UserModelGwas
from gsem_spark.steps.gwas import scan
from gsem_spark.steps.gwas.run import PER_SNP_STEPS
from gsem_spark.steps.gwas.scan import run_together
from gsem_spark.steps.gwas.slices import SLICE_BP, parse_part, share, slice_of, waves
from gsem_spark.steps.gwas.user_gwas import model_step
from gsem_spark.steps.registry import STEPS

TRAITS = ("AAA", "BBB", "CCC", "DDD")
N = 900
ONE = "F1 =~ AAA + BBB + CCC + DDD\nF1 ~ SNP"
MIXED = "F1 =~ AAA + BBB + CCC\nF1 ~ SNP\nDDD ~ b*F1 + direct*SNP\ntwice := 2 * direct"
SHORT = "F1 =~ CCC + BBB + AAA\nF1 ~ SNP"


@pytest.fixture(scope="module")
def cov():
    loadings = np.array([0.6, 0.5, 0.55, 0.45])
    S = np.outer(loadings, loadings) * 0.5 + np.diag([0.1, 0.12, 0.09, 0.11])
    S[0, 1] = S[1, 0] = S[0, 1] + 0.003
    I = np.eye(4) + 0.04
    return gs.CovStruct.from_matrices(S, np.eye(10) * 4e-4, I, TRAITS, M=1e6)


@pytest.fixture(scope="module")
def snps():
    """Three chromosomes of two slices each; hits of the factor, of a trait alone; SNPs without variance, without an error."""
    rng = np.random.default_rng(5)
    maf = rng.uniform(0.05, 0.5, N)
    se = np.tile(1 / np.sqrt(2 * maf * (1 - maf) * 1e5)[:, None], (1, 4))
    beta = rng.normal(size=(N, 4)) * se
    beta[[10, 400]] += 9 * se[[10, 400]]
    beta[700, 3] += 11 * se[700, 3]
    maf[50], se[60, 1] = 0.0, 0.0
    frame = pd.DataFrame({
        "snp": [f"rs{i}" for i in range(N)], "chr": np.repeat([1, 2, 10], N // 3), "bp": np.tile(np.arange(N // 3) * 300_000, 3),
        "a1": "A", "a2": "C", "maf": maf,
    })  # fmt: skip
    return frame, beta, se


def fill(ws, snps, traits=TRAITS):
    frame, beta, se = snps
    for t, trait in enumerate(TRAITS):
        if trait not in traits:
            continue
        rows = frame.assign(trait=trait, file_id=f"f{trait}", n=1e5, beta=beta[:, t], se=se[:, t])
        ws.put("sumstats", rows, {"trait": trait})
        known = {
            "trait": trait, "file_id": f"f{trait}", "file": f"{trait}.tsv", "sha256": "0" * 64, "scale": "linear", "columns": {},
            "settings": "{}", "rows_in": N, "rows_kept": N,
        }  # fmt: skip
        ws.put("traits", [known], {"trait": trait})
    return ws


@pytest.fixture(scope="module")
def filled(spark, snps, tmp_path_factory):
    return fill(gs.Workspace.create(str(tmp_path_factory.mktemp("filled") / "ws"), "parquet", spark), snps)


@pytest.fixture
def fresh(spark, snps, tmp_path):
    return fill(gs.Workspace.create(str(tmp_path / "ws"), "parquet", spark), snps)


def rows_of(run):
    return run.results().toPandas()


def in_order(run, snps, rows):
    """Rows of a run SNP by SNP in the order of the arrays, as the array functions give them."""
    frame = rows_of(run).assign(place=lambda f: f["snp"].map({s: i for i, s in enumerate(snps[0]["snp"])}))
    names = {name: i for i, name in enumerate(rows)}
    frame["row"] = (frame["lhs"] + frame["op"] + frame["rhs"]).map(names)
    return frame.sort_values(["place", "row"], ignore_index=True)


def same(found, wanted, columns):
    for c in columns:
        if wanted[c].dtype == object:
            assert found[c].where(found[c].notna(), None).tolist() == wanted[c].where(wanted[c].notna(), None).tolist(), c
        else:
            np.testing.assert_array_equal(found[c].to_numpy(float), wanted[c].to_numpy(float), err_msg=c)


COLUMNS = (
    "lhs", "op", "rhs", "est", "se", "z", "p", "neglog10p", "chisq", "chisq_df", "chisq_p", "aic", "q_snp", "q_snp_df", "q_snp_p",
    "q_snp_neglog10p", "status", "message", "z_smooth",
)  # fmt: skip


def test_the_steps_are_the_array_functions_spread_out(filled, cov, snps, monkeypatch):
    """Two models on the same traits in one pass, the omnibus test beside one of them: to the last bit, bad SNPs included."""
    frame, beta, se = snps
    passes = []
    monkeypatch.setattr(scan, "run_wave", lambda *a: passes.append(len(a[1])) or run_wave(*a))
    runs = gs.user_gwas_models(filled, cov, {"mixed": MIXED, "one": ONE}, omnibus=True, maf_min=0.0)
    assert passes == [2], "one wave, two models"
    for name, text in (("mixed", MIXED), ("one", ONE)):
        wanted = fit_snps(cov, beta, se, frame["maf"], model=text, omnibus=True)
        keys = dict.fromkeys(wanted["lhs"] + wanted["op"] + wanted["rhs"])
        found = in_order(runs[name], snps, keys)
        same(found, wanted, [*COLUMNS, "omnibus_chisq", "omnibus_df", "omnibus_p", "omnibus_neglog10p"])
        assert runs[name].summary["route"] == wanted.attrs["route"]
    status = runs["one"].status().set_index("status")["snps"]
    assert status["singular"] == 2 and status.sum() == N
    bad = rows_of(runs["one"]).set_index("snp")
    assert "MAF" in bad.loc["rs50", "message"] and "BBB is zero" in bad.loc["rs60", "message"]


@pytest.mark.parametrize("kind", ["parquet", pytest.param("delta", marks=pytest.mark.slow)])
def test_tables_by_workers_or_by_spark_hold_the_same_bytes(spark, cov, snps, tmp_path, monkeypatch, kind):
    """Workers read and write the tables' files themselves where they can, else Spark does: same rows, loci and figures."""
    found = []
    for direct in ("1", "0"):
        monkeypatch.setenv("GSEM_SPARK_DIRECT", direct)
        ws = fill(gs.Workspace.create(str(tmp_path / f"{kind}{direct}"), kind, spark), snps)
        runs = [
            gs.user_gwas(ws, cov, ONE, omnibus=True), gs.common_factor_gwas(ws, cov),
            gs.multivariate_wald(ws, cov, {"DDD": 1, "AAA": -1}),
        ]  # fmt: skip
        tables = [rows_of(run).sort_values(["chr", "bp", "snp"], ignore_index=True) for run in runs]
        found.append([(t, run.loci(), run.summary) for t, run in zip(tables, runs, strict=True)])
    for (rows, loci, figures), (others, other_loci, other_figures) in zip(*found, strict=True):
        pd.testing.assert_frame_equal(rows, others, check_exact=True)
        pd.testing.assert_frame_equal(loci, other_loci, check_exact=True)
        assert len(loci) and figures == other_figures


def test_z_smooth_only_where_it_is_asked_for(filled, cov):
    usual, without = (gs.user_gwas(filled, cov, ONE, sub="F1~SNP", smooth_check=wanted) for wanted in (True, False))
    assert usual.run_id != without.run_id
    assert rows_of(usual)["z_smooth"].notna().all() and rows_of(without)["z_smooth"].isna().all()
    with pytest.raises(ConfigError, match="toler"):
        gs.user_gwas(filled, cov, ONE, toler=2.0)


run_wave = scan.run_wave


@pytest.mark.slow
def test_a_model_alone_is_the_same_run_as_in_company(fresh, filled, cov):
    together = gs.user_gwas_models(filled, cov, {"mixed": MIXED, "one": ONE}, omnibus=True, maf_min=0.0)
    alone = gs.user_gwas(fresh, cov, ONE, omnibus=True, maf_min=0.0, name="another name")
    assert alone.run_id == together["one"].run_id
    a, b = (rows_of(r).sort_values("snp", ignore_index=True) for r in (alone, together["one"]))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    pd.testing.assert_frame_equal(alone.loci(), together["one"].loci())
    assert alone.summary["paths"] == together["one"].summary["paths"]


def test_figures_and_loci_by_path(filled, cov):
    run = gs.user_gwas(filled, cov, MIXED, omnibus=True, maf_min=0.0)
    figures = run.figures().set_index("path")
    assert list(figures.index) == ["F1~SNP", "DDD~SNP", "omnibus"]
    rows = rows_of(run)
    for lhs in ("F1", "DDD"):
        z = rows.loc[rows["lhs"] == lhs, "z"].dropna()
        np.testing.assert_allclose(figures.loc[f"{lhs}~SNP", "lambda_gc"], np.median(z**2) / 0.454936423119572, rtol=1e-9)
        np.testing.assert_allclose(figures.loc[f"{lhs}~SNP", "mean_chisq"], (z**2).mean(), rtol=1e-6)
        assert figures.loc[f"{lhs}~SNP", "hits"] == (rows.loc[rows["lhs"] == lhs, "p"] < 5e-8).sum() > 0
    variance = factor_variances(UserModelGwas.prepare(cov, MIXED))["F1"]
    f = rows[(rows["lhs"] == "F1") & rows["maf"].between(0.1, 0.4) & (rows["se"] > 0)]
    wanted = (variance / (2 * f["maf"] * (1 - f["maf"]) * f["se"] ** 2)).mean()
    np.testing.assert_allclose(figures.loc["F1~SNP", "effective_n"], wanted, rtol=1e-5)
    assert np.isnan(figures.loc["DDD~SNP", "effective_n"])
    loci = run.loci()
    assert set(loci["path"]) == {"F1~SNP", "DDD~SNP", "omnibus"}
    assert set(zip(loci["path"], loci["signal"], strict=True)) >= {
        ("F1~SNP", "factor"), ("DDD~SNP", "effect"), ("omnibus", "omnibus"),
    }  # fmt: skip
    assert set(loci.loc[loci["path"] == "DDD~SNP", "snp"]) >= {"rs700"}
    assert loci["locus"].is_unique


def test_the_report_shows_every_path_with_its_figures(filled, cov, tmp_path):
    run = gs.user_gwas(filled, cov, MIXED, omnibus=True, maf_min=0.0, name="mixed")
    tests = gs.multivariate_wald(filled, cov, {"A against B": {"AAA": 1, "BBB": -1}}, maf_min=0.0)
    page = Path(gs.report(filled, run, scans=[tests], out=tmp_path)).read_text(encoding="utf-8")
    for words in ("F1~SNP", "DDD~SNP", "omnibus", "A against B", "rs700", "singular"):
        assert words in page
    drawn = {path.name for path in tmp_path.rglob("*.png")}
    assert len([name for name in drawn if "manhattan" in name]) == len(run.figures()) + len(tests.figures())


@pytest.mark.slow
def test_a_model_of_fewer_traits_has_the_panel_of_its_traits_by_name(filled, cov, snps):
    """The order in the model does not matter, and SNPs that only other traits lack stay."""
    run = gs.user_gwas(filled, cov, SHORT, maf_min=0.0)
    assert run.summary["traits"] == ["AAA", "BBB", "CCC"]
    frame, beta, se = snps
    part = cov.subset(["AAA", "BBB", "CCC"])
    wanted = fit_snps(part, beta[:, :3], se[:, :3], frame["maf"], model=SHORT)
    same(in_order(run, snps, ["F1~SNP"]), wanted, COLUMNS)
    turned = gs.user_gwas(filled, cov.subset(["DDD", "CCC", "BBB", "AAA"]), ONE.replace("AAA + BBB", "BBB + AAA"), maf_min=0.0)
    np.testing.assert_allclose(
        rows_of(turned).sort_values("snp")["q_snp"].to_numpy(float)[:5],
        rows_of(gs.user_gwas(filled, cov, ONE, maf_min=0.0)).sort_values("snp")["q_snp"].to_numpy(float)[:5], rtol=1e-6,
    )  # fmt: skip


def test_wald_tests_are_those_of_the_array_function(filled, cov, snps):
    frame, beta, se = snps
    contrasts = {"any of three": np.eye(4)[:3], "AAA against DDD": {"AAA": 1, "DDD": -1}}
    run = gs.multivariate_wald(filled, cov, contrasts, maf_min=0.0)
    wanted = wald(cov, beta, se, frame["maf"], contrasts)
    found = rows_of(run).assign(place=lambda f: f["snp"].str[2:].astype(int))
    found = found.sort_values(["place", "test"], ascending=[True, False])
    same(found.reset_index(drop=True), wanted, [
        "test", "chisq", "df", "p", "neglog10p", "est", "se", "omnibus_chisq", "omnibus_df", "omnibus_p", "omnibus_neglog10p",
        "status", "message",
    ])  # fmt: skip
    assert run.figures().set_index("path").loc["AAA against DDD", "hits"] == (
        (found["test"] == "AAA against DDD") & (found["p"] < 5e-8)
    ).sum()
    assert "rs700" in set(run.loci()["snp"])
    omnibus = gs.multivariate_wald(filled, cov, maf_min=0.0)
    assert omnibus.run_id != run.run_id
    assert set(omnibus.loci()["signal"]) == {"omnibus"}


@pytest.mark.slow
def test_the_common_factor_takes_the_omnibus_test_too_and_keeps_its_run_id_without_it(filled, cov, snps):
    plain, tested = (gs.common_factor_gwas(filled, cov, maf_min=0.0, omnibus=o) for o in (False, True))
    assert plain.run_id != tested.run_id
    a, b = (rows_of(r).sort_values("snp", ignore_index=True) for r in (plain, tested))
    assert a["omnibus_p"].isna().all()
    frame, beta, se = snps
    wanted = wald(cov, beta, se, frame["maf"]).assign(snp=frame["snp"]).sort_values("snp")
    np.testing.assert_array_equal(b["omnibus_chisq"].to_numpy(float), wanted["omnibus_chisq"].to_numpy(float))
    np.testing.assert_array_equal(a["est"].to_numpy(float), b["est"].to_numpy(float))
    assert list(tested.figures()["path"]) == ["F1~SNP", "omnibus"]


@pytest.mark.parametrize("format", [pytest.param("delta", marks=pytest.mark.slow), "parquet"])
def test_parts_by_any_sessions_end_in_the_run_as_a_whole(filled, cov, snps, spark, tmp_path, format):
    ws = fill(gs.Workspace.create(str(tmp_path / "parts"), format, spark), snps)
    whole = gs.user_gwas(filled, cov, MIXED, omnibus=True, maf_min=0.0)
    reports = []
    for i in (3, 1, 3, 2):
        another = gs.Workspace.open(ws.location, spark)  # as another session finds it
        run = gs.user_gwas(another, cov, MIXED, omnibus=True, maf_min=0.0, part=(i, 3))
        reports.append(run.report.status)
        status = run.progress()
        assert status.total_snps == N and (status.done_snps == N) == (reports[-1] == "done")
    assert reports == ["partial", "partial", "partial", "done"]
    again = gs.user_gwas(gs.Workspace.open(ws.location, spark), cov, MIXED, omnibus=True, maf_min=0.0)
    assert (again.report.status, again.run_id) == ("skipped", whole.run_id)
    a, b = (rows_of(r).sort_values(["snp", "lhs", "op"], ignore_index=True) for r in (again, whole))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert again.summary["paths"] == whole.summary["paths"]
    assert status.seconds_left == 0.0
    assert sum(status.reasons.values()) == 2 and status.by_chromosome()["snps_done"].sum() == N


@pytest.mark.slow
def test_a_run_that_died_goes_on_with_the_slices_that_are_missing(fresh, filled, cov, monkeypatch):
    monkeypatch.setattr(scan, "WAVE_SNPS", 250)
    waves_run = []

    def dies(ws, scans, panel, slices):
        if len(waves_run) == 2:
            raise KeyboardInterrupt
        waves_run.append(slices)
        return run_wave(ws, scans, panel, slices)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scan, "run_wave", dies)
        gs.user_gwas(fresh, cov, ONE, maf_min=0.0)
    done = sorted(n for wave in waves_run for n in wave)
    status = scan_status(fresh)
    assert (status.state, status.done_snps) == ("running", int(status.slices["snps"][: len(done)].sum()))
    assert status.seconds_left > 0
    again = gs.user_gwas(fresh, cov, ONE, maf_min=0.0)
    assert again.report.summary["resumed"] == done and 0 < len(done) < 6
    pd.testing.assert_frame_equal(
        rows_of(again).sort_values("snp", ignore_index=True),
        rows_of(gs.user_gwas(filled, cov, ONE, maf_min=0.0)).sort_values("snp", ignore_index=True), check_exact=True,
    )  # fmt: skip


def scan_status(ws):
    from gsem_spark.steps.gwas.status import run_status

    return run_status(ws, [e for e in ws.runs.all() if e.step == "user_gwas"][-1].run_id)


@pytest.mark.slow
def test_too_many_failed_snps_are_an_error_after_the_results_are_kept(filled, cov):
    with pytest.raises(ConvergenceError, match=r"0\.22% of 900 SNPs have no fit \(2 singular\)"):
        gs.user_gwas(filled, cov, ONE, gc="none", maf_min=0.0, max_failed=0.001)
    run = gs.user_gwas(filled, cov, ONE, gc="none", maf_min=0.0, max_failed=0.01)
    assert (run.report.status, len(rows_of(run))) == ("skipped", N)


BAD = {
    "no SNP": (ONE.replace("\nF1 ~ SNP", ""), {}, ModelError, "no path from SNP"),
    "the SNP as an outcome": ("F1 =~ AAA + BBB + CCC\nSNP ~ F1", {}, ModelError, "makes SNP an outcome"),
    "the SNP as an indicator": ("F1 =~ AAA + BBB + CCC + SNP", {}, ModelError, "makes SNP an outcome"),
    "a sub that names no row": (ONE, {"sub": "F2~SNP"}, ModelError, "no row 'F2~SNP'"),
    "an unknown trait": (ONE.replace("DDD", "DDE"), {}, ModelError, "DDE"),
    "a syntax error": ("F1 =~ AAA +\nF1 ~ SNP", {}, ModelError, "line"),
    "an unknown estimation": (ONE, {"estimation": "WLS"}, ConfigError, "estimation"),
    "no such gc": (ONE, {"gc": "twice"}, ConfigError, "gc"),
    "a share beyond 1": (ONE, {"max_failed": 2}, ConfigError, "max_failed"),
    "not identified": ("F1 =~ AAA\nF1 ~ SNP\nF1 ~~ F1\nAAA ~~ AAA", {}, ModelError, "only 1 moments"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_bad_models_are_told_before_anything_is_written(filled, cov, case):
    text, settings, kind, words = BAD[case]
    before = {name: filled.version(name) for name in ("gwas_results", "loci")}
    with pytest.raises(kind, match=words):
        gs.user_gwas(filled, cov, text, **settings)
    assert {name: filled.version(name) for name in before} == before


def test_bad_traits_and_contrasts_are_told(filled, cov, fresh):
    with pytest.raises(ModelError, match="at least 2 traits"):
        gs.multivariate_wald(filled, cov.subset(["AAA"]))
    with pytest.raises(ModelError, match="no trait"):
        gs.multivariate_wald(filled, cov, {"AAA": 1, "XXX": -1})
    with pytest.raises(ModelError, match="not independent"):
        gs.multivariate_wald(filled, cov, [[1, -1, 0, 0], [2, -2, 0, 0]])
    renamed = gs.CovStruct.from_matrices(cov.S, cov.V, cov.I, ("AAA", "BBB", "CCC", "ZZZ"), M=1e6)
    with pytest.raises(DataError, match="no summary statistics of ZZZ"):
        gs.user_gwas(filled, renamed, ONE.replace("DDD", "ZZZ"))
    with pytest.raises(ModelError, match="no model is given"):
        gs.user_gwas_models(filled, cov, [])
    with pytest.raises(DataError, match="not in the ledger"):
        from gsem_spark.steps.gwas.status import run_status

        run_status(fresh, "user_gwas-nothing")


@pytest.mark.slow
def test_the_same_model_twice_is_one_run(filled, cov):
    steps = [model_step(cov, ONE, maf_min=0.0, gc="conserv", name=name) for name in ("a", "b")]
    first, second = run_together(filled, steps)
    assert first.run_id == second.run_id
    assert filled.count("gwas_results", {"run_id": first.run_id}).total() == N


def test_slices_cut_a_genome_the_same_way_whoever_asks():
    chromosome, bp = np.array([1, 1, 2, 23]), np.array([0, SLICE_BP, SLICE_BP - 1, 10**11])
    assert slice_of(chromosome, bp).tolist() == [100, 101, 200, 2399]
    counts = {n: 10 + n % 7 for n in range(100, 170)}
    for n in (1, 2, 7, 70, 200):
        shares = [share(counts, (i, n)) for i in range(1, n + 1)]
        assert sorted(s for part in shares for s in part) == sorted(counts)
        if n <= 7:
            sizes = [sum(counts[s] for s in part) for part in shares]
            assert max(sizes) - min(sizes) <= 2 * max(counts.values())
    assert share(counts, None) == sorted(counts)
    assert waves({3: 5, 1: 5, 2: 1}, 6) == [[1, 2], [3]]
    assert waves({3: 5, 1: 5, 2: 1}, 100, most=2) == [[1, 2], [3]]
    for text in ("0/3", "4/3", "a/b", "3", "1/0", "-1/2"):
        with pytest.raises(ConfigError, match="part of a whole"):
            parse_part(text)


def test_the_steps_that_test_snps_are_known_by_their_tables():
    assert {name: step.table for name, step in STEPS.items() if issubclass(step, scan.ScanStep)} == dict(PER_SNP_STEPS)
