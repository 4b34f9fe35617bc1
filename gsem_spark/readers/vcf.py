"""VCF and BCF files, plain, gzipped or indexed, by the cyvcf2 library (htslib).

With an index (.tbi or .csi) tasks read regions of their own. Without one the file is read from its beginning by one task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.readers.interface import MISSING_CALL, Genotypes, Ints, Kind, index_table, library, sample_frame

Field = Literal["auto", "GT", "DS", "GP"]
SUFFIXES: Final = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
_UNKNOWN: Final = 3
_GZIP_EXTRA: Final = b"\x1f\x8b\x08\x04"
_EXTRA_LENGTH: Final = b"\x06\x00"
_LAST_BLOCK: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003" + 18 * "0")
"""The empty block that ends blocked gzip (the SAM specification, section 4.1.2)."""
_WHOLE: Final = ""
_LAST_BP: Final = 2**29 - 1
"""Longest contig that a .tbi index knows."""


@dataclass(frozen=True)
class VcfReader:
    """A VCF or BCF file; ``field`` is the one that is read: GT (hard calls), DS or GP (dosages)."""

    path: str
    field: str
    contigs: tuple[str, ...]
    source: str = "vcf"

    @classmethod
    def open(cls, path: str, field: Field = "auto") -> VcfReader:
        """Open a file and choose the field: DS before GP before GT, of those that the header declares.

        Raises
        ------
        DataError
            The file is no VCF, or has no samples or no genotypes.
        ConfigError
            The field asked for is not declared.
        """
        vcf = _open(path)
        _check_end(path)
        declared = {h["ID"] for h in vcf.header_iter() if h["HeaderType"] == "FORMAT"}
        found = [name for name in ("DS", "GP", "GT") if name in declared]
        if not vcf.samples or not found:
            raise DataError("the file has no samples with genotypes (GT, DS or GP)", where=path,
                            remedy="give a file with genotypes, not one of sites")
        if field != "auto" and field not in found:
            raise ConfigError(f"the file has no field {field}; it declares {', '.join(found)}", where=path, remedy="field=…")
        indexed = any(Path(f"{path}{suffix}").is_file() for suffix in (".tbi", ".csi"))
        return cls(path, found[0] if field == "auto" else field, tuple(vcf.seqnames) if indexed else ())

    @property
    def kind(self) -> Kind:
        """Hard calls from GT, dosages from DS and GP."""
        return "calls" if self.field == "GT" else "dosages"

    @property
    def files(self) -> tuple[str, ...]:
        """The file; its index says nothing of its own."""
        return (self.path,)

    @property
    def sequential(self) -> bool:
        """Whether there is no index."""
        return not self.contigs

    @property
    def index_parts(self) -> tuple[str, ...]:
        """Contigs, or the whole file: the variants are found by reading it."""
        return self.contigs or (_WHOLE,)

    def samples(self) -> pd.DataFrame:
        """Names of the header; a VCF knows neither families nor sex."""
        return sample_frame(list(_open(self.path).samples))

    def variants(self, part: str = _WHOLE) -> pa.Table:
        """Variants of a contig, or of the whole file; the counted allele is ALT.

        ``place`` counts within the part, and ``at`` the records before a variant at the same position.
        """
        vcf = _open(self.path)
        vcf.set_samples([])  # genotypes are not parsed
        rows: list[tuple[str, int, str, str, str, int]] = []
        for v in self._records(vcf, part):
            rows.append((v.CHROM, v.POS, v.ID or ".", v.ALT[0] if v.ALT else ".", v.REF, 1 + len(v.ALT)))
        chrom, bp, snp, a1, a2, alleles = (list(c) for c in zip(*rows, strict=True)) if rows else ([],) * 6
        position = np.array(bp, np.int64)
        new = np.ones(len(position), bool)
        new[1:] = position[1:] != position[:-1]
        starts = np.flatnonzero(new)
        before = np.arange(len(position)) - np.repeat(starts, np.diff([*starts, len(position)])) if len(position) else position
        text = [pa.array(c, pa.string()) for c in (chrom, snp, a1, a2)]
        return index_table(text[0], pa.array(position), text[1], text[2], text[3], pa.array(alleles, pa.int32()),
                           pa.array(before.astype(np.int64)))

    def read(self, blocks: Iterable[pa.Table], columns: Ints | None) -> Iterator[Genotypes]:
        """Genotypes of blocks; one pass over the records between the first and the last of a contig."""
        cursor = _Cursor(self)
        for block in blocks:
            rows = zip(*(block.column(name).to_pylist() for name in ("chrom", "bp", "place", "at")), strict=True)
            yield np.stack([self._values(cursor.find(*row), columns) for row in rows])

    def _records(self, vcf: Any, part: str) -> Iterator[Any]:
        """Records that begin in a part; what is amiss in the file is said as a :class:`DataError`."""
        try:
            yield from vcf(part) if part else vcf
        except Exception as error:
            raise DataError(f"the file cannot be read: {error}", where=self.path,
                            remedy="fetch it again; is it cut off?") from None

    def _values(self, variant: Any, columns: Ints | None) -> Any:
        if self.field == "GT":
            calls = variant.gt_types.astype(np.int8)
            calls[calls == _UNKNOWN] = MISSING_CALL
            return calls if columns is None else calls[columns]
        values = _dosages(variant, self.field)
        return values if columns is None else values[columns]


class _Cursor:
    """Goes through the records of a file and stops at those asked for."""

    def __init__(self, reader: VcfReader) -> None:
        self._reader = reader
        self._contig: str | None = None
        self._place = -1
        self._records: Iterator[Any] = iter(())

    def find(self, contig: str, bp: int, place: int, at: int) -> Any:
        """Record of a contig by its number there (in the whole file, where there is no index)."""
        whole = self._reader.sequential
        if not (self._place >= 0 and place > self._place and (whole or contig == self._contig)):
            self._start("" if whole else contig, bp, 0 if whole else place - at)
        for record in self._records:
            if not whole and bp > record.POS and self._place < 0:
                continue  # a long allele that reaches into the region
            self._place = self._next
            self._next += 1
            if self._place == place:
                if bp != record.POS:
                    break
                return record
        raise DataError(f"variant {place + 1} of {contig or 'the file'} is not at {bp} any more", where=self._reader.path,
                        remedy="the file changed while it was read, or its index belongs to another file; index it again")

    def _start(self, contig: str, bp: int, place: int) -> None:
        vcf = _open(self._reader.path)
        self._contig, self._place, self._next = contig or None, -1, place
        self._records = self._reader._records(vcf, f"{contig}:{bp}-{_LAST_BP}" if contig else "")


def _dosages(variant: Any, field: str) -> Any:
    """Copies of ALT as float32: DS, or from GP; from GT where a record lacks the field."""
    values = variant.format(field)
    if values is None:
        calls = variant.gt_types.astype(np.float32)
        calls[calls == _UNKNOWN] = np.nan
        return calls
    values = np.asarray(values, np.float32)
    return np.ascontiguousarray(values[:, 0] if field == "DS" else values[:, 1] + 2 * values[:, 2])


def _check_end(path: str) -> None:
    """Htslib takes a blocked gzip file that is cut off for a shorter one; its last block is always empty."""
    with Path(path).open("rb") as stream:
        if not (stream.read(4) == _GZIP_EXTRA and stream.read(8)[-2:] == _EXTRA_LENGTH and stream.read(2) == b"BC"):
            return
        stream.seek(max(-len(_LAST_BLOCK), -Path(path).stat().st_size), 2)
        if stream.read() != _LAST_BLOCK:
            raise DataError("the file is cut off: its last block is not there", where=path, remedy="fetch it again")


def _open(path: str) -> Any:
    cyvcf2 = library("cyvcf2", "VCF and BCF files")
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    try:
        return cyvcf2.VCF(path, gts012=True, strict_gt=True)
    except Exception as error:
        raise DataError(f"the file is no VCF or BCF: {error}", where=path, remedy="fetch it again") from None
