"""MTAG as a step: the reference program's answers through Spark, alleles by name, bad input, restart, maxFDR."""

from __future__ import annotations

import golden_path  # noqa: F401 - makes the next module findable
import numpy as np
import pandas as pd
import pytest
from mtag_golden_data import TRAITS, mode, six, total_M
from workspace_tools import commits, emptied

import gsem_spark as gs
from gsem_spark.catalog import spans
from gsem_spark.catalog.staged_write import StagedWrite
from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.methods import mtag as pure
from gsem_spark.steps.mtag import stretches
from gsem_spark.steps.mtag import write as mtag_write

pytestmark = pytest.mark.slow  # minutes beside the rest; the contract suite and the verbs' tests stay in the default lane

N_SMALL = 2_000


def put_trait(ws, name, rows):
    """A trait of the golden set as ``munge`` would leave it; ``rows``: snp chr bp a1 a2 eaf n z."""
    known = {
        "trait": name, "file_id": f"file-{name}", "file": f"{name}.tsv", "sha256": "0" * 64, "scale": "linear", "columns": {},
        "settings": "{}", "rows_in": len(rows), "rows_kept": len(rows),
    }  # fmt: skip
    frame = rows.assign(trait=name, file_id=known["file_id"], maf=np.minimum(rows["eaf"], 1 - rows["eaf"]))
    ws.put("sumstats", frame, {"trait": name})
    ws.put("traits", [known], {"trait": name})


def golden_rows(trait, table=None):
    table = six() if table is None else table
    has = table[table[f"Z{trait}"].notna()]
    return pd.DataFrame({
        "snp": has["SNP"], "chr": has["CHR"], "bp": has["BP"], "a1": has["A1"], "a2": has["A2"], "eaf": has["FRQ"],
        "n": has[f"N{trait}"], "z": has[f"Z{trait}"],
    })  # fmt: skip


def matrix(run, name):
    return getattr(run, name).to_numpy()


@pytest.fixture(scope="module")
def golden(spark, tmp_path_factory):
    """The golden set's six traits and LD scores in a workspace."""
    ws = gs.Workspace.create(str(tmp_path_factory.mktemp("golden") / "ws"), "parquet", spark)
    for trait in TRAITS:
        put_trait(ws, trait, golden_rows(trait))
    table = six()
    last = table["CHR"] == table["CHR"].max()
    ws.put("ld_scores", pd.DataFrame({
        "panel": "eur", "chr": table["CHR"], "snp": table["SNP"], "bp": table["BP"], "l2": table["L2"], "wld": table["L2"],
        "ord": np.arange(len(table)), "m": np.where(last, total_M(), 0.0),
    }), {"panel": "eur"})  # fmt: skip
    return ws


@pytest.fixture(scope="module")
def small(spark, tmp_path_factory):
    """Two thousand SNPs of three of the traits."""
    ws = gs.Workspace.create(str(tmp_path_factory.mktemp("small") / "ws"), "parquet", spark)
    table = small_table()
    for trait in TRAITS[:3]:
        put_trait(ws, trait, golden_rows(trait, table))
    return ws


def small_table():
    table = six()
    whole = table[table[[f"Z{t}" for t in TRAITS[:3]]].notna().all(axis=1) & ~table["ambiguous"]]
    return whole.iloc[:: len(whole) // N_SMALL].iloc[:N_SMALL]


@pytest.mark.slow
def test_the_reference_program_s_answers(golden):
    """Source: JonJala/mtag 1.0.8 on the six traits of ``tests/data/mtag``, all defaults: Sigma by LDSC, moments for Omega."""
    m = mode("default")
    run = gs.mtag(golden, TRAITS)
    np.testing.assert_allclose(matrix(run, "sigma"), m.arrays["sigma"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix(run, "omega"), m.arrays["omega"], rtol=1e-8)
    rows = run.results().toPandas()
    names = m.table["SNP"].to_numpy()[m.answer_rows]
    for t, trait in enumerate(TRAITS):
        mine = rows[rows["trait"] == trait].set_index("snp")
        assert len(mine) == m.facts["traits_out"][trait]["rows"]
        np.testing.assert_allclose(mine.loc[names, "mtag_se"], m.arrays["se"][:, t], rtol=1e-8)
        assert (np.abs(mine.loc[names, "mtag_beta"].to_numpy() - m.arrays["beta"][:, t]) <= 1e-6 * m.arrays["se"][:, t]).all()
    for trait, row in run.summary.set_index("trait").iterrows():
        wanted = m.facts["traits_out"][trait]
        np.testing.assert_allclose(row["n_equivalent_max"], wanted["gwas_equiv_N_max"], rtol=1e-6)
        np.testing.assert_allclose(row["mtag_mean_chisq"], wanted["mean_chi2_mtag"], rtol=1e-6)
        assert row["mtag_hits"] == wanted["n_gws_mtag"]


def test_the_step_is_the_array_function_spread_out(small):
    """Omega from one pass of sums, every estimate, the summary and λ: what ``estimate`` gives on the same arrays."""
    table, names = small_table(), TRAITS[:3]
    sigma = np.array([[1.0, 0.1, 0.0], [0.1, 1.02, 0.05], [0.0, 0.05, 0.98]])
    wanted = pure.estimate(
        table[[f"Z{t}" for t in names]], table[[f"N{t}" for t in names]].to_numpy(float), sigma, traits=names
    )
    run = gs.mtag(small, names, sigma=pd.DataFrame(sigma, names, names).loc[list(names)[::-1]])
    np.testing.assert_allclose(matrix(run, "omega"), wanted.omega, rtol=1e-10)
    rows = run.results().toPandas()
    for t, trait in enumerate(names):
        mine = rows[rows["trait"] == trait].set_index("snp").loc[table["SNP"]]
        np.testing.assert_allclose(mine["mtag_z"], wanted.z[:, t], rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(mine["neglog10p"], wanted.neglog10p[:, t], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(mine["std_se"], wanted.se[:, t], rtol=1e-10)
        scale = np.sqrt(2 * table["FRQ"] * (1 - table["FRQ"])).to_numpy()
        np.testing.assert_allclose(mine["mtag_beta"] * scale, wanted.beta[:, t], rtol=1e-8, atol=1e-15)
        summary = run.summary.set_index("trait").loc[trait]
        np.testing.assert_allclose(summary["lambda_gc"], np.median(table[f"Z{trait}"] ** 2) / 0.454936423119572, rtol=1e-9)
        np.testing.assert_allclose(summary["mtag_lambda_gc"], np.median(wanted.z[:, t] ** 2) / 0.454936423119572, rtol=1e-7)
    shares = run.weights.groupby("trait")["share"].sum()
    np.testing.assert_allclose(shares, 1.0, rtol=1e-12)
    assert gs.mtag(small, names, sigma=sigma).report.status == "skipped"


def test_a_trait_on_the_other_allele_gives_the_same_result(small, tmp_path):
    names = TRAITS[:3]
    one = gs.mtag(small, names, sigma=np.eye(3))
    ws = gs.Workspace.create(str(tmp_path / "ws"), "parquet", small.spark)
    for trait in names:
        rows = golden_rows(trait, small_table())
        if trait == names[1]:
            rows = rows.assign(a1=rows["a2"], a2=rows["a1"], z=-rows["z"], eaf=1 - rows["eaf"])
        put_trait(ws, trait, rows)
    two = gs.mtag(ws, names, sigma=np.eye(3))
    assert two.facts.filters[names[1]]["swapped"] == N_SMALL
    columns = ["trait", "snp", "a1", "mtag_beta", "mtag_se", "mtag_z"]
    a, b = (r.results().select(*columns).toPandas().sort_values(["trait", "snp"], ignore_index=True) for r in (one, two))
    pd.testing.assert_frame_equal(a, b, rtol=1e-9)


def test_a_meta_analysis_has_one_result(small):
    run = gs.mtag(small, TRAITS[:2], sigma=np.eye(2), perfect_gencov=True, equal_h2=True)
    rows = run.results().toPandas().set_index("snp").loc[small_table()["SNP"]]
    assert set(rows["trait"]) == {"meta"}
    table = small_table()
    n = table[[f"N{t}" for t in TRAITS[:2]]].to_numpy(float)
    z = table[[f"Z{t}" for t in TRAITS[:2]]].to_numpy()
    np.testing.assert_allclose(rows["mtag_z"], (z * np.sqrt(n)).sum(axis=1) / np.sqrt(n.sum(axis=1)), rtol=1e-8, atol=1e-12)


def test_a_run_that_died_goes_on_with_the_chromosomes_that_are_missing(small, tmp_path, monkeypatch):
    names, ws = TRAITS[:3], gs.Workspace.create(str(tmp_path / "ws"), "parquet", small.spark)
    for trait in names:
        put_trait(ws, trait, golden_rows(trait, small_table()))
    monkeypatch.setattr(mtag_write, "WAVE_ROWS_PER_CORE", 450)
    calls = []

    def dies(self, table, *rest, **more):
        if table == "mtag_results":
            calls.append(more)
            if len(calls) == 4:
                raise KeyboardInterrupt
        return commit(self, table, *rest, **more)

    commit = StagedWrite.commit
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StagedWrite, "commit", dies)
        gs.mtag(ws, names, sigma=np.eye(3))
    written = {key[1] for key in ws.count("mtag_results")}
    again = gs.mtag(ws, names, sigma=np.eye(3))
    assert again.report.summary["resumed"] == sorted(written)
    assert len(written) >= 3
    straight = gs.mtag(small, names, sigma=np.eye(3))
    columns = ["trait", "snp", "mtag_z"]
    a, b = (r.results().select(*columns).toPandas().sort_values(columns[:2], ignore_index=True) for r in (again, straight))
    pd.testing.assert_frame_equal(a, b)
    pd.testing.assert_frame_equal(again.summary, straight.summary, check_exact=True)


@pytest.mark.parametrize("way", ["Spark's shuffle", "chromosomes in pieces", "a stretch a task"])
def test_however_rows_are_brought_together_every_bit_is_the_same(small, tmp_path, monkeypatch, way):
    straight = gs.mtag(small, TRAITS[:3], sigma=np.eye(3))
    if way == "Spark's shuffle":
        monkeypatch.setenv("GSEM_SPARK_DIRECT", "0")
    elif way == "chromosomes in pieces":
        monkeypatch.setattr(spans, "SPAN_BYTES", 1_000)
    else:
        monkeypatch.setattr(stretches, "TASK_CELLS", 1)
    ws = gs.Workspace.create(str(tmp_path / "ws"), "parquet", small.spark)
    for trait in TRAITS[:3]:
        put_trait(ws, trait, golden_rows(trait, small_table()).sample(frac=1.0, random_state=1))
    other = gs.mtag(ws, TRAITS[:3], sigma=np.eye(3))
    a, b = (r.results().drop("run_id").toPandas().sort_values(["trait", "snp"], ignore_index=True) for r in (other, straight))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    pd.testing.assert_frame_equal(other.summary, straight.summary, check_exact=True)
    assert not list((tmp_path / "ws").rglob("*.arrow"))


def test_sigma_is_the_same_whoever_brings_ld_scores_to_the_snps(golden, monkeypatch):
    direct = gs.mtag(golden, TRAITS[:2], n_min=1)
    monkeypatch.setenv("GSEM_SPARK_DIRECT", "0")
    elsewhere = gs.mtag(gs.Workspace.open(golden.location, golden.spark), TRAITS[:2], n_min=2)
    np.testing.assert_array_equal(matrix(direct, "sigma"), matrix(elsewhere, "sigma"))


EYE = ((1.0, 0.0), (0.0, 1.0))
BAD = {
    "one trait": (("AAA",), {"sigma": [[1.0]]}, DataError, "at least 2 traits"),
    "an unknown trait": (("AAA", "ZZZ"), {"sigma": EYE}, DataError, "no summary statistics of ZZZ"),
    "a trait named twice": (("AAA", "AAA"), {"sigma": EYE}, ConfigError, "named twice"),
    "sigma of the wrong shape": (("AAA", "BBB"), {"sigma": np.eye(3)}, ModelError, "Sigma has the shape 3 × 3"),
    "sigma that is asymmetric": (("AAA", "BBB"), {"sigma": [[1, 0.2], [0.1, 1]]}, ModelError, "not symmetric"),
    "omega of the wrong shape": (("AAA", "BBB"), {"sigma": EYE, "omega": [[1.0]]}, ModelError, "Omega has the shape"),
    "omega that is asymmetric": (("AAA", "BBB"), {"sigma": EYE, "omega": [[1, 0.2], [0.1, 1]]}, ModelError, "not symmetric"),
    "rows of unequal length": (("AAA", "BBB"), {"sigma": [[1, 0.2], [0.1]]}, ConfigError, "sigma"),
    "a negative variance": (("AAA", "BBB"), {"sigma": [[-1, 0], [0, 1]]}, ModelError, "not positive: AAA"),
    "equal_h2 alone": (("AAA", "BBB"), {"sigma": EYE, "equal_h2": True}, ConfigError, "equal_h2 needs perfect_gencov"),
    "no LD scores": (("AAA", "BBB"), {}, DataError, "no LD scores of panel 'eur'"),
    "an unknown setting": (("AAA", "BBB"), {"sigma": EYE, "nmin": 3}, ConfigError, "nmin"),
    "two filters at once": (("AAA", "BBB"), {"sigma": EYE, "n_near_mode": 0.1, "n_near_mode_distance": 5}, ConfigError, "both"),
    "nothing passes": (("AAA", "BBB"), {"sigma": EYE, "n_max": 10, "n_min": None}, DataError, "no SNP passes the filters"),
    "a matrix file that is not there": (("AAA", "BBB"), {"sigma": "no/such/file.txt"}, ConfigError, "cannot be read"),
    "a frame without the trait": (("AAA", "BBB"), {"sigma": pd.DataFrame(1.0, ["AAA"], ["AAA"])}, ConfigError, "lacks BBB"),
    "a variance that Sigma eats up": (("AAA", "BBB"), {"sigma": np.eye(2) * 50}, ModelError, "Omega has variances"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_told_and_leaves_nothing_behind(small, case):
    traits, settings, kind, words = BAD[case]
    before = commits(small)
    with pytest.raises(kind) as error:
        gs.mtag(small, traits, **settings)
    assert words in str(error.value)
    after = commits(small)
    assert {t for t in after if after[t] != before[t]} <= {"runs"}


@pytest.mark.parametrize(("change", "words"), [
    ("n", "no SNP has a sample size"), ("snp", "no SNP is in all of AAA, BBB"), ("alleles", "have other alleles than in AAA"),
])  # fmt: skip
def test_traits_that_do_not_fit_together(parquet_workspace, change, words):
    ws = parquet_workspace
    put_trait(ws, "AAA", golden_rows("AAA", small_table()))
    rows = golden_rows("BBB", small_table())
    changed = {"n": {"n": None}, "snp": {"snp": "x" + rows["snp"]}, "alleles": {"a1": "ACT", "a2": "A"}}[change]
    put_trait(ws, "BBB", rows.assign(**changed))
    with pytest.raises(DataError, match=words) as error:
        gs.mtag(ws, ["AAA", "BBB"], sigma=np.eye(2))
    assert error.value.remedy
    assert not ws.exists("mtag_models")
    assert not ws.exists("mtag_results")


def test_weak_traits_and_repairs_are_said_with_numbers(small):
    run = gs.mtag(small, TRAITS[:3], sigma=np.eye(3), omega=[[4e-6, 4.2e-6, 1e-7], [4.2e-6, 4e-6, 1e-7], [1e-7, 1e-7, 1e-6]])
    said = " | ".join(run.warnings)
    assert "Omega is not positive semidefinite" in said
    assert "AAA and CCC have a genetic correlation of 0.050" in said


def test_max_fdr_is_that_of_the_array_function(small, monkeypatch):
    from gsem_spark.steps.mtag import fdr as mtag_fdr

    run = gs.mtag(small, TRAITS[:3], sigma=np.eye(3))
    monkeypatch.setattr(mtag_fdr, "PIECE_POINTS", 37)
    found = run.max_fdr(6, p_threshold=1e-4)
    wanted = pure.max_fdr(matrix(run, "omega"), matrix(run, "sigma"), run.facts.n_mean, intervals=6, p_threshold=1e-4)
    table = found.table()
    assert list(table["trait"]) == list(TRAITS[:3])
    np.testing.assert_array_equal(table["max_fdr"], wanted.fdr)
    np.testing.assert_array_equal(table["grid_index"], wanted.index)
    assert table["searched"].tolist() == [wanted.searched] * 3
    few = run.max_fdr(6, p_threshold=1e-4, states=["FFF", "TTT", "TFF"])
    assert few.fdr["AAA"] <= found.fdr["AAA"]
    share = wanted.probabilities[0] @ wanted.states
    near = run.max_fdr(6, p_threshold=1e-4, causal_share=tuple(share))
    assert near.fdr["AAA"] == found.fdr["AAA"]
    assert near.table()["searched"].tolist() == [wanted.searched] * 3
    fitted = mtag_fdr._fitted_shares(small, run.run_id, TRAITS[:3])
    table = small_table()
    for t, trait in enumerate(TRAITS[:3]):
        np.testing.assert_allclose(fitted[t], pure.spike_slab(table[f"Z{trait}"], table[f"N{trait}"]).causal_share, rtol=1e-4)
    with pytest.raises(ConfigError, match="is not a state of 3 traits"):
        run.max_fdr(6, states=["TT"])
    with pytest.raises(DataError, match="is not in the ledger"):
        gs.max_fdr(small, "mtag-none")


def test_a_model_taken_away_is_made_again(small):
    run = gs.mtag(small, TRAITS[:2], sigma=np.eye(2), maf_min=0.2)
    emptied(small, "mtag_models", None)
    assert gs.mtag(small, TRAITS[:2], sigma=np.eye(2), maf_min=0.2).report.status == "done"
    assert run.facts.n_snps < N_SMALL

