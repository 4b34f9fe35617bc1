"""Per-SNP models on plain arrays, results as a frame: the way in without Spark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas.columns import by_name
from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, CommonFactorGwas
from gsem_spark.methods.gwas.moments import Gc
from gsem_spark.methods.gwas.settings import Estimation
from gsem_spark.methods.gwas.user_model import UserModelGwas
from gsem_spark.methods.gwas.wald import WALD_COLUMNS, WaldTest
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.model import Model
from gsem_spark.thresholds import SNP_SE


def fit_snps(
    cov: CovStruct,
    beta: ArrayLike | pd.DataFrame,
    se: ArrayLike | pd.DataFrame,
    maf: ArrayLike,
    model: str | Model | None = None,
    gc: Gc = "standard",
    sub: str | Sequence[str] | None = None,
    snp_se: float = SNP_SE,
    estimation: Estimation = "DWLS",
    std_lv: bool = False,
    smooth_check: bool = True,
    q_snp: bool = True,
    fix_measurement: bool = True,
    omnibus: bool = False,
    toler: float | None = None,
) -> pd.DataFrame:
    r"""Fit a model with a SNP to each of n SNPs.

    Parameters
    ----------
    cov
        S, V and I of the k traits.
    beta, se
        (n, k) effects on the standardised traits and their standard errors. Columns of a frame are matched by name (``BMI``, or
        ``beta.BMI`` and ``se.BMI`` as GenomicSEM has it), whatever their order; those of an array are in the order of
        ``cov.traits``.
    maf
        (n,) minor allele frequencies of the reference, in (0, 1).
    model
        lavaan syntax with ``SNP`` as a predictor, e.g. ``"F1 =~ a + b + c\nF1 ~ SNP"``. None: the common factor of all traits,
        with the effect ``F1 ~ SNP`` and the two-step Q_SNP of GenomicSEM's commonfactorGWAS.
    gc
        ``"standard"``, ``"conserv"`` or ``"none"``: correction of standard errors by LDSC intercepts.
    sub
        Rows to keep, as ``"F1~SNP"`` or a list of such; None keeps all paths of the SNP, ``"all"`` every parameter.
    snp_se
        Standard error of the SNP's variance.
    estimation
        ``"DWLS"`` or ``"ML"``.
    std_lv
        Residual variance of the factors fixed at 1, instead of the first loadings.
    smooth_check
        Whether to give ``z_smooth``, the largest change of a trait's Z by smoothing.
    q_snp
        Whether to give Q_SNP; the common factor always does.
    fix_measurement
        Hold loadings, regressions and covariances at the fit without the SNP (GenomicSEM's default for userGWAS). The common
        factor estimates all of them beside each SNP, as commonfactorGWAS does.
    omnibus
        Put the Wald test of no association with any trait of ``cov`` beside each row: ``omnibus_chisq``, ``omnibus_df``,
        ``omnibus_p``, ``omnibus_neglog10p``. So "with anything", "through the factor" and "against the factor" (Q_SNP) stand in
        one row.
    toler
        Tolerance of matrix inversion: the share of its own diagonal element that a pivot of a Cholesky factor has to exceed,
        whatever the scale (what is left of a variance given the others, as 1 / VIF). A SNP whose normal equations, or whose
        Q_SNP's variance, fall below it has the status ``singular``; V or the intercepts' correlations below it are an error, as
        no SNP can be fitted. None: 1e-13. GenomicSEM's ``toler`` is the smallest reciprocal condition number of the same
        matrices in their own units, so tiny standard errors beside large ones count as singular there and are nothing special
        here; a value that its users lowered for that reason may be left out. What is smoothed does not depend on it.

    Returns
    -------
    DataFrame
        In the order given: lhs, op, rhs, est, se, z, p, neglog10p, chisq, chisq_df, chisq_p, aic, q_snp, q_snp_df,
        q_snp_p, q_snp_neglog10p, status, message and z_smooth. With ``model`` a column ``snp`` goes before them: the row of
        ``beta``, from 0; a SNP has as many rows as ``sub`` keeps. A SNP that could not be fitted is NaN with its status and a
        message. ``frame.attrs["route"]`` and ``["route_reason"]`` say how a model was solved.

    Raises
    ------
    ModelError
        When shapes disagree, a trait has no column, a setting is unknown, the model has no SNP or has it as an outcome, ``sub``
        names no row, or V is singular at ``toler``.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.array([[0.3, 0.1, 0.12], [0.1, 0.25, 0.15], [0.12, 0.15, 0.4]])
    >>> cov = CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3), ["A", "B", "C"])
    >>> snp = {"beta": [[0.02, 0.03, 0.04]], "se": [[0.005, 0.005, 0.005]], "maf": [0.3]}
    >>> fit_snps(cov, **snp).loc[0, ["lhs", "op", "rhs", "status"]].tolist()
    ['F1', '~', 'SNP', 'ok']
    >>> fit_snps(cov, **snp, model="F1 =~ A + B + C; F1 ~ SNP").attrs["route"]
    'analytic'
    """
    b, s = by_name(beta, cov.traits, "beta"), by_name(se, cov.traits, "se")
    if model is None:
        effect = "".join(LHS_OP_RHS)
        if sub is not None and (not isinstance(sub, str) or sub.replace(" ", "") != effect):
            raise ModelError(f"the common-factor model has no parameter {sub!r}", remedy=f"leave out `sub`, or give {effect!r}")
        frame = pd.DataFrame(CommonFactorGwas.prepare(cov, gc, snp_se, estimation, std_lv, toler).fit(b, s, maf))
        for place, (name, value) in enumerate(zip(("lhs", "op", "rhs"), LHS_OP_RHS, strict=True)):
            frame.insert(place, name, value)
    else:
        gwas = UserModelGwas.prepare(cov, model, sub, q_snp, fix_measurement, std_lv, estimation, gc, snp_se, toler=toler)
        frame = gwas.frame(gwas.fit(b, s, maf))
    if omnibus:
        tests = WaldTest.prepare(cov, gc=gc, toler=toler).fit(b, s, maf)
        at = frame["snp"].to_numpy() if "snp" in frame else np.arange(len(frame))
        frame = frame.assign(**{name: tests[name][at] for name in WALD_COLUMNS if name.startswith("omnibus")})
    return frame if smooth_check else frame.drop(columns="z_smooth")
