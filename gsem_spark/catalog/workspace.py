"""A workspace: the set of tables of one project, at a path or as a catalog schema, in one format."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd
import pyarrow as pa

from gsem_spark.catalog import arrow_access, ordered_rows, spans
from gsem_spark.catalog.arrow_access import PartFunction, Source, StageFunction, Where
from gsem_spark.catalog.contracts import guarded, spark_schema
from gsem_spark.catalog.ordered_rows import Stretch, Stretches
from gsem_spark.catalog.part_files import PartitionValue
from gsem_spark.catalog.schemas import SCHEMAS, TableSchema, schema_of
from gsem_spark.catalog.scratch import SCRATCH, scratch_folder
from gsem_spark.catalog.spans import Cut, Spans
from gsem_spark.catalog.staged_write import StagedWrite, check_scopes, contract_errors, scope_list
from gsem_spark.catalog.store import Scope, Store, TableInfo
from gsem_spark.errors import ConfigError, StorageError
from gsem_spark.session import has_delta, start_session
from gsem_spark.workers import check_workers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from gsem_spark.catalog.runs import Ledger

Format = Literal["delta", "parquet"]
MARKER: Final = "gsem_workspace.json"
WORKSPACE_VERSION: Final = 1
_CATALOG_NAME: Final = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)?")


class Workspace:
    """Tables of one project. Make one with :meth:`create`, come back to it with :meth:`open`.

    Examples
    --------
    >>> import gsem_spark as gs
    >>> ws = gs.Workspace.create("my_study")  # doctest: +SKIP
    >>> ws.read("sumstats").count()  # doctest: +SKIP
    0
    """

    def __init__(self, location: str, store: Store, spark: SparkSession) -> None:
        self.location = location
        self.spark = spark
        self._store = store

    @property
    def format(self) -> str:
        """Table format: delta or parquet."""
        return self._store.format

    @property
    def direct(self) -> bool:
        """Whether Python, here and in workers, reads and writes the tables' files by itself."""
        return self._store.direct

    @classmethod
    def create(cls, location: str, format: Format = "delta", spark: SparkSession | None = None) -> Workspace:
        """Make a workspace, or open the one that stands there already in the same format.

        Parameters
        ----------
        location
            A folder (local, ``hdfs://``, ``s3a://`` …), or ``catalog.schema`` of a metastore (no slash in it).
        format
            ``delta``, or ``parquet`` where Delta cannot be had.
        spark
            A session; :func:`gsem_spark.start_session` when None.

        Raises
        ------
        ConfigError
            The format is unknown, or the workspace exists in the other format.
        StorageError
            The place cannot be written.
        """
        if format not in ("delta", "parquet"):
            raise ConfigError(f"format is {format!r}, must be delta or parquet")
        spark = spark or start_session(delta=format == "delta")
        check_workers(spark)
        if _is_catalog_name(location):
            spark.sql(f"CREATE SCHEMA IF NOT EXISTS {location}")
            return cls._catalog(location, spark)
        root = _absolute(location)
        found = _read_marker(root, spark)
        if found is None:
            from gsem_spark.catalog.files import HadoopFiles

            marker = {"format": format, "workspace_version": WORKSPACE_VERSION}
            try:
                HadoopFiles(spark).publish_text(f"{root}/{MARKER}", json.dumps(marker) + "\n")
            except Exception as error:
                raise StorageError(
                    f"the workspace cannot be made: {str(error).splitlines()[0]}",
                    where=location,
                    remedy="choose a folder that can be written",
                ) from error
            found = marker
        if found["format"] != format:
            raise ConfigError(
                f"the workspace is in {found['format']} format, not {format}",
                where=location,
                remedy=f"use format {found['format']}, or another folder",
            )
        return cls.open(location, spark)

    @classmethod
    def open(cls, location: str, spark: SparkSession | None = None) -> Workspace:
        """Open a workspace that exists.

        Raises
        ------
        StorageError
            There is no workspace at the place, or the session lacks Delta.
        """
        if _is_catalog_name(location):
            return cls._catalog(location, spark or start_session())
        root = _absolute(location)
        session = spark or start_session()
        check_workers(session)
        marker = _read_marker(root, session)
        if marker is None:
            raise StorageError("there is no gsem_spark workspace", where=location, remedy=f"gsem-spark init {location}")
        if marker["workspace_version"] > WORKSPACE_VERSION:
            raise StorageError(
                f"the workspace has layout version {marker['workspace_version']}, this program knows {WORKSPACE_VERSION}",
                where=location,
                remedy="update gsem_spark",
            )
        if marker["format"] == "parquet":
            from gsem_spark.catalog.parquet_store import ParquetStore

            return cls(root, ParquetStore(session, root), session)
        if not has_delta(session):
            raise StorageError(
                "the workspace is in Delta format and this Spark session has no Delta",
                where=location,
                remedy="start the session with the io.delta jars and spark.sql.extensions (see conf/spark), "
                "or make the workspace with format parquet",
            )
        from gsem_spark.catalog.delta_store import DeltaStore

        return cls(root, DeltaStore(session, root), session)

    @classmethod
    def _catalog(cls, name: str, spark: SparkSession) -> Workspace:
        from gsem_spark.catalog.delta_store import DeltaStore

        check_workers(spark)
        return cls(name, DeltaStore(spark, name, catalog=True), spark)

    @cached_property
    def runs(self) -> Ledger:
        """The ledger of runs."""
        from gsem_spark.catalog.runs import Ledger

        return Ledger(self)

    def exists(self, table: str) -> bool:
        """Whether a table has been written."""
        return self._store.exists(schema_of(table))

    def read(self, table: str) -> DataFrame:
        """A table's last committed version as a Spark frame; typed and empty where it has not been written yet."""
        schema = schema_of(table)
        return self._store.read(schema) if self._store.exists(schema) else self.empty(table)

    def empty(self, table: str) -> DataFrame:
        """A frame of a table's type without rows."""
        return self.spark.createDataFrame([], spark_schema(schema_of(table)))

    def version(self, table: str) -> int:
        """Number of a table's last committed version; -1 where it has not been written."""
        return self._store.version(schema_of(table))

    def partitions(self, table: str, scope: Scope) -> list[dict[str, str]]:
        """Partition values present under a scope."""
        return self._store.partitions(schema_of(table), scope)

    def frame(self, table: str, rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> DataFrame:
        """A small frame of a table's type from rows held on the driver."""
        schema = schema_of(table)
        records = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else [dict(row) for row in rows]
        kinds = {c.name: c.type for c in schema.columns}
        ordered = [tuple(_cell(r.get(name), kinds[name]) for name in schema.names) for r in records]
        return self.spark.createDataFrame(ordered, spark_schema(schema), verifySchema=True)

    def rows(self, table: str, where: Where | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of a small table on the driver, as Arrow; ``where`` maps columns to the value or values wanted."""
        return arrow_access.read_rows(self.spark, self._store, schema_of(table), where, columns)

    def records(self, table: str, where: Where | None = None, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Rows of a small table on the driver as dictionaries, in no order."""
        rows = self.rows(table, where, columns)
        maps = [field.name for field in rows.schema if pa.types.is_map(field.type)]
        return [{**r, **{name: dict(r[name]) for name in maps if r[name] is not None}} for r in rows.to_pylist()]

    def put(
        self,
        table: str,
        rows: pd.DataFrame | Iterable[Mapping[str, Any]],
        scopes: Sequence[Scope] | Scope | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace parts of a small table by rows held on the driver; see :meth:`replace`."""
        schema, given = schema_of(table), scope_list(scopes)
        check_scopes(schema, given)
        self._put(schema, rows, given or [{}], metadata)

    def add(
        self, table: str, rows: pd.DataFrame | Iterable[Mapping[str, Any]], *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Add rows held on the driver to a small table, in one atomic commit."""
        self._put(schema_of(table), rows, None, metadata)

    def source(self, table: str, columns: Sequence[str], where: Where | None = None) -> Source:
        """Rows of a large table spread over executor tasks as Arrow batches; ``where`` may name partition columns."""
        return arrow_access.source(self.spark, self._store, schema_of(table), columns, where)

    def stretches(self, table: str, columns: Sequence[str], by: str, wanted: Sequence[Stretch]) -> Stretches:
        """Stretches of a table's rows, each read by one task in the order of the column ``by``, whatever files they lie in."""
        return ordered_rows.stretches(self.spark, self._store, schema_of(table), columns, by, wanted)

    def spans(self, table: str, columns: Sequence[str], where: Where | None, by: str, along: Cut) -> Spans | None:
        """Rows of a large table by the values of a partition column, a value's rows with one task; None where Spark must read."""
        return spans.spans(self.spark, self._store, schema_of(table), columns, where, by, along)

    def scratch(self, name: str) -> AbstractContextManager[Path]:
        """A folder that driver and workers share while the block runs; see :func:`~gsem_spark.catalog.scratch.scratch_folder`."""
        return scratch_folder(self.location, SCRATCH, name)

    def replace_parts(
        self,
        table: str,
        frame: DataFrame,
        function: PartFunction,
        scopes: Sequence[Scope] | Scope | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> Counter[tuple[PartitionValue, ...]]:
        """Replace parts of a table by what a function makes of a frame's Arrow batches on the executors, in one atomic commit.

        Parameters
        ----------
        table, scopes, metadata
            As for :meth:`replace`.
        frame
            What the function is given, task by task.
        function
            Arrow batches → :class:`~gsem_spark.catalog.part_files.Part`, each of one partition of the table.

        Returns
        -------
        Counter
            Rows written, by partition values.

        Raises
        ------
        ContractError
            A row breaks a rule of the table; nothing is committed.
        """
        schema, given = schema_of(table), scope_list(scopes)
        check_scopes(schema, given)
        with contract_errors():
            return arrow_access.write_parts(
                self._store, schema, frame, function, given or [{}], json.dumps(metadata or {}, sort_keys=True)
            )

    def stage(self, tables: Sequence[str], frame: DataFrame, function: StageFunction) -> StagedWrite:
        """Make parts of several tables in one job, look at what the job noted, then commit table by table, or not at all.

        Parameters
        ----------
        tables, frame
            Names of the tables; what the function is given, task by task.
        function
            Arrow batches → (table name, :class:`~gsem_spark.catalog.part_files.Part`) pairs, and bytes: notes for the driver.

        Returns
        -------
        StagedWrite
            ``.notes`` and ``.commit(table, scopes)``; at the end of its ``with`` block what was not committed is cleared away.
        """
        with contract_errors():
            return StagedWrite(arrow_access.stage(self._store, [schema_of(t) for t in tables], frame, function))

    def count(self, table: str, where: Where | None = None) -> Counter[tuple[PartitionValue, ...]]:
        """Rows of a table by partition values, from metadata where it has them."""
        return arrow_access.count_rows(self._store, schema_of(table), where)

    def replace(
        self,
        table: str,
        frame: DataFrame,
        scopes: Sequence[Scope] | Scope | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace parts of a table (all of it when it has no scope columns) by a frame's rows, in one atomic commit.

        Parameters
        ----------
        table
            Table name.
        frame
            Rows with the table's columns; every row must belong to one of the scopes.
        scopes
            Values of the schema's scope columns; a table without scope columns takes None.
        metadata
            Said with the commit (Delta's user metadata, the Parquet manifest).

        Raises
        ------
        ContractError
            The frame does not fit the schema, or a row breaks a rule; nothing is committed.
        """
        schema, given = schema_of(table), scope_list(scopes)
        check_scopes(schema, given)
        self._write(schema, frame, given or [{}], metadata)

    def append(self, table: str, frame: DataFrame, *, metadata: Mapping[str, Any] | None = None) -> None:
        """Add a frame's rows to a table in one atomic commit."""
        self._write(schema_of(table), frame, None, metadata)

    def tables(self) -> list[TableInfo]:
        """Every table that has been written, with its rows, version and files."""
        infos = []
        for schema in SCHEMAS.values():
            if self._store.exists(schema):
                frame = self._store.read(schema)
                infos.append(
                    TableInfo(
                        schema.name,
                        frame.count(),
                        self._store.version(schema),
                        len(frame.inputFiles()),
                        self._store.location(schema),
                    )
                )
        return infos

    def _write(
        self, schema: TableSchema, frame: DataFrame, scopes: list[Scope] | None, metadata: Mapping[str, Any] | None
    ) -> None:
        checked = guarded(schema, frame)
        with contract_errors():
            self._store.write(schema, checked, scopes, json.dumps(metadata or {}, sort_keys=True))

    def _put(
        self,
        schema: TableSchema,
        rows: pd.DataFrame | Iterable[Mapping[str, Any]],
        scopes: list[Scope] | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        given = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
        records = [{str(name): value for name, value in row.items()} for row in given]
        text = json.dumps(metadata or {}, sort_keys=True)
        with contract_errors():
            arrow_access.write_rows(self.spark, self._store, schema, records, scopes, text)

    def __repr__(self) -> str:
        return f"Workspace({self.location!r}, format={self.format!r})"


def _is_catalog_name(location: str) -> bool:
    return "/" not in location and "." in location and _CATALOG_NAME.fullmatch(location) is not None


def _absolute(location: str) -> str:
    if "://" in location or location.startswith(("dbfs:", "file:")):
        return location.rstrip("/")
    return str(Path(location).expanduser().resolve())


def _read_marker(root: str, spark: SparkSession) -> dict[str, Any] | None:
    from gsem_spark.catalog.files import HadoopFiles

    files = HadoopFiles(spark)
    if not files.exists(f"{root}/{MARKER}"):
        return None
    marker: dict[str, Any] = json.loads(files.read_text(f"{root}/{MARKER}"))
    return marker


def _cell(value: Any, kind: str) -> Any:
    """One value as Spark wants it: missing of any kind is None, NumPy scalars are Python's."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    if kind == "double":
        return float(value)
    if kind in ("int", "long"):
        return int(value)
    return bool(value) if kind == "boolean" else value
