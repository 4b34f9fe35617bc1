"""The YAML file that the GWAS-SSF format puts beside a summary-statistics file: sample sizes the table itself does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ENDINGS = (".tsv.gz", ".tsv", ".txt.gz", ".txt", ".gz")


def sidecar_n(spark: SparkSession, path: str) -> float | None:
    """Total sample size from ``<file>-meta.yaml`` (or the same without the file's ending), None where there is none.

    Raises
    ------
    DataError
        The sidecar is no YAML, or its sample sizes are no numbers.
    """
    files = HadoopFiles(spark)
    stems = [path, *(path[: -len(e)] for e in _ENDINGS if path.endswith(e))]
    found = next((f"{stem}-meta.yaml" for stem in stems if files.exists(f"{stem}-meta.yaml")), None)
    return None if found is None else total_sample_size(files.read_text(found), found)


def total_sample_size(text: str, where: str) -> float | None:
    """Sum of ``samples[].sample_size`` of a GWAS-SSF sidecar; None where it does not say."""
    try:
        meta: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(
            f"the sidecar is not YAML: {str(error).splitlines()[0]}", where=where, remedy="correct or remove it"
        ) from error
    samples = meta.get("samples") if isinstance(meta, dict) else None
    if not isinstance(samples, list):
        return None
    sizes: list[Any] = [s.get("sample_size") for s in samples if isinstance(s, dict) and s.get("sample_size") is not None]
    if not sizes:
        return None
    if not all(isinstance(size, int | float) and size > 0 for size in sizes):
        raise DataError(f"sample_size must be a positive number, found {sizes}", where=where, remedy="correct or remove it")
    return float(sum(sizes))
