"""Finished runs of a workspace, by id or the last of a step: what steps that build on other steps' runs start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gsem_spark.errors import DataError

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.steps.step import Report


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended: its results stay in the tables, this knows where. What a user's verb returns builds on it."""

    workspace: Workspace
    report: Report

    @property
    def run_id(self) -> str:
        """Key of the run in every table."""
        return self.report.run_id

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results must know, one sentence each."""
        return self.report.warnings


def finished(ws: Workspace, step: str | Sequence[str], chosen: str | None, verb: str) -> RunEntry:
    """The ledger's entry of a finished run: the one chosen, else the step's last.

    Parameters
    ----------
    ws, step
        Workspace and step name, or the names of steps whose runs stand for each other.
    chosen
        Run id, or None.
    verb
        What to run first, for the remedy.

    Raises
    ------
    DataError
        There is no such run, it has not ended, or it is of another step.
    """
    steps = (step,) if isinstance(step, str) else tuple(step)
    if chosen is None:
        done = sorted((e for s in steps for e in ws.runs.of_step(s) if e.status == "done"), key=lambda e: e.ended or e.started)
        if not done:
            raise DataError(f"there is no finished run of {steps[0]}", where=ws.location, remedy=f"run {verb} first")
        return done[-1]
    entry = ws.runs.last(chosen)
    if entry is None or entry.status not in ("done", "empty"):
        state = "is not in the ledger" if entry is None else f"has the state {entry.status}"
        raise DataError(f"run {chosen} {state}", where=ws.location, remedy=f"run {verb} to its end first")
    if entry.step not in steps:
        raise DataError(f"run {chosen} is one of {entry.step}, not of {steps[0]}", where=ws.location,
                        remedy=f"name a run of {verb}")
    return entry


def run_id_of(run: Any) -> str | None:
    """Id of a run given as such or as its id; None for None."""
    return run if run is None or isinstance(run, str) else str(run.run_id)
