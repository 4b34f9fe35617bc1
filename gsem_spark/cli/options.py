"""Arguments that several verbs share, and what they open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gsem_spark.cli.app import err
from gsem_spark.errors import DataError

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.progress import Progress

WorkspaceArgument = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Folder of the workspace, or catalog.schema.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. --set gwas.gc=conserv; may be repeated."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results, warnings and errors.")]
TraitsOption = Annotated[
    str | None, typer.Option("--traits", metavar="A,B,C", help="Trait names, in the order of every matrix; all by default.")
]


def open_workspace(location: str) -> Workspace:
    """Open a workspace; where its format can be seen from here, start a session with no more than it needs."""
    from gsem_spark.catalog.workspace import MARKER, Workspace
    from gsem_spark.session import start_session

    marker = Path(location).expanduser() / MARKER
    needs_delta = not marker.is_file() or json.loads(marker.read_text(encoding="utf-8")).get("format") != "parquet"
    return Workspace.open(location, start_session(delta=needs_delta))


def progress(quiet: bool) -> Progress:
    """Progress on standard error: bars in a terminal, lines elsewhere, nothing when quiet."""
    from gsem_spark.steps.progress import Progress, progress_for

    return Progress() if quiet else progress_for(err)


def trait_names(traits: str | None) -> list[str]:
    """Names of a list with commas; none for None."""
    return [name.strip() for name in (traits or "").split(",") if name.strip()]


def all_traits(ws: Workspace) -> list[str]:
    """Every munged trait, by name; a :class:`DataError` says when there is none."""
    names = sorted(r["trait"] for r in ws.records("traits", columns=["trait"]))
    if not names:
        raise DataError("no trait has been munged", where=ws.location, remedy="gsem-spark munge WORKSPACE --trait …")
    return names


def structure_of(ws: Workspace, covstruct: str | None, traits: str | None) -> CovStruct:
    """A covariance structure by its id, that of the last LD score regression for None or ``last``; some of its traits."""
    from gsem_spark.steps.ldsc.step import chosen_covstruct

    cov, names = chosen_covstruct(ws, covstruct), trait_names(traits)
    return cov.subset(names) if names else cov
