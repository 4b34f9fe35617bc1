"""Per-SNP numbers beside their LD scores on the driver, for the estimators that go over their SNPs more than once.

One row a SNP of the LD-score panel, a million or so, and only the columns asked for: bounded by :data:`LARGEST_BYTES`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.catalog.scratch import mapped_rows, put_rows
from gsem_spark.errors import ConfigError
from gsem_spark.steps import exchange
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.ldsc.inputs import LISTED, PANEL, LdscConfig, hm3_listed, panel_sources
from gsem_spark.steps.ldsc.panel_index import PanelIndex
from gsem_spark.steps.step import checked_config

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
Tables = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.Table]]
LARGEST_BYTES: Final = 1_500_000_000
PANEL_SNPS: Final = 1_300_000
"""SNPs of a full LD-score panel, by which the size is guessed before anything is moved."""
_ROWS: Final = "rows"
_AT: Final = "at"


@dataclass(frozen=True)
class LdArrays:
    """SNPs in panel order: LD scores (m,), weight LD scores (m,), and the columns (m, c) asked for."""

    l2: Floats
    wld: Floats
    columns: Floats


def panel_config(panel: str) -> LdscConfig:
    """What the functions of LD score regression that look at the panel alone are given."""
    return checked_config(LdscConfig, "ld_scores", traits=("any",), panel=panel)


def with_ld_scores(
    ws: Workspace, panel: str, rows: Sequence[tuple[DataFrame, Tables]], columns: Sequence[str], name: str
) -> LdArrays:
    """Bring rows and LD scores together by name and fetch them.

    Parameters
    ----------
    ws
        Workspace with ``ld_scores`` of the panel (and its HapMap 3 list, which is kept to where one was loaded).
    panel
        Name of the LD-score panel.
    rows
        Frames, each with the function that makes of its batches tables of ``snp`` and some of the columns; SNPs that all of
        them have are kept.
    columns
        Names of columns of floating-point numbers.
    name
        Of who asks: its passing files are called so.

    Raises
    ------
    ConfigError
        When that would be more than the driver should hold.
    """
    if 8 * len(columns) * PANEL_SNPS > LARGEST_BYTES:
        raise ConfigError(
            f"{len(columns)} numbers for each SNP of an LD-score panel are too many for one process", where="LD score regression",
            remedy="give the intercepts: cov=gs.ldsc(...), or sigma=",
        )
    if ws.direct:
        with ws.scratch(name) as folder:
            found = _through_files(ws, panel, rows, list(columns), folder)
        if found is not None:
            return found
    return _through_shuffle(ws, panel, rows, list(columns))


def _through_files(
    ws: Workspace, panel: str, rows: Sequence[tuple[DataFrame, Tables]], columns: list[str], folder: Path
) -> LdArrays | None:
    """Workers look names up in the panel's index and leave numbers in files; None where the index cannot tell names apart."""
    scores = ws.rows("ld_scores", {"panel": panel}, ["snp", "ord", "l2", "wld"])
    _, first = np.unique(scores.column("ord").to_numpy(), return_index=True)
    scores = scores.take(pa.array(first)).combine_chunks()
    made = PanelIndex.write(scores.column("snp").combine_chunks(), folder / "panel.arrow")
    if made is None:
        return None
    index, place = made
    known = [_looked_up(frame, tables, index, columns, folder) for frame, tables in rows]
    if hm3_listed(ws):
        listed = ws.source("reference_variants", ["snp", "hm3"])
        known.append(_looked_up(listed.frame, _listed_names(listed), index, [], folder))
    values, there = np.zeros((index.size, len(columns))), np.ones(index.size, dtype=bool)
    for present, found in known:
        there &= present
        for name, column in found.items():
            values[:, columns.index(name)] = column
    keep = there[place]
    l2, wld = (scores.column(name).to_numpy()[keep] for name in ("l2", "wld"))
    return LdArrays(l2, wld, values[place[keep]])


def _listed_names(listed: Source) -> Tables:
    read = listed.read

    def names(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        for batch in read(batches):
            yield pa.table({"snp": batch.filter(batch.column("hm3")).column("snp")})

    return names


def _looked_up(
    frame: DataFrame, tables: Tables, index: PanelIndex, columns: Sequence[str], folder: Path
) -> tuple[NDArray[np.bool_], dict[str, Floats]]:
    """Which of the index's names a frame has, and its columns in the order of the index."""

    def look(batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
        for table in tables(batches):
            at = index.find(table.column("snp").combine_chunks())
            mine = table.select([c for c in columns if c in table.column_names]).append_column(_AT, pa.array(at))
            mine = mine.filter(pa.array(at >= 0))
            path = str(folder / f"{uuid.uuid4().hex}.arrow")
            put_rows(path, mine)
            yield path

    present = np.zeros(index.size, dtype=bool)
    found: dict[str, Floats] = {}
    for path in gathered(frame, look):
        mine = mapped_rows(path)
        at = mine.column(_AT).to_numpy()
        present[at] = True
        for name in (c for c in mine.column_names if c != _AT):
            found.setdefault(name, np.zeros(index.size))[at] = mine.column(name).to_numpy()
    return present, found


def _through_shuffle(ws: Workspace, panel: str, rows: Sequence[tuple[DataFrame, Tables]], wanted: Sequence[str]) -> LdArrays:
    """The same where Spark has to bring rows and scores together."""
    partitions = max(int(ws.spark.sparkContext.defaultParallelism), 1)
    buckets = exchange.BUCKETS_PER_PARTITION * partitions
    listed_only = hm3_listed(ws)
    kinds_wanted = [f"{_ROWS}{i}" for i in range(len(rows))]

    def receive(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _, kinds in exchange.received(batches):
            if {*kinds_wanted, PANEL, *([LISTED] if listed_only else [])} <= set(kinds):
                scores = kinds[PANEL]
                if listed_only:
                    names = kinds[LISTED].filter(kinds[LISTED].column("hm3")).column("snp")
                    scores = scores.filter(pc.is_in(scores.column("snp"), value_set=names.combine_chunks()))
                found = scores
                for kind in kinds_wanted:
                    found = found.join(kinds[kind], "snp", join_type="inner", use_threads=False)
                packed = exchange.pack(found.select(["ord", "l2", "wld", *wanted]).combine_chunks())
                yield pa.RecordBatch.from_arrays([pa.array([packed], pa.binary())], names=["packed"])

    frames = [_sent(frame, tables, kind, buckets) for (frame, tables), kind in zip(rows, kinds_wanted, strict=True)]
    frames += [exchange.packed_names(s, kind, buckets) for kind, s in panel_sources(ws, panel_config(panel)).items()]
    together = reduce(lambda a, b: a.unionAll(b), frames)
    got = together.repartition(partitions, "bucket").mapInArrow(receive, "packed binary").toArrow().column("packed")
    parts = [exchange.unpack(blob.as_buffer()) for blob in got]
    if not parts:
        return LdArrays(np.zeros(0), np.zeros(0), np.zeros((0, len(wanted))))
    found = pa.concat_tables(parts)
    _, first = np.unique(found.column("ord").to_numpy(), return_index=True)
    found = found.take(pa.array(first))
    values = np.column_stack([found.column(name).to_numpy() for name in wanted])
    return LdArrays(found.column("l2").to_numpy(), found.column("wld").to_numpy(), values)


def _sent(frame: DataFrame, tables: Tables, kind: str, buckets: int) -> DataFrame:
    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from exchange.packages(kind, (t for t in tables(batches) if t.num_rows), exchange.by_name("snp", buckets))

    return frame.mapInArrow(send, exchange.PACKED_SCHEMA)
