"""Rows of several traits that meet: the SNPs that all of them have, and where each trait's row of a SNP stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def met_rows(rows: pa.Table, k: int, shared: Sequence[str]) -> tuple[pa.Table, Ints]:
    """SNPs that all k traits have, in the order of position and name.

    Parameters
    ----------
    rows
        Rows in any order, with ``trait`` (its number, from 0), ``snp``, ``bp``.
    k
        Traits.
    shared
        Columns that the first trait gives for all.

    Returns
    -------
    shared, at
        The first trait's columns, m rows; (m, k) numbers of the traits' rows, -1 for a trait without one.
    """
    codes = rows.column("snp").combine_chunks().dictionary_encode().indices.to_numpy()
    trait = rows.column("trait").to_numpy()
    present = np.bincount(codes) == k
    first = np.flatnonzero((trait == 0) & present[codes])
    found = rows.select(list(shared)).take(pa.array(first))
    order = pc.sort_indices(found, sort_keys=[("bp", "ascending"), ("snp", "ascending")]).to_numpy()
    place = np.full(present.size, -1)
    place[codes[first[order]]] = np.arange(order.size)
    kept = np.flatnonzero(place[codes] >= 0)
    at = np.full((order.size, k), -1)
    at[place[codes[kept]], trait[kept]] = kept
    return found.take(pa.array(order)).combine_chunks(), at


def side_by_side(rows: pa.Table, name: str, at: Ints) -> Floats:
    """A column of numbers as (m, k) by SNP and trait, NaN where there is none."""
    values = pc.fill_null(rows.column(name), float("nan")).to_numpy()
    if not len(values):
        return np.full(at.shape, np.nan)
    return np.where(at >= 0, values[at], np.nan)
