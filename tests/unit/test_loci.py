"""Loci, flags, inflation and effective N on hits small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gsem_spark.catalog.schemas import LOCI
from gsem_spark.errors import DataError
from gsem_spark.methods.gwas import HIT_COLUMNS, LOCUS_COLUMNS, effective_n, effective_n_terms, find_loci, flag_hits, lambda_gc


def hits(rows: list[tuple[str, int, int | None, float, float]]) -> pd.DataFrame:
    """Rows of (snp, chr, bp, p, q_snp_p)."""
    frame = pd.DataFrame(rows, columns=["snp", "chr", "bp", "p", "q_snp_p"])
    with np.errstate(divide="ignore"):
        frame = frame.assign(neglog10p=-np.log10(frame["p"]), q_snp_neglog10p=-np.log10(frame["q_snp_p"]))
    return frame.assign(a1="A", a2="G", maf=0.3, est=0.02, se=0.003, z=6.0, q_snp=1.0)[list(HIT_COLUMNS)]


ROWS = [
    ("rs1", 1, 1_000_000, 1e-9, 0.5),
    ("rs2", 1, 1_400_000, 1e-12, 0.5),  # leads: 400 kb from rs1, 500 kb from rs3
    ("rs3", 1, 1_900_000, 1e-10, 1e-3),
    ("rs4", 1, 2_000_000, 1e-8, 0.5),  # 600 kb from the lead: a locus of its own
    ("rs5", 2, 1_400_000, 4e-8, 0.02),
    ("rs6", 2, 9_000_000, 0.4, 1e-9),  # against the factor only
]


def test_distance_clumping_by_hand() -> None:
    loci = find_loci(hits(ROWS))
    assert tuple(loci.columns) == LOCUS_COLUMNS
    assert loci["snp"].tolist() == ["rs2", "rs4", "rs5", "rs6"]
    assert loci["locus"].tolist() == [1, 2, 3, 4]
    assert loci["signal"].tolist() == ["factor", "factor", "factor", "q_snp"]
    assert loci["n_snps"].tolist() == [3, 1, 1, 1]
    assert (loci["start"][0], loci["end"][0]) == (1_000_000, 1_900_000)


def test_flags_use_the_number_of_factor_snps() -> None:
    flagged = flag_hits(hits(ROWS)).set_index("snp")
    # five factor hits: Q_SNP is tested at .01
    assert flagged["factor_sig"].tolist() == [True] * 5 + [False]
    assert flagged["qsnp_sig"].tolist() == [False, False, True, False, False, True]
    assert flagged["factor_only"].tolist() == [True, True, False, True, True, False]
    assert find_loci(hits(ROWS)).set_index("snp").loc["rs5", "factor_only"]


def test_row_order_does_not_matter_and_ties_are_settled() -> None:
    frame = hits([*ROWS, ("rs0", 1, 1_400_000, 1e-12, 0.5)])
    want = find_loci(frame)
    assert want["snp"][0] == "rs0"
    for seed in range(5):
        pd.testing.assert_frame_equal(find_loci(frame.sample(frac=1, random_state=seed)), want)


def test_strength_is_read_where_p_has_become_zero() -> None:
    frame = hits([("rs1", 1, 100, 0.0, 0.5), ("rs2", 1, 200, 0.0, 0.5)]).assign(neglog10p=[320.0, 400.0])
    assert find_loci(frame)["snp"].tolist() == ["rs2"]


def test_same_snp_can_lead_a_locus_of_either_signal() -> None:
    loci = find_loci(hits([("rs1", 3, 100, 1e-9, 1e-9)]))
    assert loci["signal"].tolist() == ["factor", "q_snp"] and loci["locus"].tolist() == [1, 2]
    assert not loci["factor_only"].any()


def test_snp_without_position_stands_alone() -> None:
    loci = find_loci(hits([("rs1", 1, None, 1e-9, 0.5), ("rs2", 1, 100, 1e-10, 0.5), ("rs3", 1, None, 1e-9, 0.5)]))
    assert loci["n_snps"].tolist() == [1, 1, 1]
    assert loci["start"].isna().sum() == 2


def test_window_can_be_set() -> None:
    assert len(find_loci(hits(ROWS), window_bp=50_000).query("signal == 'factor'")) == 5
    assert len(find_loci(hits(ROWS), window_bp=2_000_000).query("signal == 'factor'")) == 2


@pytest.mark.parametrize("rows", [[], [("rs1", 1, 100, 0.3, 0.3)]])
def test_nothing_significant_gives_a_typed_empty_frame(rows: list[tuple[str, int, int, float, float]]) -> None:
    empty, full = find_loci(hits(rows)), find_loci(hits(ROWS))
    assert len(empty) == 0
    assert empty.dtypes.astype(str).to_dict() == full.dtypes.astype(str).to_dict()


def test_columns_are_those_of_the_table() -> None:
    assert ("run_id", *LOCUS_COLUMNS[:1]) == LOCI.names[:2]
    assert set(LOCUS_COLUMNS) == set(LOCI.names) - {"run_id", "path"}  # the step says of which run and path they are


def test_missing_column_and_repeated_snp_are_named() -> None:
    with pytest.raises(DataError, match="q_snp_p"):
        find_loci(hits(ROWS).drop(columns="q_snp_p"))
    with pytest.raises(DataError, match="rs1"):
        find_loci(pd.concat([hits(ROWS), hits(ROWS[:1])]))


def test_lambda_of_a_null_scan_is_one() -> None:
    assert lambda_gc(0.45493642311957283) == pytest.approx(1, rel=1e-12)
    assert lambda_gc(2 * 3.3566939800333224, df=4) == pytest.approx(2, rel=1e-9)


def test_effective_n_recovers_the_sample_size_of_a_measured_trait() -> None:
    rng = np.random.default_rng(1)
    maf = rng.uniform(0.01, 0.5, 500)
    se = 1 / np.sqrt(2 * maf * (1 - maf) * 80_000)
    se[:3] = [np.nan, 0.0, -1.0]
    assert effective_n(maf, se) == pytest.approx(80_000, rel=1e-12)
    assert effective_n(maf, se * 0.5, factor_variance=0.25) == pytest.approx(80_000, rel=1e-12)
    halves = [effective_n_terms(maf[part], se[part]) for part in (slice(0, 200), slice(200, 500))]
    assert sum(t for t, _ in halves) / sum(c for _, c in halves) == pytest.approx(80_000, rel=1e-12)


def test_effective_n_without_common_snps_says_so() -> None:
    with pytest.raises(DataError, match=r"0\.1 and 0\.4"):
        effective_n([0.05], [0.01])
