"""The two matrices that MTAG rests on, Omega and Sigma: what they must be, and the repair of one that is not.

Omega is the (k, k) variance-covariance matrix of the SNPs' standardised effects (per SNP, of order h2 / number of SNPs); Sigma
the (k, k) matrix of LD score intercepts: estimation error, confounding and sample overlap on the scale of products of Z-scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError

Floats = NDArray[np.float64]

SYMMETRY_RTOL: Final = 1e-8
"""Largest difference of mirrored elements, in units of the largest element, that counts as rounding of a printed file."""
PSD_RTOL: Final = 1e-14
"""An eigenvalue above minus this share of the largest is 0 to rounding, so that a matrix of rank one counts as semidefinite."""
SHRINK: Final = 0.99
"""Factor of one repair step (Turley et al. 2018, Supplementary Note 1.2.2)."""
MAX_SHRINK_STEPS: Final = 1000


@dataclass(frozen=True)
class Repair:
    """What was done to make a matrix positive semidefinite.

    Parameters
    ----------
    matrix
        (k, k) the matrix after the repair; the one given where none was needed.
    needed
        Whether the matrix given has a negative eigenvalue.
    success
        Whether the matrix after the repair has none. A negative variance cannot be repaired.
    min_eigenvalue, min_eigenvalue_after
        Smallest eigenvalue before and after.
    clipped
        Index pairs (row, column), row < column, whose correlation was beyond 1 and was set to 0.99.
    steps
        Times that all covariances were multiplied by 0.99.
    """

    matrix: Floats
    needed: bool
    success: bool
    min_eigenvalue: float
    min_eigenvalue_after: float
    clipped: tuple[tuple[int, int], ...] = ()
    steps: int = 0

    def sentence(self, name: str, traits: Sequence[str]) -> str:
        """Say with its numbers what was done; empty where nothing was."""
        if not self.needed:
            return ""
        said = [f"{name} is not positive semidefinite (smallest eigenvalue {self.min_eigenvalue:.3g})"]
        if self.clipped:
            pairs = ", ".join(f"{traits[i]} and {traits[j]}" for i, j in self.clipped)
            said.append(f"correlations beyond 1 were set to {SHRINK}: {pairs}")
        if self.steps:
            said.append(f"all covariances were multiplied by {SHRINK} {self.steps} times")
        said.append(f"smallest eigenvalue now {self.min_eigenvalue_after:.3g}")
        return "; ".join(said)


def square(matrix: ArrayLike, name: str, k: int) -> Floats:
    """Return a matrix given by the user as a symmetric (k, k) float array.

    Raises
    ------
    ModelError
        When it is not (k, k), has a value that is not finite, or mirrored elements differ by more than ``SYMMETRY_RTOL``.
    """
    a = np.asarray(matrix, dtype=np.float64)
    if a.shape != (k, k):
        raise ModelError(
            f"{name} has the shape {' × '.join(map(str, a.shape)) or 'of a number'}, but there are {k} traits",
            where=name, remedy=f"give a {k} × {k} matrix with rows and columns in the order of the traits",
        )
    if not np.isfinite(a).all():
        i, j = np.argwhere(~np.isfinite(a))[0]
        raise ModelError(f"{name}[{i + 1}, {j + 1}] is {a[i, j]}", where=name, remedy="give finite numbers")
    gap = np.abs(a - a.T)
    if gap.max(initial=0.0) > SYMMETRY_RTOL * np.abs(a).max(initial=0.0):
        i, j = np.unravel_index(int(gap.argmax()), gap.shape)
        raise ModelError(
            f"{name} is not symmetric: [{i + 1}, {j + 1}] is {a[i, j]:.10g} and [{j + 1}, {i + 1}] is {a[j, i]:.10g}",
            where=name, remedy="give the same value on both sides of the diagonal",
        )
    return (a + a.T) / 2.0


def is_psd(matrix: Floats) -> bool:
    """Whether a symmetric matrix has no eigenvalue below 0, to rounding."""
    values = np.linalg.eigvalsh(matrix)
    return bool(values[0] >= -PSD_RTOL * max(float(np.abs(values).max()), 0.0))


def repair_psd(matrix: Floats) -> Repair:
    """Make a symmetric matrix positive semidefinite without touching its diagonal.

    Correlations beyond 1 are set to 0.99; if that is not enough, all covariances are multiplied by 0.99 until it is, at most
    1000 times.

    Notes
    -----
    Source: Turley et al. 2018, Nat Genet 50:229, Supplementary Note 1.2.2. A pair of which one variance is negative has no
    correlation and is left to the second stage, which cannot succeed then (``success`` is False).
    """
    first = float(np.linalg.eigvalsh(matrix)[0])
    if is_psd(matrix):
        return Repair(matrix, False, True, first, first)
    variance = np.diag(matrix)
    product = np.outer(variance, variance)
    bound = np.sqrt(np.where(product >= 0, product, np.inf))
    beyond = (np.abs(matrix) > bound) & ~np.eye(len(matrix), dtype=bool)
    current = np.where(beyond, SHRINK * np.sign(matrix) * np.where(beyond, bound, 0.0), matrix)
    steps = 0
    off_diagonal = current - np.diag(variance)
    while not is_psd(current) and steps < MAX_SHRINK_STEPS:
        off_diagonal = SHRINK * off_diagonal
        current = off_diagonal + np.diag(variance)
        steps += 1
    clipped = tuple((int(i), int(j)) for i, j in np.argwhere(np.triu(beyond, 1)))
    return Repair(current, True, is_psd(current), first, float(np.linalg.eigvalsh(current)[0]), clipped, steps)


def to_correlation(matrix: Floats) -> Floats:
    """Correlations of a covariance matrix; NaN where a variance is not positive."""
    variance = np.diag(matrix)
    root = np.sqrt(np.where(variance > 0, variance, np.nan))
    return np.asarray(matrix / np.outer(root, root), dtype=np.float64)
