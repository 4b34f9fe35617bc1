"""``t-sem`` and ``multi-snp`` as they are typed, on matrices from files: no workspace, no Spark."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from verb_runner import type_in

import gsem_spark as gs
from gsem_spark.errors import DataError
from gsem_spark.methods.gwas import UserModelGwas

TRAITS = ["A", "B", "C"]
GENES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A structure, FUSION's results of three traits (one binary, one compressed), two SNPs and their LD."""
    root = tmp_path_factory.mktemp("genes")
    S = np.array([[0.3, 0.1, 0.12], [0.1, 0.25, 0.15], [0.12, 0.15, 0.4]])
    I = np.array([[1.05, 0.2, 0.1], [0.2, 0.97, 0.3], [0.1, 0.3, 1.02]])
    cov = gs.CovStruct.from_matrices(S, np.diag([2, 1, 1, 2, 1, 3]) * 1e-4, I, TRAITS)
    cov.to_json(root / "cov.json")
    rng = np.random.default_rng(4)
    for trait in TRAITS:
        lines = ["PANEL FILE ID HSQ TWAS.Z TWAS.P"]
        lines += [f"X /w/Brain/G{g}.wgt.RDat G{g} {0.05 + g / 100} {rng.normal() + 6 * (g == 3):.4f} 0.5" for g in range(GENES)]
        (root / f"{trait}.dat").write_text("\n".join(lines) + "\n")
    (root / "C.dat.gz").write_bytes(gzip.compress((root / "C.dat").read_bytes()))
    snps = pd.DataFrame({
        "SNP": ["rs1", "rs2"], "MAF": [0.3, 0.2], "A1": ["A", "C"], "A2": ["G", "T"],
        "beta.A": [0.02, 0.008], "se.A": [0.005, 0.004],
        "beta.C": [0.018, 0.01], "se.C": [0.004, 0.006], "beta.B": [0.015, 0.004], "se.B": [0.006, 0.005],
    })  # fmt: skip
    snps.to_csv(root / "snps.txt", sep=" ", index=False)
    (root / "ld.txt").write_text("rs2 rs1\n1 0.6\n0.6 1\n")
    (root / "plink.ld").write_text("1 -0.6\n-0.6 1\n")
    (root / "plink.bim").write_text("SNP A1\nrs1 A\nrs2 T\n")
    (root / "both.lav").write_text("F1 =~ A + B + C\nF1 ~ rs1 + rs2\n")
    return root


def fusion(folder: Path) -> list[object]:
    options = [("A", "A.dat", ",n=100000"), ("B", "B.dat", ",n=50000,binary=true"), ("C", "C.dat.gz", ",n=80000")]
    return [x for name, file, rest in options for x in ("--fusion", f"name={name},file={folder / file}{rest}")]


def test_t_sem_from_fusion_to_a_table(folder: Path, tmp_path: Path) -> None:
    model = "F1 =~ A + B + C\nF1 ~ Gene"
    target = tmp_path / "genes.tsv.gz"
    status, said = type_in("t-sem", "--covstruct", folder / "cov.json", "--model", model, *fusion(folder), "--out", target)
    assert status == 0, said
    assert "12 genes" in said and "F1~Gene: 1 with p < .05 / 12" in said and "G3" in said
    got = pd.read_csv(target, sep="\t")
    assert list(got.columns[:6]) == ["panel", "gene", "hsq", "lhs", "op", "rhs"] and len(got) == GENES
    files = {t: folder / f for t, f in (("A", "A.dat"), ("B", "B.dat"), ("C", "C.dat.gz"))}
    table = gs.read_fusion(files, {"A": 1e5, "B": 5e4, "C": 8e4}, binary={"A": False, "B": True, "C": False})
    cov = gs.CovStruct.from_json(folder / "cov.json")
    want = UserModelGwas.prepare(cov, model, predictor="Gene").fit_predictor(
        table[[f"beta.{t}" for t in TRAITS]], table[[f"se.{t}" for t in TRAITS]], table["hsq"]
    )
    assert np.array_equal(got["gene"], table["gene"])
    assert np.allclose(got["est"], want["est"], rtol=1e-12) and np.allclose(got["q_snp"], want["q_snp"], rtol=1e-10)
    table.to_csv(tmp_path / "joined.txt", sep="\t", index=False)
    status, again = type_in(
        "t-sem", "--covstruct", folder / "cov.json", "--model", model, "--genes", tmp_path / "joined.txt", "--free-measurement"
    )
    assert status == 0 and "F1~Gene" in again
    fewer = gs.t_sem(cov, table.drop(columns=["beta.C", "se.C"]), "A ~ Gene\nB ~ Gene\nA ~~ B")
    assert set(fewer["lhs"]) == {"A", "B"}


def test_several_snps_beside_each_other(folder: Path, tmp_path: Path) -> None:
    options = ("--covstruct", folder / "cov.json", "--model", folder / "both.lav", "--snps", folder / "snps.txt")
    status, said = type_in("multi-snp", *options, "--ld", folder / "ld.txt", "--out", tmp_path / "fit")
    assert status == 0, said
    table = pd.read_csv(tmp_path / "fit" / "parameters.csv")
    own = table[(table["op"] == "~") & table["rhs"].isin(["rs1", "rs2"])].set_index("rhs")
    snps = pd.read_csv(folder / "snps.txt", sep=" ")
    cov = gs.CovStruct.from_json(folder / "cov.json")
    both = gs.multi_snp(cov, snps, snps, snps["MAF"], [[1, 0.6], [0.6, 1]], ["rs1", "rs2"])
    fit = gs.user_model(both, "F1 =~ A + B + C\nF1 ~ rs1 + rs2")
    for snp in ("rs1", "rs2"):
        assert own.loc[snp, "est"] == pytest.approx(fit.value("F1", "~", snp), rel=1e-9)
    # PLINK's matrix has no names, and counted the other allele of rs2.
    status, turned = type_in("multi-snp", *options, "--ld", folder / "plink.ld", "--ld-alleles", folder / "plink.bim")
    assert status == 0 and turned.strip() in said.replace("\r", "")


T_SEM = ("t-sem", "--covstruct", "{}/cov.json", "--model", "F1 =~ A + B + C\nF1 ~ Gene")
MULTI = ("multi-snp", "--covstruct", "{}/cov.json", "--model", "F1 =~ A + B + C\nF1 ~ rs1")


@pytest.mark.parametrize(("arguments", "words"), [
    (T_SEM, "give FUSION's results, or a joined table"),
    ((*T_SEM, "--fusion", "name=A,file=a.dat"), "n is missing"),
    ((*T_SEM, "--fusion", "name=A,file=a.dat,n=many"), "'n=many' is none of"),
    ((*T_SEM, "--fusion", "name=A,file=no.dat,n=5"), "where: no.dat"),
    ((*T_SEM[:-1], "F1 =~ A + B + C\nF1 ~ SNP", "--genes", "{}/joined.txt"), "the model has no Gene"),
    (MULTI, "the SNPs or their LD are not given"),
    ((*MULTI, "--snps", "rs1,rs2", "--ld", "{}/ld.txt"), "there is no file"),
    ((*MULTI, "--snps", "{}/snps.txt", "--ld", "{}/bad.ld"), "no square matrix"),
    ((*MULTI, "--snps", "{}/snps.txt", "--ld", "{}/other.ld"), "the LD matrix has no rs2"),
])
def test_what_is_wrong_is_said(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    (folder / "joined.txt").write_text("panel gene hsq beta.A se.A beta.B se.B beta.C se.C\nx g 0.1 1 1 1 1 1 1\n")
    (folder / "bad.ld").write_text("1 0.5\n0.5\n")
    (folder / "other.ld").write_text("rs1 rs9\n1 0.5\n0.5 1\n")
    status, said = type_in(*(a.format(folder) for a in arguments))
    assert status != 0 and words in " ".join(said.split())


def test_alleles_that_do_not_fit_are_no_guess(folder: Path) -> None:
    from gsem_spark.steps.gwas.predictor_files import flipped, read_ld, read_snps

    snps = read_snps(folder / "snps.txt")
    (folder / "odd.bim").write_text("SNP A1\nrs1 A\nrs2 G\n")
    with pytest.raises(DataError, match="rs2 has the allele G, and here C and T"):
        flipped(snps, folder / "odd.bim")
    (folder / "both.ld").write_text("SNP rs2 rs1\nrs1 0.6 1\nrs2 1 0.6\n")
    named = read_ld(folder / "both.ld", ["rs1", "rs2"])
    assert named.loc["rs1", "rs1"] == 1 and named.loc["rs1", "rs2"] == 0.6
