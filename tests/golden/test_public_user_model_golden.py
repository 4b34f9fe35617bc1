"""The eighteen golden models through the public verbs: ``gs.user_model``, and ``gsem-spark fit`` as it is typed.

Source: ``golden/gsem/answers/usermodel`` (see :mod:`test_usermodel_golden`, which holds the engine to every number).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import gsem_spark as gs
from gsem_spark.cli import model_verbs  # noqa: F401 - importing registers its verbs
from gsem_spark.cli.app import app

pytestmark = pytest.mark.slow  # minutes beside the rest; the contract suite and the verbs' tests stay in the default lane

TRAITS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
NAMES = (
    "a_onefactor", "b_twofactor", "b2_twofactor_NA", "c_crossload_label_constraint", "d1_secondorder", "d2_bifactor_s1",
    "e1_mediation_latent", "e2_mediation_observed", "e3_latent_regression", "f1_genmultreg", "f2_genmultreg_fixedx",
    "g1_heywood", "g2_latentcor_gt1", "h1_equal_loadings", "h2_equal_resid", "h3_eq_constraint_op", "i_subset",
    "j_saturated_cor",
)
TYPED = ("b_twofactor", "c_crossload_label_constraint", "e2_mediation_observed", "g2_latentcor_gt1", "h3_eq_constraint_op",
         "j_saturated_cor")  # fmt: skip
LOOSE = {"c_crossload_label_constraint": 3e-6}


@pytest.fixture(scope="module")
def answers(shared_golden) -> Path:
    return shared_golden("golden/gsem/answers")


@pytest.fixture(scope="module")
def structure(answers, tmp_path_factory) -> Path:
    """S, V and I as GenomicSEM's users write them: three CSV files in a folder."""
    folder = tmp_path_factory.mktemp("structure")
    for matrix in "SVI":
        table = pd.read_csv(answers / f"ldsc_{matrix}.tsv", sep="\t")
        (table.set_axis(TRAITS, axis=1) if matrix == "S" else table).to_csv(folder / f"{matrix}.csv", index=False)
    return folder


def tight(answers: Path, name: str, estimation: str, std_lv: bool) -> pd.DataFrame:
    path = answers / "usermodel" / f"{name}__{estimation}__stdlv{str(std_lv).upper()}.tight.tsv"
    frame = pd.read_csv(path, sep="\t", dtype={"lhs": str, "op": str, "rhs": str})
    return frame[frame["op"].isin(["=~", "~", "~~", ":="])]


def by_path(frame: pd.DataFrame, column: str) -> dict[tuple[str, ...], float]:
    """Absolute values by path, whichever way round a covariance is written (a factor's sign is free)."""
    return {
        (row.op, *(sorted((row.lhs, row.rhs)) if row.op == "~~" else (row.lhs, "" if row.op == ":=" else row.rhs))): abs(
            float(getattr(row, column))
        )
        for row in frame.itertuples()
    }


@pytest.mark.parametrize("std_lv", [False, True], ids=["marker", "std.lv"])
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
@pytest.mark.parametrize("name", NAMES)
def test_estimates_of_the_public_verb(answers, name, estimation, std_lv):
    text = json.loads((answers / "usermodel" / "models.json").read_text())[name]
    matrices = (pd.read_csv(answers / f"ldsc_{m}.tsv", sep="\t").to_numpy() for m in "SVI")
    fit = gs.user_model(gs.CovStruct.from_matrices(*matrices, TRAITS), text, estimation, std_lv)
    wanted = tight(answers, name, estimation, std_lv)
    ours, errors = by_path(fit.parameters, "est"), by_path(wanted.fillna({"SE": 0.0}), "SE")
    for path, value in by_path(wanted, "est").items():
        allowed = LOOSE.get(name, 1e-6) * value + 1e-6 * errors[path] + 1e-9  # nothing near zero has a relative precision
        assert abs(ours[path] - value) <= allowed, path


@pytest.mark.parametrize("name", TYPED)
def test_tables_that_the_command_line_writes(answers, structure, tmp_path, name):
    model = tmp_path / f"{name}.lav"
    model.write_text(json.loads((answers / "usermodel" / "models.json").read_text())[name], encoding="utf-8")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["fit", "--covstruct", str(structure), "--model", str(model), "--out", str(out)])
    assert done.exit_code == 0, done.output
    wanted = tight(answers, name, "DWLS", False)
    ours = by_path(pd.read_csv(out / "parameters.csv", dtype={"lhs": str, "op": str, "rhs": str}, keep_default_na=False), "est")
    errors = by_path(wanted.fillna({"SE": 0.0}), "SE")
    for path, value in by_path(wanted, "est").items():
        allowed = LOOSE.get(name, 1e-6) * value + 1e-6 * errors[path] + 1e-9  # nothing near zero has a relative precision
        assert abs(ours[path] - value) <= allowed, path
    record = json.loads((out / "fit.json").read_text(encoding="utf-8"))
    assert record["status"] in done.output
    residual = pd.read_csv(out / "residual.csv", index_col=0)
    implied = pd.read_csv(out / "implied.csv", index_col=0)
    S = pd.read_csv(structure / "S.csv")
    observed = S.set_axis(S.columns, axis=0).loc[implied.index, implied.columns]
    np.testing.assert_allclose(implied + residual, observed, atol=1e-12)
    assert (out / "diagram.svg").exists() == bool({"=~", "~"} & set(wanted["op"]))
