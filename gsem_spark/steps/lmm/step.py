"""Mixed-model association of one or many traits, each alone: null models on the driver, tests on executors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa

from gsem_spark.catalog.part_files import Part
from gsem_spark.steps.lmm.as_trait import check_names, enter_traits, trait_list
from gsem_spark.steps.lmm.config import BootstrapConfig, LmmConfig, MtlmmConfig
from gsem_spark.steps.lmm.prepare import ModelJob
from gsem_spark.steps.lmm.run import LmmRun
from gsem_spark.steps.lmm.samples import TraitData, modelled_data, traits_of
from gsem_spark.steps.lmm.scan import ScanInput, ScanStep
from gsem_spark.steps.lmm.sets import check_sizes, read_sets, set_parts, set_pieces
from gsem_spark.steps.lmm.trait_models import Environments, LmmJob
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import checked_config, content_hash

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import PartFunction, Source
    from gsem_spark.catalog.workspace import Workspace


class LmmStep(ScanStep[LmmConfig]):
    """Test every variant for association with each trait under a mixed model."""

    name: ClassVar[str] = "lmm"

    def __init__(self, config: LmmConfig, names: Sequence[str] = ()) -> None:
        """Settings, and the names that the results shall enter sumstats under: refused early where they are not one a trait."""
        super().__init__(config)
        self.names = tuple(names)

    def jobs(self, given: ScanInput, chromosomes: Sequence[int | None]) -> list[ModelJob]:
        """Traits with the same samples share a decomposition, and where their tests allow it one rotation for all."""
        c, environments = self.config, Environments.of_config(self.config)
        groups: dict[bytes, list[TraitData]] = {}
        for trait in traits_of(c, given.table, environments.names):
            data = modelled_data(c, given.table, trait, environments.names)
            if c.sets is not None:
                check_sizes(read_sets(c.sets), (len(data.y) - data.X.shape[1]) // environments.width, c.sets)
            groups.setdefault(data.places.tobytes(), []).append(data)
        first = min(self.counts)
        return [LmmJob(tuple(group), given.background.part(group[0].places, at), at, c, at in (None, first))
                for at in chromosomes for group in groups.values()]

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Versions of cohort, kinship and files."""
        sets = {} if self.config.sets is None else {"sets": content_hash(sorted(read_sets(self.config.sets).items()))}
        inputs = super().inputs(ws)
        if self.names:
            check_names(self.names, sorted(traits_of(self.config, self.given.table, Environments.of_config(self.config).names)))
        return {**inputs, **sets}

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
        e = Environments.of_config(self.config)
        if not e.tested:
            return {}
        tested = [f"variant x {name}" for name in e.tested]
        if e.smaller is None:
            return {"any": tested}
        smaller = ["variant"] if e.smaller == () else [f"variant x {name}" for name in e.smaller]
        return {"common": smaller, "any": [*smaller, *tested], "interaction": tested}


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
    config = lmm_config(phenotypes, traits, formula=formula, **settings)
    names = trait_list(as_trait)
    run = LmmRun(ws, LmmStep(config, names).run(ws, progress))
    if names:
        enter_traits(run, names, progress=progress)
    return run


_VERBS: Final[Mapping[type[Any], str]] = {LmmConfig: "lmm", MtlmmConfig: "mtlmm", BootstrapConfig: "bootstrap"}


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
    return checked_config(config, _VERBS[config], phenotypes=str(phenotypes), traits=chosen, **given)
