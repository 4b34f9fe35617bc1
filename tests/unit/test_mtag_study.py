"""The sections ``mtag``, ``reconcile`` and ``review`` of a study file: run on request, checked with line and remedy."""

import pytest

from gsem_spark.errors import ConfigError
from gsem_spark.steps.mtag.fdr import FdrConfig
from gsem_spark.steps.mtag.step import MtagConfig
from gsem_spark.study import load_study

GOOD = """\
workspace: out
references:
  variants: ref.tsv
  ld_scores: ld
  panel: mine
traits:
  - {name: AA, file: a.tsv}
  - {name: BB, file: b.tsv}
  - {name: CC, file: b.tsv}
"""
BASE = ("references", "munge", "ldsc", "common_factor", "gwas", "report")


@pytest.fixture
def study(tmp_path):
    """Makes a study of the good lines and more."""
    for name in ("ref.tsv", "a.tsv", "b.tsv"):
        (tmp_path / name).write_text("SNP A1 A2\n", encoding="utf-8")
    (tmp_path / "ld").mkdir()

    def make(more=""):
        path = tmp_path / "study.yaml"
        path.write_text(GOOD + more, encoding="utf-8")
        return load_study(path)

    return make


def test_they_run_only_where_their_section_is_there(study):
    assert study().chosen_steps() == BASE
    assert study("mtag: {}\n").chosen_steps() == (*BASE[:5], "mtag", "report")
    assert study("mtag:\nreconcile:\n  # all defaults\nreview: {}\n").chosen_steps() == (
        *BASE[:5], "mtag", "reconcile", "review", "report"
    )  # fmt: skip
    assert study("mtag: {}\nsteps: [munge]\n").chosen_steps() == ("munge",)


def test_settings_become_the_steps_configs(study, tmp_path):
    made = study("common_factor: {traits: [AA, BB]}\nmtag:\n  maf_min: 0.05\n  max_fdr: {intervals: 4, states: [FF, TT]}\n")
    assert made.configs_of("mtag") == (
        MtagConfig(traits=("AA", "BB"), panel="mine", maf_min=0.05), FdrConfig(intervals=4, states=("FF", "TT"))
    )  # fmt: skip
    (made_of := tmp_path / "sigma.txt").write_text("1 0.1\n0.1 1\n", encoding="utf-8")
    fixed = study("mtag: {traits: [CC, AA], sigma: sigma.txt, omega: [[1, 0], [0, 1]]}\n")
    assert fixed.mtag.sigma == str(made_of)
    assert fixed.configs_of("mtag")[0].sigma == ((1.0, 0.1), (0.1, 1.0))
    assert fixed.configs_of("mtag")[0].omega == ((1.0, 0.0), (0.0, 1.0))
    assert study("ldsc: {method: ldsc, two_step: 25}\n").configs_of("ldsc")[0].two_step == 25
    assert study("mtag: {traits: [CC, AA]}\n").configs_of("mtag") == (MtagConfig(traits=("CC", "AA"), panel="mine"),)
    assert study("review: {ancestry: European}\n").configs_of("review")[0].ancestry == "European"


@pytest.mark.parametrize(("more", "words"), [
    ("mtag: {trait: [AA]}\n", "trait"), ("mtag: {traits: [AA, XX]}\n", "'XX' is not a trait of this study"),
    ("mtag: {traits: [AA, AA]}\n", "named twice"), ("mtag: {max_fdr: {interval: 3}}\n", "interval"),
    ("reconcile: {blocks: none.bed}\n", "no such file"), ("reconcile: {replication_file: none.tsv}\n", "no such file"),
    ("mtag: {sigma: none.txt}\n", "no such file"), ("mtag: {omega: a.tsv}\n", "the matrix cannot be read"),
    ("ldsc: {two_step: 25}\n", "only method ldsc goes in two steps"),
    ("reconcile: {replication_traits: [ZZ]}\n", "'ZZ' is not a trait"),
    ("reconcile: {gwas_run: x}\n", "gwas_run"), ("review: {n_blocks: 1}\n", "n_blocks"),
])  # fmt: skip
def test_what_is_wrong_is_told(study, more, words):
    with pytest.raises(ConfigError) as error:
        study(more)
    assert words in str(error.value)
