"""What MTAG gained, per trait: mean chi-squares, the sample size that a GWAS alone would need, and who informs whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.mtag.estimate import MtagColumns, MtagModel
from gsem_spark.thresholds import GENOME_WIDE_P

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ScanSums:
    """Sums over one part of the SNPs, arrays (k,); parts merge in the order of their numbers.

    Parameters
    ----------
    part
        Number of the part.
    count
        SNPs with an MTAG estimate.
    n_sum, n_max
        Sum and maximum of the sample sizes.
    chisq_sum, mtag_chisq_sum
        Sums of z² before and after.
    hits, mtag_hits
        SNPs that reach genome-wide significance before and after.
    """

    part: int
    count: int
    n_sum: Floats
    n_max: Floats
    chisq_sum: Floats
    mtag_chisq_sum: Floats
    hits: Ints
    mtag_hits: Ints


def scan_sums(z: ArrayLike, n: ArrayLike, result: MtagColumns, part: int = 0, p_threshold: float = GENOME_WIDE_P) -> ScanSums:
    """Add up one part of the SNPs; rows without an estimate do not count.

    Parameters
    ----------
    z, n
        (m, k) as given to MTAG.
    result
        What it made of them.
    part
        Number of the part.
    p_threshold
        Significance of a hit, before and after.
    """
    Z, N = np.asarray(z, np.float64), np.asarray(n, np.float64)
    N = np.broadcast_to(N, Z.shape)
    used = np.isfinite(result.z).all(axis=1)
    Z, N, after = Z[used], N[used], result.z[used]
    line = float(pvalues.z_from_neglog10p(-np.log10(p_threshold)))
    return ScanSums(
        part, int(used.sum()), N.sum(axis=0), N.max(axis=0, initial=0.0), (Z * Z).sum(axis=0), (after * after).sum(axis=0),
        (np.abs(Z) > line).sum(axis=0), (np.abs(after) > line).sum(axis=0),
    )


def merge_scan_sums(parts: Sequence[ScanSums]) -> ScanSums:
    """Add parts up in the order of their numbers.

    Raises
    ------
    DataError
        When there is no part, or a part comes twice.
    """
    ordered = sorted(parts, key=lambda p: p.part)
    if not ordered:
        raise DataError("there are no SNPs to summarise", remedy="check that the traits share SNPs")
    if any(a.part == b.part for a, b in pairwise(ordered)):
        raise DataError("a part of the SNPs comes twice", remedy="give every part its own number")
    out = ordered[0]
    for p in ordered[1:]:
        out = ScanSums(
            0, out.count + p.count, out.n_sum + p.n_sum, np.maximum(out.n_max, p.n_max), out.chisq_sum + p.chisq_sum,
            out.mtag_chisq_sum + p.mtag_chisq_sum, out.hits + p.hits, out.mtag_hits + p.mtag_hits,
        )
    return out


def equivalent_n(n: ArrayLike, mean_chisq: ArrayLike, mtag_mean_chisq: ArrayLike) -> Floats:
    """Sample size at which a GWAS of the trait alone would have MTAG's mean chi-square, N (MTAG - 1) / (GWAS - 1).

    Parameters
    ----------
    n
        Sample size of the GWAS.
    mean_chisq
        Its mean chi-square over the LD score intercept; NaN comes out where it does not exceed 1.
    mtag_mean_chisq
        Mean chi-square of MTAG, whose Z-scores allow for the intercepts already.

    Notes
    -----
    Source: Turley et al. 2018, Nat Genet 50:229, Online Methods ("GWAS-equivalent sample size").
    """
    before = np.asarray(mean_chisq, np.float64) - 1.0
    gain = (np.asarray(mtag_mean_chisq, np.float64) - 1.0) / np.where(before > 0, before, np.nan)
    return np.asarray(np.asarray(n, np.float64) * gain, dtype=np.float64)


def summary_table(sums: ScanSums, model: MtagModel, lambda_gc: ArrayLike | None = None) -> pd.DataFrame:
    """One row a trait: SNPs, N, mean chi-squares, GWAS-equivalent N, hits and lambda before and after.

    Parameters
    ----------
    sums
        Of all SNPs.
    model
        Traits and Sigma.
    lambda_gc
        (k, 2) genomic inflation before and after, from the medians of all SNPs; NaN where it is unknown.
    """
    if sums.count == 0:
        raise DataError("no SNP has an MTAG estimate", remedy="check that the traits share SNPs and have N")
    inflation = np.full((len(model.traits), 2), np.nan) if lambda_gc is None else np.asarray(lambda_gc, np.float64)
    raw, after = sums.chisq_sum / sums.count, sums.mtag_chisq_sum / sums.count
    before = raw / np.diag(model.sigma)
    mean_n = sums.n_sum / sums.count
    return pd.DataFrame({
        "trait": model.traits, "n_snps": sums.count, "n_max": sums.n_max, "n_mean": mean_n, "mean_chisq_raw": raw,
        "mean_chisq": before, "mtag_mean_chisq": after, "n_equivalent_max": equivalent_n(sums.n_max, before, after),
        "n_equivalent_mean": equivalent_n(mean_n, before, after), "hits": sums.hits, "mtag_hits": sums.mtag_hits,
        "lambda_gc": inflation[:, 0], "mtag_lambda_gc": inflation[:, 1],
    })  # fmt: skip


def weights_table(model: MtagModel, n: ArrayLike) -> pd.DataFrame:
    """Which trait informs which, at given sample sizes (their means): one row a trait and source.

    Parameters
    ----------
    model
        Omega and Sigma.
    n
        (k,) sample sizes.

    Returns
    -------
    DataFrame
        ``trait``, ``source``, ``weight`` (of the source's standardised effect), ``z_weight`` (of its Z-score in the trait's
        MTAG Z) and ``share`` (absolute z_weight over their sum: 1 in all for a trait).
    """
    N = np.asarray(n, np.float64)
    weights = model.weights(N)
    se = model.fit(np.zeros((1, N.size)), N).se[0]
    z_weights = weights / np.sqrt(N) / se[:, None]
    share = np.abs(z_weights) / np.abs(z_weights).sum(axis=1, keepdims=True)
    k = N.size
    return pd.DataFrame({
        "trait": np.repeat(model.traits, k), "source": np.tile(model.traits, k), "weight": weights.ravel(),
        "z_weight": z_weights.ravel(), "share": share.ravel(),
    })  # fmt: skip
