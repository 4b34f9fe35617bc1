"""Files of a covariance structure: JSON, NPZ, a folder of CSVs, and matrices as R writes them.

Everything passes through one plain record (see :meth:`CovStruct.as_record`). JSON has no NaN, so an unknown number is null.
"""

from __future__ import annotations

import csv
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError

Floats = NDArray[np.float64]

ARRAYS: Final = ("S", "V", "I", "N", "sample_prevalence", "population_prevalence")
FORMAT: Final = "gsem_spark.covstruct/1"
_MISSING: Final = {"", "NA", "NAN", "NULL"}


def floats(values: Sequence[Any]) -> Floats:
    """Numbers of a record as an array; None counts as NaN."""
    return np.array(_nested(values), dtype=np.float64)


def _nested(values: Any) -> Any:
    if isinstance(values, list | tuple | np.ndarray):
        return [_nested(v) for v in values]
    return number(values)


def number(value: Any) -> float:
    """One number of a record; None counts as NaN."""
    return math.nan if value is None else float(value)


def shaped(values: Sequence[Any], size: int, name: str) -> Floats:
    """Return a square matrix from nested or flat row-major values."""
    a = floats(values)
    if a.size != size * size:
        raise DataError(f"{name} has {a.size} values, but {size} x {size} are needed")
    return a.reshape(size, size)


def records_equal(a: Any, b: Any) -> bool:
    """Deep equality in which NaN equals NaN."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(records_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(records_equal, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return bool(a == b)


def nan_to_none(value: Any) -> Any:
    """Return a copy in which numbers without a JSON form (NaN, infinities) are None and NumPy scalars are Python's."""
    if isinstance(value, Mapping):
        return {str(key): nan_to_none(v) for key, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [nan_to_none(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# --- JSON and NPZ --------------------------------------------------------------------------------------------------------
def write_json(record: Mapping[str, Any], path: Path) -> Path:
    """Write a record as one JSON document."""
    text = json.dumps({"format": FORMAT, **nan_to_none(record)}, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read a record; a :class:`DataError` says what is missing."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"not a readable JSON file: {error}", where=str(path)) from None
    return _checked(record, path)


def _checked(record: Any, path: Path) -> dict[str, Any]:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"not a covariance structure (no format {FORMAT!r})", where=str(path),
                        remedy="for matrices written by R use CovStruct.from_genomicsem_csv")
    missing = [name for name in ("traits", *ARRAYS, "M") if name not in record]
    if missing:
        raise DataError(f"the covariance structure lacks {', '.join(missing)}", where=str(path))
    return record


def write_npz(record: Mapping[str, Any], path: Path) -> Path:
    """Write the arrays by name and everything else as JSON text under ``meta``."""
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    meta = {"format": FORMAT, **nan_to_none({k: v for k, v in record.items() if k not in ARRAYS})}
    arrays = {name: np.array(record[name]) for name in ARRAYS}
    np.savez(path, allow_pickle=False, meta=np.array(json.dumps(meta, allow_nan=False)), **arrays)
    return path


def read_npz(path: Path) -> dict[str, Any]:
    """Read :func:`write_npz`'s archive."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            record = json.loads(str(archive["meta"]))
            record.update({name: archive[name].tolist() for name in ARRAYS})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"not a readable covariance structure: {error}", where=str(path)) from None
    return _checked(record, path)


# --- a folder of CSVs ------------------------------------------------------------------------------------------------------
def write_csv(record: Mapping[str, Any], folder: Path) -> Path:
    """Write S.csv, V.csv, I.csv, N.csv with headers, and meta.json with the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    traits = list(record["traits"])
    elements = [f"{traits[i]}~~{traits[j]}" for i in range(len(traits)) for j in range(i, len(traits))]
    for name, header, rows in (
        ("S", traits, record["S"]), ("V", elements, record["V"]), ("I", traits, record["I"]), ("N", elements, [record["N"]]),
    ):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows([["NA" if math.isnan(v) else repr(float(v)) for v in row] for row in rows])
    meta = {key: value for key, value in record.items() if key not in {"S", "V", "I", "N"}}
    text = json.dumps({"format": FORMAT, **nan_to_none(meta)}, indent=1, allow_nan=False)
    (folder / "meta.json").write_text(text + "\n", encoding="utf-8")
    return folder


def read_csv(folder: Path) -> dict[str, Any]:
    """Read :func:`write_csv`'s folder."""
    path = folder / "meta.json"
    if not path.is_file():
        raise DataError("no meta.json in the folder", where=str(folder),
                        remedy="for matrices written by R use CovStruct.from_genomicsem_csv")
    record = json.loads(path.read_text(encoding="utf-8"))
    for name in ("S", "V", "I"):
        record[name] = read_matrix(folder / f"{name}.csv")[0].tolist()
    record["N"] = read_vector(folder / "N.csv").tolist()
    return _checked(record, path)


# --- matrices as R writes them ---------------------------------------------------------------------------------------------
def read_matrix(path: Path) -> tuple[Floats, list[str] | None]:
    """Read a square numeric matrix and its column names, whatever its delimiter, header and row names.

    Returns
    -------
    matrix, names
        (k, k), and k names where the file has a header, else None.
    """
    header, rows = _numeric_rows(path)
    width = {len(row) for row in rows}
    if len(width) != 1 or width.pop() != len(rows):
        raise DataError(f"{len(rows)} rows of {sorted({len(r) for r in rows})} numbers are not a square matrix", where=str(path))
    names = header[-len(rows):] if header is not None and len(header) >= len(rows) else None
    return np.array(rows, dtype=np.float64), names


def read_vector(path: Path) -> Floats:
    """Read a row or a column of numbers; NA counts as NaN."""
    _, rows = _numeric_rows(path)
    if len(rows) != 1 and any(len(row) != 1 for row in rows):
        raise DataError("the file holds a matrix, not one row or column", where=str(path))
    return np.array([v for row in rows for v in row], dtype=np.float64)


def _numeric_rows(path: Path) -> tuple[list[str] | None, list[list[float]]]:
    """Split a small text table into its header (None when there is none) and its numbers, row names removed."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable text file: {error}", where=str(path)) from None
    if not lines:
        raise DataError("the file is empty", where=str(path))
    table = _split(lines)
    header = None if all(_is_number(c) for c in table[0]) else list(table[0])
    body = table if header is None else table[1:]
    if not body:
        raise DataError("the file has a header but no numbers", where=str(path))
    row_names = not all(_is_number(row[0]) for row in body)
    if header is not None:
        row_names = row_names or header[0] == "" or len(body[0]) == len(header) + 1
        header = header[1:] if row_names and len(header) == len(body[0]) else header
    rows = [row[1:] if row_names else row for row in body]
    for line, row in enumerate(rows, start=1 if header is None else 2):
        for cell in row:
            if not _is_number(cell):
                raise DataError(f"{cell!r} is not a number", where=f"{path}, line {line}")
    return header, [[math.nan if c.upper() in _MISSING else float(c) for c in row] for row in rows]


def _split(lines: list[str]) -> list[list[str]]:
    for delimiter in ("\t", ",", ";"):
        if delimiter in lines[0]:
            return [[c.strip() for c in row] for row in csv.reader(lines, delimiter=delimiter)]
    return [[c.strip('"') for c in re.findall(r'"[^"]*"|\S+', line)] for line in lines]


def _is_number(cell: str) -> bool:
    if cell.upper() in _MISSING:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True
