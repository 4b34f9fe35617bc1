"""Settings that every per-SNP model shares, and what values they may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas.moments import Gc
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE
from gsem_spark.thresholds import SNP_SE

Floats = NDArray[np.float64]
Estimation = Literal["DWLS", "ML"]


def check_settings(gc: str, snp_se: float, estimation: str, toler: float | None = None) -> None:
    """Refuse a setting that has no such value.

    Raises
    ------
    ModelError
        With the values there are.
    """
    for name, value, choices in (("gc", gc, get_args(Gc)), ("estimation", estimation, get_args(Estimation))):
        if value not in choices:
            raise ModelError(f"{name} is {value!r}", remedy=f"use one of {', '.join(choices)}")
    if not (np.isfinite(snp_se) and snp_se > 0):
        raise ModelError(f"snp_se is {snp_se}; it must be a positive number", remedy=f"leave it out for the usual {SNP_SE}")
    if toler is not None and not 0.0 <= toler < 1.0:
        raise ModelError(
            f"toler is {toler}; it must be at least 0 and below 1", remedy=f"leave it out for the usual {PIVOT_TOLERANCE}"
        )


def pivot_tolerance(toler: float | None) -> float:
    """Share of its diagonal element that a Cholesky pivot has to exceed."""
    return PIVOT_TOLERANCE if toler is None else float(toler)


def check_inversion(toler: float | None, matrices: Mapping[str, Floats]) -> None:
    """Refuse what all SNPs share and what has to be inverted, where it is singular at the tolerance that was asked for.

    Parameters
    ----------
    toler
        Share of its own diagonal element that a Cholesky pivot has to exceed, whatever the matrix's scale: what is left of a
        variance given the others before it, as 1 / VIF is. None: nothing is asked for.
    matrices
        Symmetric matrices (m, m) by what they are called; one that is not positive definite is smoothed later and passes.

    Raises
    ------
    ModelError
        With the matrix and its smallest share.
    """
    for name, matrix in matrices.items() if toler is not None else ():
        root = np.sqrt(np.diagonal(matrix))
        try:
            least = float(np.min(np.diagonal(np.linalg.cholesky(matrix / np.outer(root, root))) ** 2))
        except np.linalg.LinAlgError:
            continue
        if least <= pivot_tolerance(toler):
            raise ModelError(
                f"{name} {matrix.shape} cannot be inverted at toler = {toler:g}: given the others, {least:.3g} of a variance is "
                "left",
                remedy="give a smaller toler, or take out a trait that is nearly the same as others",
            )
