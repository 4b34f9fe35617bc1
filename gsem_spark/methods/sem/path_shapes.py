"""Shapes of a path diagram on paper, in inches: variables, curves with labels, and how they meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sem.paths import Arrow

Floats = NDArray[np.float64]
Rectangle = tuple[float, float, float, float]
"""Centre x, y, width, height."""

LABEL_CHARACTER: Final = 0.062
LABEL_LINE: Final = 0.125
"""Width of a character and height of a line of the arrows' labels."""


@dataclass(frozen=True)
class Node:
    """A variable: a circle (latent) or a box around (x, y), ``width`` by ``height``."""

    name: str
    latent: bool
    x: float
    y: float
    width: float
    height: float

    def border(self, towards: Floats, gap: float = 0.02) -> Floats:
        """Return the point where a line from the centre towards another point leaves the node, and a little further."""
        centre = np.array([self.x, self.y])
        direction = np.asarray(towards, dtype=np.float64) - centre
        length = float(np.hypot(*direction)) or 1.0
        unit = direction / length
        if self.latent:
            return np.asarray(centre + unit * (self.width / 2 + gap))
        with np.errstate(divide="ignore"):
            reach = np.min(np.array([self.width, self.height]) / 2 / np.abs(unit))
        return np.asarray(centre + unit * (reach + gap))


@dataclass(frozen=True)
class Curve:
    """An arrow on paper: control points of a line (2), a quadratic (3) or a cubic (4) Bezier curve, and its label's centre."""

    arrow: Arrow
    points: tuple[tuple[float, float], ...]
    label: tuple[float, float]

    @property
    def two_headed(self) -> bool:
        """Variances and covariances have a head at either end."""
        return self.arrow.kind != "directed"


@dataclass(frozen=True)
class Layout:
    """A diagram on a sheet of ``width`` by ``height`` inches."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    curves: tuple[Curve, ...]


def label_size(arrow: Arrow) -> tuple[float, float]:
    """Width and height of an arrow's label."""
    return max(len(line) for line in arrow.lines) * LABEL_CHARACTER + 0.06, len(arrow.lines) * LABEL_LINE + 0.04


def bezier(points: Sequence[tuple[float, float]], n: int) -> Floats:
    """(n, 2) points along a Bezier curve of any degree (de Casteljau)."""
    t = np.linspace(0.0, 1.0, n)[:, None, None]
    level = np.broadcast_to(np.array(points, dtype=np.float64), (n, len(points), 2))
    while level.shape[1] > 1:
        level = (1 - t) * level[:, :-1] + t * level[:, 1:]
    return np.asarray(level[:, 0])


def overlap(a: Rectangle, b: Rectangle) -> float:
    """Area that two centred rectangles share, in units of the first one's."""
    wide = (a[2] + b[2]) / 2 - abs(a[0] - b[0])
    high = (a[3] + b[3]) / 2 - abs(a[1] - b[1])
    return max(wide, 0.0) * max(high, 0.0) / (a[2] * a[3])


def hits(curve: Curve, box: Rectangle) -> bool:
    """Whether a straight arrow runs through a centred rectangle (Liang & Barsky's clipping)."""
    (x0, y0), (x1, y1) = curve.points[0], curve.points[-1]
    x, y, width, height = box
    low, high = 0.0, 1.0
    for d, near, far in ((x1 - x0, x - width / 2 - x0, x + width / 2 - x0), (y1 - y0, y - height / 2 - y0, y + height / 2 - y0)):
        if d == 0:
            if near > 0 or far < 0:
                return False
            continue
        a, b = sorted((near / d, far / d))
        low, high = max(low, a), min(high, b)
    return low < high


def loop_foot(curve: Curve) -> Rectangle:
    """The centred rectangle between the two ends of a loop and its middle."""
    at = bezier(curve.points, 9)
    low, high = at.min(axis=0), at.max(axis=0)
    return (*pair((low + high) / 2), *pair(0.9 * (high - low)))


def loop_box(curve: Curve) -> Rectangle:
    """The centred rectangle of a loop with its label, without its foot on the node."""
    width, height = label_size(curve.arrow)
    x, y = curve.label
    at = bezier(curve.points, 9)[2:-2]
    left, right = min(x - width / 2, at[:, 0].min()), max(x + width / 2, at[:, 0].max())
    low, high = min(y - height / 2, at[:, 1].min()), max(y + height / 2, at[:, 1].max())
    return (float(left + right) / 2, float(low + high) / 2, float(right - left), float(high - low))


def pair(point: Floats) -> tuple[float, float]:
    """Return a point as plain numbers."""
    return float(point[0]), float(point[1])
