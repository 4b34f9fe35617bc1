"""Matrices that a user gives, as numbers, as a labelled frame or in a file, in the form that configs keep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError

Matrix = tuple[tuple[float, ...], ...]


def square_rows(rows: Sequence[Sequence[float]], name: str) -> NDArray[np.float64]:
    """A matrix of the config as an array; rows of unequal length are no matrix."""
    if len({len(row) for row in rows}) > 1:
        raise ConfigError(f"the rows of {name} have {', '.join(str(len(r)) for r in rows)} values", where=name,
                          remedy="give a square matrix")
    return np.array(rows, np.float64)


def given_matrix(value: ArrayLike | pd.DataFrame | str | Path | None, traits: Sequence[str], name: str) -> Matrix | None:
    """A matrix given as numbers, a labelled frame, or a text file of numbers, as the config keeps it.

    Raises
    ------
    ConfigError
        The file cannot be read, or a frame does not have the traits.
    """
    if value is None:
        return None
    if isinstance(value, (str, Path)):
        try:
            value = np.loadtxt(value, ndmin=2)
        except (OSError, ValueError) as error:
            raise ConfigError(f"the matrix cannot be read: {str(error).splitlines()[0]}", where=str(value),
                              remedy="give a text file with one row of numbers a trait, separated by blanks or tabs") from None
    if isinstance(value, pd.DataFrame):
        absent = [t for t in traits if t not in value.index or t not in value.columns]
        if absent:
            raise ConfigError(f"{name} lacks {', '.join(absent)}", where=name, remedy="name rows and columns by trait")
        value = value.loc[list(traits), list(traits)].to_numpy()
    try:
        found = np.asarray(value, np.float64)
    except (ValueError, TypeError):
        raise ConfigError(f"{name} is not a matrix of numbers", where=name, remedy="give rows of equal length") from None
    if found.ndim != 2:
        raise ConfigError(f"{name} has {found.ndim} dimensions instead of 2", where=name, remedy="give a square matrix")
    return tuple(tuple(row) for row in found.tolist())
