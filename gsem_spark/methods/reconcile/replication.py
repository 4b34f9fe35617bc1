"""Lead SNPs in an independent panel: direction, one-sided p-value, and the power that the panel had.

The effect of a SNP chosen for its significance is too large ("winner's curse"). Power is computed both from the effect as
found and from the effect that best explains it given that it was significant.

Source: Zhong & Prentice 2008, Biostatistics 9:621 (conditional likelihood estimate); the sign test is the binomial's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from gsem_spark.errors import DataError
from gsem_spark.methods import pvalues
from gsem_spark.thresholds import GENOME_WIDE_P, REPLICATION_ALPHA

Floats = NDArray[np.float64]

_BISECTIONS: Final = 80
LEAD_COLUMNS: Final = ("snp", "a1", "a2", "beta", "se")


@dataclass(frozen=True)
class SignTest:
    """How many lead SNPs point the same way in the panel.

    Parameters
    ----------
    same, tested
        SNPs with the same direction, of those with a direction in both.
    p, neglog10p
        Probability of at least so many by chance (binomial, one half); NaN where none was tested.
    """

    same: int
    tested: int
    p: float
    neglog10p: float


def sign_test(same: ArrayLike) -> SignTest:
    """Test whether directions agree more often than by chance.

    Parameters
    ----------
    same
        Whether each SNP has the same direction; missing values (NaN, None) are left out.
    """
    values = np.asarray(pd.array(list(np.atleast_1d(np.asarray(same, dtype=object))), dtype="boolean").dropna(), dtype=np.bool_)
    agreeing, n = int(values.sum()), int(values.size)
    if n == 0:
        return SignTest(0, 0, np.nan, np.nan)
    # P(X >= s) is the regularised incomplete beta function of s and n - s + 1 at one half.
    p = 1.0 if agreeing == 0 else float(special.betainc(agreeing, n - agreeing + 1, 0.5))
    log10 = float(np.log10(p)) if p > 0 else -n * float(np.log10(2.0))
    return SignTest(agreeing, n, p, max(-log10, 0.0))


def replicate(
    leads: pd.DataFrame, panel: pd.DataFrame, *, alpha: float = REPLICATION_ALPHA, discovery_p: float = GENOME_WIDE_P
) -> pd.DataFrame:
    """Look lead SNPs up in a panel, by name, effects turned to the lead's effect allele by the alleles' names.

    Parameters
    ----------
    leads
        ``snp a1 a2 beta se``: the factor's (or MTAG's) effects.
    panel
        ``snp a1 a2 beta se`` of independent traits or cohorts, one row a SNP.
    alpha
        One-sided level of a single SNP.
    discovery_p
        Threshold by which the leads were chosen.

    Returns
    -------
    DataFrame
        One row a lead: ``snp``, ``found`` (in the panel with the same alleles), ``beta se z`` there, ``same_direction``
        (boolean with missing), one-sided ``p`` and ``neglog10p`` for the lead's direction, ``power`` for the effect as found,
        ``power_corrected`` without the winner's curse, and ``replicated``: same direction and p < alpha.

    Raises
    ------
    DataError
        When a column is missing or the panel repeats a SNP.
    """
    for name, frame in (("leads", leads), ("panel", panel)):
        absent = [c for c in LEAD_COLUMNS if c not in frame.columns]
        if absent:
            raise DataError(f"columns {', '.join(absent)} are missing", where=name, remedy=f"give {' '.join(LEAD_COLUMNS)}")
    if panel["snp"].duplicated().any():
        raise DataError(f"{int(panel['snp'].duplicated().sum())} rows repeat a SNP", where="panel", remedy="give one row a SNP")
    matched = leads[["snp"]].merge(panel.loc[:, list(LEAD_COLUMNS)], on="snp", how="left")
    sign = _turn(leads, matched)
    beta = matched["beta"].to_numpy(np.float64) * sign
    se = np.where(np.isnan(sign), np.nan, matched["se"].to_numpy(np.float64))
    se = np.where(se > 0, se, np.nan)
    effect, error = leads["beta"].to_numpy(np.float64), leads["se"].to_numpy(np.float64)
    direction = np.sign(effect)
    z = beta / se
    log_p = special.log_ndtr(-direction * z)
    known = np.isfinite(z) & (direction != 0)
    same = pd.array(np.where(known, beta * direction > 0, False), dtype="boolean")
    same[~known] = pd.NA
    p = np.where(known, np.exp(log_p), np.nan)
    limit = -special.ndtri(alpha)
    corrected = conditional_effect(effect / error, discovery_p) * error
    return pd.DataFrame({
        "snp": leads["snp"].to_numpy(), "found": known, "beta": beta, "se": se, "z": z, "same_direction": same, "p": p,
        "neglog10p": np.where(known, np.maximum(-log_p / pvalues.LN10, 0.0), np.nan),
        "power": special.ndtr(np.abs(effect) / se - limit), "power_corrected": special.ndtr(np.abs(corrected) / se - limit),
        "replicated": known & (p < alpha) & (beta * direction > 0),
    })  # fmt: skip


def conditional_effect(z: ArrayLike, p_threshold: float) -> Floats:
    """Z-score corrected for having been chosen by |z| > z(p): the mean that makes the observed z likeliest among such z.

    Parameters
    ----------
    z
        Z-scores as found; those that do not pass the threshold are returned as they are.
    p_threshold
        Two-sided threshold of the choice.

    Notes
    -----
    The estimate solves z = E[Z | |Z| > c, mean], which rises with the mean, by bisection between 0 and z.
    """
    found = np.asarray(z, np.float64)
    c = -float(special.ndtri(p_threshold / 2.0))
    size = np.abs(found)
    low, high = np.zeros_like(size), np.where(np.isfinite(size), size, 0.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        too_low = _mean_beyond(middle, c) < size
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(size > c, np.sign(found) * (low + high) / 2.0, found), dtype=np.float64)


def _mean_beyond(mean: Floats, c: float) -> Floats:
    """E[Z | |Z| > c] of a normal Z with unit variance: mean + (phi(c - mean) - phi(c + mean)) / P(|Z| > c)."""
    log_up, log_down = special.log_ndtr(mean - c), special.log_ndtr(-mean - c)
    log_all = np.logaddexp(log_up, log_down)
    constant = -0.5 * np.log(2.0 * np.pi)
    up = np.exp(constant - 0.5 * (c - mean) ** 2 - log_all)
    down = np.exp(constant - 0.5 * (c + mean) ** 2 - log_all)
    return np.asarray(mean + up - down, dtype=np.float64)


def _turn(leads: pd.DataFrame, matched: pd.DataFrame) -> Floats:
    """Turn the panel's effect to the lead's allele: 1, -1, or NaN where the alleles differ or the SNP is absent."""
    a1, a2 = (leads[c].astype(str).str.upper().to_numpy() for c in ("a1", "a2"))
    b1, b2 = (matched[c].astype(str).str.upper().to_numpy() for c in ("a1", "a2"))
    same, swapped = (a1 == b1) & (a2 == b2), (a1 == b2) & (a2 == b1)
    return np.asarray(np.where(same, 1.0, np.where(swapped, -1.0, np.nan)), dtype=np.float64)
