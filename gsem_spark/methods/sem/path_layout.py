"""Where a path diagram's circles, boxes, arrows and labels stand on paper, in inches from the lower left corner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sem.path_shapes import (
    Curve,
    Layout,
    Node,
    Rectangle,
    bezier,
    hits,
    label_size,
    loop_box,
    loop_foot,
    overlap,
    pair,
)
from gsem_spark.methods.sem.paths import Arrow, Diagram

Floats = NDArray[np.float64]
CHARACTER: Final = 0.088
"""Width of a character of a variable's name."""
BOX_HEIGHT: Final = 0.42
RADIUS: Final = 0.36
NARROWEST_STEP, WIDEST_STEP = 0.98, 1.6
"""Distance between the centres of neighbouring boxes."""
GROUP_GAP: Final = 0.22
"""Extra space between the indicators of different factors."""
ROW_GAP: Final = 1.8
LARGEST_ROW_GAP: Final = 3.4
LOOP, LOOP_HALF = 0.36, 0.11
"""Height and half-width of a variance's loop."""
MARGIN: Final = 0.15
PLACES: Final = 21
"""Places along an arrow that are tried for its label."""


def layout(diagram: Diagram) -> Layout:
    """Place a diagram: rows of variables, straight loadings, arcs for covariances, loops for variances, labels apart.

    Readable up to about three factors with twelve indicators; wider diagrams get a wider sheet.
    """
    nodes = {n.name: n for n in _placed(diagram)}
    apart = [a for a in diagram.directed if nodes[a.source].y != nodes[a.target].y]
    blocked = [a for a in apart if _through_a_node(_line(a, nodes, [a]), nodes)]
    free = [a for a in apart if a not in blocked]
    straight = [_line(a, nodes, free) for a in free]
    loops = _loops([a for a in diagram.arrows if a.kind == "variance"], nodes, straight)
    curves = _labelled(straight, list(nodes.values()), loops)
    curves += [_bowed(a, nodes) for a in blocked]
    curves += _arcs([a for a in diagram.arrows if a.kind != "variance" and a not in apart], nodes)
    return _cropped(list(nodes.values()), [*curves, *loops])


# --- variables -------------------------------------------------------------------------------------------------------------
def _placed(diagram: Diagram) -> list[Node]:
    names = [*diagram.observed, *diagram.latent]
    step = float(np.clip(max(len(n) for n in diagram.observed or names) * CHARACTER + 0.25, NARROWEST_STEP, WIDEST_STEP))
    rows = diagram.rows
    x = _base_row(diagram, rows.get(0, ()), step)
    for r in [r for r in rows if r != 0]:
        wished = [_above(diagram, name, x) for name in rows[r]]
        apart = max(step, 2 * RADIUS + 0.45) if r >= 1 else step
        x |= dict(zip(rows[r], _spread(wished, apart), strict=True))
    y = _heights(diagram, rows, x)
    return [
        Node(n, n in diagram.latent, x[n], y[r], 2 * RADIUS if n in diagram.latent else step - 0.16,
             2 * RADIUS if n in diagram.latent else BOX_HEIGHT)
        for r, row in rows.items() for n in row
    ]  # fmt: skip


def _base_row(diagram: Diagram, names: Sequence[str], step: float) -> dict[str, float]:
    main: dict[str, tuple[str, float]] = {}
    for a in diagram.directed:
        if a.loading and a.source != diagram.general and a.size > main.get(a.target, ("", -1.0))[1]:
            main[a.target] = (a.source, a.size)
    x, at, before = dict[str, float](), 0.0, ""
    for i, name in enumerate(names):
        group = main.get(name, ("", 0.0))[0]
        at += 0.0 if i == 0 else step + (GROUP_GAP if group != before else 0.0)
        x[name], before = at, group
    return x


def _above(diagram: Diagram, name: str, x: Mapping[str, float]) -> float:
    """Where a variable would like to stand: over the middle of what it points at most, or of what points at it."""
    pulls = [(x[a.target], a.size) for a in diagram.directed if a.source == name and a.target in x]
    pulls = pulls or [(x[a.source], 1.0) for a in diagram.directed if a.target == name and a.source in x]
    if not pulls:
        return float(np.mean(list(x.values()) or [0.0]))
    weights = np.array([w for _, w in pulls]) ** 2 + 1e-9
    return float(np.average([p for p, _ in pulls], weights=weights))


def _spread(wished: Sequence[float], apart: float) -> list[float]:
    """Places in the order given, no closer than ``apart``, as near to the wished ones as the mean square allows."""
    groups: list[tuple[float, int]] = []  # pooled adjacent violators of wished - i * apart
    for i, w in enumerate(wished):
        groups.append((w - i * apart, 1))
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            (a, n), (b, m) = groups[-2:]
            groups[-2:] = [((a * n + b * m) / (n + m), n + m)]
    flat = [value for value, n in groups for _ in range(n)]
    return [v + i * apart for i, v in enumerate(flat)]


def _heights(diagram: Diagram, rows: Mapping[int, Sequence[str]], x: Mapping[str, float]) -> dict[int, float]:
    """Height of each row: further apart where arrows between neighbouring rows lie flat."""
    row_of = {n: r for r, names in rows.items() for n in names}
    levels = sorted(rows)
    y = {levels[0]: 0.0}
    for low, high in pairwise(levels):
        spans = [abs(x[a.source] - x[a.target]) for a in diagram.directed if {row_of[a.source], row_of[a.target]} == {low, high}]
        crossing = sum(s > 3.0 for s in spans)
        # below the traits there must be room for loops between the arrows
        slope, most = (0.62, 1.25 * LARGEST_ROW_GAP) if low < 0 else (0.42, LARGEST_ROW_GAP)
        y[high] = y[low] + float(np.clip(slope * max(spans, default=0.0) + 0.03 * crossing, ROW_GAP, most))
    return y


# --- straight arrows and their labels ----------------------------------------------------------------------------------------
def _line(arrow: Arrow, nodes: Mapping[str, Node], all_straight: Sequence[Arrow]) -> Curve:
    source, target = nodes[arrow.source], nodes[arrow.target]
    end = _entry(arrow, nodes, all_straight) if not target.latent else target.border(np.array([source.x, source.y]))
    start = source.border(end)
    return Curve(arrow, (pair(start), pair(end)), pair((start + end) / 2))


def _entry(arrow: Arrow, nodes: Mapping[str, Node], all_straight: Sequence[Arrow]) -> Floats:
    """Arrows enter a box side by side, in the order of where they come from."""
    target = nodes[arrow.target]
    side = np.sign(nodes[arrow.source].y - target.y)
    rivals = [a for a in all_straight if a.target == arrow.target and np.sign(nodes[a.source].y - target.y) == side]
    rivals.sort(key=lambda a: nodes[a.source].x)
    n, i = len(rivals), rivals.index(arrow)
    width = min(0.5 * target.width, 0.2 * (n - 1))
    offset = 0.0 if n == 1 else -width / 2 + width * i / (n - 1)
    return np.array([target.x + offset, target.y + side * (target.height / 2 + 0.02)])


def _labelled(curves: list[Curve], nodes: Sequence[Node], loops: Sequence[Curve]) -> list[Curve]:
    """Put each label where it covers no other label, no variable, no loop and few other arrows; twice, to settle."""
    taken = [(n.x, n.y, n.width, n.height) for n in nodes] + [loop_box(c) for c in loops]
    order = sorted(range(len(curves)), key=lambda i: -curves[i].arrow.size)
    out, placed = list(curves), dict[int, Rectangle]()
    for i in [*order, *order]:
        others = [box for j, box in placed.items() if j != i]
        rivals = [c for j, c in enumerate(curves) if j != i]
        placed[i] = _best_place(curves[i], [*taken, *others], rivals)
        out[i] = replace(curves[i], label=placed[i][:2])
    return out


def _best_place(curve: Curve, taken: Sequence[Rectangle], rivals: Sequence[Curve]) -> Rectangle:
    start, end = np.array(curve.points[0]), np.array(curve.points[1])
    width, height = label_size(curve.arrow)
    wished = 1.0 - 0.52 / max(abs(end[1] - start[1]), 0.6)
    best, least = (float(start[0]), float(start[1]), width, height), np.inf
    for t in np.linspace(0.14, 0.86, PLACES):
        x, y = start + (end - start) * t
        box = (float(x), float(y), width, height)
        cost = 3.0 * abs(t - wished) + 40.0 * sum(overlap(box, b) for b in taken) + 1.2 * sum(hits(c, box) for c in rivals)
        if cost < least - 1e-9:
            best, least = box, cost
    return best


def _through_a_node(curve: Curve, nodes: Mapping[str, Node]) -> bool:
    ends = (curve.arrow.source, curve.arrow.target)
    return any(hits(curve, (n.x, n.y, n.width, n.height)) for n in nodes.values() if n.name not in ends)


# --- arcs and loops ----------------------------------------------------------------------------------------------------------
def _arcs(arrows: Sequence[Arrow], nodes: Mapping[str, Node]) -> list[Curve]:
    """Arcs within a row, nested by length: above factors, below traits; between rows, bowed outwards."""
    out: list[Curve] = []
    lowest = min(n.y for n in nodes.values())
    levels: dict[tuple[float, float], list[tuple[float, float, int]]] = {}
    for arrow in sorted(arrows, key=lambda a: abs(nodes[a.source].x - nodes[a.target].x)):
        a, b = sorted((nodes[arrow.source], nodes[arrow.target]), key=lambda n: n.x)
        between = any(n.y == a.y and a.x < n.x < b.x for n in nodes.values())
        if a.y != b.y:
            out.append(_bowed(arrow, nodes))
            continue
        if arrow.kind == "directed" and not between:
            out.append(_across(arrow, nodes))
            continue
        up = 1.0 if a.latent or a.y > lowest else -1.0
        taken = levels.setdefault((a.y, up), [])
        nested = 1 + max((level for left, right, level in taken if left < b.x - 0.01 and right > a.x + 0.01), default=0)
        taken.append((a.x, b.x, nested))
        height = 0.30 + 0.34 * (nested - 1) + (0.46 if between else 0.0) + (0.0 if a.latent else 0.45 if between else 0.25)
        out.append(_arc(arrow, nodes, up, height, nested))
    return out


def _across(arrow: Arrow, nodes: Mapping[str, Node]) -> Curve:
    """A straight arrow between neighbours of a row."""
    source, target = nodes[arrow.source], nodes[arrow.target]
    start = source.border(np.array([target.x, target.y]))
    end = target.border(np.array([source.x, source.y]))
    return Curve(arrow, (pair(start), pair(end)), pair((start + end) / 2))


def _arc(arrow: Arrow, nodes: Mapping[str, Node], up: float, height: float, nested: int) -> Curve:
    """A cubic arc between two nodes of a row, its top ``height`` beyond their edges."""
    first, second = nodes[arrow.source], nodes[arrow.target]
    ends, edge = [], max(first.height, second.height) / 2
    for n, other in ((first, second), (second, first)):
        side = np.sign(other.x - n.x)
        if n.latent:
            angle = np.radians(min(34.0 + 12.0 * nested, 60.0))
            ends.append(np.array([n.x, n.y]) + np.array([side * np.cos(angle), up * np.sin(angle)]) * (n.width / 2 + 0.02))
        else:
            ends.append(np.array([n.x + side * 0.34 * n.width, n.y + up * (n.height / 2 + 0.02)]))
    span = ends[1][0] - ends[0][0]
    top = first.y + up * (edge + height)
    # A cubic with both inner points at one height reaches three quarters of the way to it.
    inner = ends[0][1] + (top - ends[0][1]) / 0.75
    steep = (0.18 if first.latent else -0.04) * span  # from a trait it dives past the loops of its neighbours
    points = (ends[0], np.array([ends[0][0] + steep, inner]), np.array([ends[1][0] - steep, inner]), ends[1])
    return Curve(arrow, tuple(pair(p) for p in points), (float(ends[0][0] + span / 2), float(top)))


def _bowed(arrow: Arrow, nodes: Mapping[str, Node]) -> Curve:
    """A quadratic arc between two rows, bowed away from the middle of the sheet."""
    a, b = nodes[arrow.source], nodes[arrow.target]
    one, two = np.array([a.x, a.y]), np.array([b.x, b.y])
    centre = np.mean([[n.x, n.y] for n in nodes.values()], axis=0)
    normal = np.array([-(two - one)[1], (two - one)[0]])
    normal /= np.hypot(*normal)
    middle = (one + two) / 2
    side = 1.0 if normal @ (middle - centre) >= 0 else -1.0
    control = middle + side * normal * max(0.35 * float(np.hypot(*(two - one))), 0.5)
    start, end = a.border(control), b.border(control)
    top = (start + 2 * control + end) / 4
    return Curve(arrow, (pair(start), pair(control), pair(end)), pair(top))


def _loops(arrows: Sequence[Arrow], nodes: Mapping[str, Node], straight: Sequence[Curve]) -> list[Curve]:
    """Variances: loops where the fewest arrows and variables are, below traits and above factors if there is nothing else."""
    out: list[Curve] = []
    for arrow in arrows:
        node = nodes[arrow.source]
        others = [(n.x, n.y, n.width, n.height) for n in nodes.values() if n.name != node.name]
        others += [loop_box(c) for c in out]
        best, least = None, np.inf
        for anchor, direction, dislike in _loop_places(node):
            curve = _loop(arrow, anchor, direction)
            box = loop_box(curve)
            cost = dislike + 20.0 * sum(overlap(box, b) for b in others)
            cost += sum(3.0 * hits(c, box) + 2.0 * hits(c, loop_foot(curve)) for c in straight)
            if cost < least - 1e-9:
                best, least = curve, cost
        if best is not None:
            out.append(best)
    return out


def _loop_places(node: Node) -> list[tuple[Floats, Floats, float]]:
    """Where a loop may stand: anchor on the border, direction away from the node, and how little it is liked."""
    centre = np.array([node.x, node.y])
    up, down, left, right = (np.array(v) for v in ((0.0, 1.0), (0.0, -1.0), (-1.0, 0.0), (1.0, 0.0)))
    if node.latent:
        radius = node.width / 2 - 0.02
        turned = [(up, 0.0), (down, 0.4), (right, 0.5), (left, 0.5)]
        turned += [((a + b) / np.sqrt(2), 0.6 if a is up else 0.9) for a in (up, down) for b in (right, left)]
        return [(centre + d * radius, d, dislike) for d, dislike in turned]
    half, corner = node.height / 2, 0.5 * node.width - LOOP_HALF - 0.02
    places = [(centre + down * half, down, 0.0), (centre + up * half, up, 0.3)]
    places += [(centre + d * half + s * corner, d, 0.6) for d in (down, up) for s in (right, left)]
    places += [(centre + s * node.width / 2, s, 0.8) for s in (right, left)]
    return places


def _loop(arrow: Arrow, base: Floats, d: Floats) -> Curve:
    across = np.array([d[1], -d[0]])
    points = (
        base - across * LOOP_HALF, base - across * 3.2 * LOOP_HALF + d * LOOP * 1.3,
        base + across * 3.2 * LOOP_HALF + d * LOOP * 1.3, base + across * LOOP_HALF,
    )
    width, height = label_size(arrow)
    label = base + d * (LOOP * 0.98 + 0.01) + d * np.array([width, height]) / 2
    return Curve(arrow, tuple(pair(p) for p in points), pair(label))


def _cropped(nodes: list[Node], curves: list[Curve]) -> Layout:
    """Move everything to a sheet with a small margin."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for x, y, w, h in _extents(nodes, curves):
        low, high = np.minimum(low, [x - w / 2, y - h / 2]), np.maximum(high, [x + w / 2, y + h / 2])
    dx, dy = MARGIN - low
    return Layout(
        width=float(high[0] + dx + MARGIN), height=float(high[1] + dy + MARGIN),
        nodes=tuple(replace(n, x=n.x + dx, y=n.y + dy) for n in nodes),
        curves=tuple(
            replace(c, points=tuple((x + dx, y + dy) for x, y in c.points), label=(c.label[0] + dx, c.label[1] + dy))
            for c in curves
        ),
    )


def _extents(nodes: Sequence[Node], curves: Sequence[Curve]) -> Iterable[Rectangle]:
    for n in nodes:
        yield n.x, n.y, n.width, n.height
    for c in curves:
        yield (*c.label, *label_size(c.arrow))
        for x, y in bezier(c.points, 12):
            yield x, y, 0.0, 0.0
