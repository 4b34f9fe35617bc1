"""QQ plots with genomic inflation and the 95 % band of the null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from gsem_spark.report.axis_break import NegLogAxis
from gsem_spark.report.figures import BLUE, GREY, INK, PALE, VERMILION, axes_in_inches, new_figure, styled

_SIDE, _LEFT, _GAP, _BOTTOM, _TOP = 2.9, 0.6, 0.75, 0.5, 0.35


@dataclass(frozen=True)
class QQPanel:
    """One panel: its title, what :func:`~gsem_spark.report.thinning.qq_points` returns, and lambda GC."""

    title: str
    points: pd.DataFrame
    lambda_gc: float = float("nan")


@styled
def qq(panels: Sequence[QQPanel]) -> Figure:
    """Draw QQ plots side by side.

    Parameters
    ----------
    panels
        Each with points of columns ``expected``, ``observed`` (-log10 p) and ``n`` (rows that a point stands for; their sum
        is the number of tests that the band is for). An empty panel says so.
    """
    width = _LEFT + len(panels) * _SIDE + (len(panels) - 1) * _GAP + 0.15
    figure = new_figure(width, _BOTTOM + _SIDE + _TOP)
    for place, (panel, colour) in enumerate(zip(panels, _colours(len(panels)), strict=True)):
        axes = axes_in_inches(figure, _LEFT + place * (_SIDE + _GAP), _BOTTOM, _SIDE, _SIDE)
        axes.set_title(panel.title)
        _draw(axes, panel, colour)
    return figure


def _colours(n: int) -> list[str]:
    return [(BLUE, VERMILION)[i % 2] for i in range(n)]


def _draw(axes: Axes, panel: QQPanel, colour: str) -> None:
    points = panel.points.dropna(subset=["expected", "observed"])
    if points.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no p-values", ha="center", va="center", color=GREY, transform=axes.transAxes)
        return
    n = int(points["n"].sum()) if "n" in points else len(points)
    expected, low, high = null_band(n)
    right = float(expected.max()) * 1.03
    axes.fill_between(expected, low, high, color=PALE, lw=0, zorder=1, label="95 % band of the null")
    axes.plot([0, right], [0, right], color=INK, lw=0.7, ls=(0, (5, 3)), zorder=2)
    axes.scatter(points["expected"], points["observed"], s=7, c=colour, linewidths=0, rasterized=True, zorder=3)
    axes.set_xlim(0, right)
    NegLogAxis.to(float(points["observed"].max()), at_least=right).apply(axes)
    axes.set_xlabel(r"expected $-\log_{10}\,p$")
    axes.set_ylabel(r"observed $-\log_{10}\,p$")
    lines = [f"{n:,} SNPs".replace(",", "\u2009")]
    if np.isfinite(panel.lambda_gc):
        lines.insert(0, rf"$\lambda_{{\mathrm{{GC}}}}$ = {panel.lambda_gc:.3f}")
    axes.text(0.04, 0.97, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=8, linespacing=1.5)


def null_band(n: int, *, level: float = 0.95, points: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return expected -log10 p and the pointwise band of its order statistics under the null.

    The p-value of rank i among n independent tests is Beta(i, n + 1 - i). Linked SNPs are not independent, so that the band
    is a guide, not a test.

    Returns
    -------
    expected, low, high
        Falling ``expected``; arrays of up to ``points`` ranks, evenly spaced in log rank.
    """
    rank = np.unique(np.round(np.geomspace(1, max(n, 1), points)).astype(np.int64))
    tail = (1 - level) / 2
    low, high = (-np.log10(stats.beta.ppf(q, rank, n + 1 - rank)) for q in (1 - tail, tail))
    return -np.log10((rank - 0.5) / n), low, high
