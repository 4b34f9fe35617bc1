"""What of a genome-wide scan reaches a figure: cells instead of SNPs, by rules that pandas and Spark share.

A cell is a pair of integers computed from one row alone; of each cell one row is kept, the one with the largest
-log10 p (of equals, the one at the largest position), with the number of rows it stands for. The same cells are given as
SQL expressions, so that executors can group by them and nothing with one row a SNP leaves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

_MEDIAN_P = 0.5


@dataclass(frozen=True)
class ManhattanCells:
    """The grid of a Manhattan plot: fine (by default every position) above ``tail_from``, coarse below.

    Parameters
    ----------
    tail_from
        -log10 p from which on the tail's grid holds.
    bp_bin, y_bin
        Cell size below it: base pairs, -log10 p. The defaults are below a point's size in a page-wide figure.
    tail_bp_bin, tail_y_bin
        Cell size in the tail; a ``tail_bp_bin`` of 1 keeps every position.
    """

    tail_from: float = 4.0
    bp_bin: int = 2_000_000
    y_bin: float = 0.05
    tail_bp_bin: int = 1
    tail_y_bin: float = 0.001

    @classmethod
    def for_scan(cls, span_bp: float, n_tail: int, *, columns: int = 1200, max_tail: int = 100_000) -> ManhattanCells:
        """Return the grid for a scan of a total length and a number of SNPs with -log10 p above 4.

        The coarse grid has ``columns`` columns however long the scan is (one chromosome or all); a tail of more than
        ``max_tail`` SNPs is put on a grid ten times finer than that, which no page can show the difference of.
        """
        bp_bin = max(int(span_bp) // columns, 1)
        if n_tail <= max_tail:
            return cls(bp_bin=bp_bin)
        return cls(bp_bin=bp_bin, tail_bp_bin=max(bp_bin // 10, 1), tail_y_bin=0.02)

    def sql(self, y: str = "neglog10p", bp: str = "bp") -> tuple[str, str]:
        """Return the cell of a row as two SQL expressions (bigint): position cell, -log10 p cell.

        The tail's cells are negative, so that the pair alone says which grid it is on.
        """
        tail = f"{y} >= {self.tail_from!r}D"
        return (
            f"CASE WHEN {tail} THEN -1 - CAST(floor({bp} / {self.tail_bp_bin}D) AS BIGINT) "
            f"ELSE CAST(floor({bp} / {self.bp_bin}D) AS BIGINT) END",
            f"CASE WHEN {tail} THEN CAST(floor({y} / {self.tail_y_bin!r}D) AS BIGINT) "
            f"ELSE CAST(floor({y} / {self.y_bin!r}D) AS BIGINT) END",
        )

    def cells(self, bp: pd.Series, y: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Return the cells of rows: what :meth:`sql` computes, on pandas series."""
        tail = y >= self.tail_from
        bp_cell = (-1 - np.floor(bp / self.tail_bp_bin)).where(tail, np.floor(bp / self.bp_bin))
        y_cell = np.floor(y / self.tail_y_bin).where(tail, np.floor(y / self.y_bin))
        return bp_cell.astype(np.int64), y_cell.astype(np.int64)


def thin_for_manhattan(frame: pd.DataFrame, cells: ManhattanCells | None = None, *, y: str = "neglog10p") -> pd.DataFrame:
    """Keep one row a cell.

    Parameters
    ----------
    frame
        ``chr`` (numeric codes), ``bp`` and the column ``y`` (-log10 p); rows where any is missing are left out, an
        infinite ``y`` counts as the largest finite one.
    cells
        The grid; its defaults suit a whole genome.
    y
        Name of the -log10 p column.

    Returns
    -------
    frame
        ``chr``, ``bp``, ``neglog10p`` and ``n`` (rows it stands for), ordered by chromosome and position.
    """
    cells = cells or ManhattanCells()
    rows = pd.DataFrame({"chr": frame["chr"], "bp": frame["bp"], "neglog10p": _finite(frame[y])}).dropna()
    rows["bp_cell"], rows["y_cell"] = cells.cells(rows["bp"], rows["neglog10p"])
    rows = rows.sort_values(["chr", "bp_cell", "y_cell", "neglog10p", "bp"], kind="stable")
    groups = rows.groupby(["chr", "bp_cell", "y_cell"], sort=False)
    thinned = groups[["bp", "neglog10p"]].last().join(groups.size().rename("n")).reset_index()
    thinned = thinned.sort_values(["chr", "bp", "neglog10p"], kind="stable", ignore_index=True)
    return thinned[["chr", "bp", "neglog10p", "n"]].astype({"chr": np.int64, "bp": np.int64, "n": np.int64})


_QQ_FINE: Final = 0.005
_QQ_COARSE: Final = 0.05
_QQ_SWITCH: Final = 10.0
_QQ_OFFSET: Final = int(_QQ_SWITCH / _QQ_FINE)


def qq_cell_sql(y: str = "neglog10p") -> str:
    """Return the QQ plot's cell of a row as one SQL expression (bigint): -log10 p in steps of .005 to 10, .05 above."""
    return (
        f"CASE WHEN {y} < {_QQ_SWITCH!r}D THEN CAST(floor({y} / {_QQ_FINE!r}D) AS BIGINT) "
        f"ELSE {_QQ_OFFSET} + CAST(floor(({y} - {_QQ_SWITCH!r}D) / {_QQ_COARSE!r}D) AS BIGINT) END"
    )


def thin_for_qq(neglog10p: pd.Series) -> pd.DataFrame:
    """Return the histogram that :func:`qq_points` starts from: per cell the largest ``observed`` and the count ``n``."""
    y = _finite(neglog10p).dropna()
    cell = np.floor(y / _QQ_FINE).where(y < _QQ_SWITCH, _QQ_OFFSET + np.floor((y - _QQ_SWITCH) / _QQ_COARSE)).astype(np.int64)
    groups = y.groupby(cell.to_numpy())
    return pd.DataFrame({"observed": groups.max(), "n": groups.size()}).reset_index(drop=True)


def qq_points(histogram: pd.DataFrame) -> pd.DataFrame:
    """Turn a histogram of -log10 p into exact points of the QQ plot.

    The largest value of a cell has as many values above it as the higher cells hold, so that its rank, and with it its
    expected value -log10((rank - 1/2) / n), is exact; thinning only leaves points out.

    Parameters
    ----------
    histogram
        ``observed`` (largest -log10 p of the cell) and ``n`` (rows in it), any order.

    Returns
    -------
    frame
        ``expected``, ``observed``, ``rank`` (1 = smallest p), ``n``; by falling ``observed``.
    """
    rows = histogram.sort_values("observed", ascending=False, kind="stable", ignore_index=True)
    counts = rows["n"].to_numpy(np.int64)
    rank = np.cumsum(counts) - counts + 1
    total = int(counts.sum())
    expected = -np.log10((rank - 0.5) / max(total, 1))
    return pd.DataFrame({"expected": expected, "observed": rows["observed"].to_numpy(np.float64), "rank": rank, "n": counts})


def lambda_gc(points: pd.DataFrame, df: int = 1) -> float:
    """Return the genomic inflation factor read from QQ points: the median's chi-square over its expectation.

    Parameters
    ----------
    points
        What :func:`qq_points` returns; the median p is interpolated between its two neighbours.
    df
        Degrees of freedom of the test: 1 for a Z, traits - 1 for Q_SNP.

    Returns
    -------
    float
        NaN for an empty frame.
    """
    if points.empty:
        return float("nan")
    rows = points.sort_values("expected", kind="stable")
    median = np.interp(-np.log10(_MEDIAN_P), rows["expected"], rows["observed"])
    return float(stats.chi2.isf(10.0**-median, df) / stats.chi2.isf(_MEDIAN_P, df))


def _finite(y: pd.Series) -> pd.Series:
    values = y.astype(np.float64)
    finite = values[np.isfinite(values)]
    top = float(finite.max()) if len(finite) else np.nan
    return values.replace(np.inf, top)
