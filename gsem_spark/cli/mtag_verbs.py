"""Verbs of MTAG and of what is made of it: ``mtag``, ``reconcile``, ``review``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gsem_spark.cli import display
from gsem_spark.cli.app import app, out, show_warning
from gsem_spark.cli.options import QuietOption, TraitsOption, WorkspaceArgument, open_workspace
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.thresholds import MTAG_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.steps.mtag import MtagRun

_SUMMARY = (
    "trait", "n_snps", "n_mean", "mean_chisq", "mtag_mean_chisq", "n_equivalent_mean", "lambda_gc", "mtag_lambda_gc", "hits",
    "mtag_hits",
)  # fmt: skip


@app.command()
def mtag(
    workspace: WorkspaceArgument,
    traits: TraitsOption = None,
    covstruct: Annotated[
        str | None,
        typer.Option("--covstruct", metavar="ID", help="Sigma from this structure's intercepts (last: the last ldsc run's)."),
    ] = None,
    sigma: Annotated[str | None, typer.Option("--sigma", metavar="FILE", help="Sigma from a text file, one row a trait.")] = None,
    omega: Annotated[str | None, typer.Option("--omega", metavar="FILE", help="Omega likewise; estimated by default.")] = None,
    panel: Annotated[str, typer.Option("--panel", help="LD-score panel by which Sigma is estimated by default.")] = "eur",
    no_overlap: Annotated[bool, typer.Option("--no-overlap", help="The samples are disjoint.")] = False,
    perfect_gencov: Annotated[bool, typer.Option("--perfect-gencov", help="Genetic correlations are 1.")] = False,
    equal_h2: Annotated[
        bool, typer.Option("--equal-h2", help="Heritabilities are equal besides: a meta-analysis. Needs --perfect-gencov.")
    ] = False,
    maf_min: Annotated[float, typer.Option("--maf-min", help="Rows with a MAF of at most this are left out.")] = MTAG_MAF_MIN,
    n_min: Annotated[float | None, typer.Option("--n-min", help="Lowest N; 2/3 of the 90th percentile by default.")] = None,
    keep_ambiguous: Annotated[bool, typer.Option("--keep-ambiguous", help="Keep A/T and C/G variants.")] = False,
    max_fdr: Annotated[bool, typer.Option("--max-fdr", help="Search for the upper bound of the false discovery rate.")] = False,
    intervals: Annotated[int, typer.Option("--intervals", help="Grid steps of that search.")] = 10,
    quiet: QuietOption = False,
) -> None:
    """Estimate each trait's effects from all traits' GWAS (MTAG), and with --max-fdr the bound of their false discoveries.

    Reads sumstats, and Sigma from where it is told to. Writes mtag_models, mtag_results, and mtag_fdr.

    Example: [bold]gsem-spark mtag my_study --traits A,B,C --max-fdr[/bold]
    """
    from gsem_spark.cli.step_verbs import _all_traits, _names, _print_reports
    from gsem_spark.steps.found_runs import finished
    from gsem_spark.steps.ldsc import LdscStep, read_covstruct
    from gsem_spark.steps.mtag import mtag as run

    ws, shown = open_workspace(workspace), progress_of(quiet)
    cov = None
    if covstruct is not None:
        last = finished(ws, LdscStep.name, None, "gsem-spark ldsc").run_id if covstruct == "last" else covstruct
        cov = read_covstruct(ws, last)
    names = _names(traits) or (list(cov.traits) if cov is not None else _all_traits(ws))
    done = run(
        ws, names, cov, sigma, omega, no_overlap, perfect_gencov, equal_h2, panel=panel, maf_min=maf_min,
        n_min="auto" if n_min is None else n_min, drop_ambiguous=not keep_ambiguous, progress=shown,
    )
    _print_reports([done.report])
    print_mtag(done)
    if max_fdr:
        found = done.max_fdr(intervals, progress=shown)
        table = found.table()
        out.print(display.frame("maxFDR", table[["trait", "max_fdr", "searched", "feasible"]]))
        for text in found.warnings:
            show_warning(text)


def print_mtag(run: MtagRun) -> None:
    """Print what MTAG gained, and who informs whom."""
    summary, weights = run.summary, run.weights
    out.print(display.frame(f"MTAG, run {run.run_id}", summary[list(_SUMMARY)]))
    table = weights.pivot(index="trait", columns="source", values="share").loc[summary["trait"], summary["trait"]]
    rows = [(trait, *row) for trait, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    names = [str(c) for c in table.columns]
    title = "weights: share of each trait (across) in the estimate of each (down)"
    out.print(display.table(title, ["trait", *names], rows, right=names))


@app.command()
def reconcile(
    workspace: WorkspaceArgument,
    gwas_run: Annotated[str | None, typer.Option("--gwas", metavar="RUN", help="Factor GWAS; the last one by default.")] = None,
    mtag_run: Annotated[str | None, typer.Option("--mtag", metavar="RUN", help="MTAG run; the last one by default.")] = None,
    replication: Annotated[
        str | None, typer.Option("--replication", metavar="A,B", help="Independent munged traits in which leads are looked up.")
    ] = None,
    blocks: Annotated[str | None, typer.Option("--blocks", metavar="FILE", help="LD blocks (BED); else by distance.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Hold a factor GWAS and MTAG side by side: each locus with its pattern, cause, action, and what may be claimed.

    Reads both runs and sumstats. Writes reconciled_loci and reconciled_effects.

    Example: [bold]gsem-spark reconcile my_study[/bold]
    """
    from gsem_spark.cli.step_verbs import _names, _print_reports
    from gsem_spark.steps.reconcile import reconcile as run

    done = run(
        open_workspace(workspace), gwas_run, mtag_run, _names(replication) or None, blocks, progress=progress_of(quiet)
    )
    _print_reports([done.report])
    loci = done.loci()
    if len(loci):
        columns = ["locus", "snp", "chr", "bp", "mtag_traits", "gwas_traits", "pattern", "action", "claim"]
        out.print(display.frame(f"loci, run {done.run_id}", loci[columns], caption=done.rule))
    else:
        out.print("no SNP is significant in any analysis")
    claims = done.trait_claims()
    if len(claims):
        out.print(display.frame("trait-specific SNPs by MTAG", claims[["locus", "snp", "trait", "max_fdr", "claim"]]))


@app.command()
def review(
    workspace: WorkspaceArgument,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Factor GWAS; the last one by default.")] = None,
    ancestry: Annotated[str | None, typer.Option("--ancestry", help="Ancestry of the samples.")] = None,
    ld_reference: Annotated[str | None, typer.Option("--ld-reference", help="LD reference, in words.")] = None,
    panel: Annotated[str | None, typer.Option("--panel", help="LD-score panel for the factor's own output.")] = None,
    n_blocks: Annotated[int, typer.Option("--n-blocks", help="Jackknife blocks of that regression.")] = 200,
    ldsc: Annotated[bool, typer.Option("--ldsc/--no-ldsc", help="Regress the factor's own output on LD scores.")] = True,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out/--no-leave-one-out", help="Find the loci again without each trait.")
    ] = True,
    quiet: QuietOption = False,
) -> None:
    """Print a reviewer's checklist of a factor GWAS, filled from the run: pass, warn, fail or not assessed, with the number.

    Reads the run, its structure, LD scores and reconciliation. Writes reviews.

    Example: [bold]gsem-spark review my_study --ancestry European[/bold]
    """
    from gsem_spark.steps.review import review as check

    done = check(
        open_workspace(workspace), run, ancestry=ancestry, ld_reference=ld_reference, panel=panel, n_blocks=n_blocks, ldsc=ldsc,
        leave_one_out=leave_one_out, progress=progress_of(quiet),
    )
    states = {"pass": "ok", "not assessed": ""}
    items = done.items().astype(str).to_dict("records")
    rows = [(states.get(i["verdict"], i["verdict"]) or "–", i["question"], i["number"], i["place"]) for i in items]
    counts = ", ".join(f"{verdict} {n}" for verdict, n in done.summary["verdicts"].items())
    title = f"review of {done.summary['gwas_run']}: {counts}"
    out.print(display.table(title, ["", "question", "found", "report section"], rows))
    for text in done.report.warnings:
        show_warning(text)
