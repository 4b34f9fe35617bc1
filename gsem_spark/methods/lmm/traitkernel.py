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
BOUNDARY_SHARE: Final = 1e-6
"""A covariance is singular when it makes up less than this share of the variance of some combination of traits."""
STEP_SHARE: Final = 1e-10
"""Each covariance keeps more than this share of every combination's variance in a single step."""
RIDGE: Final = 1e-12
"""Added to the diagonal of the average information, itself scaled to a diagonal of ones."""
ROUNDING: Final = 1e-11
"""What rounding may take away from the log likelihood, for each observation."""


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

    @property
    def mean_d(self) -> float:
        """Mean eigenvalue over all directions, that a share of variance is told by; 1 where all are 0."""
        mean = float(self.d.sum() / (len(self.d) + self.hidden))
        return mean if mean > 0 else 1.0

    def standardised(self, scale: Floats) -> RotatedTraits:
        """The same data with traits divided by ``scale`` (P,), so that effects stay, and eigenvalues of mean 1."""
        return RotatedTraits(self.d / self.mean_d, self.hidden, self.Y / scale, self.V, self.which, self.A / scale)

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
    delta
        (P,) that diagonal.
    gradient, information
        (P(P+1),) and square: by the elements a <= b of T Cg Tᵀ, then of T Cn Tᵀ. Empty where not asked for.
    """

    value: float
    beta: Floats
    precision: Floats
    T: Floats
    delta: Floats
    gradient: Floats
    information: Floats


def trait_rotation(Cg: Floats, Cn: Floats, mean_d: float) -> tuple[Floats, Floats]:
    """The matrix T (P, P) and delta (P,) with T Cn Tᵀ = I and T Cg Tᵀ = diag(delta), Cn positive definite.

    Found from the total mean_d Cg + Cn, which is far from singular where Cn alone is not: an almost singular Cn then costs the
    other combinations of traits no digits.
    """
    genetic = 0.5 * mean_d * (Cg + Cg.T)
    share, Q = linalg.eigh(genetic, genetic + 0.5 * (Cn + Cn.T), check_finite=False)
    rest = np.maximum(1.0 - share, np.finfo(float).eps)
    return np.ascontiguousarray(Q.T / np.sqrt(rest)[:, None]), share / (mean_d * rest)


def smallest_shares(delta: Floats, mean_d: float) -> tuple[float, float]:
    """Smallest share of a combination of traits that is genetic, and that is residual: 0 where that covariance is singular."""
    return float(mean_d * delta.min() / (1.0 + mean_d * delta.min())), float(1.0 / (1.0 + mean_d * delta.max()))


def evaluate(data: RotatedTraits, Cg: Floats, Cn: Floats, reml: bool, derivatives: bool = True, information: bool = True
             ) -> Evaluation:
    """Likelihood, effects, and derivatives (the first alone without ``information``) at two covariances."""
    q, P = data.Y.shape
    T, delta = trait_rotation(Cg, Cn, data.mean_d)
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
        return Evaluation(value, beta, H, T, delta, np.empty(0), np.empty((0, 0)))
    C = linalg.solve_triangular(L, Z, lower=True, check_finite=False)
    e = r.reshape(q, P) * root
    average = _average_information(data, root, e, C) if information else np.empty((0, 0))
    return Evaluation(value, beta, H, T, delta, _gradient(data, root, e, C, reml), average)


def _gradient(data: RotatedTraits, root: Floats, e: Floats, C: Floats, reml: bool) -> Floats:
    q, P = root.shape
    d = data.d[:, None]
    slope_g, slope_n = e.T @ (d * e), e.T @ e
    slope_g[np.diag_indices(P)] -= (d * root**2).sum(axis=0)
    slope_n[np.diag_indices(P)] -= (root**2).sum(axis=0) + data.hidden
    if reml:
        seen = C.reshape(-1, q, P) * root
        slope_g += np.tensordot(seen, d * seen, axes=([0, 1], [0, 1]))
        slope_n += np.tensordot(seen, seen, axes=([0, 1], [0, 1]))
    rows, columns = np.triu_indices(P)
    twice = np.where(rows == columns, 0.5, 1.0)
    return np.concatenate([twice * slope_g[rows, columns], twice * slope_n[rows, columns]])


def _average_information(data: RotatedTraits, root: Floats, e: Floats, C: Floats) -> Floats:
    q, P = root.shape
    rows, columns = np.triu_indices(P)
    m = len(rows)
    U = np.zeros((2 * m, q, P))
    for j, (a, b) in enumerate(zip(rows, columns, strict=True)):
        U[m + j, :, a] = e[:, b] * root[:, a]
        U[m + j, :, b] = e[:, a] * root[:, b]
    U[:m] = U[m:] * data.d[:, None]
    flat = U.reshape(2 * m, q * P)
    inside = flat @ C.T
    return np.asarray(0.5 * (flat @ flat.T - inside @ inside.T))


def _symmetric(step: Floats, P: int) -> Floats:
    """The symmetric matrix (P, P) of its elements a <= b."""
    D = np.zeros((P, P))
    D[np.triu_indices(P)] = step
    return np.asarray(D + np.triu(D, 1).T)


def _moved(T: Floats, C: Floats, step: Floats) -> Floats:
    """Covariance after a step in the elements a <= b of T C Tᵀ."""
    half = np.linalg.solve(T, _symmetric(step, len(T)))
    out = C + np.linalg.solve(T, half.T)
    return np.asarray(0.5 * (out + out.T))


def _stays_inside(at: Evaluation, step: Floats, mean_d: float) -> bool:
    """Whether both covariances keep a share of each combination's variance after a step.

    Told in the coordinates of T, where the scale of the traits plays no part.
    """
    P, m = len(at.T), len(step) // 2
    root = 1.0 / np.sqrt(1.0 + mean_d * at.delta)
    within = np.outer(root, root)
    genetic = mean_d * within * (np.diag(at.delta) + _symmetric(step[:m], P))
    residual = within * (np.eye(P) + _symmetric(step[m:], P))
    return bool(min(np.linalg.eigvalsh(genetic)[0], np.linalg.eigvalsh(residual)[0]) > STEP_SHARE)


def maximise(data: RotatedTraits, Cg: Floats, Cn: Floats, reml: bool, tol: float = DECREMENT_TOL
             ) -> tuple[Floats, Floats, Evaluation, bool]:
    """Maximise the likelihood over both matrices from a start at which they are positive definite.

    Steps and stops are the same on every scale of the traits and of the kinship.

    Returns
    -------
    Cg, Cn, evaluation, converged
        A step that would leave the positive definite matrices is halved, and the search ends where one of the matrices has become
        singular: an optimum on the boundary is reported as not converged.
    """
    now = evaluate(data, Cg, Cn, reml)
    m = len(now.gradient) // 2
    mean_d, rounding = data.mean_d, ROUNDING * (len(data.d) + data.hidden) * data.Y.shape[1]
    for _ in range(MAX_STEPS):
        # elements of an almost singular matrix have information many orders below the rest: a ridge that is not relative to
        # each would hold them where they are, and the decrement would tell of an optimum
        unit = 1.0 / np.sqrt(np.maximum(np.diag(now.information), np.finfo(float).tiny))
        step = unit * np.linalg.solve(unit[:, None] * now.information * unit + RIDGE * np.eye(2 * m), unit * now.gradient)
        decrement = float(step @ now.gradient)
        if decrement < tol:
            return Cg, Cn, now, True
        share = 1.0
        for _ in range(MAX_HALVINGS):
            if _stays_inside(now, share * step, mean_d):
                newG, newN = _moved(now.T, Cg, share * step[:m]), _moved(now.T, Cn, share * step[m:])
                after = evaluate(data, newG, newN, reml)
                if after.value >= now.value - rounding:
                    break
            share *= 0.5
        else:
            return Cg, Cn, now, decrement < DECREMENT_STALLED
        Cg, Cn, now = newG, newN, after
        if min(smallest_shares(now.delta, mean_d)) < BOUNDARY_SHARE:
            return Cg, Cn, now, False
    return Cg, Cn, now, decrement < DECREMENT_STALLED
