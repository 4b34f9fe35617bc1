"""Per-SNP steps on Spark: prepared models are broadcast, the panel passes through all of them once, restart is by slice.

Slices are written in waves of about a million SNPs; of each run in a wave the rows go in by one atomic commit. A slice that is
in the table is whole. So any session goes on where another one stopped, and several may work on the slices of one run at a time.
"""

from __future__ import annotations

import datetime as dt
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

import pyarrow as pa
from pydantic import Field

from gsem_spark.catalog.part_files import Part
from gsem_spark.errors import ConvergenceError, StorageError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.gwas.panel import BuildPanel, PanelConfig, by_chromosome, panel_counts
from gsem_spark.steps.gwas.rows import CARRIED, RowMaker, Scan, Tally, scanned, tallies_of
from gsem_spark.steps.gwas.slices import chromosome_of, share, waves
from gsem_spark.steps.gwas.summary import FAILED_STATUSES, Measured, summarise
from gsem_spark.steps.ldsc.step import covstruct_row
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Report, Step, StepConfig, now
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.store import Scope
    from gsem_spark.catalog.workspace import Workspace

WAVE_SNPS: Final = 1_500_000
"""SNPs of one commit: a lost driver loses at most this many, and a commit's cost of about a second stays small beside them."""
WAVE_CORES: Final = 3
"""Cores that such a wave keeps busy; on larger clusters waves grow with the cores."""
LATER: Final[Mapping[str, Any]] = {"toler": None, "smooth_check": True}
"""Settings younger than many runs, with the value that means what those did: at that value a run is the same run."""
OTHERS_ATTEMPTS: Final = 6
OTHERS_PAUSE_S: Final = 1.0
"""How often what several sessions may make at the same moment is tried again, and the first pause."""
SLOW_SLICES_PER_CORE: Final = 2
"""Slices of one commit where a SNP takes a millisecond (ML, constraints): hours of work must not wait for one commit."""


class ScanConfig(StepConfig):
    """Settings of every per-SNP step."""

    gc: Literal["standard", "conserv", "none"] = Field("standard", description="correction of SEs by the LDSC intercepts")
    info_min: float = Field(PER_SNP_INFO_MIN, ge=0)
    maf_min: float = Field(PER_SNP_MAF_MIN, ge=0, le=0.5)
    toler: float | None = Field(
        None, ge=0, lt=1, description="tolerance of matrix inversion: share of its diagonal element that a pivot has to exceed"
    )
    max_failed: float | None = Field(
        None, ge=0, le=1, description="share of SNPs without a fit above which the command ends with an error (results are kept)"
    )


C = TypeVar("C", bound=ScanConfig)
T = TypeVar("T")


class ScanStep(Step[C]):
    """One prepared model over every SNP of a panel."""

    reads: ClassVar[tuple[str, ...]] = ("traits", "sumstats", "gwas_panel", "covstructs")
    table: ClassVar[str]
    title: ClassVar[str]
    flat: ClassVar[bool] = False
    """Whether the summary is of one path, whose figures stand in it by their own names."""

    def __init__(self, config: C, cov: CovStruct, part: tuple[int, int] | None = None) -> None:
        super().__init__(config)
        self.cov = cov
        self.part = part

    @abstractmethod
    def prepare(self) -> RowMaker:
        """Fit what is fitted without SNPs; called once, on the driver."""

    @abstractmethod
    def measured(self, maker: RowMaker) -> tuple[Measured, ...]:
        """Which rows have figures and loci, and how."""

    def facts(self, maker: RowMaker) -> dict[str, Any]:
        """What else the ledger keeps of the prepared model."""
        del maker
        return {}

    def slow(self, maker: RowMaker) -> bool:
        """Whether a SNP takes a millisecond rather than a microsecond."""
        del maker
        return False

    @property
    def panel_step(self) -> BuildPanel:
        """The step that makes the panel this one reads: of the structure's traits, in its order."""
        c = self.config
        return BuildPanel(PanelConfig(traits=self.cov.traits, info_min=c.info_min, maf_min=c.maf_min))

    def result_config(self) -> Mapping[str, Any]:
        """The settings that decide the result; those of :data:`LATER` only where they say something."""
        given = self.config.model_dump(mode="json", exclude={"max_failed"})
        return {name: value for name, value in given.items() if name not in LATER or value != LATER[name]}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """The covariance structure's content and the panel's."""
        return {"covstruct": self.cov.fingerprint(), "panel": self.panel_step.plan(ws).run_id}

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Make the panel if needed, run the missing slices, then find the loci."""
        return _Pass([(self, plan)], self.part).run(ws, progress)[0]

    def run(self, ws: Workspace, progress: Progress | None = None) -> Report:
        """As every step; parts of a run may be other sessions' work, so the ledger is read again."""
        if self.part is not None:
            ws.runs.refresh()
        return super().run(ws, progress)

    def record_outcome(self, ws: Workspace, plan: Plan, started: dt.datetime, outcome: Outcome) -> Report:
        """Enter the end after every entry that other sessions made."""
        ws.runs.refresh()
        return super().record_outcome(ws, plan, started, outcome)

    def note_wave(self, ws: Workspace, plan: Plan, done: Mapping[int, Tally], seconds: float) -> None:
        """Enter a wave that was committed, for whoever asks how the run stands."""
        state = {str(n): str(sum(tally.status.values())) for n, tally in sorted(done.items())}
        slices = {str(n): tally.record() for n, tally in sorted(done.items())}
        ws.runs.refresh()
        outcome = Outcome(0, state, {"wave": {"seconds": round(seconds, 3), "slices": slices}}, complete=False)
        ws.runs.record(self._entry(plan, now(), "running", outcome))


class _Pass:
    """The panel read once for one or several runs on the same traits."""

    def __init__(self, given: Sequence[tuple[ScanStep[Any], Plan]], part: tuple[int, int] | None) -> None:
        self.steps, self.plans = [step for step, _ in given], [plan for _, plan in given]
        self.part = part

    def run(self, ws: Workspace, progress: Progress) -> list[Outcome]:
        """Make the panel, run the slices that are missing, and finish the runs that lack none."""
        makers = [step.prepare() for step in self.steps]
        with ThreadPoolExecutor(max_workers=1) as pool:  # kernels compile (once a machine) while Spark joins
            compiled = pool.submit(_warm_up, makers)
            panel = _after_others(ws, lambda: self.steps[0].panel_step.run(ws, progress))
            compiled.result()
        for step in self.steps:
            _after_others(ws, partial(_keep_covstruct, ws, step.cov))
        counts = panel_counts(ws, panel.run_id)
        if not counts:
            return [Outcome(0, warnings=panel.warnings) for _ in self.steps]
        done = [self._present(ws, i) for i in range(len(self.steps))]
        wanted = share(counts, self.part)
        scans = [
            Scan(plan.run_id, maker, frozenset(n for n in wanted if n not in have))
            for plan, maker, have in zip(self.plans, makers, done, strict=True)
        ]
        for step, plan in zip(self.steps, self.plans, strict=True):
            step.begin(ws, plan)
        self._waves(ws, progress, scans, panel.run_id, {n: counts[n] for n in wanted})
        return [self._outcome(ws, progress, i, makers[i], panel, counts, wanted, done[i]) for i in range(len(self.steps))]

    def _waves(self, ws: Workspace, progress: Progress, scans: list[Scan], panel_id: str, counts: Mapping[int, int]) -> None:
        missing = {n: counts[n] for n in counts if any(n in scan.missing for scan in scans)}
        title = self.steps[0].title if len(self.steps) == 1 else f"{len(self.steps)} models"
        part = "" if self.part is None else f", slice {self.part[0]}/{self.part[1]}"
        cores = int(ws.spark.sparkContext.defaultParallelism)
        slow = any(step.slow(scan.maker) for step, scan in zip(self.steps, scans, strict=True))
        size, most = WAVE_SNPS * max(1, cores // WAVE_CORES), SLOW_SLICES_PER_CORE * cores if slow else None
        with progress.stage(f"{title}{part}", total=sum(counts.values()), unit="SNPs") as stage:
            stage.skip(sum(counts.values()) - sum(missing.values()))
            for wave in waves(missing, size, most):
                started = time.monotonic()
                tallies = run_wave(ws, scans, panel_id, wave)
                for step, plan in zip(self.steps, self.plans, strict=True):
                    if mine := tallies.get(plan.run_id):
                        step.note_wave(ws, plan, mine, time.monotonic() - started)
                first, last = chromosome_of(wave[0]), chromosome_of(wave[-1])
                stage.advance(sum(counts[n] for n in wave), note=f"chr {first}–{last}")

    def _outcome(
        self, ws: Workspace, progress: Progress, place: int, maker: RowMaker, panel: Report, counts: Mapping[int, int],
        wanted: Sequence[int], before: frozenset[int],
    ) -> Outcome:
        step, run_id = self.steps[place], self.plans[place].run_id
        facts = {
            **step.facts(maker), "panel_id": panel.run_id, "covstruct": step.cov.fingerprint(), "resumed": sorted(before),
        }
        if self.part is not None and not self._present(ws, place) >= set(counts):
            rows, state = sum(counts[n] for n in wanted), {str(n): str(counts[n]) for n in wanted}
            return Outcome(rows, state, facts, panel.warnings, complete=False)
        with progress.stage("loci and summary"):
            measured = step.measured(maker)
            summary, warnings = _after_others(
                ws, lambda: summarise(ws, maker.table, run_id, measured, maker.first_row, flat=step.flat)
            )
        state = {str(chromosome): str(n) for chromosome, n in by_chromosome(counts).items()}
        return Outcome(sum(counts.values()), state, {**summary, **facts}, (*panel.warnings, *warnings))

    def _present(self, ws: Workspace, place: int) -> frozenset[int]:
        """Slices whose rows are in the table."""
        found = ws.count(self.steps[place].table, {"run_id": self.plans[place].run_id})
        return frozenset(int(str(number)) for (_, number, _), n in found.items() if n)


def run_together(
    ws: Workspace, steps: Sequence[ScanStep[Any]], progress: Progress | None = None, part: tuple[int, int] | None = None
) -> list[Report]:
    """Run several per-SNP steps; those on the same panel share one pass over it. Each has its own run, as if it ran alone.

    Returns
    -------
    list of Report
        In the order given; a run that was done before is skipped.
    """
    if part is not None:
        ws.runs.refresh()
    reports: dict[int, Report] = {}
    passes: dict[str, list[tuple[int, Plan]]] = {}
    for place, step in enumerate(steps):
        plan = step.plan(ws)
        before = ws.runs.last(plan.run_id)
        if plan.done and before is not None:
            reports[place] = Report(step.name, plan.run_id, "skipped", before.rows, 0.0, before.summary, before.warnings)
        elif plan.run_id not in {p.run_id for given in passes.values() for _, p in given}:
            passes.setdefault(plan.inputs["panel"], []).append((place, plan))
    for given in passes.values():
        started = now()
        try:
            outcomes = _Pass([(steps[place], plan) for place, plan in given], part).run(ws, progress or Progress())
        except Exception as error:
            for place, plan in given:
                steps[place].record_failure(ws, plan, started, error)
            raise
        for (place, plan), outcome in zip(given, outcomes, strict=True):
            reports[place] = steps[place].record_outcome(ws, plan, started, outcome)
    for place, step in enumerate(steps):  # the same model twice is one run
        if place not in reports:
            run_id = step.plan(ws).run_id
            reports[place] = next(r for r in reports.values() if r.run_id == run_id)
    return [reports[place] for place in range(len(steps))]


def run_wave(ws: Workspace, scans: Sequence[Scan], panel_id: str, slices: Sequence[int]) -> dict[str, dict[int, Tally]]:
    """Pass slices of the panel through the scans that lack them, commit each scan's rows, and say what became of the SNPs."""
    rows = ws.source("gwas_panel", [*CARRIED, "beta", "se"], {"panel_id": panel_id, "slice": list(slices)})
    active = [scan for scan in scans if scan.missing & set(slices)]
    shared, read = ws.spark.sparkContext.broadcast(active), rows.read

    def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Part] | bytes]:
        return scanned(shared.value, read(batches))

    with ws.stage(list(dict.fromkeys(scan.maker.table for scan in active)), rows.frame, parts) as staged:
        for scan in active:
            mine = [number for number in slices if number in scan.missing]
            scopes: list[Scope] = [{"run_id": scan.run_id, "slice": number} for number in mine]
            staged.commit(scan.maker.table, scopes, metadata={"run_id": scan.run_id, "slice": mine})
        return tallies_of(staged.notes)


def failed_share(status: Mapping[str, int]) -> float:
    """Share of SNPs without a fit."""
    total = sum(status.values())
    return sum(status.get(name, 0) for name in FAILED_STATUSES) / total if total else 0.0


def check_failed(report: Report, most: float | None) -> None:
    """Say that too many SNPs have no fit.

    Raises
    ------
    ConvergenceError
        Their share is above ``most``; the results are kept all the same.
    """
    status = report.summary.get("status", {})
    if most is not None and failed_share(status) > most:
        failed = {name: n for name, n in status.items() if name in FAILED_STATUSES}
        said = ", ".join(f"{n:,} {name}" for name, n in failed.items())
        raise ConvergenceError(
            f"{failed_share(status):.2%} of {sum(status.values()):,} SNPs have no fit ({said}); at most {most:.2%} were allowed",
            where=f"run {report.run_id}",
            remedy="the results are kept: their column message says why; look at the model, or allow more (max_failed)",
        )


def covstruct_id(cov: CovStruct) -> str:
    """Identity by content of a covariance structure that a GWAS used."""
    return f"covstruct-{cov.fingerprint()}"


def _keep_covstruct(ws: Workspace, cov: CovStruct) -> None:
    """A structure that did not come from this workspace's LDSC is kept too, so that the run can be audited."""
    identity = covstruct_id(cov)
    if not ws.count("covstructs", {"covstruct_id": identity}):
        ws.put("covstructs", [covstruct_row(cov, identity)], {"covstruct_id": identity})


def _after_others(ws: Workspace, made: Callable[[], T]) -> T:
    """What a function makes; tried again where another session committed the same thing at the same moment."""
    for attempt in range(OTHERS_ATTEMPTS):
        try:
            return made()
        except StorageError:
            if attempt + 1 == OTHERS_ATTEMPTS:
                raise
            time.sleep(OTHERS_PAUSE_S * (attempt + 1))
            ws.runs.refresh()
    raise AssertionError("the loop above returns or raises")


def _warm_up(makers: Sequence[RowMaker]) -> None:
    """Compile the kernels, or read them from their cache, so that the first batch does not pay for it."""
    for maker in makers:
        maker.warm_up()
