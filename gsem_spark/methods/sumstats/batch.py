"""One batch of raw rows as typed arrays: what the rules look at, decoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import ContractError
from gsem_spark.methods.sumstats.alleles import Bools
from gsem_spark.methods.sumstats.synonyms import ROLES
from gsem_spark.methods.sumstats.text import (
    COMPAT_MISSING,
    MISSING,
    Floats,
    as_bools,
    as_floats,
    as_text,
    parse_floats,
    without_missing,
)

REFERENCE: Final = ("ref_a1", "ref_a2", "ref_maf", "ref_chr", "ref_bp", "ref_matched", "hm3", "ref_eaf")
INPUTS: Final = (*ROLES, *REFERENCE)
"""Columns that :func:`~gsem_spark.methods.sumstats.harmonise.harmonise` reads. Text columns are the roles; of the
reference's, ``ref_a1`` and ``ref_a2`` are text, ``ref_maf``, ``ref_chr``, ``ref_bp`` and ``ref_eaf`` numbers, ``ref_matched`` and
``hm3`` booleans. A role that the file lacks is not given (or None, or of Arrow's null type); a given column without a value in
this batch is not the same: its rows have missing values."""

_TEXT: Final = ("snp", "a1", "a2", "direction", "ref", "alt")
_CHROMOSOMES: Final = {
    **{str(i): i for i in range(1, 27)},
    **{f"0{i}": i for i in range(1, 10)},
    "X": 23,
    "Y": 24,
    "XY": 25,
    "M": 26,
    "MT": 26,
}
_CHROMOSOME_TEXTS: Final = pa.array([p + k for k in _CHROMOSOMES for p in ("", "chr", "CHR", "Chr")], pa.string())
_CHROMOSOME_VALUES: Final = np.array([v for v in _CHROMOSOMES.values() for _ in range(4)] + [0], np.float64)


@dataclass(frozen=True)
class Batch:
    """A batch's columns.

    Attributes
    ----------
    rows
        Number of rows.
    text
        Text columns, missing marks as nulls (Arrow).
    number
        Numeric roles (float64, NaN where missing or unparsable).
    present
        Roles that the file has a column for.
    p_text
        The p-value's text, for values below float64's range.
    ref
        Numeric reference columns.
    matched, hm3
        The variant is in the reference; in the HapMap 3 list.
    facts
        Values that are not numbers, as ``unparsable_<role>``.
    """

    rows: int
    text: dict[str, pa.Array]
    number: dict[str, Floats]
    present: frozenset[str]
    p_text: pa.Array
    ref: dict[str, Floats]
    matched: Bools
    hm3: Bools
    facts: dict[str, int]

    def numbers(self, role: str) -> Floats:
        """Return a numeric role, all NaN where the file has none."""
        return self.number[role] if role in self.number else np.full(self.rows, np.nan)


def decode(raw: Mapping[str, Any] | pa.RecordBatch | pa.Table, *, compat: bool) -> Batch:
    """Decode a batch.

    Parameters
    ----------
    raw
        Column name → values; names as in :data:`INPUTS`, others are ignored. An Arrow batch or table serves as it is.
    compat
        Take as missing only what the reference's reader does.

    Raises
    ------
    ContractError
        Columns differ in length, or the reference's alleles are not given.
    """
    if isinstance(raw, pa.RecordBatch | pa.Table):
        raw = {name: raw.column(name) for name in raw.schema.names}
    columns = {name: values for name, values in raw.items() if name in INPUTS}
    lengths = {len(v) for v in columns.values() if v is not None}
    if len(lengths) > 1:
        raise ContractError(f"columns of one batch have different lengths: {sorted(lengths)}")
    if "ref_a1" not in columns or "ref_a2" not in columns:
        raise ContractError(
            "a batch needs the reference's alleles: ref_a1 and ref_a2", remedy="join the variant reference by SNP first"
        )
    rows = lengths.pop() if lengths else 0
    missing = COMPAT_MISSING if compat else MISSING
    text: dict[str, pa.Array] = {}
    number: dict[str, Floats] = {}
    present: set[str] = set()
    facts: dict[str, int] = {}
    p_text = pa.nulls(rows, pa.string())
    for role in ROLES:
        values = columns.get(role)
        given = values is not None and not (isinstance(values, pa.Array | pa.ChunkedArray) and pa.types.is_null(values.type))
        if not given and role not in _TEXT:
            continue
        column = as_text(values, rows)
        present |= {role} if given else set()
        if role in _TEXT:
            text[role] = without_missing(_trimmed(column), missing)
            if role == "snp" and not compat:
                text[role] = _small_rs(text[role])
        elif role == "chr":
            number[role] = _chromosomes(column)
        else:
            number[role], failed = parse_floats(column, missing)
            facts |= {f"unparsable_{role}": failed} if failed else {}
            p_text = column if role == "p" else p_text
    text |= {name: as_text(columns.get(name), rows) for name in ("ref_a1", "ref_a2")}
    ref = {name: as_floats(columns.get(name), rows) for name in ("ref_maf", "ref_chr", "ref_bp", "ref_eaf")}
    matched = as_bools(columns.get("ref_matched"), rows)
    if matched is None:
        matched = np.array(pc.is_valid(text["ref_a1"]).to_numpy(zero_copy_only=False), np.bool_)
    hm3 = as_bools(columns.get("hm3"), rows)
    return Batch(rows, text, number, frozenset(present), p_text, ref, matched, matched if hm3 is None else hm3 & matched, facts)


def same_as_previous(snp: pa.Array) -> Bools:
    """Whether each row names the same variant as the row before (nulls never do)."""
    result = np.zeros(len(snp), np.bool_)
    if len(snp) > 1:
        equal = pc.fill_null(pc.equal(snp.slice(1), snp.slice(0, len(snp) - 1)), False)
        result[1:] = equal.to_numpy(zero_copy_only=False)
    return result


def positions(batch: Batch) -> tuple[Bools, Bools]:
    """Rows whose position can be compared with the reference's, and those among them where it differs."""
    bp, chromosome = batch.numbers("bp"), batch.numbers("chr")
    compared = batch.matched & np.isfinite(bp) & np.isfinite(batch.ref["ref_bp"])
    other_chromosome = np.isfinite(chromosome) & np.isfinite(batch.ref["ref_chr"]) & (chromosome != batch.ref["ref_chr"])
    return compared, compared & ((bp != batch.ref["ref_bp"]) | other_chromosome)


def unknown_share(direction: pa.Array) -> NDArray[np.float64]:
    """Share of ``?`` in each direction string; NaN where there is none."""
    marks = pc.fill_null(pc.count_substring(direction, "?"), 0).to_numpy(zero_copy_only=False)
    length = pc.fill_null(pc.utf8_length(direction), 0).to_numpy(zero_copy_only=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, marks / length, np.nan)


def _trimmed(text: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(text) if pc.any(pc.match_substring(text, " ")).as_py() else text


def _small_rs(snp: pa.Array) -> pa.Array:
    """Write rsIDs in capitals (some programs' habit) as the reference does, so that copies are found."""
    capital = pc.match_substring_regex(snp, "^RS[0-9]+$") if pc.any(pc.starts_with(snp, "RS")).as_py() else None
    return snp if capital is None else pc.if_else(capital, pc.utf8_lower(snp), snp)


def _chromosomes(text: pa.Array) -> Floats:
    found = pc.fill_null(pc.index_in(text, value_set=_CHROMOSOME_TEXTS), len(_CHROMOSOME_TEXTS)).to_numpy(zero_copy_only=False)
    values = _CHROMOSOME_VALUES[found]
    return np.where(values > 0, values, np.nan)
