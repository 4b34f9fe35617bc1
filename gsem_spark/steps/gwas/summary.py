"""What a per-SNP run came to, by aggregates on executors: statuses, λGC, mean χ², effective N, and the loci.

Only genome-wide significant rows reach the driver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.methods.gwas.effective_n import EFFECTIVE_N_MAF, lambda_gc
from gsem_spark.methods.gwas.loci import HIT_COLUMNS, find_loci
from gsem_spark.steps import medians
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.hit_rows import rows_with
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
_FIXED_POINT: Final = {"chisq": 1e6, "effective": 1e3}
"""Sums are made over whole numbers of these parts, so that they do not move with the order of the rows."""
FAILED_STATUSES: Final = ("not_converged", "not_pd", "singular", "missing")
_PLACE: Final = ("snp", "chr", "bp", "a1", "a2", "maf")


@dataclass(frozen=True)
class Statistic:
    """A chi-square statistic in the results: its column (or Z, to be squared), and those of its df and p."""

    chisq: str
    df: str | int
    p: str
    neglog10p: str
    squared: bool = False

    def values(self, rows: pa.RecordBatch) -> Floats:
        """The statistic of each row; NaN where there is none."""
        found = _floats(rows, self.chisq)
        return found**2 if self.squared else found

    @property
    def columns(self) -> set[str]:
        """What is read of the results."""
        return {self.chisq, self.p, self.neglog10p} | ({self.df} if isinstance(self.df, str) else set())


EFFECT: Final = Statistic("z", 1, "p", "neglog10p", squared=True)
Q_SNP: Final = Statistic("q_snp", "q_snp_df", "q_snp_p", "q_snp_neglog10p")
OMNIBUS: Final = Statistic("omnibus_chisq", "omnibus_df", "omnibus_p", "omnibus_neglog10p")
WALD: Final = Statistic("chisq", "df", "p", "neglog10p")


@dataclass(frozen=True)
class Measured:
    """Rows of a run that have figures and loci of their own.

    Parameters
    ----------
    label
        What they are called, e.g. ``F1~SNP``.
    signal
        What their loci are called.
    main
        The statistic.
    q
        The factor's Q_SNP beside it.
    words
        Values by which the rows are told from others of the same SNP; empty where a SNP has one row, or for any of its rows.
    factor_variance
        Of the factor in the units of the effects, by which its effective N is scaled; None where there is no such N.
    """

    label: str
    signal: Literal["factor", "effect", "omnibus", "contrast"]
    main: Statistic = EFFECT
    q: Statistic | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    factor_variance: float | None = None

    @property
    def statistics(self) -> dict[str, Statistic]:
        """The main one, and Q_SNP where there is one."""
        return {"main": self.main} | ({} if self.q is None else {"q": self.q})

    def rows_of(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Those of the rows that it speaks of."""
        return rows_with(rows, self.words)

    @property
    def columns(self) -> set[str]:
        """What is read of the results."""
        own = {"est", "se", "z"} if self.signal in ("factor", "effect") else set()
        return {*_PLACE, *self.words, *own}.union(*(s.columns for s in self.statistics.values()))


@dataclass
class Sums:
    """What one pass over the rows of one path adds up: everything in it may be added in any order."""

    measured: Measured
    fitted: int = 0
    chisq: int = 0
    effective: int = 0
    effective_snps: int = 0
    df: dict[str, int] = field(default_factory=dict)
    bins: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    hits: list[pa.Table] = field(default_factory=list)

    def add(self, rows: pa.RecordBatch) -> None:
        """Count rows, all of this path."""
        m = self.measured
        for name, statistic in m.statistics.items():
            values = statistic.values(rows)
            counts = medians.histogram(values)
            self.bins[name] = self.bins[name] + counts if name in self.bins else counts
            df = statistic.df if isinstance(statistic.df, int) else pc.max(rows.column(statistic.df)).as_py() or 0
            self.df[name] = max(self.df.get(name, 0), df)
            if name == "main":
                known = values[~np.isnan(values)]
                self.fitted += known.size
                self.chisq += int(np.rint(known * _FIXED_POINT["chisq"]).astype(np.int64).sum())
        if m.factor_variance is not None:
            maf, se = _floats(rows, "maf"), _floats(rows, "se")
            counted = (maf >= EFFECTIVE_N_MAF[0]) & (maf <= EFFECTIVE_N_MAF[1]) & (se > 0)
            n_of = 1.0 / (2.0 * maf[counted] * (1.0 - maf[counted]) * se[counted] ** 2)
            self.effective += int(np.rint(n_of * _FIXED_POINT["effective"]).astype(np.int64).sum())
            self.effective_snps += int(counted.sum())
        small = (pc.fill_null(pc.less(rows.column(s.p), GENOME_WIDE_P), False) for s in m.statistics.values())
        found = rows.filter(reduce(pc.or_, small))
        if found.num_rows:
            self.hits.append(_hits(m, found))

    def merge(self, other: Sums) -> None:
        """Add what another task found."""
        for name in ("fitted", "chisq", "effective", "effective_snps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, counts in other.bins.items():
            self.bins[name] = self.bins[name] + counts if name in self.bins else counts
            self.df[name] = max(self.df.get(name, 0), other.df[name])
        self.hits += other.hits

    def figures(self, medians_of: Mapping[str, float | None]) -> dict[str, Any]:
        """λGC, mean χ² and effective N."""
        m = self.measured
        found = {
            "lambda_gc": _lambda(medians_of.get("main"), self.df.get("main", 1)),
            "mean_chisq": _finite(self.chisq / _FIXED_POINT["chisq"] / self.fitted if self.fitted else None),
        }
        if m.q is not None:
            found["lambda_gc_q"] = _lambda(medians_of.get("q"), self.df.get("q", 1))
        if m.factor_variance is not None:
            n = self.effective / _FIXED_POINT["effective"] / self.effective_snps if self.effective_snps else None
            found["effective_n"] = _finite(None if n is None else m.factor_variance * n)
        return found


def _hits(m: Measured, rows: pa.RecordBatch) -> pa.Table:
    """Significant rows under the names that loci are found by."""
    renamed = {"p": m.main.p, "neglog10p": m.main.neglog10p}
    if m.q is not None:
        renamed |= {"q_snp": m.q.chisq, "q_snp_p": m.q.p, "q_snp_neglog10p": m.q.neglog10p}
    own = _PLACE if m.signal not in ("factor", "effect") else (*_PLACE, "est", "se", "z")
    sources = {**{name: name for name in own}, **renamed}
    none = pa.nulls(rows.num_rows, pa.float64())
    return pa.table({name: rows.column(sources[name]) if name in sources else none for name in HIT_COLUMNS})


def summarise(
    ws: Workspace, table: str, run_id: str, measured: Sequence[Measured], one_row: Mapping[str, str], *, flat: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Write the run's loci and return its figures with the warnings they give rise to.

    Parameters
    ----------
    ws, table, run_id
        Where the results are.
    measured
        What has figures and loci, in the order in which the loci are numbered.
    one_row
        Words that choose one row of every SNP, by which statuses are counted.
    flat
        The first one's figures stand in the summary itself, as those of a common-factor GWAS; the others under ``paths``.
    """
    columns = sorted({"status", *one_row}.union(*(m.columns for m in measured)))
    status, sums = _sums(ws.source(table, columns, {"run_id": run_id}), measured, one_row)
    middles = _medians(ws, table, run_id, sums)
    loci, paths = [_loci_of(Measured("", "effect"), pd.DataFrame(columns=list(HIT_COLUMNS)))], {}
    for one, middle in zip(sums, middles, strict=True):
        hits = pa.concat_tables(one.hits).to_pandas() if one.hits else pd.DataFrame(columns=list(HIT_COLUMNS))
        found = _loci_of(one.measured, hits.sort_values(["chr", "bp", "snp"], ignore_index=True))
        loci.append(found)
        n_hits = int((hits["p"].astype(float) < GENOME_WIDE_P).sum())
        paths[one.measured.label] = {**one.figures(middle), "hits": n_hits, **_locus_counts(one.measured, found)}
    whole = pd.concat(loci, ignore_index=True)
    whole["locus"] = np.arange(1, len(whole) + 1, dtype=np.int32)
    ws.put("loci", whole.assign(run_id=run_id), {"run_id": run_id}, metadata={"run_id": run_id})
    summary: dict[str, Any] = {"status": dict(sorted(status.items()))}
    if flat:
        first = paths.pop(measured[0].label)
        summary |= {**{k: v for k, v in first.items() if k != "hits"}, "factor_hits": first["hits"]}
    if paths:
        summary |= {"paths": paths, "path_order": list(paths)}
    return summary, _warnings(summary["status"])


def _loci_of(m: Measured, hits: pd.DataFrame) -> pd.DataFrame:
    """Loci of one path, named after it. What says whether a SNP acts through a factor is said of factors alone."""
    loci = find_loci(hits).assign(path=m.label)
    if m.signal != "factor":
        loci["signal"] = loci["signal"].where(loci["signal"] != "factor", m.signal)
        loci["factor_only"] = False
    return loci


def _sums(rows: Source, measured: Sequence[Measured], one_row: Mapping[str, str]) -> tuple[Counter[str], list[Sums]]:
    """One pass over the results; each task sends its sums and its hits."""

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Counter[str], list[Sums]]]:
        status: Counter[str] = Counter()
        sums = [Sums(m) for m in measured]
        for batch in batches:
            for one in sums:
                one.add(one.measured.rows_of(batch))
            for entry in rows_with(batch, one_row).column("status").value_counts().to_pylist():
                status[entry["values"]] += entry["counts"]
        yield status, sums

    status: Counter[str] = Counter()
    total = [Sums(m) for m in measured]
    for more, sums in gathered(rows, add_up):
        status.update(more)
        for one, other in zip(total, sums, strict=True):
            one.merge(other)
    return status, total


def _medians(ws: Workspace, table: str, run_id: str, sums: Sequence[Sums]) -> list[dict[str, float | None]]:
    """Exact medians: located by the bins' counts, then by the values of their bins alone, fetched in a second pass."""
    measured = [one.measured for one in sums]
    wanted = [{name: medians.middle_bins(counts) for name, counts in one.bins.items()} for one in sums]
    columns = sorted({c for m in measured for c in (*m.words, *(s.chisq for s in m.statistics.values()))})
    rows = ws.source(table, columns, {"run_id": run_id})
    read = rows.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            for place, m in enumerate(measured):
                mine = m.rows_of(batch)
                for name, bins in wanted[place].items():
                    found = medians.inside(m.statistics[name].values(mine), bins)
                    key = pa.repeat(f"{place} {name}", found.size)
                    yield pa.RecordBatch.from_arrays([key, pa.array(found)], names=["key", "value"])

    values: dict[str, list[float]] = {}
    if any(bins for one in wanted for bins in one.values()):
        for row in rows.frame.mapInArrow(run, "key string, value double").collect():
            values.setdefault(row["key"], []).append(row["value"])
    return [
        {name: medians.median_of(one.bins[name], bins, sorted(values.get(f"{i} {name}", []))) for name, bins in wanted[i].items()}
        for i, one in enumerate(sums)
    ]


def _floats(rows: pa.RecordBatch, name: str) -> Floats:
    return np.asarray(rows.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)


def _lambda(median: float | None, df: int) -> float | None:
    return None if median is None else _finite(lambda_gc(median, df or 1))


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _locus_counts(m: Measured, loci: pd.DataFrame) -> dict[str, int]:
    main = loci[loci["signal"] == m.signal]
    counts = {"loci": len(main)}
    if m.signal == "factor":
        counts |= {
            "loci_factor_only": int(main["factor_only"].sum()),
            "loci_qsnp_sig": int(main["qsnp_sig"].sum()),
            "q_loci": len(loci) - len(main),
        }
    return counts


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
