"""Large arrays from tasks to the driver: as files of a folder that both see, else as rows through Spark.

A task's sums may be hundreds of MB. Through the JVM they are copied half a dozen times, and are counted against the size of
results that Spark lets a driver have; through a file they are written once and read once.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.catalog.store import local_folder
from gsem_spark.steps.genotypes.kinship_files import arrays_root

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]

SCHEMA: Final = "unit int, part int, variants long, packed binary"
_PREFIX: Final = ".sums-"
_STALE_S: Final = 2 * 24 * 3600.0
"""Folders of runs that died are cleared away after two days; a run that goes on touches its own all the time."""


@dataclass(frozen=True)
class LargeResults:
    """How a job's tasks hand their arrays over; small, and pickles. ``folder`` is None where it is through Spark."""

    folder: str | None

    def leave(self, unit: int, part: int, variants: int, total: Floats) -> pa.RecordBatch:
        """Task's side: one array, its unit and part, and how many variants it is of, as a row of :data:`SCHEMA`."""
        values = np.ascontiguousarray(total, np.float64)
        if self.folder is None:
            packed = values.data.cast("B")
        else:
            name = f"{unit}-{part}-{uuid.uuid4().hex}"  # of several attempts of a task one row counts
            values.tofile(f"{self.folder}/{name}")
            packed = memoryview(name.encode())
        columns = {"unit": pa.array([unit], pa.int32()), "part": pa.array([part], pa.int32()),
                   "variants": pa.array([variants], pa.int64()), "packed": pa.array([packed], pa.binary())}
        return pa.RecordBatch.from_pydict(columns)

    def collect(self, frame: DataFrame) -> Iterator[tuple[int, int, int, Floats]]:
        """Driver's side: run the job; unit, part, variants and the array, flat, in the order of units and parts."""
        rows = frame.toArrow()
        numbers = [rows.column(name).to_pylist() for name in ("unit", "part", "variants")]
        packed = rows.column("packed")
        for i in sorted(range(rows.num_rows), key=lambda i: (numbers[0][i], numbers[1][i])):
            yield numbers[0][i], numbers[1][i], numbers[2][i], self._values(packed[i])

    def _values(self, packed: Any) -> Floats:
        if self.folder is None:
            return np.frombuffer(packed.as_buffer(), np.float64)
        path = Path(self.folder, packed.as_py().decode())
        values = np.fromfile(path, np.float64)
        path.unlink()
        return values


@contextmanager
def large_results(ws: Workspace) -> Iterator[LargeResults]:
    """A place for the results of a step's jobs, cleared away at the end."""
    folder = local_folder(arrays_root(ws))
    if folder is None:
        yield LargeResults(None)
        return
    for stale in Path(folder).glob(f"{_PREFIX}*"):
        if time.time() - stale.stat().st_mtime > _STALE_S:
            shutil.rmtree(stale, ignore_errors=True)
    place = Path(folder, f"{_PREFIX}{uuid.uuid4().hex[:12]}")
    place.mkdir(parents=True)
    try:
        yield LargeResults(str(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)
