"""``gsem-spark``: parses, calls steps, prints. No statistics and no Spark code here."""

from gsem_spark.cli.app import main

__all__ = ["main"]
