"""Genotype files into ``genotype_blocks``: the driver cuts the variants into blocks, tasks read and filter their own."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator

from gsem_spark.catalog.raw_digests import RawDigests
from gsem_spark.catalog.schemas.inputs import QC_LOG
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.readers import GenotypeReader, expand_files, open_reader
from gsem_spark.steps.genotypes.blocks import VariantFilters, listed_variants, staged_blocks
from gsem_spark.steps.genotypes.index import Tally, cut_blocks, merged_tallies, usable_variants, with_chromosomes
from gsem_spark.steps.genotypes.samples import SampleList, check_samples, chosen_samples, read_list
from gsem_spark.steps.genotypes.source import Cohort, cohort_of
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Report, Step, StepConfig, checked_config

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class GenotypesConfig(StepConfig):
    """Settings of a load of genotypes."""

    files: tuple[str, ...] = Field(min_length=1, description="genotype files; {chr}, * and ? stand for several")
    cohort: str = Field("cohort", description="name of the samples; a load replaces what is there under it")
    maf: float = Field(0.0, ge=0, le=0.5, description="lowest minor allele frequency")
    missing: float = Field(1.0, ge=0, le=1, description="largest share of samples without a genotype")
    hwe_p: float = Field(0.0, ge=0, le=1, description="lowest p of the exact test of Hardy-Weinberg proportions")
    info: float = Field(0.0, ge=0, description="lowest imputation information, for dosages")
    keep: SampleList | None = Field(None, description="samples to keep: a file, or IIDs (FID and IID)")
    remove: SampleList | None = Field(None, description="samples to leave out, likewise")
    chromosomes: tuple[int, ...] | None = Field(None, description="chromosomes to read; all autosomes by default")
    autosomes: int = Field(22, ge=1, le=26, description="number of autosomes (19 in mice)")
    sex_chromosomes: Literal["drop", "refuse"] = Field("drop", description="what to do with other chromosomes")
    field: Literal["auto", "GT", "DS", "GP"] = Field("auto", description="field of VCF files: DS, GP or GT, the first there is")
    sample_file: str | None = Field(None, description=".sample file of BGEN files; the one beside them by default")
    multiallelic: Literal["drop", "refuse"] = Field("drop", description="what to do with variants of more than two alleles")
    keep_monomorphic: bool = Field(False, description="keep variants that do not vary or have no genotype at all")

    @field_validator("cohort")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name: letters, digits, '_', '-' and '.'")
        return value

    @property
    def filters(self) -> VariantFilters:
        """Filters on genotypes."""
        return VariantFilters(self.maf, self.missing, self.hwe_p, self.info, self.keep_monomorphic)


@dataclass(frozen=True)
class _Input:
    """Files opened, and their samples matched."""

    readers: tuple[GenotypeReader, ...]
    samples: pd.DataFrame
    columns: NDArray[np.int64] | None
    warnings: tuple[str, ...]


class GenotypesStep(Step[GenotypesConfig]):
    """Read genotype files into blocks of variants."""

    name: ClassVar[str] = "genotypes"
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("cohorts", "genotype_blocks", "qc_log")

    _digests: RawDigests

    def __init__(self, config: GenotypesConfig) -> None:
        super().__init__(config)
        self._opened: _Input | None = None

    def result_config(self) -> Mapping[str, Any]:
        """The settings, without the places of files: they count by content."""
        return self.config.model_dump(mode="json", exclude={"files", "sample_file", "keep", "remove"})

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Content of every file, and the samples kept."""
        given = self._input()
        self._digests = RawDigests(ws)
        files = {f"{n}{Path(f).suffix}": self._digests.sha256(f)[:16] for n, r in enumerate(given.readers) for f in r.files}
        return {**files, "samples": samples_hash(given.samples)}

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the cohort in the table is that of the run."""
        done = ws.runs.last(run_id)
        rows = ws.records("cohorts", {"cohort": self.config.cohort}, ["version"])
        return done is not None and [r["version"] for r in rows] == [done.summary.get("version")]

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Cut, read, filter; then the cohort's row last, so that blocks of a load that died are never taken for the cohort's."""
        c, given = self.config, self._input()
        version = _version(plan)
        with progress.stage("variant index"):
            index, tallies = self._index(ws, given)
        plans = cut_blocks(index, len(given.samples))
        with (
            progress.stage(f"genotypes of {len(given.samples):,} samples", total=index.num_rows, unit="variants") as stage,
            staged_blocks(ws, c.cohort, c.filters, given.readers, given.columns, plans, len(given.samples)) as staged,
        ):
            notes = [json.loads(note) for note in staged.notes]
            stage.advance(index.num_rows)
            tallies = merged_tallies(tallies, notes, c.filters.meanings, index.num_rows)
            kept = sum(int(n["kept"]) for n in notes)
            if not kept:
                raise _nothing_left(c, tallies)
            scope, said = {"cohort": c.cohort}, {"run_id": plan.run_id}
            if ws.count("cohorts", scope):
                ws.put("cohorts", [], scope, metadata=said)
            staged.commit("genotype_blocks", scope, metadata=said)
        ws.put("qc_log", [_qc_row(t, i, version, c.cohort) for i, t in enumerate(tallies)], {"file_id": version}, metadata=said)
        row = self._cohort_row(given, version, kept)
        ws.put("cohorts", [row], scope, metadata=said)
        counts = {t.rule: t.rows_dropped for t in tallies}
        by_chr: Counter[str] = Counter()
        for note in notes:
            by_chr.update({str(k): int(v) for k, v in note["by_chr"].items()})
        summary = {
            "cohort": c.cohort, "version": version, "samples": len(given.samples), "variants_in": tallies[0].rows_in,
            "kept": kept, "dropped": counts, "kind": given.readers[0].kind, "blocks": sum(int(n["blocks"]) for n in notes),
            **self._digests.summary,
        }
        state = {k: str(by_chr[k]) for k in sorted(by_chr, key=int)}
        return Outcome(kept, state, summary, (*given.warnings, *_warnings(tallies)))

    def _input(self) -> _Input:
        if self._opened is None:
            self._opened = _open(self.config)
        return self._opened

    def _index(self, ws: Workspace, given: _Input) -> tuple[pa.Table, list[Tally]]:
        c = self.config
        whole = pa.concat_tables([with_chromosomes(t, i) for i, t in enumerate(listed_variants(ws, given.readers))])
        return usable_variants(whole, autosomes=c.autosomes, chromosomes=c.chromosomes, sex_chromosomes=c.sex_chromosomes,
                               multiallelic=c.multiallelic)

    def _cohort_row(self, given: _Input, version: str, kept: int) -> dict[str, Any]:
        samples = {name: given.samples[name].tolist() for name in ("fid", "iid", "sex", "father", "mother")}
        return {
            **samples, "cohort": self.config.cohort, "version": version, "n_samples": len(given.samples), "n_variants": kept,
            "kind": given.readers[0].kind, "source": given.readers[0].source,
            "settings": json.dumps(self.result_config(), sort_keys=True),
            "files": [Path(r.path).name for r in given.readers],
        }


def genotypes(
    ws: Workspace, files: str | Path | Sequence[str | Path], cohort: str = "cohort", *, progress: Progress | None = None,
    **settings: Any,
) -> Cohort:
    """Read genotype files into a workspace.

    Parameters
    ----------
    ws
        The workspace.
    files
        PLINK 1 (``.bed`` with ``.bim`` and ``.fam``, or their prefix), PLINK 2 (``.pgen``), BGEN (``.bgen`` with ``.sample``) or
        VCF (``.vcf``, ``.vcf.gz``, ``.bcf``). Several files, or a pattern (``chr{chr}.bed``, ``*``), when chromosomes lie in
        files of their own; all must have the same samples in the same order. Tasks read their own ranges; VCF and BGEN files
        without an index (.tbi, .csi, .bgi) are read from their beginning, one task a file.
    cohort
        Name for the samples; a load replaces what is there under the name.
    progress
        Where to show progress; silent by default.
    **settings
        Further settings of :class:`GenotypesConfig`: ``maf missing hwe_p info keep remove chromosomes autosomes sex_chromosomes
        multiallelic keep_monomorphic field sample_file``.

    Returns
    -------
    Cohort
        The samples, and what is known of them. Counts by rule stand in ``qc_log``.

    Raises
    ------
    ConfigError
        A setting is wrong, or the library of the format is not installed.
    DataError
        A file is missing, damaged or cut off; files or sample lists do not match; no variant is left.
    """
    report = load_genotypes(ws, files, cohort, progress=progress, **settings)
    return cohort_of(ws, str(report.summary["cohort"]))


def load_genotypes(
    ws: Workspace, files: str | Path | Sequence[str | Path], cohort: str = "cohort", *, progress: Progress | None = None,
    **settings: Any,
) -> Report:
    """The same as :func:`genotypes`, giving the run's report."""
    given = [files] if isinstance(files, (str, Path)) else list(files)
    for name in ("keep", "remove"):
        value = settings.get(name)
        if value is not None:
            settings[name] = str(value) if isinstance(value, (str, Path)) else tuple(map(str, value))
    config = checked_config(GenotypesConfig, "genotypes", files=tuple(map(str, given)), cohort=cohort, **settings)
    return GenotypesStep(config).run(ws, progress)


def samples_hash(samples: pd.DataFrame) -> str:
    """SHA-256 of the sample list, FID and IID in their order, first 16 hex digits."""
    text = "\n".join(f"{f}\t{i}" for f, i in zip(samples["fid"], samples["iid"], strict=True))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _open(config: GenotypesConfig) -> _Input:
    readers = tuple(open_reader(path, config.field, config.sample_file) for path in expand_files(config.files))
    kinds = {r.kind for r in readers}
    if len(kinds) > 1:
        raise DataError("some files have hard calls, others dosages", where=", ".join(config.files),
                        remedy="load them as cohorts of their own")
    if config.info > 0 and kinds == {"calls"}:
        raise ConfigError("hard calls do not say how well they were imputed", where="info",
                          remedy="leave info away, or load dosages (BGEN, VCF with DS or GP, PLINK 2)")
    samples = readers[0].samples()
    check_samples(samples, readers[0].path)
    for reader in readers[1:]:
        _same_samples(samples, reader.samples(), readers[0].path, reader.path)
    for what, given in (("keep", config.keep), ("remove", config.remove)):
        if given is not None:
            read_list(given, what)
    columns, warnings = chosen_samples(samples, config.keep, config.remove)
    chosen = samples if columns is None else samples.iloc[columns].reset_index(drop=True)
    return _Input(readers, chosen, columns, tuple(warnings))


def _same_samples(first: pd.DataFrame, other: pd.DataFrame, first_path: str, path: str) -> None:
    a, b = (list(zip(s["fid"], s["iid"], strict=True)) for s in (first, other))
    if a == b:
        return
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    raise DataError(f"{len(b):,} samples, {Path(first_path).name} has {len(a):,}; they differ from sample {at + 1} on",
                    where=path, remedy="files of one cohort must have the same samples in the same order")


def _qc_row(tally: Tally, step: int, file_id: str, cohort: str) -> dict[str, Any]:
    row = {"file_id": file_id, "trait": cohort, "step": step, "rule": tally.rule, "meaning": tally.meaning,
           "rows_in": tally.rows_in, "rows_dropped": tally.rows_dropped, "examples": list(tally.examples)}
    return {name: row[name] for name in QC_LOG.names}


def _warnings(tallies: Sequence[Tally]) -> list[str]:
    shown = ("unplaced", "sex_chromosome", "multiallelic", "duplicate", "no_calls", "monomorphic")
    return [f"{t.rows_dropped:,} of {t.rows_in:,} variants left out by rule {t.rule}: {t.meaning} ({', '.join(t.examples)})"
            for t in tallies if t.rule in shown and t.rows_dropped]


def _nothing_left(config: GenotypesConfig, tallies: Sequence[Tally]) -> DataError:
    counts = ", ".join(f"{t.rule} {t.rows_dropped:,}" for t in tallies if t.rows_dropped)
    return DataError(f"none of {tallies[0].rows_in:,} variants is left: {counts or 'the files have none'}",
                     where=", ".join(Path(f).name for f in config.files), remedy="loosen the filters, or check the files")


def _version(plan: Plan) -> str:
    text = json.dumps([plan.config_hash, dict(plan.inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
