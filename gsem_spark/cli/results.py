"""What several verbs print: reports of steps, a covariance structure, a GWAS run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from gsem_spark.cli import display
from gsem_spark.cli.app import out, show_warning

if TYPE_CHECKING:
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.gwas import Run
    from gsem_spark.steps.step import Report


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
    """Print a GWAS run's figures and its loci."""
    s = run.summary
    figures = {"λGC": "lambda_gc", "mean χ²": "mean_chisq", "effective N": "effective_n", "SNPs p < 5e-8": "factor_hits"}
    known = [(name, s.get(key)) for name, key in figures.items()]
    status = ", ".join(f"{name} {n:,}" for name, n in s.get("status", {}).items())
    out.print(display.table("GWAS", ["figure", "value"], [("run", run.run_id), *known, ("fits", status)]))


def _correlations(cov: CovStruct) -> pd.DataFrame:
    """Genetic correlations: ldsc's own, over the SNPs that both traits have, where its regressions made the structure."""
    own = [p for p in cov.diagnostics.get("pairs", []) if "rg" in p]
    if own:
        names = {"trait_1": "trait_1", "trait_2": "trait_2", "rg": "rg", "rg_se": "se", "rg_z": "z", "rg_p": "p"}
        return pd.DataFrame(own)[list(names)].rename(columns=names)
    return cov.rg()[["trait_1", "trait_2", "rg", "se", "z", "p"]]
