"""Effects and errors of many SNPs as the kernels take them: columns matched by name, shapes checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError

Floats = NDArray[np.float64]


def check_batch(beta: ArrayLike, se: ArrayLike, maf: ArrayLike, traits: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Return contiguous, writable arrays (n, k), (n, k) and (n,).

    Arrays out of Arrow are read-only, which is another type to compiled code: every kernel would be compiled once for these and
    once for those of NumPy. They are copied, which costs next to nothing beside the fits.

    Raises
    ------
    ModelError
        When the shapes do not agree with each other and with the k traits.
    """
    b, s, m = (np.require(x, np.float64, ("C", "W")) for x in (beta, se, maf))
    k = len(traits)
    if m.ndim != 1 or b.shape != (m.size, k) or s.shape != (m.size, k):
        raise ModelError(
            f"beta {b.shape}, se {s.shape} and maf {m.shape} must be (n, {k}), (n, {k}) and (n,) for the {k} traits "
            f"{', '.join(traits)}",
            remedy="give one column a trait, in the order of the covariance structure, and one row a SNP",
        )
    return b, s, m


def by_name(values: ArrayLike | pd.DataFrame, traits: Sequence[str], what: str) -> ArrayLike:
    """Columns of a frame in the order of the traits; an array as it is.

    Raises
    ------
    ModelError
        When a trait has no column, or two.
    """
    if not isinstance(values, pd.DataFrame):
        return values
    found = {t: [c for c in values.columns if c in (t, f"{what}.{t}")] for t in traits}
    for trait, columns in found.items():
        if len(columns) != 1:
            raise ModelError(
                f"{what} has {'no column' if not columns else 'two columns'} for the trait {trait}; its columns are "
                f"{', '.join(map(str, values.columns))}",
                remedy=f"name the column {trait} or {what}.{trait}, or take the trait out of the covariance structure",
            )
    return values[[columns[0] for columns in found.values()]].to_numpy(dtype=np.float64)
