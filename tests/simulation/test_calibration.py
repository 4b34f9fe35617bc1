"""Slow: what is simulated comes back: LDSC finds S and I again, the per-SNP kernel is calibrated under the null."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gsem_spark.methods.simulation.design import Design, factor_covariance, overlap_intercepts
from gsem_spark.methods.simulation.draw import draw_z, plant
from gsem_spark.methods.simulation.ld_panel import Panel, simulate_panel

pytestmark = pytest.mark.slow

REPLICATES = 30
SNPS = 30_000
NAMES = ("T1", "T2", "T3")
FAR = 1e-4
"""A test that is right must not fail more than once in ten thousand seeds; seeds are fixed, so it fails never or always."""


def _design(intercepts=(1.02, 1.0, 1.0)) -> Design:
    n = np.array([100_000.0, 150_000.0, 200_000.0])
    S, lam, psi = factor_covariance([[0.8], [0.7], [0.6]], h2=[0.25, 0.18, 0.12])
    shared = np.zeros((3, 3))
    shared[0, 1] = shared[1, 0] = 60_000
    I = overlap_intercepts(n, shared, np.full((3, 3), 0.4), inflation=list(intercepts))
    return Design.build(NAMES, n, S, I=I, loadings=lam, factor_cov=psi)


def _ldsc(design: Design, panel: Panel, z: np.ndarray):
    from gsem_spark.methods.ldsc.arrays import LdscTrait, ldsc_from_arrays

    rows = np.arange(panel.size)
    traits = [LdscTrait(name, rows, z[:, j], np.full(panel.size, design.n[j])) for j, name in enumerate(design.names)]
    # No cut at chi-square 80: it would bias the truth of a design without outliers.
    return ldsc_from_arrays(traits, panel.l2, panel.l2, panel.M, chisq_max=1e9)


@pytest.fixture(scope="module")
def replicates():
    design = _design()
    out = []
    for seed in range(REPLICATES):
        panel = simulate_panel(SNPS, seed=seed)
        out.append(_ldsc(design, panel, draw_z(design, panel, design.n, seed=seed)))
    return design, out


def _vech(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix[j:, j] for j in range(len(matrix))])


def test_ldsc_recovers_s_within_its_standard_errors(replicates):
    design, covs = replicates
    z = np.array([(_vech(c.S) - _vech(design.S)) / np.sqrt(np.diag(c.V)) for c in covs])
    # Unbiased: the mean of 30 standardised errors has standard error 1/sqrt(30); six of them, two-sided.
    assert np.all(np.abs(z.mean(axis=0)) * np.sqrt(REPLICATES) < stats.norm.isf(FAR / 12))
    # Honest: the sum of squares is chi-square with 180 df, widened for V's own noise (200 blocks: a relative 10 %) and
    # for correlation between the six cells (30 effectively independent draws at worst).
    assert 0.6 < (z**2).mean() < 1.6


def test_ldsc_recovers_intercepts(replicates):
    design, covs = replicates
    errors = np.array([_vech(c.I) - _vech(design.I) for c in covs])
    t = errors.mean(axis=0) / (errors.std(axis=0, ddof=1) / np.sqrt(REPLICATES))
    assert np.all(np.abs(t) < stats.t.isf(FAR / 12, REPLICATES - 1))
    assert np.all(errors.std(axis=0) < 0.05)


def test_the_sampling_covariance_is_that_of_the_replicates(replicates):
    _, covs = replicates
    empirical = np.cov(np.array([_vech(c.S) for c in covs]).T)
    claimed = np.mean([c.V for c in covs], axis=0)
    ratio = np.diag(empirical) / np.diag(claimed)
    # A variance of 30 draws: chi-square(29)/29.
    low, high = stats.chi2.ppf([FAR / 12, 1 - FAR / 12], REPLICATES - 1) / (REPLICATES - 1)
    assert np.all((ratio > low) & (ratio < high))


def test_correlated_neighbours_leave_s_unbiased():
    design = _design()
    errors = []
    for seed in range(12):
        panel = simulate_panel(SNPS, seed=seed)
        cov = _ldsc(design, panel, draw_z(design, panel, design.n, seed=seed, neighbour=0.7))
        errors.append((_vech(cov.S) - _vech(design.S)) / np.sqrt(np.diag(cov.V)))
    mean = np.mean(errors, axis=0) * np.sqrt(12)
    assert np.all(np.abs(mean) < stats.norm.isf(FAR / 12) * 1.2)


def _per_snp(design: Design, panel: Panel, z: np.ndarray):
    from gsem_spark.methods.gwas.fit_snps import fit_snps
    from gsem_spark.methods.ldsc.covstruct import CovStruct

    k = design.k
    V = np.diag((0.02 * np.maximum(_vech(design.S), 0.05)) ** 2)
    cov = CovStruct.from_matrices(
        design.S, V, design.I, list(design.names), N=design.n.mean() * np.ones(k * (k + 1) // 2), M=panel.M
    )
    se = 1.0 / np.sqrt(2 * panel.maf * (1 - panel.maf))[:, None] / np.sqrt(design.n)
    return fit_snps(cov, z * se, se, panel.maf)


def test_the_kernel_is_calibrated_under_the_null():
    pytest.importorskip("gsem_spark.methods.gwas.fit_snps")
    design, panel = _design((1.0, 1.0, 1.0)), simulate_panel(SNPS, seed=77)
    null = replace(panel, l2=np.zeros(panel.size))
    frame = _per_snp(design, null, draw_z(design, null, design.n, seed=77))
    assert (frame["status"] == "ok").mean() > 0.999
    z, q = frame["z"].to_numpy(), frame["q_snp"].to_numpy()
    lambda_gc = np.median(z**2) / stats.chi2.median(1)
    lambda_q = np.median(q) / stats.chi2.median(2)
    # The median of m chi-squares: relative SE about 2.2/sqrt(m) (1 df) and 1.45/sqrt(m) (2 df); four of them.
    assert lambda_gc == pytest.approx(1.0, abs=4 * 2.2 / np.sqrt(SNPS))
    assert lambda_q == pytest.approx(1.0, abs=4 * 1.5 / np.sqrt(SNPS))
    # Tails: share below 0.001 is binomial.
    for p in (frame["p"], frame["q_snp_p"]):
        assert stats.binomtest(int((p < 1e-3).sum()), SNPS, 1e-3).pvalue > FAR


def test_planted_variants_are_told_apart():
    pytest.importorskip("gsem_spark.methods.gwas.fit_snps")
    design, panel = _design((1.0, 1.0, 1.0)), simulate_panel(SNPS, seed=78)
    null = replace(panel, l2=np.zeros(panel.size))
    planted = plant(design, null, seed=78, per_factor=(60,), per_trait={"T1": 20, "T3": 20}, factor_variance=(0.004, 0.008),
                    trait_variance=(0.0008, 0.0012))  # fmt: skip
    frame = _per_snp(design, null, draw_z(design, null, design.n, seed=78, planted=planted)).iloc[planted.rows]
    factor = np.array([t == "factor1" for t in planted.target])
    assert (frame["p"] < 5e-8).to_numpy()[factor].mean() > 0.9
    assert (frame["q_snp_p"] < 0.05 / 60).to_numpy()[factor].mean() < 0.1
    assert (frame["q_snp_p"] < 0.05 / 60).to_numpy()[~factor].mean() > 0.9
