"""Q_SNP: does the SNP act on the traits as the factor says? The common-factor model's second step, compiled.

Loadings, b and the factor's residual variance stay at their estimates; every trait gets a direct effect eta_j of the SNP and
its residual variance is free again. Q = eta' V_eta^-1 eta with the sandwich block V_eta of the direct effects, k - 1 df
(Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods, "Q_SNP").

With total effects tau_j = a_j delta + eta_j the moments left over (residual variances meet the trait variances) are
beta_j = tau_j and s_ij = lambda_i lambda_j psi + v tau_i tau_j: k unknowns, nearly linear, solved by Newton steps from
tau = beta.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.jit import inner
from gsem_spark.methods.gwas.moments import Moments
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, backward, cholesky, forward

Floats = NDArray[np.float64]

MAX_ITERATIONS = 100
TOLERANCE = 1e-12
"""Squared length of the last Newton step, in standard-error units (see kernel.NEWTON_TOLERANCE)."""
NOT_CONVERGED = -1.0
SINGULAR = -2.0


@inner
def direct_derivatives(
    m: Moments, beta: Floats, v: float, x: Floats, w: Floats, tau: Floats, curvature: float, gradient: Floats, hessian: Floats
) -> None:
    """Half the gradient and the lower triangle of half the Hessian of step 2 at total effects ``tau``."""
    k = w.size
    shrink = v * x[k] * x[k]
    for i in range(k):
        g = 0.0
        h = 0.0
        for j in range(k):
            weight = m.weight[i, j]
            product = x[i] * x[j]
            residual = m.sign * (m.covariance[i, j] - product) + shrink * product - v * tau[i] * tau[j]
            wr = weight * residual
            g -= wr * tau[j]
            h += weight * tau[j] * tau[j]
            if j < i:
                hessian[i, j] = v * (v * weight * tau[i] * tau[j] - curvature * wr)
        gradient[i] = v * g - w[i] * (beta[i] - tau[i])
        hessian[i, i] = w[i] + v * v * h


@inner
def _solve_direct(
    m: Moments, beta: Floats, v: float, x: Floats, w: Floats, tau: Floats, step: Floats, gradient: Floats, hessian: Floats
) -> bool:
    k = w.size
    for j in range(k):
        tau[j] = beta[j]
    gauss_newton = False
    for _ in range(MAX_ITERATIONS):
        direct_derivatives(m, beta, v, x, w, tau, 0.0 if gauss_newton else 1.0, gradient, hessian)
        if not cholesky(hessian, k, PIVOT_TOLERANCE):
            if gauss_newton:
                return False
            gauss_newton = True
            continue
        for j in range(k):
            step[j] = -gradient[j]
        length = forward(hessian, k, step)
        backward(hessian, k, step)
        for j in range(k):
            tau[j] += step[j]
        if length < TOLERANCE * (1e-10 if gauss_newton else 1.0):
            return True
        gauss_newton = False
    return False


@inner
def q_snp(
    m: Moments, beta: Floats, scale: Floats, v: float, x: Floats, w: Floats, tau: Floats, step: Floats, gradient: Floats,
    hessian: Floats, meat: Floats, spread: Floats,
) -> float:
    """Q_SNP at the first step's solution ``x`` = (a, delta), or ``NOT_CONVERGED`` or ``SINGULAR``.

    V_eta = A^-1 M A^-1 with A = D'WD and M = D'WVWD, so Q = (A eta)' M^-1 (A eta): one Cholesky factor, no inverse.
    ``tau`` to ``spread`` are scratch arrays.
    """
    k = w.size
    if not _solve_direct(m, beta, v, x, w, tau, step, gradient, hessian):
        return NOT_CONVERGED
    direct_derivatives(m, beta, v, x, w, tau, 0.0, gradient, hessian)
    delta = x[k]
    for i in range(k):
        row = hessian[i, i] * (tau[i] - x[i] * delta)
        for j in range(i):
            row += hessian[i, j] * (tau[j] - x[j] * delta)
        for j in range(i + 1, k):
            row += hessian[j, i] * (tau[j] - x[j] * delta)
        step[i] = row
    pairs = m.influence.shape[0]
    for i in range(k):
        for p in range(pairs):
            spread[i, p] = 0.0
        for j in range(k):
            if j != i:
                source = m.pair[i, j]
                for p in range(pairs):
                    spread[i, p] += tau[j] * m.influence[source, p]
    for i in range(k):
        for l in range(i + 1):
            total = 0.0
            for j in range(k):
                if j != l:
                    total += spread[i, m.pair[l, j]] * tau[j]
            meat[i, l] = m.snp_correlation[i, l] / (scale[i] * scale[l]) + v * v * total
    if not cholesky(meat, k, m.toler):
        return SINGULAR
    return forward(meat, k, step)
