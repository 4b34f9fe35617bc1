"""What several verbs print: reports of steps, a covariance structure, a GWAS run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pandas as pd

from gsem_spark.cli import display
from gsem_spark.cli.app import out, show_warning

if TYPE_CHECKING:
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.gwas.run import Run
    from gsem_spark.steps.step import Report


_FIGURES: Final = {
    "path": "path", "lambda_gc": "λGC", "lambda_gc_q": "λGC Q_SNP", "mean_chisq": "mean χ²", "effective_n": "effective N",
    "hits": "SNPs p < 5e-8", "loci": "loci", "loci_factor_only": "factor only", "loci_qsnp_sig": "Q_SNP sig",
    "q_loci": "loci Q_SNP",
}  # fmt: skip


def print_reports(reports: Iterable[Report]) -> None:
    """Print how runs ended, then their warnings, each once."""
    reports = list(reports)
    rows = [(r.step, r.status, r.rows, r.seconds) for r in reports]
    out.print(display.table("", ["step", "status", "rows", "seconds"], rows, right=["rows", "seconds"]))
    for text in dict.fromkeys(w for r in reports for w in r.warnings):
        show_warning(text)


def print_cov(cov: CovStruct) -> None:
    """Print heritabilities and genetic correlations."""
    h2 = cov.h2()
    wanted = ("trait", "h2", "se", "z", "scale", "intercept", "intercept_se", "mean_chisq", "lambda_gc", "n_snps")
    shown = [c for c in wanted if c in h2]
    out.print(display.frame("heritability", h2[shown]))
    if cov.k > 1:
        out.print(display.frame("genetic correlation", _correlations(cov)))
    for text in cov.warnings:
        show_warning(text)


def print_run(run: Run) -> None:
    """Print a run's figures by path, how it was solved, and what became of the SNPs."""
    from gsem_spark.report.wording import STATUS_MEANINGS

    summary = run.summary
    if run.report.status == "partial":
        out.print(f"run {run.run_id}: this part is done, others are missing; see --status {run.run_id}", highlight=False)
        return
    name = {"common_factor_gwas": "common-factor GWAS", "user_gwas": "GWAS", "multivariate_wald": "Wald tests"}[run.report.step]
    route = f"route {summary['route']}: {summary['route_reason']}" if "route" in summary else ""
    figures = run.figures()
    if len(figures):
        out.print(display.frame(f"{name}, run {run.run_id}", figures.rename(columns=_FIGURES), caption=route))
    for note in summary.get("notes", ()):
        out.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    status = run.status()
    total = max(int(status["snps"].sum()), 1) if len(status) else 1
    rows = [
        (s, n, f"{n / total:.2%}" if n / total >= 5e-5 else "< 0.01%", STATUS_MEANINGS.get(s, ""))
        for s, n in status.itertuples(index=False)
    ]
    out.print(display.table("what became of the SNPs", ["status", "SNPs", "share", "meaning"], rows, right=["SNPs", "share"]))


def _correlations(cov: CovStruct) -> pd.DataFrame:
    """Genetic correlations: ldsc's own, over the SNPs that both traits have, where its regressions made the structure."""
    own = [p for p in cov.diagnostics.get("pairs", []) if "rg" in p]
    if own:
        names = {"trait_1": "trait_1", "trait_2": "trait_2", "rg": "rg", "rg_se": "se", "rg_z": "z", "rg_p": "p"}
        return pd.DataFrame(own)[list(names)].rename(columns=names)
    return cov.rg()[["trait_1", "trait_2", "rg", "se", "z", "p"]]
