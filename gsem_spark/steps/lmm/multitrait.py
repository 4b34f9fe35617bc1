"""Mixed-model association of several traits in one model: any, common, specific effects and differences in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm.multitrait import fit_multitrait
from gsem_spark.methods.lmm.multitrait_scan import prepare_multitrait_scan, trait_designs
from gsem_spark.steps.lmm.config import MtlmmConfig
from gsem_spark.steps.lmm.models import multitrait_row
from gsem_spark.steps.lmm.prepare import ModelJob, Prepared
from gsem_spark.steps.lmm.run import LmmRun
from gsem_spark.steps.lmm.samples import TraitData, modelled_data, traits_of
from gsem_spark.steps.lmm.scan import ScanInput, ScanStep
from gsem_spark.steps.lmm.step import lmm_config
from gsem_spark.steps.progress import Progress

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


class MtlmmStep(ScanStep[MtlmmConfig]):
    """Test every variant for effects on several traits in one model."""

    name: ClassVar[str] = "mtlmm"

    def jobs(self, given: ScanInput, chromosomes: Sequence[int | None]) -> list[ModelJob]:
        """The one model of all traits, over the samples that have all of them."""
        c = self.config
        every = [modelled_data(c, given.table, trait) for trait in self._traits(given)]
        places = every[0].places
        for one in every[1:]:
            places = np.intersect1d(places, one.places)
        if any(one.components for one in every):
            raise ConfigError("a model of several traits has the kinship and the residual as components, no random terms",
                              where="formula", remedy="put the grouping into the covariates, or scan each trait alone")
        if len(places) == 0:
            raise DataError("no sample has all traits", where=c.phenotypes, remedy="name fewer traits")
        if given.background.kinship_id is None:
            raise ConfigError("genetic covariances need a kinship", where="kinship", remedy="leave kinship=none away")
        data = tuple(_over(one, places) for one in every)
        return [MtlmmJob(data, given.background.part(places, chromosome), chromosome, c) for chromosome in chromosomes]

    def effects(self, given: ScanInput) -> Mapping[str, list[str]]:
        """Effects of each design, trait by trait."""
        traits = self._traits(given)
        named = {"any": list(traits), "common": ["all traits"], "difference": [f"{t} beyond {traits[0]}" for t in traits[1:]]}
        named |= {f"specific:{t}": [f"{t} beyond the others"] for t in traits}
        return {name: labels for name, labels in named.items() if name.split(":")[0] in self.config.designs}

    def _traits(self, given: ScanInput) -> tuple[str, ...]:
        traits = traits_of(self.config, given.table)
        if len(traits) < 2:
            raise ConfigError(f"a model of several traits has at least two, {traits[0]} is one", where="traits",
                              remedy="name more, or use gsem-spark lmm")
        return traits


@dataclass(frozen=True)
class MtlmmJob(ModelJob):
    """Several traits with the same samples in one model; ``config`` are the settings of the scan."""

    config: MtlmmConfig

    def models(self) -> Iterator[Prepared]:
        """The one model."""
        assert self.kinship is not None
        c, first, traits = self.config, self.data[0], tuple(data.trait for data in self.data)
        Y = np.column_stack([data.y for data in self.data])
        fit = fit_multitrait(Y, self.kinship.spectrum(), first.X, None, True, c.genetic, c.residual, c.rank, traits, first.names)
        chosen = {name: pair for name, pair in trait_designs(traits).items() if name.split(":")[0] in c.designs}
        name = ",".join(traits)
        plan = prepare_multitrait_scan(fit, chosen, c.test, c.exact, c.precision)
        yield Prepared(name, first.places, traits, [(name, multitrait_row(fit))], plan)


def _over(data: TraitData, places: NDArray[np.int64]) -> TraitData:
    """A trait over some of its samples."""
    at = np.searchsorted(data.places, places)
    return replace(data, places=places, y=data.y[at], X=data.X[at], environments=data.environments[at])


def mtlmm_scan(
    ws: Workspace, phenotypes: str | Path, traits: Sequence[str] | None = None, *, formula: str | None = None,
    progress: Progress | None = None, **settings: Any,
) -> LmmRun:
    """Test every variant of a cohort for effects on several traits in one mixed model.

    Parameters
    ----------
    ws, phenotypes, traits, formula
        As for :func:`gsem_spark.lmm_scan`; the formula has no random terms, ``~ sex + age``. Samples that lack one of the traits
        are left out.
    progress
        Where to show progress; silent by default.
    **settings
        Further settings of :class:`~gsem_spark.steps.lmm.config.MtlmmConfig`: ``covariates covar gaussianize cohort kinship loco
        na chromosomes exact precision test designs genetic residual rank``. Designs: ``any`` (an effect on any trait), ``common``
        (one effect, the same on all), ``difference`` (effects differ between traits), ``specific`` (an effect on each trait
        beyond a common one); all in one pass.

    Returns
    -------
    LmmRun
        ``.results()``, ``.hits()``, ``.models()`` with Cg and Cn, and ``.covstruct()``: S and V for the SEM engine.

    Raises
    ------
    ConfigError
        A setting is wrong, or there are fewer than two traits.
    DataError
        As for :func:`gsem_spark.lmm_scan`.
    ConvergenceError
        The traits' covariances have no optimum that could be found.
    """
    config = lmm_config(phenotypes, traits, MtlmmConfig, formula=formula, **settings)
    return LmmRun(ws, MtlmmStep(config).run(ws, progress))
