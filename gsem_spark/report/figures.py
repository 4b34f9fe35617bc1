"""The one style of all figures, and how a figure becomes bytes.

Figures are made with matplotlib's object interface, so that nothing here touches pyplot's global state, and are written
without dates or random identifiers: the same frames give the same bytes.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gsem_spark.errors import ConfigError

# Okabe & Ito's colours, told apart by colour-blind readers and in grey print.
BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
INK: Final = "#1C2430"
GREY: Final = "#6B7480"
PALE: Final = "#D5DAE0"
PAPER: Final = "#FFFFFF"

Q_SNP_BOLD: Final = r"$\mathbf{Q}_{\mathbf{SNP}}$"
"""Q_SNP in bold titles, where mathematical text needs its own bold."""

PNG_DPI: Final = 220
"""Resolution of PNG files, and of the point clouds inside SVG files."""

CHROMOSOME_NAMES: Final = {23: "X", 24: "Y", 25: "XY", 26: "MT"}
"""How PLINK's numeric chromosome codes are printed; the others as they are."""

STYLE: Final[dict[str, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same glyphs on every machine
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "xtick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7.5,
    "ytick.major.size": 3.0,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",  # glyph outlines: the picture needs no font where it is read
    "svg.hashsalt": "gsem_spark",
    "path.simplify": True,
}

_NOT_STYLE: Final = (
    "backend",
    "backend_fallback",
    "interactive",
    "toolbar",
    "timezone",
    "webagg",
    "savefig.directory",
    "tk.window_focus",
    "date.epoch",
    "docstring.hardcopy",
    "figure.max_open_warning",
    "figure.raise_window",
)
_DEFAULTS: Final[dict[str, Any]] = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith(_NOT_STYLE)}

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def style() -> Iterator[None]:
    """Put the shared style (on top of matplotlib's defaults, not of the user's settings) in force for a block."""
    settings: Any = {**_DEFAULTS, **STYLE}
    with mpl.rc_context(settings):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function in the shared style."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches on the Agg canvas."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def axes_in_inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place given in inches from the figure's lower left corner."""
    figure_width, figure_height = figure.get_size_inches()
    return figure.add_axes((left / figure_width, bottom / figure_height, width / figure_width, height / figure_height))


def chromosome_name(code: int) -> str:
    """Return the printed name of a numeric chromosome code, e.g. ``X`` for 23."""
    return CHROMOSOME_NAMES.get(int(code), str(int(code)))


@styled
def to_svg(figure: Figure) -> str:
    """Return the figure as SVG text; the same figure gives the same text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=PNG_DPI, metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode("utf-8")


@styled
def to_png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes at :data:`PNG_DPI`; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure to a file, ``.svg`` or ``.png`` by its ending, and return where it is.

    Raises
    ------
    ConfigError
        For another ending.
    """
    out = Path(path)
    if out.suffix.lower() == ".svg":
        out.write_text(to_svg(figure), encoding="utf-8")
    elif out.suffix.lower() == ".png":
        out.write_bytes(to_png(figure))
    else:
        raise ConfigError(f"a figure cannot be written as {out.name}", remedy="use the ending .svg or .png")
    return out


def svg_data_uri(svg: str) -> str:
    """Return SVG text as a ``data:`` address, so that a page holds it without another file."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")
