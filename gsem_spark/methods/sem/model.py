"""A structural equation model: its paths, which parameter stands on each, and the covariances it implies.

The matrices behind these are in :mod:`gsem_spark.methods.sem.ram`. Nothing here knows a model syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.constraints import Constraint, Defined, Function, Restrictions
from gsem_spark.methods.sem.model_checks import cell_key, check_labels, check_no_circle, check_path
from gsem_spark.methods.sem.model_parts import Operator as Operator
from gsem_spark.methods.sem.model_parts import Path as Path
from gsem_spark.methods.sem.ram import Ram, State

if TYPE_CHECKING:
    import pandas as pd

from gsem_spark.methods.vech import vech_indices

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
    def ram(self) -> Ram:
        """The matrices as functions of theta, for who computes many at a time."""
        return Ram(self.k, len(self.variables), self.n_free, *self.cells, self.path_index, self.fixed_values)

    def path_values(self, theta: ArrayLike) -> Floats:
        """(paths,) value of every path at theta, fixed ones included."""
        out = self.fixed_values.copy()
        out[self.ram.free] = self._checked(theta)[self.path_index[self.ram.free]]
        return out

    def value_derivatives(self) -> Floats:
        """(paths, q) derivatives of :meth:`path_values` by theta: ones and zeros."""
        return self.ram.selection

    def matrices(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """Return A and P, each (m, m), at the parameter values theta (q,)."""
        return self.ram.matrices(self._checked(theta))

    def state(self, theta: ArrayLike) -> State:
        """All matrices at theta, from which moments and derivatives follow."""
        return self.ram.state(self._checked(theta))

    def covariance(self, theta: ArrayLike) -> Floats:
        """(m, m) implied covariances of all variables, observed first, then latent."""
        return self.state(theta).d

    def implied(self, theta: ArrayLike) -> Floats:
        """(k, k) implied covariances of the observed variables."""
        return self.covariance(theta)[: self.k, : self.k]

    def implied_vech(self, theta: ArrayLike) -> Floats:
        """(k*,) implied covariances in vech order."""
        return self.ram.moments(self.state(theta))

    def jacobian(self, theta: ArrayLike) -> Floats:
        """(k*, q) derivatives of the implied covariances (vech order) by the free parameters."""
        return self.ram.jacobian(self.state(theta))

    def jacobian_matrices(self, theta: ArrayLike) -> Floats:
        """(q, k, k) derivatives of the implied covariance matrix by each free parameter."""
        return self.ram.matrix_derivatives(self.state(theta), self.k)

    def variance_derivatives(self, theta: ArrayLike) -> Floats:
        """(m, q) derivatives of the diagonal of :meth:`covariance` by each free parameter."""
        return self.ram.variance_derivatives(self.state(theta))

    def curvature(self, theta: ArrayLike, weight: Floats) -> Floats:
        """(q, q) second derivatives of tr(M Sigma(theta)) for a symmetric matrix M (k, k) that does not vary."""
        return self.ram.curvature(self.state(theta), weight)

    def _checked(self, theta: ArrayLike) -> Floats:
        out = np.asarray(theta, dtype=np.float64)
        if out.size != self.n_free:
            raise ModelError(f"theta has {out.size} values, the model has {self.n_free} free parameters")
        return out

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
