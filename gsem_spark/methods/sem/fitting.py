"""Fit one model to a covariance structure: smooth, check, estimate, standardise, judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import indices as fit_measures
from gsem_spark.methods.sem.constrained import minimise_restricted
from gsem_spark.methods.sem.estimate import Estimation, Optimum, objective_for
from gsem_spark.methods.sem.fit import Fit, Source
from gsem_spark.methods.sem.inference import (
    check_enough_moments,
    check_identified,
    moment_weights,
    restricted_sandwich,
    standardise_moments,
)
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.parameters import Estimates, complete_estimates, parameter_table, plain_estimates
from gsem_spark.methods.sem.smooth import SmoothedMoments, smooth_moments
from gsem_spark.methods.sem.starts import alternative_starts, orient_factors, rescaling, starting_values
from gsem_spark.methods.sem.twin import twin_starts, weak_markers

Floats = NDArray[np.float64]

RUNNING: Final = -3.0
"""Standardised residual variance below which a trait is named where an estimation did not converge."""
HEYWOOD_SLACK: Final = 1e-8
"""A standardised variance this far below 0, or a latent correlation this far above 1, is rounding and no Heywood case."""


@dataclass(frozen=True)
class _Solution:
    optimum: Optimum
    theta_cov: Floats | None
    active: tuple[int, ...]


def fit_model(cov: CovStruct, model: Model, estimation: Estimation = "DWLS", *, notes: Sequence[str] = ()) -> Fit:
    """Fit a model to S with the sampling covariance V.

    Parameters
    ----------
    cov
        The covariance structure; traits that the model does not use are left aside before anything is smoothed.
    model
        What to fit; its ``observed`` names must be traits of ``cov``.
    estimation
        ``DWLS`` (diagonal weights 1 / diag(V)) or ``ML``. Both get sandwich standard errors and the same chi-square.
    notes
        Sentences to put before the fit's own messages.

    Returns
    -------
    Fit
        A fit that did not converge has that status and NaN for all that needs an optimum; it is never silent.

    Raises
    ------
    ConfigError
        When ``estimation`` is neither.
    ModelError
        When a trait is unknown, S or V cannot be made positive definite, the model is not identified, or its constraints
        cannot be met.

    Notes
    -----
    Source: Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods; the standardised solution is a second fit on S and V
    rescaled by the heritabilities, as GenomicSEM does it, under the same constraints; where the model is scale-free that fit is
    the first one rescaled, and is not searched for again. Inequalities that hold with equality at the estimate count as
    equalities for the standard errors, and not for the degrees of freedom.
    """
    if estimation not in get_args(Estimation):
        raise ConfigError(f"estimation {estimation!r} is not known", remedy="use DWLS or ML")
    part = cov if cov.traits == model.observed else cov.subset(model.observed)
    moments = smooth_moments(part.S, part.V)
    check_enough_moments(model)
    if not model.restrictions.empty:  # a bound that holds with equality would hide that there is no other limit
        check_identified(model, moments.S, starting_values(model, moments.S))
    raw = _solve(model, moments.S, moments.V, estimation, starting_values(model, moments.S, close=True))
    if raw.theta_cov is None:
        check_identified(model, moments.S, starting_values(model, moments.S))
    standard = _standardised(model, moments, estimation, raw)
    heywood = heywood_cases(model, standard.optimum.theta) if raw.optimum.converged and standard.optimum.converged else []
    fit = _assemble(model, estimation, moments, raw, standard, heywood)
    at = standard.optimum
    source = Source(part, moments, at.theta if at.converged else np.full(model.n_free, np.nan))
    return replace(fit, messages=(*notes, *fit.messages), source=source)


def _solve(model: Model, S: Floats, V: Floats, estimation: Estimation, first: Floats | None) -> _Solution:
    objective = objective_for(model, S, V, estimation)
    end = minimise_restricted(objective, model.restrictions, _starts(model, S, V, estimation, first))
    theta = orient_factors(model, end.theta, S)
    end = replace(end, theta=theta)
    if not end.converged:
        return _Solution(end, None, ())
    active = model.restrictions.active_inequalities(theta)
    weights = moment_weights(model.implied(theta), V, estimation)
    directions = model.restrictions.null_space(theta, active)
    return _Solution(end, restricted_sandwich(model.jacobian(theta), weights, V, directions), active)


def _standardised(model: Model, moments: SmoothedMoments, estimation: Estimation, raw: _Solution) -> _Solution:
    """The fit on the standardised matrices: known from the first where the model is scale-free, else another estimation."""
    factors, exact = rescaling(model, moments.S)
    end = raw.optimum
    if end.converged and exact:
        covariance = None if raw.theta_cov is None else raw.theta_cov * np.outer(factors, factors)
        return _Solution(replace(end, theta=end.theta * factors), covariance, ())
    S, V = standardise_moments(moments.S, moments.V)
    return _solve(model, S, V, estimation, end.theta * factors if end.converged else None)


def _starts(model: Model, S: Floats, V: Floats, estimation: Estimation, first: Floats | None) -> Iterator[Floats]:
    """The best guess, then others, each made when it is asked for."""
    if first is not None:
        yield first
    usual = starting_values(model, S)
    if first is None or not np.array_equal(first, usual):
        yield usual
    yield from alternative_starts(model, S, usual)
    yield from twin_starts(model, S, V, estimation)


def _parameters(model: Model, raw: _Solution, standard: _Solution) -> pd.DataFrame:
    unstandardised = plain_estimates(model, raw.optimum.theta, raw.theta_cov)
    at = standard.optimum
    if not at.converged:
        return parameter_table(model, unstandardised, Estimates.absent(model), Estimates.absent(model))
    return parameter_table(
        model, unstandardised, plain_estimates(model, at.theta, standard.theta_cov),
        complete_estimates(model, at.theta, standard.theta_cov),
    )


def heywood_cases(model: Model, theta: Floats) -> list[str]:
    """Improper estimates of a standardised solution, one sentence each: negative variances, latent correlations beyond 1."""
    values = model.path_values(theta)
    cases = []
    for path, value in zip(model.paths, values, strict=True):
        if path.op == "~~" and path.lhs == path.rhs and value < -HEYWOOD_SLACK:
            kind = "residual variance" if path.lhs in model.observed else "variance"
            cases.append(f"Heywood case: the standardised {kind} of {path.lhs} is {value:.3g}, below 0")
    covariance = model.covariance(theta)
    for a in range(model.k, len(model.variables)):
        for b in range(model.k, a):
            scale = covariance[a, a] * covariance[b, b]
            if scale > 0 and abs(covariance[a, b]) > (1.0 + HEYWOOD_SLACK) * np.sqrt(scale):
                names = f"{model.variables[b]} and {model.variables[a]}"
                cases.append(f"Heywood case: the correlation of {names} is {covariance[a, b] / np.sqrt(scale):.3f}, beyond 1")
    return cases


def _assemble(
    model: Model, estimation: Estimation, moments: SmoothedMoments, raw: _Solution, standard: _Solution, heywood: list[str],
) -> Fit:
    end = raw.optimum
    names = pd.Index(model.observed)
    implied = model.implied(end.theta)
    measures = (
        fit_measures.fit_indices(moments.S, moments.V, implied, model.n_estimated) if end.converged
        else fit_measures.no_indices(model.k, model.n_estimated)
    )
    q = model.n_free
    return Fit(
        model=model, estimation=estimation, status=_status(raw, moments, heywood),
        parameters=_parameters(model, raw, standard), indices=measures,
        implied=pd.DataFrame(implied, index=names, columns=names),
        residual=pd.DataFrame(moments.S - implied, index=names, columns=names),
        theta=end.theta, theta_cov=np.full((q, q), np.nan) if raw.theta_cov is None else raw.theta_cov,
        messages=(*moments.messages, *_ending(model, estimation, moments, raw, standard), *_on_bounds(model, raw), *heywood),
        converged=end.converged, gradient_norm=end.gradient_norm, iterations=end.iterations, tried=end.tried,
    )


def _status(raw: _Solution, moments: SmoothedMoments, heywood: list[str]) -> str:
    if not raw.optimum.converged:
        return "not_converged"
    if raw.theta_cov is None:
        return "singular"
    return "heywood" if heywood else "smoothed" if moments.smoothed else "ok"


def _on_bounds(model: Model, raw: _Solution) -> list[str]:
    texts = [model.restrictions.inequality_texts[i] for i in raw.active]
    return [
        f"the constraint {text} holds with equality at the estimate; the standard errors take it as an equality, and are too "
        "small where the bound is not certain" for text in texts
    ]


def _runaways(model: Model, theta: Floats, S: Floats) -> list[str]:
    """Name the traits whose residual variance leaves all bounds as the discrepancy falls: the data have no optimum there."""
    share = np.diag(model.matrices(theta)[1])[: model.k] / np.diag(S)
    return [
        f"the discrepancy keeps falling while the residual variance of {name} runs off (it has reached {x:.3g} times the trait's "
        f"variance): the model has no optimum on these data; bound it ({name} ~~ v*{name}; v > .0001), or leave out {name} or "
        "the trait that it resembles most"
        for name, x in zip(model.observed, share, strict=True) if x < RUNNING
    ]


def _ending(
    model: Model, estimation: Estimation, moments: SmoothedMoments, raw: _Solution, standard: _Solution
) -> list[str]:
    out = []
    if not raw.optimum.converged:
        out.append(
            f"the estimation did not converge: gradient {raw.optimum.gradient_norm:.2g} after {raw.optimum.iterations} "
            f"iterations from {len(raw.optimum.tried)} start(s): {'; '.join(raw.optimum.tried)}"
        )
        out += _runaways(model, raw.optimum.theta, moments.S) or weak_markers(model, moments.S, moments.V, estimation)
    elif raw.theta_cov is None:
        out.append("the parameters are not identified at the estimate (the Jacobian loses rank there); no standard errors")
    if raw.optimum.converged and not standard.optimum.converged:
        out.append("the fit on the standardised matrices did not converge; the standardised columns are empty")
    return out
