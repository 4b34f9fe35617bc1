"""Verbs of what is made of a factor GWAS and MTAG together: ``reconcile``, ``review``."""

from __future__ import annotations

from typing import Annotated

import typer

from gsem_spark.cli.app import app, show_warning
from gsem_spark.cli.mtag_results import print_reconcile, print_review
from gsem_spark.cli.options import QuietOption, WorkspaceArgument, open_workspace, trait_names
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_reports
from gsem_spark.thresholds import (
    CLUMP_WINDOW_BP,
    GENOME_WIDE_P,
    MAX_FDR_WARN,
    Q_SNP_ALPHA,
    REPLICATION_ALPHA,
    REPLICATION_POWER,
)


@app.command()
def reconcile(
    workspace: WorkspaceArgument,
    gwas_run: Annotated[str | None, typer.Option("--gwas", metavar="RUN", help="Factor GWAS; the last one by default.")] = None,
    mtag_run: Annotated[str | None, typer.Option("--mtag", metavar="RUN", help="MTAG run; the last one by default.")] = None,
    replication: Annotated[
        str | None, typer.Option("--replication", metavar="A,B", help="Independent munged traits in which leads are looked up.")
    ] = None,
    replication_file: Annotated[
        str | None, typer.Option("--replication-file", metavar="FILE", help="An independent cohort: columns snp a1 a2 beta se.")
    ] = None,
    blocks: Annotated[str | None, typer.Option("--blocks", metavar="FILE", help="LD blocks (BED); else by distance.")] = None,
    fdr_run: Annotated[
        str | None, typer.Option("--fdr", metavar="RUN", help="maxFDR search; the last one of the MTAG run by default.")
    ] = None,
    genome_wide_p: Annotated[float, typer.Option("--p", help="Genome-wide significance.")] = GENOME_WIDE_P,
    q_alpha: Annotated[float, typer.Option("--q-alpha", help="Family-wise level of Q_SNP.")] = Q_SNP_ALPHA,
    window_bp: Annotated[int, typer.Option("--window", metavar="BP", help="Distance clumping.")] = CLUMP_WINDOW_BP,
    max_fdr: Annotated[float, typer.Option("--max-fdr", help="Trait-specific claims need a maxFDR below it.")] = MAX_FDR_WARN,
    replication_alpha: Annotated[
        float, typer.Option("--replication-alpha", help="One-sided level of replication.")
    ] = REPLICATION_ALPHA,
    replication_power: Annotated[
        float, typer.Option("--replication-power", help="Panels with less power do not speak against a SNP.")
    ] = REPLICATION_POWER,
    quiet: QuietOption = False,
) -> None:
    """Hold a factor GWAS and MTAG side by side: each locus with its pattern, cause, action, and what may be claimed.

    Reads both runs and sumstats. Writes reconciled_loci and reconciled_effects.

    Example: [bold]gsem-spark reconcile my_study[/bold]
    """
    from gsem_spark.steps.reconcile.step import reconcile as run

    done = run(
        open_workspace(workspace), gwas_run, mtag_run, trait_names(replication) or None, blocks, fdr_run=fdr_run,
        replication_file=replication_file,
        genome_wide_p=genome_wide_p, q_alpha=q_alpha, window_bp=window_bp, max_fdr=max_fdr,
        replication_alpha=replication_alpha, replication_power=replication_power, progress=progress_of(quiet),
    )
    print_reports([done.report])
    print_reconcile(done)


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
    from gsem_spark.steps.reconcile.review import review as check

    done = check(
        open_workspace(workspace), run, ancestry=ancestry, ld_reference=ld_reference, panel=panel, n_blocks=n_blocks, ldsc=ldsc,
        leave_one_out=leave_one_out, progress=progress_of(quiet),
    )
    print_review(done)
    for text in done.report.warnings:
        show_warning(text)
