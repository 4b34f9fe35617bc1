"""What a step is: a typed config, a plan that says what would happen, and a run that does it once.

``run()`` is the same for every step: it plans, does nothing where the ledger holds the run as done, else executes and
records. A step only says which inputs decide its result (:meth:`Step.inputs`) and how to make it (:meth:`Step.execute`).
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gsem_spark.catalog.runs import RunEntry
from gsem_spark.errors import ConfigError
from gsem_spark.steps.progress import Progress
from gsem_spark.version import __version__

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


class StepConfig(BaseModel):
    """Settings of a step. Unknown keys are refused; instances are frozen and go to YAML and back unchanged."""

    model_config = ConfigDict(extra="forbid", frozen=True)


C = TypeVar("C", bound=StepConfig)


@dataclass(frozen=True)
class Plan:
    """What a step would do: its run, what it reads and writes, and whether that is done already."""

    step: str
    run_id: str
    config_hash: str
    inputs: Mapping[str, str]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    done: bool


@dataclass(frozen=True)
class Outcome:
    """What executing a step came to."""

    rows: int
    state: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    complete: bool = True
    """False where only a part of the run was asked for and others are still missing."""


@dataclass(frozen=True)
class Report:
    """How a run ended.

    ``done`` now, ``skipped`` because it was done before, ``partial`` because only a part was asked for and others are missing,
    or ``empty`` because there was no input row.
    """

    step: str
    run_id: str
    status: str
    rows: int
    seconds: float
    summary: Mapping[str, Any]
    warnings: tuple[str, ...]


class Step(ABC, Generic[C]):
    """One step of the pipeline on one workspace."""

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    writes: ClassVar[tuple[str, ...]]
    revision: ClassVar[int] = 1
    """Raised when the step's result changes for the same input, so that old runs do not count as done."""

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Everything outside the config that decides the result, as names and content versions.

        Raises a :class:`~gsem_spark.errors.GsemError` when something the step needs is not there.
        """

    @abstractmethod
    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Make the result and commit it. Must be idempotent: the same plan again ends with the same tables."""

    def result_config(self) -> Mapping[str, Any]:
        """The settings that decide the result (all of them, unless a step has settings of pure convenience)."""
        return self.config.model_dump(mode="json")

    def plan(self, ws: Workspace) -> Plan:
        """Say what would be done, without doing it."""
        inputs = self.inputs(ws)
        config_hash = content_hash(self.result_config())
        run_id = f"{self.name}-{content_hash([self.revision, config_hash, inputs])}"
        entry = ws.runs.last(run_id)
        done = entry is not None and entry.status in ("done", "empty") and self.is_present(ws, run_id)
        return Plan(self.name, run_id, config_hash, inputs, self.reads, self.writes, done)

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the result of a run that the ledger holds as done is still what the tables hold."""
        return True

    def run(self, ws: Workspace, progress: Progress | None = None) -> Report:
        """Do what is planned, unless it is done already, and record it in the ledger."""
        plan = self.plan(ws)
        before = ws.runs.last(plan.run_id)
        if plan.done and before is not None:
            return Report(self.name, plan.run_id, "skipped", before.rows, 0.0, before.summary, before.warnings)
        started = now()
        try:
            outcome = self.execute(ws, plan, progress or Progress())
        except Exception as error:
            self.record_failure(ws, plan, started, error)
            raise
        return self.record_outcome(ws, plan, started, outcome)

    def record_outcome(self, ws: Workspace, plan: Plan, started: dt.datetime, outcome: Outcome) -> Report:
        """Enter what executing came to in the ledger."""
        status = ("done" if outcome.rows else "empty") if outcome.complete else "running"
        entry = ws.runs.record(self._entry(plan, started, status, outcome))
        seconds = entry.seconds if outcome.complete else (now() - started).total_seconds()
        said = status if outcome.complete else "partial"
        return Report(self.name, plan.run_id, said, outcome.rows, seconds, outcome.summary, outcome.warnings)

    def begin(self, ws: Workspace, plan: Plan, summary: Mapping[str, Any] | None = None) -> None:
        """Record that the run is on its way, for steps where a run that dies midway must leave a trace."""
        ws.runs.record(self._entry(plan, now(), "running", Outcome(0, summary=summary or {})))

    def _entry(self, plan: Plan, started: dt.datetime, status: str, outcome: Outcome) -> RunEntry:
        return RunEntry(
            run_id=plan.run_id,
            step=self.name,
            status=status,
            config_hash=plan.config_hash,
            config=json.dumps(self.config.model_dump(mode="json"), sort_keys=True),
            code_version=__version__,
            inputs=dict(plan.inputs),
            started=started,
            ended=None if status == "running" else now(),
            state=outcome.state,
            summary=outcome.summary,
            warnings=outcome.warnings,
            rows=outcome.rows,
        )

    def record_failure(self, ws: Workspace, plan: Plan, started: dt.datetime, error: Exception) -> None:
        """Leave a trace in the ledger where that is possible; the error itself is what the caller must see."""
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        try:
            ws.runs.record(self._entry(plan, started, "failed", Outcome(0, warnings=(text[:500],))))
        except Exception as second:  # the ledger is out of reach as well: keep the first error, mention this one
            error.add_note(f"the failure could not be recorded in the ledger: {type(second).__name__}")


def checked_config(kind: type[C], where: str, /, **settings: Any) -> C:
    """Make a config from settings; a :class:`ConfigError` names every setting that is wrong."""
    try:
        return kind(**settings)
    except ValidationError as error:
        found = [(".".join(map(str, e["loc"])) or where, *wrong_value(e)) for e in error.errors(include_url=False)]
        what = "; ".join(f"{name}: {said}" for name, said, _ in found)
        remedy = "; ".join(dict.fromkeys(r for _, _, r in found if r))
        raise ConfigError(what, where=where, remedy=remedy or "correct the setting; nothing has been run") from None


def wrong_value(found: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with a setting's value and the remedy, from what pydantic found."""
    value, message = found.get("input"), str(found["msg"])
    if found["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(found.get("ctx", {}).get("expected", "")))
        close = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.5)
        return f"{value!r} is not one of {', '.join(allowed)}", f"did you mean {close[0]!r}?" if close else ""
    if found["type"] == "value_error":
        return message.removeprefix("Value error, "), ""
    return f"found {value!r}; it should be {message.removeprefix('Input should be ')}", ""


def content_hash(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def now() -> dt.datetime:
    """The time, UTC, as the ledger keeps it."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
