"""What a report needs of a GWAS run, thinned on executors: cells of the Manhattan plot, QQ histograms, effects of lead SNPs.

No row of a SNP leaves the executors but those that are drawn one by one: the tail above -log10 p of 4 (gridded too, when it
is long) and the lead SNPs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd
from pyspark.sql import functions as F

from gsem_spark.report.thinning import ManhattanCells, qq_cell_sql, qq_points

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from gsem_spark.catalog.workspace import Workspace

FOREST_LOCI: Final = 12
"""Loci whose traits' effects are drawn."""
_LARGEST: Final = 1e6
"""-log10 p that an infinite one is drawn at."""
_SIGNALS: Final = ("neglog10p", "q_snp_neglog10p")


@dataclass(frozen=True)
class ScanPoints:
    """One signal of a scan, thinned: points of the Manhattan plot, points of the QQ plot."""

    manhattan: pd.DataFrame
    qq: pd.DataFrame


def thinned_scan(results: DataFrame) -> tuple[ScanPoints, ScanPoints]:
    """Thin a run's results for the factor and for Q_SNP.

    Parameters
    ----------
    results
        Rows of one run in ``gwas_results``.
    """
    rows = results.select("chr", "bp", *(_capped(s) for s in _SIGNALS))
    spans = rows.groupBy("chr").agg(
        (F.max("bp") - F.min("bp") + 1).alias("span"), *(F.count(F.when(F.col(s) >= 4.0, 1)).alias(s) for s in _SIGNALS)
    ).collect()  # fmt: skip
    span = float(sum(r["span"] or 0 for r in spans))
    grids = [ManhattanCells.for_scan(span, sum(int(r[s]) for r in spans)) for s in _SIGNALS]
    with ThreadPoolExecutor(max_workers=4) as pool:  # small jobs; side by side their overheads overlap
        points = [pool.submit(manhattan_points, rows, s, grid) for s, grid in zip(_SIGNALS, grids, strict=True)]
        histograms = [pool.submit(qq_histogram, rows, s) for s in _SIGNALS]
        factor, q = (ScanPoints(p.result(), qq_points(h.result())) for p, h in zip(points, histograms, strict=True))
    return factor, q


def _capped(signal: str) -> Column:
    value = F.col(signal)
    return F.when(value > _LARGEST, _LARGEST).otherwise(value).alias(signal)  # a null stays null, which least() would not do


def manhattan_points(rows: DataFrame, signal: str, cells: ManhattanCells) -> pd.DataFrame:
    """Keep the strongest row of each cell: what ``thin_for_manhattan`` does, on executors."""
    bp_cell, y_cell = cells.sql(signal, "bp")
    known = rows.where(F.col(signal).isNotNull() & F.col("bp").isNotNull())
    thinned = known.groupBy("chr", F.expr(bp_cell).alias("bp_cell"), F.expr(y_cell).alias("y_cell")).agg(
        F.max(F.struct(F.col(signal).alias("neglog10p"), F.col("bp"))).alias("top"), F.count("*").alias("n")
    )
    frame = thinned.select("chr", "top.bp", "top.neglog10p", "n").toPandas()
    frame = frame.astype({"chr": "int64", "bp": "int64", "neglog10p": "float64", "n": "int64"})
    return frame.sort_values(["chr", "bp", "neglog10p"], kind="stable", ignore_index=True)


def qq_histogram(rows: DataFrame, signal: str) -> pd.DataFrame:
    """Count the SNPs of each QQ cell with the cell's largest value: what ``thin_for_qq`` does, on executors."""
    known = rows.where(F.col(signal).isNotNull())
    cells = known.groupBy(F.expr(qq_cell_sql(signal)).alias("cell")).agg(F.max(signal).alias("observed"), F.count("*").alias("n"))
    return cells.select("observed", "n").toPandas().astype({"observed": "float64", "n": "int64"})


def lead_effects(ws: Workspace, loci: pd.DataFrame, traits: Sequence[str]) -> pd.DataFrame:
    """Read each trait's effect of the strongest lead SNPs of the factor: ``snp trait beta se``, traits in the order given."""
    leads = loci[loci["signal"] == "factor"].nlargest(FOREST_LOCI, "neglog10p", keep="first")
    if leads.empty:
        return pd.DataFrame(columns=["snp", "trait", "beta", "se"])
    chromosomes = sorted({int(c) for c in leads["chr"]})
    partition = F.col("trait").isin(list(traits)) & F.col("chr").isin(chromosomes)
    wanted = partition & F.col("snp").isin(list(leads["snp"])) & F.col("beta").isNotNull()
    rows = ws.read("sumstats").where(wanted).select("snp", "trait", "beta", "se").toPandas()
    place = {trait: i for i, trait in enumerate(traits)}
    return rows.sort_values(["snp", "trait"], key=lambda c: c.map(place) if c.name == "trait" else c, ignore_index=True)
