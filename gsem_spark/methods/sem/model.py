"""A structural equation model as RAM matrices: which parameter stands in which cell, and the covariances it implies.

All variables, observed first, then latent, form one vector x with x = A x + u and cov(u) = P. A holds the one-headed arrows
(A[to, from]), P the two-headed ones. With B = (I - A)^-1 the implied covariance of the observed variables is F B P B' F', F
the selection of the first rows [McArdle & McDonald 1984, Br J Math Stat Psychol 37:234]. Nothing here knows a model syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import vech_indices
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.constraints import Constraint, Defined, Function, Restrictions
from gsem_spark.methods.sem.model_checks import cell_key, check_labels, check_no_circle, check_path
from gsem_spark.methods.sem.model_parts import Layout, State
from gsem_spark.methods.sem.model_parts import Operator as Operator
from gsem_spark.methods.sem.model_parts import Path as Path

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Model:
    """A model of k observed variables with q free parameters.

    Parameters
    ----------
    observed
        Names of the k observed variables; the order of all implied matrices.
    latent
        Names of the latent variables.
    paths
        All arrows with a parameter. A cell without a path is fixed at zero, variances included.
    constraints
        Equalities and inequalities between labelled parameters.
    defined
        Parameters that are functions of labelled ones, and of each other.

    Raises
    ------
    ModelError
        When a name is repeated or unknown, a path is given twice, a variable points at itself or, over others, back at itself,
        a label stands on a fixed path, or a constraint or definition uses a label that no path has.
    """

    observed: tuple[str, ...]
    latent: tuple[str, ...]
    paths: tuple[Path, ...]
    constraints: tuple[Constraint, ...] = ()
    defined: tuple[Defined, ...] = ()

    def __post_init__(self) -> None:
        for name in ("observed", "latent", "paths", "constraints", "defined"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = self.variables
        if not self.observed:
            raise ModelError("a model needs at least one observed variable")
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ModelError(f"variable names repeat: {', '.join(repeated)}", remedy="give factors names that no trait has")
        seen: set[tuple[str, str, str]] = set()
        for path in self.paths:
            check_path(path, names)
            key = cell_key(path)
            if key in seen:
                raise ModelError(f"the path {path.name} is given twice", remedy="keep one of them")
            seen.add(key)
        check_no_circle(self.paths)
        check_labels(self)

    # --- names and sizes -------------------------------------------------------------------------------------------
    @cached_property
    def variables(self) -> tuple[str, ...]:
        """All m variables, observed first: rows and columns of A and P."""
        return self.observed + self.latent

    @property
    def k(self) -> int:
        """Number of observed variables."""
        return len(self.observed)

    @property
    def n_moments(self) -> int:
        """Number k* of distinct implied covariances."""
        return self.k * (self.k + 1) // 2

    @property
    def n_free(self) -> int:
        """Number q of free parameters; equal ones count once."""
        return len(self.free_names)

    @property
    def df(self) -> int:
        """Degrees of freedom, k* - q plus the independent equality constraints; negative with too many parameters."""
        return self.n_moments - self.n_estimated

    @property
    def n_estimated(self) -> int:
        """Number of parameters that can move on their own: q less the independent equality constraints."""
        return self.n_free - self.restrictions.n_equalities

    @cached_property
    def path_index(self) -> Ints:
        """(paths,) place in theta of each path's parameter, -1 where fixed."""
        index: list[int] = []
        by_label: dict[str, int] = {}
        count = 0
        for path in self.paths:
            if path.fixed is not None:
                index.append(-1)
            elif path.label is not None and path.label in by_label:
                index.append(by_label[path.label])
            else:
                index.append(count)
                if path.label is not None:
                    by_label[path.label] = count
                count += 1
        return np.array(index, dtype=np.intp)

    @cached_property
    def free_names(self) -> tuple[str, ...]:
        """(q,) names of the free parameters in theta's order: the first path that each stands on."""
        names: dict[int, str] = {}
        for path, i in zip(self.paths, self.path_index.tolist(), strict=True):
            if i >= 0:
                names.setdefault(i, path.name)
        return tuple(names[i] for i in range(len(names)))

    @cached_property
    def label_index(self) -> dict[str, int]:
        """Place in theta of every label of free parameters."""
        pairs = zip(self.paths, self.path_index.tolist(), strict=True)
        return {p.label: i for p, i in pairs if p.label is not None}

    @cached_property
    def constants(self) -> dict[str, float]:
        """Value of every label of fixed parameters."""
        return {p.constant: p.fixed for p in self.paths if p.constant is not None and p.fixed is not None}

    @cached_property
    def restrictions(self) -> Restrictions:
        """The constraints as functions of theta."""
        slacks = [(c, self._function(c.slack)) for c in self.constraints]
        return Restrictions(
            self.n_free,
            tuple(f for c, f in slacks if c.is_equality), tuple(f for c, f in slacks if not c.is_equality),
            tuple(c.text for c in self.constraints if c.is_equality),
            tuple(c.text for c in self.constraints if not c.is_equality),
        )

    @cached_property
    def defined_functions(self) -> tuple[Function, ...]:
        """The defined parameters as functions of the path values (paths,), in the order of ``defined``.

        A label that several paths share stands for the first of them, which matters only where their values differ: when the
        path values are standardised.
        """
        places: dict[str, int] = {}
        for i, path in enumerate(self.paths):
            name = path.constant if path.fixed is not None else path.label
            if name is not None:
                places.setdefault(name, i)
        return tuple(Function(self._spelt_out(d.expression), places, len(self.paths)) for d in self.defined)

    def _function(self, expression: ex.Expression) -> Function:
        by: dict[str, ex.Expression] = {name: ex.Number(value) for name, value in self.constants.items()}
        return Function(ex.substitute(self._spelt_out(expression), by), self.label_index, self.n_free)

    def _spelt_out(self, expression: ex.Expression) -> ex.Expression:
        definitions = {d.name: d.expression for d in self.defined}
        for _ in definitions:  # definitions may use each other; there is no circle among them
            expression = ex.substitute(expression, definitions)
        return expression

    @property
    def syntax(self) -> str:
        """The model in lavaan syntax, one path a line."""
        return "\n".join([*(p.syntax for p in self.paths), *(c.text for c in self.constraints), *(d.text for d in self.defined)])

    @cached_property
    def fixed_values(self) -> Floats:
        """(paths,) values of the fixed paths, NaN on the free ones."""
        return np.array([np.nan if p.fixed is None else p.fixed for p in self.paths], dtype=np.float64)

    @cached_property
    def moments(self) -> tuple[Ints, Ints]:
        """(k*,) row and column of each moment, in vech order."""
        return vech_indices(self.k)

    # --- RAM matrices ------------------------------------------------------------------------------------------------
    @cached_property
    def cells(self) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """(paths,) row and column of each path in its matrix, and whether that is the directed one (A; else P)."""
        place = {name: i for i, name in enumerate(self.variables)}
        rows, columns, directed = [], [], []
        for path in self.paths:
            to, source = (path.rhs, path.lhs) if path.op == "=~" else (path.lhs, path.rhs)
            rows.append(place[to])
            columns.append(place[source])
            directed.append(path.op != "~~")
        return np.array(rows, np.intp), np.array(columns, np.intp), np.array(directed, bool)

    @cached_property
    def depth(self) -> int:
        """Arrows in the longest chain of one-headed arrows: A ** (depth + 1) = 0."""
        rows, columns, directed = self.cells
        there = directed & (self.fixed_values != 0)
        m = len(self.variables)
        reach = np.zeros((m, m), dtype=np.int64)
        reach[rows[there], columns[there]] = 1
        power, length = reach, 0
        while power.any():
            power, length = np.minimum(power @ reach, 1), length + 1
        return length

    @cached_property
    def layout(self) -> Layout:
        """Where the free parameters stand, as index arrays."""
        rows, columns, directed = self.cells
        free = np.flatnonzero(self.path_index >= 0)
        return Layout(
            place=self.path_index[free], row=rows[free], column=columns[free], directed=directed[free],
            variance=~directed[free] & (rows[free] == columns[free]),
            distinct=bool(np.array_equal(self.path_index[free], np.arange(self.n_free))),
        )

    def matrices(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """Return A and P, each (m, m), at the parameter values theta (q,)."""
        values = self.path_values(theta)
        rows, columns, directed = self.cells
        m = len(self.variables)
        a, p = np.zeros((m, m)), np.zeros((m, m))
        a[rows[directed], columns[directed]] = values[directed]
        p[rows[~directed], columns[~directed]] = values[~directed]
        p[columns[~directed], rows[~directed]] = values[~directed]
        return a, p

    def path_values(self, theta: ArrayLike) -> Floats:
        """(paths,) value of every path at theta, fixed ones included."""
        t = np.asarray(theta, dtype=np.float64)
        if t.size != self.n_free:
            raise ModelError(f"theta has {t.size} values, the model has {self.n_free} free parameters")
        out = self.fixed_values.copy()
        free = self.path_index >= 0
        out[free] = t[self.path_index[free]]
        return out

    def state(self, theta: ArrayLike) -> State:
        """All matrices at theta, from which moments and derivatives follow."""
        a, p = self.matrices(theta)
        b = np.eye(a.shape[0]) + a
        power = a
        for _ in range(self.depth - 1):  # (I - A)^-1 is the sum of A's powers, of which few are not zero
            power = power @ a
            b += power
        return State(a, p, b, b @ p @ b.T)

    def covariance(self, theta: ArrayLike) -> Floats:
        """(m, m) implied covariances of all variables, observed first, then latent."""
        return self.state(theta).d

    def implied(self, theta: ArrayLike) -> Floats:
        """(k, k) implied covariances of the observed variables."""
        return self.covariance(theta)[: self.k, : self.k]

    def implied_vech(self, theta: ArrayLike) -> Floats:
        """(k*,) implied covariances in vech order."""
        return self.implied(theta)[self.moments]

    def jacobian_matrices(self, theta: ArrayLike) -> Floats:
        """(q, k, k) derivatives of the implied covariance matrix by each free parameter.

        Notes
        -----
        With G = F B and C = B P B' F': d Sigma / d A[i, j] = G[:, i] C[j, :] + its transpose; d Sigma / d P[i, j] =
        G[:, i] G[:, j]' + its transpose off the diagonal.
        """
        return self.state_derivatives(self.state(theta), self.k)

    def covariance_derivatives(self, theta: ArrayLike) -> Floats:
        """(q, m, m) derivatives of :meth:`covariance`, all variables, by each free parameter."""
        return self.state_derivatives(self.state(theta), len(self.variables))

    def variance_derivatives(self, theta: ArrayLike) -> Floats:
        """(m, q) derivatives of the diagonal of :meth:`covariance` by each free parameter."""
        left, right = self._arms(self.state(theta), len(self.variables))
        return self._gathered(2.0 * left * right).T

    def state_derivatives(self, at: State, n: int) -> Floats:
        """(q, n, n) derivatives of the covariances of the first n variables."""
        left, right = self._arms(at, n)
        product = left[:, :, None] * right[:, None, :]
        return self._gathered(product + product.transpose(0, 2, 1))

    def _arms(self, at: State, n: int) -> tuple[Floats, Floats]:
        """Both (free paths, n): what a path's derivative is the symmetric product of."""
        where = self.layout
        left = at.b[:n, where.row].T
        right = np.where(where.directed[:, None], at.d[where.column, :n], at.b[:n, where.column].T)
        return np.where(where.variance[:, None], 0.5 * left, left), right

    def _gathered(self, by_path: Floats) -> Floats:
        """Sum the derivatives of the paths that are one parameter."""
        where = self.layout
        if where.distinct:
            return by_path
        out = np.zeros((self.n_free, *by_path.shape[1:]))
        np.add.at(out, where.place, by_path)
        return out

    def value_derivatives(self) -> Floats:
        """(paths, q) derivatives of :meth:`path_values` by theta: ones and zeros."""
        out = np.zeros((len(self.paths), self.n_free))
        free = np.flatnonzero(self.path_index >= 0)
        out[free, self.path_index[free]] = 1.0
        return out

    def jacobian(self, theta: ArrayLike) -> Floats:
        """(k*, q) derivatives of the implied covariances (vech order) by the free parameters."""
        return self.state_jacobian(self.state(theta))

    def state_jacobian(self, at: State) -> Floats:
        """:meth:`jacobian` at a state."""
        rows, columns = self.moments
        left, right = self._arms(at, self.k)
        by_path = left[:, rows] * right[:, columns] + left[:, columns] * right[:, rows]
        return np.ascontiguousarray(self._gathered(by_path).T)

    def curvature(self, theta: ArrayLike, weight: Floats) -> Floats:
        """(q, q) second derivatives of tr(M Sigma(theta)) for a symmetric matrix M (k, k) that does not vary.

        Notes
        -----
        With Q = F'MF, D = B P B', E = B'QB, T = D Q B: the pair A[i, j], A[p, q] gives 2 (B[j, p] T[q, i] + B[q, i] T[j, p] +
        D[j, q] E[p, i]); the pair A[i, j], P[p, q] gives 2 (B[j, p] E[q, i] + B[j, q] E[p, i]), halved for p = q; P, P gives 0.
        """
        return self.state_curvature(self.state(theta), weight)

    def state_curvature(self, at: State, weight: Floats) -> Floats:
        """:meth:`curvature` at a state."""
        b, d, where = at.b, at.d, self.layout
        above = b[: self.k]
        pulled = weight @ above
        e, t = above.T @ pulled, d[:, : self.k] @ pulled
        one, two = where.split
        i, j = where.row[one][:, None], where.column[one][:, None]
        to, source = i.T, j.T
        r, c = where.row[two][None, :], where.column[two][None, :]
        n = where.place.size
        by_path = np.zeros((n, n))
        by_path[one[:, None], one] = 2.0 * (b[j, to] * t[source, i] + b[source, i] * t[j, to] + d[j, source] * e[to, i])
        mixed = 2.0 * (b[j, r] * e[c, i] + b[j, c] * e[r, i]) * np.where(r == c, 0.5, 1.0)
        by_path[one[:, None], two] = mixed
        by_path[two[:, None], one] = mixed.T
        return by_path if where.distinct else self._gathered(self._gathered(by_path).T)

    # --- as text and tables ------------------------------------------------------------------------------------------
    @classmethod
    def parse(cls, text: str, *, std_lv: bool = False, traits: Sequence[str] | None = None) -> Model:
        """Read a model in lavaan syntax; see :func:`gsem_spark.methods.sem.partable.parse_model`."""
        from gsem_spark.methods.sem.partable import parse_model

        return parse_model(text, std_lv=std_lv, traits=traits).model

    def table(self) -> pd.DataFrame:
        """The parameter table as lavaan shows it.

        Returns
        -------
        DataFrame
            ``lhs op rhs free label ustart``: one row a path, numbered in ``free`` where it is estimated (equal ones each have
            a number, and a row ``.p1. == .p2.`` after the paths); then the constraints and the defined parameters.
        """
        from gsem_spark.methods.sem.partable import lavaan_table

        return lavaan_table(self)

    # --- as plain data -----------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Plain lists and mappings that :meth:`from_dict` reads back."""
        return {
            "observed": list(self.observed), "latent": list(self.latent), "paths": [asdict(p) for p in self.paths],
            "constraints": [c.to_data() for c in self.constraints],
            "defined": [[d.name, ex.to_data(d.expression)] for d in self.defined],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(
            tuple(data["observed"]), tuple(data["latent"]), tuple(Path(**p) for p in data["paths"]),
            tuple(Constraint.from_data(c) for c in data.get("constraints", ())),
            tuple(Defined(name, ex.from_data(e)) for name, e in data.get("defined", ())),
        )


def factor_model(indicators: Mapping[str, Sequence[str]], extra: Iterable[Path] = (), *, observed: Sequence[str]) -> Model:
    """Build a confirmatory factor model with free loadings, unit factor variances and free residual variances.

    Parameters
    ----------
    indicators
        Observed variables of each factor.
    extra
        Further paths, e.g. factor covariances. A path on a cell named here replaces the default one.
    observed
        Order of the observed variables.
    """
    default = [Path(f, "=~", x) for f, xs in indicators.items() for x in xs]
    default += [Path(x, "~~", x) for x in observed] + [Path(f, "~~", f, fixed=1.0) for f in indicators]
    given = {cell_key(p): p for p in extra}
    paths = [given.pop(cell_key(p), p) for p in default]
    return Model(tuple(observed), tuple(indicators), (*paths, *given.values()))
