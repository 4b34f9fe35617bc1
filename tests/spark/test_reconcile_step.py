"""Reconciliation and review as steps: planted patterns, replication, LD blocks, the checklist, the report, bad input."""

from __future__ import annotations

import golden_path  # noqa: F401 - makes the data modules of other folders findable
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from workspace_tools import commits

import gsem_spark as gs
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.steps.export.table import export_table
from gsem_spark.steps.reconcile.review_facts import loci_without_each_trait

pytestmark = pytest.mark.slow  # minutes beside the rest; the contract suite and the verbs' tests stay in the default lane

TRAITS = ("AAA", "BBB", "CCC", "DDD")
N_SNPS, N = 3_000, 100_000.0
FACTOR_HITS, ONE_TRAIT, AWAY = (300, 1_200, 2_100), 2_700, 1_700
"""SNPs that act through the factor; one that acts on the last trait alone; one on two traits each way."""


def loadings():
    return np.array([0.6, 0.55, 0.5, 0.5])


def structure():
    lam = loadings()
    S = np.outer(lam, lam) * 0.5 + np.diag(np.full(4, 0.1))
    V = np.diag(np.full(10, 4e-4)) + 1e-5
    return gs.CovStruct.from_matrices(S, V, np.eye(4) + 0.05 * (1 - np.eye(4)), TRAITS, M=1e6)


def scan(seed, traits=TRAITS, hits=FACTOR_HITS):
    """Z-scores (m, k) of traits of one factor with planted SNPs, and the frame that all traits share."""
    rng = np.random.default_rng(seed)
    l2 = np.random.default_rng(1).lognormal(3.5, 0.8, N_SNPS)
    factor = rng.normal(size=N_SNPS) * np.sqrt(l2 / 60)
    factor[list(hits)] += (14.0, -12.0, 13.0)
    z = 1.2 * factor[:, None] * loadings()[: len(traits)] / 0.55 + rng.normal(size=(N_SNPS, len(traits)))
    z[ONE_TRAIT, -1] += 16.0
    if len(traits) > 1:
        z[AWAY, :2] += (12.0, -12.0)
    maf = np.random.default_rng(2).uniform(0.1, 0.5, N_SNPS)
    at = np.arange(N_SNPS)
    shared = pd.DataFrame({
        "snp": [f"rs{i}" for i in at], "chr": at // 1_000 + 1, "bp": (at % 1_000 + 1) * 100_000, "a1": "A", "a2": "C", "maf": maf,
        "eaf": maf, "n": N,
    })  # fmt: skip
    return z, shared, l2


def put(ws, names, z, shared):
    se = 1 / np.sqrt(2 * shared["maf"] * (1 - shared["maf"]) * N)
    for t, name in enumerate(names):
        neglog10p = -(stats.norm.logsf(np.abs(z[:, t])) + np.log(2)) / np.log(10)
        rows = shared.assign(trait=name, file_id=f"f-{name}", z=z[:, t], beta=z[:, t] * se, se=se, neglog10p=neglog10p)
        ws.put("sumstats", rows, {"trait": name})
        ws.put("traits", [{
            "trait": name, "file_id": f"f-{name}", "file": name, "sha256": "", "scale": "linear", "columns": {}, "settings": "{}",
            "rows_in": N_SNPS, "rows_kept": N_SNPS, "n": N,
        }], {"trait": name})  # fmt: skip


@pytest.fixture(scope="module")
def study(spark, tmp_path_factory):
    """Workspace, factor GWAS, MTAG with its maxFDR."""
    ws = gs.Workspace.create(str(tmp_path_factory.mktemp("study") / "ws"), "parquet", spark)
    z, shared, l2 = scan(5)
    put(ws, TRAITS, z, shared)
    put(ws, ["REP"], scan(6, ["REP"])[0], shared)
    ws.put("ld_scores", shared[["chr", "snp", "bp"]].assign(
        panel="eur", l2=l2, wld=l2, ord=np.arange(N_SNPS), m=50_000.0), {"panel": "eur"})  # fmt: skip
    cov = structure()
    run = gs.common_factor_gwas(ws, cov)
    made = gs.mtag(ws, TRAITS, cov)
    made.max_fdr(2, states=["FFFF", "TTTT", "TFFF", "FFFT"])
    return ws, run, made


@pytest.fixture(scope="module")
def reconciled(study):
    ws, run, made = study
    return gs.reconcile(ws, run, made, replication="REP")


def test_planted_snps_have_their_patterns(reconciled):
    loci = reconciled.loci().set_index("snp")
    for at in FACTOR_HITS:
        row = loci.loc[f"rs{at}"]
        assert row["pattern"] == "common_factor"
        assert set(row["mtag_traits"].split(",")) == set(TRAITS)
        assert row["a1"] == "A"
        assert not row["q_sig"]
    one = loci.loc[f"rs{ONE_TRAIT}"]
    assert one["q_sig"]
    assert one["gwas_traits"] == "DDD"
    assert one["claim"] != "supported"
    assert loci.loc[f"rs{AWAY}", "pattern"] in ("trait_specific_mtag", "q_only", "power_lost")
    assert loci["locus"].tolist() == list(range(1, len(loci) + 1))


def test_replication_makes_claims_and_its_rule_is_printed(reconciled):
    loci = reconciled.loci().set_index("snp")
    assert (loci.loc[[f"rs{i}" for i in FACTOR_HITS], "claim"] == "supported").all()
    found = reconciled.replication()
    assert found is not None
    assert found.set_index("snp").loc[f"rs{FACTOR_HITS[0]}", "panel"] == "REP"
    test = reconciled.summary["sign_test"]
    assert test["tested"] == found["found"].sum() >= 3
    assert test["same"] == found["same_direction"].sum() >= 3
    planted = found.set_index("snp").loc[[f"rs{i}" for i in FACTOR_HITS]]
    assert planted["replicated"].all()
    assert planted["same_direction"].all()
    assert "factor p < 5e-08" in reconciled.rule
    assert set(reconciled.summary["max_fdr"]) == set(TRAITS)


def test_effects_are_those_of_the_three_sources(reconciled, study):
    z, shared, _ = scan(5)
    effects = reconciled.effects()
    assert effects["trait"].tolist()[: len(TRAITS)] == list(TRAITS)
    at = FACTOR_HITS[1]
    mine = effects[effects["snp"] == f"rs{at}"].set_index("trait")
    se = 1 / np.sqrt(2 * shared["maf"][at] * (1 - shared["maf"][at]) * N)
    np.testing.assert_allclose(mine.loc[list(TRAITS), "input_beta"], z[at] * se, rtol=1e-12)
    implied = mine["implied_beta"] / mine.loc["AAA", "implied_beta"]
    np.testing.assert_allclose(implied.loc[list(TRAITS)], loadings() / loadings()[0], rtol=0.2)
    ws, _, made = study
    rows = ws.rows("mtag_results", {"run_id": made.run_id, "trait": "BBB"}).to_pandas().set_index("snp")
    np.testing.assert_allclose(mine.loc["BBB", "mtag_beta"], rows.loc[f"rs{at}", "mtag_beta"], rtol=1e-12)
    concordance = reconciled.sign_concordance()
    assert concordance.loc[0, "trait"] == "all"


def test_it_is_done_once_and_again_with_other_blocks(study, reconciled, tmp_path):
    ws, run, made = study
    assert gs.reconcile(ws, run, made, replication="REP").report.status == "skipped"
    bed = tmp_path / "blocks.bed"
    bed.write_text("".join(f"chr{c}\t{s}\t{s + 50_000_000}\n" for c in (1, 2, 3) for s in (0, 50_000_000)))
    blocks = gs.reconcile(ws, run, made, blocks=bed)
    assert blocks.report.status == "done"
    assert len(blocks.loci()) <= 6
    assert (blocks.loci()["claim"].dropna() != "supported").all()  # no panel: nothing is replicated
    bed.write_text("chr1\t10\t5\n")
    with pytest.raises(DataError, match="not behind its start"):
        gs.reconcile(ws, run, made, blocks=bed)
    with pytest.raises(DataError, match="cannot be read"):
        gs.reconcile(ws, run, made, blocks=tmp_path / "none.bed")


def test_a_frame_replicates_with_alleles_swapped(study):
    ws, run, made = study
    z, shared, _ = scan(6, ["REP"])
    se = 1 / np.sqrt(2 * shared["maf"] * (1 - shared["maf"]) * N)
    panel = pd.DataFrame({"snp": shared["snp"], "a1": "C", "a2": "A", "beta": -z[:, 0] * se, "se": se})
    done = gs.reconcile(ws, run, made, replication=panel)
    assert (done.loci().set_index("snp").loc[[f"rs{i}" for i in FACTOR_HITS], "claim"] == "supported").all()


def test_the_review_is_filled_from_the_run(study, reconciled):
    ws, run, _ = study
    done = gs.review(ws, run, ancestry="European", n_blocks=20, reconcile_run=reconciled)
    items = done.items().set_index("key")
    assert set(items["verdict"]) <= {"pass", "warn", "fail", "not assessed"}
    for key, words in (("inputs", "4 traits"), ("heywood", "none"), ("stability", "of loci stay"), ("factor_h2", "Z "),
                       ("inflation", "intercept"), ("factor_rg", "AAA"), ("direction", "leads")):  # fmt: skip
        assert words in items.loc[key, "number"], key
    assert items.loc["cfi", "verdict"] == "pass"
    assert items.loc["max_fdr", "verdict"] != "not assessed"
    assert set(done.summary["stable_loci"]) == set(TRAITS)
    assert gs.review(ws, run, ancestry="European", n_blocks=20, reconcile_run=reconciled).report.status == "skipped"
    bare = gs.review(ws, run, ldsc=False, leave_one_out=False).items().set_index("key")
    assert (bare.loc[["stability", "factor_h2", "factor_rg"], "verdict"] == "not assessed").all()


def test_loci_without_a_trait_are_those_of_a_gwas_without_it(study):
    ws, run, _ = study
    shares, said = loci_without_each_trait(
        ws, run.summary["panel_id"], structure(), {"gc": "standard", "snp_se": 5e-4, "estimation": "DWLS", "std_lv": False},
        run.loci(),
    )  # fmt: skip
    assert not said
    rest = gs.common_factor_gwas(ws, structure().subset(["AAA", "BBB", "CCC"])).loci()
    rest = rest[rest["signal"] == "factor"]
    mine = run.loci()[run.loci()["signal"] == "factor"]
    stay = [
        ((rest["chr"] == r.chr) & ((rest["bp"] - r.bp).abs() <= 500_000)).any() for r in mine.itertuples()
    ]
    assert shares["DDD"] == pytest.approx(np.mean(stay))


def test_the_report_has_both_sections(study, reconciled, tmp_path):
    ws, run, _ = study
    gs.reconcile(ws, run, replication="REP")
    gs.review(ws, run, ancestry="European", n_blocks=20)
    page = open(gs.report(ws, run, out=tmp_path)).read()  # noqa: SIM115, PTH123 - a path as text
    assert '<section id="reconcile">' in page
    assert '<section id="review">' in page
    assert f"rs{FACTOR_HITS[0]}" in page
    for name in ("miami", "effect_forest", "effect_scatter"):
        assert (tmp_path / f"{run.run_id}_{name}.png").stat().st_size > 5_000


def test_bad_input_is_told_and_leaves_nothing_behind(study):
    ws, run, made = study
    pair = gs.mtag(ws, TRAITS[:2], sigma=np.eye(2))
    meta = gs.mtag(ws, TRAITS, structure(), perfect_gencov=True, equal_h2=True)
    before = commits(ws)
    cases = [
        (DataError, "is not in the ledger", lambda: gs.reconcile(ws, "nothing", made)),
        (DataError, "is one of mtag, not of common_factor_gwas", lambda: gs.reconcile(ws, made, made)),
        (ConfigError, "lacks CCC, DDD", lambda: gs.reconcile(ws, run, pair)),
        (ConfigError, "meta-analysis", lambda: gs.reconcile(ws, run, meta)),
        (ConfigError, "cannot replicate a factor it is an indicator of", lambda: gs.reconcile(ws, run, made, replication="AAA")),
        (DataError, "no summary statistics of ZZZ", lambda: gs.reconcile(ws, run, made, replication=["ZZZ"])),
        (ConfigError, "genome_wide_p", lambda: gs.reconcile(ws, run, made, genome_wide_p=2.0)),
        (ConfigError, "meta-analysis", lambda: meta.max_fdr(2)),
        (DataError, "no LD scores of panel 'moon'", lambda: gs.review(ws, run, panel="moon")),
        (DataError, "columns", lambda: gs.reconcile(ws, run, made, replication=pd.DataFrame({"snp": ["rs1"]}))),
    ]
    for kind, words, call in cases:
        with pytest.raises(kind) as error:
            call()
        assert words in str(error.value), words
    after = commits(ws)
    assert {t for t in after if after[t] != before[t]} <= {"runs"}


def test_mtag_results_are_exported_in_the_reference_program_s_columns(study, tmp_path):
    ws, _, made = study
    target = tmp_path / "aaa.txt"
    rows = export_table(ws, "mtag_results", target, run_id=made.run_id, trait="AAA", reference=True)
    assert target.read_text().splitlines()[0].split("\t") == [
        "SNP", "CHR", "BP", "A1", "A2", "Z", "N", "FRQ", "mtag_beta", "mtag_se", "mtag_z", "mtag_pval"
    ]  # fmt: skip
    read = pd.read_csv(target, sep="\t")
    assert len(read) == rows == made.facts.n_snps
    assert read["CHR"].is_monotonic_increasing
    with pytest.raises(ConfigError, match="several traits"):
        export_table(ws, "mtag_results", target, run_id=made.run_id, reference=True)
    with pytest.raises(ConfigError, match="no reference program"):
        export_table(ws, "loci", target, reference=True)
