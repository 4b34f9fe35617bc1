"""What every genotype reader answers, and the two tables it answers with."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError

Kind = Literal["calls", "dosages"]
Ints = NDArray[np.int64]
Genotypes = NDArray[np.int8] | NDArray[np.float32]

MISSING_CALL: Final = -9
"""A hard call that is not known; a dosage that is not known is NaN."""
SAMPLE_COLUMNS: Final = ("fid", "iid", "father", "mother", "sex")
INDEX_SCHEMA: Final = pa.schema([
    ("chrom", pa.string()), ("bp", pa.int64()), ("snp", pa.string()), ("a1", pa.string()), ("a2", pa.string()),
    ("alleles", pa.int32()), ("place", pa.int64()), ("at", pa.int64()),
])
"""A file's variants in its order: ``a1`` the counted allele; ``alleles`` their number; ``place`` the variant's number in the
file; ``at`` where the reader finds it (of a meaning of its own)."""


class GenotypeReader(Protocol):
    """One genotype file, or the files that belong together. Instances are small and go to tasks by pickle."""

    @property
    def path(self) -> str:
        """The file that messages name."""

    @property
    def source(self) -> str:
        """Name of the format: plink1, plink2, bgen or vcf."""

    @property
    def kind(self) -> Kind:
        """Whether genotypes come as hard calls (int8) or dosages (float32)."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file whose bytes decide what is read."""

    @property
    def sequential(self) -> bool:
        """Whether the file can only be read from its beginning to its end, so that one task has to read it."""

    def samples(self) -> pd.DataFrame:
        """Samples in the order of the genotypes' columns: fid, iid, father, mother (text, "0" where not known), sex (0, 1, 2)."""

    @property
    def index_parts(self) -> tuple[str, ...]:
        """Parts of the file whose variants can only be listed by reading it, work for tasks; none where there is a list."""

    def variants(self, part: str = "") -> pa.Table:
        """Every variant of the file (or of a part of it), in its order, as :data:`INDEX_SCHEMA`."""

    def read(self, blocks: Iterable[pa.Table], columns: Ints | None) -> Iterator[Genotypes]:
        """Genotypes of blocks of variants.

        Parameters
        ----------
        blocks
            Rows of :meth:`variants`, in the file's order within and between blocks.
        columns
            Places of the samples wanted; None for all.

        Yields
        ------
        ndarray
            (variants, samples), row-major, copies of ``a1``: int8 with -9 missing, or float32 with NaN missing.
        """


def index_table(
    chrom: pa.Array, bp: pa.Array, snp: pa.Array, a1: pa.Array, a2: pa.Array, alleles: pa.Array | None = None,
    at: pa.Array | None = None,
) -> pa.Table:
    """Variants of a file as :data:`INDEX_SCHEMA`, numbered in their order; two alleles each unless said otherwise."""
    n = len(snp)
    place = pa.array(np.arange(n, dtype=np.int64))
    two = pa.array(np.full(n, 2, np.int32))
    columns = [chrom, bp, snp, a1, a2, two if alleles is None else alleles, place, place if at is None else at]
    return pa.table(columns, names=INDEX_SCHEMA.names).cast(INDEX_SCHEMA)


def sample_frame(
    iid: Sequence[str], fid: Sequence[str] | None = None, father: Sequence[str] | None = None,
    mother: Sequence[str] | None = None, sex: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Samples as :meth:`GenotypeReader.samples` gives them; what is not known is "0"."""
    n = len(iid)
    blank = ["0"] * n
    columns: dict[str, Any] = {
        "fid": fid if fid is not None else blank, "iid": iid, "father": father if father is not None else blank,
        "mother": mother if mother is not None else blank,
        "sex": np.zeros(n, np.int64) if sex is None else np.asarray(sex, np.int64),
    }
    return pd.DataFrame({name: columns[name] for name in SAMPLE_COLUMNS})


def library(name: str, what: str) -> Any:
    """A reader's library.

    Raises
    ------
    ConfigError
        It is not installed; the message has the pip line.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"reading {what} needs the Python package {name.replace('_', '-')}, which is not installed",
                          where="genotypes", remedy="pip install 'gsem-spark[geno]' (on every worker too)") from None
