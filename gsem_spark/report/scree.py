"""Scree plot of a parallel analysis: observed eigenvalues over those that sampling error alone produces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gsem_spark.report.figures import BLUE, GREY, INK, PAPER, axes_in_inches, new_figure, styled, write_figure

_WIDTH, _HEIGHT = 4.6, 3.2


@styled
def scree(table: pd.DataFrame, *, level: float = 0.95, kind: str = "components") -> Figure:
    """Draw the eigenvalues.

    Parameters
    ----------
    table
        ``number observed null_mean null_quantile retained`` from ``ParallelAnalysis.table()``.
    level
        The quantile, for the legend.
    kind
        ``components`` or ``factors``, for the axis.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = axes_in_inches(figure, 0.6, 0.5, _WIDTH - 0.75, _HEIGHT - 0.65)
    number, observed, kept = table["number"], table["observed"], table["retained"]
    axes.fill_between(number, table["null_mean"], table["null_quantile"], color=GREY, alpha=0.2, lw=0, zorder=1)
    null = f"no correlations, {level:.0%} quantile"
    axes.plot(number, table["null_quantile"], color=GREY, lw=1.2, ls="--", label=null, zorder=2)
    axes.plot(number, observed, color=BLUE, lw=1.4, zorder=3)
    retained = f"observed, retained ({int(kept.sum())})"
    axes.plot(number[kept], observed[kept], "o", ms=6, color=BLUE, label=retained, zorder=4)
    rest: dict[str, Any] = {"mfc": PAPER, "mec": INK, "mew": 0.9, "label": "observed, not retained"}
    axes.plot(number[~kept], observed[~kept], "o", ms=6, zorder=4, **rest)
    axes.set_xlabel(f"{kind.capitalize().removesuffix('s')} number")
    axes.set_ylabel("Eigenvalue")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")
    return figure


def draw_scree(table: pd.DataFrame, path: str | Path, *, level: float = 0.95, kind: str = "components") -> Path:
    """Write :func:`scree` to a file, ``.svg`` or ``.png`` by its ending."""
    return write_figure(scree(table, level=level, kind=kind), path)
