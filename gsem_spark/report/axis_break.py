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


@dataclass(frozen=True)
class NegLogAxis:
    """A -log10 p axis from 0 to ``top``, linear up to ``start``, above it with each unit ``slope`` as long."""

    top: float
    start: float
    slope: float

    @classmethod
    def to(cls, largest: float, *, at_least: float) -> NegLogAxis:
        """Choose the axis for data up to ``largest``: linear to 40, otherwise compressed above 20 into 30 % of its length."""
        top = max(largest * 1.04, at_least)
        if top <= _LINEAR_TO:
            return cls(top, top, 1.0)
        upper = _BREAK_AT * _UPPER_SHARE / (1 - _UPPER_SHARE)
        return cls(top, _BREAK_AT, upper / (top - _BREAK_AT))

    @property
    def broken(self) -> bool:
        """Whether a part of the axis is compressed."""
        return self.slope < 1.0

    def forward(self, y: ArrayLike) -> NDArray[np.float64]:
        """Map -log10 p to length along the axis."""
        y = np.asarray(y, np.float64)
        return np.where(y <= self.start, y, self.start + (y - self.start) * self.slope)

    def inverse(self, length: ArrayLike) -> NDArray[np.float64]:
        """Undo :meth:`forward`."""
        length = np.asarray(length, np.float64)
        return np.where(length <= self.start, length, self.start + (length - self.start) / self.slope)

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
            place = float(self.fraction(self.start))
            axes.text(1.0, 1 - place if downwards else place, f"scale compressed above {self.start:g}", transform=axes.transAxes,
                      ha="right", va="top" if downwards else "bottom", fontsize=6, color=GREY)

    def _ticks(self) -> list[float]:
        if not self.broken:
            return [float(t) for t in MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(0, self.top) if 0 <= t <= self.top]
        upper = MaxNLocator(3, integer=True, steps=[1, 2, 2.5, 5, 10]).tick_values(self.start, self.top)
        gap = (self.top - self.start) * 0.2
        return [0.0, 5.0, 10.0, 15.0, 20.0, *(float(t) for t in upper if self.start + gap < t <= self.top)]
