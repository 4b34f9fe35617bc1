"""What a report needs of a GWAS run, thinned on executors: cells of the Manhattan plot, QQ histograms, effects of lead SNPs.

No row of a SNP leaves the executors but those that are drawn one by one: the tail above -log10 p of 4 (gridded too, when it
is long) and the lead SNPs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gsem_spark.report.thinning import ManhattanCells, qq_points, thin_for_manhattan, thin_for_qq
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.hit_rows import rows_with

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Source
    from gsem_spark.catalog.workspace import Workspace

FOREST_LOCI: Final = 12
"""Loci whose traits' effects are drawn."""
_LARGEST: Final = 1e6
"""-log10 p that an infinite one is drawn at."""
_SIGNALS: Final = ("neglog10p", "q_snp_neglog10p")
@dataclass(frozen=True)
class Signals:
    """Columns of -log10 p of the rows that have certain values; of all rows by default."""

    columns: tuple[str, ...]
    words: Mapping[str, str] = field(default_factory=dict)

    def rows_of(self, batch: pa.RecordBatch) -> pd.DataFrame:
        """Those of a batch's rows, as far as figures need them."""
        frame: pd.DataFrame = rows_with(batch, self.words).select(["chr", "bp", *self.columns]).to_pandas()
        return frame


@dataclass(frozen=True)
class ScanPoints:
    """One signal of a scan, thinned: points of the Manhattan plot, points of the QQ plot."""

    manhattan: pd.DataFrame
    qq: pd.DataFrame


def thinned_scan(rows: Source) -> tuple[ScanPoints, ScanPoints]:
    """Thin a run's results for the factor and for Q_SNP.

    Parameters
    ----------
    rows
        Rows of one run in ``gwas_results``, with the columns :data:`SCAN_COLUMNS`.
    """
    ((factor, q),) = thinned_signals(rows, [Signals(_SIGNALS)])
    return factor, q


def thinned_signals(rows: Source, wanted: Sequence[Signals]) -> list[list[ScanPoints]]:
    """Thin columns of -log10 p, each to what its figures need; all in the same two passes over the rows.

    Parameters
    ----------
    rows
        Rows with ``chr bp``, the columns, and those that tell rows apart.
    wanted
        What is drawn.

    Returns
    -------
    list of list of ScanPoints
        For each of ``wanted``, points of its columns.
    """
    grids = [_grids(signals, spans) for signals, spans in zip(wanted, _spans(rows, wanted), strict=True)]

    def thin(batches: Iterable[pa.RecordBatch]) -> Iterator[list[Thinner]]:
        thinners = [Thinner(g) for g in grids]
        for batch in batches:
            for signals, thinner in zip(wanted, thinners, strict=True):
                thinner.add(signals.rows_of(batch))
        yield thinners

    whole = [Thinner(g) for g in grids]
    for of_task in gathered(rows, thin):
        for thinner, other in zip(whole, of_task, strict=True):
            thinner.merge(other.parts)
    return [[thinner.points(c) for c in signals.columns] for signals, thinner in zip(wanted, whole, strict=True)]


SCAN_COLUMNS: Final = ("chr", "bp", *_SIGNALS)
TAIL_FROM: Final = 4.0


class Thinner:
    """Adds up what the figures need of a scan's batches, in any order."""

    def __init__(self, grids: Mapping[str, ManhattanCells]) -> None:
        self._grids = grids
        self.parts: dict[tuple[str, str], list[pd.DataFrame]] = {}

    def add(self, rows: pd.DataFrame) -> None:
        """Thin a batch of rows."""
        for signal, grid in self._grids.items():
            capped = rows[signal].clip(upper=_LARGEST)
            thinned = thin_for_manhattan(rows.assign(**{signal: capped}), grid, y=signal)
            self.merge({("manhattan", signal): [thinned], ("qq", signal): [thin_for_qq(capped)]})

    def merge(self, parts: Mapping[tuple[str, str], list[pd.DataFrame]]) -> None:
        """Take thinned parts; many are thinned to one."""
        for key, frames in parts.items():
            held = self.parts.setdefault(key, [])
            held += [frame for frame in frames if len(frame)]
            if len(held) > _MERGE_AT:
                self.parts[key] = [self._thin(key)]

    def points(self, signal: str) -> ScanPoints:
        """What the figures of a signal draw."""
        return ScanPoints(self._thin(("manhattan", signal)), qq_points(self._thin(("qq", signal))))

    def _thin(self, key: tuple[str, str]) -> pd.DataFrame:
        kind, signal = key
        held = self.parts.get(key, [])
        if kind == "manhattan":
            whole = pd.concat(held) if held else pd.DataFrame({"chr": [], "bp": [], "neglog10p": [], "n": []})
            return thin_for_manhattan(whole, self._grids[signal])
        whole = pd.concat(held, ignore_index=True) if held else pd.DataFrame({"observed": [], "n": []})
        return thin_for_qq(whole["observed"], whole["n"]).astype({"observed": "float64", "n": "int64"})


_MERGE_AT: Final = 20


Spans = dict[int, tuple[int, int, list[int]]]
"""First and last position of each chromosome, and how many rows of each column stand in the tail."""


def _grids(signals: Signals, spans: Spans) -> dict[str, ManhattanCells]:
    span = float(sum(high - low + 1 for low, high, _ in spans.values()))
    tails = [sum(counts[i] for *_, counts in spans.values()) for i in range(len(signals.columns))]
    return dict(zip(signals.columns, (ManhattanCells.for_scan(span, n) for n in tails), strict=True))


def _spans(rows: Source, wanted: Sequence[Signals]) -> list[Spans]:
    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, int, int, int, list[int]]]:
        for batch in batches:
            for number, signals in enumerate(wanted):
                for chromosome, part in signals.rows_of(batch).groupby("chr"):
                    if part["bp"].notna().any():
                        tails = [int((part[column] >= TAIL_FROM).sum()) for column in signals.columns]
                        yield number, int(str(chromosome)), int(part["bp"].min()), int(part["bp"].max()), tails

    found: list[Spans] = [{} for _ in wanted]
    for number, chromosome, first, last, more in gathered(rows, measure):
        low, high, tails = found[number].get(chromosome, (first, last, [0] * len(more)))
        found[number][chromosome] = (min(low, first), max(high, last), [a + b for a, b in zip(tails, more, strict=True)])
    return found


def lead_effects(ws: Workspace, loci: pd.DataFrame, traits: Sequence[str]) -> pd.DataFrame:
    """Read each trait's effect of the strongest lead SNPs of the factor: ``snp trait beta se``, traits in the order given."""
    leads = loci[loci["signal"] == "factor"].nlargest(FOREST_LOCI, "neglog10p", keep="first")
    if leads.empty:
        return pd.DataFrame(columns=["snp", "trait", "beta", "se"])
    chromosomes = sorted({int(c) for c in leads["chr"]})
    names = list(leads["snp"])
    read = (source := ws.source("sumstats", ["trait", "snp", "beta", "se"], {"trait": list(traits), "chr": chromosomes})).read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            wanted = pc.and_(pc.is_in(batch.column("snp"), value_set=pa.array(names)), pc.is_valid(batch.column("beta")))
            yield batch.filter(wanted).select(["snp", "trait", "beta", "se"])

    rows = source.frame.mapInArrow(run, "snp string, trait string, beta double, se double").toPandas()
    place = {trait: i for i, trait in enumerate(traits)}
    return rows.sort_values(["snp", "trait"], key=lambda c: c.map(place) if c.name == "trait" else c, ignore_index=True)
