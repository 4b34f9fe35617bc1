"""From statements to a model: the parameters that lavaan's ``sem()`` adds on its own, fixed scales, shared labels.

Facts of lavaan 0.6 that are kept: every variable gets a (residual) variance; exogenous factors covary; so do outcomes that
predict nothing; observed predictors covary among themselves; the first loading of each factor is 1, or with ``std_lv`` each
factor's variance; a sole indicator has no residual; a label on a fixed parameter fixes all that share it. Observed predictors
are estimated, as moments of S like any other (lavaan's ``fixed.x = FALSE``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.model import Model, Operator, Path
from gsem_spark.methods.sem.model_checks import nearest
from gsem_spark.methods.sem.syntax import Modifier, Statements, place_error, read


@dataclass(frozen=True)
class ParsedModel:
    """A model, and what its reader must know about how the text was understood."""

    model: Model
    notes: tuple[str, ...]


@dataclass
class _Row:
    lhs: str
    op: Operator
    rhs: str
    modifier: Modifier = field(default_factory=Modifier)
    by_user: bool = False
    fixed: float | None = None


def parse_model(text: str, *, std_lv: bool = False, traits: Sequence[str] | None = None) -> ParsedModel:
    """Read a model text and add the automatic parameters.

    Parameters
    ----------
    text
        lavaan syntax (see :mod:`gsem_spark.methods.sem.syntax`).
    std_lv
        Fix the factors' variances at 1 instead of each first loading.
    traits
        The observed variables that there are; None takes every variable without a ``=~`` line for observed.

    Raises
    ------
    ModelError
        For a syntax error, an unknown variable or label, a path given twice, a circle of arrows, a label with two values.
    """
    statements = read(text)
    if not statements.terms:
        raise ModelError("the model has no paths", remedy="write at least one formula, e.g. F1 =~ trait1 + trait2 + trait3")
    _check_cells(statements)
    names = _Names.of(statements)
    if traits is not None:
        _check_traits(statements, names, traits)
    rows = [_Row(t.lhs, t.op, t.rhs, t.modifier, True) for t in statements.terms]  # type: ignore[arg-type]
    there = {frozenset((r.lhs, r.rhs)) for r in rows if r.op == "~~"}
    rows += [_Row(a, "~~", b) for a, b in names.automatic() if frozenset((a, b)) not in there]
    _fix_scales(rows, names, std_lv)
    _apply_modifiers(rows)
    notes = _share_labels(rows)
    paths = tuple(_path(row) for row in rows)
    model = Model(names.observed, names.latent, paths, statements.constraints, statements.defined)
    return ParsedModel(model, tuple(notes))


@dataclass(frozen=True)
class _Names:
    """The variables of a model by their part in it; orders are lavaan's."""

    latent: tuple[str, ...]
    observed: tuple[str, ...]
    exogenous_observed: tuple[str, ...]
    exogenous_latent: tuple[str, ...]
    outcomes: tuple[str, ...]

    @classmethod
    def of(cls, statements: Statements) -> _Names:
        """Sort the variables of these statements."""
        latent, terms = statements.latent, statements.terms
        indicators = _unique(t.rhs for t in terms if t.op == "=~")
        dependent, predictors = _unique(t.lhs for t in terms if t.op == "~"), _unique(t.rhs for t in terms if t.op == "~")
        seen = {*latent, *indicators}
        own = [x for x in indicators if x not in latent]
        y = [x for x in dependent if x not in seen]
        x = [v for v in predictors if v not in seen and v not in y]
        covarying = [t.lhs for t in terms if t.op == "~~"] + [t.rhs for t in terms if t.op == "~~"]
        observed = _unique([*own, *y, *x, *(v for v in covarying if v not in latent)])
        ends = [v for v in dependent if v not in indicators and v not in predictors]
        return cls(
            latent, observed, tuple(v for v in x if v not in covarying),
            tuple(v for v in latent if v not in indicators and v not in dependent),
            (*(v for v in latent if v in ends), *(v for v in observed if v in ends)),
        )

    def automatic(self) -> list[tuple[str, str]]:
        """Variances and covariances that are added where the text does not have them."""
        inner = [v for v in self.observed if v not in self.exogenous_observed]
        x = self.exogenous_observed
        return [
            *((v, v) for v in (*inner, *self.latent)), *combinations(self.exogenous_latent, 2), *combinations(self.outcomes, 2),
            *((x[i], x[j]) for i in range(len(x)) for j in range(i, len(x))),
        ]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _check_cells(statements: Statements) -> None:
    """Refuse an arrow that is drawn twice in different words: ``F =~ x`` and ``x ~ F``."""
    arrows: set[tuple[str, str]] = set()
    for term in statements.terms:
        if term.op == "~~":
            continue
        arrow = (term.lhs, term.rhs) if term.op == "=~" else (term.rhs, term.lhs)
        if arrow in arrows:
            raise place_error(statements.source, term.place, f"the path {term.lhs} {term.op} {term.rhs} is given twice",
                              "keep one of them")
        arrows.add(arrow)


def _check_traits(statements: Statements, names: _Names, traits: Sequence[str]) -> None:
    known = [*traits, *names.latent]
    for term in statements.terms:
        for name, place in ((term.lhs, term.lhs_place), (term.rhs, term.place)):
            if name not in known:
                raise place_error(
                    statements.source, place, f"{name!r} is neither a trait nor a factor with a =~ line", nearest(name, known),
                )
    both = [f for f in names.latent if f in traits]
    if both:
        place = next(t.lhs_place for t in statements.terms if t.lhs == both[0])
        raise place_error(statements.source, place, f"the factor {both[0]!r} has the name of a trait",
                          "give the factor another name")


def _fix_scales(rows: list[_Row], names: _Names, std_lv: bool) -> None:
    loadings = [r for r in rows if r.op == "=~"]
    for row in rows:
        if std_lv and row.op == "~~" and row.lhs == row.rhs and row.lhs in names.latent:
            row.fixed = 1.0
    if not std_lv:
        for factor in names.latent:
            first = next((r for r in loadings if r.lhs == factor), None)
            if first is not None:
                first.fixed = 1.0
    targets = [r.rhs for r in loadings]
    for factor in names.latent:
        mine = [r.rhs for r in loadings if r.lhs == factor]
        if len(mine) == 1 and targets.count(mine[0]) == 1:
            for row in rows:
                if row.op == "~~" and row.lhs == row.rhs == mine[0] and not row.by_user:
                    row.fixed = 0.0


def _apply_modifiers(rows: list[_Row]) -> None:
    for row in rows:
        if row.modifier.free:
            row.fixed = None
        elif row.modifier.fixed is not None:
            row.fixed = row.modifier.fixed
        if row.modifier.start is not None and row.fixed is not None:
            row.fixed = row.modifier.start if row.modifier.fixed is None else row.fixed


def _share_labels(rows: list[_Row]) -> list[str]:
    """Fix what shares a label with a fixed parameter; say so."""
    notes = []
    for label in _unique(r.modifier.label for r in rows if r.modifier.label is not None):
        mine = [r for r in rows if r.modifier.label == label]
        values = {r.fixed for r in mine if r.fixed is not None}
        if len(values) > 1:
            listed = ", ".join(f"{r.lhs} {r.op} {r.rhs} at {r.fixed:g}" for r in mine if r.fixed is not None)
            raise ModelError(f"the label {label!r} stands for different fixed values: {listed}",
                             remedy="give each value its own label, or free one with NA*")
        if values and any(r.fixed is None for r in mine):
            value = values.pop()
            origin = next(r for r in mine if r.fixed is not None)
            drawn = [r for r in mine if r.fixed is None]
            for row in drawn:
                row.fixed = value
            notes.append(
                f"the label {label} is on {origin.lhs} {origin.op} {origin.rhs}, which is fixed at {value:g}; so "
                f"{', '.join(f'{r.lhs} {r.op} {r.rhs}' for r in drawn)} is fixed there too (NA* or std_lv frees them)"
            )
    return notes


def _path(row: _Row) -> Path:
    label = row.modifier.label
    if row.fixed is not None:
        return Path(row.lhs, row.op, row.rhs, fixed=row.fixed, constant=label)
    return Path(row.lhs, row.op, row.rhs, label=label, start=row.modifier.start)


def lavaan_table(model: Model) -> pd.DataFrame:
    """The parameter table of a model as lavaan shows it (see ``Model.table``)."""
    free = np.cumsum(model.path_index >= 0) * (model.path_index >= 0)
    rows: list[tuple[str, str, str, int, str, float]] = [
        (p.lhs, p.op, p.rhs, int(n), p.label or p.constant or "",
         p.fixed if p.fixed is not None else math.nan if p.start is None else p.start)
        for p, n in zip(model.paths, free, strict=True)
    ]
    first: dict[str, int] = {}
    for n, path in enumerate(model.paths, 1):
        if path.label is not None and first.setdefault(path.label, n) != n:
            rows.append((f".p{first[path.label]}.", "==", f".p{n}.", 0, "", math.nan))
    rows += [(ex.to_text(c.lhs), c.relation, ex.to_text(c.rhs), 0, "", math.nan) for c in model.constraints]
    rows += [(d.name, ":=", ex.to_text(d.expression), 0, d.name, math.nan) for d in model.defined]
    return pd.DataFrame(rows, columns=["lhs", "op", "rhs", "free", "label", "ustart"])
