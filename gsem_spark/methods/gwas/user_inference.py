"""What follows from an optimum in the fit of any model: standard errors, Q_SNP, chi-square, improper variances of a block.

The sandwich (D'WD)^-1 D'W V WD (D'WD)^-1 (Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods) splits over the blocks of V_full.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.arrangement import Sampling
from gsem_spark.methods.gwas.jit import inlined, inner
from gsem_spark.methods.gwas.lanes import LANES, add_products, backward_lanes, forward_lanes, quadratic_lanes
from gsem_spark.methods.gwas.tape import Tape
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.gwas.user_block import Block

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

@inner
def fill_influence(t: Tape, own: int, parameter: int, b: Block) -> None:
    """How one target moves with each moment: its row of (D'WD)^-1 D'W, with the factor of D'WD in the state.

    A left-out variance is the trait's variance less what the rest of the model explains of it.
    """
    s = b.s
    lanes = s.shape[1]
    for n in range(t.q):
        for l in range(lanes):
            s[t.step + n, l] = 0.0
    for n in range(t.implied.size):
        for l in range(lanes):
            s[t.influence + n, l] = 0.0
    if own >= 0:
        for l in range(lanes):
            s[t.influence + t.searched + own, l] = 1.0
        for n in range(t.own_start[own], t.own_start[own + 1]):
            for l in range(lanes):
                s[t.step + t.own_parameter[n], l] -= s[t.own_row[n], l]
    else:
        for l in range(lanes):
            s[t.step + parameter, l] = 1.0
    forward_lanes(s, t.hessian, t.q, t.step, b.length)
    backward_lanes(s, t.hessian, t.q, t.step)
    add_products(s, t.to_influence)


@inner
def fill_variance(t: Tape, m: Sampling, used: int, b: Block, out: Floats) -> None:
    """Sampling variance (lanes,) of the target whose influence stands in the state; ``used`` of its LDSC moments count."""
    s = b.s
    for l in range(out.size):
        out[l] = s[t.influence, l] * s[t.influence, l] * m.snp_error
    for j in range(t.k):
        for l in range(out.size):
            s[t.u + j, l] = s[t.influence + 1 + j, l] * b.scale[j, l] * b.v[l]
    quadratic_lanes(m.snp_correlation, t.k, s, t.u, b.scratch, out)
    quadratic_lanes(m.V, used, s, t.influence + 1 + t.k, b.scratch, out)


@inner
def fill_covariances(t: Tape, m: Sampling, rows: Floats, b: Block) -> None:
    """Sampling covariances of all targets from ``rows`` (r, 1 + k + k*, lanes), their influence."""
    k, size, lanes = t.k, m.V.shape[0], b.v.size
    moved = np.zeros((1 + k + size, lanes))
    for r in range(rows.shape[0]):
        row = rows[r]
        for l in range(lanes):
            moved[0, l] = row[0, l] * m.snp_error
            for i in range(k):
                total = 0.0
                for j in range(k):
                    total += m.snp_correlation[i, j] * (row[1 + j, l] * b.scale[j, l] * b.v[l])
                moved[1 + i, l] = total * b.scale[i, l] * b.v[l]
            for i in range(size):
                total = 0.0
                for j in range(size):
                    total += m.V[i, j] * row[1 + k + j, l]
                moved[1 + k + i, l] = total
        for other in range(r + 1):
            for l in range(lanes):
                total = 0.0
                for i in range(1 + k + size):
                    total += moved[i, l] * rows[other, i, l]
                b.covariance[r, other, l] = total
                b.covariance[other, r, l] = total


@inlined
def fill_targets(t: Tape, m: Sampling, targets: Targets, b: Block) -> None:
    """Estimates of the targets and their sampling variances, or covariances where the block is wide."""
    s = b.s
    lanes, wide = s.shape[1], b.covariance.shape[1] > 1
    rows = np.zeros((targets.parameter.size if wide else 0, t.implied.size, lanes))
    for r in range(targets.parameter.size):
        own = targets.own[r]
        fill_influence(t, own, targets.parameter[r], b)
        for l in range(lanes):
            n = t.searched + own
            b.est[r, l] = s[t.observed + n, l] - s[t.implied[n], l] if own >= 0 else s[t.x + targets.parameter[r], l]
        if wide:
            for n in range(t.implied.size):
                for l in range(lanes):
                    rows[r, n, l] = s[t.influence + n, l]
        else:
            fill_variance(t, m, t.cell.size if own >= 0 else t.searched - 1 - t.k, b, b.covariance[r, 0])
    if wide:
        fill_covariances(t, m, rows, b)


@inner
def fill_fit(t: Tape, m: Sampling, targets: Targets, b: Block) -> None:
    """Q_SNP of each factor from the traits' residual effects in units of their standard errors, and the model's chi-square."""
    s = b.s
    lanes = s.shape[1]
    for j in range(t.k):
        for l in range(lanes):
            s[t.u + j, l] = s[t.residual + 1 + j, l] / (b.scale[j, l] * b.v[l])
    for f in range(b.q.shape[0]):
        start = targets.q_start[f]
        size = targets.q_start[f + 1] - start
        for j in range(size):
            for l in range(lanes):
                s[t.part + j, l] = s[t.u + targets.q_trait[start + j], l]
        for l in range(lanes):
            b.q[f, l] = 0.0
        quadratic_lanes(targets.q_precision[f], size, s, t.part, b.scratch, b.q[f])
    for l in range(lanes):
        b.chisq[l] = s[t.residual, l] * s[t.residual, l] / m.snp_error
    quadratic_lanes(m.snp_precision, t.k, s, t.u, b.scratch, b.chisq)
    quadratic_lanes(m.precision, m.precision.shape[0], s, t.residual + 1 + t.k, b.scratch, b.chisq)


@inner
def flag_improper(t: Tape, b: Block) -> None:
    """Give ``HEYWOOD_TRAIT`` and the variable (less 1) to lanes with a negative variance at the estimate."""
    s = b.s
    for e in range(t.variance_parameter.size - 1, -1, -1):
        for l in range(LANES):
            if b.code[l] in (outcomes.OK, outcomes.HEYWOOD_TRAIT) and s[t.x + t.variance_parameter[e], l] < 0.0:
                b.code[l], b.culprit[l] = outcomes.HEYWOOD_TRAIT, t.variance_variable[e] - 1
    for e in range(t.own_trait.size - 1, -1, -1):
        n = t.searched + e
        for l in range(LANES):
            if b.code[l] in (outcomes.OK, outcomes.HEYWOOD_TRAIT) and s[t.observed + n, l] - s[t.implied[n], l] < 0.0:
                b.code[l], b.culprit[l] = outcomes.HEYWOOD_TRAIT, t.own_trait[e] - 1
