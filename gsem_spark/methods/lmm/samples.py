"""Samples of genotypes, phenotypes, covariates and kinship brought into one order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError

Ints = NDArray[np.int64]

EXAMPLES: Final = 3


def match_samples(wanted: Sequence[str], have: Sequence[str], wanted_name: str = "phenotypes", have_name: str = "genotypes",
                  need_all: bool = True) -> tuple[Ints, Ints]:
    """Positions that bring two lists of samples together.

    Parameters
    ----------
    wanted, have
        Sample names, in any order.
    wanted_name, have_name
        What they are of, for messages.
    need_all
        Whether every wanted sample must be there; samples that only ``have`` holds are left out either way.

    Returns
    -------
    in_wanted, in_have
        Positions of the samples in common, in the order of ``wanted``.

    Raises
    ------
    DataError
        When a name occurs twice, none is in common, or (``need_all``) a wanted one is not there: with counts and examples both
        ways.

    Examples
    --------
    >>> [v.tolist() for v in match_samples(["b", "a"], ["a", "x", "b"])]
    [[0, 1], [2, 0]]
    """
    for name, samples in ((wanted_name, wanted), (have_name, have)):
        if len(set(samples)) < len(samples):
            seen: set[str] = set()
            twice = [s for s in samples if s in seen or seen.add(s)]  # type: ignore[func-returns-value]
            raise DataError(f"{len(twice)} samples occur more than once: {', '.join(twice[:EXAMPLES])}", where=name)
    at = {s: i for i, s in enumerate(have)}
    kept = [i for i, s in enumerate(wanted) if s in at]
    lost = [s for s in wanted if s not in at]
    if not kept or (need_all and lost):
        names = set(wanted)
        others = [s for s in have if s not in names]
        raise DataError(
            f"{len(lost)} of {len(wanted)} samples of the {wanted_name} are not among the {have_name} "
            f"({', '.join(map(str, lost[:EXAMPLES]))}); {len(others)} of {len(have)} of the {have_name} are not among the "
            f"{wanted_name} ({', '.join(map(str, others[:EXAMPLES])) or 'none'})", where="samples",
            remedy="check the sample names (family and individual, prefixes), or leave out what has no match")
    return np.array(kept, dtype=np.int64), np.array([at[wanted[i]] for i in kept], dtype=np.int64)
