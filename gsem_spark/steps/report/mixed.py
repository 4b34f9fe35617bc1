"""What a report shows of mixed-model runs: scans of one, many or several traits, and bootstraps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.multitrait import trait_correlations
from gsem_spark.report.mixed_content import BootstrapContent, MixedContent, MixedTest
from gsem_spark.steps.found_runs import finished
from gsem_spark.steps.lmm.bootstrap import BootstrapRun, BootstrapStep
from gsem_spark.steps.lmm.figures import drawn_tests, profiles_of, shown_effect
from gsem_spark.steps.lmm.models import component_table
from gsem_spark.steps.lmm.multitrait import MtlmmStep
from gsem_spark.steps.lmm.run import LmmRun
from gsem_spark.steps.lmm.step import LmmStep
from gsem_spark.steps.step import Report

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace

DRAWN: Final = 12
"""Tests of a run that are drawn."""
_KINDS: Final = {LmmStep.name: "Scan under a mixed model", MtlmmStep.name: "Several traits in one mixed model"}
MIXED_STEPS: Final = (*_KINDS, BootstrapStep.name)
"""Steps whose runs have a section among the mixed models."""


def last_mixed_runs(ws: Workspace) -> list[str]:
    """The last scan, the last scan of several traits in one model, and the last bootstrap of each trait, in this order."""
    last: dict[tuple[str, str], RunEntry] = {}
    for step in MIXED_STEPS:
        for entry in ws.runs.of_step(step):
            if entry.status == "done":
                last[step, str(entry.summary.get("trait", ""))] = entry
    return [entry.run_id for _, entry in sorted(last.items(), key=lambda item: (MIXED_STEPS.index(item[0][0]), item[0][1]))]


def mixed_contents(ws: Workspace, runs: Sequence[str]) -> tuple[tuple[MixedContent, ...], tuple[BootstrapContent, ...]]:
    """Gather scans and bootstraps, each in the order given."""
    entries = [finished(ws, MIXED_STEPS, run, "gsem-spark lmm") for run in runs]
    scans = tuple(_scan(ws, e) for e in entries if e.step in _KINDS)
    return scans, tuple(_bootstrap(ws, e) for e in entries if e.step not in _KINDS)


def mixed_settings(ws: Workspace, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings of the runs, by what the page calls them."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        entry = finished(ws, MIXED_STEPS, run, "gsem-spark lmm")
        trait = entry.summary.get("trait")
        found[f"{entry.step} of {trait}" if trait else entry.step] = json.loads(entry.config)
    return found


def _scan(ws: Workspace, entry: RunEntry) -> MixedContent:
    run = LmmRun(ws, _report(entry))
    summary, models = run.summary, run.models()
    tests, notes = _with_effects(run, drawn_tests(run, summary["tests"][:DRAWN]))
    several = models[models["Cg"].map(len) > 0]
    correlations = pd.DataFrame()
    if len(several):
        r = several.iloc[0]
        correlations = trait_correlations(list(map(str, r["traits"])), r["Cg"], r["Cg_cov"], r["Cn"], r["Cn_cov"])
    config = json.loads(entry.config)
    settings = {
        "cohort": str(summary["cohort"]), "kinship": str(summary["kinship_id"] or "none: independent samples"),
        "formula": str(config.get("formula") or ""), "phenotypes": Path(config["phenotypes"]).name,
        "": "each chromosome by the kinship without it" if summary["loco"] else "",
    }  # fmt: skip
    status = {str(k): int(v) for k, v in summary["status"].items()}
    return MixedContent(
        run.run_id, _KINDS[entry.step], settings, (*entry.warnings, *notes), status, models, component_table(models),
        run.tests(), tuple(tests), tuple(profiles_of(models)), correlations,
    )  # fmt: skip


def _with_effects(run: LmmRun, tests: Sequence[MixedTest]) -> tuple[list[MixedTest], list[str]]:
    """Tests with the effect of each trait's strongest variant at the first of them; and why there is none."""
    made, drawn, notes = [], set(), []
    top = {(t["trait"], t["design"], t["test"]): t["top_snp"] for t in run.summary["tests"]}
    for test in tests:
        snp = top[test.trait, test.design, test.test]
        if test.design == "effect" and snp is not None and test.trait not in drawn:
            drawn.add(test.trait)
            try:
                made.append(replace(test, effect=shown_effect(run, str(snp), test.trait)))
                continue
            except DataError as error:
                notes.append(f"{test.trait} by genotype is not drawn: {error.what} ({error.where})")
        made.append(test)
    return made, notes


def _bootstrap(ws: Workspace, entry: RunEntry) -> BootstrapContent:
    run = BootstrapRun(ws, _report(entry))
    config = json.loads(entry.config)
    said = {"n": f"{entry.summary['n']:,}", "kind": config["kind"], "seed": config["seed"],
            "level": f"{100 * config['level']:.3g} %", "samples": f"{entry.summary['samples']:,}"}
    return BootstrapContent(run.run_id, str(entry.summary["trait"]), said, tuple(entry.warnings), run.models(), run.components(),
                            run.intervals())


def _report(entry: RunEntry) -> Report:
    return Report(entry.step, entry.run_id, "skipped", entry.rows, 0.0, entry.summary, entry.warnings)
