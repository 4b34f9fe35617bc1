"""Bytes to numbered lines: line ends, members, padding, blank lines, damage."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard

from gsem_spark.steps.munge import text_lines

TEXT = b"".join(b"rs%d\tA\tC\t%.3f\n" % (i, i / 7) for i in range(300))


def rows(packed: bytes, compression: str, first: int = 1) -> list[tuple[int, str]]:
    batches = text_lines.data_lines(text_lines.unpacked(io.BytesIO(packed), compression), first)
    return [pair for b in batches for pair in zip(b.column("row").to_pylist(), b.column("value").to_pylist(), strict=True)]


def expected(text: bytes, first: int = 1) -> list[tuple[int, str]]:
    return [(i, line) for i, line in enumerate(text.decode().splitlines(), 1) if i > first and line.strip()]


@pytest.fixture(params=[(1 << 20, 4 << 20), (97, 1_000), (1, 10)])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "CHUNK_BYTES", request.param[0])
    monkeypatch.setattr(text_lines, "TEXT_BYTES", request.param[1])


@pytest.mark.usefixtures("chunks")
class TestLines:
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("closed", [True, False])
    def test_whatever_the_packing(self, end: bytes, closed: bool) -> None:
        text = TEXT.replace(b"\n", end) if closed else TEXT.replace(b"\n", end).removesuffix(end)
        for packed, compression in (
            (text, "none"),
            (gzip.compress(text), "gzip"),
            (gzip.compress(text[:900]) + gzip.compress(text[900:]) + b"\0" * 600, "gzip"),
            (zstandard.compress(text), "zstd"),
        ):
            assert rows(packed, compression) == expected(TEXT)

    def test_preamble_and_blank_lines_count_and_are_left_out(self) -> None:
        assert rows(b"# note\nA\tB\n\n1\t2\n \t\n3\t4", "none", first=2) == [(4, "1\t2"), (6, "3\t4")]

    def test_bytes_that_are_no_utf8_do_not_stop_a_run(self) -> None:
        assert rows(b"h\n\xff\tA\n", "none") == [(2, "�\tA")]

    def test_no_line_at_all(self) -> None:
        assert rows(b"", "none") == rows(gzip.compress(b""), "gzip") == rows(b"h\n", "none") == []

    @pytest.mark.parametrize("cut", [20, -40])
    def test_a_truncated_gzip_is_an_error(self, cut: int) -> None:
        with pytest.raises(EOFError, match="ended before"):
            rows(gzip.compress(TEXT)[:cut], "gzip")

    def test_a_truncated_zstd_is_an_error(self) -> None:
        with pytest.raises(OSError, match="Truncated"):
            rows(zstandard.compress(TEXT)[:-40], "zstd")


def test_lone_carriage_returns_end_lines() -> None:
    assert rows(TEXT.replace(b"\n", b"\r"), "none") == expected(TEXT)
