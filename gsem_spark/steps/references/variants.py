"""Load the variant reference that every GWAS is harmonised to, and the list of HapMap 3 SNPs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import model_validator

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.part_files import Part
from gsem_spark.catalog.raw_digests import RawDigests
from gsem_spark.errors import DataError
from gsem_spark.steps import exchange
from gsem_spark.steps.genotypes.source import block_source, cohort_of
from gsem_spark.steps.munge.raw_fields import FieldReader
from gsem_spark.steps.munge.text_source import TextSource, line_source, open_text
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.references.text import (
    VARIANTS_STEP,
    announce,
    chromosome_codes,
    loads,
    minor_frequency,
    positions,
    require_file,
    text_columns,
)
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from gsem_spark.catalog.workspace import Workspace

_VARIANT_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "snp": ("SNP", "RSID", "RS_ID", "ID", "MARKER", "MARKERNAME", "VARIANT_ID"),
    "a1": ("A1", "ALLELE1", "EFFECT_ALLELE", "ALT"),
    "a2": ("A2", "ALLELE2", "OTHER_ALLELE", "REF"),
    "chr": ("CHR", "CHROM", "#CHROM", "CHROMOSOME"),
    "bp": ("BP", "POS", "POSITION", "BASE_PAIR_LOCATION"),
    "maf": ("MAF", "FRQ", "AF", "FREQ", "EUR", "EAF"),
}
_REQUIRED: Final = ("snp", "a1", "a2")


class VariantsConfig(StepConfig):
    """Where the variant reference is, a file or a cohort of genotypes, and the optional list of HapMap 3 SNPs for LDSC."""

    variants: str | None = None
    hm3: str | None = None
    cohort: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> VariantsConfig:
        if (self.variants is None) == (self.cohort is None):
            raise ValueError("give a file of variants, or a cohort")
        return self

    @property
    def source(self) -> str:
        """What messages name."""
        return self.variants if self.variants is not None else f"cohort {self.cohort}"


class LoadVariants(Step[VariantsConfig]):
    """Read the variant reference (SNP A1 A2 [CHR BP MAF]) into ``reference_variants``."""

    name = VARIANTS_STEP
    Config = VariantsConfig
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("reference_variants",)

    _digests: RawDigests

    def result_config(self) -> dict[str, Any]:
        """Only whether there is a HapMap 3 list; the files count by content, see :meth:`inputs`."""
        return {"hm3": self.config.hm3 is not None}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Content of the files."""
        files = HadoopFiles(ws.spark)
        given = {"variants": self.config.variants, "hm3": self.config.hm3}
        paths = {role: path for role, path in given.items() if path is not None}
        for path in paths.values():
            require_file(files, path)
        self._digests = RawDigests(ws)
        hashes = {role: self._digests.sha256(path)[:16] for role, path in paths.items()}
        return hashes if self.config.cohort is None else {**hashes, "cohort": cohort_of(ws, self.config.cohort).version}

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """The reference that was loaded last is the one in the table."""
        return loads(ws, self.name)[-1].run_id == run_id

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Read, check, drop repeated names (counted), write."""
        with (
            progress.stage("variant reference"),
            ws.stage(["reference_variants"], self._packed(ws), variant_parts) as staged,
        ):
            tally = sum((Counter(json.loads(note)) for note in staged.notes), Counter())
            if tally["rows"] == 0:
                raise DataError("no variant could be read", where=self.config.source, remedy="columns SNP A1 A2 are needed")
            announce(self, ws, plan, {})
            staged.commit("reference_variants", metadata={"run_id": plan.run_id})
        rows, with_maf = tally["rows"], tally["with_maf"]
        warnings = []
        if tally["repeated"]:
            warnings.append(
                f"{tally['repeated']:,} variant names stand more than once in {Path(self.config.source).name}; "
                "all copies were left out"
            )
        if tally["no_chromosome"]:
            warnings.append(
                f"{tally['no_chromosome']:,} of {rows:,} reference variants have no chromosome that is known (1 to 22, X, Y, XY, "
                "M or MT, with or without chr); per-SNP models cannot use them"
            )
        if with_maf < rows:
            warnings.append(f"{rows - with_maf:,} of {rows:,} reference variants have no MAF; per-SNP models cannot use them")
        figures = {name: tally[name] for name in ("placed", "with_maf", "hm3")}
        return Outcome(rows, summary={**figures, **self._digests.summary}, warnings=tuple(warnings))

    def _packed(self, ws: Workspace) -> DataFrame:
        """The file's variants, each name once, packed by chromosome, and tallies of what was found."""
        partitions = int(ws.spark.sparkContext.defaultParallelism)
        buckets = exchange.BUCKETS_PER_PARTITION * partitions
        if self.config.variants is not None:
            together = _packed_file(ws.spark, self.config.variants, _ROWS, buckets)
        else:
            together = _packed_cohort(ws, str(self.config.cohort), buckets)
        listed = self.config.hm3 is not None
        if self.config.hm3 is not None:
            together = together.unionAll(_packed_file(ws.spark, self.config.hm3, _LISTED, buckets))

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            tally: Counter[str] = Counter()
            for _, kinds in exchange.received(batches):
                if _ROWS in kinds:
                    rows = unique_variants(kinds[_ROWS], kinds.get(_LISTED) if listed else None, listed, tally)
                    yield from exchange.packages(_ROWS, [rows], _by_chromosome)
            yield pa.RecordBatch.from_pydict({"bucket": pa.array([0], pa.int32()), "kind": [_TALLY],
                                              "packed": pa.array([json.dumps(tally).encode()], pa.binary())})

        return together.repartition(partitions, "bucket").mapInArrow(run, exchange.PACKED_SCHEMA).repartition("bucket")


_ROWS, _LISTED, _TALLY = "rows", "listed", "tally"
_NO_CHROMOSOME: Final = -1


def unique_variants(rows: pa.Table, listed: pa.Table | None, restricted: bool, tally: Counter[str]) -> pa.Table:
    """Variants whose name stands once, with their place on the HapMap 3 list; what was found is added to the tally."""
    codes = rows.column("snp").combine_chunks().dictionary_encode().indices.to_numpy()
    copies = np.bincount(codes)
    unique = rows.filter(pa.array(copies[codes] == 1))
    names = listed.column("snp").combine_chunks() if listed is not None else pa.array([], pa.string())
    hm3 = pc.is_in(unique.column("snp"), value_set=names) if restricted else pa.repeat(True, unique.num_rows)
    tally.update(
        rows=unique.num_rows,
        placed=unique.num_rows - unique.column("bp").null_count,
        with_maf=unique.num_rows - unique.column("maf").null_count,
        no_chromosome=unique.column("chr").null_count,
        hm3=pc.sum(hm3).as_py() or 0,
        repeated=int((copies > 1).sum()),
    )
    return unique.append_column("hm3", hm3)


def variant_parts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Part] | bytes]:
    """Variants of each chromosome in the order of position and name; the tallies as bytes."""
    tallies: list[bytes] = []
    for bucket, kinds in exchange.received(batches, notes=(_TALLY, tallies)):
        if _ROWS in kinds:
            ordered = kinds[_ROWS].sort_by([("bp", "ascending"), ("snp", "ascending")])
            values = {"chr": None if bucket == _NO_CHROMOSOME else bucket}
            yield "reference_variants", Part(values, ordered.drop_columns(["chr"]))
    yield from tallies


def read_variants(lines: pa.RecordBatch, reader: FieldReader) -> pa.Table:
    """Variants of a batch of lines; those without a name or an allele are left out."""
    text = text_columns(lines.column("value"), reader)
    n = len(text["snp"])
    columns = {
        "snp": text["snp"],
        "chr": chromosome_codes(text["chr"]) if "chr" in text else pa.nulls(n, pa.int32()),
        "bp": positions(text["bp"]) if "bp" in text else pa.nulls(n, pa.int64()),
        "a1": pc.utf8_upper(text["a1"]),
        "a2": pc.utf8_upper(text["a2"]),
        "maf": minor_frequency(text["maf"]) if "maf" in text else pa.nulls(n, pa.float64()),
    }
    there = reduce(pc.and_, (pc.not_equal(text[name], "") for name in _REQUIRED))
    return pa.table(columns).filter(there)


def _by_chromosome(rows: pa.Table) -> NDArray[np.int64]:
    chromosome: NDArray[np.int64] = pc.fill_null(rows.column("chr"), _NO_CHROMOSOME).to_numpy().astype(np.int64)
    return chromosome


def _packed_file(spark: SparkSession, path: str, kind: str, buckets: int) -> DataFrame:
    source = open_text(spark, path, min_columns=len(_REQUIRED))
    reader = FieldReader.of(source.format, _columns_of(source, path))

    lines = line_source(spark, source)
    read = lines.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (read_variants(batch, reader) for batch in read(batches) if batch.num_rows)
        yield from exchange.packages(kind, (t for t in tables if t.num_rows), exchange.by_name("snp", buckets))

    return lines.frame.mapInArrow(run, exchange.PACKED_SCHEMA)


def _packed_cohort(ws: Workspace, cohort: str, buckets: int) -> DataFrame:
    """Variants of a cohort's genotypes, packed."""
    lists = ("snp", "bp", "a1", "a2", "maf")
    blocks = block_source(ws, cohort, columns=("chr", *lists))
    read = blocks.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (_variants_of(batch, lists) for batch in read(batches) if batch.num_rows)
        yield from exchange.packages(_ROWS, tables, exchange.by_name("snp", buckets))

    return blocks.frame.mapInArrow(run, exchange.PACKED_SCHEMA)


def _variants_of(blocks: pa.RecordBatch, lists: Sequence[str]) -> pa.Table:
    """Rows of variants from rows of blocks, as :func:`read_variants` gives them."""
    columns = {name: pc.list_flatten(blocks.column(name)) for name in lists}
    chr_ = blocks.column("chr").take(pc.list_parent_indices(blocks.column("snp")))
    columns["a1"], columns["a2"] = pc.utf8_upper(columns["a1"]), pc.utf8_upper(columns["a2"])
    columns["maf"] = pc.if_else(pc.is_finite(columns["maf"]), columns["maf"], None)
    return pa.table({"snp": columns["snp"], "chr": chr_, **{name: columns[name] for name in ("bp", "a1", "a2", "maf")}})


def _columns_of(source: TextSource, path: str) -> dict[str, int]:
    header = [name.strip().strip('"') for name in source.format.header]
    upper = [name.upper() for name in header]
    at = {role: next((upper.index(s) for s in names if s in upper), None) for role, names in _VARIANT_COLUMNS.items()}
    if missing := [role.upper() for role in _REQUIRED if at[role] is None]:
        raise DataError(
            f"column {', '.join(missing)} not found; the header has {', '.join(header)}",
            where=f"{path}, line {source.format.preamble_lines + 1}",
            remedy="name the columns SNP A1 A2 [CHR BP MAF]",
        )
    return {role: place for role, place in at.items() if place is not None}
