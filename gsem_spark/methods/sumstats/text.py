"""Text columns to numbers: vectorised, counting what fails, and exact where float64 underflows."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MISSING: Final = ("", ".", "NA", "N/A", "na", "n/a", "#N/A", "#NA", "<NA>", "NULL", "Null", "null", "None", "none", "-", "--",
                  "NaN", "nan", "Nan", "-nan", "-NaN", "-9999")
"""Marks of a missing value. ``-9`` is not one of them: it is a possible Z."""
COMPAT_MISSING: Final = ("", ".", "NA", "NaN", "nan")
"""What the reference's reader takes as missing."""
P_UNDERFLOW: Final = 1e-307
"""Below this, float64 loses digits (2.2e-308) or is 0: log p comes from the text."""

_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"
_PARTS: Final = re.compile(r"\s*([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?\s*$")


def as_text(values: object, rows: int) -> pa.Array:
    """Any column of text (Arrow, NumPy, list, None) as one Arrow string array; None gives all nulls."""
    if values is None:
        return pa.nulls(rows, pa.string())
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # no chunk at all
        return pa.nulls(rows, pa.string())
    if isinstance(values, pa.Array):
        column: Any = values
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    return pa.array(values, pa.string(), from_pandas=True)


def as_floats(values: object, rows: int) -> Floats:
    """Any numeric column as float64, missing as NaN; None gives all NaN."""
    if values is None:
        return np.full(rows, np.nan)
    if isinstance(values, pa.ChunkedArray | pa.Array):
        flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return np.array(pc.fill_null(pc.cast(flat, pa.float64()), np.nan).to_numpy(zero_copy_only=False), np.float64)
    return np.array(values, np.float64)


def as_bools(values: object, rows: int) -> NDArray[np.bool_] | None:
    """Any boolean column, missing as False; None stays None."""
    if values is None:
        return None
    if isinstance(values, pa.ChunkedArray | pa.Array):
        flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return np.array(pc.fill_null(flat, False).to_numpy(zero_copy_only=False), np.bool_)
    plain = np.asarray(values)
    return np.array([v is not None and v == 1 for v in plain] if plain.dtype == object else plain, np.bool_)


def without_missing(text: pa.Array, missing: tuple[str, ...] = MISSING) -> pa.Array:
    """Return the column with missing marks as nulls."""
    if text.null_count == len(text):
        return text
    marked = pc.is_in(text, value_set=pa.array(missing, pa.string()))
    return pc.if_else(marked, pa.scalar(None, pa.string()), text) if pc.any(marked).as_py() else text


def parse_floats(text: pa.Array, missing: tuple[str, ...] = MISSING) -> tuple[Floats, int]:
    """Parse decimal numbers.

    Returns
    -------
    values
        Float64 of the column's length, NaN where missing or unparsable.
    failed
        How many non-missing values are not numbers.
    """
    if text.null_count == len(text):
        return np.full(len(text), np.nan), 0
    clean = without_missing(text, missing)
    try:
        numbers, failed = pc.cast(clean, pa.float64()), 0
    except pa.ArrowInvalid:
        clean = without_missing(pc.utf8_trim_whitespace(clean), missing)
        good = pc.match_substring_regex(clean, _NUMBER)
        failed = int(pc.sum(pc.invert(good)).as_py() or 0)
        numbers = pc.cast(pc.if_else(good, clean, pa.scalar(None, pa.string())), pa.float64())
    return np.array(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False), np.float64), failed


def to_float(text: str) -> float:
    """One number by the same grammar as :func:`parse_floats`; NaN when it is none."""
    return float(parse_floats(pa.array([text], pa.string()))[0][0])


def neglog10_of_text(text: str) -> float:
    """−log10 of a positive decimal of any size, from its digits and exponent: ``4.2e-4321`` gives 4320.3767….

    Zero gives infinity, a negative number or no number gives NaN.
    """
    match = _PARTS.match(text)
    if match is None:
        return float("nan")
    sign, digits, exponent = match.groups()
    whole, _, fraction = digits.partition(".")
    significant = (whole + fraction).lstrip("0")
    if not significant:
        return float("inf")
    if sign == "-":
        return float("nan")
    # value = 0.significant × 10^shift, so that even a mantissa of 400 zeros ("0.000…1") keeps its digits
    shift = len(whole) - (len(whole + fraction) - len(significant)) + int(exponent or 0)
    return float(-(np.log10(float("0." + significant)) + shift))


def neglog10_p(text: pa.Array, p: Floats) -> Floats:
    """−log10 p of a column: from the numbers, and from the text where they underflow.

    Parameters
    ----------
    text
        The column as text (n).
    p
        The same as numbers (n), NaN where missing. Values outside [0, 1] give NaN.

    Returns
    -------
    Float64 (n), in [0, inf]; inf where the text itself is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where((p >= 0) & (p <= 1), -np.log10(p) + 0.0, np.nan)
    for i in np.flatnonzero((p >= 0) & (p < P_UNDERFLOW)):
        result[i] = neglog10_of_text(text[int(i)].as_py())
    return result
