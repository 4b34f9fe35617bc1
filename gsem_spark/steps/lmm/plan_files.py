"""Plans of tests for executors: small things in a broadcast, large arrays in files that the workers of a host share.

A plan's arrays (eigenvectors, triangular factors) are as large as the square of the samples. They go to ``.npy`` files beside the
tables; where the workspace is no mounted folder, Spark brings the files to the hosts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import StorageError
from gsem_spark.methods.lmm.plan_arrays import join_arrays, split_arrays
from gsem_spark.steps.genotypes.kinship_files import arrays_root

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

FOLDER: Final = "plans"


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


@contextmanager
def plan_files(ws: Workspace, run_id: str, plans: Sequence[Any]) -> Iterator[list[PlanFile]]:
    """Plans as files while the block lasts; the files are removed behind it, and those of a run that died before it."""
    root = local_folder(arrays_root(ws))
    scratch = None if root is not None else tempfile.mkdtemp(prefix="gsem_plans_")
    folder = Path(root, FOLDER, run_id) if root is not None else Path(str(scratch))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield [_write(ws, folder, run_id, i, plan, shipped=root is None) for i, plan in enumerate(plans)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(ws: Workspace, folder: Path, run_id: str, number: int, plan: Any, *, shipped: bool) -> PlanFile:
    light, arrays = split_arrays(plan)
    paths = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for k, (name, array) in enumerate(arrays.items()):
            path = folder / f"{run_id}.{number}.{k}.npy"
            np.save(path, array)
            paths[name] = str(path)
            if shipped:
                ws.spark.sparkContext.addFile(str(path))
                paths[name] = path.name
    except OSError as error:
        raise StorageError(f"the arrays of the test plan cannot be written: {error}", where=str(folder),
                           remedy="free some space; a plan takes the square of the samples times 8 bytes a chromosome") from error
    return PlanFile(light, paths, shipped)
