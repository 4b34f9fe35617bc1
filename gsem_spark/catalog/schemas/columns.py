"""What a table's schema is made of, and the columns that several tables share, defined once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gsem_spark.errors import ContractError

Type = Literal[
    "string", "int", "long", "double", "boolean", "timestamp", "binary", "array<string>", "array<long>", "array<double>",
    "map<string,string>",
]  # fmt: skip

CHROMOSOME_CODES: Final[dict[str, int]] = {**{str(i): i for i in range(1, 23)}, "X": 23, "Y": 24, "XY": 25, "M": 26, "MT": 26}
"""PLINK's numeric chromosome codes; ``chr`` prefixes are stripped before the look-up."""

FIT_STATUSES: Final = ("ok", "smoothed", "not_converged", "heywood", "not_pd", "singular", "missing")
"""What became of one SNP's fit; every results row carries one."""


@dataclass(frozen=True)
class Column:
    """One column: Spark type, meaning, unit, and the closed range its non-null values must lie in (NaN is never allowed)."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nullable: bool = True
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSchema:
    """A table: its key, its partition columns, and the scope (columns whose values one atomic write replaces).

    Scope columns lead the partition columns, so that a replacement never rewrites a file.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    scope: tuple[str, ...]
    partitions: tuple[str, ...]
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """Return one column; a :class:`ContractError` names the table's columns when there is none of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise ContractError(f"table {self.name} has no column {name!r}; it has {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in their stored order."""
        return tuple(c.name for c in self.columns)


# --- columns that several tables share --------------------------------------------------------------------------------
SNP = Column("snp", "string", "variant name as in the variant reference, an rsID where there is one", nullable=False)
CHR = Column("chr", "int", "chromosome, PLINK codes (X = 23, Y = 24, XY = 25, MT = 26)", nullable=False, low=0, high=26)
SLICE = Column(
    "slice", "int", "part of the genome that is computed and committed at once: chromosome x 100 + stretch of 50 Mb, from 0",
    nullable=False, low=0,
)
BP = Column("bp", "long", "position, 1-based, on the reference's build", "bp", low=0)
A1 = Column("a1", "string", "effect allele: effects are per copy of it", nullable=False)
A2 = Column("a2", "string", "other allele", nullable=False)
MAF = Column("maf", "double", "minor allele frequency in the variant reference", low=0, high=0.5)
P = Column("p", "double", "two-sided p-value; 0 where it is below 1e-308", low=0, high=1)
NLP = Column("neglog10p", "double", "-log10 p, computed in log space", low=0)
TRAIT = Column("trait", "string", "trait name", nullable=False)
FILE_ID = Column("file_id", "string", "SHA-256 of the raw file's bytes and of the settings that read it, first 16 hex digits", nullable=False)
RUN_ID = Column("run_id", "string", "run: step name and hash of settings and input versions", nullable=False)
