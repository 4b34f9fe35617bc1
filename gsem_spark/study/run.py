"""Run a study: its steps in order on one workspace, each doing nothing where its result is there already."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gsem_spark.demo.compare import Comparison, compare_run, read_truth
from gsem_spark.errors import DataError, GsemError
from gsem_spark.steps.found_runs import FinishedRun
from gsem_spark.steps.genotypes.kinship import KinshipStep
from gsem_spark.steps.genotypes.step import GenotypesStep
from gsem_spark.steps.gwas.common_factor import GwasConfig, GwasStep
from gsem_spark.steps.gwas.run import Run
from gsem_spark.steps.gwas.scan import check_failed, run_together
from gsem_spark.steps.gwas.user_gwas import UserGwasStep
from gsem_spark.steps.gwas.wald import WaldStep
from gsem_spark.steps.ldsc.step import LdscStep, ldsc_step, read_covstruct
from gsem_spark.steps.lmm.as_trait import enter_traits
from gsem_spark.steps.lmm.bootstrap import BootstrapRun, BootstrapStep
from gsem_spark.steps.lmm.config import BootstrapConfig, LmmConfig, MtlmmConfig
from gsem_spark.steps.lmm.multitrait import MtlmmStep
from gsem_spark.steps.lmm.run import LmmRun
from gsem_spark.steps.lmm.step import LmmStep
from gsem_spark.steps.models.common_factor import FitStep, read_fit
from gsem_spark.steps.models.user_model import UserModelStep
from gsem_spark.steps.mtag.fdr import FdrRun, FdrStep
from gsem_spark.steps.mtag.run import MtagRun
from gsem_spark.steps.mtag.step import MtagStep
from gsem_spark.steps.munge.step import MungeStep
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.reconcile.files import given_blocks, given_panel
from gsem_spark.steps.reconcile.review import ReviewRun, ReviewStep
from gsem_spark.steps.reconcile.step import ReconcileRun, ReconcileStep
from gsem_spark.steps.references.ld_panel import LoadLdScores
from gsem_spark.steps.references.variants import LoadVariants
from gsem_spark.steps.step import Report, Step
from gsem_spark.study.model import Study, load_study

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.methods.sem.fit import Fit


@dataclass
class StudyReport:
    """What running a study came to.

    Attributes
    ----------
    workspace
        The workspace, open.
    steps
        One report per step that ran, in order.
    cov, fit, run
        Covariance structure, common factor model and GWAS, where those steps were asked for.
    models
        Fits of the study's own models, by name.
    gwas, wald
        GWAS of the study's own models, by name, and Wald tests, where they were asked for.
    lmm, mtlmm, bootstraps
        Mixed-model scans of the cohort, and bootstraps by trait, likewise.
    mtag, fdr, reconcile, review
        MTAG, the bound of its false discoveries, its reconciliation with the GWAS, and the checklist, likewise.
    report_path
        Where the HTML report is.
    comparison
        Estimates beside the truth, for a study of simulated data that names it.
    """

    workspace: Workspace
    steps: list[Report] = field(default_factory=list)
    cov: CovStruct | None = None
    fit: Fit | None = None
    models: dict[str, Fit] = field(default_factory=dict)
    run: Run | None = None
    lmm: LmmRun | None = None
    mtlmm: LmmRun | None = None
    bootstraps: dict[str, BootstrapRun] = field(default_factory=dict)
    gwas: dict[str, Run] = field(default_factory=dict)
    wald: Run | None = None
    mtag: MtagRun | None = None
    fdr: FdrRun | None = None
    reconcile: ReconcileRun | None = None
    review: ReviewRun | None = None
    report_path: str | None = None
    comparison: Comparison | None = None

    @property
    def warnings(self) -> list[str]:
        """Warnings of all steps, each once."""
        return list(dict.fromkeys(text for step in self.steps for text in step.warnings))


@dataclass(frozen=True)
class PlannedStep:
    """A line of a dry run."""

    section: str
    step: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    state: str
    """``to do``, ``done``, or what is missing."""


def run_study(
    study: Study | str | Path, overrides: Iterable[str] = (), *, only: Sequence[str] = (), progress: Progress | None = None
) -> StudyReport:
    """Run the steps of a study, or some of them, in order.

    Parameters
    ----------
    study
        A study, or the path of a study file.
    overrides
        ``key.sub=value`` settings that win over the file's.
    only
        Names of steps; those that the study asks for when empty.
    progress
        Where to show progress; silent by default.

    Raises
    ------
    ConfigError
        The study file is wrong; nothing has been run.
    DataError
        An input cannot be used, or an earlier step that is not among ``only`` has not been run.

    Examples
    --------
    >>> import gsem_spark as gs
    >>> done = gs.run_study("study.yaml", ["gwas.gc=conserv"])  # doctest: +SKIP
    """
    if not isinstance(study, Study):
        study = load_study(study, overrides)
    chosen = study.chosen_steps(only)
    return _Runner(study, open_or_create(study), progress or Progress()).run(chosen)


def open_or_create(study: Study) -> Workspace:
    """Open the study's workspace, made first where it is not there; the session has Delta only where it is needed."""
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.session import start_session

    return Workspace.create(study.workspace, study.format, start_session(delta=study.format == "delta"))


def plan_study(study: Study, *, only: Sequence[str] = ()) -> list[PlannedStep]:
    """Say what running a study would do. Spark starts only where the workspace is there already and can tell what is done."""
    from gsem_spark.catalog.workspace import MARKER

    chosen = study.chosen_steps(only)
    if not (Path(study.workspace) / MARKER).is_file():
        return [PlannedStep(section, *_of_kind(kind), "to do") for section in chosen for kind in _KINDS[section]]
    return list(_Runner(study, open_or_create(study), Progress()).plans(chosen))


class _Runner:
    """Makes each section's steps from the study and from what earlier steps gave."""

    def __init__(self, study: Study, ws: Workspace, progress: Progress) -> None:
        self.study, self.ws, self.progress = study, ws, progress
        self.result = StudyReport(ws)

    def run(self, sections: Sequence[str]) -> StudyReport:
        """Run sections in order."""
        for section in sections:
            if section == "report":
                self._write_report()
                continue
            if section == "gwas":
                self._test_snps()
                continue
            for step in self._steps(section):
                done = step.run(self.ws, self.progress)
                self.result.steps.append(done)
                self._take(step, done)
        self._check_failed()
        return self.result

    def _test_snps(self) -> None:
        """The GWAS: models of the same traits share a pass over the panel."""
        steps: Any = self._steps("gwas")
        for step, done in zip(steps, run_together(self.ws, steps, self.progress), strict=True):
            self.result.steps.append(done)
            self._take(step, done)

    def _check_failed(self) -> None:
        """Too many SNPs without a fit are an error when all else is done and kept."""
        runs = [*([self.result.run] if self.result.run else []), *self.result.gwas.values()]
        for run in runs:
            check_failed(run.report, self.study.gwas.max_failed)
        if self.result.wald is not None:
            check_failed(self.result.wald.report, getattr(self.study.wald, "max_failed", None))

    def plans(self, sections: Sequence[str]) -> Iterator[PlannedStep]:
        """Plan sections in order, as far as what is there already lets them."""
        for section in sections:
            try:
                plans = [step.plan(self.ws) for step in self._steps(section)] if section != "report" else []
                yield from (PlannedStep(section, p.step, p.reads, p.writes, "done" if p.done else "to do") for p in plans)
            except GsemError:  # what it reads is not there yet
                plans = []
            if not plans:
                yield from (PlannedStep(section, *_of_kind(kind), "to do") for kind in _KINDS[section])

    def _steps(self, section: str) -> list[Step[Any]]:
        configs: Any = self.study.configs_of(section)
        if section == "references":
            return [LoadVariants(configs[0]), LoadLdScores(configs[1])]
        if section == "genotypes":
            return [GenotypesStep(configs[0])]
        if section == "kinship":
            return [KinshipStep(configs[0])]
        if section == "lmm":
            return [_LMM_STEPS[type(config)](config) for config in self._with_kinship(configs)]
        if section == "munge":
            return [MungeStep(configs[0])]
        if section == "ldsc":
            return [ldsc_step(configs[0])]
        if section == "common_factor":
            return [FitStep(configs[0], self._cov())]
        if section == "models":
            return [UserModelStep(config, self._cov()) for config in configs]
        if section == "mtag":
            return self._mtag_steps(configs)
        if section == "reconcile":
            runs = {"gwas_run": self._gwas_run().run_id, "mtag_run": self._mtag_step().plan(self.ws).run_id}
            panel, blocks = given_panel(self.study.reconcile.replication_file), given_blocks(self.study.reconcile.blocks)
            return [ReconcileStep(configs[0].model_copy(update=runs), panel, blocks)]
        if section == "review":
            update = {"gwas_run": self._gwas_run().run_id, "panel": self.study.panel}
            return [ReviewStep(configs[0].model_copy(update=update))]
        if section == "wald":
            return [WaldStep(configs[0], self._cov())]
        return [self._gwas_step(config) for config in configs]

    def _gwas_step(self, config: Any) -> Step[Any]:
        cov, chosen = self._cov(), self.study.factor_traits
        if isinstance(config, GwasConfig):
            return GwasStep(config, cov if chosen == cov.traits else cov.subset(chosen))
        return UserGwasStep(config, cov)

    def _with_kinship(self, configs: Any) -> list[Any]:
        """The study's own kinship where it makes one and no other is named."""
        if self.study.kinship is None or configs[0].kinship is not None:
            return list(configs)
        kinship = self._steps("kinship")[0].plan(self.ws).run_id
        return [config.model_copy(update={"kinship": kinship}) for config in configs]

    def _mtag_step(self) -> MtagStep:
        config: Any = self.study.configs_of("mtag")[0]
        estimated = self.study.mtag.intercepts == "ldsc" or config.sigma is not None
        return MtagStep(config, None if estimated else self._cov())

    def _mtag_steps(self, configs: Any) -> list[Step[Any]]:
        step = self._mtag_step()
        run_id = step.plan(self.ws).run_id
        return [step, *(FdrStep(config.model_copy(update={"mtag_run": run_id})) for config in configs[1:])]

    def _cov(self) -> CovStruct:
        """Return the study's covariance structure: this run's, or what an earlier run has left."""
        if self.result.cov is None:
            plan = self._steps("ldsc")[0].plan(self.ws)
            if not plan.done:
                raise DataError(
                    "LD score regression of these traits has not been run with these settings",
                    where=self.ws.location,
                    remedy="run the study's step ldsc first (leave --only out, or name ldsc in it)",
                )
            self.result.cov = read_covstruct(self.ws, plan.run_id)
        return self.result.cov

    def _take(self, step: Step[Any], done: Report) -> None:
        """Keep what later steps and the caller need."""
        if isinstance(step, LdscStep):
            if not done.rows:
                raise DataError(
                    "; ".join(done.warnings) or "no SNP is left for LD score regression",
                    where="step ldsc",
                    remedy="check that SNP names of the GWAS, the reference and the LD scores are rsIDs",
                )
            self.result.cov = read_covstruct(self.ws, done.run_id)
        elif isinstance(step, FitStep):
            self.result.fit = read_fit(self.ws, done.run_id)
        elif isinstance(step, UserModelStep):
            self.result.models[step.config.name] = read_fit(self.ws, done.run_id)
        elif isinstance(step, GwasStep):
            self.result.run = Run(self.ws, done)
        elif isinstance(step, LmmStep):
            self.result.lmm = LmmRun(self.ws, done)
            if self.study.lmm is not None and self.study.lmm.as_trait:
                self.result.steps.append(enter_traits(self.result.lmm, self.study.lmm.as_trait, progress=self.progress))
        elif isinstance(step, MtlmmStep):
            self.result.mtlmm = LmmRun(self.ws, done)
        elif isinstance(step, BootstrapStep):
            self.result.bootstraps[str(done.summary["trait"])] = BootstrapRun(self.ws, done)
        elif isinstance(step, UserGwasStep):
            self.result.gwas[step.config.name] = Run(self.ws, done)
        elif isinstance(step, WaldStep):
            self.result.wald = Run(self.ws, done)
        elif isinstance(step, MtagStep):
            self.result.mtag = MtagRun(self.ws, done)
        elif isinstance(step, FdrStep):
            self.result.fdr = FdrRun(self.ws, done)
        elif isinstance(step, ReconcileStep):
            self.result.reconcile = ReconcileRun(self.ws, done)
        elif isinstance(step, ReviewStep):
            self.result.review = ReviewRun(self.ws, done)

    def _gwas_run(self) -> Run:
        if self.result.run is None:
            step = next((step for step in self._steps("gwas") if isinstance(step, GwasStep)), None)
            if step is None:
                raise DataError(
                    "the study's GWAS is of models alone, and this needs that of the common factor",
                    where="gwas.models",
                    remedy="add common_factor to gwas.models",
                )
            self.result.run = self._finished(step)
        return self.result.run

    def _report_runs(self) -> list[Run]:
        """The runs that the report shows: the common factor's first, then models, then Wald tests as far as they were made."""
        steps = self._steps("gwas")
        factor = [self._gwas_run()] if any(isinstance(step, GwasStep) for step in steps) else []
        found = [*factor]
        for step in steps:
            if isinstance(step, UserGwasStep):
                found.append(self.result.gwas.get(step.config.name) or self._finished(step))
        if self.result.wald is None and "wald" in self.study.model_fields_set:
            step = self._steps("wald")[0]
            self.result.wald = Run(self.ws, step.run(self.ws)) if step.plan(self.ws).done else None
        return [*found, *([self.result.wald] if self.result.wald is not None else [])]

    def _finished(self, step: Step[Any]) -> Run:
        if not step.plan(self.ws).done:
            raise DataError(
                "the GWAS has not been run with these settings",
                where=self.ws.location,
                remedy="run the study's step gwas first (leave --only out, or name gwas in it)",
            )
        return Run(self.ws, step.run(self.ws))

    def _model_runs(self) -> dict[str, str]:
        """Names and runs of the study's own models, as far as they have been fitted."""
        steps = [step for step in self._steps("models") if isinstance(step, UserModelStep)]
        plans = {step.config.name: step.plan(self.ws) for step in steps}
        return {name: plan.run_id for name, plan in plans.items() if plan.done}

    def _mixed_runs(self) -> list[FinishedRun]:
        """The study's mixed-model runs, as far as they were made."""
        found: list[FinishedRun] = []
        for step in self._steps("lmm"):
            if step.plan(self.ws).done:
                found.append((BootstrapRun if isinstance(step, BootstrapStep) else LmmRun)(self.ws, step.run(self.ws)))
        return found

    def _of_mixed_models(self, mixed: Sequence[FinishedRun] | None) -> list[Any]:
        """The run that the page of a cohort alone is of."""
        if not mixed:
            raise DataError("the mixed models have not been run with these settings", where=self.ws.location,
                            remedy="run the study's step lmm first (leave --only out, or name lmm in it)")
        return [mixed[0]]

    def _write_report(self) -> None:
        from gsem_spark.steps.report.step import report  # with matplotlib: other steps go without

        started, settings = time.monotonic(), self.study.report
        mixed = self._mixed_runs() if self.study.lmm is not None else None
        runs = self._report_runs() if "gwas" in self.study.possible else []
        run, *others = runs or self._of_mixed_models(mixed)
        with self.progress.stage("report"):
            if settings.truth is not None and isinstance(run, Run) and run.report.step == GwasStep.name:
                self.result.comparison = compare_run(self._cov(), run, read_truth(settings.truth))
            truth = self.result.comparison.records() if self.result.comparison else None
            self.result.report_path = report(
                self.ws, run, title=settings.title, out=settings.out, truth=truth, models=self._model_runs(), scans=others,
                mixed=mixed,
            )  # fmt: skip
        self.result.steps.append(Report("report", run.run_id, "done", 1, time.monotonic() - started, {}, ()))


@dataclass(frozen=True)
class _ReportKind:
    """The report writes a file, not a table; in plans it looks like a step."""

    name: str = "report"
    reads: tuple[str, ...] = ("gwas_results", "loci", "covstructs", "fits", "qc_log")
    writes: tuple[str, ...] = ("report.html",)


_KINDS: Final[dict[str, tuple[Any, ...]]] = {
    "references": (LoadVariants, LoadLdScores),
    "genotypes": (GenotypesStep,),
    "kinship": (KinshipStep,),
    "lmm": (LmmStep,),
    "munge": (MungeStep,),
    "ldsc": (LdscStep,),
    "common_factor": (FitStep,),
    "models": (UserModelStep,),
    "gwas": (GwasStep,),
    "wald": (WaldStep,),
    "mtag": (MtagStep,),
    "reconcile": (ReconcileStep,),
    "review": (ReviewStep,),
    "report": (_ReportKind(),),
}


_LMM_STEPS: Final[dict[type[Any], type[Step[Any]]]] = {
    LmmConfig: LmmStep, MtlmmConfig: MtlmmStep, BootstrapConfig: BootstrapStep,
}  # fmt: skip


def _of_kind(kind: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return kind.name, kind.reads, kind.writes
