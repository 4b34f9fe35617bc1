"""Verbs that test every SNP: ``gwas`` (the common factor, or models of one's own) and ``wald``; and how such a run stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gsem_spark.cli import display
from gsem_spark.cli.app import app, out
from gsem_spark.cli.model_files import looks_like_a_file, model_text, structure_file
from gsem_spark.cli.options import QuietOption, TraitsOption, WorkspaceArgument, open_workspace, structure_of, trait_names
from gsem_spark.cli.options import progress as progress_of
from gsem_spark.cli.results import print_reports, print_run
from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN, SNP_SE

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.gwas.run import Run
    from gsem_spark.steps.gwas.status import RunStatus

CovOption = Annotated[
    str, typer.Option("--covstruct", metavar="ID|last|FILE", help="Covariance structure: by id, the last ldsc run's, or a file.")
]
GcOption = Annotated[str, typer.Option("--gc", help="Correction of SEs by the LDSC intercepts: standard, conserv or none.")]
SliceOption = Annotated[
    str | None,
    typer.Option("--slice", metavar="I/N", help="Only the I-th of N parts of the genome; the last part to end finishes the run."),
]
MaxFailedOption = Annotated[
    float | None,
    typer.Option("--max-failed", metavar="SHARE", help="Error above this share of SNPs without a fit; the results stay."),
]
InfoOption = Annotated[float, typer.Option("--info-min", help="Lowest imputation quality.")]
TolerOption = Annotated[
    float | None,
    typer.Option("--toler", help="Tolerance of matrix inversion: share of its diagonal element a pivot must exceed (1e-13)."),
]
MafOption = Annotated[float, typer.Option("--maf-min", help="Lowest minor allele frequency.")]
_MISSING_SHOWN: Final = 8


@app.command("common-factor-gwas")
@app.command("gwas")
def gwas(
    workspace: WorkspaceArgument,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="FILE|TEXT",
                     help="Model in lavaan syntax with SNP as a predictor; may be repeated. The common factor by default."),
    ] = None,
    sub: Annotated[
        list[str] | None, typer.Option("--sub", metavar="ROW", help="Row to keep of every SNP, e.g. 'F1~SNP'; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Keep every row of the model; the SNP's paths by default.")] = False,
    traits: TraitsOption = None,
    covstruct: CovOption = "last",
    gc: GcOption = "standard",
    estimation: Annotated[str, typer.Option("--estimation", help="DWLS or ML.")] = "DWLS",
    std_lv: Annotated[bool, typer.Option("--std-lv", help="Factor variances of 1 instead of first loadings of 1.")] = False,
    free_measurement: Annotated[
        bool, typer.Option("--free-measurement", help="Estimate loadings beside each SNP instead of holding them.")
    ] = False,
    no_q_snp: Annotated[bool, typer.Option("--no-q-snp", help="Without Q_SNP.")] = False,
    omnibus: Annotated[
        bool, typer.Option("--omnibus", help="Also the Wald test of no association with any trait, in the same rows.")
    ] = False,
    snp_se: Annotated[float, typer.Option("--snp-se", help="Standard error given to the SNP's variance.")] = SNP_SE,
    toler: TolerOption = None,
    smooth_check: Annotated[
        bool, typer.Option("--smooth-check/--no-smooth-check", help="Fill z_smooth: the largest change of a Z by smoothing.")
    ] = True,
    info_min: InfoOption = PER_SNP_INFO_MIN,
    maf_min: MafOption = PER_SNP_MAF_MIN,
    part: SliceOption = None,
    max_failed: MaxFailedOption = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="RUN", help="Only show how a run stands ('last': the last one).")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Test every SNP on the common factor, or on models of your own, and for heterogeneity between the traits (Q_SNP).

    Reads sumstats and covstructs. Writes gwas_panel, gwas_results and loci. Goes on where it was interrupted.

    Examples: [bold]gsem-spark gwas my_study[/bold], [bold]gsem-spark gwas my_study --model two_factors.lav --sub 'F1~SNP'[/bold],
    [bold]gsem-spark gwas my_study --slice 3/8[/bold], [bold]gsem-spark gwas my_study --status last[/bold]
    """
    from gsem_spark.steps.gwas.scan import check_failed
    from gsem_spark.steps.gwas.slices import parse_part

    if status is not None:
        print_status(_status(open_workspace(workspace), status))
        return
    _check_share(max_failed)
    cut = None if part is None else parse_part(part)
    given = [(*model_text(text), text) for text in model or []]  # before Spark starts
    _check_model_options(given, sub, everything, free_measurement, no_q_snp)
    ws = open_workspace(workspace)
    cov = _structure(ws, covstruct, traits)
    shared: dict[str, Any] = {
        "gc": gc, "estimation": estimation, "std_lv": std_lv, "snp_se": snp_se, "omnibus": omnibus, "toler": toler,
        "smooth_check": smooth_check, "info_min": info_min, "maf_min": maf_min, "part": cut, "progress": progress_of(quiet),
    }  # fmt: skip
    if given:
        rows = "all" if everything else sub or None
        runs = _run_models(ws, cov, given, sub=rows, q_snp=not no_q_snp, fix_measurement=not free_measurement, **shared)
    else:
        from gsem_spark.steps.gwas.common_factor import common_factor_gwas

        runs = [common_factor_gwas(ws, cov, **shared)]
    _print_runs(runs)
    for run in runs:
        check_failed(run.report, max_failed)


@app.command()
def wald(
    workspace: WorkspaceArgument,
    contrast: Annotated[
        list[str] | None,
        typer.Option("--contrast", "-c", metavar="[NAME:]A=1,B=-1[;…]",
                     help="Weights by trait, several rows set apart by ';'; may be repeated. The omnibus test by default."),
    ] = None,
    traits: TraitsOption = None,
    covstruct: CovOption = "last",
    gc: GcOption = "standard",
    toler: TolerOption = None,
    info_min: InfoOption = PER_SNP_INFO_MIN,
    maf_min: MafOption = PER_SNP_MAF_MIN,
    part: SliceOption = None,
    max_failed: MaxFailedOption = None,
    quiet: QuietOption = False,
) -> None:
    """Test every SNP for association with any of the traits (Wald test with overlap allowed for), and contrasts of its effects.

    Reads sumstats and covstructs. Writes gwas_panel, wald_results and loci. Goes on where it was interrupted.

    Example: [bold]gsem-spark wald my_study --contrast 'MDD against ANX: MDD=1,ANX=-1'[/bold]
    """
    from gsem_spark.steps.gwas.scan import check_failed
    from gsem_spark.steps.gwas.slices import parse_part
    from gsem_spark.steps.gwas.wald import multivariate_wald

    _check_share(max_failed)
    cut = None if part is None else parse_part(part)
    wanted = dict(parse_contrast(text) for text in contrast or [])
    ws = open_workspace(workspace)
    cov = _structure(ws, covstruct, traits)
    contrasts = {name: contrast_matrix(name, rows, cov.traits) for name, rows in wanted.items()} or None
    run = multivariate_wald(
        ws, cov, contrasts, gc, toler=toler, info_min=info_min, maf_min=maf_min, part=cut,  # type: ignore[arg-type] # checked there
        progress=progress_of(quiet),
    )  # fmt: skip
    _print_runs([run])
    check_failed(run.report, max_failed)


def parse_contrast(text: str) -> tuple[str, list[dict[str, float]]]:
    """Read ``name: A=1,B=-1; C=1``: the name (the text itself where there is none) and weights by trait, one mapping a row.

    Raises
    ------
    ConfigError
        A weight is no number, or has no trait.

    Examples
    --------
    >>> parse_contrast("mine: A=1,B=-0.5; C=1")
    ('mine', [{'A': 1.0, 'B': -0.5}, {'C': 1.0}])
    """
    head, colon, tail = text.partition(":")
    name, body = (head.strip(), tail) if colon else (text.strip(), text)
    rows = []
    for line in body.split(";"):
        row = {}
        for term in line.split(","):
            trait, equals, weight = term.partition("=")
            try:
                row[trait.strip()] = float(weight)
            except ValueError:
                equals = ""
            if not (equals and trait.strip()):
                raise ConfigError(f"{term.strip()!r} is not of the form TRAIT=WEIGHT", where=f"--contrast {text}",
                                  remedy="--contrast 'MDD=1,ANX=-1'") from None
        rows.append(row)
    return name, rows


def contrast_matrix(name: str, rows: Sequence[dict[str, float]], traits: Sequence[str]) -> list[list[float]]:
    """Rows of weights in the order of the traits; a :class:`ModelError` names a trait that is not there."""
    unknown = [t for row in rows for t in row if t not in traits]
    if unknown:
        raise ModelError(f"the contrast {name} names {unknown[0]!r}, no trait", remedy=f"traits are {', '.join(traits)}")
    return [[row.get(t, 0.0) for t in traits] for row in rows]


def print_status(status: RunStatus) -> None:
    """Print how a run stands: parts by chromosome, rates, failures by reason, time left."""
    table = status.by_chromosome()
    rows = [
        (r["chr"], f"{r['done']}/{r['slices']}", f"{r['snps_done']:,}/{r['snps']:,}", r["rate"], r["failed"])
        for r in table.to_dict("records")
    ]
    heads = ["chr", "slices done", "SNPs done", "SNPs/s", "not ok"]
    out.print(display.table(f"{status.step}, run {status.run_id}: {status.state}", heads, rows, right=heads))
    if status.reasons:
        out.print(display.table("not ok, by reason", ["reason", "SNPs"], status.reasons.items(), right=["SNPs"]))
    missing = status.slices.loc[status.slices["state"] == "missing", "place"].tolist()
    rate = "" if status.rate is None else f", {status.rate:,.0f} SNPs/s"
    out.print(f"{status.done_snps:,} of {status.total_snps:,} SNPs{rate}", highlight=False)
    if missing:
        more = f" and {len(missing) - _MISSING_SHOWN} more" if len(missing) > _MISSING_SHOWN else ""
        out.print(f"missing: {'; '.join(missing[:_MISSING_SHOWN])}{more}", highlight=False, soft_wrap=True)
        left = status.seconds_left
        out.print("time left: unknown" if left is None else f"time left: {_duration(left)} in one session", highlight=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _print_runs(runs: Sequence[Run]) -> None:
    print_reports([run.report for run in runs])
    for run in runs:
        print_run(run)


def _run_models(
    ws: Workspace, cov: CovStruct, given: Sequence[tuple[str, Path | None, str]], **settings: Any
) -> list[Run]:
    from gsem_spark.cli.model_verbs import placed
    from gsem_spark.steps.gwas.user_gwas import user_gwas, user_gwas_models

    names = [place.stem if place is not None else "" for _, place, _ in given]
    try:
        if len(given) == 1:
            return [user_gwas(ws, cov, given[0][0], name=names[0], **settings)]
        labels = [name if name and names.count(name) == 1 else f"model_{i}" for i, name in enumerate(names, 1)]
        return list(user_gwas_models(ws, cov, dict(zip(labels, (g[0] for g in given), strict=True)), **settings).values())
    except ModelError as error:
        raise placed(error, given[0][1] if len(given) == 1 else None) from None


def _check_model_options(
    given: Sequence[Any], sub: Sequence[str] | None, everything: bool, free_measurement: bool, no_q_snp: bool
) -> None:
    named = {"--sub": bool(sub), "--all": everything, "--free-measurement": free_measurement, "--no-q-snp": no_q_snp}
    idle = [option for option, asked in named.items() if asked]
    if idle and not given:
        raise ConfigError(f"{idle[0]} says something of a model, and no --model is given", where="command line",
                          remedy="give --model; the common factor keeps F1~SNP with Q_SNP and frees its loadings")
    if sub and everything:
        raise ConfigError("--sub and --all exclude each other", where="command line", remedy="leave one of them out")


def _check_share(share: float | None) -> None:
    if share is not None and not 0 <= share <= 1:
        raise ConfigError(f"{share:g} is no share", where="--max-failed", remedy="give a number from 0 to 1, e.g. 0.01")


def _structure(ws: Workspace, covstruct: str, traits: str | None) -> CovStruct:
    if not looks_like_a_file(covstruct):
        return structure_of(ws, covstruct, traits)
    cov, names = structure_file(Path(covstruct)), trait_names(traits)
    return cov.subset(names) if names else cov


def _status(ws: Workspace, run: str) -> RunStatus:
    from gsem_spark.steps.gwas.run import PER_SNP_STEPS
    from gsem_spark.steps.gwas.status import run_status

    if run == "last":
        entries = [e for e in ws.runs.all() if e.step in PER_SNP_STEPS]
        if not entries:
            raise DataError("no GWAS has been run", where=ws.location, remedy=f"gsem-spark gwas {ws.location}")
        run = entries[-1].run_id
    return run_status(ws, run)
