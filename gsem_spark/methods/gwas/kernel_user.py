"""DWLS fit of any model with a SNP, a block of SNPs at a time in compiled code (the ``iterative`` route).

The model comes as straight-line programs (:class:`~gsem_spark.methods.gwas.tape.Tape`), run for all SNPs of a block side by side.
V_full is block-diagonal, so weights, sandwich and chi-square split into the SNP's variance, V_SNP = D R D and the LDSC part, the
same for all SNPs. Newton steps with the exact Hessian from the no-SNP solution; each SNP has its own damping and stops on its
own, so that nothing of its fit depends on its neighbours. Model, sandwich: Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.arrangement import Sampling
from gsem_spark.methods.gwas.jit import inlined, inner
from gsem_spark.methods.gwas.kernel import (
    DAMPED_TOLERANCE,
    FIRST_DAMPING,
    MAX_DAMPING,
    MAX_ITERATIONS,
    TRUST,
    raised,
)
from gsem_spark.methods.gwas.lanes import (
    LANES,
    add_products,
    add_scaled_products,
    backward_lanes,
    cholesky_lanes,
    clear,
    forward_lanes,
)
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE
from gsem_spark.methods.gwas.tape import Tape
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.gwas.user_block import Block
from gsem_spark.methods.gwas.user_inference import fill_fit, fill_targets, flag_improper

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


STEP_TOLERANCE = 1e-10
"""Squared length of the last Newton step in standard-error units. The error left is about that square times the ratio of a
standard error to its parameter: below 1e-10 standard errors."""


@inner
def evaluate(t: Tape, b: Block) -> None:
    """Fill B, D and the residuals at x, and half the weighted sum of their squares."""
    s, objective = b.s, b.objective
    clear(s, t.moments_clear)
    add_products(s, t.moments)
    for l in range(objective.size):
        objective[l] = 0.0
    for n in range(t.searched):
        implied, observed, weight = t.implied[n], t.observed + n, t.weight + n
        residual, pull, half = t.residual + n, t.pull + n, t.half + n
        for l in range(objective.size):
            gap = s[observed, l] - s[implied, l]
            pulled = s[weight, l] * gap
            s[residual, l] = gap
            s[pull, l] = pulled
            s[half, l] = 0.5 * pulled
            objective[l] += 0.5 * (pulled * gap)


@inner
def derivatives(t: Tape, b: Block) -> None:
    """Direction down and lower triangle of Jacobian' W Jacobian at x."""
    s = b.s
    lanes = s.shape[1]
    clear(s, t.jacobian_clear)
    add_products(s, t.jacobian)
    for n in range(t.slot_row.size):
        to, weight, row = t.slot_weighted[n], t.weight + t.slot_moment[n], t.slot_row[n]
        for l in range(lanes):
            s[to, l] = s[weight, l] * s[row, l]
    for i in range(t.q):
        for l in range(lanes):
            s[t.step + i, l] = 0.0
        for j in range(t.hessian + i * t.q, t.hessian + i * t.q + i + 1):
            for l in range(lanes):
                s[j, l] = 0.0
    add_products(s, t.gradient)
    add_products(s, t.normal)


@inner
def subtract_curvature(t: Tape, b: Block) -> None:
    """Take the residuals' second-derivative part off the Gauss-Newton matrix, but in damped lanes."""
    s, newton = b.s, b.scratch
    clear(s, t.curvature_clear)
    add_products(s, t.curvature_parts)
    add_scaled_products(s, t.curvature, t.curvature_factor)
    for l in range(newton.size):
        newton[l] = 1.0 if b.damping[l] == 0.0 else 0.0
    for n in range(t.curvature_row.size):
        to, row = t.curvature_place[n], t.curvature_row[n]
        for l in range(newton.size):
            s[to, l] -= newton[l] * s[row, l]


@inner
def retreat(t: Tape, b: Block) -> bool:
    """Send lanes whose objective did not fall back to where they came from, with more damping; True when there were any."""
    s, any_lane = b.s, False
    for l in range(LANES):
        if b.searching[l] and b.unsure[l] and not b.objective[l] <= b.lowest[l]:
            any_lane = True
            b.damping[l] = raised(b.damping[l])
            if b.damping[l] > MAX_DAMPING:
                b.searching[l] = False
                b.code[l] = outcomes.NOT_CONVERGED
            for j in range(t.q):
                s[t.x + j, l] = s[t.best + j, l]
    return any_lane


@inner
def advance(t: Tape, b: Block) -> bool:
    """Take the step of every lane that is still searching; False when none is left."""
    s, left = b.s, False
    for l in range(LANES):
        if not b.searching[l]:
            continue
        newton = b.damping[l] == 0.0
        if not b.good[l]:
            b.damping[l] = raised(b.damping[l])
            b.unsure[l] = False
            if b.damping[l] > MAX_DAMPING:
                b.searching[l] = False
                b.code[l] = outcomes.NOT_CONVERGED
        else:
            for j in range(t.q):
                s[t.x + j, l] += s[t.step + j, l]
            if b.length[l] < (STEP_TOLERANCE if newton else DAMPED_TOLERANCE):
                b.searching[l] = False
            b.unsure[l] = b.length[l] > TRUST
            b.damping[l] = b.damping[l] * 0.1 if b.damping[l] > FIRST_DAMPING else 0.0
        left = left or b.searching[l]
    return left


@inlined
def minimise(t: Tape, b: Block) -> None:
    """Bring x of every lane to its optimum (see ``kernel.minimise``); lanes without one get ``NOT_CONVERGED``."""
    s, q = b.s, t.q
    for l in range(LANES):
        b.damping[l] = 0.0
        b.lowest[l] = np.inf
        b.unsure[l] = False
        b.searching[l] = b.code[l] == outcomes.OK
    for _ in range(MAX_ITERATIONS):
        evaluate(t, b)
        if retreat(t, b):
            evaluate(t, b)  # the same numbers again in all other lanes
        derivatives(t, b)
        subtract_curvature(t, b)
        for j in range(q):
            diagonal = t.hessian + j * (q + 1)
            for l in range(s.shape[1]):
                s[t.best + j, l] = s[t.x + j, l]
                s[diagonal, l] *= 1.0 + b.damping[l]
        for l in range(s.shape[1]):
            b.lowest[l] = b.objective[l]
        cholesky_lanes(s, t.hessian, q, PIVOT_TOLERANCE, b.good)
        forward_lanes(s, t.hessian, q, t.step, b.length)
        backward_lanes(s, t.hessian, q, t.step)
        if not advance(t, b):
            break
    for l in range(LANES):
        if b.searching[l]:
            b.code[l] = outcomes.NOT_CONVERGED


@inner
def start_search(t: Tape, start: Floats, b: Block) -> None:
    """Put x at the no-SNP solution, with the SNP's effects at their weighted regression on what they would explain."""
    s, r = b.s, t.effect.size
    lanes = s.shape[1]
    for j in range(t.q):
        for l in range(lanes):
            s[t.x + j, l] = start[j]
    for l in range(lanes):
        s[t.x + t.snp_parameter, l] = b.v[l]
    for i in range(r):
        for l in range(lanes):
            s[t.step + i, l] = 0.0
        for j in range(t.k):
            for l in range(lanes):
                s[t.step + i, l] += s[t.weight + 1 + j, l] * t.effect_gamma[j, i] * (b.beta[j, l] - t.effect_offset[j])
        for n in range(i + 1):
            for l in range(lanes):
                s[t.hessian + i * r + n, l] = 0.0
            for j in range(t.k):
                product = t.effect_gamma[j, i] * t.effect_gamma[j, n]
                for l in range(lanes):
                    s[t.hessian + i * r + n, l] += s[t.weight + 1 + j, l] * product
    cholesky_lanes(s, t.hessian, r, PIVOT_TOLERANCE, b.good)
    forward_lanes(s, t.hessian, r, t.step, b.length)
    backward_lanes(s, t.hessian, r, t.step)
    for i in range(r):
        for l in range(lanes):
            if b.good[l]:
                s[t.x + t.effect[i], l] = s[t.step + i, l]


@inlined
def fit_block(t: Tape, m: Sampling, targets: Targets, start: Floats, b: Block) -> None:
    """Fit the SNPs of a block whose code is OK, from ``start`` (q,), the no-SNP solution with 0 for the SNP's effects.

    The LDSC moments stand in the state. Fills estimates, covariances, Q_SNP, chi-square, codes and culprits.
    """
    s = b.s
    lanes = s.shape[1]
    for l in range(lanes):
        s[t.observed, l] = b.v[l]
    for j in range(t.k):
        for l in range(lanes):
            s[t.observed + 1 + j, l] = b.v[l] * b.beta[j, l]
            s[t.weight + 1 + j, l] = 1.0 / (b.scale[j, l] * b.scale[j, l] * b.v[l] * b.v[l])
    start_search(t, start, b)
    minimise(t, b)
    evaluate(t, b)
    derivatives(t, b)
    clear(s, t.own_clear)
    add_products(s, t.own)
    cholesky_lanes(s, t.hessian, t.q, m.toler, b.good)
    for l in range(lanes):
        if b.code[l] == outcomes.OK and not b.good[l]:
            b.code[l] = outcomes.SINGULAR
    fill_targets(t, m, targets, b)
    fill_fit(t, m, targets, b)
    flag_improper(t, b)
