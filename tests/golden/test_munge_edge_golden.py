"""The 40-row hand-dirtied files: every quirk of the reference's munge() and sumstats(), value by value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats import HarmoniseSpec, check_columns, effect_kind, harmonise_frame, resolve, sniff

FILES = {"ols": "edge_ols.tsv", "or": "edge_or.tsv", "z": "edge_z_neffhalf.tsv", "alt": "edge_altnames.tsv"}


@pytest.fixture
def edge(shared_golden: Callable[[str], Path]) -> Path:
    return shared_golden("golden/gsem/answers/edge")


def run(edge: Path, file: str, user: dict[str, str] | None = None, compat: str | None = "genomicsem", **settings):
    path = edge / FILES[file]
    form = sniff(path.read_bytes(), path.name)
    columns = resolve(form.header, user, compat=compat is not None, file=path.name, empty=form.empty)
    kind = effect_kind(form.column(columns.names["effect" if columns.has("effect") else "z"]))
    spec = HarmoniseSpec("T1", effect_kind=kind, compat=compat, p_as_text=columns.names["p"].upper() == "P", **settings)
    check_columns(columns, spec, file=path.name)
    raw = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    reference = pd.read_csv(edge / "edge_ref.tsv", sep="\t")
    return harmonise_frame(raw, columns, reference, spec, pd.read_csv(edge / "edge_snplist.tsv", sep="\t")["SNP"])[0]


MUNGED = {
    "munge_EO": ("ols", {}),
    "munge_ER": ("or", {}),
    "munge_EZ": ("z", {}),
    "munge_EX": ("alt", {}),
    "munge_EO0_info0": ("ols", {"ldsc_info_min": 0.0}),
    "munge_ER0_info0": ("or", {"ldsc_info_min": 0.0}),
    "munge_EZ0_info0": ("z", {"ldsc_info_min": 0.0}),
    "munge_EC_colnames_N777": ("alt", {"user": {"snp": "markername", "effect": "beta1"}, "n": 777.0}),
}


@pytest.mark.parametrize("case", MUNGED)
def test_munge(edge: Path, case: str) -> None:
    file, settings = MUNGED[case]
    answer = pd.read_csv(edge / f"{case}.tsv", sep="\t", na_values=["NA"]).sort_values(["SNP", "Z"], ignore_index=True)
    frame = run(edge, file, **settings)
    ours = frame[frame.keep_ldsc].sort_values(["snp", "z"], ignore_index=True)
    assert ours.snp.tolist() == answer.SNP.tolist()
    assert ours.a1.tolist() == answer.A1.tolist() and ours.a2.tolist() == answer.A2.tolist()
    np.testing.assert_allclose(ours.z, answer.Z, rtol=1e-11)  # infinite and NA Z included
    np.testing.assert_allclose(ours.n, answer.N, rtol=0)


SUMSTATS = {
    "ols": ("ols", {}),
    "logit": ("or", {"scale": "logistic"}),
    "or_se": ("or", {"scale": "logistic_or_se"}),
    "linprobN": ("ols", {"scale": "linear_probability", "n": 5000.0}),
    "betas": ("ols", {"standardised": True}),
    "direct": ("ols", {"direction_max_missing": 0.5}),
    "indel": ("ols", {"indels": True}),
    "ambig": ("ols", {"ambiguous": "drop"}),
    "info0": ("or", {"scale": "logistic", "info_min": 0.0, "maf_min": 0.0}),
}


@pytest.mark.parametrize("case", SUMSTATS)
def test_sumstats(edge: Path, case: str) -> None:
    file, settings = SUMSTATS[case]
    answer = pd.read_csv(edge / f"sumstats_{case}.tsv", sep="\t").set_index("SNP").sort_index()
    frame = run(edge, file, **settings)
    ours = frame[frame.keep_per_snp].set_index("snp").sort_index()
    assert ours.index.tolist() == answer.index.tolist()
    assert ours.a1.tolist() == answer.A1.tolist()
    np.testing.assert_allclose(ours.beta, answer["beta.T1"], rtol=1e-11)
    np.testing.assert_allclose(ours.se, answer["se.T1"], rtol=1e-11)
    np.testing.assert_allclose(ours.maf, answer["MAF"], rtol=1e-12)


def test_z_scores_of_a_logistic_trait_are_refused_as_in_the_reference(edge: Path) -> None:
    with pytest.raises(DataError, match="needs an effect and its standard error"):
        run(edge, "z", scale="logistic")


def test_default_rules_on_the_same_rows(edge: Path) -> None:
    frame = run(edge, "ols", compat=None, info_min=0.0, maf_min=0.0).set_index(["snp", "row"])
    rule = {snp: r for (snp, _), r in frame.rule.items()}
    expected = {
        "rs1334802": "allele_mismatch",
        "rs3754346": "indel",
        "rs1999230": "p_out_of_range",
        "rs4927084": "p_out_of_range",
        "rs17113634": "p_missing",
        "rs2207985": "effect_missing",
        "rs12125055": "allele_missing",
        "rs1329119": "p_missing",
        "rsNOTINREF": "not_in_reference",
        ".": "snp_missing",
        "rs7512617": "info_low",
        "rs2786487": "",  # p printed as 0: recovered from the effect and its standard error
        "rs12048452": "",  # p = 1e-400: from the text
        "rs12037087": "",  # other strand: complemented
        "rs12081664": "",  # effect 0: z = 0
        "rs635154": "",  # no frequency in the file: the reference's scales
    }
    assert {snp: rule[snp] for snp in expected} == expected
    assert frame.loc[("rs12048452", 8), "neglog10p"] == pytest.approx(400.0, rel=1e-15)
    assert frame.loc[("rs12048452", 8), "z"] == pytest.approx(-42.8, abs=0.1)
    assert frame.loc[("rs2786487", 6), "z"] == pytest.approx(-0.00944 / 0.015)
    assert frame.loc[("rs12081664", 13), "z"] == 0.0
    assert frame.loc["rs302809", "keep"].tolist() == [True, False]  # the first copy stays
