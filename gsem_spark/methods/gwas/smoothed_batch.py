"""SNPs whose S_full is not positive definite while V_full is known: smoothed and fitted in compiled code.

Traits with genetic correlations at or above 1 bring every SNP of a genome here, so this way has to be fast as well. It does
what :func:`gsem_spark.methods.sem.smooth.near_pd` does (Higham 2002, IMA J Numer Anal 22:329, with the tolerances named there)
on one SNP's S_full after another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.jit import inner, jit
from gsem_spark.methods.gwas.kernel import fit_one, make_work, v_full_is_known
from gsem_spark.methods.gwas.kernel_ml import make_ml_work, ml_fit_one
from gsem_spark.methods.gwas.moments import Moments
from gsem_spark.methods.sem.smooth import CONVERGENCE_RTOL, EIGEN_RTOL, MAX_ITERATIONS, PD_RTOL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@inner
def row_norm(a: Floats) -> float:
    """Return the infinity norm of a square matrix: its largest sum of absolute values in a row."""
    largest = 0.0
    for i in range(a.shape[0]):
        total = 0.0
        for j in range(a.shape[0]):
            total += abs(a[i, j])
        largest = max(largest, total)
    return largest


@inner
def rebuild(vectors: Floats, values: Floats, out: Floats) -> None:
    """Fill ``out`` with vectors diag(values) vectors'."""
    n = values.size
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for p in range(n):
                total += vectors[i, p] * values[p] * vectors[j, p]
            out[i, j] = total
            out[j, i] = total


@jit
def nearest_pd(a: Floats) -> bool:
    """Replace a symmetric matrix by its nearest positive definite one, in place; False when there is none."""
    n = a.shape[0]
    correction = np.zeros((n, n))
    projected = np.empty((n, n))
    for _ in range(MAX_ITERATIONS):
        corrected = a - correction
        if not np.isfinite(row_norm(corrected)):
            return False
        values, vectors = np.linalg.eigh(corrected)
        if not values[n - 1] > 0.0:
            return False
        for p in range(n):
            if not values[p] > EIGEN_RTOL * values[n - 1]:
                values[p] = 0.0
        rebuild(vectors, values, projected)
        change = row_norm(projected - a) / row_norm(a)
        for i in range(n):
            for j in range(n):
                correction[i, j] = projected[i, j] - corrected[i, j]
                a[i, j] = projected[i, j]
        if change <= CONVERGENCE_RTOL:
            break
    values, vectors = np.linalg.eigh(a)
    floor = PD_RTOL * abs(values[n - 1])
    if values[0] < floor:
        for p in range(n):
            values[p] = max(values[p], floor)
        rebuild(vectors, values, projected)
        for i in range(n):
            for j in range(n):
                if i != j:
                    back = np.sqrt(max(floor, a[i, i]) / projected[i, i] * max(floor, a[j, j]) / projected[j, j])
                    correction[i, j] = projected[i, j] * back
        for i in range(n):
            for j in range(n):
                a[i, j] = correction[i, j] if i != j else max(floor, a[i, i])
    return True


@inner
def smooth_s_full(S: Floats, beta: Floats, scale: Floats, v: float, m: Moments, full: Floats) -> tuple[bool, float, float]:
    """Smooth one SNP's S_full into the trait covariances of ``m`` and, in place, ``beta`` and ``scale``.

    Returns
    -------
    ok, v, z_smooth
        Whether there was a positive definite neighbour, its SNP variance, and the largest change of beta / scale.
    """
    k = beta.size
    ok, after, z_smooth = smooth_moments(S, beta, scale, v, full)
    if not ok:
        return False, v, np.nan
    for i in range(k):
        m.variance[i] = full[i + 1, i + 1]
        for j in range(k):
            m.full_covariance[i, j] = full[i + 1, j + 1]
            m.covariance[i, j] = m.sign * full[i + 1, j + 1] if i != j else 0.0
    return True, after, z_smooth


@inner
def smooth_moments(S: Floats, beta: Floats, scale: Floats, v: float, full: Floats) -> tuple[bool, float, float]:
    """Smooth one SNP's S_full into ``full`` (k + 1, k + 1), ``beta`` and ``scale`` in place; returns as :func:`smooth_s_full`."""
    k = beta.size
    full[0, 0] = v
    for i in range(k):
        full[0, i + 1] = full[i + 1, 0] = v * beta[i]
        for j in range(k):
            full[i + 1, j + 1] = S[i, j]
    if not nearest_pd(full):
        return False, v, np.nan
    after = full[0, 0]
    z_smooth = 0.0
    for i in range(k):
        before = beta[i] / scale[i]
        beta[i] = full[0, i + 1] / after
        scale[i] = scale[i] * v / after
        z_smooth = max(z_smooth, abs(beta[i] / scale[i] - before))
    return True, after, z_smooth


@jit
def smooth_and_fit(
    rows: Ints, S: Floats, m: Moments, gc: Floats, start: Floats, std_lv: bool, beta: Floats, se: Floats, maf: Floats,
    out: Floats, codes: Ints, culprits: Ints, z_smooth: Floats,
) -> None:
    """Smooth S_full of the given rows and fit them by DWLS; rows whose V_full is not that of ``m`` are left alone.

    Parameters
    ----------
    rows
        Row numbers, screened already.
    S
        (k, k) trait covariances as they came.
    m
        Shared moments whose covariance arrays may be overwritten: give a copy (``moments.with_covariance``).
    gc, start, std_lv, beta, se, maf, out, codes, culprits
        As in ``kernel.fit_batch``.
    z_smooth
        (n,) filled for the rows that were smoothed.
    """
    k = beta.shape[1]
    work = make_work(k)
    scale, effects, full = np.empty(k), np.empty(k), np.empty((k + 1, k + 1))
    for row in rows:
        v = 2.0 * maf[row] * (1.0 - maf[row])
        for j in range(k):
            scale[j] = se[row, j] * gc[j]
            effects[j] = beta[row, j]
        if v_full_is_known(m, scale, v):
            ok, v, z_smooth[row] = smooth_s_full(S, effects, scale, v, m, full)
            codes[row] = outcomes.NOT_PD
            if ok:
                codes[row], culprits[row] = fit_one(m, effects, scale, v, start, std_lv, work, out[row])


@jit
def ml_smooth_and_fit(
    rows: Ints, S: Floats, m: Moments, gc: Floats, start: Floats, start_theta: Floats, std_lv: bool, beta: Floats, se: Floats,
    maf: Floats, out: Floats, codes: Ints, culprits: Ints, z_smooth: Floats,
) -> None:
    """Smooth S_full of the given rows and fit them by ML; arguments as in :func:`smooth_and_fit`."""
    k = beta.shape[1]
    work = make_ml_work(k)
    scale, effects, full = np.empty(k), np.empty(k), np.empty((k + 1, k + 1))
    for row in rows:
        v = 2.0 * maf[row] * (1.0 - maf[row])
        for j in range(k):
            scale[j] = se[row, j] * gc[j]
            effects[j] = beta[row, j]
        if v_full_is_known(m, scale, v):
            ok, v, z_smooth[row] = smooth_s_full(S, effects, scale, v, m, full)
            codes[row] = outcomes.NOT_PD
            if ok:
                codes[row], culprits[row] = ml_fit_one(m, effects, scale, v, start, start_theta, std_lv, work, out[row])
