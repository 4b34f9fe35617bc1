"""GWAS of any model against GenomicSEM 0.0.5 (R) and against tight lavaan fits of the same models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.gwas import UserModelGwas
from gsem_spark.methods.gwas.snp_model import free_numbers
from gsem_spark.methods.ldsc.covstruct import CovStruct

R_EST, R_SE, R_CHISQ = 1e-4, 1e-5, 1e-5
TIGHT = 1e-6
# The reference's estimates are off by up to R_EST standard errors (it stops early; gsem_vs_tight_gwas.json), so its Q_SNP is off
# by that times 2 sqrt(Q), and the errors of products of estimates by as much.
R_Q_SHIFT = 2.0 * R_EST
# Variances beside a fixed measurement follow the reference's own, looser fit of it: they get the same allowance.
# The tight ML fits' SEs come from weights taken just before their last step (see tests/golden/test_gwas_golden.py).
TIGHT_ML_SE = 3e-6
# A smoothed V has eigenvalues from 1 to 1e-8: its inverse enlarges the same shift in a chi-square of a million.
R_CHISQ_SMOOTHED = 5e-5
ROUTES = {("a", True): "analytic", ("b", True): "reduced", ("d", True): "reduced"}


@pytest.fixture(scope="module", params=["small", "large"])
def answers(request: pytest.FixtureRequest) -> Path:
    if request.param == "small":
        return Path(__file__).parents[1] / "data" / "gsem_small" / "answers"
    find: Callable[[str], Path] = request.getfixturevalue("shared_golden")
    return find("golden/gsem/answers")


def table(answers: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(answers / name, sep="\t", float_precision="round_trip")


def structure(answers: Path) -> CovStruct:
    S, V, I = (table(answers, f"ldsc_{name}.tsv") for name in "SVI")
    return CovStruct.from_matrices(S.to_numpy(), V.to_numpy(), I.to_numpy(), list(S.columns))


def models(answers: Path) -> dict[str, str]:
    return json.loads((answers / "gwas" / "models.json").read_text())


def scan(answers: Path, gwas: UserModelGwas, only: pd.Series | None = None) -> pd.DataFrame:
    snps = table(answers, "gwas/snps_400.tsv")
    if only is not None:
        snps = snps[snps["SNP"].isin(only)]
    beta, se = (snps[[f"{what}.{t}" for t in gwas.traits]].to_numpy() for what in ("beta", "se"))
    frame = gwas.frame(gwas.fit(beta, se, snps["MAF"].to_numpy()))
    return frame.assign(SNP=snps["SNP"].to_numpy()[frame["snp"]], rhs=frame["rhs"].str.replace(" ", ""))


def paired(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Rows of both, one a SNP and parameter; every row of ours must be among theirs."""
    theirs = theirs[~theirs["op"].isin(["da"])]
    both = ours.merge(theirs, on=["SNP", "lhs", "op", "rhs"], suffixes=("", "_want"), validate="one_to_one")
    assert len(both) == ours["SNP"].isin(theirs["SNP"]).sum() > 0
    return both


def largest(values: pd.Series) -> float:
    return float(np.max(np.abs(values.to_numpy()), initial=0.0))


def compare(both: pd.DataFrame, est: float, se: float, chisq: float, q_shift: float = 0.0) -> None:
    assert (both["SE"].isna() == both["se"].isna()).all()
    free = both[both["SE"].notna()]
    own = free["rhs"] == "SNP"
    gap = (free["est"] - free["est_want"]) / free["SE"]
    assert largest(gap[own]) < est and largest(gap[~own]) < est + q_shift
    plain = free[free["op"] != ":="]
    assert largest(plain["se"] / plain["SE"] - 1) < se
    made = free[free["op"] == ":="]
    assert largest(made["se"] / made["SE"] - 1) < se + q_shift
    fixed = both[both["SE"].isna()]
    assert np.allclose(fixed["est"], fixed["est_want"], rtol=1e-4, atol=1e-12)
    assert np.max(np.abs(both["chisq"] - both["chisq_want"]) / (1e-12 / chisq + both["chisq_want"])) < chisq
    assert (both["chisq_df"] == both["chisq_df_want" if "chisq_df_want" in both else "df"]).all()
    if "Q_SNP" in both:
        tested = both[both["Q_SNP"].notna()]
        assert (both["Q_SNP"].isna() == both["q_snp"].isna()).all()
        gap = np.abs(tested["q_snp"] - tested["Q_SNP"])
        assert (gap <= chisq * tested["Q_SNP"] + q_shift * np.sqrt(tested["Q_SNP"]) + q_shift**2).all()
        large = tested["Q_SNP"] > 1  # where the reference's shift is small beside Q_SNP, the plain relative error
        assert (gap[large] <= chisq * tested.loc[large, "Q_SNP"]).all()
    if "AIC" in both:
        assert np.allclose(both["aic"], both["AIC"], rtol=chisq)
        assert np.allclose(both["p"], both["Pval_Estimate"], rtol=1e-2, atol=1e-300, equal_nan=True)
        assert np.allclose(both["chisq_p"], both["chisq_pval"], rtol=1e-3, atol=1e-300) or both["chisq_df"].max() == 0
    if "Q_SNP_df" in both:
        assert (tested["q_snp_df"] == tested["Q_SNP_df"]).all()


def against_r(both: pd.DataFrame) -> None:
    compare(both, R_EST, R_SE, R_CHISQ, R_Q_SHIFT)


@pytest.mark.parametrize("sub", [None, "all"])
@pytest.mark.parametrize("fix", [True, False])
@pytest.mark.parametrize("name", ["a", "b", "d"])
def test_dwls(answers: Path, name: str, fix: bool, sub: str | None) -> None:
    gwas = UserModelGwas.prepare(structure(answers), models(answers)[name], sub=sub, fix_measurement=fix)
    assert gwas.route == ("iterative" if sub else ROUTES.get((name, fix), "iterative"))
    got = scan(answers, gwas)
    assert set(got["status"]) == {"ok"}
    against_r(paired(got, table(answers, f"gwas/usergwas_{name}_fix{str(fix).upper()}_400.tsv.gz")))
    compare(paired(got, table(answers, f"gwas_tight/usergwas_{name}_fix{str(fix).upper()}_60.tsv")), TIGHT, TIGHT, TIGHT)


@pytest.mark.parametrize("name", ["e", "e0"])
def test_independent_pathways(answers: Path, name: str) -> None:
    """The saturated model, and the same with all effects at 0, whose chi-square is the omnibus test."""
    gwas = UserModelGwas.prepare(structure(answers), models(answers)[name], sub="all", fix_measurement=False)
    file = "usergwas_e_fixFALSE_400" if name == "e" else "usergwas_e0null_fixFALSE_400"
    both = paired(scan(answers, gwas), table(answers, f"gwas/{file}.tsv.gz"))
    if name == "e":
        assert (both["chisq_df"] == 0).all() and both["chisq"].abs().max() < 1e-9
        both = both.assign(chisq=both["chisq_want"], aic=both["AIC"])
    against_r(both)


@pytest.mark.parametrize("gc", ["conserv", "none"])
def test_gc(answers: Path, gc: str) -> None:
    gwas = UserModelGwas.prepare(structure(answers), models(answers)["b"], gc=gc)
    against_r(paired(scan(answers, gwas), table(answers, f"gwas/usergwas_b_fixTRUE_GC{gc}_60.tsv")))


@pytest.mark.parametrize("fix", [True, False])
def test_std_lv(answers: Path, fix: bool) -> None:
    gwas = UserModelGwas.prepare(structure(answers), models(answers)["b"], std_lv=True, fix_measurement=fix, sub="all")
    against_r(paired(scan(answers, gwas), table(answers, f"gwas/usergwas_b_fix{str(fix).upper()}_stdlv_60.tsv")))


@pytest.mark.parametrize("factor", ["F1", "F2"])
def test_sub(answers: Path, factor: str) -> None:
    gwas = UserModelGwas.prepare(structure(answers), models(answers)["b"], sub=[f"{factor} ~ SNP"])
    want = table(answers, f"gwas/usergwas_b_sub_{factor}_60.tsv")
    got = scan(answers, gwas, want["SNP"])
    assert len(got) == len(want)
    against_r(paired(got, want))


def test_snp_se(answers: Path) -> None:
    gwas = UserModelGwas.prepare(structure(answers), models(answers)["b"], snp_se=0.01, sub="all", toler=1e-30)
    against_r(paired(scan(answers, gwas), table(answers, "gwas/usergwas_b_SNPSE0.01_toler1e-30_20.tsv")))


@pytest.mark.parametrize(("name", "fix", "estimation", "std_lv", "file"), [
    *((name, fix, "DWLS", False, f"{name}_fix{str(fix).upper()}_400.tsv.gz") for name in "abd" for fix in (True, False)),
    ("e", False, "DWLS", False, "e_fixFALSE_400.tsv.gz"), ("e0", False, "DWLS", False, "e0null_fixFALSE_400.tsv.gz"),
    ("b", False, "ML", False, "b_fixFALSE_ML_60.tsv"), ("b", True, "ML", False, "b_fixTRUE_ML_60.tsv"),
    ("b", False, "DWLS", True, "b_fixFALSE_stdlv_60.tsv"), ("b", True, "DWLS", True, "b_fixTRUE_stdlv_60.tsv"),
])
def test_rows_stand_and_count_as_in_the_reference(
    answers: Path, name: str, fix: bool, estimation: str, std_lv: bool, file: str
) -> None:
    cov = structure(answers)
    gwas = UserModelGwas.prepare(
        cov, models(answers)[name], "all", fix_measurement=fix, estimation=estimation, std_lv=std_lv
    )
    want = table(answers, f"gwas/usergwas_{file}")
    want = want[want["SNP"] == want["SNP"].iloc[0]]
    numbers = free_numbers(gwas.model, gwas.rows, estimation == "ML" and not fix)
    got = [(r.lhs, r.op, r.rhs.replace(" ", ""), n) for r, n in zip(gwas.rows, numbers, strict=True)]
    assert got == list(want[["lhs", "op", "rhs", "free"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("fix", [True, False])
def test_ml_is_held_to_the_tight_fits_alone(answers: Path, fix: bool) -> None:
    """The reference's ML scan keeps the first SNP's variance for all SNPs; its numbers are no target."""
    want = table(answers, f"gwas_tight/usergwas_b_fix{str(fix).upper()}_ML_60.tsv")
    gwas = UserModelGwas.prepare(structure(answers), models(answers)["b"], estimation="ML", fix_measurement=fix, sub="all")
    got = scan(answers, gwas, want["SNP"])
    compare(paired(got, want), TIGHT, TIGHT_ML_SE, TIGHT)


@pytest.mark.parametrize(("matrix", "fix", "file"), [
    ("S", True, "usergwas_b_nonPDS_smooth_20"), ("S", False, "usergwas_b_nonPDS_smooth_fixFALSE_20"),
    ("V", True, "usergwas_b_nonPDV_smooth_20"),
])
def test_smoothing(answers: Path, matrix: str, fix: bool, file: str) -> None:
    cov = structure(answers)
    bad = table(answers, f"gwas/nonPD_{matrix}.tsv").drop(columns="row", errors="ignore").to_numpy()
    broken = CovStruct.from_matrices(bad if matrix == "S" else cov.S, bad if matrix == "V" else cov.V, cov.I, cov.traits)
    want = table(answers, f"gwas/{file}.tsv")
    for sub in (None, "all"):
        got = scan(answers, UserModelGwas.prepare(broken, models(answers)["b"], fix_measurement=fix, sub=sub), want["SNP"])
        assert set(got["status"]) == {"smoothed"}
        both = paired(got, want)
        compare(both, R_EST, R_SE, R_CHISQ_SMOOTHED if matrix == "V" else R_CHISQ, R_Q_SHIFT)
        assert np.max(np.abs(both["z_smooth"] - both["Z_smooth"])) < 1e-6
