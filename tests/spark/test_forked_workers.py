"""Python workers are forked from this project's own daemon: nothing on their path is read again for every task."""

from __future__ import annotations

import sys
import zipimport
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

from gsem_spark.steps.gather import gathered
from gsem_spark.worker_daemon import PRELOADED


def test_workers_have_no_archives_on_their_path_and_what_they_need_in_memory(spark: SparkSession) -> None:
    def seen(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[list[str], set[str]]]:
        for _ in batches:
            pass
        archives = [path for path, found in sys.path_importer_cache.items() if isinstance(found, zipimport.zipimporter)]
        yield archives, {name for name in PRELOADED if name in sys.modules}

    answers = gathered(spark.range(0, 4, 1, 4), seen)
    assert len(answers) == 4
    assert all(archives == [] and loaded == set(PRELOADED) for archives, loaded in answers)
