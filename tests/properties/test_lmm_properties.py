"""Laws that mixed models obey whatever the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gsem_spark.methods.lmm import (
    eigen_rotation,
    fit_lmm,
    fit_multitrait,
    kinship,
    log_likelihood,
    pedigree_kinship,
    scan,
    scan_multitrait,
)
from gsem_spark.methods.lmm.genotypes import summarise
from gsem_spark.methods.lmm.null import log_likelihood_gradient

seeds = st.integers(0, 2**32 - 1)
fast = settings(max_examples=20, deadline=None)


def draw(seed: int, n: int = 40, snps: int = 60, c: int = 2):
    rng = np.random.default_rng(seed)
    G = rng.binomial(2, rng.uniform(0.1, 0.9, snps), (n, snps)).astype(float)
    K = kinship(G.T) + 0.05 * np.eye(n)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, c - 1))])
    y = np.linalg.cholesky(K) @ rng.normal(size=n) + rng.normal(size=n)
    return G[:, :6], K, X, y, rng


def same_tests(a, b, rtol=1e-6):
    np.testing.assert_allclose(a["stat"], b["stat"], rtol=rtol, atol=1e-8)
    np.testing.assert_allclose(a["beta"], b["beta"], rtol=rtol, atol=1e-8)


@fast
@given(seeds)
def test_rotating_all_samples_changes_nothing(seed):
    """The model of (Qy, QX, QKQᵀ, QG) is that of (y, X, K, G) for any orthogonal Q."""
    _, K, X, y, rng = draw(seed)
    Q = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    grid = np.linspace(0, 0.9, 5)
    plain, turned = eigen_rotation(K, y, X), eigen_rotation(Q @ K @ Q.T, Q @ y, Q @ X)
    for reml in (True, False):
        np.testing.assert_allclose(log_likelihood(turned, grid, reml), log_likelihood(plain, grid, reml), rtol=1e-9)
    assert abs(fit_lmm(turned).hsq - fit_lmm(plain).hsq) < 1e-6


@fast
@given(seeds, st.booleans())
def test_permuting_samples_changes_nothing(seed, exact):
    G, K, X, y, rng = draw(seed)
    order = rng.permutation(40)
    a = scan(G, y, X, K, exact=exact, test=["wald_f", "lrt_ml"])
    b = scan(G[order], y[order], X[order], K[np.ix_(order, order)], exact=exact, test=["wald_f", "lrt_ml"])
    same_tests(a, b, rtol=1e-5)


@fast
@given(seeds, st.floats(0.01, 1e4), st.floats(-50, 50))
def test_scaling_the_phenotype_scales_effects_and_nothing_else(seed, scale, shift):
    G, K, X, y, _ = draw(seed)
    a, b = fit_lmm(K, y, X), fit_lmm(K, scale * y + shift, X)
    np.testing.assert_allclose([b.hsq, b.sigmasq], [a.hsq, scale**2 * a.sigmasq], rtol=1e-5, atol=1e-6)
    moved = scale * a.beta + shift * np.array([1, 0])
    np.testing.assert_allclose(b.beta, moved, rtol=1e-4, atol=1e-5 * scale + 1e-9 * abs(shift))
    one, two = scan(G, y, X, K), scan(G, scale * y + shift, X, K)
    np.testing.assert_allclose(two["stat"], one["stat"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(two["beta"], scale * one["beta"], rtol=1e-4, atol=1e-6 * scale)


@fast
@given(seeds)
def test_no_relatedness_is_ordinary_least_squares(seed):
    """K = I, or no kinship: textbook regression and its F test."""
    G, _, X, y, _ = draw(seed)
    frames = [scan(G, y, X, np.eye(40)), scan(G, y, X), scan(G, y, X, np.eye(40), exact=True)]
    for j in range(6):
        Z = np.column_stack([X, G[:, j]])
        beta, rss, rank, _ = np.linalg.lstsq(Z, y, rcond=None)
        if rank < 3:
            continue
        se = np.sqrt(rss[0] / 37 * np.linalg.solve(Z.T @ Z, np.eye(3))[2, 2])
        for frame in frames:
            np.testing.assert_allclose(frame.loc[j, ["beta", "se"]].astype(float), [beta[2], se], rtol=1e-8)


@fast
@given(seeds)
def test_counting_the_other_allele_turns_the_sign(seed):
    G, K, X, y, _ = draw(seed)
    a, b = scan(G, y, X, K), scan(2 - G, y, X, K)
    same_tests(a, b.assign(beta=-b["beta"]))
    np.testing.assert_allclose(a["af"], 1 - b["af"])


@fast
@given(seeds)
def test_covariates_enter_by_their_span(seed):
    """Any invertible recombination of the covariates gives the same tests."""
    G, K, X, y, rng = draw(seed, c=3)
    A = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
    same_tests(scan(G, y, X, K), scan(G, y, X @ A, K), rtol=1e-5)


@fast
@given(seeds, st.booleans())
def test_gradient_is_the_slope_of_the_likelihood(seed, reml):
    _, K, X, y, _ = draw(seed)
    rotated = eigen_rotation(K, y, X)
    at, step = np.array([0.1, 0.5, 0.9]), 1e-5
    slope = (log_likelihood(rotated, at + step, reml) - log_likelihood(rotated, at - step, reml)) / (2 * step)
    np.testing.assert_allclose(log_likelihood_gradient(rotated, at, reml), slope, rtol=1e-5, atol=1e-5)


@fast
@given(seeds, st.booleans())
def test_low_rank_background_is_its_kinship(seed, exact):
    """W and W Wᵀ: the same model by two roads."""
    G, _, X, y, rng = draw(seed)
    W = rng.normal(size=(40, 3))
    y = y + W @ rng.normal(size=3)
    a, b = fit_lmm(W @ W.T, y, X), scan(G, y, X, W=W, test=["wald_f", "lrt_ml"], exact=exact)
    same_tests(scan(G, y, X, W @ W.T, test=["wald_f", "lrt_ml"], exact=exact), b, rtol=1e-4)
    assert 0 <= a.hsq < 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 2), min_size=12, max_size=12), min_size=1, max_size=8))
def test_dosages_and_hard_calls_have_the_same_summary(rows):
    G = np.array(rows, dtype=np.int8)
    floats = np.where(G < 0, np.nan, G)
    a, b = summarise(G), summarise(floats)
    assert a.equals(b)
    called = a["n"] > 0
    assert ((a.loc[called, "hwe_p"] > 0) & (a.loc[called, "hwe_p"] <= 1)).all()


def test_properties_see_a_wrong_model():
    """The checks above can fail: another kinship gives other tests."""
    G, K, X, y, rng = draw(11)
    y = y + 5 * np.linalg.cholesky(K) @ rng.normal(size=40)
    assert fit_lmm(K, y, X).hsq > 0.1
    with pytest.raises(AssertionError):
        same_tests(scan(G, y, X, K), scan(G, y, X))


@settings(max_examples=10, deadline=None)
@given(seeds)
@example(16127)  # no residual variance in a combination of the traits
@example(16002)  # no genetic variance in one
@example(16001)  # an optimum inside
def test_traits_may_come_in_any_order_and_on_any_scale(seed):
    """Covariances, effects and tests of several traits turn with the traits; statistics of any effect stay."""
    G, K, X, _, rng = draw(seed, n=60)
    Y = np.linalg.cholesky(K) @ rng.normal(size=(60, 2)) * 1.5 + rng.normal(size=(60, 2)) @ np.array([[1, 0.4], [0, 0.8]])
    scale = np.array([3.0, 0.2])
    one = fit_multitrait(Y, K, X)
    two = fit_multitrait((Y * scale)[:, ::-1], K, X)
    assert one.at_boundary == two.at_boundary
    for back, C in ((two.Cg, one.Cg), (two.Cn, one.Cn)):
        turned = back[::-1, ::-1] / np.outer(scale, scale)
        np.testing.assert_allclose(turned, C, atol=1e-5 * np.trace(one.Cg + one.Cn))
    a, b = scan_multitrait(G, one), scan_multitrait(G, two)
    np.testing.assert_allclose(b["stat"], a["stat"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(b["beta_0"] / scale[1], a["beta_1"], rtol=1e-4, atol=1e-5)


@fast
@given(seeds, st.integers(2, 30))
def test_relationships_of_any_pedigree_are_a_covariance(seed, size):
    """Positive semidefinite, symmetric, diagonal between 1 and 2, the same for rows in any order."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(size):
        sires = [r[0] for r in rows if r[0].startswith("m")]
        dams = [r[0] for r in rows if r[0].startswith("f")]
        pick = [str(rng.choice(group)) if group and rng.random() < 0.7 else None for group in (sires, dams)]
        rows.append((f"{'mf'[rng.integers(0, 2)]}{i}", *pick))
    pedigree = pd.DataFrame(rows, columns=["id", "sire", "dam"])
    A = pedigree_kinship(pedigree)
    assert np.linalg.eigvalsh(A)[0] > -1e-10
    assert np.array_equal(A, A.T)
    assert ((np.diag(A) >= 1) & (np.diag(A) < 2)).all()
    shuffled = pedigree.iloc[rng.permutation(size)]
    assert np.array_equal(pedigree_kinship(shuffled).loc[A.index, A.columns], A)
