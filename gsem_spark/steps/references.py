"""Load what every study is held against: the variant reference and the LD scores of an ancestry panel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pyspark.sql import Window
from pyspark.sql import functions as F

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.schemas import CHROMOSOME_CODES
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Report, Step, StepConfig, content_hash

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace

VARIANTS_STEP: Final = "load_variants"
LD_STEP: Final = "load_ld_scores"
_LD_FILE: Final = re.compile(r"^(\d+)\.l2\.ldscore(\.gz)?$")
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
    """Where the variant reference is, and the optional list of HapMap 3 SNPs that LDSC uses."""

    variants: str
    hm3: str | None = None


class LoadVariants(Step[VariantsConfig]):
    """Read the variant reference (SNP A1 A2 [CHR BP MAF]) into ``reference_variants``."""

    name = VARIANTS_STEP
    Config = VariantsConfig
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("reference_variants",)

    def result_config(self) -> dict[str, Any]:
        """Only whether there is a HapMap 3 list; the files count by content, see :meth:`inputs`."""
        return {"hm3": self.config.hm3 is not None}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Content of the files."""
        files = HadoopFiles(ws.spark)
        given = {"variants": self.config.variants, **({"hm3": self.config.hm3} if self.config.hm3 else {})}
        for path in given.values():
            _require_file(files, path)
        return {role: files.sha256(path)[:16] for role, path in given.items()}

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """The reference that was loaded last is the one in the table."""
        return _loads(ws, self.name)[-1].run_id == run_id

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Read, check, drop repeated names (counted), write."""
        with progress.stage("variant reference"):
            counted = self._with_hm3(ws.spark, _with_copies(_read_variants(ws.spark, self.config.variants))).persist()
            try:
                unique = F.col("copies") == 1
                rows, placed, with_maf, hm3, repeated = counted.agg(
                    F.count(F.when(unique, 1)),
                    F.count(F.when(unique, F.col("bp"))),
                    F.count(F.when(unique, F.col("maf"))),
                    F.count(F.when(unique & F.col("hm3"), 1)),
                    F.count(F.when(F.col("copy") == 2, 1)),
                ).collect()[0]
                if rows == 0:
                    raise DataError("no variant could be read", where=self.config.variants, remedy="columns SNP A1 A2 are needed")
                _announce(self, ws, plan, {})
                ws.replace("reference_variants", counted.where(unique).drop("copies", "copy"), metadata={"run_id": plan.run_id})
            finally:
                counted.unpersist()
        warnings = []
        if repeated:
            warnings.append(
                f"{repeated:,} variant names stand more than once in {Path(self.config.variants).name}; all copies were left out"
            )
        if with_maf < rows:
            warnings.append(f"{rows - with_maf:,} of {rows:,} reference variants have no MAF; per-SNP models cannot use them")
        return Outcome(rows, summary={"placed": placed, "with_maf": with_maf, "hm3": hm3}, warnings=tuple(warnings))

    def _with_hm3(self, spark: SparkSession, variants: DataFrame) -> DataFrame:
        if self.config.hm3 is None:
            return variants.withColumn("hm3", F.lit(True))
        names = _read_variants(spark, self.config.hm3).select("snp").distinct().withColumn("listed", F.lit(True))
        joined = variants.join(names, "snp", "left")
        return joined.withColumn("hm3", F.coalesce("listed", F.lit(False))).drop("listed")


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

    def result_config(self) -> dict[str, Any]:
        """The panel's name; the files count by content."""
        return {"panel": self.config.panel}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Content of every file of the folder(s)."""
        files = HadoopFiles(ws.spark)
        folders = {"ld_scores": self.config.ld_scores, **({"weights": self.config.weights} if self._separate() else {})}
        return {
            role: content_hash(
                {name: files.sha256(f"{folder}/{name}") for name in _score_files(files, str(folder), role == "ld_scores")}
            )
            for role, folder in folders.items()
        }

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """The folder that was loaded last under this panel name is the one in the table."""
        of_panel = [e for e in _loads(ws, self.name) if e.summary.get("panel") == self.config.panel]
        return bool(of_panel) and of_panel[-1].run_id == run_id

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Read scores and weights, order them, write the panel."""
        panel = self.config.panel
        with progress.stage(f"LD scores of panel {panel}"):
            scores, counts = self._read(ws.spark)
            scores = scores.persist()
            try:
                sizes = {r["chr"]: r["n"] for r in scores.groupBy("chr").agg(F.count("*").alias("n")).collect()}
                self._check_counts(sizes, counts)
                _announce(self, ws, plan, {"panel": panel})
                ws.replace("ld_scores", self._table(scores, sizes, counts), {"panel": panel}, metadata={"run_id": plan.run_id})
            finally:
                scores.unpersist()
        rows = sum(sizes.values())
        return Outcome(
            rows,
            {str(c): str(n) for c, n in sorted(sizes.items())},
            {"panel": panel, "M": sum(counts.values()), "snps": rows},
            tuple(_frequency_warning(ws, panel)),
        )

    def _separate(self) -> bool:
        return self.config.weights is not None and self.config.weights != self.config.ld_scores

    def _read(self, spark: SparkSession) -> tuple[DataFrame, dict[int, float]]:
        files = HadoopFiles(spark)
        scores = _read_scores(spark, files, self.config.ld_scores)
        counts = _read_counts(files, self.config.ld_scores)
        if not self._separate():
            return scores.withColumn("wld", F.col("l2")), counts
        weights = _read_scores(spark, files, str(self.config.weights)).select("snp", F.col("l2").alias("wld"))
        return scores.join(weights, "snp"), counts

    def _check_counts(self, sizes: dict[int, int], counts: dict[int, float]) -> None:
        if not sizes:
            raise DataError("no LD score could be read", where=self.config.ld_scores, remedy="columns CHR SNP BP … L2 are needed")
        if missing := sorted(set(sizes) - set(counts)):
            raise DataError(
                f"chromosomes {missing} have LD scores and no .l2.M_5_50 file",
                where=self.config.ld_scores,
                remedy="fetch the whole folder; M is part of the heritability estimate",
            )

    def _table(self, scores: DataFrame, sizes: dict[int, int], counts: dict[int, float]) -> DataFrame:
        """Number the panel's SNPs by chromosome and position: a place that depends on the data only."""
        before, total = {}, 0
        for chromosome in sorted(sizes):
            before[chromosome] = total
            total += sizes[chromosome]
        place = F.row_number().over(Window.partitionBy("chr").orderBy("bp", "snp")) - 1
        return scores.withColumns(
            {
                "panel": F.lit(self.config.panel),
                "ord": (place + _by_chromosome(before, "long")).cast("long"),
                "m": _by_chromosome(counts, "double"),
            }
        )


def load_references(
    ws: Workspace,
    variants: str | Path | None = None,
    ld_scores: str | Path | None = None,
    weights: str | Path | None = None,
    panel: str = "eur",
    *,
    hm3: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Report]:
    """Load a variant reference and/or the LD scores of a panel into a workspace.

    Parameters
    ----------
    ws
        The workspace.
    variants
        Text file with columns SNP, A1, A2 and, for per-SNP models, CHR, BP, MAF.
    ld_scores
        Folder with ``<chr>.l2.ldscore.gz`` and ``<chr>.l2.M_5_50``.
    weights
        Folder with the LD scores of the regression weights, when it is another.
    panel
        Name of the panel.
    hm3
        List of HapMap 3 SNPs (SNP A1 A2); without it every reference variant with an LD score is used by LDSC.

    Raises
    ------
    DataError
        A file or folder is missing, lacks a column, or is empty.
    """
    if variants is None and ld_scores is None:
        raise ConfigError("nothing to load: give variants, ld_scores or both")
    steps: list[Step[Any]] = []
    if variants is not None:
        steps.append(LoadVariants(VariantsConfig(variants=str(variants), hm3=str(hm3) if hm3 else None)))
    if ld_scores is not None:
        steps.append(
            LoadLdScores(LdScoresConfig(ld_scores=str(ld_scores), weights=str(weights) if weights else None, panel=panel))
        )
    return [step.run(ws, progress) for step in steps]


def reference_version(ws: Workspace) -> str:
    """The run that loaded the variant reference; a :class:`DataError` says how to load one where there is none."""
    runs = _loads(ws, VARIANTS_STEP)
    if not runs:
        raise DataError("no variant reference is loaded", where=ws.location, remedy="gsem-spark load-references --variants FILE")
    if runs[-1].status == "running":
        raise DataError(
            "loading the variant reference was interrupted, or is still going on",
            where=ws.location,
            remedy="wait for it, or load it again: gsem-spark load-references --variants FILE",
        )
    return runs[-1].run_id


def panel_version(ws: Workspace, panel: str | None) -> tuple[str, str]:
    """Name and loading run of an LD-score panel; the only panel when ``panel`` is None."""
    runs = {str(e.summary["panel"]): e.run_id for e in ws.runs.of_step(LD_STEP)}
    if not runs:
        raise DataError("no LD scores are loaded", where=ws.location, remedy="gsem-spark load-references --ld-scores FOLDER")
    if panel is None:
        if len(runs) > 1:
            raise ConfigError(f"there are several LD-score panels ({', '.join(sorted(runs))})", remedy="name one: panel=…")
        panel = next(iter(runs))
    if panel not in runs:
        raise ConfigError(f"there is no LD-score panel {panel!r}; loaded are {', '.join(sorted(runs))}")
    return panel, runs[panel]


def _announce(step: Step[Any], ws: Workspace, plan: Plan, summary: dict[str, Any]) -> None:
    """Put the coming replacement of an earlier load into the ledger first: should this run die, that one counts no more."""
    if _loads(ws, step.name):
        step.begin(ws, plan, summary)


def _loads(ws: Workspace, step: str) -> list[RunEntry]:
    """Runs of a loading step by their start, also those that died on the way; a run that failed has changed nothing."""
    return [entry for entry in ws.runs.all() if entry.step == step and entry.status != "failed"]


def _require_file(files: HadoopFiles, path: str) -> None:
    if not files.exists(path):
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    if files.size(path) == 0:
        raise DataError("the file is empty (0 bytes)", where=path, remedy="fetch it again")


def _read_variants(spark: SparkSession, path: str) -> DataFrame:
    from gsem_spark.steps.text_source import open_text, read_lines

    source = open_text(spark, path, min_columns=len(_REQUIRED))
    header = [name.strip().strip('"') for name in source.format.header]
    upper = [name.upper() for name in header]
    at = {role: next((upper.index(s) for s in names if s in upper), None) for role, names in _VARIANT_COLUMNS.items()}
    if missing := [role.upper() for role in _REQUIRED if at[role] is None]:
        raise DataError(
            f"column {', '.join(missing)} not found; the header has {', '.join(header)}",
            where=f"{path}, line {source.format.preamble_lines + 1}",
            remedy="name the columns SNP A1 A2 [CHR BP MAF]",
        )
    fields = F.split(
        F.trim("value"),
        r"\s+" if source.format.delimiter.isspace() and source.format.delimiter != "\t" else re.escape(source.format.delimiter),
    )
    text = {role: (F.trim(F.get(fields, F.lit(i))) if i is not None else F.lit(None).cast("string")) for role, i in at.items()}
    maf = text["maf"].try_cast("double")
    return (
        read_lines(spark, source)
        .select(
            text["snp"].alias("snp"),
            _chromosome(text["chr"]).alias("chr"),
            text["bp"].try_cast("double").cast("long").alias("bp"),
            F.upper(text["a1"]).alias("a1"),
            F.upper(text["a2"]).alias("a2"),
            F.when(maf.between(0, 1) & ~F.isnan(maf), F.least(maf, 1 - maf)).alias("maf"),
        )
        .where("snp IS NOT NULL AND a1 IS NOT NULL AND a2 IS NOT NULL")
    )


def _with_copies(variants: DataFrame) -> DataFrame:
    """How often each row's name stands in the file (``copies``), and which of them the row is (``copy``, from 1)."""
    same_name = Window.partitionBy("snp")
    return variants.withColumns(
        {"copies": F.count("*").over(same_name), "copy": F.row_number().over(same_name.orderBy("chr", "bp", "a1", "a2"))}
    )


def _chromosome(text: Column) -> Column:
    codes = F.create_map(*[F.lit(x) for pair in CHROMOSOME_CODES.items() for x in pair])
    return F.try_element_at(codes, F.regexp_replace(F.upper(text), "^CHR", ""))


def _by_chromosome(values: dict[int, Any], kind: str) -> Column:
    return F.create_map(*[F.lit(x) for pair in values.items() for x in pair])[F.col("chr")].cast(kind)


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


def _read_scores(spark: SparkSession, files: HadoopFiles, folder: str) -> DataFrame:
    """All chromosomes' scores, read as text by column name and cast with a check of what could not be cast."""
    paths = [f"{folder}/{name}" for name in _score_files(files, folder, False)]
    raw = spark.read.option("sep", "\t").option("header", True).option("inferSchema", False).csv(paths)
    names = {name.upper(): name for name in raw.columns}
    score = raw.columns[-1]  # the score is the last column, whatever its name (L2, base, …)
    if missing := [n for n in ("CHR", "SNP", "BP") if n not in names]:
        raise DataError(f"LD-score files lack {', '.join(missing)}; they have {', '.join(raw.columns)}", where=folder)
    optional = {n: (F.col(names[n]).try_cast("double") if n in names else F.lit(None).cast("double")) for n in ("CM", "MAF")}
    maf = optional["MAF"]
    scores = raw.select(
        _chromosome(F.col(names["CHR"])).alias("chr"),
        F.col(names["SNP"]).alias("snp"),
        F.col(names["BP"]).try_cast("double").cast("long").alias("bp"),
        optional["CM"].alias("cm"),
        F.least(maf, 1 - maf).alias("maf"),
        F.col(score).try_cast("double").alias("l2"),
    )
    return scores.where("chr IS NOT NULL AND snp IS NOT NULL AND bp IS NOT NULL AND l2 IS NOT NULL AND NOT isnan(l2)")


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
    ours = ws.read("reference_variants").select("snp", F.col("maf").alias("maf_ref")).where("maf_ref IS NOT NULL")
    theirs = ws.read("ld_scores").where((F.col("panel") == panel) & F.col("maf").isNotNull()).select("snp", "maf")
    shared, corr = ours.join(theirs, "snp").agg(F.count("*"), F.corr("maf", "maf_ref")).collect()[0]
    if shared >= MIN_SHARED_FOR_ANCESTRY and corr is not None and corr < MIN_FREQUENCY_CORRELATION:
        return [
            f"allele frequencies of LD panel {panel} and of the variant reference correlate at {corr:.2f} over {shared:,} SNPs "
            f"(expected above {MIN_FREQUENCY_CORRELATION}): one of them is of another ancestry"
        ]
    return []


MIN_SHARED_FOR_ANCESTRY: Final = 1_000
MIN_FREQUENCY_CORRELATION: Final = 0.8
