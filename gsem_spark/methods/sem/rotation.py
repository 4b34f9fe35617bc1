"""Rotation of factor loadings to simple structure, and the one order and direction in which factors are reported.

Unrotated loadings A (k, m) of uncorrelated factors, and L = A T'^-1 with factor correlations Phi = T'T, diag(Phi) = 1, give
the same covariances: L Phi L' = A A'. A rotation is the T at which a criterion of L is smallest. It is found by gradient
projection from many starts [Jennrich 2002, Psychometrika 67:7; Bernaards & Jennrich 2005, Educ Psychol Meas 65:676], all
starts at once, and then made exact by Newton steps on the stationarity conditions, which the standard errors rest on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize

from gsem_spark.errors import ConfigError
from gsem_spark.methods.sem.rotation_criteria import Criterion

Floats = NDArray[np.float64]
Numbers = NDArray[Any]

ROTATION_STARTS: Final = 30
"""Starts of a rotation: the given axes and random ones."""
SEARCH_ITERATIONS: Final = 300
SEARCH_TOLERANCE: Final = 1e-4
"""Projected gradient at which the search from all starts ends."""
PROJECTION_ITERATIONS: Final = 5000
PROJECTION_TOLERANCE: Final = 1e-7
"""Projected gradient at which the best start hands over to Newton steps."""
STATIONARY_TOLERANCE: Final = 1e-10
"""Largest stationarity condition of a rotation that counts as found."""
MAX_NEWTON: Final = 25
SAME_MINIMUM: Final = 1e-5
"""Minima whose values differ by less than this share are one."""
COMPLEX_STEP: Final = 1e-30
_MEMORY: Final = 8
_SHORTENINGS: Final = 20
_SUFFICIENT: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Rotation:
    """Rotated loadings.

    Parameters
    ----------
    loadings
        (k, m) pattern loadings L.
    correlations
        (m, m) factor correlations Phi; the unit matrix of an orthogonal rotation.
    value
        The criterion there.
    stationarity
        Largest violation of the stationarity conditions.
    converged
        Whether that is within tolerance.
    starts, agreeing
        How many starts were tried, and how many of them ended at this minimum.
    """

    loadings: Floats
    correlations: Floats
    value: float
    stationarity: float
    converged: bool
    starts: int
    agreeing: int


def rotate(loadings: ArrayLike, criterion: Criterion, *, starts: int = ROTATION_STARTS, seed: int = 0) -> Rotation:
    """Rotate unrotated loadings to the smallest minimum of a criterion found from several starts.

    Parameters
    ----------
    loadings
        (k, m) loadings of uncorrelated factors, standardised (a criterion compares rows).
    criterion
        From :func:`gsem_spark.methods.sem.rotation_criteria.criterion_for`.
    starts
        At least 1: the axes given, then random ones.
    seed
        Of the random starts.

    Returns
    -------
    Rotation
        Factors in :func:`aligned` order and direction. One factor comes back as it is, turned to a positive sum.

    Raises
    ------
    ConfigError
        For loadings that are not a finite matrix, or no start.
    """
    a = np.asarray(loadings, dtype=np.float64)
    if a.ndim != 2 or not np.all(np.isfinite(a)):
        raise ConfigError(f"loadings must be a finite matrix, traits by factors, not an array of shape {a.shape}")
    if starts < 1:
        raise ConfigError(f"a rotation needs at least 1 start, not {starts}")
    m = a.shape[1]
    if m == 1:
        return aligned(Rotation(a, np.eye(1), float(criterion.evaluate(a)[0]), 0.0, True, 1, 1), criterion)
    # The start must not depend on how the unrotated solution happened to be parameterised: principal axes first.
    _, _, axes = np.linalg.svd(a, full_matrices=False)
    principal = a @ axes.T
    transforms, values = _project(principal, criterion, _random_axes(m, starts, seed), SEARCH_ITERATIONS, SEARCH_TOLERANCE)
    best = int(np.argmin(values))
    agreeing = int(np.sum(values - values[best] <= SAME_MINIMUM * max(1.0, abs(values[best]))))
    refined, _ = _project(principal, criterion, transforms[best : best + 1], PROJECTION_ITERATIONS, PROJECTION_TOLERANCE)
    t, stationarity = _polish(principal, criterion, refined[0])
    rotated = _transformed(principal, t)
    value = float(criterion.evaluate(rotated)[0])
    found = Rotation(rotated, t.T @ t, value, stationarity, stationarity <= STATIONARY_TOLERANCE, starts, agreeing)
    return aligned(found, criterion)


def _random_axes(m: int, starts: int, seed: int) -> Floats:
    """(starts, m, m) orthogonal matrices, the first the unit matrix."""
    rng = np.random.default_rng(seed)
    q, r = np.linalg.qr(rng.standard_normal((starts, m, m)))
    out: Floats = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    out[0] = np.eye(m)
    return out


def _transformed(a: Numbers, t: Numbers) -> Numbers:
    """L = A T'^-1, for T (..., m, m)."""
    return np.swapaxes(np.linalg.solve(t, np.broadcast_to(a.T, (*t.shape[:-2], *a.T.shape))), -1, -2)


# --- gradient projection -----------------------------------------------------------------------------------------------
def _project(a: Floats, criterion: Criterion, t: Floats, iterations: int, tolerance: float) -> tuple[Floats, Floats]:
    """Gradient projection from T (n, m, m), each with its own step; returns where they end (n, m, m) and the values (n,).

    Steps have the length of Barzilai & Borwein 1988 (IMA J Numer Anal 8:141), shortened until the value is below the
    largest of the last few ones [Grippo et al. 1986, SIAM J Numer Anal 23:707]: many times fewer steps than with doubling
    and halving.
    """
    value, gradient = _objective(a, criterion, t)
    tangent = _tangent(t, gradient, criterion.orthogonal)
    recent = np.tile(value, (_MEMORY, 1))
    slope = np.sum(tangent**2, axis=(1, 2))
    step = 0.1 / np.sqrt(np.maximum(slope, tolerance**2))
    best_t, best = t.copy(), value.copy()
    live = slope > tolerance**2
    for iteration in range(iterations):
        if not live.any():
            break
        at = np.flatnonzero(live)
        moved, ok = _line_search(a, criterion, t[at], tangent[at], step[at], slope[at], recent[:, at].max(axis=0))
        live[at[~ok]] = False  # no step helps any more: at the precision of the value
        at, (new_t, new_value, new_gradient) = at[ok], (part[ok] for part in moved)
        new_tangent = _tangent(new_t, new_gradient, criterion.orthogonal)
        path, turn = new_t - t[at], new_tangent - tangent[at]
        along = np.abs(np.sum(path * turn, axis=(1, 2)))
        length = np.sum(path**2, axis=(1, 2))
        step[at] = np.clip(np.divide(length, along, out=np.full_like(length, 1.0), where=along > 0), 1e-8, 1e4)
        t[at], value[at], tangent[at] = new_t, new_value, new_tangent
        slope[at] = np.sum(new_tangent**2, axis=(1, 2))
        recent[iteration % _MEMORY, at] = new_value
        better = at[new_value < best[at]]
        best_t[better], best[better] = t[better], value[better]
        live[at] = slope[at] > tolerance**2
    return best_t, best


def _line_search(
    a: Floats, criterion: Criterion, t: Floats, tangent: Floats, step: Floats, slope: Floats, ceiling: Floats
) -> tuple[tuple[Floats, Floats, Floats], NDArray[np.bool_]]:
    """Shorten steps until each lands low enough; returns (T, value, gradient) there and which of them succeeded."""
    step = step.copy()
    out_t, out_value, out_gradient = np.empty_like(t), np.empty(len(t)), np.empty_like(t)
    pending = np.ones(len(t), dtype=bool)
    for _ in range(_SHORTENINGS):
        at = np.flatnonzero(pending)
        trial = _retracted(t[at] - step[at, None, None] * tangent[at], criterion.orthogonal)
        value, gradient = _objective(a, criterion, trial)
        good = value <= ceiling[at] - _SUFFICIENT * step[at] * slope[at]
        done = at[good]
        out_t[done], out_value[done], out_gradient[done] = trial[good], value[good], gradient[good]
        pending[done] = False
        if not pending.any():
            break
        step[pending] *= 0.25
    return (out_t, out_value, out_gradient), ~pending


def _objective(a: Floats, criterion: Criterion, t: Floats) -> tuple[Floats, Floats]:
    """Values (n,) and their gradients by T (n, m, m): -(L' G T^-1)', G the gradient by L."""
    rotated = _transformed(a, t)
    value, by_loadings = criterion.evaluate(rotated)
    inner = np.swapaxes(rotated, 1, 2) @ by_loadings
    return value, -np.linalg.solve(np.swapaxes(t, 1, 2), np.swapaxes(inner, 1, 2))


def _tangent(t: Floats, gradient: Floats, orthogonal: bool) -> Floats:
    """Project the gradient onto the directions in which T may move."""
    if orthogonal:
        inner = np.swapaxes(t, 1, 2) @ gradient
        out: Floats = gradient - t @ ((inner + np.swapaxes(inner, 1, 2)) / 2.0)
        return out
    return np.asarray(gradient - t * np.sum(t * gradient, axis=1, keepdims=True))


def _retracted(t: Numbers, orthogonal: bool) -> Numbers:
    """Bring T back: to the nearest orthogonal matrix, or to columns of length 1."""
    if orthogonal:
        u, _, v = np.linalg.svd(t)
        return np.asarray(u @ v)
    return np.asarray(t / np.sqrt(np.sum(t * t, axis=-2, keepdims=True)))


# --- the exact minimum -------------------------------------------------------------------------------------------------
def stationarity_conditions(loadings: Numbers, correlations: Numbers, criterion: Criterion) -> Numbers:
    """Return what vanishes at a rotated solution: m (m - 1) numbers, half as many for an orthogonal one.

    Parameters
    ----------
    loadings
        (k, m) rotated loadings on the scale on which the criterion saw them; complex numbers are welcome.
    correlations
        (m, m) factor correlations.

    Notes
    -----
    With G the gradient of the criterion by L: L'G Phi^-1 is diagonal [Jennrich 1973, Psychometrika 38:593]; L'G is symmetric
    for an orthogonal rotation [Archer & Jennrich 1973, Psychometrika 38:581].
    """
    inner = loadings.T @ criterion.evaluate(loadings)[1]
    m = loadings.shape[1]
    if criterion.orthogonal:
        return np.asarray((inner - inner.T)[np.triu_indices(m, 1)])
    return np.asarray(np.linalg.solve(correlations, inner.T).T[~np.eye(m, dtype=bool)])


def complex_jacobian(function: Callable[[Numbers], Numbers], x: Floats) -> Floats:
    """Jacobian (outputs, inputs) of an analytic function at x, exact to rounding by imaginary steps.

    Source: Squire & Trapp 1998, SIAM Rev 40:110.
    """
    columns = []
    for i in range(x.size):
        moved = x.astype(np.complex128)
        moved[i] += 1j * COMPLEX_STEP
        columns.append(np.imag(np.ravel(function(moved))) / COMPLEX_STEP)
    return np.column_stack(columns)


def _polish(a: Floats, criterion: Criterion, t: Floats) -> tuple[Floats, float]:
    """Newton steps on the stationarity conditions, from a T near a minimum; each is kept only if it brings them nearer to 0."""
    m = t.shape[0]
    free = np.triu(np.ones((m, m), dtype=bool), 1) if criterion.orthogonal else ~np.eye(m, dtype=bool)

    def moved(base: Floats, x: Numbers) -> Numbers:
        turn = np.zeros((m, m), dtype=x.dtype)
        turn[free] = x
        if criterion.orthogonal:  # Cayley's transform of a skew matrix is orthogonal, and analytic
            turn = turn - turn.T
            return np.asarray(base @ np.linalg.solve(np.eye(m) - turn / 2.0, np.eye(m) + turn / 2.0))
        return _retracted(base @ (np.eye(m) + turn), False)

    def conditions(base: Floats, x: Numbers) -> Numbers:
        there = moved(base, x)
        return stationarity_conditions(_transformed(a, there), there.T @ there, criterion)

    zero = np.zeros(int(free.sum()))
    here = conditions(t, zero)
    for _ in range(MAX_NEWTON):
        if np.max(np.abs(here)) <= STATIONARY_TOLERANCE * 1e-3:
            break
        base = t
        jacobian = complex_jacobian(partial(conditions, base), zero)
        step = np.asarray(linalg.lstsq(jacobian, -here)[0])
        trial = moved(t, step)
        there = conditions(trial, zero)
        if not np.max(np.abs(there)) < np.max(np.abs(here)):
            break
        t, here = trial, there
    return t, float(np.max(np.abs(here)))


# --- order and direction -------------------------------------------------------------------------------------------------
def aligned(rotation: Rotation, criterion: Criterion) -> Rotation:
    """Put factors in their order (most explained variance first) and direction (loadings with a positive sum).

    The general factor of a bifactor rotation stays first; a target decides order and direction itself. Applied twice, it
    changes nothing more.
    """
    loadings, phi = rotation.loadings, rotation.correlations
    m = loadings.shape[1]
    signs = np.ones(m) if criterion.oriented else np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
    explained = np.sum(loadings * (loadings @ phi), axis=0)
    placed = min(criterion.placed, m)
    order = np.r_[np.arange(placed), placed + np.argsort(-explained[placed:], kind="stable")].astype(np.intp)
    return _rearranged(rotation, order, signs[order])


def matched(rotation: Rotation, reference: ArrayLike) -> Rotation:
    """Put factors in the order and direction in which they are most like reference loadings (k, m).

    The assignment with the largest sum of absolute congruence coefficients [Tucker 1951] is taken: for comparing the
    solutions of two samples, or of odd and even chromosomes.
    """
    other = np.asarray(reference, dtype=np.float64)
    if other.shape != rotation.loadings.shape:
        raise ConfigError(f"the reference loadings are {other.shape}, these are {rotation.loadings.shape}")
    congruence = congruence_coefficients(other, rotation.loadings)
    _, order = optimize.linear_sum_assignment(-np.abs(congruence))
    signs = np.where(congruence[np.arange(len(order)), order] < 0, -1.0, 1.0)
    return _rearranged(rotation, np.asarray(order, dtype=np.intp), signs)


def congruence_coefficients(a: ArrayLike, b: ArrayLike) -> Floats:
    """Tucker's congruence of each column of a (k, m) with each column of b (k, n): (m, n) cosines; 0 for empty columns."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    scale = np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))
    return np.divide(x.T @ y, scale, out=np.zeros_like(scale), where=scale > 0)


def _rearranged(rotation: Rotation, order: NDArray[np.intp], signs: Floats) -> Rotation:
    return replace(
        rotation, loadings=rotation.loadings[:, order] * signs,
        correlations=rotation.correlations[np.ix_(order, order)] * np.outer(signs, signs),
    )
