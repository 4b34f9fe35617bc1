"""Point estimation: diagonally weighted least squares and maximum likelihood, to the optimum and not near it.

Both minimise a function f(theta) by damped Newton steps: the exact Hessian where it is positive definite, the Gauss-Newton
(DWLS) or Fisher information (ML) matrix where it is not, a Levenberg-Marquardt damping that keeps each step in the region
where the quadratic model was right [Nocedal & Wright 2006, Numerical Optimization, ch. 4 and 10].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.ram import State
from gsem_spark.methods.vech import vech

Floats = NDArray[np.float64]
Estimation = Literal["DWLS", "ML"]

GRADIENT_TOLERANCE: Final = 1e-11
"""Largest gradient element at the optimum, each in units of its parameter's curvature (for DWLS: of its naive SE)."""
STALL_TOLERANCE: Final = 1e-7
"""Gradient that still counts as converged when rounding stops all progress."""
MAX_ITERATIONS: Final = 300
EPS: Final = float(np.finfo(np.float64).eps)
FIRST_DAMPING: Final = 1e-3
LARGEST_DAMPING: Final = 1e12
SMALLEST_DAMPING: Final = 1e-13
ROUNDING: Final = 1e-13
"""A predicted decrease below this share of f is lost in rounding; the gradient decides instead."""
ML_ROUNDING: Final = 1e-13
"""The same for ML, absolute: its f is a difference of terms of order k, so near 0 it holds no relative precision."""
SADDLE_CURVATURE: Final = -1e-6
SADDLE_STEP: Final = 0.5
MAX_ESCAPES: Final = 5
LOST: Final = -1000.0
"""A residual variance below this many times the trait's variance: f falls towards infinity, and the search is given up."""


@dataclass(frozen=True)
class Derivatives:
    """Gradient (q,), first-order curvature (q, q; positive semidefinite) and exact Hessian (q, q) of f at one theta."""

    gradient: Floats
    information: Floats
    hessian: Floats

    @cached_property
    def scale(self) -> Floats:
        """(q,) square roots of the information's diagonal: parameters times these have unit curvature."""
        diagonal = self.information.diagonal()
        floor = EPS * float(diagonal.max(initial=0.0))
        return np.sqrt(np.maximum(diagonal, floor if floor > 0 else 1.0))


@dataclass
class Memo:
    """The model's matrices at the theta last asked for: value and derivatives are asked for at the same one."""

    theta: Floats | None = None
    last: State | None = None

    def state(self, model: Model, theta: Floats) -> State:
        """The matrices at theta, computed once."""
        if self.last is None or self.theta is None or not (self.theta == theta).all():
            self.theta, self.last = np.array(theta, dtype=np.float64), model.state(theta)
        return self.last


@runtime_checkable
class Guarded(Protocol):
    """An objective that knows when a search has left all reason, so that it need not go on."""

    def lost(self, theta: Floats) -> bool:
        """Whether theta lies where no optimum is looked for any more."""
        ...


class Objective(Protocol):
    """What is minimised."""

    @property
    def rounding(self) -> float:
        """Changes of f below this are noise, whatever f is."""
        ...

    def value(self, theta: Floats) -> float:
        """f(theta); infinite where it is not defined."""
        ...

    def derivatives(self, theta: Floats) -> Derivatives:
        """Gradient and curvatures of f at a theta where it is finite."""
        ...


@dataclass(frozen=True)
class LeastSquares:
    """f = half of (s - sigma)' W (s - sigma).

    Parameters
    ----------
    model
        The model of k variables.
    s
        (k*,) observed covariances, vech order.
    weights
        W, positive definite: (k*, k*), or (k*,) its diagonal where it has no more. DWLS takes 1 / diag(V), WLS V^-1.
    """

    model: Model
    s: Floats
    weights: Floats

    def lost(self, theta: Floats) -> bool:
        """Whether a residual variance has run off."""
        return _ran_off(self.memo.state(self.model, theta), self.variances)

    @cached_property
    def variances(self) -> Floats:
        """(k,) observed variances."""
        rows, columns = self.model.moments
        out: Floats = self.s[rows == columns]
        return out

    @property
    def rounding(self) -> float:
        """None: a sum of squares keeps its relative precision down to 0."""
        return float(np.finfo(np.float64).tiny)

    memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    def value(self, theta: Floats) -> float:
        """f(theta)."""
        residual = self.s - self.model.ram.moments(self.memo.state(self.model, theta))
        return 0.5 * float(residual @ self._weighted(residual))

    def derivatives(self, theta: Floats) -> Derivatives:
        """Gradient, Gauss-Newton matrix and Hessian of f."""
        at, ram = self.memo.state(self.model, theta), self.model.ram
        weighted = self._weighted(self.s - ram.moments(at))
        jacobian = ram.jacobian(at)
        gauss_newton = jacobian.T @ self._weighted(jacobian)
        return Derivatives(-jacobian.T @ weighted, gauss_newton, gauss_newton - ram.moment_curvature(at, weighted))

    def _weighted(self, x: Floats) -> Floats:
        """W x, of a vector or of columns."""
        if self.weights.ndim > 1:
            return self.weights @ x
        return (self.weights * x.T).T


@dataclass(frozen=True)
class MaximumLikelihood:
    """f = half of log|Sigma| + tr(S Sigma^-1) - log|S| - k; S (k, k) positive definite."""

    model: Model
    S: Floats
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    @cached_property
    def log_det(self) -> float:
        """Logarithm of the determinant of S."""
        return float(np.linalg.slogdet(self.S)[1])

    def lost(self, theta: Floats) -> bool:
        """Whether a residual variance has run off."""
        return _ran_off(self.memo.state(self.model, theta), np.diag(self.S))

    @property
    def rounding(self) -> float:
        """Absolute noise of f."""
        return ML_ROUNDING

    def value(self, theta: Floats) -> float:
        """f(theta); infinite where Sigma(theta) is not positive definite."""
        k = self.model.k
        factor = cholesky(self.memo.state(self.model, theta).d[:k, :k])
        if factor is None:
            return float("inf")
        trace = float(np.trace(linalg.lapack.dpotrs(factor, self.S, lower=1)[0]))
        return 0.5 * (2.0 * float(np.sum(np.log(np.diag(factor)))) + trace - self.log_det - k)

    def derivatives(self, theta: Floats) -> Derivatives:
        """Gradient, expected information and Hessian of f."""
        at, k = self.memo.state(self.model, theta), self.model.k
        implied = at.d[:k, :k]
        factor = linalg.cholesky(implied, lower=True)
        inverse = linalg.lapack.dpotrs(factor, np.eye(k), lower=1)[0]
        d = self.model.ram.matrix_derivatives(at, k)
        pull = inverse @ (implied - self.S) @ inverse
        x = inverse @ d
        flat, turned = x.reshape(-1, k * k), x.transpose(0, 2, 1).reshape(-1, k * k)
        expected = 0.5 * flat @ turned.T
        middle = ((inverse @ self.S @ inverse) @ d).reshape(-1, k * k) @ turned.T
        hessian = (middle + middle.T) / 2.0 - expected + 0.5 * self.model.ram.curvature(at, (pull + pull.T) / 2.0)
        return Derivatives(0.5 * d.reshape(-1, k * k) @ pull.T.ravel(), expected, hessian)


@dataclass(frozen=True)
class Optimum:
    """Where a minimisation ended.

    Parameters
    ----------
    theta
        (q,) parameter values.
    value
        f there.
    gradient_norm
        Largest gradient element in curvature units (see ``GRADIENT_TOLERANCE``).
    iterations
        Steps tried, over all starts.
    converged
        Whether the gradient met its tolerance at a point that is no saddle.
    tried
        One sentence for each start that failed before this one.
    """

    theta: Floats
    value: float
    gradient_norm: float
    iterations: int
    converged: bool
    tried: tuple[str, ...] = ()


def _ran_off(at: State, variances: Floats) -> bool:
    return bool((at.p.diagonal()[: variances.size] < LOST * variances).any())


def objective_for(model: Model, S: Floats, V: Floats, estimation: Estimation) -> Objective:
    """Return the function that an estimation of ``model`` on S (k, k), V (k*, k*) minimises."""
    if estimation == "ML":
        return MaximumLikelihood(model, S)
    return LeastSquares(model, vech(S), 1.0 / np.diag(V))


def minimise_from(objective: Objective, starts: Iterable[Floats]) -> Optimum:
    """Minimise from each start in turn until one converges; else the end with the lowest value.

    Parameters
    ----------
    starts
        Starting values (q,), best first; at least one.
    """
    ends: list[Optimum] = []
    for start in starts:
        ends.append(minimise(objective, start))
        if ends[-1].converged:
            break
    return best_of(ends)


def best_of(ends: Sequence[Optimum]) -> Optimum:
    """The last end where it converged, else that with the lowest value; with what was tried before it."""
    best = ends[-1] if ends[-1].converged else min(ends, key=lambda e: (not np.isfinite(e.value), e.value))
    tried = tuple(
        f"start {n}: f = {e.value:.6g}, gradient {e.gradient_norm:.2g} after {e.iterations} iterations"
        for n, e in enumerate(ends, 1) if e is not best or not e.converged
    )
    total = sum(e.iterations for e in ends)
    return Optimum(best.theta, best.value, best.gradient_norm, total, best.converged, tried)


def minimise(objective: Objective, start: Floats) -> Optimum:
    """Minimise from one start; saddle points are left along their direction of negative curvature.

    Returns
    -------
    Optimum
        ``converged`` is False when the iterations run out, the start is not feasible, or no step helps any more.
    """
    theta = np.asarray(start, dtype=np.float64)
    if not math.isfinite(objective.value(theta)):
        return Optimum(theta, float("inf"), float("inf"), 0, False)
    iterations = 0
    for _ in range(MAX_ESCAPES):
        end, here = _descend(objective, theta)
        iterations += end.iterations
        way_out = _way_out_of_saddle(objective, end.theta, here) if end.converged else None
        if way_out is None:
            return Optimum(end.theta, end.value, end.gradient_norm, iterations, end.converged)
        theta = way_out
    return Optimum(end.theta, end.value, end.gradient_norm, iterations, False)


def _descend(objective: Objective, theta: Floats) -> tuple[Optimum, Derivatives]:
    value, here = objective.value(theta), objective.derivatives(theta)
    damping, norm = FIRST_DAMPING, _gradient_norm(here)
    guard = objective if isinstance(objective, Guarded) else None
    for iteration in range(MAX_ITERATIONS):
        if norm <= GRADIENT_TOLERANCE:
            return Optimum(theta, value, norm, iteration, True), here
        step, predicted = _damped_step(here, damping)
        trial = theta + step
        new_value = objective.value(trial)
        in_rounding = predicted <= max(ROUNDING * abs(value), objective.rounding)
        if in_rounding and math.isfinite(new_value):
            there = objective.derivatives(trial)
            if _gradient_norm(there) >= norm:
                return Optimum(theta, value, norm, iteration + 1, norm <= STALL_TOLERANCE), here
            theta, value, here, norm = trial, new_value, there, _gradient_norm(there)
            continue
        ratio = (value - new_value) / predicted if math.isfinite(new_value) else -1.0
        if ratio > 1e-4:
            theta, value, here = trial, new_value, objective.derivatives(trial)
            norm = _gradient_norm(here)
            if guard is not None and guard.lost(theta):
                return Optimum(theta, value, norm, iteration + 1, False), here
            damping = max(damping * 0.1, SMALLEST_DAMPING) if ratio > 0.75 else damping * (4.0 if ratio < 0.25 else 1.0)
        else:
            damping *= 8.0
            if damping > LARGEST_DAMPING:
                return Optimum(theta, value, norm, iteration + 1, norm <= STALL_TOLERANCE), here
    return Optimum(theta, value, norm, MAX_ITERATIONS, False), here


def _gradient_norm(d: Derivatives) -> float:
    return float((np.abs(d.gradient) / d.scale).max(initial=0.0))


def _damped_step(d: Derivatives, damping: float) -> tuple[Floats, float]:
    """Return the damped Newton step (q,) and the decrease of f that its quadratic model promises."""
    scale = d.scale
    unit = scale[:, None] * scale
    gradient = d.gradient / scale
    for curvature in (d.hessian, d.information):
        matrix = curvature / unit
        damped = matrix.copy()
        damped.flat[:: gradient.size + 1] += damping
        factor = cholesky(damped)
        if factor is not None:
            step = -linalg.lapack.dpotrs(factor, gradient, lower=1)[0].ravel()
            return step / scale, float(-(gradient @ step + 0.5 * step @ matrix @ step))
    return -gradient / scale / (1.0 + damping), float(0.5 * gradient @ gradient / (1.0 + damping))


def _way_out_of_saddle(objective: Objective, theta: Floats, here: Derivatives) -> Floats | None:
    scale = here.scale
    curvature = here.hessian / np.outer(scale, scale)
    if cholesky(curvature - SADDLE_CURVATURE * np.eye(theta.size)) is not None:
        return None
    values, vectors = np.linalg.eigh(curvature)
    if not values.size or values[0] >= SADDLE_CURVATURE:
        return None
    value = objective.value(theta)
    length = SADDLE_STEP * max(1.0, float(np.max(np.abs(theta * scale))))
    for _ in range(30):
        for sign in (1.0, -1.0):
            trial = theta + sign * length * vectors[:, 0] / scale
            if objective.value(trial) < value:
                return trial
        length /= 2.0
    return None


def cholesky(x: Floats) -> Floats | None:
    """Lower Cholesky factor, or None where ``x`` is not positive definite."""
    if not math.isfinite(float(x.sum())):
        return None
    factor, info = linalg.lapack.dpotrf(x, lower=1, clean=1)
    return factor if info == 0 else None
