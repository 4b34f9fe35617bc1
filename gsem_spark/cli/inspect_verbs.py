"""Verbs that look: ``doctor``, ``tables``, ``runs``, ``export``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from gsem_spark.cli import display
from gsem_spark.cli.app import app, err, out, show_warning
from gsem_spark.cli.options import QuietOption, WorkspaceArgument, open_workspace
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.errors import ConfigError


@app.command()
def doctor(
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="Folder that must be writable.")] = ".",
    spark: Annotated[bool, typer.Option("--spark/--no-spark", help="Also start Spark and ask a worker for its versions.")] = True,
) -> None:
    """Check Java, Spark, Delta jars, memory, write access and library versions; say the remedy for each fault.

    Reads nothing of yours and writes nothing but the cache of Delta jars. The exit status is 1 when something fails.

    Example: [bold]gsem-spark doctor --workspace my_study[/bold]
    """
    from gsem_spark.doctor import run_checks

    with err.status("checking …") if err.is_terminal else nullcontext():
        found = list(run_checks(workspace, spark=spark))
    out.print(display.checks(found))
    failed = [c.name for c in found if c.state == "fail"]
    if failed:
        err.print(f"not fit to run: {', '.join(failed)}", style="red")
        raise typer.Exit(1)
    out.print("fit to run")


@app.command()
def tables(
    workspace: Annotated[
        str | None, typer.Argument(metavar="[WORKSPACE]", help="Folder of the workspace, or catalog.schema.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option("--schema", metavar="TABLE", help="Print the columns of a table ('all': of every table).")
    ] = None,
) -> None:
    """List a workspace's tables with rows, versions and last run; or print what a table's columns mean.

    Reads the workspace's tables and ledger; writes nothing.

    Examples: [bold]gsem-spark tables my_study[/bold], [bold]gsem-spark tables --schema gwas_results[/bold]
    """
    from gsem_spark.catalog.schemas import SCHEMAS, schema_of

    if schema is not None:
        for chosen in SCHEMAS.values() if schema == "all" else [schema_of(schema)]:
            out.print(display.schema(chosen))
        return
    if workspace is None:
        raise ConfigError("no workspace given", remedy="gsem-spark tables WORKSPACE, or gsem-spark tables --schema TABLE")
    ws = open_workspace(workspace)
    last = {name: entry.run_id for entry in ws.runs.all() if entry.status in ("done", "empty") for name in _writes(entry.step)}
    rows = [(t.name, t.rows, t.version, t.files, last.get(t.name, "")) for t in ws.tables()]
    numbers = ["rows", "version", "files"]
    out.print(display.table(f"{ws.location} ({ws.format})", ["table", *numbers, "last run"], rows, right=numbers))


@app.command()
def runs(
    workspace: WorkspaceArgument,
    step: Annotated[str | None, typer.Option("--step", help="Only runs of this step.")] = None,
) -> None:
    """List the runs of a workspace: step, how each ended, rows, seconds, warnings.

    Reads the table runs; writes nothing.

    Example: [bold]gsem-spark runs my_study --step gwas[/bold]
    """
    ws = open_workspace(workspace)
    entries = [e for e in ws.runs.all() if step is None or e.step == step]
    rows = [(e.run_id, e.status, e.rows, e.seconds, f"{e.started:%Y-%m-%d %H:%M}", "\n".join(e.warnings)) for e in entries]
    out.print(display.table("", ["run", "status", "rows", "seconds", "started", "warnings"], rows, right=["rows", "seconds"]))


@app.command()
def export(
    workspace: WorkspaceArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Table to export, e.g. gwas_results, loci, sumstats.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Tab-separated file to write; gzip when it ends in .gz.")],
    run: Annotated[
        str | None, typer.Option("--run", help="Only this run; the last one by default where the table has runs.")
    ] = None,
    trait: Annotated[str | None, typer.Option("--trait", help="Only this trait, where the table has traits.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Columns of the reference program's files (mtag_results, one trait a file).")
    ] = False,
    as_: Annotated[
        str | None, typer.Option("--as", metavar="FORMAT", help="gwas_results for genomicsem, gwas-ssf, ldsc or fuma.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option("--path", metavar="F1~SNP", help="With --as: only this path; may be repeated.")
    ] = None,
    n: Annotated[float | None, typer.Option("--n", help="With --as: sample size in place of the effective one.")] = None,
    assembly: Annotated[str, typer.Option("--assembly", help="With --as gwas-ssf: genome assembly, e.g. GRCh37.")] = "unknown",
    bgzip: Annotated[bool, typer.Option("--bgzip", help="With --as: blocked gzip with a tabix index.")] = False,
    smooth_check: Annotated[bool, typer.Option("--smooth-check", help="With --as genomicsem: the column Z_smooth.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a table of results as one tab-separated text file, ordered by chromosome and position.

    Reads one table; writes FILE, at once or not at all. One chromosome at a time passes through the driver. With --as a GWAS
    becomes what other programs read, one file a path of the SNP.

    Examples: [bold]gsem-spark export my_study gwas_results factor.tsv.gz[/bold],
    [bold]gsem-spark export my_study gwas_results factor.tsv.gz --as gwas-ssf --assembly GRCh37 --bgzip[/bold]
    """
    from gsem_spark.steps.export.table import export_table

    if as_ is not None:
        _export_gwas(workspace, table, target, as_, run, path, n, assembly, bgzip, smooth_check, quiet)
        return
    rows = export_table(
        open_workspace(workspace), table, target, run_id=run, trait=trait, reference=reference, progress=progress_of(quiet)
    )
    out.print(f"{target}: {rows:,} rows")


def _export_gwas(
    workspace: str, table: str, target: Path, as_: str, run: str | None, path: list[str] | None, n: float | None, assembly: str,
    bgzip: bool, smooth_check: bool, quiet: bool,
) -> None:
    from gsem_spark.steps.export.gwas import export_gwas

    if table != "gwas_results":
        raise ConfigError(f"table {table} has no formats of other programs", where="--as", remedy="gwas_results has")
    for made in export_gwas(
        open_workspace(workspace), target, as_, run_id=run, paths=path, n=n, assembly=assembly, bgzip=bgzip,  # type: ignore[arg-type]
        smooth_check=smooth_check, progress=progress_of(quiet),
    ):
        size = f", N {made.n:,.0f}" if made.n is not None else ""
        out.print(f"{made.file}: {made.path}, {made.rows:,} SNPs{size}", highlight=False)
        for other in made.others:
            out.print(str(other), highlight=False)
        if made.left_out:
            show_warning(f"{made.left_out:,} SNPs without an estimate are left out")
        if made.without_frequency:
            show_warning(f"{made.without_frequency:,} SNPs have no effect allele frequency: the GWAS Catalog asks for one")


def _writes(step: str) -> tuple[str, ...]:
    from gsem_spark.steps.registry import STEPS

    return STEPS[step].writes if step in STEPS else ()
