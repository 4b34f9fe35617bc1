"""The common factor step: kept once, read back whole, pure without a workspace."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.methods import sem
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.ldsc.step import read_covstruct
from gsem_spark.steps.models.common_factor import FitConfig, FitStep, common_factor, read_fit

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def cov():
    x = np.array([0.7, 0.6, 0.5, 0.4])
    rng = np.random.default_rng(3)
    noise = rng.normal(scale=0.02, size=(4, 4))
    S = np.outer(x, x) + np.triu(noise, 1) + np.triu(noise, 1).T
    np.fill_diagonal(S, 1.0)
    return CovStruct.from_matrices(S, np.eye(10) * 1e-4, np.eye(4), NAMES, M=1e6)


def test_same_as_without_a_workspace_and_read_back_whole(any_workspace, cov):
    fit = common_factor(cov, "ML", "marker", ws=any_workspace)
    assert fit.to_json() == sem.common_factor(cov, "ML", "marker").to_json()
    rows = any_workspace.read("fits").collect()
    assert len(rows) == 1
    row = rows[0]
    assert read_fit(any_workspace, row["fit_id"]).to_json() == fit.to_json()
    assert row["model"].splitlines()[:2] == ["F1 =~ 1*a", "F1 =~ NA*b"]
    assert row["estimation"] == "ML"
    assert json.loads(row["parameters"])[1]["est"] == fit.theta[0]
    assert json.loads(row["indices"])["chisq"] == fit.indices["chisq"]
    assert read_covstruct(any_workspace, row["covstruct_id"]) == cov


def test_the_same_again_does_nothing_and_other_settings_add_a_fit(tmp_workspace, cov):
    step = FitStep(FitConfig(traits=tuple(NAMES)), cov)
    assert not step.plan(tmp_workspace).done
    first = step.run(tmp_workspace)
    versions = [tmp_workspace.version(t) for t in ("fits", "covstructs")]
    again = FitStep(FitConfig(traits=tuple(NAMES)), cov).run(tmp_workspace)
    assert (first.status, again.status) == ("done", "skipped")
    assert again.run_id == first.run_id
    assert again.summary["chisq"] == pytest.approx(step.fit.indices["chisq"])
    assert [tmp_workspace.version(t) for t in ("fits", "covstructs")] == versions
    FitStep(FitConfig(traits=("a", "c", "d")), cov).run(tmp_workspace)
    common_factor(cov, "ML", ws=tmp_workspace)
    assert tmp_workspace.read("fits").count() == 3
    assert tmp_workspace.read("covstructs").count() == 2


def test_messages_reach_the_ledger(tmp_workspace, cov):
    pair = cov.subset(["a", "b"])
    report = FitStep(FitConfig(traits=pair.traits), pair).run(tmp_workspace)
    assert any("equal loadings" in w for w in report.warnings)
    assert list(tmp_workspace.read("fits").collect()[0]["messages"]) == list(report.warnings)


def test_errors_leave_no_row(tmp_workspace, cov):
    with pytest.raises(ModelError, match="at least 2"):
        common_factor(cov.subset(["a"]), ws=tmp_workspace)
    with pytest.raises(ModelError, match="no trait"):
        FitStep(FitConfig(traits=("a", "zz", "b")), cov).run(tmp_workspace)
    with pytest.raises(ConfigError, match="WLS"):
        common_factor(cov, "WLS", ws=tmp_workspace)
    with pytest.raises(DataError, match="no fit 'x'"):
        read_fit(tmp_workspace, "x")
    assert tmp_workspace.read("fits").count() == 0


def test_without_a_workspace_no_spark_is_imported():
    code = (
        "import sys, numpy as np, gsem_spark as gs\n"
        "cov = gs.CovStruct.from_matrices(np.eye(3) * .5 + .5, np.eye(6) * 1e-4, np.eye(3), ['a', 'b', 'c'])\n"
        "assert gs.common_factor(cov).converged\n"
        "assert 'pyspark' not in sys.modules, 'pyspark was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
