"""Loci of a per-SNP scan: significant SNPs that stand for one signal, and whether it acts through the factor."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.methods.clumping import leads_by_distance
from gsem_spark.thresholds import CLUMP_WINDOW_BP, GENOME_WIDE_P, Q_SNP_ALPHA

SIGNALS: Final = {"factor": ("p", "neglog10p"), "q_snp": ("q_snp_p", "q_snp_neglog10p")}
"""Each signal's p-value and its -log10, by which SNPs are ranked (p is 0 for the strongest)."""
HIT_COLUMNS: Final = (
    "snp", "chr", "bp", "a1", "a2", "maf", "est", "se", "z", "p", "neglog10p", "q_snp", "q_snp_p", "q_snp_neglog10p",
)
LOCUS_COLUMNS: Final = (
    "locus", "signal", "snp", "chr", "bp", "a1", "a2", "maf", "start", "end", "n_snps", "est", "se", "z", "p", "neglog10p",
    "q_snp", "q_snp_p", "factor_sig", "qsnp_sig", "factor_only",
)


def flag_hits(hits: pd.DataFrame, genome_wide_p: float = GENOME_WIDE_P, q_alpha: float = Q_SNP_ALPHA) -> pd.DataFrame:
    """Add the flags ``factor_sig``, ``qsnp_sig`` and ``factor_only``.

    Parameters
    ----------
    hits
        All SNPs of the scan with p or q_snp_p below ``genome_wide_p`` (more rows do no harm), with columns p and q_snp_p.
    genome_wide_p
        Significance of the factor effect.
    q_alpha
        Family-wise level of Q_SNP, divided by the number of significant factor SNPs (at least 1).

    Returns
    -------
    DataFrame
        A copy with three boolean columns. ``factor_only``: significant for the factor and not against it.
    """
    _require(hits, ("p", "q_snp_p"))
    factor = hits["p"].to_numpy(dtype=np.float64, na_value=np.nan) < genome_wide_p
    q = hits["q_snp_p"].to_numpy(dtype=np.float64, na_value=np.nan) < q_alpha / max(int(factor.sum()), 1)
    return hits.assign(factor_sig=factor, qsnp_sig=q, factor_only=factor & ~q)


def find_loci(
    hits: pd.DataFrame,
    window_bp: int = CLUMP_WINDOW_BP,
    genome_wide_p: float = GENOME_WIDE_P,
    q_alpha: float = Q_SNP_ALPHA,
) -> pd.DataFrame:
    """Clump significant SNPs by distance, once for the factor's p and once for that of Q_SNP.

    The strongest SNP leads a locus and takes every significant SNP on its chromosome within ``window_bp``; the strongest of
    the rest leads the next. Equal strengths go to the lower position, then the name, so that row order does not matter.

    Parameters
    ----------
    hits
        All SNPs of a scan with p or q_snp_p below ``genome_wide_p``, one row a SNP; columns ``HIT_COLUMNS``. The number of
        factor hits in it sets the threshold of Q_SNP. A SNP without a position is a locus of its own.
    window_bp
        Distance in bp; a SNP exactly that far belongs to the locus.
    genome_wide_p
        Threshold of both signals.
    q_alpha
        Family-wise level of Q_SNP over the factor's SNPs (``qsnp_sig``).

    Returns
    -------
    DataFrame
        One row a locus with columns ``LOCUS_COLUMNS``, the lead SNP's numbers in it, numbered in genome order over both
        signals. Without hits: no rows, same columns and types.

    Raises
    ------
    DataError
        When a column is missing or a SNP stands there twice.
    """
    _require(hits, HIT_COLUMNS)
    repeated = hits["snp"][hits["snp"].duplicated()]
    if len(repeated):
        raise DataError(
            f"{len(repeated)} rows repeat a SNP ({', '.join(map(str, repeated.head(3)))})", where="hits",
            remedy="give one row a SNP, of one parameter of one run",
        )
    flagged = flag_hits(hits, genome_wide_p, q_alpha)
    parts = []
    for signal, (p, strength) in SIGNALS.items():
        significant = flagged[flagged[p].to_numpy(dtype=np.float64, na_value=np.nan) < genome_wide_p]
        parts.append(_clump(significant, strength, window_bp).assign(signal=signal))
    loci = pd.concat(parts, ignore_index=True)
    loci = loci.sort_values(["chr", "bp", "snp", "signal"], kind="stable", ignore_index=True)
    loci["locus"] = np.arange(1, len(loci) + 1)
    return _typed(loci.loc[:, list(LOCUS_COLUMNS)])


def _clump(hits: pd.DataFrame, strength: str, window_bp: int) -> pd.DataFrame:
    """Lead SNPs of ``hits`` with the extent and size of their loci."""
    order = [strength, "chr", "bp", "snp"]
    ranked = hits.sort_values(order, ascending=[False, True, True, True], kind="stable", ignore_index=True)
    bp = ranked["bp"].to_numpy(dtype=np.float64, na_value=np.nan)
    lead = leads_by_distance(ranked["chr"], bp, np.arange(len(ranked)), window_bp)
    extent = pd.DataFrame({"lead": lead, "bp": bp}).groupby("lead")["bp"].agg(["min", "max", "size"])
    return ranked.iloc[extent.index].assign(
        start=extent["min"].to_numpy(), end=extent["max"].to_numpy(), n_snps=extent["size"].to_numpy()
    )


def _require(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    absent = [c for c in columns if c not in frame.columns]
    if absent:
        raise DataError(
            f"columns {', '.join(absent)} are missing; there are {', '.join(map(str, frame.columns))}", where="hits",
            remedy="give rows of gwas_results",
        )


def _typed(loci: pd.DataFrame) -> pd.DataFrame:
    types: dict[str, str] = dict.fromkeys(("locus", "chr", "n_snps"), "int32")
    types |= dict.fromkeys(("bp", "start", "end"), "Int64")
    types |= dict.fromkeys(("maf", "est", "se", "z", "p", "neglog10p", "q_snp", "q_snp_p"), "float64")
    types |= dict.fromkeys(("factor_sig", "qsnp_sig", "factor_only"), "bool")
    types |= dict.fromkeys(("signal", "snp", "a1", "a2"), "object")
    return loci.astype(types)
