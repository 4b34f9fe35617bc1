"""Constraints between parameters, and parameters defined by others, as functions of theta with exact derivatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex

Floats = NDArray[np.float64]
Relation = Literal["==", "<", ">", "<=", ">="]

RANK_RTOL: Final = 1e-9
"""Singular values of the constraints' Jacobian (rows scaled to length 1) below this count as zero."""
MET_TOLERANCE: Final = 1e-8
"""A constraint missed by no more than this, times the size of its terms, is met."""


@dataclass(frozen=True)
class Constraint:
    """``lhs relation rhs`` between expressions of labels. ``<`` and ``<=`` are the same: the bound itself is allowed."""

    lhs: ex.Expression
    relation: Relation
    rhs: ex.Expression

    @property
    def text(self) -> str:
        """The constraint in model syntax."""
        return f"{ex.to_text(self.lhs)} {self.relation} {ex.to_text(self.rhs)}"

    @property
    def is_equality(self) -> bool:
        """Whether it is ``==``."""
        return self.relation == "=="

    @property
    def slack(self) -> ex.Expression:
        """What must be zero (equality) or not negative (inequality)."""
        low_first = self.relation in ("<", "<=")
        return ex.subtract(self.rhs, self.lhs) if low_first else ex.subtract(self.lhs, self.rhs)

    def to_data(self) -> list[Any]:
        """Plain lists that :meth:`from_data` reads back."""
        return [ex.to_data(self.lhs), self.relation, ex.to_data(self.rhs)]

    @classmethod
    def from_data(cls, data: Sequence[Any]) -> Self:
        """Rebuild from :meth:`to_data`."""
        return cls(ex.from_data(data[0]), data[1], ex.from_data(data[2]))


@dataclass(frozen=True)
class Defined:
    """``name := expression``: a function of the parameters, estimated with them."""

    name: str
    expression: ex.Expression

    @property
    def text(self) -> str:
        """The definition in model syntax."""
        return f"{self.name} := {ex.to_text(self.expression)}"


@dataclass(frozen=True)
class Function:
    """A scalar function of theta (q,) given by an expression of labels; derivatives are exact.

    Parameters
    ----------
    expression
        With labels of free parameters only.
    places
        Place in theta of every label.
    size
        q.
    """

    expression: ex.Expression
    places: Mapping[str, int]
    size: int

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return ex.names_in(self.expression)

    @cached_property
    def _first(self) -> tuple[ex.Expression, ...]:
        return tuple(ex.derivative(self.expression, n) for n in self._labels)

    @cached_property
    def _second(self) -> tuple[tuple[ex.Expression, ...], ...]:
        return tuple(tuple(ex.derivative(d, n) for n in self._labels) for d in self._first)

    @property
    def is_linear(self) -> bool:
        """Whether all second derivatives vanish identically."""
        return all(d == ex.ZERO for row in self._second for d in row)

    def _values(self, theta: Floats) -> dict[str, float]:
        return {n: float(theta[self.places[n]]) for n in self._labels}

    def value(self, theta: Floats) -> float:
        """Value at theta; NaN where the expression is not defined."""
        return ex.evaluate(self.expression, self._values(theta))

    def gradient(self, theta: Floats) -> Floats:
        """(q,) gradient at theta."""
        values, out = self._values(theta), np.zeros(self.size)
        for name, d in zip(self._labels, self._first, strict=True):
            out[self.places[name]] += ex.evaluate(d, values)
        return out

    def hessian(self, theta: Floats) -> Floats:
        """(q, q) Hessian at theta."""
        values, out = self._values(theta), np.zeros((self.size, self.size))
        for one, row in zip(self._labels, self._second, strict=True):
            for two, d in zip(self._labels, row, strict=True):
                out[self.places[one], self.places[two]] += ex.evaluate(d, values)
        return out


@dataclass(frozen=True)
class Restrictions:
    """All constraints of a model: equalities h(theta) = 0 and inequalities g(theta) >= 0.

    Parameters
    ----------
    size
        q, the length of theta.
    equalities, inequalities
        Their slacks.
    equality_texts, inequality_texts
        The constraints as the user wrote them.
    """

    size: int
    equalities: tuple[Function, ...] = ()
    inequalities: tuple[Function, ...] = ()
    equality_texts: tuple[str, ...] = ()
    inequality_texts: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to meet."""
        return not self.equalities and not self.inequalities

    @cached_property
    def generic_point(self) -> Floats:
        """(q,) a fixed point in no special position, where ranks are taken."""
        return np.asarray(0.7 + 0.3 * np.sin(1.0 + np.sqrt(2.0) * np.arange(self.size)))

    @cached_property
    def n_equalities(self) -> int:
        """Number of independent equalities: what they add to the degrees of freedom."""
        return int(self.size - self.null_space(self.generic_point).shape[1])

    @cached_property
    def linear(self) -> tuple[Floats, Floats]:
        """(r, q) A and (r,) b of the linear equalities A theta = b."""
        chosen = [f for f in self.equalities if f.is_linear]
        zero = np.zeros(self.size)
        a = np.array([f.gradient(zero) for f in chosen]).reshape(-1, self.size)
        return a, -np.array([f.value(zero) for f in chosen])

    def null_space(self, theta: ArrayLike, active: Sequence[int] = ()) -> Floats:
        """(q, q - r) orthonormal directions in which no equality, and no ``active`` inequality, changes at theta."""
        t = np.asarray(theta, dtype=np.float64)
        rows = [f.gradient(t) for f in (*self.equalities, *(self.inequalities[i] for i in active))]
        if not rows:
            return np.eye(self.size)
        return null_space(np.array(rows).reshape(-1, self.size))

    def violation(self, theta: ArrayLike) -> float:
        """Largest amount by which a constraint is missed; infinite where one is not defined."""
        t = np.asarray(theta, dtype=np.float64)
        missed = [abs(f.value(t)) for f in self.equalities] + [max(-f.value(t), 0.0) for f in self.inequalities]
        return math.inf if any(math.isnan(m) for m in missed) else max(missed, default=0.0)

    def active_inequalities(self, theta: Floats) -> tuple[int, ...]:
        """Which inequalities hold with equality at theta."""
        return tuple(i for i, f in enumerate(self.inequalities) if abs(f.value(theta)) <= MET_TOLERANCE * _size(f, theta))

    def check_possible(self) -> None:
        """Refuse linear constraints that no theta meets together.

        Raises
        ------
        ModelError
            With the constraints in it.
        """
        equal = [f for f in self.equalities if f.is_linear]
        above = [f for f in self.inequalities if f.is_linear]
        if not equal and not above:
            return
        zero = np.zeros(self.size)
        rows = [(f.gradient(zero), -f.value(zero)) for f in equal]
        bounds = [(-f.gradient(zero), f.value(zero)) for f in above]
        result = optimize.linprog(
            zero, bounds=(None, None),
            A_eq=[r for r, _ in rows] or None, b_eq=[b for _, b in rows] or None,
            A_ub=[r for r, _ in bounds] or None, b_ub=[b for _, b in bounds] or None,
        )
        if result.status == 2:
            texts = "; ".join((*self.equality_texts, *self.inequality_texts))
            raise ModelError(f"these constraints cannot all be met: {texts}", remedy="take one of them out")


def null_space(rows: Floats) -> Floats:
    """(q, q - rank) orthonormal basis of the directions that the rows (r, q) do not see."""
    q = rows.shape[1]
    length = np.linalg.norm(rows, axis=1)
    used = rows[length > 0] / length[length > 0, None]
    if not used.size:
        return np.eye(q)
    _, singular, right = np.linalg.svd(used)
    rank = int(np.sum(singular > RANK_RTOL * singular[0]))
    out: Floats = right[rank:].T
    return out


def _size(function: Function, theta: Floats) -> float:
    return 1.0 + float(np.sum(np.abs(function.gradient(theta) * theta)))
