"""Figures of a mixed-model scan, by trait, design and test: inflation, hits, the strongest variant, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from gsem_spark.steps.gather import gathered
from gsem_spark.steps.medians import N_BINS, bin_of, inside, median_of, middle_bins
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Key = tuple[str, str, str]
_COLUMNS: Final = ("trait", "design", "test", "snp", "chr", "bp", "df", "neglog10p", "status")
SHARE_BAD: Final = 0.1
"""A share of failed tests above this is said."""


@dataclass
class Tally:
    """What is counted of one trait, design and test."""

    status: Counter[str] = field(default_factory=Counter)
    bins: Counter[int] = field(default_factory=Counter)
    hits: int = 0
    df: Counter[int] = field(default_factory=Counter)
    best: tuple[float, int, int, str] = (-1.0, 0, 0, "")

    def add(self, rows: pd.DataFrame) -> None:
        """Count rows."""
        self.status.update(Counter(rows["status"]))
        y = rows["neglog10p"].to_numpy(np.float64)
        self.bins.update(dict(zip(*(v.tolist() for v in np.unique(bin_of(y), return_counts=True)), strict=True)))
        self.hits += int((y > -np.log10(GENOME_WIDE_P)).sum())
        self.df.update(Counter(rows["df"].tolist()))
        if np.isfinite(y).any():
            top = rows[y == np.nanmax(y)].sort_values(["chr", "bp", "snp"], kind="stable").iloc[0]
            self.take_best((float(top["neglog10p"]), -int(top["chr"]), -int(top["bp"]), str(top["snp"])))

    def take_best(self, other: tuple[float, int, int, str]) -> None:
        """Keep the smallest p; of equals the first in the genome."""
        self.best = max(self.best, other)

    def merge(self, other: Tally) -> None:
        """Add another part's counts."""
        self.status.update(other.status)
        self.bins.update(other.bins)
        self.df.update(other.df)
        self.hits += other.hits
        self.take_best(other.best)

    @property
    def counts(self) -> np.ndarray:
        """Histogram of -log10 p."""
        out = np.zeros(N_BINS, dtype=np.int64)
        for place, n in self.bins.items():
            out[place] = n
        return out


def summarise(ws: Workspace, run_id: str) -> tuple[dict[str, Any], list[str]]:
    """Figures of a run, and what a reader must know."""
    rows = ws.source("lmm_results", list(_COLUMNS), {"run_id": run_id})
    tallies: dict[Key, Tally] = {}
    for part in gathered(rows, _tally):
        for key, tally in part.items():
            tallies.setdefault(key, Tally()).merge(tally)
    bins = {key: middle_bins(t.counts) for key, t in tallies.items()}
    values: dict[Key, list[float]] = {key: [] for key in tallies}
    for middle in gathered(rows, partial(_middle_values, bins=bins)):
        for key, found in middle.items():
            values[key] += found
    tests = [_figures(key, tallies[key], median_of(tallies[key].counts, bins[key], sorted(values[key])))
             for key in sorted(tallies)]
    status: Counter[str] = Counter()
    for tally in tallies.values():
        status.update(tally.status)
    total = sum(status.values())
    bad = total - status["ok"]
    warnings = []
    if total and bad > SHARE_BAD * total:
        warnings.append(f"{bad:,} of {total:,} tests did not end well: "
                        + ", ".join(f"{name} {n:,}" for name, n in sorted(status.items()) if name != "ok"))
    return {"rows": total, "status": dict(sorted(status.items())), "tests": tests}, warnings


def _figures(key: Key, tally: Tally, median: float | None) -> dict[str, Any]:
    df = next(iter(tally.df)) if len(tally.df) == 1 else None
    inflation = None
    if median is not None and df is not None:
        inflation = float(stats.chi2.isf(10.0**-median, df) / stats.chi2.isf(0.5, df))
    return {"trait": key[0], "design": key[1], "test": key[2], "df": df, "tests": sum(tally.status.values()),
            "lambda_gc": inflation, "hits": tally.hits, "top_snp": tally.best[3] or None,
            "top_neglog10p": tally.best[0] if tally.best[3] else None}


def _tally(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[Key, Tally]]:
    out: dict[Key, Tally] = {}
    for frame in (batch.to_pandas() for batch in batches):
        for key, rows in frame.groupby(["trait", "design", "test"], sort=False):
            out.setdefault(tuple(map(str, key)), Tally()).add(rows)  # type: ignore[arg-type]
    yield out


def _middle_values(batches: Iterable[pa.RecordBatch], bins: Mapping[Key, list[int]]) -> Iterator[dict[Key, list[float]]]:
    out: dict[Key, list[float]] = {}
    for frame in (batch.to_pandas() for batch in batches):
        for key, rows in frame.groupby(["trait", "design", "test"], sort=False):
            name: Any = tuple(map(str, key))
            out.setdefault(name, []).extend(inside(rows["neglog10p"].to_numpy(np.float64), bins[name]).tolist())
    yield out
