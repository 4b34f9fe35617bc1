"""What makes a model impossible before any data are seen: wrong paths, circles, labels that mean nothing or two things."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex

if TYPE_CHECKING:
    from gsem_spark.methods.sem.model import Model
    from gsem_spark.methods.sem.model_parts import Path

FIXED_TOLERANCE: Final = 1e-9
"""A fixed value misses a constraint by rounding below this."""


def check_path(path: Path, names: Sequence[str]) -> None:
    """Refuse a path with an unknown variable or operator, to itself, or with a label on a fixed value."""
    unknown = [n for n in (path.lhs, path.rhs) if n not in names]
    if unknown:
        raise ModelError(f"the path {path.name} has an unknown variable {unknown[0]!r}; there are {', '.join(names)}")
    if path.op not in ("=~", "~", "~~"):
        raise ModelError(f"the path {path.name} has no known operator; use =~, ~ or ~~")
    if path.op != "~~" and path.lhs == path.rhs:
        raise ModelError(f"the path {path.name} leads from a variable to itself")
    if path.fixed is not None and path.label is not None:
        raise ModelError(f"the path {path.name} is fixed at {path.fixed:g} and has the label {path.label!r}",
                         remedy="keep either the value or the label")


def check_no_circle(paths: Sequence[Path]) -> None:
    """Refuse one-headed arrows that lead back to where they began."""
    ahead: dict[str, list[str]] = {}
    for path in paths:
        if path.op != "~~" and path.fixed != 0:
            source, to = (path.lhs, path.rhs) if path.op == "=~" else (path.rhs, path.lhs)
            ahead.setdefault(source, []).append(to)
    finished: set[str] = set()

    def follow(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circle = " → ".join((*trail[trail.index(name):], name))
            raise ModelError(f"the arrows run in a circle: {circle}", remedy="take one of them out, or make it a covariance (~~)")
        if name not in finished:
            for to in ahead.get(name, ()):
                follow(to, (*trail, name))
            finished.add(name)

    for name in list(ahead):
        follow(name, ())


def check_labels(model: Model) -> None:
    """Refuse labels that mean two things, and names in constraints and definitions that mean nothing."""
    fixed: dict[str, float] = {}
    for path in model.paths:
        if path.constant is None:
            continue
        if path.fixed is None or path.constant in model.label_index or fixed.get(path.constant, path.fixed) != path.fixed:
            raise ModelError(f"the label {path.constant!r} on the fixed path {path.name} stands for another value elsewhere",
                             remedy="give each value its own label")
        fixed[path.constant] = path.fixed
    definitions = {d.name: set(ex.names_in(d.expression)) for d in model.defined}
    if len(definitions) < len(model.defined) or definitions.keys() & (model.label_index.keys() | fixed.keys()):
        names = [d.name for d in model.defined]
        twice = next(n for n in names if names.count(n) > 1 or n in model.label_index or n in fixed)
        raise ModelError(f"the name {twice!r} is defined twice", remedy="give the defined parameter another name")
    uses = [(c.text, set(ex.names_in(c.slack))) for c in model.constraints]
    uses += [(d.text, definitions[d.name]) for d in model.defined]
    known = {*model.label_index, *fixed, *definitions}
    for text, used in uses:
        for name in sorted(used - known):
            others = sorted(known - {text.split(":=")[0].strip()})
            raise ModelError(f"{text} uses the label {name!r}, which no path has",
                             remedy=nearest(name, others) if others else f"no path has a label; write {name}*X where X stands")
    _check_fixed(model, fixed)
    done: set[str] = set()
    while len(done) < len(definitions):
        ready = {n for n, needs in definitions.items() if n not in done and not (needs & definitions.keys()) - done}
        if not ready:
            raise ModelError(f"{', '.join(sorted(definitions.keys() - done))} are defined by each other in a circle")
        done |= ready


def _check_fixed(model: Model, fixed: Mapping[str, float]) -> None:
    """Refuse constraints on fixed values alone that these do not meet."""
    for constraint in model.constraints:
        used = ex.names_in(constraint.slack)
        if not used or not set(used) <= fixed.keys():
            continue
        slack = ex.evaluate(constraint.slack, fixed)
        if not (abs(slack) <= FIXED_TOLERANCE if constraint.is_equality else slack >= -FIXED_TOLERANCE):
            values = ", ".join(f"{name} is fixed at {fixed[name]:g}" for name in sorted(set(used)))
            raise ModelError(f"the constraint {constraint.text} cannot hold: {values}",
                             remedy="free the path (NA*), or drop one of the two")


def nearest(name: str, known: Sequence[str]) -> str:
    """Remedy for an unknown name: the same name in other letters, the names that look most like it, or all there are."""
    close = [n for n in known if n.lower() == name.lower()] or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(known)}" if known else "there are none"


def cell_key(path: Path) -> tuple[str, str, str]:
    """The cell of A or P that a path stands in, whichever way it is written."""
    if path.op == "~~":
        return ("~~", *sorted((path.lhs, path.rhs)))  # type: ignore[return-value]
    return ("~", path.rhs, path.lhs) if path.op == "=~" else ("~", path.lhs, path.rhs)
