"""The rows that MTAG works on: filters, one join, effects turned to one allele, wide rows packed by stretch of genome.

Every summary-statistics row moves once. What comes out is one row a stretch of genome, its SNPs in the order of position and
name, as Arrow bytes: sums over stretches do not depend on tasks, and a chromosome can be worked on by itself.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.mtag.filters import MISMATCH_SHARE_MAX, TraitFilter, align, filter_trait
from gsem_spark.steps import exchange
from gsem_spark.steps.gather import gathered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STRETCH_BP: Final = 25_000_000
"""Rows are brought together by chromosome and stretches of this length; sums are made stretch by stretch."""
TASKS_PER_CORE: Final = 4
PACKED_SCHEMA: Final = "chr int, part long, snps long, said binary, packed binary"
_STRETCHES: Final = 10_000
_SAME: Final = ("snp", "bp", "maf")
_OWN: Final = ("z", "n", "eaf")
_AMBIGUOUS: Final = ("AT", "TA", "CG", "GC")
_COLUMNS: Final = ("trait", "chr", "snp", "bp", "a1", "a2", "maf", "eaf", "info", "n", "z")


@dataclass(frozen=True)
class RowRules:
    """Filters of single rows, picklable: what :class:`~gsem_spark.methods.mtag.TraitFilter` says of frequencies, and more.

    Parameters
    ----------
    maf_min
        Rows with a minor allele frequency (of the GWAS, else of the reference) of at most this are left out; None: no filter.
    info_min
        Rows with a lower imputation quality, where the file has one; None: no filter.
    drop_ambiguous
        Whether A/T and C/G variants are left out.
    """

    maf_min: float | None
    info_min: float | None
    drop_ambiguous: bool

    def passes(self, rows: pa.RecordBatch) -> tuple[pa.Array, dict[str, int]]:
        """Which rows pass, and how many each filter drops of those that passed the ones before it."""
        known = [pc.is_valid(rows.column(name)) for name in ("z", "n", "chr", "bp")]
        checks = {"missing": reduce(pc.and_, [*known, pc.fill_null(pc.greater(rows.column("n"), 0.0), False)])}
        if self.info_min is not None:
            checks["info"] = pc.fill_null(pc.greater_equal(rows.column("info"), self.info_min), True)
        if self.maf_min is not None:
            eaf = rows.column("eaf")
            maf = pc.coalesce(pc.min_element_wise(eaf, pc.subtract(1.0, eaf), skip_nulls=False), rows.column("maf"))
            checks["maf"] = pc.fill_null(pc.greater(maf, self.maf_min), False)
        if self.drop_ambiguous:
            pair = pc.binary_join_element_wise(pc.utf8_upper(rows.column("a1")), pc.utf8_upper(rows.column("a2")), "")
            checks["ambiguous"] = pc.invert(pc.is_in(pair, value_set=pa.array(_AMBIGUOUS)))
        passing, dropped = pa.repeat(True, rows.num_rows), {}
        for name, check in checks.items():
            after = pc.and_(passing, check)
            dropped[name] = (pc.sum(passing).as_py() or 0) - (pc.sum(after).as_py() or 0)
            passing = after
        return passing, dropped


@dataclass
class TraitTally:
    """What one pass over a trait's rows adds up: rows, rows dropped by each filter, and how often each sample size occurs."""

    rows: int = 0
    with_n: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    sizes: list[tuple[Floats, NDArray[np.int64]]] = field(default_factory=list)

    def add(self, rows: pa.RecordBatch, rules: RowRules) -> None:
        """Count a batch of rows of the trait."""
        passing, dropped = rules.passes(rows)
        self.rows += rows.num_rows
        self.with_n += rows.num_rows - rows.column("n").null_count
        self.dropped.update(dropped)
        found = rows.column("n").filter(passing).value_counts()
        self.sizes.append((found.field("values").to_numpy(), found.field("counts").to_numpy()))

    def merge(self, other: TraitTally) -> None:
        """Add another tally."""
        self.rows, self.with_n = self.rows + other.rows, self.with_n + other.with_n
        self.dropped.update(other.dropped)
        self.sizes += other.sizes

    def condense(self) -> TraitTally:
        """Bring equal sample sizes together."""
        if self.sizes:
            values, places = np.unique(np.concatenate([v for v, _ in self.sizes]), return_inverse=True)
            counts = np.zeros(values.size, np.int64)
            np.add.at(counts, places.ravel(), np.concatenate([c for _, c in self.sizes]))
            self.sizes = [(values, counts)]
        return self


@dataclass(frozen=True)
class Chosen:
    """Which rows of each trait take part, in the order of the traits.

    Parameters
    ----------
    traits
        Names.
    rules
        Filters of single rows.
    low, high
        Smallest and largest N that pass the filters of sample sizes.
    dropped
        Rows that each filter drops, by trait.
    """

    traits: tuple[str, ...]
    rules: RowRules
    low: tuple[float, ...]
    high: tuple[float, ...]
    dropped: Mapping[str, Mapping[str, int]]


def choose_rows(ws: Workspace, traits: Sequence[str], rules: RowRules, sizes: TraitFilter) -> Chosen:
    """One pass over the traits' rows: what each filter drops, and which sample sizes pass.

    Raises
    ------
    DataError
        A trait has no row, no sample size, or nothing passes its filters: named with the numbers.
    """
    tallies = _tallies(ws, traits, rules)
    low, high, dropped = [], [], {}
    for trait in traits:
        tally = tallies.get(trait, TraitTally())
        if tally.rows == 0:
            raise DataError("there is no row of the trait", where=f"table sumstats, trait {trait}", remedy="munge it again")
        if tally.with_n == 0:
            raise DataError("no SNP has a sample size", where=f"trait {trait}",
                            remedy="give N when munging (n=, or a column): MTAG's weights depend on it")
        values, counts = tally.condense().sizes[0]
        said = dict(tally.dropped)
        if values.size == 0:
            told = ", ".join(f"{name} {count:,}" for name, count in said.items())
            raise DataError(f"no SNP passes the filters (dropped: {told})", where=f"trait {trait}",
                            remedy="check frequencies and N, or relax the filters")
        n = np.repeat(values, counts)
        found = filter_trait(np.zeros(n.size), n, np.full(n.size, 0.5), sizes)
        kept = n[found.keep]
        low.append(float(kept.min()))
        high.append(float(kept.max()))
        said |= {name: count for name, count in found.dropped.items() if name not in ("missing", "maf")}
        dropped[trait] = {"rows": tally.rows, **said, "kept": int(kept.size)}
    return Chosen(tuple(traits), rules, tuple(low), tuple(high), dropped)


def _tallies(ws: Workspace, traits: Sequence[str], rules: RowRules) -> dict[str, TraitTally]:
    def tallied(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, TraitTally]]:
        found: dict[str, TraitTally] = {}
        for batch in batches:
            for trait, part in _by_trait(batch):
                found.setdefault(trait, TraitTally()).add(part, rules)
        yield {trait: tally.condense() for trait, tally in found.items()}

    total: dict[str, TraitTally] = {}
    for of_task in gathered(ws.source("sumstats", list(_COLUMNS), {"trait": list(traits)}), tallied):
        for trait, tally in of_task.items():
            total.setdefault(trait, TraitTally()).merge(tally)
    return total


def _by_trait(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    names = batch.column("trait")
    for trait in pc.unique(names).to_pylist():
        mine = pc.equal(names, trait)
        yield trait, batch if pc.all(mine).as_py() else batch.filter(mine)


def joined(ws: Workspace, chosen: Chosen) -> DataFrame:
    """Wide rows of the SNPs that all traits have: one row a stretch of genome, in the columns of :data:`PACKED_SCHEMA`."""
    rows = ws.source("sumstats", list(_COLUMNS), {"trait": list(chosen.traits)})
    read, k, stretch = rows.read, len(chosen.traits), STRETCH_BP

    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = (part for batch in read(batches) for part in _by_trait(batch))
        tables = (_chosen_rows(rows, chosen.traits.index(trait), chosen) for trait, rows in parts)
        yield from exchange.packages("rows", (t for t in tables if t.num_rows), lambda t: _stretch(t, stretch))

    def receive(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for bucket, kinds in exchange.received(batches):
            wide, said = wide_rows(kinds["rows"], k)
            values = ([bucket // _STRETCHES], [bucket], [wide.num_rows], [pickle.dumps(said)], [exchange.pack(wide)])
            kinds_of = (pa.int32(), pa.int64(), pa.int64(), pa.binary(), pa.binary())
            arrays = [pa.array(v, t) for v, t in zip(values, kinds_of, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=["chr", "part", "snps", "said", "packed"])

    # What is kept in memory keeps its partitions: as few as give all cores work, and hold a trait's worth of rows each.
    partitions = max(TASKS_PER_CORE * int(ws.spark.sparkContext.defaultParallelism), k)
    together = rows.frame.mapInArrow(send, exchange.PACKED_SCHEMA).repartition(partitions, "bucket")
    return together.mapInArrow(receive, PACKED_SCHEMA)


def _chosen_rows(rows: pa.RecordBatch, trait: int, chosen: Chosen) -> pa.Table:
    passing, _ = chosen.rules.passes(rows)
    n = rows.column("n")
    size = pc.and_(pc.greater_equal(n, chosen.low[trait]), pc.less_equal(n, chosen.high[trait]))
    columns = {name: rows.column(name) for name in ("chr", "a1", "a2", *_SAME, *_OWN)}
    table = pa.table({"trait": pa.repeat(pa.scalar(trait, pa.int32()), rows.num_rows), **columns})
    return table.filter(pc.and_(passing, pc.fill_null(size, False)))


def _stretch(rows: pa.Table, length: int) -> NDArray[np.int64]:
    chromosome, bp = (rows.column(name).to_numpy().astype(np.int64) for name in ("chr", "bp"))
    place: NDArray[np.int64] = chromosome * _STRETCHES + bp // length
    return place


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
    codes = rows.column("snp").combine_chunks().dictionary_encode().indices.to_numpy()
    trait = rows.column("trait").to_numpy()
    present = np.bincount(codes) == k
    first = np.flatnonzero((trait == 0) & present[codes])
    shared = rows.select([*_SAME, "a1", "a2"]).take(pa.array(first))
    order = pc.sort_indices(shared, sort_keys=[("bp", "ascending"), ("snp", "ascending")]).to_numpy()
    place = np.full(present.size, -1)
    place[codes[first[order]]] = np.arange(order.size)
    shared = shared.take(pa.array(order)).combine_chunks()
    at = [np.empty(order.size, np.int64) for _ in range(k)]
    for t in range(k):
        mine = np.flatnonzero((trait == t) & (place[codes] >= 0))
        at[t][place[codes[mine]]] = mine
    alleles = rows.select(["a1", "a2"]).combine_chunks()
    sign, said = _signs(shared, [alleles.take(pa.array(i)) for i in at], k)
    values = {}
    for name in _OWN:
        column = pc.fill_null(rows.column(name), float("nan")).to_numpy()
        values[name] = np.column_stack([column[i] for i in at]) if order.size else np.empty((0, k))
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
