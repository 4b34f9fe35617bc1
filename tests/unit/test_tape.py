"""Programs compiled from a model against the model's own moments and derivatives, in every lane of a block."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from gsem_spark.methods.gwas import UserModelGwas
from gsem_spark.methods.gwas.arrangement import Sampling
from gsem_spark.methods.gwas.kernel_user import derivatives, evaluate, subtract_curvature
from gsem_spark.methods.gwas.lanes import LANES
from gsem_spark.methods.gwas.tape import Tape
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.gwas.user_block import Block, make_block
from gsem_spark.methods.ldsc.covstruct import CovStruct

K = 6
MODELS = {
    "two factors": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF1 ~~ F2\nF1 ~ SNP\nF2 ~ SNP\nT0 ~ SNP",
    "mediation": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF2 ~ F1\nF1 ~ SNP\nF2 ~ SNP",
    "second order": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nG =~ F1 + 1*F2\nG ~ SNP",
    "bifactor, equal effects": "G =~ T0 + T1 + T2 + T3 + T4 + T5\nF =~ T3 + T4 + T5\nG ~~ 0*F\nG ~ g*SNP\nF ~ g*SNP",
    "trait as predictor": "F1 =~ T0 + T1 + T2\nT4 ~ F1 + T3\nF1 ~ SNP\nT4 ~ SNP\nT1 ~~ T2",
    "fixed loadings": "F1 =~ 0.5*T0 + 1.5*T1 + a*T2 + a*T3\nF1 ~ SNP",
}


@numba.njit
def allocated(t: Tape, m: Sampling, targets: Targets) -> Block:
    return make_block(t, m, targets, False)


@numba.njit
def at_first(t: Tape, block: Block) -> None:
    evaluate(t, block)
    derivatives(t, block)


@numba.njit
def curved(t: Tape, block: Block) -> None:
    subtract_curvature(t, block)


@pytest.mark.parametrize("name", MODELS)
def test_moments_and_derivatives_are_those_of_the_model(name: str) -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(0, 0.3, (K, K)) + np.eye(K)
    size = K * (K + 1) // 2
    cov = CovStruct.from_matrices(root @ root.T, np.diag(rng.uniform(1, 2, size)) * 1e-4, np.eye(K), [f"T{i}" for i in range(K)])
    gwas = UserModelGwas.prepare(cov, MODELS[name], fix_measurement=False, route="iterative")
    t, m, model = gwas.parts.tape, gwas.parts.sampling, gwas.model
    assert t is not None and m is not None
    block = allocated(t, m, gwas.targets)
    s = block.s
    theta = rng.uniform(0.2, 1.0, (LANES, model.n_free))
    for n in range(t.implied.size):  # moments and weights of SNPs that differ
        s[t.observed + n] = rng.normal(0, 0.5, LANES)
        s[t.weight + n] = rng.uniform(0.5, 2.0, LANES)
    free = (t.parameter >= 0) & (model.path_index >= 0)
    place = np.full(t.q, -1)
    place[t.parameter[free]] = model.path_index[free]
    s[t.x : t.x + t.q] = theta[:, place].T
    block.damping[:] = 0.0
    at_first(t, block)
    gauss_newton = s[t.hessian : t.hessian + t.q * t.q].copy()
    down = s[t.step : t.step + t.q].copy()
    curved(t, block)
    rows, columns = t.moment_row[: t.searched], t.moment_column[: t.searched]
    moments = np.array([model.observed.index(v) for v in ("SNP", *gwas.model.observed[1:])])
    assert moments.tolist() == list(range(model.k))

    def searched(at: np.ndarray) -> np.ndarray:
        return model.implied(at)[rows, columns]

    lower = np.tril_indices(t.q)
    for lane in (0, 5, LANES - 1):
        at, w = theta[lane], s[t.weight : t.weight + t.searched, lane]
        residual = s[t.observed : t.observed + t.searched, lane] - searched(at)
        assert np.allclose(s[t.residual : t.residual + t.searched, lane], residual, rtol=1e-12, atol=1e-13)
        assert block.objective[lane] == pytest.approx(0.5 * np.sum(w * residual**2), rel=1e-12)
        J = np.empty((t.searched, t.q))
        for j, p in enumerate(place):
            step = np.zeros(theta.shape[1])
            step[p] = 1e-6
            J[:, j] = (searched(at + step) - searched(at - step)) / 2e-6
        assert np.allclose(down[:, lane], J.T @ (w * residual), rtol=1e-6, atol=1e-8)
        got = gauss_newton[:, lane].reshape(t.q, t.q)[lower]
        assert np.allclose(got, (J.T @ (w[:, None] * J))[lower], rtol=1e-6, atol=1e-8)
        hessian = s[t.hessian : t.hessian + t.q * t.q, lane].reshape(t.q, t.q)[lower]

        def objective(x: np.ndarray, w: np.ndarray = w, lane: int = lane) -> float:
            return float(0.5 * np.sum(w * (s[t.observed : t.observed + t.searched, lane] - searched(x)) ** 2))

        want = np.empty((t.q, t.q))
        for i, p in enumerate(place):
            for j, r in enumerate(place[: i + 1]):
                a, b = np.zeros(theta.shape[1]), np.zeros(theta.shape[1])
                a[p], b[r] = 1e-4, 1e-4
                corners = objective(at + a + b), objective(at + a - b), objective(at - a + b), objective(at - a - b)
                want[i, j] = (corners[0] - corners[1] - corners[2] + corners[3]) / 4e-8
        assert np.allclose(hessian, want[lower], rtol=1e-4, atol=1e-5)
