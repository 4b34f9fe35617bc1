"""Delta commits and file lists without the JVM, by the deltalake library, for tables in a folder that this machine mounts.

A commit here takes milliseconds where one through a Spark job takes a second, and adds files that workers wrote
themselves. Both kinds of commit stand in the same log; either reader sees what the other wrote.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from gsem_spark.catalog.arrow_contracts import arrow_schema
from gsem_spark.catalog.part_files import PartFile, typed_value
from gsem_spark.catalog.schemas import TableSchema
from gsem_spark.errors import ContractError, StorageError

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from gsem_spark.catalog.store import Scope


COMMIT_ATTEMPTS: Final = 5
"""How often a first commit is tried again, where two writers make a table at the same time."""


def list_files(schema: TableSchema, location: str) -> list[PartFile]:
    """Data files of the last committed version."""
    import pyarrow as pa

    table = _open(location)
    _check_partitions(schema, table, location)
    return [_part_file(schema, record) for record in pa.table(table.get_add_actions(flatten=True)).to_pylist()]


def is_table(location: str) -> bool:
    """Whether a Delta table stands there."""
    from deltalake import DeltaTable

    return bool(DeltaTable.is_deltatable(location))


def last_version(location: str) -> int:
    """Number of the last committed version."""
    return int(_open(location).version())


def commit_files(
    schema: TableSchema, location: str, files: Sequence[PartFile], scopes: Sequence[Scope] | None, metadata: str
) -> None:
    """Add files and take out those of the scopes they replace (none when ``scopes`` is None), in one commit.

    Raises
    ------
    StorageError
        Another writer changed the same part of the table first; nothing of this commit is visible then.
    """
    from deltalake.exceptions import DeltaError

    if not is_table(location):
        _create(schema, location)
    for attempt in range(COMMIT_ATTEMPTS):
        try:
            _commit(schema, location, files, scopes, metadata)
            return
        except DeltaError as error:
            made_anew = "changed since last commit" in str(error)  # two writers made the table at the same time
            if made_anew and attempt + 1 < COMMIT_ATTEMPTS:
                continue
            raise StorageError(
                f"the commit to table {schema.name} failed ({str(error).splitlines()[0]}); nothing of it is visible",
                where=location,
                remedy="another run wrote to the same part of the workspace; run the same command again",
            ) from error


def _create(schema: TableSchema, location: str) -> None:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        DeltaTable.create(
            location, arrow_schema(schema), mode="ignore", partition_by=list(schema.partitions) or None,
            configuration={"delta.dataSkippingNumIndexedCols": "6"},
        )
    except DeltaError:  # another writer was first
        if not is_table(location):
            raise


def _commit(
    schema: TableSchema, location: str, files: Sequence[PartFile], scopes: Sequence[Scope] | None, metadata: str
) -> None:
    from deltalake import CommitProperties
    from deltalake.transaction import AddAction

    table = _open(location)
    _check_partitions(schema, table, location)
    _refuse_unspellable(schema, table, scopes or [])
    actions: list[Any] = [
        AddAction(f.path, f.size, _texts(f), f.modified_ms, True, json.dumps({"numRecords": f.rows})) for f in files
    ]
    table.create_write_transaction(
        actions,
        "append" if scopes is None else "overwrite",
        table.schema(),
        partition_by=list(schema.partitions),
        partition_filters=None if scopes is None else _filters(scopes),
        commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata}),
    )


def _check_partitions(schema: TableSchema, table: DeltaTable, location: str) -> None:
    """A table that another version cut up otherwise would read as if it lacked rows."""
    found = tuple(table.metadata().partition_columns)
    if found != schema.partitions:
        raise ContractError(
            f"the stored table {schema.name} is partitioned by {', '.join(found) or 'nothing'}, this version by "
            f"{', '.join(schema.partitions) or 'nothing'}",
            where=location,
            remedy="make a new workspace, or read this one with the version that wrote it",
        )


def _refuse_unspellable(schema: TableSchema, table: DeltaTable, scopes: Sequence[Scope]) -> None:
    """Spark spells letters beyond ASCII in paths as they are, deltalake in per cent: it could not take such a file out."""
    import pyarrow as pa

    for record in pa.table(table.get_add_actions(flatten=True)).to_pylist() if scopes else []:
        values = _part_file(schema, record).values
        if not record["path"].isascii() and any(all(values[k] == v for k, v in scope.items()) for scope in scopes):
            raise StorageError(
                f"{values} was written by Spark under a name with letters beyond ASCII and cannot be replaced from Python",
                where=f"table {schema.name}",
                remedy="set GSEM_SPARK_DIRECT=0 for this workspace, or name traits and runs in ASCII",
            )


def _open(location: str) -> DeltaTable:
    from deltalake import DeltaTable

    return DeltaTable(location)


def _part_file(schema: TableSchema, record: dict[str, Any]) -> PartFile:
    values = {name: typed_value(schema, name, record.get(f"partition.{name}")) for name in schema.partitions}
    rows = -1 if record.get("num_records") is None else int(record["num_records"])
    return PartFile(unquote(record["path"]), values, rows, int(record["size_bytes"]))


def _texts(file: PartFile) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in file.values.items()}


def _filters(scopes: Sequence[Scope]) -> list[tuple[str, str, Any]] | None:
    """Scopes as one conjunction of partition filters: they share all values but those of the last column."""
    names = list(scopes[0])
    if not names:
        return None  # the whole table
    heads = {tuple(scope[name] for name in names[:-1]) for scope in scopes}
    if len(heads) > 1:
        raise StorageError(f"one commit replaces parts of one {', '.join(names[:-1])}, not of {len(heads)}")
    fixed = [(name, "=", str(scopes[0][name])) for name in names[:-1]]
    return [*fixed, (names[-1], "in", [str(scope[names[-1]]) for scope in scopes])]
