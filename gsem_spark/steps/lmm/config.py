"""Settings of mixed-model steps: what they model, and what they test."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, field_validator, model_validator

from gsem_spark.errors import GsemError
from gsem_spark.methods.lmm.multitrait_scan import TESTS as MULTITRAIT_TESTS
from gsem_spark.methods.lmm.statistics import check_tests
from gsem_spark.steps.step import StepConfig

MISSING_WORDS: Final = ("NA", "NaN", "nan", "N/A", ".", "")
"""Words of a phenotype file that stand for a missing value. PLINK's -9 is a number, and counts as one unless it is named here."""
DESIGNS: Final = ("any", "common", "difference", "specific")
Names = tuple[str, ...]


class ModelConfig(StepConfig):
    """What is modelled: samples, phenotypes, covariates, kinship."""

    phenotypes: str = Field(min_length=1, description="text file with FID and IID (or IID) and a column a phenotype or covariate")
    covariates: str | None = Field(None, description="another file of that form with covariates")
    traits: Names | None = Field(None, min_length=1, description="phenotype columns; by default that of the formula, else all")
    covar: Names = Field((), description="covariate columns; words become indicators of their levels")
    formula: str | None = Field(None, description="y ~ sex + age + (1|household), or ~ sex + age with traits; in place of covar")
    gaussianize: bool = Field(False, description="replace phenotypes by the normal quantiles of their ranks")
    cohort: str | None = Field(None, description="genotyped samples; the only ones by default")
    kinship: str | None = Field(
        None, description="kinship run; by default the cohort's last one. `none` for independent samples"
    )
    loco: bool | None = Field(None, description="test a chromosome by the kinship made without it; by default where there is one")
    na: Names = Field(MISSING_WORDS, description="words that stand for a missing value")

    @model_validator(mode="after")
    def _one_way(self) -> ModelConfig:
        if self.formula is not None and self.covar:
            raise ValueError("covariates stand in the formula or in covar, not in both")
        if self.formula is not None and self.formula.count("~") != 1:
            raise ValueError(f"{self.formula!r} is no formula: write it as y ~ sex + age + (1|household)")
        if self.loco and self.kinship == "none":
            raise ValueError("loco leaves chromosomes out of a kinship, but there is none")
        return self


class ScanConfig(ModelConfig):
    """What is tested besides: variants, precision, and names for the traits as summary statistics."""

    chromosomes: tuple[int, ...] | None = Field(None, min_length=1, description="chromosomes to test; all by default")
    exact: bool = Field(False, description="fit variance components anew for every variant")
    precision: Literal["float64", "float32"] = Field("float64", description="of the rotation; float32 is good to 1e-5")


class LmmConfig(ScanConfig):
    """Settings of a scan of one or many traits, each alone."""

    test: Names = Field(("wald_f",), min_length=1, description="wald_f, wald_chi2, lrt_ml, score, score_chi2, limix_lrt")
    inter: Names = Field((), description="environment columns: genotype x environment effects are tested")
    inter0: Literal["main", "none"] | Names = Field(
        "main", description="smaller hypothesis of an interaction: the variant's main effect, none, or environment columns"
    )
    step: int = Field(1, ge=1, description="consecutive variants a joint test; a test does not go beyond a block of 1,000")
    sets: str | None = Field(None, description="file with a set's name and a variant's name a line: joint tests of sets")

    @field_validator("test")
    @classmethod
    def _known_tests(cls, value: Names) -> Names:
        try:
            return check_tests(value)
        except GsemError as error:
            raise ValueError(f"{error.what}: {error.remedy}") from None

    @model_validator(mode="after")
    def _together(self) -> LmmConfig:
        if self.exact and (self.inter or self.step > 1 or self.sets):
            raise ValueError("exact tests are of single variants without interaction")
        if self.sets and self.step > 1:
            raise ValueError("step and sets both say which variants are tested jointly; give one")
        return self


class MtlmmConfig(ScanConfig):
    """Settings of a scan of several traits in one model."""

    test: Names = Field(("wald",), min_length=1, description="wald, score, lrt_ml, limix_lrt")
    designs: Names = Field(("any", "common"), min_length=1, description="any, common, difference, specific")
    genetic: Literal["free", "diagonal", "low_rank"] = Field("free", description="form of the traits' genetic covariance")
    residual: Literal["free", "diagonal", "low_rank"] = Field("free", description="form of their residual covariance")
    rank: int = Field(1, ge=1, description="of the low-rank form")

    @field_validator("test")
    @classmethod
    def _known_tests(cls, value: Names) -> Names:
        if unknown := [t for t in value if t not in MULTITRAIT_TESTS]:
            raise ValueError(f"unknown test {unknown[0]!r}: choose from {', '.join(MULTITRAIT_TESTS)}")
        return value

    @field_validator("designs")
    @classmethod
    def _known_designs(cls, value: Names) -> Names:
        if unknown := [d for d in value if d not in DESIGNS]:
            raise ValueError(f"unknown design {unknown[0]!r}: choose from {', '.join(DESIGNS)}")
        return value


class BootstrapConfig(ModelConfig):
    """Settings of a bootstrap of one trait's null model."""

    n: int = Field(1000, ge=2, description="replicates")
    kind: Literal["parametric", "residual"] = Field("parametric", description="normal draws, or whitened residuals again")
    seed: int = Field(1, ge=0, description="with a replicate's number it makes the draw")
    level: float = Field(0.95, gt=0, lt=1, description="confidence of the intervals")
    reml: bool = Field(True, description="restricted or full maximum likelihood, of fit and replicates")
