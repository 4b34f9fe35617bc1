"""Figures of a mixed-model run: Manhattan, QQ, profile likelihood, a lead variant's effect; thinned on executors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from gsem_spark.errors import DataError, StorageError
from gsem_spark.report.figures import to_png, to_svg
from gsem_spark.report.genotype_effect import GenotypeEffect, genotype_effect
from gsem_spark.report.h2_profile import Profile, h2_profile
from gsem_spark.report.manhattan import manhattan
from gsem_spark.report.qq import QQPanel, qq
from gsem_spark.steps.genotypes.source import block_source, cohort_of, decode
from gsem_spark.steps.lmm.config import LmmConfig
from gsem_spark.steps.lmm.rows import SCAN_COLUMNS, block_rows
from gsem_spark.steps.lmm.samples import read_samples, trait_data
from gsem_spark.steps.report.data import Keep, ScanPoints, thinned_signals

if TYPE_CHECKING:
    from gsem_spark.steps.lmm.run import LmmRun

LEADS: Final = 40
"""Leads that a Manhattan plot names."""
LEAD_DISTANCE_BP: Final = 1_000_000


def manhattan_of(run: LmmRun, trait: str, design: str, test: str) -> Figure:
    """Manhattan plot of one trait, design and test, leads named."""
    points = points_of(run, trait, design, test)
    hits = run.hits()
    mine = hits[(hits["trait"] == trait) & (hits["design"] == design) & (hits["test"] == test)]
    leads = _leads(mine).assign(signal="factor", factor_only=True, q_snp_p=1.0)
    return manhattan(points.manhattan, None, leads, title=_title(trait, design, test), max_labels=LEADS)


def qq_of(run: LmmRun, trait: str | None = None) -> Figure:
    """QQ plots side by side, one a trait, design and test (at most six)."""
    panels: list[QQPanel] = []
    for row in run.summary["tests"]:
        if trait in (None, row["trait"]) and len(panels) < 6:
            points = points_of(run, row["trait"], row["design"], row["test"]).qq
            inflation = row["lambda_gc"]
            panels.append(QQPanel(_title(row["trait"], row["design"], row["test"]), points,
                                  float("nan") if inflation is None else float(inflation)))
    return qq(panels)


def profile_of(run: LmmRun, trait: str | None = None) -> Figure:
    """Profile likelihood of each trait's heritability; of models without each chromosome all, the first marked."""
    profiles = []
    for row in run.models().to_dict("records"):
        if len(row["profile_hsq"]) and trait in (None, row["trait"]):
            label = f"without chr {row['chr']}" if row["chr"] else ""
            title = f"{row['trait']} ({str(row['likelihood']).upper()})"
            curve = (np.array(row["profile_hsq"], dtype=np.float64), np.array(row["profile_loglik"], dtype=np.float64))
            profiles.append(Profile(title, *curve, float(row["hsq"]), label))
    return h2_profile(profiles)


def effect_of(run: LmmRun, snp: str, trait: str) -> Figure:
    """A trait by the genotype of one variant.

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
    shown = GenotypeEffect(snp, str(row["a1"]), str(row["a2"]), trait, genotypes, values, float(row["beta"]), float(row["se"]),
                           float(row["neglog10p"]))
    return genotype_effect(shown)


def write_figures(run: LmmRun, folder: str | Path) -> list[Path]:
    """Every figure of a run as PNG and SVG; the strongest variant of each trait is the one whose effect is drawn.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    figures: dict[str, Figure] = {}
    for row in run.summary["tests"]:
        name = "_".join(_plain(str(row[k])) for k in ("trait", "design", "test"))
        figures[f"manhattan_{name}"] = manhattan_of(run, row["trait"], row["design"], row["test"])
        if row["design"] == "effect" and row["top_snp"] is not None:
            figures[f"effect_{_plain(row['trait'])}_{_plain(row['top_snp'])}"] = effect_of(run, row["top_snp"], row["trait"])
    figures["qq"] = qq_of(run)
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


def points_of(run: LmmRun, trait: str, design: str, test: str) -> ScanPoints:
    """One trait's tests, thinned."""
    columns = ["chr", "bp", "neglog10p", "trait", "design", "test"]
    return thinned_signals(run.workspace.source("lmm_results", columns, {"run_id": run.run_id}), ["neglog10p"],
                           _of(trait, design, test))[0]


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


def _of(trait: str, design: str, test: str) -> Keep:
    def keep(batch: pa.RecordBatch) -> pa.Array:
        wanted = {"trait": trait, "design": design, "test": test}
        masks = [pc.equal(batch.column(name), value) for name, value in wanted.items()]
        return pc.and_(pc.and_(masks[0], masks[1]), masks[2])

    return keep


def _leads(hits: pd.DataFrame) -> pd.DataFrame:
    """The strongest hits, none within a megabase of a stronger one."""
    kept: list[Any] = []
    for row in hits.sort_values("neglog10p", ascending=False, kind="stable").itertuples():
        if all(row.chr != other.chr or abs(row.bp - other.bp) > LEAD_DISTANCE_BP for other in kept):
            kept.append(row)
        if len(kept) == LEADS:
            break
    return pd.DataFrame([{"snp": r.snp, "chr": r.chr, "bp": r.bp, "neglog10p": r.neglog10p} for r in kept],
                        columns=["snp", "chr", "bp", "neglog10p"])


def _title(trait: str, design: str, test: str) -> str:
    return f"{trait}: {test}" if design == "effect" else f"{trait}: {design} ({test})"


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
