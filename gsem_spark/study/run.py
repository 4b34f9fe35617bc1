"""Run a study: its steps in order on one workspace, each doing nothing where its result is there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gsem_spark.errors import DataError, GsemError
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Report, Step
from gsem_spark.study.model import Study, load_study

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.methods.sem.fit import Fit
    from gsem_spark.steps.gwas import Run

_STATUS_ORDER: Final = ("done", "empty", "skipped")


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
    report_path
        The HTML report.
    """

    workspace: Workspace
    steps: list[Report] = field(default_factory=list)
    cov: CovStruct | None = None
    fit: Fit | None = None
    run: Run | None = None
    report_path: Path | None = None

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
