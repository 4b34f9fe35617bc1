"""Compiled: the likelihood of a variance ratio with one more covariate, its derivatives, and Newton steps to its maximum."""

from __future__ import annotations

from math import exp, log, pi, sqrt
from typing import Any, Final

import numpy as np

from gsem_spark.methods.lmm.compiled import jit

STEP_TOL: Final = 1e-5
"""A Newton step in log lambda below this is the last one: the next would be about its square, 1e-10."""
MAX_STEPS: Final = 60
OK: Final = 0
NOT_CONVERGED: Final = 4
PENDING: Final = 9
"""Not fitted yet: the row is left to ``fit_rows``."""


@jit
def form(a: Any, b: Any, w: Any, out: Any) -> None:
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
def log_product(w: Any) -> float:
    """Sum of -log w, a logarithm for every sixteen (each at least 1e-15, so that their product stays above 1e-308)."""
    total, part = 0.0, 1.0
    for i in range(w.size):
        part *= w[i]
        if i % 16 == 15:
            total -= log(part)
            part = 1.0
    return total - log(part)


@jit
def likelihood(
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
    log_h = log_product(w)
    m = np.empty(3)
    for j in range(p):
        a = W[j] if j < p - 1 else x
        for k in range(j + 1):
            form(a, W[k] if k < p - 1 else x, w, m)
            if k == p - 1:
                m[0] += rest
                m[1] += rest
                m[2] += rest
            A[j, k] = A[k, j] = m[0]
            dA[j, k] = dA[k, j] = m[1] - m[0]
            ddA[j, k] = ddA[k, j] = 2.0 * m[2] - 3.0 * m[1] + m[0]
        form(a, y, w, m)
        v[0, j], v[1, j], v[2, j] = m[0], m[1] - m[0], 2.0 * m[2] - 3.0 * m[1] + m[0]
    form(y, y, w, m)
    s, ds, dds = m[0], m[1] - m[0], 2.0 * m[2] - 3.0 * m[1] + m[0]
    combine(A, dA, ddA, v, s, ds, dds, log_h, d_log_h, dd_log_h, n, logdet_xx, reml, work, out)


@jit
def cholesky(A: Any, L: Any) -> float:
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
def solve(L: Any, b: Any, out: Any) -> None:
    """Solve L Lᵀ out = b."""
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
def combine(
    A: Any, dA: Any, ddA: Any, v: Any, s: float, ds: float, dds: float, log_h: float, d_log_h: float, dd_log_h: float,
    n: int, logdet_xx: float, reml: bool, work: Any, out: Any,
) -> None:
    """Likelihood, derivatives, effect and its standard error from the sums and their derivatives by t; see ``likelihood``."""
    p = A.shape[0]
    L, B, C = work[0], work[1], work[2]
    b, r, u = work[3, 0], work[3, 1], work[3, 2]
    log_a = cholesky(A, L)
    solve(L, v[0], b)
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
    solve(L, r, u)
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
            solve(L, dA[k], B[k])
            solve(L, ddA[k], C[k])
        for i in range(p):
            first -= 0.5 * B[i, i]
            second -= 0.5 * C[i, i]
            for k in range(p):
                second += 0.5 * B[i, k] * B[k, i]
    unit[p - 1] = 1.0
    solve(L, unit, r)
    out[0], out[1], out[2] = value, first, second
    out[3] = b[p - 1]
    out[4] = sqrt(rss / (n - p) * r[p - 1])


@jit
def fit_rows(
    rotated: Any, rest: Any, best: Any, start: float, grid: Any, d: Any, y: Any, W: Any, n: int, logdet_xx: Any, reml: bool,
    out: Any, codes: Any,
) -> None:
    """Refit the variants whose code is PENDING: out (size, 4) of log lambda, beta, se, log likelihood, and codes."""
    p = W.shape[0] + 1
    A, dA, ddA = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    v, work, at = np.empty((3, p)), np.zeros((4, max(p, 3), p)), np.empty(5)
    w = np.empty(d.size)
    for s in range(out.shape[0]):
        if codes[s] != PENDING:
            continue
        x = rotated[s]
        low, high = grid[max(best[s] - 1, 0)], grid[min(best[s] + 1, grid.size - 1)]
        t = start if low < start < high else grid[best[s]]
        code = NOT_CONVERGED
        for _ in range(MAX_STEPS):
            likelihood(t, d, x, y, W, rest[s], n, logdet_xx[s], reml, w, A, dA, ddA, v, work, at)
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
        likelihood(t, d, x, y, W, rest[s], n, logdet_xx[s], reml, w, A, dA, ddA, v, work, at)
        out[s, 0], out[s, 1], out[s, 2], out[s, 3] = t, at[3], at[4], at[0]
        codes[s] = code


@jit
def null_likelihood(t: float, d: Any, y: Any, W: Any, n: int, out: Any) -> None:
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
            form(W[j], W[k], w, m)
            A[j, k] = m[0]
        form(W[j], y, w, m)
        v[j] = m[0]
    form(y, y, w, m)
    cholesky(A, L)
    solve(L, v, b)
    rss = m[0]
    for j in range(p):
        rss -= b[j] * v[j]
    out[0] = -0.5 * (n * log(2.0 * pi * rss / n) + n + log_h)
