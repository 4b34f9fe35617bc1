"""Common-factor GWAS on Spark: the null fit is broadcast, SNPs run through one compiled kernel, restart is by chromosome.

Chromosomes are written in waves of about a million SNPs, each wave one atomic commit. A chromosome that is in the table is
whole; the same command after a crash goes on with those that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import Field
from pyspark.sql import functions as F

from gsem_spark.catalog.part_files import Part
from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, RESULT_COLUMNS, CommonFactorGwas
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.gwas_summary import summarise
from gsem_spark.steps.ldsc import covstruct_row
from gsem_spark.steps.panel import BuildPanel, PanelConfig, panel_counts
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Report, Step, StepConfig
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN, SNP_SE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.store import Scope
    from gsem_spark.catalog.workspace import Workspace

WAVE_SNPS: Final = 1_500_000
"""SNPs of one commit: a lost driver loses at most this many, and a commit's cost of about a second stays small beside them."""
_CARRIED: Final = ("snp", "chr", "bp", "a1", "a2", "maf")


class GwasConfig(StepConfig):
    """Settings of a common-factor GWAS."""

    traits: tuple[str, ...] = Field(min_length=1, description="trait order of the covariance structure and the panel")
    gc: Literal["standard", "conserv", "none"] = Field("standard", description="correction of SEs by the LDSC intercepts")
    estimation: Literal["DWLS", "ML"] = "DWLS"
    std_lv: bool = Field(False, description="unit factor variance instead of a first loading of 1")
    snp_se: float = Field(SNP_SE, gt=0, description="standard error given to the SNP's variance")
    info_min: float = Field(PER_SNP_INFO_MIN, ge=0)
    maf_min: float = Field(PER_SNP_MAF_MIN, ge=0, le=0.5)


class GwasStep(Step[GwasConfig]):
    """Test every SNP of the panel on the common factor, and for heterogeneity (Q_SNP)."""

    name: ClassVar[str] = "common_factor_gwas"
    reads: ClassVar[tuple[str, ...]] = ("traits", "sumstats", "gwas_panel", "covstructs")
    writes: ClassVar[tuple[str, ...]] = ("gwas_panel", "covstructs", "gwas_results", "loci")

    def __init__(self, config: GwasConfig, cov: CovStruct) -> None:
        super().__init__(config)
        self.cov = cov

    @property
    def panel_step(self) -> BuildPanel:
        """The step that makes the panel this one reads."""
        c = self.config
        return BuildPanel(PanelConfig(traits=c.traits, info_min=c.info_min, maf_min=c.maf_min))

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """The covariance structure's content and the panel's."""
        return {"covstruct": self.cov.fingerprint(), "panel": self.panel_step.plan(ws).run_id}

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Make the panel if needed, run the missing chromosomes, then find the loci."""
        c = self.config
        kernel = CommonFactorGwas.prepare(self.cov, c.gc, c.snp_se, c.estimation, c.std_lv)
        with ThreadPoolExecutor(max_workers=1) as pool:  # kernels compile (once a machine) while Spark joins
            compiled = pool.submit(kernel.warm_up)
            panel = self.panel_step.run(ws, progress)
            compiled.result()
        self._keep_covstruct(ws)
        counts = panel_counts(ws, panel.run_id)
        done = {int(str(chromosome)) for _, chromosome in ws.count("gwas_results", {"run_id": plan.run_id})}
        total = sum(counts.values())
        if not total:
            return Outcome(0, warnings=panel.warnings)
        self.begin(ws, plan)
        with progress.stage("common-factor GWAS", total=total, unit="SNPs") as stage:
            stage.advance(sum(n for chromosome, n in counts.items() if chromosome in done))
            for wave in waves({c: n for c, n in counts.items() if c not in done}):
                self._run_wave(ws, kernel, panel.run_id, plan.run_id, wave)
                stage.advance(sum(counts[chromosome] for chromosome in wave), note=f"chr {wave[0]}–{wave[-1]}")
        with progress.stage("loci and summary"):
            summary, warnings = summarise(ws, plan.run_id, kernel.factor_variance)
        state = {str(chromosome): str(n) for chromosome, n in counts.items()}
        figures = {**summary, "panel_id": panel.run_id, "covstruct": self.cov.fingerprint(), "resumed": sorted(done)}
        return Outcome(total, state, figures, (*panel.warnings, *warnings))

    def _run_wave(self, ws: Workspace, kernel: CommonFactorGwas, panel_id: str, run_id: str, chromosomes: list[int]) -> None:
        rows = ws.source("gwas_panel", [*_CARRIED, "beta", "se"], {"panel_id": panel_id, "chr": chromosomes})
        shared, read = ws.spark.sparkContext.broadcast(kernel), rows.read

        def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
            return result_parts(shared.value, read(batches), run_id)

        scopes: list[Scope] = [{"run_id": run_id, "chr": chromosome} for chromosome in chromosomes]
        ws.replace_parts("gwas_results", rows.frame, parts, scopes, metadata={"run_id": run_id, "chr": chromosomes})

    def _keep_covstruct(self, ws: Workspace) -> None:
        """A structure that did not come from this workspace's LDSC is kept too, so that the run can be audited."""
        identity = covstruct_id(self.cov)
        if not ws.count("covstructs", {"covstruct_id": identity}):
            ws.put("covstructs", [covstruct_row(self.cov, identity)], {"covstruct_id": identity})


def covstruct_id(cov: CovStruct) -> str:
    """Identity by content of a covariance structure that a GWAS used."""
    return f"covstruct-{cov.fingerprint()}"


def result_parts(model: CommonFactorGwas, batches: Iterable[pa.RecordBatch], run_id: str) -> Iterator[Part]:
    """Map panel rows through the kernel, Arrow batch by Arrow batch; one result row a SNP, parts by chromosome."""
    for batch in batches:
        fitted = fit_batch(model, batch)
        chromosome = batch.column("chr").to_numpy()
        for value in np.unique(chromosome).tolist():
            of_it = fitted if (chromosome == value).all() else fitted.filter(pa.array(chromosome == value))
            yield Part({"run_id": run_id, "chr": value}, of_it)


def fit_batch(model: CommonFactorGwas, batch: pa.RecordBatch) -> pa.Table:
    """One Arrow batch of panel rows to result rows, but for their partition; NaN becomes null, as tables keep it."""
    k = len(model.traits)
    arrays = {name: batch.column(name).flatten().to_numpy(zero_copy_only=False).reshape(-1, k) for name in ("beta", "se")}
    maf = batch.column("maf").to_numpy(zero_copy_only=False)
    fitted = model.fit(arrays["beta"], arrays["se"], maf)
    columns = {name: batch.column(name) for name in _CARRIED if name != "chr"}
    columns |= {name: pa.repeat(value, batch.num_rows) for name, value in zip(("lhs", "op", "rhs"), LHS_OP_RHS, strict=True)}
    words = ("status", "message")
    columns |= {name: pa.array(fitted[name], pa.string()) for name in words}
    columns |= {name: pa.array(fitted[name], from_pandas=True) for name in RESULT_COLUMNS if name not in words}
    return pa.table(columns)


def waves(counts: Mapping[int, int]) -> list[list[int]]:
    """Chromosomes in order, packed into waves of at least WAVE_SNPS SNPs (the last may be smaller)."""
    packed: list[list[int]] = []
    current: list[int] = []
    size = 0
    for chromosome in sorted(counts):
        current.append(chromosome)
        size += counts[chromosome]
        if size >= WAVE_SNPS:
            packed.append(current)
            current, size = [], 0
    return [*packed, current] if current else packed


@dataclass(frozen=True)
class Run:
    """A finished GWAS run: its results stay in the tables, this knows where."""

    workspace: Workspace
    report: Report

    @property
    def run_id(self) -> str:
        """Key of the run in every table."""
        return self.report.run_id

    @property
    def summary(self) -> Mapping[str, Any]:
        """λGC, mean χ², effective N, counts per status, numbers of hits and loci."""
        return self.report.summary

    def results(self) -> DataFrame:
        """Per-SNP results as a Spark frame."""
        return self.workspace.read("gwas_results").where(F.col("run_id") == self.run_id)

    def loci(self) -> pd.DataFrame:
        """Lead SNPs with their flags, in genome order."""
        rows: pd.DataFrame = self.workspace.rows("loci", {"run_id": self.run_id}).to_pandas()
        return rows.sort_values(["signal", "locus"], ignore_index=True)

    def status(self) -> pd.DataFrame:
        """How many SNPs ended in each status."""
        return pd.DataFrame(sorted(self.summary.get("status", {}).items()), columns=["status", "snps"])


def common_factor_gwas(
    ws: Workspace,
    cov: CovStruct,
    gc: Literal["standard", "conserv", "none"] = "standard",
    *,
    estimation: Literal["DWLS", "ML"] = "DWLS",
    std_lv: bool = False,
    snp_se: float = SNP_SE,
    info_min: float = PER_SNP_INFO_MIN,
    maf_min: float = PER_SNP_MAF_MIN,
    progress: Progress | None = None,
) -> Run:
    """Run a genome-wide common-factor GWAS with Q_SNP on the traits of a covariance structure.

    Parameters
    ----------
    ws
        Workspace that holds the traits' summary statistics.
    cov
        S, V, I of the traits; traits are matched by name.
    gc
        Correction of the standard errors by the LDSC intercepts: by their root, fully, or not.
    estimation
        ``DWLS`` or ``ML``.
    std_lv
        Scale the factor by a unit variance instead of the first trait's loading.
    snp_se
        Standard error given to the SNP's variance.
    info_min, maf_min
        Rows of the summary statistics below these are left out.

    Returns
    -------
    Run
        Results in ``gwas_results`` and ``loci``; running it again with the same inputs does nothing.

    Raises
    ------
    DataError
        A trait has no summary statistics in the workspace.
    ModelError
        Fewer than three traits, or the model without a SNP cannot be fitted.
    """
    config = GwasConfig(
        traits=cov.traits, gc=gc, estimation=estimation, std_lv=std_lv, snp_se=snp_se, info_min=info_min, maf_min=maf_min
    )
    return Run(ws, GwasStep(config, cov).run(ws, progress))
