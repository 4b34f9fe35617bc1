"""Schemas as Arrow types, and the value rules of a table checked on Arrow rows, for files that are written without the JVM.

The rules are the ones of :mod:`gsem_spark.catalog.contracts`; here they are answered column by column on whole batches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gsem_spark.catalog.schemas import Column, TableSchema
from gsem_spark.errors import ContractError

VIOLATION_START, VIOLATION_END = "gsem-contract: ", " :gsem-end"
"""Between these two, and after the table's name, stands the offending row as JSON, in Spark's errors and in ours."""

ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "binary": pa.binary(),
    "array<string>": pa.list_(pa.string()),
    "array<long>": pa.list_(pa.int64()),
    "array<double>": pa.list_(pa.float64()),
    "map<string,string>": pa.map_(pa.string(), pa.string()),
}


def arrow_schema(schema: TableSchema, *, partitions: bool = True) -> pa.Schema:
    """Arrow's type of a table's rows; without its partition columns, which files do not hold, when ``partitions`` is False."""
    columns = [c for c in schema.columns if partitions or c.name not in schema.partitions]
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in columns])


def arrow_rows(schema: TableSchema, records: list[dict[str, Any]]) -> pa.Table:
    """Rows held on the driver as a table of the schema's type; what is missing in any of Python's ways becomes null."""
    columns = {c.name: [_plain(record.get(c.name), c.type) for record in records] for c in schema.columns}
    return pa.table({c.name: pa.array(columns[c.name], ARROW_TYPES[c.type]) for c in schema.columns})


def check_rows(schema: TableSchema, rows: pa.Table, values: Mapping[str, Any]) -> None:
    """Check rows, and the partition values that all of them share, against the table's rules.

    Raises
    ------
    ContractError
        The first row that breaks a rule, in the wording that Spark's checks use, so that both are read alike.
    """
    for column in schema.columns:
        kind = ARROW_TYPES[column.type]
        found = pa.array([values[column.name]], kind) if column.name in values else rows.column(column.name)
        broken = _broken(column, found)
        if broken is not None and rows.num_rows:
            at = 0 if column.name in values else broken
            told = [c.name for c in schema.columns if c.type != "binary" and c.name in rows.column_names]
            row = {**rows.select(told).slice(at, 1).to_pylist()[0], **values}
            text = json.dumps({k: "NaN" if v != v else v for k, v in row.items()}, default=str)
            raise ContractError(f"{VIOLATION_START}{schema.name} {text}{VIOLATION_END}")


def _broken(column: Column, values: pa.ChunkedArray | pa.Array) -> int | None:
    """Place of the first value that breaks a rule of its column, None where all are right."""
    if not column.nullable and values.null_count:
        return int(np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False))[0])
    bad = None
    if column.type in ("double", "int", "long") and (column.type == "double" or not column.low == column.high is None):
        numbers = pc.fill_null(values, column.low or 0).to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else (
            pc.fill_null(values, column.low or 0).to_numpy())
        bad = np.isnan(numbers) if column.type == "double" else np.zeros(len(numbers), bool)
        if column.low is not None:
            bad |= numbers < column.low
        if column.high is not None:
            bad |= numbers > column.high
    elif column.values:
        known = pc.or_kleene(pc.is_in(values, value_set=pa.array(column.values)), pc.is_null(values))
        bad = ~known.to_numpy(zero_copy_only=False) if isinstance(known, pa.Array) else ~known.to_numpy()
    return int(np.flatnonzero(bad)[0]) if bad is not None and bad.any() else None


def _plain(value: Any, kind: str) -> Any:
    """One value as Arrow wants it: missing of any kind is None, NumPy scalars are Python's."""
    if value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType":
        return None
    if kind == "double":
        return float(value)
    if kind in ("int", "long"):
        return int(value)
    if kind == "boolean":
        return bool(value)
    return list(value.items()) if kind.startswith("map") else value
