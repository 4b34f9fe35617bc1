"""What must hold of genetic correlations, regressions, meta-regressions and heterogeneity tests of every structure."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.methods.sem.genetic_correlations import rg_model, sub_cov
from gsem_spark.methods.sem.genetic_regression import genetic_regression
from gsem_spark.methods.sem.gls import summary_gls
from gsem_spark.methods.sem.heterogeneity import q_trait
from gsem_spark.methods.sem.parallel import parallel_analysis

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)


def structure(seed, k=5):
    """A one-factor-like S with misfit and correlated errors, traits on different scales; and the same rescaled by ``by``."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.45, 0.8, k)
    S = np.outer(x, x) + np.diag(rng.uniform(0.3, 0.6, k))
    noise = rng.normal(scale=0.03, size=(k, k))
    S = S + np.tril(noise, -1) + np.tril(noise, -1).T
    rows, columns = vech_indices(k)
    correlation = np.corrcoef(rng.normal(size=(rows.size, 3 * rows.size)))
    se = 0.02 * np.sqrt(S[rows, rows] * S[columns, columns])
    cov = CovStruct.from_matrices(S, correlation * np.outer(se, se), np.eye(k), list("abcdefgh"[:k]))
    by = rng.uniform(0.2, 4.0, k) * rng.choice([-1, 1], k)
    both = by[rows] * by[columns]
    scaled = CovStruct.from_matrices(S * np.outer(by, by), cov.V * np.outer(both, both), np.eye(k), cov.traits)
    return cov, scaled, by, rng


@few
@given(SEEDS)
def test_correlations_do_not_depend_on_scales_and_follow_signs_and_order(seed):
    cov, scaled, by, rng = structure(seed)
    one, two = rg_model(cov), rg_model(scaled)
    sign = np.sign(by)
    np.testing.assert_allclose(two.R, one.R * np.outer(sign, sign), rtol=1e-10)
    np.testing.assert_allclose(np.diag(two.V_R), np.diag(one.V_R), rtol=1e-8)
    order = list(rng.permutation(cov.traits))
    pairs = [(order[i], order[j]) for j in range(5) for i in range(j + 1, 5)]
    moved = rg_model(cov.subset(order))
    picked = sub_cov(cov, pairs, moments="R")
    np.testing.assert_allclose(moved.rg, picked.y, rtol=1e-12)
    np.testing.assert_allclose(moved.V_R, picked.V, rtol=1e-9, atol=1e-18)


@few
@given(SEEDS)
def test_standardised_slopes_and_r2_do_not_depend_on_scales_and_r2_never_falls_with_a_predictor(seed):
    cov, scaled, by, _ = structure(seed)
    one, two = (genetic_regression(c, "e", ["a", "b", "c"]) for c in (cov, scaled))
    sign = np.sign(by)
    np.testing.assert_allclose(two.coefficients["std_est"], one.coefficients["std_est"] * sign[:3] * sign[4], rtol=1e-8)
    np.testing.assert_allclose(two.coefficients["std_se"], one.coefficients["std_se"], rtol=1e-7)
    np.testing.assert_allclose(two.coefficients["est"], one.coefficients["est"] * by[4] / by[:3], rtol=1e-8)
    np.testing.assert_allclose([two.r2, two.r2_se, two.chisq], [one.r2, one.r2_se, one.chisq], rtol=1e-7)
    assert genetic_regression(cov, "e", ["a", "b", "c", "d"]).r2 >= one.r2 - 1e-12


@few
@given(SEEDS, st.integers(1, 3))
def test_meta_regression_follows_linear_maps(seed, p):
    rng = np.random.default_rng(seed)
    n = 10
    root = rng.normal(size=(n, 2 * n))
    V, X, y = root @ root.T, rng.normal(size=(n, p)), rng.normal(size=n)
    fit = summary_gls(y, V, X)
    shifted = summary_gls(2 * y + 3, 4 * V, X)
    np.testing.assert_allclose(shifted.beta, 2 * fit.beta + np.r_[3, np.zeros(p)], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(shifted.covariance, 4 * fit.covariance, rtol=1e-9)
    np.testing.assert_allclose(shifted.chisq, fit.chisq, rtol=1e-7)
    order = rng.permutation(n)
    again = summary_gls(y[order], V[np.ix_(order, order)], X[order])
    np.testing.assert_allclose(again.beta, fit.beta, rtol=1e-7, atol=1e-9)


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_heterogeneity_of_an_outside_trait_does_not_depend_on_scales(seed):
    cov, scaled, by, _ = structure(seed)
    # the factor turns with the sign of its indicators: give them one sign
    sign = np.sign(by)
    rows, columns = vech_indices(5)
    both = sign[rows] * sign[columns]
    upright = CovStruct.from_matrices(scaled.S * np.outer(sign, sign), scaled.V * np.outer(both, both), cov.I, cov.traits)
    one, two = (q_trait(c, ["a", "b", "c", "d"], ["e"]).iloc[0] for c in (cov, upright))
    for column in ("rg", "se", "q", "lsrmr"):
        np.testing.assert_allclose(two[column], one[column], rtol=1e-5, atol=1e-9)
    assert one["q_df"] == 3


@few
@given(SEEDS)
def test_eigenvalues_of_correlations_sum_to_the_number_of_traits(seed):
    cov, scaled, _, _ = structure(seed)
    one, two = parallel_analysis(cov, 50, seed), parallel_analysis(scaled, 50, seed)
    np.testing.assert_allclose(one.observed.sum(), 5, rtol=1e-10)
    np.testing.assert_allclose(two.observed, one.observed, rtol=1e-9)
    assert (np.diff(one.null_mean) <= 0).all()
