"""What other steps read of genotypes: a cohort's samples, and its blocks spread over tasks."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.catalog.schemas.genotypes import GENOTYPE_BLOCKS
from gsem_spark.errors import ContractError, DataError
from gsem_spark.readers import Kind
from gsem_spark.steps.genotypes.samples import sample_names

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.workspace import Workspace

BLOCK_COLUMNS: Final = GENOTYPE_BLOCKS.names
_FLOAT32_BYTES: Final = 4


@dataclass(frozen=True)
class Cohort:
    """A set of genotyped samples.

    Parameters
    ----------
    name
        Its name.
    version
        Hash of files, settings and samples.
    samples
        fid, iid, sex (0, 1, 2), father, mother, in the order of the blocks' columns.
    n_variants
        Variants kept.
    kind
        Hard calls or dosages.
    settings
        Those of the load.
    """

    name: str
    version: str
    samples: pd.DataFrame
    n_variants: int
    kind: Kind
    settings: Mapping[str, Any]

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def names(self) -> list[str]:
        """One name for each sample: its IID, or FID:IID for all where an IID occurs in several families."""
        return sample_names(self.samples)


def cohort_of(ws: Workspace, name: str | None = None) -> Cohort:
    """A cohort of the workspace; the only one when no name is given.

    Raises
    ------
    DataError
        There is none of that name, or there are several and none was named.
    """
    known = sorted(str(key[0]) for key, n in ws.count("cohorts").items() if n)
    if not known:
        raise DataError("no genotypes are loaded", where=ws.location, remedy="gsem-spark genotypes WORKSPACE FILE")
    if name is None and len(known) > 1:
        raise DataError(f"there are several cohorts: {', '.join(known)}", where=ws.location, remedy="name one: cohort=…")
    chosen = known[0] if name is None else name
    if chosen not in known:
        raise DataError(f"there is no cohort {chosen!r}; loaded are {', '.join(known)}", where=ws.location,
                        remedy="gsem-spark genotypes WORKSPACE FILE --cohort NAME")
    row = ws.records("cohorts", {"cohort": chosen})[0]
    samples = pd.DataFrame({name: row[name] for name in ("fid", "iid", "sex", "father", "mother")})
    return Cohort(chosen, row["version"], samples, int(row["n_variants"]), row["kind"], json.loads(row["settings"]))


def chromosomes_of(ws: Workspace, cohort: str) -> list[int]:
    """Chromosomes that a cohort has genotypes of, in order."""
    return sorted(int(str(key[1])) for key, n in ws.count("genotype_blocks", {"cohort": cohort}).items() if n)


def block_source(
    ws: Workspace, cohort: str, chromosomes: Collection[int] | None = None, columns: Collection[str] = BLOCK_COLUMNS
) -> Source:
    """Blocks of a cohort's genotypes spread over tasks, a row a block, in no order."""
    where: dict[str, Any] = {"cohort": cohort}
    if chromosomes is not None:
        where["chr"] = [int(c) for c in chromosomes]
    return ws.source("genotype_blocks", list(columns), where)


def decode(row: Mapping[str, Any]) -> NDArray[np.int8] | NDArray[np.float32]:
    """Genotypes of a block.

    Parameters
    ----------
    row
        ``genotypes``, ``n_variants`` and ``n_samples`` of a row of ``genotype_blocks``.

    Returns
    -------
    ndarray
        (variants, samples) copies of ``a1``, read-only: int8 with -9 missing, or float32 with NaN missing.

    Raises
    ------
    ContractError
        The bytes are not those of so many genotypes.

    Examples
    --------
    >>> decode({"genotypes": bytes([0, 1, 2, 247]), "n_variants": 2, "n_samples": 2}).tolist()
    [[0, 1], [2, -9]]
    """
    packed, variants, samples = row["genotypes"], int(row["n_variants"]), int(row["n_samples"])
    values = variants * samples
    if len(packed) == values:
        return np.frombuffer(packed, np.int8).reshape(variants, samples)
    if len(packed) == _FLOAT32_BYTES * values:
        return np.frombuffer(packed, "<f4").reshape(variants, samples)
    raise ContractError(f"a block of {variants} variants and {samples} samples has {len(packed)} bytes",
                        where="table genotype_blocks", remedy="load the genotypes again")
