"""A RAM model with a SNP compiled into straight-line programs of products, run for a block of SNPs at a time.

Everything that a fit of the model computes from its parameters x is a sum of products: B = (I - A)^-1 by substitution along the
arrows, D = B P B', each moment's derivatives [products of an element of B with one of D or of B], the Gauss-Newton matrix and the
residuals' second-derivative part. So the model is compiled once into lists of (target, factor, factor): rows of one state
(:mod:`gsem_spark.methods.gwas.lanes`). Only what can differ from zero and is asked for has a row; a cell that equals another
one has the other's row. Observed variables are the SNP, then k traits. The LDSC moments stand in an order of their own: first
those that take part in the search, then those that one free residual variance meets exactly (the variance of a trait that points
at nothing), which leave the problem together with it. Second derivatives: :meth:`gsem_spark.methods.sem.model.Model.curvature`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.arrangement import Structure, as_ints
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.vech import vech_indices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Program = NDArray[np.uint32]
Product = tuple[int, int]

ZERO, ONE = 0, 1
"""Rows of every state that hold 0 and 1."""


class Tape(NamedTuple):
    """A compiled model: where things stand in the state, and the programs that fill it.

    q parameters take part in the search, e of the traits' variances do not. Moments: 0 the SNP's variance, 1 to k its covariances
    with the traits, then the k* of the LDSC part in the order of ``cell``. Names of places are first rows.
    """

    k: int
    q: int
    searched: int  # moments that take part in the search
    rows: int  # of the state
    x: int  # q
    best: int  # q
    step: int  # q
    hessian: int  # q * q, row by row, the lower triangle in use
    observed: int  # 1 + k + k*
    weight: int  # 1 + k + k*
    residual: int  # 1 + k + k*
    pull: int  # 1 + k + k*, weight times residual
    half: int  # 1 + k + k*, half of that
    influence: int  # 1 + k + k*
    u: int  # k
    part: int  # k
    spread: int  # k*
    constant_row: Ints  # rows of fixed values
    constant_value: Floats
    implied: Ints  # (1 + k + k*,) row of each implied moment
    moments: Program  # fills B and D
    moments_clear: Program
    jacobian: Program
    jacobian_clear: Program
    own: Program  # derivatives of the moments that are left out
    own_clear: Program
    slot_moment: Ints  # (slots,) searched moment of each derivative
    slot_row: Ints
    slot_weighted: Ints  # row of weight times derivative
    gradient: Program  # into ``step``: the direction down
    normal: Program  # into ``hessian``: Jacobian' W Jacobian
    curvature: Program
    curvature_factor: Floats
    curvature_parts: Program  # what ``curvature`` reads
    curvature_clear: Program
    curvature_row: Ints  # rows of second derivatives, and where each goes
    curvature_place: Ints
    to_influence: Program
    own_start: Ints  # (e + 1,) first derivative of each left-out moment
    own_parameter: Ints
    own_row: Ints
    moment_row: Ints  # (1 + k + k*,) variables of each moment
    moment_column: Ints
    cell: Ints  # (k*,) place in vech of the traits of each LDSC moment
    parameter: Ints  # (paths,) place in the search's parameters; -1 where fixed or left out
    own_trait: Ints  # (e,) trait of each left-out variance
    variance_parameter: Ints  # (variances,) searched parameters that are variances of a variable other than the SNP
    variance_variable: Ints  # (variances,) that variable
    effect: Ints  # (r,) searched parameters of the SNP's free paths
    effect_gamma: Floats  # (k, r) their total effects on the traits without the SNP, at the start
    effect_offset: Floats  # (k,) total effects of its fixed paths
    snp_parameter: int  # place of the SNP's variance


def compile_model(model: Model, start: Floats) -> Tape:
    """Compile a model whose first observed variable is the SNP; it must have no constraints.

    ``start`` (theta's length,) is the no-SNP solution in the places of theta.
    """
    where = Structure(model)
    kept, own = where.split()
    k = model.k - 1
    rows, columns = vech_indices(k)
    left_out = {trait for trait, _ in own}
    order = [n for n in range(rows.size) if not (rows[n] == columns[n] and rows[n] + 1 in left_out)]
    searched = 1 + k + len(order)
    place = {(int(r), int(c)): n for n, (r, c) in enumerate(zip(rows, columns, strict=True))}
    order += [place[t - 1, t - 1] for t, _ in own]
    moments = [(0, 0), *((j, 0) for j in range(1, k + 1)), *((int(rows[n]) + 1, int(columns[n]) + 1) for n in order)]
    parameter = np.full(len(model.paths), -1, dtype=np.int64)
    for number, place_in_theta in enumerate(kept):
        parameter[model.path_index == place_in_theta] = number
    diagonal = ~where.directed & (where.row == where.column) & (parameter >= 0) & (where.row > 0)
    effect, gamma, offset = where.effects(start, parameter)
    snp = np.flatnonzero(~where.directed & (where.row == 0) & (where.column == 0))[0]
    written = _Writer(where, parameter, moments, searched, len(kept))
    return Tape(
        k=k, q=len(kept), searched=searched, **written.programs(),
        moment_row=as_ints([m[0] for m in moments]), moment_column=as_ints([m[1] for m in moments]), cell=as_ints(order),
        parameter=parameter, own_trait=as_ints([t for t, _ in own]),
        variance_parameter=as_ints(parameter[diagonal]), variance_variable=as_ints(where.row[diagonal]),
        effect=effect, effect_gamma=gamma, effect_offset=offset, snp_parameter=int(parameter[snp]),
    )


class _Sums:
    """A program as it is written: sums of products that get a row each, unless they are nothing or equal to another row."""

    def __init__(self, new_rows: Callable[[int], int]) -> None:
        self.new_rows = new_rows
        self.lines: list[tuple[int, int, int]] = []
        self.targets: list[int] = []

    def row(self, products: Sequence[Product]) -> int:
        """Row that will hold the sum of products."""
        products = [p for p in products if ZERO not in p]
        if not products:
            return ZERO
        if len(products) == 1 and ONE in products[0]:
            return products[0][0] if products[0][1] == ONE else products[0][1]
        target = self.new_rows(1)
        self.targets.append(target)
        self.lines += [(target, a, b) for a, b in products]
        return target

    @property
    def program(self) -> Program:
        return _program(self.lines)

    @property
    def clear(self) -> Program:
        return np.array(self.targets, dtype=np.uint32)


def _program(lines: Sequence[tuple[int, int, int]]) -> Program:
    return np.array(lines, dtype=np.uint32).reshape(-1, 3)


class _Writer:
    """Writes the programs of one model; cells are written when they are first asked for."""

    def __init__(
        self, where: Structure, parameter: Ints, moments: Sequence[tuple[int, int]], searched: int, q: int
    ) -> None:
        self.where, self.parameter, self.moments, self.searched, self.q = where, parameter, moments, searched, q
        self.rows = 2
        self.constants: dict[int, float] = {ONE: 1.0}
        self.x = self._new(q)
        self.state, self.jacobian, self.own, self.curved = (_Sums(self._new) for _ in range(4))
        self.of_moment = {cell: n for n, cell in enumerate(moments[:searched])}
        n = len(moments)
        self.places = {
            name: self._new(size)
            for name, size in (
                ("best", q), ("step", q), ("hessian", q * q), ("observed", n), ("weight", n), ("residual", n), ("pull", n),
                ("half", n), ("influence", n), ("u", where.model.k - 1), ("part", where.model.k - 1),
                ("spread", n - where.model.k),
            )
        }
        self.value = [self._value(p) for p in range(parameter.size)]
        self.B, self.D = cache(self._b), cache(self._d)
        self.pulled, self.E, self.T = cache(self._pulled), cache(self._e), cache(self._t)

    def _new(self, size: int) -> int:
        self.rows += size
        return self.rows - size

    def _value(self, path: int) -> int:
        """Row of a path's value; a left-out variance counts as 0, since nothing that is searched depends on it."""
        fixed = self.where.model.fixed_values[path]
        if self.parameter[path] >= 0:
            return int(self.x + self.parameter[path])
        if np.isnan(fixed) or fixed == 0:
            return ZERO
        if fixed == 1:
            return ONE
        row = self._new(1)
        self.constants[row] = float(fixed)
        return row

    def _b(self, i: int, j: int) -> int:
        """Total effect of variable j on i."""
        if i == j:
            return ONE
        return self.state.row([(self.value[p], self.B(source, j)) for source, p in self.where.parents[i]])

    def _d(self, i: int, j: int) -> int:
        """Covariance of variables i and j: along the arrows into the one that is further down, then by its two-headed ones."""
        if (self.where.rank[i], i) < (self.where.rank[j], j):
            return int(self.D(j, i))
        products = [(self.value[p], self.D(source, j)) for source, p in self.where.parents[i]]
        products += [(self.value[p], self.B(j, partner)) for partner, p in self.where.partners[i]]
        return self.state.row(products)

    def _pulled(self, i: int, j: int) -> int:
        """Element of (weighted residuals) B, observed by all."""
        return self.curved.row([(self._pull(i, b), self.B(b, j)) for b in range(self.where.model.k) if self.where.reach[b, j]])

    def _pull(self, i: int, j: int) -> int:
        moment = self.of_moment.get((max(i, j), min(i, j)))
        if moment is None:
            return ZERO
        return self.places["pull" if i == j else "half"] + moment

    def _e(self, i: int, j: int) -> int:
        """Element of B' (weighted residuals) B."""
        if i < j:
            return int(self.E(j, i))
        return self.curved.row([(self.B(b, i), self.pulled(b, j)) for b in range(self.where.model.k) if self.where.reach[b, i]])

    def _t(self, i: int, j: int) -> int:
        """Element of D (weighted residuals) B."""
        return self.curved.row([(self.D(i, l), self.pulled(l, j)) for l in range(self.where.model.k)])

    def _derivatives(self, moment: int, sums: _Sums) -> list[tuple[int, int]]:
        """(parameter, row) of the derivatives of one moment, by ascending parameter."""
        (i, j), where = self.moments[moment], self.where
        products: dict[int, list[Product]] = {}
        for path in np.flatnonzero(self.parameter >= 0).tolist():
            row, column = int(where.row[path]), int(where.column[path])
            ends = [(i, j)] if where.is_variance(path) else [(i, j), (j, i)]
            for near, far in ends:
                if where.reach[near, row]:
                    other = self.D(column, far) if where.directed[path] else self.B(far, column)
                    products.setdefault(int(self.parameter[path]), []).append((self.B(near, row), other))
        found = [(p, sums.row(terms)) for p, terms in sorted(products.items())]
        return [(p, row) for p, row in found if row != ZERO]

    def _curvatures(self) -> tuple[list[tuple[int, int, int]], list[float], dict[tuple[int, int], int]]:
        """Second derivatives of the pairs of searched paths, each pair once: lines, their factors, row by (larger, smaller)."""
        where, lines, factors, target = self.where, [], [], {}
        free = np.flatnonzero(self.parameter >= 0).tolist()
        directed = [p for p in free if where.directed[p]]
        pairs = [
            *((a, b) for n, a in enumerate(directed) for b in directed[: n + 1]),
            *((a, b) for a in directed for b in free if not where.directed[b]),
        ]
        for one, two in pairs:
            i, j, p, r = (int(v) for v in (where.row[one], where.column[one], where.row[two], where.column[two]))
            if where.directed[two]:
                terms = [(self.B(j, p), self.T, (r, i)), (self.B(r, i), self.T, (j, p)), (self.D(j, r), self.E, (p, i))]
            else:
                terms = [(self.B(j, p), self.E, (r, i)), (self.B(j, r), self.E, (p, i))][: 1 if p == r else 2]
            x, y = int(self.parameter[one]), int(self.parameter[two])
            for left, function, at in terms:
                right = function(*at) if left != ZERO else ZERO
                if right != ZERO:
                    cell = max(x, y), min(x, y)
                    if cell not in target:
                        target[cell] = self._new(1)
                    lines.append((target[cell], left, right))
                    factors.append(4.0 if x == y and one != two else 2.0)
        return lines, factors, target

    def programs(self) -> dict[str, Any]:
        """Fields of :class:`Tape` that programs and places make up."""
        q, at = self.q, self.places
        slots = [(t, p, row) for t in range(self.searched) for p, row in self._derivatives(t, self.jacobian)]
        weighted = [self._new(1) for _ in slots]
        by_moment: dict[int, list[tuple[int, int, int]]] = {}
        for (t, p, row), heavy in zip(slots, weighted, strict=True):
            by_moment.setdefault(t, []).append((p, row, heavy))
        normal = [
            (at["hessian"] + p * q + other, heavy, row)
            for group in by_moment.values() for n, (p, _, heavy) in enumerate(group) for other, row, _ in group[: n + 1]
        ]
        own = [self._derivatives(t, self.own) for t in range(self.searched, len(self.moments))]
        lines, factors, second = self._curvatures()
        implied = [self.D(i, j) for i, j in self.moments]
        return {
            "rows": self.rows, "x": self.x, **at,
            "constant_row": as_ints(list(self.constants)), "constant_value": np.array(list(self.constants.values())),
            "implied": as_ints(implied), "moments": self.state.program, "moments_clear": self.state.clear,
            "jacobian": self.jacobian.program, "jacobian_clear": self.jacobian.clear,
            "own": self.own.program, "own_clear": self.own.clear,
            "slot_moment": as_ints([t for t, _, _ in slots]), "slot_row": as_ints([r for _, _, r in slots]),
            "slot_weighted": as_ints(weighted),
            "gradient": _program([(at["step"] + p, at["pull"] + t, row) for t, p, row in slots]),
            "normal": _program(normal),
            "curvature": _program(lines), "curvature_factor": np.array(factors), "curvature_parts": self.curved.program,
            "curvature_clear": np.concatenate([self.curved.clear, np.array(list(second.values()), dtype=np.uint32)]),
            "curvature_row": as_ints(list(second.values())),
            "curvature_place": as_ints([at["hessian"] + x * q + y for x, y in second]),
            "to_influence": _program(
                [(at["influence"] + t, heavy, at["step"] + p) for (t, p, _), heavy in zip(slots, weighted, strict=True)]
            ),
            "own_start": np.concatenate([[0], np.cumsum([len(g) for g in own])]).astype(np.int64),
            "own_parameter": as_ints([p for g in own for p, _ in g]), "own_row": as_ints([r for g in own for _, r in g]),
        }
