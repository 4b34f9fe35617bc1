"""The command line's frame: the application, its global options, and what becomes of errors."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text
from typer.core import TyperGroup

import gsem_spark
from gsem_spark.errors import ConfigError, GsemError, GsemWarning
from gsem_spark.workers import lost_resources

INTERNAL_ERROR_STATUS: Final = 1
INTERRUPTED_STATUS: Final = 130
_VERB_ORDER: Final = (
    "demo", "doctor", "run", "init", "load-references", "munge", "ldsc", "common-factor", "fit", "esem", "parallel-analysis",
    "common-factor-gwas", "gwas", "wald", "t-sem", "multi-snp", "genotypes", "kinship", "lmm", "mtlmm", "bootstrap", "mtag",
    "max-fdr", "reconcile", "review", "report", "tables", "runs", "export", "simulate",
)  # fmt: skip
PLAIN_WIDTH: Final = 120
"""Columns of tables that go to a file or pipe, where no terminal says how wide it is."""


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH)


out = _console(stderr=False)
"""Results go here."""
err = _console(stderr=True)
"""Progress, warnings and errors go here, so that results can be piped."""


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("GSEM_SPARK_DEBUG") == "1"


class GsemGroup(TyperGroup):
    """Runs a verb; an error on purpose becomes a message and its exit status, never a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the verbs in the order in which a user meets them."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _VERB_ORDER.index(name) if name in _VERB_ORDER else len(_VERB_ORDER))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that the command line names."""
        try:
            with warnings.catch_warnings():
                if not debugging():
                    warnings.simplefilter("ignore")
                warnings.simplefilter("always", GsemWarning)
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except GsemError as error:
            if debugging():
                raise
            show_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            err.print("stopped; what was finished is kept, and the same command goes on from there")
            raise typer.Exit(INTERRUPTED_STATUS) from None
        except Exception as error:
            if debugging() or type(error).__module__.startswith(("typer", "click")):  # their own ways to leave
                raise
            cause = _gsem_error_in(error) or _refused_setting(error) or lost_resources(error)
            show_error(cause or _internal(error))
            raise typer.Exit(cause.exit_code if cause else INTERNAL_ERROR_STATUS) from None


app = typer.Typer(
    cls=GsemGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"gsem-spark {gsem_spark.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def gsem_spark_command(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Multivariate GWAS on Apache Spark: raw GWAS files to LD score regression, common factor and its GWAS with Q_SNP.

    Every step keeps its result in a workspace; the same command again does nothing, and after a crash it goes on.

    Start with [bold]gsem-spark demo[/bold], then [bold]gsem-spark run STUDY.yaml[/bold] on your own study.
    """


def show_error(error: GsemError) -> None:
    """Print an error's what, where and remedy: a red panel in a terminal, plain lines elsewhere."""
    rows = [("where", error.where), ("remedy", error.remedy)]
    if err.is_terminal:
        body = Text(error.what)
        for label, text in rows:
            if text:
                body.append(f"\n{label}: ", style="bold").append(text, style="")
        err.print(Panel(body, title=type(error).__name__, title_align="left", border_style="red"))
        return
    lines = [f"error: {error.what}", *(f"  {label}: {text}" for label, text in rows if text)]
    err.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def show_warning(text: str) -> None:
    """Print one warning."""
    err.print(Text("warning: ", style="yellow").append(text, style="default"), highlight=False, soft_wrap=True)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, GsemWarning) or debugging():
        show_warning(str(message))


def _internal(error: BaseException) -> GsemError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:500]
    last = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    return GsemError(
        f"unexpected {type(error).__name__}: {first}",
        where=f"{last.name} (line {last.lineno})" if last else "",
        remedy="set GSEM_SPARK_DEBUG=1 and run again for the traceback; finished steps are kept",
    )


def _refused_setting(error: BaseException) -> GsemError | None:
    """Return a message for a value that a step's config refuses, given as an option of a verb."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return None
    from gsem_spark.study.source import problems_of

    problems = problems_of(error, lambda _: ())
    text = "; ".join(f"{'.'.join(map(str, p.loc))}: {p.what}" for p in problems)
    return ConfigError(text, where="command line", remedy=problems[0].remedy or "see --help")


def _gsem_error_in(error: BaseException) -> GsemError | None:
    """Find an error on purpose behind another exception."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, GsemError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def register_verbs() -> None:
    """Make every verb known to the application; importing their modules does it."""
    from gsem_spark.cli import (  # noqa: F401
        gene_verbs,
        genotype_verbs,
        gwas_verbs,
        inspect_verbs,
        lmm_verbs,
        model_verbs,
        mtag_verbs,
        reconcile_verbs,
        step_verbs,
        study_verbs,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves the process with the exit status.

    Parameters
    ----------
    arguments
        Arguments in place of ``sys.argv``, for the entry points in ``jobs/``.
    """
    register_verbs()
    app(args=None if arguments is None else list(arguments), prog_name="gsem-spark")
