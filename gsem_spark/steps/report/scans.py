"""What a report shows of GWAS of users' models and of Wald tests: their runs, thinned on executors path by path."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from gsem_spark.report.scan_sections import PathContent, ScanContent
from gsem_spark.steps.gwas.run import Run
from gsem_spark.steps.gwas.summary import with_words
from gsem_spark.steps.report.data import lead_effects, thinned_signals
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
    paths = tuple(
        _path(ws, run, str(label), {str(k): _number(v) for k, v in found.items()}, loci[loci["path"] == label], traits)
        for label, found in figures.items()
    )
    route = f"route {summary['route']}: {summary['route_reason']}" if "route" in summary else ""
    syntax = str(config.get("model") or _hypotheses(summary.get("tests", {}), traits)).strip("\n")
    return ScanContent(
        str(config.get("name", "")), run.run_id, _KINDS[run.report.step], traits, syntax, route,
        (*summary.get("notes", ()), *run.report.warnings), dict(summary["status"]), paths,
    )  # fmt: skip


def _path(
    ws: Workspace, run: Run, label: str, figures: Mapping[str, float | None], loci: pd.DataFrame, traits: Sequence[str]
) -> PathContent:
    signal, words, columns = _told_apart(run, label)
    has_q = figures.get("lambda_gc_q") is not None
    signals = [columns, "q_snp_neglog10p"] if has_q else [columns]
    rows = ws.source(run.table, ["chr", "bp", *signals, *words], {"run_id": run.run_id})
    points = thinned_signals(rows, signals, partial(with_words, words=words) if words else None)
    hits = int(figures.get("hits") or 0)
    leads = loci[loci["signal"] == "factor"]
    return PathContent(
        label, signal, points[0].manhattan, points[0].qq, loci, figures,
        points[1].manhattan if has_q else None, points[1].qq if has_q else None,
        lead_effects(ws, leads, traits) if len(leads) else pd.DataFrame(), Q_SNP_ALPHA / hits if hits else None,
    )  # fmt: skip


def _told_apart(run: Run, label: str) -> tuple[str, dict[str, str], str]:
    """Signal of a path, the words that its rows have, and the column of its -log10 p."""
    if run.report.step == "multivariate_wald":
        return "omnibus" if label == "omnibus" else "contrast", {"test": label}, "neglog10p"
    names = list(run.summary.get("rows", ["F1~SNP"]))
    if label == "omnibus" and label not in names:
        return "omnibus", _words(names[0]), "omnibus_neglog10p"
    name = label if label in names else next(n for n in names if n.startswith(f"{label}:="))
    found = run.summary.get("paths", {}).get(label, run.summary)
    signal = "factor" if "loci_factor_only" in found else "effect"
    return signal, _words(name), "neglog10p"


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
