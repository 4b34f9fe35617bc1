"""Settings of a kinship, and what must go together in them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, model_validator

from gsem_spark.errors import ConfigError
from gsem_spark.methods.lmm.kinship import POWER_ITERATIONS
from gsem_spark.readers.kinship_matrix import matrix_files
from gsem_spark.steps.genotypes.kinship_sums import VariantChoice
from gsem_spark.steps.step import StepConfig

Scale = Literal["centred", "standardised", "gcta"]
FROM_GENOTYPES: Final = ("centred", "standardised", "gcta", "low_rank")
FROM_FILES: Final = ("pedigree", "given")
NameList = str | tuple[str, ...]


class KinshipConfig(StepConfig):
    """Settings of a kinship."""

    cohort: str | None = Field(None, description="cohort; the only one by default. Pedigrees and given matrices can stand alone")
    kind: Literal["centred", "standardised", "gcta", "pedigree", "given", "low_rank"] = Field(
        "centred", description="centred (GEMMA -gk 1), standardised (-gk 2, limix), gcta, pedigree, given, low_rank")
    loco: bool | None = Field(None, description="also without each chromosome; by default where there are several")
    snps: NameList | None = Field(None, description="variants to use: a file with a name a line, or the names")
    maf: float = Field(0.0, ge=0, le=0.5, description="lowest minor allele frequency of the variants used")
    missing: float = Field(1.0, ge=0, le=1, description="largest share of missing genotypes of the variants used")
    normalise: bool = Field(False, description="scale to a mean diagonal of 1")
    rank: int | None = Field(None, ge=1, description="eigenvectors of a low-rank kinship")
    scale: Scale = Field("standardised", description="how genotypes of a low-rank kinship are scaled")
    seed: int = Field(1, ge=0, description="of the random start of a low-rank kinship")
    iterations: int = Field(POWER_ITERATIONS, ge=0, description="passes that sharpen a low-rank kinship, beside the two of all")
    file: str | None = Field(None, description="the matrix (text, .npy, .grm.bin) or the pedigree (.fam, table)")
    ids: str | None = Field(None, description="samples of a given matrix, in its order")
    unknown_parents: Literal["error", "founders"] = Field("error", description="parents that have no line in a pedigree")

    @model_validator(mode="after")
    def _together(self) -> KinshipConfig:
        if self.kind == "low_rank" and self.rank is None:
            raise ValueError("a low-rank kinship needs a rank, such as rank=100")
        if self.kind != "low_rank" and self.rank is not None:
            raise ValueError(f"rank is a setting of kind low_rank, the kind is {self.kind}")
        if self.kind == "low_rank" and self.normalise:
            raise ValueError("the mean diagonal of a kinship of low rank is not known; leave normalise away")
        if self.kind == "given" and self.file is None:
            raise ValueError("a given kinship needs its file")
        if self.kind in FROM_GENOTYPES and (self.file is not None or self.ids is not None):
            raise ValueError(f"a {self.kind} kinship is made of genotypes; file and ids belong to kinds given and pedigree")
        if self.kind in FROM_FILES and self.loco:
            raise ValueError(f"a {self.kind} kinship cannot leave a chromosome out; give a matrix made without it")
        return self

    @property
    def of_genotypes(self) -> bool:
        """Whether genotypes are read."""
        return self.kind in FROM_GENOTYPES

    @property
    def files(self) -> dict[str, str]:
        """Files whose content decides the result, by role."""
        files: dict[str, str] = {}
        if self.file is not None:
            read = matrix_files(self.file, self.ids) if self.kind == "given" else (self.file,)
            files.update(zip(("file", "ids"), read, strict=False))
        if isinstance(self.snps, str):
            files["snps"] = self.snps
        return files

    def choice(self) -> VariantChoice:
        """Variants that are used."""
        return VariantChoice(self.maf, self.missing, None if self.snps is None else frozenset(read_names(self.snps)))


def read_names(given: NameList) -> list[str]:
    """Variant names, from a file with one at the beginning of each line, or as they are.

    Raises
    ------
    ConfigError
        The file is missing, or there are no names.
    """
    if isinstance(given, str):
        if not Path(given).is_file():
            raise ConfigError("the file does not exist", where=given, remedy="a list of variants has a name a line")
        given = tuple(line.split()[0] for line in Path(given).read_text(encoding="utf-8").splitlines() if line.strip())
    if not given:
        raise ConfigError("the list of variants is empty", where="snps")
    return list(given)
