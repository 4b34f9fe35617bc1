"""What a place for tables must be able to do, and the two words every store speaks: scope and commit."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final, Protocol

from pyspark.sql import functions as F

from gsem_spark.catalog.part_files import PartFile
from gsem_spark.catalog.schemas import TableSchema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DIRECT_VARIABLE: Final = "GSEM_SPARK_DIRECT"
"""Set to 0 to have every table written and read by Spark alone, also where Python could reach the files."""
Scope = Mapping[str, str | int]
"""The part of a table that one write replaces: a value for each of the schema's scope columns."""


@dataclass(frozen=True)
class TableInfo:
    """What ``gsem-spark tables`` shows of one table."""

    name: str
    rows: int
    version: int
    files: int
    location: str


class Store(Protocol):
    """A place for tables. Writes are atomic: readers see the whole of a commit or nothing of it."""

    format: str

    def exists(self, schema: TableSchema) -> bool:
        """Whether the table has a committed version."""

    def read(self, schema: TableSchema) -> DataFrame:
        """The table's last committed version, its structure checked."""

    def write(self, schema: TableSchema, frame: DataFrame, scopes: list[Scope] | None, metadata: str) -> None:
        """Replace the scopes by the frame's rows in one commit; append when ``scopes`` is None."""

    def version(self, schema: TableSchema) -> int:
        """Number of the last committed version, -1 where there is none."""

    def partitions(self, schema: TableSchema, scope: Scope) -> list[dict[str, str]]:
        """Partition values present under a scope, from metadata alone."""

    def location(self, schema: TableSchema) -> str:
        """Path or qualified name of the table."""

    @property
    def direct(self) -> bool:
        """Whether Python may write and read the tables' files by itself."""

    def staging(self, schema: TableSchema) -> Staging:
        """Where the files of a coming commit are to be written; only where :attr:`direct` holds."""

    def add_files(
        self, schema: TableSchema, staging: Staging, files: Sequence[PartFile], scopes: list[Scope] | None, metadata: str
    ) -> None:
        """Commit files that stand in the staging folder, in place of the scopes' (added, when ``scopes`` is None)."""

    def files(self, schema: TableSchema) -> tuple[str, list[PartFile]]:
        """The folder that paths count from, and the files of the last committed version."""


@dataclass(frozen=True)
class Staging:
    """A folder for the files of one coming commit, and the commit's name where it needs one beforehand."""

    folder: str
    commit_id: str = ""


def local_folder(root: str, *libraries: str) -> str | None:
    """The path when tables below it are files that this machine's Python reaches (and the libraries are there), else None."""
    path = root.removeprefix("file://").removeprefix("file:")
    on_disk = "://" not in path and path.startswith("/")
    found = all(importlib.util.find_spec(name) is not None for name in libraries)
    return path if on_disk and found and os.environ.get(DIRECT_VARIABLE, "1") != "0" else None


def partition_values(files: Iterable[PartFile], scope: Scope) -> list[dict[str, str]]:
    """Distinct partition values of the files under a scope, as text, in order."""
    under = [f.values for f in files if all(f.values.get(k) == v for k, v in scope.items())]
    distinct = {tuple(values.items()) for values in under}
    return sorted(({k: str(v) for k, v in items} for items in distinct), key=str)


def in_scopes(values: Mapping[str, str | int | None], scopes: Sequence[Scope] | None) -> bool:
    """Whether a partition's values belong to any of the scopes; to no scopes at all (an addition) everything does."""
    return scopes is None or any(all(values.get(k) == v for k, v in scope.items()) for scope in scopes)


def scope_predicate(scopes: Iterable[Scope]) -> Column:
    """Rows that belong to any of the scopes."""
    clauses = [reduce(lambda a, b: a & b, (F.col(k) == F.lit(v) for k, v in scope.items())) for scope in scopes]
    return reduce(lambda a, b: a | b, clauses)


def scope_sql(scopes: list[Scope]) -> str:
    """The same as SQL text, grouped so that many values of the last column make one IN list."""
    names = list(scopes[0])
    groups: dict[tuple[str, ...], list[str]] = {}
    for scope in scopes:
        values = [_literal(scope[name]) for name in names]
        groups.setdefault(tuple(values[:-1]), []).append(values[-1])
    clauses = []
    for head, tail in groups.items():
        fixed = [f"{name} = {value}" for name, value in zip(names[:-1], head, strict=True)]
        clauses.append("(" + " AND ".join([*fixed, f"{names[-1]} IN ({', '.join(tail)})"]) + ")")
    return " OR ".join(clauses)


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
