"""DWLS fit of any model with a SNP, one SNP after another in compiled code (the ``iterative`` route).

The model comes as index arrays (:class:`~gsem_spark.methods.gwas.arrangement.Arranged`). With the arrows in topological order
B = (I - A)^-1 and D = B P B' follow by substitution; a path's derivative is a product of a column of B and a row of D, or of two
columns of B, and is computed only at the moments that it can reach. V_full is block-diagonal, so weights, sandwich and
chi-square split into the SNP's variance, V_SNP = D R D and the LDSC part, which is the same for all SNPs. Newton steps with the
exact Hessian from the no-SNP solution. Model, sandwich: Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods; second derivatives:
:meth:`gsem_spark.methods.sem.model.Model.curvature`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.arrangement import Arranged, Sampling
from gsem_spark.methods.gwas.jit import jit
from gsem_spark.methods.gwas.kernel import (
    DAMPED_TOLERANCE,
    FIRST_DAMPING,
    MAX_DAMPING,
    MAX_ITERATIONS,
    TRUST,
)
from gsem_spark.methods.gwas.smallmatrix import backward, cholesky, forward, quadratic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


STEP_TOLERANCE = 1e-10
"""Squared length of the last Newton step in standard-error units. The error left is about that square times the ratio of a
standard error to its parameter: below 1e-10 standard errors."""


class Targets(NamedTuple):
    """What is asked of every fit: r parameters with their errors, f factors with their Q_SNP."""

    parameter: Ints  # (r,) searched parameter, or -1
    own: Ints  # (r,) number of the left-out variance, or -1
    q_start: Ints  # (f + 1,)
    q_trait: Ints  # indicators of each factor
    q_precision: Floats  # (f, k, k) inverse of R at the indicators, in their order


class Work(NamedTuple):
    """Scratch arrays of one batch, allocated once; q searched parameters, m variables, n moments, o = 1 + k observed."""

    x: Floats  # (q,)
    best: Floats  # (q,)
    gradient: Floats  # (q,)
    step: Floats  # (q,)
    hessian: Floats  # (q, q)
    values: Floats  # (paths,)
    B: Floats  # (m, m)
    D: Floats  # (m, m)
    observed: Floats  # (n,)
    weight: Floats  # (n,)
    residual: Floats  # (n,)
    slots: Floats  # Jacobian
    pull: Floats  # (o, o)
    pulled: Floats  # (o, m)
    E: Floats  # (m, m)
    T: Floats  # (m, m)
    influence: Floats  # (r, n)
    spread: Floats  # (n,)
    u: Floats  # (k,)
    part: Floats  # (k,)


@jit
def make_work(a: Arranged, s: Sampling, targets: Targets) -> Work:
    """Allocate scratch arrays and fill what no SNP changes."""
    q, m, o, n = max(a.parameter) + 1, a.variables, 1 + a.k, a.moment_row.size
    observed, weight = np.zeros(n), np.zeros(n)
    for t in range(o, n):
        observed[t] = s.covariance[t - o]
        weight[t] = s.weight[t - o]
    weight[0] = 1.0 / s.snp_error
    return Work(
        np.zeros(q), np.zeros(q), np.zeros(q), np.zeros(q), np.zeros((q, q)), np.zeros(a.fixed.size), np.zeros((m, m)),
        np.zeros((m, m)), observed, weight, np.zeros(n), np.zeros(a.slot_parameter.size), np.zeros((o, o)), np.zeros((o, m)),
        np.zeros((m, m)), np.zeros((m, m)), np.zeros((targets.parameter.size, n)), np.zeros(n), np.zeros(a.k), np.zeros(a.k),
    )


@jit
def evaluate(a: Arranged, work: Work) -> float:
    """Fill B, D and the residuals at ``work.x``; return half the weighted sum of their squares."""
    fixed, parameter, arrow_to = a.fixed, a.parameter, a.arrow_to
    arrow_from, arrow_path, pair_row = a.arrow_from, a.arrow_path, a.pair_row
    pair_column, pair_path, moment_row = a.pair_column, a.pair_path, a.moment_row
    moment_column = a.moment_column
    x, observed, residual = work.x, work.observed, work.residual
    weight = work.weight
    m, B, D, values = a.variables, work.B, work.D, work.values
    for p in range(values.size):
        values[p] = fixed[p] + (x[parameter[p]] if parameter[p] >= 0 else 0.0)
    for i in range(m):
        for j in range(m):
            B[i, j] = 0.0
            D[i, j] = 0.0
        B[i, i] = 1.0
    for n in range(arrow_to.size):
        to, source, value = arrow_to[n], arrow_from[n], values[arrow_path[n]]
        for j in range(m):
            B[to, j] += value * B[source, j]
    for n in range(pair_row.size):
        i, j, value = pair_row[n], pair_column[n], values[pair_path[n]]
        for c in range(m):
            D[i, c] += value * B[c, j]
        if i != j:
            for c in range(m):
                D[j, c] += value * B[c, i]
    for n in range(arrow_to.size):
        to, source, value = arrow_to[n], arrow_from[n], values[arrow_path[n]]
        for j in range(m):
            D[to, j] += value * D[source, j]
    objective = 0.0
    for t in range(a.searched):
        gap = observed[t] - D[moment_row[t], moment_column[t]]
        residual[t] = gap
        objective += 0.5 * weight[t] * gap * gap
    return objective


@jit
def fill_jacobian(a: Arranged, first: int, last: int, work: Work) -> None:
    """Derivatives of moments ``first`` to ``last`` by the parameters that reach them."""
    slot_start, moment_row, moment_column = a.slot_start, a.moment_row, a.moment_column
    entry_start, entry_row, entry_column = a.entry_start, a.entry_row, a.entry_column
    entry_directed, entry_factor, entry_slot = a.entry_directed, a.entry_factor, a.entry_slot
    slots = work.slots
    B, D = work.B, work.D
    for t in range(first, last):
        start, i, j = slot_start[t], moment_row[t], moment_column[t]
        for n in range(start, slot_start[t + 1]):
            slots[n] = 0.0
        for e in range(entry_start[t], entry_start[t + 1]):
            row, column = entry_row[e], entry_column[e]
            if entry_directed[e]:
                value = B[i, row] * D[column, j] + B[j, row] * D[column, i]
            else:
                value = entry_factor[e] * (B[i, row] * B[j, column] + B[j, row] * B[i, column])
            slots[start + entry_slot[e]] += value


@jit
def derivatives(a: Arranged, work: Work) -> None:
    """Gradient and lower triangle of Jacobian' W Jacobian at the state of ``work``."""
    slot_start, slot_parameter = a.slot_start, a.slot_parameter
    weight, residual = work.weight, work.residual
    q, g, H, slots = work.x.size, work.gradient, work.hessian, work.slots
    for i in range(q):
        g[i] = 0.0
        for j in range(i + 1):
            H[i, j] = 0.0
    fill_jacobian(a, 0, a.searched, work)
    for t in range(a.searched):
        w, gap, start = weight[t], residual[t], slot_start[t]
        for n in range(start, slot_start[t + 1]):
            i, value = slot_parameter[n], w * slots[n]
            g[i] -= gap * value
            for l in range(start, n + 1):
                H[i, slot_parameter[l]] += value * slots[l]


@jit
def subtract_curvature(a: Arranged, work: Work) -> None:
    """Take the residuals' second-derivative part off the Gauss-Newton matrix."""
    moment_row, moment_column, below_start = a.moment_row, a.moment_column, a.below_start
    below, source, curve_one = a.below, a.source, a.curve_one
    curve_two, path_row, path_column = a.curve_two, a.path_row, a.path_column
    path_directed, parameter = a.path_directed, a.parameter
    weight, residual, hessian = work.weight, work.residual, work.hessian
    m, o, B, D, E, T = a.variables, 1 + a.k, work.B, work.D, work.E, work.T
    pull, pulled = work.pull, work.pulled
    for i in range(o):
        for j in range(o):
            pull[i, j] = 0.0
    for t in range(a.searched):
        i, j = moment_row[t], moment_column[t]
        wr = weight[t] * residual[t]
        pull[i, j] = wr if i == j else 0.5 * wr
        pull[j, i] = pull[i, j]
    for j in range(m):
        first, last = below_start[j], below_start[j + 1]
        for i in range(o):
            total = 0.0
            for n in range(first, last):
                total += pull[i, below[n]] * B[below[n], j]
            pulled[i, j] = total
    for i in range(m):
        first, last = below_start[i], below_start[i + 1]
        for j in range(m):
            total = 0.0
            for n in range(first, last):
                total += B[below[n], i] * pulled[below[n], j]
            E[i, j] = total
    for n in range(source.size):
        i = source[n]
        for j in range(m):
            total = 0.0
            for l in range(o):
                total += D[i, l] * pulled[l, j]
            T[i, j] = total
    for n in range(curve_one.size):
        one, two = curve_one[n], curve_two[n]
        i, j, p, q = path_row[one], path_column[one], path_row[two], path_column[two]
        if path_directed[two]:
            value = 2.0 * (B[j, p] * T[q, i] + B[q, i] * T[j, p] + D[j, q] * E[p, i])
        else:
            value = 2.0 * (B[j, p] * E[q, i] + B[j, q] * E[p, i])
            if p == q:
                value *= 0.5
        x, y = parameter[one], parameter[two]
        if x == y and one != two:
            value *= 2.0
        if x >= y:
            hessian[x, y] -= value
        else:
            hessian[y, x] -= value


@jit
def minimise(a: Arranged, work: Work) -> bool:
    """Bring ``work.x`` from where it stands to the optimum; True when it is met (see ``kernel.minimise``)."""
    n, x, best = work.x.size, work.x, work.best
    damping = 0.0
    lowest = np.inf
    unsure = False
    for _ in range(MAX_ITERATIONS):
        objective = evaluate(a, work)
        if unsure and not objective <= lowest:
            damping = max(FIRST_DAMPING, 10.0 * damping)
            if damping > MAX_DAMPING:
                return False
            for j in range(n):
                x[j] = best[j]
            objective = evaluate(a, work)
        newton = damping == 0.0
        derivatives(a, work)
        if newton:
            subtract_curvature(a, work)
        for j in range(n):
            best[j] = x[j]
            work.step[j] = -work.gradient[j]
            work.hessian[j, j] *= 1.0 + damping
        lowest = objective
        if not cholesky(work.hessian, n):
            damping = max(FIRST_DAMPING, 10.0 * damping)
            if damping > MAX_DAMPING:
                return False
            unsure = False
            continue
        length = forward(work.hessian, n, work.step)
        backward(work.hessian, n, work.step)
        for j in range(n):
            x[j] += work.step[j]
        if length < (STEP_TOLERANCE if newton else DAMPED_TOLERANCE):
            return True
        unsure = length > TRUST
        damping = damping * 0.1 if damping > FIRST_DAMPING else 0.0
    return False


@jit
def fill_influence(a: Arranged, targets: Targets, work: Work) -> bool:
    """How each target moves with each moment: the rows of (D'WD)^-1 D'W; False where D'WD is singular.

    A left-out variance is the trait's variance less what the rest of the model explains of it.
    """
    slot_start, slot_parameter = a.slot_start, a.slot_parameter
    influence, step, weight = work.influence, work.step, work.weight
    q, n, slots = work.x.size, work.observed.size, work.slots
    fill_jacobian(a, a.searched, n, work)
    if not cholesky(work.hessian, q):
        return False
    for r in range(targets.parameter.size):
        row, own = influence[r], targets.own[r]
        for j in range(q):
            step[j] = 0.0
        for t in range(n):
            row[t] = 0.0
        if own >= 0:
            t = a.searched + own
            row[t] = 1.0
            for l in range(slot_start[t], slot_start[t + 1]):
                step[slot_parameter[l]] -= slots[l]
        else:
            step[targets.parameter[r]] = 1.0
        forward(work.hessian, q, work.step)
        backward(work.hessian, q, work.step)
        for t in range(a.searched):
            total = 0.0
            for l in range(slot_start[t], slot_start[t + 1]):
                total += slots[l] * step[slot_parameter[l]]
            row[t] = weight[t] * total
    return True


@jit
def fill_covariance(a: Arranged, s: Sampling, targets: Targets, scale: Floats, v: float, work: Work, out: Floats) -> None:
    """Sampling covariances of the targets, ``out`` (r, r), or their variances where ``out`` is (r, 1)."""
    k, rows = a.k, targets.parameter.size
    for r in range(rows):
        row = work.influence[r]
        used = a.cell.size if targets.own[r] >= 0 else a.searched - 1 - k
        ld = row[1 + k :]
        for j in range(k):
            work.u[j] = row[1 + j] * scale[j] * v
        if out.shape[1] == 1:
            out[r, 0] = row[0] * row[0] * s.snp_error + quadratic(s.snp_correlation, k, work.u) + quadratic(s.V, used, ld)
            continue
        for i in range(k):
            total = 0.0
            for j in range(k):
                total += s.snp_correlation[i, j] * work.u[j]
            work.part[i] = total * scale[i] * v
        for i in range(ld.size):
            total = 0.0
            for j in range(ld.size):
                total += s.V[i, j] * ld[j]
            work.spread[i] = total
        for other in range(r + 1):
            two = work.influence[other]
            total = row[0] * two[0] * s.snp_error
            for j in range(k):
                total += work.part[j] * two[1 + j]
            for i in range(ld.size):
                total += work.spread[i] * two[1 + k + i]
            out[r, other] = total
            out[other, r] = total


@jit
def fill_q(targets: Targets, q: Floats, work: Work) -> None:
    """Q_SNP of each factor from ``work.u``, the traits' residual effects in units of their standard errors."""
    for f in range(q.size):
        start = targets.q_start[f]
        size = targets.q_start[f + 1] - start
        for j in range(size):
            work.part[j] = work.u[targets.q_trait[start + j]]
        q[f] = quadratic(targets.q_precision[f], size, work.part)


@jit
def improper(a: Arranged, work: Work) -> int:
    """Variable (less 1) whose variance is negative at the estimate, or -1."""
    for e in range(a.own_trait.size):
        t = a.searched + e
        if work.observed[t] - work.D[a.moment_row[t], a.moment_column[t]] < 0.0:
            return int(a.own_trait[e] - 1)
    for n in range(a.variance_parameter.size):
        if work.x[a.variance_parameter[n]] < 0.0:
            return int(a.variance_variable[n] - 1)
    return -1


@jit
def start_search(a: Arranged, beta: Floats, v: float, start: Floats, work: Work) -> None:
    """Put ``work.x`` at the no-SNP solution, with the SNP's effects at their weighted regression on what they would explain."""
    for j in range(start.size):
        work.x[j] = start[j]
    work.x[a.snp_parameter] = v
    r, H = a.effect.size, work.hessian
    for i in range(r):
        total = 0.0
        for j in range(a.k):
            total += work.weight[1 + j] * a.effect_gamma[j, i] * (beta[j] - a.effect_offset[j])
        work.step[i] = total
        for l in range(i + 1):
            total = 0.0
            for j in range(a.k):
                total += work.weight[1 + j] * a.effect_gamma[j, i] * a.effect_gamma[j, l]
            H[i, l] = total
    if cholesky(H, r):
        forward(H, r, work.step)
        backward(H, r, work.step)
        for i in range(r):
            work.x[a.effect[i]] = work.step[i]


@jit
def fit_one(
    a: Arranged, s: Sampling, targets: Targets, beta: Floats, scale: Floats, v: float, start: Floats, work: Work,
    est: Floats, covariance: Floats, q: Floats, chisq: Floats,
) -> tuple[int, int]:
    """Fit one SNP whose LDSC moments stand in ``work.observed``; return its code and the variable that the code speaks of.

    Parameters
    ----------
    start
        (q,) no-SNP solution, 0 for the SNP's effects.
    est, covariance, q, chisq
        (r,), (r, r) or (r, 1), (f,) and (1,), filled where there is an optimum.
    """
    k = a.k
    work.observed[0] = v
    for j in range(k):
        work.observed[1 + j] = v * beta[j]
        work.weight[1 + j] = 1.0 / (scale[j] * scale[j] * v * v)
    start_search(a, beta, v, start, work)
    if not minimise(a, work):
        return outcomes.NOT_CONVERGED, 0
    evaluate(a, work)
    derivatives(a, work)
    if not fill_influence(a, targets, work):
        return outcomes.SINGULAR, 0
    fill_covariance(a, s, targets, scale, v, work, covariance)
    for r in range(targets.parameter.size):
        t = a.searched + targets.own[r]
        if targets.own[r] >= 0:
            est[r] = work.observed[t] - work.D[a.moment_row[t], a.moment_column[t]]
        else:
            est[r] = work.x[targets.parameter[r]]
    for j in range(k):
        work.u[j] = work.residual[1 + j] / (scale[j] * v)
    fill_q(targets, q, work)
    ld = work.residual[1 + k :]
    chisq[0] = work.residual[0] * work.residual[0] / s.snp_error + quadratic(s.snp_precision, k, work.u)
    chisq[0] += quadratic(s.precision, s.precision.shape[0], ld)
    variable = improper(a, work)
    return (outcomes.OK, 0) if variable < 0 else (outcomes.HEYWOOD_TRAIT, variable)
