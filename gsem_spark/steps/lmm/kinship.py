"""Which kinship a mixed model stands on, and its spectrum over the samples of a trait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm.component_tests import component_tests
from gsem_spark.methods.lmm.rotation import Spectrum, background_spectrum, kinship_spectrum
from gsem_spark.methods.lmm.samples import match_samples
from gsem_spark.methods.lmm.variance_components import Component, VarianceComponentFit, fit_variance_components
from gsem_spark.steps.genotypes.kinship_config import FROM_GENOTYPES
from gsem_spark.steps.genotypes.kinship_files import SpectrumFile, kinship_of, loco_chromosomes, spectrum_file
from gsem_spark.steps.genotypes.source import Cohort
from gsem_spark.steps.lmm.config import ModelConfig
from gsem_spark.steps.lmm.samples import TraitData

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINSHIP_COMPONENT = "kinship"


@dataclass(frozen=True)
class Background:
    """The kinship of a run.

    Parameters
    ----------
    ws
        The workspace.
    kinship_id
        Run that made it; None for independent samples.
    loco
        Whether each chromosome is tested with the kinship made without it.
    rows
        Place of each genotyped sample among the kinship's, -1 where it is not there.
    names
        The genotyped samples' names.
    version
        Hash of the file, or "none".
    of_genotypes
        Whether it was made of genotypes, less their means.
    n_kinship
        Its samples.
    files
        Spectra that have been looked up, by the chromosome left out.
    """

    ws: Workspace
    kinship_id: str | None
    loco: bool
    rows: Ints
    names: tuple[str, ...]
    version: str
    of_genotypes: bool = False
    n_kinship: int = 0
    files: dict[int | None, SpectrumFile] = field(default_factory=dict)

    def part(self, places: Ints, chromosome: int | None) -> KinshipPart | None:
        """The kinship over the genotyped samples at ``places``, without a chromosome, for tasks; None for independent samples.

        Raises
        ------
        DataError
            Samples are not in the kinship (counts and examples both ways), or it was not made without the chromosome.
        """
        if self.kinship_id is None:
            return None
        rows = self.rows[places]
        if (rows < 0).any():
            have = kinship_of(self.ws, self.kinship_id)
            match_samples([self.names[p] for p in places], [str(i) for i in have["iid"]], "phenotypes", "kinship")
            raise DataError(f"{int((rows < 0).sum())} samples are not in the kinship", where=self.kinship_id)
        left_out = chromosome if self.loco else None
        if left_out not in self.files:
            self.files[left_out] = spectrum_file(self.ws, self.kinship_id, left_out)
        whole = np.array_equal(rows, np.arange(self.n_kinship))
        return KinshipPart(self.files[left_out], None if whole else rows, self.of_genotypes)

    def spectrum(self, places: Ints, chromosome: int | None) -> Spectrum | None:
        """Spectrum of ``part``."""
        part = self.part(places, chromosome)
        return None if part is None else part.spectrum()


@dataclass(frozen=True)
class KinshipPart:
    """A kinship over some of its samples, wherever it is decomposed: small, and pickles.

    Parameters
    ----------
    file
        Spectrum of the whole kinship.
    rows
        (n,) places of the samples in it; None for all of them in its order.
    of_genotypes
        Whether it was made of genotypes, less their means.
    """

    file: SpectrumFile
    rows: Ints | None
    of_genotypes: bool

    def spectrum(self) -> Spectrum:
        """All samples of the kinship in its order: the eigenvectors of its file, memory-mapped. Fewer: their part is decomposed.

        That of a kinship of genotypes is centred over these samples first, as all of it was (and as GEMMA does). Where there is
        an intercept this touches no REML figure but the intercept's own; likelihood ratios by ML depend on it.
        """
        whole = self.file.load()
        if self.rows is None:
            return whole
        part = np.asarray(whole.vectors)[self.rows]
        if self.of_genotypes:
            part = part - part.mean(axis=0)
        if whole.full:
            return kinship_spectrum((part * whole.eigenvalues) @ part.T)
        return background_spectrum(part * np.sqrt(whole.eigenvalues))


def components_of(spectrum: Spectrum | None, data: TraitData) -> list[Component]:
    """The kinship, where there is one, and the random terms: all components but the residual."""
    if spectrum is None:
        return list(data.components)
    vectors = np.asarray(spectrum.vectors)
    return [Component(KINSHIP_COMPONENT, (vectors * spectrum.eigenvalues) @ vectors.T), *data.components]


def with_components(spectrum: Spectrum | None, data: TraitData, tested: bool) -> tuple[Spectrum | None, FittedComponents]:
    """The spectrum of everything but the residual: kinship and random terms in the proportions of their REML estimates."""
    components = components_of(spectrum, data)
    made = FittedComponents.of(data, components, tested=tested)
    together = sum(theta * c.matrix for theta, c in zip(made.fit.theta, components, strict=False))
    share = float(np.trace(together)) / len(data.y)
    return (kinship_spectrum(together / share) if share > 0 else None), made


@dataclass(frozen=True)
class FittedComponents:
    """A model of several variance components, and the tests of each of them where they were asked for."""

    fit: VarianceComponentFit
    tests: pd.DataFrame | None

    @classmethod
    def of(cls, data: TraitData, components: Sequence[Component], *, tested: bool, reml: bool = True) -> FittedComponents:
        """Fit a trait's model, and again without each component."""
        fit = fit_variance_components(data.y, data.X, components, reml, list(data.names))
        return cls(fit, component_tests(fit, data.y, data.X, components) if tested else None)


def background_of(ws: Workspace, config: ModelConfig, cohort: Cohort) -> Background:
    """The kinship that the settings name: the cohort's last one by default.

    Raises
    ------
    DataError
        There is none, or it holds none of the samples.
    ConfigError
        It was not made without chromosomes, but that is asked for.
    """
    n = cohort.n_samples
    names = tuple(cohort.samples["iid"].astype(str))
    if config.kinship == "none":
        return Background(ws, None, False, np.full(n, -1), names, "none")
    kinship_id = config.kinship if config.kinship is not None else _last_kinship(ws, cohort)
    row = kinship_of(ws, kinship_id)
    without = loco_chromosomes(ws, kinship_id)
    if config.loco and not without:
        raise ConfigError(f"kinship {kinship_id} was made of all chromosomes only", where="loco",
                          remedy="make it with loco, or test without")
    loco = bool(without) and row["cohort"] == cohort.name if config.loco is None else config.loco
    return Background(ws, kinship_id, loco, _places(cohort.samples, row), names, str(row["sha256"])[:16],
                      row["kind"] in FROM_GENOTYPES, len(row["iid"]))


def _last_kinship(ws: Workspace, cohort: Cohort) -> str:
    of_cohort = set()
    for row in ws.records("kinships", columns=["kinship_id", "cohort", "loco_chr"]):
        made_of = row["cohort"]
        if row["loco_chr"] is None and (made_of == cohort.name or (made_of is None and _shares(ws, row["kinship_id"], cohort))):
            of_cohort.add(str(row["kinship_id"]))
    made = [entry.run_id for entry in ws.runs.of_step("kinship") if entry.run_id in of_cohort]
    if not made and not of_cohort:
        raise DataError(f"there is no kinship of cohort {cohort.name}", where=ws.location,
                        remedy="gsem-spark kinship WORKSPACE, or kinship=none for independent samples")
    return made[-1] if made else sorted(of_cohort)[-1]


def _shares(ws: Workspace, kinship_id: str, cohort: Cohort) -> bool:
    """Whether a matrix of samples of its own has some of a cohort's."""
    (row,) = ws.records("kinships", {"kinship_id": kinship_id}, ["iid"])
    return not set(cohort.samples["iid"].astype(str)).isdisjoint(map(str, row["iid"]))


def _places(samples: pd.DataFrame, row: Mapping[str, Any]) -> Ints:
    """Place of each genotyped sample among a kinship's: by family and individual, else by individual where those are unique."""
    own = list(zip(samples["fid"].astype(str), samples["iid"].astype(str), strict=True))
    at = {pair: k for k, pair in enumerate(zip(map(str, row["fid"]), map(str, row["iid"]), strict=True))}
    found = np.array([at.get(pair, -1) for pair in own], dtype=np.int64)
    iids = list(map(str, row["iid"]))
    if (found < 0).all() and len(set(iids)) == len(iids) and not samples["iid"].duplicated().any():
        by_iid = {name: k for k, name in enumerate(iids)}
        found = np.array([by_iid.get(pair[1], -1) for pair in own], dtype=np.int64)
    return found
