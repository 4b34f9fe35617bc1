"""Is a variance 0? Likelihood ratio tests of variance components, against the mixtures that a boundary makes of their null."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.checks import as_design, as_vector
from gsem_spark.methods.lmm.statistics import mixture_lrt
from gsem_spark.methods.lmm.variance_components import (
    Component,
    VarianceComponentFit,
    check_components,
    fit_variance_components,
)

Floats = NDArray[np.float64]


def variance_component_test(full: VarianceComponentFit, reduced: VarianceComponentFit) -> pd.DataFrame:
    """Likelihood ratio test of the one variance that the reduced model leaves out.

    Raises
    ------
    DataError
        When the models do not differ by one component, in their fixed effects under REML, or in their likelihood.

    Notes
    -----
    A variance of 0 lies on the boundary: the null distribution is an equal mixture of chi-square with 0 and 1 degrees of freedom
    (Self & Liang 1987, J Am Stat Assoc 82:605, case 5).
    """
    extra = set(full.components) - set(reduced.components)
    if len(extra) != 1 or set(reduced.components) - set(full.components) or full.reml != reduced.reml or full.n != reduced.n:
        raise DataError(f"the models differ by {', '.join(sorted(extra)) or 'nothing'}; one component is wanted, and the same "
                        "likelihood and samples", where="variance_component_test")
    return mixture_lrt(extra.pop(), full.loglik, reduced.loglik)


def component_tests(fit: VarianceComponentFit, y: ArrayLike, X: ArrayLike | None, components: Sequence[Component]
                    ) -> pd.DataFrame:
    """Likelihood ratio test of every variance but the residual's: the model fitted again without it, against a mixture null.

    Parameters
    ----------
    fit
        From ``fit_variance_components``, of these ``y`` (n,), ``X`` (n, c) and ``components`` (without the residual).

    Returns
    -------
    DataFrame
        ``name stat p neglog10p``, rows in the order of the components. A slope's variance is tested together with its covariance
        with the intercept (Stram & Lee 1994, Biometrics 50:1171, case 3); covariances, and an intercept whose covariance with a
        slope is in the model, have no test of their own: NaN.

    Raises
    ------
    ConfigError
        When the components are not those of the fit.
    ConvergenceError
        When a model without a component has no optimum that could be found.
    """
    check_components(fit, components)
    rows: list[pd.DataFrame] = []
    for k, term in enumerate(components):
        gone = _goes_with(components, k)
        if not gone:
            rows.append(pd.DataFrame([{"name": term.name, "stat": np.nan, "p": np.nan, "neglog10p": np.nan}]))
            continue
        left = [c for j, c in enumerate(components) if j not in gone]
        start = np.delete(fit.theta, gone)
        loglik = _loglik_without(y, X, left, fit.reml, start if start[-1] > 0 else None)
        rows.append(mixture_lrt(term.name, fit.loglik, loglik, len(gone)))
    return pd.concat(rows, ignore_index=True)


def _goes_with(components: Sequence[Component], k: int) -> list[int]:
    """Places of what leaves the model with component k; none where it cannot leave alone."""
    term = components[k]
    tied = [(j, c) for j, c in enumerate(components) if c.covariance]
    if term.covariance or any(c.name.split(":1,")[0] == term.name for _, c in tied):
        return []
    own = [j for j, c in tied if c.name.replace(":1,", ":") == term.name]
    return sorted([k, *own])


def _loglik_without(y: ArrayLike, X: ArrayLike | None, components: Sequence[Component], reml: bool, start: Floats | None
                    ) -> float:
    if components:
        return fit_variance_components(y, X, components, reml, start=start).loglik
    values = as_vector(y)
    design, _ = as_design(X, len(values))
    rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    df = len(values) - (design.shape[1] if reml else 0)
    return float(-0.5 * df * (np.log(2 * np.pi * float(rest @ rest) / df) + 1.0))
