"""Sections of a report on models that the user wrote: one a model, with diagram, fit, diagnosis, parameters and syntax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from gsem_spark.report import tables
from gsem_spark.report.content import ModelContent
from gsem_spark.report.path_diagram import path_diagram
from gsem_spark.report.wording import judged_indices, number, p_value, with_se


@dataclass(frozen=True)
class UserModelContent:
    """A user's model, fitted.

    Parameters
    ----------
    name
        What the user calls it.
    fit_id
        Its row of table ``fits``.
    model
        The fit; ``syntax`` is what the user wrote.
    findings
        The fit's diagnosis: ``severity text remedy`` of each finding.
    """

    name: str
    fit_id: str
    model: ModelContent
    findings: tuple[Mapping[str, str], ...] = ()


def model_figures(models: Sequence[UserModelContent]) -> dict[str, Figure]:
    """Draw the path diagram of every model that has an arrow: ``model_1``, ``model_2`` …."""
    figures: dict[str, Figure] = {}
    for place, content in enumerate(models, 1):
        if content.model.parameters["op"].isin(["=~", "~"]).any():
            figures[f"model_{place}"] = path_diagram(content.model.parameters)
    return figures


def parameter_table(model: ModelContent) -> tables.Table:
    """List the parameters with both standardised solutions; the diagram shows the last one."""
    heads = ("Parameter", "Estimate (SE)", "Z", "p", "Std. estimate (SE)", "Std. all (SE)")
    rows = [
        (
            tables.Cell(f"{r['lhs']} {r['op']} {r['rhs']}", "code"), with_se(r["est"], r["se"]), number(r["z"], 2),
            p_value(r["p"], r["neglog10p"]), with_se(r["std_est"], r["std_se"]), with_se(r["std_all"], r["std_all_se"]),
        )
        for r in model.parameters.to_dict("records")
    ]  # fmt: skip
    note = "Std. estimate: traits standardised; Std. all: factors too, as in the diagram."
    return tables.table(heads, rows, note=note)


def model_sections(models: Sequence[UserModelContent]) -> list[dict[str, Any]]:
    """Prepare what the template shows of each model."""
    return [
        {
            "key": f"model_{place}",
            "name": content.name,
            "model": content.model,
            "verdict": judged_indices(content.model).get("overall", "not defined"),
            "findings": content.findings,
            "indices": tables.index_table(content.model),
            "parameters": parameter_table(content.model),
            "caption": f"{content.name}, standardised solution ({content.model.estimation}): estimates with standard errors. "
            "Dashed: negative.",
        }
        for place, content in enumerate(models, 1)
    ]
