"""Results of a mixed-model run as a trait of ``sumstats``: written as a summary-statistics file, then munged like any other.

So they are harmonised to the variant reference, standardised, counted rule by rule and registered like every GWAS, and LDSC,
MTAG and the factor GWAS read them.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.steps.genotypes.kinship_files import arrays_root
from gsem_spark.steps.munge.step import munge
from gsem_spark.steps.munge.traits import Trait
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Report

if TYPE_CHECKING:
    from gsem_spark.catalog.arrow_access import Where
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.steps.lmm.run import LmmRun

_COLUMNS: Final = ("snp", "chr", "bp", "a1", "a2", "trait", "design", "test", "af", "n", "beta", "se", "neglog10p", "status")
_HEADER: Final = "SNP\tCHR\tBP\tA1\tA2\tFRQ\tN\tBETA\tSE\tP\n"
_GZIP_LEVEL: Final = 4


def trait_list(as_trait: str | Sequence[str] | None) -> list[str]:
    """Names that results are to be entered under."""
    if as_trait is None:
        return []
    return [part.strip() for part in as_trait.split(",")] if isinstance(as_trait, str) else list(as_trait)


def check_names(names: Sequence[str], traits: Sequence[str]) -> None:
    """Refuse names that are not one a trait."""
    if len(names) != len(traits):
        raise ConfigError(f"{len(names)} names for {len(traits)} traits ({', '.join(traits)})", where="as_trait",
                          remedy="give one a trait, in this order")


def enter_traits(run: LmmRun, names: Sequence[str], *, progress: Progress | None = None, **settings: Any) -> Report:
    """Enter the results of a run's traits into ``sumstats`` and ``traits``.

    Parameters
    ----------
    run
        A finished run of single variants.
    names
        A name for each trait, in the order of ``run.traits``.
    settings
        Further settings of :class:`gsem_spark.Trait`, for all of them: ``scale="linear_probability"`` with ``n`` (effective),
        ``sample_prevalence`` and ``population_prevalence`` for a case-control trait that was tested as 0 and 1.

    Raises
    ------
    ConfigError
        There are not as many names as traits.
    DataError
        The run has no single-variant effects, or no variant reference is loaded.
    """
    ws, traits = run.workspace, run.traits
    check_names(names, traits)
    with (progress or Progress()).stage("summary statistics of the run"):
        files = [_write(ws, run, trait) for trait in traits]
    return munge(ws, [Trait(name, file, **settings) for name, file in zip(names, files, strict=True)], progress=progress)


def _write(ws: Workspace, run: LmmRun, trait: str) -> str:
    """The file of one trait: the same bytes for the same results."""
    test = str(run.summary["tests"][0]["test"])
    name = f"{run.run_id}.{trait}.tsv"
    chromosomes = sorted(int(str(c)) for _, c in ws.count("lmm_results", {"run_id": run.run_id}))
    text = _lines(ws, run.run_id, trait, test, chromosomes)
    root = f"{arrays_root(ws)}/sumstats"
    folder = local_folder(root)
    if folder is None:
        HadoopFiles(ws.spark).publish_text(f"{root}/{name}", "".join(text))
        return f"{root}/{name}"
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    partial = place / f".{name}.tmp"
    with partial.open("wb") as raw, gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as out:
        for part in text:
            out.write(part.encode())
    partial.replace(place / f"{name}.gz")
    return str(place / f"{name}.gz")


def _lines(ws: Workspace, run_id: str, trait: str, test: str, chromosomes: Iterable[int]) -> Iterator[str]:
    """Chromosome by chromosome, so that the driver holds the rows of one."""
    yield _HEADER
    found = 0
    for chromosome in chromosomes:
        where: Where = {"run_id": run_id, "chr": chromosome, "trait": trait, "test": test}
        rows = ws.rows("lmm_results", where, list(_COLUMNS)).to_pandas()
        usable = (rows["design"] == "effect") & (rows["status"] == "ok") & np.isfinite(rows["neglog10p"])
        rows = rows[usable].sort_values(["bp", "snp"], kind="stable")
        found += len(rows)
        yield "".join(
            f"{r.snp}\t{chromosome}\t{r.bp}\t{r.a1}\t{r.a2}\t{r.af:.6g}\t{r.n}\t{r.beta:.9g}\t{r.se:.9g}\t{_p_text(r.neglog10p)}\n"
            for r in rows.itertuples(index=False)
        )
    if not found:
        raise DataError(f"the run has no effect of a single variant on {trait}", where=run_id,
                        remedy="joint and interaction tests are no summary statistics; scan without step, sets and inter")


def _p_text(neglog10p: float) -> str:
    """A p-value as text, also where it is below the smallest float64."""
    exponent = int(np.floor(-neglog10p))
    return f"{10.0 ** (-neglog10p - exponent):.9f}e{exponent:d}"

