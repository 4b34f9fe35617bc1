"""The largest eigenvalues of a kinship that is never formed, from products with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.genotypes import standardise
from gsem_spark.methods.lmm.kinship import OVERSAMPLING, POWER_ITERATIONS, Kind, scale_of
from gsem_spark.methods.lmm.kinship_tiles import variant_slices
from gsem_spark.methods.lmm.rotation import Spectrum

Floats = NDArray[np.float64]


def random_spectrum(
    product: Callable[[Floats], Floats], n: int, rank: int, seed: int, start: Floats | None = None,
    iterations: int = POWER_ITERATIONS,
) -> tuple[Spectrum, Floats]:
    """Largest eigenvalues and their eigenvectors, by subspace iteration from a random start.

    Parameters
    ----------
    product
        K Q for Q of the shape (n, k).
    n
        Samples.
    rank
        Eigenvalues wanted.
    seed
        Of the random start.
    start
        (n, k) columns to start from instead, such as those of a kinship that is close.
    iterations
        Products that sharpen the subspace, after the first one.

    Returns
    -------
    spectrum, Q
        ``rank`` eigenvalues (fewer where the others are 0), ascending, with their eigenvectors; and the (n, k) subspace.

    Raises
    ------
    DataError
        When the rank is not between 1 and n, or the kinship is zero.

    Notes
    -----
    Halko, Martinsson & Tropp 2011, SIAM Rev 53:217, algorithms 4.4 and 5.3; K is applied ``iterations`` + 2 times.
    """
    if not 1 <= rank <= n:
        raise DataError(f"rank {rank} of a kinship of {n} samples", where="rank", remedy=f"ask for 1 to {n}")
    width = min(rank + OVERSAMPLING, n)
    Q = np.random.default_rng(seed).normal(size=(n, width)) if start is None else start
    for _ in range(iterations + 1):
        Q = np.asarray(linalg.qr(product(Q), mode="economic")[0], np.float64)
    small = Q.T @ product(Q)
    values, vectors = linalg.eigh(0.5 * (small + small.T), driver="evd")
    kept = np.flatnonzero(values > max(float(values[-1]), 0.0) * n * np.finfo(float).eps)[-rank:]
    if not kept.size:
        raise DataError("the kinship has no positive eigenvalue", where="kinship")
    return Spectrum(values[kept], np.ascontiguousarray(Q @ vectors[:, kept])), Q


def add_product(G: ArrayLike, kind: Kind, Q: Floats, total: Floats) -> int:
    """Add Zᵀ Z Q of one block to a sum (n, k), in place; gives the number of variants that vary.

    Z are the block's standardised genotypes (S, n), so that the sum over blocks, over the number of variants, is K Q.
    """
    block = np.asarray(G)
    scale, variants = scale_of(kind), 0
    for part in variant_slices(*block.shape):
        Z = standardise(block[part], scale)
        variants += int(Z.any(axis=1).sum())
        total += Z.T @ (Z @ Q)
    return variants
