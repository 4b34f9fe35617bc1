"""Verbs of kinship mixed models: ``lmm``, ``mtlmm`` and ``bootstrap``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gsem_spark.cli import display
from gsem_spark.cli.app import app, out
from gsem_spark.cli.options import QuietOption, WorkspaceArgument, open_workspace, trait_names
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_reports
from gsem_spark.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from gsem_spark.steps.lmm.bootstrap import BootstrapRun
    from gsem_spark.steps.lmm.run import LmmRun

PhenotypesArgument = Annotated[
    str, typer.Argument(metavar="PHENOTYPES", help="Text file with FID IID (or IID) and a column a phenotype or covariate.")
]
CovariatesOption = Annotated[str | None, typer.Option("--covariates", metavar="FILE", help="Another such file with covariates.")]
TraitsOption = Annotated[
    str | None, typer.Option("--traits", metavar="A,B", help="Phenotype columns; all that are no covariates by default.")
]
CovarOption = Annotated[str | None, typer.Option("--covar", metavar="A,B", help="Covariate columns; words become indicators.")]
FormulaOption = Annotated[
    str | None, typer.Option("--formula", help="'y ~ sex + age + (1|household)', or '~ sex + age' with --traits.")
]
GaussianizeOption = Annotated[bool, typer.Option("--gaussianize", help="Replace phenotypes by normal quantiles of their ranks.")]
CohortOption = Annotated[str | None, typer.Option("--cohort", help="Genotyped samples; the only ones by default.")]
KinshipOption = Annotated[
    str | None, typer.Option("--kinship", metavar="ID", help="Kinship; the cohort's last by default; none: independent samples.")
]
LocoOption = Annotated[
    bool | None,
    typer.Option("--loco/--no-loco", help="By the kinship made without the chromosome tested; by default where there is one."),
]
MissingWordsOption = Annotated[
    str | None, typer.Option("--na", metavar="-9,NA", help="Words that stand for a missing value; NA NaN nan N/A . by default.")
]
ChromosomesOption = Annotated[
    str | None, typer.Option("--chromosomes", metavar="1,2,5-9", help="Chromosomes to test; all by default.")
]
ExactOption = Annotated[bool, typer.Option("--exact", help="Fit variance components anew for every variant.")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="float64, or float32: dosages in half the time, good to 1e-5.")]
FiguresOption = Annotated[
    str | None, typer.Option("--figures", metavar="FOLDER", help="Draw Manhattan, QQ, profile and effect plots there.")
]
_MODELS = ("trait", "chr", "likelihood", "n", "hsq", "hsq_se", "hsq_p", "sigmasq_g", "sigmasq_e")
_TESTS = ("trait", "design", "test", "tests", "lambda_gc", "hits", "top_snp", "top_neglog10p")


@app.command()
def lmm(
    workspace: WorkspaceArgument,
    phenotypes: PhenotypesArgument,
    traits: TraitsOption = None,
    formula: FormulaOption = None,
    covar: CovarOption = None,
    covariates: CovariatesOption = None,
    gaussianize: GaussianizeOption = False,
    cohort: CohortOption = None,
    kinship: KinshipOption = None,
    loco: LocoOption = None,
    test: Annotated[
        str, typer.Option("--test", metavar="A,B", help="wald_f, wald_chi2, lrt_ml, score, score_chi2, limix_lrt.")
    ] = "wald_f",
    exact: ExactOption = False,
    inter: Annotated[
        str | None, typer.Option("--inter", metavar="A,B", help="Environment columns: test genotype x environment effects.")
    ] = None,
    inter0: Annotated[
        str, typer.Option("--inter0", metavar="main|none|A,B", help="The smaller hypothesis: the main effect, none, or columns.")
    ] = "main",
    step: Annotated[int, typer.Option("--step", metavar="N", help="Test N consecutive variants jointly.")] = 1,
    sets: Annotated[
        str | None, typer.Option("--sets", metavar="FILE", help="Joint tests of sets: a set's and a variant's name a line.")
    ] = None,
    chromosomes: ChromosomesOption = None,
    precision: PrecisionOption = "float64",
    na: MissingWordsOption = None,
    as_trait: Annotated[
        str | None, typer.Option("--as-trait", metavar="NAME,…", help="Also enter the results in sumstats under these names.")
    ] = None,
    figures: FiguresOption = None,
    quiet: QuietOption = False,
) -> None:
    """Test every variant for association with each trait under a mixed model with a kinship.

    Reads genotype_blocks and kinships (verbs genotypes and kinship). Writes lmm_models and lmm_results; with --as-trait also
    sumstats, rejects, qc_log and traits, so that ldsc, mtag and gwas read the results.

    Example: [bold]gsem-spark lmm my_study pheno.tsv --formula 'bmi ~ sex + age' --as-trait BMI[/bold]
    """
    from gsem_spark.steps.lmm.run import LmmRun
    from gsem_spark.steps.lmm.step import LmmStep, lmm_config

    smaller: Any = inter0 if inter0 in ("main", "none") else tuple(trait_names(inter0))
    config = lmm_config(
        phenotypes, _names(traits), formula=formula, covar=_names(covar), covariates=covariates, gaussianize=gaussianize,
        cohort=cohort, kinship=kinship, loco=loco, test=_names(test), exact=exact, inter=_names(inter),
        inter0=smaller, step=step, sets=sets, chromosomes=_numbers(chromosomes), precision=precision, na=_words(na),
    )  # fmt: skip
    ws, names = open_workspace(workspace), trait_names(as_trait)
    run = LmmRun(ws, LmmStep(config, names).run(ws, progress_of(quiet)))
    print_lmm(run, figures)
    if names:
        print_reports([run.enter_traits(names, progress=progress_of(quiet))])


@app.command()
def mtlmm(
    workspace: WorkspaceArgument,
    phenotypes: PhenotypesArgument,
    traits: TraitsOption = None,
    formula: Annotated[
        str | None, typer.Option("--formula", help="'~ sex + age', of fixed effects; random terms are not taken.")
    ] = None,
    covar: CovarOption = None,
    covariates: CovariatesOption = None,
    gaussianize: GaussianizeOption = False,
    cohort: CohortOption = None,
    kinship: KinshipOption = None,
    loco: LocoOption = None,
    designs: Annotated[
        str, typer.Option("--designs", metavar="A,B", help="any, common, difference, specific; all in one pass.")
    ] = "any,common",
    test: Annotated[str, typer.Option("--test", metavar="A,B", help="wald, score, lrt_ml, limix_lrt.")] = "wald",
    genetic: Annotated[
        str, typer.Option("--genetic", help="Form of the traits' genetic covariance: free, diagonal, low_rank.")
    ] = "free",
    residual: Annotated[str, typer.Option("--residual", help="Form of their residual covariance, likewise.")] = "free",
    rank: Annotated[int, typer.Option("--rank", help="Of the low-rank form.")] = 1,
    exact: ExactOption = False,
    chromosomes: ChromosomesOption = None,
    precision: PrecisionOption = "float64",
    na: MissingWordsOption = None,
    figures: FiguresOption = None,
    quiet: QuietOption = False,
) -> None:
    """Test every variant for effects on several traits in one mixed model.

    Reads genotype_blocks and kinships. Writes lmm_models (with the traits' genetic and residual covariances) and lmm_results.

    Example: [bold]gsem-spark mtlmm my_study pheno.tsv --traits bmi,whr --covar sex,age --designs any,common,specific[/bold]
    """
    from gsem_spark.steps.lmm.multitrait import mtlmm_scan

    run = mtlmm_scan(
        open_workspace(workspace), phenotypes, _names(traits), formula=formula, progress=progress_of(quiet), covar=_names(covar),
        covariates=covariates, gaussianize=gaussianize, cohort=cohort, kinship=kinship, loco=loco, designs=_names(designs),
        test=_names(test), genetic=genetic, residual=residual, rank=rank, exact=exact, chromosomes=_numbers(chromosomes),
        precision=precision, na=_words(na),
    )  # fmt: skip
    print_lmm(run, figures)


@app.command()
def bootstrap(
    workspace: WorkspaceArgument,
    phenotypes: PhenotypesArgument,
    trait: Annotated[str | None, typer.Option("--trait", metavar="NAME", help="Phenotype column.")] = None,
    n: Annotated[int, typer.Option("--n", help="Replicates.")] = 1000,
    kind: Annotated[
        str, typer.Option("--kind", help="parametric, or residual (whitened residuals with replacement).")
    ] = "parametric",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same numbers on any number of cores.")] = 1,
    level: Annotated[float, typer.Option("--level", help="Confidence of the intervals.")] = 0.95,
    formula: Annotated[
        str | None, typer.Option("--formula", help="'y ~ sex + age + (1|household)', or '~ sex + age' with --trait.")
    ] = None,
    covar: CovarOption = None,
    covariates: CovariatesOption = None,
    gaussianize: GaussianizeOption = False,
    cohort: CohortOption = None,
    kinship: KinshipOption = None,
    ml: Annotated[bool, typer.Option("--ml", help="Full instead of restricted maximum likelihood.")] = False,
    na: MissingWordsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Bootstrap a trait's mixed model: intervals for its fixed effects, heritability and variances, random terms included.

    Reads kinships. Writes lmm_models, lmm_bootstraps (the replicates) and lmm_intervals.

    Examples: [bold]gsem-spark bootstrap my_study pheno.tsv --formula 'bmi ~ sex + age' --n 1000[/bold],
    [bold]gsem-spark bootstrap my_study pheno.tsv --formula 'bmi ~ age + (1|household)'[/bold]
    """
    from gsem_spark.steps.lmm.bootstrap import lmm_bootstrap

    run = lmm_bootstrap(
        open_workspace(workspace), phenotypes, trait, n, kind, seed, formula=formula, progress=progress_of(quiet),
        covar=_names(covar), covariates=covariates, gaussianize=gaussianize, cohort=cohort, kinship=kinship, level=level,
        reml=not ml, na=_words(na),
    )  # fmt: skip
    print_bootstrap(run)


def print_lmm(run: LmmRun, figures: str | None = None) -> None:
    """Print null models and figures by trait, design and test; draw where a folder is named."""
    print_reports([run.report])
    models = run.models()
    shown = [c for c in _MODELS if models[c].notna().any()]
    if len(models) > 12:  # a model a chromosome: the heritabilities' range says as much
        models = models.groupby(["trait", "likelihood"], as_index=False).first()
    out.print(display.frame("null models" + (" (first chromosome)" if run.summary.get("loco") else ""), models[shown]))
    print_components(run.components())
    for row in run.workspace.records("lmm_models", {"run_id": run.run_id})[:1]:
        if row["Cg"]:
            _print_covariances(row["traits"], row["Cg"], row["Cn"])
    tests = run.tests()
    if len(tests):
        out.print(display.frame(f"tests, run {run.run_id}", tests[list(_TESTS)]))
    if figures is not None:
        written = run.write_figures(figures)
        out.print(f"figures: {len(written)} files in {figures}", highlight=False, soft_wrap=True)


def _print_covariances(traits: list[str], Cg: list[float], Cn: list[float]) -> None:
    k = len(traits)
    for title, cells in (("genetic covariance", Cg), ("residual covariance", Cn)):
        rows = [(trait, *cells[i * k : (i + 1) * k]) for i, trait in enumerate(traits)]
        out.print(display.table(title, ["trait", *traits], rows, right=traits))


def print_components(components: pd.DataFrame) -> None:
    """Print the variance components of models with random terms, those that were tested; nothing where there are none."""
    tested = components[components.groupby("trait")["p"].transform("count") > 0] if len(components) else components
    shown = tested.drop_duplicates(["trait", "name"])[["trait", "name", "variance", "se", "share", "stat", "p"]]
    if len(shown):
        caption = "p: likelihood ratio of the model without the variance, against an equal mixture of chi-squares"
        out.print(display.frame("variance components", shown.rename(columns={"stat": "LRT"}), caption=caption))


def print_bootstrap(run: BootstrapRun) -> None:
    """Print the intervals."""
    print_reports([run.report])
    models = run.models()
    out.print(display.frame("model", models[[c for c in _MODELS if c != "chr" and models[c].notna().any()]]))
    print_components(run.components())
    found = run.intervals()
    found["ends"] = ["" if low != low or low is None else f"{low:.3g} … {high:.3g}"
                     for low, high in zip(found["lower"], found["upper"], strict=True)]
    figures = found.drop_duplicates("name")[["name", "estimate", "bias", "se", "p"]]
    out.print(display.frame(f"bootstrap of {run.summary['trait']}, {run.summary['n']:,} replicates", figures))
    ends = found.pivot_table(index="name", columns="interval", values="ends", aggfunc="first")
    ends = ends.loc[figures["name"], found["interval"].unique()]
    out.print(display.frame(f"{found['level'].iloc[0]:.0%} intervals", ends.reset_index()))


def _names(text: str | None) -> list[str] | None:
    return trait_names(text) or None


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [*text.split(","), ""]


def _numbers(text: str | None) -> list[int] | None:
    """Chromosome numbers of a list with commas and ranges."""
    if text is None:
        return None
    found: list[int] = []
    try:
        for part in trait_names(text):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError:
        raise ConfigError(f"{text!r} is not a list of chromosomes", where="--chromosomes", remedy="write it as 1,2,5-9") from None
    return found
