"""What the moments of every SNP share: the LDSC part of S_full and V_full, arranged as the kernels read it.

For every SNP V_full is block-diagonal (SNP variance, SNP-trait covariances, LDSC part), and the middle block is
V_SNP = D R D: R does not depend on the SNP, and D = diag(se_j g_j v) with v = 2 maf (1 - maf). The factor g_j is
sqrt(I_jj) (GC "standard"), I_jj ("conserv") or 1 ("none"); R is the intercept matrix I with ones on its diagonal. Diagonal
intercepts below 1 count as 1. (Grotzinger et al. 2019, Nat Hum Behav 3:513, supplementary note on multivariate GWAS.)
So every inverse and every factor of the big matrices is computed once, here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.methods.sem.smooth import EIGEN_RTOL

Floats = NDArray[np.float64]
Gc = Literal["standard", "conserv", "none"]

GC_POWER: Final[dict[str, float]] = {"standard": 0.5, "conserv": 1.0, "none": 0.0}


class Moments(NamedTuple):
    """Arrays that one compiled fit reads; k traits, q = k (k - 1) / 2 trait pairs, k* = k (k + 1) / 2 elements of vech.

    ``sign`` is the sign of the factor's variance in the no-SNP model (-1 only in a degenerate Heywood case); ``covariance``
    is multiplied by it, so that the kernels fit products a_i a_j in either case.
    """

    sign: float
    covariance: Floats  # (k, k) sign * S off the diagonal, zero diagonal
    variance: Floats  # (k,) diagonal of S
    weight: Floats  # (k, k) 1 / V of the pair, zero diagonal
    influence: Floats  # (q, q) W V W over pairs
    precision: Floats  # (q, q) rows and columns of V^-1 at pairs
    pair: NDArray[np.int64]  # (k, k) number of the pair; -1 on the diagonal
    full_covariance: Floats  # (k, k) S
    full_sampling: Floats  # (k*, k*) V
    full_precision: Floats  # (k*, k*) V^-1
    cell: NDArray[np.int64]  # (k, k) place in vech
    snp_correlation: Floats  # (k, k) R
    snp_precision: Floats  # (k, k) R^-1
    snp_variance_error: Floats  # (1,) sampling variance of the SNP's own variance
    snp_bounds: Floats  # (2,) open range of variances in V_SNP for which V_full is made of V and R as they stand here
    toler: float  # share of its diagonal element that a pivot of the normal equations has to exceed


def arrange(
    S: Floats, V: Floats, R: Floats, snp_variance_error: float, sign: float, snp_bounds: Floats | None = None,
    toler: float = PIVOT_TOLERANCE,
) -> Moments | None:
    """Build :class:`Moments`, or return None when R or V has no Cholesky factor.

    Parameters
    ----------
    S, V
        (k, k) covariance and (k*, k*) sampling covariance in vech order.
    R
        (k, k) correlation of the SNP-trait covariances.
    snp_variance_error
        Sampling variance of the SNP's own variance.
    sign
        Sign of the factor variance.
    snp_bounds
        Range of V_SNP's variances for which V may stand for its block of V_full; None: any.
    toler
        Share of its diagonal element that a pivot of a SNP's normal equations has to exceed.
    """
    k = S.shape[0]
    rows, columns = vech_indices(k)
    cell = np.zeros((k, k), dtype=np.int64)
    cell[rows, columns] = cell[columns, rows] = np.arange(rows.size)
    pairs = np.flatnonzero(rows != columns)
    pair = np.full((k, k), -1, dtype=np.int64)
    pair[rows[pairs], columns[pairs]] = pair[columns[pairs], rows[pairs]] = np.arange(pairs.size)
    try:
        full_precision = spd_inverse(V)
        snp_precision = spd_inverse(R)
    except linalg.LinAlgError:
        return None
    w = 1.0 / np.diagonal(V)[pairs]
    weight = np.zeros((k, k))
    weight[rows[pairs], columns[pairs]] = weight[columns[pairs], rows[pairs]] = w
    covariance = sign * S
    np.fill_diagonal(covariance, 0.0)
    contiguous = np.ascontiguousarray
    return Moments(
        sign=float(sign),
        covariance=contiguous(covariance),
        variance=contiguous(np.diagonal(S)),
        weight=weight,
        influence=contiguous(w[:, None] * V[np.ix_(pairs, pairs)] * w[None, :]),
        precision=contiguous(full_precision[np.ix_(pairs, pairs)]),
        pair=pair,
        full_covariance=np.array(S, order="C"),
        full_sampling=np.array(V, order="C"),
        full_precision=full_precision,
        cell=cell,
        snp_correlation=np.array(R, order="C"),
        snp_precision=snp_precision,
        snp_variance_error=np.array([snp_variance_error]),
        snp_bounds=np.array([0.0, np.inf]) if snp_bounds is None else snp_bounds,
        toler=float(toler),
    )


def with_covariance(m: Moments, S: Floats) -> Moments:
    """Return the same moments with another trait covariance S (k, k)."""
    covariance = m.sign * S
    np.fill_diagonal(covariance, 0.0)
    return m._replace(
        covariance=np.ascontiguousarray(covariance),
        variance=np.array(np.diagonal(S)),
        full_covariance=np.array(S, order="C"),
    )


def spd_inverse(a: Floats) -> Floats:
    """Inverse of a symmetric positive definite matrix by its Cholesky factor, on the correlation scale, exactly symmetric."""
    d = np.sqrt(np.diagonal(a))
    if not np.all(d > 0):
        raise linalg.LinAlgError("a diagonal element is not positive")
    inverse = linalg.cho_solve(linalg.cho_factor(a / np.outer(d, d), lower=True), np.eye(a.shape[0])) / np.outer(d, d)
    return np.ascontiguousarray((inverse + inverse.T) / 2.0)


def gc_factors(cov: CovStruct, gc: Gc) -> tuple[Floats, Floats]:
    """Return g (k,), by which standard errors are multiplied, and R (k, k), the correlation of the SNP's effects."""
    intercepts = np.maximum(np.diagonal(cov.I), 1.0)
    R = np.array(cov.I, dtype=np.float64)
    np.fill_diagonal(R, 1.0)
    return np.ascontiguousarray(intercepts ** GC_POWER[gc]), np.ascontiguousarray(R)


def smoothing_bounds(V: Floats, R: Floats, snp_variance_error: float) -> Floats:
    """Range of variances in V_SNP for which smoothing V_full changes its LDSC block as if that stood alone.

    The nearest-PD iteration works on the eigenvalues of V_full, block by block, but with two numbers taken over all blocks:
    the largest eigenvalue, of which 1e-6 is the share below which eigenvalues are dropped, and the largest row sum, which
    decides when it stops. While both come from the LDSC block and no eigenvalue of the other blocks is dropped, those blocks
    stay as they are and the LDSC block ends up the same for every SNP. The bounds keep a factor of 2 to either limit.

    Parameters
    ----------
    V, R, snp_variance_error
        As in :func:`arrange`; V not positive definite, R positive definite.

    Returns
    -------
    ndarray, shape (2,)
        Open range; (inf, inf), which nothing meets, where the SNP's own variance already breaks the condition.
    """
    largest = float(linalg.eigvalsh(V)[-1])
    rows = float(np.max(np.sum(np.abs(V), axis=1)))
    low = 2.0 * EIGEN_RTOL * largest
    high = 0.5 * min(largest, rows)
    if not low < snp_variance_error < high:
        return np.array([np.inf, np.inf])
    return np.array([low / float(linalg.eigvalsh(R)[0]), high / float(np.max(np.sum(np.abs(R), axis=1)))])


def s_full(S: Floats, beta: Floats, v: float) -> Floats:
    """Covariance of (SNP, traits), (k + 1, k + 1), for effects ``beta`` (k,) and SNP variance ``v``."""
    k = S.shape[0]
    out = np.empty((k + 1, k + 1))
    out[0, 0] = v
    out[0, 1:] = out[1:, 0] = v * beta
    out[1:, 1:] = S
    return out


def v_full(V: Floats, R: Floats, scale: Floats, v: float, snp_variance_error: float) -> Floats:
    """Return the sampling covariance of vech(S_full) for scaled standard errors ``scale`` = se * g (k,)."""
    k = R.shape[0]
    d = scale * v
    out = np.zeros((1 + k + V.shape[0],) * 2)
    out[0, 0] = snp_variance_error
    out[1 : k + 1, 1 : k + 1] = d[:, None] * R * d[None, :]
    out[k + 1 :, k + 1 :] = V
    return out
