"""Writes in two steps, and what every write is held to: scopes as the table has them, broken rules said as such."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gsem_spark.catalog.arrow_access import Staged
from gsem_spark.catalog.contracts import violation_in
from gsem_spark.catalog.part_files import PartitionValue
from gsem_spark.catalog.schemas import TableSchema, schema_of
from gsem_spark.catalog.store import Scope
from gsem_spark.errors import StorageError


@dataclass(frozen=True)
class StagedWrite:
    """Rows of several tables that a job has made and that no reader sees yet."""

    _staged: Staged

    def __enter__(self) -> StagedWrite:
        return self

    def __exit__(self, *_: object) -> None:
        self._staged.clear()

    @property
    def notes(self) -> list[bytes]:
        """What the job's tasks sent to the driver, in no order."""
        return self._staged.notes

    def commit(
        self, table: str, scopes: Sequence[Scope] | Scope | None = None, *, metadata: Mapping[str, Any] | None = None
    ) -> Counter[tuple[PartitionValue, ...]]:
        """Commit those of a table's rows that belong to the scopes, in place of theirs, in one atomic commit.

        Returns the rows by partition values. Rows of other scopes wait for a commit of their own.
        """
        given = scope_list(scopes)
        check_scopes(schema_of(table), given)
        with contract_errors():
            return self._staged.commit(table, given or [{}], json.dumps(metadata or {}, sort_keys=True))


@contextmanager
def contract_errors() -> Iterator[None]:
    """Say a broken rule as such, whichever engine found it."""
    try:
        yield
    except Exception as error:
        if (violation := violation_in(error)) is not None:
            raise violation from error
        raise


def scope_list(scopes: Sequence[Scope] | Scope | None) -> list[Scope]:
    """One scope or several as a list."""
    return [] if scopes is None else [scopes] if isinstance(scopes, Mapping) else list(scopes)


def check_scopes(schema: TableSchema, scopes: list[Scope]) -> None:
    """Refuse scopes that are not the table's own."""
    for scope in scopes:
        if tuple(scope) != schema.scope:
            raise StorageError(f"table {schema.name} is replaced by {schema.scope}, not by {tuple(scope)}")
    if schema.scope and not scopes:
        raise StorageError(f"table {schema.name} is replaced by {schema.scope}; no value was given")
