"""Arithmetic on several SNPs at once: the SNPs of a block side by side, so that one instruction serves them all.

A state is an array (rows, lanes): a row holds one quantity (a parameter, an implied moment, an element of a matrix) for all
SNPs of the block. Every operation works lane by lane and in a written order, so that a SNP's numbers are the same bytes in any
lane and beside any other SNPs.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.jit import inner

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Program = NDArray[np.uint32]
"""(n, 3) rows of a state: the target, and the two whose product is added to it."""

LANES: Final = 16
"""SNPs of a block: enough for wide vectors, and few enough that a state stays in cache (24 KB for one factor of three traits,
250 KB for three factors of twelve)."""


@inner
def fill_row(s: Floats, row: int, value: float) -> None:
    """Give a row the same value for all SNPs."""
    for l in range(s.shape[1]):
        s[row, l] = value


@inner
def clear(s: Floats, rows: Program) -> None:
    """Set rows (n,) to zero."""
    for n in range(rows.size):
        row = rows[n]
        for l in range(s.shape[1]):
            s[row, l] = 0.0


@inner
def add_products(s: Floats, program: Program) -> None:
    """Run a program: add the product of two rows to a third, in order."""
    for n in range(program.shape[0]):
        to, a, b = program[n, 0], program[n, 1], program[n, 2]
        for l in range(s.shape[1]):
            s[to, l] += s[a, l] * s[b, l]


@inner
def add_scaled_products(s: Floats, program: Program, factor: Floats) -> None:
    """:func:`add_products` with each product times its factor (n,)."""
    for n in range(program.shape[0]):
        to, a, b, f = program[n, 0], program[n, 1], program[n, 2], factor[n]
        for l in range(s.shape[1]):
            s[to, l] += f * (s[a, l] * s[b, l])


@inner
def cholesky_lanes(s: Floats, first: int, n: int, toler: float, good: Bools) -> None:
    """Factor the (n, n) matrices whose elements stand row by row from row ``first`` on; see ``smallmatrix.cholesky``.

    ``good`` (lanes,) says where the matrix is positive definite; elsewhere its lane is spoilt.
    """
    lanes = s.shape[1]
    for l in range(lanes):
        good[l] = True
    for j in range(n):
        above, diagonal = first + j * n, first + j * n + j
        for l in range(lanes):
            # the sum of squares that a pivot loses is taken from a copy: its own row still holds the diagonal element
            pivot = s[diagonal, l]
            for p in range(j):
                pivot -= s[above + p, l] * s[above + p, l]
            if not pivot > toler * s[diagonal, l]:
                good[l] = False
                pivot = 1.0
            s[diagonal, l] = 1.0 / sqrt(pivot)
        for i in range(j + 1, n):
            row, target = first + i * n, first + i * n + j
            for p in range(j):
                for l in range(lanes):
                    s[target, l] -= s[row + p, l] * s[above + p, l]
            for l in range(lanes):
                s[target, l] *= s[diagonal, l]


@inner
def forward_lanes(s: Floats, first: int, n: int, x: int, norm: Floats) -> None:
    """Solve L y = x in place, x in the rows from ``x`` on; ``norm`` (lanes,) gets y'y."""
    lanes = s.shape[1]
    for l in range(lanes):
        norm[l] = 0.0
    for i in range(n):
        row, target = first + i * n, x + i
        for p in range(i):
            for l in range(lanes):
                s[target, l] -= s[row + p, l] * s[x + p, l]
        for l in range(lanes):
            s[target, l] *= s[row + i, l]
            norm[l] += s[target, l] * s[target, l]


@inner
def backward_lanes(s: Floats, first: int, n: int, x: int) -> None:
    """Solve L'y = x in place."""
    lanes = s.shape[1]
    for i in range(n - 1, -1, -1):
        target = x + i
        for p in range(i + 1, n):
            for l in range(lanes):
                s[target, l] -= s[first + p * n + i, l] * s[x + p, l]
        for l in range(lanes):
            s[target, l] *= s[first + i * n + i, l]


@inner
def quadratic_lanes(a: Floats, n: int, s: Floats, x: int, scratch: Floats, out: Floats) -> None:
    """Add x'Ax to ``out`` (lanes,), for a symmetric matrix that all SNPs share and x in the rows from ``x`` on.

    ``scratch`` (lanes,) is overwritten.
    """
    lanes = s.shape[1]
    for i in range(n):
        for l in range(lanes):
            scratch[l] = 0.5 * a[i, i] * s[x + i, l]
        for j in range(i):
            value = a[i, j]
            for l in range(lanes):
                scratch[l] += value * s[x + j, l]
        for l in range(lanes):
            out[l] += 2.0 * scratch[l] * s[x + i, l]
