"""Batches of SNPs through the compiled fits of any model, with smoothing of S_full where it is not positive definite."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.arrangement import Sampling
from gsem_spark.methods.gwas.jit import inner, jit
from gsem_spark.methods.gwas.kernel import s_full_is_pd, screen_predictor, within_bounds
from gsem_spark.methods.gwas.kernel_closed import fit_closed_block, make_closed_block
from gsem_spark.methods.gwas.kernel_linear import fit_linear, make_linear_work
from gsem_spark.methods.gwas.kernel_user import fit_block
from gsem_spark.methods.gwas.lanes import LANES
from gsem_spark.methods.gwas.linear import Reduced, Shared
from gsem_spark.methods.gwas.smoothed_batch import smooth_moments
from gsem_spark.methods.gwas.tape import Tape
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.gwas.user_block import make_block

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Batch(NamedTuple):
    """One batch of n SNPs as it came: c columns of traits, of which the model uses k."""

    beta: Floats  # (n, c)
    se: Floats  # (n, c)
    variance: Floats  # (n,) of the predictor
    column: Ints  # (k,) column of each of the model's traits
    gc: Floats  # (k,) factors of the standard errors
    S: Floats  # (k, k)
    chol_s: Floats  # (k, k) Cholesky factor of S; zero where S is not positive definite


class Found(NamedTuple):
    """What comes out; t targets, f factors with Q_SNP. Rows without a fit keep what they hold."""

    est: Floats  # (n, t)
    covariance: Floats  # (n, t, t) or, where only variances are asked for, (n, t, 1)
    q: Floats  # (n, f)
    chisq: Floats  # (n, 1)
    codes: Ints  # (n,)
    culprits: Ints  # (n,)
    z_smooth: Floats  # (n,)


@inner
def load(
    batch: Batch, row: int, full: Floats | None, bounds: Floats, beta: Floats, scale: Floats, scratch: Floats
) -> tuple[int, int, float, float]:
    """Bring one SNP's effects and errors in the model's order, smoothed into ``full`` where it is given.

    Returns
    -------
    code, trait, v, z_smooth
        ``OK`` where the SNP can be fitted as it now stands.
    """
    k = beta.size
    for j in range(k):
        beta[j] = batch.beta[row, batch.column[j]]
        scale[j] = batch.se[row, batch.column[j]]
    v = batch.variance[row]
    code, trait = screen_predictor(beta, scale, v)
    if code != outcomes.OK:
        return code, trait, v, 0.0
    for j in range(k):
        scale[j] *= batch.gc[j]
    if not within_bounds(bounds, scale, v):
        return outcomes.NEEDS_SMOOTHING, 0, v, 0.0
    if full is not None:
        ok, after, z_smooth = smooth_moments(batch.S, beta, scale, v, full)
        return (outcomes.OK if ok else outcomes.NOT_PD), 0, after, z_smooth
    if not s_full_is_pd(batch.chol_s, beta, v, scratch):
        return outcomes.NEEDS_SMOOTHING, 0, v, 0.0
    return outcomes.OK, 0, v, 0.0


@inner
def has_errors(covariance: Floats) -> bool:
    """Whether every target has a positive variance."""
    for t in range(covariance.shape[0]):  # noqa: SIM110 (no generators in compiled code)
        if not covariance[t, t if covariance.shape[1] > 1 else 0] > 0.0:
            return False
    return True


@jit
def linear_batch(
    rows: Ints, full: Floats | None, m: Reduced, shared: Shared, targets: Targets, batch: Batch, found: Found
) -> None:
    """Fit rows by the reduced route.

    Parameters
    ----------
    rows
        Row numbers.
    full
        None: rows whose S_full is not positive definite get the code ``NEEDS_SMOOTHING``. An array (k + 1, k + 1), which is
        overwritten: they are smoothed, and so is every row given. Each is compiled on its own when it is first asked for, for
        smoothing takes long to compile and few runs need it.
    shared
        Overwritten where rows are smoothed.
    """
    k = batch.column.size
    work = make_linear_work(m, targets.parameter.size)
    beta, scale, scratch, d = np.empty(k), np.empty(k), np.empty(k), np.empty(m.sigma_0.size)
    for row in rows:
        code, trait, v, found.z_smooth[row] = load(batch, row, full, m.snp_bounds, beta, scale, scratch)
        if full is not None and code == outcomes.OK:
            smoothed_distance(m, full, d)
            shared.slope[:] = m.to_slope @ d
            shared.variance[:] = m.to_variance @ d
            shared.chi_slope[:] = m.chi_product @ d
            shared.chi[0] = np.sum(d * (m.left_over @ d))
        if code == outcomes.OK:
            code, trait = fit_linear(
                m, shared, targets, beta, scale, v, work, found.est[row], found.covariance[row], found.q[row], found.chisq[row]
            )
            if (code == outcomes.OK or code == outcomes.HEYWOOD_TRAIT) and not has_errors(found.covariance[row]):
                code = outcomes.SINGULAR
        found.codes[row] = code
        found.culprits[row] = trait


@jit
def closed_batch(
    rows: Ints, full: Floats | None, m: Reduced, shared: Shared, targets: Targets, batch: Batch, found: Found
) -> None:
    """Fit rows by the analytic route; arguments as in :func:`linear_batch`, but nothing is overwritten."""
    k = batch.column.size
    block = make_closed_block(m, shared, targets, found.covariance.shape[2] > 1)
    beta, scale, scratch, d = np.empty(k), np.empty(k), np.empty(k), np.empty(m.sigma_0.size)
    for first in range(0, rows.size, LANES):
        filled = rows.size - first if rows.size - first < LANES else LANES
        for l in range(LANES):
            block.code[l], block.culprit[l] = outcomes.MISSING, 0
        for l in range(filled):
            row = rows[first + l]
            code, trait, v, found.z_smooth[row] = load(batch, row, full, m.snp_bounds, beta, scale, scratch)
            block.code[l], block.culprit[l] = code, trait
            if code == outcomes.OK:
                block.v[l] = v
                for j in range(k):
                    block.beta[j, l], block.scale[j, l] = beta[j], scale[j]
                if full is not None:
                    smoothed_distance(m, full, d)
                    block.variance[:, l] = m.to_variance @ d
                    block.chi[l] = np.sum(d * (m.left_over @ d))
        fit_closed_block(m, targets, block)
        for l in range(filled):
            store(
                block.code[l], block.culprit[l], l, block.est, block.covariance, block.q, block.chisq, rows[first + l], found
            )


@inner
def smoothed_distance(m: Reduced, full: Floats, d: Floats) -> None:
    """Fill d (k*,) with what smoothed covariances differ by from the model's at free variances of 0."""
    k, place = full.shape[0] - 1, 0
    for j in range(k):
        for i in range(j, k):
            d[place] = full[1 + i, 1 + j] - m.sigma_0[place]
            place += 1


@jit
def user_batch(
    rows: Ints, full: Floats | None, t: Tape, m: Sampling, targets: Targets, start: Floats, batch: Batch, found: Found
) -> None:
    """Fit rows by the iterative route; arguments as in :func:`linear_batch`, ``start`` (q,) the no-SNP solution."""
    k = batch.column.size
    block = make_block(t, m, targets, found.covariance.shape[2] > 1)
    beta, scale, scratch = np.empty(k), np.empty(k), np.empty(k)
    for first in range(0, rows.size, LANES):
        filled = rows.size - first if rows.size - first < LANES else LANES
        for l in range(LANES):
            block.code[l], block.culprit[l] = outcomes.MISSING, 0
        for l in range(filled):
            row = rows[first + l]
            code, trait, v, found.z_smooth[row] = load(batch, row, full, m.snp_bounds, beta, scale, scratch)
            block.code[l], block.culprit[l] = code, trait
            if code == outcomes.OK:
                block.v[l] = v
                for j in range(k):
                    block.beta[j, l], block.scale[j, l] = beta[j], scale[j]
                if full is not None:
                    for n in range(1 + k, t.implied.size):
                        block.s[t.observed + n, l] = full[t.moment_row[n], t.moment_column[n]]
        fit_block(t, m, targets, start, block)
        for l in range(filled):
            store(
                block.code[l], block.culprit[l], l, block.est, block.covariance, block.q, block.chisq, rows[first + l], found
            )


@inner
def store(
    code: int, culprit: int, lane: int, est: Floats, covariance: Floats, q: Floats, chisq: Floats, row: int, found: Found
) -> None:
    """Bring one lane's fit to its row of what was found; outputs of a block as in ``kernel_user.Block``."""
    if code == outcomes.OK or code == outcomes.HEYWOOD_TRAIT:
        wide = found.covariance.shape[2]
        for r in range(found.est.shape[1]):
            found.est[row, r] = est[r, lane]
            for other in range(wide):
                found.covariance[row, r, other] = covariance[r, other, lane]
            if not covariance[r, r if wide > 1 else 0, lane] > 0.0:
                code = outcomes.SINGULAR
        for f in range(found.q.shape[1]):
            found.q[row, f] = q[f, lane]
        found.chisq[row, 0] = chisq[lane]
    found.codes[row] = code
    found.culprits[row] = culprit
