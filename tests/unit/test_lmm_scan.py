"""Scans: the same bytes in any block, the tests' definitions against dense algebra, tails, genotypes."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm import (
    gaussianize,
    join_arrays,
    kinship,
    low_rank_background,
    prepare_scan,
    scan,
    scan_block,
    split_arrays,
)
from gsem_spark.methods.lmm.genotypes import filter_variants, hardy_weinberg, impute_mean, standardise, summarise
from gsem_spark.methods.lmm.tails import from_f


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(3)
    n = 90
    G = rng.binomial(2, 0.3, (n, 700)).astype(np.int8)
    K = kinship(G.T, "standardised")
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = X @ [1.0, 0.5] + np.linalg.cholesky(K + 1e-6 * np.eye(n)) @ rng.normal(size=n) + rng.normal(size=n)
    G[rng.random(G.shape) < 0.02] = -1
    return G, y, X, K


PLANS = {
    "fixed": {"K": True, "test": ["wald_f", "lrt_ml"]},
    "exact": {"K": True, "exact": True, "test": ["wald_f", "lrt_ml", "score"]},
    "low rank": {"W": True}, "none": {}, "sets": {"K": True, "step": 3},
    "interaction": {"K": True, "inter": True, "inter0": True},
    "float32": {"K": True, "precision": "float32"}, "low rank, exact": {"W": True, "exact": True},
}


def options(cohort, name):
    G, _, X, K = cohort
    chosen = dict(PLANS[name])
    for key, value in (("K", K), ("W", low_rank_background(G.T, 5, 1)), ("inter", X[:, 1]), ("inter0", np.ones(len(X)))):
        if chosen.get(key) is True:
            chosen[key] = value
    return chosen


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("dtype", [np.int8, np.float64])
def test_same_bytes_whatever_the_blocks(cohort, name, dtype):
    G, y, X, _ = cohort
    plan = pickle.loads(pickle.dumps(prepare_scan(y, X, **options(cohort, name))))
    block = np.where(G.T < 0, np.nan, G.T) if dtype is np.float64 else G.T
    block = block[:699]
    whole = scan_block(plan, block)
    for size in (60, 255, 258):
        parts = [scan_block(plan, block[a : a + size], first=a) for a in range(0, len(block), size)]
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)


def dense(y, X, V, Z):
    """Generalised least squares with a known covariance, and its residual sums of squares."""
    C = np.linalg.cholesky(V)
    ys, Xs, Zs = (np.linalg.solve(C, m) for m in (y, X, np.column_stack([X, Z])))
    beta, *_ = np.linalg.lstsq(Zs, ys, rcond=None)
    null, *_ = np.linalg.lstsq(Xs, ys, rcond=None)
    r1, r0 = ys - Zs @ beta, ys - Xs @ null
    return beta[X.shape[1]:], r1 @ r1, r0 @ r0, np.linalg.solve(Zs.T @ Zs, np.eye(Zs.shape[1]))[X.shape[1]:, X.shape[1]:]


@pytest.mark.parametrize("low_rank", [False, True])
def test_every_test_against_dense_algebra(cohort, low_rank):
    G, y, X, K = cohort
    n, c = X.shape
    W = low_rank_background(G.T, 5, 1)
    kwargs = {"W": W} if low_rank else {"K": K}
    K = W @ W.T if low_rank else K
    g = impute_mean(G.T)[:3].T
    E = np.column_stack([np.ones(n), X[:, 1] ** 2])
    names = ["wald_f", "wald_chi2", "lrt_ml", "score", "score_chi2", "limix_lrt"]
    plan = prepare_scan(y, X, inter=E, step=3, test=names, **kwargs)
    frame = scan_block(plan, G.T[:3]).set_index("test")
    Z = np.hstack([g * E[:, [0]], g * E[:, [1]]])
    m = 6
    for test in names:
        kind = "ml" if test in ("lrt_ml", "score") else "reml"
        h = plan.null[kind].hsq
        beta, rss1, rss0, inverse = dense(y, X, h * K + (1 - h) * np.eye(n), Z)
        df = n - c - m
        wanted = {"wald_f": (rss0 - rss1) / m / (rss1 / df), "wald_chi2": (rss0 - rss1) / (rss1 / df),
                  "lrt_ml": n * np.log(rss0 / rss1), "score": n * (rss0 - rss1) / rss0 / m,
                  "score_chi2": (n - c) * (rss0 - rss1) / rss0, "limix_lrt": (n - c) * np.log(rss0 / rss1)}[test]
        p = stats.f.sf(wanted, m, df) if test in ("wald_f", "score") else stats.chi2.sf(wanted, m)
        row = frame.loc[test]
        np.testing.assert_allclose([row["stat"], row["p"]], [wanted, p], rtol=1e-9)
        np.testing.assert_allclose(row[[f"beta_{j}" for j in range(m)]].astype(float), beta, rtol=1e-8)
        se = np.sqrt(rss1 / df * np.diag(inverse))
        np.testing.assert_allclose(row[[f"se_{j}" for j in range(m)]].astype(float), se, rtol=1e-8)


def test_three_way_interaction_is_nested(cohort):
    """common + interaction = any, for the statistics that add; and the interaction's Wald test has the full model's residual."""
    G, y, X, K = cohort
    E = np.column_stack([X[:, 1], X[:, 1] ** 2])
    frame = scan(G, y, X, K, inter=E, inter0=np.ones(len(y)), test=["limix_lrt", "wald_f"])
    lrt = frame[frame["test"] == "limix_lrt"]
    stat = {name: part["stat"].to_numpy() for name, part in lrt.groupby("hypothesis")}
    np.testing.assert_allclose(stat["common"] + stat["interaction"], stat["any"], rtol=1e-9, atol=1e-12)
    common = scan(G, y, X, K, test="wald_f")
    ours = frame.query("hypothesis == 'common' and test == 'wald_f'")
    np.testing.assert_allclose(ours["p"], common["p"], rtol=1e-9)
    assert set(frame.query("hypothesis == 'interaction'")["df"]) == {2}


def test_exact_scan_is_an_optimum(cohort):
    """Each refit beats the likelihood at the null's components and at neighbours, REML and ML, full and low rank."""
    from gsem_spark.methods.lmm import fit_lmm

    G, y, X, K = cohort
    g = impute_mean(G.T)
    for kwargs in ({"K": K}, {"W": low_rank_background(G.T, 5, 1)}):
        frame = scan(G[:, :8], y, X, exact=True, test=["wald_f", "lrt_ml"], **kwargs)
        kernel = kwargs.get("K", None)
        kernel = kwargs["W"] @ kwargs["W"].T if kernel is None else kernel
        for row in frame.itertuples():
            fit = fit_lmm(kernel, y, np.column_stack([X, g[row.variant]]), reml=row.test == "wald_f")
            if 1e-4 < fit.hsq < 1 - 1e-4:
                np.testing.assert_allclose([row.hsq, row.loglik, row.beta], [fit.hsq, fit.loglik_full, fit.beta[-1]], rtol=1e-6)
            np.testing.assert_allclose(row.loglik, fit.loglik_full, rtol=1e-5)


def test_f_tail_meets_scipy_and_goes_on():
    f = np.array([0.0, 0.5, 3.0, 50.0, 900.0, np.nan])
    p, _ = from_f(f, 2, 300)
    np.testing.assert_allclose(p[:5], stats.f.sf(f[:5], 2, 300), rtol=1e-12)
    assert np.isnan(p[5])
    far, log_far = from_f([1e5, 1e7], 1, 500)
    assert far[1] == 0
    # F(2, d2) has the closed form (1 + 2 f / d2) ** (-d2 / 2)
    np.testing.assert_allclose(from_f([1e4, 1e8], 2, 700)[1], 350 * np.log10(1 + 2 * np.array([1e4, 1e8]) / 700), rtol=1e-12)
    t, df = np.sqrt(1500.0), 5e5
    scaled, _ = integrate.quad(lambda s: np.exp(stats.t.logpdf(s, df) - stats.t.logpdf(t, df)), t, t + 2)
    wanted = -(np.log(2 * scaled) + stats.t.logpdf(t, df)) / np.log(10)
    np.testing.assert_allclose(from_f(t**2, 1, df)[1], wanted, rtol=1e-9)
    assert (np.diff(log_far) > 0).all()
    assert (np.diff(from_f(np.linspace(1200, 1800, 200), 1, 5000)[1]) > 0).all()


def test_gaussianize_ranks_ties_and_missing():
    y = np.array([5.0, np.nan, 1.0, 5.0, 9.0])
    z = gaussianize(y)
    np.testing.assert_allclose(z[[0, 3]], 0, atol=1e-15)
    assert np.isnan(z[1])
    np.testing.assert_allclose(z[[2, 4]], stats.norm.ppf([0.125, 0.875]))


def test_summary_and_filters():
    G = np.array([[0, 1, 2, -1], [0, 0, 0, 0], [-1, -1, -1, -1], [0, 0, 1, 0], [1, 1, 1, 1]], dtype=np.int8)
    summary = summarise(G)
    assert summary["n"].tolist() == [3, 4, 0, 4, 4]
    np.testing.assert_allclose(summary["af"], [0.5, 0, np.nan, 0.125, 0.5])
    assert filter_variants(summary, maf=0.2, missing=0.5).tolist() == [None, "monomorphic", "no_calls", "maf", None]
    assert filter_variants(summary, missing=0.1).tolist() == ["missing", "monomorphic", "no_calls", None, None]
    np.testing.assert_allclose(impute_mean(G)[0], [0, 1, 2, 1])
    assert np.allclose(standardise(G)[[0, 3]].std(axis=1), 1)
    assert not standardise(G)[[1, 2, 4]].any()


@pytest.mark.parametrize(("het", "hom1", "hom2"), [(57, 14, 50), (0, 20, 3), (5, 0, 100), (10, 10, 10), (1, 0, 3), (0, 0, 6)])
def test_hardy_weinberg_against_enumeration(het, hom1, hom2):
    """All heterozygote counts with the same alleles, weighted by the number of arrangements."""
    from scipy.special import gammaln

    n, rare = het + hom1 + hom2, 2 * min(hom1, hom2) + het
    counts = np.arange(rare % 2, rare + 1, 2)
    low, high = (rare - counts) // 2, n - counts - (rare - counts) // 2
    log_weight = counts * np.log(2) - gammaln(counts + 1) - gammaln(low + 1) - gammaln(high + 1)
    weight = np.exp(log_weight - log_weight.max())
    wanted = weight[weight <= weight[counts == het] * (1 + 1e-9)].sum() / weight.sum()
    np.testing.assert_allclose(hardy_weinberg([het], [hom1], [hom2]), wanted, rtol=1e-9)


def test_low_rank_background_is_near_the_best(cohort):
    G = cohort[0]
    K = kinship(G.T, "standardised")
    W = low_rank_background(G.T, 10, 4)
    values, vectors = np.linalg.eigh(K)
    best = (vectors[:, -10:] * values[-10:]) @ vectors[:, -10:].T
    assert np.linalg.norm(K - W @ W.T) < 1.05 * np.linalg.norm(K - best)
    assert np.array_equal(W, low_rank_background(G.T, 10, 4))


@pytest.mark.parametrize("name", ["fixed", "exact", "float32"])
def test_large_arrays_may_lie_on_disk(cohort, name, tmp_path):
    """A plan without them is small; with memory-mapped ones it gives the same bytes; a wrong array is refused."""
    G, y, X, _ = cohort
    plan = prepare_scan(y, X, **options(cohort, name))
    light, arrays = split_arrays(plan, least=20_000)
    assert arrays
    assert len(pickle.dumps(light)) < 0.5 * len(pickle.dumps(plan))
    for key, array in arrays.items():
        np.save(tmp_path / f"{key}.npy", array)
    mapped = {key: np.load(tmp_path / f"{key}.npy", mmap_mode="r") for key in arrays}
    again = join_arrays(pickle.loads(pickle.dumps(light)), mapped)
    pd.testing.assert_frame_equal(scan_block(again, G.T), scan_block(plan, G.T), check_exact=True)
    key = next(iter(arrays))
    with pytest.raises(DataError, match="is missing"):
        join_arrays(light, {})
    with pytest.raises(DataError, match="was taken out"):
        join_arrays(light, mapped | {key: arrays[key][:5]})
