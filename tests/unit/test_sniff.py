from __future__ import annotations

import gzip

import pytest

from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats import sniff

HEADER = ("SNP", "A1", "A2", "BETA", "P")
ROWS = [["rs1", "A", "G", "0.1", "0.5"], ["rs2", "C", "T", "NA", "0.2"]]


def text(delimiter: str, end: str = "\n", header: tuple[str, ...] = HEADER, rows: list[list[str]] = ROWS) -> bytes:
    return (end.join(delimiter.join(row) for row in [list(header), *rows]) + end).encode()


@pytest.mark.parametrize(("delimiter", "found"), [("\t", "\t"), (",", ","), (";", ";"), (" ", " "), ("   ", " "), (" \t ", "\t")])
def test_delimiters(delimiter: str, found: str) -> None:
    form = sniff(text(delimiter), "f.txt")
    assert (form.delimiter, form.header, form.quoted, form.preamble_lines) == (found, HEADER, False, 0)
    assert form.column("BETA") == ["0.1", "NA"]


def test_leading_blanks_of_a_fixed_width_file() -> None:
    form = sniff(b"  SNP  A1 A2   BETA  P\n  rs1   A  G  0.1 0.5\n", "f.assoc")
    assert form.header == HEADER
    assert form.split("   rs9   T  G  0.2 0.1") == ["rs9", "T", "G", "0.2", "0.1"]


def test_crlf_and_byte_order_mark() -> None:
    assert sniff(b"\xef\xbb\xbf" + text("\t", "\r\n"), "f").header == HEADER


def test_commas_inside_tab_separated_fields_do_not_count() -> None:
    assert sniff(b"SNP\tA1\tA2\tP\tgenes\nrs1\tA\tG\t.5\ta,b,c,d,e,f\n", "f").delimiter == "\t"


def test_preamble_and_hash_header() -> None:
    form = sniff(b"##fileformat=x\n##a,b,c,d,e\n#CHROM\tPOS\tID\tP\n1\t2\trs1\t.5\n", "f.vcf")
    assert form.preamble_lines == 2
    assert form.header[0] == "CHROM"


def test_comment_before_an_unmarked_header() -> None:
    form = sniff(b"# made by x\n\n" + text("\t"), "f")
    assert (form.preamble_lines, form.header) == (2, HEADER)


def test_quotes() -> None:
    form = sniff(b'"SNP","A1","A2","P","note"\n"rs1","A","G","0.5","one, two"\n', "f.csv")
    assert form.quoted
    assert form.header == ("SNP", "A1", "A2", "P", "note")
    assert form.split('"rs1","A","G",0.5,"one, two"')[4] == "one, two"


def test_columns_without_values_are_named() -> None:
    assert sniff(text("\t", rows=[["rs1", "A", "G", ".", "0.5"], ["rs2", "A", "G", "NA", "1"]]), "f").empty == ("BETA",)
    assert sniff(text("\t", rows=[]), "f").empty == ()


def test_a_last_line_cut_by_the_reader_is_left_out() -> None:
    head = text("\t", rows=ROWS * 100) + b"rs9\tA"
    assert len(sniff(head, "f").sample) == 200


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"", "empty"),
        (b" \n \n", "empty"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
        (b"\n<html>", "web page"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b"PK\x03\x04abc", "zip"),
        (b"PAR1xx", "Parquet"),
        (b"\xff\xfeS\x00N\x00", "UTF-16"),
        (b"SNP\tA1\x00\x01\x02", "binary"),
        (b'{"a": 1}', "JSON"),
        (b"SNP|A1|A2|BETA|P\nrs1|A|G|0.1|0.5\n", "1 column"),
        (b"SNP\nrs1\nrs2\n", "1 column"),
        (b"## only\n## comments\n", "no header"),
        (b"rs1\tA\t0.1\t0.2\t3\n", "data, not column names|first line"),
    ],
)
def test_what_is_no_table_is_refused_with_a_remedy(head: bytes, says: str) -> None:
    if says.startswith("data"):
        head = b"1\t752566\t0.1\t0.2\t3\n1\t752567\t0.1\t0.2\t3\n"
    with pytest.raises(DataError, match=says) as caught:
        sniff(head, "file.txt")
    assert "file.txt" in caught.value.where
    assert caught.value.remedy


def test_ragged_rows_name_the_line() -> None:
    with pytest.raises(DataError, match="do not have the header's 5 columns") as caught:
        sniff(b"##x\n" + text("\t", rows=[["rs1", "A", "G", "1", "2"], ["rs2", "A"], ["rs3", "A"]]), "f.tsv")
    assert caught.value.where == "f.tsv, line 4"
