"""The format of a raw text file, found from its first bytes: preamble, delimiter, quotes, header."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats.text import MISSING

Delimiter = Literal["\t", ",", ";", " "]
DELIMITERS: Final[tuple[Delimiter, ...]] = ("\t", ",", ";")
"""Tried in this order; ``" "`` stands for runs of blanks and tabs and is tried last."""
MIN_COLUMNS: Final = 4
"""A GWAS has at least a name, an effect allele, an effect and a p-value."""
SAMPLE_ROWS: Final = 1000
RAGGED_SHARE: Final = 0.05
"""Above this share of sample rows with another number of fields, the delimiter is taken to be wrong."""

_MAGIC: Final[dict[bytes, tuple[str, str]]] = {
    b"\x1f\x8b": ("a gzip archive inside what was unpacked", "unpack it once more"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, and give the text file inside"),
    b"BZh": ("a bzip2 archive", "unpack it, or pack it with gzip"),
    b"\xfd7zXZ": ("an xz archive", "unpack it, or pack it with gzip"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive inside what was unpacked", "unpack it once more"),
    b"PAR1": ("a Parquet file", "export it as tab-separated text"),
    b"%PDF": ("a PDF document", "fetch the data file itself"),
    b"\x89HDF": ("an HDF5 file", "export it as tab-separated text"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
}


@dataclass(frozen=True)
class RawFormat:
    """How a raw file is to be cut.

    Attributes
    ----------
    delimiter
        Tab, comma, semicolon, or a blank, which stands for runs of blanks and tabs (leading ones ignored).
    header
        Column names without quotes, byte-order mark and leading ``#``.
    quoted
        Fields may stand in double quotes.
    preamble_lines
        Lines before the header (``##`` lines, comments, blank lines): the header is line ``preamble_lines + 1``.
    empty
        Columns without a single value among the sample rows.
    sample
        Fields of the first complete data rows, at most 1000.
    """

    delimiter: Delimiter
    header: tuple[str, ...]
    quoted: bool
    preamble_lines: int
    empty: tuple[str, ...] = ()
    sample: tuple[tuple[str, ...], ...] = ()

    def column(self, name: str) -> list[str]:
        """Sample values of a column."""
        place = self.header.index(name)
        return [row[place] for row in self.sample if place < len(row)]

    def split(self, line: str) -> list[str]:
        """Fields of one data line."""
        return split_line(line, self.delimiter, self.quoted)


def sniff(head: bytes, file: str, *, min_columns: int = MIN_COLUMNS) -> RawFormat:
    """Find a file's format.

    Parameters
    ----------
    head
        First (unpacked) bytes of the file; 64 kB are enough. A cut last line is left out of the sample.
    file
        For messages.
    min_columns
        Fewer columns than this are taken for a wrong delimiter.

    Raises
    ------
    DataError
        Empty, not text, HTML, one column only (another delimiter), or rows that do not fit the header.
    """
    text = _decode(head, file)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    place = _header_line(lines)
    if place is None:
        raise DataError("the file has no header line (only blank or comment lines)", where=file, remedy="fetch the file again")
    raw = lines[place].lstrip("#")
    cut = len(head) >= 1 << 10 and not text.endswith(("\n", "\r"))
    data = [line for line in lines[place + 1 :] if line.strip()]
    if cut and len(data) > 1:
        data = data[:-1]
    data = data[:SAMPLE_ROWS]
    quoted = '"' in raw or any('"' in line for line in data[:100])
    delimiter = _delimiter(raw, data, quoted, min_columns)
    header = tuple(name.strip().strip('"') for name in split_line(raw, delimiter, quoted))
    where = f"{file}, line {place + 1}"
    if len(header) < min_columns:
        raise DataError(
            f"the header has {len(header)} column(s) ({raw[:80]!r}) whichever delimiter is tried (tab, comma, semicolon, blanks)",
            where=where,
            remedy="check that this is the summary statistics file, and save it tab-separated",
        )
    if all(_is_number(name) for name in header[2:]) and len(header) > 3:
        raise DataError(
            f"the first line holds data, not column names ({raw[:80]!r})", where=where, remedy="add a header line to the file"
        )
    rows = [tuple(split_line(line, delimiter, quoted)) for line in data]
    _check_rows(rows, header, file, place)
    full = [row for row in rows if len(row) == len(header)]
    # Of a file without rows nothing is known: its columns are as good as their names.
    empty = tuple(name for i, name in enumerate(header) if name and full and all(row[i].strip() in MISSING for row in full))
    return RawFormat(delimiter, header, quoted, place, empty, tuple(rows))


def split_line(line: str, delimiter: Delimiter, quoted: bool) -> list[str]:
    """Cut one line; quotes are taken off where the file uses them, and blanks around the fields."""
    if quoted:
        blank = delimiter == " "
        source = " ".join(line.split()) if blank else line
        return next(csv.reader([source], delimiter=delimiter), [])
    return line.split() if delimiter == " " else [field.strip() for field in line.split(delimiter)]


def _decode(head: bytes, file: str) -> str:
    if not head.strip():
        raise DataError("the file is empty", where=file, remedy="fetch it again, and check its size at the source")
    for magic, (what, remedy) in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"the file is {what}, not text", where=file, remedy=remedy)
    body = head.removeprefix(b"\xef\xbb\xbf")
    start = body.lstrip()[:200].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise DataError(
            "the file is a web page (HTML or XML), not data: a download link that asked for a login or moved",
            where=f"{file}, line 1",
            remedy="open the link in a browser, find the data file itself, and fetch that",
        )
    if start.startswith((b"{", b"[")):
        raise DataError("the file is JSON, not a table", where=f"{file}, line 1", remedy="export it as tab-separated text")
    if b"\x00" in body:
        raise DataError(
            f"the file is binary: a zero byte at position {body.index(0)}",
            where=file,
            remedy="give the text file of summary statistics, plain, gzip, bgzip or zstd",
        )
    return body.decode("utf-8", errors="replace")


def _header_line(lines: Sequence[str]) -> int | None:
    """Index of the header: the last ``#`` line if it has as many fields as the data after it, else the first other line."""
    last_comment = None
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        if line.startswith("##"):
            continue
        if line.startswith("#"):
            last_comment = i
            continue
        if last_comment is not None and _fields(lines[last_comment]) == _fields(line):
            return last_comment
        return i
    return last_comment


def _fields(line: str) -> int:
    counts = [line.count(d) for d in DELIMITERS]
    return max(counts) + 1 if max(counts) >= MIN_COLUMNS - 1 else len(line.lstrip("#").split())


def _delimiter(header: str, data: Sequence[str], quoted: bool, min_columns: int) -> Delimiter:
    """Find the delimiter that cuts the header into the most columns and the rows into as many; the earlier one on a tie."""
    best: tuple[float, int, Delimiter] | None = None
    for delimiter in (*DELIMITERS, " "):
        columns = len(split_line(header, delimiter, quoted))
        if columns < min_columns:
            continue
        fit = sum(len(split_line(line, delimiter, quoted)) == columns for line in data[:100]) / max(len(data[:100]), 1)
        if best is None or fit > best[0] + RAGGED_SHARE:
            best = (fit, columns, delimiter)
    return best[2] if best else " " if "\t" not in header else "\t"


def _check_rows(rows: Sequence[tuple[str, ...]], header: tuple[str, ...], file: str, place: int) -> None:
    wrong = [i for i, row in enumerate(rows) if len(row) != len(header)]
    if len(wrong) > max(RAGGED_SHARE * len(rows), 1 if len(rows) > 1 else 0):
        first = wrong[0]
        raise DataError(
            f"{len(wrong)} of the first {len(rows)} rows do not have the header's {len(header)} columns (the first has "
            f"{len(rows[first])})",
            where=f"{file}, line {place + 2 + first}",
            remedy="check the delimiter, or whether missing values stand as blanks: write NA for them",
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
