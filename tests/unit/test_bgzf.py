"""Blocked gzip files and their tabix index, read back by gzip and by the specification."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from gsem_spark.errors import StorageError
from gsem_spark.steps.export.bgzf import BLOCK, BgzfWriter, TabixIndex
from gsem_spark.steps.export.text_files import named, text_file

HEADER = b"SNP\tCHR\tBP\tZ\n"


def lines(chromosome: int, positions: np.ndarray) -> list[bytes]:
    return [f"rs{i}\t{chromosome}\t{bp}\t{i / 7:.9f}\n".encode() for i, bp in enumerate(positions)]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, tuple[np.ndarray, list[bytes]]]]:
    """A file of three chromosomes, one of them with long gaps."""
    rng = np.random.default_rng(1)
    file = tmp_path_factory.mktemp("bgzf") / "x.tsv.gz"
    chromosomes = {}
    with file.open("wb") as raw:
        out, index = BgzfWriter(raw), TabixIndex(2, 3)
        out.write(HEADER)
        for chromosome, longest in ((1, 240_000_000), (2, 900_000), (23, 5_000_000)):
            positions = np.sort(rng.integers(1, longest, 9_000))
            rows = lines(chromosome, positions)
            index.add(str(chromosome), positions, out.written + np.r_[0, np.cumsum([len(r) for r in rows])])
            out.write(b"".join(rows))
            chromosomes[chromosome] = positions, rows
        out.close()
        index.write(file.with_name("x.tsv.gz.tbi"), out)
    return file, chromosomes


def test_any_gzip_reader_reads_it(indexed) -> None:
    file, chromosomes = indexed
    assert gzip.decompress(file.read_bytes()) == HEADER + b"".join(b"".join(rows) for _, rows in chromosomes.values())


def test_every_member_says_how_long_it_is(indexed) -> None:
    data, at, sizes = indexed[0].read_bytes(), 0, []
    while at < len(data):
        assert data[at : at + 4] == b"\x1f\x8b\x08\x04" and data[at + 12 : at + 16] == b"BC\x02\x00"
        size = struct.unpack("<H", data[at + 16 : at + 18])[0] + 1
        text = zlib.decompress(data[at + 18 : at + size - 8], -15)
        assert struct.unpack("<II", data[at + size - 8 : at + size]) == (zlib.crc32(text), len(text))
        sizes.append(len(text))
        at += size
    assert at == len(data) and sizes[-1] == 0 and set(sizes[:-2]) == {BLOCK}


def read_index(path: Path) -> tuple[tuple[int, ...], list[bytes], list[tuple[dict[int, tuple[int, int]], list[int]]]]:
    """Columns, names, and for each name bins and windows, as the specification lays them out."""
    data = gzip.decompress(path.read_bytes())
    assert data[:4] == b"TBI\x01"
    n, _, *columns, meta, skip, length = struct.unpack("<8i", data[4:36])
    assert (meta, skip) == (ord("#"), 1)
    at, found = 36 + length, []
    for _ in range(n):
        bins, at, count = {}, at + 4, struct.unpack("<i", data[at : at + 4])[0]
        for _ in range(count):
            number, chunks, begin, end = struct.unpack("<Ii2Q", data[at : at + 24])
            assert chunks == 1 and number not in bins
            bins[number], at = (begin, end), at + 24
        count = struct.unpack("<i", data[at : at + 4])[0]
        found.append((bins, list(struct.unpack(f"<{count}Q", data[at + 4 : at + 4 + 8 * count]))))
        at += 4 + 8 * count
    assert at == len(data)
    return tuple(columns), data[36 : 36 + length].split(b"\0")[:-1], found


def test_the_index_leads_to_every_line(indexed) -> None:
    file, chromosomes = indexed
    columns, names, found = read_index(file.with_name("x.tsv.gz.tbi"))
    assert columns == (2, 3, 3) and names == [b"1", b"2", b"23"]
    data = file.read_bytes()

    def text(begin: int, end: int) -> bytes:
        """Bytes between two virtual offsets, by opening the file at the member that the first one names."""
        out, at = b"", begin >> 16
        while at < (end >> 16) or (at == end >> 16 and end & 0xFFFF):
            size = struct.unpack("<H", data[at + 16 : at + 18])[0] + 1
            member = zlib.decompress(data[at + 18 : at + size - 8], -15)
            out += member[begin & 0xFFFF if at == begin >> 16 else 0 : end & 0xFFFF if at == end >> 16 else None]
            at += size
        return out

    for (bins, windows), (positions, rows) in zip(found, chromosomes.values(), strict=True):
        where = 4681 + ((positions - 1) >> 14)
        assert set(bins) == set(where.tolist())
        for number in list(bins)[::37]:
            inside = np.flatnonzero(where == number)
            assert text(*bins[number]) == b"".join(rows[i] for i in inside)
            assert windows[number - 4681] == bins[number][0]
        assert len(windows) == ((positions[-1] - 1) >> 14) + 1 and windows == sorted(windows)


def test_htslib_agrees(indexed) -> None:
    """Where pysam is installed: stretches of the file through tabix itself."""
    pysam = pytest.importorskip("pysam")
    file, chromosomes = indexed
    tabix, rng = pysam.TabixFile(str(file)), np.random.default_rng(2)
    for chromosome, (positions, rows) in chromosomes.items():
        for _ in range(20):
            low = int(rng.integers(0, positions[-1]))
            high = low + int(rng.integers(1, 400_000))
            inside = np.flatnonzero((positions > low) & (positions <= high))
            assert list(tabix.fetch(str(chromosome), low, high)) == [rows[i].decode().rstrip("\n") for i in inside]


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.tsv.bgz"
    with pytest.raises(ValueError, match="stop"), text_file(target) as out:
        out.write(b"half")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
    with text_file(target) as out:
        out.write(b"whole\n")
    assert gzip.decompress(target.read_bytes()) == b"whole\n" and isinstance(out, BgzfWriter)
    with pytest.raises(StorageError, match="cannot be written"), text_file(tmp_path / "no" / "a.tsv") as out:
        out.write(b"")


def test_names_of_several_files() -> None:
    assert named(Path("x/factor.v2.sumstats.gz"), "F1~SNP") == Path("x/factor.v2.F1~SNP.sumstats.gz")
    assert named(Path("out"), "F1~SNP") == Path("out.F1~SNP")
