"""PLINK 1 binary files: .bed with its .bim (variants) and .fam (samples), by the bed-reader library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from gsem_spark.errors import DataError
from gsem_spark.readers.interface import MISSING_CALL, Genotypes, Ints, Kind, index_table, library, sample_frame
from gsem_spark.readers.text_tables import whitespace_table

MAGIC: Final = b"\x6c\x1b"
HEADER_BYTES: Final = 3
CALLS_PER_BYTE: Final = 4
_BIM: Final = ("chrom", "snp", "cm", "bp", "a1", "a2")
_FAM: Final = ("fid", "iid", "father", "mother", "sex", "phenotype")


@dataclass(frozen=True)
class BedReader:
    """A PLINK 1 fileset.

    Parameters
    ----------
    path, bim, fam
        The three files.
    n_samples, n_variants
        Lines of .fam and .bim, checked against the size of the .bed when the fileset is opened.
    """

    path: str
    bim: str
    fam: str
    n_samples: int
    n_variants: int
    source: str = "plink1"
    kind: Kind = "calls"
    sequential: bool = False
    index_parts: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str) -> BedReader:
        """Open ``prefix.bed`` (or ``prefix``) with ``prefix.bim`` and ``prefix.fam``, and check that they belong together.

        Raises
        ------
        DataError
            A file is missing; the .bed is no variant-major PLINK 1 file, or has not the size that .fam and .bim ask for.
        """
        library("bed_reader", "PLINK 1 files")
        bed = path if path.endswith(".bed") else f"{path}.bed"
        bim, fam = (str(Path(bed).with_suffix(suffix)) for suffix in (".bim", ".fam"))
        for file in (bed, bim, fam):
            if not Path(file).is_file():
                raise DataError("the file does not exist", where=file,
                                remedy="a PLINK 1 fileset is three files of one name: .bed, .bim, .fam")
        reader = cls(bed, bim, fam, _lines(fam), _lines(bim))
        reader._check_size()
        return reader

    @property
    def files(self) -> tuple[str, ...]:
        """The three files."""
        return self.path, self.bim, self.fam

    def samples(self) -> pd.DataFrame:
        """The .fam file."""
        rows = whitespace_table(self.fam, _FAM, required=5)
        sex = rows["sex"].where(rows["sex"].isin(["1", "2"]), "0").astype(int).tolist()
        iid, fid, father, mother = (rows[name].tolist() for name in ("iid", "fid", "father", "mother"))
        return sample_frame(iid, fid, father, mother, sex)

    def variants(self, part: str = "") -> pa.Table:
        """The .bim file; its fifth column is the counted allele."""
        del part
        rows = whitespace_table(self.bim, _BIM, required=6)
        bp = pd.to_numeric(rows["bp"], errors="coerce")
        if bp.isna().any() or (bp % 1 != 0).any():
            line = int(np.flatnonzero(bp.isna() | (bp % 1 != 0))[0])
            raise DataError(f"the position {rows['bp'].iloc[line]!r} is not a whole number",
                            where=f"{self.bim}, line {line + 1}, column 4",
                            remedy="a .bim file has the columns chromosome, name, cM, position, allele 1, allele 2")
        text = {name: pa.array(rows[name], pa.string()) for name in ("chrom", "snp", "a1", "a2")}
        return index_table(text["chrom"], pa.array(bp.to_numpy(np.int64)), text["snp"], text["a1"], text["a2"])

    def read(self, blocks: Iterable[pa.Table], columns: Ints | None) -> Iterator[Genotypes]:
        """Hard calls of blocks of variants; each block is one read of its bytes."""
        bed_reader = library("bed_reader", "PLINK 1 files")
        chosen = slice(None) if columns is None else columns
        with bed_reader.open_bed(self.path, iid_count=self.n_samples, sid_count=self.n_variants, num_threads=1) as bed:
            for block in blocks:
                places = block.column("place").to_numpy()
                calls = bed.read(index=(chosen, _as_range(places)), dtype="int8", order="F", num_threads=1).T
                calls[calls < 0] = MISSING_CALL
                yield np.ascontiguousarray(calls)

    def _check_size(self) -> None:
        size = Path(self.path).stat().st_size
        with Path(self.path).open("rb") as stream:
            head = stream.read(HEADER_BYTES)
        if head[:2] != MAGIC:
            raise DataError("the file does not begin as a PLINK 1 .bed file", where=self.path,
                            remedy="give the .bed of a PLINK 1 fileset; for other formats name the file with its own suffix")
        if head[2:3] != b"\x01":
            raise DataError("the .bed file is sample-major, as old versions of PLINK wrote them", where=self.path,
                            remedy="rewrite it: plink --bfile OLD --make-bed --out NEW")
        row = -(-self.n_samples // CALLS_PER_BYTE)
        expected = HEADER_BYTES + row * self.n_variants
        if size == expected:
            return
        held = (size - HEADER_BYTES) / row if row else 0.0
        what = (f"the .bed file has {size:,} bytes; {self.n_samples:,} samples (.fam) and {self.n_variants:,} variants (.bim) "
                f"make {expected:,}")
        if held.is_integer():
            raise DataError(f"{what}: it holds {int(held):,} variants, the .bim file has {self.n_variants:,} lines",
                            where=self.path,
                            remedy="give the .bim file that was written with it, or fetch a .bed file that is whole")
        why = "cut off" if size < expected else "too long"
        raise DataError(f"{what}: it is {why}, or its .fam file is of other samples", where=self.path,
                        remedy="fetch the .bed file again, and check that .bim and .fam were written with it")


def _lines(path: str) -> int:
    """Lines of a file that hold something."""
    with Path(path).open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def _as_range(places: Ints) -> Ints | slice:
    """Places as a slice where they are consecutive."""
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
