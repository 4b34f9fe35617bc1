"""Sums over samples as Chebyshev series of the variance ratio, so that a refit no longer passes over the samples.

In t = log lambda the weights 1 / (e^t d + 1) are analytic but for poles pi above and below the real axis, whatever d: over an
interval of half-width h their Chebyshev series of degree m is good to (pi/h + sqrt(1 + pi²/h²))^-m (Trefethen 2013, Approximation
Theory and Approximation Practice, theorem 8.2). A variant's sums are then matrix products with the series' coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.lmm.compiled import jit
from gsem_spark.methods.lmm.exact_kernel import MAX_STEPS, OK, PENDING, STEP_TOL, combine

Floats = NDArray[np.float64]

HALF_WIDTH: Final = 0.5
"""Half-width of the interval of log lambda about the null's: most variants move it by less."""
TERMS: Final = 12
"""Terms of the series: by the bound above its error is 12.6^-12 = 6e-14 of the sum."""


@dataclass(frozen=True)
class Series:
    """The series about one value of log lambda.

    Parameters
    ----------
    centre
        Value of log lambda in the middle.
    squares
        (q, G + m): a variant's squared rotated genotypes times it give its weighted sum of squares at the values of a grid, then
        the coefficients of the series of it.
    linear
        (q, (c + 1) (G + m)): the same for products: what the grid needs of a variant's genotypes, then the coefficients of the
        products with each covariate and with the phenotype.
    common
        (c (c + 1) / 2 + c + 2, m): of the covariates' products with one another (lower triangle by rows), with the phenotype, of
        the phenotype's sum of squares, and of log |H|.
    """

    centre: float
    squares: Floats
    linear: Floats
    common: Floats


def prepare_series(centre: float, d: Floats, W: Floats, y: Floats, grid_squares: Floats, grid_linear: Floats) -> Series:
    """The series of a null model with eigenvalues d (q,), covariates W (c, q) and phenotype y (q,), beside those of a grid."""
    angles = np.pi * (np.arange(TERMS) + 0.5) / TERMS
    to_coefficients = 2.0 / TERMS * np.cos(np.outer(angles, np.arange(TERMS)))
    to_coefficients[:, 0] *= 0.5
    scale = np.exp(centre + HALF_WIDTH * np.cos(angles))[:, None] * d + 1.0
    squares = (1.0 / scale).T @ to_coefficients
    columns = [*W, y]
    products = [W[j] * W[k] for j in range(len(W)) for k in range(j + 1)] + [row * y for row in columns]
    common = np.vstack([np.array(products) @ squares, np.log(scale).sum(axis=1) @ to_coefficients])
    linear = np.hstack([grid_linear, *(squares * column[:, None] for column in columns)])
    return Series(centre, np.ascontiguousarray(np.hstack([grid_squares, squares])), np.ascontiguousarray(linear),
                  np.ascontiguousarray(common))


@jit
def _terms(u: float, T: Any) -> None:
    """Chebyshev polynomials at u (3, m): values, first and second derivatives by log lambda."""
    m = T.shape[1]
    T[0, 0], T[1, 0], T[2, 0] = 1.0, 0.0, 0.0
    T[0, 1], T[1, 1], T[2, 1] = u, 1.0, 0.0
    for k in range(2, m):
        T[0, k] = 2.0 * u * T[0, k - 1] - T[0, k - 2]
        T[1, k] = 2.0 * T[0, k - 1] + 2.0 * u * T[1, k - 1] - T[1, k - 2]
        T[2, k] = 4.0 * T[1, k - 1] + 2.0 * u * T[2, k - 1] - T[2, k - 2]
    for k in range(m):
        T[1, k] /= HALF_WIDTH
        T[2, k] /= HALF_WIDTH * HALF_WIDTH


@jit
def _sum(coefficients: Any, T: Any, out: Any) -> None:
    a, b, c = 0.0, 0.0, 0.0
    for k in range(coefficients.size):
        a += coefficients[k] * T[0, k]
        b += coefficients[k] * T[1, k]
        c += coefficients[k] * T[2, k]
    out[0], out[1], out[2] = a, b, c


@jit
def _likelihood(
    u: float, common: Any, squares: Any, linear: Any, rest: float, n: int, logdet_xx: float, reml: bool,
    T: Any, A: Any, dA: Any, ddA: Any, v: Any, work: Any, out: Any,
) -> None:
    """``exact_kernel.likelihood`` from the series."""
    p, m = A.shape[0], T.shape[1]
    s = np.empty(3)
    _terms(u, T)
    at = 0
    for j in range(p - 1):
        for k in range(j + 1):
            _sum(common[at], T, s)
            A[j, k] = A[k, j] = s[0]
            dA[j, k] = dA[k, j] = s[1]
            ddA[j, k] = ddA[k, j] = s[2]
            at += 1
    for j in range(p - 1):
        _sum(common[at], T, s)
        v[0, j], v[1, j], v[2, j] = s[0], s[1], s[2]
        _sum(linear[j * m : (j + 1) * m], T, s)
        A[j, p - 1] = A[p - 1, j] = s[0]
        dA[j, p - 1] = dA[p - 1, j] = s[1]
        ddA[j, p - 1] = ddA[p - 1, j] = s[2]
        at += 1
    _sum(linear[(p - 1) * m :], T, s)
    v[0, p - 1], v[1, p - 1], v[2, p - 1] = s[0], s[1], s[2]
    _sum(squares, T, s)
    A[p - 1, p - 1], dA[p - 1, p - 1], ddA[p - 1, p - 1] = s[0] + rest, s[1], s[2]
    _sum(common[at], T, s)
    yy, d_yy, dd_yy = s[0], s[1], s[2]
    _sum(common[at + 1], T, s)
    combine(A, dA, ddA, v, yy, d_yy, dd_yy, s[0], s[1], s[2], n, logdet_xx, reml, work, out)


@jit
def fit_series(
    squares: Any, linear: Any, rest: Any, best: Any, centre: float, grid: Any, common: Any, p: int, n: int, logdet_xx: Any,
    reml: bool, out: Any, codes: Any,
) -> None:
    """Newton steps of each variant within the interval of the series; those that leave it stay PENDING."""
    A, dA, ddA = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    v, work, at = np.empty((3, p)), np.zeros((4, max(p, 3), p)), np.empty(5)
    T = np.empty((3, squares.shape[1]))
    for s in range(out.shape[0]):
        codes[s] = PENDING
        low, high = grid[max(best[s] - 1, 0)], grid[min(best[s] + 1, grid.size - 1)]
        if not low < centre < high:
            continue
        low, high = max(low, centre - HALF_WIDTH), min(high, centre + HALF_WIDTH)
        t = centre
        arrived = False
        for _ in range(MAX_STEPS):
            _likelihood((t - centre) / HALF_WIDTH, common, squares[s], linear[s], rest[s], n, logdet_xx[s], reml,
                        T, A, dA, ddA, v, work, at)
            if arrived:
                out[s, 0], out[s, 1], out[s, 2], out[s, 3] = t, at[3], at[4], at[0]
                codes[s] = OK
                break
            move = -at[1] / at[2]
            if not (at[2] < 0 and low < t + move < high):
                break
            t += move
            arrived = abs(move) < STEP_TOL
