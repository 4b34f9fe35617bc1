"""Mixed-model association of one or many traits, each alone: null models on the driver, tests on executors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.catalog.part_files import Part
from gsem_spark.methods.lmm.manyphenotypes import fit_phenotypes
from gsem_spark.methods.lmm.rotation import Spectrum
from gsem_spark.methods.lmm.scan import prepare_scan
from gsem_spark.methods.lmm.scan_phenotypes import prepare_scan_phenotypes
from gsem_spark.methods.lmm.statistics import NULL_OF
from gsem_spark.steps.lmm.config import LmmConfig
from gsem_spark.steps.lmm.kinship import FittedComponents
from gsem_spark.steps.lmm.models import model_row, phenotype_row
from gsem_spark.steps.lmm.run import LmmRun
from gsem_spark.steps.lmm.samples import TraitData, trait_data, traits_of
from gsem_spark.steps.lmm.scan import Prepared, ScanInput, ScanStep
from gsem_spark.steps.lmm.sets import check_sizes, read_sets, set_parts, set_pieces
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import checked_config, content_hash

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import PartFunction, Source
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Environments:
    """Columns of an interaction test: of the hypothesis and of the smaller one, among a trait's environments."""

    names: tuple[str, ...]
    tested: tuple[str, ...]
    smaller: tuple[str, ...] | None

    def of(self, data: TraitData) -> tuple[Floats | None, Floats | None]:
        """(n, e) columns tested, and (n, e0) of the smaller hypothesis: a column of ones for the variant's main effect."""
        if not self.tested:
            return None, None
        inter = data.environments[:, [self.names.index(n) for n in self.tested]]
        if self.smaller is None:
            return inter, None
        if self.smaller == ():
            return inter, np.ones((len(inter), 1))
        return inter, data.environments[:, [self.names.index(n) for n in self.smaller]]


class LmmStep(ScanStep[LmmConfig]):
    """Test every variant for association with each trait under a mixed model."""

    name: ClassVar[str] = "lmm"

    def models(self, given: ScanInput, chromosome: int | None) -> Iterator[Prepared]:
        """Traits with the same samples share a decomposition, and where their tests allow it one rotation for all."""
        every = [trait_data(self.config, given.table, trait, self._environments.names)
                 for trait in traits_of(self.config, given.table, self._environments.names)]
        groups: dict[bytes, list[TraitData]] = {}
        for data in every:
            groups.setdefault(data.places.tobytes(), []).append(data)
        for group in groups.values():
            if any(data.components for data in group):
                for data in group:
                    first = chromosome in (None, min(self.counts))
                    spectrum, made = given.background.with_components(data, chromosome, tested=first)
                    yield self._alone(data, spectrum, made)
                continue
            spectrum = given.background.spectrum(group[0].places, chromosome)
            if len(group) > 1 and spectrum is not None and self._one_rotation:
                yield self._together(group, spectrum)
            else:
                yield from (self._alone(data, spectrum, None) for data in group)

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Versions of cohort, kinship and files."""
        sets = {} if self.config.sets is None else {"sets": content_hash(sorted(read_sets(self.config.sets).items()))}
        return {**super().inputs(ws), **sets}

    def result_config(self) -> Mapping[str, Any]:
        """The settings, without the places of files: they count by content."""
        return {name: value for name, value in super().result_config().items() if name != "sets"}

    def tests(self, ws: Workspace, source: Source, shared: Any, run_id: str) -> tuple[DataFrame, PartFunction]:
        """Blocks as they are, or the variants of sets brought together."""
        if self.config.sets is None:
            return super().tests(ws, source, shared, run_id)

        def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
            return set_parts(shared.value, batches, run_id)

        return set_pieces(source, read_sets(self.config.sets), int(ws.spark.sparkContext.defaultParallelism)), parts

    def effects(self, given: ScanInput) -> Mapping[str, list[str]]:
        """Effects of interaction tests, environment by environment."""
        e = self._environments
        if not e.tested:
            return {}
        tested = [f"variant x {name}" for name in e.tested]
        if e.smaller is None:
            return {"any": tested}
        smaller = ["variant"] if e.smaller == () else [f"variant x {name}" for name in e.smaller]
        return {"common": smaller, "any": [*smaller, *tested], "interaction": tested}

    @property
    def _environments(self) -> _Environments:
        c = self.config
        smaller = None if c.inter0 == "none" else () if c.inter0 == "main" else tuple(c.inter0)
        names = tuple(dict.fromkeys([*c.inter, *(smaller or ())])) if c.inter else ()
        return _Environments(names, c.inter, smaller)

    @property
    def _one_rotation(self) -> bool:
        c = self.config
        return not (c.exact or c.inter or c.step > 1 or c.sets) and len(c.test) == 1

    def _alone(self, data: TraitData, spectrum: Spectrum | None, components: FittedComponents | None) -> Prepared:
        c = self.config
        inter, inter0 = self._environments.of(data)
        if c.sets is not None:
            width = 1 if inter is None else inter.shape[1] + (0 if inter0 is None else inter0.shape[1])
            check_sizes(read_sets(c.sets), (len(data.y) - data.X.shape[1]) // width, c.sets)
        plan = prepare_scan(data.y, data.X, spectrum, None, inter, inter0, c.step, c.test, c.exact, c.precision, data.names)
        rows = [(data.trait, model_row(null, data.names, components, spectrum is None)) for null in plan.null.values()]
        return Prepared(data.trait, data.places, (data.trait,), rows, plan)

    def _together(self, group: Sequence[TraitData], spectrum: Spectrum) -> Prepared:
        first, names = group[0], tuple(data.trait for data in group)
        Y = np.column_stack([data.y for data in group])
        plan = prepare_scan_phenotypes(Y, first.X, spectrum, self.config.test[0], names, self.config.precision)
        likelihood = NULL_OF[self.config.test[0]]
        fits = fit_phenotypes(spectrum, Y, first.X, likelihood == "reml", list(first.names), list(names))
        rows = [(name, phenotype_row(fits.iloc[k], len(Y), first.names, likelihood)) for k, name in enumerate(names)]
        return Prepared(",".join(names), first.places, names, rows, plan)


def lmm_scan(
    ws: Workspace, phenotypes: str | Path, traits: str | Sequence[str] | None = None, *, formula: str | None = None,
    as_trait: str | Sequence[str] | None = None, progress: Progress | None = None, **settings: Any,
) -> LmmRun:
    """Test every variant of a cohort for association with traits under a mixed model.

    Parameters
    ----------
    ws
        Workspace with genotypes (:func:`gsem_spark.genotypes`) and, but for ``kinship="none"``, a kinship
        (:func:`gsem_spark.kinship`).
    phenotypes
        Text file with FID and IID (or IID alone) and a column a phenotype or covariate; lines in any order. Samples that lack a
        trait or one of its covariates are left out of that trait.
    traits
        Phenotype columns; by default that of the formula, else all that are not covariates.
    formula
        ``y ~ sex + age + (1|household)``, or ``~ sex + age`` beside ``traits``: random terms are variance components besides the
        kinship, kept in their REML proportions.
    as_trait
        Names under which the results also enter ``sumstats`` and ``traits``, ready for LDSC, MTAG and the factor GWAS.
    progress
        Where to show progress; silent by default.
    **settings
        Further settings of :class:`~gsem_spark.steps.lmm.config.LmmConfig`: ``covariates covar gaussianize cohort kinship loco na
        chromosomes exact precision test inter inter0 step sets``.

    Returns
    -------
    LmmRun
        ``.results()``, ``.hits()``, ``.models()``, ``.summary``; the same call again does nothing.

    Raises
    ------
    ConfigError
        A setting is wrong, or settings exclude each other.
    DataError
        Genotypes, kinship, file or columns are not there; samples do not match; a phenotype or covariate is constant, covariates
        are collinear. A bad variant never raises: it is a row with a status.

    Examples
    --------
    >>> import gsem_spark as gs
    >>> run = gs.lmm_scan(ws, "pheno.tsv", formula="bmi ~ sex + age", as_trait="BMI")  # doctest: +SKIP
    """
    from gsem_spark.steps.lmm.as_trait import enter_traits, trait_list

    config = lmm_config(phenotypes, traits, formula=formula, **settings)
    names = trait_list(as_trait)
    run = LmmRun(ws, LmmStep(config).run(ws, progress))
    if names:
        enter_traits(run, names, progress=progress)
    return run


def lmm_config(
    phenotypes: str | Path, traits: str | Sequence[str] | None = None, config: type[Any] = LmmConfig, /, **settings: Any,
) -> Any:
    """A config from what a verb is given: lone names become tuples, paths text."""
    given = {k: v for k, v in settings.items() if v is not None}
    for name in ("covar", "test", "inter", "na", "designs"):
        if isinstance(given.get(name), str):
            given[name] = (given[name],)
    for name in ("covariates", "sets"):
        if name in given:
            given[name] = str(given[name])
    chosen = None if traits is None else (traits,) if isinstance(traits, str) else tuple(traits)
    return checked_config(config, "lmm", phenotypes=str(phenotypes), traits=chosen, **given)
