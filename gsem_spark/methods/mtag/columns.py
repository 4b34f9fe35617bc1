"""Results under the reference program's column names, for tools that read its files."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import DataError

Floats = NDArray[np.float64]

TRAIT_COLUMNS: Final = ("SNP", "CHR", "BP", "A1", "A2", "Z", "N", "FRQ", "mtag_beta", "mtag_se", "mtag_z", "mtag_pval")
"""Columns of one trait's file, ``<out>_trait_<i>.txt``."""
META_COLUMNS: Final = ("SNP", "CHR", "BP", "A1", "A2", "meta_freq", "mtag_beta", "mtag_se", "mtag_z", "mtag_pval")
"""Columns of the one file of a meta-analysis (``equal_h2``), ``<out>_mtag_meta.txt``."""
_OURS: Final = {
    "snp": "SNP", "chr": "CHR", "bp": "BP", "a1": "A1", "a2": "A2", "z": "Z", "n": "N", "eaf": "FRQ", "mtag_beta": "mtag_beta",
    "mtag_se": "mtag_se", "mtag_z": "mtag_z", "mtag_p": "mtag_pval",
}  # fmt: skip


def reference_columns(rows: pd.DataFrame, *, meta: bool = False) -> pd.DataFrame:
    """Rename and order the columns of a trait's results as the reference program writes them.

    Parameters
    ----------
    rows
        ``snp chr bp a1 a2 eaf n z mtag_beta mtag_se mtag_z mtag_p`` (``n z`` not needed with ``meta``); other columns are
        left out.
    meta
        Whether it is the one result of a meta-analysis; ``eaf`` is then the mean frequency.

    Raises
    ------
    DataError
        When a column is missing.
    """
    names = {**_OURS, "eaf": "meta_freq"} if meta else _OURS
    wanted = META_COLUMNS if meta else TRAIT_COLUMNS
    absent = [ours for ours, theirs in names.items() if theirs in wanted and ours not in rows.columns]
    if absent:
        raise DataError(f"columns {', '.join(absent)} are missing", where="mtag_results")
    return rows.rename(columns=names).loc[:, list(wanted)]
