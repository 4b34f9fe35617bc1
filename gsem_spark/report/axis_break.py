"""An axis for -log10 p that stays readable when one locus reaches into the hundreds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gsem_spark.report.figures import GREY

_BREAK_AT = 20.0
_LINEAR_TO = 40.0
_UPPER_SHARE = 0.3
_UPPER_TICKS = (30.0, 50.0, 100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 100_000.0)


@dataclass(frozen=True)
class NegLogAxis:
    """A -log10 p axis from 0 to ``top``, linear up to ``start``, logarithmic (log y times ``unit``) above it."""

    top: float
    start: float
    unit: float

    @classmethod
    def to(cls, largest: float, *, at_least: float) -> NegLogAxis:
        """Choose the axis for data up to ``largest``: linear to 40, otherwise logarithmic above 20, in 30 % of its length."""
        top = max(largest * 1.04, at_least)
        if top <= _LINEAR_TO:
            return cls(top, top, 0.0)
        return cls(top, _BREAK_AT, _BREAK_AT * _UPPER_SHARE / (1 - _UPPER_SHARE) / float(np.log(top / _BREAK_AT)))

    @property
    def broken(self) -> bool:
        """Whether a part of the axis is compressed."""
        return self.unit > 0

    def forward(self, y: ArrayLike) -> NDArray[np.float64]:
        """Map -log10 p to length along the axis."""
        y = np.asarray(y, np.float64)
        if not self.broken:
            return y
        return np.where(y <= self.start, y, self.start + self.unit * np.log(np.maximum(y, self.start) / self.start))

    def inverse(self, length: ArrayLike) -> NDArray[np.float64]:
        """Undo :meth:`forward`."""
        length = np.asarray(length, np.float64)
        if not self.broken:
            return length
        return np.where(length <= self.start, length, self.start * np.exp(np.maximum(length - self.start, 0.0) / self.unit))

    def fraction(self, y: ArrayLike) -> NDArray[np.float64]:
        """Map -log10 p to the share of the axis below it, in [0, 1]."""
        return self.forward(np.minimum(np.asarray(y, np.float64), self.top)) / self.forward(self.top)

    def apply(self, axes: Axes, *, downwards: bool = False) -> None:
        """Give the axes this y axis, with ticks, and marks where the compressed part begins."""
        axes.set_yscale("function", functions=(self.forward, self.inverse))
        axes.set_ylim((self.top, 0.0) if downwards else (0.0, self.top))
        axes.yaxis.set_major_locator(FixedLocator(self._ticks()))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(FixedLocator([]))
        if self.broken:
            axes.axhline(self.start, color=GREY, lw=0.6, ls=(0, (1, 2)), zorder=0.5)
            middle = (1.0 + float(self.fraction(self.start))) / 2
            axes.text(
                1.004,
                1 - middle if downwards else middle,
                "log scale",
                transform=axes.transAxes,
                rotation=90,
                ha="left",
                va="center",
                fontsize=6,
                color=GREY,
            )

    def _ticks(self) -> list[float]:
        if not self.broken:
            return [
                float(t) for t in MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(0, self.top) if 0 <= t <= self.top
            ]
        ticks = [0.0, 5.0, 10.0, 15.0, 20.0]
        for tick in _UPPER_TICKS:
            if tick <= self.top and self.forward(tick) - self.forward(ticks[-1]) > 0.045 * self.forward(self.top):
                ticks.append(tick)
        return ticks
