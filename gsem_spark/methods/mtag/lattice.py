"""The lattice of the maxFDR search: probabilities of the causal states in steps of 1 / intervals, numbered.

A point is a way of putting ``intervals`` units into s states; there are C(intervals + s - 1, s - 1) of them. They are numbered in
lexicographic order, and any range of numbers can be written down without those before it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MAX_TRAITS: Final = 12
"""States double with every trait; beyond this many a lattice of all of them has no meaning."""
MAX_POINTS: Final = 2**62


@dataclass(frozen=True)
class Lattice:
    """The points of a simplex in steps of 1 / intervals.

    Parameters
    ----------
    states
        (s, k) the states that the probabilities belong to.
    intervals
        Steps from 0 to 1.
    """

    states: Bools
    intervals: int

    @property
    def size(self) -> int:
        """Number of points."""
        return math.comb(self.intervals + len(self.states) - 1, len(self.states) - 1)

    def points(self, start: int, stop: int) -> Floats:
        """Points ``start`` to ``stop`` (excluded) in lexicographic order, (g, s), rows that sum to 1."""
        if not 0 <= start <= stop <= self.size:
            raise ConfigError(f"points {start:,} to {stop:,} of a grid of {self.size:,} were asked for", where="grid")
        s = len(self.states)
        rest = np.arange(start, stop, dtype=np.int64)
        left = np.full(rest.size, self.intervals, dtype=np.int64)
        units = np.zeros((rest.size, s), dtype=np.int64)
        for j in range(s - 1):
            before = self._numbered_before(s - j - 1)
            # With `left` units to go, all points that put fewer than x of them here come before those that put x.
            x = np.zeros(rest.size, dtype=np.int64)
            for value in range(1, self.intervals + 1):
                x += (value <= left) & (rest >= before[left, value])
            rest = rest - before[left, x]
            left = left - x
            units[:, j] = x
        units[:, s - 1] = left
        return units / float(self.intervals)

    def _numbered_before(self, places: int) -> Ints:
        """Entry [r, x]: ways to put r units into one place and ``places`` more with fewer than x units in the first."""
        m = self.intervals
        out = np.zeros((m + 1, m + 2), dtype=np.int64)
        for r in range(m + 1):
            ways = [math.comb(r - x + places - 1, places - 1) if x <= r else 0 for x in range(m + 1)]
            out[r] = list(itertools.accumulate(ways, initial=0))
        return out


def causal_states(k: int) -> Bools:
    """All 2^k sets of traits that a SNP can be causal for, (2^k, k), the last trait varying fastest."""
    if not 1 <= k <= MAX_TRAITS:
        raise ConfigError(
            f"a grid over all states of {k} traits has 2^{k} of them", where="states",
            remedy=f"take at most {MAX_TRAITS} traits, or name the states that are plausible",
        )
    return np.array(list(itertools.product([False, True], repeat=k)), dtype=np.bool_)


def grid(k: int, intervals: int = 10, states: Bools | None = None) -> Lattice:
    """Lattice of the states of k traits.

    Parameters
    ----------
    k
        Traits.
    intervals
        Steps from 0 to 1.
    states
        (s, k) states to use; all 2^k when None.

    Raises
    ------
    ConfigError
        For fewer than 1 interval or more points than can be numbered.
    """
    if intervals < 1:
        raise ConfigError(f"intervals is {intervals}", where="intervals", remedy="take 1 or more")
    lattice = Lattice(causal_states(k) if states is None else np.asarray(states, dtype=np.bool_), int(intervals))
    if lattice.size > MAX_POINTS:
        raise ConfigError(
            f"{lattice.size:.2g} grid points are too many to number", where="intervals",
            remedy="take fewer intervals, or name the states that are plausible",
        )
    return lattice
