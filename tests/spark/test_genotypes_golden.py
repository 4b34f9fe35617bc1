"""The HS1940 mice through Spark: kinships that GEMMA made of the same fileset, whole and without a chromosome; PLINK's counts."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gsem_spark as gs
from gsem_spark.catalog.workspace import Workspace

GEMMA = Path(__file__).parents[1] / "data" / "lmm" / "gemma"
PRINTED: float = 5.1e-10
"""GEMMA prints ten digits."""
PLINK = next((found for name in ("plink1.9", "plink") if (found := shutil.which(name))), None)


def unpacked(name: str, folder: Path, fam: str = "mouse_hs1940") -> Path:
    for suffix, stem in ((".bed", name), (".bim", name), (".fam", fam)):
        with gzip.open(GEMMA / f"{stem}{suffix}.gz") as packed, (folder / f"{name}{suffix}").open("wb") as out:
            shutil.copyfileobj(packed, out)
    return folder / f"{name}.bed"


def is_gemmas(K: np.ndarray, name: str) -> None:
    check = json.loads((GEMMA / "kinship_checks.json").read_text())[name]
    np.testing.assert_allclose(np.trace(K), check["trace"], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(K), check["frobenius"], rtol=1e-9)
    cells = K[np.array(check["sample_i"]), np.array(check["sample_j"])]
    np.testing.assert_allclose(cells, check["sample_value"], rtol=0, atol=PRINTED)
    np.testing.assert_allclose(K[0, :10], check["row0_first10"], rtol=0, atol=PRINTED)
    diagonal = pd.read_csv(GEMMA / f"kinship_diag_{name}.tsv.gz", sep="\t")["diag"]
    np.testing.assert_allclose(np.diag(K), diagonal, rtol=0, atol=PRINTED)


@pytest.fixture(scope="module")
def ws(spark, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.create(str(tmp_path_factory.mktemp("gemma") / "ws"), "parquet", spark)


@pytest.mark.slow
def test_kinships_of_the_mice_are_those_of_gemma(ws: Workspace, tmp_path: Path) -> None:
    """-gk 1 (and without chromosome 19) and -gk 2, on the variants that passed GEMMA's filter, means over all 1,940 mice."""
    cohort = gs.genotypes(ws, unpacked("mouse_hs1940", tmp_path), "mice", autosomes=19, keep_monomorphic=True)
    assert (cohort.n_samples, cohort.n_variants) == (1940, 12226)
    passed = pd.read_csv(GEMMA / "cd8_lmm4.assoc.txt.gz", sep="\t")["rs"].tolist()
    centred = gs.kinship(ws, "mice", "centred", snps=passed)
    assert (centred.report.summary["variants"], centred.chromosomes) == (len(passed), list(range(1, 20)))
    is_gemmas(centred.matrix(), "gk1_pheno1_filter")
    is_gemmas(centred.matrix(19), "gk1_no_chr19")
    is_gemmas(gs.kinship(ws, "mice", "standardised", snps=passed, loco=False).matrix(), "gk2_pheno1_filter")


@pytest.mark.slow
@pytest.mark.skipif(PLINK is None, reason="PLINK 1.9 is not installed")
def test_missing_genotypes_are_counted_as_plink_counts_them(ws: Workspace, tmp_path: Path) -> None:
    bed = unpacked("mouse_chr19_missing", tmp_path)
    prefix = bed.with_suffix("")
    said = ("--mouse", "--bfile", str(prefix), "--out", str(prefix), "--freq", "--hardy", "--nonfounders")
    subprocess.run([str(PLINK), *said], check=True, capture_output=True)
    frq = pd.read_csv(f"{prefix}.frq", sep=r"\s+").set_index("SNP")
    hwe = pd.read_csv(f"{prefix}.hwe", sep=r"\s+").set_index("SNP")
    gs.genotypes(ws, bed, "masked", autosomes=19, keep_monomorphic=True)
    found = pd.concat([pd.DataFrame({name: row[name] for name in ("snp", "maf", "missing", "hwe_p")})
                       for row in ws.records("genotype_blocks", {"cohort": "masked"})]).set_index("snp")
    assert len(found) == 302
    assert len(frq) == 258  # PLINK skips variants with a negative position
    found, hwe = found.loc[frq.index], hwe.loc[frq.index]
    np.testing.assert_allclose(found["maf"], frq["MAF"], rtol=5e-4, atol=1e-12)
    np.testing.assert_array_equal(np.rint((1 - found["missing"]) * 2 * 1940), frq["NCHROBS"])
    np.testing.assert_allclose(found["hwe_p"], hwe["P"], rtol=5e-4)
    filtered = gs.genotypes(ws, bed, "filtered", autosomes=19, maf=0.05, missing=0.05, hwe_p=1e-6)
    limits = ("--geno", "0.05", "--maf", "0.05", "--hwe", "1e-6", "--nonfounders", "--write-snplist")
    said = ("--mouse", "--bfile", str(prefix), "--out", f"{prefix}.kept", *limits)
    subprocess.run([str(PLINK), *said], check=True, capture_output=True)
    rows = ws.records("genotype_blocks", {"cohort": "filtered"}, ["snp", "bp"])
    kept = {snp: bp for row in rows for snp, bp in zip(row["snp"], row["bp"], strict=True)}
    assert sorted(snp for snp, bp in kept.items() if bp > 0) == sorted(Path(f"{prefix}.kept.snplist").read_text().split())
    assert filtered.n_variants == len(kept)
