"""Figure of a meta-regression: estimates with their errors against a predictor, the fitted line and its band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gsem_spark.methods.sem.gls import Gls, gls_bands
from gsem_spark.report.figures import BLUE, GREY, INK, axes_in_inches, new_figure, styled, write_figure

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


def draw_bands(
    y: ArrayLike, V: ArrayLike, x: ArrayLike, path: str | Path, *, quadratic: bool = False,
    controls: ArrayLike | pd.DataFrame | None = None, width: float = 1.0, x_label: str = "Predictor",
    y_label: str = "Genetic correlation",
) -> Gls:
    """Fit a line or a parabola to estimates and draw it with its band to a file, as GenomicSEM's ``summaryGLSbands`` does.

    Parameters
    ----------
    y, V, x, quadratic, controls, width
        As :func:`gsem_spark.methods.sem.gls.gls_bands`.
    path
        Where to, ``.svg`` or ``.png`` by its ending.
    x_label, y_label
        Names of the axes.

    Returns
    -------
    Gls
        The fit: ``.table()``, ``.chisq``.

    Raises
    ------
    ConfigError
        When sizes disagree, a number is not finite, or for another ending.
    ModelError
        When V is not positive definite or the predictors are collinear.
    """
    fit, band = gls_bands(y, V, x, quadratic=quadratic, controls=controls, width=width)
    se = np.sqrt(np.diag(np.asarray(V, dtype=np.float64)))
    write_figure(gls_bands_figure(x, y, se, band, x_label=x_label, y_label=y_label), path)
    return fit
