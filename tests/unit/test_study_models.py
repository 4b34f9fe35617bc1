"""Models in a study file: as text, as a file, with settings; and what is wrong with them is said before anything runs."""

from pathlib import Path

import pytest

from gsem_spark.errors import ConfigError
from gsem_spark.study import load_study, plan_study
from gsem_spark.study.model import Study

TWO = "F1 =~ AA + BB + CC\nF2 =~ DD + EE + FF\n"
HEAD = """\
workspace: out
references: {variants: ref.tsv, ld_scores: ld}
traits:
  - {name: AA, file: a.tsv}
  - {name: BB, file: a.tsv}
  - {name: CC, file: a.tsv}
  - {name: DD, file: a.tsv}
  - {name: EE, file: a.tsv}
  - {name: FF, file: a.tsv}
"""
GOOD = HEAD + """\
models:
  one: F1 =~ AA + BB + CC + DD
  two: models/two.lav
  mediation:
    model: |
      CC ~ b*BB
      BB ~ a*AA
      ind := a*b
    estimation: ML
    std_lv: true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ref.tsv", "a.tsv"):
        (tmp_path / name).write_text("SNP A1 A2\n", encoding="utf-8")
    for name in ("ld", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "two.lav").write_text(TWO, encoding="utf-8")
    return tmp_path


def load(folder: Path, text: str, *overrides: str) -> Study:
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return load_study(folder / "study.yaml", overrides)


def refused(folder: Path, text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return caught.value


def test_text_file_and_settings(folder):
    study = load(folder, GOOD)
    one, two, mediation = study.configs_of("models")
    assert (one.name, one.model, one.estimation) == ("one", "F1 =~ AA + BB + CC + DD", "DWLS")
    assert (two.name, two.model) == ("two", TWO)
    assert (mediation.estimation, mediation.std_lv) == ("ML", True)
    assert mediation.model.endswith("ind := a*b\n")
    assert "models" in study.chosen_steps()
    assert [p.section for p in plan_study(study)].count("models") == 1


def test_a_study_without_models_has_no_such_step(folder):
    study = load(folder, HEAD)
    assert "models" not in study.chosen_steps()
    with pytest.raises(ConfigError, match="the study has no models"):
        study.chosen_steps(["models"])


def test_settings_from_the_command_line(folder):
    assert load(folder, GOOD, "models.mediation.estimation=DWLS").configs_of("models")[2].estimation == "DWLS"


@pytest.mark.parametrize(("old", "new", "where", "says"), [
    ("two.lav", "tow.lav", "line 12, key models.two", "there is no such file"),
    ("AA + BB + CC + DD", "AA + BB + XX", "line 11, key models.one", "model 'one': model line 1, column 17: 'XX' is neither"),
    ("a*AA", "a**AA", "line 13, key models.mediation", "model 'mediation': model line 2, column"),
    ("estimation: ML", "estimation: ULS", "key models.mediation.estimation", "'ULS' is not one of DWLS, ML"),
    ("std_lv", "stdlv", "key models.mediation.stdlv", "unknown key 'stdlv'"),
    ("    model: |", "    syntax: |", "key models.mediation", "unknown key 'syntax'"),
    ("  one: F1 =~ AA + BB + CC + DD", "  one: [1, 2]", "line 11, key models.one", "it has keys of its own"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_line_and_key(folder, old, new, where, says):
    error = refused(folder, GOOD.replace(old, new))
    assert says in error.what
    assert where in error.where or where in error.what


def test_unknown_key_of_a_model_lists_the_known_ones(folder):
    assert "std_lv" in refused(folder, GOOD.replace("std_lv", "stdlv")).remedy


def test_empty_model_file(folder):
    (folder / "models" / "two.lav").write_text("\n", encoding="utf-8")
    assert "the model file is empty" in refused(folder, GOOD).what
