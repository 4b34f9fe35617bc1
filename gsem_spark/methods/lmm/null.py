"""The mixed model without a variant: profile likelihood in the heritability, its optimum, and what follows from it.

y = X b + g + e, g ~ N(0, sigmasq hsq K), e ~ N(0, sigmasq (1 - hsq) I). At a given hsq everything else is in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from gsem_spark.errors import DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.lmm.rotation import Rotated, Spectrum, eigen_rotation
from gsem_spark.methods.lmm.statistics import mixture_lrt

Floats = NDArray[np.float64]
ScaleDf = Literal["n-p", "n"]

HSQ_MAX_SINGULAR: Final = 1e5 / (1e5 + 1.0)
"""Upper bound of hsq where the kinship has eigenvalues of 0 (at 1 these directions have no variance): a variance ratio of 1e5,
GEMMA's bound."""
SINGULAR_RTOL: Final = 1e-10
"""A smallest eigenvalue below this share of the largest counts as 0."""
HSQ_GRID: Final = 41
"""Points at which the likelihood is compared before the search, so that a second optimum is not overlooked."""
HSQ_XTOL: Final = 1e-14
HSQ_STEP: Final = 1e-5
"""Step of the central difference of the analytic gradient, for the standard error of hsq."""


@dataclass(frozen=True)
class NullSolution:
    """Everything that follows from a heritability.

    Parameters
    ----------
    hsq
        Share of the kinship's component, sigmasq_g / (sigmasq_g + sigmasq_e), K not normalised.
    beta, beta_cov
        (c,) fixed effects and their (c, c) covariance, sigmasq (Xᵀ H⁻¹ X)⁻¹.
    rss
        Generalised residual sum of squares (y - Xb)ᵀ H⁻¹ (y - Xb).
    sigmasq
        rss / (n - c), or rss / n where asked for.
    logdet_xsx
        log |Xᵀ H⁻¹ X|.
    loglik
        ``log_likelihood`` at this hsq.
    """

    hsq: float
    beta: Floats
    beta_cov: Floats
    rss: float
    sigmasq: float
    logdet_xsx: float
    loglik: float


@dataclass(frozen=True)
class LmmFit:
    """A fitted mixed model.

    Parameters
    ----------
    rotated
        The data it was fitted to.
    reml
        Restricted (True) or full maximum likelihood.
    solution
        Estimates at the optimum.
    hsq_se
        Standard error of hsq from the curvature of its profile likelihood; NaN at a boundary, where it has none.
    at_boundary
        Whether the optimum is the smallest or largest hsq allowed.
    loglik_full
        The log likelihood with all its constants, comparable between programs.
    """

    rotated: Rotated
    reml: bool
    solution: NullSolution
    hsq_se: float
    at_boundary: bool
    loglik_full: float

    @property
    def hsq(self) -> float:
        """Share of the kinship's component, K as given."""
        return self.solution.hsq

    @property
    def beta(self) -> Floats:
        """(c,) fixed effects."""
        return self.solution.beta

    @property
    def se(self) -> Floats:
        """(c,) their standard errors."""
        return np.sqrt(np.diag(self.solution.beta_cov))

    @property
    def sigmasq(self) -> float:
        """Total variance sigmasq_g + sigmasq_e."""
        return self.solution.sigmasq

    @property
    def sigmasq_g(self) -> float:
        """Variance of the kinship's component, per unit of K."""
        return self.hsq * self.sigmasq

    @property
    def sigmasq_e(self) -> float:
        """Residual variance."""
        return (1.0 - self.hsq) * self.sigmasq

    @property
    def loglik(self) -> float:
        """``log_likelihood`` at the optimum, constants dropped."""
        return self.solution.loglik

    def pve(self) -> tuple[float, float]:
        """Share of variance explained with K scaled to a mean eigenvalue of 1, and its standard error (GEMMA's figures).

        GEMMA takes the mean eigenvalue of K centred over the samples: centre K first (``centre_kinship``) to compare.
        """
        t, h = self.rotated.kinship_mean, self.hsq
        scale = h * t + 1.0 - h
        return h * t / scale, self.hsq_se * t / scale**2

    def test_hsq(self) -> pd.DataFrame:
        """Likelihood ratio test of hsq = 0 against its mixture null; see ``statistics.mixture_lrt``."""
        return mixture_lrt("hsq", self.loglik, float(log_likelihood(self.rotated, 0.0, self.reml)[0]))

    def fixed_effects(self) -> pd.DataFrame:
        """One row a covariate: name, beta, se, z, p, neglog10p (Wald, normal) and the 95 % interval."""
        z = self.beta / self.se
        p, neglog10p = pvalues.from_z(z)
        half = 1.959963984540054 * self.se
        return pd.DataFrame({"name": self.rotated.names, "beta": self.beta, "se": self.se, "z": z, "p": p,
                             "neglog10p": neglog10p, "lower": self.beta - half, "upper": self.beta + half})

    def variance_components(self) -> pd.DataFrame:
        """One row: hsq, hsq_se, sigmasq_g, sigmasq_e, sigmasq, loglik, reml, at_boundary, n."""
        return pd.DataFrame([{"hsq": self.hsq, "hsq_se": self.hsq_se, "sigmasq_g": self.sigmasq_g, "sigmasq_e": self.sigmasq_e,
                              "sigmasq": self.sigmasq, "loglik": self.loglik, "reml": self.reml,
                              "at_boundary": self.at_boundary, "n": self.rotated.n}])


@dataclass(frozen=True)
class _Profile:
    """At k heritabilities: rss (k,), logdet_h (k,), A = XᵀH⁻¹X (k, c, c), beta (k, c), residuals and weights (k, q)."""

    rss: Floats
    logdet_h: Floats
    A: Floats
    beta: Floats
    residuals: Floats
    weights: Floats


def _profile(rotated: Rotated, hsq: Floats) -> _Profile:
    scale = hsq[:, None] * rotated.eigenvalues + 1.0 - hsq[:, None]
    with np.errstate(divide="ignore"):
        weights, logdet = 1.0 / scale, np.log(scale).sum(axis=1)
        if rotated.hidden:
            logdet = logdet + rotated.hidden * np.log1p(-hsq)
    weighted = rotated.X * weights[:, :, None]
    A = weighted.transpose(0, 2, 1) @ rotated.X
    beta = np.linalg.solve(A, (rotated.y @ weighted)[:, :, None])[:, :, 0]
    residuals = rotated.y - beta @ rotated.X.T
    return _Profile((weights * residuals**2).sum(axis=1), logdet, A, np.asarray(beta), residuals, weights)


def _check_hsq(rotated: Rotated, hsq: ArrayLike) -> Floats:
    values = np.atleast_1d(np.asarray(hsq, dtype=np.float64))
    if not np.all((values >= 0) & (values <= 1)):
        raise DataError(f"hsq lies in [0, 1], got {values.min():g} to {values.max():g}", where="hsq")
    if values.max() == 1.0 and hsq_max(rotated) < 1.0:
        raise DataError("hsq = 1 leaves no residual variance, but the kinship has eigenvalues of 0", where="hsq",
                        remedy=f"stay at or below {HSQ_MAX_SINGULAR:.8g}")
    return values


def hsq_max(rotated: Rotated) -> float:
    """Largest hsq at which every direction has variance: 1, or a bound just below for a singular kinship."""
    singular = rotated.hidden > 0 or rotated.eigenvalues.min() <= SINGULAR_RTOL * rotated.eigenvalues.max()
    return HSQ_MAX_SINGULAR if singular else 1.0


def log_likelihood(rotated: Rotated, hsq: ArrayLike, reml: bool = True, constants: bool = False) -> Floats:
    """Profile log likelihood at one or many heritabilities.

    Parameters
    ----------
    rotated
        From ``eigen_rotation``.
    hsq
        (k,) or scalar, in [0, 1].
    reml
        Restricted or full likelihood.
    constants
        False: lmmlite's convention, which drops constants. True: the whole log likelihood, equal to GEMMA's.

    Returns
    -------
    ndarray
        (k,) log likelihoods.

    Notes
    -----
    Without constants, -1/2 [log|H| + n log rss] and, for REML, + 1/2 [c log(2 pi rss/(n-c)) + log|XᵀX| - log|XᵀH⁻¹X|]. The
    full ones are -1/2 [n log(2 pi rss/n) + n + log|H|] and -1/2 [v log(2 pi rss/v) + v + log|H| - log|XᵀX| + log|XᵀH⁻¹X|],
    v = n - c (Zhou & Stephens 2012, Nat Genet 44:821, Supplementary Note, eq. 2 and 3).
    """
    values = _check_hsq(rotated, hsq)
    profile = _profile(rotated, values)
    n, c = rotated.n, rotated.c
    v = n - c if reml else n
    restriction = rotated.logdet_xx - np.linalg.slogdet(profile.A)[1] if reml else 0.0
    if constants:
        return np.asarray(-0.5 * (v * np.log(2 * np.pi * profile.rss / v) + v + profile.logdet_h - restriction))
    plain = -0.5 * (profile.logdet_h + n * np.log(profile.rss))
    return np.asarray(plain + 0.5 * (c * np.log(2 * np.pi * profile.rss / (n - c)) + restriction) if reml else plain)


def log_likelihood_gradient(rotated: Rotated, hsq: ArrayLike, reml: bool = True) -> Floats:
    """Derivative of ``log_likelihood`` with respect to hsq, (k,).

    With S' = d - 1: d log|H| = sum S'/S, d rss = -sum S' (residual / S)², d log|XᵀH⁻¹X| = -tr[(XᵀH⁻¹X)⁻¹ XᵀH⁻¹ S' H⁻¹X].
    """
    values = _check_hsq(rotated, hsq)
    profile = _profile(rotated, values)
    slope = rotated.eigenvalues - 1.0
    v = rotated.n - rotated.c if reml else rotated.n
    hidden = rotated.hidden / (1.0 - values) if rotated.hidden else 0.0
    d_logdet = (slope * profile.weights).sum(axis=1) - hidden
    d_rss = -(slope * (profile.weights * profile.residuals) ** 2).sum(axis=1)
    gradient = -0.5 * (d_logdet + v * d_rss / profile.rss)
    if reml:
        weighted = rotated.X * profile.weights[:, :, None]
        d_A = -(weighted * slope[:, None]).transpose(0, 2, 1) @ weighted
        gradient = gradient - 0.5 * np.trace(np.linalg.solve(profile.A, d_A), axis1=1, axis2=2)
    return np.asarray(gradient)


def ml_solution(rotated: Rotated, hsq: float, reml: bool = True, scale_df: ScaleDf = "n-p") -> NullSolution:
    """Fixed effects and variances at a given heritability.

    Parameters
    ----------
    rotated
        From ``eigen_rotation``.
    hsq
        In [0, 1].
    reml
        Which likelihood ``loglik`` is.
    scale_df
        Divisor of sigmasq: ``"n-p"`` (p covariates; unbiased, lmmlite's under ML too) or ``"n"`` (the maximum likelihood one).
    """
    values = _check_hsq(rotated, float(hsq))
    profile = _profile(rotated, values)
    df = rotated.n - rotated.c if scale_df == "n-p" else rotated.n
    sigmasq = float(profile.rss[0] / df)
    cov = sigmasq * np.linalg.solve(profile.A[0], np.eye(rotated.c))
    return NullSolution(float(hsq), profile.beta[0], 0.5 * (cov + cov.T), float(profile.rss[0]), sigmasq,
                        float(np.linalg.slogdet(profile.A[0])[1]), float(log_likelihood(rotated, hsq, reml)[0]))


def fit_lmm(
    K: ArrayLike | Spectrum | Rotated, y: ArrayLike | None = None, X: ArrayLike | None = None, reml: bool = True,
    check_boundary: bool = True, names: list[str] | None = None, scale_df: ScaleDf = "n-p",
) -> LmmFit:
    """Fit a mixed model with one kinship.

    Parameters
    ----------
    K
        (n, n) kinship, its ``Spectrum``, or data already rotated (then ``y`` and ``X`` are left out).
    y, X
        (n,) phenotype and (n, c) covariates including the intercept; X None for an intercept alone.
    reml
        Restricted or full maximum likelihood.
    check_boundary
        Whether hsq may be 0 or its upper bound; without, the nearest inner optimum is given even where an end is better.
    names
        Names of the covariates.
    scale_df
        See ``ml_solution``.

    Raises
    ------
    DataError
        When an input is not usable: see ``checks``.

    Notes
    -----
    The likelihood is compared on a grid of hsq, then the root of its derivative beside the best point is found by Brent's
    method. The bound is 1 for a positive definite kinship. With a singular one the variance ratio stops at 1e5, as in GEMMA:
    under full ML with a centred kinship and an intercept the likelihood grows without limit towards hsq = 1.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> K = np.kron(np.eye(40), np.full((5, 5), 0.5) + 0.5 * np.eye(5))
    >>> y = np.linalg.cholesky(K) @ rng.normal(size=200) + rng.normal(size=200)
    >>> round(fit_lmm(K, y).hsq, 2)
    0.32
    """
    if isinstance(K, Rotated):
        rotated = K
    elif y is None:
        raise DataError("a kinship needs a phenotype to be fitted to", where="y")
    else:
        rotated = eigen_rotation(K, y, X, names)
    hsq, at_boundary = _best_hsq(rotated, reml, check_boundary)
    curvature = 0.0 if at_boundary else _curvature(rotated, hsq, reml)
    return LmmFit(rotated, reml, ml_solution(rotated, hsq, reml, scale_df),
                  float(1.0 / np.sqrt(curvature)) if curvature > 0 else float("nan"), at_boundary,
                  float(log_likelihood(rotated, hsq, reml, constants=True)[0]))


def _best_hsq(rotated: Rotated, reml: bool, check_boundary: bool) -> tuple[float, bool]:
    top = hsq_max(rotated)
    grid = np.linspace(0.0, top, HSQ_GRID)
    values = log_likelihood(rotated, grid, reml)
    best = int(np.argmax(values))

    def gradient(h: float) -> float:
        return float(log_likelihood_gradient(rotated, h, reml)[0])

    low, high = grid[max(best - 1, 0)], grid[min(best + 1, HSQ_GRID - 1)]
    slopes = log_likelihood_gradient(rotated, [low, high], reml)
    if slopes[0] > 0 > slopes[1]:
        hsq = float(optimize.brentq(gradient, low, high, xtol=HSQ_XTOL, rtol=8.9e-16))
    else:
        ends = optimize.minimize_scalar(lambda h: -float(log_likelihood(rotated, h, reml)[0]), bounds=(low, high),
                                        method="bounded", options={"xatol": 1e-12})
        hsq = float(ends.x)
    if check_boundary and best in (0, HSQ_GRID - 1) and values[best] >= log_likelihood(rotated, hsq, reml)[0]:
        return float(grid[best]), True
    return hsq, False


def _curvature(rotated: Rotated, hsq: float, reml: bool) -> float:
    step = min(HSQ_STEP, 0.5 * hsq, 0.5 * (hsq_max(rotated) - hsq))
    if step <= 0:
        return 0.0
    slopes = log_likelihood_gradient(rotated, [hsq - step, hsq + step], reml)
    return float(-(slopes[1] - slopes[0]) / (2 * step))
