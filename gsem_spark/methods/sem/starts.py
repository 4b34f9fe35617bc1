"""Where an estimation starts: values that lie in the right region for factor models of any sign pattern."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sem.constraints import MET_TOLERANCE
from gsem_spark.methods.sem.model import Model

Floats = NDArray[np.float64]
Weights = tuple[list[int], Floats]

RESIDUAL_SHARE: Final = 0.5
"""Share of a variable's variance that starts as residual variance."""
LATENT_SHARE: Final = 0.5
"""Share of the marker's variance that starts as the variance of a factor scaled by it."""
SMALLEST_LOADING: Final = 0.1
LARGEST_LOADING: Final = 0.9
"""A standardised loading starts between these, lest a factor vanish, or leave no residual, at the start."""
SMALLEST_SHARE: Final = 0.1
"""A residual variance starts with at least this share of the variance."""
LARGEST_CORRELATION: Final = 0.9
"""Factors start with a correlation between this and its negative."""


def starting_values(model: Model, S: Floats, *, close: bool = False) -> Floats:
    """Start theta (q,) for a model of the covariances S (k, k).

    Loadings come from the first eigenvector of the indicators' correlations, so that indicators which correlate negatively
    start with opposite signs; residual variances are half of the variances; covariances and regressions start at zero. A
    path's own ``start`` goes before all of this.

    With ``close``, loadings are the closed-form estimates of one factor alone, and residual variances and the factors'
    covariances what follows from them: near the optimum where traits belong to one factor each, and no better than the usual
    start where they do not.
    """
    observed = {name: i for i, name in enumerate(model.observed)}
    variance = np.abs(np.diag(S)).tolist()
    latent_variance = {p.lhs: p.fixed for p in model.paths if p.op == "~~" and p.lhs == p.rhs and p.lhs not in observed}
    loadings, weights = _loadings(model, S, observed, latent_variance, close)
    explained = _explained(model, weights, observed) if close else {}
    theta = np.zeros(model.n_free)
    filled = np.zeros(model.n_free, dtype=bool)
    for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
        if i < 0 or filled[i]:
            continue
        filled[i] = True
        if path.start is not None:
            theta[i] = path.start
        elif path.op == "=~":
            theta[i] = loadings.get((path.lhs, path.rhs), 1.0)
        elif path.op == "~~" and path.lhs == path.rhs:
            if path.lhs in observed:
                own = variance[observed[path.lhs]]
                theta[i] = max(own - explained[path.lhs], SMALLEST_SHARE * own) if path.lhs in explained else RESIDUAL_SHARE * own
            else:
                theta[i] = loadings.get((path.lhs, path.lhs), LATENT_SHARE)
        elif close and path.op == "~~" and path.lhs in weights and path.rhs in weights:
            theta[i] = _covariance(S, weights[path.lhs], weights[path.rhs]) * np.sqrt(
                loadings[(path.lhs, path.lhs)] * loadings[(path.rhs, path.rhs)]
            )
    return theta


def _loadings(
    model: Model, S: Floats, observed: dict[str, int], latent_variance: dict[str, float | None], close: bool
) -> tuple[dict[tuple[str, str], float], dict[str, Weights]]:
    """Starts, and what they come from.

    Returns
    -------
    starts
        Of each (factor, indicator) loading, and under (factor, factor) of a free factor variance.
    weights
        By factor, places of its observed indicators and their loadings on it at variance 1.
    """
    out: dict[tuple[str, str], float] = {}
    weights: dict[str, Weights] = {}
    for factor in model.latent:
        paths = [p for p in model.paths if p.op == "=~" and p.lhs == factor and p.rhs in observed]
        if not paths:
            continue
        at = [observed[p.rhs] for p in paths]
        sd = np.sqrt(np.abs(np.diag(S)[at]))
        correlation = S[np.ix_(at, at)] / (sd[:, None] * sd)
        values = (_one_factor(correlation) if close else _first_direction(correlation)) * sd
        weights[factor] = (at, values)
        marker = next((n for n, p in enumerate(paths) if p.fixed is not None and p.fixed != 0), None)
        scale = 1.0
        if marker is not None:
            scale = float(values[marker]) / float(paths[marker].fixed or 1.0)
        elif (fixed := latent_variance.get(factor)) is not None and fixed > 0:
            scale = float(np.sqrt(fixed))
        out[(factor, factor)] = scale**2
        for path, value in zip(paths, values.tolist(), strict=True):
            out[(factor, path.rhs)] = value / scale
    return out, weights


def _explained(model: Model, weights: dict[str, Weights], observed: dict[str, int]) -> dict[str, float]:
    """Variance that its factor explains, of each trait that loads on one factor and hangs on nothing else."""
    counts: dict[str, int] = {}
    for path in model.paths:
        if path.op != "~~" and path.fixed != 0:
            to = path.rhs if path.op == "=~" else path.lhs
            counts[to] = counts.get(to, 0) + 1
    names = list(observed)
    return {
        names[i]: value**2 for at, values in weights.values() for i, value in zip(at, values.tolist(), strict=True)
        if counts.get(names[i]) == 1
    }


def _covariance(S: Floats, one: Weights, two: Weights) -> float:
    """Least-squares correlation of two factors of variance 1 with these loadings."""
    (rows, left), (columns, right) = one, two
    value = float(left @ S[np.ix_(rows, columns)] @ right) / float((left @ left) * (right @ right))
    return min(max(value, -LARGEST_CORRELATION), LARGEST_CORRELATION)


def _one_factor(correlation: Floats) -> Floats:
    """Standardised loadings (n,) of one factor from all triads [Spearman 1927, The abilities of man, appendix]."""
    between = correlation - np.diag(np.diag(correlation))
    sums = between.sum(axis=0)
    rest = 0.5 * sums.sum() - sums  # correlations of the others among themselves
    n = sums.size
    if n < 3 or not (between.sum() > 0 and rest.min() > 0) or (between < 0).any():
        return _first_direction(correlation)
    square = (sums**2 - (between**2).sum(axis=0)) / (2.0 * rest)
    out: Floats = np.sqrt(np.minimum(np.maximum(square, SMALLEST_LOADING**2), LARGEST_LOADING**2))
    return out


def _first_direction(correlation: Floats) -> Floats:
    """Standardised loadings (n,) of the first principal axis, shrunk, most of them positive."""
    values, vectors = np.linalg.eigh(correlation)
    n = correlation.shape[0]
    size = math.sqrt(max(values[-1] - 1.0, 0.0) * n / max(n - 1, 1)) if n > 1 else math.sqrt(LATENT_SHARE)
    direction = vectors[:, -1] * (1.0 if vectors[:, -1].sum() >= 0 else -1.0)
    raw = direction * max(size, SMALLEST_LOADING * math.sqrt(n))
    shrunk = np.minimum(np.maximum(np.abs(raw), SMALLEST_LOADING), LARGEST_LOADING)
    return np.where(raw >= 0, shrunk, -shrunk)


def alternative_starts(model: Model, S: Floats, first: Floats) -> list[Floats]:
    """Further starts (q,) for when the first fails: loadings weaker and stronger, residual variances to match."""
    observed = {name: i for i, name in enumerate(model.observed)}
    out = []
    for shrink, share in ((0.5, 0.85), (1.3, 0.25), (0.2, 0.95)):
        theta = first.copy()
        for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
            if i < 0 or path.start is not None:
                continue
            if path.op == "=~":
                theta[i] = first[i] * shrink
            elif path.op == "~~" and path.lhs == path.rhs and path.lhs in observed:
                theta[i] = share * abs(S[observed[path.lhs], observed[path.lhs]])
        out.append(theta)
    return out


def orient_factors(model: Model, theta: Floats, S: Floats) -> Floats:
    """Return the same solution with every free-floating factor turned so that its standardised loadings have a positive sum.

    A factor whose direction a fixed path decides, or that cannot be turned without moving a parameter shared with others,
    stays as it is.
    """
    sd = dict(zip(model.observed, np.sqrt(np.diag(S)), strict=True))
    out = theta.copy()
    for factor in model.latent:
        values = model.path_values(out)
        mass = sum(v / sd.get(p.rhs, 1.0) for p, v in zip(model.paths, values, strict=True) if p.op == "=~" and p.lhs == factor)
        if mass >= 0:
            continue
        turned = _turned(model, out, factor)
        if turned is not None:
            out = turned
    return out


def _turned(model: Model, theta: Floats, factor: str) -> Floats | None:
    touches = np.array([(p.lhs == factor) != (p.rhs == factor) for p in model.paths])
    free = model.path_index >= 0
    if any(p.fixed for p, t in zip(model.paths, touches, strict=True) if t and p.fixed is not None):
        return None
    mine, others = set(model.path_index[touches & free].tolist()), set(model.path_index[~touches & free].tolist())
    if mine & others:
        return None
    out = theta.copy()
    out[sorted(mine)] *= -1.0
    limits = model.restrictions
    return None if limits.violation(out) > limits.violation(theta) + MET_TOLERANCE else out


def rescaling(model: Model, S: Floats) -> tuple[Floats, bool]:
    """What takes each parameter (q,) from S to the correlations of S, and whether the model fits both alike.

    Observed variables are divided by their standard deviations; a factor with a fixed loading follows its marker. Where every
    path that this scales is its own free parameter, any theta and its rescaled self imply the same moments, these rescaled: the
    estimates on the correlations and their errors then follow, for DWLS and ML, and need no second estimation [Browne 1982, in
    Hawkins, Topics in applied multivariate analysis, 72-141].
    """
    scale = dict(zip(model.observed, np.sqrt(np.diag(S)).tolist(), strict=True))
    markers = [p for p in model.paths if p.op == "=~" and p.fixed is not None and p.fixed != 0]
    for _ in model.latent:  # a factor of factors follows one that follows its own marker
        for path in markers:
            if path.lhs not in scale and path.rhs in scale:
                scale[path.lhs] = scale[path.rhs]
    exact = model.restrictions.empty
    factors: list[float | None] = [None] * model.n_free
    for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
        lhs, rhs = scale.get(path.lhs, 1.0), scale.get(path.rhs, 1.0)
        factor = lhs / rhs if path.op == "=~" else rhs / lhs if path.op == "~" else 1.0 / (lhs * rhs)
        if i < 0:
            exact = exact and (path.fixed == 0 or factor == 1.0)
            continue
        exact = exact and (factors[i] is None or factors[i] == factor)
        factors[i] = factor
    return np.array(factors, dtype=np.float64), exact
