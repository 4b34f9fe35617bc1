"""Small things from tasks to the driver: what a function makes of each task's rows, as Python objects."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from gsem_spark.catalog.arrow_access import Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T")


def gathered(rows: Source | DataFrame, function: Callable[[Iterator[pa.RecordBatch]], Iterable[T]]) -> list[T]:
    """Everything that a function yields of the tasks' Arrow batches, in no order.

    Parameters
    ----------
    rows
        A table's rows, or a frame.
    function
        Called once a task, with all its batches. What it yields is pickled: sums and the like, never a row a SNP.
    """
    frame, read = (rows.frame, rows.read) if isinstance(rows, Source) else (rows, iter)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for made in function(read(batches)):
            yield pa.RecordBatch.from_arrays([pa.array([pickle.dumps(made)], pa.binary())], names=["made"])

    return [pickle.loads(bytes(row["made"])) for row in frame.mapInArrow(run, "made binary").collect()]
