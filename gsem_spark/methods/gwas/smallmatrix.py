"""Cholesky factors, solves and quadratic forms of the few-by-few matrices that one SNP needs, compiled, without allocation."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.jit import inner, jit

Floats = NDArray[np.float64]

PIVOT_TOLERANCE = 1e-13
"""A Cholesky pivot below this share of its own diagonal element: the matrix is singular to working precision. What ``toler`` is
where users leave it out."""


@jit
def cholesky(a: Floats, n: int, toler: float) -> bool:
    """Factor the leading ``n`` rows of a symmetric matrix in place; only its lower triangle is read and written.

    Parameters
    ----------
    a
        Square array of at least (n, n). On return the lower triangle holds L, with 1 / L[j, j] on the diagonal.
    n
        Order.
    toler
        Share of its own diagonal element that a pivot has to exceed.

    Returns
    -------
    bool
        False when the matrix is not positive definite (or holds a NaN); ``a`` is then spoilt.
    """
    for j in range(n):
        diagonal = a[j, j]
        pivot = diagonal
        for p in range(j):
            pivot -= a[j, p] * a[j, p]
        if not pivot > toler * diagonal:
            return False
        inverse = 1.0 / sqrt(pivot)
        a[j, j] = inverse
        for i in range(j + 1, n):
            value = a[i, j]
            for p in range(j):
                value -= a[i, p] * a[j, p]
            a[i, j] = value * inverse
    return True


@inner
def forward(chol: Floats, n: int, x: Floats) -> float:
    """Solve L y = x in place with a factor of :func:`cholesky` and return yᵀy, the quadratic form xᵀA⁻¹x."""
    norm = 0.0
    for i in range(n):
        value = x[i]
        for p in range(i):
            value -= chol[i, p] * x[p]
        value *= chol[i, i]
        x[i] = value
        norm += value * value
    return norm


@inner
def backward(chol: Floats, n: int, x: Floats) -> None:
    """Solve Lᵀ y = x in place with a factor of :func:`cholesky`."""
    for i in range(n - 1, -1, -1):
        value = x[i]
        for p in range(i + 1, n):
            value -= chol[p, i] * x[p]
        x[i] = value * chol[i, i]


@inner
def quadratic(a: Floats, n: int, x: Floats) -> float:
    """Return xᵀAx of a symmetric matrix; reads the lower triangle."""
    total = 0.0
    for i in range(n):
        row = 0.0
        for j in range(i):
            row += a[i, j] * x[j]
        total += x[i] * (2.0 * row + a[i, i] * x[i])
    return total
