"""What a mixed model needs of its inputs: shapes, finite values, a kinship that is one, covariates that can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import DataError

Floats = NDArray[np.float64]

SYMMETRY_RTOL: Final = 1e-8
"""Largest difference of two mirrored kinship cells, as a share of the largest cell; printed matrices keep 10 digits."""
PSD_RTOL: Final = 1e-6
"""Eigenvalues of a kinship may lie this share of the largest one below 0 and count as rounding."""
COLLINEAR_RTOL: Final = 1e-10
"""A covariate is a combination of others when this share of its length, or less, is its own."""
CONSTANT_RTOL: Final = 1e-12
"""A column is constant when it varies by no more than this share of its largest value."""
EXAMPLES: Final = 5


def as_vector(y: ArrayLike, name: str = "y") -> Floats:
    """A phenotype as (n,) float64.

    Raises
    ------
    DataError
        When it is not one column, holds missing or infinite values, or does not vary.
    """
    values = np.asarray(y, dtype=np.float64)
    if values.ndim == 2 and 1 in values.shape:
        values = values.ravel()
    if values.ndim != 1:
        raise DataError(f"a phenotype is one column, this has the shape {values.shape}", where=name)
    return as_columns(values[:, None], name)[:, 0]


def as_columns(Y: ArrayLike, name: str = "Y", names: Sequence[str] | None = None) -> Floats:
    """Phenotypes as (n, P) float64.

    Raises
    ------
    DataError
        When values are missing or infinite, or a phenotype does not vary.
    """
    values = _finite(np.atleast_2d(np.asarray(Y, dtype=np.float64)), name)
    for j in np.flatnonzero(_constant_columns(values)).tolist():
        label = f" {names[j]!r}" if names else (f" {j}" if values.shape[1] > 1 else "")
        raise DataError(f"phenotype{label} is constant, {values[0, j]:g} in all {len(values)} samples", where=name,
                        remedy="leave it out, or check its coding")
    return values


def as_design(X: ArrayLike | None, n: int, names: Sequence[str] | None = None) -> tuple[Floats, tuple[str, ...]]:
    """Covariates as (n, c) float64 of full rank, and their names; None stands for an intercept alone.

    Raises
    ------
    DataError
        When rows do not match the phenotype, values are missing, a covariate is constant beside an intercept or a combination
        of others (both named), or there are not more samples than covariates.
    """
    if X is None:
        return np.ones((n, 1)), ("intercept",)
    values = np.asarray(X, dtype=np.float64)
    values = _finite(values[:, None] if values.ndim == 1 else values, "X")
    if values.ndim != 2 or len(values) != n:
        raise DataError(f"X has {len(values)} rows, the phenotype {n}", where="X",
                        remedy="match covariates to phenotypes by sample")
    constant = _constant_columns(values)
    labels = tuple(names) if names is not None else tuple(
        "intercept" if constant[j] else f"x{j}" for j in range(values.shape[1]))
    if len(labels) != values.shape[1]:
        raise DataError(f"{len(labels)} names for {values.shape[1]} covariates", where="X")
    if n <= values.shape[1] + 1:
        raise DataError(f"{n} samples are too few for {values.shape[1]} covariates and two variance components", where="X",
                        remedy="give more samples or fewer covariates")
    _refuse_dependent(values, labels, constant)
    return values, labels


def _refuse_dependent(X: Floats, labels: Sequence[str], constant: NDArray[np.bool_]) -> None:
    if constant.sum() > 1 or np.any(~X.any(axis=0)):
        zero = np.flatnonzero(~X.any(axis=0)).tolist()
        culprits = [labels[j] for j in zero or np.flatnonzero(constant)[1:].tolist()]
        raise DataError(f"constant covariate: {', '.join(culprits)}", where="X", remedy="leave it out; one intercept is enough")
    dependent = dependent_columns(X)
    if dependent:
        raise DataError(f"collinear covariates: {', '.join(labels[j] for j in dependent)} "
                        f"{'is a combination' if len(dependent) == 1 else 'are combinations'} of the others",
                        where="X", remedy="leave them out")


def dependent_columns(X: Floats) -> list[int]:
    """Positions of the columns that are combinations of columns before them."""
    lengths = np.linalg.norm(X, axis=0)
    scaled = X / np.where(lengths > 0, lengths, 1.0)
    kept: list[int] = []
    dependent = []
    basis = np.empty((len(X), 0))
    for j in range(X.shape[1]):
        rest = scaled[:, j] - basis @ (basis.T @ scaled[:, j])
        rest -= basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if size <= np.sqrt(COLLINEAR_RTOL):
            dependent.append(j)
        else:
            kept.append(j)
            basis = np.column_stack([basis, rest / size])
    return dependent


def refuse_explained(y: Floats, X: Floats, name: str) -> None:
    """Refuse a phenotype of which covariates leave nothing.

    Raises
    ------
    DataError
        When y (n,) is a combination of the columns of X (n, c).
    """
    rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    if np.linalg.norm(rest) <= np.sqrt(COLLINEAR_RTOL) * np.linalg.norm(y - y.mean()):
        raise DataError(f"phenotype {name!r} is a combination of its covariates: nothing of it is left to be explained",
                        where=name, remedy="leave the covariate out that holds the phenotype itself")


def spans_constant(X: Floats) -> bool:
    """Whether an intercept is among the covariates or a combination of them."""
    ones = np.full(len(X), 1.0 / np.sqrt(len(X)))
    q = linalg.qr(X, mode="economic")[0]
    return bool(np.linalg.norm(ones - q @ (q.T @ ones)) < np.sqrt(COLLINEAR_RTOL))


def as_kinship(K: ArrayLike, n: int | None = None) -> Floats:
    """A kinship matrix as (n, n) float64, made exactly symmetric.

    Raises
    ------
    DataError
        When it is not square, not finite, not symmetric, or not of the size of the phenotype.
    """
    values = np.asarray(K, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise DataError(f"a kinship matrix is square, this has the shape {values.shape}", where="K")
    if n is not None and len(values) != n:
        raise DataError(f"the kinship has {len(values)} samples, the phenotype {n}", where="K",
                        remedy="match both by sample before fitting")
    _finite(values, "K")
    difference = values - values.T
    np.abs(difference, out=difference)
    worst = np.unravel_index(int(np.argmax(difference)), values.shape)
    if difference[worst] > SYMMETRY_RTOL * max(float(np.abs(values).max()), np.finfo(float).tiny):
        i, j = int(worst[0]), int(worst[1])
        raise DataError(f"the kinship is not symmetric: K[{i}, {j}] is {values[i, j]:.8g}, K[{j}, {i}] is {values[j, i]:.8g}",
                        where="K", remedy="check how the matrix was read (row names, triangle)")
    middle = np.add(values, values.T, out=difference)
    middle *= 0.5
    return np.asarray(middle)


def as_spectrum(values: Floats) -> Floats:
    """Eigenvalues of a kinship with rounding below 0 set to 0.

    Raises
    ------
    DataError
        When the matrix is not positive semidefinite, or is zero.
    """
    largest = float(values.max())
    if largest <= 0:
        raise DataError("the kinship has no positive eigenvalue", where="K")
    if values.min() < -PSD_RTOL * largest:
        raise DataError(f"the kinship is not positive semidefinite: eigenvalues from {values.min():.4g} to {largest:.4g}, "
                        f"{int((values < -PSD_RTOL * largest).sum())} of {values.size} negative", where="K",
                        remedy="compute it from complete (imputed) genotypes, or replace it by its nearest PSD matrix")
    return np.maximum(values, 0.0)


def _constant_columns(values: Floats) -> NDArray[np.bool_]:
    spread = np.ptp(values, axis=0)
    return np.asarray(spread <= CONSTANT_RTOL * np.abs(values).max(axis=0))


def _finite(values: Floats, name: str) -> Floats:
    if values.size == 0:
        raise DataError(f"no values: the shape is {values.shape}", where=name)
    bad = ~np.isfinite(values)
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
        shown = ", ".join(str(r) for r in rows[:EXAMPLES])
        raise DataError(f"{int(bad.sum())} values are missing or infinite, in {rows.size} of {len(values)} rows (rows {shown})",
                        where=name, remedy="leave these samples out of phenotypes, covariates and kinship alike")
    return values
