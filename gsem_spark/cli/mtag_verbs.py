"""Verbs of MTAG: ``mtag``, and ``max-fdr`` for the bound of its false discoveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gsem_spark.cli.app import app, show_warning
from gsem_spark.cli.mtag_results import print_fdr, print_mtag
from gsem_spark.cli.options import (
    QuietOption,
    TraitsOption,
    WorkspaceArgument,
    all_traits,
    open_workspace,
    trait_names,
)
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_reports
from gsem_spark.errors import ConfigError
from gsem_spark.thresholds import GENOME_WIDE_P, MTAG_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.steps.mtag.fdr import FdrRun

IntervalsOption = Annotated[int, typer.Option("--intervals", help="Grid steps of the maxFDR search.")]


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
    n_blocks: Annotated[int, typer.Option("--n-blocks", help="Jackknife blocks of that estimate.")] = 200,
    no_overlap: Annotated[bool, typer.Option("--no-overlap", help="The samples are disjoint.")] = False,
    perfect_gencov: Annotated[bool, typer.Option("--perfect-gencov", help="Genetic correlations are 1.")] = False,
    equal_h2: Annotated[
        bool, typer.Option("--equal-h2", help="Heritabilities are equal besides: a meta-analysis. Needs --perfect-gencov.")
    ] = False,
    numerical: Annotated[bool, typer.Option("--numerical", help="Search for Omega by maximum likelihood.")] = False,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="SECONDS", help="Longest search; said when it is reached.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Make an Omega or Sigma that is not positive semidefinite so.")
    ] = True,
    maf_min: Annotated[float, typer.Option("--maf-min", help="Rows with a MAF of at most this are left out.")] = MTAG_MAF_MIN,
    info_min: Annotated[float | None, typer.Option("--info-min", help="Lowest imputation quality, where known.")] = None,
    n_min: Annotated[
        float | None, typer.Option("--n-min", help="Lowest N; 0 for none. [default: 2/3 of the 90th percentile]")
    ] = None,
    n_max: Annotated[float | None, typer.Option("--n-max", help="Highest N.")] = None,
    n_near_mode: Annotated[
        float | None, typer.Option("--n-near-mode", metavar="SHARE", help="Homogeneous N: so near the most frequent N.")
    ] = None,
    n_near_mode_distance: Annotated[
        float | None, typer.Option("--n-near-mode-distance", metavar="N", help="The same in samples.")
    ] = None,
    keep_ambiguous: Annotated[bool, typer.Option("--keep-ambiguous", help="Keep A/T and C/G variants.")] = False,
    max_fdr: Annotated[bool, typer.Option("--max-fdr", help="Also search for maxFDR, as the verb max-fdr does.")] = False,
    intervals: IntervalsOption = 10,
    quiet: QuietOption = False,
) -> None:
    """Estimate each trait's effects from all traits' GWAS (MTAG), and with --max-fdr the bound of their false discoveries.

    Reads sumstats, and Sigma from where it is told to. Writes mtag_models, mtag_results, and mtag_fdr.

    Example: [bold]gsem-spark mtag my_study --traits A,B,C --max-fdr[/bold]
    """
    from gsem_spark.methods.mtag.numerical import TIME_LIMIT_SECONDS
    from gsem_spark.steps.ldsc.step import chosen_covstruct
    from gsem_spark.steps.mtag.step import mtag as run

    ws, shown = open_workspace(workspace), progress_of(quiet)
    cov = None if covstruct is None else chosen_covstruct(ws, covstruct)
    names = trait_names(traits) or (list(cov.traits) if cov is not None else all_traits(ws))
    done = run(
        ws, names, cov, sigma, omega, no_overlap, perfect_gencov, equal_h2, panel=panel, n_blocks=n_blocks, numerical=numerical,
        time_limit_seconds=TIME_LIMIT_SECONDS if time_limit is None else time_limit, repair=repair, maf_min=maf_min,
        info_min=info_min, n_min="auto" if n_min is None else n_min or None, n_max=n_max, n_near_mode=n_near_mode,
        n_near_mode_distance=n_near_mode_distance, drop_ambiguous=not keep_ambiguous, progress=shown,
    )  # fmt: skip
    print_reports([done.report])
    print_mtag(done)
    if max_fdr:
        _say_fdr(done.max_fdr(intervals, progress=shown))


@app.command("max-fdr")
def max_fdr(
    workspace: WorkspaceArgument,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="MTAG run; the last one by default.")] = None,
    intervals: IntervalsOption = 10,
    p_threshold: Annotated[float, typer.Option("--p-threshold", help="Significance of a hit.")] = GENOME_WIDE_P,
    states: Annotated[
        str | None,
        typer.Option("--states", metavar="TTT,TFF,…", help="States a SNP may be in: T or F by trait; all by default."),
    ] = None,
    fit_causal_share: Annotated[
        bool, typer.Option("--fit-causal-share", help="Search near each trait's share of causal SNPs, fitted to its Z-scores.")
    ] = False,
    causal_share: Annotated[
        str | None, typer.Option("--causal-share", metavar="0.1,0.2,…", help="Those shares, where they are known.")
    ] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Search on between grid points from the best one.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Bound the false discovery rate of an MTAG run's traits (maxFDR) by a search over all ways of sharing causal SNPs out.

    Reads the run's model. Writes mtag_fdr.

    Example: [bold]gsem-spark max-fdr my_study --intervals 10 --refine[/bold]
    """
    from gsem_spark.steps.mtag.fdr import max_fdr as search

    try:
        shares = [float(text) for text in trait_names(causal_share)] or None
    except ValueError:
        raise ConfigError(f"{causal_share!r} is not a list of numbers", where="--causal-share",
                          remedy="give one share a trait: --causal-share 0.1,0.2,0.1") from None
    _say_fdr(search(
        open_workspace(workspace), run, intervals, p_threshold=p_threshold, states=trait_names(states) or None,
        fit_causal_share=fit_causal_share, causal_share=shares, refine=refine, progress=progress_of(quiet),
    ))  # fmt: skip


def _say_fdr(found: FdrRun) -> None:
    print_fdr(found)
    for text in found.warnings:
        show_warning(text)
