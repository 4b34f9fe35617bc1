"""DWLS fit of the common-factor model with a SNP, one SNP after another in compiled code.

The model of Genomic SEM's common-factor GWAS: y_j = lambda_j F + e_j, F = b SNP + zeta. Its free parameters are the loadings
(one fixed), b, the residual variances of F and of every y_j, and the SNP's variance. Three facts make it small:

* the SNP's variance and the k trait variances each have a parameter of their own that meets them exactly, so these k + 1
  moments leave the problem, and the residual variances with them;
* with loadings scaled so that F without its residual has unit variance, a_j = lambda_j sd(F), the remaining moments are
  products: cov(y_i, y_j) = a_i a_j and, divided by the SNP's variance, cov(SNP, y_j) / v = a_j delta;
* the weight matrix is diagonal and V_full block-diagonal.

So k + 1 unknowns (a, delta) minimise sum_j w_j (beta_j - a_j delta)^2 + sum_{i<j} W_ij (s_ij - a_i a_j)^2 with
w_j = 1 / (se_j g_j)^2: v has dropped out. Newton steps from the no-SNP solution reach the optimum in three or four
iterations. DWLS does not depend on the parametrisation, so b, its sandwich variance, chi-square and Q_SNP are those of the
model as users write it. Source of the model and the sandwich: Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.jit import inlined, inner, jit
from gsem_spark.methods.gwas.moments import Moments
from gsem_spark.methods.gwas.qsnp import q_snp
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, backward, cholesky, forward, quadratic

Floats = NDArray[np.float64]

MAX_ITERATIONS = 200
NEWTON_TOLERANCE = 1e-12
"""Squared length of the last Newton step in standard-error units. Newton's error after the step is about the step squared:
the optimum is met to about 1e-12 standard errors, rounding aside."""
TRUST = 1e-3
"""Steps shorter than this (squared, in standard-error units) are taken without comparing the objective."""
DAMPED_TOLERANCE = 1e-22
"""The same for a damped step, which converges only linearly."""
FIRST_DAMPING = 1e-3
MAX_DAMPING = 1e12

EST, SE, Q, CHISQ = 0, 1, 2, 3
"""Columns of the kernel's output."""


class Work(NamedTuple):
    """Scratch arrays of one batch, allocated once."""

    x: Floats  # (k + 1,) a and delta
    best: Floats  # (k + 1,)
    gradient: Floats  # (k + 1,)
    step: Floats  # (k + 1,)
    hessian: Floats  # (k + 1, k + 1)
    factor: Floats  # (k + 1, k + 1)
    w: Floats  # (k,) SNP weights
    tau: Floats  # (k,)
    trial: Floats  # (k,)
    pairs: Floats  # (q,)
    spread: Floats  # (k, q)


@inner
def make_work(k: int) -> Work:
    """Allocate scratch arrays for k traits."""
    q = k * (k - 1) // 2
    return Work(
        np.empty(k + 1), np.empty(k + 1), np.empty(k + 1), np.empty(k + 1), np.empty((k + 1, k + 1)), np.empty((k + 1, k + 1)),
        np.empty(k), np.empty(k), np.empty(k), np.empty(q), np.empty((k, q)),
    )


@inner
def raised(damping: float) -> float:
    """Damping after a step that did not help."""
    return 10.0 * damping if 10.0 * damping > FIRST_DAMPING else FIRST_DAMPING


@inner
def derivatives(m: Moments, beta: Floats, w: Floats, x: Floats, curvature: float, gradient: Floats, hessian: Floats) -> float:
    """Objective, gradient and lower triangle of the Hessian (each halved) at x = (a, delta).

    ``curvature`` 1 gives the exact Hessian, 0 the Gauss-Newton one (Jacobian' W Jacobian).
    """
    k = w.size
    delta = x[k]
    objective = 0.0
    gradient_delta = 0.0
    hessian_delta = 0.0
    for i in range(k):
        a = x[i]
        g = 0.0
        h = 0.0
        for j in range(k):
            weighted = m.weight[i, j] * x[j]
            product = weighted * a
            residual = m.covariance[i, j] - a * x[j]
            h += weighted * x[j]
            g -= weighted * residual
            wr = m.weight[i, j] * residual
            objective += 0.5 * wr * residual
            if j < i:
                hessian[i, j] = product - curvature * wr
        residual = beta[i] - a * delta
        wr = w[i] * residual
        objective += wr * residual
        gradient[i] = g - wr * delta
        hessian[i, i] = h + w[i] * delta * delta
        hessian[k, i] = w[i] * a * delta - curvature * wr
        gradient_delta -= wr * a
        hessian_delta += w[i] * a * a
    gradient[k] = gradient_delta
    hessian[k, k] = hessian_delta
    return objective


@inlined
def minimise(m: Moments, beta: Floats, start: Floats, work: Work) -> bool:
    """Bring ``work.x`` from the no-SNP loadings ``start`` (k,) to the optimum; True when it is met.

    Newton steps; where the Hessian is not positive definite or a long step does not lower the objective, Levenberg-damped
    Gauss-Newton steps until Newton works again.
    """
    k = start.size
    n = k + 1
    x, best = work.x, work.best
    above = 0.0
    below = 0.0
    for j in range(k):
        x[j] = start[j]
        above += work.w[j] * start[j] * beta[j]
        below += work.w[j] * start[j] * start[j]
    x[k] = above / below
    damping = 0.0
    lowest = np.inf
    unsure = False
    for _ in range(MAX_ITERATIONS):
        objective = derivatives(m, beta, work.w, x, 1.0 if damping == 0.0 else 0.0, work.gradient, work.hessian)
        if unsure and not objective <= lowest:
            damping = raised(damping)
            if damping > MAX_DAMPING:
                return False
            for j in range(n):
                x[j] = best[j]
            objective = derivatives(m, beta, work.w, x, 0.0, work.gradient, work.hessian)
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
        if length < (NEWTON_TOLERANCE if newton else DAMPED_TOLERANCE):
            return True
        unsure = length > TRUST
        damping = damping * 0.1 if damping > FIRST_DAMPING else 0.0
    return False


@inner
def sandwich_variance(m: Moments, scale: Floats, v: float, std_lv: bool, work: Work) -> float:
    """Return the sampling variance of b at ``work.x``; -1 where the normal equations are singular.

    The row of (D'WD)^-1 D'W that belongs to b is x'D'W with D'WD x = grad b; its variance splits over the blocks of V_full.
    """
    k = scale.size
    n = k + 1
    x, row = work.x, work.step
    delta = x[k]
    if not cholesky(work.hessian, n, m.toler):
        return -1.0
    for j in range(n):
        row[j] = 0.0
    if std_lv:
        free = 1.0 - v * delta * delta
        b = delta / sqrt(free)
        row[k] = 1.0 / (free * sqrt(free))
        by_variance = 0.5 * b * (2.0 - v * delta * delta) / (v * free)
    else:
        b = x[0] * delta
        row[0] = delta
        row[k] = x[0]
        by_variance = b / v
    forward(work.hessian, n, row)
    backward(work.hessian, n, row)
    for j in range(k):
        # weight times standard error leaves 1 / scale
        work.trial[j] = (row[j] * delta + x[j] * row[k]) / scale[j]
        for i in range(j):
            work.pairs[m.pair[i, j]] = x[i] * row[j] + x[j] * row[i]
    variance = by_variance * by_variance * m.snp_variance_error[0]
    variance += quadratic(m.snp_correlation, k, work.trial)
    variance += quadratic(m.influence, m.influence.shape[0], work.pairs)
    return float(variance)


@inner
def model_chisq(m: Moments, beta: Floats, scale: Floats, work: Work) -> float:
    """Chi-square of the model at ``work.x``: residuals against V_full^-1; trait and SNP variances are met exactly."""
    k = scale.size
    x = work.x
    for j in range(k):
        work.trial[j] = (beta[j] - x[j] * x[k]) / scale[j]
        for i in range(j):
            work.pairs[m.pair[i, j]] = m.covariance[i, j] - x[i] * x[j]
    return quadratic(m.snp_precision, k, work.trial) + quadratic(m.precision, m.precision.shape[0], work.pairs)


@inlined
def fit_one(
    m: Moments, beta: Floats, scale: Floats, v: float, start: Floats, std_lv: bool, work: Work, out: Floats
) -> tuple[int, int]:
    """Fit one SNP and fill ``out`` (est, se, Q_SNP, chi-square); return its code and the trait that the code speaks of."""
    k = scale.size
    for j in range(k):
        work.w[j] = 1.0 / (scale[j] * scale[j])
    if not minimise(m, beta, start, work):
        return outcomes.NOT_CONVERGED, 0
    x = work.x
    delta = x[k]
    derivatives(m, beta, work.w, x, 0.0, work.gradient, work.hessian)
    explained = v * delta * delta
    if std_lv and not explained < 1.0:
        return outcomes.NOT_PD, 0
    variance = sandwich_variance(m, scale, v, std_lv, work)
    if not variance > 0.0:
        return outcomes.SINGULAR, 0
    q = q_snp(m, beta, scale, v, work.x, work.w, work.tau, work.trial, work.gradient, work.hessian, work.factor, work.spread)
    if q < 0.0:
        return (outcomes.NOT_CONVERGED if q > -1.5 else outcomes.SINGULAR), 0
    out[EST] = delta / sqrt(1.0 - explained) if std_lv else x[0] * delta
    out[SE] = sqrt(variance)
    out[Q] = q
    out[CHISQ] = model_chisq(m, beta, scale, work)
    for j in range(k):
        if m.variance[j] - m.sign * x[j] * x[j] < 0.0:
            return outcomes.HEYWOOD_TRAIT, j
    if m.sign - explained < 0.0:
        return outcomes.HEYWOOD_FACTOR, 0
    return outcomes.OK, 0


@jit
def fit_single(m: Moments, beta: Floats, scale: Floats, v: float, start: Floats, std_lv: bool, out: Floats) -> tuple[int, int]:
    """:func:`fit_one` for one SNP on its own."""
    return fit_one(m, beta, scale, v, start, std_lv, make_work(scale.size), out)


@jit
def screen(beta: Floats, se: Floats, maf: float) -> tuple[int, int]:
    """Code and trait of a SNP whose input cannot be fitted; ``OK`` otherwise."""
    return screen_predictor(beta, se, maf * (1.0 - maf))


@jit
def screen_predictor(beta: Floats, se: Floats, variance: float) -> tuple[int, int]:
    """:func:`screen` for a predictor of any variance: a SNP's is positive where its MAF is between 0 and 1."""
    if not np.isfinite(variance):
        return outcomes.MISSING, 0
    for j in range(beta.size):
        if not (np.isfinite(beta[j]) and np.isfinite(se[j])):
            return outcomes.MISSING, j
    if not variance > 0.0:
        return outcomes.NO_VARIANCE, 0
    for j in range(beta.size):
        if not se[j] > 0.0:
            return outcomes.NO_SE, j
    return outcomes.OK, 0


@inner
def v_full_is_known(m: Moments, scale: Floats, v: float) -> bool:
    """Whether every standard error of a SNP-trait covariance lies where ``m`` holds (see ``moments.smoothing_bounds``)."""
    return within_bounds(m.snp_bounds, scale, v)


@jit
def within_bounds(bounds: Floats, scale: Floats, v: float) -> bool:
    """Whether every standard error of a SNP-trait covariance lies in the open range ``bounds`` (2,)."""
    for j in range(scale.size):
        variance = scale[j] * scale[j] * v * v
        if not bounds[0] < variance < bounds[1]:
            return False
    return True


@jit
def s_full_is_pd(chol_s: Floats, beta: Floats, v: float, x: Floats) -> bool:
    """Whether [[v, v beta'], [., S]] is positive definite, by its Schur complement; ``chol_s`` factors S."""
    k = beta.size
    if not chol_s[0, 0] > 0.0:
        return False
    for j in range(k):
        x[j] = beta[j]
    return v * forward(chol_s, k, x) < 1.0


@jit
def fit_batch(
    m: Moments, chol_s: Floats, gc: Floats, start: Floats, std_lv: bool, beta: Floats, se: Floats, maf: Floats,
    out: Floats, codes: NDArray[np.int64], culprits: NDArray[np.int64],
) -> None:
    """Fit every SNP of a batch that needs no smoothing.

    Parameters
    ----------
    m
        Shared moments.
    chol_s
        (k, k) factor of S by :func:`~gsem_spark.methods.gwas.smallmatrix.cholesky`; its first element is 0 where S is not
        positive definite, which sends every SNP to smoothing.
    gc
        (k,) factors of the standard errors.
    start
        (k,) no-SNP loadings, scaled to unit factor variance.
    std_lv
        Residual variance of the factor fixed at 1 instead of the first loading.
    beta, se, maf
        (n, k), (n, k), (n,), C-contiguous.
    out, codes, culprits
        (n, 4), (n,), (n,), filled in place; rows of ``out`` that got no estimate keep what they hold.
    """
    n, k = beta.shape
    work = make_work(k)
    scale = np.empty(k)
    for row in range(n):
        code, culprit = screen(beta[row], se[row], maf[row])
        if code == outcomes.OK:
            v = 2.0 * maf[row] * (1.0 - maf[row])
            for j in range(k):
                scale[j] = se[row, j] * gc[j]
            if v_full_is_known(m, scale, v) and s_full_is_pd(chol_s, beta[row], v, work.trial):
                code, culprit = fit_one(m, beta[row], scale, v, start, std_lv, work, out[row])
            else:
                code = outcomes.NEEDS_SMOOTHING
        codes[row] = code
        culprits[row] = culprit
