"""What an LDSC run is given: settings, traits and LD-score panel, each with the version that its results depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, field_validator
from pyspark.sql import functions as F

from gsem_spark.errors import DataError
from gsem_spark.steps.references import VARIANTS_STEP
from gsem_spark.steps.step import StepConfig, content_hash
from gsem_spark.thresholds import LDSC_INFO_MIN, LDSC_MAF_MIN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace


class LdscConfig(StepConfig):
    """Settings of LD score regression."""

    traits: tuple[str, ...] = Field(min_length=1, description="trait names; their order is that of every matrix")
    panel: str = Field("eur", description="LD-score panel")
    n_blocks: int = Field(200, ge=2, description="jackknife blocks; raised to (k+1)(k+2)/2+1 for more than 18 traits")
    chisq_max: float | None = Field(None, gt=0, description="leave out SNPs above it; default max(0.001 max N, 80) per trait")
    chromosomes: Literal["odd", "even"] | tuple[int, ...] | None = Field(None, description="chromosomes used; all by default")
    info_min: float = Field(LDSC_INFO_MIN, ge=0, description="lowest imputation quality, where the file has one")
    maf_min: float = Field(LDSC_MAF_MIN, ge=0, le=0.5, description="lowest minor allele frequency in the GWAS, else reference")
    sample_prevalence: dict[str, float | None] = Field(default_factory=dict, description="overrides the traits table")
    population_prevalence: dict[str, float | None] = Field(default_factory=dict, description="overrides the traits table")

    @field_validator("traits")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({t for t in value if value.count(t) > 1})
        if repeated:
            raise ValueError(f"traits named twice: {', '.join(repeated)}")
        return value

    @field_validator("chromosomes")
    @classmethod
    def _sorted(cls, value: Literal["odd", "even"] | tuple[int, ...] | None) -> Literal["odd", "even"] | tuple[int, ...] | None:
        if isinstance(value, tuple):
            if not value:
                raise ValueError("an empty list selects no chromosome; leave it out to use all")
            return tuple(sorted(set(value)))
        return value


@dataclass(frozen=True)
class TraitSource:
    """What the ``traits`` table says of one trait."""

    name: str
    file_id: str
    sample_prevalence: float
    population_prevalence: float
    reference_rules: bool
    """Munged under ``compat="genomicsem"``: munge has applied the reference's INFO and MAF rules, so no reader's filter."""


def trait_sources(ws: Workspace, config: LdscConfig) -> list[TraitSource]:
    """Look the traits up, in the order of the config."""
    rows = {row["trait"]: row for row in ws.read("traits").where(F.col("trait").isin(list(config.traits))).collect()}
    absent = [t for t in config.traits if t not in rows]
    if absent:
        known = sorted(row["trait"] for row in ws.read("traits").select("trait").collect())
        raise DataError(
            f"no munged summary statistics of {', '.join(absent)}; there are {', '.join(known) or 'none'}", where="table traits",
            remedy="run munge for these traits first",
        )
    return [
        TraitSource(
            t, rows[t]["file_id"], _prevalence(config.sample_prevalence, t, rows[t]["sample_prevalence"]),
            _prevalence(config.population_prevalence, t, rows[t]["population_prevalence"]),
            json.loads(rows[t]["settings"] or "{}").get("compat") == "genomicsem",
        )
        for t in config.traits
    ]


def _prevalence(given: Mapping[str, float | None], trait: str, stored: float | None) -> float:
    value = given.get(trait) if trait in given else stored
    return np.nan if value is None else float(value)


@dataclass(frozen=True)
class PanelSource:
    """What an LD-score panel is, by content: the same rows give the same version, whatever files and order they stand in."""

    version: str
    m: Mapping[int, float]
    """Reference SNPs by chromosome."""

    def total_m(self, chromosomes: Literal["odd", "even"] | tuple[int, ...] | None) -> float:
        """SNPs that the LD scores of the chosen chromosomes stand for; 0 when the panel has none of them."""
        return float(sum(self.m[c] for c in sorted(self.m) if _is_chosen(c, chromosomes)))


def _is_chosen(chromosome: int, chromosomes: Literal["odd", "even"] | tuple[int, ...] | None) -> bool:
    if chromosomes is None:
        return True
    if isinstance(chromosomes, tuple):
        return chromosome in chromosomes
    return chromosome % 2 == (1 if chromosomes == "odd" else 0)


def panel_source(ws: Workspace, config: LdscConfig) -> PanelSource:
    """Look the panel up; a :class:`DataError` says when it, or its chosen chromosomes, are not there."""
    rows = ws.read("ld_scores").where(F.col("panel") == config.panel)
    content = F.bit_xor(F.xxhash64("snp", "chr", "ord", "l2", "wld", "m"))
    found = rows.groupBy("chr").agg(F.count("*").alias("n"), content.alias("hash"), F.max("m").alias("m")).collect()
    if not found:
        known = sorted(row["panel"] for row in ws.read("ld_scores").select("panel").distinct().collect())
        raise DataError(
            f"no LD scores of panel {config.panel!r}; there are {', '.join(known) or 'none'}", where="table ld_scores",
            remedy="load them first: gs.load_references(ws, ld_scores=..., panel=...)",
        )
    found = sorted(found, key=lambda row: row["chr"])
    version = content_hash([[row["chr"], row["n"], row["hash"]] for row in found])
    source = PanelSource(version, {row["chr"]: row["m"] for row in found})
    if not source.total_m(config.chromosomes):
        raise DataError(f"panel {config.panel!r} has no LD scores on chromosomes {config.chromosomes}", where="table ld_scores",
                        remedy=f"it has chromosomes {', '.join(map(str, source.m))}")
    return source


def panel_rows(ws: Workspace, config: LdscConfig) -> DataFrame:
    """LD scores of the panel on the chosen chromosomes; of HapMap 3 SNPs alone where such a list was loaded."""
    rows = ws.read("ld_scores").where(F.col("panel") == config.panel)
    loaded = ws.runs.of_step(VARIANTS_STEP)
    if loaded and loaded[-1].summary.get("hm3", loaded[-1].rows) < loaded[-1].rows:
        rows = rows.join(ws.read("reference_variants").where("hm3").select("snp"), "snp", "left_semi")
    if config.chromosomes is None:
        return rows
    if isinstance(config.chromosomes, tuple):
        return rows.where(F.col("chr").isin(list(config.chromosomes)))
    return rows.where(F.col("chr") % 2 == (1 if config.chromosomes == "odd" else 0))
