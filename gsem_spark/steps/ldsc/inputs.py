"""What an LDSC run is given: settings, traits and LD-score panel, each with the version that its results depend on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.two_step import TWO_STEP_CUT
from gsem_spark.steps import exchange
from gsem_spark.steps.references.text import VARIANTS_STEP
from gsem_spark.steps.step import StepConfig, content_hash
from gsem_spark.thresholds import LDSC_INFO_MIN, LDSC_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.workspace import Workspace


class LdscConfig(StepConfig):
    """Settings of LD score regression."""

    traits: tuple[str, ...] = Field(min_length=1, description="trait names; their order is that of every matrix")
    panel: str = Field("eur", description="LD-score panel")
    method: Literal["genomicsem", "ldsc"] = Field(
        "genomicsem", description="whose estimator: GenomicSEM's fixed weights, or ldsc's reweighted regressions, in two steps"
    )
    n_blocks: int = Field(200, ge=2, description="jackknife blocks; raised to (k+1)(k+2)/2+1 for more than 18 traits")
    chisq_max: float | None = Field(
        None, gt=0, description="leave out SNPs above it; default max(0.001 max N, 80) per trait, with method ldsc no limit"
    )
    two_step: float | None = Field(
        TWO_STEP_CUT, gt=0, description="method ldsc: chi-square cut of step 1 for heritabilities; null for one step"
    )
    two_step_pairs: float | None = Field(None, gt=0, description="method ldsc: the same for pairs of traits; ldsc has none")
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

    @model_validator(mode="after")
    def _cuts_have_their_method(self) -> LdscConfig:
        given = [name for name in ("two_step", "two_step_pairs") if getattr(self, name) != type(self).model_fields[name].default]
        if given and self.method != "ldsc":
            raise ValueError(f"{' and '.join(given)}: only method ldsc goes in two steps")
        return self

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
    rows = {row["trait"]: row for row in ws.records("traits")}
    absent = [t for t in config.traits if t not in rows]
    if absent:
        known = sorted(rows)
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


def panel_total_m(ws: Workspace, panel: str) -> float:
    """Reference SNPs that a panel's LD scores stand for, all chromosomes: :meth:`PanelSource.total_m` without its version."""
    rows = ws.rows("ld_scores", {"panel": panel}, ["chr", "m"])
    largest = rows.group_by("chr").aggregate([("m", "max")]).sort_by("chr")
    return float(sum(largest.column("m_max").to_pylist()))


def _is_chosen(chromosome: int, chromosomes: Literal["odd", "even"] | tuple[int, ...] | None) -> bool:
    if chromosomes is None:
        return True
    if isinstance(chromosomes, tuple):
        return chromosome in chromosomes
    return chromosome % 2 == (1 if chromosomes == "odd" else 0)


def panel_source(ws: Workspace, config: LdscConfig) -> PanelSource:
    """Look the panel up; a :class:`DataError` says when it, or its chosen chromosomes, are not there."""
    found = _content(ws.source("ld_scores", ["chr", *_CONTENT], {"panel": config.panel}))
    if not found:
        known = sorted({str(panel) for panel, _ in ws.count("ld_scores")})
        raise DataError(
            f"no LD scores of panel {config.panel!r}; there are {', '.join(known) or 'none'}", where="table ld_scores",
            remedy="load them first: gs.load_references(ws, ld_scores=..., panel=...)",
        )
    version = content_hash([[chromosome, n, content] for chromosome, (n, content, _) in found.items()])
    source = PanelSource(version, {chromosome: m for chromosome, (_, _, m) in found.items()})
    if not source.total_m(config.chromosomes):
        raise DataError(f"panel {config.panel!r} has no LD scores on chromosomes {config.chromosomes}", where="table ld_scores",
                        remedy=f"it has chromosomes {', '.join(map(str, source.m))}")
    return source


_CONTENT: Final = ("snp", "ord", "l2", "wld", "m")


def _content(rows: Source) -> dict[int, tuple[int, int, float]]:
    """Rows, hash of their content (the same in any order) and largest M of each chromosome, in order."""
    read = rows.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            chromosome = batch.column("chr").to_numpy()
            bits = exchange.name_hashes(batch.column("snp"))
            for name in _CONTENT[1:]:
                bits = exchange.mix(bits + batch.column(name).to_numpy().view(np.uint64))
            for value in np.unique(chromosome).tolist():
                of_it = chromosome == value
                content = int(bits[of_it].sum(dtype=np.uint64))
                m = float(batch.column("m").to_numpy()[of_it].max())
                yield pa.RecordBatch.from_pydict({"chr": [value], "n": [int(of_it.sum())], "content": [str(content)], "m": [m]})

    found: dict[int, tuple[int, int, float]] = {}
    for row in rows.frame.mapInArrow(run, "chr long, n long, content string, m double").collect():
        n, content, m = found.get(row["chr"], (0, 0, 0.0))
        found[row["chr"]] = (n + row["n"], (content + int(row["content"])) % 2**64, max(m, row["m"]))
    return dict(sorted(found.items()))


PANEL, LISTED = "panel", "listed"
"""Kinds of rows that :func:`panel_sources` gives: LD scores, and the names that LDSC is restricted to."""


def panel_sources(ws: Workspace, config: LdscConfig) -> dict[str, Source]:
    """LD scores of the panel on the chosen chromosomes, and the HapMap 3 SNPs where such a list was loaded."""
    where: dict[str, Any] = {"panel": config.panel}
    if config.chromosomes is not None:
        present = sorted(int(str(chromosome)) for _, chromosome in ws.count("ld_scores", where))
        where["chr"] = [c for c in present if _is_chosen(c, config.chromosomes)]
    sources = {PANEL: ws.source("ld_scores", ["snp", "ord", "l2", "wld"], where)}
    if hm3_listed(ws):
        sources[LISTED] = ws.source("reference_variants", ["snp", "hm3"])
    return sources


def hm3_listed(ws: Workspace) -> bool:
    """Whether the variant reference was loaded with a HapMap 3 list that leaves some of it out."""
    loaded = ws.runs.of_step(VARIANTS_STEP)
    return bool(loaded) and loaded[-1].summary.get("hm3", loaded[-1].rows) < loaded[-1].rows
