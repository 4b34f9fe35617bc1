"""Laws of MTAG whatever the data: it is a weighted mean, a meta-analysis in the limit, and blind to names, signs and batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods import mtag
from gsem_spark.methods.mtag.matrices import is_psd, repair_psd

seeds = st.integers(0, 2**32 - 1)
traits = st.integers(2, 6)


def correlation(rng: np.random.Generator, k: int, strength: float = 0.3) -> np.ndarray:
    root = rng.normal(size=(k, k)) * strength + np.eye(k)
    cov = root @ root.T
    scale = np.sqrt(np.diag(cov))
    return cov / np.outer(scale, scale)


def scan(seed: int, k: int, m: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    h = rng.uniform(1e-6, 8e-6, k)
    omega = correlation(rng, k, 0.5) * np.sqrt(np.outer(h, h))
    intercept = rng.uniform(0.95, 1.15, k)
    sigma = correlation(rng, k, 0.2) * np.sqrt(np.outer(intercept, intercept))
    n = rng.uniform(5e3, 4e5, (m, k))
    return rng.normal(size=(m, k)) * 2, n, sigma, omega


def published(z: np.ndarray, n: np.ndarray, sigma: np.ndarray, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The estimator as the paper prints it, SNP by SNP and trait by trait."""
    beta, se = np.empty_like(z), np.empty_like(z)
    for j in range(len(z)):
        root = np.sqrt(n[j])
        sigma_n, b = sigma / np.outer(root, root), z[j] / root
        for t in range(z.shape[1]):
            a = omega[:, t] / omega[t, t]
            solved = np.linalg.solve(omega - np.outer(omega[:, t], omega[:, t]) / omega[t, t] + sigma_n, np.column_stack([a, b]))
            beta[j, t], se[j, t] = a @ solved[:, 1] / (a @ solved[:, 0]), 1 / np.sqrt(a @ solved[:, 0])
    return beta, se


def meta(b: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    """Generalised least squares mean of estimates b of one number."""
    solved = np.linalg.solve(covariance, np.column_stack([np.ones_like(b), b]))
    return solved[:, 1].sum() / solved[:, 0].sum(), 1 / np.sqrt(solved[:, 0].sum())


@settings(max_examples=30, deadline=None)
@given(seeds, traits)
def test_equals_the_published_formula(seed, k):
    z, n, sigma, omega = scan(seed, k)
    got = mtag.estimate(z, n, sigma, omega)
    beta, se = published(z, n, sigma, omega)
    np.testing.assert_allclose(got.se, se, rtol=1e-8)
    np.testing.assert_allclose(got.beta / se, beta / se, rtol=0, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(seeds, traits)
def test_rank_one_omega_is_the_meta_analysis_with_overlap(seed, k):
    """With one common effect: the inverse-variance mean of the effects on its scale, errors correlated by overlap."""
    z, n, sigma, omega = scan(seed, k)
    a = np.sqrt(np.diag(omega))
    restricted = mtag.estimate(z, n, sigma, omega, perfect_gencov=True)
    general = mtag.estimate(z, n, sigma, np.outer(a, a))
    assert restricted.model.rank_one
    assert not general.model.rank_one
    for j in range(0, len(z), 10):
        root = np.sqrt(n[j]) * a
        f, se = meta(z[j] / root, sigma / np.outer(root, root))
        np.testing.assert_allclose(restricted.beta[j], a * f, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(restricted.se[j], a * se, rtol=1e-9)
    np.testing.assert_allclose(general.se, restricted.se, rtol=1e-7)
    np.testing.assert_allclose(general.z, restricted.z, rtol=0, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_two_identical_traits_without_overlap_are_meta_analysed(seed):
    z, n, sigma, omega = scan(seed, 2)
    same = np.full((2, 2), omega[0, 0])
    got = mtag.estimate(z, n, sigma, same, no_overlap=True)
    w = n / np.diag(sigma)
    mean = (w * z / np.sqrt(n)).sum(axis=1) / w.sum(axis=1)
    for t in (0, 1):
        np.testing.assert_allclose(got.beta[:, t], mean, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(got.se[:, t], 1 / np.sqrt(w.sum(axis=1)), rtol=1e-7)
    equal = mtag.estimate(z, n, sigma, no_overlap=True, perfect_gencov=True, equal_h2=True)
    np.testing.assert_allclose(equal.beta[:, 0], mean, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(equal.z[:, 0], equal.z[:, 1])


@settings(max_examples=30, deadline=None)
@given(seeds, traits, st.randoms(use_true_random=False))
def test_relabelling_traits_permutes(seed, k, shuffle):
    z, n, sigma, omega = scan(seed, k)
    order = list(range(k))
    shuffle.shuffle(order)
    plain = mtag.estimate(z, n, sigma, omega)
    turned = mtag.estimate(z[:, order], n[:, order], sigma[np.ix_(order, order)], omega[np.ix_(order, order)])
    np.testing.assert_allclose(turned.z, plain.z[:, order], rtol=0, atol=1e-9)
    np.testing.assert_allclose(turned.se, plain.se[:, order], rtol=1e-9)
    if k <= 3:
        mean_n = n.mean(axis=0)
        a = mtag.max_fdr(omega, sigma, mean_n, intervals=4)
        b = mtag.max_fdr(omega[np.ix_(order, order)], sigma[np.ix_(order, order)], mean_n[order], intervals=4)
        np.testing.assert_allclose(b.fdr, a.fdr[order], rtol=1e-8)


@settings(max_examples=20, deadline=None)
@given(seeds, traits, st.integers(1, 1999))
def test_results_are_the_same_bits_in_any_batches(seed, k, cut):
    z, n, sigma, omega = scan(seed, k, m=2000)
    model = mtag.estimate(z[:5], n[:5], sigma, omega).model
    whole, first, rest = model.fit(z, n), model.fit(z[:cut], n[:cut]), model.fit(z[cut:], n[cut:])
    for column in ("beta", "se", "z", "p", "neglog10p"):
        parts = np.concatenate([getattr(first, column), getattr(rest, column)])
        assert np.array_equal(getattr(whole, column), parts), column


@settings(max_examples=30, deadline=None)
@given(seeds, traits)
def test_counting_a_traits_effects_for_the_other_allele_changes_its_sign_only(seed, k):
    z, n, sigma, omega = scan(seed, k)
    flip = np.ones(k)
    flip[0] = -1
    plain = mtag.estimate(z, n, sigma, omega)
    turned = mtag.estimate(z * flip, n, sigma * np.outer(flip, flip), omega * np.outer(flip, flip))
    np.testing.assert_allclose(turned.z, plain.z * flip, rtol=0, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(seeds, traits)
def test_no_estimate_is_worse_than_the_traits_own(seed, k):
    """The trait's own GWAS is one of the estimators that MTAG chooses the best of."""
    z, n, sigma, omega = scan(seed, k)
    got = mtag.estimate(z, n, sigma, omega)
    assert (got.se <= np.sqrt(np.diag(sigma) / n) * (1 + 1e-9)).all()


@settings(max_examples=30, deadline=None)
@given(seeds, traits, st.integers(1, 39))
def test_omega_sums_add_up_in_any_order_of_arrival(seed, k, cut):
    z, n, sigma, _ = scan(seed, k)
    z[3, 0] = np.nan
    parts = [mtag.omega_sums(z[:cut], n[:cut], 0), mtag.omega_sums(z[cut:], n[cut:], 1)]
    there, back = mtag.merge_omega_sums(parts), mtag.merge_omega_sums(parts[::-1])
    assert np.array_equal(there.zz, back.zz)
    whole = mtag.omega_sums(z, n)
    assert (there.count, there.skipped) == (whole.count, whole.skipped) == (39, 1)
    kept = np.delete(np.arange(len(z)), 3)
    slow = np.mean([(np.outer(z[j], z[j]) - sigma) / np.sqrt(np.outer(n[j], n[j])) for j in kept], axis=0)
    np.testing.assert_allclose(mtag.omega_gmm(there, sigma), slow, rtol=1e-9, atol=1e-12 * np.abs(slow).max())


@settings(max_examples=60, deadline=None)
@given(seeds, traits)
def test_repair_keeps_variances_and_ends_semidefinite(seed, k):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(k, k))
    a = (a + a.T) / 2
    np.fill_diagonal(a, rng.uniform(0.1, 1, k))
    done = repair_psd(a)
    assert done.success
    assert is_psd(done.matrix)
    assert np.array_equal(np.diag(done.matrix), np.diag(a))
    assert done.needed == (np.linalg.eigvalsh(a)[0] < -1e-13)
    assert np.array_equal(repair_psd(done.matrix).matrix, done.matrix)
    signs = np.sign(done.matrix) * np.sign(a)
    assert (signs >= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(1, 6), st.data())
def test_lattice_ranges_are_slices_of_the_whole(states, intervals, data):
    """Every point once, in lexicographic order, rows that sum to 1."""
    lattice = mtag.Lattice(np.eye(states, dtype=bool), intervals)
    whole = lattice.points(0, lattice.size)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-12)
    units = [tuple(row) for row in np.rint(whole * intervals).astype(int)]
    assert units == sorted(set(units))
    low = data.draw(st.integers(0, lattice.size))
    high = data.draw(st.integers(low, lattice.size))
    assert np.array_equal(lattice.points(low, high), whole[low:high])


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 285))
def test_pieces_of_the_grid_merge_to_the_whole(seed, cut):
    _, n, sigma, omega = scan(seed, 2)
    problem, lattice = mtag.fdr_problem(omega, sigma, n.mean(axis=0)), mtag.grid(2, 10)
    pieces = [mtag.search(problem, lattice, 0, cut), mtag.search(problem, lattice, cut, lattice.size)]
    there, back, whole = mtag.merge_best(pieces), mtag.merge_best(pieces[::-1]), mtag.search(problem, lattice, 0, lattice.size)
    for other in (there, back):
        assert np.array_equal(other.fdr, whole.fdr)
        assert np.array_equal(other.index, whole.index)
        assert (other.searched, other.feasible) == (whole.searched, whole.feasible)
    assert ((whole.fdr >= 0) & (whole.fdr < 1)).all()


@pytest.mark.parametrize("k", [3, 4])
def test_fdr_is_the_same_bits_however_points_are_put_into_calls(k):
    rng = np.random.default_rng(k)
    a = rng.uniform(0.5, 1.0, k)
    problem = mtag.fdr_problem((np.outer(a, a) + np.diag(0.4 * a * a)) * 1e-5, 0.9 * np.eye(k) + 0.1, np.linspace(6e4, 3e5, k))
    lattice = mtag.grid(k, 4)
    points = lattice.points(lattice.size // 2, min(lattice.size, lattice.size // 2 + 700))
    whole = mtag.fdr_at(points, problem)
    assert np.isfinite(whole).any()
    for size in (1, 7, 64):
        parts = [mtag.fdr_at(points[i : i + size], problem) for i in range(0, len(points), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(2, 3))
def test_fdr_equals_its_definition_state_by_state(seed, k):
    """FDR from MTAG's weights, a SNP's covariance in each state, and normal tails, written out."""
    from scipy import stats

    _, n, sigma, omega = scan(seed, k)
    n = n.mean(axis=0)
    problem = mtag.fdr_problem(omega, sigma, n, p_threshold=1e-3)
    rng = np.random.default_rng(seed)
    point = 0.1 / 2**k + 0.9 * rng.dirichlet(np.ones(2**k))
    got = mtag.fdr_at(point, problem)[0]
    root = np.sqrt(n)
    sigma_n = sigma / np.outer(root, root)
    share = np.array([[point[problem.states[:, p] & problem.states[:, q]].sum() for q in range(k)] for p in range(k)])
    inflated = omega / share
    if np.linalg.eigvalsh(inflated)[0] < 0:
        assert np.isnan(got).all()
        return
    for t in range(k):
        a = omega[:, t] / omega[t, t]
        A = omega - np.outer(omega[:, t], omega[:, t]) / omega[t, t] + sigma_n
        w = np.linalg.solve(A, a)
        power = np.array([
            2 * stats.norm.sf(stats.norm.isf(5e-4) / np.sqrt(w @ (inflated * np.outer(s, s) + sigma_n) @ w / (w @ A @ w)))
            for s in problem.states
        ])
        null = ~problem.states[:, t]
        np.testing.assert_allclose(got[t], (point * power)[null].sum() / (point * power).sum(), rtol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_refinement_never_lowers_the_bound(seed):
    _, n, sigma, omega = scan(seed, 2)
    got = mtag.max_fdr(omega, sigma, n.mean(axis=0), intervals=4, refine=True)
    assert (got.refined_fdr >= got.fdr).all()
    np.testing.assert_allclose(got.refined_probabilities.sum(axis=1), 1, atol=1e-9)
    again = mtag.fdr_at(got.refined_probabilities, mtag.fdr_problem(omega, sigma, n.mean(axis=0)))
    np.testing.assert_allclose(np.diag(again), got.refined_fdr, rtol=1e-12)
