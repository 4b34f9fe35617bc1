"""Tables as Delta: at a path, or as ``catalog.schema`` tables of a metastore.

Scope columns are partition columns, so a replacement is a change of metadata: the new files come in and the old ones go
out in one atomic commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsem_spark.catalog.contracts import check_structure
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.catalog.store import Scope, scope_predicate, scope_sql
from gsem_spark.errors import StorageError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class DeltaStore:
    """Delta tables under ``root/<table>`` (a path) or ``root.<table>`` (a catalog schema)."""

    format = "delta"

    def __init__(self, spark: SparkSession, root: str, *, catalog: bool = False) -> None:
        self._spark = spark
        self._root = root
        self._catalog = catalog
        self._known: set[str] = set()

    def location(self, schema: TableSchema) -> str:
        """Path or qualified name of the table."""
        return f"{self._root}.{schema.name}" if self._catalog else f"{self._root}/{schema.name}"

    def exists(self, schema: TableSchema) -> bool:
        """Whether the table has a committed version."""
        if schema.name in self._known:
            return True
        from delta.tables import DeltaTable

        found = (
            self._spark.catalog.tableExists(self.location(schema))
            if self._catalog
            else DeltaTable.isDeltaTable(self._spark, self.location(schema))
        )
        if found:
            self._known.add(schema.name)
        return bool(found)

    def read(self, schema: TableSchema) -> DataFrame:
        """The table's last committed version, its structure checked."""
        where = self.location(schema)
        frame = self._spark.read.table(where) if self._catalog else self._spark.read.format("delta").load(where)
        check_structure(schema, frame.schema, what="the stored table")
        return frame.select(*schema.names)

    def write(self, schema: TableSchema, frame: DataFrame, scopes: list[Scope] | None, metadata: str) -> None:
        """Replace the scopes in one commit, or append; the commit carries ``metadata`` as Delta's user metadata."""
        exists = self.exists(schema)
        writer = frame.write.format("delta").option("userMetadata", metadata)
        if schema.partitions and not (exists and self._catalog):
            writer = writer.partitionBy(*schema.partitions)
        if scopes is None:
            writer = writer.mode("append")
        elif not exists:
            writer = writer.mode("overwrite")
        elif schema.scope:
            writer = writer.mode("overwrite").option("replaceWhere", scope_sql(scopes))
        else:
            writer = writer.mode("overwrite")
        if self._catalog:
            writer.saveAsTable(self.location(schema))
        else:
            writer.save(self.location(schema))
        self._known.add(schema.name)

    def version(self, schema: TableSchema) -> int:
        """Number of the last committed version, -1 where there is none."""
        if not self.exists(schema):
            return -1
        last = self._table(schema).history(1).select("version").first()
        if last is None:
            raise StorageError("the Delta log has no entry", where=self.location(schema))
        return int(last["version"])

    def partitions(self, schema: TableSchema, scope: Scope) -> list[dict[str, str]]:
        """Partition values present under a scope: distinct values of partition columns, answered from the log's metadata."""
        if not self.exists(schema) or not schema.partitions:
            return []
        rows = self.read(schema).where(scope_predicate([scope])).select(*schema.partitions).distinct().collect()
        return sorted(({k: str(v) for k, v in row.asDict().items()} for row in rows), key=str)

    def _table(self, schema: TableSchema):  # type: ignore[no-untyped-def]
        from delta.tables import DeltaTable

        where = self.location(schema)
        return DeltaTable.forName(self._spark, where) if self._catalog else DeltaTable.forPath(self._spark, where)
