"""MTAG on simulated truth: standard errors that hold, an Omega that is found again, and an FDR that is what the formula says."""

from __future__ import annotations

import numpy as np
import pytest

from gsem_spark.methods import mtag, pvalues
from gsem_spark.methods.mtag import numerical

pytestmark = pytest.mark.slow

OMEGA = np.array([[5e-6, 3e-6, 2e-6], [3e-6, 4e-6, 2.4e-6], [2e-6, 2.4e-6, 6e-6]])
SIGMA = np.array([[1.04, 0.25, 0.0], [0.25, 1.02, -0.1], [0.0, -0.1, 1.07]])


def draw(m: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects, Z-scores and sample sizes of m SNPs under MTAG's own model."""
    rng = np.random.default_rng(seed)
    beta = rng.multivariate_normal(np.zeros(3), OMEGA, m)
    n = rng.uniform(4e4, 2e5, (m, 3))
    return beta, beta * np.sqrt(n) + rng.multivariate_normal(np.zeros(3), SIGMA, m), n


def test_standard_errors_hold_given_the_true_effect():
    """Errors have unit variance and do not depend on the SNP's own effect: MTAG is unbiased for every SNP of the trait."""
    beta, z, n = draw(400_000, 1)
    got = mtag.estimate(z, n, SIGMA, OMEGA)
    error = (got.beta - beta) / got.se
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=5 / np.sqrt(len(z)))
    np.testing.assert_allclose(error.var(axis=0), 1, atol=5 * np.sqrt(2 / len(z)))
    for t in range(3):
        slope = np.polyfit(beta[:, t], got.beta[:, t], 1)[0]
        assert slope == pytest.approx(1, abs=0.01)
    own = np.sqrt(np.diag(SIGMA) / n)
    assert (got.se < own).all()


def test_both_estimators_find_omega_again():
    _, z, n = draw(400_000, 2)
    moments = mtag.estimate(z, n, SIGMA).omega
    np.testing.assert_allclose(moments, OMEGA, rtol=0.02)
    n = np.round(n, -4)
    found = numerical.numerical_omega(numerical.group_by_n(z, n), SIGMA, moments)
    assert found.converged
    np.testing.assert_allclose(found.omega, OMEGA, rtol=0.03)


def test_false_discovery_rate_is_the_formulas():
    """SNPs drawn from a mixture of causal states; the share of hits that are null for the trait, against the computed FDR."""
    rng = np.random.default_rng(3)
    m, k, p = 4_000_000, 2, 1e-4
    omega, sigma, n = OMEGA[:k, :k], SIGMA[:k, :k], np.array([6e4, 2.5e5])
    states = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    point = np.array([0.3, 0.2, 0.05, 0.45])
    inflated = omega / np.array([[point[[2, 3]].sum(), point[3]], [point[3], point[[1, 3]].sum()]])
    state = states[rng.choice(4, m, p=point)]
    beta = rng.multivariate_normal(np.zeros(k), inflated, m) * state
    z = beta * np.sqrt(n) + rng.multivariate_normal(np.zeros(k), sigma, m)
    got = mtag.estimate(z, n, sigma, omega)
    line = float(pvalues.z_from_neglog10p(-np.log10(p)))
    wanted = mtag.fdr_at(point, mtag.fdr_problem(omega, sigma, n, p_threshold=p))[0]
    for t in range(k):
        hit = np.abs(got.z[:, t]) > line
        share = (state[hit, t] == 0).mean()
        assert share == pytest.approx(wanted[t], abs=5 * np.sqrt(wanted[t] * (1 - wanted[t]) / hit.sum()))
        assert hit.sum() * wanted[t] > 100, "enough false hits to tell"
