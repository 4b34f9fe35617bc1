"""Defined parameters (``:=``) of a whole batch at once: values and delta-method errors, the expression's tree walked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex

Floats = NDArray[np.float64]

_FUNCTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign,
}
_OPERATIONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power,
}


def evaluate_rows(expression: ex.Expression, values: Mapping[str, Floats], n: int) -> Floats:
    """Value of an expression for n rows of ``values``, each (n,); NaN where it is not defined."""
    with np.errstate(all="ignore"):
        out = np.broadcast_to(np.asarray(_evaluate(expression, values), dtype=np.float64), (n,)).copy()
    out[~np.isfinite(out)] = np.nan
    return out


def _evaluate(expression: ex.Expression, values: Mapping[str, Floats]) -> Any:
    if isinstance(expression, ex.Number):
        return np.float64(expression.value)
    if isinstance(expression, ex.Name):
        if expression.name not in values:
            raise ModelError(f"the name {expression.name!r} has no value here")
        return values[expression.name]
    if isinstance(expression, ex.Call):
        return _FUNCTIONS[expression.function](_evaluate(expression.argument, values))
    return _OPERATIONS[expression.op](_evaluate(expression.left, values), _evaluate(expression.right, values))


def delta_errors(
    expression: ex.Expression, values: Mapping[str, Floats], columns: Mapping[str, int], covariance: Floats
) -> Floats:
    """Standard errors (n,) of an expression by the delta method.

    Parameters
    ----------
    expression
        Of labels.
    values
        (n,) of every label.
    columns
        Place of each label with an error in ``covariance``; labels of fixed values are not in it.
    covariance
        (n, t, t) sampling covariances.
    """
    n = covariance.shape[0]
    used = [name for name in ex.names_in(expression) if name in columns]
    gradient = [evaluate_rows(ex.derivative(expression, name), values, n) for name in used]
    variance = np.zeros(n)
    for one, a in zip(used, gradient, strict=True):
        for two, b in zip(used, gradient, strict=True):
            variance += a * b * covariance[:, columns[one], columns[two]]
    return np.sqrt(np.where(variance >= 0, variance, np.nan))
