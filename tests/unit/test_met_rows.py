"""Rows of several traits that meet by SNP."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gsem_spark.steps.met_rows import met_rows, side_by_side

ROWS = pa.table({
    "trait": pa.array([1, 0, 1, 0, 0, 1, 0], pa.int32()),
    "snp": ["rs3", "rs9", "rs1", "rs1", "rs3", "rs9", "rs7"],
    "bp": [20, 10, 20, 20, 20, 10, 5],
    "z": [1.0, 2.0, 3.0, 4.0, None, 6.0, 7.0],
})  # fmt: skip


def test_snps_of_all_traits_by_position_and_name_each_trait_s_row_beside() -> None:
    shared, at = met_rows(ROWS, 2, ["snp", "bp"])
    assert shared.to_pydict() == {"snp": ["rs9", "rs1", "rs3"], "bp": [10, 20, 20]}
    assert at.tolist() == [[1, 5], [3, 2], [4, 0]]
    np.testing.assert_array_equal(side_by_side(ROWS, "z", at), [[2.0, 6.0], [4.0, 3.0], [np.nan, 1.0]])


def test_traits_that_share_nothing() -> None:
    for rows in (ROWS.slice(0, 0), ROWS.slice(0, 2)):
        shared, at = met_rows(rows, 2, ["snp", "bp"])
        assert shared.num_rows == 0
        assert side_by_side(rows, "z", at).shape == (0, 2)
