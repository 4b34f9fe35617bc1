"""The GWAS panel: one row for each SNP that every trait of a set has, effects side by side in the order of the trait list.

A task reads a chromosome's files of all traits and makes the wide rows slice by slice (stretches of 50 Mb). Where Spark has to
read the tables, rows are brought together by slice, packed, each moving once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from gsem_spark.catalog.part_files import Part
from gsem_spark.catalog.spans import Cut
from gsem_spark.errors import DataError
from gsem_spark.steps import exchange
from gsem_spark.steps.gwas.slices import SLICE_BP, chromosome_of, slice_of
from gsem_spark.steps.met_rows import met_rows, side_by_side
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import PartFunction
    from gsem_spark.catalog.workspace import Workspace


class PanelConfig(StepConfig):
    """Which traits, in which order, and which rows of them."""

    traits: tuple[str, ...] = Field(min_length=1)
    info_min: float = Field(PER_SNP_INFO_MIN, ge=0, description="lowest imputation quality, where the file has one")
    maf_min: float = Field(PER_SNP_MAF_MIN, ge=0, le=0.5, description="lowest minor allele frequency in the reference")


class BuildPanel(Step[PanelConfig]):
    """Join the traits' per-SNP effects into ``gwas_panel``."""

    name: ClassVar[str] = "panel"
    reads: ClassVar[tuple[str, ...]] = ("traits", "sumstats")
    writes: ClassVar[tuple[str, ...]] = ("gwas_panel",)

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Version of each trait."""
        return {f"sumstats/{t}": row["file_id"] for t, row in trait_rows(ws, self.config.traits).items()}

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Join and commit."""
        traits = trait_rows(ws, self.config.traits)
        with progress.stage(f"panel of {len(traits)} traits"):
            frame, parts = self._parts(ws, traits, plan.run_id)
            ws.replace_parts("gwas_panel", frame, parts, {"panel_id": plan.run_id}, metadata={"run_id": plan.run_id})
            counts = by_chromosome(panel_counts(ws, plan.run_id))
        rows = sum(counts.values())
        kept = {t: row["rows_kept"] for t, row in traits.items()}
        warnings = () if rows else (f"no SNP has effects in all of {', '.join(traits)}",)
        return Outcome(
            rows, {str(c): str(n) for c, n in counts.items()}, {"panel_id": plan.run_id, "rows_of_trait": kept}, warnings
        )

    def _parts(self, ws: Workspace, traits: dict[str, Any], panel_id: str) -> tuple[DataFrame, PartFunction]:
        """What tasks are given, and what makes parts of the panel of it."""
        number = {t: i for i, t in enumerate(traits)}
        # Where the reference's own rules were applied, in its own order, when the file was munged, INFO is settled.
        exempt = frozenset(t for t, row in traits.items() if json.loads(row["settings"]).get("compat") == "genomicsem")
        usable = partial(
            usable_rows, number=number, exempt=exempt, info_min=self.config.info_min, maf_min=self.config.maf_min
        )
        columns, where = ["trait", "chr", *_SAME, *_OWN, "info"], {"trait": list(traits)}
        spans = ws.spans("sumstats", columns, where, "chr", Cut("bp", SLICE_BP))
        if spans is not None:
            read_spans = spans.read

            def parts_of_spans(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
                for _, found in read_spans(batches):
                    tables = (table for table in map(usable, found) if table.num_rows)
                    yield from panel_parts(exchange.pieces(tables, _slices), panel_id, len(number))

            return spans.frame, parts_of_spans
        source = ws.source("sumstats", columns, where)
        read = source.read

        def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from exchange.packages("rows", (table for table in map(usable, read(batches)) if table.num_rows), _slices)

        def parts_of_packages(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
            slices = ((bucket, kinds["rows"]) for bucket, kinds in exchange.received(batches))
            return panel_parts(slices, panel_id, len(number))

        return source.frame.mapInArrow(send, exchange.PACKED_SCHEMA).repartition("bucket"), parts_of_packages


_SAME: Final = ("snp", "bp", "a1", "a2", "maf")
_OWN: Final = ("beta", "se", "n")


def usable_rows(
    batch: pa.RecordBatch, number: Mapping[str, int], exempt: frozenset[str], info_min: float, maf_min: float
) -> pa.Table:
    """Rows fit for per-SNP models, the trait as its number in the panel."""
    trait = pc.index_in(batch.column("trait"), value_set=pa.array(list(number), pa.string()))
    info = pc.fill_null(pc.greater_equal(batch.column("info"), info_min), True)
    if exempt:
        info = pc.or_(info, pc.is_in(batch.column("trait"), value_set=pa.array(sorted(exempt))))
    known = [pc.is_valid(batch.column(name)) for name in ("beta", "se", "chr", "maf")]
    fit = reduce(pc.and_, [*known, info, pc.fill_null(pc.greater_equal(batch.column("maf"), maf_min), False)])
    columns = {name: batch.column(name) for name in ("chr", *_SAME, *_OWN)}
    return pa.table({"trait": trait, **columns}).filter(fit)


def _slices(rows: pa.Table) -> NDArray[np.int64]:
    bp = pc.fill_null(rows.column("bp"), 0).to_numpy()
    return slice_of(rows.column("chr").to_numpy().astype(np.int64), bp)


def panel_parts(slices: Iterable[tuple[int, pa.Table]], panel_id: str, n_traits: int) -> Iterator[Part]:
    """Wide rows of each slice, in the order of position and name."""
    for number, rows in slices:
        place: dict[str, str | int | None] = {"panel_id": panel_id, "slice": number, "chr": chromosome_of(number)}
        yield Part(place, wide_rows(rows, n_traits))


def wide_rows(rows: pa.Table, n_traits: int) -> pa.Table:
    """One row a SNP that all traits have: what is the same for all of them, and beta, se, n as lists in the traits' order."""
    shared, at = met_rows(rows, n_traits, _SAME)
    bounds = np.arange(len(at) + 1, dtype=np.int32) * n_traits
    columns = {name: pa.ListArray.from_arrays(bounds, side_by_side(rows, name, at).ravel()) for name in _OWN}
    return pa.table({**{name: shared.column(name) for name in _SAME}, **columns})


def panel_counts(ws: Workspace, panel_id: str) -> dict[int, int]:
    """SNPs of a panel per slice, in order."""
    found = ws.count("gwas_panel", {"panel_id": panel_id})
    return dict(sorted((int(str(number)), n) for (_, number, _), n in found.items() if n))


def by_chromosome(counts: Mapping[int, int]) -> dict[int, int]:
    """Counts of slices added up by chromosome."""
    found: dict[int, int] = {}
    for number, n in sorted(counts.items()):
        found[chromosome_of(number)] = found.get(chromosome_of(number), 0) + n
    return found


def trait_rows(ws: Workspace, names: Sequence[str]) -> dict[str, Any]:
    """The traits' registry rows in the order asked for; a :class:`DataError` names those that are not there."""
    rows = {r["trait"]: r for r in ws.records("traits")}
    if missing := [n for n in names if n not in rows]:
        known = ", ".join(sorted(rows)) or "none"
        raise DataError(
            f"no summary statistics of {', '.join(missing)}; there are {known}", where="table traits",
            remedy="munge them first, or leave them out",
        )
    return {n: rows[n] for n in names}
