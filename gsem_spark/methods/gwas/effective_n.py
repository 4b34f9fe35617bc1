"""Figures of a whole scan: inflation, mean chi-square, and the sample size that the factor is worth."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from gsem_spark.errors import DataError

EFFECTIVE_N_MAF: Final = (0.1, 0.4)
"""Range of MAF over which the effective N is averaged: common enough to be stable, not so common that var(SNP) hardly varies."""


def lambda_gc(median_chisq: float, df: int = 1) -> float:
    """Genomic inflation: the median chi-square of a scan over the median of its null distribution.

    Parameters
    ----------
    median_chisq
        Median of z squared (df 1) or of Q_SNP (df k - 1) over all SNPs with a fit.
    df
        Degrees of freedom of the statistic.

    Notes
    -----
    Source: Devlin & Roeder 1999, Biometrics 55:997.
    """
    return float(median_chisq / (2.0 * special.gammaincinv(df / 2.0, 0.5)))


def effective_n_terms(maf: ArrayLike, se: ArrayLike, factor_variance: float = 1.0) -> tuple[float, int]:
    """Sum and count of the terms whose mean is :func:`effective_n`: additive over batches of SNPs.

    Parameters
    ----------
    maf, se
        (n,) minor allele frequencies and standard errors of the factor's SNP effects. Rows outside ``EFFECTIVE_N_MAF`` or
        without a positive finite SE do not count.
    factor_variance
        Variance of the factor in the units of the effects: 1 when the factor is standardised, its estimate when a marker
        loading sets the scale (``CommonFactorGwas.factor_variance``).
    """
    m, s = np.asarray(maf, dtype=np.float64), np.asarray(se, dtype=np.float64)
    used = (m >= EFFECTIVE_N_MAF[0]) & (m <= EFFECTIVE_N_MAF[1]) & np.isfinite(s) & (s > 0)
    m, s = m[used], s[used]
    return float(np.sum(factor_variance / (2.0 * m * (1.0 - m) * s * s))), int(m.size)


def effective_n(maf: ArrayLike, se: ArrayLike, factor_variance: float = 1.0) -> float:
    """Sample size of a GWAS of a directly measured trait that would have the factor's standard errors.

    N = mean of var(F) / (2 maf (1 - maf) se^2) over SNPs with MAF between 0.1 and 0.4.

    Parameters
    ----------
    maf, se, factor_variance
        As for :func:`effective_n_terms`.

    Raises
    ------
    DataError
        When no SNP lies in that range.

    Notes
    -----
    Source: Mallard et al. 2022, Cell Genomics 2:100140; the recommendation of the GenomicSEM wiki for factor GWAS, there
    with the factor's variance at 1.
    """
    total, count = effective_n_terms(maf, se, factor_variance)
    if count == 0:
        raise DataError(
            f"no SNP has a MAF between {EFFECTIVE_N_MAF[0]} and {EFFECTIVE_N_MAF[1]} and a standard error, so the factor's "
            "effective N is unknown",
            remedy="check that the scan has results and that MAF is filled",
        )
    return total / count
