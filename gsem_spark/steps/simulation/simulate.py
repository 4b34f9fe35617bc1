"""``gs.simulate``: write a set of raw GWAS files, LD scores and references with a known truth. Needs no Spark."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import yaml
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError, StorageError
from gsem_spark.methods.simulation.design import Design
from gsem_spark.methods.simulation.dirt import DirtRates, raw_rows
from gsem_spark.methods.simulation.draw import Planted, draw_sample_sizes, draw_z, plant
from gsem_spark.methods.simulation.ld_panel import Panel, panel_from_ld_scores, simulate_panel
from gsem_spark.methods.simulation.raw_formats import format_of
from gsem_spark.methods.simulation.raw_text import ld_score_table, raw_table, reference_table
from gsem_spark.methods.simulation.truth import SimulationTruth, planted_hits
from gsem_spark.steps.simulation.config import SimulateConfig, TraitSettings, config_from

__all__ = ["SimulateConfig", "SimulationTruth", "TraitSettings", "read_ld_scores", "read_truth", "simulate"]

ROWS_PER_WRITE = 200_000
"""Rows made into text at once: bounds the memory of a run, not its result."""
SNPLIST_COLUMNS = ("SNP", "A1", "A2")
LD_COLUMNS = ("CHR", "SNP", "BP", "CM", "MAF", "L2")


def simulate(
    out: str | Path,
    *,
    design: str | Path | Mapping[str, Any] | SimulateConfig | None = None,
    S: ArrayLike | None = None,
    loadings: ArrayLike | None = None,
    h2: Sequence[float] | None = None,
    n: float | Sequence[float] | None = None,
    ld_scores: str | Path | None = None,
    n_snps: int | None = None,
    seed: int | None = None,
    dirty: bool | None = None,
    gzip_level: int | None = None,
    overwrite: bool = False,
) -> SimulationTruth:
    """Simulate GWAS of several traits and write them as raw files.

    Parameters
    ----------
    out
        Folder to make: ``raw/`` holds ``<trait>.<kind>.tsv.gz``, ``reference.tsv``, ``snplist.tsv`` and ``truth.json``; ``ld/``
        the LD scores, when they were simulated; ``study.yaml`` runs the whole study on them.
    design
        ``"demo"`` (six traits in six formats), ``"three"`` (three clean traits, one factor), a YAML file, settings or a config.
        By default ``"demo"``, unless S or loadings are given.
    S, loadings, h2, n
        In place of a design: genetic covariance, or standardised loadings (k, f) with heritabilities; samples per trait (one
        number or k; 100,000 by default). Traits are called T1, T2, ... and written as continuous.
    ld_scores
        Folder of a real LD-score panel (``1.l2.ldscore.gz`` ... and ``.l2.M_5_50``); by default a panel is simulated.
    n_snps, seed, dirty, gzip_level
        Override the design's own setting.
    overwrite
        Replace a simulated set that is already there.

    Returns
    -------
    SimulationTruth
        What ``truth.json`` says.

    Raises
    ------
    ConfigError
        When settings are wrong: S not positive semidefinite, overlap above the smaller N, more planted variants than SNPs, ...
    DataError
        When the LD scores cannot be used.
    StorageError
        When the folder exists already or cannot be written. Nothing is left behind.

    Examples
    --------
    >>> truth = simulate("my_set", S=[[0.2, 0.1], [0.1, 0.3]], n=[1e5, 2e5], n_snps=5000)  # doctest: +SKIP
    """
    config = config_from(design, S, loadings, h2, n)
    changes: dict[str, Any] = {"ld_scores": ld_scores, "n_snps": n_snps, "seed": seed, "dirt": dirty, "gzip_level": gzip_level}
    changes = {key: value for key, value in changes.items() if value is not None}
    if dirty and isinstance(config.dirt, dict):
        changes["dirt"] = config.dirt
    if ld_scores is not None and n_snps is None:
        changes["n_snps"] = None
    config = SimulateConfig.parse({**config.model_dump(), **changes})
    truth_of_design = config.design()
    kinds = [format_of(t.kind) for t in config.traits]
    rates = config.rates()
    with _new_folder(Path(out), overwrite) as folder:
        panel = _panel(config)
        planted = plant(
            truth_of_design, panel, seed=config.seed, per_factor=tuple(config.planted.factor), per_trait=config.planted.trait,
            factor_variance=config.planted.factor_variance, trait_variance=config.planted.trait_variance,
            distance_bp=config.planted.distance_bp,
        )  # fmt: skip
        spread = np.array([f.n_spread if t.n_spread is None else t.n_spread for t, f in zip(config.traits, kinds, strict=True)])
        sizes = draw_sample_sizes(truth_of_design, panel, spread, seed=config.seed)
        z = draw_z(truth_of_design, panel, sizes, seed=config.seed, neighbour=config.neighbour, planted=planted)
        faults = _write_traits(folder / "raw", config, panel, z, sizes, rates)
        _write_references(folder, config, panel)
        truth = _truth(config, truth_of_design, panel, planted, faults)
        text = json.dumps(truth.to_record(), indent=1, allow_nan=False) + "\n"
        (folder / "raw" / "truth.json").write_text(text, encoding="utf-8")
        (folder / "study.yaml").write_text(_study(config), encoding="utf-8")
    return truth


def read_truth(folder: str | Path) -> SimulationTruth:
    """Read ``truth.json`` of a simulated set (its folder, or its ``raw`` folder)."""
    for path in (Path(folder) / "raw" / "truth.json", Path(folder) / "truth.json"):
        if path.is_file():
            return SimulationTruth.from_record(json.loads(path.read_text(encoding="utf-8")), where=str(path))
    raise DataError("there is no truth.json here", where=str(folder), remedy="Give a folder that `simulate` has written.")


def read_ld_scores(folder: str | Path, *, seed: int, ambiguous: float = 0.01, n_snps: int | None = None) -> Panel:
    """Read a panel in ldsc's format, one file an autosome; alleles are drawn (such files hold none).

    Parameters
    ----------
    folder
        Holds ``<chromosome>.l2.ldscore.gz`` (columns CHR SNP BP CM MAF L2) and ``<chromosome>.l2.M_5_50``.
    seed, ambiguous
        Seed of the alleles, share of A/T and C/G SNPs.
    n_snps
        Keep this many SNPs, evenly spread; all by default. M stays the panel's.
    """
    root = Path(folder)
    chromosomes = [c for c in range(1, 23) if (root / f"{c}.l2.ldscore.gz").is_file()]
    if not chromosomes:
        raise DataError("there is no 1.l2.ldscore.gz to 22.l2.ldscore.gz here", where=str(root),
                        remedy="Give the folder of an LD-score panel, or leave ld_scores out to simulate one.")  # fmt: skip
    table = pa.concat_tables([_read_ld_file(root / f"{c}.l2.ldscore.gz") for c in chromosomes])
    table = table.sort_by([("CHR", "ascending"), ("BP", "ascending")])
    m_5_50 = np.array([_read_count(root / f"{c}.l2.M_5_50") for c in chromosomes])
    if n_snps is not None and n_snps > table.num_rows:
        raise ConfigError(f"{n_snps} SNPs wanted, the panel has {table.num_rows}", where=str(root), remedy="Lower n_snps.")
    if n_snps is not None:
        table = table.take(pa.array((np.arange(n_snps) * table.num_rows) // n_snps))
    column = {name: table[name].to_numpy() for name in LD_COLUMNS}
    return panel_from_ld_scores(
        snp=column["SNP"], chr=column["CHR"], bp=column["BP"], cm=column["CM"], maf=column["MAF"], l2=column["L2"],
        m_5_50=m_5_50, seed=seed, ambiguous=ambiguous,
    )  # fmt: skip


def _panel(config: SimulateConfig) -> Panel:
    if config.ld_scores is not None:
        return read_ld_scores(config.ld_scores, seed=config.seed, ambiguous=config.ambiguous, n_snps=config.n_snps)
    return simulate_panel(config.n_snps or 24_000, seed=config.seed, M=config.M, ambiguous=config.ambiguous)


def _write_traits(
    raw: Path, config: SimulateConfig, panel: Panel, z: NDArray[np.float64], sizes: NDArray[np.float64], rates: DirtRates
) -> dict[str, dict[str, int]]:
    raw.mkdir()
    snp = pa.array(panel.snp, pa.string())
    faults: dict[str, dict[str, int]] = {}
    for j, trait in enumerate(config.traits):
        rows, faults[trait.name] = raw_rows(panel, z[:, j], sizes[:, j], rates=rates, seed=config.seed, trait=j)
        share = np.nan if trait.sample_prevalence is None else trait.sample_prevalence
        kind = format_of(trait.kind)
        parts = (
            raw_table(panel, rows.take(slice(a, a + ROWS_PER_WRITE)), kind, case_share=share, snp=snp)
            for a in range(0, max(rows.size, 1), ROWS_PER_WRITE)
        )
        _write_text(raw / _file_name(trait), kind.header, parts, config.gzip_level)
    return faults


def _write_references(folder: Path, config: SimulateConfig, panel: Panel) -> None:
    reference = reference_table(panel)
    _write_text(folder / "raw" / "reference.tsv", tuple(reference.column_names), [reference])
    _write_text(folder / "raw" / "snplist.tsv", SNPLIST_COLUMNS, [reference.select(list(SNPLIST_COLUMNS))])
    if config.ld_scores is not None:
        return
    (folder / "ld").mkdir()
    for (chromosome, rows), count in zip(panel.chromosome_slices(), panel.m_5_50, strict=True):
        table = ld_score_table(panel, rows)
        _write_text(folder / "ld" / f"{chromosome}.l2.ldscore.gz", tuple(table.column_names), [table], config.gzip_level)
        (folder / "ld" / f"{chromosome}.l2.M_5_50").write_text(f"{count:.0f}\n", encoding="ascii")


def _write_text(path: Path, header: tuple[str, ...], parts: Iterable[pa.Table], level: int | None = None) -> None:
    """Write tab-separated text, gzipped when a level is given; equal content gives equal bytes (no time, no file name)."""
    options = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as file:
        sink = file if level is None else gzip.GzipFile("", "wb", level, file, mtime=0)
        sink.write(("\t".join(header) + "\n").encode("ascii"))
        for part in parts:
            buffer = pa.BufferOutputStream()
            pa.csv.write_csv(part, buffer, options)
            sink.write(buffer.getvalue())
        sink.flush() if level is None else sink.close()


def _truth(
    config: SimulateConfig, design: Design, panel: Panel, planted: Planted, faults: dict[str, dict[str, int]]
) -> SimulationTruth:
    share = [np.nan if t.sample_prevalence is None else t.sample_prevalence for t in config.traits]
    records = [
        {"snp": str(panel.snp[row]), "target": target, "effect": effect}
        for row, target, effect in zip(planted.rows.tolist(), planted.target, planted.effect.tolist(), strict=True)
    ]
    return SimulationTruth(
        names=design.names, kinds=tuple(t.kind for t in config.traits), S=design.S, I=design.I, N=design.n, M=panel.M,
        lam=design.standardised_loadings, factor_cov=design.factor_cov, hits=planted_hits(design, panel, planted),
        planted=records, sample_prevalence=np.array(share), faults=faults,
        files={t.name: _file_name(t) for t in config.traits}, seed=config.seed,
    )  # fmt: skip


def _study(config: SimulateConfig) -> str:
    """Write the study file of the set: observed scale, so that its S can be held against the truth's."""
    traits: list[dict[str, Any]] = []
    for trait in config.traits:
        kind = format_of(trait.kind)
        entry: dict[str, Any] = {"name": trait.name, "file": f"raw/{_file_name(trait)}", "scale": kind.scale}
        if kind.effect == "probability" and trait.sample_prevalence is not None:
            entry["n"] = round(4.0 * trait.sample_prevalence * (1.0 - trait.sample_prevalence) * trait.n, 2)
        elif "n" not in {role for _, role in kind.columns}:
            entry["n"] = trait.n
        traits.append(entry)
    ld_scores = "ld" if config.ld_scores is None else str(config.ld_scores.resolve())
    references = {"variants": "raw/reference.tsv", "hm3": "raw/snplist.tsv", "ld_scores": ld_scores}
    study = {"workspace": "workspace", "references": references, "traits": traits}
    head = (
        "# Simulated GWAS with a known truth (raw/truth.json).\n"
        "# n stands where the file has no N; for linear_probability it is the effective N.\n"
    )
    return head + yaml.safe_dump(study, sort_keys=False)


def _file_name(trait: TraitSettings) -> str:
    return f"{trait.name}.{trait.kind}.tsv.gz"


def _read_ld_file(path: Path) -> pa.Table:
    types = {"CHR": pa.int64(), "SNP": pa.string(), "BP": pa.int64(), "CM": pa.float64(), "MAF": pa.float64(), "L2": pa.float64()}
    convert = pa.csv.ConvertOptions(include_columns=list(LD_COLUMNS), column_types=types)
    try:
        return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t"), convert_options=convert)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"these LD scores cannot be read: {error}", where=str(path),
                        remedy=f"The file must be tab-separated with the columns {' '.join(LD_COLUMNS)}.") from None  # fmt: skip


def _read_count(path: Path) -> float:
    try:
        return float(path.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"the number of SNPs cannot be read: {error}", where=str(path),
                        remedy="Every chromosome needs its .l2.M_5_50 file with one number.") from None  # fmt: skip


@contextmanager
def _new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of ``out`` once all is written; nothing stays after an error."""
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not overwrite:
        raise StorageError("this folder exists already", where=str(out), remedy="Choose another folder, or say overwrite.")
    if taken and not (out / "raw" / "truth.json").is_file():
        raise StorageError("this is not a simulated set (no raw/truth.json), so it is not overwritten", where=str(out),
                           remedy="Choose another folder.")  # fmt: skip
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        old = out.with_name(f".{out.name}.old-{os.getpid()}")
        if out.exists():
            out.rename(old)
        part.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"the set cannot be written: {error.strerror or error}", where=str(error.filename or out),
                           remedy="Give a folder on a disk with room, where you may write.") from error  # fmt: skip
    finally:
        shutil.rmtree(part, ignore_errors=True)
