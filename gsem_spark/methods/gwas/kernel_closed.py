"""The closed form of a model with its measurement fixed, a block of SNPs at a time in compiled code (the ``analytic`` route).

Where the free variances take up all that the SNP explains (:mod:`gsem_spark.methods.gwas.linear`), phi meets the SNP's variance v
and the free paths f are the weighted regression of the traits' effects on their loadings Gamma: (Gamma' W Gamma) f =
Gamma' W beta with W = diag(1 / (se_j g_j v)^2), the normal equations of weighted least squares. A SNP costs one small Cholesky
factor; the blocks of :mod:`gsem_spark.methods.gwas.lanes` take several SNPs side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.jit import inlined, inner
from gsem_spark.methods.gwas.lanes import LANES, backward_lanes, cholesky_lanes, forward_lanes, quadratic_lanes
from gsem_spark.methods.gwas.linear import Reduced, Shared
from gsem_spark.methods.gwas.targets import Targets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ClosedBlock(NamedTuple):
    """One block of SNPs, a lane each; r free paths, t targets, f factors with Q_SNP, p free variances."""

    normal: Floats  # (r * r, lanes) Gamma' W Gamma, then its Cholesky factor; r rows of solutions follow
    beta: Floats  # (k, lanes)
    scale: Floats  # (k, lanes) standard errors, corrected
    v: Floats  # (lanes,)
    w: Floats  # (k, lanes)
    x: Floats  # (r, lanes)
    moved: Floats  # (t * k, lanes) influence of the SNP's covariances on each target, in units of their standard errors
    u: Floats  # (k, lanes) residual effects in units of their standard errors
    part: Floats  # (k, lanes)
    variance: Floats  # (p, lanes) the free variances at f = 0
    chi: Floats  # (lanes,) chi-square that the LDSC part leaves
    scratch: Floats  # (lanes,)
    good: NDArray[np.bool_]
    code: Ints
    culprit: Ints
    est: Floats  # (t, lanes)
    covariance: Floats  # (t, t or 1, lanes)
    q: Floats  # (f, lanes)
    chisq: Floats  # (lanes,)


@inner
def make_closed_block(m: Reduced, shared: Shared, targets: Targets, wide: bool) -> ClosedBlock:
    """Allocate a block and fill what no SNP changes; ``wide`` for covariances of the targets beside their variances."""
    k, r = m.gamma.shape
    t, f = targets.parameter.size, targets.q_start.size - 1
    block = ClosedBlock(
        np.zeros((r * r + r, LANES)), np.zeros((k, LANES)), np.ones((k, LANES)), np.full(LANES, 0.4), np.zeros((k, LANES)),
        np.zeros((r, LANES)), np.zeros((t * k, LANES)), np.zeros((k, LANES)), np.zeros((k, LANES)),
        np.zeros((shared.variance.size, LANES)), np.full(LANES, shared.chi[0]), np.zeros(LANES), np.zeros(LANES, dtype=np.bool_),
        np.zeros(LANES, dtype=np.int64), np.zeros(LANES, dtype=np.int64), np.zeros((t, LANES)),
        np.zeros((t, t if wide else 1, LANES)), np.zeros((f, LANES)), np.zeros(LANES),
    )
    for p in range(shared.variance.size):
        for l in range(LANES):
            block.variance[p, l] = shared.variance[p]
    return block


@inner
def regress(m: Reduced, b: ClosedBlock) -> None:
    """Free paths x at their optimum; the factor of Gamma' W Gamma stays in ``normal``."""
    k, r = m.gamma.shape
    lanes, s = b.v.size, b.normal
    for j in range(k):
        for l in range(lanes):
            b.w[j, l] = 1.0 / (b.scale[j, l] * b.scale[j, l] * b.v[l] * b.v[l])
    for a in range(r):
        right = r * r + a
        for l in range(lanes):
            s[right, l] = 0.0
        for j in range(k):
            for l in range(lanes):
                s[right, l] += b.w[j, l] * m.gamma[j, a] * b.beta[j, l]
        for c in range(a + 1):
            for l in range(lanes):
                s[a * r + c, l] = 0.0
            for j in range(k):
                product = m.gamma[j, a] * m.gamma[j, c]
                for l in range(lanes):
                    s[a * r + c, l] += b.w[j, l] * product
    cholesky_lanes(s, 0, r, m.toler, b.good)
    forward_lanes(s, 0, r, r * r, b.scratch)
    backward_lanes(s, 0, r, r * r)
    for a in range(r):
        for l in range(lanes):
            b.x[a, l] = s[r * r + a, l]


@inner
def fill_closed_targets(m: Reduced, targets: Targets, b: ClosedBlock) -> None:
    """Estimates and their sampling (co)variances; the influence of the SNP's own variance on f is -f / v."""
    k, r = m.gamma.shape
    lanes, s = b.v.size, b.normal
    for t in range(targets.parameter.size):
        place = targets.parameter[t]
        for a in range(r):
            for l in range(lanes):
                s[r * r + a, l] = 1.0 if a == place else 0.0
        forward_lanes(s, 0, r, r * r, b.scratch)
        backward_lanes(s, 0, r, r * r)
        for j in range(k):
            row = t * k + j
            for l in range(lanes):
                b.moved[row, l] = 0.0
            for a in range(r):
                for l in range(lanes):
                    b.moved[row, l] += m.gamma[j, a] * s[r * r + a, l]
            for l in range(lanes):
                b.moved[row, l] *= b.w[j, l] * b.scale[j, l]
        for l in range(lanes):
            b.est[t, l] = b.x[place, l]
    if b.covariance.shape[1] > 1:
        fill_closed_covariances(m, b)
        return
    for t in range(targets.parameter.size):
        out = b.covariance[t, 0]
        for l in range(lanes):
            direct = b.est[t, l] / b.v[l]
            out[l] = direct * direct * m.snp_error
        quadratic_lanes(m.snp_correlation, k, b.moved, t * k, b.scratch, out)


@inner
def fill_closed_covariances(m: Reduced, b: ClosedBlock) -> None:
    """Sampling covariances of all targets."""
    k, lanes = b.beta.shape
    for t in range(b.est.shape[0]):
        for i in range(k):
            for l in range(lanes):
                b.part[i, l] = 0.0
            for j in range(k):
                for l in range(lanes):
                    b.part[i, l] += m.snp_correlation[i, j] * b.moved[t * k + j, l]
        for other in range(t + 1):
            for l in range(lanes):
                total = b.est[t, l] * b.est[other, l] / (b.v[l] * b.v[l]) * m.snp_error
                for i in range(k):
                    total += b.part[i, l] * b.moved[other * k + i, l]
                b.covariance[t, other, l] = total
                b.covariance[other, t, l] = total


@inner
def fill_closed_fit(m: Reduced, targets: Targets, b: ClosedBlock) -> None:
    """Q_SNP of each factor and the model's chi-square."""
    k, r = m.gamma.shape
    lanes = b.v.size
    for j in range(k):
        for l in range(lanes):
            b.u[j, l] = b.beta[j, l]
        for a in range(r):
            for l in range(lanes):
                b.u[j, l] -= m.gamma[j, a] * b.x[a, l]
        for l in range(lanes):
            b.u[j, l] /= b.scale[j, l]
    for f in range(b.q.shape[0]):
        start = targets.q_start[f]
        size = targets.q_start[f + 1] - start
        for j in range(size):
            for l in range(lanes):
                b.part[j, l] = b.u[targets.q_trait[start + j], l]
        for l in range(lanes):
            b.q[f, l] = 0.0
        quadratic_lanes(targets.q_precision[f], size, b.part, 0, b.scratch, b.q[f])
    for l in range(lanes):
        b.chisq[l] = b.chi[l]
    quadratic_lanes(m.snp_precision, k, b.u, 0, b.scratch, b.chisq)


@inner
def flag_closed(m: Reduced, b: ClosedBlock) -> None:
    """Give ``SINGULAR`` to lanes without a factor, ``HEYWOOD_TRAIT`` to those where a variance is negative at the estimate."""
    for p in range(m.variance_variable.size - 1, -1, -1):
        for l in range(b.v.size):
            b.scratch[l] = b.variance[p, l]
        for n in range(m.variance_first.size):
            one, two = m.variance_first[n], m.variance_second[n]
            for l in range(b.v.size):
                product = b.v[l] * (b.x[one, l] if one >= 0 else 1.0) * (b.x[two, l] if two >= 0 else 1.0)
                b.scratch[l] -= m.variance_product[p, n] * product
        for l in range(b.v.size):
            if b.scratch[l] < 0.0 and (b.code[l] == outcomes.OK or b.code[l] == outcomes.HEYWOOD_TRAIT):
                b.code[l], b.culprit[l] = outcomes.HEYWOOD_TRAIT, m.variance_variable[p] - 1
    for l in range(b.v.size):
        if not b.good[l] and (b.code[l] == outcomes.OK or b.code[l] == outcomes.HEYWOOD_TRAIT):
            b.code[l], b.culprit[l] = outcomes.SINGULAR, 0


@inlined
def fit_closed_block(m: Reduced, targets: Targets, b: ClosedBlock) -> None:
    """Fit the SNPs of a block; only lanes whose code is OK count. Fills outputs, codes and culprits."""
    regress(m, b)
    fill_closed_targets(m, targets, b)
    fill_closed_fit(m, targets, b)
    flag_closed(m, b)
