"""Path diagram of a measurement model: latent factors above, observed traits below, in the usual graphical language."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as BezierPath

from gsem_spark.report.figures import BLUE, GREY, INK, PAPER, VERMILION, axes_in_inches, new_figure, styled

_BOX_HEIGHT, _CIRCLE = 0.42, 0.36
_HEIGHT, _BOX_Y, _FACTOR_Y = 3.85, 1.05, 2.85


@dataclass(frozen=True)
class _Path:
    lhs: str
    rhs: str
    est: float
    se: float


@styled
def path_diagram(parameters: pd.DataFrame, *, standardised: bool = True) -> Figure:
    """Draw factors as circles, traits as boxes, loadings as arrows, residual variances as loops, factor correlations as arcs.

    Parameters
    ----------
    parameters
        ``lhs op rhs`` in lavaan's notation (``=~`` loadings, ``~~`` variances and covariances; other rows are left out) with
        ``std_est std_se`` (or ``est se``). Readable from 2 to about 12 traits.
    standardised
        Print the standardised solution.
    """
    value, error = ("std_est", "std_se") if standardised else ("est", "se")
    paths = [_Path(str(r.lhs), str(r.rhs), float(getattr(r, value)), float(getattr(r, error))) for r in parameters.itertuples()]
    ops = [str(op) for op in parameters["op"]]
    loadings = [p for p, op in zip(paths, ops, strict=True) if op == "=~"]
    covariances = [p for p, op in zip(paths, ops, strict=True) if op == "~~"]
    factors = list(dict.fromkeys(p.lhs for p in loadings))
    traits = list(dict.fromkeys(p.rhs for p in loadings if p.rhs not in factors))
    if not traits:
        raise ValueError("a path diagram needs at least one loading (op =~) on an observed trait")
    step = max(0.98, min(max(len(t) for t in traits) * 0.085 + 0.25, 1.5))
    width = max(step * len(traits) + 0.5, 4.2)
    figure = new_figure(width, _HEIGHT)
    axes = axes_in_inches(figure, 0, 0, width, _HEIGHT)
    axes.set_xlim(0, width)
    axes.set_ylim(0, _HEIGHT)
    axes.set_axis_off()
    first = (width - step * (len(traits) - 1)) / 2
    x = {trait: first + i * step for i, trait in enumerate(traits)}
    x |= _factor_places(factors, loadings, x, width)
    for path in loadings:
        if path.rhs in traits:
            _loading(axes, x[path.lhs], x[path.rhs], path)
    for path in covariances:
        _covariance(axes, path, x, factors, traits)
    for trait in traits:
        _box(axes, x[trait], trait, step)
    for factor in factors:
        _circle(axes, x[factor], factor)
    return figure


def _factor_places(factors: list[str], loadings: list[_Path], x: dict[str, float], width: float) -> dict[str, float]:
    middle = {f: float(np.mean([x[p.rhs] for p in loadings if p.lhs == f and p.rhs in x] or [width / 2])) for f in factors}
    ordered = sorted(factors, key=lambda f: middle[f])
    even = {f: width * (i + 1) / (len(ordered) + 1) for i, f in enumerate(ordered)}
    return {f: (middle[f] + even[f]) / 2 if len(factors) > 1 else width / 2 for f in factors}


def _loading(axes: Axes, start: float, end: float, path: _Path) -> None:
    colour = VERMILION if path.est < 0 else BLUE
    strength = 0.8 + 1.8 * min(abs(path.est), 1.0) if np.isfinite(path.est) else 0.8
    direction = np.array([end - start, _BOX_Y + _BOX_HEIGHT / 2 - _FACTOR_Y])
    unit = direction / np.hypot(*direction)
    tail = np.array([start, _FACTOR_Y]) + unit * _CIRCLE
    head = np.array([end, _BOX_Y + _BOX_HEIGHT / 2 + 0.02])
    axes.add_patch(
        FancyArrowPatch(
            tuple(tail),
            tuple(head),
            arrowstyle="-|>",
            mutation_scale=9,
            lw=strength,
            color=colour,
            ls="--" if path.est < 0 else "-",
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )
    place = tail + (head - tail) * (1 - 0.62 / (_FACTOR_Y - _BOX_Y))
    axes.text(
        float(place[0]),
        float(place[1]),
        _number(path),
        ha="center",
        va="center",
        fontsize=7.5,
        linespacing=1.2,
        zorder=3,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2},
    )


def _covariance(axes: Axes, path: _Path, x: dict[str, float], factors: list[str], traits: list[str]) -> None:
    if path.lhs not in x or path.rhs not in x:
        return
    if path.lhs != path.rhs:
        _arc(axes, path, x, path.lhs in factors)
    elif path.lhs in factors:
        _loop(axes, x[path.lhs], _FACTOR_Y + _CIRCLE, path, upwards=True)
    elif path.lhs in traits:
        _loop(axes, x[path.lhs], _BOX_Y - _BOX_HEIGHT / 2, path, upwards=False)


def _arc(axes: Axes, path: _Path, x: dict[str, float], latent: bool) -> None:
    left, right = sorted((x[path.lhs], x[path.rhs]))
    y = _FACTOR_Y + 0.2 if latent else _BOX_Y - _BOX_HEIGHT / 2
    offset = 0.3 if latent else 0.0
    bend = -0.28 if latent else 0.35
    axes.add_patch(
        FancyArrowPatch(
            (left + offset, y),
            (right - offset, y),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="<|-|>",
            mutation_scale=7,
            lw=0.9,
            color=GREY,
            shrinkA=2,
            shrinkB=2,
            zorder=1,
        )
    )
    height = y - bend * (right - left - 2 * offset) / 2
    axes.text(
        (left + right) / 2,
        height,
        _number(path, " "),
        ha="center",
        va="center",
        fontsize=7.5,
        zorder=3,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
    )


def _loop(axes: Axes, x: float, y: float, path: _Path, *, upwards: bool) -> None:
    sign = 1 if upwards else -1
    half, drop = 0.11, 0.34
    curve = BezierPath(
        [(x - half, y), (x - 3.2 * half, y + sign * drop * 1.3), (x + 3.2 * half, y + sign * drop * 1.3), (x + half, y)],
        [BezierPath.MOVETO, BezierPath.CURVE4, BezierPath.CURVE4, BezierPath.CURVE4],
    )
    axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="<|-|>", mutation_scale=5, lw=0.8, color=GREY, zorder=1))
    fixed = not (np.isfinite(path.se) and path.se > 0)
    colour = VERMILION if path.est < 0 else INK
    axes.text(
        x,
        y + sign * (drop + 0.06),
        f"{path.est:.2f}".replace("-", "\u2212") if fixed else _number(path),
        ha="center",
        va="bottom" if upwards else "top",
        fontsize=7,
        color=colour,
        linespacing=1.2,
    )


def _box(axes: Axes, x: float, trait: str, step: float) -> None:
    width = step - 0.16
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, _BOX_Y - _BOX_HEIGHT / 2),
            width,
            _BOX_HEIGHT,
            facecolor="#F1F4F7",
            edgecolor=INK,
            lw=1.0,
            boxstyle="square,pad=0",
            zorder=4,
        )
    )
    room = int((width - 0.06) / 0.085)
    text = trait if len(trait) <= room else trait[: max(room - 1, 1)] + "…"
    axes.text(x, _BOX_Y, text, ha="center", va="center", fontsize=9, zorder=5)


def _circle(axes: Axes, x: float, factor: str) -> None:
    axes.add_patch(Ellipse((x, _FACTOR_Y), 2 * _CIRCLE, 2 * _CIRCLE, facecolor="#E3EEF6", edgecolor=INK, lw=1.2, zorder=4))
    axes.text(x, _FACTOR_Y, factor, ha="center", va="center", fontsize=11 if len(factor) <= 4 else 8, fontweight="bold", zorder=5)


def _number(path: _Path, between: str = "\n") -> str:
    if not np.isfinite(path.est):
        return "–"
    text = f"{path.est:.2f}".replace("-", "\u2212")
    return f"{text}{between}({path.se:.2f})" if np.isfinite(path.se) and path.se > 0 else text
