"""Likelihood, score and average information of a multi-trait mixed model, and its fit by Newton steps.

Rows of the rotated data have covariance V_i = d_i Cg + Cn. With T such that T Cn Tᵀ = I and T Cg Tᵀ = diag(delta), T y_i has
independent elements of variance d_i delta_p + 1, so that nothing larger than (n P) x (effects) is ever formed. Sources: Meyer
1985, Biometrics 41:153; Zhou & Stephens 2014, Nat Methods 11:407; Gilmour, Thompson & Cullis 1995, Biometrics 51:1440 (average
information).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float64]

DECREMENT_TOL: Final = 1e-14
"""Fits stop when a further step would raise the log likelihood by less than half of this."""
VARIANT_TOL: Final = 1e-11
"""The same for the refits of a scan: a statistic is good to 1e-10 then."""
DECREMENT_STALLED: Final = 1e-9
"""A fit whose steps no longer raise the likelihood by more than rounding has converged when the decrement is below this."""
MAX_STEPS: Final = 100
MAX_HALVINGS: Final = 30
PD_RTOL: Final = 1e-10
"""Residual covariances keep their smallest eigenvalue above this share of their trace."""
ROUNDING: Final = 1e-11
"""Share of the log likelihood that its rounding may take away."""


@dataclass(frozen=True)
class RotatedTraits:
    """Rotated phenotypes and design.

    Parameters
    ----------
    d, hidden
        (q,) eigenvalues of the rows, and the number of directions of eigenvalue 0 beyond them.
    Y
        (q, P) phenotypes.
    V, which, A
        Design column k is the sample vector ``V[which[k]]`` (q,) times the trait vector ``A[k]`` (P,).
    """

    d: Floats
    hidden: int
    Y: Floats
    V: Floats
    which: NDArray[np.int64]
    A: Floats

    def log_det_design(self) -> float:
        """Log determinant of ZᵀZ."""
        return float(np.linalg.slogdet((self.V @ self.V.T)[np.ix_(self.which, self.which)] * (self.A @ self.A.T))[1])

    def with_variant(self, x: Floats, outside: float, A_snp: Floats) -> RotatedTraits:
        """The same data with a variant's design columns (m, P) added; ``outside`` is its sum of squares outside of the rows."""
        which = np.concatenate([self.which, np.full(len(A_snp), len(self.V))])
        A = np.vstack([self.A, A_snp])
        if not self.hidden:
            return RotatedTraits(self.d, 0, self.Y, np.vstack([self.V, x]), which, A)
        V = np.zeros((len(self.V) + 1, len(self.d) + 1))
        V[:-1, :-1], V[-1, :-1], V[-1, -1] = self.V, x, np.sqrt(outside)
        Y = np.vstack([self.Y, np.zeros(self.Y.shape[1])])
        return RotatedTraits(np.append(self.d, 0.0), self.hidden - 1, Y, V, which, A)


@dataclass(frozen=True)
class Evaluation:
    """Likelihood at two covariances.

    Parameters
    ----------
    value
        Log likelihood without the constants of n and of the design.
    beta, precision
        (K,) effects and the inverse (K, K) of their covariance.
    T
        (P, P) with T Cn Tᵀ = I and T Cg Tᵀ diagonal.
    gradient, information
        (P(P+1),) and square: by the elements a <= b of T Cg Tᵀ, then of T Cn Tᵀ. Empty where not asked for.
    """

    value: float
    beta: Floats
    precision: Floats
    T: Floats
    gradient: Floats
    information: Floats


def trait_rotation(Cg: Floats, Cn: Floats) -> tuple[Floats, Floats]:
    """The matrix T (P, P) and delta (P,) with T Cn Tᵀ = I and T Cg Tᵀ = diag(delta), Cn positive definite."""
    delta, Q = linalg.eigh(0.5 * (Cg + Cg.T), 0.5 * (Cn + Cn.T), check_finite=False)
    return np.ascontiguousarray(Q.T), delta


def evaluate(data: RotatedTraits, Cg: Floats, Cn: Floats, reml: bool, derivatives: bool = True) -> Evaluation:
    """Likelihood, effects, and derivatives at two covariances."""
    q, P = data.Y.shape
    T, delta = trait_rotation(Cg, Cn)
    scale = data.d[:, None] * delta + 1.0
    root = 1.0 / np.sqrt(scale)
    # log|Cn| = -2 log|T|, in every direction, also those without a row
    log_v = float(np.log(scale).sum()) - 2.0 * (q + data.hidden) * float(np.linalg.slogdet(T)[1])
    Z = (data.V[data.which][:, :, None] * (data.A @ T.T)[:, None, :] * root).reshape(len(data.which), q * P)
    y = ((data.Y @ T.T) * root).ravel()
    H = Z @ Z.T
    L = linalg.cholesky(H, lower=True, check_finite=False)
    beta = linalg.cho_solve((L, True), Z @ y, check_finite=False)
    r = y - beta @ Z
    value = -0.5 * (log_v + float(r @ r))
    if reml:
        value -= float(np.log(np.diag(L)).sum())
    if not derivatives:
        return Evaluation(value, beta, H, T, np.empty(0), np.empty((0, 0)))
    C = linalg.solve_triangular(L, Z, lower=True, check_finite=False)
    return Evaluation(value, beta, H, T, *_derivatives(data, root, r, C, reml))


def _derivatives(data: RotatedTraits, root: Floats, r: Floats, C: Floats, reml: bool) -> tuple[Floats, Floats]:
    q, P = root.shape
    d = data.d[:, None]
    e = r.reshape(q, P) * root
    slope_g, slope_n = e.T @ (d * e), e.T @ e
    slope_g[np.diag_indices(P)] -= (d * root**2).sum(axis=0)
    slope_n[np.diag_indices(P)] -= (root**2).sum(axis=0) + data.hidden
    if reml:
        seen = C.reshape(-1, q, P) * root
        slope_g += np.tensordot(seen, d * seen, axes=([0, 1], [0, 1]))
        slope_n += np.tensordot(seen, seen, axes=([0, 1], [0, 1]))
    rows, columns = np.triu_indices(P)
    twice = np.where(rows == columns, 0.5, 1.0)
    m = len(rows)
    U = np.zeros((2 * m, q, P))
    for j, (a, b) in enumerate(zip(rows, columns, strict=True)):
        U[m + j, :, a] = e[:, b] * root[:, a]
        U[m + j, :, b] = e[:, a] * root[:, b]
    U[:m] = U[m:] * d
    flat = U.reshape(2 * m, q * P)
    inside = flat @ C.T
    gradient = np.concatenate([twice * slope_g[rows, columns], twice * slope_n[rows, columns]])
    return gradient, 0.5 * (flat @ flat.T - inside @ inside.T)


def _moved(T: Floats, C: Floats, step: Floats) -> Floats:
    """Covariance after a step in the elements a <= b of T C Tᵀ."""
    P = len(T)
    D = np.zeros((P, P))
    D[np.triu_indices(P)] = step
    D = D + np.triu(D, 1).T
    half = np.linalg.solve(T, D)
    out = C + np.linalg.solve(T, half.T)
    return np.asarray(0.5 * (out + out.T))


def maximise(data: RotatedTraits, Cg: Floats, Cn: Floats, reml: bool, tol: float = DECREMENT_TOL
             ) -> tuple[Floats, Floats, Evaluation, bool]:
    """Maximise the likelihood over both matrices from a start at which they are positive definite.

    Returns
    -------
    Cg, Cn, evaluation, converged
        A step that would leave the positive definite matrices is halved; an optimum on the boundary is therefore reported as not
        converged.
    """
    now = evaluate(data, Cg, Cn, reml)
    m = len(now.gradient) // 2
    for _ in range(MAX_STEPS):
        ridge = 1e-12 * np.trace(now.information) / (2 * m)
        step = np.linalg.solve(now.information + ridge * np.eye(2 * m), now.gradient)
        decrement = float(step @ now.gradient)
        if decrement < tol:
            return Cg, Cn, now, True
        share = 1.0
        for _ in range(MAX_HALVINGS):
            newG, newN = _moved(now.T, Cg, share * step[:m]), _moved(now.T, Cn, share * step[m:])
            if np.linalg.eigvalsh(newG)[0] > 0 and np.linalg.eigvalsh(newN)[0] > PD_RTOL * np.trace(newN):
                after = evaluate(data, newG, newN, reml)
                if after.value >= now.value - ROUNDING * abs(now.value):
                    break
            share *= 0.5
        else:
            return Cg, Cn, now, decrement < DECREMENT_STALLED
        Cg, Cn, now = newG, newN, after
    return Cg, Cn, now, decrement < DECREMENT_STALLED
