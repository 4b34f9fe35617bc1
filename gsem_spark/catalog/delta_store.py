"""Tables as Delta: at a path, or as ``catalog.schema`` tables of a metastore.

Scope columns are partition columns, so a replacement is a change of metadata: the new files come in and the old ones go
out in one atomic commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsem_spark.catalog import delta_files
from gsem_spark.catalog.contracts import check_structure
from gsem_spark.catalog.part_files import PartFile
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.catalog.store import Scope, Staging, local_folder, partition_values, scope_predicate, scope_sql
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
        self._folder = None if catalog else local_folder(root, "deltalake")

    @property
    def direct(self) -> bool:
        """A folder of this machine, with the deltalake library installed."""
        return self._folder is not None

    def staging(self, schema: TableSchema) -> Staging:
        """The table's own folder: a file that no commit names is invisible."""
        return Staging(f"{self._folder}/{schema.name}")

    def add_files(
        self, schema: TableSchema, staging: Staging, files: Sequence[PartFile], scopes: list[Scope] | None, metadata: str
    ) -> None:
        """Commit files that workers wrote."""
        delta_files.commit_files(schema, staging.folder, files, scopes, metadata)
        self._known.add(schema.name)

    def files(self, schema: TableSchema) -> tuple[str, list[PartFile]]:
        """The table's folder, and the files of the last committed version."""
        folder = f"{self._folder}/{schema.name}"
        return folder, delta_files.list_files(schema, folder) if self.exists(schema) else []

    def location(self, schema: TableSchema) -> str:
        """Path or qualified name of the table."""
        return f"{self._root}.{schema.name}" if self._catalog else f"{self._root}/{schema.name}"

    def exists(self, schema: TableSchema) -> bool:
        """Whether the table has a committed version."""
        if schema.name in self._known:
            return True
        if self._folder is not None:
            return delta_files.is_table(f"{self._folder}/{schema.name}")
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
        if self._folder is not None:
            return delta_files.last_version(f"{self._folder}/{schema.name}")
        last = self._table(schema).history(1).select("version").first()
        if last is None:
            raise StorageError("the Delta log has no entry", where=self.location(schema))
        return int(last["version"])

    def partitions(self, schema: TableSchema, scope: Scope) -> list[dict[str, str]]:
        """Partition values present under a scope: distinct values of partition columns, answered from the log's metadata."""
        if not self.exists(schema) or not schema.partitions:
            return []
        if self.direct:
            return partition_values(self.files(schema)[1], scope)
        rows = self.read(schema).where(scope_predicate([scope])).select(*schema.partitions).distinct().collect()
        return sorted(({k: str(v) for k, v in row.asDict().items()} for row in rows), key=str)

    def _table(self, schema: TableSchema):  # type: ignore[no-untyped-def]
        from delta.tables import DeltaTable

        where = self.location(schema)
        return DeltaTable.forName(self._spark, where) if self._catalog else DeltaTable.forPath(self._spark, where)
