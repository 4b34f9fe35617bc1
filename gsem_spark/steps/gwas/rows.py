"""From Arrow batches of the panel to result rows: what runs on the workers of every per-SNP step."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from gsem_spark.catalog.arrow_contracts import ARROW_TYPES
from gsem_spark.catalog.part_files import Part
from gsem_spark.catalog.schemas import schema_of
from gsem_spark.methods.gwas.wald import WALD_COLUMNS, WaldTest
from gsem_spark.steps.gwas.slices import chromosome_of

CARRIED: Final = ("snp", "chr", "slice", "bp", "a1", "a2", "maf")
"""Columns of the panel that stand in the results as they are."""
ROWS_AT_ONCE: Final = 200_000
"""Result rows that are made of a batch at once, which bounds a worker's memory where a SNP has many rows."""
REASONS_KEPT: Final = 10
"""Messages of failed SNPs that are counted by their wording, of each slice; the rest is counted together."""
OMNIBUS: Final = tuple(name for name in WALD_COLUMNS if name.startswith("omnibus"))
Cut = frozenset[int]


class Kernel(Protocol):
    """A prepared model: :class:`CommonFactorGwas`, :class:`UserModelGwas` or :class:`WaldTest`."""

    @property
    def traits(self) -> tuple[str, ...]:
        """Traits in the order of the panel."""

    def fit(self, beta: ArrayLike, se: ArrayLike, maf: ArrayLike) -> dict[str, NDArray[Any]]:
        """Columns of results, all rows of one SNP together."""


@dataclass(frozen=True, eq=False)
class RowMaker:
    """A prepared model and the words that tell its rows apart: pickled once, broadcast to all workers.

    Parameters
    ----------
    table
        Table that the rows are of.
    kernel
        The model.
    words
        Columns that name a row (``lhs op rhs``, or ``test``): the values of each row of a SNP, in order.
    omnibus
        The test that fills the columns ``omnibus_*`` of a table of paths; null where there is none.
    left_out
        Columns that were not asked for: null.
    """

    table: str
    kernel: Kernel
    words: Mapping[str, tuple[str, ...]]
    omnibus: WaldTest | None = None
    left_out: frozenset[str] = frozenset()

    @cached_property
    def rows_per_snp(self) -> int:
        """Result rows of one SNP."""
        return len(next(iter(self.words.values())))

    @property
    def first_row(self) -> dict[str, str]:
        """Words of one row of every SNP; none where a SNP has no other."""
        return {name: values[0] for name, values in self.words.items()} if self.rows_per_snp > 1 else {}

    def warm_up(self) -> None:
        """Compile the kernels for what workers hand them: a model that was pickled, and arrays of Arrow, which are read-only."""
        k = len(self.kernel.traits)
        lists = {name: pa.FixedSizeListArray.from_arrays(pa.array([x] * k), k) for name, x in (("beta", 0.0), ("se", 0.01))}
        kinds = {c.name: ARROW_TYPES[c.type] for c in schema_of("gwas_panel").columns}
        place = {name: pa.array(["" if kinds[name] == pa.string() else 0], kinds[name]) for name in CARRIED if name != "maf"}
        batch = pa.RecordBatch.from_pydict({**place, "maf": pa.array([0.3]), **lists})
        maker: RowMaker = pickle.loads(pickle.dumps(self))
        for _ in maker.tables(batch):
            pass

    def tables(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Result rows of a batch of the panel, but for the columns that are partitions."""
        step = max(ROWS_AT_ONCE // self.rows_per_snp, 1)
        for start in range(0, batch.num_rows, step):
            yield self._rows(batch.slice(start, step))

    def _rows(self, batch: pa.RecordBatch) -> pa.Table:
        n, r, k = batch.num_rows, self.rows_per_snp, len(self.kernel.traits)
        beta, se = (batch.column(c).flatten().to_numpy(zero_copy_only=False).reshape(-1, k) for c in ("beta", "se"))
        maf = batch.column("maf").to_numpy(zero_copy_only=False)
        made: dict[str, NDArray[Any]] = dict(self.kernel.fit(beta, se, maf))
        if self.omnibus is not None:
            tested = self.omnibus.fit(beta, se, maf)
            made |= {name: np.repeat(tested[name], r) for name in OMNIBUS}
        schema = schema_of(self.table)
        each = pa.array(np.repeat(np.arange(n), r)) if r > 1 else None
        columns = {}
        for name in schema.names:
            if name in schema.partitions:
                continue
            if name in self.words:
                values = self.words[name]
                columns[name] = pa.repeat(values[0], n) if r == 1 else pa.array(values).take(pa.array(np.tile(np.arange(r), n)))
            elif name in made and name not in self.left_out:
                text = made[name].dtype == object
                columns[name] = pa.array(made[name], pa.string()) if text else pa.array(made[name], from_pandas=True)
            elif name in CARRIED:
                columns[name] = batch.column(name) if each is None else batch.column(name).take(each)
            else:
                columns[name] = pa.nulls(n * r, ARROW_TYPES[schema.column(name).type])
        return pa.table(columns)


def left_out_columns(smooth_check: bool) -> frozenset[str]:
    """Columns of the results that a GWAS leaves null."""
    return frozenset() if smooth_check else frozenset({"z_smooth"})


@dataclass(frozen=True)
class Scan:
    """A run on its way through the panel."""

    run_id: str
    maker: RowMaker
    missing: Cut
    """Slices that it has no rows of yet."""


def scanned(scans: Sequence[Scan], batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Part] | bytes]:
    """Pass the panel through all models at once; parts of each run by slice, at the end what became of the SNPs."""
    said: dict[tuple[str, int], Tally] = {}
    for batch in batches:
        numbers = batch.column("slice").to_numpy()
        for number in np.unique(numbers).tolist():
            of_it = batch if (numbers == number).all() else batch.filter(pa.array(numbers == number))
            for scan in scans:
                if number not in scan.missing:
                    continue
                tally = said.setdefault((scan.run_id, number), Tally(Counter(), Counter()))
                for rows in scan.maker.tables(of_it):
                    tally.add(rows, scan.maker.rows_per_snp)
                    place = {"run_id": scan.run_id, "slice": number, "chr": chromosome_of(number)}
                    yield scan.maker.table, Part(place, rows)
    yield json.dumps([[run, number, t.status, t.reasons] for (run, number), t in said.items()]).encode()


@dataclass
class Tally:
    """What became of the SNPs of a slice: how many ended in each status, and the messages of those that are not ok."""

    status: Counter[str]
    reasons: Counter[str]

    def add(self, rows: pa.Table, rows_per_snp: int) -> None:
        """Count result rows; all rows of one SNP have its status and message."""
        for name, counter in (("status", self.status), ("message", self.reasons)):
            for entry in rows.column(name).value_counts().to_pylist():
                if entry["values"] is not None:
                    counter[entry["values"]] += entry["counts"] // rows_per_snp

    def merge(self, other: Tally) -> None:
        """Add another part of the same slice."""
        self.status.update(other.status)
        self.reasons.update(other.reasons)

    def record(self) -> dict[str, dict[str, int]]:
        """For the ledger; many different messages are cut to the most frequent."""
        first = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        kept = dict(first[:REASONS_KEPT])
        if rest := sum(n for _, n in first[REASONS_KEPT:]):
            kept["other messages"] = rest
        return {"status": dict(sorted(self.status.items())), "reasons": kept}


def tallies_of(notes: Iterable[bytes]) -> dict[str, dict[int, Tally]]:
    """Notes of all tasks put together: run → slice → what became of its SNPs."""
    found: dict[str, dict[int, Tally]] = {}
    for note in notes:
        for run, number, status, reasons in json.loads(note):
            tally = found.setdefault(run, {}).setdefault(int(number), Tally(Counter(), Counter()))
            tally.merge(Tally(Counter(status), Counter(reasons)))
    return found
