"""Maximum-likelihood fit of the common-factor model with a SNP, one SNP after another in compiled code.

The SNP is exogenous and its variance v = 2 maf (1 - maf) is fixed, so log|Sigma| + tr(S_full Sigma^-1) is, up to a constant,
log|Omega| + tr(Omega^-1 C): Omega = a a' + Theta is the trait covariance given the SNP (a_j = lambda_j sqrt(psi), with psi the
residual variance of the factor) and C = S - v beta beta' + v rho rho' with rho = beta - a delta, b = a_1 delta under a
marker loading and b = delta under psi = 1. Unknowns: a (k), delta, Theta (k).

Newton steps from the no-SNP solution. Sandwich with the normal-theory weight at the estimate (Grotzinger et al. 2019, Nat
Hum Behav 3:513, Methods); for a direction (d tau, d Omega) of the parameters, with B = Omega^-1 and N = B dOmega B, the
weights of the moments are N on the traits' block and B dtau - N tau on the SNP's covariances (block inverse of Sigma); the
SNP's own variance is given, so its sampling error does not enter b.
"""

from __future__ import annotations

from math import log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.jit import inlined, inner, jit
from gsem_spark.methods.gwas.kernel import (
    CHISQ,
    DAMPED_TOLERANCE,
    EST,
    FIRST_DAMPING,
    MAX_DAMPING,
    MAX_ITERATIONS,
    NEWTON_TOLERANCE,
    SE,
    TRUST,
    Q,
    raised,
    s_full_is_pd,
    screen,
    v_full_is_known,
)
from gsem_spark.methods.gwas.moments import Moments
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, backward, cholesky, forward, quadratic

Floats = NDArray[np.float64]


class MlWork(NamedTuple):
    """Scratch arrays of one batch, allocated once; p = 2 k + 1 parameters in the order a, delta, Theta."""

    x: Floats  # (p,)
    best: Floats  # (p,)
    gradient: Floats  # (p,)
    step: Floats  # (p,)
    hessian: Floats  # (p, p)
    base: Floats  # (k, k) S - v beta beta'
    rho: Floats  # (k,)
    inverse: Floats  # (k, k) B = Omega^-1
    middle: Floats  # (k, k) K = B C B
    y: Floats  # (k,) B rho
    h: Floats  # (k,) B a
    kappa: Floats  # (k,) K a
    scratch: Floats  # (k, k)
    vector: Floats  # (k,)
    cells: Floats  # (k*,)


@inner
def make_ml_work(k: int) -> MlWork:
    """Allocate scratch arrays for k traits."""
    p = 2 * k + 1
    return MlWork(
        np.empty(p), np.empty(p), np.empty(p), np.empty(p), np.empty((p, p)), np.empty((k, k)), np.empty(k), np.empty((k, k)),
        np.empty((k, k)), np.empty(k), np.empty(k), np.empty(k), np.empty((k, k)), np.empty(k), np.empty(k * (k + 1) // 2),
    )


@inner
def evaluate(beta: Floats, v: float, work: MlWork) -> float:
    """Half the ML objective at ``work.x``; fills B, K, rho and the vectors made of them. Infinite where Omega is not PD."""
    k = beta.size
    x, omega, B, K = work.x, work.scratch, work.inverse, work.middle
    delta = x[k]
    for i in range(k):
        work.rho[i] = beta[i] - x[i] * delta
        for j in range(i + 1):
            omega[i, j] = x[i] * x[j]
        omega[i, i] += x[k + 1 + i]
    if not cholesky(omega, k, PIVOT_TOLERANCE):
        return np.inf
    objective = 0.0
    for i in range(k):
        objective -= log(omega[i, i])
        for j in range(k):
            work.vector[j] = 0.0
        work.vector[i] = 1.0
        forward(omega, k, work.vector)
        backward(omega, k, work.vector)
        for j in range(k):
            B[i, j] = work.vector[j]
    product = work.scratch
    for i in range(k):
        y = 0.0
        h = 0.0
        for j in range(k):
            y += B[i, j] * work.rho[j]
            h += B[i, j] * x[j]
            total = 0.0
            for l in range(k):
                total += B[i, l] * work.base[l, j]
            product[i, j] = total
        objective += 0.5 * product[i, i]
        work.y[i] = y
        work.h[i] = h
    for i in range(k):
        objective += 0.5 * v * work.rho[i] * work.y[i]
        for j in range(i + 1):
            total = v * work.y[i] * work.y[j]
            for l in range(k):
                total += product[i, l] * B[l, j]
            K[i, j] = total
            K[j, i] = total
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += K[i, j] * x[j]
        work.kappa[i] = total
    return objective


@inner
def ml_derivatives(v: float, k: int, curvature: float, work: MlWork) -> None:
    """Gradient and lower triangle of the Hessian (``curvature`` 1) or of the expected information (0) at ``work.x``."""
    x, g, H = work.x, work.gradient, work.hessian
    B, K, y, h, kappa = work.inverse, work.middle, work.y, work.h, work.kappa
    delta = x[k]
    c = curvature
    q = 0.0
    s = 0.0
    ya = 0.0
    for i in range(k):
        q += x[i] * h[i]
        s += x[i] * kappa[i]
        ya += x[i] * y[i]
    for i in range(k):
        g[i] = h[i] - kappa[i] - v * delta * y[i]
        g[k + 1 + i] = 0.5 * (B[i, i] - K[i, i])
        for j in range(i + 1):
            observed = kappa[i] * h[j] + kappa[j] * h[i] + q * K[i, j] + s * B[i, j] - 2.0 * (B[i, j] * q + h[i] * h[j])
            observed += B[i, j] - K[i, j]
            # the mean's and Omega's parts meet in a
            observed += v * delta * (B[i, j] * ya + h[i] * y[j] + B[i, j] * ya + h[j] * y[i])
            H[i, j] = B[i, j] * q + h[i] * h[j] + v * delta * delta * B[i, j] + c * observed
            H[k + 1 + i, k + 1 + j] = 0.5 * B[i, j] * B[i, j] + c * (K[i, j] * B[i, j] - B[i, j] * B[i, j])
        for j in range(k):
            observed = K[i, j] * h[j] + kappa[j] * B[i, j] - 2.0 * B[i, j] * h[j] + v * delta * B[i, j] * y[j]
            H[k + 1 + j, i] = B[i, j] * h[j] + c * observed
        H[k, i] = v * delta * h[i] + c * v * (-y[i] + h[i] * ya + q * y[i])
        H[k + 1 + i, k] = c * v * h[i] * y[i]
    g[k] = -v * ya
    H[k, k] = v * q


@inlined
def ml_minimise(beta: Floats, v: float, variance: Floats, start: Floats, start_theta: Floats, work: MlWork) -> bool:
    """Bring ``work.x`` from the no-SNP solution to the optimum; True when it is met (see ``kernel.minimise``)."""
    k = beta.size
    n = 2 * k + 1
    x, best = work.x, work.best
    above = 0.0
    below = 0.0
    for j in range(k):
        x[j] = start[j]
        x[k + 1 + j] = start_theta[j]
        above += start[j] * beta[j] / start_theta[j]
        below += start[j] * start[j] / start_theta[j]
    x[k] = above / below
    if not np.isfinite(evaluate(beta, v, work)):
        # the no-SNP solution is improper: begin where half of every variance is residual
        for j in range(k):
            x[j] = sqrt(0.5 * variance[j]) if start[j] >= 0.0 else -sqrt(0.5 * variance[j])
            x[k + 1 + j] = 0.5 * variance[j]
    damping = 0.0
    lowest = np.inf
    unsure = False
    for _ in range(MAX_ITERATIONS):
        objective = evaluate(beta, v, work)
        if (unsure and not objective <= lowest) or not np.isfinite(objective):
            if not np.isfinite(lowest):
                return False
            damping = raised(damping)
            if damping > MAX_DAMPING:
                return False
            for j in range(n):
                x[j] = best[j]
            objective = evaluate(beta, v, work)
        ml_derivatives(v, k, 1.0 if damping == 0.0 else 0.0, work)
        for j in range(n):
            best[j] = x[j]
            work.step[j] = -work.gradient[j]
            work.hessian[j, j] *= 1.0 + damping
        lowest = objective
        newton = damping == 0.0
        if not cholesky(work.hessian, n, PIVOT_TOLERANCE):
            damping = raised(damping)
            if damping > MAX_DAMPING:
                return False
            unsure = False
            continue
        length = forward(work.hessian, n, work.step)
        backward(work.hessian, n, work.step)
        for j in range(n):
            x[j] += work.step[j]
        if length < (NEWTON_TOLERANCE if newton else DAMPED_TOLERANCE) * ML_SCALE:
            return True
        unsure = length > TRUST * ML_SCALE
        damping = damping * 0.1 if damping > FIRST_DAMPING else 0.0
    return False


ML_SCALE = 1e-4
"""The ML objective is per observation: its natural step length is in standard deviations of a trait, and standard errors
are about a hundredth of those."""


@inner
def ml_sandwich_variance(m: Moments, scale: Floats, v: float, std_lv: bool, work: MlWork) -> float:
    """Return the sampling variance of b at ``work.x``; -1 where the information is singular."""
    k = scale.size
    n = 2 * k + 1
    x, row, B, h = work.x, work.step, work.inverse, work.h
    delta = x[k]
    ml_derivatives(v, k, 0.0, work)
    if not cholesky(work.hessian, n, m.toler):
        return -1.0
    for j in range(n):
        row[j] = 0.0
    if std_lv:
        row[k] = 1.0
    else:
        row[0] = delta
        row[k] = x[0]
    forward(work.hessian, n, row)
    backward(work.hessian, n, row)
    along = 0.0
    for j in range(k):
        along += h[j] * row[j]
        total = 0.0
        for l in range(k):
            total += B[j, l] * row[l]
        work.y[j] = total
    # N = B dOmega B with dOmega = a da' + da a' + dTheta
    for i in range(k):
        for j in range(i + 1):
            total = h[i] * work.y[j] + work.y[i] * h[j]
            for l in range(k):
                total += B[i, l] * row[k + 1 + l] * B[l, j]
            work.middle[i, j] = total
            work.middle[j, i] = total
            work.cells[m.cell[i, j]] = total if i != j else 0.5 * total
    for i in range(k):
        weight = work.y[i] * delta + h[i] * row[k]
        for j in range(k):
            weight -= work.middle[i, j] * x[j] * delta
        work.vector[i] = weight * scale[i] * v
    return quadratic(m.snp_correlation, k, work.vector) + quadratic(m.full_sampling, work.cells.size, work.cells)


@inner
def ml_chisq(m: Moments, beta: Floats, scale: Floats, v: float, work: MlWork) -> tuple[float, float]:
    """Q_SNP and the model's chi-square at ``work.x``.

    Under ML the direct effects of step 2 are exactly rho whatever the residual variances, and their sandwich block is
    V_SNP / v^2 + c beta beta' with c = var(v) / v^2: as the reference has it, step 2 does read the SNP's own variance. Q_SNP is
    the SNP's part of the model's chi-square, lowered by that rank-one term (Sherman-Morrison).
    """
    k = scale.size
    x = work.x
    delta = x[k]
    for i in range(k):
        work.vector[i] = work.rho[i] / scale[i]
        for j in range(i + 1):
            implied = x[i] * x[j] * (1.0 + v * delta * delta)
            if i == j:
                implied += x[k + 1 + i]
            work.cells[m.cell[i, j]] = m.full_covariance[i, j] - implied
    snp_part = quadratic(m.snp_precision, k, work.vector)
    cross = 0.0
    strength = 0.0
    for i in range(k):
        for j in range(k):
            precision = m.snp_precision[i, j] / (scale[i] * scale[j])
            cross += beta[i] * precision * work.rho[j]
            strength += beta[i] * precision * beta[j]
    c = m.snp_variance_error[0] / (v * v)
    q = snp_part - c * cross * cross / (1.0 + c * strength)
    return q, snp_part + quadratic(m.full_precision, work.cells.size, work.cells)


@inlined
def ml_fit_one(
    m: Moments, beta: Floats, scale: Floats, v: float, start: Floats, start_theta: Floats, std_lv: bool, work: MlWork, out: Floats
) -> tuple[int, int]:
    """Fit one SNP and fill ``out`` (est, se, Q_SNP, chi-square); return its code and the trait that the code speaks of."""
    k = scale.size
    for i in range(k):
        for j in range(k):
            work.base[i, j] = m.full_covariance[i, j] - v * beta[i] * beta[j]
    if not ml_minimise(beta, v, m.variance, start, start_theta, work):
        return outcomes.NOT_CONVERGED, 0
    evaluate(beta, v, work)
    q, chisq = ml_chisq(m, beta, scale, v, work)
    variance = ml_sandwich_variance(m, scale, v, std_lv, work)
    if not variance > 0.0:
        return outcomes.SINGULAR, 0
    x = work.x
    if std_lv:
        out[EST] = x[k] if x[0] >= 0.0 else -x[k]
    else:
        out[EST] = x[0] * x[k]
    out[SE] = sqrt(variance)
    out[Q] = q
    out[CHISQ] = chisq
    for j in range(k):
        if x[k + 1 + j] < 0.0:
            return outcomes.HEYWOOD_TRAIT, j
    return outcomes.OK, 0


@jit
def ml_fit_single(
    m: Moments, beta: Floats, scale: Floats, v: float, start: Floats, start_theta: Floats, std_lv: bool, out: Floats
) -> tuple[int, int]:
    """:func:`ml_fit_one` for one SNP on its own."""
    return ml_fit_one(m, beta, scale, v, start, start_theta, std_lv, make_ml_work(scale.size), out)


@jit
def ml_fit_batch(
    m: Moments, chol_s: Floats, gc: Floats, start: Floats, start_theta: Floats, std_lv: bool, beta: Floats, se: Floats,
    maf: Floats, out: Floats, codes: NDArray[np.int64], culprits: NDArray[np.int64],
) -> None:
    """Fit every SNP of a batch that needs no smoothing; arguments as in ``kernel.fit_batch``, ``start_theta`` (k,)."""
    n, k = beta.shape
    work = make_ml_work(k)
    scale = np.empty(k)
    for row in range(n):
        code, culprit = screen(beta[row], se[row], maf[row])
        if code == outcomes.OK:
            v = 2.0 * maf[row] * (1.0 - maf[row])
            for j in range(k):
                scale[j] = se[row, j] * gc[j]
            if v_full_is_known(m, scale, v) and s_full_is_pd(chol_s, beta[row], v, work.vector):
                code, culprit = ml_fit_one(m, beta[row], scale, v, start, start_theta, std_lv, work, out[row])
            else:
                code = outcomes.NEEDS_SMOOTHING
        codes[row] = code
        culprits[row] = culprit
