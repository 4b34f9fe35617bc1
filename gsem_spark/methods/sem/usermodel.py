"""Any model in lavaan syntax, fitted to a covariance structure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import Final

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.constraints import Constraint
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.expressions import Name, Number
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.partable import ParsedModel, parse_model

RESIDUAL_MINIMUM: Final = 1e-4
"""Lower bound of residual variances on request, in the units of S (GenomicSEM's value)."""


def user_model(
    cov: CovStruct, model: str | Model, estimation: Estimation = "DWLS", std_lv: bool = False, *, bound_residuals: bool = False
) -> Fit:
    """Fit a model that the user wrote.

    Parameters
    ----------
    cov
        S with its sampling covariance V, from LDSC or any other source.
    model
        lavaan syntax, e.g. ``"F1 =~ BMI + WHR + CAD"`` (see :mod:`gsem_spark.methods.sem.syntax`), or a ready model.
    estimation
        ``DWLS`` (weights 1 / diag(V)) or ``ML``; sandwich standard errors from all of V either way.
    std_lv
        Fix the factors' variances at 1 instead of each first loading. A ready model has its scales already.
    bound_residuals
        Hold the traits' residual variances above ``RESIDUAL_MINIMUM``, as GenomicSEM's ``fix_resid`` does when a fit fails: the
        way out where a residual variance runs below zero. Bounds that hold with equality are named in the messages.

    Returns
    -------
    Fit
        ``.parameters`` (defined ones too), ``.indices``, ``.implied``, ``.residual``, ``.diagnosis``, ``.summary()``. A fit
        without an optimum says so in ``status`` and ``messages``.

    Raises
    ------
    ModelError
        For a syntax error (with line and column), an unknown trait, a model that is not identified, or constraints that cannot
        be met; and when ``cov`` is no covariance structure, since a genetic covariance matrix alone says nothing about how its
        cells err together.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.array([[1.0, 0.42, 0.35], [0.42, 1.0, 0.30], [0.35, 0.30, 1.0]])
    >>> cov = CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3), ["a", "b", "c"])
    >>> user_model(cov, "F =~ a + b + c", std_lv=True).parameters["est"].head(3).round(3).tolist()
    [0.7, 0.6, 0.5]
    """
    if not isinstance(cov, CovStruct):
        raise ModelError(
            f"a model is fitted to a covariance structure (S with its V), not to {type(cov).__name__}: sample overlap lives in "
            "the off-diagonal of V, and an S put together from genetic correlations gives standard errors that are far too small",
            remedy="run ldsc(), or CovStruct.from_matrices(S, V, I, traits) with the V that belongs to S",
        )
    if not isinstance(model, str | Model):
        raise ModelError(f"a model is a text in lavaan syntax or a Model, not {type(model).__name__}",
                         remedy='e.g. "F1 =~ A + B + C"')
    parsed = ParsedModel(model, ()) if isinstance(model, Model) else _parsed(model, std_lv, cov.traits)
    chosen = with_bounded_residuals(parsed.model) if bound_residuals else parsed.model
    return fit_model(cov, chosen, estimation, notes=parsed.notes)


def with_bounded_residuals(model: Model, minimum: float = RESIDUAL_MINIMUM) -> Model:
    """Return the model with every free residual variance of a trait held at or above ``minimum``, in the units of S."""
    taken = {*model.label_index, *model.constants, *(d.name for d in model.defined)}
    paths, bounds = [], {}
    for path in model.paths:
        if path.op != "~~" or path.lhs != path.rhs or path.lhs not in model.observed or path.fixed is not None:
            paths.append(path)
            continue
        label = path.label or next(n for i in count() if (n := f"residual_{path.lhs}" + "_" * i) not in taken)
        paths.append(replace(path, label=label))
        bounds[label] = Constraint(Name(label), ">", Number(minimum))
    return replace(model, paths=tuple(paths), constraints=(*model.constraints, *bounds.values()))


@lru_cache(maxsize=64)
def _parsed(text: str, std_lv: bool, traits: tuple[str, ...]) -> ParsedModel:
    """A text read once: simulations fit the same one thousands of times."""
    return parse_model(text, std_lv=std_lv, traits=traits)
