"""The path diagram of a model: its variables and arrows, the rows they stand in, and the same as DOT text for graphviz.

Where everything stands on paper is worked out in :mod:`gsem_spark.methods.sem.path_layout`; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Final, Literal

import numpy as np
import pandas as pd

from gsem_spark.errors import ModelError

ArrowKind = Literal["directed", "covariance", "variance"]

MOST_PERMUTED: Final = 5
"""Up to this many factors every order is tried, to cross as few arrows as possible."""
MINUS: Final = "\u2212"


@dataclass(frozen=True)
class Arrow:
    """One arrow: ``directed`` from source to target, ``covariance`` between two variables, ``variance`` of one.

    Parameters
    ----------
    source, target
        Names; equal for a variance.
    kind
        See above.
    loading
        Whether it is a factor's loading.
    est, se
        Estimate and standard error; NaN where unknown, ``se`` also where the path is fixed.
    """

    source: str
    target: str
    kind: ArrowKind
    loading: bool
    est: float
    se: float

    @property
    def size(self) -> float:
        """Absolute estimate; 1 where it is unknown."""
        return abs(self.est) if np.isfinite(self.est) else 1.0

    @property
    def negative(self) -> bool:
        """Whether the printed estimate is below 0."""
        return round(self.est, 2) < 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The label: the estimate, and below it the standard error in brackets where there is one."""
        if not np.isfinite(self.est):
            return ("–",)
        number = f"{round(self.est, 2) + 0.0:.2f}".replace("-", MINUS)
        return (number, f"({self.se:.2f})") if np.isfinite(self.se) and self.se > 0 else (number,)


@dataclass(frozen=True)
class Diagram:
    """Variables and arrows of a model.

    Parameters
    ----------
    observed, latent
        Names in order of appearance.
    arrows
        All arrows to draw.
    hidden
        Loadings left out because they are small.
    """

    observed: tuple[str, ...]
    latent: tuple[str, ...]
    arrows: tuple[Arrow, ...]
    hidden: int = 0

    @cached_property
    def directed(self) -> tuple[Arrow, ...]:
        """One-headed arrows."""
        return tuple(a for a in self.arrows if a.kind == "directed")

    @cached_property
    def general(self) -> str | None:
        """A bifactor model's general factor: its indicators are more than, and include, those of two other factors or more."""
        sets = {f: {a.target for a in self.directed if a.loading and a.source == f} for f in self.latent}
        for factor, mine in sets.items():
            inside = [o for f, o in sets.items() if f != factor and o and o < mine]
            if len(inside) >= 2 and not mine & set(self.latent):
                return factor
        return None

    @cached_property
    def rows(self) -> dict[int, tuple[str, ...]]:
        """Variables of each row, left to right; row 0 holds indicators and outcomes, factors stand above, row -1 below."""
        level = self._levels()
        factors = [f for f in self.latent if level[f] == 1]
        order = self._factor_order(factors)
        place = {f: i for i, f in enumerate(order)}
        base = [v for v in self.observed if level[v] == 0]
        rows = {0: tuple(self._indicator_order(base, place)), 1: tuple(order)}
        for r in sorted({r for r in level.values() if r not in (0, 1)}):
            rows[r] = tuple(v for v in (*self.latent, *self.observed) if level[v] == r)
        if 1 in rows and level:
            rows[1] += tuple(v for v in self.observed if level[v] == 1)
        return {r: names for r, names in sorted(rows.items()) if names}

    def _levels(self) -> dict[str, int]:
        targets = {f: [a.target for a in self.directed if a.loading and a.source == f] for f in self.latent}
        level: dict[str, int] = {}
        for _ in range(len(self.latent) + 1):
            for f in self.latent:
                level[f] = 1 + max((level.get(t, 0) for t in targets[f] if t in self.latent), default=0)
        if self.general is not None:
            level[self.general] = -1
        if not self.latent:
            return self._depths()
        top = max(level.values())
        pointed_at = {a.target for a in self.directed}
        points = {a.source for a in self.directed}
        for v in self.observed:
            level[v] = top + 1 if v in points and v not in pointed_at else 0
        return level

    def _depths(self) -> dict[str, int]:
        """Rows of a model without factors: an outcome stands below all that leads to it."""
        depth = dict.fromkeys(self.observed, 0)
        for _ in self.observed:
            for a in self.directed:
                depth[a.source] = max(depth[a.source], min(depth[a.target] + 1, len(self.observed)))
        return depth

    def _factor_order(self, factors: Sequence[str]) -> list[str]:
        if not 2 <= len(factors) <= MOST_PERMUTED:
            return list(factors)
        base = [v for v in self.observed if any(a.target == v and a.loading for a in self.directed)]

        def crossings(order: Iterable[str]) -> float:
            place = {f: i for i, f in enumerate(order)}
            spot = {v: i for i, v in enumerate(self._indicator_order(base, place))}
            ends = np.array([
                (place[a.source], spot[a.target], a.size)
                for a in self.directed if a.source in place and a.target in spot
            ])  # fmt: skip
            if not len(ends):
                return 0.0
            cross = np.subtract.outer(ends[:, 0], ends[:, 0]) * np.subtract.outer(ends[:, 1], ends[:, 1]) < 0
            apart = sum(abs(place[a.source] - place[a.target]) for a in self.arrows if {a.source, a.target} <= set(place))
            return float((cross * np.outer(ends[:, 2], ends[:, 2])).sum()) + 1e-3 * apart

        return list(min(permutations(factors), key=lambda o: round(crossings(o), 9)))

    def _indicator_order(self, base: Sequence[str], place: Mapping[str, int]) -> list[str]:
        """Indicators under the factor on which they load most, those shared with a neighbour towards it."""

        def key(v: str) -> tuple[float, float]:
            loads = [(a.size, place[a.source]) for a in self.directed if a.target == v and a.source in place]
            if not loads:
                return (len(place), 0.0)
            main = max(loads, key=lambda x: x[0])[1]
            middle = sum(w * w * p for w, p in loads) / max(sum(w * w for w, _ in loads), 1e-12)
            return (main, round(middle, 1))  # small cross-loadings do not disturb the order given

        return sorted(base, key=key)


def diagram_of(parameters: pd.DataFrame, *, standardised: bool = True, hide_below: float = 0.0) -> Diagram:
    """Read the diagram off a parameter table.

    Parameters
    ----------
    parameters
        ``lhs op rhs`` in lavaan's notation, with ``std_all std_all_se``, ``std_est std_se`` or ``est se``. Rows other than
        ``=~ ~ ~~`` are left out, and so are paths fixed at 0.
    standardised
        Take the completely standardised solution where the table has it with its errors, else the standardised one.
    hide_below
        Leave out loadings whose absolute value is smaller: for exploratory models.

    Raises
    ------
    ModelError
        When there is no one-headed arrow.
    """
    est, se = _columns(parameters, standardised)
    arrows, hidden, names, latent = [], 0, [], []
    for lhs, op, rhs, value, error in zip(*(parameters[c] for c in ("lhs", "op", "rhs", est, se)), strict=True):
        if op not in ("=~", "~", "~~"):
            continue
        names += [str(lhs), str(rhs)]
        if op == "=~":
            latent.append(str(lhs))
        if value == 0 and not error > 0:
            continue
        if op == "=~" and abs(value) < hide_below:
            hidden += 1
            continue
        arrows.append(_arrow(str(lhs), str(op), str(rhs), float(value), float(error)))
    factors = tuple(dict.fromkeys(latent))
    if not any(a.kind == "directed" for a in arrows):
        raise ModelError("a path diagram needs at least one loading (=~) or regression (~)")
    return Diagram(tuple(n for n in dict.fromkeys(names) if n not in factors), factors, tuple(arrows), hidden)


def _columns(parameters: pd.DataFrame, standardised: bool) -> tuple[str, str]:
    if not standardised:
        return "est", "se"
    complete = {"std_all", "std_all_se"} <= set(parameters.columns) and parameters["std_all_se"].notna().any()
    return ("std_all", "std_all_se") if complete else ("std_est", "std_se")


def _arrow(lhs: str, op: str, rhs: str, est: float, se: float) -> Arrow:
    if op == "~~":
        return Arrow(lhs, rhs, "variance" if lhs == rhs else "covariance", False, est, se)
    return Arrow(lhs, rhs, "directed", True, est, se) if op == "=~" else Arrow(rhs, lhs, "directed", False, est, se)


# --- DOT -----------------------------------------------------------------------------------------------------------------
def dot_text(diagram: Diagram) -> str:
    """Write the diagram in the DOT language: circles for factors, boxes for traits, loops for variances.

    The same diagram gives the same text; ``dot -Tsvg`` makes a picture of it.
    """
    lines = [
        "digraph gsem {",
        '  graph [rankdir=TB, ranksep=1.5, nodesep=0.4, splines=true, bgcolor=white];',
        '  node [fontname="Helvetica", fontsize=11, color="#1C2430", style=filled];',
        '  edge [fontname="Helvetica", fontsize=8.5, color="#6B7480", fontcolor="#1C2430", arrowsize=0.6];',
    ]
    lines += [f'  {_quoted(f)} [shape=circle, fixedsize=true, width=0.75, fillcolor="#E3EEF6"];' for f in diagram.latent]
    lines += [f'  {_quoted(v)} [shape=box, height=0.4, fillcolor="#F1F4F7"];' for v in diagram.observed]
    for row, names in sorted(diagram.rows.items(), reverse=True):
        lines.append(f"  {{ rank=same; {'; '.join(map(_quoted, names))}; }}")
        if row in (0, 1) and len(names) > 1:
            lines.append(f"  {' -> '.join(map(_quoted, names))} [style=invis, weight=2];")
    for arrow in diagram.arrows:
        lines += [f"  {x}" for x in (_dot_arc(arrow) if _beneath(arrow, diagram) else [_dot_edge(arrow, diagram)])]
    return "\n".join([*lines, "}"]) + "\n"


def _beneath(arrow: Arrow, diagram: Diagram) -> bool:
    """Whether an arrow is an arc between two traits with nothing but their loops beneath them."""
    base = diagram.rows.get(0, ())
    return arrow.kind == "covariance" and diagram.general is None and {arrow.source, arrow.target} <= set(base)


def _dot_arc(arrow: Arrow) -> list[str]:
    """An arc by way of its label below the traits: graphviz would lead it over them, through the loadings."""
    label, text = _quoted(f"{arrow.source} \u2194 {arrow.target}"), "\\n".join(arrow.lines)
    colour = ', fontcolor="#D55E00"' if arrow.negative else ""
    return [
        f'{label} [label="{text}", shape=plaintext, style="", fontsize=8.5, width=0, height=0, margin=0.03{colour}];',
        *(f"{_quoted(end)} -> {label} [dir=back, tailport=s];" for end in (arrow.source, arrow.target)),
    ]


def _dot_edge(arrow: Arrow, diagram: Diagram) -> str:
    label = "\\n".join(arrow.lines)
    source, target = arrow.source, arrow.target
    look = [f'label="{label}"']
    if arrow.kind == "directed":
        look.append(f'color="{"#D55E00" if arrow.negative else "#0072B2"}"')
        if arrow.negative:
            look.append("style=dashed")
        if diagram.general is not None and source == diagram.general:
            source, target = target, source
            look.append("dir=back")
    else:
        look += ["dir=both", "constraint=false"]
        port = _free_side(source, diagram)
        look += [f"tailport={port}", f"headport={port}"] if port and (target == source or source not in diagram.latent) else []
    return f"{_quoted(source)} -> {_quoted(target)} [{', '.join(look)}];"


def _free_side(name: str, diagram: Diagram) -> str:
    """The side of a node without loadings, where loops and arcs go; graphviz finds one itself where there is none."""
    if name in diagram.latent:
        row = next(names for names in diagram.rows.values() if name in names)
        below_another = any(a.target == name and a.source not in row for a in diagram.directed)
        return "s" if name == diagram.general else "e" if below_another else "n"
    return "s" if diagram.latent and diagram.general is None else ""


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
