"""Rows of a table that share a partition's value, all of them with one task: what belongs together meets without a shuffle.

Files of a table stand in folders by partition. Where Python reads them itself, a task is simply given the files of one
chromosome, of all traits, and what it makes of them has seen every row that could belong there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from gsem_spark.catalog.arrow_access import Batches, Where, pruned
from gsem_spark.catalog.part_files import ENDLESS, PartFile, PartitionValue, Range, read_part
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.catalog.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SPAN_BYTES: Final = 48_000_000
"""File bytes of a span, about: those of a value that has more are cut along the other column."""


@dataclass(frozen=True)
class Span:
    """A value of the partition column, and the range of the other column's values that one task has; None: all of them."""

    value: PartitionValue
    range: Range | None


@dataclass(frozen=True)
class Spans:
    """``frame.mapInArrow(f)``, where ``f`` first calls ``read``: values, each with all its rows (of a range), file by file.

    A value that is cut comes several times, each time with other rows.
    """

    frame: DataFrame
    read: Callable[[Batches], Iterator[tuple[PartitionValue, Iterator[pa.RecordBatch]]]]


def spans(
    spark: SparkSession, store: Store, schema: TableSchema, columns: Sequence[str], where: Where | None, by: str, along: Cut
) -> Spans | None:
    """Rows of a table by the values of a partition column; None where Python does not reach the files.

    Parameters
    ----------
    spark, store, schema
        The table.
    columns, where
        As for :func:`~gsem_spark.catalog.arrow_access.source`; ``columns`` must have ``along``'s.
    by
        A partition column.
    along
        How a value with many rows is cut.
    """
    if not store.direct:
        return None
    folder, files = store.files(schema)
    of_value: dict[PartitionValue, list[PartFile]] = defaultdict(list)
    for file in sorted(pruned(files, where), key=lambda f: f.path):
        of_value[file.values[by]].append(file)
    sizes = {value: sum(f.size for f in mine) for value, mine in of_value.items()}
    # The largest first: the last tasks of a job are then small ones.
    ordered = sorted(sizes, key=lambda value: (-sizes[value], str(value)))
    tasks = [Span(value, part) for value in ordered for part in along.ranges(-(-sizes[value] // SPAN_BYTES))]

    def read(batches: Batches) -> Iterator[tuple[PartitionValue, Iterator[pa.RecordBatch]]]:
        for number in (n for batch in batches for n in batch.column(0).to_pylist()):
            span = tasks[number]
            yield span.value, (b for f in of_value[span.value] for b in read_part(folder, f, schema, columns, span.range))

    return Spans(spark.range(0, len(tasks), 1, max(len(tasks), 1)), read)


@dataclass(frozen=True)
class Cut:
    """Cuts along an integer column at multiples of a step, so that what lies between two of them stays together.

    Parameters
    ----------
    column
        Name.
    step
        Distance of possible cuts.
    length
        Where the largest values are expected: cuts are spread over this. By default the longest human chromosome.
    """

    column: str
    step: int
    length: int = 250_000_000

    def ranges(self, n: int) -> list[Range | None]:
        """At most n ranges, the first and the last without end; a single None for one."""
        width = -(-self.length // (self.step * max(n, 1))) * self.step
        inner = list(range(width, self.length, width))
        if not inner:
            return [None]
        edges = [-ENDLESS, *inner, ENDLESS]
        return [Range(self.column, low, high) for low, high in pairwise(edges)]
