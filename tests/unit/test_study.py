"""The study file: what is wrong in it is said with file, line, key and remedy."""

from pathlib import Path

import pytest

from gsem_spark.demo import data_folder
from gsem_spark.errors import ConfigError
from gsem_spark.study import load_study, plan_study
from gsem_spark.study.source import StudySource, dotted, expand

DEMO = Path(__file__).parents[2] / "conf" / "studies" / "demo.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    for name in ("ref.tsv", "a.tsv", "b.tsv"):
        (tmp_path / name).write_text("SNP A1 A2\n", encoding="utf-8")
    (tmp_path / "ld").mkdir()
    return tmp_path


GOOD = """\
workspace: out
references:
  variants: ref.tsv
  ld_scores: ld
traits:
  - name: AA
    file: a.tsv
  - {name: BB, file: b.tsv, scale: logistic, n: 1000}
gwas:
  gc: conserv
"""


def error_of(folder: Path, text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_study(write(folder, text), overrides)
    return caught.value


def test_demo_study_loads_and_every_key_is_explained():
    study = load_study(DEMO)
    assert study.trait_names == ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
    assert study.traits[0].file == str(data_folder() / "raw" / "AAA.OR.tsv.gz")
    lines = DEMO.read_text(encoding="utf-8").splitlines()
    assert sum(line.strip().startswith("#") for line in lines) > 35
    assert [p.step for p in plan_study(study)][:2] == ["load_variants", "load_ld_scores"]


def test_paths_start_at_the_study_files_folder(files):
    study = load_study(write(files, GOOD))
    assert study.workspace == str(files / "out")
    assert study.references.variants == str(files / "ref.tsv")
    assert study.gwas.gc == "conserv"
    assert study.traits[1].n == 1000


def test_overrides_win_and_start_at_the_working_folder(files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    changes = ["gwas.gc=none", "traits.BB.n=5", "traits.0.n=7", "workspace=here", "ldsc.n_blocks=100"]
    study = load_study(write(files, GOOD), changes)
    assert (study.gwas.gc, study.traits[1].n, study.traits[0].n, study.ldsc.n_blocks) == ("none", 5, 7, 100)
    assert study.workspace == str(tmp_path / "here")


@pytest.mark.parametrize("workspace", ["main.gsem", "s3a://bucket/ws", "dbfs:/ws"])
def test_catalog_names_and_other_file_systems_are_left_alone(files, workspace):
    assert load_study(write(files, GOOD.replace("workspace: out", f"workspace: {workspace}"))).workspace == workspace


def test_unknown_key_names_line_and_nearest(files):
    error = error_of(files, GOOD.replace("gc: conserv", "gcc: conserv"))
    assert "study.yaml, line 10, key gwas.gcc" in error.where
    assert "'gcc'" in error.what
    assert "did you mean 'gc'?" in error.remedy
    assert error.exit_code == 2


def test_wrong_value_names_what_is_allowed(files):
    error = error_of(files, GOOD.replace("conserv", "conservative"))
    assert error.what == "'conservative' is not one of standard, conserv, none"
    assert "line 10" in error.where
    assert "conserv" in error.remedy


def test_missing_key(files):
    error = error_of(files, GOOD.replace("    file: a.tsv\n", ""))
    assert "'file' is missing" in error.what
    assert "line 6, key traits[0]" in error.where


def test_absent_file_names_its_line(files):
    error = error_of(files, GOOD.replace("b.tsv", "c.tsv"))
    assert "there is no such file" in error.what
    assert "c.tsv" in error.what
    assert "line 8, key traits[1].file" in error.where


def test_several_problems_are_told_at_once(files):
    error = error_of(files, GOOD.replace("gc: conserv", "gcc: conserv").replace("n: 1000", "n: -1"))
    assert "2 things are wrong" in error.what
    assert "gwas.gcc" in error.what
    assert "traits[1].n" in error.what


def test_trait_named_twice(files):
    error = error_of(files, GOOD.replace("name: BB", "name: AA"))
    assert "'AA' is named twice" in error.what
    assert "traits[1].name" in error.where


def test_factor_traits_must_be_traits(files):
    error = error_of(files, GOOD + "common_factor:\n  traits: [AA, CC]\n")
    assert "'CC' is not a trait of this study" in error.what
    assert "common_factor.traits[1]" in error.where


def test_prevalences_go_together(files):
    error = error_of(files, GOOD.replace("n: 1000", "sample_prevalence: 0.5"))
    assert "give both or neither" in error.what
    assert "line 8" in error.where


def test_check_of_a_step_across_fields_has_its_line(files):
    error = error_of(files, GOOD + "ldsc:\n  chromosomes: []\n")
    assert "selects no chromosome" in error.what
    assert "ldsc.chromosomes" in error.where


@pytest.mark.parametrize("name", ["no", "on", "1e5"])
def test_names_that_yaml_reads_otherwise(files, name):
    error = error_of(files, GOOD.replace("name: AA", f"name: {name}"))
    assert "line 6" in error.where
    assert "quotes" in error.remedy or "letter" in error.what


def test_key_twice(files):
    error = error_of(files, GOOD + "gwas:\n  gc: none\n")
    assert "stands twice (first on line 9)" in error.what
    assert "line 11" in error.where


def test_not_yaml(files):
    error = error_of(files, "workspace: [a\nb: c")
    assert "not valid YAML" in error.what
    assert "line" in error.where


def test_not_a_mapping_and_empty(files):
    assert "`key: value` lines" in error_of(files, "- a\n- b\n").what
    assert "things are wrong" in error_of(files, "").what


def test_section_of_comments_is_an_empty_one(files):
    assert load_study(write(files, GOOD + "ldsc:\n  # n_blocks: 100\n")).ldsc.n_blocks == 200


def test_absent_study_file_suggests_the_nearest(files):
    write(files, GOOD)
    with pytest.raises(ConfigError) as caught:
        load_study(files / "studdy.yaml")
    assert "study.yaml" in caught.value.remedy


@pytest.mark.parametrize("setting", ["gwas.gc", "=3", "traits.CC.n=3", "workspace.x=1"])
def test_bad_override(files, setting):
    assert "--set" in error_of(files, GOOD, setting).where


def test_wrong_override_names_the_argument(files):
    assert error_of(files, GOOD, "gwas.gc=loud").where == "--set gwas.gc=loud"


def test_environment_variables(files, monkeypatch):
    monkeypatch.setenv("RAW", str(files))
    assert load_study(write(files, GOOD.replace("b.tsv", '"${RAW}/b.tsv"'))).traits[1].file == str(files / "b.tsv")
    error = error_of(files, GOOD.replace("b.tsv", '"${RAWW}/b.tsv"'))
    assert "'RAWW' is not set" in error.what
    assert "traits[1].file" in error.where


def test_steps_are_chosen_in_their_order(files):
    study = load_study(write(files, GOOD))
    assert study.chosen_steps(["gwas", "ldsc"]) == ("ldsc", "gwas")
    with pytest.raises(ConfigError, match="no step 'gwa'"):
        study.chosen_steps(["gwa"])


def test_expand_and_dotted():
    assert expand("package:demo/raw/x", demo=Path("/d")) == "/d/raw/x"
    assert expand("${demo}/raw", demo=Path("/d")) == "/d/raw"
    assert dotted(("traits", 2, "file")) == "traits[2].file"


def test_lines_are_those_of_the_keys():
    source = StudySource.parse("a:\n  - b: 1\n    c: 2\n")
    assert source.lines[("a", 0, "c")] == 3
