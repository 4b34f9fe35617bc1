"""Profile likelihood of the heritability: how well the data tell it, and whether the optimum lies at a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from gsem_spark.report.figures import BLUE, GREY, INK, PALE, VERMILION, axes_in_inches, new_figure, styled

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 3.6, 2.5, 0.7, 0.5, 0.35
_COLUMNS = 3
_DROP = float(stats.chi2.ppf(0.95, 1)) / 2
"""Log likelihood below its maximum at which a 95 % interval ends."""
_SHOWN = 4 * _DROP


@dataclass(frozen=True)
class Profile:
    """One curve.

    Parameters
    ----------
    title
        Trait.
    hsq, loglik
        (k,) heritabilities and the profile log likelihood there.
    estimate
        The heritability fitted.
    label
        Which model: the chromosome left out; empty for that of all.
    """

    title: str
    hsq: NDArray[np.float64]
    loglik: NDArray[np.float64]
    estimate: float
    label: str = ""


@styled
def h2_profile(profiles: Sequence[Profile]) -> Figure:
    """Draw a panel a trait; a trait's models without each chromosome are curves of one panel, the first one marked.

    The curve is the log likelihood less its maximum. Grey: heritabilities within 1.92 of it, a 95 % interval.
    """
    titles = list(dict.fromkeys(p.title for p in profiles))
    columns = max(min(_COLUMNS, len(titles)), 1)
    rows = max(-(-len(titles) // columns), 1)
    figure = new_figure(columns * (_LEFT + _WIDTH) + 0.2, rows * (_BOTTOM + _HEIGHT + _TOP))
    if not titles:
        figure.text(0.5, 0.5, "No model has a heritability", ha="center", va="center", color=GREY)
        return figure
    for place, title in enumerate(titles):
        row, column = divmod(place, columns)
        bottom = (rows - 1 - row) * (_BOTTOM + _HEIGHT + _TOP) + _BOTTOM
        axes = axes_in_inches(figure, _LEFT + column * (_LEFT + _WIDTH), bottom, _WIDTH, _HEIGHT)
        axes.set_title(title)
        _panel(axes, [p for p in profiles if p.title == title])
    return figure


def _panel(axes: Axes, profiles: Sequence[Profile]) -> None:
    first = profiles[0]
    fall = first.loglik - np.nanmax(first.loglik)
    inside = first.hsq[fall >= -_DROP]
    low, high = interval(first.hsq, first.loglik) if len(inside) else (np.nan, np.nan)
    axes.axvspan(low, high, color=PALE, lw=0, zorder=0)
    for other in profiles[1:]:
        axes.plot(other.hsq, other.loglik - np.nanmax(other.loglik), color=GREY, lw=0.5, alpha=0.6, zorder=1)
    axes.plot(first.hsq, fall, color=BLUE, lw=1.6, zorder=2)
    axes.axhline(-_DROP, color=INK, lw=0.6, ls=(0, (5, 3)), zorder=1)
    axes.plot([first.estimate], [0.0], marker="o", ms=4.5, color=VERMILION, zorder=3, clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(-_SHOWN, 0.06 * _SHOWN)
    axes.set_xlabel(r"$h^2$: share of the kinship's component")
    axes.set_ylabel(r"log likelihood $-$ maximum")
    words = [rf"$h^2$ = {first.estimate:.3f}", f"95 %: {low:.3f} to {high:.3f}"]
    if first.label:
        words.append(first.label + (f" (grey: {len(profiles) - 1} others)" if len(profiles) > 1 else ""))
    right = first.estimate < 0.5
    axes.text(0.97 if right else 0.03, 0.95, "\n".join(words), transform=axes.transAxes, ha="right" if right else "left",
              va="top", fontsize=7.5, linespacing=1.4)


def interval(hsq: NDArray[np.float64], loglik: NDArray[np.float64]) -> tuple[float, float]:
    """Where the profile lies 1.92 below its maximum, by straight lines between grid points; else an end of the range."""
    fall = np.where(np.isfinite(loglik), loglik, -np.inf) - np.nanmax(loglik) + _DROP
    above = np.flatnonzero(fall >= 0)
    ends = []
    for at, step in ((int(above[0]), -1), (int(above[-1]), 1)):
        out = at + step
        if not 0 <= out < len(hsq):
            ends.append(float(hsq[at]))
            continue
        share = fall[at] / (fall[at] - fall[out]) if np.isfinite(fall[out]) else 0.0
        ends.append(float(hsq[at] + share * (hsq[out] - hsq[at])))
    return ends[0], ends[1]
