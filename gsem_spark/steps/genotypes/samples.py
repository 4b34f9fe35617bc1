"""Which samples of genotype files are wanted: keep and remove lists, and one name for each sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import DataError

Ints = NDArray[np.int64]
SampleList = str | tuple[str, ...]
"""A file with a sample a line (IID, or FID and IID), or the samples themselves in that form."""
EXAMPLES: Final = 3
_HEADERS: Final = frozenset({"#FID", "FID", "#IID", "IID"})


def sample_names(samples: pd.DataFrame) -> list[str]:
    """One name for each sample: its IID, or FID:IID for all where an IID occurs in several families.

    Examples
    --------
    >>> sample_names(pd.DataFrame({"fid": ["a", "b"], "iid": ["1", "1"]}))
    ['a:1', 'b:1']
    """
    iid = samples["iid"].astype(str).tolist()
    if len(set(iid)) == len(iid):
        return iid
    return [f"{f}:{i}" for f, i in zip(samples["fid"].astype(str), iid, strict=True)]


def check_samples(samples: pd.DataFrame, where: str) -> None:
    """Raise a :class:`DataError` where there are no samples, or one stands twice."""
    if samples.empty:
        raise DataError("there are no samples", where=where, remedy="fetch the file again")
    twice = [name for name, n in Counter(zip(samples["fid"], samples["iid"], strict=True)).items() if n > 1]
    if twice:
        shown = ", ".join(f"{f} {i}" for f, i in twice[:EXAMPLES])
        raise DataError(f"{len(twice):,} samples occur more than once: {shown}", where=where,
                        remedy="give every sample a name (FID and IID) of its own")


def read_list(given: SampleList, what: str) -> list[tuple[str, ...]]:
    """A sample list as tuples (IID) or (FID, IID).

    Raises
    ------
    DataError
        The file is missing or holds no sample.
    """
    if isinstance(given, str):
        if not Path(given).is_file():
            raise DataError("the file does not exist", where=given,
                            remedy=f"the {what} list has a sample a line: IID, or FID and IID")
        lines = Path(given).read_text(encoding="utf-8").splitlines()
    else:
        lines = list(given)
    rows = [tuple(line.split()[:2]) for line in lines if line.strip()]
    if rows and rows[0][0] in _HEADERS:
        rows = rows[1:]
    if not rows:
        raise DataError(f"the {what} list holds no sample", where=given if isinstance(given, str) else what,
                        remedy="a sample a line: IID, or FID and IID")
    return rows


def chosen_samples(samples: pd.DataFrame, keep: SampleList | None, remove: SampleList | None) -> tuple[Ints | None, list[str]]:
    """Places of the samples wanted, in the file's order (None for all of them), and what a reader of the result must know.

    Raises
    ------
    DataError
        No sample is left: with counts and examples of both sides.
    """
    chosen = np.ones(len(samples), bool)
    warnings: list[str] = []
    for given, what, wanted in ((keep, "keep", True), (remove, "remove", False)):
        if given is None:
            continue
        listed = read_list(given, what)
        found, strangers = _found(samples, listed)
        if strangers:
            text = (f"{len(strangers):,} of {len(listed):,} samples of the {what} list are not among the genotypes "
                    f"({', '.join(strangers[:EXAMPLES])})")
            if not found.any():
                have = ", ".join(" ".join(row) for row in samples[["fid", "iid"]].head(EXAMPLES).astype(str).to_numpy().tolist())
                raise DataError(
                    f"{text}; {len(samples):,} of {len(samples):,} samples of the genotypes are not on the list ({have})",
                    where="samples", remedy="check the names: a line has an IID, or FID and IID",
                )
            warnings.append(text)
        chosen &= found if wanted else ~found
    if not chosen.any():
        raise DataError(f"none of {len(samples):,} samples is left after the keep and remove lists", where="samples",
                        remedy="correct the lists")
    return (None if chosen.all() else np.flatnonzero(chosen)), warnings


def _found(samples: pd.DataFrame, listed: Sequence[tuple[str, ...]]) -> tuple[NDArray[np.bool_], list[str]]:
    """Which samples are listed, and the entries of the list that name none."""
    by_iid = {row[0] for row in listed if len(row) == 1}
    by_both = {row for row in listed if len(row) == 2}
    iid, fid = samples["iid"].astype(str), samples["fid"].astype(str)
    repeated = {name for name, n in Counter(iid).items() if n > 1}
    if ambiguous := sorted(by_iid & repeated):
        raise DataError(f"{len(ambiguous):,} names of the list stand for several samples: {', '.join(ambiguous[:EXAMPLES])}",
                        where="samples", remedy="name them by FID and IID")
    pairs = list(zip(fid, iid, strict=True))
    found = np.array([i in by_iid or (f, i) in by_both for f, i in pairs], bool)
    names, both = set(iid), set(pairs)
    strangers = [" ".join(row) for row in listed if (row[0] not in names if len(row) == 1 else row not in both)]
    return found, strangers
