"""Who paints, by name as an entry point: drawing lies above the mathematics, which runs without it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

PATH_DIAGRAM: Final = "gsem_spark.report.path_diagram:draw"
SCREE: Final = "gsem_spark.report.scree:draw_scree"


def paint(painter: str, *arguments: Any, **settings: Any) -> Path:
    """Call a painter by its name; it writes a file and returns where that is."""
    module, _, name = painter.partition(":")
    drawn: Path = getattr(import_module(module), name)(*arguments, **settings)
    return drawn
