"""One verb a step: ``init``, ``load-references``, ``munge``, ``ldsc``, ``common-factor``, ``report``, ``simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml

from gsem_spark.cli import display
from gsem_spark.cli.app import app, out
from gsem_spark.cli.options import (
    QuietOption,
    TraitsOption,
    WorkspaceArgument,
    all_traits,
    open_workspace,
    structure_of,
    trait_names,
)
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_cov, print_reports
from gsem_spark.errors import ConfigError
from gsem_spark.thresholds import LDSC_INFO_MIN, LDSC_MAF_MIN, PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.steps.munge.traits import Trait

PanelOption = Annotated[str, typer.Option("--panel", help="Name of the LD-score panel.")]
CovOption = Annotated[
    str | None, typer.Option("--covstruct", metavar="ID", help="Covariance structure; that of the last ldsc run by default.")
]
EstimationOption = Annotated[str, typer.Option("--estimation", help="DWLS or ML.")]


@app.command()
def init(
    workspace: WorkspaceArgument,
    format: Annotated[str, typer.Option("--format", "-f", help="delta, or parquet where Delta cannot be had.")] = "delta",
) -> None:
    """Make a workspace: the folder (or catalog.schema) that will hold all tables.

    Writes a marker file; a workspace that is there already is left as it is.

    Example: [bold]gsem-spark init my_study[/bold]
    """
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.session import start_session

    made = Workspace.create(workspace, format, start_session(delta=format != "parquet"))  # type: ignore[arg-type] # checked there
    out.print(f"workspace {made.location} ({made.format})", highlight=False)


@app.command("load-references")
def load_references(
    workspace: WorkspaceArgument,
    variants: Annotated[
        str | None, typer.Option("--variants", metavar="FILE", help="Variant reference: SNP A1 A2 [CHR BP MAF].")
    ] = None,
    ld_scores: Annotated[
        str | None, typer.Option("--ld-scores", metavar="FOLDER", help="1.l2.ldscore.gz …, 1.l2.M_5_50 ….")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FOLDER", help="LD scores of the weights, when elsewhere.")
    ] = None,
    hm3: Annotated[str | None, typer.Option("--hm3", metavar="FILE", help="HapMap 3 list: SNP A1 A2.")] = None,
    panel: PanelOption = "eur",
    quiet: QuietOption = False,
) -> None:
    """Load a variant reference and the LD scores of an ancestry panel.

    Reads text files. Writes the tables reference_variants and ld_scores.

    Example: [bold]gsem-spark load-references my_study --variants ref.txt --ld-scores eur_w_ld_chr --hm3 w_hm3.snplist[/bold]
    """
    from gsem_spark.steps.references.load import load_references as load

    print_reports(load(open_workspace(workspace), variants, ld_scores, weights, panel, hm3=hm3, progress=progress_of(quiet)))


@app.command()
def munge(
    workspace: WorkspaceArgument,
    trait: Annotated[
        list[str] | None,
        typer.Option(
            "--trait",
            "-t",
            metavar="KEY=VALUE,…",
            help="name, file, scale, n, sample_prevalence, population_prevalence, columns.ROLE.",
        ),
    ] = None,
    study: Annotated[Path | None, typer.Option("--study", metavar="FILE", help="Take the traits from a study file.")] = None,
    info_min: Annotated[float, typer.Option("--info-min", help="Lowest imputation quality.")] = PER_SNP_INFO_MIN,
    maf_min: Annotated[float, typer.Option("--maf-min", help="Lowest minor allele frequency.")] = PER_SNP_MAF_MIN,
    ambiguous: Annotated[str, typer.Option("--ambiguous", help="Strand-ambiguous variants: keep or drop.")] = "keep",
    indels: Annotated[bool, typer.Option("--indels/--no-indels", help="Keep insertions and deletions.")] = False,
    compat: Annotated[str | None, typer.Option("--compat", help="genomicsem: the reference's rules, quirks included.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Read raw GWAS files, harmonise them to the variant reference, and keep what every rule did.

    Reads raw files and reference_variants. Writes the tables sumstats, traits, qc_log and rejects.

    Example: [bold]gsem-spark munge my_study --trait name=MDD,file=mdd.tsv.gz,scale=logistic,n=500000,columns.snp=MarkerID[/bold]
    """
    from gsem_spark.steps.munge.step import munge as run

    traits = [parse_trait(text) for text in trait or []]
    if study is not None:
        from gsem_spark.study import load_study

        traits += load_study(study).traits
    if not traits:
        raise ConfigError(
            "no trait given", remedy="gsem-spark munge WORKSPACE --trait name=A,file=a.tsv.gz, or --study STUDY.yaml"
        )
    settings: dict[str, Any] = {"ambiguous": ambiguous, "indels": indels, "compat": compat}
    print_reports([run(open_workspace(workspace), traits, info_min, maf_min, **settings, progress=progress_of(quiet))])


@app.command()
def ldsc(
    workspace: WorkspaceArgument,
    traits: TraitsOption = None,
    n_blocks: Annotated[int, typer.Option("--n-blocks", help="Jackknife blocks.")] = 200,
    panel: Annotated[str | None, typer.Option("--panel", help="LD-score panel; the only one by default.")] = None,
    method: Annotated[
        str, typer.Option("--method", help="genomicsem, or ldsc: that program's reweighted regressions, h2 in two steps.")
    ] = "genomicsem",
    chisq_max: Annotated[
        float | None, typer.Option("--chisq-max", help="Leave out SNPs above it. [default: max(0.001 N, 80); by ldsc no limit]")
    ] = None,
    two_step: Annotated[
        float | None, typer.Option("--two-step", help="Method ldsc: chi-square cut of step 1; 0 for one step. [default: 30]")
    ] = None,
    two_step_pairs: Annotated[
        float | None, typer.Option("--two-step-pairs", help="Method ldsc: the cut for pairs of traits. [default: one step]")
    ] = None,
    chromosomes: Annotated[
        str | None, typer.Option("--chromosomes", metavar="odd|even|1,2,…", help="Chromosomes used; all by default.")
    ] = None,
    info_min: Annotated[float, typer.Option("--info-min", help="Lowest imputation quality.")] = LDSC_INFO_MIN,
    maf_min: Annotated[float, typer.Option("--maf-min", help="Lowest minor allele frequency.")] = LDSC_MAF_MIN,
    save: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Also write S, V, I … as CSV and an ldsc-style log.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Estimate heritabilities, genetic covariances and intercepts by LD score regression.

    Reads sumstats, traits and ld_scores. Writes the tables ldsc_blocks and covstructs; prints h2 and rg.

    Example: [bold]gsem-spark ldsc my_study --traits MDD,ANX,NEU --out ldsc[/bold]
    """
    from gsem_spark.methods.ldsc.two_step import TWO_STEP_CUT
    from gsem_spark.steps.ldsc.step import ldsc as run
    from gsem_spark.steps.references.load import panel_version

    ws = open_workspace(workspace)
    names = trait_names(traits) or all_traits(ws)
    cov = run(
        ws, names, n_blocks, panel=panel_version(ws, panel)[0], method=method,  # type: ignore[arg-type] # checked by the step
        chisq_max=chisq_max, two_step=TWO_STEP_CUT if two_step is None else two_step or None, two_step_pairs=two_step_pairs,
        chromosomes=_chromosomes(chromosomes), info_min=info_min, maf_min=maf_min, progress=progress_of(quiet),
    )  # fmt: skip
    print_cov(cov)
    if save is not None:
        from gsem_spark.methods.ldsc.report import ldsc_report

        cov.to_csv(save)
        (save / "ldsc.log").write_text(ldsc_report(cov), encoding="utf-8")
        out.print(f"matrices and log: {save}", highlight=False)


@app.command("common-factor")
def common_factor(
    workspace: WorkspaceArgument,
    traits: TraitsOption = None,
    covstruct: CovOption = None,
    estimation: EstimationOption = "DWLS",
    identification: Annotated[str, typer.Option("--identification", help="unit_variance or marker.")] = "unit_variance",
) -> None:
    """Fit one factor behind the traits and print estimates, standard errors and fit indices.

    Reads covstructs. Writes the table fits.

    Example: [bold]gsem-spark common-factor my_study --traits MDD,ANX,NEU[/bold]
    """
    from gsem_spark.steps.models.common_factor import common_factor as run

    ws = open_workspace(workspace)
    fit = run(structure_of(ws, covstruct, traits), estimation, identification, ws)  # type: ignore[arg-type] # checked by the step
    out.print(fit.summary(), markup=False, highlight=False)


@app.command()
def report(
    workspace: WorkspaceArgument,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Run of gwas, wald, lmm, mtlmm or bootstrap; may be repeated; the last runs by default."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Write the HTML report of GWAS and mixed-model runs on one page: one file without links to the network.

    Reads the runs' tables. Writes a report folder in the workspace. By default the page is of the last GWAS, or of the last
    mixed-model run where there is none, with the workspace's last mixed models.

    Example: [bold]gsem-spark report my_study[/bold]
    """
    from gsem_spark.steps.report.step import report as write
    from gsem_spark.steps.report.step import sorted_runs

    ws = open_workspace(workspace)
    first, scans, mixed = sorted_runs(ws, run) if run else (None, (), None)
    with progress_of(quiet).stage("report"):
        path = write(ws, first, scans=scans, mixed=mixed)
    out.print(f"report: {path}", highlight=False, soft_wrap=True)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to make.")],
    design: Annotated[str | None, typer.Option("--design", help="demo, three, or a YAML file of settings.")] = None,
    ld_scores: Annotated[
        Path | None, typer.Option("--ld-scores", metavar="FOLDER", help="A real panel instead of a simulated one.")
    ] = None,
    n_snps: Annotated[int | None, typer.Option("--n-snps", help="Number of SNPs.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all draws.")] = None,
    dirty: Annotated[bool | None, typer.Option("--dirty/--clean", help="With or without the usual faults of raw files.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a simulated set that is there.")] = False,
) -> None:
    """Simulate raw GWAS files of several traits with a known truth; by default a set like the demo's.

    Reads LD scores when given. Writes FOLDER/raw (GWAS, references, truth.json) and FOLDER/ld. Needs no Spark.

    Example: [bold]gsem-spark simulate my_set --design three --n-snps 50000 --seed 7[/bold]
    """
    from gsem_spark.steps.simulation.simulate import simulate as run

    truth = run(folder, design=design, ld_scores=ld_scores, n_snps=n_snps, seed=seed, dirty=dirty, overwrite=overwrite)
    rows = [
        (name, kind, truth.N[i], truth.S[i, i], truth.files[name])
        for i, (name, kind) in enumerate(zip(truth.names, truth.kinds, strict=True))
    ]
    out.print(display.table(f"{folder}", ["trait", "format", "N", "h2", "file"], rows, right=["N", "h2"]))


def _chromosomes(text: str | None) -> Literal["odd", "even"] | list[int] | None:
    if text is None:
        return None
    if text in ("odd", "even"):
        return "odd" if text == "odd" else "even"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{text!r} is neither odd, even nor a list of numbers", where="--chromosomes",
                          remedy="--chromosomes odd, or --chromosomes 1,2,3") from None


def parse_trait(text: str) -> Trait:
    """Read ``name=A,file=a.tsv.gz,scale=logistic,columns.snp=ID``; a :class:`ConfigError` names what is wrong."""
    from pydantic import ValidationError

    from gsem_spark.steps.munge.traits import Trait
    from gsem_spark.study.source import model_keys, problems_of

    given: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(
                f"{part!r} is not of the form key=value",
                where=f"--trait {text}",
                remedy="--trait name=A,file=a.tsv.gz,scale=linear",
            )
        if key.strip().startswith("columns."):
            given.setdefault("columns", {})[key.strip().removeprefix("columns.")] = value
        else:
            given[key.strip()] = value if key.strip() in ("name", "file") else yaml.safe_load(value)
    try:
        return Trait.model_validate(given)
    except ValidationError as error:
        problems = problems_of(error, lambda loc: model_keys(Trait, loc))
        raise ConfigError("; ".join(p.what for p in problems), where=f"--trait {text}", remedy=problems[0].remedy) from None


