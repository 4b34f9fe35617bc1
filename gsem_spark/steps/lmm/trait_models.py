"""Null models of one or many traits, each alone, and the plans of their tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.lmm.manyphenotypes import fit_phenotypes
from gsem_spark.methods.lmm.rotation import Spectrum
from gsem_spark.methods.lmm.scan import prepare_scan
from gsem_spark.methods.lmm.scan_phenotypes import prepare_scan_phenotypes
from gsem_spark.methods.lmm.statistics import NULL_OF
from gsem_spark.steps.lmm.config import LmmConfig
from gsem_spark.steps.lmm.kinship import FittedComponents, with_components
from gsem_spark.steps.lmm.models import model_row, phenotype_row
from gsem_spark.steps.lmm.prepare import ModelJob, Prepared
from gsem_spark.steps.lmm.samples import TraitData

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Environments:
    """Columns of an interaction test: of the hypothesis and of the smaller one, among a trait's environments."""

    names: tuple[str, ...]
    tested: tuple[str, ...]
    smaller: tuple[str, ...] | None

    @classmethod
    def of_config(cls, c: LmmConfig) -> Environments:
        """Those that the settings name."""
        smaller = None if c.inter0 == "none" else () if c.inter0 == "main" else tuple(c.inter0)
        return cls(tuple(dict.fromkeys([*c.inter, *(smaller or ())])) if c.inter else (), c.inter, smaller)

    @property
    def width(self) -> int:
        """Effects of a variant."""
        if not self.tested:
            return 1
        return len(self.tested) + (0 if self.smaller is None else max(len(self.smaller), 1))

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


@dataclass(frozen=True)
class LmmJob(ModelJob):
    """Traits with the same samples.

    Parameters
    ----------
    config
        Settings of the scan.
    tested
        Whether variance components are tested.
    """

    config: LmmConfig
    tested: bool

    def models(self) -> Iterator[Prepared]:
        """One rotation for all traits where their tests allow it, else each trait alone."""
        spectrum = None if self.kinship is None else self.kinship.spectrum()
        if any(data.components for data in self.data):
            for data in self.data:
                yield self._alone(data, *with_components(spectrum, data, self.tested))
        elif len(self.data) > 1 and spectrum is not None and self._one_rotation:
            yield self._together(self.data, spectrum)
        else:
            yield from (self._alone(data, spectrum, None) for data in self.data)

    @property
    def _one_rotation(self) -> bool:
        c = self.config
        return not (c.exact or c.inter or c.step > 1 or c.sets) and len(c.test) == 1

    def _alone(self, data: TraitData, spectrum: Spectrum | None, components: FittedComponents | None) -> Prepared:
        c = self.config
        inter, inter0 = Environments.of_config(c).of(data)
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
