"""From exploratory loadings to a confirmatory model: which trait belongs to which factor, as lavaan text or as a model."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from gsem_spark.errors import ConfigError, ModelError
from gsem_spark.methods.sem.model import Model, Path, factor_model

CUTOFF: Final = 0.3
"""Absolute standardised loading above which a trait belongs to a factor."""
GENERAL: Final = "Common_F"
RESIDUAL_BOUND: Final = ".0001"
"""Residual variances are kept above this, as GenomicSEM writes it."""


def factor_membership(
    loadings: pd.DataFrame, cutoff: float = CUTOFF, *, mustload: bool = False, common: bool = False
) -> dict[str, list[str]]:
    """Traits of each factor.

    Parameters
    ----------
    loadings
        (k, m), traits in rows, factors in columns.
    cutoff
        A trait belongs to the factors on which its absolute loading is larger.
    mustload
        A trait that reaches the cutoff nowhere belongs to the factor of its largest loading.
    common
        One factor, named after the first column, with all traits; the loadings do not matter.

    Returns
    -------
    dict
        Factor to traits, in the order of ``loadings``; factors without traits are left out.

    Raises
    ------
    ModelError
        When no trait loads anywhere.
    ConfigError
        For a cutoff outside 0..1, loadings that are not finite, or names that repeat.
    """
    _check(loadings, cutoff)
    traits, factors = [str(t) for t in loadings.index], [str(f) for f in loadings.columns]
    if common:
        return {factors[0]: traits}
    size = np.abs(loadings.to_numpy(dtype=np.float64))
    belongs = size > cutoff
    if mustload:
        nowhere = ~belongs.any(axis=1)
        belongs[nowhere, size[nowhere].argmax(axis=1)] = True
    out = {f: [t for t, yes in zip(traits, belongs[:, j], strict=True) if yes] for j, f in enumerate(factors)}
    out = {f: members for f, members in out.items() if members}
    if not out:
        raise ModelError(f"no trait has a loading above {cutoff:g}", remedy="lower the cutoff or use mustload=True")
    return out


def write_model(
    loadings: pd.DataFrame,
    cutoff: float = CUTOFF,
    *,
    bifactor: bool = False,
    mustload: bool = False,
    common: bool = False,
    bound_residuals: bool = True,
) -> str:
    """Write the confirmatory model that exploratory loadings suggest, in lavaan syntax.

    Parameters
    ----------
    loadings, cutoff, mustload, common
        See :func:`factor_membership`; ``EsemFit.loadings`` is such a frame.
    bifactor
        Add a general factor ``Common_F`` of all traits, uncorrelated with the factors, and those with each other.
    bound_residuals
        Label each residual variance and keep it above .0001.

    Returns
    -------
    str
        One formula a line. Factors that are not told to be uncorrelated correlate, as ``sem`` adds it.

    Raises
    ------
    ModelError, ConfigError
        As :func:`factor_membership`.

    Notes
    -----
    GenomicSEM's ``write.model`` with its random labels replaced by names; its lines are repeated for a factor without traits,
    which is left out here.

    Examples
    --------
    >>> import pandas as pd
    >>> x = pd.DataFrame({"F1": [0.7, 0.6, 0.1], "F2": [0.0, 0.4, 0.8]}, index=["a", "b", "c"])
    >>> print(write_model(x, 0.3, bound_residuals=False))
    F1 =~ a + b
    F2 =~ b + c
    """
    members = factor_membership(loadings, cutoff, mustload=mustload, common=common)
    lines = [f"{factor} =~ {' + '.join(traits)}" for factor, traits in members.items()]
    used = [str(t) for t in loadings.index if any(t in traits for traits in members.values())]
    if bifactor and not common:
        lines.append(f"{_general(loadings)} =~ {' + '.join(used)}")
        lines += [f"{a} ~~ 0*{b}" for a, b in _uncorrelated(loadings, members)]
    if bound_residuals:
        for trait, label in zip(used, _labels(loadings, used), strict=True):
            lines += [f"{trait} ~~ {label}*{trait}", f"{label} > {RESIDUAL_BOUND}"]
    return "\n".join(lines)


def confirmatory_model(
    loadings: pd.DataFrame, cutoff: float = CUTOFF, *, bifactor: bool = False, mustload: bool = False, common: bool = False
) -> Model:
    """Return the model of :func:`write_model` with unit factor variances; residual variances are not bounded."""
    members = factor_membership(loadings, cutoff, mustload=mustload, common=common)
    used = [str(t) for t in loadings.index if any(t in traits for traits in members.values())]
    factors = list(members)
    if bifactor and not common:
        return factor_model({**members, _general(loadings): used}, observed=used)
    between = [Path(a, "~~", b) for i, b in enumerate(factors) for a in factors[:i]]
    return factor_model(members, between, observed=used)


def _uncorrelated(loadings: pd.DataFrame, members: dict[str, list[str]]) -> list[tuple[str, str]]:
    factors = list(members)
    return [(_general(loadings), f) for f in factors] + [(a, b) for i, a in enumerate(factors) for b in factors[i + 1 :]]


def _general(loadings: pd.DataFrame) -> str:
    name = GENERAL
    while name in {*map(str, loadings.index), *map(str, loadings.columns)}:
        name += "_"
    return name


def _labels(loadings: pd.DataFrame, traits: list[str]) -> list[str]:
    """A label for each trait that is no name in the model."""
    prefix = "r_"
    while any(n.startswith(prefix) for n in [*map(str, loadings.index), *map(str, loadings.columns)]):
        prefix = "r" + prefix
    return [prefix + t for t in traits]


def _check(loadings: pd.DataFrame, cutoff: float) -> None:
    if not 0 <= cutoff < 1:
        raise ConfigError(f"the cutoff is {cutoff:g}; it must lie in 0..1", remedy="0.3 is usual")
    if loadings.empty or not np.all(np.isfinite(loadings.to_numpy(dtype=np.float64))):
        raise ConfigError("loadings must be a table of finite numbers, traits in rows, factors in columns")
    names = [*map(str, loadings.index), *map(str, loadings.columns)]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise ConfigError(f"names repeat among traits and factors: {', '.join(repeated)}")
