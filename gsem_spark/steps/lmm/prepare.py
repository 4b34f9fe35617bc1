"""Null models and plans of tests, made where there are hands for it: each decomposition is a task of its own.

Leaving chromosomes out of a kinship, and traits that lack different samples, ask for many decompositions of matrices of samples
by samples. None depends on another. Tasks run one BLAS thread each, so that the bits do not depend on how many there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.errors import GsemError
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.lmm.kinship import KinshipPart
from gsem_spark.steps.lmm.plan_files import PlanFolder
from gsem_spark.steps.lmm.samples import TraitData

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

TASK_SAMPLES: Final = 4000
"""Samples up to which a decomposition is a task: it holds four matrices of samples by samples, eight with random terms, 1 GB at
most. More are decomposed on the driver, one after the other, by all its threads."""


@dataclass(frozen=True)
class Prepared:
    """A model that is ready for tests: rows of ``lmm_models``, and the plan.

    Parameters
    ----------
    trait
        Trait, or traits joined by commas.
    places
        (n,) places of its samples among the genotyped ones.
    traits
        Trait by trait.
    rows
        Rows of ``lmm_models``, but for run, chromosome, samples and kinship; by trait.
    plan
        Of ``methods.lmm``; a ``PlanFile`` once it has been written.
    chromosome
        The chromosome that it is for; None for all.
    """

    trait: str
    places: NDArray[np.int64]
    traits: tuple[str, ...]
    rows: list[tuple[str, dict[str, Any]]]
    plan: Any
    chromosome: int | None = None


@dataclass(frozen=True)
class ModelJob(ABC):
    """Models that share a decomposition; pickles.

    Parameters
    ----------
    data
        Traits with the same samples.
    kinship
        Over these samples; None for independent ones.
    chromosome
        Chromosome whose variants they are for; None for all.
    """

    data: tuple[TraitData, ...]
    kinship: KinshipPart | None
    chromosome: int | None

    @abstractmethod
    def models(self) -> Iterator[Prepared]:
        """Fit the models and make their plans."""

    @property
    def decomposes(self) -> bool:
        """Whether a matrix of samples by samples is decomposed."""
        part = self.kinship is not None and self.kinship.rows is not None
        return part or any(data.components for data in self.data)

    def written(self, folder: PlanFolder, number: int) -> list[Prepared]:
        """The models with their plans in files."""
        return [replace(made, plan=folder.write(f"{number}_{k}", made.plan), chromosome=self.chromosome)
                for k, made in enumerate(self.models())]


def prepared(ws: Workspace, folder: PlanFolder, jobs: Sequence[ModelJob], *, spread: bool) -> list[Prepared]:
    """Run jobs and write their plans, in the order of the jobs.

    Parameters
    ----------
    ws, folder
        The workspace, and where plans go.
    jobs
        What to fit.
    spread
        Whether jobs that decompose a matrix are tasks of the executors (where the folder is one that they see).

    Raises
    ------
    GsemError
        That of the first job that has one.
    """
    tasks = [n for n, job in enumerate(jobs) if spread and job.decomposes and len(job.data[0].y) <= TASK_SAMPLES]
    made: dict[int, list[Prepared]] = dict(_in_tasks(ws, folder, jobs, tasks) if tasks and not folder.shipped else ())
    for number, job in enumerate(jobs):
        if number not in made:
            made[number] = job.written(folder, number)
    return [replace(one, plan=folder.ship(ws, one.plan)) for number in range(len(jobs)) for one in made[number]]


def _in_tasks(ws: Workspace, folder: PlanFolder, jobs: Sequence[ModelJob], numbers: Sequence[int]
              ) -> list[tuple[int, list[Prepared]]]:
    shared = ws.spark.sparkContext.broadcast({number: jobs[number] for number in numbers})
    order = tuple(numbers)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[Prepared] | GsemError]]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                number = order[place]
                try:
                    yield number, shared.value[number].written(folder, number)
                except GsemError as error:  # it is the user's to read: as a result it keeps its class and remedy
                    yield number, error

    found = sorted(gathered(ws.spark.range(0, len(order), 1, len(order)), run), key=lambda pair: pair[0])
    shared.unpersist()
    done = []
    for number, result in found:
        if isinstance(result, GsemError):
            raise result
        done.append((number, result))
    return done
