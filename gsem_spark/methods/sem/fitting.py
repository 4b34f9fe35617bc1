"""Fit one model to a covariance structure: smooth, check, estimate, standardise, judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import indices as fit_measures
from gsem_spark.methods.sem.estimate import Estimation, Optimum, minimise_from, objective_for
from gsem_spark.methods.sem.fit import Fit, parameter_frame
from gsem_spark.methods.sem.inference import check_identified, moment_weights, sandwich, standardise_moments
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.smooth import SmoothedMoments, smooth_moments
from gsem_spark.methods.sem.starts import alternative_starts, orient_factors, starting_values

Floats = NDArray[np.float64]

HEYWOOD_SLACK: Final = 1e-8
"""A standardised variance this far below 0, or a latent correlation this far above 1, is rounding and no Heywood case."""


@dataclass(frozen=True)
class _Solution:
    optimum: Optimum
    theta_cov: Floats | None


def fit_model(cov: CovStruct, model: Model, estimation: Estimation = "DWLS") -> Fit:
    """Fit a model to S with the sampling covariance V.

    Parameters
    ----------
    cov
        The covariance structure; traits that the model does not use are left aside before anything is smoothed.
    model
        What to fit; its ``observed`` names must be traits of ``cov``.
    estimation
        ``DWLS`` (diagonal weights 1 / diag(V)) or ``ML``. Both get sandwich standard errors and the same chi-square.

    Returns
    -------
    Fit
        A fit that did not converge has that status and NaN for all that needs an optimum; it is never silent.

    Raises
    ------
    ConfigError
        When ``estimation`` is neither.
    ModelError
        When a trait is unknown, S or V cannot be made positive definite, or the model is not identified.

    Notes
    -----
    Source: Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods; the standardised solution is a second fit on S and V
    rescaled by the heritabilities, as GenomicSEM does it.
    """
    if estimation not in get_args(Estimation):
        raise ConfigError(f"estimation {estimation!r} is not known", remedy="use DWLS or ML")
    part = cov.subset(model.observed)
    moments = smooth_moments(part.S, part.V)
    check_identified(model, moments.S, starting_values(model, moments.S))
    raw = _solve(model, moments.S, moments.V, estimation)
    standard_s, standard_v = standardise_moments(moments.S, moments.V)
    standard = _solve(model, standard_s, standard_v, estimation)
    parameters = _parameters(model, raw, standard)
    heywood = heywood_cases(model, standard.optimum.theta) if raw.optimum.converged and standard.optimum.converged else []
    return _assemble(model, estimation, moments, raw, standard, parameters, heywood)


def _solve(model: Model, S: Floats, V: Floats, estimation: Estimation) -> _Solution:
    objective = objective_for(model, S, V, estimation)
    first = starting_values(model, S)
    end = minimise_from(objective, [first, *alternative_starts(model, S, first)])
    theta = orient_factors(model, end.theta, S)
    end = Optimum(theta, end.value, end.gradient_norm, end.iterations, end.converged, end.tried)
    if not end.converged:
        return _Solution(end, None)
    weights = moment_weights(model.implied(theta), V, estimation)
    return _Solution(end, sandwich(model.jacobian(theta), weights, V))


def _parameters(model: Model, raw: _Solution, standard: _Solution) -> pd.DataFrame:
    est, se = model.path_values(raw.optimum.theta), _standard_errors(model, raw)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = est / se
    p, neglog10p = pvalues.from_z(z)
    std_est, std_se, std_all = np.full((3, est.size), np.nan)
    if standard.optimum.converged:
        std_est, std_se = model.path_values(standard.optimum.theta), _standard_errors(model, standard)
        std_all = completely_standardised(model, standard.optimum.theta)
    return parameter_frame({
        "lhs": [path.lhs for path in model.paths], "op": [path.op for path in model.paths],
        "rhs": [path.rhs for path in model.paths], "label": [path.label or "" for path in model.paths],
        "free": model.path_index >= 0, "est": est, "se": se, "z": z, "p": p, "neglog10p": neglog10p,
        "std_est": std_est, "std_se": std_se, "std_all": std_all,
    })


def _standard_errors(model: Model, solution: _Solution) -> Floats:
    """(paths,) standard error of every path's parameter, NaN where fixed or where there is none."""
    if solution.theta_cov is None:
        return np.full(len(model.paths), np.nan)
    return np.append(np.sqrt(np.diag(solution.theta_cov)), np.nan)[model.path_index]


def completely_standardised(model: Model, theta: Floats) -> Floats:
    """(paths,) parameters with every variable, observed and latent, scaled to an implied variance of 1; NaN where it is <= 0."""
    rows, columns, directed = model.cells
    variance = np.diag(model.covariance(theta))
    sd = np.sqrt(np.where(variance > 0, variance, np.nan))
    values = model.path_values(theta)
    return np.where(directed, values * sd[columns] / sd[rows], values / (sd[rows] * sd[columns]))


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
    model: Model, estimation: Estimation, moments: SmoothedMoments, raw: _Solution, standard: _Solution,
    parameters: pd.DataFrame, heywood: list[str],
) -> Fit:
    end = raw.optimum
    names = list(model.observed)
    implied = model.implied(end.theta)
    measures = (
        fit_measures.fit_indices(moments.S, moments.V, implied, model.n_free) if end.converged
        else fit_measures.no_indices(model.k, model.n_free)
    )
    q = model.n_free
    return Fit(
        model=model, estimation=estimation, status=_status(raw, moments, heywood), parameters=parameters, indices=measures,
        implied=pd.DataFrame(implied, index=names, columns=names),
        residual=pd.DataFrame(moments.S - implied, index=names, columns=names),
        theta=end.theta, theta_cov=np.full((q, q), np.nan) if raw.theta_cov is None else raw.theta_cov,
        messages=(*moments.messages, *_ending(raw, standard), *heywood),
        converged=end.converged, gradient_norm=end.gradient_norm, iterations=end.iterations,
    )


def _status(raw: _Solution, moments: SmoothedMoments, heywood: list[str]) -> str:
    if not raw.optimum.converged:
        return "not_converged"
    if raw.theta_cov is None:
        return "singular"
    return "heywood" if heywood else "smoothed" if moments.smoothed else "ok"


def _ending(raw: _Solution, standard: _Solution) -> list[str]:
    out = []
    if not raw.optimum.converged:
        out.append(
            f"the estimation did not converge: gradient {raw.optimum.gradient_norm:.2g} after {raw.optimum.iterations} "
            f"iterations from {len(raw.optimum.tried)} start(s): {'; '.join(raw.optimum.tried)}"
        )
    elif raw.theta_cov is None:
        out.append("the parameters are not identified at the estimate (the Jacobian loses rank there); no standard errors")
    if raw.optimum.converged and not standard.optimum.converged:
        out.append("the fit on the standardised matrices did not converge; the standardised columns are empty")
    return out
