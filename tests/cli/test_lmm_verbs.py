"""``lmm``, ``mtlmm`` and ``bootstrap`` as they are typed, on a small cohort, in this process."""

from pathlib import Path

import pandas as pd
import pytest
from mixed_model_files import HIT, MixedData
from verb_runner import type_in

import gsem_spark as gs


@pytest.fixture(scope="module")
def place(spark, tmp_path_factory):
    root = tmp_path_factory.mktemp("lmm_cli")
    data = MixedData.draw()
    bed, phenotypes = data.write(root)
    ws = gs.Workspace.create(str(root / "ws"), "parquet", spark)
    gs.genotypes(ws, bed, "families", keep_monomorphic=True)
    gs.kinship(ws, "families", "standardised")
    return ws.location, phenotypes


@pytest.mark.slow
def test_a_scan_and_what_it_refuses(place):
    location, phenotypes = place
    status, said = type_in("lmm", location, phenotypes, "--formula", "y ~ sex + age", "--chromosomes", "1-2", "--quiet")
    assert status == 0, said
    for words in ("null models (first chromosome)", "tests, run lmm-", f"rs{HIT}", "1 of 91 samples of phenotypes.tsv"):
        assert words in said
    status, said = type_in("lmm", location, phenotypes, "--traits", "bmi", "--quiet")
    assert (status, "there is no column 'bmi'" in said) == (4, True)
    status, said = type_in("lmm", location, phenotypes, "--traits", "y", "--chromosomes", "one", "--quiet")
    assert (status, "write it as 1,2,5-9" in said) == (2, True)
    status, said = type_in("lmm", location, phenotypes, "--traits", "y", "--exact", "--step", 2, "--quiet")
    assert (status, "exact tests are of single variants" in said) == (2, True)


@pytest.mark.slow
def test_several_traits_and_the_bootstrap(place):
    location, phenotypes = place
    status, said = type_in("mtlmm", location, phenotypes, "--traits", "y,y2", "--designs", "any,common", "--quiet")
    assert status == 0, said
    for words in ("genetic covariance", "residual covariance", "common", "y,y2"):
        assert words in " ".join(said.split())
    status, said = type_in("bootstrap", location, phenotypes, "--trait", "y2", "--covar", "age", "--n", 80, "--quiet")
    assert status == 0, said
    for words in ("bootstrap of y2, 80 replicates", "95% intervals", "studentized", "hsq_p", "sigmasq_e"):
        assert words in " ".join(said.split())


@pytest.mark.slow
def test_random_terms_are_printed_with_their_tests(place):
    location, phenotypes = place
    formula = ("--formula", "y2 ~ age + (1|household)", "-q")
    status, said = type_in("bootstrap", location, phenotypes, *formula, "--n", 20, "--kind", "residual")
    assert status == 0, said
    for words in ("variance components", "household", "residual", "LRT", "an equal mixture of chi-squares", "studentized"):
        assert words in " ".join(said.split())
    status, said = type_in("lmm", location, phenotypes, *formula, "--chromosomes", "2,5")
    assert status == 0, said
    assert "LRT" in said and "household" in said
    status, said = type_in("report", location, "-q")
    assert status == 0, said
    page = Path(said.split("report: ")[1].strip()).read_text(encoding="utf-8")
    for words in ("Mixed models of y2", "household", "LRT", "Bootstraps", "by copies of"):
        assert words in page, words
    status, said = type_in("report", location, "--run", "lmm-nothing", "-q")
    assert (status, "there is no finished run 'lmm-nothing'" in said) == (4, True)


@pytest.mark.slow
def test_a_study_of_a_cohort_from_files_to_traits(spark, tmp_path):
    """Genotypes, kinship, scans, bootstrap; results enter sumstats; the same study again does nothing."""
    data = MixedData.draw()
    data.write(tmp_path)
    c = data.cohort
    pd.DataFrame({"SNP": c.snp, "A1": c.a1, "A2": c.a2, "CHR": c.chr, "BP": c.bp, "MAF": 0.3}).to_csv(
        tmp_path / "reference.tsv", sep="\t", index=False)
    (tmp_path / "study.yaml").write_text("""\
workspace: ws
format: parquet
genotypes: {files: families.bed, cohort: families}
kinship: {kind: standardised}
lmm:
  phenotypes: phenotypes.tsv
  formula: ~ age + (1|household)
  traits: [y2]
  as_trait: [Y2]
  bootstrap: {n: 20}
report: {title: Families and households}
""")
    ws = gs.Workspace.create(str(tmp_path / "ws"), "parquet", spark)
    gs.load_references(ws, variants=tmp_path / "reference.tsv")
    done = gs.run_study(tmp_path / "study.yaml")
    assert [s.step for s in done.steps] == ["genotypes", "kinship", "lmm", "munge", "lmm_bootstrap", "report"]
    assert done.lmm.summary["kinship_id"] == done.steps[1].run_id and done.lmm.summary["loco"]
    assert set(ws.read("sumstats").toPandas()["trait"]) == {"Y2"}
    assert set(done.bootstraps) == {"y2"}
    assert done.bootstraps["y2"].components()["name"].tolist() == ["kinship", "household", "residual"]
    page = Path(done.report_path).read_text(encoding="utf-8")
    assert "<h1>Families and households</h1>" in page and "Bootstraps of mixed models" in page and "household" in page
    again = gs.run_study(tmp_path / "study.yaml")
    assert {s.status for s in again.steps if s.step != "report"} == {"skipped"}
