"""What the report shows of a GWAS's last reconciliation with MTAG and of its last review."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from gsem_spark.report.reconcile_content import ReconcileContent, ReviewContent
from gsem_spark.report.thinning import ManhattanCells, thin_for_manhattan
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.reconcile.review import ReviewStep, review_items
from gsem_spark.steps.reconcile.step import ReconcileStep, reconciled_effects, reconciled_loci

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace

_MANY: Final = 10**9
"""A tail of any length is put on the fine grid: a scan of many traits has many."""


def reconcile_content(ws: Workspace, gwas_run: str, factor_points: pd.DataFrame) -> ReconcileContent | None:
    """Gather the GWAS's last reconciliation; None where there is none."""
    entry = _last(ws, ReconcileStep.name, gwas_run)
    if entry is None:
        return None
    found: dict[str, Any] = dict(entry.summary)
    mtag = ws.runs.last(found["mtag_run"])
    of_mtag: dict[str, Any] = dict(mtag.summary) if mtag else {}
    spans = factor_points.groupby("chr")["bp"].agg(["min", "max"])
    span = float((spans["max"] - spans["min"] + 1).sum())
    return ReconcileContent(
        run_id=entry.run_id,
        mtag_run=found["mtag_run"],
        summary=pd.DataFrame(of_mtag.get("traits", [])),
        weights=pd.DataFrame(of_mtag.get("weights", [])),
        mtag_warnings=tuple(mtag.warnings) if mtag else (),
        max_fdr=found["max_fdr"],
        loci=reconciled_loci(ws, entry.run_id),
        effects=reconciled_effects(ws, entry.run_id),
        patterns=found["patterns"],
        rule=found["rule"],
        concordance=found["sign_concordance"],
        trait_claims=found["trait_claims"],
        replication=found["replication"],
        sign_test=found["sign_test"],
        primary=found["primary"],
        factor_points=factor_points,
        mtag_points=_thinned(
            ws.source("mtag_results", ["chr", "bp", "neglog10p"], {"run_id": found["mtag_run"], "trait": found["traits"]}), span
        ),
        warnings=tuple(entry.warnings),
    )


def review_content(ws: Workspace, gwas_run: str) -> ReviewContent | None:
    """Gather the GWAS's last review; None where there is none."""
    entry = _last(ws, ReviewStep.name, gwas_run)
    return None if entry is None else ReviewContent(entry.run_id, review_items(ws, entry.run_id), tuple(entry.warnings))


def _last(ws: Workspace, step: str, gwas_run: str) -> RunEntry | None:
    mine = [e for e in ws.runs.of_step(step) if e.inputs.get("gwas_run") == gwas_run]
    return mine[-1] if mine else None


def _thinned(rows: Source, span: float) -> pd.DataFrame:
    """The strongest of all traits' results in each cell of the plot."""
    cells = ManhattanCells.for_scan(span, _MANY)
    parts = gathered(rows, lambda batches: (thin_for_manhattan(batch.to_pandas(), cells) for batch in batches))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"chr": [], "bp": [], "neglog10p": []})
    return thin_for_manhattan(whole, cells)
