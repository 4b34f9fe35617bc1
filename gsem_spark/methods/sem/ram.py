"""The RAM matrices of a model at one theta, the moments they imply, and the derivatives of these: index arrays and products.

All variables, observed first, then latent, form one vector x with x = A x + u and cov(u) = P. A holds the one-headed arrows
(A[to, from]), P the two-headed ones. With B = (I - A)^-1 and D = B P B', the covariances of all variables, the implied ones of
the observed are D's first rows and columns [McArdle & McDonald 1984, Br J Math Stat Psychol 37:234].

Fits are repeated by the thousand, so what does not depend on theta is worked out once: places in the flattened matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.vech import vech_indices

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class State:
    """The matrices at one theta, all (m, m): A, P, B = (I - A)^-1 and D = B P B', the covariances of all variables."""

    a: Floats
    p: Floats
    b: Floats
    d: Floats


@dataclass(frozen=True, eq=False)
class Ram:
    """Where the paths stand in the matrices.

    Parameters
    ----------
    k, m
        Number of observed, and of all, variables.
    q
        Number of free parameters.
    row, column, directed
        (paths,) the cell of each path, and whether that is in A; else in P, and its mirror image too.
    index
        (paths,) place of each path's parameter in theta, -1 where fixed.
    fixed
        (paths,) values of the fixed paths, NaN on the free ones.
    """

    k: int
    m: int
    q: int
    row: Ints
    column: Ints
    directed: NDArray[np.bool_]
    index: Ints
    fixed: Floats

    # --- places --------------------------------------------------------------------------------------------------------
    @cached_property
    def depth(self) -> int:
        """Arrows in the longest chain of one-headed arrows: A ** (depth + 1) = 0."""
        there = self.directed & (self.fixed != 0)
        reach = np.zeros((self.m, self.m), dtype=np.int64)
        reach[self.row[there], self.column[there]] = 1
        power, length = reach, 0
        while power.any():
            power, length = np.minimum(power @ reach, 1), length + 1
        return length

    @cached_property
    def free(self) -> Ints:
        """(free paths,) which paths are free."""
        return np.flatnonzero(self.index >= 0)

    @cached_property
    def distinct(self) -> bool:
        """Whether every free path is its own parameter, in theta's order."""
        return bool(np.array_equal(self.index[self.free], np.arange(self.q)))

    @cached_property
    def selection(self) -> Floats:
        """(paths, q) derivatives of the paths' values by theta: ones and zeros; read-only."""
        out = np.zeros((self.index.size, self.q))
        out[self.free, self.index[self.free]] = 1.0
        out.setflags(write=False)
        return out

    @cached_property
    def _frame(self) -> tuple[Floats, Ints, Ints]:
        """A and P, flat, with the fixed values in them; the places of the free values there; and whence in theta each comes."""
        block = np.where(self.directed, 0, self.m * self.m)
        place = block + self.row * self.m + self.column
        mirror = block + self.column * self.m + self.row
        base = np.zeros(2 * self.m * self.m)
        held, both = self.index < 0, self.free[~self.directed[self.free]]
        base[place[held]] = self.fixed[held]
        base[mirror[held & ~self.directed]] = self.fixed[held & ~self.directed]
        return base, np.r_[place[self.free], mirror[both]], np.r_[self.index[self.free], self.index[both]]

    @cached_property
    def _moment_places(self) -> Ints:
        """(k*,) places of the moments in the flat D, in vech order."""
        rows, columns = vech_indices(self.k)
        return rows * self.m + columns

    @cached_property
    def _unpacking(self) -> tuple[Ints, Floats]:
        """(k, k) places in vech order of each cell, and (k*,) 1 for variances and a half for covariances."""
        rows, columns = vech_indices(self.k)
        place = np.empty((self.k, self.k), dtype=np.intp)
        place[rows, columns] = place[columns, rows] = np.arange(rows.size)
        return place, np.where(rows == columns, 1.0, 0.5)

    @cached_property
    def _arm_places(self) -> tuple[Ints, Ints, Floats]:
        """(free paths,) columns of B, columns of D and B side by side, and a half for variances: see :meth:`_arms`."""
        row, column, directed = self.row[self.free], self.column[self.free], self.directed[self.free]
        return row, np.where(directed, column, self.m + column), np.where(~directed & (row == column), 0.5, 1.0)

    # --- moments -------------------------------------------------------------------------------------------------------
    def matrices(self, theta: Floats) -> tuple[Floats, Floats]:
        """Return A and P, each (m, m)."""
        base, places, sources = self._frame
        flat = base.copy()
        flat[places] = theta[sources]
        a, p = flat.reshape(2, self.m, self.m)
        return a, p

    def state(self, theta: Floats) -> State:
        """All matrices at theta, from which moments and derivatives follow."""
        a, p = self.matrices(theta)
        b = a.copy()
        b.flat[:: self.m + 1] += 1.0
        power = a
        for _ in range(self.depth - 1):  # (I - A)^-1 is the sum of A's powers, of which few are not zero
            power = power @ a
            b += power
        return State(a, p, b, b @ p @ b.T)

    def moments(self, at: State) -> Floats:
        """(k*,) implied covariances in vech order."""
        return at.d.take(self._moment_places)

    # --- derivatives ---------------------------------------------------------------------------------------------------
    def jacobian(self, at: State) -> Floats:
        """(k*, q) derivatives of the moments by the free parameters.

        Notes
        -----
        With G = F B and C = D F', F the selection of the observed: d Sigma / d A[i, j] = G[:, i] C[j, :] + its transpose;
        d Sigma / d P[i, j] = G[:, i] G[:, j]' + its transpose off the diagonal.
        """
        rows, columns = vech_indices(self.k)
        left, right = self._arms(at, self.k)
        by_path = left.take(rows, axis=0) * right.take(columns, axis=0)
        by_path += left.take(columns, axis=0) * right.take(rows, axis=0)
        return self._gathered(by_path)

    def matrix_derivatives(self, at: State, n: int) -> Floats:
        """(q, n, n) derivatives of the covariances of the first n variables."""
        left, right = (arm.T for arm in self._arms(at, n))
        product = left[:, :, None] * right[:, None, :]
        by_path = product + product.transpose(0, 2, 1)
        if self.distinct:
            return by_path
        return np.asarray(np.tensordot(self.selection[self.free], by_path, axes=(0, 0)))

    def variance_derivatives(self, at: State) -> Floats:
        """(m, q) derivatives of D's diagonal."""
        left, right = self._arms(at, self.m)
        return self._gathered(2.0 * left * right)

    def _arms(self, at: State, n: int) -> tuple[Floats, Floats]:
        """Both (n, free paths): what a path's derivative is the symmetric product of."""
        to, source, half = self._arm_places
        left = at.b[:n].take(to, axis=1) * half
        return left, np.concatenate([at.d[:n], at.b[:n]], axis=1).take(source, axis=1)

    def _gathered(self, by_path: Floats) -> Floats:
        """Sum the derivatives of the paths, one a column, that are one parameter."""
        return by_path if self.distinct else by_path @ self.selection[self.free]

    # --- curvature -----------------------------------------------------------------------------------------------------
    @cached_property
    def _pairs(self) -> tuple[Ints, ...]:
        """Places in the flat (m, m) matrices of each pair of directed paths, and of each with a path of P."""
        directed = self.directed[self.free]
        one, two = np.flatnonzero(directed), np.flatnonzero(~directed)
        i, j = self.row[self.free][one], self.column[self.free][one]
        r, c = self.row[self.free][two], self.column[self.free][two]

        def flat(rows: Ints, columns: Ints) -> Ints:
            return np.asarray(rows[:, None] * self.m + columns)

        n = self.free.size
        to = (one[:, None] * n + one, one[:, None] * n + two, two[:, None] * n + one)
        return flat(j, i), flat(j, j), flat(i, i), flat(j, r), flat(i, c), flat(j, c), flat(i, r), *to

    @cached_property
    def _pair_share(self) -> Floats:
        """(paths of P,) 2, and 1 for variances."""
        chosen = self.free[~self.directed[self.free]]
        return np.where(self.row[chosen] == self.column[chosen], 1.0, 2.0)

    def moment_curvature(self, at: State, pull: Floats) -> Floats:
        """(q, q) second derivatives of the sum of the moments (k*,), each times its ``pull``."""
        place, share = self._unpacking
        return self.curvature(at, (pull * share).take(place))

    def curvature(self, at: State, weight: Floats) -> Floats:
        """(q, q) second derivatives of tr(M Sigma) for a symmetric matrix M (k, k) that does not vary.

        Notes
        -----
        With Q = F'MF, E = B'QB, T = D Q B: the pair A[i, j], A[p, q] gives 2 (B[j, p] T[q, i] + B[q, i] T[j, p] +
        D[j, q] E[p, i]); the pair A[i, j], P[p, q] gives 2 (B[j, p] E[q, i] + B[j, q] E[p, i]), halved for p = q; P, P gives 0.
        """
        ji, jj, ii, jr, ic, jc, ir, among, across, back = self._pairs
        b, d = at.b, at.d
        above = b[: self.k]
        pulled = weight @ above
        e, t = above.T @ pulled, d[:, : self.k] @ pulled
        crossed = b.take(ji) * t.take(ji).T
        n = self.free.size
        flat = np.zeros(n * n)
        flat[among] = 2.0 * (crossed + crossed.T + d.take(jj) * e.take(ii))
        mixed = (b.take(jr) * e.take(ic) + b.take(jc) * e.take(ir)) * self._pair_share
        flat[across] = mixed
        flat[back] = mixed.T
        by_path = flat.reshape(n, n)
        return by_path if self.distinct else self._gathered(self._gathered(by_path).T)
