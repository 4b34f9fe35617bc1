"""A RAM model with a SNP compiled into index arrays: which parameter sits where, which moments it reaches, in which order.

The kernel of :mod:`gsem_spark.methods.gwas.kernel_user` reads these arrays and no Python object. Observed variables are the SNP,
then k traits. The LDSC moments stand in an order of their own: first those that take part in the search, then those that one
free residual variance meets exactly (the variance of a trait that points at nothing), which leave the problem together with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.gwas.moments import spd_inverse
from gsem_spark.methods.ldsc.covstruct import vech_indices
from gsem_spark.methods.sem.model import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Arranged(NamedTuple):
    """Index arrays of one model; q parameters take part in the search, e of the traits' variances do not.

    Moments: 0 the SNP's variance, 1 to k its covariances with the traits, then the k* of the LDSC part in the order of ``cell``.
    """

    k: int
    variables: int
    searched: int  # moments that take part in the search
    arrow_to: Ints  # (arrows,) in topological order
    arrow_from: Ints
    arrow_path: Ints
    pair_row: Ints  # (two-headed,) places in P
    pair_column: Ints
    pair_path: Ints
    fixed: Floats  # (paths,) values of fixed paths, 0 on free ones
    parameter: Ints  # (paths,) place in the search's parameters; -1 where fixed or left out
    moment_row: Ints  # (1 + k + k*,)
    moment_column: Ints
    cell: Ints  # (k*,) place in vech of the traits of each LDSC moment
    slot_start: Ints  # (1 + k + k* + 1,) first slot of each moment: one slot a parameter that reaches it
    slot_parameter: Ints
    entry_start: Ints  # (1 + k + k* + 1,) first entry of each moment: one entry a path that reaches it
    entry_slot: Ints
    entry_row: Ints
    entry_column: Ints
    entry_directed: Ints
    entry_factor: Floats  # 0.5 on variances, else 1
    curve_one: Ints  # (pairs,) paths whose second derivative may not vanish, first directed
    curve_two: Ints
    path_row: Ints  # (paths,)
    path_column: Ints
    path_directed: Ints
    own_trait: Ints  # (e,) trait of each left-out variance
    variance_parameter: Ints  # (variances,) searched parameters that are variances of a variable other than the SNP
    variance_variable: Ints  # (variances,) that variable
    below_start: Ints  # (variables + 1,) first entry of each variable in the next list
    below: Ints  # observed variables that can follow each variable, itself among them
    source: Ints  # variables from which a searched one-headed path leads, the SNP among them
    effect: Ints  # (r,) searched parameters of the SNP's free paths
    effect_gamma: Floats  # (k, r) their total effects on the traits without the SNP, at the start
    effect_offset: Floats  # (k,) total effects of its fixed paths
    snp_parameter: int  # place of the SNP's variance


class Sampling(NamedTuple):
    """The sampling side of the moments: weights, V and V^-1 in the order of ``Arranged.cell``, and what all SNPs share."""

    covariance: Floats  # (k*,) S in that order
    weight: Floats  # (k*,) 1 / diagonal of V
    V: Floats  # (k*, k*)
    precision: Floats  # (searched part, searched part) of V^-1
    snp_correlation: Floats  # (k, k) R
    snp_precision: Floats  # (k, k) R^-1
    snp_error: float  # sampling variance of the SNP's variance
    snp_bounds: Floats  # (2,) open range of variances in V_SNP for which V_full is made of V and R as they stand here


def sampling(a: Arranged, S: Floats, V: Floats, R: Floats, snp_error: float, snp_bounds: Floats | None = None) -> Sampling | None:
    """Build :class:`Sampling`, or return None when R or V has no Cholesky factor; arguments as in ``moments.arrange``."""
    try:
        snp_precision, precision = spd_inverse(R), spd_inverse(V)
    except linalg.LinAlgError:
        return None
    order = a.cell
    rows, columns = vech_indices(a.k)
    used = order[: a.searched - 1 - a.k]
    c = np.ascontiguousarray
    return Sampling(
        c(S[rows, columns][order]), c(1.0 / np.diagonal(V)[order]), c(V[np.ix_(order, order)]), c(precision[np.ix_(used, used)]),
        np.array(R, order="C"), snp_precision, float(snp_error), np.array([0.0, np.inf]) if snp_bounds is None else snp_bounds,
    )


def arrange_model(model: Model, start: Floats) -> Arranged:
    """Compile a model whose first observed variable is the SNP; it must have no constraints.

    ``start`` (q,) is the no-SNP solution in the places of theta.
    """
    where = _Structure(model)
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
    slots, entries = where.reached(moments, parameter)
    arrows = where.arrows()
    two = np.flatnonzero(~where.directed & where.there)
    curves = where.curves(parameter)
    diagonal = ~where.directed & (where.row == where.column) & (parameter >= 0) & (where.row > 0)
    below = [np.flatnonzero(where.reach[: model.k, v]) for v in range(len(model.variables))]
    effect, gamma, offset = where.effects(start, parameter)
    snp = np.flatnonzero(~where.directed & (where.row == 0) & (where.column == 0))[0]
    as_ints = _ints
    return Arranged(
        k, len(model.variables), searched,
        as_ints(where.row[arrows]), as_ints(where.column[arrows]), as_ints(arrows),
        as_ints(where.row[two]), as_ints(where.column[two]), as_ints(two),
        np.nan_to_num(model.fixed_values), parameter,
        as_ints([m[0] for m in moments]), as_ints([m[1] for m in moments]), as_ints(order),
        _starts(slots), as_ints([p for s in slots for p in s]), _starts(entries), as_ints([e[0] for s in entries for e in s]),
        as_ints([where.row[e[1]] for s in entries for e in s]), as_ints([where.column[e[1]] for s in entries for e in s]),
        as_ints([where.directed[e[1]] for s in entries for e in s]),
        np.array([0.5 if where.is_variance(e[1]) else 1.0 for s in entries for e in s]),
        as_ints([c[0] for c in curves]), as_ints([c[1] for c in curves]),
        as_ints(where.row), as_ints(where.column), as_ints(where.directed),
        as_ints([t for t, _ in own]), as_ints(parameter[diagonal]), as_ints(where.row[diagonal]),
        _starts(below), as_ints(np.concatenate(below)), as_ints(np.unique(where.column[where.directed & (parameter >= 0)])),
        effect, gamma, offset, int(parameter[snp]),
    )


def _ints(values: Sequence[int] | NDArray[np.generic]) -> Ints:
    return np.ascontiguousarray(np.asarray(values, dtype=np.int64).reshape(-1))


def _starts(groups: Sequence[Sequence[object] | NDArray[np.generic]]) -> Ints:
    return np.concatenate([[0], np.cumsum([len(g) for g in groups])]).astype(np.int64)


class _Structure:
    """Which cells of A, P, B and D can differ from zero, whatever the free parameters are."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.row, self.column, self.directed = model.cells
        self.there = model.fixed_values != 0  # NaN on free paths counts as there
        m = len(model.variables)
        a, p = np.zeros((m, m), dtype=bool), np.zeros((m, m), dtype=bool)
        for path in np.flatnonzero(self.there):
            i, j = self.row[path], self.column[path]
            if self.directed[path]:
                a[i, j] = True
            else:
                p[i, j] = p[j, i] = True
        reach = np.eye(m, dtype=bool)
        for _ in range(m):
            reach |= (a.astype(int) @ reach.astype(int)) > 0
        self.reach = reach
        self.related = (reach.astype(int) @ p.astype(int) @ reach.T.astype(int)) > 0
        self.rank = np.array([self._depth(a, i) for i in range(m)])

    def _depth(self, a: NDArray[np.bool_], variable: int) -> int:
        parents = np.flatnonzero(a[variable])
        return 1 + max(self._depth(a, int(p)) for p in parents) if parents.size else 0

    def arrows(self) -> Ints:
        """Paths of one-headed arrows, each after those that lead to its source."""
        found = np.flatnonzero(self.directed & self.there)
        return found[np.argsort(self.rank[self.row[found]], kind="stable")]

    def is_variance(self, path: int) -> bool:
        """Whether a path is a variance."""
        return bool(not self.directed[path] and self.row[path] == self.column[path])

    def split(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Places in theta that the search keeps, and (trait, place) of the variances that it leaves out."""
        index = self.model.path_index
        own = []
        for path in np.flatnonzero(index >= 0):
            variable = int(self.row[path])
            alone = int(np.sum(index == index[path])) == 1 and int(np.sum(self.reach[:, variable])) == 1
            if self.is_variance(int(path)) and 0 < variable < self.model.k and alone:
                own.append((variable, int(index[path])))
        out = {place for _, place in own}
        return [p for p in range(self.model.n_free) if p not in out], own

    def reached(
        self, moments: Sequence[tuple[int, int]], parameter: Ints
    ) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """For each moment its parameters, and its entries (slot, path)."""
        slots, entries = [], []
        right = np.where(self.directed[:, None], self.related[self.column], self.reach.T[self.column])
        left = self.reach.T[self.row]
        for i, j in moments:
            reaches = (left[:, i] & right[:, j]) | (left[:, j] & right[:, i])
            paths = np.flatnonzero((parameter >= 0) & reaches).tolist()
            mine = sorted({int(parameter[p]) for p in paths})  # ascending: the lower triangle needs no swap
            slots.append(mine)
            entries.append([(mine.index(int(parameter[p])), p) for p in paths])
        return slots, entries

    def effects(self, start: Floats, parameter: Ints) -> tuple[Ints, Floats, Floats]:
        """Searched parameters of the SNP's paths, what each adds to the traits' effects at the start, what fixed paths add."""
        k = self.model.k - 1
        B = self.model.state(start).b[1 : k + 1]
        from_snp = self.directed & (self.column == 0)
        effect = np.unique(parameter[from_snp & (parameter >= 0)])
        gamma, offset = np.zeros((k, effect.size)), np.zeros(k)
        for path in np.flatnonzero(from_snp):
            if parameter[path] >= 0:
                gamma[:, np.searchsorted(effect, parameter[path])] += B[:, self.row[path]]
            else:
                offset += B[:, self.row[path]] * self.model.fixed_values[path]
        return _ints(effect), gamma, offset

    def curves(self, parameter: Ints) -> list[tuple[int, int]]:
        """Pairs of searched paths (each pair once, the first directed) for which second derivatives are computed."""
        free = np.flatnonzero(parameter >= 0).tolist()
        directed = [p for p in free if self.directed[p]]
        return [
            *((a, b) for n, a in enumerate(directed) for b in directed[: n + 1]),
            *((a, b) for a in directed for b in free if not self.directed[b]),
        ]
