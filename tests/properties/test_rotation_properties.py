"""What must hold of every rotation and every exploratory model."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.esem import esem
from gsem_spark.methods.sem.rotation import aligned, matched, rotate
from gsem_spark.methods.sem.rotation_criteria import criterion_for

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ["geomin", "quartimin", "oblimin", "varimax", "bi-geomin"]
few = settings(max_examples=12, deadline=None)


def blurred(seed, k, m):
    """Loadings near a simple structure, so that the best rotation stands out."""
    rng = np.random.default_rng(seed)
    pattern = rng.normal(scale=0.08, size=(k, m))
    pattern[np.arange(k), np.arange(k) % m] += rng.uniform(0.5, 0.8, k)
    return pattern, rng


@few
@given(SEEDS, st.sampled_from(NAMES), st.integers(2, 4))
def test_a_rotation_leaves_the_implied_covariances(seed, name, m):
    a, _ = blurred(seed, 3 * m + 1, m)
    found = rotate(a, criterion_for(name, a.shape), starts=6)
    np.testing.assert_allclose(found.loadings @ found.correlations @ found.loadings.T, a @ a.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(found.correlations), 1, atol=1e-12)


@few
@given(SEEDS, st.sampled_from(["geomin", "quartimin", "varimax"]), st.integers(2, 3))
def test_neither_the_order_of_traits_nor_the_axes_given_matter(seed, name, m):
    a, rng = blurred(seed, 3 * m + 1, m)
    order = rng.permutation(len(a))
    turn = np.linalg.qr(rng.normal(size=(m, m)))[0]
    c = criterion_for(name, a.shape)
    here, there = rotate(a, c), rotate(a[order] @ turn, c)
    there = matched(there, here.loadings[order])
    np.testing.assert_allclose(there.loadings, here.loadings[order], atol=1e-7)
    np.testing.assert_allclose(there.correlations, here.correlations, atol=1e-7)


@few
@given(SEEDS, st.sampled_from(NAMES), st.integers(2, 4))
def test_alignment_is_idempotent_and_blind_to_signs_and_order(seed, name, m):
    a, rng = blurred(seed, 3 * m + 1, m)
    c = criterion_for(name, a.shape)
    found = rotate(a, c, starts=3)
    again = aligned(found, c)
    assert np.array_equal(again.loadings, found.loadings)
    assert np.array_equal(again.correlations, found.correlations)
    back = matched(matched(found, rng.normal(size=a.shape)), found.loadings)
    np.testing.assert_allclose(back.loadings, found.loadings, rtol=0, atol=0)


@settings(max_examples=6, deadline=None)
@given(SEEDS, st.sampled_from(["DWLS", "ML", "WLS"]))
def test_exploratory_models_do_not_depend_on_scales_or_on_the_order_of_traits(seed, estimation):
    pattern, rng = blurred(seed, 7, 2)
    S = pattern @ pattern.T
    np.fill_diagonal(S, 1.0)
    noise = rng.normal(scale=0.01, size=(7, 7))
    S = S + np.tril(noise, -1) + np.tril(noise, -1).T
    root = rng.normal(size=(28, 84))
    V = np.corrcoef(root) * 0.02**2
    names = list("abcdefg")
    cov = CovStruct.from_matrices(S, V, np.eye(7), names)
    sd = rng.uniform(0.2, 3.0, 7)
    columns, rows = np.triu_indices(7)
    by = sd[rows] * sd[columns]
    scaled = CovStruct.from_matrices(S * np.outer(sd, sd), V * np.outer(by, by), np.eye(7), names)
    shuffled = cov.subset(list(rng.permutation(names)))
    base = esem(cov, 2, "quartimin", estimation)
    for other in (esem(scaled, 2, "quartimin", estimation), esem(shuffled, 2, "quartimin", estimation)):
        assert abs(other.indices["chisq"] - base.indices["chisq"]) < 1e-6 * max(1.0, base.indices["chisq"])
        loadings = other.loadings.loc[names]
        swap = abs(loadings["F1"].iloc[0] - base.loadings["F1"].iloc[0]) > 0.2
        columns_ = ["F2", "F1"] if swap else ["F1", "F2"]
        np.testing.assert_allclose(loadings[columns_], base.loadings, atol=1e-6)
        np.testing.assert_allclose(other.loadings_se.loc[names, columns_], base.loadings_se, rtol=1e-5)
