"""Files that a reconciliation is given: LD blocks, and a replication cohort's statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.methods.reconcile.regions import read_blocks
from gsem_spark.methods.reconcile.replication import LEAD_COLUMNS


def given_blocks(blocks: pd.DataFrame | str | Path | None) -> pd.DataFrame | None:
    """LD blocks of a BED file, or as given; a :class:`DataError` says what is wrong with the file."""
    if blocks is None or isinstance(blocks, pd.DataFrame):
        return blocks
    try:
        text = Path(blocks).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the LD blocks cannot be read: {error}", where=str(blocks), remedy="give a BED file") from None
    return read_blocks(text)


def given_panel(panel: pd.DataFrame | str | Path | None) -> pd.DataFrame | None:
    """A replication cohort's rows, of a text file with the columns ``snp a1 a2 beta se`` or as given.

    Rows without an effect are left out. Columns are separated by tabs, commas or blanks; the name's ending tells a compression.

    Raises
    ------
    DataError
        The file cannot be read, lacks a column, or has an effect that is no number.
    """
    if panel is None or isinstance(panel, pd.DataFrame):
        return panel
    try:
        head = "".join(pd.read_csv(panel, sep="\0", nrows=0).columns)
        separator = "\t" if "\t" in head else "," if "," in head else r"\s+"
        rows = pd.read_csv(panel, sep=separator, dtype=str, na_values=["NA", "."])
    except (OSError, UnicodeDecodeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"the replication cohort cannot be read: {said}", where=str(panel), remedy="give a text file") from None
    rows.columns = [str(c).strip().lower() for c in rows.columns]
    if absent := [c for c in LEAD_COLUMNS if c not in rows.columns]:
        raise DataError(f"columns {', '.join(absent)} are missing; there are {', '.join(rows.columns)}", where=str(panel),
                        remedy=f"name the columns {' '.join(LEAD_COLUMNS)}")
    rows = rows[list(LEAD_COLUMNS)].dropna()
    for name in ("beta", "se"):
        numbers = pd.to_numeric(rows[name], errors="coerce")
        if (bad := numbers.isna() | ~np.isfinite(numbers)).any():
            what = f"{int(bad.sum()):,} of {len(rows):,} values of {name} are no numbers, as {rows.loc[bad, name].iloc[0]!r}"
            raise DataError(what, where=str(panel), remedy="write NA where there is no value")
        rows[name] = numbers
    rows[["a1", "a2"]] = rows[["a1", "a2"]].apply(lambda alleles: alleles.str.upper())
    return rows
