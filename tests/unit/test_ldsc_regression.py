"""LD score regression piece by piece, each against a slow and plain twin."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.ldsc.arrays import LdscTrait, ldsc_from_arrays
from gsem_spark.methods.ldsc.blocks import CHISQ1_MEDIAN, PairTotals
from gsem_spark.methods.ldsc.jackknife import effective_blocks, liability_factor
from gsem_spark.methods.ldsc.regression import block_edges, chisq_bin
from gsem_spark.methods.ldsc.report import ldsc_report

M = 1e6


def simulated(m=9000, k=2, seed=0, share=0.9):
    """Panel and k traits with h2 .3, rg .5, each on its own random share of the panel's SNPs."""
    rng = np.random.default_rng(seed)
    l2 = rng.lognormal(3.5, 0.8, m)
    n = 1e5 * (1 + np.arange(k))
    G = 0.3 * (0.5 + 0.5 * np.eye(k))
    z = np.stack([rng.multivariate_normal(np.zeros(k), np.eye(k) + np.sqrt(np.outer(n, n)) * G / M * s) for s in l2])
    traits = []
    for j in range(k):
        at = np.flatnonzero(rng.random(m) < share)
        traits.append(LdscTrait(f"T{j}", at, z[at, j], rng.uniform(0.9, 1.0, at.size) * n[j]))
    return traits, l2, l2 * rng.uniform(0.5, 1.5, m)


def plain_pair(a, b, l2, wld, n_blocks):
    """One pair by the book: merge, weights, blocks, delete-one solutions with lstsq on the full design."""
    rows = [(i, j) for i in np.argsort(a.ord, kind="stable") for j in np.flatnonzero(b.ord == a.ord[i])] if a is not b else [
        (i, i) for i in np.argsort(a.ord, kind="stable")]
    i, j = np.array(rows).T
    L, W = l2[a.ord[i]], np.maximum(wld[a.ord[i]], 1)

    def root(z, n):
        h2 = min(max(M * (np.mean(z**2) - 1) / np.mean(L * n), 0), 1)
        return np.sqrt(1 / (2 * (1 + h2 * n / M * np.maximum(L, 1)) ** 2) / W)

    w = root(a.z[i], a.n[i]) if a is b else root(a.z[i], a.n[i]) + root(b.z[j], b.n[j])
    X = np.column_stack([L, np.ones_like(L)]) * w[:, None]
    y = a.z[i] * b.z[j] * w
    full = np.linalg.lstsq(X, y, rcond=None)[0]
    pseudo = []
    start = np.floor(np.linspace(1, L.size, n_blocks + 1)).astype(int) - 1
    start[-1] = L.size
    for s, e in pairwise(start):
        keep = np.r_[0:s, e : L.size]
        pseudo.append(n_blocks * full - (n_blocks - 1) * np.linalg.lstsq(X[keep], y[keep], rcond=None)[0])
    return full, np.array(pseudo), np.sqrt(a.n[i].mean() * b.n[j].mean())


@pytest.mark.parametrize("copies", [0, 40])
def test_it_equals_the_regression_by_the_book(copies):
    traits, l2, wld = simulated()
    if copies:  # some SNPs stand in a file twice: every copy meets every copy
        traits = [
            LdscTrait(t.name, np.r_[t.ord, t.ord[::91][:copies]], np.r_[t.z, -t.z[::91][:copies] / 2], np.r_[t.n, t.n[:copies]])
            for t in traits
        ]
    cov = ldsc_from_arrays(traits, l2, wld, M, n_blocks=20)
    pairs = [(0, 0), (0, 1), (1, 1)]
    by_book = [plain_pair(traits[i], traits[j], l2, wld, 20) for i, j in pairs]
    # 1e-9: normal equations against least squares on the design lose about cond(X)^2 ~ 1e4 of 1e-16.
    for p, (i, j) in enumerate(pairs):
        full, _, n = by_book[p]
        assert cov.S[j, i] == pytest.approx(full[0] * M / n, rel=1e-9)
        assert cov.I[j, i] == pytest.approx(full[1], rel=1e-9)
        assert cov.N[p] == pytest.approx(n, rel=1e-13)
    scaled = np.column_stack([b[1][:, 0] * M / b[2] for b in by_book])
    assert np.allclose(cov.V, np.cov(scaled, rowvar=False) / 20, rtol=1e-7, atol=1e-14)


def test_order_of_rows_does_not_matter_to_the_last_bit():
    traits, l2, wld = simulated(k=3)
    rng = np.random.default_rng(9)
    mixed = []
    for t in traits:
        order = rng.permutation(t.ord.size)
        mixed.append(LdscTrait(t.name, t.ord[order], t.z[order], t.n[order]))
    assert ldsc_from_arrays(traits, l2, wld, M) == ldsc_from_arrays(mixed, l2, wld, M)


def test_a_pair_does_not_depend_on_the_other_traits_or_on_its_order():
    traits, l2, wld = simulated(k=3)
    all_three = ldsc_from_arrays(traits, l2, wld, M)
    two = ldsc_from_arrays([traits[2], traits[0]], l2, wld, M)
    assert np.array_equal(all_three.subset(["T2", "T0"]).S, two.S)
    assert np.array_equal(all_three.subset(["T2", "T0"]).V, two.V)


def test_median_and_means_are_exact():
    traits, l2, wld = simulated()
    figures = ldsc_from_arrays(traits, l2, wld, M).diagnostics["traits"]
    for t, row in zip(traits, figures, strict=True):
        chisq = t.z[t.z**2 <= row["chisq_max"]] ** 2
        assert row["lambda_gc"] == np.median(chisq) / CHISQ1_MEDIAN
        assert row["mean_chisq"] == pytest.approx(chisq.mean(), rel=1e-13)
        assert row["n_snps"] == chisq.size == row["n_merged"] - row["snps_removed"]
    assert pytest.approx(stats.chi2.ppf(0.5, 1), rel=1e-12) == CHISQ1_MEDIAN


def test_block_edges_are_those_of_r_seq():
    # R: floor(seq(1, 21525, length.out = 201))[c(1, 2, 100, 200, 201)] is 1 108 10655 21417 21525
    edges = block_edges(21525, 200)
    assert list(edges[[0, 1, 99, 199]] + 1) == [1, 108, 10655, 21417] and edges[200] == 21525
    assert (np.diff(edges) > 0).all()


def test_bins_grow_with_the_value():
    values = np.sort(np.r_[0.0, np.random.default_rng(1).chisquare(1, 5000), 1e-30, 1e30])
    assert (np.diff(chisq_bin(values)) >= 0).all()


def test_blocks_for_many_traits():
    assert effective_blocks(18, 200) == 200
    assert effective_blocks(19, 200) == 211
    with pytest.raises(ConfigError, match="n_blocks is 1"):
        effective_blocks(3, 1)


def test_many_traits_are_told_about_their_blocks():
    traits, l2, wld = simulated(m=3000, k=19, share=1.0)
    cov = ldsc_from_arrays(traits, l2, wld, M)
    assert cov.settings["n_blocks"] == 211
    assert cov.warnings[0].startswith("211 jackknife blocks are used")
    assert not any("singular" in w for w in cov.warnings)


def test_liability_factor():
    # P = .5, K = .01: K^2 (1-K)^2 / (.25 phi^2), phi = dnorm(qnorm(.99)) = .02665214
    assert liability_factor(np.array([0.5, np.nan, 0.2]), np.array([0.01, 0.1, np.nan])) == pytest.approx(
        [0.0099**2 / (0.25 * 0.0266521422**2), 1, 1], rel=1e-8)


def test_missing_values_and_strong_snps_are_left_out():
    traits, l2, wld = simulated()
    t = traits[0]
    dirty = LdscTrait("T0", np.r_[t.ord, 5, 6, 7], np.r_[t.z, np.nan, np.inf, 10.5], np.r_[t.n, 1e5, 1e5, 1e5])
    a = ldsc_from_arrays([t], l2, wld, M)
    b = ldsc_from_arrays([dirty], l2, wld, M)
    assert np.array_equal(a.S, b.S) and np.array_equal(a.V, b.V)
    assert b.diagnostics["traits"][0]["snps_removed"] == a.diagnostics["traits"][0]["snps_removed"] + 2


def test_too_few_snps_is_an_error_with_counts():
    traits, l2, wld = simulated(m=3000)
    other = LdscTrait("X", np.arange(150), np.ones(150), np.ones(150))
    with pytest.raises(DataError, match=r"T0 and X share .* SNPs with the LD scores, too few for 200 jackknife blocks"):
        ldsc_from_arrays([traits[0], other], l2, wld, M)
    with pytest.raises(DataError, match="trait X: no SNP has both"):
        ldsc_from_arrays([LdscTrait("X", np.arange(3), np.full(3, np.nan), np.ones(3))], l2, wld, M)


@pytest.mark.parametrize("level", [0.0, 31.7])
def test_equal_ld_scores_are_an_error(level):
    traits, l2, wld = simulated(m=3000)
    with pytest.raises(DataError, match="do not vary"):
        ldsc_from_arrays(traits, np.full_like(l2, level), wld, M)


def test_report_and_record():
    traits, l2, wld = simulated()
    text = ldsc_report(ldsc_from_arrays(traits, l2, wld, M))
    for words in ("Heritability of T0", "Genetic covariance of T0 and T1", "Genetic correlations", "Warnings",
                  "fewer than 200,000"):
        assert words in text
    totals = PairTotals(3, (1.0, 2.0), (1.5, 2.5), 0.1, np.nan)
    assert PairTotals.from_record(totals.as_record()).as_record() == totals.as_record()
