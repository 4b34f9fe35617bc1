"""Forest of lead SNPs, three effects a trait: of its own GWAS, implied by the factor, and MTAG's."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gsem_spark.report.figures import BLUE, GREEN, GREY, INK, ORANGE, PALE, axes_in_inches, new_figure, styled

_COLUMNS, _PANEL, _ASIDE, _ROW, _BETWEEN, _TOP, _BOTTOM = 4, 1.75, 0.3, 0.36, 0.56, 0.36, 0.34
SOURCES: Final = (
    ("input", BLUE, "o", "GWAS of the trait", -0.24),
    ("implied", ORANGE, "D", r"implied by the factor ($\lambda\,\beta_F$)", 0.0),
    ("mtag", GREEN, "s", "MTAG", 0.24),
)
"""Source, colour, marker, name, and place within a trait's row."""


@styled
def effect_forest(effects: pd.DataFrame, loci: pd.DataFrame | None = None, *, max_loci: int = 12) -> Figure:
    """Draw one panel a lead SNP with three effects (95 % intervals) a trait.

    Parameters
    ----------
    effects
        ``snp trait`` and ``<source>_beta <source>_low <source>_high`` of ``input implied mtag``, per copy of the effect allele on
        the standardised traits.
    loci
        ``snp pattern`` of the reconciliation: which SNPs to draw, in its order, with the pattern under the name; all SNPs of
        ``effects`` when missing.
    max_loci
        At most so many SNPs are drawn.
    """
    patterns = {} if loci is None else dict(zip(loci["snp"].astype(str), loci["pattern"].astype(str), strict=True))
    present = list(dict.fromkeys(effects["snp"].astype(str)))
    chosen = [s for s in (patterns or present) if s in present][:max_loci]
    traits = list(dict.fromkeys(effects["trait"].astype(str)))
    if not chosen:
        figure = new_figure(4.0, 1.0)
        figure.text(0.5, 0.5, "No locus to show", ha="center", va="center", color=GREY)
        return figure
    columns = min(_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    height = _ROW * len(traits)
    left = 0.25 + 0.075 * max(len(t) for t in traits)
    figure = new_figure(max(left + columns * (_PANEL + _ASIDE) + 0.1, 5.2), _TOP + rows * (height + _BETWEEN) + _BOTTOM)
    wide, total = figure.get_size_inches()
    for place, snp in enumerate(chosen):
        row, column = divmod(place, columns)
        bottom = total - _TOP - (row + 1) * (height + _BETWEEN) + 0.22
        axes = axes_in_inches(figure, left + column * (_PANEL + _ASIDE), bottom, _PANEL, height)
        mine = effects[effects["snp"].astype(str) == snp]
        words = patterns.get(snp, "").replace("_", " ").replace("mtag", "MTAG")
        _panel(axes, mine.set_index(mine["trait"].astype(str)).reindex(traits), snp, words)
        axes.set_yticks(np.arange(len(traits)), traits if column == 0 else [""] * len(traits))
    handles = [Line2D([], [], color=c, marker=m, ms=4, lw=1.1, label=label) for _, c, m, label, _ in SOURCES]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(left / wide, 1 - 0.06 / total), ncols=3, borderaxespad=0,
                  handlelength=1.6, columnspacing=1.4)
    figure.text(left / wide, 0.06 / total, "effect per copy of the effect allele, 95 % interval", fontsize=8, va="bottom")
    return figure


def _panel(axes: Axes, effects: pd.DataFrame, snp: str, pattern: str) -> None:
    y = np.arange(len(effects))
    axes.axvline(0, color=GREY, lw=0.6, zorder=1)
    for line in y[1:] - 0.5:
        axes.axhline(line, color=PALE, lw=0.6, zorder=0.5)
    for source, colour, marker, _, shift in SOURCES:
        beta, low, high = (effects[f"{source}_{part}"].to_numpy(np.float64) for part in ("beta", "low", "high"))
        axes.hlines(y + shift, low, high, color=colour, lw=1.1, zorder=2)
        axes.scatter(beta, y + shift, s=12, color=colour, marker=marker, zorder=3, lw=0)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.set_title(snp, fontsize=8, color=INK, pad=11 if pattern else 3)
    if pattern:
        axes.text(0.0, 1.015, pattern, transform=axes.transAxes, fontsize=6.5, color=GREY, va="bottom")
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    axes.tick_params(axis="x", labelsize=6.5, length=2)
    axes.locator_params(axis="x", nbins=3)
    axes.spines["left"].set_visible(False)
