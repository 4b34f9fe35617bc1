"""Checks of a covariance structure's parts: shape, finiteness, symmetry, range; messages name the traits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError

Floats = NDArray[np.float64]

SYMMETRY_RTOL: Final = 1e-6
"""Asymmetry, relative to the largest element, that is taken for rounding and averaged away; more is an error."""


REMEDIES: Final = {
    "S": "give one row and column for each trait, in the order of the names",
    "V": "give the sampling covariance of the lower triangle of S, column by column: k (k + 1) / 2 rows for k traits",
    "I": "give the LDSC intercepts; np.eye(k) where there is no sample overlap, or V holds it already",
}
"""What a matrix of another size should have been."""


def symmetric(matrix: ArrayLike, labels: Sequence[str], name: str) -> Floats:
    """Check one matrix and return it exactly symmetric and read-only; ``labels`` name its rows in messages."""
    a = np.array(matrix, dtype=np.float64)
    size = len(labels)
    if a.shape != (size, size):
        found = " x ".join(map(str, a.shape)) or "a single number or nothing"
        raise ModelError(f"{name} is {found}, but must be {size} x {size} for these traits", remedy=REMEDIES.get(name, ""))
    if not np.isfinite(a).all():
        r, c = (int(i) for i in np.argwhere(~np.isfinite(a))[0])
        count = int((~np.isfinite(a)).sum())
        raise ModelError(
            f"{name} has {count} elements that are not finite, the first at row {labels[r]}, column {labels[c]}",
            remedy="leave out the traits that cause them, or run LDSC on them again",
        )
    gap = np.abs(a - a.T)
    if gap.max() > SYMMETRY_RTOL * max(float(np.abs(a).max()), np.finfo(float).tiny):
        r, c = (int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
        raise ModelError(
            f"{name} is not symmetric: [{labels[r]}, {labels[c]}] is {a[r, c]:.6g}, its mirror image {a[c, r]:.6g}",
            remedy="pass the full matrix, both triangles filled",
        )
    a = a if not gap.any() else (a + a.T) / 2.0
    a.setflags(write=False)
    return a


def vector(values: ArrayLike, size: int, name: str) -> Floats:
    """Check a vector's length and return it read-only; NaN may stand in it."""
    a = np.array(values, dtype=np.float64).ravel()
    if a.size != size:
        raise ModelError(f"{name} has {a.size} values, but must have {size} for these traits")
    a.setflags(write=False)
    return a


def check_prevalence(values: Floats, traits: Sequence[str], name: str) -> None:
    """Raise :class:`ModelError` for prevalences outside (0, 1); NaN is an observed-scale trait."""
    bad = [f"{t} ({v:g})" for t, v in zip(traits, values, strict=True) if not (np.isnan(v) or 0.0 < v < 1.0)]
    if bad:
        raise ModelError(
            f"{name.replace('_', ' ')} must lie between 0 and 1: {', '.join(bad)}", remedy="give shares, such as 0.01 for 1 %"
        )
