"""What a place for tables must be able to do, and the two words every store speaks: scope and commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Protocol

from pyspark.sql import functions as F

from gsem_spark.catalog.schemas import TableSchema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

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
