"""BGEN files with their .sample file and bgenix index (.bgi), by the bgen library.

With an index tasks read variants of their own. Without one the file is read from its beginning by one task.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from gsem_spark.errors import DataError
from gsem_spark.readers.interface import Genotypes, Ints, Kind, index_table, library, sample_frame
from gsem_spark.readers.text_tables import header_table

_INDEX_QUERY: Final = (
    "SELECT chromosome, position, rsid, number_of_alleles, allele1, allele2, file_start_position FROM Variant "
    "ORDER BY file_start_position"
)


@dataclass(frozen=True)
class BgenFileReader:
    """A BGEN file.

    Parameters
    ----------
    path
        The file; ``path.bgi`` beside it is its index.
    sample_file
        Its .sample file; None where the names in the file itself are used.
    n_samples, n_variants
        What the file's header says.
    indexed
        Whether there is an index.
    """

    path: str
    sample_file: str | None
    n_samples: int
    n_variants: int
    indexed: bool
    source: str = "bgen"
    kind: Kind = "dosages"

    @classmethod
    def open(cls, path: str, sample_file: str | None = None) -> BgenFileReader:
        """Open a file; ``name.sample`` beside it is used where none is given.

        Raises
        ------
        DataError
            The file is no BGEN file, or nothing says who its samples are.
        """
        header = _open(path).header
        beside = Path(path).with_suffix(".sample")
        names = sample_file or (str(beside) if beside.is_file() else None)
        if names is None and not header.has_sample_ids:
            raise DataError("the file does not say who its samples are, and there is no .sample file", where=path,
                            remedy=f"give it: sample_file=… (looked for {beside.name})")
        return cls(path, names, int(header.nsamples), int(header.nvariants), Path(f"{path}.bgi").is_file())

    @property
    def files(self) -> tuple[str, ...]:
        """The file and its .sample file."""
        return (self.path,) if self.sample_file is None else (self.path, self.sample_file)

    @property
    def sequential(self) -> bool:
        """Whether there is no index."""
        return not self.indexed

    @property
    def index_parts(self) -> tuple[str, ...]:
        """Nothing where the index lists the variants; else the whole file has to be gone through."""
        return () if self.indexed else ("",)

    def samples(self) -> pd.DataFrame:
        """The .sample file (ID_1 ID_2 missing [sex father mother …], a line of types), or the names in the file."""
        if self.sample_file is None:
            return sample_frame([str(name) for name in _open(self.path).samples])
        rows = header_table(self.sample_file, required=("ID_1", "ID_2"))
        rows = rows.iloc[1:] if len(rows) and rows.iloc[0]["ID_1"] == "0" else rows
        if len(rows) != self.n_samples:
            raise DataError(f"the .sample file has {len(rows):,} samples, the BGEN file {self.n_samples:,}",
                            where=self.sample_file, remedy="give the .sample file that belongs to the BGEN file")
        lower = {str(c).lower(): c for c in rows.columns}
        sex = [int(s) if s in ("1", "2") else 0 for s in rows[lower["sex"]]] if "sex" in lower else None
        father, mother = (rows[lower[name]].tolist() if name in lower else None for name in ("father", "mother"))
        return sample_frame(rows["ID_2"].tolist(), rows["ID_1"].tolist(), father, mother, sex)

    def variants(self, part: str = "") -> pa.Table:
        """Every variant; the counted allele is the second one."""
        del part
        if self.indexed:
            with sqlite3.connect(f"file:{self.path}.bgi?mode=ro", uri=True) as index:
                rows = index.execute(_INDEX_QUERY).fetchall()
            if len(rows) != self.n_variants:
                raise DataError(f"the index has {len(rows):,} variants, the BGEN file {self.n_variants:,}",
                                where=f"{self.path}.bgi", remedy="index the file again: bgenix -g FILE -index -clobber")
        else:
            rows = [(v.chrom, v.pos, v.rsid, len(v.alleles), *[*v.alleles, "."][:2], v.fileoffset) for v in self._walk()]
        columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in range(7)]
        chrom = [c[1:] if len(c) == 2 and c[0] == "0" else c for c in columns[0]]  # "01" is 1
        return index_table(pa.array(chrom, pa.string()), pa.array(columns[1], pa.int64()), pa.array(columns[2], pa.string()),
                           pa.array(columns[5], pa.string()), pa.array(columns[4], pa.string()), pa.array(columns[3], pa.int32()),
                           pa.array(columns[6], pa.int64()))

    def read(self, blocks: Iterable[pa.Table], columns: Ints | None) -> Iterator[Genotypes]:
        """Dosages of blocks of variants."""
        cursor = _Cursor(self)
        for block in blocks:
            rows = zip(block.column("place").to_pylist(), block.column("at").to_pylist(), strict=True)
            values = [self._dosages(cursor.find(*row)) for row in rows]
            yield np.stack([v if columns is None else v[columns] for v in values])

    def _walk(self) -> Iterator[Any]:
        try:
            yield from _open(self.path)
        except Exception as error:
            raise self._damaged(error) from None

    def _dosages(self, variant: Any) -> Any:
        try:
            return np.asarray(variant.alt_dosage, np.float32)
        except Exception as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"the file cannot be read: {error}", where=self.path, remedy="fetch it again; is it cut off?")


class _Cursor:
    """Finds variants by their number: by the index, or by going through the file (again from its beginning if need be)."""

    def __init__(self, reader: BgenFileReader) -> None:
        self._reader = reader
        self._file: Any = _open(reader.path) if reader.indexed else None
        self._walk: Iterator[Any] = iter(())
        self._next = -1

    def find(self, place: int, at: int) -> Any:
        """The variant; ``at`` is where it was when the variants were listed."""
        variant = self._file[place] if self._reader.indexed else self._walked(place)
        if variant is None or variant.fileoffset != at:
            raise DataError(
                f"variant {place + 1} is not where it was listed", where=self._reader.path,
                remedy="the file changed while it was read, or its index is of another file: bgenix -g FILE -index -clobber",
            )
        return variant

    def _walked(self, place: int) -> Any:
        if place < self._next or self._next < 0:
            self._walk, self._next = self._reader._walk(), 0
        for variant in self._walk:
            self._next += 1
            if self._next == place + 1:
                return variant
        return None


def _open(path: str) -> Any:
    bgen = library("bgen", "BGEN files")
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    try:
        return bgen.BgenReader(path, delay_parsing=True)
    except Exception as error:
        raise DataError(f"the file is no BGEN file: {error}", where=path, remedy="fetch it again") from None
