"""What a GWAS run came to, by aggregates on executors: statuses, λGC, mean χ², effective N, and the loci.

Only genome-wide significant rows reach the driver.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.methods.gwas.effective_n import EFFECTIVE_N_MAF, lambda_gc
from gsem_spark.methods.gwas.loci import find_loci
from gsem_spark.steps import medians
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.workspace import Workspace

_HIT_COLUMNS: Final = (
    "snp",
    "chr",
    "bp",
    "a1",
    "a2",
    "maf",
    "est",
    "se",
    "z",
    "p",
    "neglog10p",
    "q_snp",
    "q_snp_p",
    "q_snp_neglog10p",
)
_FIXED_POINT: Final = {"chisq": 1e6, "effective": 1e3}
"""Sums are made over whole numbers of these parts, so that they do not move with the order of the rows."""
FAILED_STATUSES: Final = ("not_converged", "not_pd", "singular", "missing")
_SIGNALS: Final = ("chisq", "q_snp")


@dataclass
class Tally:
    """What one pass over result rows adds up: everything in it may be added in any order."""

    status: Counter[str] = field(default_factory=Counter)
    fitted: int = 0
    q_df: int = 0
    chisq: int = 0
    effective: int = 0
    effective_snps: int = 0
    bins: dict[str, NDArray[np.int64]] = field(default_factory=lambda: {s: np.zeros(medians.N_BINS, np.int64) for s in _SIGNALS})
    hits: list[pa.Table] = field(default_factory=list)

    def add(self, rows: pa.RecordBatch) -> None:
        """Count a batch of rows."""
        values = {n: rows.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in ("z", "se", "maf", "q_snp")}
        values["chisq"] = values["z"] ** 2
        for entry in rows.column("status").value_counts().to_pylist():
            self.status[entry["values"]] += entry["counts"]
        known = values["chisq"][~np.isnan(values["chisq"])]
        self.fitted += known.size
        self.chisq += int(np.rint(known * _FIXED_POINT["chisq"]).astype(np.int64).sum())
        low, high = EFFECTIVE_N_MAF
        maf, se = values["maf"], values["se"]
        counted = (maf >= low) & (maf <= high) & (se > 0)
        n_of = 1.0 / (2.0 * maf[counted] * (1.0 - maf[counted]) * se[counted] ** 2)
        self.effective += int(np.rint(n_of * _FIXED_POINT["effective"]).astype(np.int64).sum())
        self.effective_snps += int(counted.sum())
        self.q_df = max(self.q_df, pc.max(rows.column("q_snp_df")).as_py() or 0)
        for signal in _SIGNALS:
            self.bins[signal] += medians.histogram(values[signal])
        small = pc.or_kleene(pc.less(rows.column("p"), GENOME_WIDE_P), pc.less(rows.column("q_snp_p"), GENOME_WIDE_P))
        self.hits.append(pa.Table.from_batches([rows.filter(pc.fill_null(small, False))]).select(list(_HIT_COLUMNS)))

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.status.update(other.status)
        for name in ("fitted", "chisq", "effective", "effective_snps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.q_df = max(self.q_df, other.q_df)
        self.bins = {s: self.bins[s] + other.bins[s] for s in _SIGNALS}
        self.hits += other.hits


def summarise(ws: Workspace, run_id: str, factor_variance: float) -> tuple[dict[str, Any], list[str]]:
    """Write the run's loci and return its figures with the warnings they give rise to.

    ``factor_variance`` is the factor's variance in the units of the effects, by which its effective N is scaled.
    """
    rows = ws.source("gwas_results", [*_HIT_COLUMNS, "q_snp_df", "status"], {"run_id": run_id})
    tally = _tally(rows)
    middle = _medians(ws.source("gwas_results", ["z", "q_snp"], {"run_id": run_id}), tally.bins)
    hits = pa.concat_tables(tally.hits).to_pandas() if tally.hits else pd.DataFrame(columns=list(_HIT_COLUMNS))
    hits = hits.sort_values(["chr", "bp", "snp"], ignore_index=True)
    loci = find_loci(hits)
    ws.put("loci", loci.assign(run_id=run_id), {"run_id": run_id}, metadata={"run_id": run_id})
    status = dict(sorted(tally.status.items()))
    effective = tally.effective / _FIXED_POINT["effective"]
    summary = {
        "status": status,
        "lambda_gc": _finite(_lambda(middle["chisq"], 1)),
        "lambda_gc_q": _finite(_lambda(middle["q_snp"], tally.q_df or 1)),
        "mean_chisq": _finite(tally.chisq / _FIXED_POINT["chisq"] / tally.fitted if tally.fitted else None),
        "effective_n": _finite(factor_variance * effective / tally.effective_snps if tally.effective_snps else None),
        "factor_hits": int((hits["p"] < GENOME_WIDE_P).sum()),
        **_locus_counts(loci),
    }
    return summary, _warnings(status)


def _tally(rows: Source) -> Tally:
    """One pass over the results; each task sends its tally and its hits."""
    read = rows.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tally = Tally()
        for batch in read(batches):
            tally.add(batch)
        yield pa.RecordBatch.from_arrays([pa.array([pickle.dumps(tally)], pa.binary())], names=["tally"])

    total = Tally()
    for row in rows.frame.mapInArrow(run, "tally binary").collect():
        total.merge(pickle.loads(bytes(row["tally"])))
    return total


def _medians(rows: Source, bins: Mapping[str, NDArray[np.int64]]) -> dict[str, float | None]:
    """Exact medians: located by the bins' counts, then by the values of their bins alone, fetched in a second pass."""
    wanted, read = {signal: medians.middle_bins(counts) for signal, counts in bins.items()}, rows.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            z, q = (batch.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in ("z", "q_snp"))
            for signal, values in (("chisq", z * z), ("q_snp", q)):
                inside = medians.inside(values, wanted[signal])
                yield pa.RecordBatch.from_arrays([pa.repeat(signal, inside.size), pa.array(inside)], names=["signal", "value"])

    found: dict[str, list[float]] = {signal: [] for signal in bins}
    if any(wanted.values()):
        for row in rows.frame.mapInArrow(run, "signal string, value double").collect():
            found[row["signal"]].append(row["value"])
    return {signal: medians.median_of(counts, wanted[signal], sorted(found[signal])) for signal, counts in bins.items()}


def _lambda(median: float | None, df: int) -> float | None:
    return None if median is None else lambda_gc(median, df)


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _locus_counts(loci: pd.DataFrame) -> dict[str, int]:
    factor = loci[loci["signal"] == "factor"] if len(loci) else loci
    return {
        "loci": len(factor),
        "loci_factor_only": int(factor["factor_only"].sum()) if len(factor) else 0,
        "loci_qsnp_sig": int(factor["qsnp_sig"].sum()) if len(factor) else 0,
        "q_loci": len(loci) - len(factor),
    }


def _warnings(status: dict[str, int]) -> list[str]:
    total = sum(status.values())
    said = []
    for name, meaning in (
        ("smoothed", "needed smoothing; see their z_smooth"),
        ("heywood", "have an inadmissible solution"),
        ("not_converged", "did not converge"),
        ("not_pd", "could not be made positive definite"),
        ("singular", "have a singular fit"),
        ("missing", "lack an effect, a standard error or a usable MAF"),
    ):
        if status.get(name):
            said.append(f"{status[name]:,} of {total:,} SNPs {meaning} (status {name})")
    return said
