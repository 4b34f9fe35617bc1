"""Miami plot: the factor's SNP effects above, MTAG's below, with the loci that either finds named and told apart."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gsem_spark.report.axis_break import NegLogAxis
from gsem_spark.report.figures import BLUE, GREEN, GREY, INK, ORANGE, PAPER, VERMILION, axes_in_inches, new_figure, styled
from gsem_spark.report.manhattan import GenomeAxis, _name_chromosomes, _nothing, _p_text, spread
from gsem_spark.thresholds import GENOME_WIDE_P

_WIDTH, _LEFT, _RIGHT = 10.0, 0.6, 0.2
_PANEL, _STRIP, _GAP, _EDGE, _HEAD = 2.3, 0.82, 0.28, 0.08, 0.34
_FACTOR_COLOURS, _MTAG_COLOURS = ("#12507B", "#6FA8D0"), ("#1F5E4A", "#84BFA9")
_LABEL_PT, _LABEL_GAP = 6.5, 0.115

FOUND_BY: Final = {
    "both": (GREEN, "found by both"),
    "factor": (ORANGE, "found by the factor alone"),
    "mtag": (BLUE, "found by MTAG alone"),
    "opposite": (VERMILION, "opposite directions"),
}
"""How a locus is marked: by whom it was found, and where the two contradict each other."""


@styled
def miami(
    factor: pd.DataFrame,
    mtag: pd.DataFrame,
    loci: pd.DataFrame | None = None,
    *,
    factor_name: str = "F1",
    mtag_name: str = "smallest p of any trait",
    p_threshold: float = GENOME_WIDE_P,
    max_labels: int = 60,
) -> Figure:
    """Draw both scans on one genome axis.

    Parameters
    ----------
    factor, mtag
        Thinned points: ``chr`` (numeric codes), ``bp``, ``neglog10p``; of MTAG one trait, or the smallest p of all.
    loci
        ``snp chr bp factor_neglog10p mtag_neglog10p factor_sig mtag_traits opposite_traits``, as the reconciliation has them:
        loci of the factor are named above, those of MTAG alone below. Missing or empty is fine.
    factor_name, mtag_name
        Names printed in the headings.
    p_threshold
        p-value of both lines.
    max_labels
        At most so many leads a panel are named, the strongest first; fewer where the page is too narrow.
    """
    upper, lower = (f.dropna(subset=["chr", "bp", "neglog10p"]) for f in (factor, mtag))
    frames = [f for f in (upper, lower) if len(f)]
    if not frames:
        return _nothing("No SNP has a p-value")
    axis = GenomeAxis.covering(*frames)
    leads = _leads(loci, axis)
    above, below = leads[leads["kind"] != "mtag"], leads[leads["kind"] != "factor"]
    below_named = below[below["kind"] == "mtag"]
    titles = (f"{factor_name}: SNP effect on the factor", f"MTAG: {mtag_name}")
    strips = [_STRIP if len(above) else _EDGE, _STRIP if len(below_named) else _EDGE]
    height = 2 * _HEAD + sum(strips) + 2 * _PANEL + _GAP
    figure = new_figure(_WIDTH, height)
    width = _WIDTH - _LEFT - _RIGHT
    room = min(int(width / _LABEL_GAP), max_labels)
    top = axes_in_inches(figure, _LEFT, height - _HEAD - strips[0] - _PANEL, width, _PANEL)
    _panel(top, upper, axis, _FACTOR_COLOURS, p_threshold, downwards=False)
    _mark(top, above, "factor", above.nlargest(room, "factor"), width, downwards=False)
    _name_chromosomes(top, axis, width)
    bottom = axes_in_inches(figure, _LEFT, _HEAD + strips[1], width, _PANEL)
    _panel(bottom, lower, axis, _MTAG_COLOURS, p_threshold, downwards=True)
    _mark(bottom, below, "mtag", below_named.nlargest(room, "mtag"), width, downwards=True)
    for y, words in zip((1 - 0.5 * _HEAD / height, 0.5 * _HEAD / height), titles, strict=True):
        figure.text(_LEFT / _WIDTH, y, words, fontsize=9.5, fontweight="bold", va="center")
    _legend(figure, leads, 1 - 0.5 * _HEAD / height)
    return figure


def _panel(
    axes: Axes, points: pd.DataFrame, axis: GenomeAxis, colours: tuple[str, str], threshold: float, *, downwards: bool
) -> None:
    y = points["neglog10p"].to_numpy(np.float64)
    scale = NegLogAxis.to(float(y.max(initial=1.0)), at_least=8.5)
    x, codes = axis.x(points), points["chr"].to_numpy(np.int64)
    for number, code in enumerate(axis.codes):
        mine = codes == code
        axes.scatter(x[mine], y[mine], s=4.5, c=colours[number % 2], linewidths=0, rasterized=True, zorder=2)
    margin = 0.004 * axis.end
    axes.set_xlim(-margin, axis.end + margin)
    scale.apply(axes, downwards=downwards)
    axes.set_ylabel(r"$-\log_{10}\,p$")
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(not downwards)
    axes.spines["top"].set_visible(downwards)
    line = -np.log10(threshold)
    axes.axhline(line, color=INK, lw=0.7, ls=(0, (5, 3)), zorder=1.5)
    place = float(scale.fraction(line)) + 0.012
    axes.text(
        0.002, 1 - place if downwards else place, f"p = {_p_text(threshold)}", transform=axes.transAxes, fontsize=6.5, color=INK,
        va="top" if downwards else "bottom", zorder=5, bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.9, "pad": 0.6},
    )


def _leads(loci: pd.DataFrame | None, axis: GenomeAxis) -> pd.DataFrame:
    columns = ["snp", "x", "factor", "mtag", "kind"]
    if loci is None or loci.empty:
        return pd.DataFrame(columns=columns).astype({"x": float, "factor": float, "mtag": float})
    by_factor = loci["factor_sig"].to_numpy(bool)
    by_mtag = (loci["mtag_traits"].astype(str) != "").to_numpy(bool)
    opposite = (loci["opposite_traits"].astype(str) != "").to_numpy(bool)
    kind = np.select([opposite, by_factor & by_mtag, by_factor, by_mtag], ["opposite", "both", "factor", "mtag"], "")
    leads = pd.DataFrame({
        "snp": loci["snp"].astype(str).to_numpy(), "x": axis.x(loci), "factor": loci["factor_neglog10p"].to_numpy(np.float64),
        "mtag": loci["mtag_neglog10p"].to_numpy(np.float64), "kind": kind,
    })  # fmt: skip
    return leads[(leads["kind"] != "") & leads["x"].notna()].sort_values("x", kind="stable", ignore_index=True)


def _mark(axes: Axes, leads: pd.DataFrame, column: str, named: pd.DataFrame, width: float, *, downwards: bool) -> None:
    drawn = leads[leads[column].notna()]
    if drawn.empty:
        return
    colours = [FOUND_BY[k][0] for k in drawn["kind"]]
    sizes = np.where(drawn.index.isin(named.index), 17.0, 8.0)
    axes.scatter(
        drawn["x"], drawn[column], s=sizes, marker="D", c=colours, edgecolors=INK, linewidths=0.5, zorder=4, clip_on=False
    )
    named = named[named[column].notna()].sort_values("x", kind="stable")
    low, high = axes.get_xlim()
    x = (named["x"].to_numpy(np.float64) - low) / (high - low)
    to_fraction = axes.transScale + axes.transLimits
    edge, elbow, text = (0.0, -0.07, -0.085) if downwards else (1.0, 1.07, 1.085)
    for slot, place, snp, y in zip(spread(x, _LABEL_GAP / width), x, named["snp"], named[column], strict=True):
        start = float(to_fraction.transform((0.0, y))[1])
        axes.add_line(Line2D(
            [place, place, slot], [start, edge, elbow], transform=axes.transAxes, color=GREY, lw=0.45, alpha=0.75, clip_on=False,
            zorder=1,
        ))  # fmt: skip
        axes.text(
            slot, text, snp, rotation=90, ha="center", va="top" if downwards else "bottom", transform=axes.transAxes,
            fontsize=_LABEL_PT,
        )


def _legend(figure: Figure, leads: pd.DataFrame, y: float) -> None:
    kinds = [(colour, label) for kind, (colour, label) in FOUND_BY.items() if (leads["kind"] == kind).any()]
    if not kinds:
        return
    handles = [Line2D([], [], ls="", marker="D", ms=4, mfc=c, mec=INK, mew=0.6, label=label) for c, label in kinds]
    figure.legend(
        handles=handles, loc="center right", bbox_to_anchor=(1 - _RIGHT / _WIDTH, y), borderaxespad=0, handletextpad=0.2,
        ncols=len(handles), columnspacing=1.2,
    )
