"""Exploratory structural equation models: rotated factors of S with standard errors from V, and how well they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import ConfigError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import indices as fit_measures
from gsem_spark.methods.sem.esem_fit import EsemFit
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.extraction import (
    Extracted,
    Extraction,
    eigenvalues,
    extract,
    factor_eigenvalues,
    full_weights,
    rotated_model,
)
from gsem_spark.methods.sem.fit import Fit, Source
from gsem_spark.methods.sem.inference import moment_weights, restricted_sandwich, sandwich, standardise_moments
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.parameters import complete_estimates, parameter_table, plain_estimates
from gsem_spark.methods.sem.rotation import (
    ROTATION_STARTS,
    Rotation,
    complex_jacobian,
    rotate,
    stationarity_conditions,
)
from gsem_spark.methods.sem.rotation_criteria import GEOMIN_EPSILON, Criterion, RotationName, criterion_for
from gsem_spark.methods.sem.smooth import smooth_moments

Floats = NDArray[np.float64]
Numbers = NDArray[Any]

FEW_AGREEING: Final = 0.2
"""When fewer of a rotation's starts than this share reach the best minimum, the result says so."""
GEOMIN_SMOOTH: Final = 0.01
"""An epsilon whose intervals held in simulation for errors of .05; with .001 those of some loadings near 0 covered 86 to 99 %."""


def esem(
    cov: CovStruct,
    factors: int = 2,
    rotation: RotationName = "geomin",
    estimation: Extraction = "DWLS",
    *,
    epsilon: float = GEOMIN_EPSILON,
    gamma: float = 0.0,
    target: ArrayLike | pd.DataFrame | None = None,
    orthogonal: bool | None = None,
    starts: int = ROTATION_STARTS,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> EsemFit:
    """Extract and rotate factors of a genetic covariance structure.

    Parameters
    ----------
    cov
        k traits; ``cov.subset([...])`` for some of them.
    factors
        Number m of factors; :func:`gsem_spark.methods.sem.parallel.parallel_analysis` says how many are worth it.
    rotation, epsilon, gamma, target, orthogonal
        See :func:`gsem_spark.methods.sem.rotation_criteria.criterion_for`. A target given as a frame is put in the order of
        the traits.
    estimation
        ``DWLS``, ``ML`` or ``WLS`` (V^-1 as the weights: efficient if V is good, and bad if it is not).
    starts, seed
        Of the rotation.
    names
        Factor names; F1, F2, … by default.

    Returns
    -------
    EsemFit
        A fit that did not converge has that status and NaN for its errors.

    Raises
    ------
    ModelError
        When the traits do not identify so many factors, or S or V cannot be made positive definite.
    ConfigError
        For an unknown rotation, estimation or setting.

    Notes
    -----
    The rotation sees standardised loadings. Rotated estimates are the point on the surface of equally good solutions where
    the stationarity conditions of the criterion hold; their covariance is the sandwich of the moments, with the parameters
    moving along the tangent of those conditions only [Jennrich 1973, Psychometrika 38:593; Asparouhov & Muthén 2009, Struct
    Equ Modeling 16:397].

    Examples
    --------
    >>> import numpy as np
    >>> pattern = np.array([[0.8, 0], [0.7, 0], [0.6, 0], [0, 0.8], [0, 0.7], [0, 0.6]])
    >>> S = pattern @ np.array([[1, 0.3], [0.3, 1]]) @ pattern.T
    >>> np.fill_diagonal(S, 1.0)
    >>> cov = CovStruct.from_matrices(S, np.eye(21) * 1e-4, np.eye(6), list("abcdef"))
    >>> esem(cov, 2, "quartimin").loadings["F1"].round(3).abs().tolist()
    [0.8, 0.7, 0.6, 0.0, 0.0, 0.0]
    """
    if estimation not in get_args(Extraction):
        raise ConfigError(f"estimation {estimation!r} is not known", remedy="use DWLS, ML or WLS")
    wish = _target_in_order(target, cov.traits)
    criterion = criterion_for(
        rotation, (cov.k, factors), epsilon=epsilon, gamma=gamma, target=wish, orthogonal=orthogonal
    )
    labels = _factor_names(names, factors)
    model = rotated_model(cov.traits, labels, orthogonal=criterion.orthogonal)
    moments = smooth_moments(cov.S, cov.V)
    S, V = standardise_moments(moments.S, moments.V)
    found = extract(S, V, factors, estimation)
    sd = np.sqrt(np.sum(found.loadings**2, axis=1) + found.uniquenesses)
    turned = rotate(found.loadings / sd[:, None], criterion, starts=starts, seed=seed)
    theta = _theta(model, turned.loadings * sd[:, None], turned.correlations, found.uniquenesses)
    theta_cov = None
    if found.optimum.converged and turned.converged:
        weights = moment_weights(model.implied(theta), V, "ML") if estimation == "ML" else full_weights(V, estimation)
        theta_cov = rotated_covariance(model, theta, criterion, weights, V)
    return _assembled(model, criterion, Source(cov, moments, theta), found, turned, theta_cov, estimation)


def _target_in_order(target: ArrayLike | pd.DataFrame | None, traits: tuple[str, ...]) -> Floats | None:
    if target is None:
        return None
    if isinstance(target, pd.DataFrame):
        missing = [t for t in traits if t not in target.index]
        if missing:
            raise ConfigError(f"the target has no row for {', '.join(missing)}", remedy="use NaN where nothing is wished for")
        target = target.loc[list(traits)]
    return np.asarray(target, dtype=np.float64)


def _factor_names(names: Sequence[str] | None, factors: int) -> tuple[str, ...]:
    out = tuple(f"F{i + 1}" for i in range(factors)) if names is None else tuple(names)
    if len(out) != factors:
        raise ConfigError(f"there are {len(out)} factor names for {factors} factors")
    return out


# --- errors of rotated parameters ----------------------------------------------------------------------------------------
def rotated_covariance(model: Model, theta: Floats, criterion: Criterion, weights: Floats, V: Floats) -> Floats | None:
    """Return the sampling covariance (q, q), of rank q - constraints, of rotated parameters.

    None where the solution is not determined: the conditions lose rank, or the factors do.
    """
    if len(model.latent) == 1:
        return sandwich(model.jacobian(theta), weights, V)

    def conditions(x: Numbers) -> Numbers:
        loadings, phi, uniquenesses = _parts(model, x)
        sd = np.sqrt(((loadings @ phi) * loadings).sum(axis=1) + uniquenesses)
        return stationarity_conditions(loadings / sd[:, None], phi, criterion)

    constraints = complex_jacobian(conditions, theta)
    scale = np.max(np.abs(constraints), axis=1, keepdims=True)
    tangent = linalg.null_space(constraints / np.where(scale > 0, scale, 1.0), rcond=1e-10)
    if tangent.shape[1] != model.n_free - len(constraints):
        return None
    return restricted_sandwich(model.jacobian(theta), weights, V, tangent)


def _parts(model: Model, theta: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Loadings (k, m), factor correlations (m, m) and uniquenesses (k,) of theta, complex or not."""
    k, size = model.k, len(model.variables)
    rows, columns, directed = model.cells
    free = model.path_index >= 0
    a, p = np.zeros((size, size), theta.dtype), np.eye(size, dtype=theta.dtype)
    one, two = free & directed, free & ~directed
    a[rows[one], columns[one]] = theta[model.path_index[one]]
    p[rows[two], columns[two]] = theta[model.path_index[two]]
    p[columns[two], rows[two]] = theta[model.path_index[two]]
    return a[:k, k:], p[k:, k:], np.diagonal(p)[:k]


def _theta(model: Model, loadings: Floats, phi: Floats, uniquenesses: Floats) -> Floats:
    """Theta (q,) of the rotated model."""
    rows, columns, directed = model.cells
    k, size = model.k, len(model.variables)
    cells = np.zeros((2, size, size))
    cells[0, :k, k:] = loadings
    cells[1, :k, :k] = np.diag(uniquenesses)
    cells[1, k:, k:] = phi
    free = model.path_index >= 0
    out = np.zeros(model.n_free)
    out[model.path_index[free]] = cells[np.where(directed[free], 0, 1), rows[free], columns[free]]
    return out


# --- results -------------------------------------------------------------------------------------------------------------
def _assembled(
    model: Model, criterion: Criterion, source: Source, found: Extracted, turned: Rotation, theta_cov: Floats | None,
    estimation: Extraction,
) -> EsemFit:
    complete = complete_estimates(model, source.standard_theta, theta_cov)
    free = model.path_index >= 0
    at = model.path_index[free]
    values, errors = np.zeros(model.n_free), np.zeros(model.n_free)
    values[at], errors[at] = complete.values[free], complete.errors[free]  # noqa: PD011
    loadings, phi, _ = _parts(model, values)
    loadings_se, phi_se, _ = _parts(model, errors)
    np.fill_diagonal(phi_se, 0.0)
    traits, labels = list(model.observed), list(model.latent)
    S = standardise_moments(source.moments.S, source.moments.V)[0]
    return EsemFit(
        fit=_as_fit(model, source, found, turned, theta_cov, estimation, _bend(criterion, loadings, loadings_se)),
        loadings=pd.DataFrame(loadings, index=traits, columns=labels),
        loadings_se=pd.DataFrame(loadings_se, index=traits, columns=labels),
        correlations=pd.DataFrame(phi, index=labels, columns=labels),
        correlations_se=pd.DataFrame(phi_se, index=labels, columns=labels),
        eigenvalues=eigenvalues(S), factor_eigenvalues=factor_eigenvalues(S, found.uniquenesses),
        rotation=criterion.name, criterion_value=turned.value, starts=turned.starts, agreeing=turned.agreeing,
    )


def _as_fit(
    model: Model, source: Source, found: Extracted, turned: Rotation, theta_cov: Floats | None, estimation: Extraction,
    notes: list[str],
) -> Fit:
    names, end, moments, theta = list(model.observed), found.optimum, source.moments, source.standard_theta
    k, m = model.k, len(model.latent)
    n_free = k * m + k - m * (m - 1) // 2
    scale = _raw_scale(model, np.sqrt(np.diag(moments.S)))
    raw_cov = None if theta_cov is None else theta_cov * np.outer(scale, scale)
    implied = model.implied(theta * scale)
    measures = (
        fit_measures.fit_indices(moments.S, moments.V, implied, n_free) if end.converged
        else fit_measures.no_indices(k, n_free)
    )
    parameters = parameter_table(
        model, plain_estimates(model, theta * scale, raw_cov), plain_estimates(model, theta, theta_cov),
        complete_estimates(model, theta, theta_cov),
    )
    converged = end.converged and turned.converged
    heywood = [
        f"Heywood case: the standardised residual variance of {t} is {u:.3g}, below 0; try fewer factors"
        for t, u in zip(names, found.uniquenesses, strict=True) if u < 0
    ]
    status = (
        "not_converged" if not converged else "singular" if theta_cov is None else "heywood" if heywood
        else "smoothed" if moments.smoothed else "ok"
    )
    return Fit(
        model=model, estimation=cast(Estimation, estimation), status=status, parameters=parameters, indices=measures,
        implied=pd.DataFrame(implied, index=names, columns=names),
        residual=pd.DataFrame(moments.S - implied, index=names, columns=names),
        theta=theta * scale, theta_cov=np.full((theta.size, theta.size), np.nan) if raw_cov is None else raw_cov,
        messages=(*moments.messages, *_ending(found, turned, converged and theta_cov is None), *notes, *heywood),
        converged=converged, gradient_norm=end.gradient_norm, iterations=end.iterations, tried=end.tried, source=source,
    )


def _raw_scale(model: Model, sd: Floats) -> Floats:
    """(q,) factor from the standardised to the raw unit of each parameter."""
    rows, _, directed = model.cells
    out = np.ones(model.n_free)
    for row, one_headed, i in zip(rows, directed, model.path_index, strict=True):
        if i >= 0 and row < model.k:
            out[i] = sd[row] if one_headed else sd[row] ** 2
    return out


def _bend(criterion: Criterion, loadings: Floats, errors: Floats) -> list[str]:
    """A sentence where sampling errors reach over the bend of geomin at 0, which first-order errors do not see."""
    bent = (np.abs(loadings) < 2 * criterion.kink) & (errors > criterion.kink)
    if not bent.any():
        return []
    return [
        f"{int(bent.sum())} loadings near 0 have standard errors up to {errors[bent].max():.2g}, above the root of epsilon "
        f"({criterion.kink:.2g}), where geomin bends: their intervals are approximate; compare with epsilon={GEOMIN_SMOOTH:g}"
    ]


def _ending(found: Extracted, turned: Rotation, singular: bool) -> list[str]:
    out = []
    end = found.optimum
    if not end.converged:
        out.append(
            f"the extraction did not converge: gradient {end.gradient_norm:.2g} after {end.iterations} iterations from "
            f"{len(end.tried)} start(s); try fewer factors"
        )
    elif not turned.converged:
        out.append(f"the rotation is not at a minimum: its conditions miss 0 by {turned.stationarity:.2g}; no standard errors")
    elif singular:
        out.append("the rotated loadings are not determined (two factors are alike, or one is empty); no standard errors")
    if turned.agreeing < FEW_AGREEING * turned.starts:
        out.append(
            f"only {turned.agreeing} of {turned.starts} starts of the rotation reached its best minimum: other rotations are "
            f"nearly as simple; compare with a larger epsilon or another criterion"
        )
    return out
