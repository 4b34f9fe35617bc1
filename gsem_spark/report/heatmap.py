"""Heatmap of genetic correlations with heritabilities on its diagonal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from gsem_spark.report.figures import GREY, INK, PALE, PAPER, axes_in_inches, new_figure, styled

_DIVERGING = LinearSegmentedColormap.from_list("rg", ["#A63A0A", "#E9A57E", "#F7F7F5", "#86B8DA", "#0B5A94"])
_TEXT_TO, _SE_TO = 20, 12
"""Largest numbers of traits with printed values, and with printed standard errors."""
_NOT_A_NUMBER = "–"


def matrix_of(pairs: pd.DataFrame, traits: Sequence[str], value: str) -> NDArray[np.float64]:
    """Return a symmetric matrix (k, k) from rows ``trait_1 trait_2 value``; NaN where there is no row, and on the diagonal."""
    place = {trait: i for i, trait in enumerate(traits)}
    matrix = np.full((len(traits), len(traits)), np.nan)
    for first, second, number in zip(pairs["trait_1"], pairs["trait_2"], pairs[value], strict=True):
        if first in place and second in place and first != second:
            matrix[place[first], place[second]] = matrix[place[second], place[first]] = float(number)
    return matrix


def clustered_order(rg: NDArray[np.float64]) -> list[int]:
    """Return the traits' order that puts alike ones side by side.

    Average linkage on the distance 1 - rg (missing correlations count as 0), leaves ordered optimally
    (Bar-Joseph et al. 2001); the order as given for fewer than three traits.
    """
    k = len(rg)
    if k < 3:
        return list(range(k))
    distance = 1.0 - np.clip(np.nan_to_num(rg, nan=0.0), -1.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    condensed = squareform((distance + distance.T) / 2.0, checks=False)
    tree = hierarchy.linkage(condensed, method="average", optimal_ordering=True)
    return [int(i) for i in hierarchy.leaves_list(tree)]


@styled
def rg_heatmap(rg: pd.DataFrame, h2: pd.DataFrame, *, cluster: bool = False) -> Figure:
    """Draw genetic correlations: coloured squares above the diagonal, values with standard errors below, h2 on it.

    Parameters
    ----------
    rg
        ``trait_1 trait_2 rg se`` and, when present, ``p``; one row a pair. NaN (a heritability not above 0) is shown as a dash.
    h2
        ``trait h2 se``; its order is the order of the traits.
    cluster
        Order the traits by :func:`clustered_order` instead.

    Notes
    -----
    Squares have areas proportional to the absolute rg; stars mark p below .05 divided by the number of pairs.
    """
    traits = [str(t) for t in h2["trait"]]
    value, se = (matrix_of(rg, traits, name) for name in ("rg", "se"))
    p = matrix_of(rg, traits, "p") if "p" in rg else np.full_like(value, np.nan)
    order = clustered_order(value) if cluster else list(range(len(traits)))
    traits = [traits[i] for i in order]
    value, se, p = (m[np.ix_(order, order)] for m in (value, se, p))
    diagonal = h2.iloc[order][["h2", "se"]].to_numpy(np.float64)
    return _draw(traits, value, se, p, diagonal)


def _draw(
    traits: list[str], rg: NDArray[np.float64], se: NDArray[np.float64], p: NDArray[np.float64], h2: NDArray[np.float64]
) -> Figure:
    k = len(traits)
    cell = 0.72 if k <= _SE_TO else max(0.46 if k <= _TEXT_TO else 0.28, 2.0 / k)
    longest = max(len(t) for t in traits)
    margin = min(0.25 + 0.075 * longest, 2.2)
    side = cell * k
    head = margin if _steep(traits, cell) else 0.35
    figure = new_figure(margin + side + 1.0, side + head + 0.15)
    axes = axes_in_inches(figure, margin, 0.15, side, side)
    axes.set_xlim(0, k)
    axes.set_ylim(k, 0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    norm = Normalize(-1, 1)
    significant = p < 0.05 / max(k * (k - 1) // 2, 1)
    for row in range(k):
        for column in range(k):
            if row == column:
                _tile_h2(axes, row, h2[row], k)
            elif column > row:
                _tile_square(axes, row, column, rg[row, column], bool(significant[row, column]), norm)
            else:
                _tile_value(axes, row, column, rg[row, column], se[row, column], k, norm)
    _frame(axes, traits, cell)
    bar = axes_in_inches(figure, margin + side + 0.25, 0.15 + side * 0.15, 0.13, side * 0.7)
    colours = figure.colorbar(ScalarMappable(norm, _DIVERGING), cax=bar, ticks=[-1, -0.5, 0, 0.5, 1])
    colours.outline.set_visible(False)
    bar.set_title(r"$r_g$", fontsize=9, fontweight="normal", loc="center", pad=7)
    return figure


def _frame(axes: Axes, traits: list[str], cell: float) -> None:
    k = len(traits)
    middles = np.arange(k) + 0.5
    axes.set_xticks(middles, traits, rotation=90 if _steep(traits, cell) else 0, fontsize=8.5)
    axes.set_yticks(middles, traits, fontsize=8.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)


def _steep(traits: list[str], cell: float) -> bool:
    return max(len(t) for t in traits) * 0.075 > cell * 0.95


def _tile_h2(axes: Axes, i: int, h2: NDArray[np.float64], k: int) -> None:
    axes.add_patch(Rectangle((i + 0.03, i + 0.03), 0.94, 0.94, facecolor="#E9ECEF", edgecolor="none"))
    if k > _TEXT_TO:
        return
    axes.text(
        i + 0.5, i + 0.5, _label("$h^2$ ", h2[0], h2[1], k), ha="center", va="center", fontsize=7, color=INK, linespacing=1.35
    )


def _tile_value(axes: Axes, row: int, column: int, rg: float, se: float, k: int, norm: Normalize) -> None:
    if k > _TEXT_TO:
        return _tile_square(axes, row, column, rg, False, norm)
    text = _label("", rg, se, k) if np.isfinite(rg) else _NOT_A_NUMBER
    axes.add_patch(Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor=PAPER, edgecolor=PALE, lw=0.5))
    axes.text(
        column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5 if k <= _SE_TO else 6.5, color=INK, linespacing=1.35
    )
    return None


def _tile_square(axes: Axes, row: int, column: int, rg: float, star: bool, norm: Normalize) -> None:
    axes.add_patch(Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor=PAPER, edgecolor=PALE, lw=0.5))
    if not np.isfinite(rg):
        axes.text(column + 0.5, row + 0.5, _NOT_A_NUMBER, ha="center", va="center", color=GREY)
        return
    side = 0.9 * np.sqrt(min(abs(rg), 1.0))
    axes.add_patch(Rectangle((column + 0.5 - side / 2, row + 0.5 - side / 2), side, side, facecolor=_DIVERGING(norm(rg)), lw=0))
    if star:
        axes.text(column + 0.5, row + 0.52, "*", ha="center", va="center", fontsize=11, color=PAPER if abs(rg) > 0.75 else INK)


def _label(prefix: str, value: float, se: float, k: int) -> str:
    if not np.isfinite(value):
        return prefix + _NOT_A_NUMBER
    text = f"{prefix}{value:.2f}".replace("-", "\u2212")
    return f"{text}\n({se:.2f})" if k <= _SE_TO and np.isfinite(se) else text
