"""The GWAS panel: one row for each SNP that every trait of a set has, effects side by side in the order of the trait list.

Each summary-statistics row moves once: rows are brought together by chromosome and stretch of 50 Mb, and the wide row is
made by aggregation there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field
from pyspark.sql import functions as F

from gsem_spark.errors import DataError
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from gsem_spark.catalog.workspace import Workspace

STRETCH_BP: Final = 50_000_000
"""Rows are brought together by chromosome and stretches of this length: some 70 groups of like size on a human genome."""


class PanelConfig(StepConfig):
    """Which traits, in which order, and which rows of them."""

    traits: tuple[str, ...] = Field(min_length=1)
    info_min: float = Field(PER_SNP_INFO_MIN, ge=0, description="lowest imputation quality, where the file has one")
    maf_min: float = Field(PER_SNP_MAF_MIN, ge=0, le=0.5, description="lowest minor allele frequency in the reference")


class BuildPanel(Step[PanelConfig]):
    """Join the traits' per-SNP effects into ``gwas_panel``."""

    name: ClassVar[str] = "panel"
    reads: ClassVar[tuple[str, ...]] = ("traits", "sumstats")
    writes: ClassVar[tuple[str, ...]] = ("gwas_panel",)

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Version of each trait."""
        return {f"sumstats/{t}": row["file_id"] for t, row in trait_rows(ws, self.config.traits).items()}

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Join and commit."""
        traits = trait_rows(ws, self.config.traits)
        with progress.stage(f"panel of {len(traits)} traits"):
            ws.replace(
                "gwas_panel", self._wide(ws, traits, plan.run_id), {"panel_id": plan.run_id}, metadata={"run_id": plan.run_id}
            )
            counts = panel_counts(ws, plan.run_id)
        rows = sum(counts.values())
        kept = {t: row["rows_kept"] for t, row in traits.items()}
        warnings = () if rows else (f"no SNP has effects in all of {', '.join(traits)}",)
        return Outcome(
            rows, {str(c): str(n) for c, n in counts.items()}, {"panel_id": plan.run_id, "rows_of_trait": kept}, warnings
        )

    def _wide(self, ws: Workspace, traits: dict[str, Any], panel_id: str) -> DataFrame:
        names = list(traits)
        exempt = [t for t, row in traits.items() if json.loads(row["settings"]).get("compat") == "genomicsem"]
        usable = F.col("info").isNull() | (F.col("info") >= self.config.info_min)
        if exempt:  # those rules were applied, in the reference's own order, when the file was munged
            usable = usable | F.col("trait").isin(exempt)
        long = ws.read("sumstats").where(
            F.col("trait").isin(names)
            & F.col("beta").isNotNull()
            & F.col("se").isNotNull()
            & usable
            & F.col("chr").isNotNull()
            & (F.col("maf") >= self.config.maf_min)
        )
        stretch = F.floor(F.coalesce("bp", F.lit(0)) / STRETCH_BP)
        together = long.withColumn("stretch", stretch).repartition("chr", "stretch")

        def of(trait: str, column: str) -> Column:
            return F.max(F.when(F.col("trait") == trait, F.col(column)))

        same = {c: F.max(c).alias(c) for c in ("bp", "a1", "a2", "maf")}
        wide = together.groupBy("chr", "stretch", "snp").agg(
            F.count("*").alias("present"),
            *same.values(),
            *(F.array(*(of(t, c) for t in names)).alias(c) for c in ("beta", "se")),
            F.array(*(F.coalesce(of(t, "n"), F.lit(float("nan"))) for t in names)).alias("n"),
        )
        whole = wide.where(F.col("present") == len(names)).withColumn("panel_id", F.lit(panel_id))
        return whole.drop("present", "stretch").sortWithinPartitions("chr", "bp", "snp")


def panel_counts(ws: Workspace, panel_id: str) -> dict[int, int]:
    """SNPs of a panel per chromosome, answered from file metadata where the format allows."""
    rows = ws.read("gwas_panel").where(F.col("panel_id") == panel_id).groupBy("chr").agg(F.count("*").alias("n")).collect()
    return {int(r["chr"]): int(r["n"]) for r in sorted(rows, key=lambda r: r["chr"])}


def trait_rows(ws: Workspace, names: Sequence[str]) -> dict[str, Any]:
    """The traits' registry rows in the order asked for; a :class:`DataError` names those that are not there."""
    rows = {r["trait"]: r for r in ws.read("traits").collect()}
    if missing := [n for n in names if n not in rows]:
        known = ", ".join(sorted(rows)) or "none"
        raise DataError(
            f"no summary statistics of {', '.join(missing)}; there are {known}", where="table traits", remedy="munge them first"
        )
    return {n: rows[n] for n in names}
