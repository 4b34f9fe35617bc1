"""Verbs that do a whole study: ``run`` and ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
import yaml

from gsem_spark.cli import display
from gsem_spark.cli.app import app, err, out, show_warning
from gsem_spark.cli.mtag_results import print_fdr, print_mtag, print_reconcile, print_review
from gsem_spark.cli.options import QuietOption, SetOption
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_run
from gsem_spark.demo import data_folder

if TYPE_CHECKING:
    from gsem_spark.methods.sem.fit import Fit
    from gsem_spark.study import Study, StudyReport

_FACTOR_1_TRAITS: Final = "[AAA, BBB, CCC]"
"""Traits of the demo that truly share one factor."""


@app.command()
def run(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY.yaml", help="Study file; conf/studies/demo.yaml is a commented example.")
    ],
    changes: SetOption = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="STEP", help="Only this step; may be repeated.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, print the settings and the plan, do nothing.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run a study file: references, munge, ldsc, common_factor, gwas, report.

    Reads the files that the study names. Writes the tables of its workspace and the report. Steps that are done are skipped;
    after a crash the same command goes on.

    Example: [bold]gsem-spark run study.yaml --set gwas.gc=conserv --dry-run[/bold]
    """
    from gsem_spark.study import load_study

    loaded = load_study(study, changes or ())
    if dry_run:
        _print_plan(loaded, only or ())
        return
    done = _run(loaded, only or (), quiet)
    _print_study(done)
    _print_report_path(done)


@app.command()
def demo(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder of the demo's tables.")] = Path("gsem_demo"),
    format: Annotated[str, typer.Option("--format", "-f", help="delta, or parquet where Delta cannot be had.")] = "delta",
    print_study: Annotated[
        bool, typer.Option("--print-study", help="Print the demo's study file, commented line by line, and leave.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run the whole job on six simulated GWAS that ship with the package, and compare the estimates with the truth.

    Reads the packaged data. Writes a workspace of some 30 MB with all tables and the HTML report. Takes about a minute.

    Example: [bold]gsem-spark demo --workspace /tmp/gsem_demo --format parquet[/bold]
    """
    from gsem_spark.session import conf_folder
    from gsem_spark.study import load_study, run_study

    path = conf_folder() / "studies" / "demo.yaml"
    if print_study:
        out.print(path.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
        return
    changes = [f"workspace={workspace.absolute()}", f"format={format}"]
    loaded, of_factor_1 = load_study(path, changes), load_study(path, [*changes, f"common_factor.traits={_FACTOR_1_TRAITS}"])
    done = _run(loaded, (), quiet)
    again = run_study(of_factor_1, only=["gwas"], progress=progress_of(quiet))
    _print_study(done)
    _print_factor_1(again)
    _print_report_path(done)
    out.print(f"look around: gsem-spark tables {workspace}", highlight=False, soft_wrap=True)


def _run(study: Study, only: list[str] | tuple[str, ...], quiet: bool) -> StudyReport:
    from gsem_spark.study import run_study

    progress = progress_of(quiet)
    progress.say(f"workspace {study.workspace} ({study.format}), {len(study.traits)} traits")
    if err.is_terminal and not quiet:
        with err.status("starting Spark …"):
            from gsem_spark.study.run import open_or_create

            open_or_create(study)
    return run_study(study, only=only, progress=progress)


def _print_plan(study: Study, only: list[str] | tuple[str, ...]) -> None:
    from gsem_spark.study import plan_study

    out.print(yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False), markup=False, highlight=False, soft_wrap=True)
    rows = [(p.section, p.step, ", ".join(p.reads), ", ".join(p.writes), p.state) for p in plan_study(study, only=only)]
    out.print(display.table("plan (nothing has been run)", ["section", "step", "reads", "writes", "state"], rows))


def _print_study(done: StudyReport) -> None:
    rows: list[tuple[object, ...]] = [(s.step, s.status, s.rows, f"{s.seconds:.1f}") for s in done.steps]
    rows.append(("total", "", "", f"{sum(s.seconds for s in done.steps):.1f}"))
    out.print(display.table("", ["step", "status", "rows", "seconds"], rows, right=["rows", "seconds"]))
    for text in done.warnings:
        show_warning(text)
    if done.fit is not None:
        _print_fit(done.fit, f"common factor of {', '.join(done.fit.model.observed)}")
    for name, fit in done.models.items():
        _print_fit(fit, f"model {name!r} of {', '.join(fit.model.observed)}")
    if done.run is not None and done.run.report.rows:
        print_run(done.run)
    for run in (*done.gwas.values(), *([done.wald] if done.wald is not None else ())):
        print_run(run)
    if done.mtag is not None and done.mtag.report.rows:
        print_mtag(done.mtag)
    if done.fdr is not None:
        print_fdr(done.fdr)
    if done.reconcile is not None:
        print_reconcile(done.reconcile)
    if done.review is not None:
        print_review(done.review)
    _print_comparison(done)


def _print_report_path(done: StudyReport) -> None:
    if done.report_path is not None:
        out.print(f"\nreport: [bold]{done.report_path}[/bold]", highlight=False, soft_wrap=True)


def _print_factor_1(again: StudyReport) -> None:
    """Compare the planted variants with a GWAS of the traits that truly share one factor."""
    from gsem_spark.demo.compare import compare_run, read_truth

    if again.cov is None or again.run is None:
        return
    made = compare_run(again.cov, again.run, read_truth(data_folder() / "raw" / "truth.json"))
    note = "Q_SNP is right when it leaves those of factor 1 alone and flags those of one trait; FFF is not in this model"
    out.print(
        "\nThe six traits were simulated with two factors, so one factor fits them badly and its GWAS blurs them. "
        f"The same GWAS of {_FACTOR_1_TRAITS.strip('[]')}, which share factor 1:",
        highlight=False,
    )
    out.print(display.frame("planted variants, common factor of the first three traits", made.hits, caption=note))


def _print_fit(fit: Fit, title: str) -> None:
    """Print the fit indices of a model without SNPs, each with its judgement."""
    shown = {"χ²": "chisq", "df": "df", "p": "p", "AIC": "aic", "CFI": "cfi", "TLI": "tli", "RMSEA": "rmsea", "SRMR": "srmr"}
    judged = {key: f" ({word})" for key, word in fit.verdict.items()}
    row = [display.number(float(fit.indices[key])) + judged.get(key, "") for key in shown.values()]
    out.print(display.table(title, list(shown), [row]))


def _print_comparison(done: StudyReport) -> None:
    """Estimates beside the truth; every number has its error, so that nobody has to take our word."""
    made = done.comparison
    if made is None:
        return
    note = "z = (estimate − truth) / SE; h2 on the observed scale, on which the data were simulated"
    out.print(display.frame("heritability and intercept against the truth", made.traits, caption=note))
    out.print(display.frame("genetic correlation and cross-trait intercept against the truth", made.pairs))
    out.print(display.frame("planted variants", made.hits))
    for name, within, total, largest in made.agreement():
        out.print(f"{name}: {within} of {total} within 1.96 SE of the truth, largest |z| {largest:.2f}", highlight=False)
    out.print(f"all of S at once: p = {made.joint_p:.2g} (the z's of one draw go together; this test knows it)", highlight=False)
