"""The parameter table of a fitted model: every path and every defined parameter, on three scales, each with its errors.

Unstandardised; from a second fit on the standardised S and V (GenomicSEM's STD_Genotype); and that second fit with the factors
standardised too (STD_All). Errors of the last, and of defined parameters, are by the delta method with exact derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.methods import pvalues
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.fit import parameter_frame
from gsem_spark.methods.sem.model import Model

Floats = NDArray[np.float64]

ZERO_SE: Final = 1e-12
"""A standard error below this share of the estimate's size is a zero that constraints force, and is not shown."""


@dataclass(frozen=True)
class Estimates:
    """Values (n,) with standard errors (n,), paths first, then defined parameters; NaN where there is none."""

    values: Floats
    errors: Floats

    def __iter__(self) -> Iterator[Floats]:
        """Values, then errors."""
        return iter((self.values, self.errors))

    @classmethod
    def absent(cls, model: Model) -> Estimates:
        """All NaN."""
        missing = np.full(len(model.paths) + len(model.defined), np.nan)
        return cls(missing, missing)


def parameter_table(model: Model, raw: Estimates, standard: Estimates, complete: Estimates) -> pd.DataFrame:
    """Put the three scales side by side, one row a path or defined parameter."""
    (est, se), on_standard, on_complete = (tuple(e) for e in (raw, standard, complete))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = est / se
    p, neglog10p = pvalues.from_z(z)
    paths, defined = model.paths, model.defined
    return parameter_frame({
        "lhs": [*(p.lhs for p in paths), *(d.name for d in defined)],
        "op": [*(p.op for p in paths), *(":=" for _ in defined)],
        "rhs": [*(p.rhs for p in paths), *(ex.to_text(d.expression) for d in defined)],
        "label": [*(p.label or p.constant or "" for p in paths), *(d.name for d in defined)],
        "free": np.r_[model.path_index >= 0, np.zeros(len(defined), dtype=bool)],
        "est": est, "se": se, "z": z, "p": p, "neglog10p": neglog10p,
        "std_est": on_standard[0], "std_se": on_standard[1], "std_all": on_complete[0], "std_all_se": on_complete[1],
    })


def plain_estimates(model: Model, theta: Floats, theta_cov: Floats | None) -> Estimates:
    """Parameters as they are, in the units of the fitted matrices."""
    return _with_defined(model, model.path_values(theta), model.value_derivatives(), theta_cov)


def complete_estimates(model: Model, theta: Floats, theta_cov: Floats | None) -> Estimates:
    """Parameters with every variable, observed and latent, scaled to an implied variance of 1.

    Defined parameters are evaluated at the standardised values of the paths that carry their labels, as lavaan does.
    """
    values, derivatives = _completely_standardised(model, theta)
    return _with_defined(model, values, derivatives, theta_cov)


def completely_standardised(model: Model, theta: Floats) -> Floats:
    """(paths,) parameters with all variables scaled to an implied variance of 1; NaN where a variance is not positive.

    A covariance of two residuals becomes their correlation: it is divided by the residuals' own standard deviations, as in
    lavaan's ``std.all``.
    """
    return _completely_standardised(model, theta)[0]


def _completely_standardised(model: Model, theta: Floats) -> tuple[Floats, Floats]:
    """Standardised values (paths,) and their derivatives (paths, q)."""
    rows, columns, directed = model.cells
    values, selection, at = model.path_values(theta), model.value_derivatives(), model.state(theta)
    variance, own = np.diag(at.d), np.diag(at.p)
    d_variance = model.ram.variance_derivatives(at)
    d_own = np.zeros_like(d_variance)
    on_diagonal = ~directed & (rows == columns)
    d_own[rows[on_diagonal]] = selection[on_diagonal]
    # d log sd = d variance / (2 variance); a value grows with the source's sd and shrinks with the target's.
    sd, d_log_sd = _deviations(variance, d_variance)
    own_sd, d_log_own = _deviations(own, d_own)
    covaries = ~directed & (rows != columns)
    below = np.where(covaries, own_sd[rows] * own_sd[columns], sd[rows] * np.where(directed, 1.0 / sd[columns], sd[columns]))
    d_log_below = np.where(
        covaries[:, None], d_log_own[rows] + d_log_own[columns],
        d_log_sd[rows] + np.where(directed[:, None], -d_log_sd[columns], d_log_sd[columns]),
    )
    standardised = values / below
    return standardised, selection / below[:, None] - standardised[:, None] * d_log_below


def _deviations(variance: Floats, derivatives: Floats) -> tuple[Floats, Floats]:
    """Standard deviations (m,), NaN where a variance is not positive, and the derivatives (m, q) of their logarithms."""
    positive = np.where(variance > 0, variance, np.nan)
    return np.sqrt(positive), derivatives / (2.0 * positive[:, None])


def _with_defined(model: Model, values: Floats, derivatives: Floats, theta_cov: Floats | None) -> Estimates:
    functions = model.defined_functions
    if functions:
        gradients = np.array([f.gradient(values) for f in functions])
        derivatives = np.vstack([derivatives, gradients @ derivatives])
        values = np.r_[values, [f.value(values) for f in functions]]
    if theta_cov is None:
        return Estimates(values, np.full(values.size, np.nan))
    variance = np.sum((derivatives @ theta_cov) * derivatives, axis=1)
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(np.maximum(variance, 0.0))
        moves = np.max(np.abs(derivatives), axis=1, initial=0.0) > 0
        shown = moves & (errors > ZERO_SE * np.abs(values))
    return Estimates(values, np.where(shown, errors, np.nan))
