"""What a report shows of models that the user wrote: their kept fits, and the diagnoses that the ledger keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gsem_spark.report.content import ModelContent
from gsem_spark.report.model_sections import UserModelContent
from gsem_spark.steps.found_runs import finished
from gsem_spark.steps.models.common_factor import read_fit
from gsem_spark.steps.models.user_model import UserModelStep

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace


def user_models(ws: Workspace, traits: Sequence[str], chosen: Mapping[str, str] | None = None) -> tuple[UserModelContent, ...]:
    """Gather the models of a report.

    Parameters
    ----------
    ws
        The workspace.
    traits
        Traits of the report's run.
    chosen
        Names and runs of the models to show; by default the last run of every model that has one of the traits.
    """
    if chosen is not None:
        return tuple(_content(ws, name, finished(ws, UserModelStep.name, run, "gsem-spark fit")) for name, run in chosen.items())
    last: dict[str, RunEntry] = {}
    for entry in ws.runs.of_step(UserModelStep.name):
        if entry.status == "done":
            last[_config(entry)["name"] or entry.run_id] = entry
    made = (_content(ws, name, entry) for name, entry in last.items())
    return tuple(m for m in made if {*m.model.parameters["lhs"], *m.model.parameters["rhs"]} & set(traits))


def _content(ws: Workspace, name: str, entry: RunEntry) -> UserModelContent:
    content = ModelContent.from_fit(read_fit(ws, entry.run_id), _config(entry)["model"].strip("\n"))
    return UserModelContent(name, entry.run_id, content, tuple(entry.summary.get("findings", ())))


def _config(entry: RunEntry) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(entry.config)
    return config
