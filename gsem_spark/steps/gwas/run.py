"""A per-SNP run that is in the tables: its results, loci, figures and statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from pyspark.sql import functions as F

from gsem_spark.errors import DataError
from gsem_spark.steps.found_runs import FinishedRun, finished
from gsem_spark.steps.gwas.status import RunStatus, run_status
from gsem_spark.steps.step import Report

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

PER_SNP_STEPS: Final[Mapping[str, str]] = {
    "common_factor_gwas": "gwas_results", "user_gwas": "gwas_results", "multivariate_wald": "wald_results",
}
"""Steps that test every SNP, and the tables of their results."""
COMMON_FACTOR_PATH: Final = "F1~SNP"


@dataclass(frozen=True)
class Run(FinishedRun):
    """A per-SNP run: its results stay in the tables, this knows where."""

    @property
    def table(self) -> str:
        """Table of its results."""
        return PER_SNP_STEPS[self.report.step]

    @property
    def summary(self) -> Mapping[str, Any]:
        """λGC, mean χ², effective N, counts per status, numbers of hits and loci; of models by path, with the route taken."""
        return self.report.summary

    def results(self) -> DataFrame:
        """Per-SNP results as a Spark frame."""
        return self.workspace.read(self.table).where(F.col("run_id") == self.run_id)

    def loci(self) -> pd.DataFrame:
        """Lead SNPs with their flags, by path and signal in genome order."""
        rows: pd.DataFrame = self.workspace.rows("loci", {"run_id": self.run_id}).to_pandas()
        paths = list(dict.fromkeys(rows.sort_values("locus")["path"]))
        rows["path"] = pd.Categorical(rows["path"], paths)
        return rows.sort_values(["path", "signal", "locus"], ignore_index=True).astype({"path": "object"})

    def figures(self) -> pd.DataFrame:
        """λGC, mean χ², effective N, hits and loci, one row a path or test."""
        paths = {}
        if "lambda_gc" in self.summary:
            own = {k: v for k, v in self.summary.items() if k in _FIGURES}
            paths[COMMON_FACTOR_PATH] = {**own, "hits": self.summary.get("factor_hits")}
        paths |= {label: self.summary["paths"][label] for label in self.summary.get("path_order", ())}
        columns = [c for c in _FIGURES if any(c in figures for figures in paths.values())]
        return pd.DataFrame([[label, *(figures.get(c) for c in columns)] for label, figures in paths.items()],
                            columns=["path", *columns])  # fmt: skip

    def status(self) -> pd.DataFrame:
        """How many SNPs ended in each status."""
        return pd.DataFrame(sorted(self.summary.get("status", {}).items()), columns=["status", "snps"])

    def progress(self) -> RunStatus:
        """Which slices are done, at what rate, what failed in them, and the time left."""
        return run_status(self.workspace, self.run_id)


_FIGURES: Final = (
    "lambda_gc", "lambda_gc_q", "mean_chisq", "effective_n", "hits", "loci", "loci_factor_only", "loci_qsnp_sig", "q_loci",
)


def run_of(ws: Workspace, chosen: str | None = None) -> Run:
    """Find a finished per-SNP run by its id; the last one for None.

    Raises
    ------
    DataError
        There is none, or the one chosen has not ended or is of another step.
    """
    if chosen is None:
        entry = finished(ws, tuple(PER_SNP_STEPS), None, "gsem-spark gwas")
    else:
        found = ws.runs.last(chosen)
        if found is None or found.status not in ("done", "empty") or found.step not in PER_SNP_STEPS:
            raise DataError(f"there is no finished run {chosen!r}", where=ws.location, remedy=f"gsem-spark runs {ws.location}")
        entry = found
    return Run(ws, Report(entry.step, entry.run_id, "skipped", entry.rows, 0.0, entry.summary, entry.warnings))
