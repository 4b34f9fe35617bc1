"""Kinships and pedigrees that others have made: text, NumPy and GCTA matrices, .fam and sire/dam tables."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.kinship import unpack_grm
from gsem_spark.methods.lmm.pedigree import parse_fam
from gsem_spark.readers.interface import sample_frame
from gsem_spark.readers.text_tables import whitespace_table

GRM: Final = ".grm.bin"
_IDS: Final = "a line a sample: IID, or FID and IID (a .fam file will do)"


@dataclass(frozen=True)
class NamedMatrix:
    """A matrix and whose it is; ``families`` says whether families are part of the names."""

    K: NDArray[np.float64]
    samples: pd.DataFrame
    families: bool


def matrix_files(path: str, ids: str | None) -> tuple[str, ...]:
    """Files that :func:`read_matrix` reads."""
    if path.endswith(GRM) or Path(f"{path}{GRM}").is_file():
        prefix = path.removesuffix(GRM)
        return f"{prefix}{GRM}", ids or f"{prefix}.grm.id"
    return (path, ids) if ids is not None else (path,)


def read_matrix(path: str, ids: str | None = None) -> NamedMatrix:
    """Read a kinship.

    Parameters
    ----------
    path
        Text (rows of numbers at blanks, tabs or commas, optionally named; gzip too), ``.npy``, or GCTA's ``.grm.bin`` (or its
        prefix).
    ids
        File with the samples in the matrix's order, where the matrix has no names of its own: no order is ever assumed.

    Raises
    ------
    DataError
        A file is missing, is no matrix of numbers, or has other than one name a row.
    """
    for file in matrix_files(path, ids):
        if not Path(file).is_file():
            raise DataError("the file does not exist", where=file,
                            remedy="correct the path; a GCTA matrix has a .grm.id beside it")
    if matrix_files(path, ids)[0].endswith(GRM):
        grm, id_file = matrix_files(path, ids)
        names, families = read_ids(id_file)
        return NamedMatrix(unpack_grm(np.fromfile(grm, "<f4"), len(names)), names, families)
    K, named = (_load_npy(path), None) if path.endswith(".npy") else _load_text(path)
    if ids is None and named is None:
        raise DataError("the matrix does not say whose it is", where=path, remedy=f"give its samples in order: ids, {_IDS}")
    samples, families = read_ids(ids) if ids is not None else (sample_frame(named or []), False)
    if K.ndim != 2 or len(samples) != K.shape[0]:
        raise DataError(f"the matrix has the shape {K.shape}, and there are {len(samples)} samples", where=ids or path,
                        remedy=_IDS)
    return NamedMatrix(K, samples, families)


def read_ids(path: str) -> tuple[pd.DataFrame, bool]:
    """Samples of a file, a line each, and whether their families are told."""
    rows = whitespace_table(path, ("fid", "iid"), required=1)
    if rows.iloc[0, 0] in ("#FID", "FID", "#IID", "IID"):
        rows = rows.iloc[1:]
    if (rows["iid"] == "").all() or rows["iid"].isna().all():
        return sample_frame(rows["fid"].tolist()), False
    return sample_frame(rows["iid"].tolist(), rows["fid"].tolist()), True


def read_pedigree(path: str) -> tuple[pd.DataFrame, bool]:
    """A pedigree: columns id, sire, dam, fid, iid; and whether families are part of the names.

    ``.fam`` and ``.ped`` files are PLINK's; others are tables with a header (id sire dam, or father and mother).

    Raises
    ------
    DataError
        The file is missing or lacks a column.
    """
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    if path.endswith((".fam", ".ped")):
        return parse_fam(Path(path).read_text(encoding="utf-8")), True
    table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, comment="#")
    lower = {str(c).strip().lower(): c for c in table.columns}
    found = {role: next((lower[s] for s in names if s in lower), None) for role, names in
             {"id": ("id", "iid", "animal", "individual"), "sire": ("sire", "father", "pat", "fa"),
              "dam": ("dam", "mother", "mat", "mo")}.items()}
    if missing := [role for role, column in found.items() if column is None]:
        raise DataError(f"column {', '.join(missing)} not found; the header has {', '.join(map(str, table.columns))}", where=path,
                        remedy="name the columns id, sire, dam")
    pedigree = pd.DataFrame({role: table[column].str.strip() for role, column in found.items()})
    return pedigree.assign(fid="0", iid=pedigree["id"]), False


def _load_npy(path: str) -> NDArray[np.float64]:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"the file is no NumPy array of numbers: {error}", where=path) from None


def _load_text(path: str) -> tuple[NDArray[np.float64], list[str] | None]:
    """A matrix of text, with its names where it has a header, names of rows, or both."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as stream:
        head = [stream.readline(), stream.readline()]
        lines = sum(1 for line in (*head, *stream) if line.strip())
    comma = "," in head[0]
    first, second = ([c.strip().strip('"') for c in (line.split(",") if comma else line.split())] for line in head)
    header, row_names = _layout(first, second, lines)
    try:
        rows = pd.read_csv(path, sep="," if comma else r"\s+", header=None, skiprows=1 if header else 0, engine="c", dtype=str)
        K = rows.iloc[:, 1 if row_names else 0 :].to_numpy(np.float64)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"the file is no matrix of numbers: {str(error).splitlines()[0]}", where=path,
                        remedy="rows of numbers, all of one length, with or without names") from None
    across = first[len(first) - K.shape[1] :] if header else None
    down = rows.iloc[:, 0].str.strip('"').tolist() if row_names else None
    if across is not None and down is not None and across != down:
        raise DataError("rows and columns have not the same names in the same order", where=path)
    return K, across or down


def _layout(first: list[str], second: list[str], lines: int) -> tuple[bool, bool]:
    """Whether a square matrix of text has a header and names of rows: names may be numbers, so cells are counted first."""
    cells = len(second)
    if cells == lines + 1:
        return False, True
    if cells == lines - 1:
        return True, False
    named = len(first) < cells or not all(_is_number(c) for c in first)
    return named, named and cells == lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
