"""The report of a run: gathers what the tables hold, draws, and writes one HTML page with its figures beside it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from pyspark.sql import functions as F

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.commonfactor import common_factor
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.report.content import GwasContent, ModelContent, ReportContent
from gsem_spark.report.figures import to_png, to_svg
from gsem_spark.report.html import render_page, report_figures
from gsem_spark.steps.found_runs import FinishedRun, run_id_of
from gsem_spark.steps.gwas.common_factor import GwasStep
from gsem_spark.steps.gwas.run import PER_SNP_STEPS, Run, run_of
from gsem_spark.steps.ldsc.step import read_covstruct
from gsem_spark.steps.models.common_factor import FitStep, read_fit
from gsem_spark.steps.report.data import SCAN_COLUMNS, lead_effects, thinned_scan
from gsem_spark.steps.report.files import ReportFolder
from gsem_spark.steps.report.mixed import MIXED_STEPS, last_mixed_runs, mixed_contents, mixed_settings
from gsem_spark.steps.report.models import user_models
from gsem_spark.steps.report.reconcile import reconcile_content, review_content
from gsem_spark.steps.report.scans import scan_contents
from gsem_spark.thresholds import Q_SNP_ALPHA

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace

_LIBRARIES: Final = ("numpy", "scipy", "pandas", "pyarrow", "numba", "matplotlib")
_TIME: Final = "%Y-%m-%d %H:%M:%S UTC"


def report(
    ws: Workspace, run: FinishedRun | str | None = None, *, title: str | None = None, truth: pd.DataFrame | None = None,
    models: Mapping[str, str] | None = None, scans: Sequence[Run | str] = (), mixed: Sequence[FinishedRun | str] | None = None,
    out: str | Path | None = None,
) -> str:
    """Write the HTML report of a run, with each figure as PNG and SVG beside it.

    Parameters
    ----------
    ws
        The run's workspace.
    run
        What ``common_factor_gwas``, ``user_gwas``, ``multivariate_wald``, ``lmm_scan``, ``mtlmm_scan`` or ``lmm_bootstrap``
        returned, or its run id; by default the last GWAS, or the last mixed-model run of a workspace that has none.
    title
        Heading; by default the traits' names.
    truth
        Where the data were simulated: ``quantity truth estimate se``, one row a comparison.
    models
        Names and run ids of users' models to show; by default the last of each name that has one of the run's traits.
    scans
        Further GWAS to show on the page, each in a section of its own.
    mixed
        Mixed-model runs to show; by default the workspace's last scan, its last of several traits in one model, and the last
        bootstrap of each trait.
    out
        Folder to write to; by default ``reports`` in the workspace.

    Returns
    -------
    str
        Where the page is: ``<out>/<run id>.html``. Files that stood there are replaced, each at once; the same tables give
        the same bytes.

    Raises
    ------
    DataError
        The ledger does not have the run, or it has not ended.
    StorageError
        The folder cannot be written.
    """
    folder = ReportFolder(ws, out)
    content = report_content(ws, run_id_of(run), title=title, truth=truth, models=models, scans=scans, mixed=mixed)
    svgs: dict[str, str] = {}
    for name, figure in report_figures(content).items():
        svgs[name] = to_svg(figure)
        folder.publish(f"{content.run_id}_{name}.svg", svgs[name].encode("utf-8"))
        folder.publish(f"{content.run_id}_{name}.png", to_png(figure))
    return folder.publish(f"{content.run_id}.html", render_page(content, svgs).encode("utf-8"))


def report_content(
    ws: Workspace, run_id: str | None = None, *, title: str | None = None, truth: pd.DataFrame | None = None,
    models: Mapping[str, str] | None = None, scans: Sequence[Run | str] = (), mixed: Sequence[FinishedRun | str] | None = None,
) -> ReportContent:
    """Gather a run's report from the tables; see :func:`report`."""
    own = last_mixed_runs(ws) if mixed is None else [str(run_id_of(given)) for given in mixed]
    entry = _entry(ws, run_id, own)
    if entry.step in MIXED_STEPS:
        return _of_mixed_models(ws, entry, own, title)
    config: dict[str, Any] = json.loads(entry.config)
    cov = _covstruct(ws, entry)
    of_factor = entry.step == GwasStep.name
    fit, kept = _fit(ws, entry, cov, config) if of_factor else (None, {})
    traits, munge = _traits(ws, cov.traits)
    gwas = _gwas(ws, entry, cov) if entry.rows and of_factor else None
    others = [given if isinstance(given, str) else given.run_id for given in scans]
    of_mixed, bootstraps = mixed_contents(ws, own)
    return ReportContent(
        title=title or f"{'Common factor' if of_factor else 'Genome-wide tests'} of {', '.join(cov.traits)}",
        run_id=entry.run_id,
        traits=traits,
        qc=_qc(ws, traits),
        cov=cov,
        model=None if fit is None else ModelContent.from_fit(fit, fit.model.syntax),
        gwas=gwas,
        models=user_models(ws, cov.traits, models),
        scans=scan_contents(ws, [run_of(ws, name) for name in (others if of_factor else [entry.run_id, *others])]),
        mixed=of_mixed,
        bootstraps=bootstraps,
        settings={"munge": munge, "ldsc": dict(cov.settings), **({"common_factor": kept} if kept else {}), entry.step: config,
                  **mixed_settings(ws, own)},
        truth=pd.DataFrame() if truth is None else truth,
        warnings=tuple(entry.warnings),
        provenance=_provenance(ws, entry, cov),
        reconcile=reconcile_content(ws, entry.run_id, gwas.factor_points) if gwas is not None else None,
        review=review_content(ws, entry.run_id),
    )


def sorted_runs(ws: Workspace, runs: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Runs of any kind that shall be on one page: the one that it is of (the first GWAS, else the first), GWAS, mixed models.

    Raises
    ------
    DataError
        The ledger does not have one of them, it has not ended, or it is of a step that has no section.
    """
    every = []
    for run in runs:
        entry = ws.runs.last(run)
        if entry is None or entry.status not in ("done", "empty") or entry.step not in (*PER_SNP_STEPS, *MIXED_STEPS):
            raise DataError(f"there is no finished run {run!r} of gwas, wald, lmm, mtlmm or bootstrap", where=ws.location,
                            remedy=f"gsem-spark runs {ws.location}")
        every.append(entry)
    gwas = [e.run_id for e in every if e.step in PER_SNP_STEPS]
    mixed = [e.run_id for e in every if e.step in MIXED_STEPS]
    return (gwas or mixed)[0], gwas[1:], mixed


def _entry(ws: Workspace, run_id: str | None, mixed: Sequence[str]) -> RunEntry:
    """The ledger's entry of the run that the page is of."""
    if run_id is None:
        gwas = [e for step in PER_SNP_STEPS for e in ws.runs.of_step(step) if e.status in ("done", "empty")]
        if not gwas and not mixed:
            raise DataError("there is no finished run to report", where=ws.location, remedy="run gsem-spark gwas or lmm first")
        run_id = max(gwas, key=lambda e: e.ended or e.started).run_id if gwas else mixed[0]
    entry = ws.runs.last(run_id)
    if entry is None or entry.status not in ("done", "empty"):
        state = "is not in the ledger" if entry is None else f"has the state {entry.status}"
        raise DataError(f"run {run_id} {state}", where=ws.location, remedy="run the GWAS to its end first")
    return entry


def _of_mixed_models(ws: Workspace, entry: RunEntry, others: Sequence[str], title: str | None) -> ReportContent:
    """The page of a mixed-model run: itself first, then the others but for an older one of its kind."""
    kind = (entry.step, entry.summary.get("trait"))
    alike = [e for e in map(ws.runs.last, others) if e is not None and (e.step, e.summary.get("trait")) == kind]
    shown = list(dict.fromkeys([entry.run_id, *(run for run in others if run not in {e.run_id for e in alike})]))
    of_mixed, bootstraps = mixed_contents(ws, shown)
    traits = dict.fromkeys(str(t) for m in of_mixed for t in m.models["traits"].explode())
    names = ", ".join(traits or dict.fromkeys(b.trait for b in bootstraps))
    return ReportContent(
        title=title or f"Mixed models of {names}", run_id=entry.run_id, mixed=of_mixed, bootstraps=bootstraps,
        settings=mixed_settings(ws, shown), provenance=_provenance(ws, entry, None),
    )  # fmt: skip


def _covstruct(ws: Workspace, entry: RunEntry) -> CovStruct:
    return read_covstruct(ws, f"covstruct-{entry.inputs['covstruct']}")


def _fit(ws: Workspace, entry: RunEntry, cov: CovStruct, config: Mapping[str, Any]) -> tuple[Fit, dict[str, Any]]:
    """Read the last kept fit to the run's structure by the run's estimator; make it (it is small) where there is none."""
    for run in reversed(ws.runs.of_step(FitStep.name)):
        settings: dict[str, Any] = json.loads(run.config)
        same = run.inputs.get("covstruct") == entry.inputs["covstruct"] and settings["estimation"] == config["estimation"]
        if same and tuple(settings["traits"]) == cov.traits:
            return read_fit(ws, run.run_id), settings
    made = common_factor(cov, config["estimation"])
    return made, {"traits": list(cov.traits), "estimation": config["estimation"], "identification": "unit_variance"}


def _traits(ws: Workspace, names: Sequence[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the traits' registry rows in the order of the model, and the munge settings that they share."""
    rows = ws.records("traits", {"trait": list(names)})
    rows.sort(key=lambda r: names.index(r["trait"]))
    settings: list[dict[str, Any]] = [json.loads(r["settings"]) for r in rows]
    keys = dict.fromkeys(k for s in settings for k in s)
    return pd.DataFrame(rows), {k: _shared([s.get(k) for s in settings]) for k in keys}


def _shared(values: list[Any]) -> Any:
    return values[0] if all(v == values[0] for v in values) else "by trait: " + ", ".join(map(str, values))


def _qc(ws: Workspace, traits: pd.DataFrame) -> pd.DataFrame:
    if traits.empty:
        return pd.DataFrame()
    rows = pd.DataFrame(ws.records("qc_log", {"file_id": list(traits["file_id"]), "trait": list(traits["trait"])}))
    return rows.sort_values(["trait", "step", "rule"], ignore_index=True) if len(rows) else rows


def _gwas(ws: Workspace, entry: RunEntry, cov: CovStruct) -> GwasContent:
    factor, q = thinned_scan(ws.source("gwas_results", SCAN_COLUMNS, {"run_id": entry.run_id}))
    loci = ws.rows("loci", {"run_id": entry.run_id}).to_pandas()
    loci = loci.sort_values(["signal", "locus"], kind="stable", ignore_index=True)
    summary = dict(entry.summary)
    hits = int(summary.get("factor_hits") or 0)
    named = ws.read("gwas_results").where(F.col("run_id") == entry.run_id).select("lhs").first()
    return GwasContent(
        status={str(k): int(v) for k, v in summary.get("status", {}).items()},
        factor_points=factor.manhattan,
        q_points=q.manhattan,
        factor_qq=factor.qq,
        q_qq=q.qq,
        loci=loci,
        summary={k: summary.get(k) for k in ("lambda_gc", "lambda_gc_q", "mean_chisq", "effective_n")},
        effects=lead_effects(ws, loci, cov.traits) if len(loci) else pd.DataFrame(),
        factor=str(named["lhs"]) if named is not None else "F1",
        q_threshold=Q_SNP_ALPHA / hits if hits else None,
    )


def _provenance(ws: Workspace, entry: RunEntry, cov: CovStruct | None) -> dict[str, str]:
    """Versions and times; what is said comes from the ledger, so that the page does not change from one writing to the next."""
    said = {
        "gsem_spark": entry.code_version,
        "Python": platform.python_version(),
        "Spark": ws.spark.version,
        "table format": ws.format,
        **{name: found for name in _LIBRARIES if (found := _installed(name))},
        "run started": entry.started.strftime(_TIME),
        "run ended": entry.ended.strftime(_TIME) if entry.ended else "",
        "settings hash": entry.config_hash,
    }
    said |= {f"input: {name}": text for name, text in sorted(entry.inputs.items())}
    return said | {f"input of LDSC: {name}": text for name, text in sorted(cov.inputs.items() if cov is not None else ())}


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
