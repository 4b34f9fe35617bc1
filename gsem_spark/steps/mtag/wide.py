"""Wide rows: the SNPs of a stretch of genome that all traits have, effects turned to one allele, in the order of position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.mtag.filters import MISMATCH_SHARE_MAX, align
from gsem_spark.steps.met_rows import met_rows, side_by_side

Floats = NDArray[np.float64]
SHARED: Final = ("snp", "bp", "maf", "a1", "a2")
"""Columns that the first trait gives for all."""
OWN: Final = ("z", "n", "eaf")
"""Columns that each trait has of its own."""


@dataclass(frozen=True)
class Alleles:
    """How alleles fit the first trait's, by trait: ``same swapped mismatched`` counts (k, 3), and a mismatch of each trait."""

    counts: NDArray[np.int64]
    examples: tuple[str, ...]


def wide_rows(rows: pa.Table, k: int) -> tuple[pa.Table, Alleles]:
    """SNPs that all k traits have, in the order of position and name; effects count for the first trait's ``a1``.

    Columns: ``snp bp maf a1 a2`` of the first trait, and lists of k numbers ``z n eaf``. SNPs whose alleles fit the first
    trait's neither way round are left out and counted.
    """
    shared, at = met_rows(rows, k, SHARED)
    alleles = rows.select(["a1", "a2"]).combine_chunks()
    sign, said = _signs(shared, [alleles.take(pa.array(at[:, t].copy())) for t in range(k)], k)
    values = {name: side_by_side(rows, name, at) for name in OWN}
    turned = sign < 0
    values["z"] = np.where(turned, -values["z"], values["z"])
    values["eaf"] = np.where(turned, 1.0 - values["eaf"], values["eaf"])
    keep = (sign != 0).all(axis=1)
    if not keep.all():
        shared, values = shared.filter(pa.array(keep)), {name: v[keep] for name, v in values.items()}
    lists = {name: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), k) for name, v in values.items()}
    return pa.table({**{name: shared.column(name) for name in shared.column_names}, **lists}), said


def _signs(shared: pa.Table, alleles: Sequence[pa.Table], k: int) -> tuple[NDArray[np.int8], Alleles]:
    """Signs by the names of the alleles; rows where all traits name them alike, nearly all, need no closer look."""
    m = shared.num_rows
    sign, counts, examples = np.ones((m, k), np.int8), np.zeros((k, 3), np.int64), [""] * k
    counts[:, 0] = m
    alike = np.ones(m, dtype=bool)
    for table in alleles[1:]:
        for name in ("a1", "a2"):
            alike &= pc.equal(table.column(name), shared.column(name)).to_numpy()
    rest = np.flatnonzero(~alike)
    if rest.size:
        a1, a2 = (np.column_stack([t.column(n).take(pa.array(rest)).to_pylist() for t in alleles]) for n in ("a1", "a2"))
        sign[rest], found = align(a1, a2, [str(t) for t in range(k)], mismatch_max=1.0)
        for t in range(k):
            mine = found[str(t)]
            counts[t] = m - rest.size + mine["same"], mine["swapped"], mine["mismatched"]
            wrong = np.flatnonzero(sign[rest, t] == 0)
            if wrong.size:
                i = wrong[0]
                examples[t] = f"{a1[i, t]}/{a2[i, t]} for {a1[i, 0]}/{a2[i, 0]}"
    return sign, Alleles(counts, tuple(examples))


def check_alleles(traits: Sequence[str], parts: Sequence[Alleles]) -> dict[str, dict[str, int]]:
    """Add up how alleles fit; a :class:`DataError` names a trait whose alleles follow another convention."""
    counts = np.sum([p.counts for p in parts], axis=0) if parts else np.zeros((len(traits), 3), np.int64)
    for t, name in enumerate(traits):
        total, wrong = int(counts[t].sum()), int(counts[t, 2])
        if wrong > MISMATCH_SHARE_MAX * total:
            example = next(p.examples[t] for p in parts if p.examples[t])
            raise DataError(
                f"{wrong:,} of {total:,} SNPs have other alleles than in {traits[0]}, as {example}", where=f"trait {name}",
                remedy="harmonise all traits to one reference and strand (munge) before MTAG",
            )
    return {name: dict(zip(("same", "swapped", "mismatched"), map(int, counts[t]), strict=True)) for t, name in enumerate(traits)}


def matrix(rows: pa.Table, name: str) -> Floats:
    """A list column of wide rows as an (m, k) array."""
    column = rows.column(name).combine_chunks()
    k: Any = column.type.list_size
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float64).reshape(-1, k)
