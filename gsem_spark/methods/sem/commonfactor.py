"""The common factor model: one factor behind all traits."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, get_args

from gsem_spark.errors import ConfigError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.model import Model, Path

Identification = Literal["unit_variance", "marker"]

FACTOR: Final = "F1"
EQUAL_LOADING: Final = "l"


def common_factor_model(traits: tuple[str, ...], identification: Identification = "unit_variance", factor: str = FACTOR) -> Model:
    """Build the one-factor model of k traits.

    Parameters
    ----------
    traits
        At least two names. Two traits get equal loadings, for their three moments cannot give four parameters.
    identification
        ``unit_variance`` fixes the factor's variance at 1; ``marker`` fixes the first loading at 1.
    factor
        Name of the factor; no trait may have it.

    Raises
    ------
    ModelError
        For fewer than two traits.
    ConfigError
        For an unknown identification.
    """
    if identification not in get_args(Identification):
        raise ConfigError(f"identification {identification!r} is not known", remedy="use unit_variance or marker")
    if len(traits) < 2:
        raise ModelError(f"a common factor needs at least 2 traits, there is {len(traits)}", remedy="add traits to the LDSC run")
    marker = identification == "marker"
    pair = len(traits) == 2
    loadings = [
        Path(factor, "=~", t, fixed=1.0) if marker and (i == 0 or pair)
        else Path(factor, "=~", t, label=EQUAL_LOADING if pair else None)
        for i, t in enumerate(traits)
    ]
    residuals = [Path(t, "~~", t) for t in traits]
    return Model(traits, (factor,), (*loadings, *residuals, Path(factor, "~~", factor, fixed=None if marker else 1.0)))


def common_factor(
    cov: CovStruct,
    estimation: Estimation = "DWLS",
    identification: Identification = "unit_variance",
    factor: str = FACTOR,
) -> Fit:
    """Fit the common factor model to all traits of a covariance structure.

    Parameters
    ----------
    cov
        k traits; use ``cov.subset([...])`` for some of them.
    estimation
        ``DWLS`` or ``ML``.
    identification
        ``unit_variance`` (factor variance 1, as GenomicSEM's ``commonfactor``) or ``marker`` (first loading 1, as its
        ``commonfactorGWAS``). The fit is the same.
    factor
        Name of the factor in the results.

    Returns
    -------
    Fit
        The factor points so that the loadings, standardised, have a positive sum.

    Raises
    ------
    ModelError
        For fewer than two traits; for two traits with a covariance that is not positive, which no pair of equal loadings
        gives; for matrices that cannot be made positive definite.

    Notes
    -----
    GenomicSEM refuses two traits. Here their loadings are held equal (df = 0), which says nothing about fit, and the result
    says so.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.array([[1.0, 0.42, 0.35], [0.42, 1.0, 0.30], [0.35, 0.30, 1.0]])
    >>> cov = CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3), ["a", "b", "c"])
    >>> common_factor(cov).parameters["est"].head(3).round(3).tolist()
    [0.7, 0.6, 0.5]
    """
    if cov.k == 2 and cov.S[1, 0] <= 0:
        raise ModelError(
            f"a common factor of two traits has equal loadings, but the covariance of {' and '.join(cov.traits)} is "
            f"{cov.S[1, 0]:.4g}",
            remedy="reverse one trait, or add a third",
        )
    fit = fit_model(cov, common_factor_model(cov.traits, identification, factor), estimation)
    if cov.k == 2:
        note = "two traits identify a factor only with equal loadings, in the units of S; df = 0, so the fit cannot be tested"
        fit = replace(fit, messages=(*fit.messages, note))
    return fit
