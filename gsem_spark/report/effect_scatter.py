"""Effects of lead SNPs against each other: what the factor implies for a trait, and what MTAG has for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gsem_spark.report.figures import BLUE, GREY, INK, PALE, VERMILION, axes_in_inches, new_figure, styled

_COLUMNS, _SIDE, _BETWEEN, _LEFT, _BOTTOM, _TOP = 4, 1.8, 0.6, 0.62, 0.52, 0.62


@styled
def effect_scatter(effects: pd.DataFrame) -> Figure:
    """Draw one panel a trait: implied effects across, MTAG effects upwards, with 95 % intervals and the line of equality.

    Parameters
    ----------
    effects
        ``snp trait implied_beta implied_low implied_high mtag_beta mtag_low mtag_high``, as the reconciliation has them. SNPs
        whose two effects differ in sign are drawn in another colour.
    """
    traits = list(dict.fromkeys(effects["trait"].astype(str)))
    columns = max(min(_COLUMNS, len(traits)), 1)
    rows = max(-(-len(traits) // columns), 1)
    width = _LEFT + columns * _SIDE + (columns - 1) * _BETWEEN + 0.2
    height = _BOTTOM + rows * _SIDE + (rows - 1) * (_BETWEEN + 0.12) + _TOP
    figure = new_figure(max(width, 3.4), height)
    if not traits:
        figure.text(0.5, 0.5, "No locus to compare", ha="center", va="center", color=GREY)
        return figure
    for place, trait in enumerate(traits):
        row, column = divmod(place, columns)
        bottom = height - _TOP - (row + 1) * _SIDE - row * (_BETWEEN + 0.12)
        axes = axes_in_inches(figure, _LEFT + column * (_SIDE + _BETWEEN), bottom, _SIDE, _SIDE)
        _panel(axes, effects[effects["trait"].astype(str) == trait], trait)
    total = figure.get_size_inches()
    figure.supxlabel(r"effect implied by the factor ($\lambda\,\beta_F$)", x=_middle(columns) / total[0], y=0.06 / total[1],
                     va="bottom", fontsize=8.5)
    figure.supylabel("MTAG effect", x=0.08 / total[0], y=(_BOTTOM + height - _TOP) / 2 / total[1], ha="left", fontsize=8.5)
    handles = [
        Line2D([], [], ls="", marker="o", ms=4, mfc=c, mec="none", label=label)
        for c, label in ((BLUE, "same direction"), (VERMILION, "opposite directions"))
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(_LEFT / total[0], 1 - 0.06 / total[1]), ncols=2,
                  borderaxespad=0, handletextpad=0.2, columnspacing=1.2)
    return figure


def _middle(columns: int) -> float:
    return _LEFT + (columns * _SIDE + (columns - 1) * _BETWEEN) / 2


def _panel(axes: Axes, rows: pd.DataFrame, trait: str) -> None:
    names = ("implied_beta", "implied_low", "implied_high", "mtag_beta", "mtag_low", "mtag_high")
    rows = rows.dropna(subset=list(names))
    x, x_low, x_high, y, y_low, y_high = (rows[n].to_numpy(np.float64) for n in names)
    limit = _limit(np.concatenate([x_low, x_high, y_low, y_high]))
    axes.plot([-limit, limit], [-limit, limit], color=GREY, lw=0.7, ls=(0, (5, 3)), zorder=1)
    axes.axhline(0, color=PALE, lw=0.7, zorder=0.5)
    axes.axvline(0, color=PALE, lw=0.7, zorder=0.5)
    colours = np.where(x * y < 0, VERMILION, BLUE)
    axes.hlines(y, x_low, x_high, color=colours, lw=0.6, alpha=0.5, zorder=2)
    axes.vlines(x, y_low, y_high, color=colours, lw=0.6, alpha=0.5, zorder=2)
    axes.scatter(x, y, s=11, c=colours, linewidths=0, zorder=3)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=6.5, length=2)
    axes.set_title(trait, fontsize=8.5, color=INK, pad=12)
    axes.text(0.0, 1.015, _words(x, y), transform=axes.transAxes, fontsize=6.5, color=GREY, va="bottom")


def _words(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    known = x * y != 0
    if not known.any():
        return "no SNP"
    same = f"{int((x * y > 0).sum())} of {int(known.sum())} same direction"
    if known.sum() < 3 or x.std() == 0 or y.std() == 0:
        return same
    return f"{same}, r = {np.corrcoef(x, y)[0, 1]:.2f}".replace("-", "\u2212")


def _limit(values: NDArray[np.float64]) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return 1.08 * largest if largest > 0 else 1.0
