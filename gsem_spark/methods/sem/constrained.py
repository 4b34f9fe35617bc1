"""Estimation under constraints, exact: linear equalities are eliminated, the rest is met by sequential quadratic programming.

Linear equalities A theta = b leave theta = theta_0 + N phi with N a basis of the null space of A, and phi is free. Where the
free optimum meets the inequalities, it is the answer. Else each step solves the quadratic model under the linearised
constraints (a least-distance problem, Lawson & Hanson 1974, ch. 23), damped as the free steps are, with the Hessian of the
Lagrangian; the L1 merit function judges steps [Nocedal & Wright 2006, ch. 18]. The end meets the Karush-Kuhn-Tucker conditions
to the tolerance of the free estimation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import estimate
from gsem_spark.methods.sem.constraints import Function, Restrictions, null_space
from gsem_spark.methods.sem.estimate import Derivatives, Objective, Optimum

Floats = NDArray[np.float64]

FEASIBLE: Final = 1e-9
"""Largest violation of a constraint, its gradient scaled to unit curvature, at a converged point."""
WORTHLESS: Final = 1e-8
"""Constraint violations above this at the best point that least squares finds mean that the constraints contradict each other."""
ACTIVE: Final = 1e-7
"""An inequality with a scaled slack below this is active."""


@dataclass(frozen=True)
class Affine:
    """theta = origin + basis phi: what linear equalities leave free."""

    origin: Floats
    basis: Floats

    @classmethod
    def of(cls, restrictions: Restrictions) -> Affine:
        """Eliminate the linear equalities of these restrictions."""
        a, b = restrictions.linear
        origin: Floats = np.asarray(np.linalg.lstsq(a, b, rcond=None)[0]) if a.size else np.zeros(restrictions.size)
        return cls(origin, null_space(a) if a.size else np.eye(restrictions.size))

    def theta(self, phi: Floats) -> Floats:
        """(q,) theta of phi."""
        out: Floats = self.origin + self.basis @ phi
        return out

    def phi(self, theta: Floats) -> Floats:
        """The phi whose theta lies nearest."""
        out: Floats = self.basis.T @ (theta - self.origin)
        return out


@dataclass(frozen=True)
class Reduced:
    """An objective as a function of phi."""

    objective: Objective
    affine: Affine

    @property
    def rounding(self) -> float:
        """Noise of the objective."""
        return self.objective.rounding

    def value(self, phi: Floats) -> float:
        """f(theta(phi))."""
        return self.objective.value(self.affine.theta(phi))

    def lost(self, phi: Floats) -> bool:
        """Whether the objective's search is lost at theta(phi)."""
        return isinstance(self.objective, estimate.Guarded) and self.objective.lost(self.affine.theta(phi))

    def derivatives(self, phi: Floats) -> Derivatives:
        """Derivatives by phi."""
        d, n = self.objective.derivatives(self.affine.theta(phi)), self.affine.basis
        return Derivatives(n.T @ d.gradient, n.T @ d.information @ n, n.T @ d.hessian @ n)


def minimise_restricted(objective: Objective, restrictions: Restrictions, starts: Iterable[Floats]) -> Optimum:
    """Minimise under constraints from each start in turn until one converges; else the end with the lowest value.

    Parameters
    ----------
    starts
        Starting values (q,), best first; they need not meet the constraints.

    Raises
    ------
    ModelError
        When no theta meets the constraints.
    """
    if restrictions.empty:
        return estimate.minimise_from(objective, starts)
    restrictions.check_possible()
    affine = Affine.of(restrictions)
    reduced, starts = Reduced(objective, affine), list(starts)
    curved = [f for f in restrictions.equalities if not f.is_linear]
    begin = [affine.phi(s) for s in starts]
    if not curved:
        end = _lifted(estimate.minimise_from(reduced, begin), affine)
        if end.converged and all(f.value(end.theta) >= 0 for f in restrictions.inequalities):
            return end
    ends: list[Optimum] = []
    for phi in begin:
        ends.append(_lifted(_sequential(reduced, curved, restrictions.inequalities, phi), affine))
        if ends[-1].converged:
            return estimate.best_of(ends)
    _check_reachable(restrictions, begin, affine)
    return estimate.best_of(ends)


def _lifted(end: Optimum, affine: Affine) -> Optimum:
    return replace(end, theta=affine.theta(end.theta))


def _check_reachable(restrictions: Restrictions, begin: Sequence[Floats], affine: Affine) -> None:
    """Refuse curved constraints that least squares finds no common solution of."""
    every = (*restrictions.equalities, *restrictions.inequalities)
    n_equal = len(restrictions.equalities)

    def missed(phi: Floats) -> Floats:
        values: Floats = np.nan_to_num(np.array([f.value(affine.theta(phi)) for f in every]), nan=1e3)
        values[n_equal:] = np.minimum(values[n_equal:], 0.0)
        return values

    best = min((float(np.max(np.abs(optimize.least_squares(missed, phi).fun))) for phi in begin), default=0.0)
    if best > WORTHLESS:
        texts = "; ".join((*restrictions.equality_texts, *restrictions.inequality_texts))
        raise ModelError(f"these constraints cannot all be met (the nearest point misses one by {best:.3g}): {texts}",
                         remedy="take one of them out, or start a parameter elsewhere with start()")


# --- sequential quadratic programming -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Linearised:
    """Constraints at one phi, in parameters scaled to unit curvature: values and Jacobians."""

    h: Floats
    h_jacobian: Floats
    g: Floats
    g_jacobian: Floats

    @property
    def violation(self) -> float:
        """Sum of what is missed."""
        total = float(np.sum(np.abs(self.h)) + np.sum(np.maximum(-self.g, 0.0)))
        return total if np.isfinite(total) else float("inf")


@dataclass(frozen=True)
class _Point:
    """One iterate with all that a step needs."""

    phi: Floats
    value: float
    here: Derivatives
    scale: Floats
    limits: _Linearised
    multipliers: Floats
    norm: float


class _Problem:
    """The objective and its constraints in phi."""

    def __init__(self, reduced: Reduced, equal: Sequence[Function], above: Sequence[Function]) -> None:
        self.reduced, self.equal, self.above = reduced, tuple(equal), tuple(above)

    def limits(self, phi: Floats, scale: Floats) -> _Linearised:
        theta, n = self.reduced.affine.theta(phi), self.reduced.affine.basis

        def both(functions: Sequence[Function]) -> tuple[Floats, Floats]:
            jacobian = np.array([f.gradient(theta) @ n for f in functions]).reshape(-1, phi.size) / scale
            length = np.linalg.norm(jacobian, axis=1)
            length[~(length > 0)] = 1.0
            return np.array([f.value(theta) for f in functions]) / length, jacobian / length[:, None]

        return _Linearised(*both(self.equal), *both(self.above))

    def point(self, phi: Floats) -> _Point:
        here = self.reduced.derivatives(phi)
        scale = here.scale
        limits = self.limits(phi, scale)
        multipliers = _multipliers(here.gradient / scale, limits)
        pull = limits.h_jacobian.T @ multipliers[: limits.h.size] + limits.g_jacobian.T @ multipliers[limits.h.size:]
        slackness = np.max(np.abs(multipliers[limits.h.size:] * limits.g), initial=0.0)
        norm = max(float(np.max(np.abs(here.gradient / scale - pull), initial=0.0)), float(slackness))
        return _Point(phi, self.reduced.value(phi), here, scale, limits, multipliers, norm)

    def lagrangian_hessian(self, at: _Point) -> Floats:
        """Scaled Hessian of f less multipliers times constraints."""
        theta, n = self.reduced.affine.theta(at.phi), self.reduced.affine.basis
        out = at.here.hessian.copy()
        for f, multiplier in zip((*self.equal, *self.above), at.multipliers, strict=True):
            if multiplier != 0 and not f.is_linear:
                length = float(np.linalg.norm(f.gradient(theta) @ n / at.scale)) or 1.0
                out -= multiplier / length * (n.T @ f.hessian(theta) @ n)
        return np.asarray(out / np.outer(at.scale, at.scale))


def _multipliers(gradient: Floats, limits: _Linearised) -> Floats:
    """Least-squares Lagrange multipliers: of any sign for equalities, not negative for inequalities, 0 for inactive ones."""
    active = limits.g <= ACTIVE
    columns = np.vstack([limits.h_jacobian, limits.g_jacobian[active]]).T
    out = np.zeros(limits.h.size + limits.g.size)
    if columns.size:
        lower = np.r_[np.full(limits.h.size, -np.inf), np.zeros(int(active.sum()))]
        solution = optimize.lsq_linear(columns, gradient, (lower, np.inf), method="bvls", tol=1e-15)
        out[np.r_[np.full(limits.h.size, True), active]] = solution.x
    return out


def _sequential(reduced: Reduced, equal: Sequence[Function], above: Sequence[Function], phi: Floats) -> Optimum:
    if not np.isfinite(reduced.value(phi)):
        return Optimum(phi, float("inf"), float("inf"), 0, False)
    problem = _Problem(reduced, equal, above)
    at, damping, penalty = problem.point(phi), estimate.FIRST_DAMPING, 1.0
    for iteration in range(estimate.MAX_ITERATIONS):
        if at.norm <= estimate.GRADIENT_TOLERANCE and at.limits.violation <= FEASIBLE:
            return Optimum(at.phi, at.value, at.norm, iteration, True)
        step, predicted, price = _quadratic_step(problem, at, damping)
        penalty = max(penalty, 2.0 * price, 2.0 * float(np.max(np.abs(at.multipliers), initial=0.0)))
        trial = _accepted(problem, at, step, predicted, penalty)
        if trial is None:
            damping *= 8.0
            if damping > estimate.LARGEST_DAMPING:
                good = at.norm <= estimate.STALL_TOLERANCE and at.limits.violation <= FEASIBLE
                return Optimum(at.phi, at.value, at.norm, iteration + 1, good)
            continue
        at, damping = trial, max(damping * 0.1, estimate.SMALLEST_DAMPING)
    return Optimum(at.phi, at.value, at.norm, estimate.MAX_ITERATIONS, False)


def _accepted(problem: _Problem, at: _Point, step: Floats, predicted: float, penalty: float) -> _Point | None:
    """The point after a step, with a correction of the constraints' curvature, or None where neither is an improvement."""
    merit = at.value + penalty * at.limits.violation
    promised = predicted + penalty * at.limits.violation
    noise = max(estimate.ROUNDING * abs(merit), problem.reduced.rounding)
    for correct in (False, True):
        move = step + _correction(problem, at, step) if correct else step
        phi = at.phi + move / at.scale
        value = problem.reduced.value(phi)
        if not np.isfinite(value):
            continue
        new = value + penalty * problem.limits(phi, at.scale).violation
        if promised > noise and merit - new > 1e-4 * promised:
            return problem.point(phi)
        if promised <= noise or abs(merit - new) <= noise:
            there = problem.point(phi)
            if max(there.norm, there.limits.violation) < 0.9 * max(at.norm, at.limits.violation):
                return there
    return None


def _correction(problem: _Problem, at: _Point, step: Floats) -> Floats:
    """Shortest step back to the equalities and the inequalities that the step broke."""
    after = problem.limits(at.phi + step / at.scale, at.scale)
    broken = after.g < 0
    rows = np.vstack([at.limits.h_jacobian, at.limits.g_jacobian[broken]])
    missed = np.r_[after.h, after.g[broken]]
    if not rows.size or not np.all(np.isfinite(missed)):
        return np.zeros_like(step)
    return np.asarray(np.linalg.lstsq(rows, -missed, rcond=None)[0])


def _quadratic_step(problem: _Problem, at: _Point, damping: float) -> tuple[Floats, float, float]:
    """Scaled step of the damped quadratic model, the decrease of f it promises, and the largest multiplier of its constraints."""
    gradient, limits = at.here.gradient / at.scale, at.limits
    exact, first_order = problem.lagrangian_hessian(at), at.here.information / np.outer(at.scale, at.scale)
    to_equal = np.linalg.lstsq(limits.h_jacobian, -limits.h, rcond=None)[0] if limits.h.size else np.zeros_like(gradient)
    z = null_space(limits.h_jacobian)
    for matrix in (exact, first_order):
        factor = estimate.cholesky(z.T @ (matrix + damping * np.eye(gradient.size)) @ z)
        if factor is None:
            continue
        pull = z.T @ (gradient + matrix @ to_equal)
        along, price = _least_distance(factor, pull, limits.g_jacobian @ z, limits.g + limits.g_jacobian @ to_equal)
        step = to_equal + z @ along
        return step, float(-(gradient @ step + 0.5 * step @ matrix @ step)), price
    step = to_equal - z @ (z.T @ gradient) / (1.0 + damping)
    return step, float(-gradient @ step / 2.0), 0.0


def _least_distance(factor: Floats, gradient: Floats, rows: Floats, values: Floats) -> tuple[Floats, float]:
    """Minimise g'd + d'LL'd / 2 subject to rows d + values >= 0; where no d does, rows are met as nearly as can be.

    Returns
    -------
    step, price
        d, and the largest Lagrange multiplier.
    """
    free = linalg.solve_triangular(factor, -gradient, lower=True)
    if not values.size:
        return np.asarray(linalg.solve_triangular(factor.T, free, lower=False)), 0.0
    turned = linalg.solve_triangular(factor, rows.T, lower=True).T
    needed = -values - turned @ free
    if np.all(needed <= 0):
        return np.asarray(linalg.solve_triangular(factor.T, free, lower=False)), 0.0
    system = np.vstack([turned.T, needed])
    target = np.append(np.zeros(factor.shape[0]), 1.0)
    weights, _ = optimize.nnls(system, target)
    residual = system @ weights - target
    if -residual[-1] <= np.finfo(np.float64).eps:
        closest = optimize.lsq_linear(rows, np.maximum(-values, 0.0)).x
        return np.asarray(closest), 0.0
    shift = -residual[:-1] / residual[-1]
    multipliers = weights / -residual[-1]
    return np.asarray(linalg.solve_triangular(factor.T, free + shift, lower=False)), float(np.max(multipliers, initial=0.0))
