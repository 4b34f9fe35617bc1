"""``gsem-spark fit``, ``esem`` and ``parallel-analysis`` as a newcomer types them, on a structure from a file: no Spark."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from verb_runner import type_in

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import user_model

ROOT = Path(__file__).parents[2]
TRAITS = ("BMI", "WHR", "CAD", "T2D", "MDD", "ANX")
TWO = "# body and mind\nF1 =~ BMI + WHR + CAD\nF2 =~ T2D + MDD + ANX\nF2 ~ slope*F1\nhalf := slope / 2\n"


@pytest.fixture(scope="module")
def cov():
    x = np.zeros((6, 2))
    x[:3, 0], x[3:, 1] = (0.7, 0.6, 0.5), (0.8, 0.6, 0.4)
    S = x @ np.array([[1, 0.5], [0.5, 1]]) @ x.T
    S[0, 5] = S[5, 0] = S[0, 5] + 0.02
    np.fill_diagonal(S, 1.0)
    return CovStruct.from_matrices(S * 0.2, np.eye(21) * 1e-5, np.eye(6), TRAITS, M=1e6)


@pytest.fixture(scope="module")
def files(tmp_path_factory, cov):
    folder = tmp_path_factory.mktemp("files")
    cov.to_json(folder / "cov.json")
    cov.to_npz(folder / "cov.npz")
    cov.to_csv(folder / "cov")
    bare = folder / "genomicsem"
    bare.mkdir()
    for name in "SVI":
        columns = [f"V{i + 1}" for i in range(21)] if name == "V" else TRAITS  # as R's write.csv heads them
        pd.DataFrame(getattr(cov, name), columns=columns).to_csv(bare / f"{name}.csv", index=False)
    (folder / "two.lav").write_text(TWO, encoding="utf-8")
    return folder


def fit(files, model, *more, covstruct="cov.json"):
    return type_in("fit", "--covstruct", files / covstruct, "--model", model, *more)


@pytest.mark.parametrize("covstruct", ["cov.json", "cov.npz", "cov", "genomicsem"])
def test_structure_from_every_kind_of_file(files, covstruct):
    status, said = fit(files, files / "two.lav", covstruct=covstruct)
    assert status == 0, said
    for text in ("Latent variables:", "Regressions:", "Defined parameters:", "Estimate", "Std.Err", "z-value", "P(>|z|)", "SRMR"):
        assert text in said
    assert "Diagnosis (fit: good):" in said


def test_s_and_v_alone_in_another_order_give_the_same_fit(files, cov, tmp_path):
    """A folder as HDL users have it: no I, and V's named rows turned about."""
    folder = tmp_path / "hdl"
    folder.mkdir()
    rng = np.random.default_rng(4)
    root = rng.normal(size=(21, 60))
    V = root @ root.T * 1e-6
    elements = [f"{a} {b}" for i, a in enumerate(TRAITS) for b in TRAITS[i:]]
    pd.DataFrame(cov.S, columns=TRAITS).to_csv(folder / "S.csv", index=False)
    order = rng.permutation(21)
    pd.DataFrame(V[np.ix_(order, order)], columns=[elements[i] for i in order]).to_csv(folder / "V.csv", index=False)
    out = tmp_path / "out"
    status, said = type_in("fit", "--covstruct", folder, "--model", files / "two.lav", "--out", out)
    assert status == 0, said
    expected = user_model(CovStruct.from_matrices(cov.S, V, np.eye(6), TRAITS), TWO).parameters
    np.testing.assert_allclose(pd.read_csv(out / "parameters.csv")["se"], expected["se"], rtol=1e-9)


def test_what_is_written_is_what_the_library_gives(files, cov, tmp_path):
    out = tmp_path / "new" / "folder"
    status, said = fit(files, files / "two.lav", "--std-lv", "--estimation", "ML", "--out", out)
    assert status == 0, said
    made = user_model(cov, TWO, "ML", std_lv=True)
    read = pd.read_csv(out / "parameters.csv", keep_default_na=False, na_values="NA", float_precision="round_trip")
    np.testing.assert_array_equal(read["est"], made.parameters["est"])
    np.testing.assert_array_equal(read["se"], made.parameters["se"])
    indices = pd.read_csv(out / "indices.csv", index_col="index")
    assert indices.loc["chisq", "value"] == pytest.approx(made.indices["chisq"], rel=1e-12)
    assert indices.loc["cfi", "verdict"] == made.verdict["cfi"]
    record = json.loads((out / "fit.json").read_text(encoding="utf-8"))
    assert record["theta"] == made.theta.tolist()
    assert record["diagnosis"][0]["text"] == made.diagnosis.findings[0].text
    residual = pd.read_csv(out / "residual.csv", index_col=0)
    assert list(residual.index) == list(residual.columns) == list(TRAITS)
    assert (out / "summary.txt").read_text(encoding="utf-8").startswith(made.summary())
    assert (out / "diagram.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (out / "diagram.png").read_bytes().startswith(b"\x89PNG")
    assert "digraph" in (out / "diagram.dot").read_text(encoding="utf-8")


def test_model_on_the_command_line_and_some_traits(files):
    status, said = fit(files, "F =~ BMI + WHR + CAD", "--traits", "BMI,WHR,CAD,T2D")
    assert status == 0, said
    assert "DWLS fit of 3 traits" in said


@pytest.mark.parametrize(("model", "exit_code", "says"), [
    ("F =~ BMI + WHR", 5, "F has 2"),
    ("F =~ BMI + WHR\nG =~ CAD + T2D\nF ~~ 0*G", 5, "not identified"),
    ("F =~ BMI + WHR + T2DD", 5, "remedy: did you mean T2D or MDD?"),
    ("F =~ BMI + + WHR", 5, "where: model line 1, column 12"),
    ("F =~ BMI + WHR + CAD\nF = T2D", 5, "did you mean == or =~?"),
    ("F =~ BMI + WHR + CAD\nBMI ~~ v*BMI\nv > 2\nv < 1", 5, "cannot all be met: v > 2; v < 1"),
    ("F =~ 1*BMI + k*BMI + 2*WHR + k*WHR + CAD", 5, "label 'k' stands for different fixed values"),
    ("BMI ~ WHR\nWHR ~ CAD\nCAD ~ BMI", 5, "arrows run in a circle"),
    ("BMI ~ WHR + WHR", 5, "is given twice"),
    ("BMI =~ WHR + CAD + T2D", 5, "has the name of a trait"),
    ("two_factors.lav", 4, "there is no such file"),
    (" ", 2, "no model is given"),
])  # fmt: skip
def test_models_that_cannot_be_are_refused_in_words(files, model, exit_code, says):
    status, said = fit(files, model)
    assert status == exit_code, said
    assert said.startswith("error: ")
    assert says in said
    assert "Traceback" not in said


def test_a_fault_in_a_file_is_named_by_file_and_line(files, tmp_path):
    path = tmp_path / "model.lav"
    path.write_text("# mine\nF =~ BMI + WHR + + CAD\n", encoding="utf-8")
    status, said = fit(files, path)
    assert status == 5
    assert f"where: {path}, line 2, column 18" in said


def broken(cov, path, **changes):
    """A structure's file with something changed."""
    record = json.loads(cov.to_json(path).read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {k: change(record) for k, change in changes.items()}), encoding="utf-8")
    return path


@pytest.mark.parametrize(("changes", "says"), [
    ({"S": lambda r: [[None, *r["S"][0][1:]], *r["S"][1:]]}, "S"),
    ({"V": lambda r: [row[:-1] for row in r["V"][:-1]]}, "V"),
    ({"traits": lambda r: [*r["traits"][:-1], r["traits"][0]]}, "BMI"),
    ({"format": lambda r: "other"}, "not a covariance structure"),
])  # fmt: skip
def test_structures_that_cannot_be_are_refused_in_words(cov, tmp_path, changes, says):
    path = broken(cov, tmp_path / "cov.json", **changes)
    status, said = type_in("fit", "--covstruct", path, "--model", "F =~ BMI + WHR + CAD")
    assert status in (4, 5), said
    assert said.startswith("error: ")
    assert says in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("covstruct", "exit_code", "says"), [
    ("none.json", 4, "there is no such file or folder"),
    ("two.lav", 4, "neither a .json nor an .npz file"),
    (".", 4, "the folder has no S.csv, V.csv"),
])  # fmt: skip
def test_files_that_hold_no_structure(files, covstruct, exit_code, says):
    status, said = fit(files, files / "two.lav", covstruct=covstruct)
    assert (status, says in said) == (exit_code, True), said


def test_without_structure_and_workspace_both_are_asked_for(files):
    status, said = type_in("fit", "--model", files / "two.lav")
    assert status == 2
    assert "remedy: name a workspace" in said


def test_a_fit_without_an_optimum_is_an_error_after_its_numbers(files, monkeypatch):
    from dataclasses import replace

    from gsem_spark.steps.models import user_model as user_fit

    plain = user_fit.sem.user_model

    def stuck(*given, **settings):
        return replace(plain(*given, **settings), converged=False, status="not_converged")

    monkeypatch.setattr(user_fit.sem, "user_model", stuck)
    status, said = fit(files, files / "two.lav")
    assert status == 6
    assert "NOT CONVERGED" in said
    assert "error: the fit did not converge" in said


def test_esem_prints_loadings_and_a_model_that_fit_takes(files, tmp_path):
    status, said = type_in("esem", "--covstruct", files / "cov.json", "--out", tmp_path)
    assert status == 0, said
    assert "Standardised loadings (SE):" in said
    loadings = pd.read_csv(tmp_path / "loadings.csv", index_col=0)
    assert list(loadings.index) == list(TRAITS)
    indices = pd.read_csv(tmp_path / "indices.csv", index_col="index")["value"]
    record = json.loads((tmp_path / "esem.json").read_text(encoding="utf-8"))
    assert record["fit"]["indices"]["chisq"] == pytest.approx(indices["chisq"])
    arrows = [x for x in (tmp_path / "diagram.dot").read_text(encoding="utf-8").splitlines() if '"F1" ->' in x or '"F2" ->' in x]
    assert sum("-> " + f'"{t}"' in x for x in arrows for t in TRAITS) == 6  # loadings below .3 are left out
    status, said = fit(files, tmp_path / "model.lav")
    assert status == 0, said
    status, said = type_in("esem", "--covstruct", files / "cov.json", "--rotation", "varimaxx")
    assert status == 2
    assert "geomin" in said


def test_parallel_analysis_says_how_many(files, tmp_path):
    status, said = type_in("parallel-analysis", "--covstruct", files / "cov.json", "--draws", "200", "--out", tmp_path)
    assert status == 0, said
    assert "suggests 2 component(s)" in said
    assert pd.read_csv(tmp_path / "parallel_analysis.csv")["retained"].sum() == 2
    assert (tmp_path / "scree.png").read_bytes().startswith(b"\x89PNG")


def test_as_it_is_typed_no_spark_is_loaded(files):
    code = (
        "import sys; from gsem_spark.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'pyspark' not in sys.modules, 'pyspark was imported'\n"
    )
    command = [sys.executable, "-c", code, "fit", "--covstruct", str(files / "cov.npz"), "--model", str(files / "two.lav")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAVA_HOME": "/none"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Model fit:" in done.stdout
