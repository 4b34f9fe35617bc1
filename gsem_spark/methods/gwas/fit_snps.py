"""Per-SNP models on plain arrays, results as a frame: the way in without Spark."""

from __future__ import annotations

import pandas as pd
from numpy.typing import ArrayLike

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, CommonFactorGwas, Estimation
from gsem_spark.methods.gwas.moments import Gc
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.thresholds import SNP_SE


def fit_snps(
    cov: CovStruct,
    beta: ArrayLike,
    se: ArrayLike,
    maf: ArrayLike,
    model: str | None = None,
    gc: Gc = "standard",
    sub: str | None = None,
    snp_se: float = SNP_SE,
    estimation: Estimation = "DWLS",
    std_lv: bool = False,
    smooth_check: bool = True,
) -> pd.DataFrame:
    """Fit a model with a SNP to each of n SNPs.

    Parameters
    ----------
    cov
        S, V and I of the k traits.
    beta, se
        (n, k) effects on the standardised traits and their standard errors, columns in the order of ``cov.traits``.
    maf
        (n,) minor allele frequencies of the reference, in (0, 1).
    model
        None: the common factor, with the effect ``F1 ~ SNP``. Other models are not built yet.
    gc
        ``"standard"``, ``"conserv"`` or ``"none"``: correction of standard errors by LDSC intercepts.
    sub
        Parameter to keep, as ``"F1~SNP"``; None keeps those of the model (the common factor has this one).
    snp_se
        Standard error of the SNP's variance.
    estimation
        ``"DWLS"`` or ``"ML"``.
    std_lv
        Residual variance of the factor fixed at 1, instead of the first loading.
    smooth_check
        Whether to give ``z_smooth``, the largest change of a trait's Z by smoothing.

    Returns
    -------
    DataFrame
        n rows in the order given: lhs, op, rhs, est, se, z, p, neglog10p, chisq, chisq_df, chisq_p, aic, q_snp, q_snp_df,
        q_snp_p, q_snp_neglog10p, status, message and z_smooth. A SNP that could not be fitted is a row of NaN with its status
        and a message.

    Raises
    ------
    ModelError
        When shapes disagree, a setting is unknown, or ``model`` or ``sub`` asks for another model.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.array([[0.3, 0.1, 0.12], [0.1, 0.25, 0.15], [0.12, 0.15, 0.4]])
    >>> cov = CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3), ["A", "B", "C"])
    >>> hits = fit_snps(cov, beta=[[0.02, 0.03, 0.04]], se=[[0.005, 0.005, 0.005]], maf=[0.3])
    >>> hits.loc[0, ["lhs", "op", "rhs", "status"]].tolist()
    ['F1', '~', 'SNP', 'ok']
    """
    if model is not None:
        raise ModelError("per-SNP models other than the common factor are not available", remedy="leave out `model`")
    effect = "".join(LHS_OP_RHS)
    if sub is not None and sub.replace(" ", "") != effect:
        raise ModelError(f"the common-factor model has no parameter {sub!r}", remedy=f"leave out `sub`, or give {effect!r}")
    columns = CommonFactorGwas.prepare(cov, gc, snp_se, estimation, std_lv).fit(beta, se, maf)
    frame = pd.DataFrame(columns)
    for place, (name, value) in enumerate(zip(("lhs", "op", "rhs"), LHS_OP_RHS, strict=True)):
        frame.insert(place, name, value)
    return frame if smooth_check else frame.drop(columns="z_smooth")
