"""MTAG's writing pass: every SNP goes through the estimator once, its rows to the table, what the summary needs to the driver.

Chromosomes are written in waves, each one atomic commit. The medians behind λ are exact: the pass counts chi-squares by bins,
and a second, much cheaper one fetches the values of the middle bins.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.catalog.part_files import Part
from gsem_spark.methods.gwas.effective_n import lambda_gc
from gsem_spark.methods.mtag.estimate import MtagColumns, MtagModel, unstandardise
from gsem_spark.methods.mtag.summary import ScanSums, merge_scan_sums, scan_sums, summary_table, weights_table
from gsem_spark.steps import medians
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.mtag.model import ModelFacts
from gsem_spark.steps.mtag.stretches import Stretch, WideRows
from gsem_spark.steps.mtag.wide import matrix
from gsem_spark.steps.progress import Progress

if TYPE_CHECKING:
    from gsem_spark.catalog.store import Scope
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
WAVE_ROWS_PER_CORE: Final = 3_000_000
"""Result rows (SNPs times traits) of one commit, for each core: what a lost driver loses is seconds of work."""
META: Final = "meta"
"""Name of the one result of a meta-analysis."""


@dataclass
class Scan:
    """What passes over the SNPs add up: sums by stretch, and chi-squares by bins, before and after (2k columns)."""

    sums: list[ScanSums] = field(default_factory=list)
    bins: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, z: Floats, n: Floats, out: MtagColumns, part: int) -> None:
        """Count a stretch of SNPs."""
        self.sums.append(scan_sums(z, n, out, part))
        self._count([medians.histogram(column * column) for column in np.hstack([z, out.z]).T])

    def pack(self) -> bytes:
        """As bytes for the driver; of the bins only those that hold a value."""
        places = [np.flatnonzero(b).astype(np.int32) for b in self.bins]
        return pickle.dumps((self.sums, [(at, b[at]) for at, b in zip(places, self.bins, strict=True)]))

    def merge(self, packed: bytes) -> None:
        """Add what another task packed."""
        sums, bins = pickle.loads(packed)
        self.sums += sums
        whole = [np.zeros(medians.N_BINS, np.int64) for _ in bins]
        for counts, (at, n) in zip(whole, bins, strict=True):
            counts[at] = n
        self._count(whole)

    def _count(self, more: list[NDArray[np.int64]]) -> None:
        self.bins = [a + b for a, b in zip(self.bins, more, strict=True)] if self.bins else more


def result_names(model: MtagModel) -> tuple[str, ...]:
    """What results are told apart by: the traits, or the meta-analysis."""
    return (META,) if model.one_result else model.traits


def write_results(
    ws: Workspace, wide: WideRows, model: MtagModel, run_id: str, counts: Mapping[int, int], done: set[int], progress: Progress
) -> Scan:
    """Write the chromosomes that are missing, scan those that are not, and return the sums of all."""
    scan, shared = Scan(), ws.spark.sparkContext.broadcast(model)

    def made(stretches: Iterable[Stretch]) -> Iterator[tuple[str, Part] | bytes]:
        mine, the_model = Scan(), shared.value
        for stretch in stretches:
            z, n = matrix(stretch.rows, "z"), matrix(stretch.rows, "n")
            out = the_model.fit(z, n)
            mine.add(z, n, out, stretch.part)
            place = {"run_id": run_id, "chr": stretch.chromosome}
            yield from (("mtag_results", part) for part in result_parts(the_model, stretch.rows, out, place))
        if mine.sums:
            yield mine.pack()

    def scanned(stretches: Iterable[Stretch]) -> Iterator[bytes]:
        return (note for note in made(stretches) if isinstance(note, bytes))

    with progress.stage("MTAG", total=sum(counts.values()), unit="SNPs") as stage:
        if done:
            found = wide.source(done)
            for note in gathered(found.frame, found.then(scanned)):
                scan.merge(note)
            stage.advance(sum(n for chromosome, n in counts.items() if chromosome in done))
        missing = {chromosome: n for chromosome, n in counts.items() if chromosome not in done}
        wave_rows = WAVE_ROWS_PER_CORE * int(ws.spark.sparkContext.defaultParallelism)
        for wave in _waves(missing, wave_rows // len(result_names(model))):
            scopes: list[Scope] = [{"run_id": run_id, "chr": chromosome} for chromosome in wave]
            stretches = wide.source(wave)
            with ws.stage(["mtag_results"], stretches.frame, stretches.then(made)) as staged:
                for note in staged.notes:
                    scan.merge(note)
                staged.commit("mtag_results", scopes, metadata={"run_id": run_id, "chr": wave})
            stage.advance(sum(counts[chromosome] for chromosome in wave), note=f"chr {wave[0]}–{wave[-1]}")
    return scan


def _waves(counts: Mapping[int, int], snps: int) -> list[list[int]]:
    """Chromosomes in order, packed into waves of at most so many SNPs (one chromosome at least)."""
    packed: list[list[int]] = []
    size = 0
    for chromosome in sorted(counts):
        if not packed or size + counts[chromosome] > snps:
            packed.append([])
            size = 0
        packed[-1].append(chromosome)
        size += counts[chromosome]
    return packed


def result_parts(model: MtagModel, rows: pa.Table, out: MtagColumns, place: Mapping[str, Any]) -> Iterator[Part]:
    """One stretch's estimates as rows of the table, one part a trait. NaN becomes null, as tables keep it."""
    z, n, eaf = (matrix(rows, name) for name in ("z", "n", "eaf"))
    if model.one_result:
        eaf = _row_means(eaf)
        z = n = np.full_like(eaf, np.nan)
        out = MtagColumns(*(getattr(out, name)[:, :1] for name in ("beta", "se", "z", "p", "neglog10p")))
    # A frequency is known from the reference where the GWAS has none; which of the two alleles it is of does not matter here.
    frequency = np.where(np.isnan(eaf), rows.column("maf").to_numpy()[:, None], eaf)
    beta, se = unstandardise(out.beta, out.se, frequency)
    shared = {name: rows.column(name) for name in ("snp", "bp", "a1", "a2")}
    of_trait = {
        "eaf": eaf, "n": n, "z": z, "mtag_beta": beta, "mtag_se": se, "std_beta": out.beta, "std_se": out.se, "mtag_z": out.z,
        "mtag_p": out.p, "neglog10p": out.neglog10p,
    }
    for t, trait in enumerate(result_names(model)):
        columns = {name: pa.array(values[:, t].copy(), from_pandas=True) for name, values in of_trait.items()}
        yield Part({**place, "trait": trait}, pa.table({**shared, **columns}))


def _row_means(values: Floats) -> Floats:
    """(m, 1) means of what is known in each row; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    means = np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nan)[:, None]


def summarised(wide: WideRows, facts: ModelFacts, scan: Scan) -> dict[str, Any]:
    """Figures before and after, by trait, with the weights."""
    model, k = facts.model, len(facts.model.traits)
    middle = [medians.middle_bins(b) for b in scan.bins]
    values = _middle_values(wide, model, middle)
    found = [medians.median_of(b, m, np.sort(v).tolist()) for b, m, v in zip(scan.bins, middle, values, strict=True)]
    inflation = np.array([np.nan if m is None else lambda_gc(m) for m in found]).reshape(2, k).T
    table = summary_table(merge_scan_sums(scan.sums), model, inflation)
    weights = weights_table(model, facts.n_mean)
    return {
        "snps": facts.n_snps, "omega_method": model.method, "traits": _records(table), "weights": _records(weights),
        "filters": {t: dict(found) for t, found in facts.filters.items()},
    }


def _middle_values(wide: WideRows, model: MtagModel, wanted: Sequence[Sequence[int]]) -> list[Floats]:
    """Chi-squares that lie in the middle bins: first of the inputs, trait by trait, then of MTAG."""

    def middle(stretches: Iterable[Stretch]) -> Iterator[list[Floats]]:
        for rows in (stretch.rows for stretch in stretches):
            z = matrix(rows, "z")
            columns = np.hstack([z, model.z_scores(z, matrix(rows, "n"))]).T
            yield [medians.inside(c * c, bins) for c, bins in zip(columns, wanted, strict=True)]

    stretches = wide.source()
    found = gathered(stretches.frame, stretches.then(middle))
    return [np.concatenate([f[i] for f in found]) if found else np.zeros(0) for i in range(len(wanted))]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): None if isinstance(v, float) and v != v else v for name, v in row.items()} for row in table.to_dict("records")
    ]
