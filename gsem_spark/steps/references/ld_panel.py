"""Load LD scores and regression weights as the ldsc programs publish them: an ancestry panel."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import StorageLevel

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.part_files import Part
from gsem_spark.catalog.raw_digests import RawDigests
from gsem_spark.errors import DataError
from gsem_spark.steps import exchange
from gsem_spark.steps.munge.raw_fields import FieldReader
from gsem_spark.steps.munge.text_source import TextSource, body_source, open_text
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.references.text import (
    LD_STEP,
    announce,
    chromosome_codes,
    loads,
    minor_frequency,
    numbers,
    positions,
    text_columns,
)
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig, content_hash

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from gsem_spark.catalog.workspace import Workspace

_REQUIRED: Final = ("CHR", "SNP", "BP")
_LD_FILE: Final = re.compile(r"^(\d+)\.l2\.ldscore(\.gz)?$")


class LdScoresConfig(StepConfig):
    """Where the LD scores (and weights, when they stand elsewhere) are, and the panel's name."""

    ld_scores: str
    weights: str | None = None
    panel: str = "eur"


class LoadLdScores(Step[LdScoresConfig]):
    """Read a folder as the ldsc programs publish it (``1.l2.ldscore.gz`` …, ``1.l2.M_5_50`` …) into ``ld_scores``."""

    name = LD_STEP
    Config = LdScoresConfig
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("ld_scores",)

    _digests: RawDigests

    def result_config(self) -> dict[str, Any]:
        """The panel's name; the files count by content."""
        return {"panel": self.config.panel}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Content of every file of the folder(s)."""
        files = HadoopFiles(ws.spark)
        folders = {"ld_scores": self.config.ld_scores, **({"weights": self.config.weights} if self._separate() else {})}
        self._digests = RawDigests(ws)
        return {
            role: content_hash(
                {name: self._digests.sha256(f"{folder}/{name}") for name in _score_files(files, str(folder), role == "ld_scores")}
            )
            for role, folder in folders.items()
        }

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """The folder that was loaded last under this panel name is the one in the table."""
        of_panel = [e for e in loads(ws, self.name) if e.summary.get("panel") == self.config.panel]
        return bool(of_panel) and of_panel[-1].run_id == run_id

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Read scores and weights, order them, write the panel."""
        panel = self.config.panel
        with progress.stage(f"LD scores of panel {panel}"):
            packed, counts = self._packed(ws.spark)
            packed = packed.persist(StorageLevel.MEMORY_AND_DISK)
            try:
                sizes = _sizes(packed)
                self._check_counts(sizes, counts)
                announce(self, ws, plan, {"panel": panel})
                first = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))
                kept = packed.where(f"kind = '{_ROWS}'").repartition("bucket")
                ws.replace_parts(
                    "ld_scores", kept, lambda batches: panel_parts(batches, panel, first, counts), {"panel": panel},
                    metadata={"run_id": plan.run_id},
                )
            finally:
                packed.unpersist()
        rows = sum(sizes.values())
        return Outcome(
            rows,
            {str(c): str(n) for c, n in sorted(sizes.items())},
            {"panel": panel, "M": sum(counts.values()), "snps": rows, **self._digests.summary},
            tuple(_frequency_warning(ws, panel)),
        )

    def _separate(self) -> bool:
        return self.config.weights is not None and self.config.weights != self.config.ld_scores

    def _packed(self, spark: SparkSession) -> tuple[DataFrame, dict[int, float]]:
        """SNPs of the panel with score and weight, packed by chromosome, their numbers, and M by chromosome."""
        files = HadoopFiles(spark)
        counts = _read_counts(files, self.config.ld_scores)
        partitions = int(spark.sparkContext.defaultParallelism)
        buckets = exchange.BUCKETS_PER_PARTITION * partitions
        together = _packed_folder(spark, files, self.config.ld_scores, _ROWS, buckets)
        separate = self._separate()
        if separate:
            together = together.unionAll(_packed_folder(spark, files, str(self.config.weights), _WEIGHTS, buckets))

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for _, kinds in exchange.received(batches):
                if (rows := weighted(kinds, separate)) is not None:
                    yield from exchange.packages(_ROWS, [rows], _by_chromosome)
                    numbers, counted = np.unique(_by_chromosome(rows), return_counts=True)
                    yield pa.RecordBatch.from_pydict({
                        "bucket": pa.array(numbers, pa.int32()), "kind": [_SIZE] * numbers.size,
                        "packed": pa.array([str(n).encode() for n in counted.tolist()], pa.binary()),
                    })

        return together.repartition(partitions, "bucket").mapInArrow(run, exchange.PACKED_SCHEMA), counts

    def _check_counts(self, sizes: dict[int, int], counts: dict[int, float]) -> None:
        if not sizes:
            raise DataError("no LD score could be read", where=self.config.ld_scores, remedy="columns CHR SNP BP … L2 are needed")
        if missing := sorted(set(sizes) - set(counts)):
            raise DataError(
                f"chromosomes {missing} have LD scores and no .l2.M_5_50 file",
                where=self.config.ld_scores,
                remedy="fetch the whole folder; M is part of the heritability estimate",
            )


_ROWS, _WEIGHTS, _SIZE = "rows", "weights", "size"


def weighted(kinds: Mapping[str, pa.Table], separate: bool) -> pa.Table | None:
    """A bucket's SNPs with the LD score of their regression weight; None where there is none."""
    if _ROWS not in kinds or (separate and _WEIGHTS not in kinds):
        return None
    rows = kinds[_ROWS]
    if not separate:
        return rows.append_column("wld", rows.column("l2"))
    weights = kinds[_WEIGHTS].select(["snp", "l2"]).rename_columns(["snp", "wld"])
    return rows.join(weights, "snp", join_type="inner", use_threads=False)


def panel_parts(
    batches: Iterable[pa.RecordBatch], panel: str, first: Mapping[int, int], counts: Mapping[int, float]
) -> Iterator[Part]:
    """SNPs of each chromosome numbered by position and name: a place that depends on the data only."""
    for chromosome, kinds in exchange.received(batches):
        rows = kinds[_ROWS].drop_columns(["chr"])
        ordered = rows.sort_by([("bp", "ascending"), ("snp", "ascending"), ("l2", "ascending"), ("wld", "ascending")])
        place = pa.array(np.arange(first[chromosome], first[chromosome] + rows.num_rows))
        whole = ordered.append_column("ord", place).append_column("m", pa.repeat(float(counts[chromosome]), rows.num_rows))
        yield Part({"panel": panel, "chr": chromosome}, whole)


def read_scores(lines: pa.Array, reader: FieldReader) -> pa.Table:
    """SNPs of a batch of lines; those without chromosome, name, position or score are left out."""
    text = text_columns(lines, reader)
    n = len(text["snp"])
    columns = {
        "chr": chromosome_codes(text["chr"]),
        "snp": text["snp"],
        "bp": positions(text["bp"]),
        "cm": numbers(text["cm"]) if "cm" in text else pa.nulls(n, pa.float64()),
        "maf": minor_frequency(text["maf"]) if "maf" in text else pa.nulls(n, pa.float64()),
        "l2": numbers(text["l2"]),
    }
    there = [pc.is_valid(columns[name]) for name in ("chr", "bp", "l2")]
    return pa.table(columns).filter(reduce(pc.and_, there, pc.not_equal(text["snp"], "")))


def _by_chromosome(rows: pa.Table) -> NDArray[np.int64]:
    chromosome: NDArray[np.int64] = rows.column("chr").to_numpy().astype(np.int64)
    return chromosome


def _packed_folder(spark: SparkSession, files: HadoopFiles, folder: str, kind: str, buckets: int) -> DataFrame:
    """SNPs of all chromosomes' files, packed by name. Files are read by column name, so each header has its own reader."""
    by_header: dict[str, tuple[FieldReader, list[TextSource]]] = {}
    for name in _score_files(files, folder, False):
        source = open_text(spark, f"{folder}/{name}", min_columns=len(_REQUIRED))
        text = source.format.delimiter.join(source.format.header)
        by_header.setdefault(text, (FieldReader.of(source.format, _columns_of(source, folder)), []))[1].append(source)
    frames = [_packed_lines(spark, reader, sources, kind, buckets) for reader, sources in by_header.values()]
    return reduce(lambda a, b: a.unionAll(b), frames)


def _packed_lines(spark: SparkSession, reader: FieldReader, sources: list[TextSource], kind: str, buckets: int) -> DataFrame:
    lines = body_source(spark, sources)
    read = lines.read

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # A header line among them has no number for a position, and is left out with what else has none.
        tables = (read_scores(batch.column("value"), reader) for batch in read(batches) if batch.num_rows)
        yield from exchange.packages(kind, (t for t in tables if t.num_rows), exchange.by_name("snp", buckets))

    return lines.frame.mapInArrow(run, exchange.PACKED_SCHEMA)


def _columns_of(source: TextSource, folder: str) -> dict[str, int]:
    upper = [name.strip().upper() for name in source.format.header]
    if missing := [n for n in _REQUIRED if n not in upper]:
        raise DataError(
            f"LD-score files lack {', '.join(missing)}; they have {', '.join(source.format.header)}",
            where=f"{folder}/{source.name}",
        )
    named = {name.lower(): upper.index(name) for name in (*_REQUIRED, "CM", "MAF") if name in upper}
    return {**named, "l2": len(upper) - 1}  # the score is the last column, whatever its name (L2, base, …)


def _sizes(packed: DataFrame) -> dict[int, int]:
    sizes: Counter[int] = Counter()
    for row in packed.where(f"kind = '{_SIZE}'").select("bucket", "packed").collect():
        sizes[int(row["bucket"])] += int(bytes(row["packed"]))
    return dict(sorted(sizes.items()))


def _score_files(files: HadoopFiles, folder: str, with_counts: bool) -> list[str]:
    names = files.list(folder)
    if not names:
        raise DataError("the LD-score folder does not exist or is empty", where=folder, remedy="correct the path")
    scores = [n for n in names if _LD_FILE.match(n)]
    if not scores:
        raise DataError(
            f"no file is named like 1.l2.ldscore.gz; found {', '.join(names[:5])}",
            where=folder,
            remedy="give the folder that holds the per-chromosome files",
        )
    return scores + ([n for n in names if re.match(r"^\d+\.l2\.M_5_50$", n)] if with_counts else [])


def _read_counts(files: HadoopFiles, folder: str) -> dict[int, float]:
    counts = {}
    for name in files.list(folder):
        if match := re.match(r"^(\d+)\.l2\.M_5_50$", name):
            text = files.read_text(f"{folder}/{name}").split()
            try:
                counts[int(match[1])] = sum(float(t) for t in text)
            except ValueError as error:
                raise DataError(f"not a number: {text[:3]}", where=f"{folder}/{name}", remedy="fetch the file again") from error
    return counts


def _frequency_warning(ws: Workspace, panel: str) -> list[str]:
    """Allele frequencies of panel and reference must go together; where they do not, one of them is of another ancestry."""
    if not ws.exists("reference_variants"):
        return []
    partitions = int(ws.spark.sparkContext.defaultParallelism)
    buckets = exchange.BUCKETS_PER_PARTITION * partitions
    ours = exchange.packed_names(ws.source("reference_variants", ["snp", "maf"]), "ours", buckets)
    theirs = exchange.packed_names(ws.source("ld_scores", ["snp", "maf"], {"panel": panel}), "theirs", buckets)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for bucket, kinds in exchange.received(batches):
            if len(kinds) == 2:
                yield pa.RecordBatch.from_pydict({"bucket": pa.array([bucket], pa.int32()), "sums": [frequency_sums(kinds)]})

    rows = ours.unionAll(theirs).repartition(partitions, "bucket").mapInArrow(run, "bucket int, sums array<double>").collect()
    n, x, y, xx, yy, xy = np.sum([r["sums"] for r in sorted(rows, key=lambda r: r["bucket"])] or [[0.0] * 6], axis=0)
    if n < MIN_SHARED_FOR_ANCESTRY:
        return []
    spread = np.sqrt((xx - x * x / n) * (yy - y * y / n))
    corr = (xy - x * y / n) / spread if spread > 0 else np.nan
    if corr < MIN_FREQUENCY_CORRELATION:
        return [
            f"allele frequencies of LD panel {panel} and of the variant reference correlate at {corr:.2f} over {int(n):,} SNPs "
            f"(expected above {MIN_FREQUENCY_CORRELATION}): one of them is of another ancestry"
        ]
    return []


def frequency_sums(kinds: Mapping[str, pa.Table]) -> list[float]:
    """n, Σx, Σy, Σx², Σy², Σxy of the frequencies of the SNPs that both have."""
    ours, theirs = (kinds[k].filter(pc.is_valid(kinds[k].column("maf"))) for k in ("ours", "theirs"))
    at = pc.index_in(theirs.column("snp").combine_chunks(), value_set=ours.column("snp").combine_chunks())
    y = theirs.column("maf").filter(pc.is_valid(at)).to_numpy()
    x = ours.column("maf").take(at.drop_null()).to_numpy()
    return [float(x.size), *map(float, (x.sum(), y.sum(), x @ x, y @ y, x @ y))]


MIN_SHARED_FOR_ANCESTRY: Final = 1_000
MIN_FREQUENCY_CORRELATION: Final = 0.8
