"""GWAS of users' models through Spark against GenomicSEM 0.0.5 (R): sumstats to results, every row of every model.

Source: ``tests/data/gsem_small/answers/gwas`` (userGWAS on the demo's raw files), at the tolerances of the array functions'
own tests.
"""

from __future__ import annotations

import golden_path  # noqa: F401 - makes the next module findable
import numpy as np
import pandas as pd
import pytest
from test_usergwas_golden import R_CHISQ, against_r, models, paired, structure, table

import gsem_spark as gs

pytestmark = pytest.mark.slow

MODELS = ("a", "b", "d")


@pytest.fixture(scope="module")
def workspace(spark, small, tmp_path_factory):
    """The six traits' standardised effects as munge leaves them."""
    ws = gs.Workspace.create(str(tmp_path_factory.mktemp("golden") / "ws"), "parquet", spark)
    snps = table(small / "answers", "gwas/snps_400.tsv")
    for trait in structure(small / "answers").traits:
        rows = pd.DataFrame({
            "trait": trait, "snp": snps["SNP"], "chr": snps["CHR"], "bp": snps["BP"], "a1": snps["A1"], "a2": snps["A2"],
            "maf": snps["MAF"], "n": 1e5, "beta": snps[f"beta.{trait}"], "se": snps[f"se.{trait}"], "file_id": f"f{trait}",
        })  # fmt: skip
        ws.put("sumstats", rows, {"trait": trait})
        known = {"trait": trait, "file_id": f"f{trait}", "file": f"{trait}.tsv", "sha256": "0" * 64, "scale": "linear",
                 "columns": {}, "settings": "{}", "rows_in": len(snps), "rows_kept": len(snps)}  # fmt: skip
        ws.put("traits", [known], {"trait": trait})
    return ws


def rows_of(run):
    frame = run.results().toPandas().drop(columns=["maf", "chr", "bp", "slice"]).rename(columns={"snp": "SNP"})
    return frame.assign(rhs=frame["rhs"].str.replace(" ", ""))


@pytest.mark.parametrize("fix", [True, False])
def test_all_rows_of_three_models_in_one_pass(workspace, small, fix):
    answers = small / "answers"
    texts = {name: models(answers)[name] for name in MODELS}
    runs = gs.user_gwas_models(workspace, structure(answers), texts, sub="all", fix_measurement=fix, omnibus=True)
    omnibus = table(answers, "gwas/usergwas_e0null_fixFALSE_400.tsv.gz").drop_duplicates("SNP").set_index("SNP")["chisq"]
    for name, run in runs.items():
        found = rows_of(run)
        assert set(found["status"]) == {"ok"}
        against_r(paired(found, table(answers, f"gwas/usergwas_{name}_fix{str(fix).upper()}_400.tsv.gz")))
        each = found.drop_duplicates("SNP").set_index("SNP")["omnibus_chisq"].loc[omnibus.index]
        np.testing.assert_allclose(each, omnibus, rtol=R_CHISQ)
