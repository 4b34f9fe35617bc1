"""Bootstrap of a model of several variance components: kinship, households, slopes; replicates drawn anywhere in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import ConfigError, ConvergenceError
from gsem_spark.methods.lmm.bootstrap import Bootstrap, Kind, check_draws, scaled_residuals
from gsem_spark.methods.lmm.checks import as_design, as_vector
from gsem_spark.methods.lmm.variance_components import (
    Component,
    VarianceComponentFit,
    check_components,
    refit_variance_components,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ComponentModel:
    """A fitted model with all that replicates are drawn from and fitted to; ``split_arrays`` takes it apart for executors.

    Parameters
    ----------
    fit
        From ``fit_variance_components``.
    X
        (n, c) covariates.
    matrices
        (n, n) by component but the residual, in the order of the fit.
    covariances
        Names of those that are covariances of two effects.
    mean, root
        (n,) X b, and the (n, n) lower Cholesky factor of V.
    pool
        (n,) whitened residuals, centred and scaled to unit variance; empty where they are not drawn.
    """

    fit: VarianceComponentFit
    X: Floats
    matrices: dict[str, Floats]
    covariances: tuple[str, ...]
    mean: Floats
    root: Floats
    pool: Floats

    @property
    def components(self) -> list[Component]:
        """All but the residual."""
        return [Component(name, matrix, name in self.covariances) for name, matrix in self.matrices.items()]

    def result(self, replicates: Floats, replicate_se: Floats) -> Bootstrap:
        """Replicates (n, k) from ``component_block``, put together in the order of their numbers, beside the fit itself."""
        fit = self.fit
        estimate = np.concatenate([fit.beta, fit.theta])
        return Bootstrap((*fit.names, *fit.components), estimate, _standard_errors(fit), replicates, replicate_se)


def component_model(fit: VarianceComponentFit, X: ArrayLike | None, components: Sequence[Component], y: ArrayLike | None = None
                    ) -> ComponentModel:
    """What a bootstrap of a fit draws from.

    Parameters
    ----------
    fit
        From ``fit_variance_components``, of ``X`` (n, c) and ``components`` (without the residual).
    y
        (n,) the phenotype; None where residuals are not drawn.

    Raises
    ------
    ConfigError
        When the components are not those of the fit.
    """
    check_components(fit, components)
    design, _ = as_design(X, fit.n)
    V = fit.theta[-1] * np.eye(fit.n)
    for theta, component in zip(fit.theta, components, strict=False):
        V += theta * component.matrix
    root = np.asarray(linalg.cholesky(V, lower=True, overwrite_a=True, check_finite=False))
    mean = design @ fit.beta
    pool = np.empty(0)
    if y is not None:
        pool = scaled_residuals(linalg.solve_triangular(root, as_vector(y) - mean, lower=True, check_finite=False))
    return ComponentModel(fit, design, {c.name: c.matrix for c in components}, tuple(c.name for c in components if c.covariance),
                          mean, root, pool)


def bootstrap_components(
    fit: VarianceComponentFit, X: ArrayLike | None, components: Sequence[Component], n: int = 1000, seed: int = 1,
    kind: Kind = "parametric", y: ArrayLike | None = None,
) -> Bootstrap:
    """Draw phenotypes from a fitted model of several variance components and fit it again to each.

    Parameters
    ----------
    fit
        From ``fit_variance_components``, of ``X`` (n, c) and ``components`` (without the residual); replicates are fitted as it
        was (REML or ML).
    n, seed
        Replicates, and the seed that with a replicate's number makes its stream.
    kind
        ``"parametric"``: y* = X b + L z, z normal, L the Cholesky factor of V. ``"residual"``: z drawn with replacement from
        L⁻¹(y - X b), centred and scaled to unit variance.
    y
        (n,) the phenotype, which residuals are taken from.

    Raises
    ------
    ConfigError
        When ``kind`` is unknown, ``n`` is below 2, the components are not those of the fit, or residuals lack a phenotype.

    Notes
    -----
    A replicate without an optimum is a row of NaN; intervals leave it out.
    """
    check_draws(kind, n)
    model = component_model(fit, X, components, y)
    return model.result(*component_block(model, 0, n, kind, seed))


def component_block(model: ComponentModel, start: int, stop: int, kind: Kind = "parametric", seed: int = 1
                    ) -> tuple[Floats, Floats]:
    """Estimates and standard errors (stop - start, k) of replicates ``start`` to ``stop - 1``; the same bytes in any cut."""
    check_draws(kind)
    if kind == "residual" and not len(model.pool):
        raise ConfigError("residuals are drawn from a phenotype, which was not given", where="y", remedy="give it, as y=…")
    made = [_replicate(model, kind, seed, i) for i in range(start, stop)]
    estimates, ses = (np.array([m[part] for m in made]) for part in range(2))
    return estimates, ses


def _replicate(model: ComponentModel, kind: Kind, seed: int, i: int) -> tuple[Floats, Floats]:
    fit, stream, n = model.fit, np.random.default_rng([seed, i]), len(model.mean)
    z = stream.standard_normal(n) if kind == "parametric" else model.pool[stream.integers(0, n, n)]
    try:
        again = refit_variance_components(model.mean + model.root @ z, model.X, model.components, fit.reml, fit.names, fit.theta)
    except ConvergenceError:
        nothing = np.full(len(fit.beta) + len(fit.theta), np.nan)
        return nothing, nothing
    return np.concatenate([again.beta, again.theta]), _standard_errors(again)


def _standard_errors(fit: VarianceComponentFit) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(np.concatenate([np.diag(fit.beta_cov), np.diag(fit.theta_cov)])))
