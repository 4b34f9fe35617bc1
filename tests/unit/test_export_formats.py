"""Layouts of other programs' files against files that those programs wrote, and values that must survive the way to text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gsem_spark.catalog.arrow_contracts import arrow_schema
from gsem_spark.catalog.schemas import schema_of
from gsem_spark.methods import pvalues
from gsem_spark.steps.export.formats import Layout

GOLDEN = Path(__file__).parents[1] / "data" / "gsem_small" / "answers" / "gwas"


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Three SNPs: one far beyond the smallest double, one that failed, one without a name of dbSNP."""
    z = np.array([-50.0, np.nan, 1.25])
    p, neglog10p = pvalues.from_z(z)
    frame = pd.DataFrame({
        "run_id": "r", "snp": ["rs1", "rs2", "1:3_A_G"], "chr": 1, "bp": [1, 2, 3], "a1": "A", "a2": "G", "maf": [0.1, 0.2, 0.3],
        "lhs": "F1", "op": "~", "rhs": "SNP", "est": [-0.1, np.nan, 1 / 3], "se": [0.002, np.nan, 4 / 15], "z": z, "p": p,
        "neglog10p": neglog10p, "chisq": [3.0, np.nan, 4.0], "chisq_df": 2, "chisq_p": [0.2, np.nan, 0.1], "aic": 9.0,
        "q_snp": [2.0, np.nan, 5.0], "q_snp_df": 2, "q_snp_p": [0.3, np.nan, 0.05], "q_snp_neglog10p": [0.5, np.nan, 1.3],
        "status": ["ok", "missing", "heywood"], "z_smooth": [0.25, 0.0, 0.0],
        "message": [None, "beta of T1\tis missing", "residual variance of T2 is negative"],
    })  # fmt: skip
    schema = arrow_schema(schema_of("gwas_results"))
    table = pa.Table.from_pandas(frame, schema=pa.schema([f for f in schema if f.name in frame]), preserve_index=False)
    return table.append_column("eaf", pa.array([0.9, None, None], pa.float64()))


def written(rows: pa.Table, layout: Layout) -> pd.DataFrame:
    table = layout.table(layout.kept(rows), 0)
    assert tuple(table.column_names) == layout.columns and all(pa.types.is_string(f.type) for f in table.schema)
    return table.to_pandas()


def test_names_and_order_are_those_that_genomicsem_writes() -> None:
    def header(name: str) -> list[str]:
        return list(pd.read_csv(GOLDEN / name, sep="\t", nrows=0).columns)

    assert list(Layout("genomicsem", True, True).columns) == header("cfgwas_standard_400.tsv")
    assert list(Layout("genomicsem", False, True).columns) == header("usergwas_b_sub_F1_60.tsv")
    assert list(Layout("genomicsem", False, False).columns) == header("usergwas_e0null_fixFALSE_400.tsv.gz")
    assert list(Layout("genomicsem", True, True, z_smooth=True).columns) == header("cfgwas_nonPDS_smooth_20.tsv")
    assert list(Layout("genomicsem", False, True, z_smooth=True).columns) == header("usergwas_b_nonPDS_smooth_20.tsv")


def test_genomicsem_keeps_every_snp(rows: pa.Table) -> None:
    user = written(rows, Layout("genomicsem", False, True, label="g"))
    assert user["error"].tolist() == ["0", "beta of T1 is missing", "0"]
    assert user["warning"].tolist() == ["0", "0", "residual variance of T2 is negative"]
    assert user["est"].tolist() == ["-0.1", "NA", repr(1 / 3)] and set(user["label"]) == {"g"}
    assert user["free"].tolist() == ["1", "0", "1"]  # of a run that does not tell
    numbered = written(rows, Layout("genomicsem", False, True, free=9, z_smooth=True))
    assert numbered["free"].tolist() == ["9", "NA", "9"] and numbered["Z_smooth"].tolist() == ["0.25", "0", "0"]
    factor = written(rows, Layout("genomicsem", True, True))
    assert factor["i"].tolist() == ["1", "2", "3"] and factor["fail"].tolist() == user["error"].tolist()


def test_a_p_value_below_the_smallest_double_keeps_its_digits(rows: pa.Table) -> None:
    ssf = written(rows, Layout("gwas-ssf", False, True, n=1234.6))
    mantissa, exponent = ssf["p_value"][0].split("e-")
    assert int(exponent) - np.log10(float(mantissa)) == pytest.approx(rows.column("neglog10p")[0].as_py(), rel=1e-11)
    assert ssf["rsid"].tolist() == ["rs1", "#NA"] and ssf["effect_allele_frequency"].tolist() == ["0.9", "#NA"]
    assert ssf["n"].tolist() == ["1235", "1235"] and ssf["q_snp"].tolist() == ["2", "5"]
    fuma = written(rows, Layout("fuma", False, True, n=1234.6))
    assert float(fuma["P"][0]) == 1e-308 and fuma["SNP"].tolist() == ["rs1", "1:3_A_G"]
    assert written(rows, Layout("ldsc", False, True, n=10.0))["Z"].astype(float).tolist() == [-50.0, 1.25]
