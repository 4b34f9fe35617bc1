"""Schemas as Spark types, and the checks that stand between a frame and its commit.

The structural check (names, types) is free. The value rules (not null, range, no NaN, allowed words) ride in the write
itself as one expression per row, because a separate aggregate would compute everything twice; the first offending row
stops the commit with its key in the message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pyspark.sql import functions as F
from pyspark.sql import types as T

from gsem_spark.catalog.schemas import Column, TableSchema
from gsem_spark.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

_SPARK_TYPES: Final[dict[str, T.DataType]] = {
    "string": T.StringType(),
    "int": T.IntegerType(),
    "long": T.LongType(),
    "double": T.DoubleType(),
    "boolean": T.BooleanType(),
    "timestamp": T.TimestampType(),
    "array<string>": T.ArrayType(T.StringType()),
    "array<double>": T.ArrayType(T.DoubleType()),
    "map<string,string>": T.MapType(T.StringType(), T.StringType()),
}
_VIOLATION: Final = re.compile(r"gsem-contract: (.+?) :end")


def spark_type(column: Column) -> T.DataType:
    """Spark's type of a column."""
    return _SPARK_TYPES[column.type]


def spark_schema(schema: TableSchema) -> T.StructType:
    """Spark's type of a table's rows, columns in the schema's order."""
    return T.StructType([T.StructField(c.name, spark_type(c), c.nullable) for c in schema.columns])


def check_structure(schema: TableSchema, found: T.StructType, *, what: str) -> None:
    """Compare names and types; one :class:`ContractError` lists every difference by kind."""
    have = {field.name: field.dataType for field in found.fields}
    want = {column.name: spark_type(column) for column in schema.columns}
    problems = []
    if missing := [name for name in want if name not in have]:
        problems.append(f"missing columns: {', '.join(missing)}")
    if extra := [name for name in have if name not in want]:
        problems.append(f"unexpected columns: {', '.join(extra)}")
    wrong = [
        f"{name} is {have[name].simpleString()}, must be {kind.simpleString()}"
        for name, kind in want.items()
        if name in have and have[name].simpleString() != kind.simpleString()
    ]
    if wrong:
        problems.append(f"wrong types: {'; '.join(wrong)}")
    if problems:
        raise ContractError(f"{what} does not fit the schema: {'; '.join(problems)}", where=f"table {schema.name}")


def guarded(schema: TableSchema, frame: DataFrame) -> DataFrame:
    """The frame in the schema's column order, with the value rules woven into it."""
    check_structure(schema, frame.schema, what="the frame to be written")
    complaints = [complaint for column in schema.columns if (complaint := _complaint(column)) is not None]
    ordered = frame.select(*schema.names)
    if not complaints:
        return ordered
    first = F.coalesce(*complaints)
    key = F.concat_ws(", ", *(F.concat(F.lit(f"{name}="), F.col(name).cast("string")) for name in schema.key))
    message = F.concat(F.lit(f"gsem-contract: table {schema.name}: "), first, F.lit(" at "), key, F.lit(" :end"))
    carrier = next(c for c in schema.columns if c.name == schema.key[0])
    checked = F.when(first.isNotNull(), F.raise_error(message).cast(spark_type(carrier))).otherwise(F.col(carrier.name))
    return ordered.withColumn(carrier.name, checked).select(*schema.names)


def violation_in(error: BaseException) -> ContractError | None:
    """The contract violation that stopped a Spark job, when that is what stopped it."""
    match = _VIOLATION.search(str(error))
    if match is None:
        return None
    return ContractError(match.group(1), remedy="this is a defect of the step that wrote the row; nothing was committed")


def _complaint(column: Column) -> Expression | None:
    """Null where the column's value keeps its rules, else a phrase that names the broken one."""
    value = F.col(column.name)
    broken: list[tuple[Expression, str]] = []
    if not column.nullable:
        broken.append((value.isNull(), "is null"))
    if column.type == "double":
        broken.append((F.isnan(value), "is NaN"))
    if column.low is not None:
        broken.append((value < F.lit(column.low), f"is below {column.low:g}"))
    if column.high is not None:
        broken.append((value > F.lit(column.high), f"is above {column.high:g}"))
    if column.values:
        broken.append((~value.isin(list(column.values)), f"is none of {', '.join(column.values)}"))
    if not broken:
        return None
    phrases = [F.when(condition, F.lit(f"{column.name} {phrase}")) for condition, phrase in broken]
    return F.coalesce(*phrases) if len(phrases) > 1 else phrases[0]
