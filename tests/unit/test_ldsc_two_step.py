"""ldsc's estimator on small arrays: against a twin written out step by step, and wrong input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.arrays import LdscTrait
from gsem_spark.methods.ldsc.two_step import PairData, correlation, covariance, heritability, intercept_matrix
from gsem_spark.methods.ldsc.two_step_covstruct import pair_data, two_step_from_arrays

M, BLOCKS = 4e5, 20


def data(m: int = 3000, seed: int = 1) -> PairData:
    rng = np.random.default_rng(seed)
    l2, wld = rng.lognormal(3, 1, m), rng.lognormal(2, 1, m)
    n1, n2 = rng.uniform(3e4, 5e4, m), rng.uniform(2e4, 3e4, m)
    per_snp = np.array([[0.4, 0.2], [0.2, 0.3]]) / M
    root_n = np.sqrt(np.column_stack([n1, n2]))
    covariance = root_n[:, :, None] * per_snp * root_n[:, None, :] * l2[:, None, None] + [[1.05, 0.3], [0.3, 1.0]]
    z = np.einsum("jab,jb->ja", np.linalg.cholesky(covariance), rng.normal(size=(m, 2)))
    return PairData(z[:, 0], z[:, 1], n1, n2, l2, wld)


def regress(x, y, w):
    root = np.sqrt(w)
    return np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]


def twin(d: PairData, cut: float, h1, h2) -> tuple[float, float, float, float]:
    """Genetic covariance in two steps: rows deleted, every fit by least squares on the rows themselves."""
    y, root_n, m = d.z1 * d.z2, np.sqrt(d.n1 * d.n2), d.z1.size
    mean_n = root_n.mean()

    def weights(ld, slope, intercept, at):
        ld, g = np.maximum(ld, 1), np.clip(slope, -1, 1)
        a = d.n1[at] * np.clip(h1.estimate, 0, 1) * ld / M + h1.intercept
        b = d.n2[at] * np.clip(h2.estimate, 0, 1) * ld / M + h2.intercept
        return 1 / (a * b + (root_n[at] * g * ld / M + intercept) ** 2) / np.maximum(d.wld[at], 1)

    start = weights(d.l2, M * y.mean() / (d.l2 * root_n).mean(), 0.0, slice(None))
    x = root_n * d.l2 / mean_n
    low = (d.z1**2 < cut) & (d.z2**2 < cut)
    X, w = np.column_stack([x[low], np.ones(low.sum())]), start[low]
    for _ in range(2):
        slope, intercept = regress(X, y[low], w)
        w = weights(x[low], M * slope / mean_n, intercept, low)
    edges1 = np.floor(np.linspace(0, low.sum(), BLOCKS + 1)).astype(int)
    held = regress(X, y[low], w)[1]
    deleted1 = [regress(*(np.delete(a, np.arange(i, j), axis=0) for a in (X, y[low], w)))[1]
                for i, j in pairwise(edges1)]
    v = start
    for _ in range(2):
        slope = regress(x[:, None], y - held, v)[0]
        v = weights(d.l2, M * slope / mean_n, held, slice(None))
    edges2 = [0, *np.flatnonzero(low)[edges1[1:-1]], m]
    full = regress(x[:, None], y - held, v)[0]
    give = (start * x).sum() / (start * x * x).sum()
    deleted2 = [regress(*(np.delete(a, np.arange(i, j), axis=0) for a in (x[:, None], y - held, v)))[0] - give * (e - held)
                for i, j, e in zip(edges2[:-1], edges2[1:], deleted1, strict=True)]
    pseudo = BLOCKS * np.array([full, held]) - (BLOCKS - 1) * np.column_stack([deleted2, deleted1])
    se = np.sqrt(pseudo.var(axis=0, ddof=1) / BLOCKS)
    return full * M / mean_n, se[0] * M / mean_n, held, se[1]


def test_two_steps_of_a_covariance_equal_their_twin():
    d = data()
    h1 = heritability(d.z1, d.n1, d.l2, d.wld, M, n_blocks=BLOCKS)
    h2 = heritability(d.z2, d.n2, d.l2, d.wld, M, n_blocks=BLOCKS)
    got = covariance(d, h1, h2, M, n_blocks=BLOCKS, cut=8.0)
    assert got.n_snps_step_1 < got.n_snps
    np.testing.assert_allclose([got.estimate, got.se, got.intercept, got.intercept_se], twin(d, 8.0, h1, h2), rtol=1e-8)


def test_truth_is_found_again():
    d = data(20_000)
    got = correlation(d, M)
    assert got.rg == pytest.approx(0.2 / np.sqrt(0.12), abs=4 * got.se)
    assert got.covariance.intercept == pytest.approx(0.3, abs=4 * got.covariance.intercept_se)
    sigma = intercept_matrix(np.column_stack([d.z1, d.z2]), np.column_stack([d.n1, d.n2]), d.l2, d.wld, M)
    np.testing.assert_allclose(sigma, [[1.05, 0.3], [0.3, 1.0]], atol=0.1)
    assert sigma[0, 1] == got.covariance.intercept
    alone = intercept_matrix(np.column_stack([d.z1, d.z2]), np.column_stack([d.n1, d.n2]), d.l2, d.wld, M, no_overlap=True)
    assert np.array_equal(alone, np.diag(np.diag(sigma)))


def test_given_intercepts_are_kept():
    d = data()
    got = correlation(d, M, n_blocks=BLOCKS, intercepts=(1.0, 1.0, 0.0))
    assert (got.h2_1.intercept, got.covariance.intercept) == (1.0, 0.0)
    assert np.isnan(got.h2_1.intercept_se)
    assert got.rg > correlation(d, M, n_blocks=BLOCKS).rg, "overlap then counts as genetic covariance"
    one = heritability(d.z1, d.n1, d.l2, d.wld, M, n_blocks=BLOCKS, intercept=1.0)
    assert one.estimate == pytest.approx(got.h2_1.estimate)


def test_a_chi_square_limit_leaves_snps_out():
    d = data()
    got = heritability(d.z1, d.n1, d.l2, d.wld, M, n_blocks=BLOCKS, chisq_max=10.0)
    assert got.n_snps == (d.z1**2 < 10).sum() < 3000
    assert correlation(d, M, n_blocks=BLOCKS, chisq_max=10.0).covariance.n_snps == (np.abs(d.z1 * d.z2) < 10).sum()


def test_no_correlation_without_heritability():
    d = data()
    got = correlation(PairData(d.z1 / 3, d.z2, d.n1, d.n2, d.l2, d.wld), M, n_blocks=BLOCKS, intercepts=(1.0, 1.0, 0.0))
    assert got.h2_1.estimate < 0
    assert np.isnan([got.rg, got.se, got.p]).all()
    assert np.isnan(got.h2_1.ratio), "mean chi-square below 1"


def test_wrong_input():
    d = data(300)
    with pytest.raises(DataError, match="too few for 200 jackknife blocks"):
        heritability(d.z1[:150], d.n1[:150], d.l2[:150], d.wld[:150], M)
    with pytest.raises(DataError, match="do not vary"):
        heritability(d.z1, np.full(300, 1e4), np.full(300, 5.0), d.wld, M, n_blocks=BLOCKS)
    with pytest.raises(DataError, match="not all finite"):
        heritability(np.where(d.z1 > 1, np.nan, d.z1), d.n1, d.l2, d.wld, M, n_blocks=BLOCKS)
    bad = heritability(d.z1, d.n1, d.l2, d.wld, M, n_blocks=BLOCKS, intercept=-1.0)
    with pytest.raises(DataError, match="intercept is -1"):
        covariance(d, bad, bad, M, n_blocks=BLOCKS)


def test_traits_meet_on_the_panel():
    d = data(400)
    places = np.arange(400)
    order = np.random.default_rng(2).permutation(400)
    a = LdscTrait("A", places[order], d.z1[order], d.n1[order])
    z2 = d.z2.copy()
    z2[5] = np.nan
    b = LdscTrait("B", np.append(places[100:], 100), np.append(z2[100:], 99.0), np.append(d.n2[100:], 1.0))
    got = pair_data(a, b, d.l2, d.wld)
    assert np.array_equal(got.z1, d.z1[100:])
    assert np.array_equal(got.z2, d.z2[100:]), "the first copy of a SNP counts"
    cov = two_step_from_arrays([a, b], d.l2, d.wld, M, n_blocks=BLOCKS)
    assert cov.V.shape == (3, 3)
    assert cov.settings["method"] == "ldsc"
    assert [r["n_snps"] for r in cov.diagnostics["traits"]] == [400, 300]
    with pytest.raises(DataError, match="trait X"):
        pair_data(LdscTrait("X", places, np.full(400, np.nan), d.n1), b, d.l2, d.wld)
