"""Munged rows (z, n) under compat="genomicsem" against GenomicSEM 0.0.5, and what the default rules do better, rule by rule."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods import pvalues
from gsem_spark.methods.sumstats import HarmoniseSpec, effect_kind, harmonise_frame, qc_rows, resolve, sniff, verify_effect_kind

TRAITS = {
    "AAA": ("AAA.OR", "logistic", 90000.0),
    "BBB": ("BBB.LOGOR", "logistic", 60000.0),
    "CCC": ("CCC.OLS", "linear", None),
    "DDD": ("DDD.ZN", "linear", None),
    "EEE": ("EEE.LPM", "linear_probability", 115200.0),
    "FFF": ("FFF.SSF", "linear", None),
}
Z_RTOL = 1e-9  # our tail function against R's qchisq, and 15 printed digits


def run(folder: Path, trait: str, compat: str | None):
    file, scale, n = TRAITS[trait]
    path = folder / f"{file}.tsv.gz"
    with gzip.open(path) as handle:
        form = sniff(handle.read(1 << 16), path.name)
    columns = resolve(form.header, compat=compat is not None, file=path.name, empty=form.empty)
    kind = effect_kind(form.column(columns.names["effect" if columns.has("effect") else "z"]), hint=columns.effect_hint)
    spec = HarmoniseSpec(trait, scale=scale, n=n, effect_kind=kind, compat=compat, p_as_text=columns.names["p"] == "P")
    raw = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    reference = pd.read_csv(folder / "reference.tsv", sep="\t")
    hm3 = pd.read_csv(folder / "snplist.tsv", sep="\t")["SNP"]
    frame, result = harmonise_frame(raw, columns, reference, spec, hm3)
    verify_effect_kind(result.counters, spec)
    dropped = {row["rule"]: row["rows_dropped"] for row in qc_rows(result.counters, spec)}
    return frame, dropped


def same_as_reference(frame: pd.DataFrame, answer: pd.DataFrame) -> None:
    ours = frame[frame.keep_ldsc].rename(columns={"snp": "SNP", "n": "N", "z": "Z", "a1": "A1", "a2": "A2"})
    ours, answer = (f[["SNP", "N", "Z", "A1", "A2"]].sort_values(["SNP", "N", "Z"], ignore_index=True) for f in (ours, answer))
    assert len(ours) == len(answer)
    for name in ("SNP", "N", "A1", "A2"):
        assert (ours[name] == answer[name]).all(), name
    np.testing.assert_allclose(ours["Z"], answer["Z"], rtol=Z_RTOL)  # NaN (p outside 0..1) must stand in the same rows


@pytest.mark.parametrize("trait", TRAITS)
def test_compat_gives_the_munged_rows_of_the_reference(small: Path, demo_data: Path, trait: str) -> None:
    frame, _ = run(demo_data / "raw", trait, "genomicsem")
    same_as_reference(frame, pd.read_csv(small / "answers" / "munged" / f"{trait}.sumstats.gz", sep="\t"))


@pytest.mark.slow
@pytest.mark.parametrize("trait", TRAITS)
def test_compat_gives_the_munged_rows_of_the_large_set(shared_golden: Callable[[str], Path], trait: str) -> None:
    root = shared_golden("golden/gsem")
    frame, _ = run(root / "inputs", trait, "genomicsem")
    same_as_reference(frame, pd.read_csv(root / "answers" / "munged" / f"{trait}.sumstats.gz", sep="\t"))


# counts as printed in the reference's own munge.log for AAA.OR.tsv.gz
AAA_LOG = {"ldsc:not_in_hm3": 27, "ldsc:p_missing": 23, "ldsc:a1_mismatch": 1255, "ldsc:a2_mismatch": 51, "ldsc:info_low": 684}
# … and in sumstats.log; its 121 "duplicated" are the copies and the 27 unnamed variants, copies of each other there
AAA_SUMSTATS_LOG = {
    "per_snp:p_missing": 23,
    "per_snp:effect_zero": 4,
    "per_snp:a1_mismatch": 1249,
    "per_snp:a2_mismatch": 51,
    "per_snp:info_low": 348,
}


def test_compat_drops_as_many_rows_a_rule_as_the_log_says(demo_data: Path) -> None:
    _, dropped = run(demo_data / "raw", "AAA", "genomicsem")
    assert {name: dropped[name] for name in AAA_LOG} == AAA_LOG
    assert {name: dropped[name] for name in AAA_SUMSTATS_LOG} == AAA_SUMSTATS_LOG
    assert dropped["per_snp:duplicate"] + dropped["per_snp:not_in_reference"] == 121


@pytest.mark.parametrize("trait", TRAITS)
def test_default_rules_keep_each_variant_once_and_agree_where_both_have_it(small: Path, demo_data: Path, trait: str) -> None:
    frame, dropped = run(demo_data / "raw", trait, None)
    answer = pd.read_csv(small / "answers" / "munged" / f"{trait}.sumstats.gz", sep="\t")
    kept = frame[frame.keep].set_index("snp")
    assert kept.index.is_unique  # rule "duplicate"
    # rule "p_out_of_range": the reference keeps those rows without a Z
    answer = answer[np.isfinite(answer["Z"])].drop_duplicates("SNP").set_index("SNP")
    both = answer.index.intersection(kept.index[kept.keep_ldsc])
    same = np.isclose(kept.loc[both, "z"], answer.loc[both, "Z"], rtol=Z_RTOL)
    assert same.mean() > 0.999  # the rest: another copy of a duplicate was chosen
    assert len(kept) > len(both)  # rule "strand_flipped": variants that the reference loses
    assert len(answer.index.difference(kept.index)) <= 0.01 * len(answer)
    assert dropped["duplicate"] > 0
    assert dropped["strand_flipped"] > 500


def test_default_rules_read_the_frequency_that_the_reference_does_not(demo_data: Path) -> None:
    default, _ = run(demo_data / "raw", "AAA", None)
    compat, _ = run(demo_data / "raw", "AAA", "genomicsem")
    assert compat["eaf"].isna().all()  # FRQ is no name of a frequency there
    kept = default[default.keep]
    assert kept["eaf"].notna().all()
    assert np.abs(np.minimum(kept["eaf"], 1 - kept["eaf"]) - kept["maf"]).max() < 1e-3  # swaps and flips turned it rightly


def test_default_z_is_consistent_with_p(demo_data: Path) -> None:
    frame, _ = run(demo_data / "raw", "FFF", None)
    kept = frame[frame.keep]
    np.testing.assert_allclose(pvalues.from_z(kept["z"])[1], kept["neglog10p"], rtol=1e-9, atol=1e-12)
