"""Bootstrap of a mixed model's null fit: replicates spread over executors, each with a stream of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.catalog.part_files import Part
from gsem_spark.errors import ConfigError
from gsem_spark.methods.lmm.bootstrap import Bootstrap, bootstrap_block, bootstrap_of
from gsem_spark.methods.lmm.component_bootstrap import ComponentModel, component_block, component_model
from gsem_spark.methods.lmm.manyphenotypes import CHUNK
from gsem_spark.methods.lmm.null import LmmFit, fit_lmm
from gsem_spark.methods.lmm.rotation import Spectrum, eigen_rotation
from gsem_spark.steps.found_runs import FinishedRun
from gsem_spark.steps.genotypes.step import samples_hash
from gsem_spark.steps.lmm.config import BootstrapConfig
from gsem_spark.steps.lmm.kinship import FittedComponents, components_of
from gsem_spark.steps.lmm.models import component_table, components_row, model_row
from gsem_spark.steps.lmm.plan_files import plan_files
from gsem_spark.steps.lmm.samples import TraitData, modelled_data, traits_of
from gsem_spark.steps.lmm.scan import MixedModelStep, ScanInput
from gsem_spark.steps.lmm.step import lmm_config
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]

TASKS_PER_CORE: Final = 2
"""Tasks that a core's share of the replicates is cut into."""
COMPONENTS_CHUNK: Final = 4
"""Replicates of a model of several variance components that a task draws at a time: each is a fit of its own."""
Model = LmmFit | ComponentModel


class BootstrapStep(MixedModelStep[BootstrapConfig]):
    """Draw phenotypes from a fitted mixed model and fit it again to each."""

    name: ClassVar[str] = "lmm_bootstrap"
    reads: ClassVar[tuple[str, ...]] = ("cohorts", "kinships")
    writes: ClassVar[tuple[str, ...]] = ("lmm_models", "lmm_bootstraps", "lmm_intervals")

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Fit, draw on the executors, make the intervals."""
        c, given = self.config, self.given
        trait = self._trait(given)
        data = modelled_data(c, given.table, trait)
        model, cells = self._fitted(given, data)
        row = {"run_id": plan.run_id, "trait": trait, "chr": 0, "samples": samples_hash(given.cohort.samples.iloc[data.places]),
               "kinship_id": given.background.kinship_id, "traits": [trait], **cells}
        said = {"run_id": plan.run_id}
        ws.put("lmm_models", [row], {"run_id": plan.run_id, "chr": 0}, metadata=said)
        with progress.stage(f"bootstrap of {trait}", total=c.n, unit="replicates") as stage:
            self._draw(ws, plan, model)
            stage.advance(c.n)
        made = read_bootstrap(ws, plan.run_id, model)
        intervals = made.intervals(c.level).merge(made.p_values()[["name", "p"]], on="name")
        rows = intervals.assign(run_id=plan.run_id, trait=trait, level=c.level)
        ws.put("lmm_intervals", rows, {"run_id": plan.run_id}, metadata=said)
        failed = int(np.isnan(made.replicates).any(axis=1).sum())
        warnings = (f"{failed:,} of {c.n:,} replicates have no optimum",) if failed else ()
        figures = {"trait": trait, "n": c.n, "samples": len(data.y), "kinship_id": given.background.kinship_id, "failed": failed}
        return Outcome(c.n, {}, figures, (*given.table.notices, *warnings))

    def _trait(self, given: ScanInput) -> str:
        traits = traits_of(self.config, given.table)
        if len(traits) > 1:
            raise ConfigError(f"a bootstrap is of one trait, these are {len(traits)}: {', '.join(traits[:5])}", where="traits",
                              remedy="name one")
        return traits[0]

    def _fitted(self, given: ScanInput, data: TraitData) -> tuple[Model, dict[str, Any]]:
        """The model that is drawn from, and its cells in ``lmm_models``."""
        c = self.config
        if data.components:
            components = components_of(given.background.spectrum(data.places, None), data)
            made = FittedComponents.of(data, components, tested=True, reml=c.reml)
            return component_model(made.fit, data.X, components, data.y), components_row(made)
        spectrum = given.background.spectrum(data.places, None)
        nothing = Spectrum(np.empty(0), np.empty((len(data.y), 0)))
        fit = fit_lmm(eigen_rotation(spectrum or nothing, data.y, data.X, list(data.names)), reml=c.reml)
        return fit, model_row(fit, data.names, None, spectrum is None)

    def _draw(self, ws: Workspace, plan: Plan, model: Model) -> None:
        c = self.config
        size = COMPONENTS_CHUNK if isinstance(model, ComponentModel) else CHUNK
        chunks = -(-c.n // size)
        tasks = min(chunks, TASKS_PER_CORE * int(ws.spark.sparkContext.defaultParallelism))
        run_id, n, kind, seed = plan.run_id, c.n, c.kind, c.seed
        with plan_files(ws, run_id, [model]) as (file,):
            shared = ws.spark.sparkContext.broadcast(file)

            def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
                opened = shared.value.load()
                for batch in batches:
                    for chunk in batch.column(0).to_pylist():
                        first, last = chunk * size, min((chunk + 1) * size, n)
                        yield Part({"run_id": run_id}, _replicates(opened, first, last, kind, seed))

            frame = ws.spark.range(0, chunks, 1, tasks)
            ws.replace_parts("lmm_bootstraps", frame, parts, {"run_id": run_id}, metadata={"run_id": run_id})
            shared.unpersist()


def _replicates(model: Model, start: int, stop: int, kind: Any, seed: int) -> pa.Table:
    draw: Any = component_block if isinstance(model, ComponentModel) else bootstrap_block
    estimates, ses = draw(model, start, stop, kind, seed)
    names = list(_bootstrap(model, estimates, ses).names)
    numbers = pa.list_(pa.float64())
    return pa.table({"replicate": pa.array(range(start, stop), pa.int64()),
                     "names": pa.array([names] * len(estimates), pa.list_(pa.string())),
                     "estimates": pa.array(estimates.tolist(), numbers), "ses": pa.array(ses.tolist(), numbers)})


def _bootstrap(model: Model, estimates: Floats, ses: Floats) -> Bootstrap:
    return model.result(estimates, ses) if isinstance(model, ComponentModel) else bootstrap_of(model, estimates, ses)


def read_bootstrap(ws: Workspace, run_id: str, model: Model) -> Bootstrap:
    """The replicates of a run, in the order of their numbers."""
    rows = sorted(ws.records("lmm_bootstraps", {"run_id": run_id}), key=lambda r: int(r["replicate"]))
    estimates, ses = (np.array([[np.nan if v is None else v for v in r[name]] for r in rows], dtype=np.float64)
                      for name in ("estimates", "ses"))
    return _bootstrap(model, estimates, ses)


@dataclass(frozen=True)
class BootstrapRun(FinishedRun):
    """A finished bootstrap."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Trait, replicates, samples."""
        return self.report.summary

    def models(self) -> pd.DataFrame:
        """The fitted model, one row."""
        rows: pd.DataFrame = self.workspace.rows("lmm_models", {"run_id": self.run_id}).to_pandas()
        return rows

    def components(self) -> pd.DataFrame:
        """Variance components of a model of several: variance, se, share, and the test of each being 0; else empty."""
        return component_table(self.models())

    def intervals(self) -> pd.DataFrame:
        """Confidence intervals, rows by parameter and kind."""
        rows: pd.DataFrame = self.workspace.rows("lmm_intervals", {"run_id": self.run_id}).to_pandas()
        order = {name: i for i, name in enumerate(self.replicates().columns)}
        return rows.sort_values("name", key=lambda c: c.map(order), kind="stable", ignore_index=True)

    def replicates(self) -> pd.DataFrame:
        """A row a replicate, a column a parameter."""
        rows = sorted(self.workspace.records("lmm_bootstraps", {"run_id": self.run_id}), key=lambda r: int(r["replicate"]))
        return pd.DataFrame([r["estimates"] for r in rows], columns=rows[0]["names"])


def lmm_bootstrap(
    ws: Workspace, phenotypes: str | Path, trait: str | None = None, n: int = 1000, kind: str = "parametric", seed: int = 1, *,
    formula: str | None = None, progress: Progress | None = None, **settings: Any,
) -> BootstrapRun:
    """Bootstrap a trait's mixed model: its fixed effects, heritability and variances, without a variant.

    Parameters
    ----------
    ws, phenotypes, formula
        As for :func:`gsem_spark.lmm_scan`; with random terms, ``y ~ sex + (1|household)``, the parameters are all variances.
    trait
        Phenotype column.
    n, kind, seed
        Replicates; ``parametric`` or ``residual``; seed. Replicate i is drawn by a stream of its own, made of the seed and i: the
        numbers are the same on any number of executors.
    progress
        Where to show progress; silent by default.
    **settings
        Further settings of :class:`~gsem_spark.steps.lmm.config.BootstrapConfig`: ``covariates covar gaussianize cohort kinship
        na level reml``.

    Returns
    -------
    BootstrapRun
        ``.intervals()`` (wald, basic, normal, percentile, studentized), ``.replicates()``, ``.models()``, and of random terms
        ``.components()`` with the likelihood-ratio test of each variance.

    Raises
    ------
    ConfigError, DataError
        As for :func:`gsem_spark.lmm_scan`; residuals of a low-rank kinship are asked for.
    """
    config = lmm_config(phenotypes, trait, BootstrapConfig, formula=formula, n=n, kind=kind, seed=seed, **settings)
    return BootstrapRun(ws, BootstrapStep(config).run(ws, progress))
