"""What a RAM model with a SNP says about its own zeros, and the sampling side of its moments in the order in which it is fitted.

Observed variables are the SNP, then k traits. The compiled programs of :mod:`gsem_spark.methods.gwas.tape` are written from this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.gwas.moments import spd_inverse
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.vech import vech_indices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def as_ints(values: Sequence[int] | NDArray[np.generic]) -> Ints:
    """Return a contiguous array (n,) of int64."""
    return np.ascontiguousarray(np.asarray(values, dtype=np.int64).reshape(-1))


class Sampling(NamedTuple):
    """The sampling side of the moments: weights, V and V^-1 in the order of ``Tape.cell``, and what all SNPs share."""

    covariance: Floats  # (k*,) S in that order
    weight: Floats  # (k*,) 1 / diagonal of V
    V: Floats  # (k*, k*)
    precision: Floats  # (searched part, searched part) of V^-1
    snp_correlation: Floats  # (k, k) R
    snp_precision: Floats  # (k, k) R^-1
    snp_error: float  # sampling variance of the SNP's variance
    snp_bounds: Floats  # (2,) open range of variances in V_SNP for which V_full is made of V and R as they stand here
    toler: float  # share of its diagonal element that a pivot of the normal equations has to exceed


def sampling(
    cell: Ints, used: int, S: Floats, V: Floats, R: Floats, snp_error: float, snp_bounds: Floats | None = None,
    toler: float = PIVOT_TOLERANCE,
) -> Sampling | None:
    """Build :class:`Sampling`, or return None when R or V has no Cholesky factor.

    Parameters
    ----------
    cell
        (k*,) place in vech of each LDSC moment.
    used
        How many of them take part in the search: the first ones.
    S, V, R, snp_error, snp_bounds, toler
        As in ``moments.arrange``.
    """
    try:
        snp_precision, precision = spd_inverse(R), spd_inverse(V)
    except linalg.LinAlgError:
        return None
    rows, columns = vech_indices(S.shape[0])
    first = cell[:used]
    c = np.ascontiguousarray
    return Sampling(
        c(S[rows, columns][cell]), c(1.0 / np.diagonal(V)[cell]), c(V[np.ix_(cell, cell)]), c(precision[np.ix_(first, first)]),
        np.array(R, order="C"), snp_precision, float(snp_error), np.array([0.0, np.inf]) if snp_bounds is None else snp_bounds,
        float(toler),
    )


class Structure:
    """Which cells of A, P and B can differ from zero, whatever the free parameters are."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.row, self.column, self.directed = model.cells
        self.there = model.fixed_values != 0  # NaN on free paths counts as there
        m = len(model.variables)
        a = np.zeros((m, m), dtype=bool)
        self.parents: list[list[tuple[int, int]]] = [[] for _ in range(m)]  # (variable, path) of each arrow into a variable
        self.partners: list[list[tuple[int, int]]] = [[] for _ in range(m)]  # the same for its two-headed arrows
        for path in np.flatnonzero(self.there).tolist():
            i, j = int(self.row[path]), int(self.column[path])
            if self.directed[path]:
                a[i, j] = True
                self.parents[i].append((j, path))
            else:
                self.partners[i].append((j, path))
                if i != j:
                    self.partners[j].append((i, path))
        reach = np.eye(m, dtype=bool)
        for _ in range(m):
            reach |= (a.astype(int) @ reach.astype(int)) > 0
        self.reach = reach
        self.rank = np.array([self._depth(a, i) for i in range(m)])

    def _depth(self, a: NDArray[np.bool_], variable: int) -> int:
        parents = np.flatnonzero(a[variable])
        return 1 + max(self._depth(a, int(p)) for p in parents) if parents.size else 0

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
        return as_ints(effect), gamma, offset
