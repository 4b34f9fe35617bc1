"""PLINK 2 files: .pgen with its .pvar (variants) and .psam (samples), by the pgenlib library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.readers.interface import Genotypes, Ints, Kind, index_table, library, sample_frame
from gsem_spark.readers.text_tables import header_table

_MAGIC: Final = b"\x6c\x1b"
_VARIABLE: Final = 0x10
"""Storage mode of variable-width records, what PLINK 2 writes."""
_BLOCK: Final = 1 << 16
"""Variants whose record types stand together in the header."""
_DOSAGE_BITS: Final = 0x60
_HEADER: Final = 12
_PVAR: Final = ("CHROM", "POS", "ID", "REF", "ALT")


@dataclass(frozen=True)
class PgenFileReader:
    """A PLINK 2 fileset.

    Parameters
    ----------
    path, pvar, psam
        The three files; the .pvar may be compressed (.zst).
    n_samples, n_variants
        What the .pgen's header says.
    kind
        Dosages where any variant has them, else hard calls.
    allele_offsets
        Beginning of each variant's alleles in the list of all; None where every variant has two.
    """

    path: str
    pvar: str
    psam: str
    n_samples: int
    n_variants: int
    kind: Kind
    allele_offsets: NDArray[np.uint64] | None = None
    source: str = "plink2"
    sequential: bool = False
    index_parts: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str) -> PgenFileReader:
        """Open ``prefix.pgen`` (or ``prefix``) with ``prefix.pvar`` (or .pvar.zst) and ``prefix.psam``.

        Raises
        ------
        DataError
            A file is missing, or they do not belong together.
        """
        library("pgenlib", "PLINK 2 files")
        pgen = path if path.endswith(".pgen") else f"{path}.pgen"
        prefix = pgen.removesuffix(".pgen")
        pvar = next((f for f in (f"{prefix}.pvar", f"{prefix}.pvar.zst") if Path(f).is_file()), f"{prefix}.pvar")
        for file in (pgen, pvar, f"{prefix}.psam"):
            if not Path(file).is_file():
                raise DataError("the file does not exist", where=file,
                                remedy="a PLINK 2 fileset is three files of one name: .pgen, .pvar, .psam")
        head = _Header.read(pgen)
        reader = cls(pgen, pvar, f"{prefix}.psam", head.n_samples, head.n_variants, head.kind)
        index, samples = reader.variants(), reader.samples()
        for what, found, wanted, file in (("variants", index.num_rows, head.n_variants, pvar),
                                          ("samples", len(samples), head.n_samples, reader.psam)):
            if found != wanted:
                raise DataError(f"{found:,} {what}, the .pgen file has {wanted:,}", where=file,
                                remedy="give the files that were written together")
        if pc.max(index.column("alleles")).as_py() in (2, None):
            return reader
        ends = np.cumsum(index.column("alleles").to_numpy())
        offsets = np.concatenate([[0], ends]).astype(np.uint64)
        return cls(pgen, pvar, reader.psam, head.n_samples, head.n_variants, head.kind, offsets)

    @property
    def files(self) -> tuple[str, ...]:
        """The three files."""
        return self.path, self.pvar, self.psam

    def samples(self) -> pd.DataFrame:
        """The .psam file: [FID] IID [PAT MAT SEX], as its header says."""
        rows = header_table(self.psam, required=("IID",))
        sex = rows["SEX"].where(rows["SEX"].isin(["1", "2"]), "0").astype(int).tolist() if "SEX" in rows else None
        fid, father, mother = (rows[name].tolist() if name in rows else None for name in ("FID", "PAT", "MAT"))
        return sample_frame(rows["IID"].tolist(), fid, father, mother, sex)

    def variants(self, part: str = "") -> pa.Table:
        """The .pvar file; the counted allele is ALT."""
        del part
        rows = header_table(self.pvar, required=_PVAR, columns=_PVAR)
        bp = pd.to_numeric(rows["POS"], errors="coerce")
        if bp.isna().any():
            row = int(np.flatnonzero(bp.isna())[0])
            raise DataError(f"the position {rows['POS'].iloc[row]!r} is not a number", where=f"{self.pvar}, variant {row + 1}")
        alt = pa.array(rows["ALT"], pa.string())
        alleles = pc.add(pc.count_substring(alt, ","), 2)
        text = {name: pa.array(rows[name], pa.string()) for name in ("CHROM", "ID", "REF")}
        position = pa.array(bp.to_numpy(np.int64))
        return index_table(text["CHROM"], position, text["ID"], alt, text["REF"], pc.cast(alleles, pa.int32()))

    def read(self, blocks: Iterable[pa.Table], columns: Ints | None) -> Iterator[Genotypes]:
        """Genotypes of blocks of variants; each block is one read."""
        pgenlib = library("pgenlib", "PLINK 2 files")
        subset = None if columns is None else np.asarray(columns, np.uint32)
        n = self.n_samples if columns is None else len(columns)
        offsets = None if self.allele_offsets is None else self.allele_offsets.astype(np.uintp)
        try:
            with pgenlib.PgenReader(self.path.encode(), raw_sample_ct=self.n_samples, variant_ct=self.n_variants,
                                    sample_subset=subset, allele_idx_offsets=offsets) as file:
                for block in blocks:
                    places = block.column("place").to_numpy().astype(np.uint32)
                    if self.kind == "calls":
                        calls = np.empty((len(places), n), np.int8)
                        file.read_list(places, calls)
                        yield calls
                    else:
                        values = np.empty((len(places), n), np.float32)
                        file.read_dosages_list(places, values)
                        values[values < 0] = np.nan
                        yield values
        except RuntimeError as error:
            raise DataError(f"the file cannot be read: {error}", where=self.path,
                            remedy="fetch it again; is it cut off?") from None


@dataclass(frozen=True)
class _Header:
    """What the first bytes of a .pgen say (PLINK 2's specification of the format, section 2)."""

    n_samples: int
    n_variants: int
    kind: Kind

    @classmethod
    def read(cls, path: str) -> _Header:
        with Path(path).open("rb") as stream:
            head = stream.read(_HEADER)
            if head[:2] != _MAGIC or len(head) < _HEADER:
                raise DataError("the file does not begin as a .pgen file", where=path, remedy="fetch it again")
            if head[2] != _VARIABLE:
                raise DataError(f"the .pgen file is of storage mode {head[2]:#04x}; only {_VARIABLE:#04x} is read", where=path,
                                remedy="rewrite it: plink2 --pfile OLD --make-pgen --out NEW")
            variants, samples = (int.from_bytes(head[a : a + 4], "little") for a in (3, 7))
            stored = head[11] & 15
            if stored < 4:  # four bits a record have no room for dosages
                return cls(samples, variants, "calls")
            stream.seek(_HEADER + 8 * -(-variants // _BLOCK))
            for start in range(0, variants, _BLOCK):
                count = min(_BLOCK, variants - start)
                if (np.frombuffer(stream.read(count), np.uint8) & _DOSAGE_BITS).any():
                    return cls(samples, variants, "dosages")
                stream.seek(count * (stored - 3), 1)  # the records' lengths
        return cls(samples, variants, "calls")
