"""The HS1940 mice through Spark, from PLINK files to tests: GEMMA's leave-one-chromosome-out scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_genotypes_golden import GEMMA, unpacked

import gsem_spark as gs
from gsem_spark.catalog.workspace import Workspace


@pytest.mark.slow
def test_leave_one_chromosome_out_as_gemma_does_it(spark, tmp_path: Path) -> None:
    """-lmm 4 on chromosome 19 with the kinship of the other chromosomes; statistics to GEMMA's search tolerance."""
    ws = Workspace.create(str(tmp_path / "ws"), "parquet", spark)
    bed = unpacked("mouse_hs1940", tmp_path)
    gs.genotypes(ws, bed, "mice", autosomes=19, keep_monomorphic=True)
    passed = pd.read_csv(GEMMA / "cd8_lmm4.assoc.txt.gz", sep="\t")["rs"].tolist()
    gs.kinship(ws, "mice", "centred", snps=passed)
    fam = pd.read_csv(bed.with_suffix(".fam"), sep=r"\s+", header=None, dtype=str)
    table = fam[[0, 1, 5]].set_axis(["FID", "IID", "cd8"], axis=1).iloc[::-1]
    table.to_csv(tmp_path / "cd8.txt", sep=" ", index=False, na_rep="NA")
    run = gs.lmm_scan(ws, tmp_path / "cd8.txt", "cd8", chromosomes=[19], exact=True, test=["wald_f", "lrt_ml", "score"])
    assert run.summary["loco"] and run.models()["n"].tolist() == [1410, 1410]
    wanted = pd.read_csv(GEMMA / "cd8_loco19_lmm4.assoc.txt.gz", sep="\t").set_index("rs")
    rows = run.results().toPandas().set_index("snp").loc[wanted.index]
    wald, lrt, score = (rows[rows["test"] == t] for t in ("wald_f", "lrt_ml", "score"))
    np.testing.assert_allclose(wald["se"], wanted["se"], rtol=2e-6)
    assert ((wald["beta"] - wanted["beta"]).abs() / np.maximum(wanted["beta"].abs(), wanted["se"])).max() < 2e-6
    for found, column in ((wald, "p_wald"), (lrt, "p_lrt"), (score, "p_score")):
        np.testing.assert_allclose(found["neglog10p"].astype(float), -np.log10(wanted[column]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(wald["af"], wanted["af"], atol=5.1e-4)
