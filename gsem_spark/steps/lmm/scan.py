"""What scans of one and of several traits share: chromosomes in waves, models first, then the tests of their variants.

A chromosome that is in ``lmm_results`` is whole: the same command after a crash goes on with those that are not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np
import pyarrow as pa

from gsem_spark.catalog.part_files import Part
from gsem_spark.errors import DataError
from gsem_spark.steps.genotypes.source import Cohort, block_source, chromosomes_of, cohort_of
from gsem_spark.steps.genotypes.step import samples_hash
from gsem_spark.steps.gwas import scan
from gsem_spark.steps.gwas.slices import waves
from gsem_spark.steps.lmm.config import ModelConfig, ScanConfig
from gsem_spark.steps.lmm.kinship import Background, background_of
from gsem_spark.steps.lmm.plan_files import plan_folder
from gsem_spark.steps.lmm.prepare import TASK_SAMPLES, ModelJob, Prepared, prepared
from gsem_spark.steps.lmm.rows import SCAN_COLUMNS, Tested, result_parts
from gsem_spark.steps.lmm.samples import SampleTable, read_samples
from gsem_spark.steps.lmm.summary import summarise
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import PartFunction, Source
    from gsem_spark.catalog.store import Scope
    from gsem_spark.catalog.workspace import Workspace

M = TypeVar("M", bound=ModelConfig)
C = TypeVar("C", bound=ScanConfig)
WAVE_PLANS: Final = 8
"""Chromosomes with a kinship of their own whose plans are kept at a time: each takes the square of the samples on disk."""


@dataclass(frozen=True)
class ScanInput:
    """Everything that a scan reads but genotypes: samples, phenotypes, kinship."""

    cohort: Cohort
    table: SampleTable
    background: Background


def scan_input(ws: Workspace, config: ModelConfig) -> ScanInput:
    """Read samples, phenotypes and the kinship's registry row."""
    cohort = cohort_of(ws, config.cohort)
    return ScanInput(cohort, read_samples(config, cohort.samples), background_of(ws, config, cohort))


class MixedModelStep(Step[M]):
    """A step on a cohort's phenotypes and kinship."""

    given: ScanInput
    """What is read; known as soon as the step has been planned."""

    def result_config(self) -> Mapping[str, Any]:
        """The settings, without the places of files: they count by content."""
        return self.config.model_dump(mode="json", exclude={"phenotypes", "covariates", "kinship", "cohort"})

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Versions of everything that decides a model: matched phenotypes, cohort, kinship."""
        self.given = given = scan_input(ws, self.config)
        return {"cohort": given.cohort.version, "kinship": given.background.version,
                "kinship_id": given.background.kinship_id or "none", "phenotypes": given.table.version}


class ScanStep(MixedModelStep[C]):
    """A scan of a cohort's variants."""

    reads: ClassVar[tuple[str, ...]] = ("cohorts", "genotype_blocks", "kinships")
    writes: ClassVar[tuple[str, ...]] = ("lmm_models", "lmm_results")
    counts: dict[int, int]
    """Variants by chromosome; known as soon as the step is executed."""

    @abstractmethod
    def jobs(self, given: ScanInput, chromosomes: Sequence[int | None]) -> list[ModelJob]:
        """Null models to fit for each chromosome (None: for all of them), those that share a decomposition together."""

    @abstractmethod
    def effects(self, given: ScanInput) -> Mapping[str, list[str]]:
        """Names of the effects of each joint design, in the order of ``betas``."""

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Fit, test and write the missing chromosomes, wave by wave."""
        given = self.given
        self.counts = counts = self._counts(ws, given.cohort.name)
        if not counts:
            return Outcome(0, warnings=(f"cohort {given.cohort.name} has no variant on the chromosomes asked for",))
        done = {int(str(c)) for _, c in ws.count("lmm_results", {"run_id": plan.run_id})}
        self.begin(ws, plan)
        total = sum(counts.values())
        with progress.stage(f"mixed-model tests of {given.cohort.name}", total=total, unit="variants") as stage:
            stage.advance(sum(n for c, n in counts.items() if c in done))
            for wave in self._waves(ws, {c: n for c, n in counts.items() if c not in done}, given):
                self._run_wave(ws, given, plan, wave)
                stage.advance(sum(counts[c] for c in wave), note=f"chr {wave[0]}–{wave[-1]}")
        with progress.stage("summary"):
            summary, warnings = summarise(ws, plan.run_id)
        if not summary["rows"]:
            warnings.append("no variant of the sets is among the genotypes")
        state = {str(c): str(n) for c, n in counts.items()}
        figures = {**summary, "cohort": given.cohort.name, "kinship_id": given.background.kinship_id,
                   "loco": given.background.loco, "variants": total, "effects": dict(self.effects(given)),
                   "resumed": sorted(done)}
        return Outcome(summary["rows"], state, figures, (*given.table.notices, *warnings))

    def _counts(self, ws: Workspace, cohort: str) -> dict[int, int]:
        """Variants by chromosome."""
        present = chromosomes_of(ws, cohort)
        if self.config.chromosomes is not None:
            if absent := sorted(set(self.config.chromosomes) - set(present)):
                raise DataError(f"cohort {cohort} has no variants on chromosome {absent[0]}; it has {present}",
                                where="chromosomes", remedy="name others")
            present = sorted(set(self.config.chromosomes))
        rows = ws.rows("genotype_blocks", {"cohort": cohort, "chr": present}, ["chr", "n_variants"]) if present else None
        counts: dict[int, int] = dict.fromkeys(present, 0)
        for row in rows.to_pylist() if rows is not None else []:
            counts[row["chr"]] += row["n_variants"]
        return {c: n for c, n in counts.items() if n}

    def _waves(self, ws: Workspace, counts: Mapping[int, int], given: ScanInput) -> Iterator[list[int]]:
        most = WAVE_PLANS
        if given.cohort.n_samples <= TASK_SAMPLES:  # plans are small, and each is a task
            most = max(most, int(ws.spark.sparkContext.defaultParallelism))
        for wave in waves(counts, scan.WAVE_SNPS):
            size = most if given.background.loco else max(len(wave), 1)
            yield from (wave[i : i + size] for i in range(0, len(wave), size))

    def _run_wave(self, ws: Workspace, given: ScanInput, plan: Plan, wave: Sequence[int]) -> None:
        loco = given.background.loco
        jobs = self.jobs(given, list(wave) if loco else [None])
        source = block_source(ws, given.cohort.name, wave, SCAN_COLUMNS)
        whole = np.arange(given.cohort.n_samples)
        with plan_folder(ws, plan.run_id) as folder:
            made = prepared(ws, folder, jobs, spread=loco or len(jobs) > 1)
            self._put_models(ws, given, plan, made)
            tested = [Tested(one.trait, one.chromosome, None if np.array_equal(one.places, whole) else one.places, one.plan)
                      for one in made]
            shared = ws.spark.sparkContext.broadcast(tested)
            frame, parts = self.tests(ws, source, shared, plan.run_id)
            results: list[Scope] = [{"run_id": plan.run_id, "chr": c} for c in wave]
            ws.replace_parts("lmm_results", frame, parts, results, metadata={"run_id": plan.run_id, "chr": list(wave)})
            shared.unpersist()

    def _put_models(self, ws: Workspace, given: ScanInput, plan: Plan, made: Sequence[Prepared]) -> None:
        chromosomes = sorted({one.chromosome or 0 for one in made})
        scopes: list[Scope] = [{"run_id": plan.run_id, "chr": c} for c in chromosomes]
        rows = [row for one in made for row in self._model_rows(plan, given, one)]
        ws.put("lmm_models", rows, scopes, metadata={"run_id": plan.run_id, "chr": chromosomes})

    def tests(self, ws: Workspace, source: Source, shared: Any, run_id: str) -> tuple[DataFrame, PartFunction]:
        """What is handed to the tasks, and what they make of it."""
        read = source.read

        def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
            return result_parts(shared.value, read(batches), run_id)

        return source.frame, parts

    def _model_rows(self, plan: Plan, given: ScanInput, made: Prepared) -> Iterator[dict[str, Any]]:
        samples = samples_hash(given.cohort.samples.iloc[made.places])
        for trait, row in made.rows:
            yield {"run_id": plan.run_id, "trait": trait, "chr": made.chromosome or 0, "samples": samples,
                   "kinship_id": given.background.kinship_id, "traits": trait.split(",") if row["Cg"] else [trait], **row}
