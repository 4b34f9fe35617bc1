"""A structural equation model as RAM matrices: which parameter stands in which cell, and the covariances it implies.

All variables, observed first, then latent, form one vector x with x = A x + u and cov(u) = P. A holds the one-headed arrows
(A[to, from]), P the two-headed ones. With B = (I - A)^-1 the implied covariance of the observed variables is F B P B' F', F
the selection of the first rows [McArdle & McDonald 1984, Br J Math Stat Psychol 37:234]. Nothing here knows a model syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import vech_indices

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Operator = Literal["=~", "~", "~~"]


@dataclass(frozen=True)
class Path:
    """One arrow of the diagram.

    Parameters
    ----------
    lhs, op, rhs
        As lavaan writes them: ``F =~ x`` (factor to indicator), ``y ~ x`` (x to y), ``a ~~ b`` ((residual) covariance).
    fixed
        The value of a fixed parameter; None for a free one.
    label
        Free parameters with the same label are one parameter.
    start
        Where the estimation of a free parameter starts; None leaves it to :mod:`gsem_spark.methods.sem.starts`.
    """

    lhs: str
    op: Operator
    rhs: str
    fixed: float | None = None
    label: str | None = None
    start: float | None = None

    @property
    def name(self) -> str:
        """The path as text, e.g. ``F1=~BMI``."""
        return f"{self.lhs}{self.op}{self.rhs}"

    @property
    def syntax(self) -> str:
        """The path as a line of lavaan syntax."""
        modifier = f"{self.fixed:.17g}*" if self.fixed is not None else f"{self.label}*" if self.label else ""
        if self.op == "=~" and not modifier:
            modifier = "NA*"
        return f"{self.lhs} {self.op} {modifier}{self.rhs}"


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

    Raises
    ------
    ModelError
        When a name is repeated or unknown, a path is given twice, a variable points at itself, or a label stands on a fixed
        path.
    """

    observed: tuple[str, ...]
    latent: tuple[str, ...]
    paths: tuple[Path, ...]

    def __post_init__(self) -> None:
        for name in ("observed", "latent", "paths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = self.variables
        if not self.observed:
            raise ModelError("a model needs at least one observed variable")
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ModelError(f"variable names repeat: {', '.join(repeated)}", remedy="give factors names that no trait has")
        seen: set[tuple[str, str, str]] = set()
        for path in self.paths:
            _check_path(path, names)
            key = _cell_key(path)
            if key in seen:
                raise ModelError(f"the path {path.name} is given twice", remedy="keep one of them")
            seen.add(key)

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
        """Degrees of freedom, k* - q; negative when there are more parameters than moments."""
        return self.n_moments - self.n_free

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

    @property
    def syntax(self) -> str:
        """The model in lavaan syntax, one path a line."""
        return "\n".join(path.syntax for path in self.paths)

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
        t = np.append(np.asarray(theta, dtype=np.float64), np.nan)
        if t.size != self.n_free + 1:
            raise ModelError(f"theta has {t.size - 1} values, the model has {self.n_free} free parameters")
        return np.where(self.path_index >= 0, t[self.path_index], self.fixed_values)

    def covariance(self, theta: ArrayLike) -> Floats:
        """(m, m) implied covariances of all variables, observed first, then latent."""
        a, p = self.matrices(theta)
        b = np.linalg.solve(np.eye(a.shape[0]) - a, np.eye(a.shape[0]))
        return b @ p @ b.T

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
        a, p = self.matrices(theta)
        b = np.linalg.solve(np.eye(a.shape[0]) - a, np.eye(a.shape[0]))
        g, c = b[: self.k], (b @ p @ b.T)[:, : self.k]
        rows, columns, directed = self.cells
        free = self.path_index >= 0
        left = g[:, rows[free]].T
        right = np.where(directed[free, None], c[columns[free]], g[:, columns[free]].T)
        product = left[:, :, None] * right[:, None, :]
        symmetric = product + product.transpose(0, 2, 1)
        variance = ~directed[free] & (rows[free] == columns[free])
        symmetric[variance] = product[variance]
        out = np.zeros((self.n_free, self.k, self.k))
        np.add.at(out, self.path_index[free], symmetric)
        return out

    def jacobian(self, theta: ArrayLike) -> Floats:
        """(k*, q) derivatives of the implied covariances (vech order) by the free parameters."""
        rows, columns = self.moments
        return np.ascontiguousarray(self.jacobian_matrices(theta)[:, rows, columns].T)

    def curvature(self, theta: ArrayLike, weight: Floats) -> Floats:
        """(q, q) second derivatives of tr(M Sigma(theta)) for a symmetric matrix M (k, k) that does not vary.

        Notes
        -----
        With Q = F'MF, D = B P B', E = B'QB, T = D Q B: the pair A[i, j], A[p, q] gives 2 (B[j, p] T[q, i] + B[q, i] T[j, p] +
        D[j, q] E[p, i]); the pair A[i, j], P[p, q] gives 2 (B[j, p] E[q, i] + B[j, q] E[p, i]), halved for p = q; P, P gives 0.
        """
        a, p = self.matrices(theta)
        m = a.shape[0]
        b = np.linalg.solve(np.eye(m) - a, np.eye(m))
        d = b @ p @ b.T
        q = np.zeros((m, m))
        q[: self.k, : self.k] = weight
        e, t = b.T @ q @ b, d @ q @ b
        rows, columns, directed = self.cells
        free = self.path_index >= 0
        one, two = np.flatnonzero(free & directed), np.flatnonzero(free & ~directed)
        i, j = rows[one][:, None], columns[one][:, None]
        out = np.zeros((self.n_free, self.n_free))
        to, source = rows[one][None, :], columns[one][None, :]
        both = 2.0 * (b[j, to] * t[source, i] + b[source, i] * t[j, to] + d[j, source] * e[to, i])
        np.add.at(out, (self.path_index[one][:, None], self.path_index[one][None, :]), both)
        r, c = rows[two][None, :], columns[two][None, :]
        mixed = 2.0 * (b[j, r] * e[c, i] + b[j, c] * e[r, i]) * np.where(r == c, 0.5, 1.0)
        np.add.at(out, (self.path_index[one][:, None], self.path_index[two][None, :]), mixed)
        np.add.at(out, (self.path_index[two][:, None], self.path_index[one][None, :]), mixed.T)
        return out

    # --- as plain data -----------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Plain lists and mappings that :meth:`from_dict` reads back."""
        return {"observed": list(self.observed), "latent": list(self.latent), "paths": [asdict(p) for p in self.paths]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(tuple(data["observed"]), tuple(data["latent"]), tuple(Path(**p) for p in data["paths"]))


def _check_path(path: Path, names: Sequence[str]) -> None:
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


def _cell_key(path: Path) -> tuple[str, str, str]:
    if path.op == "~~":
        return ("~~", *sorted((path.lhs, path.rhs)))  # type: ignore[return-value]
    return ("~", path.rhs, path.lhs) if path.op == "=~" else ("~", path.lhs, path.rhs)


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
    given = {_cell_key(p): p for p in extra}
    paths = [given.pop(_cell_key(p), p) for p in default]
    return Model(tuple(observed), tuple(indicators), (*paths, *given.values()))
