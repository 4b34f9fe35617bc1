"""The step of users' models: kept once, whatever the model is called; read back whole; pure without a workspace."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_report_step import RUN, covstruct, fill, scan

from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.methods import sem
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.ldsc.step import read_covstruct
from gsem_spark.steps.models.common_factor import read_fit
from gsem_spark.steps.models.user_model import UserModelConfig, UserModelStep, user_model
from gsem_spark.steps.report.step import report, report_content

NAMES = ["a", "b", "c", "d", "e", "f"]
TWO_FACTORS = "F1 =~ a + b + c\nF2 =~ d + e + f\nF2 ~ slope*F1\nhalf := slope / 2"


@pytest.fixture
def cov():
    x = np.zeros((6, 2))
    x[:3, 0], x[3:, 1] = (0.7, 0.6, 0.5), (0.8, 0.6, 0.4)
    S = x @ np.array([[1, 0.5], [0.5, 1]]) @ x.T
    S[0, 5] = S[5, 0] = S[0, 5] + 0.05
    np.fill_diagonal(S, 1.0)
    return CovStruct.from_matrices(S, np.eye(21) * 1e-4, np.eye(6), NAMES, M=1e6)


def test_same_as_without_a_workspace_and_read_back_whole(parquet_workspace, cov):
    fit = user_model(cov, TWO_FACTORS, "ML", True, ws=parquet_workspace, name="two factors")
    assert fit.to_json() == sem.user_model(cov, TWO_FACTORS, "ML", True).to_json()
    rows = parquet_workspace.read("fits").collect()
    assert len(rows) == 1
    row = rows[0]
    assert read_fit(parquet_workspace, row["fit_id"]).to_json() == fit.to_json()
    assert row["estimation"] == "ML"
    assert "F1 =~ NA*a" in row["model"]
    assert json.loads(row["parameters"])[-1]["lhs"] == "half"
    assert read_covstruct(parquet_workspace, row["covstruct_id"]) == cov
    entry = parquet_workspace.runs.last(row["fit_id"])
    assert json.loads(entry.config)["name"] == "two factors"
    assert [f["text"] for f in entry.summary["findings"]] == [f.text for f in fit.diagnosis]


def test_the_same_again_does_nothing_and_another_name_is_the_same_model(parquet_workspace, cov):
    def run(**settings):
        return UserModelStep(UserModelConfig(model="F =~ a + b + c + d", **settings), cov).run(parquet_workspace)

    first, again, named, bounded = run(), run(), run(name="x"), run(bound_residuals=True)
    assert [r.status for r in (first, again, named, bounded)] == ["done", "skipped", "skipped", "done"]
    assert first.run_id == again.run_id == named.run_id != bounded.run_id
    part = cov.subset(["d", "c", "b", "a"])  # traits that the model does not use, and their order, do not matter
    assert UserModelStep(UserModelConfig(model="F =~ a + b + c + d"), part).plan(parquet_workspace).done
    assert parquet_workspace.read("fits").count() == 2
    assert parquet_workspace.read("covstructs").count() == 1


def test_a_ready_model_is_kept_as_it_is(parquet_workspace, cov):
    ready = sem.Model.parse("F1 =~ a + b + c\nF2 =~ d + e + f\nF1 ~~ 0*F2", std_lv=True)
    fit = user_model(cov, ready, ws=parquet_workspace)
    assert fit.model == ready
    assert fit.indices["df"] == 9
    user_model(cov, ready.syntax, ws=parquet_workspace)
    assert parquet_workspace.read("fits").count() == 2  # a text is completed by lavaan's rules, a ready model is not


def test_errors_leave_no_row(parquet_workspace, cov):
    with pytest.raises(ModelError, match=r"line 1, column 14.*'zz' is neither"):
        user_model(cov, "F =~ a + b + zz", ws=parquet_workspace)
    with pytest.raises(ModelError, match="F has 2"):
        user_model(cov, "F =~ a + b", ws=parquet_workspace)
    with pytest.raises(ConfigError, match="WLS"):
        user_model(cov, "F =~ a + b + c", "WLS", ws=parquet_workspace)
    with pytest.raises(ModelError, match="S with its V"):
        user_model(cov.S, "F =~ a + b + c", ws=parquet_workspace)
    with pytest.raises(DataError, match="user_model"):
        read_fit(parquet_workspace, "x")
    assert parquet_workspace.read("fits").count() == 0


def test_the_report_has_a_section_for_each_model(parquet_workspace, tmp_path):
    fill(parquet_workspace, scan(300))
    user_model(covstruct(), "F1 =~ AAA + BBB + CCC + DDD", ws=parquet_workspace, name="one factor")
    user_model(covstruct(), "F1 =~ AAA + BBB + CCC", "ML", ws=parquet_workspace, name="three traits")
    second = user_model(covstruct(), "DDD ~ AAA", ws=parquet_workspace, name="three traits")  # a name's last run is its model
    page = report_content(parquet_workspace, RUN)
    assert [m.name for m in page.models] == ["one factor", "three traits"]
    assert page.models[1].model.syntax == "DDD ~ AAA"
    assert page.models[1].model.parameters.equals(second.parameters)
    assert any(found["text"].startswith("The fit is good") for found in page.models[0].findings)
    chosen = {"mine": page.models[0].fit_id}
    assert [m.name for m in report_content(parquet_workspace, RUN, models=chosen).models] == ["mine"]
    assert report_content(parquet_workspace, RUN, models={}).models == ()
    text = Path(report(parquet_workspace, RUN, models=chosen, out=tmp_path)).read_text(encoding="utf-8")
    assert "Models of your own" in text
    assert (tmp_path / f"{RUN}_model_1.png").is_file()


def test_without_a_workspace_no_spark_is_imported(tmp_path):
    code = (
        "import sys, numpy as np, gsem_spark as gs\n"
        "cov = gs.CovStruct.from_matrices(np.eye(3) * .5 + .5, np.eye(6) * 1e-4, np.eye(3), ['a', 'b', 'c'])\n"
        "fit = gs.user_model(cov, 'F =~ a + b + c')\n"
        f"print(fit.draw({str(tmp_path / 'diagram.svg')!r}))\n"
        "assert 'pyspark' not in sys.modules, 'pyspark was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "diagram.svg")
    assert (tmp_path / "diagram.svg").read_text(encoding="utf-8").startswith("<?xml")
