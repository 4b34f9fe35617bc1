"""What a report shows of GWAS of users' models and of Wald tests: a run's paths are thinned together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from gsem_spark.report.scan_sections import PathContent, ScanContent
from gsem_spark.steps.gwas.run import Run
from gsem_spark.steps.report.data import ScanPoints, Signals, lead_effects, thinned_signals
from gsem_spark.thresholds import Q_SNP_ALPHA

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

_KINDS = {"user_gwas": "GWAS of a model", "multivariate_wald": "Wald tests", "common_factor_gwas": "GWAS of the common factor"}


def scan_contents(ws: Workspace, runs: Sequence[Run]) -> tuple[ScanContent, ...]:
    """Gather the runs, in the order given; those without a SNP are left out."""
    return tuple(_content(ws, run) for run in runs if run.summary.get("status"))


def _content(ws: Workspace, run: Run) -> ScanContent:
    entry = ws.runs.last(run.run_id)
    config: dict[str, Any] = {} if entry is None else json.loads(entry.config)
    summary, loci = run.summary, run.loci()
    traits = tuple(summary.get("traits") or config.get("traits") or ())
    figures = run.figures().set_index("path").to_dict("index")
    told = {str(label): _told_apart(run, str(label), found) for label, found in figures.items()}
    columns = {name for _, signals in told.values() for name in (*signals.columns, *signals.words)}
    rows = ws.source(run.table, ["chr", "bp", *sorted(columns)], {"run_id": run.run_id})
    points = thinned_signals(rows, [signals for _, signals in told.values()])
    numbers = {label: {str(k): _number(v) for k, v in figures[label].items()} for label in told}
    paths = tuple(
        _path(ws, label, signal, drawn, numbers[label], loci[loci["path"] == label], traits)
        for (label, (signal, _)), drawn in zip(told.items(), points, strict=True)
    )
    route = f"route {summary['route']}: {summary['route_reason']}" if "route" in summary else ""
    syntax = str(config.get("model") or _hypotheses(summary.get("tests", {}), traits)).strip("\n")
    return ScanContent(
        str(config.get("name", "")), run.run_id, _KINDS[run.report.step], traits, syntax, route,
        (*summary.get("notes", ()), *run.report.warnings), dict(summary["status"]), paths,
    )  # fmt: skip


def _path(
    ws: Workspace, label: str, signal: str, points: Sequence[ScanPoints], figures: Mapping[str, float | None],
    loci: pd.DataFrame, traits: Sequence[str],
) -> PathContent:  # fmt: skip
    own, q = points[0], points[1] if len(points) > 1 else None
    hits = int(figures.get("hits") or 0)
    leads = loci[loci["signal"] == "factor"]
    return PathContent(
        label, signal, own.manhattan, own.qq, loci, figures, None if q is None else q.manhattan, None if q is None else q.qq,
        lead_effects(ws, leads, traits) if len(leads) else pd.DataFrame(), Q_SNP_ALPHA / hits if hits else None,
    )  # fmt: skip


def _told_apart(run: Run, label: str, figures: Mapping[Any, Any]) -> tuple[str, Signals]:
    """Signal of a path; the words that its rows have, and the columns of its -log10 p and of Q_SNP's where it has one."""
    q = () if _number(figures.get("lambda_gc_q")) is None else ("q_snp_neglog10p",)
    if run.report.step == "multivariate_wald":
        return "omnibus" if label == "omnibus" else "contrast", Signals(("neglog10p", *q), {"test": label})
    names = list(run.summary.get("rows", ["F1~SNP"]))
    if label == "omnibus" and label not in names:
        return "omnibus", Signals(("omnibus_neglog10p", *q), _words(names[0]))
    name = label if label in names else next(n for n in names if n.startswith(f"{label}:="))
    found = run.summary.get("paths", {}).get(label, run.summary)
    signal = "factor" if "loci_factor_only" in found else "effect"
    return signal, Signals(("neglog10p", *q), _words(name))


def _words(name: str) -> dict[str, str]:
    """``lhs`` and ``op`` of a row named as ``sub`` names it, and ``rhs`` where it is a variable."""
    for op in (":=", "=~", "~~", "~"):
        lhs, found, rhs = name.partition(op)
        if found:
            return {"lhs": lhs, "op": op} | ({} if op == ":=" else {"rhs": rhs})
    return {}


def _hypotheses(tests: Mapping[str, int], traits: Sequence[str]) -> str:
    lines = (f"{name}: {df} degree{'s' if df > 1 else ''} of freedom" for name, df in tests.items())
    return "\n".join([*lines, f"traits: {', '.join(traits)}"])


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
