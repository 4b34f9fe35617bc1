"""A trait by the genotype of one variant: samples, their means, and the line that the mixed model estimates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gsem_spark.report.figures import BLUE, GREY, INK, SKY, VERMILION, axes_in_inches, new_figure, styled

Floats = NDArray[np.float64]
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 3.6, 3.0, 0.7, 0.62, 0.4
_JITTER, _MOST = 0.16, 3000


@dataclass(frozen=True)
class GenotypeEffect:
    """What is drawn.

    Parameters
    ----------
    snp, a1, a2, trait
        Names: the horizontal axis counts copies of ``a1``.
    genotypes
        (n,) copies or dosages; NaN where missing.
    values
        (n,) the trait, adjusted for covariates.
    beta, se
        The mixed model's estimate per copy.
    neglog10p
        Of its test.
    """

    snp: str
    a1: str
    a2: str
    trait: str
    genotypes: Floats
    values: Floats
    beta: float
    se: float
    neglog10p: float


@styled
def genotype_effect(shown: GenotypeEffect) -> Figure:
    """Draw samples (jittered), their mean with its 95 % interval by genotype, and the model's line with its 95 % band.

    Means take samples as independent; the band is the mixed model's, which does not. Of over 3,000 samples not all are drawn.
    """
    figure = new_figure(_LEFT + _WIDTH + 0.2, _BOTTOM + _HEIGHT + _TOP)
    axes = axes_in_inches(figure, _LEFT, _BOTTOM, _WIDTH, _HEIGHT)
    known = np.isfinite(shown.genotypes) & np.isfinite(shown.values)
    x, y = shown.genotypes[known], shown.values[known]
    axes.set_title(f"{shown.snp} and {shown.trait}")
    if not len(x):
        axes.text(0.5, 0.5, "no sample has the genotype and the trait", ha="center", color=GREY, transform=axes.transAxes)
        return figure
    hard = bool(np.all(x == np.round(x)))
    every = max(-(-len(x) // _MOST), 1)
    spread = np.random.default_rng(1).uniform(-_JITTER, _JITTER, len(x)) if hard else np.zeros(len(x))
    axes.scatter((x + spread)[::every], y[::every], s=6, c=SKY, alpha=0.55, linewidths=0, rasterized=True, zorder=1)
    _line(axes, shown, x, y)
    _means(axes, np.round(x), y)
    axes.set_xticks([0, 1, 2], _labels(shown, np.round(x)))
    axes.set_xlim(-0.45, 2.45)
    axes.set_xlabel(f"copies of {shown.a1}")
    axes.set_ylabel(f"{shown.trait}, less covariates")
    words = f"per copy {shown.beta:.3g} (SE {shown.se:.2g}), ".replace("-", "\u2212")
    axes.text(0.02, 0.985, words + r"$-\log_{10}p$" + f" = {shown.neglog10p:.3g}", transform=axes.transAxes, va="top",
              fontsize=7.5, color=INK)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.08 * (high - low))
    return figure


def _labels(shown: GenotypeEffect, x: Floats) -> list[str]:
    names = (f"{shown.a2}/{shown.a2}", f"{shown.a1}/{shown.a2}", f"{shown.a1}/{shown.a1}")
    return [f"{name}\nn = {int((x == g).sum()):,}" for g, name in enumerate(names)]


def _line(axes: Axes, shown: GenotypeEffect, x: Floats, y: Floats) -> None:
    centre, level = float(x.mean()), float(y.mean())
    at = np.linspace(0.0, 2.0, 41)
    fit, half = level + shown.beta * (at - centre), 1.96 * shown.se * np.abs(at - centre)
    axes.fill_between(at, fit - half, fit + half, color=VERMILION, alpha=0.18, lw=0, zorder=2)
    axes.plot(at, fit, color=VERMILION, lw=1.4, zorder=3)


def _means(axes: Axes, x: Floats, y: Floats) -> None:
    for g in (0.0, 1.0, 2.0):
        mine = y[x == g]
        if len(mine):
            half = 1.96 * mine.std(ddof=1) / np.sqrt(len(mine)) if len(mine) > 1 else 0.0
            axes.errorbar([g], [mine.mean()], yerr=[half], fmt="D", ms=4.5, color=BLUE, mec=INK, mew=0.5, lw=1.2, capsize=3,
                          zorder=4)
