"""Mixed models through Spark: the numbers are those of the arrays, in any blocks; samples, restart, and the way to sumstats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mixed_model_files import HIT, MixedData
from workspace_tools import Death, Killed, assert_same_tables, copied, reopened, stored

import gsem_spark as gs
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import (
    Component,
    bootstrap,
    bootstrap_components,
    centre_kinship,
    component_tests,
    fit_lmm,
    fit_multitrait,
    fit_variance_components,
    gaussianize,
    grouping_component,
    kinship_spectrum,
    scan,
    scan_multitrait,
    trait_designs,
)
from gsem_spark.steps.genotypes import index as genotype_index
from gsem_spark.steps.genotypes.kinship_files import load_matrix, load_spectrum
from gsem_spark.steps.lmm import prepare
from gsem_spark.steps.lmm.bootstrap import BootstrapStep
from gsem_spark.steps.lmm.config import BootstrapConfig
from gsem_spark.steps.lmm.step import lmm_config
from gsem_spark.steps.progress import Progress


@pytest.fixture(scope="module")
def data() -> MixedData:
    return MixedData.draw()


@pytest.fixture(scope="module")
def families(spark, data: MixedData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace with the cohort in small blocks and a kinship; and the phenotype file."""
    root = tmp_path_factory.mktemp("families")
    bed, phenotypes = data.write(root)
    ws = Workspace.create(str(root / "ws"), "parquet", spark)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genotype_index, "BLOCK_VARIANTS", 30)
        gs.genotypes(ws, bed, "families", keep_monomorphic=True)
    gs.kinship(ws, "families", "standardised")
    return ws, str(phenotypes)


def complete(data: MixedData) -> np.ndarray:
    """Samples that have y in the file: two have not."""
    return ~np.isin(data.cohort.iid, ["s4", "s50"])


def loco_kinship(ws: Workspace, keep: np.ndarray, chromosome: int) -> np.ndarray:
    kinship_id = ws.records("kinships", columns=["kinship_id"])[0]["kinship_id"]
    return centre_kinship(load_matrix(ws, kinship_id, chromosome)[np.ix_(keep, keep)])


def rows_of(run: gs.LmmRun, design: str = "effect", test: str = "wald_f") -> pd.DataFrame:
    rows = run.results().toPandas()
    return rows[(rows["design"] == design) & (rows["test"] == test)].set_index("snp")


def test_a_scan_is_that_of_the_arrays_chromosome_by_chromosome(families, data: MixedData) -> None:
    ws, phenotypes = families
    run = gs.lmm_scan(ws, phenotypes, formula="y ~ sex + age")
    keep = complete(data)
    table = data.phenotypes[keep]
    X = np.column_stack([np.ones(keep.sum()), table["sex"] == "male", table["age"]])
    found = rows_of(run)
    assert len(found) == len(data.cohort.G) and run.report.warnings == ("1 of 91 samples of phenotypes.tsv have no genotypes",)
    for chromosome in (1, 2, 5):
        on = data.cohort.chr == chromosome
        G = data.cohort.G[on][:, keep]
        wanted = scan(G.T, table["y"], X, loco_kinship(ws, keep, chromosome))
        rows = found.loc[data.cohort.snp[on]]
        for name in ("beta", "se", "stat", "neglog10p", "af"):
            np.testing.assert_allclose(rows[name].astype(float), wanted[name], rtol=1e-9, atol=1e-12, err_msg=name)
        assert rows["status"].tolist() == wanted["status"].tolist()
        assert rows["n"].tolist() == wanted["n"].tolist()
    assert (found.loc["rs5", "status"], found.loc["rs6", "status"]) == ("missing", "singular")
    assert run.hits()["snp"].tolist() == [f"rs{HIT}"]
    assert run.summary["loco"] and run.summary["status"] == {"missing": 1, "ok": len(found) - 2, "singular": 1}
    models = run.models()
    fit = fit_lmm(loco_kinship(ws, keep, 2), table["y"], X)
    row = models[models["chr"] == 2].iloc[0]
    np.testing.assert_allclose([row["hsq"], *row["beta"]], [fit.hsq, *fit.beta], rtol=1e-7)
    assert list(row["covariates"]) == ["intercept", "sex[T.male]", "age"]
    assert np.argmax(row["profile_loglik"]) == np.argmin(np.abs(np.array(row["profile_hsq"]) - fit.hsq))


@pytest.mark.slow
def test_figures_are_drawn_of_every_test(families, tmp_path: Path) -> None:
    ws, phenotypes = families
    run = gs.lmm_scan(ws, phenotypes, formula="y ~ sex + age", test=["wald_f", "score"], chromosomes=[2, 5])
    written = run.write_figures(tmp_path)
    names = {path.name for path in written}
    drawn = {f"manhattan_y_effect_{test}" for test in ("wald-f", "score")} | {"qq", "h2_profile"}
    assert names >= {name + ending for name in drawn for ending in (".png", ".svg")}
    assert any(name.startswith("effect_y_rs") for name in names)
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in written if path.suffix == ".png")
    titles = [axis.get_title(loc) for axis in run.qq().axes for loc in ("left", "center", "right")]
    assert {"y: wald_f", "y: score"} <= {title.splitlines()[0] for title in titles if title}


@pytest.mark.slow
def test_many_traits_in_one_rotation_and_other_kinds_of_tests(families, data: MixedData) -> None:
    ws, phenotypes = families
    keep = complete(data)
    together = gs.lmm_scan(ws, phenotypes, ["y2", "age"], chromosomes=[2], gaussianize=True)
    alone = gs.lmm_scan(ws, phenotypes, "y2", chromosomes=[2], gaussianize=True)
    assert together.traits == ["age", "y2"]
    both = together.results().toPandas().query("trait == 'y2'").set_index("snp").loc[rows_of(alone).index]
    np.testing.assert_allclose(both["stat"], rows_of(alone)["stat"], rtol=1e-7)
    G = data.cohort.G[data.cohort.chr == 2]
    everyone = np.ones(len(data.cohort.iid), bool)
    wanted = scan(G.T, gaussianize(data.phenotypes["y2"]), None, loco_kinship(ws, everyone, 2))
    np.testing.assert_allclose(rows_of(alone).loc[data.cohort.snp[data.cohort.chr == 2], "stat"], wanted["stat"], rtol=1e-7)

    age = data.phenotypes["age"].to_numpy()[keep]
    inter = gs.lmm_scan(ws, phenotypes, "y", inter="age", chromosomes=[5], kinship="none")
    on = data.cohort.chr == 5
    wanted = scan(data.cohort.G[on][:, keep].T, data.phenotypes["y"][keep], np.column_stack([np.ones(keep.sum()), age]),
                  inter=age, inter0=np.ones(keep.sum()))
    for design, m in (("common", 1), ("any", 2), ("interaction", 1)):
        rows = rows_of(inter, design).loc[data.cohort.snp[on]]
        part = wanted[wanted["hypothesis"] == design]
        np.testing.assert_allclose(rows["stat"], part["stat"], rtol=1e-7)
        if m == 2:
            np.testing.assert_allclose(np.stack(rows["betas"].tolist()), part[["beta_0", "beta_1"]], rtol=1e-6)
    assert inter.summary["effects"]["any"] == ["variant", "variant x age"]


@pytest.mark.slow
def test_decompositions_as_tasks_have_the_same_bits_in_any_waves_and_refuse_as_the_driver_does(families, tmp_path: Path) -> None:
    """Each chromosome, and each pattern of missing values, is decomposed by a task; death and other waves leave no trace."""
    ws, phenotypes = copied(families[0], tmp_path / "ws"), families[1]
    table = pd.read_csv(phenotypes, sep="\t")
    table.loc[table["IID"].isin(["s7", "s8", "s61"]), "y2"] = np.nan
    table.to_csv(tmp_path / "gaps.tsv", sep="\t", index=False, na_rep="NA")
    given = {"phenotypes": tmp_path / "gaps.tsv", "traits": ["y", "y2"], "covar": "age"}
    with pytest.MonkeyPatch.context() as patch:
        asked: list[int] = []
        tasks = prepare._in_tasks
        patch.setattr(prepare, "_in_tasks", lambda *a: asked.append(len(a[3])) or tasks(*a))
        run = gs.lmm_scan(ws, **given)
    assert asked == [6], "three chromosomes of two traits in one wave"
    wanted = {name: stored(ws, name) for name in ("lmm_models", "lmm_results")}
    again = copied(families[0], tmp_path / "again")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gsem_spark.steps.gwas.scan.WAVE_SNPS", 40)
        with pytest.MonkeyPatch.context() as death, pytest.raises(Killed):
            Death(death, again, 4, "after")
            gs.lmm_scan(again, **given)
        again = reopened(again)
        assert gs.lmm_scan(again, **given).summary["resumed"]
    assert_same_tables({name: stored(again, name) for name in wanted}, wanted)
    with pytest.MonkeyPatch.context() as patch:  # on the driver: the same to rounding
        patch.setattr(prepare, "TASK_SAMPLES", 0)
        alone = gs.lmm_scan(copied(families[0], tmp_path / "alone"), **given)
    rows, others = (r.results().toPandas().sort_values(["trait", "chr", "bp", "snp"], ignore_index=True) for r in (run, alone))
    np.testing.assert_allclose(rows["stat"].astype(float), others["stat"].astype(float), rtol=1e-8, atol=1e-10)
    table.assign(twin=2 * table["age"]).to_csv(tmp_path / "gaps.tsv", sep="\t", index=False, na_rep="NA")
    with pytest.raises(DataError, match="collinear covariates: twin") as error:
        gs.lmm_scan(ws, tmp_path / "gaps.tsv", "y", covar=["age", "twin"])
    assert error.value.remedy


@pytest.mark.slow
def test_exact_scans_sets_and_random_terms(families, data: MixedData, tmp_path: Path) -> None:
    ws, phenotypes = families
    on, everyone = data.cohort.chr == 5, np.ones(len(data.cohort.iid), bool)
    K, G, y2 = loco_kinship(ws, everyone, 5), data.cohort.G[on], data.phenotypes["y2"]
    tests = ["wald_f", "lrt_ml", "score"]
    exact = gs.lmm_scan(ws, phenotypes, "y2", chromosomes=[5], exact=True, test=tests)
    wanted = scan(G.T, y2, None, K, test=tests, exact=True)
    for test in tests:
        rows = rows_of(exact, test=test).loc[data.cohort.snp[on]]
        part = wanted[wanted["test"] == test]
        np.testing.assert_allclose(rows["stat"], part["stat"], rtol=1e-6)
        np.testing.assert_allclose(rows["hsq"], part["hsq"], rtol=1e-6)
    step = gs.lmm_scan(ws, phenotypes, "y2", chromosomes=[5], step=5)
    rows = rows_of(step, "set").sort_values("bp")
    assert rows["size"].tolist() == [5] * 8
    np.testing.assert_allclose(rows["stat"], scan(G.T, y2, None, K, step=5)["stat"], rtol=1e-6)
    sets = tmp_path / "sets.txt"
    names = data.cohort.snp[on]
    sets.write_text("".join(f"gene1 {s}\n" for s in names[[33, 28, 29]]) + f"gene2 {names[0]}\ngene2 rs_absent\n")
    found = gs.lmm_scan(ws, phenotypes, "y2", sets=sets, chromosomes=[5]).results().toPandas().set_index("design")
    wanted = scan(G.T, y2, None, K, sets=[[28, 29, 33], [0]])
    np.testing.assert_allclose(found.loc[["set:gene1", "set:gene2"], "stat"], wanted["stat"], rtol=1e-6)
    assert found.loc["set:gene1", ["snp", "size", "df"]].tolist() == [names[28], 3, 3]
    homes = gs.lmm_scan(ws, phenotypes, formula="y2 ~ age + (1|household)", chromosomes=[5])
    row = homes.models().iloc[0]
    assert list(row["components"]) == ["kinship", "household", "residual"] and (np.array(row["theta"]) >= 0).all()
    np.testing.assert_allclose(row["sigmasq_e"], row["theta"][2], rtol=1e-4)


@pytest.mark.slow
def test_several_traits_in_one_model_and_their_structure(families, data: MixedData) -> None:
    ws, phenotypes = families
    run = gs.mtlmm_scan(ws, phenotypes, ["y", "y2"], designs=["any", "common", "specific"], chromosomes=[5])
    keep, on = complete(data), data.cohort.chr == 5
    fit = fit_multitrait(data.phenotypes.loc[keep, ["y", "y2"]], kinship_spectrum(loco_kinship(ws, keep, 5)), traits=["y", "y2"])
    wanted = scan_multitrait(data.cohort.G[on][:, keep].T, fit, trait_designs(["y", "y2"]))
    for design in ("any", "common", "specific:y2"):
        rows = rows_of(run, design, "wald").loc[data.cohort.snp[on]]
        np.testing.assert_allclose(rows["stat"], wanted[wanted["design"] == design]["stat"], rtol=1e-5, err_msg=design)
    assert set(run.results().toPandas()["design"]) == {"any", "common", "specific:y", "specific:y2"}
    cov = run.covstruct()
    np.testing.assert_allclose(cov.S, fit.Cg, rtol=1e-6)
    np.testing.assert_allclose(cov.V, fit.Cg_cov, rtol=1e-5)
    assert cov.traits == ("y", "y2") and fit.covstruct().k == 2


@pytest.mark.slow
def test_bootstrap_is_that_of_one_process(families, data: MixedData) -> None:
    ws, phenotypes = families
    run = gs.lmm_bootstrap(ws, phenotypes, n=150, seed=4, formula="y2 ~ age")
    everyone = np.ones(len(data.cohort.iid), bool)
    kinship_id = ws.records("kinships", columns=["kinship_id"])[0]["kinship_id"]
    X = np.column_stack([np.ones(everyone.sum()), data.phenotypes["age"]])
    fit = fit_lmm(load_spectrum(ws, kinship_id), data.phenotypes["y2"], X, names=["intercept", "age"])
    here = bootstrap(fit, 150, seed=4)
    np.testing.assert_array_equal(run.replicates().to_numpy(), here.replicates)
    wanted = here.intervals().set_index(["name", "interval"])
    found = run.intervals().set_index(["name", "interval"]).loc[wanted.index]
    np.testing.assert_array_equal(found[["lower", "upper"]].to_numpy(float), wanted[["lower", "upper"]].to_numpy())


@pytest.mark.slow
@pytest.mark.parametrize("kinship", [None, "none"])
def test_bootstrap_with_random_terms_in_any_number_of_tasks(families, data: MixedData, kinship, monkeypatch) -> None:
    ws, phenotypes = families
    formula, n = "y2 ~ age + (1|household)", 22
    run = gs.lmm_bootstrap(ws, phenotypes, n=n, seed=6, formula=formula, kind="residual", reml=False, kinship=kinship)
    table = data.phenotypes
    X = np.column_stack([np.ones(len(table)), table["age"]])
    terms = [grouping_component("household", table["household"])]
    if kinship is None:
        kinship_id = ws.records("kinships", columns=["kinship_id"])[0]["kinship_id"]
        terms.insert(0, Component("kinship", load_matrix(ws, kinship_id)))
    fit = fit_variance_components(table["y2"], X, terms, reml=False, names=["intercept", "age"])
    here = bootstrap_components(fit, X, terms, n, 6, "residual", table["y2"])
    np.testing.assert_allclose(run.replicates().to_numpy(float), here.replicates, rtol=1e-5, atol=1e-7)
    wanted = here.intervals().set_index(["name", "interval"])
    found = run.intervals().set_index(["name", "interval"]).loc[wanted.index]
    np.testing.assert_allclose(found[["lower", "upper"]].to_numpy(float), wanted[["lower", "upper"]], rtol=1e-5, atol=1e-6)
    tests = component_tests(fit, table["y2"], X, terms)
    np.testing.assert_allclose(run.components()["p"][:-1], tests["p"], rtol=1e-6)
    assert run.components()["name"].tolist() == [*(t.name for t in terms), "residual"]
    bits = run.replicates().to_numpy(float).tobytes()
    monkeypatch.setattr("gsem_spark.steps.lmm.bootstrap.COMPONENTS_CHUNK", 9)
    monkeypatch.setattr("gsem_spark.steps.lmm.bootstrap.TASKS_PER_CORE", 1)
    step = BootstrapStep(lmm_config(phenotypes, None, BootstrapConfig, n=n, seed=6, formula=formula, kind="residual", reml=False,
                                    kinship=kinship))
    plan = step.plan(ws)
    assert plan.run_id == run.run_id and plan.done
    step.execute(ws, plan, Progress())
    assert run.replicates().to_numpy(float).tobytes() == bits
    assert not list((Path(ws.location) / "arrays" / "plans").glob("*"))


@pytest.mark.slow
def test_after_a_death_finished_chromosomes_stay_and_results_enter_sumstats(families, data: MixedData, tmp_path: Path,
                                                                            monkeypatch) -> None:
    ws, phenotypes = copied(families[0], tmp_path / "ws"), families[1]
    monkeypatch.setattr("gsem_spark.steps.gwas.scan.WAVE_SNPS", 40)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        Death(patch, ws, 4, "after")
        gs.lmm_scan(ws, phenotypes, "y2", covar="age")
    ws = reopened(ws)
    run = gs.lmm_scan(ws, phenotypes, "y2", covar="age")
    assert run.summary["resumed"] == [1]
    assert len(rows_of(run)) == len(data.cohort.G)
    assert not list((Path(ws.location) / "arrays" / "plans").glob("*"))
    c = data.cohort
    swapped = np.arange(len(c.snp)) % 2 == 0
    pd.DataFrame({"SNP": c.snp, "A1": np.where(swapped, c.a2, c.a1), "A2": np.where(swapped, c.a1, c.a2), "CHR": c.chr,
                  "BP": c.bp, "MAF": 0.3}).to_csv(tmp_path / "reference.tsv", sep="\t", index=False)
    gs.load_references(ws, variants=tmp_path / "reference.tsv")
    gs.lmm_scan(ws, phenotypes, "y2", covar="age", as_trait="Second")
    entered = ws.read("sumstats").toPandas().set_index("snp")
    assert set(entered["trait"]) == {"Second"}
    found = rows_of(run).loc[entered.index]
    sign = np.where(entered["a1"] == found["a1"], 1, -1)
    z = sign * found["beta"] / found["se"]
    assert (np.sign(entered["z"]) == np.sign(z)).all() and np.corrcoef(entered["z"], z)[0, 1] > 0.999
    np.testing.assert_allclose(entered["neglog10p"], found["neglog10p"].astype(float), rtol=1e-6)
    assert ws.records("traits")[0]["trait"] == "Second"


def test_bad_input_is_named(families, tmp_path: Path) -> None:
    ws, phenotypes = families
    with pytest.raises(DataError, match="no column 'bmi'"):
        gs.lmm_scan(ws, phenotypes, "bmi")
    with pytest.raises(DataError, match="holds what is no number: h"):
        gs.lmm_scan(ws, phenotypes, "household")
    with pytest.raises(ConfigError, match="unknown test 'walt'"):
        gs.lmm_scan(ws, phenotypes, "y", test="walt")
    with pytest.raises(ConfigError, match="at least two"):
        gs.mtlmm_scan(ws, phenotypes, ["y"])
    strangers = tmp_path / "strangers.txt"
    strangers.write_text("IID y\nx1 0.5\nx2 1.5\n")
    with pytest.raises(DataError, match="90 of 90 samples of the genotypes are not among the strangers"):
        gs.lmm_scan(ws, strangers, "y")
    twice = tmp_path / "twice.txt"
    twice.write_text("IID,y\ns1,0.5\ns1,1.5\n")
    with pytest.raises(DataError, match="occur more than once: s1"):
        gs.lmm_scan(ws, twice, "y")
    torn = tmp_path / "torn.txt"
    torn.write_text("FID IID y age\nfam s1 0.5 30\nfam s2  31\n")
    with pytest.raises(DataError, match="line 3 has 3 fields, the header 4"):
        gs.lmm_scan(ws, torn, "y")
    constant = tmp_path / "constant.csv"
    constant.write_text("IID,y\n" + "".join(f"s{i},1\n" for i in range(40)))
    with pytest.raises(DataError, match="constant"):
        gs.lmm_scan(ws, constant, "y")
