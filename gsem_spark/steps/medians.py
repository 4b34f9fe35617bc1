"""Exact medians of large columns: located by histograms that add up in any order, then by the values of their bins alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

BIN: Final = 0.01
"""Width of the bins in which a median is first located; the values of its bin alone are then sorted."""
TOP: Final = 100.0
N_BINS: Final = int(TOP / BIN) + 1


def bin_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each value that is not NaN; values must be at least 0, all above :data:`TOP` fall into the last bin."""
    known = values[~np.isnan(values)]
    return np.minimum(np.floor(known / BIN), N_BINS - 1).astype(np.int64)


def histogram(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the values of each bin."""
    return np.bincount(bin_of(values), minlength=N_BINS)


def inside(values: NDArray[np.float64], bins: Sequence[int]) -> NDArray[np.float64]:
    """Those of the values that lie in the bins."""
    known = values[~np.isnan(values)]
    return known[np.isin(bin_of(known), bins)]


def middle_bins(counts: NDArray[np.int64]) -> list[int]:
    """Bins of the two middle values (one bin, mostly); none where there is no value."""
    total = int(counts.sum())
    return sorted({int(np.searchsorted(np.cumsum(counts), rank, side="right")) for rank in _middle_ranks(total)}) if total else []


def median_of(counts: NDArray[np.int64], bins: Sequence[int], values: Sequence[float]) -> float | None:
    """Median, from all bins' counts and the sorted values of the middle bins; None where there is no value."""
    if not len(values):
        return None
    before = int(counts[: bins[0]].sum())
    # The two middle ranks may lie in bins with empty ones between them: values of the bins stand one after the other.
    low, high = (values[rank - before] for rank in _middle_ranks(int(counts.sum())))
    return (low + high) / 2.0


def _middle_ranks(total: int) -> tuple[int, int]:
    return (total - 1) // 2, total // 2
