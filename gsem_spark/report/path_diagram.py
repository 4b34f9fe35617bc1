"""Path diagrams: latent factors as circles, observed traits as boxes, estimates with their errors on the arrows.

What stands where is worked out in :mod:`gsem_spark.methods.sem.path_layout`; here it is painted, or handed to graphviz.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as BezierPath

from gsem_spark.errors import ConfigError, ModelError, StorageError
from gsem_spark.methods.sem.path_layout import CHARACTER, layout
from gsem_spark.methods.sem.path_shapes import Curve, Node
from gsem_spark.methods.sem.paths import Diagram, diagram_of, dot_text
from gsem_spark.report.figures import BLUE, GREY, INK, PAPER, VERMILION, axes_in_inches, new_figure, styled, write_figure

Engine = Literal["auto", "own", "dot"]

_DOT_SECONDS: Final = 60
_CODES: Final = {2: (1, 2), 3: (1, 3, 3), 4: (1, 4, 4, 4)}  # matplotlib's MOVETO, LINETO, CURVE3, CURVE4


@styled
def path_diagram(parameters: pd.DataFrame, *, standardised: bool = True, hide_below: float = 0.0) -> Figure:
    """Draw factors as circles, traits as boxes, directed paths as arrows, variances as loops, covariances as arcs.

    Parameters
    ----------
    parameters
        ``lhs op rhs`` in lavaan's notation with ``std_all std_all_se``, ``std_est std_se`` or ``est se``. Readable from 2 to
        about 12 traits behind 1 to 3 factors, second-order and bifactor models and regressions included.
    standardised
        Print the standardised solution.
    hide_below
        Leave out loadings with a smaller absolute value: for exploratory models.

    Raises
    ------
    ValueError
        When there is no one-headed arrow.
    """
    try:
        diagram = diagram_of(parameters, standardised=standardised, hide_below=hide_below)
    except ModelError as error:
        raise ValueError(str(error)) from error
    return _painted(diagram)


class HasParameters(Protocol):
    """A fit: anything with a parameter table."""

    @property
    def parameters(self) -> pd.DataFrame:
        """One row a path."""
        ...


def draw(
    fit: HasParameters | pd.DataFrame, path: str | Path = "path_diagram.svg", *, standardised: bool = True,
    hide_below: float = 0.0, engine: Engine = "auto",
) -> Path:
    """Write a path diagram to a file: ``.svg``, ``.png`` or ``.dot`` by its ending.

    Parameters
    ----------
    fit
        A fitted model, confirmatory or exploratory, or its parameter table.
    standardised, hide_below
        As :func:`path_diagram`.
    path
        Where to.
    engine
        ``own`` layout (the same bytes on every machine), ``dot`` (graphviz), or ``auto``: own for models with factors, graphviz,
        where it is installed, for networks of observed variables.

    Raises
    ------
    ConfigError
        For another ending or engine, or where ``dot`` is asked for and is not installed.
    ModelError
        When there is no one-headed arrow.
    StorageError
        When graphviz fails.
    """
    out = Path(path)
    kind = out.suffix.lower()
    if kind not in (".svg", ".png", ".dot"):
        raise ConfigError(f"a path diagram cannot be written as {out.name}", remedy="use the ending .svg, .png or .dot")
    if engine not in get_args(Engine):
        raise ConfigError(f"engine {engine!r} is not known", remedy="use auto, own or dot")
    parameters = fit if isinstance(fit, pd.DataFrame) else fit.parameters
    diagram = diagram_of(parameters, standardised=standardised, hide_below=hide_below)
    program = shutil.which("dot")
    if engine == "dot" and program is None and kind != ".dot":
        raise ConfigError("the program dot is not installed", remedy="install graphviz, or use engine='own'")
    if kind == ".dot":
        out.write_text(dot_text(diagram), encoding="utf-8")
    elif program is not None and (engine == "dot" or (engine == "auto" and not diagram.latent)):
        out.write_bytes(_by_graphviz(program, dot_text(diagram), kind[1:]))
    else:
        write_figure(_painted(diagram), out)
    return out


def _by_graphviz(program: str, text: str, kind: str) -> bytes:
    try:
        done = subprocess.run(
            [program, f"-T{kind}", "-Gdpi=150"] if kind == "png" else [program, f"-T{kind}"],
            input=text.encode("utf-8"), capture_output=True, timeout=_DOT_SECONDS, check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StorageError(f"graphviz could not draw the diagram: {error}", remedy="use engine='own'") from error
    return done.stdout


@styled
def _painted(diagram: Diagram) -> Figure:
    sheet = layout(diagram)
    figure = new_figure(sheet.width, sheet.height)
    axes = axes_in_inches(figure, 0, 0, sheet.width, sheet.height)
    axes.set_xlim(0, sheet.width)
    axes.set_ylim(0, sheet.height)
    axes.set_axis_off()
    for curve in sheet.curves:
        _arrow(axes, curve)
    for node in sheet.nodes:
        (_circle if node.latent else _box)(axes, node)
    return figure


def _arrow(axes: Axes, curve: Curve) -> None:
    directed = curve.arrow.kind == "directed"
    negative = curve.arrow.negative
    size = min(abs(curve.arrow.est), 1.0) if np.isfinite(curve.arrow.est) else 0.0
    colour = (VERMILION if negative else BLUE) if directed else GREY
    loop = curve.arrow.kind == "variance"
    axes.add_patch(
        FancyArrowPatch(
            path=BezierPath(curve.points, _CODES[len(curve.points)]),
            arrowstyle="<|-|>" if curve.two_headed else "-|>",
            mutation_scale=9 if directed else 5 if loop else 7,
            lw=0.8 + 1.8 * size if directed else 0.8,
            color=colour,
            ls="--" if directed and negative else "-",
            capstyle="butt",
            shrinkA=0,
            shrinkB=0,
            zorder=2 if directed else 1,
        )
    )
    axes.text(
        *curve.label,
        "\n".join(curve.arrow.lines),
        ha="center",
        va="center",
        fontsize=7.0 if loop else 7.5,
        linespacing=1.15,
        color=VERMILION if negative and not directed else INK,
        zorder=3,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.9},
    )


def _box(axes: Axes, node: Node) -> None:
    corner = (node.x - node.width / 2, node.y - node.height / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner, node.width, node.height, facecolor="#F1F4F7", edgecolor=INK, lw=1.0, boxstyle="square,pad=0", zorder=4
        )
    )
    text = _fitting(node.name, node.width)
    size = 8.0 if "\n" in text else 9.0
    axes.text(node.x, node.y, text, ha="center", va="center", fontsize=size, linespacing=1.15, zorder=5)


def _circle(axes: Axes, node: Node) -> None:
    axes.add_patch(Ellipse((node.x, node.y), node.width, node.height, facecolor="#E3EEF6", edgecolor=INK, lw=1.2, zorder=4))
    size = 11.0 if len(node.name) <= 4 else max(5.5, 8.0 * min(1.0, 8 / len(node.name)))
    axes.text(node.x, node.y, _fitting(node.name, 1.4), ha="center", va="center", fontsize=size, fontweight="bold", zorder=5)


def _fitting(name: str, width: float) -> str:
    """The name; where the box has no room for it, in two lines, and where these have none, with its middle left out."""
    room = int((width - 0.06) / CHARACTER) + 1
    if len(name) <= room:
        return name
    breaks = [i + 1 for i, letter in enumerate(name[:-1]) if not letter.isalnum()]
    fitting = [i for i in breaks if max(i, len(name) - i) <= room]
    if fitting:
        at = min(fitting, key=lambda i: abs(2 * i - len(name)))
        return f"{name[:at].rstrip()}\n{name[at:]}"
    head = max((room - 1) // 2, 1)
    return f"{name[:head]}…{name[len(name) - max(room - 1 - head, 1):]}"
