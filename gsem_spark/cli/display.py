"""Tables for people: how frames, checks, schemas and reports look in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from gsem_spark.catalog.schemas import TableSchema
    from gsem_spark.doctor import Check

STATE_STYLES: Final[Mapping[str, str]] = {
    "ok": "green",
    "pass": "green",
    "done": "green",
    "skipped": "dim",
    "warn": "yellow",
    "empty": "yellow",
    "running": "yellow",
    "fail": "red",
    "failed": "red",
}


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = (), caption: str = ""
) -> Table:
    """Make a table; columns named in ``right`` are right-aligned, states are coloured."""
    made = Table(title=title or None, caption=caption or None, title_justify="left", caption_justify="left", header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def frame(title: str, data: pd.DataFrame, *, caption: str = "") -> Table:
    """Show a small frame; numbers are right-aligned, with four significant digits."""
    right = [str(c) for c in data.columns if data[c].dtype.kind in "fiu"]
    return table(title, [str(c) for c in data.columns], data.itertuples(index=False), right=right, caption=caption)


def checks(found: Iterable[Check]) -> Table:
    """Show the doctor's findings."""
    rows = [(c.state, c.name, c.found + (f"\nRemedy: {c.remedy}" if c.remedy else "")) for c in found]
    return table("", ["", "check", "found"], rows)


def schema(of: TableSchema) -> Table:
    """Show a table's columns with type, range, unit and meaning."""
    rows = []
    for column in of.columns:
        bounds = " | ".join(column.values) or _range(column.low, column.high)
        null = "" if column.nullable else "no"
        rows.append((column.name, column.type, null, bounds, column.unit, column.meaning))
    caption = f"key: {', '.join(of.key)}" + (f"; partitions: {', '.join(of.partitions)}" if of.partitions else "")
    return table(f"{of.name}: {of.meaning}", ["column", "type", "null", "values", "unit", "meaning"], rows, caption=caption)


def number(value: float) -> str:
    """Write a number with four significant digits; counts and large numbers whole, with separators."""
    if math.isnan(value):
        return ""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, Text):
        return value
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, (int, float)) or hasattr(value, "dtype"):
        return Text(number(float(value)))
    return Text(str(value), style=STATE_STYLES.get(str(value), ""))


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"≥ {low:g}"
    return f"{low:g} … {high:g}" if low is not None else f"≤ {high:g}"
