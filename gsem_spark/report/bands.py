"""Figure of a meta-regression: estimates with their errors against a predictor, the fitted line and its band."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gsem_spark.report.figures import BLUE, GREY, INK, axes_in_inches, new_figure, styled

_WIDTH, _HEIGHT = 4.6, 3.4


@styled
def gls_bands_figure(
    x: ArrayLike, y: ArrayLike, se: ArrayLike, band: pd.DataFrame, *, x_label: str = "Predictor",
    y_label: str = "Genetic correlation",
) -> Figure:
    """Draw estimates, the fitted line and its band.

    Parameters
    ----------
    x, y, se
        (n,) predictor, estimates and their standard errors (drawn as one error on either side).
    band
        ``x fitted low high`` from :func:`gsem_spark.methods.sem.gls.gls_bands`.
    x_label, y_label
        Names of the axes.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = axes_in_inches(figure, 0.65, 0.55, _WIDTH - 0.8, _HEIGHT - 0.7)
    axes.fill_between(band["x"], band["low"], band["high"], color=BLUE, alpha=0.15, lw=0, zorder=1)
    axes.plot(band["x"], band["fitted"], color=BLUE, lw=1.5, zorder=2)
    axes.errorbar(
        np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), yerr=np.asarray(se, dtype=np.float64), fmt="o", ms=4,
        color=INK, ecolor=GREY, elinewidth=0.8, capsize=0, zorder=3,
    )
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure
