"""``gwas`` with models, parts and status, ``wald``, and their report, as they are typed, on a small simulated set."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from verb_runner import type_in

import gsem_spark as gs
from gsem_spark.cli.gwas_verbs import contrast_matrix, parse_contrast
from gsem_spark.errors import ConfigError, ModelError

TRAITS = ("T1", "T2", "T3")
MODEL = "F1 =~ T1 + T2 + T3\nF1 ~ SNP\n"


@pytest.fixture(scope="module")
def workspace(spark, tmp_path_factory):
    """Three traits as munge leaves them, 600 SNPs on two chromosomes, and their structure in a folder."""
    root = tmp_path_factory.mktemp("cli")
    ws = gs.Workspace.create(str(root / "ws"), "parquet", spark)
    n, rng = 600, np.random.default_rng(3)
    maf = rng.uniform(0.1, 0.5, n)
    se = 1 / np.sqrt(2 * maf * (1 - maf) * 2e5)
    factor = rng.normal(size=n) * se
    factor[5] += 12 * se[5]
    frame = pd.DataFrame({
        "snp": [f"rs{i}" for i in range(n)], "chr": np.repeat([1, 2], n // 2), "bp": np.tile(np.arange(n // 2) * 400_000, 2),
        "a1": "A", "a2": "C", "maf": maf, "n": 2e5, "se": se,
    })  # fmt: skip
    for trait in TRAITS:
        rows = frame.assign(trait=trait, file_id=f"f{trait}", beta=factor + rng.normal(size=n) * se)
        ws.put("sumstats", rows, {"trait": trait})
        known = {"trait": trait, "file_id": f"f{trait}", "file": f"{trait}.tsv", "sha256": "0" * 64, "scale": "linear",
                 "columns": {}, "settings": "{}", "rows_in": n, "rows_kept": n}  # fmt: skip
        ws.put("traits", [known], {"trait": trait})
    S = np.array([[0.3, 0.15, 0.12], [0.15, 0.25, 0.1], [0.12, 0.1, 0.2]])
    gs.CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3) + 0.03, TRAITS, M=1e6).to_csv(root / "cov")
    return ws.location, root / "cov"


def test_parts_status_and_the_end(workspace, tmp_path):
    workspace, cov = workspace
    file = tmp_path / "one_factor.lav"
    file.write_text(MODEL, encoding="utf-8")
    status, said = type_in("gwas", workspace, "--status", "last")
    assert status == 4 and "no GWAS has been run" in said

    status, said = type_in("gwas", workspace, "--covstruct", cov, "--model", file, "--omnibus", "--slice", "2/2", "--quiet")
    assert status == 0, said
    assert "partial" in said and "others are missing" in said
    status, said = type_in("gwas", workspace, "--status", "last")
    assert status == 0, said
    assert "running" in said and "missing: chr 1, 0–50 Mb" in said and re.search(r"time left: .* in one session", said)

    status, said = type_in("gwas", workspace, "--covstruct", cov, "--model", file, "--omnibus", "--slice", "1/2", "--quiet")
    assert status == 0, said
    for words in ("F1~SNP", "omnibus", "effective N", "route", "what became of the SNPs", "100.00%"):
        assert words in said
    run = re.search(r"user_gwas-[0-9a-f]{12}", said)[0]
    status, said = type_in("gwas", workspace, "--status", run)
    assert "done" in said and "missing" not in said

    status, said = type_in("wald", workspace, "--covstruct", cov, "--contrast", "first against second: T1=1,T2=-1", "--quiet")
    assert status == 0, said
    assert "first against second" in said
    wald = re.search(r"multivariate_wald-[0-9a-f]{12}", said)[0]
    status, said = type_in("report", workspace, "--run", run, "--run", wald, "--quiet")
    assert status == 0, said
    page = Path(re.search(r"report: (.*\.html)", said)[1]).read_text(encoding="utf-8")
    for words in ("GWAS of a model: one_factor", "Wald tests", "first against second", "Manhattan plot of F1~SNP"):
        assert words in page


def test_what_is_wrong_is_said_with_its_remedy(workspace, tmp_path):
    workspace, cov = workspace
    file = tmp_path / "bad.lav"
    file.write_text("F1 =~ T1 + T2 + T9\nF1 ~ SNP\n", encoding="utf-8")
    for arguments, code, words in (
        (["--model", file], 5, ["bad.lav, line 1", "T9"]),
        (["--model", "F1 =~ T1 + T2 + T3"], 5, ["no path from SNP", "F1 ~ SNP"]),
        (["--model", MODEL, "--sub", "F1~XYZ"], 5, ["no row 'F1~XYZ'", "F1~SNP"]),
        (["--sub", "F1~SNP"], 2, ["no --model is given"]),
        (["--model", MODEL, "--sub", "F1~SNP", "--all"], 2, ["exclude each other"]),
        (["--slice", "5/4"], 2, ["'5/4' is no part of a whole"]),
        (["--max-failed", "3"], 2, ["3 is no share"]),
        (["--model", MODEL, "--estimation", "OLS"], 2, ["estimation"]),
        (["--status", "user_gwas-none"], 4, ["not in the ledger"]),
    ):
        status, said = type_in("gwas", workspace, "--covstruct", cov, *arguments, "--quiet")
        assert status == code, (arguments, said)
        for word in words:
            assert word in said, said
    wrong = (("T1=1,T9=-1", 5, "T9"), ("T1,T2", 2, "TRAIT=WEIGHT"), ("T1=1,T2=-1;T1=2,T2=-2", 5, "not independent"))
    for contrast, code, word in wrong:
        status, said = type_in("wald", workspace, "--covstruct", cov, "--contrast", contrast, "--quiet")
        assert status == code, said
        assert word in said
    status, said = type_in("wald", workspace, "--covstruct", cov, "--traits", "T1", "--quiet")
    assert status == 5 and "at least 2 traits" in said


def test_contrasts_are_read_by_name():
    assert parse_contrast("A=1,B=-1") == ("A=1,B=-1", [{"A": 1.0, "B": -1.0}])
    assert contrast_matrix("x", [{"B": 2.0}, {"A": 1.0}], ("A", "B")) == [[0.0, 2.0], [1.0, 0.0]]
    with pytest.raises(ConfigError, match="TRAIT=WEIGHT"):
        parse_contrast("x: A=one")
    with pytest.raises(ModelError, match="'C'"):
        contrast_matrix("x", [{"C": 1.0}], ("A", "B"))


@pytest.mark.parametrize(("given", "status", "words"), [
    (["--model", "F1 =~ T1 + T2 + T3"], 5, "no path from SNP"),
    (["--model", "F1 =~ T1 + T2 + T3; SNP ~ F1"], 5, "write the path the other way round"),
    (["--model", "F1 =~ T1 + T2 + T3; F1 ~ snp"], 5, "did you mean SNP?"),
    (["--model", MODEL, "--sub", "F2~SNP"], 5, "did you mean F1~SNP"),
    (["--model", MODEL, "--gc", "std"], 2, "did you mean 'standard'?"),
    (["--gc", "std"], 2, "'std' is not one of standard, conserv, none"),
    (["--model", MODEL, "--toler", "-1"], 2, "toler: found -1.0; it should be greater than or equal to 0"),
    (["--toler", "0.9999"], 5, "cannot be inverted at toler = 0.9999"),
    (["--traits", "T1,T2"], 5, "at least 3 traits"),
    (["--traits", "T1,T2,T7"], 5, "no trait 'T7'; there are T1, T2, T3"),
])  # fmt: skip
def test_bad_input_is_told_with_a_remedy(workspace, given, status, words):
    workspace, cov = workspace
    code, said = type_in("gwas", workspace, "--covstruct", cov, *given)
    assert code == status and words in " ".join(said.split()), said
    assert "remedy:" in said
