"""Block sums on the executors: one join, two mapped passes over its chunks, and the table that keeps what they give."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.arrays import chisq_limit
from gsem_spark.methods.ldsc.blocks import PairBlocks, PairTotals, collect_blocks, plan_second_pass
from gsem_spark.methods.ldsc.regression import (
    BLOCK_SUMS,
    CHUNK_SNPS,
    MEDIAN_BINS,
    PAIR_SUMS,
    FirstPass,
    PassPlan,
    SecondPass,
    TraitRows,
    first_pass,
    second_pass,
    split_chunk,
)
from gsem_spark.steps import exchange
from gsem_spark.steps.ldsc.inputs import LISTED, PANEL, LdscConfig, TraitSource, hm3_listed, panel_sources
from gsem_spark.steps.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIRS_PER_PASS: Final = 5000
"""Pairs whose block sums are made in one go: bounds what the driver holds to some hundred MB whatever the number of traits."""
ROWS_PER_PART: Final = 1_000_000
"""Rows that a task gathers before it packs them: about 50 MB."""


@dataclass(frozen=True)
class PairResult:
    """Block sums of one pair with what is kept beside them."""

    names: tuple[str, str]
    blocks: PairBlocks
    figures: Mapping[str, Any]


def joined_rows(ws: Workspace, config: LdscConfig, sources: Sequence[TraitSource]) -> DataFrame:
    """Usable rows of all traits and the panel's LD scores, packed, those of a name in the same task."""
    number = {s.name: i for i, s in enumerate(sources)}
    exempt = frozenset(s.name for s in sources if s.reference_rules)
    info_min, maf_min = config.info_min, config.maf_min
    rows = ws.source("sumstats", ["trait", "snp", "z", "n", "info", "eaf", "maf"], {"trait": list(number)})
    read = rows.read
    partitions = max(int(ws.spark.sparkContext.defaultParallelism), len(sources))
    buckets = exchange.BUCKETS_PER_PARTITION * partitions

    def of_traits(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (regression_rows(batch, number, exempt, info_min, maf_min) for batch in read(batches))
        yield from exchange.packages("traits", (t for t in tables if t.num_rows), exchange.by_name("snp", buckets))

    together = rows.frame.mapInArrow(of_traits, exchange.PACKED_SCHEMA)
    for kind, panel in panel_sources(ws, config).items():
        together = together.unionAll(exchange.packed_names(panel, kind, buckets))
    return together.repartition(partitions, "bucket")


def regression_rows(
    batch: pa.RecordBatch, number: Mapping[str, int], exempt: frozenset[str], info_min: float, maf_min: float
) -> pa.Table:
    """Rows fit for LDSC: trait (as its number), snp, z, n."""
    trait = pc.index_in(batch.column("trait"), value_set=pa.array(list(number), pa.string()))
    eaf = batch.column("eaf")
    frequency = pc.coalesce(pc.min_element_wise(eaf, pc.subtract(1.0, eaf), skip_nulls=False), batch.column("maf"))
    usable = pc.and_(
        pc.fill_null(pc.greater_equal(batch.column("info"), info_min), True),
        pc.fill_null(pc.greater_equal(frequency, maf_min), True),
    )
    if exempt:
        usable = pc.or_(usable, pc.is_in(batch.column("trait"), value_set=pa.array(sorted(exempt))))
    fit = pc.and_(usable, pc.and_(pc.is_valid(batch.column("z")), pc.is_valid(batch.column("n"))))
    return pa.table({"trait": trait, **{name: batch.column(name) for name in ("snp", "z", "n")}}).filter(fit)


def with_scores(kinds: Mapping[str, pa.Table], listed_only: bool) -> pa.Table | None:
    """A bucket's rows with their LD scores, in no order; None when the bucket has no row, or no LD score."""
    if not {"traits", PANEL, *([LISTED] if listed_only else [])} <= set(kinds):
        return None
    panel = kinds[PANEL]
    if listed_only:
        listed = kinds[LISTED].filter(kinds[LISTED].column("hm3"))
        panel = panel.filter(pc.is_in(panel.column("snp"), value_set=listed.column("snp").combine_chunks()))
    # Every pair of copies is a row, as in the reference programs' merge.
    return kinds["traits"].join(panel, "snp", join_type="inner", use_threads=False).select(list(_COLUMNS))


def packed_chunks(rows: DataFrame, n_traits: int, listed_only: bool) -> DataFrame:
    """One row a chunk: the chunk's rows in their total order as bytes, kept for both passes.

    Each task first packs what it has of every chunk into bytes, so that the shuffle that brings chunks together moves some
    thousand byte strings instead of every row of every trait.
    """

    def split(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        joined = (with_scores(kinds, listed_only) for _, kinds in exchange.received(batches))
        for part in _gathered(b for table in joined if table is not None for b in table.to_batches()):
            yield _parts_by_chunk(part)

    def merge(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for chunk, trait, chunk_rows in merged_chunks(batches):
            yield _packed(chunk, trait, chunk_rows, n_traits)

    parts = rows.mapInArrow(split, _PARTS_SCHEMA)
    shuffled = int(rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    # With many traits as many partitions as traits: each then holds about one trait's share of the panel, some 50 MB.
    placed = parts.repartition(n_traits, "chunk") if n_traits > shuffled else parts.repartition("chunk")
    return placed.sortWithinPartitions("chunk").mapInArrow(merge, _PACKED_SCHEMA)


def make_blocks(
    ws: Workspace, config: LdscConfig, sources: Sequence[TraitSource], pairs: Sequence[tuple[int, int]], M: float, n_blocks: int,
    progress: Progress,
) -> list[PairResult] | None:
    """Compute the block sums of pairs of traits (numbers in ``sources``); None when no SNP is there at all."""
    # Traits by name, so that a pair's sums are the same bits in whatever order a structure lists its traits.
    used = sorted({t for pair in pairs for t in pair}, key=lambda t: sources[t].name)
    chosen = [sources[t] for t in used]
    names = [s.name for s in chosen]
    local = np.array([sorted((used.index(i), used.index(j))) for i, j in pairs], dtype=np.int64)
    chunks = packed_chunks(joined_rows(ws, config, chosen), len(names), hm3_listed(ws)).persist()
    try:
        with progress.stage("LDSC: joining summary statistics and LD scores", unit="rows") as stage:
            rows, max_n = _sizes(chunks, len(names))
            stage.advance(float(rows.sum()))
        if not rows.any():
            return None
        none_missing(names, rows)
        limits = np.array([chisq_limit(n, config.chisq_max) for n in max_n.tolist()])
        out: list[PairResult] = []
        for start in range(0, len(local), PAIRS_PER_PASS):
            part = local[start : start + PAIRS_PER_PASS]
            with progress.stage("LDSC: weights and block boundaries", total=len(part), unit="pairs") as stage:
                plan, totals = plan_second_pass(_run_first(chunks, part, limits), part, names, M, n_blocks)
                stage.advance(len(part))
            with progress.stage("LDSC: block sums", total=len(part), unit="pairs") as stage:
                made = collect_blocks(_run_second(chunks, plan, limits), plan, totals)
                stage.advance(len(part))
            for (i, j), blocks in zip(part.tolist(), made, strict=True):
                figures = {} if i != j else {
                    "n_merged": int(rows[i]), "chisq_max": float(limits[i]), "snps_removed": int(rows[i] - totals.bins[i].sum()),
                }
                out.append(PairResult((names[i], names[j]), blocks, figures))
        return out
    finally:
        chunks.unpersist()


def _sizes(chunks: DataFrame, n_traits: int) -> tuple[Ints, Floats]:
    """Rows and largest N of each trait; this job also fills the cache."""
    rows, max_n = np.zeros(n_traits, dtype=np.int64), np.zeros(n_traits)
    for _, in_chunk, largest in _arrays(chunks.select("chunk", "rows", "max_n").toArrow()):
        rows += in_chunk
        np.maximum(max_n, largest, out=max_n)
    return rows, max_n


def none_missing(names: Sequence[str], rows: Ints) -> None:
    """A :class:`DataError` names the traits without a usable row."""
    absent = [name for name, n in zip(names, rows, strict=True) if n == 0]
    if absent:
        raise DataError(f"no SNP with a Z-score, a sample size and LD scores in {', '.join(absent)}", where="table sumstats",
                        remedy="check that SNP names are rsIDs and that the file has a sample size (or give n)")


_COLUMNS: Final = ("trait", "ord", "z", "n", "l2", "wld")
_TYPES: Final[dict[str, Any]] = {"trait": np.int32, "ord": np.int64}
_PARTS_SCHEMA: Final = "chunk int, trait binary, ord binary, z binary, n binary, l2 binary, wld binary"
_PACKED_SCHEMA: Final = f"{_PARTS_SCHEMA}, rows array<bigint>, max_n array<double>"
_FIRST_SCHEMA: Final = "chunk int, count array<bigint>, sums array<double>, bins array<bigint>"
_SECOND_SCHEMA: Final = (
    "chunk int, pair array<bigint>, block array<bigint>, count array<bigint>, sums array<double>, "
    "middle_trait array<bigint>, middle array<double>"
)


def _run_first(chunks: DataFrame, pairs: Ints, limits: Floats) -> list[FirstPass]:
    def mapper(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for chunk, traits in _unpacked(batches, limits):
            done = first_pass(chunk, traits, pairs)
            yield _batch(chunk, count=done.count, sums=done.sums, bins=done.bins)

    got = chunks.mapInArrow(mapper, _FIRST_SCHEMA).toArrow()
    return [
        FirstPass(chunk, count, sums.reshape(-1, PAIR_SUMS), bins.reshape(-1, MEDIAN_BINS))
        for chunk, count, sums, bins in _arrays(got)
    ]


def _run_second(chunks: DataFrame, plan: PassPlan, limits: Floats) -> list[SecondPass]:
    def mapper(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for chunk, traits in _unpacked(batches, limits):
            done = second_pass(chunk, traits, plan)
            yield _batch(chunk, pair=done.pair, block=done.block, count=done.count, sums=done.sums,
                         middle_trait=done.middle_trait, middle=done.middle)

    got = chunks.mapInArrow(mapper, _SECOND_SCHEMA).toArrow()
    return [
        SecondPass(chunk, pair, block, count, sums.reshape(-1, BLOCK_SUMS), middle_trait, middle)
        for chunk, pair, block, count, sums, middle_trait, middle in _arrays(got)
    ]


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches of a task in heaps of about :data:`ROWS_PER_PART`: few parts a chunk, and bounded memory."""
    pending: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        pending.append(batch)
        size += batch.num_rows
        if size >= ROWS_PER_PART:
            yield pa.Table.from_batches(pending)
            pending, size = [], 0
    if size:
        yield pa.Table.from_batches(pending)


def _parts_by_chunk(table: pa.Table) -> pa.RecordBatch:
    """One row a chunk that occurs, each column as the bytes of its values there."""
    chunk = table.column("ord").to_numpy() // CHUNK_SNPS
    # numpy sorts 16-bit integers by radix, several times faster than wider ones.
    order = np.argsort(chunk.astype(np.int16) if chunk.max() < 2**15 else chunk, kind="stable")
    numbers, starts = np.unique(chunk[order], return_index=True)
    edges = np.append(starts, chunk.size)
    columns = []
    for name in _COLUMNS:
        values = table.column(name).to_numpy()[order].astype(_TYPES.get(name, np.float64), copy=False)
        offsets = pa.array(edges * values.itemsize, pa.int32())
        columns.append(pa.Array.from_buffers(pa.binary(), numbers.size, [None, offsets.buffers()[1], pa.py_buffer(values)]))
    return pa.RecordBatch.from_arrays([pa.array(numbers, pa.int32()), *columns], names=["chunk", *_COLUMNS])


def merged_chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Ints, TraitRows]]:
    """Put the parts of each chunk together (parts come sorted by chunk): number, trait of each row, rows in their total order."""
    current: int | None = None
    pending: list[tuple[NDArray[Any], ...]] = []
    for batch in batches:
        for row, chunk in enumerate(batch.column("chunk").to_pylist()):
            if current is not None and chunk != current:
                yield current, *_in_total_order(pending)
                pending = []
            current = chunk
            pending.append(tuple(_from_bytes(batch, name, row) for name in _COLUMNS))
    if current is not None:
        yield current, *_in_total_order(pending)


def _from_bytes(batch: pa.RecordBatch, name: str, row: int) -> NDArray[Any]:
    return np.frombuffer(batch.column(name)[row].as_buffer(), dtype=_TYPES.get(name, np.float64))


def _in_total_order(parts: Sequence[tuple[NDArray[Any], ...]]) -> tuple[Ints, TraitRows]:
    """Sort a chunk's rows by trait, SNP and then the values themselves, so that arrival order leaves no trace."""
    trait, ord, z, n, l2, wld = (np.concatenate(column) for column in zip(*parts, strict=True))
    key = trait.astype(np.int64) * CHUNK_SNPS + ord % CHUNK_SNPS
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    if (ordered[1:] == ordered[:-1]).any():  # a SNP twice in one trait: its copies by their values
        order = np.lexsort((n, z, key))
    return trait[order].astype(np.int64), TraitRows(ord, z, n, l2, wld).take(order)


def _packed(chunk: int, trait: Ints, rows: TraitRows, n_traits: int) -> pa.RecordBatch:
    starts = np.searchsorted(trait, np.arange(n_traits + 1))
    max_n = np.array([rows.n[i:j].max(initial=0.0) for i, j in pairwise(starts)])
    values = {"trait": trait.astype(_TYPES["trait"]), **{name: getattr(rows, name) for name in _COLUMNS[1:]}}
    packed = [pa.array([values[name].tobytes()], pa.binary()) for name in _COLUMNS]
    sizes = _batch(chunk, rows=np.diff(starts), max_n=max_n)
    return pa.RecordBatch.from_arrays(
        [sizes.column("chunk"), *packed, sizes.column("rows"), sizes.column("max_n")],
        names=["chunk", *_COLUMNS, "rows", "max_n"],
    )


def _unpacked(batches: Iterable[pa.RecordBatch], limits: Floats) -> Iterator[tuple[int, list[TraitRows]]]:
    """Chunks as :func:`packed_chunks` packed them, SNPs above their trait's chi-square limit left out."""
    for batch in batches:
        for row, chunk in enumerate(batch.column("chunk").to_pylist()):
            trait, ord, z, n, l2, wld = (_from_bytes(batch, name, row) for name in _COLUMNS)
            yield chunk, split_chunk(trait.astype(np.int64), TraitRows(ord, z, n, l2, wld), limits)


def _batch(chunk: int, **columns: NDArray[Any]) -> pa.RecordBatch:
    lists = {
        name: pa.ListArray.from_arrays(pa.array([0, values.size], pa.int32()), pa.array(values.ravel()))
        for name, values in columns.items()
    }
    return pa.RecordBatch.from_pydict({"chunk": pa.array([chunk], pa.int32()), **lists})


def _arrays(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches():
        for at in range(batch.num_rows):
            lists = (column[at].values.to_numpy(zero_copy_only=False) for column in batch.columns[1:])
            yield (int(batch.column(0)[at].as_py()), *lists)


# --- block sums in the catalog -------------------------------------------------------------------------------------------------
def stored_blocks(ws: Workspace, ids: Sequence[str], n_blocks: int) -> dict[str, PairResult]:
    """Block sums that earlier runs left behind, by their id; incomplete ones do not count."""
    if not ws.exists("ldsc_blocks"):
        return {}
    rows = ws.rows("ldsc_blocks", {"blocks_id": list(ids)}).to_pandas()
    out = {}
    for blocks_id, part in rows.groupby("blocks_id", sort=True):
        if len(part) != n_blocks:
            continue
        ordered = part.sort_values("block")
        beside = json.loads(ordered["pair"].iloc[0])
        blocks = PairBlocks(
            ordered["n_snps"].to_numpy(np.int64), np.array(ordered["xtx"].tolist()).reshape(-1, 2, 2),
            np.array(ordered["xty"].tolist()), PairTotals.from_record(beside["totals"]),
        )
        out[str(blocks_id)] = PairResult((ordered["trait_1"].iloc[0], ordered["trait_2"].iloc[0]), blocks, beside["figures"])
    return out


def block_rows(results: Mapping[str, PairResult], panel: str) -> list[dict[str, Any]]:
    """Block sums as rows of ``ldsc_blocks``."""
    rows = []
    for blocks_id, result in results.items():
        beside = json.dumps({"totals": result.blocks.totals.as_record(), "figures": result.figures})
        for b in range(len(result.blocks.count)):
            rows.append({
                "blocks_id": blocks_id, "panel": panel, "trait_1": result.names[0], "trait_2": result.names[1], "block": b,
                "n_snps": int(result.blocks.count[b]), "xtx": result.blocks.xtx[b].ravel().tolist(),
                "xty": result.blocks.xty[b].tolist(), "pair": beside,
            })
    return rows
