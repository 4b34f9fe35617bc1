"""Rows of large tables that are few: significant ones, and those of SNPs that are named; filtered on executors, then fetched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.steps import exchange

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Where
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]


def few_rows(
    ws: Workspace, table: str, columns: Sequence[str], where: Where, keep: Callable[[pa.RecordBatch], pa.Array]
) -> pd.DataFrame:
    """Rows of a table for which ``keep`` is true, on the driver, in the order of their first columns."""
    source = ws.source(table, list(columns), where)
    read = source.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            found = batch.filter(pc.fill_null(keep(batch), False))
            if found.num_rows:
                packed = exchange.pack(pa.Table.from_batches([found]))
                yield pa.RecordBatch.from_arrays([pa.array([packed], pa.binary())], names=["packed"])

    parts = [exchange.unpack(bytes(row["packed"])) for row in source.frame.mapInArrow(run, "packed binary").collect()]
    if not parts:
        return pd.DataFrame(columns=list(columns))
    order = [name for name in ("chr", "bp", "snp", "trait") if name in columns]
    rows: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return rows.sort_values(order, ignore_index=True)


def above(columns: Sequence[str], line: float) -> Callable[[pa.RecordBatch], pa.Array]:
    """Rows in which any of the columns is above a line."""
    names = list(columns)

    def keep(batch: pa.RecordBatch) -> pa.Array:
        return reduce(pc.or_, [pc.fill_null(pc.greater(batch.column(name), line), False) for name in names])

    return keep


def named(snps: Collection[str]) -> Callable[[pa.RecordBatch], pa.Array]:
    """Rows of the SNPs named."""
    wanted = pa.array(sorted(snps), pa.string())

    def keep(batch: pa.RecordBatch) -> pa.Array:
        return pc.is_in(batch.column("snp"), value_set=wanted)

    return keep


def rows_with(rows: pa.RecordBatch, words: Mapping[str, str]) -> pa.RecordBatch:
    """Rows of a batch that have the values given; all where none is."""
    if not words:
        return rows
    return rows.filter(reduce(pc.and_, (pc.equal(rows.column(name), value) for name, value in words.items())))


def turned(rows: pd.DataFrame, to: pd.DataFrame) -> Floats:
    """1, -1 or NaN for each of the rows: its alleles are those of the SNP in ``to`` (indexed by SNP), swapped, or others."""
    a1, a2 = (rows[c].astype(str).str.upper().to_numpy() for c in ("a1", "a2"))
    b1, b2 = (to[c].reindex(rows["snp"]).astype(str).str.upper().to_numpy() for c in ("a1", "a2"))
    same, swapped = (a1 == b1) & (a2 == b2), (a1 == b2) & (a2 == b1)
    return np.asarray(np.where(same, 1.0, np.where(swapped, -1.0, np.nan)), dtype=np.float64)


def spread_by_trait(rows: pd.DataFrame, values: Floats, snps: Sequence[str], traits: Sequence[str]) -> Floats:
    """An (m, k) array of one value a SNP and trait; NaN where there is none."""
    out = np.full((len(snps), len(traits)), np.nan)
    at = pd.Index(snps).get_indexer(pd.Index(rows["snp"]))
    of = pd.Index(traits).get_indexer(pd.Index(rows["trait"]))
    known = (at >= 0) & (of >= 0)
    out[at[known], of[known]] = values[known]
    return out
