"""Study files of a cohort with genotypes: what its sections become, and what is wrong in them."""

from pathlib import Path

import pytest

from gsem_spark.errors import ConfigError
from gsem_spark.steps.lmm.config import BootstrapConfig, LmmConfig, MtlmmConfig
from gsem_spark.study import load_study, plan_study

COHORT = """\
workspace: out
genotypes: {files: 'geno/chr{chr}.bed', cohort: ukb, maf: 0.01}
kinship: {kind: standardised}
lmm:
  phenotypes: pheno.tsv
  formula: ~ sex + age
  traits: [bmi, whr]
  as_trait: [BMI, WHR]
  multitrait: {designs: [any, specific]}
  bootstrap: {n: 200}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pheno.tsv").write_text("IID\tbmi\twhr\tsex\tage\n", encoding="utf-8")
    return tmp_path


def study_of(folder: Path, text: str, *changes: str):
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(path, changes)


def test_the_sections_become_the_configs_of_their_steps(folder):
    study = study_of(folder, COHORT)
    assert study.chosen_steps() == ("genotypes", "kinship", "lmm")
    assert study_of(folder, COHORT + "report: {title: A cohort}\n").chosen_steps() == ("genotypes", "kinship", "lmm", "report")
    assert [p.step for p in plan_study(study)] == ["genotypes", "kinship", "lmm"]
    (genotypes,), (kinship,) = study.configs_of("genotypes"), study.configs_of("kinship")
    assert genotypes.files == (str(folder / "geno/chr{chr}.bed"),) and kinship.cohort == "ukb"
    lmm, mtlmm, *bootstraps = study.configs_of("lmm")
    assert isinstance(lmm, LmmConfig) and isinstance(mtlmm, MtlmmConfig)
    assert (lmm.cohort, lmm.phenotypes, mtlmm.designs) == ("ukb", str(folder / "pheno.tsv"), ("any", "specific"))
    assert all(isinstance(b, BootstrapConfig) and b.n == 200 for b in bootstraps)
    assert [b.traits for b in bootstraps] == [("bmi",), ("whr",)]
    assert study.trait_names == ("BMI", "WHR")
    lone = study_of(folder, COHORT, "genotypes.files=[a.bed, b.bed]", "lmm.bootstrap=null", "lmm.multitrait=null")
    assert len(lone.configs_of("genotypes")[0].files) == 2 and len(lone.configs_of("lmm")) == 1


def test_what_is_wrong_is_said_by_line_and_key(folder):
    for text, words in ((COHORT.replace("formula: ~", "formula: "), "is no formula"),
                        (COHORT.replace("pheno.tsv", "gone.tsv"), "gone.tsv"), (COHORT.replace("{n: 200}", "{m: 200}"), "m"),
                        (COHORT.replace("lmm:", "lmn:"), "lmn")):
        with pytest.raises(ConfigError) as error:
            study_of(folder, text)
        assert words in error.value.what, text
    with pytest.raises(ConfigError, match="no section kinship"):
        study_of(folder, COHORT.replace("kinship:", "# kinship:")).chosen_steps(["kinship"])
    with pytest.raises(ConfigError, match="traits") as error:
        study_of(folder, "workspace: out\n")
    assert "lmm" in str(error.value)
