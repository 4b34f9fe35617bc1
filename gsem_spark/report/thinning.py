"""What of a genome-wide scan reaches a figure: cells instead of SNPs.

A cell is a pair of integers computed from one row alone; of each cell one row is kept, the one with the largest
-log10 p (of equals, the one at the largest position), with the number of rows it stands for. Thinning what was thinned by
parts gives what thinning the whole gives, so that executors can do it batch by batch and no row a SNP leaves them.
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

    def cells(self, bp: pd.Series, y: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Return the cells of rows: position cell, -log10 p cell.

        The tail's position cells are negative, so that the pair alone says which grid it is on.
        """
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
        infinite ``y`` counts as the largest finite one. A column ``n`` says how many rows a row stands for already.
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
    n = frame.get("n", 1)
    rows = pd.DataFrame({"chr": frame["chr"], "bp": frame["bp"], "neglog10p": _finite(frame[y]), "n": n}).dropna()
    rows["bp_cell"], rows["y_cell"] = cells.cells(rows["bp"], rows["neglog10p"])
    rows = rows.sort_values(["chr", "bp_cell", "y_cell", "neglog10p", "bp"], kind="stable")
    groups = rows.groupby(["chr", "bp_cell", "y_cell"], sort=False)
    thinned = groups[["bp", "neglog10p"]].last().join(groups["n"].sum()).reset_index()
    thinned = thinned.sort_values(["chr", "bp", "neglog10p"], kind="stable", ignore_index=True)
    return thinned[["chr", "bp", "neglog10p", "n"]].astype({"chr": np.int64, "bp": np.int64, "n": np.int64})


_QQ_FINE: Final = 0.005
_QQ_COARSE: Final = 0.05
_QQ_SWITCH: Final = 10.0
_QQ_OFFSET: Final = int(_QQ_SWITCH / _QQ_FINE)


def thin_for_qq(neglog10p: pd.Series, n: pd.Series | None = None) -> pd.DataFrame:
    """Return the histogram that :func:`qq_points` starts from: per cell the largest ``observed`` and the count ``n``.

    ``n`` says how many values each value stands for already (1).
    """
    y = _finite(neglog10p).dropna()
    weight = pd.Series(1, index=y.index) if n is None else n.loc[y.index]
    cell = np.floor(y / _QQ_FINE).where(y < _QQ_SWITCH, _QQ_OFFSET + np.floor((y - _QQ_SWITCH) / _QQ_COARSE)).astype(np.int64)
    by = cell.to_numpy()
    return pd.DataFrame({"observed": y.groupby(by).max(), "n": weight.groupby(by).sum()}).reset_index(drop=True)


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
