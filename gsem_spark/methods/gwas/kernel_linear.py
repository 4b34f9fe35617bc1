"""DWLS fit of a model with its measurement fixed, one SNP after another in compiled code.

See :mod:`gsem_spark.methods.gwas.linear` for what is left to do per SNP. Unknowns are the SNP's r free paths f and its variance
phi; they minimise (v - phi)^2 / err + sum_j (v beta_j - phi gamma_j)^2 w_j + (d - T z)' M (d - T z) with z = phi f_a f_b, w_j =
1 / (se_j g_j v)^2. The sandwich takes the projected moments for the LDSC part, whose rows are those of the whole problem.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.jit import inlined, inner
from gsem_spark.methods.gwas.kernel import (
    DAMPED_TOLERANCE,
    FIRST_DAMPING,
    MAX_DAMPING,
    MAX_ITERATIONS,
    NEWTON_TOLERANCE,
    TRUST,
    raised,
)
from gsem_spark.methods.gwas.linear import Reduced, Shared
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, backward, cholesky, forward, quadratic
from gsem_spark.methods.gwas.targets import Targets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LinearWork(NamedTuple):
    """Scratch arrays of one batch; r free paths, u products that are not absorbed, t targets."""

    x: Floats  # (r + 1,) f and phi
    best: Floats  # (r + 1,)
    gradient: Floats  # (r + 1,)
    step: Floats  # (r + 1,)
    hessian: Floats  # (r + 1, r + 1)
    w: Floats  # (k,) 1 / (scale v)^2
    total: Floats  # (k,) gamma
    residual: Floats  # (k,)
    z: Floats  # (u,)
    pull: Floats  # (u,)
    moved: Floats  # (u, r + 1) derivatives of z
    covariances: Floats  # (t, k) influence of the SNP's covariances on each target
    products: Floats  # (t, u) move of the products along each target's direction
    direct: Floats  # (t,) influence of the SNP's variance
    part: Floats  # (max(k, u),)
    u: Floats  # (k,)


@inner
def make_linear_work(m: Reduced, targets: int) -> LinearWork:
    """Allocate scratch arrays."""
    k, r, u = m.gamma.shape[0], m.gamma.shape[1], m.first.size
    n, most = r + 1, k if k > u else u
    return LinearWork(
        np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros((n, n)), np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(u),
        np.zeros(u), np.zeros((u, n)), np.zeros((targets, k)), np.zeros((targets, u)), np.zeros(targets), np.zeros(most),
        np.zeros(k),
    )


@inner
def start_effects(m: Reduced, beta: Floats, v: float, work: LinearWork) -> bool:
    """Weighted regression of the traits' effects on the loadings of the free paths: the optimum where the closed form holds.

    Leaves the Cholesky factor of Gamma' W Gamma in ``work.hessian``; False where it is singular.
    """
    k, r = m.gamma.shape
    x, H = work.x, work.hessian
    for a in range(r):
        right = 0.0
        for j in range(k):
            right += work.w[j] * m.gamma[j, a] * (beta[j] - m.gamma_0[j])
        x[a] = right
        for b in range(a + 1):
            total = 0.0
            for j in range(k):
                total += work.w[j] * m.gamma[j, a] * m.gamma[j, b]
            H[a, b] = total
    if not cholesky(H, r, PIVOT_TOLERANCE):
        return False
    forward(H, r, x)
    backward(H, r, x)
    x[r] = v
    return True


@inner
def fill_state(m: Reduced, shared: Shared, beta: Floats, v: float, work: LinearWork) -> float:
    """Total effects, residuals, products and their pull at ``work.x``; half the objective, up to a constant."""
    k, r = m.gamma.shape
    x = work.x
    phi = x[r]
    objective = float(0.5 * (v - phi) * (v - phi) / m.snp_error)
    for j in range(k):
        gamma = m.gamma_0[j]
        for a in range(r):
            gamma += m.gamma[j, a] * x[a]
        work.total[j] = gamma
        work.residual[j] = v * beta[j] - phi * gamma
        objective += 0.5 * work.w[j] * work.residual[j] * work.residual[j]
    for n in range(m.first.size):
        a, b = m.first[n], m.second[n]
        work.z[n] = phi * (x[a] if a >= 0 else 1.0) * (x[b] if b >= 0 else 1.0)
    for n in range(m.first.size):
        total = 0.0
        for l in range(m.first.size):
            total += m.curve[n, l] * work.z[l]
        work.pull[n] = shared.slope[n] - total
        objective -= work.z[n] * (shared.slope[n] - 0.5 * total)
    return objective


@inner
def fill_derivatives(m: Reduced, v: float, curvature: bool, work: LinearWork) -> None:
    """Gradient and lower triangle of the exact Hessian (``curvature``) or the Gauss-Newton matrix."""
    k, r = m.gamma.shape
    x, g, H, moved = work.x, work.gradient, work.hessian, work.moved
    phi = x[r]
    g[r] = (phi - v) / m.snp_error
    H[r, r] = 1.0 / m.snp_error
    for j in range(k):
        g[r] -= work.w[j] * work.residual[j] * work.total[j]
        H[r, r] += work.w[j] * work.total[j] * work.total[j]
    for a in range(r):
        pulled = 0.0
        cross = 0.0
        for j in range(k):
            weighted = work.w[j] * m.gamma[j, a]
            pulled += weighted * work.residual[j]
            cross += weighted * work.total[j]
        for b in range(a + 1):
            total = 0.0
            for j in range(k):
                total += work.w[j] * m.gamma[j, a] * m.gamma[j, b]
            H[a, b] = phi * phi * total
        g[a] = -phi * pulled
        H[r, a] = phi * cross - (pulled if curvature else 0.0)
    for n in range(m.first.size):
        for a in range(r + 1):
            moved[n, a] = 0.0
        a, b = m.first[n], m.second[n]
        fa, fb = x[a] if a >= 0 else 1.0, x[b] if b >= 0 else 1.0
        if a >= 0:
            moved[n, a] += phi * fb
        if b >= 0:
            moved[n, b] += phi * fa
        moved[n, r] = fa * fb
        if curvature:
            pull = work.pull[n]
            if a >= 0:
                H[b, a] -= pull * phi * (2.0 if a == b else 1.0)
                H[r, a] -= pull * fb
            if b >= 0:
                H[r, b] -= pull * fa
    for n in range(m.first.size):
        for i in range(r + 1):
            g[i] -= work.pull[n] * moved[n, i]
            if moved[n, i] != 0.0:
                for l in range(m.first.size):
                    for j in range(i + 1):
                        H[i, j] += moved[n, i] * m.curve[n, l] * moved[l, j]


@inlined
def minimise_reduced(m: Reduced, shared: Shared, beta: Floats, v: float, work: LinearWork) -> bool:
    """Newton steps from the closed form to the optimum; True when it is met (see ``kernel.minimise``)."""
    n, x, best = work.x.size, work.x, work.best
    damping = 0.0
    lowest = np.inf
    unsure = False
    for _ in range(MAX_ITERATIONS):
        objective = fill_state(m, shared, beta, v, work)
        if unsure and not objective <= lowest:
            damping = raised(damping)
            if damping > MAX_DAMPING:
                return False
            for j in range(n):
                x[j] = best[j]
            objective = fill_state(m, shared, beta, v, work)
        newton = damping == 0.0
        fill_derivatives(m, v, newton, work)
        for j in range(n):
            best[j] = x[j]
            work.step[j] = -work.gradient[j]
            work.hessian[j, j] *= 1.0 + damping
        lowest = objective
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
def influence_reduced(m: Reduced, targets: Targets, work: LinearWork) -> bool:
    """How each target moves with the moments at the optimum; False where the normal equations are singular."""
    k, r = m.gamma.shape
    n = r + 1
    if not cholesky(work.hessian, n, m.toler):
        return False
    for t in range(targets.parameter.size):
        for a in range(n):
            work.step[a] = 0.0
        work.step[targets.parameter[t]] = 1.0
        forward(work.hessian, n, work.step)
        backward(work.hessian, n, work.step)
        for j in range(k):
            total = work.total[j] * work.step[r]
            for a in range(r):
                total += work.x[r] * m.gamma[j, a] * work.step[a]
            work.covariances[t, j] = work.w[j] * total
        for l in range(m.first.size):
            total = 0.0
            for a in range(n):
                total += work.moved[l, a] * work.step[a]
            work.products[t, l] = total
        work.direct[t] = work.step[r] / m.snp_error
    return True


@inner
def fill_linear_covariance(m: Reduced, scale: Floats, v: float, work: LinearWork, out: Floats) -> None:
    """Sampling covariances of the targets, ``out`` (t, t), or their variances where ``out`` is (t, 1)."""
    k, u = m.gamma.shape[0], m.first.size
    for t in range(out.shape[0]):
        for i in range(k):
            total = 0.0
            for j in range(k):
                total += m.snp_correlation[i, j] * work.covariances[t, j] * scale[j]
            work.u[i] = total * scale[i] * v * v
        for i in range(u):
            total = 0.0
            for j in range(u):
                total += m.meat[i, j] * work.products[t, j]
            work.part[i] = total
        for other in range(t if out.shape[1] == 1 else 0, t + 1):
            total = work.direct[t] * work.direct[other] * m.snp_error
            for i in range(k):
                total += work.u[i] * work.covariances[other, i]
            for i in range(u):
                total += work.part[i] * work.products[other, i]
            if out.shape[1] == 1:
                out[t, 0] = total
            else:
                out[t, other] = total
                out[other, t] = total


@inner
def linear_chisq(m: Reduced, shared: Shared, v: float, work: LinearWork) -> float:
    """Model chi-square from ``work.u``, the residual effects in standard errors; the free variances are at their optimum."""
    gap = v - work.x[work.x.size - 1]
    total = gap * gap / m.snp_error + quadratic(m.snp_precision, work.u.size, work.u) + shared.chi[0]
    for i in range(m.first.size):
        total -= 2.0 * work.z[i] * shared.chi_slope[i]
        for j in range(m.first.size):
            total += work.z[i] * m.chi_curve[i, j] * work.z[j]
    return float(total)


@inner
def improper_variance(m: Reduced, shared: Shared, work: LinearWork) -> int:
    """Variable (less 1) whose variance is negative at the estimate, or -1."""
    x = work.x
    phi = x[x.size - 1]
    for p in range(m.variance_variable.size):
        value = shared.variance[p]
        for n in range(m.variance_first.size):
            a, b = m.variance_first[n], m.variance_second[n]
            value -= m.variance_product[p, n] * phi * (x[a] if a >= 0 else 1.0) * (x[b] if b >= 0 else 1.0)
        if value < 0.0:
            return int(m.variance_variable[p] - 1)
    return -1


@inlined
def fit_linear(
    m: Reduced, shared: Shared, targets: Targets, beta: Floats, scale: Floats, v: float, work: LinearWork,
    est: Floats, covariance: Floats, q: Floats, chisq: Floats,
) -> tuple[int, int]:
    """Fit one SNP; return its code and the variable that the code speaks of. Outputs as in ``kernel_user.fit_one``."""
    k = m.gamma.shape[0]
    for j in range(k):
        work.w[j] = 1.0 / (scale[j] * scale[j] * v * v)
    if not start_effects(m, beta, v, work):
        return outcomes.SINGULAR, 0
    if not minimise_reduced(m, shared, beta, v, work):
        return outcomes.NOT_CONVERGED, 0
    fill_state(m, shared, beta, v, work)
    fill_derivatives(m, v, False, work)
    if not influence_reduced(m, targets, work):
        return outcomes.SINGULAR, 0
    for t in range(targets.parameter.size):
        est[t] = work.x[targets.parameter[t]]
    fill_linear_covariance(m, scale, v, work, covariance)
    for j in range(k):
        work.u[j] = work.residual[j] / (scale[j] * v)
    for f in range(q.size):
        start = targets.q_start[f]
        size = targets.q_start[f + 1] - start
        for j in range(size):
            work.part[j] = work.u[targets.q_trait[start + j]]
        q[f] = quadratic(targets.q_precision[f], size, work.part)
    chisq[0] = linear_chisq(m, shared, v, work)
    variable = improper_variance(m, shared, work)
    return (outcomes.OK, 0) if variable < 0 else (outcomes.HEYWOOD_TRAIT, variable)
