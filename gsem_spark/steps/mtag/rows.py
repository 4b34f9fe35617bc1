"""The rows that MTAG works on: filters of single rows and of sample sizes, counted in a pass of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.mtag.filters import TraitFilter, filter_trait
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.mtag.wide import OWN, SHARED

if TYPE_CHECKING:

    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NEEDED: Final = ("z", "n", "chr", "bp")
_AMBIGUOUS: Final = ("AT", "TA", "CG", "GC")
COLUMNS: Final = ("trait", "chr", *SHARED, *OWN, "info")
"""Columns of ``sumstats`` that MTAG reads."""


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

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the filters look at."""
        asked = [*(["info"] if self.info_min is not None else []), *(["eaf", "maf"] if self.maf_min is not None else []),
                 *(["a1", "a2"] if self.drop_ambiguous else [])]
        return (*_NEEDED, *asked)

    def passes(self, rows: pa.RecordBatch) -> tuple[pa.Array, dict[str, int]]:
        """Which rows pass, and how many each filter drops of those that passed the ones before it."""
        known = [pc.is_valid(rows.column(name)) for name in _NEEDED]
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

    def rows(self, rows: pa.RecordBatch, trait: int) -> pa.Table:
        """Those of a trait's rows that take part, the trait as its number."""
        passing, _ = self.rules.passes(rows)
        n = rows.column("n")
        size = pc.and_(pc.greater_equal(n, self.low[trait]), pc.less_equal(n, self.high[trait]))
        columns = {name: rows.column(name) for name in ("chr", *SHARED, *OWN)}
        table = pa.table({"trait": pa.repeat(pa.scalar(trait, pa.int32()), rows.num_rows), **columns})
        return table.filter(pc.and_(passing, pc.fill_null(size, False)))


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
            for trait, part in by_trait(batch):
                found.setdefault(trait, TraitTally()).add(part, rules)
        yield {trait: tally.condense() for trait, tally in found.items()}

    total: dict[str, TraitTally] = {}
    for of_task in gathered(ws.source("sumstats", ["trait", *rules.columns], {"trait": list(traits)}), tallied):
        for trait, tally in of_task.items():
            total.setdefault(trait, TraitTally()).merge(tally)
    return total


def by_trait(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Rows of a batch trait by trait."""
    names = batch.column("trait")
    for trait in pc.unique(names).to_pylist():
        mine = pc.equal(names, trait)
        yield trait, batch if pc.all(mine).as_py() else batch.filter(mine)
