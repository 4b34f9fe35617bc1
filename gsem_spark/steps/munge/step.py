"""Munge raw GWAS files into ``sumstats``: all files of a call in one Spark job, one atomic replacement per table.

Nothing is committed before every file has been read to its end and its file-wide checks hold. The registry row in ``traits``
comes last: a trait counts as munged when its registry row names the file that its rows come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator

from gsem_spark.catalog.raw_digests import RawDigests
from gsem_spark.catalog.schemas.inputs import QC_LOG
from gsem_spark.errors import DataError, GsemError
from gsem_spark.methods.sumstats import (
    ColumnMap,
    Counters,
    HarmoniseSpec,
    check_columns,
    effect_kind,
    qc_rows,
    resolve,
    verify_effect_kind,
)
from gsem_spark.steps.munge.harmonise import FIELD_COUNT_RULE, FileTask, counts_of, harmonised, merge_counts, table_parts
from gsem_spark.steps.munge.raw_errors import read_error
from gsem_spark.steps.munge.raw_fields import FieldReader
from gsem_spark.steps.munge.sidecar import sidecar_n
from gsem_spark.steps.munge.text_source import TextSource, open_text
from gsem_spark.steps.munge.traits import Trait
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.references.load import reference_version
from gsem_spark.steps.step import Outcome, Plan, Report, Step, StepConfig, checked_config, content_hash
from gsem_spark.thresholds import BUILD_MISMATCH_SHARE, PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.staged_write import StagedWrite
    from gsem_spark.catalog.workspace import Workspace

BYTES_PER_PARTITION: Final = 48_000_000
"""Raw bytes (unpacked, about) that one task of the join handles."""
_UNPACKED_RATIO: Final = 4


class MungeConfig(StepConfig):
    """Settings of a munge run; thresholds left out take the rules' defaults."""

    traits: tuple[Trait, ...] = Field(min_length=1)
    info_min: float = Field(PER_SNP_INFO_MIN, ge=0)
    maf_min: float = Field(PER_SNP_MAF_MIN, ge=0, le=0.5)
    ambiguous: Literal["keep", "drop"] = "keep"
    indels: bool = False
    direction_max_missing: float | None = Field(None, gt=0, le=1)
    compat: Literal["genomicsem"] | None = None

    @field_validator("traits")
    @classmethod
    def _distinct(cls, value: tuple[Trait, ...]) -> tuple[Trait, ...]:
        names = [t.name for t in value]
        if repeated := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"traits named twice: {', '.join(repeated)}")
        return value

    def rules_of(self, trait: Trait) -> dict[str, Any]:
        """What, besides the file's bytes and the reference, decides a trait's rows."""
        settings = self.model_dump(mode="json", exclude={"traits"})
        return {**settings, "trait": trait.model_dump(mode="json", exclude={"file"})}


class MungeStep(Step[MungeConfig]):
    """Read raw files, apply the rules, write ``sumstats``, ``rejects``, ``qc_log`` and ``traits``."""

    name: ClassVar[str] = "munge"
    reads: ClassVar[tuple[str, ...]] = ("reference_variants", "traits")
    writes: ClassVar[tuple[str, ...]] = ("sumstats", "rejects", "qc_log", "traits")

    _digests: RawDigests

    def __init__(self, config: MungeConfig) -> None:
        super().__init__(config)
        self._sources: dict[str, TextSource] = {}

    def result_config(self) -> dict[str, Any]:
        """Settings without the paths; files count by content."""
        return {"traits": [self.config.rules_of(t) for t in self.config.traits]}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Content of each file, and the variant reference."""
        self._digests = RawDigests(ws)
        for trait in self.config.traits:
            self._source(ws, trait)  # what is no file, or no text, is said before anything is read whole
        return {
            "reference_variants": reference_version(ws),
            **{f"file/{t.name}": self._digests.sha256(t.file) for t in self.config.traits},
        }

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Every trait's registry row still names the file and settings of this run."""
        return not self._missing(ws)

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Munge the traits that are not in the workspace as this run would make them."""
        todo = self._missing(ws)
        skipped = [t.name for t in self.config.traits if t not in todo]
        for name in skipped:
            progress.say(f"{name}: same file content and settings as before, no new data")
        tasks = [self._task(ws, t) for t in todo]
        results = _munge(ws, tasks, [self._file_id(ws, t) for t in todo], plan.run_id, progress) if todo else []
        if todo:
            rows = [self._registry_row(ws, t, task, r) for t, task, r in zip(todo, tasks, results, strict=True)]
            ws.put("traits", rows, [{"trait": t.name} for t in todo], metadata={"run_id": plan.run_id})
        kept = {
            r["trait"]: r["rows_kept"] for r in ws.records("traits") if r["trait"] in {t.name for t in self.config.traits}
        }
        warnings = tuple(w for result in results for w in result.warnings)
        return Outcome(
            sum(kept.values()),
            {name: str(n) for name, n in kept.items()},
            {
                "munged": [t.name for t in todo], "unchanged": skipped, "rows_in": {r.trait: r.rows_in for r in results},
                **self._digests.summary,
            },
            warnings,
        )

    def _missing(self, ws: Workspace) -> list[Trait]:
        present = {r["trait"]: r["file_id"] for r in ws.records("traits", columns=["trait", "file_id"])}
        return [t for t in self.config.traits if present.get(t.name) != self._file_id(ws, t)]

    def _source(self, ws: Workspace, trait: Trait) -> TextSource:
        if trait.name not in self._sources:
            self._sources[trait.name] = open_text(ws.spark, trait.file)
        return self._sources[trait.name]

    def _file_id(self, ws: Workspace, trait: Trait) -> str:
        parts = [self.revision, self._digests.sha256(trait.file), self.config.rules_of(trait), reference_version(ws)]
        return (content_hash(parts) + content_hash([parts]))[:16]

    def _task(self, ws: Workspace, trait: Trait) -> FileTask:
        c, source = self.config, self._source(ws, trait)
        columns = resolve(
            source.format.header, trait.columns, compat=c.compat is not None, file=source.name, empty=source.format.empty
        )
        n = trait.n if trait.n is not None else sidecar_n(ws.spark, source.path)
        spec = HarmoniseSpec(
            trait=trait.name,
            scale=trait.scale,
            n=n,
            sample_prevalence=trait.sample_prevalence,
            ambiguous=c.ambiguous,
            indels=c.indels,
            info_min=c.info_min,
            maf_min=c.maf_min,
            direction_max_missing=c.direction_max_missing,
            compat=c.compat,
            p_as_text=columns.names.get("p") == "P",
        )
        check_columns(columns, spec, file=source.name)
        reader = FieldReader.of(source.format, columns.index)
        return FileTask(source, reader, _with_effect_kind(spec, source, columns), columns.notes)

    def _registry_row(self, ws: Workspace, trait: Trait, task: FileTask, result: FileResult) -> dict[str, Any]:
        header = task.source.format.header
        return {
            "trait": trait.name,
            "file_id": result.file_id,
            "file": task.source.name,
            "sha256": self._digests.sha256(trait.file),
            "scale": trait.scale,
            "n": task.spec.n,
            "sample_prevalence": trait.sample_prevalence,
            "population_prevalence": trait.population_prevalence,
            "columns": {role: header[i] for role, i in task.reader.roles.items()},
            "settings": json.dumps(self.config.model_dump(mode="json", exclude={"traits"}), sort_keys=True),
            "rows_in": result.rows_in,
            "rows_kept": result.rows_kept,
        }


def munge(
    ws: Workspace,
    traits: Iterable[Trait],
    info_min: float = PER_SNP_INFO_MIN,
    maf_min: float = PER_SNP_MAF_MIN,
    *,
    ambiguous: Literal["keep", "drop"] = "keep",
    indels: bool = False,
    direction_max_missing: float | None = None,
    compat: Literal["genomicsem"] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Munge raw GWAS files into the workspace's summary statistics.

    Parameters
    ----------
    ws
        Workspace with a variant reference loaded.
    traits
        The traits; see :class:`gsem_spark.Trait`.
    info_min, maf_min
        Rows below are dropped. Keep the per-SNP defaults: LDSC applies its own stricter ones when it reads.
    ambiguous
        ``keep`` or ``drop`` strand-ambiguous variants (A/T, C/G).
    indels
        Keep insertions and deletions.
    direction_max_missing
        Drop rows whose DIRECTION has this share or more of unknown cohorts.
    compat
        ``"genomicsem"`` applies the rules of GenomicSEM's ``munge`` and ``sumstats`` exactly, quirks included.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Report
        ``summary["rows_in"]`` and ``state`` hold the counts; details by rule stand in ``qc_log``.

    Raises
    ------
    ConfigError
        A setting is out of range, or a trait is named twice.
    DataError
        A file cannot be used; nothing of any file of the call is visible then.
    """
    config = checked_config(
        MungeConfig,
        "munge",
        traits=tuple(traits),
        info_min=info_min,
        maf_min=maf_min,
        ambiguous=ambiguous,
        indels=indels,
        direction_max_missing=direction_max_missing,
        compat=compat,
    )
    return MungeStep(config).run(ws, progress)


@dataclass(frozen=True)
class FileResult:
    """What became of one file."""

    trait: str
    file_id: str
    rows_in: int
    rows_kept: int
    qc: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]


def _munge(
    ws: Workspace, tasks: Sequence[FileTask], file_ids: Sequence[str], run_id: str, progress: Progress
) -> list[FileResult]:
    """Run the job once, check every file, then commit all tables."""
    size = sum(t.source.size * (_UNPACKED_RATIO if t.source.compression != "none" else 1) for t in tasks)
    partitions = max(int(ws.spark.sparkContext.defaultParallelism), -(-size // BYTES_PER_PARTITION))
    names, ids = [t.spec.trait for t in tasks], list(file_ids)
    with progress.stage(f"reading and harmonising {len(tasks)} files"):
        packed = harmonised(ws, tasks, partitions)
        try:
            staged = ws.stage(["sumstats", "rejects"], packed, lambda batches: table_parts(batches, names, ids))
        except GsemError:
            raise
        except Exception as error:
            raise read_error(error, [t.source for t in tasks]) from error
    with staged:
        counts = counts_of(staged.notes, len(tasks))
        results = [_judge(task, fid, found) for task, fid, found in zip(tasks, file_ids, counts, strict=True)]
        with progress.stage("committing summary statistics"):
            _commit(ws, staged, names, ids, results, run_id)
    return results


def _judge(task: FileTask, file_id: str, counts: Sequence[bytes]) -> FileResult:
    """File-wide checks that only the whole file can answer; raises before anything is committed."""
    counters, examples, torn = merge_counts(counts, task.spec)
    facts, name = counters.facts, task.source.name
    rows_in, kept = facts.get("rows", 0) + torn, facts.get("kept", 0)
    verify_effect_kind(counters, task.spec, file=name)
    _check_build(facts, name)
    qc: list[dict[str, Any]] = [
        {
            "step": 0,
            "rule": FIELD_COUNT_RULE,
            "meaning": "number of fields differs from the header's",
            "rows_in": rows_in,
            "rows_dropped": torn,
        }
    ]
    qc += qc_rows(counters, task.spec)
    if rows_in and not kept:
        _all_lost(name, rows_in, qc, examples)
    logged = tuple({**row, "examples": examples.get(row["rule"], [])} for row in qc)
    return FileResult(task.spec.trait, file_id, rows_in, kept, logged, tuple(_warnings(task, counters, rows_in, kept, torn)))


def _check_build(facts: Mapping[str, int], file: str) -> None:
    compared, disagree = facts.get("positions_compared", 0), facts.get("positions_disagree", 0)
    if compared and disagree / compared > BUILD_MISMATCH_SHARE:
        raise DataError(
            f"{disagree:,} of {compared:,} variants ({disagree / compared:.0%}) stand at another position than in the reference: "
            "the file is on another genome build, or positions of several builds are mixed",
            where=file,
            remedy="lift the file over to the reference's build, or remove its position columns",
        )


def _all_lost(file: str, rows_in: int, qc: Sequence[Mapping[str, Any]], examples: Mapping[str, list[str]]) -> None:
    worst = max((r for r in qc if not r["meaning"].startswith("repair")), key=lambda r: r["rows_dropped"])
    shown = examples.get(worst["rule"], [])
    raise DataError(
        f"none of {rows_in:,} rows is usable; {worst['rows_dropped']:,} were dropped by rule {worst['rule']}: {worst['meaning']}"
        + (f"; first line {shown[0]}" if shown else ""),
        where=file,
        remedy="check the columns read (columns: …) and that SNP names are those of the variant reference",
    )


def _warnings(task: FileTask, counters: Counters, rows_in: int, kept: int, torn: int) -> Iterable[str]:
    trait, facts = task.spec.trait, counters.facts
    yield from (f"{trait}: {note}" for note in task.notes)
    if rows_in == 0:
        yield f"{trait}: {task.source.name} has a header and no rows"
    if torn:
        yield f"{trait}: {torn:,} of {rows_in:,} lines have another number of fields than the header and were dropped"
    if kept and not facts.get("kept_ldsc", kept):
        yield f"{trait}: no row has both Z and sample size; LDSC cannot use this trait (give n)"
    if kept and not facts.get("kept_per_snp", kept):
        yield f"{trait}: no row has a standardised effect; per-SNP models cannot use this trait"


def _commit(
    ws: Workspace, staged: StagedWrite, names: Sequence[str], file_ids: Sequence[str], results: Sequence[FileResult], run_id: str
) -> None:
    said = {"run_id": run_id}
    scopes = [{"trait": name} for name in names]
    files = [{"file_id": f} for f in dict.fromkeys(file_ids)]
    if ws.count("traits", {"trait": names}):
        # Should this run die midway, no registry row may name a file whose rows are gone already.
        ws.put("traits", [], scopes, metadata=said)
    staged.commit("sumstats", scopes, metadata=said)
    staged.commit("rejects", files, metadata=said)
    log = [{"file_id": r.file_id, "trait": r.trait, **row} for r in results for row in r.qc]
    ws.put("qc_log", [{k: row[k] for k in QC_LOG.names} for row in log], files, metadata=said)


def _with_effect_kind(spec: HarmoniseSpec, source: TextSource, columns: ColumnMap) -> HarmoniseSpec:
    """Decide from the file's first rows whether effects are odds ratios; all rows verify it later."""
    if not columns.has("effect"):
        return spec
    if columns.effect_kind_given and columns.effect_hint is not None:
        return replace(spec, effect_kind=columns.effect_hint, effect_kind_given=True)
    name = columns.names["effect"]
    sample = source.format.column(name)
    if not sample:
        return spec
    return replace(spec, effect_kind=effect_kind(sample, hint=columns.effect_hint, column=name, file=source.name))
