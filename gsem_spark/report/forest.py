"""Forest of lead SNPs: each trait's effect beside the factor's, to see what Q_SNP tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gsem_spark.report.figures import BLUE, GREY, INK, ORANGE, PALE, VERMILION, axes_in_inches, new_figure, styled

_COLUMNS, _PANEL, _ROW, _BETWEEN, _Z95 = 4, 1.85, 0.17, 0.55, 1.959963984540054


@styled
def loci_forest(effects: pd.DataFrame, loci: pd.DataFrame, *, factor_name: str = "F1", max_loci: int = 12) -> Figure:
    """Draw one small panel a lead SNP with the effect (95 % interval) of each trait, and of the factor as a diamond.

    Parameters
    ----------
    effects
        ``snp trait beta se``, effects per copy of the effect allele on the standardised traits.
    loci
        Rows of table ``loci``; the strongest ``max_loci`` are drawn, those with a significant Q_SNP marked ``(Q)``. ``est`` and
        ``se`` are the factor's.
    """
    known = set(effects["snp"])
    chosen = loci[loci["snp"].isin(known)].drop_duplicates("snp").nlargest(max_loci, "neglog10p", keep="first")
    traits = list(dict.fromkeys(effects["trait"].astype(str)))
    columns = max(min(_COLUMNS, len(chosen)), 1)
    rows = max(-(-len(chosen) // columns), 1)
    height = _ROW * (len(traits) + 1.6)
    left = 0.2 + 0.075 * max([len(t) for t in traits] + [len(factor_name)])
    figure = new_figure(left + columns * (_PANEL + 0.2) + 0.1, rows * (height + _BETWEEN) + 0.3)
    total = figure.get_size_inches()[1]
    for place, locus in enumerate(chosen.to_dict("records")):
        row, column = divmod(place, columns)
        axes = axes_in_inches(
            figure, left + column * (_PANEL + 0.2), total - (row + 1) * (height + _BETWEEN) + 0.3, _PANEL, height
        )
        mine = effects[effects["snp"] == locus["snp"]].set_index("trait").reindex(traits)
        _panel(axes, mine, float(locus["est"]), float(locus["se"]), str(locus["snp"]), bool(locus["qsnp_sig"]))
        axes.set_yticks(np.arange(len(traits) + 1), [factor_name, *traits] if column == 0 else [""] * (len(traits) + 1))
    figure.text(
        left / figure.get_size_inches()[0],
        0.06 / total,
        "effect per copy of the effect allele, 95 % interval",
        fontsize=8,
        va="bottom",
    )
    return figure


def _panel(axes: Axes, effects: pd.DataFrame, est: float, se: float, snp: str, heterogeneous: bool) -> None:
    beta, error = effects["beta"].to_numpy(np.float64), effects["se"].to_numpy(np.float64)
    y = np.arange(1, len(beta) + 1)
    axes.axvline(0, color=GREY, lw=0.6, zorder=1)
    axes.axhline(0.5, color=PALE, lw=0.6, zorder=1)
    axes.hlines(y, beta - _Z95 * error, beta + _Z95 * error, color=BLUE, lw=1.1, zorder=2)
    axes.scatter(beta, y, s=12, color=BLUE, zorder=3, lw=0)
    axes.hlines([0], est - _Z95 * se, est + _Z95 * se, color=INK, lw=1.1, zorder=2)
    axes.scatter([est], [0], s=26, marker="D", color=ORANGE, edgecolors=INK, linewidths=0.7, zorder=3)
    axes.set_ylim(len(beta) + 0.6, -0.7)
    axes.set_title(f"{snp}  (Q)" if heterogeneous else snp, fontsize=8, color=VERMILION if heterogeneous else INK, pad=3)
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    axes.tick_params(axis="x", labelsize=6.5, length=2)
    axes.locator_params(axis="x", nbins=4)
    axes.spines["left"].set_visible(False)
