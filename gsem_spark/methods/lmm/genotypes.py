"""Decoded genotypes: counts, frequencies, Hardy-Weinberg, filters, imputation and standardisation, variants in rows.

Blocks are (S, n) copies of the counted allele: int8 hard calls with negative values missing, or dosages with NaN missing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm.compiled import jit

Floats = NDArray[np.float64]

PLOIDY: Final = 2
CALL_TOL: Final = 0.1
"""Dosages within this of 0, 1 or 2 count as that genotype in Hardy-Weinberg counts (PLINK 2's default)."""
DOSAGE_TOL: Final = 1e-6


def as_dosages(G: ArrayLike) -> Floats:
    """A block as float64 with missing as NaN.

    Raises
    ------
    DataError
        When it is not a matrix of numbers, or a value lies outside of [0, 2] (named with its row).
    """
    block = np.asarray(G)
    if block.ndim != 2 or block.dtype.kind not in "iufb":
        raise DataError(f"a block of genotypes is a numeric matrix, this is {block.dtype} of the shape {block.shape}", where="G")
    values = block.astype(np.float64)
    if block.dtype.kind == "i":
        values[block < 0] = np.nan
    values[~np.isfinite(values)] = np.nan
    outside = (values < -DOSAGE_TOL) | (values > PLOIDY + DOSAGE_TOL)
    if outside.any():
        row = int(np.flatnonzero(outside.any(axis=1))[0])
        raise DataError(f"{int(outside.sum())} genotypes lie outside of 0 to 2, the first in variant {row}: "
                        f"{values[row][outside[row]][0]:g}", where="G",
                        remedy="give copies of one allele; code missing calls as NaN or a negative integer")
    return values


def summarise(G: ArrayLike) -> pd.DataFrame:
    """What each variant of a block is like.

    Parameters
    ----------
    G
        (S, n) block.

    Returns
    -------
    DataFrame
        S rows: n (calls), missing (share of samples), af (of the counted allele), maf, classes (distinct ones
        among 0, 1, 2), hwe_p (exact test on hard calls) and info (variance of the dosages over 2 af (1 - af): 1 for hard calls in
        Hardy-Weinberg proportions, less for uncertain dosages). NaN where a variant has no calls or does not vary.
    """
    values = as_dosages(G)
    called = np.isfinite(values)
    n = called.sum(axis=1)
    filled = np.where(called, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=1) / n
        af = mean / PLOIDY
        variance = np.where(called, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / n
        info = variance / (2 * af * (1 - af))
    counts = np.stack([(np.abs(filled - g) <= CALL_TOL) & called for g in range(PLOIDY + 1)], axis=0).sum(axis=2)
    return pd.DataFrame({"n": n, "missing": 1.0 - n / max(values.shape[1], 1), "af": af, "maf": np.minimum(af, 1 - af),
                         "classes": (counts > 0).sum(axis=0), "hwe_p": hardy_weinberg(counts[1], counts[0], counts[2]),
                         "info": np.where(np.isfinite(info), info, np.nan)})


def filter_variants(summary: pd.DataFrame, maf: float = 0.0, missing: float = 1.0, hwe_p: float = 0.0, info: float = 0.0
                    ) -> NDArray[np.object_]:
    """Why each variant is left out: None for those that are kept.

    Parameters
    ----------
    summary
        From ``summarise``.
    maf, hwe_p, info
        Smallest values kept.
    missing
        Largest share of missing calls kept.

    Returns
    -------
    ndarray
        (S,) of ``no_calls``, ``missing``, ``monomorphic``, ``maf``, ``hwe``, ``info`` (the first that applies) or None.

    Raises
    ------
    ConfigError
        When a limit lies outside of its range.
    """
    for name, value, top in (("maf", maf, 0.5), ("missing", missing, 1.0), ("hwe_p", hwe_p, 1.0), ("info", info, np.inf)):
        if not 0 <= value <= top:
            raise ConfigError(f"{name} is {value:g}, but lies between 0 and {top:g}", where=name)
    rules = (("no_calls", summary["n"] == 0), ("missing", summary["missing"] > missing),
             ("monomorphic", ~(summary["maf"] > 0)), ("maf", summary["maf"] < maf), ("hwe", summary["hwe_p"] < hwe_p),
             ("info", summary["info"] < info))
    reasons = np.full(len(summary), None, dtype=object)
    for name, fails in reversed(rules):
        reasons[fails.to_numpy()] = name
    return reasons


def impute_mean(G: ArrayLike) -> Floats:
    """A block as float64 with missing calls at their variant's mean; a variant without calls is 0."""
    values = as_dosages(G)
    called = np.isfinite(values)
    n = np.maximum(called.sum(axis=1), 1)
    mean = np.where(called, values, 0.0).sum(axis=1) / n
    return np.where(called, values, mean[:, None])


def standardise(G: ArrayLike, scale: str = "sample") -> Floats:
    """A block imputed, centred and scaled to unit variance; a variant that does not vary is 0.

    Parameters
    ----------
    G
        (S, n) block.
    scale
        ``"sample"``: by the standard deviation (1/n) of the imputed genotypes, as GEMMA -gk 2 and limix do. ``"hwe"``: by
        sqrt(2 af (1 - af)), as GCTA does. ``"none"``: centred only.

    Raises
    ------
    ConfigError
        When ``scale`` is unknown.
    """
    values = impute_mean(G)
    mean = values.mean(axis=1, keepdims=True)
    centred = values - mean
    if scale == "none":
        return np.asarray(centred)
    if scale == "sample":
        sd = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    elif scale == "hwe":
        sd = np.sqrt(np.maximum(mean * (1 - mean / PLOIDY), 0.0))
    else:
        raise ConfigError(f"unknown scale {scale!r}", where="scale", remedy='choose "sample", "hwe" or "none"')
    return np.asarray(np.divide(centred, sd, out=np.zeros_like(centred), where=sd > 1e-8))


def hardy_weinberg(het: ArrayLike, hom1: ArrayLike, hom2: ArrayLike) -> Floats:
    """Exact test of Hardy-Weinberg proportions.

    Parameters
    ----------
    het, hom1, hom2
        (S,) counts of heterozygotes and of both homozygotes.

    Returns
    -------
    ndarray
        (S,) two-sided p: the probability, given the allele counts, of a count of heterozygotes no likelier than the one seen. NaN
        without calls, 1 for a variant that does not vary.

    Notes
    -----
    Wigginton, Cutler & Abecasis 2005, Am J Hum Genet 76:887: probabilities by their recurrence from the likeliest count.
    """
    counts = [np.atleast_1d(np.asarray(v, dtype=np.int64)) for v in (het, hom1, hom2)]
    out = np.empty(len(counts[0]))
    _hardy_weinberg(counts[0], counts[1], counts[2], out)
    return out


@jit
def _hardy_weinberg(het: Any, hom1: Any, hom2: Any, out: Any) -> None:
    for s in range(out.size):
        n = het[s] + hom1[s] + hom2[s]
        if n == 0:
            out[s] = np.nan
            continue
        rare = 2 * min(hom1[s], hom2[s]) + het[s]
        probabilities = np.zeros(rare + 1)
        middle = rare * (2 * n - rare) // (2 * n)
        if middle % 2 != rare % 2:
            middle += 1
        probabilities[middle] = 1.0
        total = 1.0
        h = middle
        low, high = (rare - h) // 2, n - h - (rare - h) // 2
        while h > 1:
            probabilities[h - 2] = probabilities[h] * h * (h - 1.0) / (4.0 * (low + 1.0) * (high + 1.0))
            total += probabilities[h - 2]
            h -= 2
            low += 1
            high += 1
        h = middle
        low, high = (rare - h) // 2, n - h - (rare - h) // 2
        while h <= rare - 2:
            probabilities[h + 2] = probabilities[h] * 4.0 * low * high / ((h + 2.0) * (h + 1.0))
            total += probabilities[h + 2]
            h += 2
            low -= 1
            high -= 1
        seen = probabilities[het[s]] * (1.0 + 1e-10)
        p = 0.0
        for k in range(rare + 1):
            if probabilities[k] <= seen:
                p += probabilities[k]
        out[s] = min(p / total, 1.0)


def inflation(stat: ArrayLike, df: int = 1) -> float:
    """Genomic inflation, the median chi-square statistic over the median of its null distribution."""
    return float(np.nanmedian(np.asarray(stat, dtype=np.float64)) / stats.chi2.ppf(0.5, df))
