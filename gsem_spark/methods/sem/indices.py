"""How well a model fits: chi-square, AIC, CFI, TLI, RMSEA with its interval, SRMR, and a verdict on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from gsem_spark import thresholds
from gsem_spark.methods import pvalues
from gsem_spark.methods.sem.inference import quadratic_forms
from gsem_spark.methods.vech import correlations, vech, vech_indices

Floats = NDArray[np.float64]
Verdict = Literal["good", "acceptable", "poor", "not defined"]

RMSEA_LEVEL: Final = 0.90
"""Coverage of the RMSEA interval (MacCallum, Browne & Sugawara 1996, Psychol Methods 1:130)."""
INDEX_NAMES: Final = (
    "chisq", "df", "p", "neglog10p", "aic", "cfi", "tli", "rmsea", "rmsea_low", "rmsea_high", "srmr",
    "null_chisq", "null_df", "n_effective", "n_free",
)


def fit_indices(S: Floats, V: Floats, implied: Floats, n_free: int) -> dict[str, float]:
    """All indices of a fitted model.

    Parameters
    ----------
    S, implied
        (k, k) observed and implied covariances.
    V
        (k*, k*) sampling covariance of vech(S), positive definite.
    n_free
        Number of free parameters, equal ones counted once.

    Returns
    -------
    dict
        The keys of ``INDEX_NAMES``. ``p``, ``tli`` and the RMSEA values are NaN for df = 0, where there is nothing to test.

    Notes
    -----
    chisq = (s - sigma)' V^-1 (s - sigma), AIC = chisq + 2 free [Grotzinger et al. 2019]. The null model of CFI and TLI has
    free variances and no covariances; its chi-square is the same form with the off-diagonal of S as the residual.
    CFI = 1 - max(chisq - df, 0) / max(null - null_df, chisq - df, 0) [Bentler 1990, Psychol Bull 107:238]; GenomicSEM's
    value is the same wherever it lies in 0..1. SRMR averages squared residual correlations over all k* cells (Bentler's,
    lavaan's default). RMSEA = sqrt(max(chisq - df, 0) / (df n)) [Steiger 1990]: see :func:`effective_n` for n.
    """
    k = S.shape[0]
    df = k * (k + 1) // 2 - n_free
    null_df = k * (k - 1) // 2
    chisq, null_chisq = quadratic_forms(np.stack([vech(S - implied), vech(S - np.diag(np.diag(S)))]), V)
    p, neglog10p = pvalues.from_chisq(chisq, df)
    n = effective_n(S, V)
    low, high = rmsea_interval(chisq, df, n)
    values: dict[str, float] = {
        "chisq": chisq, "df": df, "p": float(p), "neglog10p": float(neglog10p), "aic": chisq + 2.0 * n_free,
        "cfi": cfi(chisq, df, null_chisq, null_df), "tli": tli(chisq, df, null_chisq, null_df),
        "rmsea": rmsea(chisq, df, n), "rmsea_low": low, "rmsea_high": high, "srmr": srmr(S, implied),
        "null_chisq": null_chisq, "null_df": null_df, "n_effective": n, "n_free": n_free,
    }
    return {name: values[name] for name in INDEX_NAMES}


def no_indices(k: int, n_free: int) -> dict[str, float]:
    """Return the same keys with NaN in place of every statistic: for a fit that did not reach an optimum."""
    known: dict[str, float] = {"df": k * (k + 1) // 2 - n_free, "null_df": k * (k - 1) // 2, "n_free": n_free}
    return {name: known.get(name, float("nan")) for name in INDEX_NAMES}


def cfi(chisq: float, df: int, null_chisq: float, null_df: int) -> float:
    """Return the comparative fit index, in 0..1; 1 where neither model misfits."""
    misfit = max(chisq - df, 0.0)
    worst = max(null_chisq - null_df, misfit)
    return 1.0 - misfit / worst if worst > 0 else 1.0


def tli(chisq: float, df: int, null_chisq: float, null_df: int) -> float:
    """Return the Tucker-Lewis index; it may leave 0..1; NaN where df is 0 or the null model cannot be beaten."""
    if df == 0 or null_df == 0 or null_chisq == null_df:
        return float("nan")
    null_ratio = null_chisq / null_df
    return (null_ratio - chisq / df) / (null_ratio - 1.0)


def effective_n(S: Floats, V: Floats) -> float:
    """Return the sample size at which normal theory would give S the sampling variances that V holds.

    GWAS sample sizes say little about how precise an LDSC covariance is, and RMSEA divides by the sample size: with
    N = 100,000 in it, every model would look good. This is the median over the k* cells of
    (S_ii S_jj + S_ij^2) / var(S_ij), the N of a study of N persons whose covariances were as precise as these; so RMSEA keeps
    the meaning its thresholds were made for, misfit per degree of freedom in units of the population discrepancy.
    """
    rows, columns = vech_indices(S.shape[0])
    d = np.diag(S)
    return float(np.median((d[rows] * d[columns] + S[rows, columns] ** 2) / np.diag(V)))


def rmsea(chisq: float, df: int, n: float) -> float:
    """Return the root mean square error of approximation; NaN for df = 0."""
    return float(np.sqrt(max(chisq - df, 0.0) / (df * n))) if df > 0 else float("nan")


def rmsea_interval(chisq: float, df: int, n: float, level: float = RMSEA_LEVEL) -> tuple[float, float]:
    """Return the confidence interval of RMSEA from the noncentral chi-square distribution; NaN for df = 0."""
    if df <= 0:
        return float("nan"), float("nan")
    tail = (1.0 - level) / 2.0
    low, high = (np.sqrt(_noncentrality(chisq, df, prob) / (df * n)) for prob in (1.0 - tail, tail))
    return float(low), float(high)


def _noncentrality(chisq: float, df: int, probability: float) -> float:
    """Find the noncentrality under which ``chisq`` lies at this cumulative probability, 0 where even the central one is below."""
    if float(special.gammainc(df / 2.0, chisq / 2.0)) <= probability:
        return 0.0
    upper = chisq + 20.0 * np.sqrt(2.0 * (df + 2.0 * chisq)) + 100.0

    def gap(noncentrality: float) -> float:
        return float(special.chndtr(chisq, df, noncentrality)) - probability

    return float(optimize.brentq(gap, 0.0, upper, xtol=1e-9 * max(1.0, chisq)))


def srmr(S: Floats, implied: Floats) -> float:
    """Return the standardised root mean square residual over all k* cells, residuals divided by observed standard deviations."""
    sd = np.sqrt(np.diag(S))
    return float(np.sqrt(np.mean(vech((S - implied) / np.outer(sd, sd)) ** 2)))


def residual_correlations(S: Floats, implied: Floats) -> Floats:
    """Return observed minus implied correlations (k, k): where a model misfits, whatever the scales of the traits."""
    return correlations(S) - correlations(implied)


def verdict(indices: Mapping[str, float]) -> dict[str, Verdict]:
    """Judge CFI, TLI, RMSEA and SRMR against the thresholds in :mod:`gsem_spark.thresholds`.

    Returns
    -------
    dict
        ``cfi``, ``tli``, ``rmsea``, ``srmr`` and ``overall`` (the worst of them), each good, acceptable, poor or not defined.
    """
    out: dict[str, Verdict] = {
        "cfi": _at_least(indices["cfi"], thresholds.CFI_GOOD, thresholds.CFI_ACCEPTABLE),
        "tli": _at_least(indices["tli"], thresholds.CFI_GOOD, thresholds.CFI_ACCEPTABLE),
        "rmsea": _at_most(indices["rmsea"], thresholds.RMSEA_GOOD, thresholds.RMSEA_ACCEPTABLE),
        "srmr": _at_most(indices["srmr"], thresholds.SRMR_GOOD, thresholds.SRMR_ACCEPTABLE),
    }
    if indices["df"] == 0:
        out = dict.fromkeys(out, "not defined")
    order: tuple[Verdict, ...] = ("poor", "acceptable", "good")
    out["overall"] = next((v for v in order if v in out.values()), "not defined")
    return out


def _at_least(value: float, good: float, acceptable: float) -> Verdict:
    if np.isnan(value):
        return "not defined"
    return "good" if value >= good else "acceptable" if value >= acceptable else "poor"


def _at_most(value: float, good: float, acceptable: float) -> Verdict:
    return "not defined" if np.isnan(value) else _at_least(-value, -good, -acceptable)
