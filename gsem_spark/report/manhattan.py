"""Mirrored Manhattan plot: the factor's SNP effects above, their heterogeneity (Q_SNP) below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gsem_spark.report.axis_break import NegLogAxis
from gsem_spark.report.figures import GREY, INK, ORANGE, PAPER, Q_SNP_BOLD, axes_in_inches, chromosome_name, new_figure, styled
from gsem_spark.thresholds import GENOME_WIDE_P

_WIDTH, _LEFT, _RIGHT = 10.0, 0.6, 0.2
_PANEL, _STRIP, _GAP, _EDGE, _HEAD = 2.3, 0.82, 0.28, 0.08, 0.3
_FACTOR_COLOURS = ("#12507B", "#6FA8D0")
_Q_COLOURS = ("#8A3B12", "#DDA07C")
_LABEL_PT = 6.5
_CHARACTER = 0.052
"""Inches of a character of a label, about."""
_LABEL_GAP = 0.115
"""Inches from one upright label to the next."""
_CHROMOSOME_GAP = 0.006
"""White space between chromosomes, as a share of the genome."""


@dataclass(frozen=True)
class GenomeAxis:
    """Where each chromosome begins on the common x axis (base pairs from the left)."""

    codes: tuple[int, ...]
    low: tuple[float, ...]
    offset: tuple[float, ...]
    length: tuple[float, ...]

    @classmethod
    def covering(cls, *frames: pd.DataFrame) -> GenomeAxis:
        """Lay out the chromosomes present in the frames (``chr``, ``bp``) one after the other, in the order of their codes."""
        rows = pd.concat([f[["chr", "bp"]] for f in frames], ignore_index=True)
        spans = rows.groupby("chr")["bp"].agg(["min", "max"]).sort_index()
        length = (spans["max"] - spans["min"]).to_numpy(np.float64) + 1.0
        gap = _CHROMOSOME_GAP * length.sum() if len(length) > 1 else 0.0
        offset = np.concatenate([[0.0], np.cumsum(length + gap)[:-1]])
        return cls(tuple(int(c) for c in spans.index), tuple(spans["min"].astype(float)), tuple(offset), tuple(length))

    @property
    def end(self) -> float:
        """The right end of the last chromosome."""
        return self.offset[-1] + self.length[-1]

    def x(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the x of each row; NaN for chromosomes that are not on the axis."""
        start = {c: o - low for c, o, low in zip(self.codes, self.offset, self.low, strict=True)}
        left = frame["chr"].map(start).to_numpy(np.float64)
        return np.asarray(left + frame["bp"].to_numpy(np.float64), dtype=np.float64)


@styled
def manhattan(
    factor: pd.DataFrame,
    q_snp: pd.DataFrame | None = None,
    loci: pd.DataFrame | None = None,
    *,
    factor_name: str = "F1",
    title: str | None = None,
    p_threshold: float = GENOME_WIDE_P,
    q_threshold: float | None = None,
    max_labels: int = 60,
) -> Figure:
    """Draw the mirrored Manhattan plot, or the upper half of it where nothing is said of Q_SNP.

    Parameters
    ----------
    factor, q_snp
        Thinned points: ``chr`` (numeric codes), ``bp``, ``neglog10p``; ``q_snp`` may be missing or empty.
    loci
        Rows of table ``loci``: leads are marked and named, those of ``signal`` ``q_snp`` below. Missing or empty is fine.
    factor_name
        Name printed in the upper panel.
    title
        Heading of the upper panel in place of the factor's; without Q_SNP below, leads then have no legend.
    p_threshold, q_threshold
        p-values of the two lines; no line below when ``q_threshold`` is missing.
    max_labels
        At most so many leads are named, the strongest first; fewer where the page is too narrow.
    """
    factor = factor.dropna(subset=["chr", "bp", "neglog10p"])
    lower = None if q_snp is None else q_snp.dropna(subset=["chr", "bp", "neglog10p"])
    frames = [f for f in (factor, lower) if f is not None and len(f)]
    if not frames:
        return _nothing("No SNP has a p-value")
    axis = GenomeAxis.covering(*frames)
    above, below = _leads(loci, axis, "factor"), _leads(loci, axis, "q_snp")
    if lower is None:
        above["factor_only"] = True  # there is nothing to tell the leads apart by
    room = int((_WIDTH - _LEFT - _RIGHT) / _LABEL_GAP)
    strips = [_strip(leads) for leads in (above, below)]
    height = _HEAD + strips[0] + _PANEL + (0.45 if lower is None else _GAP + _PANEL + strips[1] + _HEAD)
    figure = new_figure(_WIDTH, height)
    width = _WIDTH - _LEFT - _RIGHT
    top = axes_in_inches(figure, _LEFT, height - _HEAD - strips[0] - _PANEL, width, _PANEL)
    _panel(top, factor, axis, _FACTOR_COLOURS, p_threshold)
    figure.text(
        _LEFT / _WIDTH,
        1 - 0.5 * _HEAD / height,
        title or f"{factor_name}: SNP effect on the factor",
        fontsize=9.5,
        fontweight="bold",
        va="center",
    )
    _mark_leads(top, above, axis, min(room, max_labels), width)
    _name_chromosomes(top, axis, width)
    if lower is not None:
        bottom = axes_in_inches(figure, _LEFT, _HEAD + strips[1], width, _PANEL)
        _panel(bottom, lower, axis, _Q_COLOURS, q_threshold, downwards=True)
        figure.text(
            _LEFT / _WIDTH,
            0.5 * _HEAD / height,
            rf"{Q_SNP_BOLD}: heterogeneity across traits",
            fontsize=9.5,
            fontweight="bold",
            va="center",
        )
        _mark_leads(bottom, below, axis, min(room, max_labels), width, downwards=True)
    if len(above) and (title is None or lower is not None):
        _legend(figure, above, 1 - 0.5 * _HEAD / height)
    return figure


def _panel(
    axes: Axes,
    points: pd.DataFrame,
    axis: GenomeAxis,
    colours: tuple[str, str],
    threshold: float | None,
    *,
    downwards: bool = False,
) -> None:
    y = points["neglog10p"].to_numpy(np.float64)
    line = None if threshold is None else -np.log10(threshold)
    largest = float(y.max()) if len(y) else 1.0
    scale = NegLogAxis.to(largest, at_least=8.5 if not downwards else max(5.0, 1.15 * (line or 0.0)))
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
    if line is not None and line <= scale.top:
        axes.axhline(line, color=INK, lw=0.7, ls=(0, (5, 3)), zorder=1.5)
        place = float(scale.fraction(line))
        axes.text(
            0.002,
            (1 - place - 0.012) if downwards else (place + 0.012),
            f"p = {_p_text(threshold or 1.0)}",
            transform=axes.transAxes,
            fontsize=6.5,
            color=INK,
            va="top" if downwards else "bottom",
            zorder=5,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.9, "pad": 0.6},
        )


def _strip(leads: pd.DataFrame) -> float:
    """Inches for the names of leads: long ones, such as positions, need more than rs numbers do."""
    longest = max((len(name) for name in leads["snp"]), default=0)
    return max(_STRIP, 0.25 + _CHARACTER * longest) if longest else _EDGE


def _leads(loci: pd.DataFrame | None, axis: GenomeAxis, signal: str) -> pd.DataFrame:
    if loci is None or loci.empty:
        return pd.DataFrame(columns=["snp", "x", "y", "factor_only"])
    rows = loci[loci["signal"] == signal]
    y = rows["neglog10p"] if signal == "factor" else _q_neglog10p(rows)
    leads = pd.DataFrame(
        {
            "snp": rows["snp"].astype(str),
            "x": axis.x(rows),
            "y": y.to_numpy(np.float64),
            "factor_only": rows["factor_only"].to_numpy(bool),
        }
    )
    return leads.dropna(subset=["x", "y"]).sort_values("x", kind="stable", ignore_index=True)


def _q_neglog10p(rows: pd.DataFrame) -> pd.Series:
    if "q_snp_neglog10p" in rows:
        return rows["q_snp_neglog10p"].astype(np.float64)
    tiny = np.finfo(np.float64).tiny
    return rows["q_snp_p"].astype(np.float64).clip(lower=tiny).map(np.log10).mul(-1.0)


def _mark_leads(axes: Axes, leads: pd.DataFrame, axis: GenomeAxis, room: int, width: float, *, downwards: bool = False) -> None:
    if leads.empty:
        return
    fill = [ORANGE if only else PAPER for only in leads["factor_only"]]
    named = leads.nlargest(room, "y", keep="first").sort_values("x", kind="stable")
    sizes = np.where(leads.index.isin(named.index), 17.0, 6.0)  # those without a name step back
    axes.scatter(leads["x"], leads["y"], s=sizes, marker="D", c=fill, edgecolors=INK, linewidths=0.6, zorder=4, clip_on=False)
    low, high = axes.get_xlim()
    x = (named["x"].to_numpy() - low) / (high - low)
    slots = spread(x, _LABEL_GAP / width)
    to_fraction = axes.transScale + axes.transLimits
    for slot, place, snp, y in zip(slots, x, named["snp"], named["y"], strict=True):
        start = float(to_fraction.transform((0.0, y))[1])
        edge, elbow, text = (0.0, -0.07, -0.085) if downwards else (1.0, 1.07, 1.085)
        axes.add_line(
            Line2D(
                [place, place, slot],
                [start, edge, elbow],
                transform=axes.transAxes,
                color=GREY,
                lw=0.45,
                alpha=0.75,
                clip_on=False,
                zorder=1,
            )
        )
        axes.text(
            slot,
            text,
            snp,
            rotation=90,
            ha="center",
            va="top" if downwards else "bottom",
            transform=axes.transAxes,
            fontsize=_LABEL_PT,
        )


def spread(places: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move sorted places in [0, 1] apart until neighbours are at least ``gap`` apart, by the least squares of the moves.

    With ``gap`` taken out (place i minus i times gap) the condition is that the places do not fall, so that the answer is
    the isotonic regression of them (pool adjacent violators), clipped into the interval.
    """
    shifted = np.asarray(places, np.float64) - gap * np.arange(len(places))
    pools: list[list[float]] = []
    for value in shifted:
        pools.append([float(value), 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, count = pools.pop()
            pools[-1] = [(pools[-1][0] * pools[-1][1] + mean * count) / (pools[-1][1] + count), pools[-1][1] + count]
    level = np.concatenate([np.full(int(count), mean) for mean, count in pools]) if pools else shifted
    room = max(1.0 - gap * (len(places) - 1), 0.0)
    return np.asarray(np.clip(level, 0.0, room) + gap * np.arange(len(places)), dtype=np.float64)


def _name_chromosomes(axes: Axes, axis: GenomeAxis, width: float) -> None:
    y = -_GAP / 2 / _PANEL
    if len(axis.codes) == 1:
        _name_megabases(axes, axis)
        return
    free_from = -1.0
    low, high = axes.get_xlim()
    for code, offset, length in zip(axis.codes, axis.offset, axis.length, strict=True):
        middle = (offset + length / 2 - low) / (high - low)
        name = chromosome_name(code)
        half = (0.035 + 0.035 * len(name)) / width
        if middle - half >= free_from:
            axes.text(middle, y, name, ha="center", va="center", transform=axes.transAxes, fontsize=7.5)
            free_from = middle + half


def _name_megabases(axes: Axes, axis: GenomeAxis) -> None:
    low = axis.low[0]
    span = axis.length[0] / 1e6
    step = next((s for s in (1, 2, 5, 10, 20, 50) if span / s <= 12), 50)
    first = int(np.ceil(low / 1e6 / step)) * step
    for mb in range(first, int((low + axis.length[0]) / 1e6) + 1, step):
        x = (mb * 1e6 - low + axis.offset[0] - axes.get_xlim()[0]) / (axes.get_xlim()[1] - axes.get_xlim()[0])
        if 0.0 <= x <= 0.97:
            axes.text(x, -_GAP / 2 / _PANEL, f"{mb}", ha="center", va="center", transform=axes.transAxes, fontsize=7.5)
    axes.text(
        1.0,
        -_GAP / 2 / _PANEL,
        f"chr {chromosome_name(axis.codes[0])}, Mb",
        ha="right",
        va="center",
        transform=axes.transAxes,
        fontsize=7.5,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
    )


def _legend(figure: Figure, leads: pd.DataFrame, y: float) -> None:
    through = leads["factor_only"].to_numpy(bool)
    kinds = [
        (ORANGE, "lead SNP acting through the factor", through.any()),
        (PAPER, r"lead SNP with significant $Q_{\mathrm{SNP}}$", (~through).any()),
    ]
    handles = [
        Line2D([], [], ls="", marker="D", ms=4, mfc=fill, mec=INK, mew=0.7, label=label) for fill, label, used in kinds if used
    ]
    figure.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(1 - _RIGHT / _WIDTH, y),
        borderaxespad=0,
        handletextpad=0.2,
        ncols=2,
        columnspacing=1.2,
    )


def _p_text(p: float) -> str:
    mantissa, exponent = f"{p:.1e}".split("e")
    if int(exponent) > -4:
        return f"{p:.2g}"
    return rf"{float(mantissa):g}$\times 10^{{{int(exponent)}}}$"


def _nothing(message: str) -> Figure:
    figure = new_figure(_WIDTH, 1.2)
    figure.text(0.5, 0.5, message, ha="center", va="center", color=GREY)
    return figure
