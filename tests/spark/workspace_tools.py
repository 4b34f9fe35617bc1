"""Tools of the contract suite: a workspace's tables bit by bit, its files, its rows in another order, and its sudden death."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pytest

from gsem_spark.catalog.schemas import SCHEMAS, TableSchema
from gsem_spark.catalog.store import Scope
from gsem_spark.catalog.workspace import Workspace

StepT = TypeVar("StepT")
Moment = Literal["before", "after"]


class Killed(BaseException):
    """The process dies here. No ``except Exception`` sees it, as none sees SIGKILL."""


def stored(ws: Workspace, table: str, without: Sequence[str] = ()) -> pa.Table:
    """A table's rows in an order of their own, floating-point numbers as their 64 bits."""
    rows = ws.read(table).drop(*without).toArrow()
    columns = {name: _bits(rows.column(name).combine_chunks()) for name in rows.column_names}
    whole = pa.table(columns)
    keys = [name for name in SCHEMAS[table].key if name not in without]
    rest = [name for name in whole.column_names if name not in keys and not pa.types.is_nested(whole.schema.field(name).type)]
    return whole.sort_by([(name, "ascending") for name in [*keys, *rest]])


def assert_same_tables(found: dict[str, pa.Table], wanted: dict[str, pa.Table]) -> None:
    """Equal to the bit, nulls included; says which table and column is not."""
    assert set(found) == set(wanted)
    for name, table in wanted.items():
        assert found[name].num_rows == table.num_rows, f"{name}: {found[name].num_rows} rows, wanted {table.num_rows}"
        assert found[name].column_names == table.column_names, name
        differing = [c for c in table.column_names if not found[name].column(c).equals(table.column(c))]
        assert not differing, f"table {name} differs in columns {differing}"


def of_the_same_scopes(table: str, rows: pa.Table, wanted: pa.Table) -> pa.Table:
    """Rows in the scopes that the wanted rows are in: a run on other input may have left rows in scopes of its own."""
    scope = list(SCHEMAS[table].scope)
    if not scope:
        return rows
    known = {tuple(row.values()) for row in wanted.select(scope).to_pylist()}
    return rows.filter(pa.array([tuple(row.values()) in known for row in rows.select(scope).to_pylist()], pa.bool_()))


def assert_no_doubled_rows(table: str, rows: pa.Table) -> None:
    """The table's key is a key."""
    key = list(SCHEMAS[table].key)
    assert rows.select(key).group_by(key).aggregate([]).num_rows == rows.num_rows, f"table {table} has rows twice"


def _bits(values: pa.Array) -> pa.Array:
    if pa.types.is_float64(values.type):
        return values.view(pa.int64())
    if pa.types.is_list(values.type) and pa.types.is_float64(values.type.value_type):
        return pa.ListArray.from_arrays(_offsets(values), values.flatten().view(pa.int64()))
    return values


def _offsets(values: pa.ListArray) -> pa.Array:
    assert values.null_count == 0, "lists are never null in any schema"
    return pa.array(np.r_[0, np.cumsum(values.value_lengths().to_numpy())], pa.int32())


def files(ws: Workspace) -> dict[str, tuple[int, int]]:
    """Every file of a workspace with size and time of its last change."""
    root = Path(ws.location)
    return {str(p.relative_to(root)): (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}


def commits(ws: Workspace) -> dict[str, int]:
    """Number of commits of every table, counted on disk."""
    kind = "_delta_log/*.json" if ws.format == "delta" else "manifest/*.json"
    return {name: len(list((Path(ws.location) / name).glob(kind))) for name in SCHEMAS}


def copied(ws: Workspace, to: Path) -> Workspace:
    """The workspace as another process finds it: a copy of its folder, opened anew."""
    shutil.copytree(ws.location, to)
    return Workspace.open(str(to), ws.spark)


def reopened(ws: Workspace) -> Workspace:
    """The workspace after its process died. The folder moves, because the JVM that goes on would remember its Delta logs."""
    moved = Path(ws.location).with_name(Path(ws.location).name + "-found")
    shutil.move(ws.location, moved)
    return Workspace.open(str(moved), ws.spark)


def scopes_of(ws: Workspace, table: str) -> list[Scope]:
    """All values of a table's scope columns."""
    return [row.asDict() for row in ws.read(table).select(*SCHEMAS[table].scope).distinct().collect()]


def scrambled(ws: Workspace, tables: Sequence[str], step: StepT) -> StepT:
    """Rewrite tables with their rows in another order, in other files."""
    for number, table in enumerate(tables):
        rows = ws.read(table).toArrow()
        order = np.random.default_rng(number).permutation(rows.num_rows)
        frame = ws.spark.createDataFrame(rows.take(pa.array(order)), ws.empty(table).schema).repartition(4)
        ws.replace(table, frame, scopes_of(ws, table))
    return step


def emptied(ws: Workspace, table: str, step: StepT) -> StepT:
    """Take every row out of a table."""
    ws.replace(table, ws.empty(table), scopes_of(ws, table))
    return step


@contextmanager
def other_partitions(ws: Workspace, partitions: int, batch_rows: int) -> Iterator[None]:
    """Shuffles into another number of parts, hand-over to Python in other batches, files read in small parts."""
    new = {
        "spark.sql.shuffle.partitions": str(partitions),
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(batch_rows),
        "spark.sql.files.maxPartitionBytes": "100000",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
    }
    before = {name: ws.spark.conf.get(name) for name in new}
    for name, value in new.items():
        ws.spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            ws.spark.conf.set(name, value)


class Death:
    """Kills at the ``at``-th commit of a workspace: ``before`` (its data files are there, the commit is not) or ``after`` it.

    A commit is a write by Spark, or files that workers wrote and that the store adds.
    """

    def __init__(self, patch: pytest.MonkeyPatch, ws: Workspace, at: int, moment: Moment) -> None:
        self.count, self.at, self.moment = 0, at, moment
        self._store: Any = ws._store
        self._patch, self._write, self._add, self._lock = patch, self._store.write, self._store.add_files, threading.Lock()
        patch.setattr(self._store, "write", self.write)
        patch.setattr(self._store, "add_files", self.add_files)

    @property
    def came(self) -> bool:
        """Whether the run got as far as the commit that it was to die of."""
        return self.count >= self.at

    def write(self, *write: Any) -> None:
        """The store's write by Spark, up to the end."""
        self._up_to_the_end(lambda: self._write(*write), lambda: self._write_without_commit(*write))

    def add_files(self, *commit: Any) -> None:
        """The store's commit of files that are there already, up to the end."""
        self._up_to_the_end(lambda: self._add(*commit), lambda: None)

    def _up_to_the_end(self, whole: Callable[[], None], without_commit: Callable[[], None]) -> None:
        with self._lock:
            if self.came:  # another thread of a process that is dead
                raise Killed
            self.count += 1
            if not self.came:
                whole()
                return
            if self.moment == "after":
                whole()
            else:
                without_commit()
            raise Killed

    def _write_without_commit(self, schema: TableSchema, *write: Any) -> None:
        if self._store.format == "parquet":

            def die(*_: Any) -> None:
                raise Killed

            self._patch.setattr(self._store, "_publish", die)
            self._write(schema, *write)
        else:
            self._write(schema, *write)
            log = Path(self._store.location(schema)) / "_delta_log"
            last = max(p.stem for p in log.glob("*.json"))
            for file in (*log.glob(f"{last}.*"), *log.glob(f".{last}.*")):
                file.unlink()
