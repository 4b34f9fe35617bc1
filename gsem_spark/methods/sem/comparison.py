"""Models beside each other: the test of nested ones by the sandwich, a table of several, local differences between groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.sem.constrained import minimise_restricted
from gsem_spark.methods.sem.estimate import objective_for
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.inference import moment_weights
from gsem_spark.methods.sem.starts import alternative_starts, starting_values
from gsem_spark.methods.vech import vech

Floats = NDArray[np.float64]

NESTED: Final = 1e-6
"""Share of its own misfit up to which the larger model must reproduce the smaller one's moments to count as containing it."""


@dataclass(frozen=True)
class NestedTest:
    """Test that the restrictions of the smaller of two nested models hold.

    Parameters
    ----------
    difference
        How much the discrepancy F rises under the restrictions.
    scaling
        Mean of the chi-square weights: what the difference is divided by. Under ML with V of normal theory it is 1.
    chisq, df, p, neglog10p
        The scaled difference and its test.
    """

    difference: float
    scaling: float
    chisq: float
    df: int
    p: float
    neglog10p: float


@dataclass(frozen=True)
class FitTest:
    """A chi-square test of a model."""

    chisq: float
    df: int
    p: float
    neglog10p: float


def nested_test(restricted: Fit, general: Fit) -> NestedTest:
    """Test a model against one that contains it.

    Parameters
    ----------
    restricted, general
        Converged fits of the same estimation to the same covariance structure; ``general`` has fewer degrees of freedom.

    Raises
    ------
    ModelError
        When the fits are not comparable, or the general model cannot reproduce what the restricted one implies.

    Notes
    -----
    The difference of the discrepancies is a sum of one-df chi-squares weighted by the eigenvalues of (U0 - U1) V, U as in
    :mod:`gsem_spark.methods.sem.modification`; dividing by their mean gives it the mean of a chi-square [Satorra 2000, in
    Heijmans et al., Innovations in multivariate statistical analysis, 233-247]. For one restriction this is exact. Nesting is
    checked by fitting the general model to the restricted one's moments [Bentler & Satorra 2010, Psychol Methods 15:111].
    """
    _check_comparable(restricted, general)
    moments = restricted.sources().moments
    at = _reproduced(restricted, general)
    weights = moment_weights(restricted.implied.to_numpy(), moments.V, restricted.estimation)
    root = linalg.cholesky(weights, lower=False)
    inner, outer = (_spanned(root, f, t) for f, t in ((restricted, restricted.theta), (general, at)))
    left = outer - inner @ (inner.T @ outer)
    basis, singular, _ = np.linalg.svd(left, full_matrices=False)
    df = int(restricted.indices["df"] - general.indices["df"])
    basis = basis[:, singular > 1e-6]
    if basis.shape[1] != df:
        raise ModelError(f"the models differ by {df} degrees of freedom but by {basis.shape[1]} directions at the estimate",
                         remedy="one of them loses rank there; look at fit.diagnosis")
    pulled = root.T @ basis
    scaling = float(np.trace(pulled.T @ moments.V @ pulled)) / df
    difference = 2.0 * (_discrepancy(restricted) - _discrepancy(general))
    chisq = max(difference, 0.0) / scaling
    p, neglog10p = pvalues.from_chisq(chisq, df)
    return NestedTest(difference, scaling, chisq, df, float(p), float(neglog10p))


def _check_comparable(restricted: Fit, general: Fit) -> None:
    if restricted.estimation != general.estimation:
        raise ModelError(f"one fit is by {restricted.estimation}, the other by {general.estimation}", remedy="fit both alike")
    if restricted.model.observed != general.model.observed:
        if set(restricted.model.observed) != set(general.model.observed):
            raise ModelError("the models have different traits, so neither contains the other",
                             remedy="add the missing traits with their variances and covariances to the smaller one")
        raise ModelError("the models name their traits in different orders", remedy="write the first formulas in the same order")
    for fit in (restricted, general):
        if not fit.converged:
            raise ModelError("a fit without an optimum cannot be compared", remedy="look at fit.diagnosis")
    if not np.array_equal(restricted.sources().moments.S, general.sources().moments.S):
        raise ModelError("the fits are of different covariance structures")
    if restricted.indices["df"] <= general.indices["df"]:
        raise ModelError(
            f"the restricted model must have more degrees of freedom: {restricted.indices['df']:.0f} against "
            f"{general.indices['df']:.0f}", remedy="give the smaller model first",
        )


def _discrepancy(fit: Fit) -> float:
    moments = fit.sources().moments
    return objective_for(fit.model, moments.S, moments.V, fit.estimation).value(fit.theta)


def _reproduced(restricted: Fit, general: Fit) -> Floats:
    """The general model's theta at the restricted one's implied moments."""
    moments, implied = general.sources().moments, restricted.implied.to_numpy()
    objective = objective_for(general.model, implied, moments.V, general.estimation)
    first = starting_values(general.model, implied)
    starts = [general.theta, first, *alternative_starts(general.model, implied, first)]
    best = min((minimise_restricted(objective, general.model.restrictions, [s]) for s in starts), key=lambda e: e.value)
    if best.value > NESTED * max(_discrepancy(restricted), 1e-6):
        raise ModelError(
            f"the models are not nested: the one with fewer degrees of freedom misses the other's moments by {best.value:.3g}",
            remedy="compare their AIC",
        )
    return best.theta


def _spanned(root: Floats, fit: Fit, theta: Floats) -> Floats:
    """Orthonormal basis of the weighted moments that a model can move at theta."""
    directions = fit.model.restrictions.null_space(theta)
    basis, singular, _ = np.linalg.svd(root @ fit.model.jacobian(theta) @ directions, full_matrices=False)
    return np.asarray(basis[:, singular > 1e-9 * singular[0]])


def residual_test(fit: Fit) -> FitTest:
    """Test a model by its residuals cleared of what the parameters can move: a chi-square whatever the estimation's weights.

    The model chi-square of GenomicSEM (``indices["chisq"]``) takes the residuals as they are. Under DWLS these are not the
    smallest in the metric of V, so its mean lies above df and a right model is rejected too often, the more the weights 1 /
    diag(V) differ from V's inverse. This test has df as its mean.

    Raises
    ------
    ModelError
        For a fit without an optimum.

    Notes
    -----
    e'(V^-1 - V^-1 D (D'V^-1 D)^-1 D'V^-1) e with e the residuals and D the Jacobian along the constraints [Browne 1984, Br J Math
    Stat Psychol 37:62, proposition 4].
    """
    if not fit.converged:
        raise ModelError("a fit without an optimum cannot be tested", remedy="look at fit.diagnosis")
    V = fit.sources().moments.V
    root = np.sqrt(np.diag(V))
    factor = linalg.cholesky(V / np.outer(root, root), lower=True)
    active = fit.model.restrictions.active_inequalities(fit.theta)
    moved = fit.model.jacobian(fit.theta) @ fit.model.restrictions.null_space(fit.theta, active)
    both = np.column_stack([vech(fit.residual.to_numpy()), moved]) / root[:, None]
    whitened = linalg.lapack.dtrtrs(factor, both, lower=1)[0]
    basis = np.linalg.qr(whitened[:, 1:])[0]
    left = whitened[:, 0] - basis @ (basis.T @ whitened[:, 0])
    chisq, df = float(left @ left), int(fit.indices["df"])
    p, neglog10p = pvalues.from_chisq(chisq, df)
    return FitTest(chisq, df, float(p), float(neglog10p))


# --- several models ----------------------------------------------------------------------------------------------------
def compare(fits: Mapping[str, Fit] | Sequence[Fit], n: float | None = None) -> pd.DataFrame:
    """Put several fits into one table, the fewest degrees of freedom last.

    Parameters
    ----------
    fits
        Fits by name, or a list of them (named model1, model2, ...).
    n
        A sample size for BIC = chisq + free log(n). None leaves BIC out: the moments come from summary statistics of cohorts of
        different sizes and from blocks of SNPs, so no N is *the* sample size; ``indices["n_effective"]`` is one to consider.

    Returns
    -------
    DataFrame
        One row a model: ``model estimation traits status n_free df chisq p aic [bic] cfi tli rmsea srmr verdict`` and
        ``delta_chisq delta_df delta_p``: the test against the next model down, by :func:`nested_test`, where that contains it.
    """
    named = dict(fits) if isinstance(fits, Mapping) else {f"model{i}": f for i, f in enumerate(fits, 1)}
    if not named:
        raise DataError("there are no fits to compare")
    order = sorted(named, key=lambda name: (-named[name].indices["df"], name))
    rows = []
    for place, name in enumerate(order):
        fit = named[name]
        below = named[order[place + 1]] if place + 1 < len(order) else None
        columns = ("n_free", "df", "chisq", "p", "aic", "cfi", "tli", "rmsea", "srmr")
        row = {"model": name, "estimation": fit.estimation, "traits": fit.model.k, "status": fit.status,
               **{c: fit.indices[c] for c in columns}, "verdict": fit.verdict["overall"]}
        if n is not None:
            row["bic"] = bic(fit, n)
        rows.append({**row, **_against(fit, below)})
    frame = pd.DataFrame(rows)
    if n is not None:
        frame.insert(list(frame.columns).index("aic") + 1, "bic", frame.pop("bic"))
    return frame


def bic(fit: Fit, n: float) -> float:
    """Bayesian information criterion, chisq + free log(n), for a sample size that the caller names (see :func:`compare`)."""
    return float(fit.indices["chisq"] + fit.indices["n_free"] * np.log(n))


def _against(fit: Fit, below: Fit | None) -> dict[str, float]:
    if below is None:
        return dict.fromkeys(("delta_chisq", "delta_df", "delta_p"), np.nan)
    try:
        test = nested_test(fit, below)
    except (ModelError, DataError):
        return dict.fromkeys(("delta_chisq", "delta_df", "delta_p"), np.nan)
    return {"delta_chisq": test.chisq, "delta_df": float(test.df), "delta_p": test.p}


def local_srmd(
    unconstrained: ArrayLike, constrained: ArrayLike, lhs_variances: ArrayLike, rhs_variances: ArrayLike
) -> float:
    """Local standardised root mean difference: how much equality across groups moves a set of parameters.

    Parameters
    ----------
    unconstrained, constrained
        (groups, h) estimates of h parameters without and with the constraint.
    lhs_variances, rhs_variances
        (groups, h) variances of the two variables of each parameter in each group; they are averaged over the groups.

    Returns
    -------
    float
        The root of the mean over groups and parameters of ((unconstrained - constrained) / (sd_lhs sd_rhs))^2; NaN parameters are
        left out. Source: the measure of GenomicSEM's ``localSRMD`` (Schwaba et al.).
    """
    parts = [np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (unconstrained, constrained, lhs_variances, rhs_variances)]
    if len({p.shape for p in parts}) != 1:
        raise DataError(f"the four arrays must have one shape (groups, parameters), not {[p.shape for p in parts]}")
    free, equal, lhs, rhs = parts
    unit = np.sqrt(lhs.mean(axis=0)) * np.sqrt(rhs.mean(axis=0))
    return float(np.sqrt(np.nanmean(((free - equal) / unit) ** 2)))
