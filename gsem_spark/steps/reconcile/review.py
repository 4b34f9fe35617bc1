"""A reviewer's checklist of a factor GWAS, filled from what the run left in the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field
from pyspark.sql import functions as F

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.reconcile.checklist import ReviewFacts, checklist_table, overall
from gsem_spark.methods.reconcile.checklist import review as checklist
from gsem_spark.methods.sem.commonfactor import common_factor
from gsem_spark.steps.found_runs import FinishedRun, finished, run_id_of
from gsem_spark.steps.gwas.common_factor import GwasStep
from gsem_spark.steps.gwas.panel import trait_rows
from gsem_spark.steps.ldsc.step import read_covstruct
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.reconcile.review_facts import factor_regressions, loci_without_each_trait
from gsem_spark.steps.reconcile.step import ReconcileStep
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig, checked_config

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.gwas.run import Run
    from gsem_spark.steps.reconcile.step import ReconcileRun


class ReviewConfig(StepConfig):
    """Settings of a review."""

    gwas_run: str | None = Field(None, description="common-factor GWAS; the last one by default")
    reconcile_run: str | None = Field(None, description="reconciliation with MTAG; the last one of the GWAS by default")
    ancestry: str | None = Field(None, description="ancestry of the samples, as it is to stand in the paper")
    ld_reference: str | None = Field(None, description="LD reference; the LD-score panel of the structure by default")
    panel: str | None = Field(None, description="LD-score panel for the factor's own output; that of the structure by default")
    n_blocks: int = Field(200, ge=2, description="jackknife blocks of that regression")
    ldsc: bool = Field(True, description="LD score regression of the factor's own output")
    leave_one_out: bool = Field(True, description="loci without each trait in turn")


class ReviewStep(Step[ReviewConfig]):
    """Answer what a reviewer asks of a factor GWAS, each item with a verdict, the number, and where to look."""

    name: ClassVar[str] = "review"
    reads: ClassVar[tuple[str, ...]] = (
        "gwas_results", "gwas_panel", "loci", "covstructs", "traits", "ld_scores", "reconciled_loci",
    )  # fmt: skip
    writes: ClassVar[tuple[str, ...]] = ("reviews",)

    _gwas: RunEntry
    _reconcile: RunEntry | None
    _cov: CovStruct
    _panel: str | None

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """The runs; raises :class:`DataError` where one is not there."""
        c = self.config
        self._gwas = finished(ws, GwasStep.name, c.gwas_run, "gwas")
        if not self._gwas.rows:
            raise DataError(f"run {self._gwas.run_id} has no SNP", where=ws.location, remedy="run it on traits that share SNPs")
        self._reconcile = self._reconciliation(ws)
        self._cov = read_covstruct(ws, f"covstruct-{self._gwas.inputs['covstruct']}")
        panels = sorted({str(panel) for panel, _ in ws.count("ld_scores")})
        if c.panel is not None and c.panel not in panels:
            raise DataError(f"no LD scores of panel {c.panel!r}; there are {', '.join(panels) or 'none'}",
                            where="table ld_scores", remedy="load them first, or name another panel")
        likely = c.panel or self._cov.settings.get("panel") or (panels[0] if len(panels) == 1 else None)
        self._panel = likely if likely in panels else None
        return {
            "gwas_run": self._gwas.run_id, "reconcile_run": self._reconcile.run_id if self._reconcile else "",
            "panel": self._panel or "",
        }

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the list is in ``reviews``."""
        return bool(ws.count("reviews", {"run_id": run_id}))

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Gather the facts, answer, commit."""
        c, warnings = self.config, list[str]()
        regressions: dict[str, Any] = {}
        stable: dict[str, float] = {}
        if c.ldsc:
            with progress.stage("review: LD score regression of the factor"):
                regressions, said = self._regressions(ws)
                warnings += said
        if c.leave_one_out:
            with progress.stage("review: loci without each trait"):
                loci = ws.rows("loci", {"run_id": self._gwas.run_id}).to_pandas()
                config = json.loads(self._gwas.config)
                stable, said = loci_without_each_trait(ws, str(self._gwas.summary["panel_id"]), self._cov, config, loci)
                warnings += said
        with progress.stage("review: answers"):
            facts = self._facts(ws, regressions, stable)
            items = checklist(facts)
            table = checklist_table(items).assign(
                run_id=plan.run_id, item=np.arange(1, len(items) + 1), gwas_run=self._gwas.run_id
            )
            ws.put("reviews", table, {"run_id": plan.run_id}, metadata={"run_id": plan.run_id})
        counts = {str(k): int(n) for k, n in sorted(table["verdict"].value_counts().items())}
        summary = {
            "overall": overall(items), "verdicts": counts, "gwas_run": self._gwas.run_id, "factor_ldsc": regressions,
            "stable_loci": stable, "reconcile_run": plan.inputs["reconcile_run"],
        }
        return Outcome(len(items), summary=summary, warnings=tuple(warnings))

    def _reconciliation(self, ws: Workspace) -> RunEntry | None:
        chosen = self.config.reconcile_run
        if chosen is not None:
            entry = finished(ws, ReconcileStep.name, chosen, "reconcile")
            if entry.inputs["gwas_run"] != self._gwas.run_id:
                raise ConfigError(f"reconciliation {chosen} is of run {entry.inputs['gwas_run']}", where="reconcile_run",
                                  remedy=f"name one of {self._gwas.run_id}")
            return entry
        mine = [e for e in ws.runs.of_step(ReconcileStep.name) if e.inputs["gwas_run"] == self._gwas.run_id]
        return mine[-1] if mine else None

    def _regressions(self, ws: Workspace) -> tuple[dict[str, Any], list[str]]:
        n = self._gwas.summary.get("effective_n")
        if self._panel is None or not n or not n > 0:
            why = "there is no LD-score panel to use" if self._panel is None else "its effective N is unknown"
            return {}, [f"the factor's own output was not put through LD score regression: {why}"]
        panel_id = str(self._gwas.summary["panel_id"])
        try:
            return factor_regressions(
                ws, self._gwas.run_id, panel_id, float(n), self._cov.traits, self._panel, self.config.n_blocks
            ), []
        except DataError as error:
            return {}, [f"LD score regression of the factor's own output: {error.what}"]

    def _facts(self, ws: Workspace, ldsc: Mapping[str, Any], stable: Mapping[str, float]) -> ReviewFacts:
        c, cov, config = self.config, self._cov, json.loads(self._gwas.config)
        summary, found = self._gwas.summary, self._reconcile.summary if self._reconcile else {}
        status = summary.get("status", {})
        fit = common_factor(cov, config["estimation"])
        own = fit.parameters[(fit.parameters["op"] == "~~") & (fit.parameters["lhs"] == fit.parameters["rhs"])]
        loadings = fit.parameters[fit.parameters["op"] == "=~"].set_index("rhs")["std_all"]
        rg = cov.rg()
        values = np.linalg.eigvalsh(cov.V)
        shared = cov.I[~np.eye(cov.k, dtype=bool)]
        sign_test = found.get("sign_test") or {}
        judged = fit.indices["df"] > 0  # a model that is just identified fits whatever the data are
        indices = {name: float(fit.indices[name]) if judged else np.nan for name in ("cfi", "tli", "rmsea", "srmr")}
        return ReviewFacts(
            sample_sizes=_sample_sizes(ws, cov, str(summary["panel_id"])), ancestry=c.ancestry,
            ld_reference=c.ld_reference or cov.settings.get("panel"), overlap_in_v=bool((shared != 0).any()), gc=config["gc"],
            **indices, loadings={str(t): float(v) for t, v in loadings.items()},
            rg={(str(a), str(b)): float(r) for a, b, r in zip(rg["trait_1"], rg["trait_2"], rg["rg"], strict=True)},
            heywood=own.loc[own["lhs"].isin(cov.traits) & (own["est"] < 0), "lhs"].astype(str).tolist(),
            v_min_eigenvalue=float(values[0] / values[-1]),
            smoothed_share=status.get("smoothed", 0) / max(sum(status.values()), 1),
            z_smooth_max=_largest_change(ws, self._gwas.run_id), lambda_gc=summary.get("lambda_gc"),
            intercept=ldsc.get("intercept"), intercept_se=ldsc.get("intercept_se"), factor_h2=ldsc.get("h2"),
            factor_h2_se=ldsc.get("h2_se"), factor_rg={t: np.nan if v is None else v for t, v in ldsc.get("rg", {}).items()},
            factor_loci=summary.get("loci"), q_loci=summary.get("q_loci"), factor_loci_heterogeneous=summary.get("loci_qsnp_sig"),
            max_fdr=found.get("max_fdr") or {}, stable_loci=stable, replicated_same=sign_test.get("same"),
            replicated_tested=sign_test.get("tested"), replicated_p=sign_test.get("p"),
        )


def _sample_sizes(ws: Workspace, cov: CovStruct, panel_id: str) -> dict[str, float]:
    """N of each trait: those of LD score regression, else what the traits were munged with, else of some SNP of the panel."""
    of_ldsc = {str(r.get("trait")): r.get("n") for r in cov.diagnostics.get("traits", [])}
    given = {t: row["n"] for t, row in trait_rows(ws, cov.traits).items()}
    known = {t: of_ldsc.get(t) or given.get(t) for t in cov.traits}
    if any(n is None for n in known.values()):
        first = ws.read("gwas_panel").where(F.col("panel_id") == panel_id).agg(
            *(F.expr(f"avg(try_element_at(n, {i + 1}))").alias(f"n{i}") for i in range(cov.k))
        ).first()  # fmt: skip
        means = {t: None if first is None else first[f"n{i}"] for i, t in enumerate(cov.traits)}
        known = {t: n if n is not None else means[t] for t, n in known.items()}
    return {t: np.nan if n is None else float(n) for t, n in known.items()}


def _largest_change(ws: Workspace, run_id: str) -> float | None:
    row = ws.read("gwas_results").where(F.col("run_id") == run_id).agg(F.max("z_smooth").alias("most")).first()
    return None if row is None else row["most"]


@dataclass(frozen=True)
class ReviewRun(FinishedRun):
    """A finished review."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """The overall verdict, counts of verdicts, the factor's regressions, shares of loci that stay."""
        return self.report.summary

    @property
    def overall(self) -> str:
        """The worst verdict."""
        return str(self.summary["overall"])

    def items(self) -> pd.DataFrame:
        """The list: ``key question verdict number place``."""
        return review_items(self.workspace, self.run_id)


def review_items(ws: Workspace, run_id: str) -> pd.DataFrame:
    """Items of a review in their order."""
    rows: pd.DataFrame = ws.rows("reviews", {"run_id": run_id}).to_pandas()
    return rows.sort_values("item", ignore_index=True)[["key", "question", "verdict", "number", "place"]]


def review(
    ws: Workspace,
    run: Run | str | None = None,
    *,
    reconcile_run: ReconcileRun | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> ReviewRun:
    """Fill a reviewer's checklist from a factor GWAS.

    Parameters
    ----------
    ws
        The run's workspace.
    run
        Common-factor GWAS, or its id; the last one by default.
    reconcile_run
        Its reconciliation with MTAG, for maxFDR and replication; the last one by default, if there is one.
    progress
        Where to show progress; silent by default.
    **settings
        ``ancestry``, ``ld_reference`` (to be said in a paper), ``panel``, ``n_blocks``, ``ldsc`` and ``leave_one_out`` (both on
        by default).

    Returns
    -------
    ReviewRun
        Kept in ``reviews``. What the run does not hold is "not assessed".

    Raises
    ------
    DataError
        There is no such run, or no such LD-score panel.
    """
    config = checked_config(
        ReviewConfig, "review", gwas_run=run_id_of(run), reconcile_run=run_id_of(reconcile_run), **settings
    )
    return ReviewRun(ws, ReviewStep(config).run(ws, progress))
