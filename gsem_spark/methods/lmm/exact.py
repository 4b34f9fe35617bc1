"""Variance components fitted anew for every variant, by ML or REML, from rotated data.

The likelihood is followed in t = log lambda, lambda = sigmasq_g / sigmasq_e, between GEMMA's bounds. For a tile of variants it is
first compared at fixed t (matrix products), then each variant takes Newton steps from the best of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.lmm.compiled import jit
from gsem_spark.methods.lmm.null import fit_lmm
from gsem_spark.methods.lmm.rotation import Rotated, Spectrum, log_det_cross, rotation_basis
from gsem_spark.methods.lmm.tiles import Tile

Floats = NDArray[np.float64]

LOG_RATIO_MAX: Final = 11.512925464970229
"""Bounds of log lambda, ±log 1e5 (Zhou & Stephens 2012, GEMMA's default)."""
GRID: Final = 11
"""Values of log lambda at which likelihoods are compared first: lambda a factor of ten apart, as in GEMMA."""
STEP_TOL: Final = 1e-5
"""A Newton step in log lambda below this is the last one: the next would be about its square, 1e-10."""
MAX_STEPS: Final = 60
OK: Final = 0
NOT_CONVERGED: Final = 4


@dataclass(frozen=True)
class Grid:
    """The null model at G fixed values of log lambda.

    Parameters
    ----------
    at
        (G,) the values.
    weights
        (q, G) 1 / (lambda d + 1).
    linear
        (q, G (c + 1)): products with it give a variant's part in each of c orthonormal covariates for every value, then its
        product with the residuals for every value.
    rss
        (G,) residual sums of squares.
    fixed_ml, fixed_reml
        (G,) the part of the log likelihood that does not depend on the variant.
    """

    at: Floats
    weights: Floats
    linear: Floats
    rss: Floats
    fixed_ml: Floats
    fixed_reml: Floats


@dataclass(frozen=True)
class ExactNull:
    """Rotated phenotype and covariates, ready for refits; broadcastable.

    Parameters
    ----------
    eigenvalues, basis
        (q,) eigenvalues and the (n, q) basis genotypes are rotated by; float32 where that was asked for.
    W
        (c, q) rotated covariates.
    y
        (q,) rotated phenotype.
    n
        Samples; n - q directions have eigenvalue 0 and hold neither phenotype nor covariates.
    logdet_xx
        log |XᵀX|.
    start_reml, start_ml
        log lambda of the null model.
    loglik_ml
        Log likelihood of the null model under ML, with all constants.
    grid
        Values of log lambda compared first, with what their likelihoods need.
    """

    eigenvalues: Floats
    basis: NDArray[np.floating]
    W: Floats
    y: Floats
    n: int
    logdet_xx: float
    start_reml: float
    start_ml: float
    loglik_ml: float
    grid: Grid


@dataclass(frozen=True)
class ExactFits:
    """Refits of a tile's variants: log_ratio, beta, se, loglik (all constants), codes, all (size,)."""

    log_ratio: Floats
    beta: Floats
    se: Floats
    loglik: Floats
    codes: NDArray[np.int64]


def prepare_exact(spectrum: Spectrum, y: Floats, X: Floats, precision: str = "float64") -> ExactNull:
    """Rotate the null model and fit it by REML and ML within the bounds of the refits."""
    values, basis = rotation_basis(spectrum, np.column_stack([X, y]))
    rows = basis.T @ np.column_stack([X, y])
    rotated = Rotated(values, np.ascontiguousarray(rows[:, -1]), np.ascontiguousarray(rows[:, :-1]), (), len(y),
                      log_det_cross(X), spectrum.mean)
    starts = {}
    for reml in (True, False):
        hsq = fit_lmm(rotated, reml=reml).hsq
        with np.errstate(divide="ignore"):
            starts[reml] = float(np.clip(np.log(hsq) - np.log1p(-hsq), -LOG_RATIO_MAX, LOG_RATIO_MAX))
    W = np.ascontiguousarray(rotated.X.T)
    null = np.empty(3)
    _null_likelihood(starts[False], values, rotated.y, W, len(y), null)
    kept = basis.astype(np.float32) if precision == "float32" else np.ascontiguousarray(basis)
    return ExactNull(values, kept, W, rotated.y, len(y), rotated.logdet_xx, starts[True], starts[False], float(null[0]),
                     _prepare_grid(values, W, rotated.y))


def rotate_tile(null: ExactNull, tile: Tile) -> tuple[Floats, Floats]:
    """A tile's (rows, q) rotated genotypes, and for each variant the sum of squares that lies outside of the basis."""
    if null.basis.dtype == np.float32:
        rotated = (tile.rows.astype(np.float32) @ null.basis).astype(np.float64)
    else:
        rotated = tile.rows @ null.basis
    rest = np.zeros(len(rotated))
    if len(null.eigenvalues) < null.n:
        rest[: tile.size] = np.maximum(tile.sumsq - (rotated[: tile.size] ** 2).sum(axis=1), 0.0)
    return rotated, rest


def fit_tile(null: ExactNull, rotated: Floats, rest: Floats, size: int, reml: bool) -> ExactFits:
    """Refit the variance components with each of the first ``size`` variants of a rotated tile as one more covariate."""
    best = _compare_grid(null, rotated, rest, reml)
    out = np.zeros((size, 4))
    codes = np.zeros(size, dtype=np.int64)
    start = null.start_reml if reml else null.start_ml
    _fit_rows(rotated, rest, best, start, null.grid.at, null.eigenvalues, null.y, null.W, null.n, null.logdet_xx, reml, out,
              codes)
    return ExactFits(out[:, 0], out[:, 1], out[:, 2], out[:, 3], codes)


def _prepare_grid(d: Floats, W: Floats, y: Floats) -> Grid:
    at = np.linspace(-LOG_RATIO_MAX, LOG_RATIO_MAX, GRID)
    weights = 1.0 / (np.exp(at)[:, None] * d + 1.0)
    bases, residuals, rss, fixed, restriction = [], [], np.empty(GRID), np.empty(GRID), np.empty(GRID)
    for g in range(GRID):
        root = np.sqrt(weights[g])
        basis, triangle = linalg.qr((W * root).T, mode="economic")
        residual = y * root
        residual = residual - basis @ (basis.T @ residual)
        bases.append(basis * root[:, None])
        residuals.append(residual * root)
        rss[g], fixed[g] = residual @ residual, 0.5 * np.log(weights[g]).sum()
        restriction[g] = np.log(np.abs(np.diag(triangle))).sum()
    linear = np.column_stack([*bases, np.column_stack(residuals)])
    return Grid(at, np.ascontiguousarray(weights.T), np.ascontiguousarray(linear), rss, fixed, fixed - restriction)


def _compare_grid(null: ExactNull, rotated: Floats, rest: Floats, reml: bool) -> NDArray[np.int64]:
    """Position in the grid of each variant's largest likelihood."""
    c, grid = len(null.W), null.grid
    linear = rotated @ grid.linear
    own = rotated**2 @ grid.weights + rest[:, None] - (linear[:, : c * GRID].reshape(len(rotated), GRID, c) ** 2).sum(axis=2)
    own = np.maximum(own, np.finfo(float).tiny)
    left = np.maximum(grid.rss - linear[:, c * GRID :] ** 2 / own, np.finfo(float).tiny)
    if reml:
        values = grid.fixed_reml - 0.5 * (null.n - c - 1) * np.log(left) - 0.5 * np.log(own)
    else:
        values = grid.fixed_ml - 0.5 * null.n * np.log(left)
    return np.asarray(np.argmax(values, axis=1), dtype=np.int64)


@jit
def _form(a: Any, b: Any, w: Any, out: Any) -> None:
    """Sums of w ab, w² ab and w³ ab."""
    s1, s2, s3 = 0.0, 0.0, 0.0
    for i in range(a.size):
        p = w[i] * a[i] * b[i]
        q = p * w[i]
        s1 += p
        s2 += q
        s3 += q * w[i]
    out[0], out[1], out[2] = s1, s2, s3


@jit
def _log_product(w: Any) -> float:
    """Sum of -log w, a logarithm for every sixteen (each at least 1e-15, so that their product stays above 1e-308)."""
    total, part = 0.0, 1.0
    for i in range(w.size):
        part *= w[i]
        if i % 16 == 15:
            total -= log(part)
            part = 1.0
    return total - log(part)


@jit
def _likelihood(
    t: float, d: Any, x: Any, y: Any, W: Any, rest: float, n: int, logdet_xx: float, reml: bool,
    w: Any, A: Any, dA: Any, ddA: Any, v: Any, work: Any, out: Any,
) -> None:
    """Log likelihood of [W, x] at t, its first and second derivative, and the effect of x with its standard error: out (5,)."""
    p = W.shape[0] + 1
    q = d.size
    lam = exp(t)
    d_log_h, dd_log_h = 0.0, 0.0
    for i in range(q):
        h = lam * d[i] + 1.0
        w[i] = 1.0 / h
        d_log_h += 1.0 - w[i]
        dd_log_h += w[i] - w[i] * w[i]
    log_h = _log_product(w)
    m = np.empty(3)
    for j in range(p):
        a = W[j] if j < p - 1 else x
        for k in range(j + 1):
            _form(a, W[k] if k < p - 1 else x, w, m)
            if k == p - 1:
                m[0] += rest
                m[1] += rest
                m[2] += rest
            A[j, k] = A[k, j] = m[0]
            dA[j, k] = dA[k, j] = m[1] - m[0]
            ddA[j, k] = ddA[k, j] = 2.0 * m[2] - 3.0 * m[1] + m[0]
        _form(a, y, w, m)
        v[0, j], v[1, j], v[2, j] = m[0], m[1] - m[0], 2.0 * m[2] - 3.0 * m[1] + m[0]
    _form(y, y, w, m)
    s, ds, dds = m[0], m[1] - m[0], 2.0 * m[2] - 3.0 * m[1] + m[0]
    _combine(A, dA, ddA, v, s, ds, dds, log_h, d_log_h, dd_log_h, n, logdet_xx, reml, work, out)


@jit
def _cholesky(A: Any, L: Any) -> float:
    """Lower factor of A into L; log |A|."""
    p = A.shape[0]
    total = 0.0
    for j in range(p):
        for i in range(j, p):
            value = A[i, j]
            for k in range(j):
                value -= L[i, k] * L[j, k]
            if i == j:
                L[j, j] = sqrt(value) if value > 0 else 1e-150
                total += log(L[j, j])
            else:
                L[i, j] = value / L[j, j]
    return 2.0 * total


@jit
def _solve(L: Any, b: Any, out: Any) -> None:
    p = L.shape[1]
    for i in range(p):
        value = b[i]
        for k in range(i):
            value -= L[i, k] * out[k]
        out[i] = value / L[i, i]
    for r in range(p):
        i = p - 1 - r
        value = out[i]
        for k in range(i + 1, p):
            value -= L[k, i] * out[k]
        out[i] = value / L[i, i]


@jit
def _combine(
    A: Any, dA: Any, ddA: Any, v: Any, s: float, ds: float, dds: float, log_h: float, d_log_h: float, dd_log_h: float,
    n: int, logdet_xx: float, reml: bool, work: Any, out: Any,
) -> None:
    p = A.shape[0]
    L, B, C = work[0], work[1], work[2]
    b, r, u = work[3, 0], work[3, 1], work[3, 2]
    log_a = _cholesky(A, L)
    _solve(L, v[0], b)
    rss, d_rss, dd_rss = s, ds, dds
    for i in range(p):
        r[i] = v[1, i]
        rss -= b[i] * v[0, i]
        d_rss -= 2.0 * b[i] * v[1, i]
        dd_rss -= 2.0 * b[i] * v[2, i]
        for k in range(p):
            r[i] -= dA[i, k] * b[k]
            d_rss += b[i] * dA[i, k] * b[k]
            dd_rss += b[i] * ddA[i, k] * b[k]
    _solve(L, r, u)
    for i in range(p):
        dd_rss -= 2.0 * r[i] * u[i]
    df = n - p if reml else n
    value = -0.5 * (df * log(2.0 * pi * rss / df) + df + log_h)
    first = -0.5 * (df * d_rss / rss + d_log_h)
    second = -0.5 * (df * (dd_rss / rss - (d_rss / rss) ** 2) + dd_log_h)
    unit = u
    for i in range(p):
        unit[i] = 0.0
    if reml:
        value -= 0.5 * (log_a - logdet_xx)
        for k in range(p):
            _solve(L, dA[k], B[k])
            _solve(L, ddA[k], C[k])
        for i in range(p):
            first -= 0.5 * B[i, i]
            second -= 0.5 * C[i, i]
            for k in range(p):
                second += 0.5 * B[i, k] * B[k, i]
    unit[p - 1] = 1.0
    _solve(L, unit, r)
    out[0], out[1], out[2] = value, first, second
    out[3] = b[p - 1]
    out[4] = sqrt(rss / (n - p) * r[p - 1])


@jit
def _fit_rows(
    rotated: Any, rest: Any, best: Any, start: float, grid: Any, d: Any, y: Any, W: Any, n: int, logdet_ww: float, reml: bool,
    out: Any, codes: Any,
) -> None:
    p = W.shape[0] + 1
    q = d.size
    w = np.empty(q)
    A, dA, ddA = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    v, work, at = np.empty((3, p)), np.zeros((4, max(p, 3), p)), np.empty(5)
    ones = np.zeros((p, p))
    m = np.empty(3)
    same = np.ones(q)
    for s in range(out.shape[0]):
        x = rotated[s]
        if reml:
            for j in range(p):
                a = W[j] if j < p - 1 else x
                for k in range(j + 1):
                    _form(a, W[k] if k < p - 1 else x, same, m)
                    ones[j, k] = m[0] + (rest[s] if k == p - 1 else 0.0)
            logdet_xx = _cholesky(ones, work[0])
        else:
            logdet_xx = logdet_ww
        low, high = grid[max(best[s] - 1, 0)], grid[min(best[s] + 1, grid.size - 1)]
        t = start if low < start < high else grid[best[s]]
        code = NOT_CONVERGED
        for _ in range(MAX_STEPS):
            _likelihood(t, d, x, y, W, rest[s], n, logdet_xx, reml, w, A, dA, ddA, v, work, at)
            if at[1] > 0:
                low = t
            else:
                high = t
            step = -at[1] / at[2] if at[2] < 0 else np.inf
            after = t + step
            # an optimum at a bound: the likelihood still rises there
            if not low < after < high:
                bound = high if at[1] > 0 else low
                outer = bound == grid[0] or bound == grid[grid.size - 1]
                after = bound if outer and t != bound and abs(bound - t) < 2.0 else 0.5 * (low + high)
            if (t == grid[0] and at[1] <= 0) or (t == grid[grid.size - 1] and at[1] >= 0):
                code = OK
                break
            move = after - t
            t = after
            if abs(move) < STEP_TOL:
                code = OK
                break
        _likelihood(t, d, x, y, W, rest[s], n, logdet_xx, reml, w, A, dA, ddA, v, work, at)
        out[s, 0], out[s, 1], out[s, 2], out[s, 3] = t, at[3], at[4], at[0]
        codes[s] = code


@jit
def _null_likelihood(t: float, d: Any, y: Any, W: Any, n: int, out: Any) -> None:
    """Full log likelihood of the covariates alone at t."""
    p, q = W.shape[0], d.size
    w, m = np.empty(q), np.empty(3)
    A, L, v, b = np.empty((p, p)), np.zeros((p, p)), np.empty(p), np.empty(p)
    lam = exp(t)
    log_h = 0.0
    for i in range(q):
        w[i] = 1.0 / (lam * d[i] + 1.0)
        log_h -= log(w[i])
    for j in range(p):
        for k in range(j + 1):
            _form(W[j], W[k], w, m)
            A[j, k] = m[0]
        _form(W[j], y, w, m)
        v[j] = m[0]
    _form(y, y, w, m)
    _cholesky(A, L)
    _solve(L, v, b)
    rss = m[0]
    for j in range(p):
        rss -= b[j] * v[j]
    out[0] = -0.5 * (n * log(2.0 * pi * rss / n) + n + log_h)
