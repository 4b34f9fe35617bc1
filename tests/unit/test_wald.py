"""Multivariate Wald tests: their definition written out, what they refuse, and p-values far in the tail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas import UserModelGwas, WaldTest, fit_snps, wald
from gsem_spark.methods.ldsc.covstruct import CovStruct

K = 4
TRAITS = [f"T{i}" for i in range(K)]


@pytest.fixture(scope="module")
def cov() -> CovStruct:
    I = np.full((K, K), 0.1) + np.diag([0.85, 0.95, 1.05, 0.9])
    I[0, 1] = I[1, 0] = 0.4
    S = np.full((K, K), 0.12) + np.eye(K) * 0.2
    return CovStruct.from_matrices(S, np.eye(K * (K + 1) // 2) * 1e-4, I, TRAITS)


@pytest.fixture(scope="module")
def snps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    se = rng.uniform(0.004, 0.01, (20, K))
    return rng.normal(0, 2, (20, K)) * se, se, rng.uniform(0.05, 0.5, 20)


@pytest.mark.parametrize("gc", ["standard", "conserv", "none"])
def test_it_is_its_definition(cov: CovStruct, snps, gc: str) -> None:
    beta, se, _ = snps
    L = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 1.0, -1.0, 0.5]])
    got = wald(cov, *snps, contrast={"pair": L, "one": L[0]}, gc=gc)
    power = {"standard": 0.5, "conserv": 1.0, "none": 0.0}[gc]
    g = np.maximum(np.diag(cov.I), 1) ** power
    R = cov.I.copy()
    np.fill_diagonal(R, 1)
    for row in range(20):
        V = np.outer(se[row] * g, se[row] * g) * R
        rows = got[got["snp"] == row].set_index("test")
        b = beta[row]
        assert rows.loc["pair", "chisq"] == pytest.approx(L @ b @ np.linalg.solve(L @ V @ L.T, L @ b), rel=1e-10)
        assert rows.loc["one", "est"] == pytest.approx(L[0] @ b)
        assert rows.loc["one", "se"] == pytest.approx(np.sqrt(L[0] @ V @ L[0]))
        assert rows.loc["one", "chisq"] == pytest.approx((rows.loc["one", "est"] / rows.loc["one", "se"]) ** 2)
        assert rows.loc["pair", "omnibus_chisq"] == pytest.approx(b @ np.linalg.solve(V, b), rel=1e-10)
        assert rows.loc["pair", "p"] == pytest.approx(stats.chi2.sf(rows.loc["pair", "chisq"], 2), rel=1e-9)
        assert rows.loc["one", "omnibus_p"] == pytest.approx(stats.chi2.sf(rows.loc["one", "omnibus_chisq"], K), rel=1e-9)
    assert np.isnan(got.loc[got["test"] == "pair", "se"]).all()


def test_the_omnibus_test_is_the_model_with_no_effects(cov: CovStruct, snps) -> None:
    pairs = [f"{a} ~~ {b}" for n, a in enumerate(TRAITS) for b in TRAITS[:n]]
    null = "\n".join([*(f"{t} ~ 0*SNP" for t in TRAITS), *pairs])
    model = UserModelGwas.prepare(cov, null, fix_measurement=False, sub="all").fit(*snps)
    rows = len(model["chisq"]) // 20
    assert model["chisq_df"][0] == K
    assert np.allclose(wald(cov, *snps)["chisq"], model["chisq"][::rows], rtol=1e-8)


def test_the_three_questions_stand_in_one_row(cov: CovStruct, snps) -> None:
    for model in (None, "F1 =~ T0 + T1 + T2 + T3\nF1 ~ SNP"):
        got = fit_snps(cov, *snps, model=model, omnibus=True)
        assert np.allclose(got["omnibus_chisq"], wald(cov, *snps)["chisq"], rtol=1e-12)
        assert {"p", "q_snp_p", "omnibus_p", "omnibus_neglog10p"} <= set(got.columns)


def test_tails_are_exact_in_log_space(cov: CovStruct) -> None:
    se = np.full((1, K), 0.001)
    got = wald(cov, np.full((1, K), 0.1), se, [0.3])
    assert got.loc[0, "p"] == 0 and 500 < got.loc[0, "neglog10p"] < np.inf


def test_names_of_contrasts(cov: CovStruct, snps) -> None:
    assert wald(cov, *snps)["test"].unique().tolist() == ["omnibus"]
    assert wald(cov, *snps, contrast={"T0": 1, "T2": -0.5})["test"].unique().tolist() == ["T0 - 0.5*T2"]
    assert WaldTest.prepare(cov, {"x": {"T1": 1.0}, "y": np.eye(K)[:2]}).names == ("x", "y")
    by_name = wald(cov, *snps, contrast={"d": {"T3": 1, "T0": -1}})
    by_place = wald(cov, *snps, contrast=[-1, 0, 0, 1])
    assert np.array_equal(by_name["chisq"], by_place["chisq"])


@pytest.mark.parametrize(("contrast", "said"), [
    ([1.0, 2.0], "finite numbers of shape"), ({"T9": 1.0}, "no trait"), ([[1, 0, 0, 0], [2, 0, 0, 0]], "not independent"),
    ([0, 0, 0, 0], "not independent"), ([np.nan, 0, 0, 1], "finite numbers"), ({}, "empty"), (np.ones((5, K)), "not independent"),
])
def test_wrong_contrasts_are_refused(cov: CovStruct, contrast, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        WaldTest.prepare(cov, contrast)


def test_one_trait_is_refused(cov: CovStruct) -> None:
    with pytest.raises(ModelError, match="at least 2 traits"):
        WaldTest.prepare(cov.subset(["T0"]))


def test_bad_snps_and_shapes(cov: CovStruct, snps) -> None:
    beta, se, maf = (x[:4].copy() for x in snps)
    beta[0, 2], se[1, 0], maf[2] = np.nan, -1.0, 0.0
    got = wald(cov, beta, se, maf)
    assert got["status"].tolist() == ["missing", "singular", "singular", "ok"]
    assert "T2" in got.loc[0, "message"] and "T0" in got.loc[1, "message"] and "MAF" in got.loc[2, "message"]
    assert got.loc[:2, ["chisq", "p", "omnibus_p"]].isna().all(axis=None)
    with pytest.raises(ModelError, match="must be"):
        wald(cov, beta[:, :2], se, maf)
    frame = pd.DataFrame(beta[:, ::-1], columns=TRAITS[::-1])
    errors = pd.DataFrame(se, columns=[f"se.{t}" for t in TRAITS])
    pd.testing.assert_frame_equal(wald(cov, frame, errors, maf), got)


def test_flips_and_batches(cov: CovStruct, snps) -> None:
    beta, se, maf = snps
    test = WaldTest.prepare(cov, {"d": [1, -1, 0, 0], "e": np.eye(K)[:3]})
    one, other = test.fit(beta, se, maf), test.fit(-beta, se, maf)
    assert one["chisq"].tobytes() == other["chisq"].tobytes() and np.array_equal(one["est"], -other["est"], equal_nan=True)
    for row in range(20):
        part = test.fit(beta[row : row + 1], se[row : row + 1], maf[row : row + 1])
        assert part["chisq"].tobytes() == one["chisq"][2 * row : 2 * row + 2].tobytes()
        assert part["neglog10p"].tobytes() == one["neglog10p"][2 * row : 2 * row + 2].tobytes()
    order = [2, 0, 3, 1]
    turned = wald(cov.subset([TRAITS[i] for i in order]), beta[:, order], se[:, order], maf)
    assert np.allclose(turned["chisq"], one["omnibus_chisq"][::2], rtol=1e-9)
    assert (wald(cov, np.zeros_like(se), se, maf)["p"] == 1).all()


def test_overlap_that_is_no_correlation_is_smoothed_and_said(cov: CovStruct, snps) -> None:
    I = cov.I.copy()
    I[0, 1] = I[1, 0] = 1.3
    got = wald(CovStruct.from_matrices(cov.S, cov.V, I, TRAITS), *snps)
    assert set(got["status"]) == {"smoothed"} and np.isfinite(got["chisq"]).all()
