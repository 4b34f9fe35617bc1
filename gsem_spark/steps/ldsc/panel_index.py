"""Names looked up among those of an LD-score panel: an index in a file that the workers of a host map into memory once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.catalog.scratch import mapped_rows, put_rows
from gsem_spark.steps.exchange import name_hashes


@dataclass(frozen=True)
class PanelIndex:
    """Distinct names in the order of their hashes; small, pickles.

    Parameters
    ----------
    path
        The file with hashes and names.
    size
        Distinct names.
    """

    path: str
    size: int

    @classmethod
    def write(cls, names: pa.Array, path: Path) -> tuple[PanelIndex, NDArray[np.int64]] | None:
        """The index of some names, and for each of them its place in it; None where two names have one hash."""
        hashes, first, place = np.unique(name_hashes(names), return_index=True, return_inverse=True)
        distinct = names.take(pa.array(first))
        if not pc.all(pc.equal(distinct.take(pa.array(place)), names)).as_py() and len(names):
            return None
        put_rows(path, pa.table({"hash": hashes, "snp": distinct}))
        return cls(str(path), hashes.size), place

    def find(self, names: pa.Array) -> NDArray[np.int64]:
        """Place of each name in the index, -1 for one that is not there."""
        known = mapped_rows(self.path).combine_chunks()
        wanted, hashes = name_hashes(names), known.column("hash").to_numpy()
        if not hashes.size:
            return np.full(wanted.size, -1)
        at = np.minimum(np.searchsorted(hashes, wanted), hashes.size - 1)
        same = pc.fill_null(pc.equal(known.column("snp").take(pa.array(at)).combine_chunks(), names), False)
        return np.where(same.to_numpy(zero_copy_only=False), at, -1)
