"""Kinships: summed on executors or read from files, decomposed on the driver, kept for the mixed models."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.catalog.raw_digests import RawDigests
from gsem_spark.errors import DataError, placed
from gsem_spark.methods.lmm.checks import as_kinship
from gsem_spark.methods.lmm.kinship import normalise_kinship
from gsem_spark.methods.lmm.low_rank import random_spectrum
from gsem_spark.methods.lmm.pedigree import pedigree_kinship
from gsem_spark.methods.lmm.rotation import Spectrum, kinship_spectrum
from gsem_spark.methods.lmm.samples import match_samples
from gsem_spark.readers.kinship_matrix import NamedMatrix, read_matrix, read_pedigree
from gsem_spark.steps.genotypes.kinship_config import KinshipConfig, read_names
from gsem_spark.steps.genotypes.kinship_files import (
    arrays_root,
    delete_vectors,
    file_exists,
    load_matrix,
    load_spectrum,
    loco_chromosomes,
    write_vectors,
)
from gsem_spark.steps.genotypes.kinship_sums import chromosome_sums, product_with, segments
from gsem_spark.steps.genotypes.samples import check_samples
from gsem_spark.steps.genotypes.source import Cohort, chromosomes_of, cohort_of
from gsem_spark.steps.genotypes.step import samples_hash
from gsem_spark.steps.large_results import large_results
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Report, Step, checked_config, content_hash

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]

@dataclass(frozen=True)
class _Made:
    """One kinship: without which chromosome, its spectrum, and the number of variants."""

    loco: int | None
    spectrum: Spectrum
    variants: int | None


class KinshipStep(Step[KinshipConfig]):
    """Make a kinship and its eigendecomposition."""

    name: ClassVar[str] = "kinship"
    reads: ClassVar[tuple[str, ...]] = ("cohorts", "genotype_blocks")
    writes: ClassVar[tuple[str, ...]] = ("kinships",)

    _cohort: Cohort | None = None
    _digests: RawDigests

    def result_config(self) -> Mapping[str, Any]:
        """The settings, without the places of files: they count by content."""
        settings = self.config.model_dump(mode="json", exclude={"file", "ids", "cohort"})
        if self.config.snps is not None:
            settings["snps"] = content_hash(sorted(set(read_names(self.config.snps))))
        return settings

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Version of the cohort, and content of the files."""
        c = self.config
        alone = c.cohort is None and c.kind in ("pedigree", "given") and c.file is not None
        self._cohort = None if alone else cohort_of(ws, c.cohort)
        self._digests = RawDigests(ws)
        versions = {} if self._cohort is None else {f"cohort/{self._cohort.name}": self._cohort.version}
        for role, path in c.files.items():
            if not Path(path).is_file():
                raise DataError("the file does not exist", where=path, remedy="correct the path")
            if role != "snps":
                versions[role] = self._digests.sha256(path)[:16]
        return versions

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the kinship is in the table and its files are there."""
        rows = ws.records("kinships", {"kinship_id": run_id}, ["file"])
        return bool(rows) and all(file_exists(ws, str(r["file"])) for r in rows)

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Make every kinship, write its file; the rows come last, in one commit."""
        arrays_root(ws)
        samples, made = self._made(ws, progress)
        before = {str(r["file"]) for r in ws.records("kinships", {"kinship_id": plan.run_id}, ["file"])}
        rows = []
        for one in made:
            name = f"{plan.run_id}.npy" if one.loco is None else f"{plan.run_id}.loco{one.loco}.npy"
            file, digest = write_vectors(ws, name, one.spectrum.vectors)
            rows.append(self._row(plan, one, samples, file, digest))
        ws.put("kinships", rows, {"kinship_id": plan.run_id}, metadata={"run_id": plan.run_id})
        delete_vectors(ws, sorted(before - {str(r["file"]) for r in rows}))
        whole = rows[0]
        summary = {
            "kinship_id": plan.run_id, "cohort": whole["cohort"], "kind": whole["kind"], "samples": whole["n"],
            "rank": whole["rank"], "variants": whole["n_variants"], "mean_diagonal": whole["mean_diagonal"],
            "loco": [r["loco_chr"] for r in rows if r["loco_chr"] is not None], **self._digests.summary,
        }
        strangers = _strangers(ws, samples) if self._cohort is None else ()
        return Outcome(len(rows), {}, summary, (*_notices(whole), *strangers))

    def _made(self, ws: Workspace, progress: Progress) -> tuple[pd.DataFrame, Iterator[_Made]]:
        if self.config.kind == "low_rank":
            return self._of_cohort(ws, progress, self._low_rank)
        if self.config.of_genotypes:
            return self._of_cohort(ws, progress, self._full_rank)
        matrix = _pedigree(self.config, self._cohort) if self.config.kind == "pedigree" else _given(self.config)
        samples, K = _in_cohort(matrix, self._cohort)
        place = self.config.file or "pedigree"
        check_samples(samples, place)
        with placed(place):
            return samples, iter(list(self._decomposed(iter([(None, K, None)]), 1, progress)))

    def _of_cohort(self, ws: Workspace, progress: Progress, make: Any) -> tuple[pd.DataFrame, Iterator[_Made]]:
        assert self._cohort is not None
        chromosomes = chromosomes_of(ws, self._cohort.name)
        if not chromosomes:
            raise DataError("the cohort has no variant", where=f"cohort {self._cohort.name}", remedy="load its genotypes again")
        loco = len(chromosomes) > 1 if self.config.loco is None else self.config.loco
        if loco and len(chromosomes) < 2:
            raise DataError(f"all variants lie on chromosome {chromosomes[0]}: without it none is left", where="loco",
                            remedy="make the kinship with loco=False")
        return self._cohort.samples, make(ws, self._cohort, loco, progress)

    def _full_rank(self, ws: Workspace, cohort: Cohort, loco: bool, progress: Progress) -> Iterator[_Made]:
        kind: Any = self.config.kind
        n, choice = cohort.n_samples, self.config.choice()
        with tempfile.TemporaryDirectory(prefix="gsem_kinship_") as folder:
            with progress.stage(f"kinship of {n:,} samples", unit="parts") as stage, large_results(ws) as results:
                sums = chromosome_sums(ws, cohort.name, n, kind, choice, Path(folder), results, stage)
            total = sums.total()
            left_out = list(sums.variants) if loco else []

            def matrices() -> Iterator[tuple[int | None, Floats, int | None]]:
                yield None, total.matrix(), total.variants
                for chromosome in left_out:
                    rest = sums.without(total, chromosome)
                    yield chromosome, rest.matrix(), rest.variants

            yield from self._decomposed(matrices(), 1 + len(left_out), progress)

    def _decomposed(
        self, matrices: Iterator[tuple[int | None, Floats, int | None]], count: int, progress: Progress
    ) -> Iterator[_Made]:
        with progress.stage("eigenvalues and eigenvectors", total=count, unit="kinships") as stage:
            for loco, K, variants in matrices:
                spectrum = kinship_spectrum(normalise_kinship(K) if self.config.normalise else K)
                yield _Made(loco, spectrum, variants)
                stage.advance(1)

    def _low_rank(self, ws: Workspace, cohort: Cohort, loco: bool, progress: Progress) -> Iterator[_Made]:
        c, n = self.config, cohort.n_samples
        parts, choice = segments(ws, cohort.name), self.config.choice()
        left_out: list[int | None] = [None, *(sorted({p[0] for p in parts}) if loco else [])]
        start: Floats | None = None
        title = "largest eigenvalues and their eigenvectors"
        with progress.stage(title, total=len(left_out), unit="kinships") as stage, large_results(ws) as results:
            for chromosome in left_out:
                chosen = [p for p in parts if p[0] != chromosome]
                count = 0

                def product(Q: Floats, chosen: list[tuple[int, int]] = chosen) -> Floats:
                    nonlocal count
                    total, count = product_with(ws, cohort.name, chosen, Q, c.scale, choice, results)
                    if count == 0:
                        raise DataError("no variant to compute a kinship from", where="kinship", remedy="loosen the filters")
                    return total / count

                passes = c.iterations if start is None else -(-c.iterations // 2)  # that of all chromosomes is close already
                spectrum, subspace = random_spectrum(product, n, c.rank or 1, c.seed, start, passes)
                start = subspace if start is None else start
                yield _Made(chromosome, spectrum, count)
                stage.advance(1)

    def _row(self, plan: Plan, made: _Made, samples: pd.DataFrame, file: str, digest: str) -> dict[str, Any]:
        spectrum = made.spectrum
        return {
            "kinship_id": plan.run_id, "loco_chr": made.loco, "cohort": None if self._cohort is None else self._cohort.name,
            "kind": self.config.kind, "n": spectrum.n, "rank": len(spectrum.eigenvalues), "n_variants": made.variants,
            "mean_diagonal": spectrum.mean, "fid": samples["fid"].tolist(), "iid": samples["iid"].tolist(),
            "samples": samples_hash(samples), "eigenvalues": spectrum.eigenvalues.tolist(), "file": file, "sha256": digest,
            "settings": json.dumps(self.result_config(), sort_keys=True), "inputs": dict(plan.inputs),
        }


@dataclass(frozen=True)
class Kinship:
    """A kinship that is kept in a workspace."""

    workspace: Workspace
    report: Report

    @property
    def kinship_id(self) -> str:
        """Its name in ``kinships``."""
        return str(self.report.summary["kinship_id"])

    @property
    def chromosomes(self) -> list[int]:
        """Chromosomes that it was also made without."""
        return loco_chromosomes(self.workspace, self.kinship_id)

    def spectrum(self, loco_chr: int | None = None) -> Spectrum:
        """Eigenvalues and eigenvectors, of all chromosomes or without one."""
        return load_spectrum(self.workspace, self.kinship_id, loco_chr)

    def matrix(self, loco_chr: int | None = None) -> Floats:
        """The matrix (n, n), from its spectrum."""
        return load_matrix(self.workspace, self.kinship_id, loco_chr)


def kinship(
    ws: Workspace, cohort: str | None = None, kind: str = "centred", *, progress: Progress | None = None, **settings: Any
) -> Kinship:
    """Make a kinship and its eigendecomposition, or keep one that is given.

    Parameters
    ----------
    ws
        The workspace.
    cohort
        A cohort that was loaded by :func:`gsem_spark.genotypes`; the only one by default. A pedigree or a given matrix without
        cohort stands alone; with one, it is brought into the cohort's order, and every sample must be in it.
    kind
        Of genotypes: ``centred`` (GEMMA -gk 1), ``standardised`` (GEMMA -gk 2, limix), ``gcta``, or ``low_rank`` (the largest
        ``rank`` eigenvalues, by products with random vectors; the kinship is never formed). ``pedigree``: relationships expected
        from ``file`` (.fam, or a table id sire dam) or the cohort's own .fam. ``given``: read from ``file``.
    progress
        Where to show progress; silent by default.
    **settings
        Further settings of :class:`KinshipConfig`: ``loco snps maf missing normalise rank scale seed iterations
        file ids unknown_parents``.

    Returns
    -------
    Kinship
        ``.kinship_id``, ``.spectrum(loco_chr)``, ``.matrix(loco_chr)``; the same call again does nothing.

    Raises
    ------
    ConfigError
        A setting is wrong, or settings do not go together.
    DataError
        There is no cohort; samples do not match (counts and examples both ways); the matrix is not square, symmetric or positive
        semidefinite; a pedigree has a loop or unknown parents; no variant is left.
    """
    for name in ("file", "ids", "snps"):
        value = settings.get(name)
        if value is not None:
            settings[name] = str(value) if isinstance(value, (str, Path)) else tuple(map(str, value))
    config = checked_config(KinshipConfig, "kinship", cohort=cohort, kind=kind, **settings)
    return Kinship(ws, KinshipStep(config).run(ws, progress))


def _given(config: KinshipConfig) -> NamedMatrix:
    matrix = read_matrix(str(config.file), config.ids)
    check_samples(matrix.samples, config.ids or str(config.file))
    with placed(str(config.file)):
        return NamedMatrix(as_kinship(matrix.K), matrix.samples, matrix.families)


def _pedigree(config: KinshipConfig, cohort: Cohort | None) -> NamedMatrix:
    if config.file is not None:
        pedigree, families = read_pedigree(config.file)
    else:
        assert cohort is not None
        pedigree, families = cohort_pedigree(cohort), True
    with placed(config.file or f"pedigree of cohort {cohort.name if cohort is not None else ''}"):
        A = pedigree_kinship(pedigree, unknown_parents=config.unknown_parents)
    return NamedMatrix(A.to_numpy(), pedigree[["fid", "iid"]].reset_index(drop=True), families)


def _strangers(ws: Workspace, samples: pd.DataFrame) -> Iterator[str]:
    """What a reader must know of cohorts that a matrix of its own samples does not cover."""
    have = set(samples["iid"].astype(str))
    for name in sorted(str(r["cohort"]) for r in ws.records("cohorts", columns=["cohort"])):
        cohort = cohort_of(ws, name)
        lost = [iid for iid in cohort.samples["iid"].astype(str) if iid not in have]
        if lost:
            yield (f"{len(lost):,} of {cohort.n_samples:,} samples of cohort {name} are not in it ({', '.join(lost[:3])}); "
                   f"its own are {', '.join(sorted(have)[:3])} and others")


def cohort_pedigree(cohort: Cohort) -> pd.DataFrame:
    """Pedigree of a cohort's samples, as their .fam file tells it: columns id, sire, dam, fid, iid."""
    s = cohort.samples
    if (s["father"] == "0").all() and (s["mother"] == "0").all():
        raise DataError("no sample has a known parent", where=f"cohort {cohort.name}",
                        remedy="give a pedigree: file=… (.fam, or a table id sire dam)")
    repeated = len(set(s["iid"])) < len(s)

    def label(fid: str, iid: str) -> str:
        return "0" if iid == "0" else f"{fid}:{iid}" if repeated else iid

    parents = {role: [label(f, p) for f, p in zip(s["fid"], s[column], strict=True)]
               for role, column in (("id", "iid"), ("sire", "father"), ("dam", "mother"))}
    return pd.DataFrame({**parents, "fid": s["fid"], "iid": s["iid"]})


def _in_cohort(matrix: NamedMatrix, cohort: Cohort | None) -> tuple[pd.DataFrame, Floats]:
    """A matrix in the order of a cohort's samples."""
    if cohort is None:
        return matrix.samples, matrix.K
    wanted, have = (_names(s, matrix.families) for s in (cohort.samples, matrix.samples))
    _, places = match_samples(wanted, have, "genotypes", "kinship")
    return cohort.samples, np.ascontiguousarray(matrix.K[np.ix_(places, places)])


def _names(samples: pd.DataFrame, families: bool) -> list[str]:
    if not families:
        return [str(i) for i in samples["iid"]]
    return [f"{f} {i}" for f, i in zip(samples["fid"], samples["iid"], strict=True)]


def _notices(row: Mapping[str, Any]) -> list[str]:
    values = np.array(row["eigenvalues"])
    if row["n_variants"] is not None and row["kind"] != "low_rank" and row["n_variants"] < row["n"]:
        return [f"the kinship of {row['n']:,} samples is made of {row['n_variants']:,} variants: it has "
                f"{int((values > values[-1] * 1e-10).sum()):,} positive eigenvalues"]
    return []
