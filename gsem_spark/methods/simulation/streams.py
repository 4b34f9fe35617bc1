"""Independent random streams, each named by what it is for, so that no draw depends on the order of other draws."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """Return the generator of one purpose, trait or chromosome.

    Two calls with the same arguments give the same numbers; streams of different arguments are independent. A new trait,
    chromosome or kind of dirt therefore leaves all other draws as they were.

    Parameters
    ----------
    seed
        Seed of the whole simulation, 0 or greater.
    purpose
        What the numbers are for, such as ``"polygenic"``.
    keys
        Further places in the tree: trait number, chromosome.

    Source
    ------
    O'Neill (2014), PCG; NumPy's SeedSequence spawn keys.
    """
    key = (zlib.crc32(purpose.encode()), *keys)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
