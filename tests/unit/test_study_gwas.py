"""Models and Wald tests in a study's GWAS: by name, as text, as files; what is wrong with them is said before anything runs."""

import pytest
from test_study_models import HEAD, folder, load, refused  # noqa: F401 - folder is a fixture

from gsem_spark.steps.gwas.common_factor import GwasConfig
from gsem_spark.steps.gwas.user_gwas import UserGwasConfig
from gsem_spark.study import plan_study

MODELS = HEAD + """\
models:
  without: F1 =~ AA + BB + CC
  one:
    model: |
      F1 =~ AA + BB + CC
      F1 ~ SNP
    estimation: ML
  direct: "F1 =~ AA + BB + CC\\nF1 ~ SNP\\nCC ~ SNP"
"""
GWAS = MODELS + """\
gwas:
  models: [common_factor, one, direct, "F1 =~ DD + EE + FF\\nF1 ~ SNP", models/three.lav]
  sub: F1~SNP
  gc: conserv
  omnibus: true
  max_failed: 0.01
wald:
  contrasts:
    first: {AA: 1, BB: -1}
    rows: [[1, 0, 0, 0, 0, -1]]
"""


@pytest.fixture
def three(folder):  # noqa: F811
    (folder / "models" / "three.lav").write_text("F1 =~ BB + CC + DD\nF1 ~ SNP\n", encoding="utf-8")
    return folder


def test_models_of_every_kind_with_their_settings(three):
    study = load(three, GWAS)
    factor, one, direct, text, file = study.configs_of("gwas")
    assert isinstance(factor, GwasConfig) and (factor.gc, factor.omnibus, factor.max_failed) == ("conserv", True, 0.01)
    assert [c.name for c in (one, direct, text, file)] == ["one", "direct", "model_4", "three"]
    assert all(isinstance(c, UserGwasConfig) and c.sub == ("F1~SNP",) and c.gc == "conserv" for c in (one, direct, text, file))
    assert (one.estimation, direct.estimation) == ("ML", "DWLS")
    assert [c.name for c in study.configs_of("models")] == ["without"], "models of the SNP are for the GWAS"
    assert study.configs_of("wald")[0].contrasts == {"first": {"AA": 1.0, "BB": -1.0}, "rows": ((1.0, 0.0, 0.0, 0.0, 0.0, -1.0),)}
    assert {"gwas", "wald", "models"} <= set(study.chosen_steps())
    assert "wald" in {p.section for p in plan_study(study)}


def test_without_models_it_is_the_common_factor_as_before(three):
    study = load(three, HEAD + "gwas: {gc: none}\n")
    assert study.configs_of("gwas") == (GwasConfig(traits=study.trait_names, gc="none"),)
    assert "wald" not in study.chosen_steps()
    assert load(three, HEAD + "gwas: {models: models/three.lav}\n").configs_of("gwas")[0].name == "three"


def test_a_study_whose_models_are_all_for_the_gwas_fits_none(three):
    study = load(three, MODELS.replace("  without: F1 =~ AA + BB + CC\n", "") + "gwas: {models: [one]}\n")
    assert "models" not in study.chosen_steps()
    assert study.configs_of("models") == ()


@pytest.mark.parametrize(("old", "new", "says"), [
    ("one, direct,", "one, dirct,", "'dirct'"),
    ("models/three.lav", "models/four.lav", "no such file"),
    ("one, direct,", "without,", "no path from SNP"),
    ("sub: F1~SNP", "sub: F2~SNP", "no row 'F2~SNP'"),
    ("DD + EE + FF", "DD + EE + GG", "GG"),
    ("gc: conserv", "gc: loud", "standard"),
    ("max_failed: 0.01", "max_failed: 7", "max_failed"),
    ("contrasts:", "contrast:", "contrasts"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(three, old, new, says):
    assert old in GWAS
    error = refused(three, GWAS.replace(old, new))
    assert says in str(error)


def test_settings_of_models_without_models_are_refused(three):
    error = refused(three, HEAD + "gwas: {sub: F1~SNP}\n")
    assert "sub says something of a model" in str(error)
