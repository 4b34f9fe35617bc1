"""Common-factor GWAS on arrays: everything that does not depend on the SNP is done once, the rest in compiled batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import GsemError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.columns import check_batch
from gsem_spark.methods.gwas.kernel import (
    CHISQ,
    EST,
    SE,
    Q,
    fit_batch,
    fit_single,
    s_full_is_pd,
    screen,
    within_bounds,
)
from gsem_spark.methods.gwas.kernel_ml import ml_fit_batch, ml_fit_single
from gsem_spark.methods.gwas.moments import Gc, Moments, arrange, gc_factors, smoothing_bounds, with_covariance
from gsem_spark.methods.gwas.null import null_solution
from gsem_spark.methods.gwas.result_rows import RESULT_COLUMNS as RESULT_COLUMNS
from gsem_spark.methods.gwas.settings import Estimation, check_inversion, check_settings, pivot_tolerance
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, cholesky
from gsem_spark.methods.gwas.smoothed import smooth_snp
from gsem_spark.methods.gwas.smoothed_batch import ml_smooth_and_fit, smooth_and_fit
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.smooth import is_positive_definite, near_pd
from gsem_spark.thresholds import SNP_SE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_TRAITS: Final = 3
"""With two traits the loadings of a common factor are not identified."""
FACTOR: Final = "F1"
LHS_OP_RHS: Final = (FACTOR, "~", "SNP")
"""The parameter that a common-factor GWAS reports."""



@dataclass(frozen=True, eq=False)
class CommonFactorGwas:
    """A common-factor GWAS made ready: broadcast it, then call :meth:`fit` on batches of SNPs.

    Plain arrays only, so it pickles in a few kilobytes. Build it with :meth:`prepare`.

    Parameters
    ----------
    traits
        k trait names; the order of the columns of ``beta`` and ``se``.
    estimation, gc, std_lv, snp_se
        As given to :meth:`prepare`.
    S, V, R
        Covariance (k, k), sampling covariance (k*, k*), correlation of the SNP's effects (k, k).
    gc_factors
        (k,) factors of the standard errors.
    sign, start, start_theta
        No-SNP solution: sign of the factor variance, loadings (k,) for a unit-variance factor, residual variances (k,).
    moments
        Arrays of the compiled fit; None when V_full has to be smoothed SNP by SNP.
    chol_s
        (k, k) Cholesky factor of S, zero where S is not positive definite.
    smooth_v
        V is not positive definite (so V_full is not, for any SNP).
    toler
        Share of its diagonal element that a pivot of a SNP's normal equations has to exceed.
    """

    traits: tuple[str, ...]
    estimation: Estimation
    gc: Gc
    std_lv: bool
    snp_se: float
    S: Floats
    V: Floats
    R: Floats
    gc_factors: Floats
    sign: float
    start: Floats
    start_theta: Floats
    moments: Moments | None
    chol_s: Floats
    smooth_v: bool
    toler: float

    @classmethod
    def prepare(
        cls, cov: CovStruct, gc: Gc = "standard", snp_se: float = SNP_SE, estimation: Estimation = "DWLS", std_lv: bool = False,
        toler: float | None = None,
    ) -> CommonFactorGwas:
        """Fit the model without a SNP and arrange all that SNPs share.

        Parameters
        ----------
        cov
            S, V and I of k >= 3 traits.
        gc
            How standard errors are corrected by the LDSC intercepts: ``"standard"`` (by sqrt(I_jj)), ``"conserv"`` (by I_jj)
            or ``"none"``. Intercepts below 1 count as 1.
        snp_se
            Standard error given to the SNP's variance, > 0.
        estimation
            ``"DWLS"`` or ``"ML"``.
        std_lv
            False: the first trait's loading is 1 (as GenomicSEM's commonfactorGWAS). True: the factor's residual variance is
            1, and the effect is in its standard deviations.
        toler
            Tolerance of matrix inversion (see ``fit_snps``).

        Raises
        ------
        ModelError
            When there are fewer than 3 traits, or a setting has no such value.
        ConvergenceError
            When the model without a SNP cannot be fitted.
        """
        _check_settings(cov, gc, snp_se, estimation, toler)
        null = null_solution(cov, estimation)
        factors, R = gc_factors(cov, gc)
        S, V = np.array(cov.S, order="C"), np.array(cov.V, order="C")
        error = snp_se * snp_se
        smooth_v = not (is_positive_definite(V) and is_positive_definite(R))
        share = pivot_tolerance(toler)
        check_inversion(toler, {"V": V, "the intercepts' correlations": R})
        moments = arrange(S, V, R, error, null.sign, toler=share) if not smooth_v else None
        if smooth_v and is_positive_definite(R):
            moments = arrange(S, near_pd(V).matrix, R, error, null.sign, smoothing_bounds(V, R, error), share)
        chol_s = S.copy()
        if not (is_positive_definite(S) and cholesky(chol_s, S.shape[0], PIVOT_TOLERANCE)):
            chol_s = np.zeros_like(S)
        return cls(
            cov.traits, estimation, gc, bool(std_lv), float(snp_se), S, V, R, factors, null.sign, null.loadings,
            null.residual_variances, moments, chol_s, smooth_v, share,
        )

    @property
    def chisq_df(self) -> int:
        """Degrees of freedom of the model: moments of (SNP, traits) less 2 k + 2 free parameters."""
        k = len(self.traits)
        return (k + 1) * (k - 2) // 2

    @property
    def free_parameters(self) -> int:
        """Free parameters of the model with a SNP; under ML the SNP's variance is fixed."""
        return 2 * len(self.traits) + (2 if self.estimation == "DWLS" else 1)

    @property
    def factor_variance(self) -> float:
        """Variance of the factor, in the units of ``est``: what :func:`effective_n` needs."""
        return 1.0 if self.std_lv else float(self.sign * self.start[0] ** 2)

    def warm_up(self) -> None:
        """Compile the kernels, or read them from their cache, so that the first batch does not pay for it."""
        k = len(self.traits)
        self.fit(np.zeros((1, k)), np.full((1, k), 0.01), np.full(1, 0.3))

    def fit(self, beta: ArrayLike, se: ArrayLike, maf: ArrayLike) -> dict[str, NDArray[Any]]:
        """Fit the model to every SNP of a batch. Each SNP's numbers depend on nothing but its own row.

        Parameters
        ----------
        beta
            (n, k) effects on the standardised traits, per allele.
        se
            (n, k) their standard errors, not corrected.
        maf
            (n,) minor allele frequency in the reference, in (0, 1).

        Returns
        -------
        dict
            Arrays (n,) under the names of ``RESULT_COLUMNS``, in row order: float64, but int32 for degrees of freedom and
            objects for ``status`` and ``message`` (None when there is nothing to say). Rows without a fit hold NaN.

        Raises
        ------
        ModelError
            When the shapes do not agree with each other and with the traits. Never for what a single SNP holds.
        """
        b, s, m = check_batch(beta, se, maf, self.traits)
        n = m.size
        out = np.full((n, 4), np.nan)
        codes, culprits = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        smoothed = np.zeros(n, dtype=np.int64)
        z_smooth = np.zeros(n)
        if self.moments is None:
            codes[:] = outcomes.NEEDS_SMOOTHING
        elif self.estimation == "DWLS":
            fit_batch(self.moments, self.chol_s, self.gc_factors, self.start, self.std_lv, b, s, m, out, codes, culprits)
        else:
            ml_fit_batch(
                self.moments, self.chol_s, self.gc_factors, self.start, self.start_theta, self.std_lv, b, s, m,
                out, codes, culprits,
            )
        refused = np.isin(codes, (outcomes.MISSING, outcomes.NO_SE, outcomes.NO_VARIANCE))
        if self.smooth_v:
            smoothed[~refused] = outcomes.V_SMOOTHED
        self._smooth_s(b, s, m, out, codes, culprits, smoothed, z_smooth)
        for row in np.flatnonzero(codes == outcomes.NEEDS_SMOOTHING).tolist():
            codes[row], culprits[row], smoothed[row], z_smooth[row] = self._fit_smoothed(b[row], s[row], float(m[row]), out[row])
        return self._columns(out, codes, culprits, smoothed, z_smooth)

    def _smooth_s(
        self, beta: Floats, se: Floats, maf: Floats, out: Floats, codes: Ints, culprits: Ints, smoothed: Ints, z_smooth: Floats
    ) -> None:
        """Fit the rows that need smoothing of S_full only, in compiled code; leave the rest as they are."""
        rows = np.flatnonzero(codes == outcomes.NEEDS_SMOOTHING)
        if self.moments is None or rows.size == 0:
            return
        scratch = with_covariance(self.moments, self.S)
        try:
            if self.estimation == "DWLS":
                smooth_and_fit(
                    rows, self.S, scratch, self.gc_factors, self.start, self.std_lv, beta, se, maf, out, codes, culprits, z_smooth
                )
            else:
                ml_smooth_and_fit(
                    rows, self.S, scratch, self.gc_factors, self.start, self.start_theta, self.std_lv, beta, se, maf,
                    out, codes, culprits, z_smooth,
                )
        except np.linalg.LinAlgError:  # an eigen-decomposition failed: that row, and those after it, go the slow way
            pass
        done = rows[codes[rows] != outcomes.NEEDS_SMOOTHING]
        smoothed[done] |= outcomes.S_SMOOTHED

    def _fit_smoothed(self, beta: Floats, se: Floats, maf: float, out: Floats) -> tuple[int, int, int, float]:
        """Fit one SNP whose S_full or V_full needs smoothing; return code, trait, smoothing bits and z_smooth."""
        code, culprit = screen(beta, se, maf)
        if code != outcomes.OK:
            return code, culprit, 0, 0.0
        v, scale = 2.0 * maf * (1.0 - maf), se * self.gc_factors
        known = self.moments if self.moments is not None and within_bounds(self.moments.snp_bounds, scale, v) else None
        smooth_s = not s_full_is_pd(self.chol_s, beta, v, np.empty(beta.size))
        bits = (outcomes.S_SMOOTHED if smooth_s else 0) | (outcomes.V_SMOOTHED if self.smooth_v else 0)
        try:
            snp = smooth_snp(self.S, self.V, self.R, known, smooth_s, beta, scale, v, self.snp_se**2, self.sign, self.toler)
        except (GsemError, np.linalg.LinAlgError):
            snp = None
        if snp is None:
            return outcomes.NOT_PD, 0, bits, np.nan
        if self.estimation == "DWLS":
            code, culprit = fit_single(snp.moments, snp.beta, snp.scale, snp.v, self.start, self.std_lv, out)
        else:
            code, culprit = ml_fit_single(
                snp.moments, snp.beta, snp.scale, snp.v, self.start, self.start_theta, self.std_lv, out
            )
        return code, culprit, bits, snp.z_smooth

    def _columns(self, out: Floats, codes: Ints, culprits: Ints, smoothed: Ints, z_smooth: Floats) -> dict[str, NDArray[Any]]:
        est, se, q, chisq = (np.ascontiguousarray(out[:, column]) for column in (EST, SE, Q, CHISQ))
        n, k = codes.size, len(self.traits)
        z = est / se
        p, neglog10p = pvalues.from_z(z)
        chisq_p, _ = pvalues.from_chisq(chisq, self.chisq_df)
        q_p, q_neglog10p = pvalues.from_chisq(q, k - 1)
        status, message = outcomes.describe(codes, culprits, smoothed, self.traits)
        values = (
            est, se, z, p, neglog10p,
            chisq, np.full(n, self.chisq_df, dtype=np.int32), chisq_p, chisq + 2.0 * self.free_parameters,
            q, np.full(n, k - 1, dtype=np.int32), q_p, q_neglog10p, status, message, z_smooth,
        )
        return dict(zip(RESULT_COLUMNS, values, strict=True))


def _check_settings(cov: CovStruct, gc: str, snp_se: float, estimation: str, toler: float | None) -> None:
    k = len(cov.traits)
    if k < MIN_TRAITS:
        raise ModelError(
            f"a common factor needs at least {MIN_TRAITS} traits, and the covariance structure has {k}: {', '.join(cov.traits)}",
            remedy="add traits, or take the multivariate Wald test, which needs two",
        )
    check_settings(gc, snp_se, estimation, toler)
