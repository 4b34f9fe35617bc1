"""Phenotypes on a normal scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from gsem_spark.errors import DataError

Floats = NDArray[np.float64]


def gaussianize(y: ArrayLike) -> Floats:
    """Rank-inverse-normal transform, a phenotype at a time.

    Parameters
    ----------
    y
        (n,) or (n, P) phenotypes on any scale; NaN is missing and stays NaN.

    Returns
    -------
    ndarray
        Of the shape of ``y``: Φ⁻¹((rank - 1/2) / n) over the values that are not missing, ties sharing their mean rank.

    Raises
    ------
    DataError
        When a phenotype has no values.

    Notes
    -----
    Blom's family with offset 1/2 (Hazen). The limix package takes the same quantiles but rounds the mean rank of ties to an even
    number, so that two of three tied values can differ from the mean of their normal scores; without ties both are equal.

    Examples
    --------
    >>> gaussianize([3.0, 10.0, 4.0]).round(3).tolist()
    [-0.967, 0.967, 0.0]
    """
    values = np.asarray(y, dtype=np.float64)
    if not np.isfinite(values).any(axis=0).all():
        raise DataError("a phenotype has no values to rank", where="y")
    ranks = stats.rankdata(values, axis=0, nan_policy="omit")
    return np.asarray(special.ndtri((ranks - 0.5) / np.isfinite(values).sum(axis=0)), dtype=np.float64)
