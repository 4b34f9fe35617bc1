"""The ledger of runs: what was run on what, with which settings and code, and how it ended.

Entries are only ever added; of several entries of one run the one with the highest ``seq`` counts. A step that finds its
run done does nothing. The ledger is read once per workspace object and kept up with this process's own entries: steps
are idempotent, so an entry of another process that is missed costs a repetition, never a wrong result.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

TABLE = "runs"


@dataclass(frozen=True)
class RunEntry:
    """One entry of the ledger; see the ``runs`` table for the meaning of each field."""

    run_id: str
    step: str
    status: str
    config_hash: str
    config: str
    code_version: str
    inputs: Mapping[str, str]
    started: dt.datetime
    seq: int = 0
    state: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    ended: dt.datetime | None = None
    rows: int = 0

    @property
    def seconds(self) -> float:
        """Wall time; 0 while running."""
        return (self.ended - self.started).total_seconds() if self.ended else 0.0


class Ledger:
    """Runs of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._entries: dict[str, RunEntry] | None = None

    def last(self, run_id: str) -> RunEntry | None:
        """The entry that counts for a run, None where it has never been run."""
        return self._all().get(run_id)

    def entries(self, run_id: str) -> list[RunEntry]:
        """Every entry of a run as it now stands in the table, those of other sessions too; oldest first."""
        rows = (_entry(row) for row in self._workspace.records(TABLE, {"run_id": run_id}))
        return sorted(rows, key=_order)

    def of_step(self, step: str) -> list[RunEntry]:
        """Runs of one step that are done, oldest first."""
        found = [e for e in self._all().values() if e.step == step and e.status in ("done", "empty")]
        return sorted(found, key=lambda e: (e.ended or e.started, e.run_id))

    def all(self) -> list[RunEntry]:
        """Every run's counting entry, oldest first."""
        return sorted(self._all().values(), key=lambda e: (e.started, e.run_id))

    def record(self, entry: RunEntry) -> RunEntry:
        """Add an entry; its ``seq`` becomes one more than the run's last."""
        before = self.last(entry.run_id)
        numbered = replace(entry, seq=before.seq + 1 if before else 0)
        row = {**numbered.__dict__, "summary": json.dumps(numbered.summary, sort_keys=True), "warnings": list(numbered.warnings)}
        row["inputs"], row["state"] = dict(numbered.inputs), dict(numbered.state)
        self._workspace.add(TABLE, [row], metadata={"run_id": entry.run_id})
        self._all()[entry.run_id] = numbered
        return numbered

    def refresh(self) -> None:
        """Forget what was read, so that entries of other processes are seen."""
        self._entries = None

    def frame(self) -> pd.DataFrame:
        """The ledger as a frame, one row a run."""
        return pd.DataFrame([{**e.__dict__, "seconds": e.seconds} for e in self.all()])

    def _all(self) -> dict[str, RunEntry]:
        if self._entries is None:
            entries: dict[str, RunEntry] = {}
            for row in self._workspace.records(TABLE):
                entry = _entry(row)
                if entry.run_id not in entries or _order(entries[entry.run_id]) < _order(entry):
                    entries[entry.run_id] = entry
            self._entries = entries
        return self._entries


def _order(entry: RunEntry) -> tuple[int, bool, dt.datetime]:
    """Which of two entries of a run counts. Sessions that work on one run at a time may have given them the same number."""
    return entry.seq, entry.ended is not None, entry.started


def _entry(row: dict[str, Any]) -> RunEntry:
    times = {name: None if row[name] is None else row[name].replace(tzinfo=None) for name in ("started", "ended")}  # UTC
    return RunEntry(**{**row, **times, "summary": json.loads(row["summary"]), "warnings": tuple(row["warnings"])})
