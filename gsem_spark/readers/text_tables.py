"""The small text tables beside genotype files: columns split at blanks or tabs, every cell as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gsem_spark.errors import DataError


def whitespace_table(path: str, names: Sequence[str], required: int) -> pd.DataFrame:
    """Columns of a file without header, split at white space.

    Parameters
    ----------
    path
        The file.
    names
        Its columns; those after the ``required`` first ones may be absent.
    required
        Columns that every line must have.

    Raises
    ------
    DataError
        The file is empty, or a line has too few columns (the first one is named).
    """
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    try:
        rows = pd.read_csv(path, sep=r"\s+", header=None, dtype=str, keep_default_na=False, na_filter=False, engine="c",
                           names=range(max(len(names), _widest(path))))
    except pd.errors.EmptyDataError:
        raise DataError("the file is empty", where=path, remedy="fetch it again") from None
    rows = rows.iloc[:, : len(names)].set_axis(list(names), axis=1)
    short = (rows.iloc[:, :required] == "").any(axis=1) | rows.iloc[:, :required].isna().any(axis=1)
    if short.any():
        at = int(short.to_numpy().argmax())
        found = int(((rows.iloc[at] != "") & rows.iloc[at].notna()).sum())
        raise DataError(f"{found} columns; {required} are wanted: {', '.join(names[:required])}", where=f"{path}, line {at + 1}",
                        remedy=f"{int(short.sum()):,} of {len(rows):,} lines are too short; check how the file is delimited")
    return rows


def _widest(path: str) -> int:
    """Columns of the first line, so that files with further columns are read whole."""
    with Path(path).open(encoding="utf-8", errors="replace") as stream:
        return len(next((line for line in stream if line.strip()), "").split())
