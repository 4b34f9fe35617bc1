"""Whether a locus stays when a trait is left out: the same run without each trait in turn, held against the whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.thresholds import CLUMP_WINDOW_BP


def stable_loci(loci: pd.DataFrame, without: Mapping[str, pd.DataFrame], window_bp: int = CLUMP_WINDOW_BP) -> pd.DataFrame:
    """Find each locus of the whole run again in the runs without one trait.

    Parameters
    ----------
    loci
        ``snp chr bp`` of the lead SNPs of the whole run.
    without
        By the trait left out, the lead SNPs of that run, same columns.
    window_bp
        A lead within this distance on the same chromosome is the same locus.

    Returns
    -------
    DataFrame
        ``snp``, one boolean column a trait left out (whether the locus is there), and ``stable``: in all of them. The mean of
        a column is the share of loci that stay.

    Raises
    ------
    DataError
        When a column is missing.
    """
    for where, frame in (("loci", loci), *without.items()):
        absent = [c for c in ("snp", "chr", "bp") if c not in frame.columns]
        if absent:
            raise DataError(f"columns {', '.join(absent)} are missing", where=where)
    columns = {trait: _again(loci, leads, window_bp) for trait, leads in without.items()}
    stable = np.logical_and.reduce([np.ones(len(loci), dtype=np.bool_), *columns.values()])
    return pd.DataFrame({"snp": loci["snp"].to_numpy(), **columns, "stable": stable})


def _again(loci: pd.DataFrame, leads: pd.DataFrame, window_bp: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    here = np.zeros(len(loci), dtype=np.bool_)
    chromosome, bp = loci["chr"].to_numpy(np.int64), loci["bp"].to_numpy(np.int64)
    other, places = leads["chr"].to_numpy(np.int64), leads["bp"].to_numpy(np.int64)
    for code in np.unique(chromosome):
        mine, theirs = np.flatnonzero(chromosome == code), np.sort(places[other == code])
        if theirs.size == 0:
            continue
        after = np.searchsorted(theirs, bp[mine])
        gap = np.minimum(
            np.abs(theirs[np.minimum(after, theirs.size - 1)] - bp[mine]), np.abs(theirs[np.maximum(after - 1, 0)] - bp[mine])
        )
        here[mine] = gap <= window_bp
    return here
