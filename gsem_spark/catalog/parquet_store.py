"""Tables as Parquet with atomic commits, for places where Delta cannot be had.

Data files of a commit stand under ``<table>/data/commit_=<id>/…`` and are never changed. A numbered manifest lists, for
each commit, the scopes that are still valid; readers follow the manifest with the highest number. Publishing a manifest is
one rename to a name that must not exist yet, so a commit is seen whole or not at all, and of two writers that started from
the same version one is told so. Files of a run that died are not in any manifest and therefore invisible.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pyspark.sql import functions as F
from pyspark.sql import types as T

from gsem_spark.catalog.contracts import spark_schema
from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.part_files import PartFile, typed_value
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.catalog.store import Scope, Staging, local_folder, partition_values, scope_predicate
from gsem_spark.errors import ContractError, StorageError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COMMIT_COLUMN: Final = "commit_"
COMMIT_ATTEMPTS: Final = 12
COMMIT_PAUSE_S: Final = 0.05
"""How often a commit is tried again after another writer's, and the pause before the second attempt (then longer)."""


class ParquetStore:
    """Parquet tables with manifests under ``root/<table>``."""

    format = "parquet"

    def __init__(self, spark: SparkSession, root: str) -> None:
        self._spark = spark
        self._root = root
        self._files = HadoopFiles(spark)
        self._folder = local_folder(root)

    @property
    def direct(self) -> bool:
        """A folder of this machine."""
        return self._folder is not None

    def staging(self, schema: TableSchema) -> Staging:
        """A new commit's folder; no manifest names it yet."""
        commit_id = uuid.uuid4().hex[:12]
        return Staging(f"{self._folder}/{schema.name}/data/{COMMIT_COLUMN}={commit_id}", commit_id)

    def add_files(
        self, schema: TableSchema, staging: Staging, files: Sequence[PartFile], scopes: list[Scope] | None, metadata: str
    ) -> None:
        """Publish a manifest that names the commit."""
        del files  # readers find them in the commit's folder
        self._commit(schema, staging.commit_id, scopes, metadata)

    def files(self, schema: TableSchema) -> tuple[str, list[PartFile]]:
        """The data folder, and the files of every commit that still counts."""
        data = Path(f"{self._folder}/{schema.name}/data")
        found: list[PartFile] = []
        if not self.exists(schema):
            return str(data), found
        manifest = self._manifest(schema)
        self._check_columns(schema, manifest)
        for commit in manifest["commits"]:
            for path in sorted((data / f"{COMMIT_COLUMN}={commit['id']}").rglob("*.parquet")):
                file = _part_file(schema, path, data)
                valid = commit["scopes"] is None or any(
                    all(file.values.get(k) == v for k, v in scope.items()) for scope in commit["scopes"]
                )
                found += [file] if valid else []
        return str(data), found

    def location(self, schema: TableSchema) -> str:
        """Folder of the table."""
        return f"{self._root}/{schema.name}"

    def exists(self, schema: TableSchema) -> bool:
        """Whether the table has a committed version."""
        return self.version(schema) >= 0

    def version(self, schema: TableSchema) -> int:
        """Number of the last committed version, -1 where there is none."""
        names = self._files.list(f"{self.location(schema)}/manifest")
        return max((int(name.split(".")[0]) for name in names if name.endswith(".json") and name[0].isdigit()), default=-1)

    def read(self, schema: TableSchema) -> DataFrame:
        """The table's last committed version, its structure checked."""
        manifest = self._manifest(schema)
        columns = spark_schema(schema)
        self._check_columns(schema, manifest)
        live = [commit for commit in manifest["commits"] if commit["scopes"] != []]
        data = f"{self.location(schema)}/data"
        folders = dict.fromkeys(f"{data}/{COMMIT_COLUMN}={c['id']}" for c in live)
        paths = [path for path in folders if self._files.exists(path)]
        if not paths:
            return self._spark.createDataFrame([], columns)
        stored = T.StructType([*columns.fields, T.StructField(COMMIT_COLUMN, T.StringType())])
        frame = self._spark.read.schema(stored).option("basePath", data).parquet(*paths)
        valid = F.lit(False)
        for commit in live:
            of_commit = F.col(COMMIT_COLUMN) == F.lit(commit["id"])
            valid = valid | (of_commit if commit["scopes"] is None else of_commit & scope_predicate(commit["scopes"]))
        return frame.where(valid).select(*schema.names)

    def _check_columns(self, schema: TableSchema, manifest: dict[str, Any]) -> None:
        columns = spark_schema(schema)
        if manifest["columns"] != {f.name: f.dataType.simpleString() for f in columns.fields}:
            raise ContractError(
                f"the stored table has columns {manifest['columns']}, this version reads {columns.simpleString()}",
                where=self.location(schema),
                remedy="make a new workspace, or read this one with the version that wrote it",
            )

    def write(self, schema: TableSchema, frame: DataFrame, scopes: list[Scope] | None, metadata: str) -> None:
        """Replace the scopes in one commit, or append."""
        commit_id = uuid.uuid4().hex[:12]
        data = f"{self.location(schema)}/data"
        stamped = frame.withColumn(COMMIT_COLUMN, F.lit(commit_id))
        stamped.write.mode("append").partitionBy(COMMIT_COLUMN, *schema.partitions).parquet(data)
        self._commit(schema, commit_id, scopes, metadata)

    def _commit(self, schema: TableSchema, commit_id: str, scopes: list[Scope] | None, metadata: str) -> None:
        """Publish a manifest; where another writer was first, on top of theirs when they touched no scope of ours."""
        known: set[str] | None = None
        for attempt in range(COMMIT_ATTEMPTS):
            base = self.version(schema)
            earlier = self._manifest(schema)["commits"] if base >= 0 else []
            if known is None:
                known = {c["id"] for c in earlier}
            new = [c for c in earlier if c["id"] not in known]
            try:
                self._publish(schema, base + 1, self._next_manifest(schema, base + 1, earlier, commit_id, scopes, metadata))
                return
            except StorageError:
                if attempt + 1 == COMMIT_ATTEMPTS or not _apart(schema, scopes, new):
                    raise
            time.sleep(COMMIT_PAUSE_S * (attempt + 1))

    @staticmethod
    def _next_manifest(
        schema: TableSchema, version: int, earlier: list[dict[str, Any]], commit_id: str, scopes: list[Scope] | None,
        metadata: str,
    ) -> dict[str, Any]:
        replaced = [] if scopes is None else [dict(scope) for scope in scopes]
        if scopes is not None and not schema.scope:
            earlier = []
        kept = [c if c["scopes"] is None else {**c, "scopes": [s for s in c["scopes"] if s not in replaced]} for c in earlier]
        return {
            "version": version,
            "columns": {f.name: f.dataType.simpleString() for f in spark_schema(schema).fields},
            "commits": [
                *(c for c in kept if c["scopes"] != []),
                {"id": commit_id, "scopes": replaced if schema.scope and scopes is not None else None, "metadata": metadata},
            ],
        }

    def partitions(self, schema: TableSchema, scope: Scope) -> list[dict[str, str]]:
        """Partition values present under a scope."""
        if not self.exists(schema) or not schema.partitions:
            return []
        if self.direct:
            return partition_values(self.files(schema)[1], scope)
        rows = self.read(schema).where(scope_predicate([scope])).select(*schema.partitions).distinct().collect()
        return sorted(({k: str(v) for k, v in row.asDict().items()} for row in rows), key=str)

    def _manifest(self, schema: TableSchema) -> dict[str, Any]:
        version = self.version(schema)
        if version < 0:
            raise StorageError(f"table {schema.name} does not exist", where=self.location(schema))
        manifest: dict[str, Any] = json.loads(self._files.read_text(f"{self.location(schema)}/manifest/{version:08d}.json"))
        return manifest

    def _publish(self, schema: TableSchema, version: int, manifest: dict[str, Any]) -> None:
        folder = f"{self.location(schema)}/manifest"
        if not self._files.publish_text(f"{folder}/{version:08d}.json", json.dumps(manifest, indent=1)):
            raise StorageError(
                f"another writer committed version {version} of table {schema.name} first; nothing of this write is visible",
                where=self.location(schema),
                remedy="run the same command again",
            )


def _apart(schema: TableSchema, scopes: list[Scope] | None, new: list[dict[str, Any]]) -> bool:
    """Whether commits that came in between leave what this one replaces alone: it can then stand on top of them."""
    if scopes is None:
        return True
    replaced = [dict(scope) for scope in scopes]
    return bool(schema.scope) and all(c["scopes"] is not None and not any(s in replaced for s in c["scopes"]) for c in new)


def _part_file(schema: TableSchema, path: Path, data: Path) -> PartFile:
    below = path.relative_to(data)
    named = dict(part.split("=", 1) for part in below.parts[1:-1])
    values = {name: typed_value(schema, name, unquote(named[name])) for name in schema.partitions}
    return PartFile(str(below), values, -1, path.stat().st_size)
