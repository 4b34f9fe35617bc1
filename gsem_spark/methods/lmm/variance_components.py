"""Any number of variance components: kinship, household, batch, random slopes; average-information REML or ML.

y ~ N(X b, V), V = sum_k theta_k V_k + theta_e I.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import ConfigError, ConvergenceError, DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.lmm.checks import EXAMPLES, PSD_RTOL, as_design, as_kinship, as_vector
from gsem_spark.methods.lmm.rotation import log_det_cross

Floats = NDArray[np.float64]

RESIDUAL: Final = "residual"
DECREMENT_TOL: Final = 1e-13
DECREMENT_STALLED: Final = 1e-8
MAX_STEPS: Final = 200
MAX_HALVINGS: Final = 40
ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class Component:
    """One term of the covariance.

    Parameters
    ----------
    name
        Of the component.
    matrix
        (n, n) symmetric V_k.
    covariance
        Whether it stands for a covariance of two effects (such as intercept and slope), whose theta may be negative.
    """

    name: str
    matrix: Floats
    covariance: bool = False


@dataclass(frozen=True)
class VarianceComponentFit:
    """A fitted model of several variance components.

    Parameters
    ----------
    components
        Names, the residual last.
    theta, theta_cov
        (K,) variances and their (K, K) covariance by the average information; NaN for components at 0.
    names, beta, beta_cov
        Fixed effects.
    loglik
        Log likelihood with all constants.
    logdet_xx
        Log determinant of XᵀX, which lme4 leaves out of its REML criterion.
    reml, n
        Which likelihood, and samples.
    at_zero
        (K,) whether a variance ended at its bound 0.
    """

    components: tuple[str, ...]
    theta: Floats
    theta_cov: Floats
    names: tuple[str, ...]
    beta: Floats
    beta_cov: Floats
    loglik: float
    logdet_xx: float
    reml: bool
    n: int
    at_zero: NDArray[np.bool_]

    def variance_components(self) -> pd.DataFrame:
        """One row a component: name, variance, se, share of the variances' sum, at_zero."""
        return pd.DataFrame({"name": self.components, "variance": self.theta, "se": np.sqrt(np.diag(self.theta_cov)),
                             "share": self.theta / self.theta.sum(), "at_zero": self.at_zero})

    def fixed_effects(self) -> pd.DataFrame:
        """One row a covariate: name, beta, se, z, p, neglog10p."""
        se = np.sqrt(np.diag(self.beta_cov))
        p, neglog10p = pvalues.from_z(self.beta / se)
        return pd.DataFrame({"name": self.names, "beta": self.beta, "se": se, "z": self.beta / se, "p": p,
                             "neglog10p": neglog10p})

    def criterion(self) -> float:
        """What lme4 prints: -2 log likelihood, under REML without log |XᵀX|."""
        return -2.0 * self.loglik + (self.logdet_xx if self.reml else 0.0)

    def information_criteria(self) -> tuple[float, float]:
        """AIC and BIC from ``criterion``, counting fixed effects and components (also under REML, as lme4 does)."""
        k = len(self.beta) + len(self.theta)
        return self.criterion() + 2 * k, self.criterion() + k * float(np.log(self.n))


def grouping_component(name: str, groups: ArrayLike) -> Component:
    """The component of a grouping factor: 1 for samples of the same group.

    Raises
    ------
    DataError
        When a sample has no group, every sample has its own (the residual), or all are in one.
    """
    values = np.asarray(groups)
    missing = pd.isna(values)
    if missing.any():
        rows = ", ".join(map(str, np.flatnonzero(missing)[:EXAMPLES].tolist()))
        raise DataError(f"{int(missing.sum())} samples have no group (rows {rows})", where=name)
    codes, levels = pd.factorize(values)
    if not 1 < len(levels) < len(values):
        raise DataError(f"{len(levels)} groups of {len(values)} samples cannot be told from "
                        f"{'the residual' if len(levels) > 1 else 'the intercept'}", where=name)
    return Component(name, (codes[:, None] == codes[None, :]).astype(np.float64))


def fit_variance_components(
    y: ArrayLike, X: ArrayLike | None, components: Mapping[str, ArrayLike] | Sequence[Component], reml: bool = True,
    names: Sequence[str] | None = None, start: ArrayLike | None = None,
) -> VarianceComponentFit:
    """Fit a mixed model with any number of variance components and a residual.

    Parameters
    ----------
    y, X
        (n,) phenotype and (n, c) covariates including the intercept (None for it alone).
    components
        ``Component``s, or by name an (n, n) covariance (a kinship) or an (n,) grouping factor (households).
    reml
        Restricted or full maximum likelihood.
    names
        Names of the covariates.
    start
        (K,) variances to start from, the residual's last; by default equal shares of the phenotype's variance.

    Raises
    ------
    DataError
        When an input is not usable.
    ConvergenceError
        When no optimum is found.

    Notes
    -----
    Newton steps with the average information (Gilmour, Thompson & Cullis 1995, Biometrics 51:1440), halved where the likelihood
    would fall; variances that reach 0 are held there while the likelihood falls away from it. The cost is a Cholesky
    factor of V and its inverse a step, n³ operations together.
    """
    values = as_vector(y)
    design, labels = as_design(X, len(values), names)
    return refit_variance_components(values, design, _as_components(components, len(values)), reml, labels, start)


def refit_variance_components(
    y: Floats, X: Floats, components: Sequence[Component], reml: bool, names: tuple[str, ...], start: ArrayLike | None = None,
) -> VarianceComponentFit:
    """``fit_variance_components`` of inputs that have been checked: for replicates of a model that has been fitted."""
    model = _Model(y, X, [np.ascontiguousarray(t.matrix) for t in components], reml)
    free_sign = np.array([t.covariance for t in components] + [False])
    theta = _start(model, free_sign) if start is None else _given_start(start, len(free_sign))
    theta, at, converged, held = _maximise(model, theta, free_sign)
    if not converged:
        raise ConvergenceError(f"variance components {', '.join(t.name for t in components)} have no optimum that could be found",
                               where="fit_variance_components", remedy="leave out a component that is nearly another one")
    cov = np.full((len(theta), len(theta)), np.nan)
    cov[np.ix_(~held, ~held)] = np.linalg.solve(at.information[np.ix_(~held, ~held)], np.eye(int((~held).sum())))
    df = len(y) - (X.shape[1] if reml else 0)
    logdet_xx = log_det_cross(X)
    constants = -0.5 * df * np.log(2 * np.pi) + (0.5 * logdet_xx if reml else 0.0)
    return VarianceComponentFit((*(t.name for t in components), RESIDUAL), theta, cov, names, at.beta, at.beta_cov,
                                float(at.value + constants), logdet_xx, reml, len(y), held)


def check_components(fit: VarianceComponentFit, components: Sequence[Component]) -> None:
    """Refuse components that are not those of a fit."""
    if tuple(c.name for c in components) != fit.components[:-1]:
        raise ConfigError(f"components {[c.name for c in components]} are not those of the fit, {list(fit.components[:-1])}",
                          where="components")


def _as_components(components: Mapping[str, ArrayLike] | Sequence[Component], n: int) -> list[Component]:
    if not isinstance(components, Mapping):
        terms = list(components)
    else:
        terms = []
        for name, given in components.items():
            values = np.asarray(given)
            if values.ndim == 2:
                matrix = as_kinship(values, n)
                low, high = linalg.eigvalsh(matrix, subset_by_index=[0, 0])[0], float(np.trace(matrix))
                if low < -PSD_RTOL * max(high, np.finfo(float).tiny):
                    raise DataError(f"the covariance of {name} is not positive semidefinite, smallest eigenvalue {low:.4g}",
                                    where=name)
                terms.append(Component(name, matrix))
            else:
                terms.append(grouping_component(name, values))
    if not terms:
        raise DataError("no variance component was given", where="components", remedy="fit a linear regression instead")
    for term in terms:
        if term.matrix.shape != (n, n):
            raise DataError(f"component {term.name} has {len(term.matrix)} samples, the phenotype {n}", where=term.name)
    _refuse_alike(terms, n)
    return terms


def _refuse_alike(terms: list[Component], n: int) -> None:
    flat = np.column_stack([t.matrix.ravel() for t in terms] + [np.eye(n).ravel()])
    gram = flat.T @ flat
    root = np.sqrt(np.diag(gram))
    values, vectors = np.linalg.eigh(gram / np.outer(root, root))
    if values[0] < 1e-10:
        labels = [*(t.name for t in terms), RESIDUAL]
        culprits = [labels[k] for k in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1).tolist()]
        raise DataError(f"variance components {', '.join(culprits)} are combinations of one another", where="components",
                        remedy="leave one out")


@dataclass(frozen=True)
class _At:
    value: float
    beta: Floats
    beta_cov: Floats
    gradient: Floats
    information: Floats


@dataclass(frozen=True)
class _Model:
    """Phenotype, design and the matrices of all components but the residual, contiguous."""

    y: Floats
    X: Floats
    matrices: list[Floats]
    reml: bool

    def evaluate(self, theta: Floats) -> _At | None:
        """Likelihood without constants and derivatives; None where V is not positive definite."""
        V = np.zeros((len(self.y), len(self.y)))
        for t, M in zip(theta, self.matrices, strict=False):
            V += t * M
        V[np.diag_indices_from(V)] += theta[-1]
        try:
            L = linalg.cholesky(V, lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            return None
        ViX = linalg.cho_solve((L, True), self.X, check_finite=False)
        H = self.X.T @ ViX
        beta = np.linalg.solve(H, ViX.T @ self.y)
        residual = self.y - self.X @ beta
        e = linalg.cho_solve((L, True), residual, check_finite=False)
        value = -float(np.log(np.diag(L)).sum()) - 0.5 * float(e @ residual)
        if self.reml:
            value -= 0.5 * float(np.linalg.slogdet(H)[1])
        U = np.column_stack([*(M @ e for M in self.matrices), e])
        PU = linalg.cho_solve((L, True), U, check_finite=False)
        PU -= ViX @ np.linalg.solve(H, ViX.T @ U)
        gradient = 0.5 * (U.T @ e - self._traces(L, ViX, H))
        beta_cov = np.asarray(np.linalg.solve(H, np.eye(len(H))), dtype=np.float64)
        return _At(value, np.asarray(beta, dtype=np.float64), beta_cov, gradient, 0.5 * U.T @ PU)

    def _traces(self, L: Floats, ViX: Floats, H: Floats) -> Floats:
        """tr(P V_k) under REML, tr(V⁻¹ V_k) under ML, the residual last; P = V⁻¹ - V⁻¹X (XᵀV⁻¹X)⁻¹ XᵀV⁻¹."""
        weight = linalg.lapack.dpotri(L, lower=1)[0]
        if self.reml:  # cell by cell: where covariates take up most of a V_k, both traces are far larger than their difference
            weight -= ViX @ np.linalg.solve(H, ViX.T)
        half = np.tril(weight)
        half[np.diag_indices_from(half)] *= 0.5
        flat = half.ravel(order="K")  # all V_k are symmetric: the order of axes is of no account
        return 2.0 * np.array([*(flat @ M.ravel(order="K") for M in self.matrices), np.trace(half)])


def _start(model: _Model, free_sign: NDArray[np.bool_]) -> Floats:
    """Equal shares of the residual variance for variances, 0 for covariances."""
    residual = model.y - model.X @ np.linalg.lstsq(model.X, model.y, rcond=None)[0]
    total = float(residual @ residual) / (len(residual) - model.X.shape[1])
    scale = np.array([float(np.trace(M)) / len(residual) for M in model.matrices] + [1.0])
    return np.where(free_sign, 0.0, total / (~free_sign).sum() / np.where(scale > 0, scale, 1.0))


def _given_start(start: ArrayLike, k: int) -> Floats:
    theta = np.array(start, dtype=np.float64)
    if theta.shape != (k,) or not np.isfinite(theta).all():
        raise DataError(f"a start is {k} finite variances, the residual's last; got {theta.tolist()}", where="start")
    return theta


def _maximise(model: _Model, theta: Floats, free_sign: NDArray[np.bool_]) -> tuple[Floats, _At, bool, NDArray[np.bool_]]:
    now = model.evaluate(theta)
    if now is None:
        raise DataError(f"the covariance at the start {theta.tolist()} is not positive definite", where="start",
                        remedy="start from variances above 0")
    held = np.zeros(len(theta), dtype=bool)
    held_before = held
    for _ in range(MAX_STEPS):
        held = ~free_sign & (theta <= 0) & (now.gradient <= 0)
        use = ~held
        step = np.zeros(len(theta))
        step[use] = _newton(now.information[np.ix_(use, use)], now.gradient[use])
        decrement = float(step @ now.gradient)
        if decrement < DECREMENT_TOL:
            return theta, now, True, held
        share = 1.0
        for _ in range(MAX_HALVINGS):
            after_theta = theta + share * step
            after_theta = np.where(free_sign, after_theta, np.maximum(after_theta, 0.0))
            after = model.evaluate(after_theta)
            if after is not None and after.value >= now.value - ROUNDING * abs(now.value):
                break
            share *= 0.5
        else:
            return theta, now, decrement < DECREMENT_STALLED, held
        theta, now, held_before = after_theta, after, held
    return theta, now, decrement < DECREMENT_STALLED, held_before


def _newton(information: Floats, gradient: Floats) -> Floats:
    """Solve for a step after scaling to a unit diagonal: variances of an intercept and of a slope differ by powers of ten."""
    root = np.sqrt(np.diag(information))
    scaled = information / np.outer(root, root)
    return np.asarray(np.linalg.solve(scaled + 1e-12 * np.eye(len(root)), gradient / root) / root)
