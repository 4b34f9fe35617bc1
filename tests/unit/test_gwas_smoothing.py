"""The compiled smoothing against the one of methods.sem, and the fast ways through it against the slow one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gsem_spark.methods.gwas import CommonFactorGwas
from gsem_spark.methods.gwas.smoothed_batch import nearest_pd
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.smooth import near_pd


def structure(k: int = 4, *, bad_s: bool = False, bad_v: bool = False) -> CovStruct:
    rng = np.random.default_rng(k)
    loadings = rng.uniform(0.3, 0.6, k)
    S = np.outer(loadings, loadings) + np.diag(rng.uniform(0.05, 0.3, k))
    if bad_s:
        S[0, 1] = S[1, 0] = 1.03 * np.sqrt(S[0, 0] * S[1, 1])
    size = k * (k + 1) // 2
    root = rng.normal(0, 0.001, (size, size)) + np.eye(size) * 0.008
    V = root @ root.T
    if bad_v:
        V[0, 1] = V[1, 0] = 1.05 * np.sqrt(V[0, 0] * V[1, 1])
    return CovStruct.from_matrices(S, V, np.eye(k) + 0.05, [f"T{i}" for i in range(k)])


def scan(k: int, n: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    se = rng.uniform(0.003, 0.009, (n, k))
    return rng.normal(0, 2, (n, k)) * se, se, rng.uniform(0.05, 0.5, n)


@pytest.mark.parametrize("n", [2, 4, 7])
@pytest.mark.parametrize("seed", range(5))
def test_compiled_nearest_pd_is_that_of_sem(n: int, seed: int) -> None:
    a = np.random.default_rng(seed).normal(0, 1, (n, n))
    a = (a + a.T) / 2 + 0.8 * np.eye(n)
    got = a.copy()
    assert nearest_pd(got)
    want = near_pd(a).matrix
    assert np.allclose(got, want, rtol=1e-9, atol=1e-11 * np.abs(a).max())


def test_compiled_nearest_pd_refuses_what_has_no_neighbour() -> None:
    assert not nearest_pd(-np.eye(3))
    assert not nearest_pd(np.full((3, 3), np.inf))


@pytest.mark.parametrize("std_lv", [False, True])
def test_compiled_way_equals_the_slow_one(std_lv: bool) -> None:
    gwas = CommonFactorGwas.prepare(structure(bad_s=True), std_lv=std_lv)
    batch = scan(4)
    got = gwas.fit(*batch)
    assert set(got["status"]) == {"smoothed"}
    for row in range(len(batch[2])):
        out = np.empty(4)
        _, _, _, z_smooth = gwas._fit_smoothed(batch[0][row], batch[1][row], batch[2][row], out)
        assert np.allclose([got[c][row] for c in ("est", "se", "q_snp", "chisq")], out, rtol=1e-6)
        assert got["z_smooth"][row] == pytest.approx(z_smooth, abs=1e-9)


def test_s_and_v_both_smoothed() -> None:
    gwas = CommonFactorGwas.prepare(structure(bad_s=True, bad_v=True))
    assert gwas.moments is not None
    batch = scan(4)
    got, slow = gwas.fit(*batch), replace(gwas, moments=None).fit(*batch)
    assert set(got["message"]) <= {f"S_full and V_full smoothed{end}" for end in ("", *(
        f"; residual variance of {t} is negative (Heywood case)" for t in gwas.traits))}
    for name in ("est", "se", "q_snp", "z_smooth"):
        assert np.allclose(got[name], slow[name], rtol=1e-6, atol=1e-9)
    assert got["status"].tolist() == slow["status"].tolist()


def test_snp_outside_the_common_smoothing_of_v_goes_its_own_way() -> None:
    """A SNP with tiny sampling variances would lose them to the eigenvalue cut-off; the exact way is taken for it alone."""
    gwas = CommonFactorGwas.prepare(structure(bad_v=True))
    beta, se, maf = scan(4, 3)
    se[1] *= 1e-3
    beta[1] *= 1e-3
    got, slow = gwas.fit(beta, se, maf), replace(gwas, moments=None).fit(beta, se, maf)
    for name in ("est", "se", "q_snp", "z_smooth"):
        assert np.allclose(got[name], slow[name], rtol=1e-6, atol=1e-9, equal_nan=True)
    assert got["z_smooth"][1] > 1e-3 > got["z_smooth"][0]


def test_order_and_size_of_batches_do_not_matter_when_smoothing() -> None:
    gwas = CommonFactorGwas.prepare(structure(bad_s=True))
    beta, se, maf = scan(4)
    whole, reverse = gwas.fit(beta, se, maf), gwas.fit(beta[::-1], se[::-1], maf[::-1])
    single = gwas.fit(beta[7:8], se[7:8], maf[7:8])
    for name in ("est", "se", "q_snp", "chisq", "z_smooth"):
        assert whole[name].tobytes() == reverse[name][::-1].tobytes()
        assert whole[name][7] == single[name][0]


def test_missing_snps_stay_missing_when_everything_is_smoothed() -> None:
    for cov in (structure(bad_s=True), structure(bad_v=True)):
        gwas = CommonFactorGwas.prepare(cov)
        beta, se, maf = scan(4, 3)
        beta[0, 1] = np.nan
        se[1, 2] = 0.0
        for prepared in (gwas, replace(gwas, moments=None)):
            got = prepared.fit(beta, se, maf)
            assert got["status"].tolist() == ["missing", "singular", "smoothed"]
            assert "smoothed" not in got["message"][0]
