"""The small text tables beside genotype files: columns split at blanks or tabs, every cell as text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

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


def header_table(path: str, required: Sequence[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table whose header is its last line that begins with ``#``, or its first line; cells as text.

    Lines before it that begin with ``##`` are skipped; names lose a leading ``#``. ``.zst`` and ``.gz`` files are unpacked.

    Parameters
    ----------
    path
        The file, split at blanks or tabs.
    required
        Columns that it must have.
    columns
        Columns to read; all when None.

    Raises
    ------
    DataError
        The file is missing or empty, or lacks a column.
    """
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    compression = "zstd" if path.endswith(".zst") else "gzip" if path.endswith(".gz") else None
    with pa.input_stream(path, compression=compression) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
        line, skipped = text.readline(), 0
        while line.startswith("##"):
            line, skipped = text.readline(), skipped + 1
    names = line.lstrip("#").split()
    if missing := [name for name in required if name not in names]:
        raise DataError(f"column {', '.join(missing)} not found; the header has {' '.join(names)}",
                        where=f"{path}, line {skipped + 1}", remedy=f"a header with the columns {' '.join(required)} is needed")
    with pa.input_stream(path, compression=compression) as stream:
        return pd.read_csv(stream, sep=r"\s+", skiprows=skipped + 1, names=names, usecols=list(columns or names), dtype=str,
                           keep_default_na=False, na_filter=False, index_col=False)


def _widest(path: str) -> int:
    """Columns of the first line, so that files with further columns are read whole."""
    with Path(path).open(encoding="utf-8", errors="replace") as stream:
        return len(next((line for line in stream if line.strip()), "").split())
