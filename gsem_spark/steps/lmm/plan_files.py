"""Plans of tests for executors: small things in a broadcast, large arrays in files that the workers of a host share.

A plan's arrays (eigenvectors, triangular factors) are as large as the square of the samples. They go to ``.npy`` files beside the
tables; where the workspace is no mounted folder, Spark brings the files to the hosts.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.catalog.scratch import scratch_folder
from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import StorageError
from gsem_spark.methods.lmm.plan_arrays import join_arrays, split_arrays
from gsem_spark.steps.genotypes.kinship_files import arrays_root

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

FOLDER: Final = "plans"
_SPACE: Final = "free some space; a plan takes the square of the samples times 8 bytes a chromosome"


@dataclass(frozen=True)
class PlanFile:
    """A plan that a task can open: small, pickles.

    Parameters
    ----------
    light
        The plan without its large arrays.
    paths
        Where each array is: a path on every node, or a name among the files that Spark brings.
    shipped
        Whether Spark brings them.
    """

    light: Any
    paths: dict[str, str]
    shipped: bool

    def load(self) -> Any:
        """The plan, its large arrays memory-mapped, read-only."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, place in self.paths.items():
            path = _shipped(place) if self.shipped else place
            try:
                arrays[name] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise StorageError(f"an array of the test plan cannot be read: {error}", where=path,
                                   remedy="the workspace must lie where every node sees it; run the same command again") from None
        return join_arrays(self.light, arrays)


def _shipped(name: str) -> str:
    from pyspark import SparkFiles

    return str(SparkFiles.get(name))


@dataclass(frozen=True)
class PlanFolder:
    """Where a run's plans lie while they are needed; pickles, so that tasks can write to a folder that every node sees.

    Parameters
    ----------
    path
        The folder.
    run_id
        The run.
    shipped
        Whether it is the driver's own, from which Spark brings the files to the hosts.
    """

    path: str
    run_id: str
    shipped: bool

    def write(self, number: str, plan: Any) -> PlanFile:
        """Write a plan's large arrays; each file is there whole or not at all, and the same plan gives the same file."""
        light, arrays = split_arrays(plan)
        paths = {}
        try:
            for k, (name, array) in enumerate(arrays.items()):
                path = Path(self.path, f"{self.run_id}.{number}.{k}.npy")
                partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.npy")
                np.save(partial, array)
                partial.replace(path)
                paths[name] = str(path)
        except OSError as error:
            what = f"the arrays of the test plan cannot be written: {error}"
            raise StorageError(what, where=self.path, remedy=_SPACE) from error
        return PlanFile(light, paths, shipped=False)

    def ship(self, ws: Workspace, file: PlanFile) -> PlanFile:
        """The file for tasks: Spark is told to bring its arrays where the folder is the driver's own."""
        if not self.shipped:
            return file
        for path in file.paths.values():
            ws.spark.sparkContext.addFile(path)
        return PlanFile(file.light, {name: Path(path).name for name, path in file.paths.items()}, shipped=True)


@contextmanager
def plan_folder(ws: Workspace, run_id: str) -> Iterator[PlanFolder]:
    """A folder for plans while the block lasts; it is removed behind it, and that of a run that died before it."""
    root = arrays_root(ws)
    shipped = local_folder(root) is None
    place = tempfile.TemporaryDirectory(prefix="gsem_plans_") if shipped else scratch_folder(root, FOLDER, run_id)
    with place as folder:
        yield PlanFolder(str(folder), run_id, shipped)


@contextmanager
def plan_files(ws: Workspace, run_id: str, plans: Sequence[Any]) -> Iterator[list[PlanFile]]:
    """Plans as files while the block lasts."""
    with plan_folder(ws, run_id) as folder:
        yield [folder.ship(ws, folder.write(str(i), plan)) for i, plan in enumerate(plans)]
