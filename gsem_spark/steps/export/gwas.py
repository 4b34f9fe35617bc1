"""Results of a GWAS as files for other programs, one a path; one chromosome at a time passes through the driver."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import yaml
from pyspark.sql import functions as F

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.gwas.effective_n import EFFECTIVE_N_MAF
from gsem_spark.methods.sem.model import Model
from gsem_spark.steps.export.bgzf import BgzfWriter, TabixIndex
from gsem_spark.steps.export.formats import FORMATS, Format, Layout
from gsem_spark.steps.export.text_files import named, text_file
from gsem_spark.steps.progress import Progress
from gsem_spark.version import __version__

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace

STEPS: Final = ("common_factor_gwas", "user_gwas")
"""Steps whose results are exported."""
UNKNOWN: Final = "unknown"
_WITH_N: Final = ("gwas-ssf", "ldsc", "fuma")
_FORMULA: Final = (
    "n is the effective sample size of the factor: the mean of var(F) / (2 MAF (1 - MAF) SE^2) over SNPs with MAF between "
    f"{EFFECTIVE_N_MAF[0]} and {EFFECTIVE_N_MAF[1]} (Mallard et al. 2022, Cell Genomics 2:100140)."
)
_READ: Final = (
    "snp", "chr", "bp", "a1", "a2", "maf", "lhs", "op", "rhs", "est", "se", "z", "p", "neglog10p", "chisq", "chisq_df", "chisq_p",
    "aic", "q_snp", "q_snp_df", "q_snp_p", "q_snp_neglog10p", "status", "message",
    "z_smooth",
)


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Parameters
    ----------
    path
        Parameter that it holds, as in ``F1~SNP``.
    file
        Where it stands.
    rows
        SNPs in it.
    left_out
        SNPs without an estimate, which the format cannot hold.
    without_frequency
        SNPs (GWAS-SSF) whose effect allele's frequency no trait of the model gives.
    n
        Sample size written, where the format has one.
    others
        Files beside it: metadata, index.
    """

    path: str
    file: Path
    rows: int
    left_out: int
    without_frequency: int
    n: float | None
    others: tuple[Path, ...] = ()


def export_gwas(
    ws: Workspace,
    target: str | Path,
    format: Format,
    *,
    run_id: str | None = None,
    paths: Sequence[str] | None = None,
    n: float | None = None,
    assembly: str = UNKNOWN,
    bgzip: bool = False,
    smooth_check: bool = False,
    progress: Progress | None = None,
) -> tuple[Exported, ...]:
    """Write a GWAS as files for GenomicSEM's users, the GWAS Catalog, LDSC or FUMA.

    Parameters
    ----------
    ws
        The workspace.
    target
        File to write. Where the run has several paths, each gets a file of its own with the path's name before the ending, as
        GenomicSEM gives a list with one table a row of ``sub``.
    format
        ``genomicsem``: the columns of ``commonfactorGWAS`` or ``userGWAS``, all SNPs. ``gwas-ssf``: the GWAS Catalog's
        standard, with metadata and md5 in ``FILE-meta.yaml``. ``ldsc``: SNP A1 A2 N Z. ``fuma``: for SNP2GENE. The last three
        leave out SNPs without an estimate.
    run_id
        Which run; the last one by default.
    paths
        Names of paths, e.g. ``["F1~SNP"]``; all by default.
    n
        Effective sample size in place of the run's own.
    assembly
        Genome assembly of the positions, for the metadata of GWAS-SSF, e.g. GRCh37.
    bgzip
        Write blocked gzip (BGZF) with a tabix index where the format has positions; also when the name ends in ``.bgz``.
    smooth_check
        ``genomicsem``: with the column ``Z_smooth`` at the end, as GenomicSEM gives it where its ``smooth_check`` is on.
    progress
        Where to show progress; silent by default.

    Raises
    ------
    ConfigError
        There is no such format or path, or ``Z_smooth`` is asked for where the format or the run has none.
    DataError
        There is no such run, it has no rows, or its effective sample size is not known.
    StorageError
        A file cannot be written.
    """
    if format not in FORMATS:
        raise ConfigError(f"there is no format {format!r}", where="--as", remedy=f"choose one of {', '.join(FORMATS)}")
    entry = _run(ws, run_id)
    rows = ws.read("gwas_results").where(F.col("run_id") == entry.run_id)
    if smooth_check:
        _check_z_smooth(format, entry)
    present = _paths(rows, entry)
    chosen = list(present) if paths is None else [_known(name, present) for name in paths]
    chromosomes = sorted(r["chr"] for r in rows.select("chr").distinct().collect())
    target = Path(target)
    found = []
    with (progress or Progress()).stage(f"export as {format}", len(chosen) * len(chromosomes), "slices") as stage:
        for name in chosen:
            lhs, op, rhs = present[name]
            size = (n if n is not None else effective_n_of(entry, name, len(present))) if format in _WITH_N else None
            config = json.loads(entry.config)
            has_q = bool(rows.where(_is(lhs, op, rhs)).where("q_snp_df > 0").head(1))
            layout = Layout(
                format, entry.step == STEPS[0], has_q, _label(config.get("model"), lhs, op, rhs), size,
                _free_numbers(entry).get(name), smooth_check,
            )
            file = target if len(present) == 1 or (paths is not None and len(paths) == 1) else named(target, name)
            of_path = rows.where(_is(lhs, op, rhs)).select(*_READ)
            traits = tuple(config.get("traits") or entry.summary.get("traits", ()))
            frequencies = _frequencies(ws, traits) if format == "gwas-ssf" else None
            made = _write(of_path, frequencies, chromosomes, name, layout, file, bgzip, stage)
            if format == "gwas-ssf":
                made = _with_metadata(made, entry, assembly)
            found.append(made)
    return tuple(found)


def effective_n_of(entry: RunEntry, name: str, paths: int) -> float:
    """Effective sample size of a path of a run, from its record.

    Raises
    ------
    DataError
        When the record has none: the path leads to no factor, or no SNP had the MAF that the formula asks for.
    """
    own = entry.summary.get("paths", {}).get(name, {}).get("effective_n")
    if own is None and (entry.step == STEPS[0] or paths == 1):
        own = entry.summary.get("effective_n")
    if own is None:
        raise DataError(
            f"the effective sample size of {name} is not known: only paths to a factor have one", where=f"run {entry.run_id}",
            remedy="give it with --n, or export another path with --path",
        )
    return float(own)


def _run(ws: Workspace, run_id: str | None) -> RunEntry:
    """The run asked for, else the last of any step whose results can be exported."""
    done = [e for e in ws.runs.all() if e.step in STEPS and e.status == "done" and (run_id is None or e.run_id == run_id)]
    if not done:
        what = "there is no finished GWAS" if run_id is None else f"there is no finished GWAS {run_id}"
        raise DataError(what, where=ws.location, remedy=f"gsem-spark runs {ws.location} shows what was run")
    return max(done, key=lambda e: (e.ended or e.started, e.run_id))


def _paths(rows: DataFrame, entry: RunEntry) -> dict[str, tuple[str, str, str]]:
    """Parameters of a run by name, in its own order where the record has it."""
    found = {
        (r["lhs"] if r["op"] == ":=" else f"{r['lhs']}{r['op']}{r['rhs']}"): (r["lhs"], r["op"], r["rhs"])
        for r in rows.select("lhs", "op", "rhs").distinct().collect()
    }
    if not found:
        raise DataError("there is no row to export", where=f"run {entry.run_id}", remedy="see what became of the run: runs")
    order = [str(name).split(":=")[0] for name in entry.summary.get("rows", ())]
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else len(order), item[0])))


def _free_numbers(entry: RunEntry) -> dict[str, int]:
    """Number of each row among the free parameters, where the run's record has it."""
    names = (str(name).split(":=")[0] for name in entry.summary.get("rows", ()))
    return dict(zip(names, entry.summary.get("free", ()), strict=False))


def _check_z_smooth(format: str, entry: RunEntry) -> None:
    if format != "genomicsem":
        raise ConfigError(f"the format {format} has no Z_smooth", where="--smooth-check", remedy="leave it out")
    if not json.loads(entry.config).get("smooth_check", True):
        raise ConfigError(f"the run {entry.run_id} was made without smooth_check, so it has no Z_smooth", where="--smooth-check",
                          remedy="leave it out, or run the GWAS with smooth_check")


def _known(name: str, present: dict[str, tuple[str, str, str]]) -> str:
    plain = name.replace(" ", "")
    if plain not in present:
        raise ConfigError(f"the run has no path {name}", where="--path", remedy=f"it has {', '.join(present)}")
    return plain


def _is(lhs: str, op: str, rhs: str) -> Any:
    return (F.col("lhs") == lhs) & (F.col("op") == op) & (F.col("rhs") == rhs)


def _label(model: str | None, lhs: str, op: str, rhs: str) -> str:
    """A parameter's label as the model's text has it."""
    if op == ":=" or model is None:
        return lhs if op == ":=" else ""
    labels = [p.label for p in Model.parse(model).paths if (p.lhs, p.op, p.rhs) == (lhs, op, rhs)]
    return labels[0] or "" if labels else ""


def _frequencies(ws: Workspace, traits: tuple[str, ...]) -> DataFrame:
    """Frequency of each SNP's effect allele (``chr snp eaf``): that of the first trait of the model that gives one."""
    number = F.array_position(F.lit(list(traits)), F.col("trait"))
    given = ws.read("sumstats").where(F.col("trait").isin(list(traits)) & F.col("eaf").isNotNull())
    first = F.min(F.struct(number.alias("trait"), F.col("eaf")))
    return given.groupBy("chr", "snp").agg(first.alias("first")).select("chr", "snp", F.col("first.eaf").alias("eaf"))


def _write(
    rows: DataFrame, frequencies: DataFrame | None, chromosomes: Sequence[int], name: str, layout: Layout, file: Path,
    bgzip: bool, stage: Any,
) -> Exported:
    """One path's file, and its index where it is blocked and has positions."""
    counts = {"rows": 0, "left_out": 0, "without_frequency": 0}
    index = TabixIndex(*layout.places) if layout.places else None
    with text_file(file, bgzip=bgzip) as out:
        out.write(("\t".join(layout.columns) + "\n").encode())
        for chromosome in chromosomes:
            slice_ = rows.where(F.col("chr") == chromosome)
            if frequencies is not None:
                slice_ = slice_.join(frequencies.where(F.col("chr") == chromosome).drop("chr"), "snp", "left")
            batch = slice_.orderBy("bp", "snp").toArrow()
            kept = layout.kept(batch)
            _write_rows(layout.table(kept, counts["rows"]), kept, str(chromosome), out, index)
            counts["rows"] += kept.num_rows
            counts["left_out"] += batch.num_rows - kept.num_rows
            counts["without_frequency"] += kept.column("eaf").null_count if frequencies is not None else 0
            stage.advance(1)
    others = []
    if isinstance(out, BgzfWriter) and index is not None:
        others.append(file.with_name(f"{file.name}.tbi"))
        index.write(others[0], out)
    return Exported(name, file, n=layout.n, others=tuple(others), **counts)


def _write_rows(text: pa.Table, rows: pa.Table, chromosome: str, out: Any, index: TabixIndex | None) -> None:
    options = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    if not isinstance(out, BgzfWriter):
        pa.csv.write_csv(text, out, options)
        return
    buffer = io.BytesIO()
    pa.csv.write_csv(text, buffer, options)
    data = buffer.getvalue()
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    places = out.written + np.r_[0, ends]
    out.write(data)
    unplaced = rows.column("bp").null_count  # they come first and stand in no stretch
    if index is not None and rows.num_rows > unplaced:
        positions = rows.column("bp").to_numpy()[unplaced:].astype(np.int64)
        index.add(chromosome, positions, places[unplaced:].astype(np.int64))


def _with_metadata(made: Exported, entry: RunEntry, assembly: str) -> Exported:
    """Write the metadata that GWAS-SSF asks for beside the file; what this program does not know is said to be unknown."""
    beside = made.file.with_name(f"{made.file.name}-meta.yaml")
    with made.file.open("rb") as data:
        digest = hashlib.file_digest(data, "md5").hexdigest()
    notes = [f"Multivariate GWAS ({entry.step}) of the path {made.path}, run {entry.run_id}, by Genomic SEM.", _FORMULA]
    if made.left_out:
        notes.append(f"{made.left_out} SNPs without an estimate are left out.")
    if made.without_frequency:
        notes.append(f"{made.without_frequency} SNPs have no effect allele frequency (#NA).")
    facts = {
        "trait_description": [f"{made.path.split('~')[0]} of {', '.join(json.loads(entry.config).get('traits', ()))}"],
        "genome_assembly": assembly, "coordinate_system": "1-based", "genotyping_technology": [UNKNOWN],
        "samples": [{"sample_ancestry_category": [UNKNOWN], "sample_size": round(made.n or 0), "case_control_study": False}],
        "data_file_name": made.file.name, "file_type": "GWAS-SSF v1.1.0", "data_file_md5sum": digest,
        "analysis_software": f"gsem_spark {__version__}", "author_notes": " ".join(notes), "is_harmonised": False,
        "is_sorted": True, "date_metadata_last_modified": (entry.ended or entry.started).date(),
    }
    with text_file(beside) as out:
        out.write(("---\n" + yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=1000)).encode())
    return Exported(**{**made.__dict__, "others": (*made.others, beside)})
