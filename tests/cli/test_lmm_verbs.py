"""``lmm``, ``mtlmm`` and ``bootstrap`` as they are typed, on a small cohort, in this process."""

import pytest
from mixed_model_files import HIT, MixedData
from typer.testing import CliRunner

import gsem_spark as gs
from gsem_spark.cli import lmm_verbs  # noqa: F401 - importing registers its verbs
from gsem_spark.cli.app import app


def type_in(*arguments):
    """Run a verb and return its exit status with all that it printed."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


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
    for words in ("bootstrap of y2, 80 replicates", "95% intervals", "studentized", "hsq", "sigmasq_e"):
        assert words in " ".join(said.split())
