"""The rare way of a SNP whose S_full or V_full is not positive definite: smoothed matrices, one SNP at a time.

The matrices are rebuilt and replaced by their nearest positive definite neighbours for each SNP, since the SNP's own row
takes part in the search; the fit itself is the compiled one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.moments import Moments, arrange, s_full, v_full, with_covariance
from gsem_spark.methods.sem.smooth import near_pd

Floats = NDArray[np.float64]


class SmoothedSnp(NamedTuple):
    """One SNP's moments after smoothing, in the form the compiled fits take."""

    moments: Moments
    beta: Floats  # (k,) effects
    scale: Floats  # (k,) their standard errors, GC factor included
    v: float  # SNP variance
    z_smooth: float  # largest absolute change of beta_j / scale_j


def smooth_snp(
    S: Floats, V: Floats, R: Floats, known: Moments | None, smooth_s: bool, beta: Floats, scale: Floats, v: float,
    snp_variance_error: float, sign: float, toler: float,
) -> SmoothedSnp | None:
    """Smooth S_full, V_full or both of one SNP.

    Parameters
    ----------
    S, V, R
        (k, k), (k*, k*) and (k, k): covariance, sampling covariance, correlation of the SNP's effects, as they came.
    known
        Moments whose sampling parts hold for this SNP; None: V_full has to be smoothed.
    smooth_s
        Whether S_full has to be smoothed.
    beta, scale
        (k,) effects and their standard errors, GC factor included.
    v
        SNP variance 2 maf (1 - maf).
    snp_variance_error
        Sampling variance of it.
    sign
        Sign of the factor variance.
    toler
        As in ``moments.arrange``.

    Returns
    -------
    SmoothedSnp or None
        None where V_full has no Cholesky factor even then.

    Raises
    ------
    ModelError
        When a matrix has no positive definite neighbour.
    """
    k = beta.size
    full = s_full(S, beta, v)
    if smooth_s:
        full = near_pd(full).matrix
    errors = scale * v
    if known is not None:
        moments: Moments | None = with_covariance(known, full[1:, 1:])
    else:
        sampling = near_pd(v_full(V, R, scale, v, snp_variance_error)).matrix
        block = sampling[1 : k + 1, 1 : k + 1]
        errors = np.sqrt(np.diagonal(block))
        correlation = block / np.outer(errors, errors)
        moments = arrange(full[1:, 1:], sampling[k + 1 :, k + 1 :], correlation, float(sampling[0, 0]), sign, toler=toler)
    if moments is None:
        return None
    z_smooth = float(np.max(np.abs(full[0, 1:] / errors - beta / scale)))
    after = float(full[0, 0])
    return SmoothedSnp(moments, np.ascontiguousarray(full[0, 1:] / after), np.ascontiguousarray(errors / after), after, z_smooth)
