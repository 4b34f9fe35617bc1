"""Verbs of models on a covariance structure: ``fit``, ``esem``, ``parallel-analysis``. A structure from a file needs no Spark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gsem_spark.cli.app import app, out
from gsem_spark.cli.model_files import (
    looks_like_a_file,
    model_text,
    structure_file,
    write_esem,
    write_fit,
    write_parallel,
)
from gsem_spark.cli.options import TraitsOption, open_workspace, structure_of, trait_names
from gsem_spark.errors import ConfigError, ConvergenceError, ModelError

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.methods.sem.fit import Fit

MaybeWorkspace = Annotated[
    str | None,
    typer.Argument(
        metavar="[WORKSPACE]", help="Where fits are kept; none is needed where --covstruct is a file.", show_default=False
    ),
]
StructureOption = Annotated[
    str,
    typer.Option(
        "--covstruct",
        metavar="ID|last|FILE",
        help="Structure of a workspace by its id or the last ldsc run's; or a folder, .json or .npz file with S and V.",
    ),
]
EstimationOption = Annotated[str, typer.Option("--estimation", help="DWLS or ML.")]
FolderOption = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Also write tables, JSON and diagram here.")]


@app.command()
def fit(
    workspace: MaybeWorkspace = None,
    model: Annotated[
        str, typer.Option("--model", metavar="FILE", help="Text file with the model in lavaan syntax, or the model itself.")
    ] = "",
    covstruct: StructureOption = "last",
    traits: TraitsOption = None,
    estimation: EstimationOption = "DWLS",
    std_lv: Annotated[bool, typer.Option("--std-lv", help="Factor variances of 1 instead of first loadings of 1.")] = False,
    bound_residuals: Annotated[
        bool, typer.Option("--bound-residuals", help="Hold residual variances above 0.0001 (against Heywood cases).")
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="What reports call the model; the file's name by default.")] = None,
    save: FolderOption = None,
) -> None:
    """Fit a model in lavaan syntax: estimates, standard errors, fit indices with verdicts, and what is wrong with it.

    Reads covstructs, or files. Writes the table fits, and with --out summary, CSV tables, JSON and path diagram (SVG, PNG, DOT).

    Example: [bold]gsem-spark fit my_study --model two_factors.lav --std-lv --out two_factors[/bold]
    """
    from gsem_spark.methods.sem import Model
    from gsem_spark.steps.models.user_model import user_model

    text, place = model_text(model)
    called = name if name is not None else place.stem if place is not None else ""
    try:
        Model.parse(text, std_lv=std_lv)  # before Spark starts
        cov, ws = find_structure(workspace, covstruct, traits)
        made = user_model(
            cov, text, estimation, std_lv, ws, bound_residuals=bound_residuals, name=called,  # type: ignore[arg-type] # checked there
        )  # fmt: skip
    except ModelError as error:
        raise placed(error, place) from None
    deliver_fit(made, save)


@app.command()
def esem(
    workspace: MaybeWorkspace = None,
    covstruct: StructureOption = "last",
    traits: TraitsOption = None,
    factors: Annotated[int, typer.Option("--factors", help="Number of factors; see parallel-analysis.")] = 2,
    rotation: Annotated[
        str, typer.Option("--rotation", help="geomin, quartimin, oblimin, bi_geomin … (an unknown name lists them all).")
    ] = "geomin",
    estimation: Annotated[str, typer.Option("--estimation", help="DWLS, ML or WLS (weights: V's inverse).")] = "DWLS",
    cutoff: Annotated[float, typer.Option("--cutoff", help="Smallest loading that the suggested model keeps.")] = 0.3,
    save: FolderOption = None,
) -> None:
    """Explore: factors behind all traits, rotated, with standard errors, and a confirmatory model made from the loadings.

    Reads covstructs, or files. Writes nothing but --out: loadings, correlations, fit indices, JSON, path diagram, and model.lav
    for gsem-spark fit.

    Example: [bold]gsem-spark esem my_study --factors 2 --out esem[/bold]
    """
    from gsem_spark.methods.sem.esem import esem as run
    from gsem_spark.methods.sem.write_model import write_model

    cov, _ = find_structure(workspace, covstruct, traits)
    made = run(cov, factors, rotation, estimation)  # type: ignore[arg-type] # checked there
    out.print(made.summary(), markup=False, highlight=False, soft_wrap=True)
    try:
        suggested = write_model(made.loadings, cutoff, bound_residuals=False)
        said = f"\nModel of loadings from {cutoff:g}, to be confirmed on other data:\n\n{suggested}"
        out.print(said, markup=False, highlight=False, soft_wrap=True)
    except ModelError as error:
        suggested = ""
        out.print(f"\nNo confirmatory model from loadings of {cutoff:g}: {error}", markup=False, highlight=False, soft_wrap=True)
    if save is not None:
        say_written(write_esem(made, suggested, save), save)


@app.command("parallel-analysis")
def parallel_analysis(
    workspace: MaybeWorkspace = None,
    covstruct: StructureOption = "last",
    traits: TraitsOption = None,
    draws: Annotated[int, typer.Option("--draws", help="Matrices drawn without genetic correlation.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws.")] = 0,
    save: FolderOption = None,
) -> None:
    """Say how many factors the traits have: eigenvalues beside those that sampling error alone would give.

    Reads covstructs, or files. Writes nothing but --out: the table as CSV and the scree plot.

    Example: [bold]gsem-spark parallel-analysis my_study --draws 1000[/bold]
    """
    from gsem_spark.methods.sem.parallel import parallel_analysis as run

    cov, _ = find_structure(workspace, covstruct, traits)
    made = run(cov, draws, seed)
    out.print(made.summary(), markup=False, highlight=False, soft_wrap=True)
    if save is not None:
        say_written(write_parallel(made, save), save)


def deliver_fit(fit: Fit, folder: Path | None) -> None:
    """Print a fit and write it where a folder is named; a fit without an optimum leaves with the exit status of its kind."""
    print_fit(fit)
    if folder is not None:
        say_written(write_fit(fit, folder), folder)
    if not fit.converged:
        raise ConvergenceError("the fit did not converge: the numbers above are not estimates", remedy="see its notes")


def print_fit(fit: Fit) -> None:
    """Print a fit as lavaan's summary reads, then its overall verdict and what its examination found."""
    out.print(fit.summary(), markup=False, highlight=False, soft_wrap=True)
    out.print(f"\nDiagnosis (fit: {fit.verdict['overall']}):", markup=False, highlight=False)
    for finding in fit.diagnosis:
        out.print(f"  - {finding}", markup=False, highlight=False, soft_wrap=True)


def find_structure(workspace: str | None, covstruct: str, traits: str | None) -> tuple[CovStruct, Workspace | None]:
    """Find the covariance structure, in a file or in the workspace, and open the workspace where one is named."""
    ws = None if workspace is None else open_workspace(workspace)
    if looks_like_a_file(covstruct):
        cov = structure_file(Path(covstruct))
    elif ws is not None:
        return structure_of(ws, covstruct, traits), ws
    else:
        raise ConfigError(
            f"{'no covariance structure is given' if covstruct == 'last' else f'there is no file {covstruct!r}'}",
            where="--covstruct",
            remedy="name a workspace (gsem-spark fit WORKSPACE …), or a folder, .json or .npz file with S and V",
        )
    names = trait_names(traits)
    return (cov.subset(names) if names else cov), ws


def placed(error: ModelError, place: Path | None) -> ModelError:
    """Name the file in an error on a line of it."""
    if place is None or not error.where.startswith("model line"):
        return error
    return ModelError(error.what, where=f"{place}, {error.where.removeprefix('model ')}", remedy=error.remedy)


def say_written(names: list[str], folder: Path) -> None:
    """Print which files a folder got."""
    out.print(f"\nwritten to {folder}: {', '.join(names)}", markup=False, highlight=False, soft_wrap=True)
