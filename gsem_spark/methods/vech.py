"""The lower triangle of a symmetric matrix as a vector, column by column: (1,1), (2,1), ..., (k,1), (2,2), ... .

A k x k matrix has ``k* = k (k + 1) / 2`` distinct elements. Rows of V, sample sizes and moments of a model follow this order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError

Floats = NDArray[np.float64]


@lru_cache(maxsize=256)
def vech_indices(k: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the lower triangle of a k x k matrix in vech (column-wise) order, each of length k*, read-only."""
    columns, rows = np.triu_indices(k)
    for index in (rows, columns):
        index.setflags(write=False)
    return rows, columns


def vech(matrix: ArrayLike) -> Floats:
    """Return the lower triangle of a symmetric matrix (k, k) in vech order, (k*,)."""
    a = np.asarray(matrix, dtype=np.float64)
    return a[vech_indices(a.shape[0])]


def unvech(values: ArrayLike) -> Floats:
    """Return the symmetric matrix (k, k) whose vech is ``values`` (k*,)."""
    v = np.asarray(values, dtype=np.float64)
    k = round((np.sqrt(8.0 * v.size + 1.0) - 1.0) / 2.0)
    if k * (k + 1) // 2 != v.size:
        raise ModelError(f"{v.size} values are not the lower triangle of any square matrix")
    out = np.empty((k, k))
    rows, columns = vech_indices(k)
    out[rows, columns] = v
    out[columns, rows] = v
    return out


def correlations(covariance: ArrayLike) -> Floats:
    """Return the correlations (k, k) of a covariance matrix; NaN in the rows and columns of a diagonal that is not positive."""
    a = np.asarray(covariance, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt(np.where(np.diag(a) > 0, np.diag(a), np.nan))
        return np.asarray(a / np.outer(sd, sd))


def correlation_jacobian(covariance: ArrayLike) -> Floats:
    """(p, k*) derivatives of the p correlations below the diagonal by the elements of vech; NaN where there is no correlation."""
    a = np.asarray(covariance, dtype=np.float64)
    rows, columns = vech_indices(a.shape[0])
    diagonal, off = np.flatnonzero(rows == columns), np.flatnonzero(rows != columns)
    r, c = rows[off], columns[off]
    correlation, d = correlations(a)[r, c], np.diag(a)
    out = np.zeros((off.size, rows.size))
    pair = np.arange(off.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[pair, off] = 1.0 / np.sqrt(d[r] * d[c])
        out[pair, diagonal[r]] = -correlation / (2.0 * d[r])
        out[pair, diagonal[c]] = -correlation / (2.0 * d[c])
    return out
