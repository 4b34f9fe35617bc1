"""Verbs of individual-level data: ``genotypes`` and ``kinship``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gsem_spark.cli import display
from gsem_spark.cli.app import app, out
from gsem_spark.cli.options import QuietOption, WorkspaceArgument, open_workspace
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_reports

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.steps.genotypes.kinship import Kinship

_EIGENVALUES = 5


@app.command()
def genotypes(
    workspace: WorkspaceArgument,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help=".bed .pgen .bgen .vcf .vcf.gz .bcf, a PLINK prefix, or chr{chr}.bed, chr*.bgen."),
    ],
    cohort: Annotated[str, typer.Option("--cohort", metavar="NAME", help="Name of the samples.")] = "cohort",
    maf: Annotated[float, typer.Option("--maf", help="Lowest minor allele frequency.")] = 0.0,
    missing: Annotated[float, typer.Option("--missing", help="Largest share of samples without a genotype.")] = 1.0,
    hwe_p: Annotated[float, typer.Option("--hwe-p", help="Lowest p of the exact test of Hardy-Weinberg proportions.")] = 0.0,
    info: Annotated[float, typer.Option("--info", help="Lowest imputation information, for dosages.")] = 0.0,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="FILE", help="Samples to keep: IID, or FID IID, a line each.")
    ] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="FILE", help="Samples to leave out, likewise.")] = None,
    chromosomes: Annotated[
        str | None, typer.Option("--chromosomes", metavar="1,2,5-9", help="Chromosomes to read; all autosomes by default.")
    ] = None,
    autosomes: Annotated[int, typer.Option("--autosomes", help="Number of autosomes (19 in mice).")] = 22,
    sex_chromosomes: Annotated[str, typer.Option("--sex-chromosomes", help="drop or refuse.")] = "drop",
    multiallelic: Annotated[str, typer.Option("--multiallelic", help="Variants of several alleles: drop or refuse.")] = "drop",
    keep_monomorphic: Annotated[bool, typer.Option("--keep-monomorphic", help="Keep variants that do not vary.")] = False,
    field: Annotated[
        str, typer.Option("--field", help="Field of VCF files: GT, DS or GP; by default DS before GP before GT.")
    ] = "auto",
    sample_file: Annotated[str | None, typer.Option("--sample-file", metavar="FILE", help=".sample file of BGEN files.")] = None,
    as_reference: Annotated[
        bool, typer.Option("--as-reference", help="Make the variants kept the workspace's variant reference too.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Read genotype files of one set of samples, in parallel, with filters on variants and samples.

    Reads PLINK 1 and 2, BGEN, VCF. Writes cohorts, genotype_blocks and qc_log (what each rule dropped); with --as-reference also
    reference_variants.

    Example: [bold]gsem-spark genotypes my_study 'geno/chr{chr}.bed' --cohort ukb --maf 0.01 --missing 0.05 --hwe-p 1e-6[/bold]
    """
    from gsem_spark.steps.genotypes.step import load_genotypes
    from gsem_spark.steps.references.load import load_references

    ws, shown = open_workspace(workspace), progress_of(quiet)
    report = load_genotypes(
        ws, files, cohort, maf=maf, missing=missing, hwe_p=hwe_p, info=info, keep=keep, remove=remove,
        chromosomes=_numbers(chromosomes), autosomes=autosomes, sex_chromosomes=sex_chromosomes, multiallelic=multiallelic,
        keep_monomorphic=keep_monomorphic, field=field, sample_file=sample_file, progress=shown,
    )
    reports = [report]
    if as_reference:
        reports += load_references(ws, cohort=cohort, progress=shown)
    print_reports(reports)
    print_rules(ws, str(report.summary["version"]), cohort, int(report.summary["samples"]))


def print_rules(ws: Workspace, version: str, cohort: str, samples: int) -> None:
    """Print what each rule did to the variants of a load."""
    rules = sorted(ws.records("qc_log", {"file_id": version}), key=lambda r: int(r["step"]))
    rows = [(r["rule"], r["rows_in"], r["rows_dropped"], r["meaning"], ", ".join(r["examples"])) for r in rules]
    kept = rules[-1]["rows_in"] - rules[-1]["rows_dropped"] if rules else 0
    title = f"cohort {cohort}: {samples:,} samples, {kept:,} variants kept"
    columns = ["rule", "variants", "dropped", "meaning", "examples"]
    out.print(display.table(title, columns, rows, right=["variants", "dropped"]))


@app.command()
def kinship(
    workspace: WorkspaceArgument,
    cohort: Annotated[str | None, typer.Option("--cohort", metavar="NAME", help="Cohort; the only one by default.")] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="centred, standardised, gcta, low_rank (of genotypes), pedigree, given (of --file).")
    ] = "centred",
    loco: Annotated[
        bool | None, typer.Option("--loco/--no-loco", help="Also without each chromosome; by default where there are several.")
    ] = None,
    snps: Annotated[str | None, typer.Option("--snps", metavar="FILE", help="Variants to use, a name a line.")] = None,
    maf: Annotated[float, typer.Option("--maf", help="Lowest minor allele frequency of the variants used.")] = 0.0,
    missing: Annotated[float, typer.Option("--missing", help="Largest share of missing genotypes of the variants used.")] = 1.0,
    normalise: Annotated[bool, typer.Option("--normalise", help="Scale to a mean diagonal of 1.")] = False,
    rank: Annotated[int | None, typer.Option("--rank", help="Eigenvectors of a low-rank kinship.")] = None,
    scale: Annotated[
        str, typer.Option("--scale", help="Genotypes of a low-rank kinship: standardised, centred, gcta.")
    ] = "standardised",
    seed: Annotated[int, typer.Option("--seed", help="Of the random start of a low-rank kinship.")] = 1,
    iterations: Annotated[int, typer.Option("--iterations", help="Passes that sharpen a low-rank kinship.")] = 2,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Matrix (text, .npy, .grm.bin) or pedigree (.fam, table id sire dam)."),
    ] = None,
    ids: Annotated[str | None, typer.Option("--ids", metavar="FILE", help="Samples of a matrix without names, in order.")] = None,
    unknown_parents: Annotated[
        str, typer.Option("--unknown-parents", help="Parents without a line in a pedigree: error or founders.")
    ] = "error",
    quiet: QuietOption = False,
) -> None:
    """Make the kinship of a cohort, also without each chromosome, or keep a pedigree's or a given one; with its eigenvectors.

    Reads cohorts and genotype_blocks, or files. Writes kinships, and the eigenvectors to the workspace's folder arrays.

    Examples: [bold]gsem-spark kinship my_study --kind standardised[/bold],
    [bold]gsem-spark kinship my_study --kind given --file gcta.grm.bin[/bold]
    """
    from gsem_spark.steps.genotypes.kinship import kinship as run

    made = run(
        open_workspace(workspace), cohort, kind, loco=loco, snps=snps, maf=maf, missing=missing, normalise=normalise, rank=rank,
        scale=scale, seed=seed, iterations=iterations, file=file, ids=ids, unknown_parents=unknown_parents,
        progress=progress_of(quiet),
    )
    print_reports([made.report])
    print_kinship(made)


def print_kinship(made: Kinship) -> None:
    """Print what a kinship is like."""
    s = made.report.summary
    values = made.spectrum().eigenvalues[::-1]
    largest = ", ".join(display.number(float(v)) for v in values[:_EIGENVALUES])
    left_out = ", ".join(map(str, s["loco"]))
    rows = [
        ("kinship", made.kinship_id), ("kind", s["kind"]), ("cohort", s["cohort"]), ("samples", s["samples"]),
        ("variants", s["variants"]), ("rank", s["rank"]), ("mean diagonal", s["mean_diagonal"]),
        ("largest eigenvalues", largest), ("also without chromosomes", left_out or "none"),
    ]
    out.print(display.table("", ["", "found"], [r for r in rows if r[1] is not None]))


def _numbers(text: str | None) -> tuple[int, ...] | None:
    """Numbers of ``1,2,5-9``; a :class:`ConfigError` where it is not that."""
    from gsem_spark.errors import ConfigError

    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise ConfigError(f"{text!r} is no list of chromosomes", where="--chromosomes", remedy="such as 1,2,5-9")
        found += range(int(low), int(high or low) + 1)
    return tuple(found)
