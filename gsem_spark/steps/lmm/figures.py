"""Figures of a mixed-model run: Manhattan, QQ, profile likelihood, a lead variant's effect; thinned on executors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure

from gsem_spark.errors import DataError, StorageError
from gsem_spark.methods.clumping import leads_by_distance
from gsem_spark.report.figures import to_png, to_svg
from gsem_spark.report.genotype_effect import GenotypeEffect, genotype_effect
from gsem_spark.report.h2_profile import Profile, h2_profile
from gsem_spark.report.mixed_content import MixedTest
from gsem_spark.report.mixed_sections import manhattan_of_test, qq_of_tests
from gsem_spark.steps.genotypes.source import block_source, cohort_of, decode
from gsem_spark.steps.lmm.config import LmmConfig
from gsem_spark.steps.lmm.rows import SCAN_COLUMNS, block_rows
from gsem_spark.steps.lmm.samples import read_samples, trait_data
from gsem_spark.steps.report.data import ScanPoints, Signals, thinned_signals

if TYPE_CHECKING:
    from gsem_spark.steps.lmm.run import LmmRun

LEAD_DISTANCE_BP: Final = 1_000_000
QQ_PANELS: Final = 6
_KEY: Final = ("trait", "design", "test")
"""Columns that tell the tests of a variant apart."""
_LEAD_COLUMNS: Final = ("snp", "chr", "bp", "a1", "a2", "af", "n", "beta", "se", "p", "neglog10p")


def manhattan_of(run: LmmRun, trait: str, design: str, test: str) -> Figure:
    """Manhattan plot of one trait, design and test, leads named."""
    rows = [row for row in run.summary["tests"] if _key(row) == (trait, design, test)]
    return manhattan_of_test(drawn_tests(run, rows)[0])


def qq_of(run: LmmRun, trait: str | None = None) -> Figure:
    """QQ plots side by side, one a trait, design and test (at most :data:`QQ_PANELS`)."""
    rows = [row for row in run.summary["tests"] if trait in (None, row["trait"])][:QQ_PANELS]
    return qq_of_tests(drawn_tests(run, rows))


def drawn_tests(run: LmmRun, rows: Sequence[Mapping[str, Any]]) -> list[MixedTest]:
    """What figures draw of some of a run's tests (rows of ``run.summary["tests"]``), read in the same passes."""
    hits, points = run.hits(), points_of(run, [_key(row) for row in rows])
    made = []
    for row, drawn in zip(rows, points, strict=True):
        trait, design, test = _key(row)
        mine = hits[(hits["trait"] == trait) & (hits["design"] == design) & (hits["test"] == test)]
        inflation = float("nan") if row["lambda_gc"] is None else float(row["lambda_gc"])
        made.append(MixedTest(trait, design, test, drawn.manhattan, drawn.qq, _leads(mine), inflation))
    return made


def profile_of(run: LmmRun, trait: str | None = None) -> Figure:
    """Profile likelihood of each trait's heritability; of models without each chromosome all, the first marked."""
    return h2_profile([p for p in profiles_of(run.models()) if trait is None or p.title.startswith(f"{trait} (")])


def profiles_of(models: pd.DataFrame) -> list[Profile]:
    """Profile likelihoods of rows of ``lmm_models``."""
    profiles = []
    for row in models.to_dict("records"):
        if len(row["profile_hsq"]):
            label = f"without chr {row['chr']}" if row["chr"] else ""
            title = f"{row['trait']} ({str(row['likelihood']).upper()})"
            curve = (np.array(row["profile_hsq"], dtype=np.float64), np.array(row["profile_loglik"], dtype=np.float64))
            profiles.append(Profile(title, *curve, float(row["hsq"]), label))
    return profiles


def effect_of(run: LmmRun, snp: str, trait: str) -> Figure:
    """A trait by the genotype of one variant; see :func:`shown_effect`."""
    return genotype_effect(shown_effect(run, snp, trait))


def shown_effect(run: LmmRun, snp: str, trait: str) -> GenotypeEffect:
    """What is drawn of a trait by the genotype of one variant.

    Raises
    ------
    DataError
        The run has no single-variant test of it, or the phenotype file is gone or has changed.
    """
    where: Any = {"run_id": run.run_id, "snp": snp, "trait": trait, "design": "effect"}
    rows = run.workspace.rows("lmm_results", where).to_pandas()
    if rows.empty:
        raise DataError(f"there is no test of {snp} on {trait} alone", where=run.run_id, remedy="name a variant of the results")
    row = rows.sort_values("test").iloc[0]
    places, values = adjusted(run, trait)
    genotypes = _genotypes(run, snp, int(row["chr"]))[places]
    return GenotypeEffect(snp, str(row["a1"]), str(row["a2"]), trait, genotypes, values, float(row["beta"]), float(row["se"]),
                          float(row["neglog10p"]))


def write_figures(run: LmmRun, folder: str | Path) -> list[Path]:
    """Every figure of a run as PNG and SVG; the strongest variant of each trait is the one whose effect is drawn.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    figures: dict[str, Figure] = {}
    rows = run.summary["tests"]
    tests = drawn_tests(run, rows)
    for row, test in zip(rows, tests, strict=True):
        figures["manhattan_" + "_".join(_plain(word) for word in _key(row))] = manhattan_of_test(test)
        if row["design"] == "effect" and row["top_snp"] is not None:
            figures[f"effect_{_plain(row['trait'])}_{_plain(row['top_snp'])}"] = effect_of(run, row["top_snp"], row["trait"])
    figures["qq"] = qq_of_tests(tests[:QQ_PANELS])
    if any(len(h) for h in run.models()["profile_hsq"]):
        figures["h2_profile"] = profile_of(run)
    written = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            for ending, content in ((".png", to_png(figure)), (".svg", to_svg(figure).encode())):
                written.append(Path(folder, name + ending))
                written[-1].write_bytes(content)
    except OSError as error:
        raise StorageError(f"figures cannot be written: {error.strerror}", where=str(folder),
                           remedy="choose another folder") from error
    return written


def points_of(run: LmmRun, wanted: Sequence[tuple[str, str, str]]) -> list[ScanPoints]:
    """Tests thinned, each of one trait, design and test."""
    rows = run.workspace.source("lmm_results", ["chr", "bp", "neglog10p", *_KEY], {"run_id": run.run_id})
    signals = [Signals(("neglog10p",), dict(zip(_KEY, key, strict=True))) for key in wanted]
    return [points for (points,) in thinned_signals(rows, signals)]


def adjusted(run: LmmRun, trait: str) -> tuple[np.ndarray, np.ndarray]:
    """Places of a trait's samples among the genotyped ones, and its values less the covariates' part (least squares)."""
    entry = run.workspace.runs.last(run.run_id)
    assert entry is not None
    config = LmmConfig.model_validate({**json.loads(entry.config), "step": 1})
    cohort = cohort_of(run.workspace, str(run.summary["cohort"]))
    table = read_samples(config, cohort.samples)
    if table.version != entry.inputs.get("phenotypes"):
        raise DataError("the phenotypes are no longer those of the run", where=config.phenotypes, remedy="run the scan again")
    environments = () if not config.inter else config.inter
    data = trait_data(config, table, trait, environments)
    fitted = data.X @ np.linalg.lstsq(data.X, data.y, rcond=None)[0]
    return data.places, data.y - fitted


def _genotypes(run: LmmRun, snp: str, chromosome: int) -> np.ndarray:
    """One variant's genotypes of all samples; NaN where missing."""
    source = block_source(run.workspace, str(run.summary["cohort"]), [chromosome], SCAN_COLUMNS)
    read = source.read

    def run_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            for row in block_rows(batch):
                if snp in row["snp"]:
                    values = decode(row)[row["snp"].index(snp)].astype(np.float64)
                    values[values < 0] = np.nan
                    yield pa.RecordBatch.from_arrays([pa.array([values.tobytes()], pa.binary())], names=["values"])

    found = source.frame.mapInArrow(run_task, "values binary").collect()
    return np.frombuffer(bytes(found[0]["values"]), np.float64)


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    trait, design, test = (str(row[name]) for name in _KEY)
    return trait, design, test


def _leads(hits: pd.DataFrame) -> pd.DataFrame:
    """The strongest hits, none within a megabase of a stronger one."""
    ranked = hits.sort_values("neglog10p", ascending=False, kind="stable", ignore_index=True)
    lead = leads_by_distance(ranked["chr"], ranked["bp"], ranked.index, LEAD_DISTANCE_BP)
    leads: pd.DataFrame = ranked.loc[lead == ranked.index, list(_LEAD_COLUMNS)].reset_index(drop=True)
    return leads


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
