"""Schemas as Spark types, and the checks that stand between a frame and its commit.

The structural check (names, types) is free. The value rules (not null, range, no NaN, allowed words) ride in the write
itself as one expression per row, because a separate aggregate would compute everything twice; the first offending row
stops the commit with its key in the message.
"""

from __future__ import annotations

import json
import re
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import functions as F
from pyspark.sql import types as T

from gsem_spark.catalog.arrow_contracts import VIOLATION_END, VIOLATION_START
from gsem_spark.catalog.schemas import Column, TableSchema, schema_of
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
    "binary": T.BinaryType(),
    "array<string>": T.ArrayType(T.StringType()),
    "array<long>": T.ArrayType(T.LongType()),
    "array<double>": T.ArrayType(T.DoubleType()),
    "map<string,string>": T.MapType(T.StringType(), T.StringType()),
}
_VIOLATION: Final = re.compile(r"gsem-contract: (\w+) (\{.*?\}) :gsem-end", re.DOTALL)


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
    """The frame in the schema's column order, with the value rules woven into it.

    One flat condition is evaluated per row. A row that breaks it stops the job with the row itself in the message; which
    rule it broke is worked out from that on the driver. Anything longer in the row's path would make the generated method
    too long for the JVM to compile, at ten times the cost.
    """
    check_structure(schema, frame.schema, what="the frame to be written")
    ordered = frame.select(*schema.names)
    rules = [rule for column in schema.columns for rule in _rules(column)]
    if not rules:
        return ordered
    broken = reduce(lambda a, b: a | b, rules)
    row = F.to_json(F.struct(*(c.name for c in schema.columns if c.type != "binary")))
    message = F.concat(F.lit(f"{VIOLATION_START}{schema.name} "), row, F.lit(VIOLATION_END))
    carrier = schema.column(schema.key[0])
    checked = F.when(broken, F.raise_error(message).cast(spark_type(carrier))).otherwise(F.col(carrier.name))
    return ordered.withColumn(carrier.name, checked).select(*schema.names)


def violation_in(error: BaseException) -> ContractError | None:
    """The contract violation that stopped a Spark job, when that is what stopped it."""
    match = _VIOLATION.search(str(error))
    if match is None:
        return None
    schema = schema_of(match.group(1))
    try:
        row = json.loads(match.group(2))
    except ValueError:  # a message that was cut or escaped on its way
        row = {}
    complaints = (_complaint(column, row.get(column.name)) for column in schema.columns if column.type != "binary")
    broken = next((text for text in complaints if text), "a row breaks a rule")
    key = ", ".join(f"{name}={row.get(name)}" for name in schema.key)
    return ContractError(
        f"{broken} at {key}",
        where=f"table {schema.name}",
        remedy="this is a defect of the step that wrote the row; nothing was committed",
    )


def _rules(column: Column) -> list[Expression]:
    """What must not be, as conditions that are never null."""
    value = F.col(column.name)
    known = value.isNotNull()
    rules: list[Expression] = []
    if not column.nullable:
        rules.append(value.isNull())
    if column.type == "double" and column.high is None:  # where there is a highest value, NaN is above it
        rules.append(known & F.isnan(value))
    if column.low is not None:
        rules.append(known & (value < F.lit(column.low)))
    if column.high is not None:
        rules.append(known & (value > F.lit(column.high)))
    if column.values:
        rules.append(known & ~value.isin(list(column.values)))
    return rules


def _complaint(column: Column, value: Any) -> str | None:
    """The rule that a value of a row breaks, in words; the same rules as :func:`_rules`."""
    if value is None:
        return None if column.nullable else f"{column.name} is null"
    if column.type == "double" and value in ("NaN", "nan"):
        return f"{column.name} is NaN"
    if column.low is not None and float(value) < column.low:
        return f"{column.name} is below {column.low:g}"
    if column.high is not None and float(value) > column.high:
        return f"{column.name} is above {column.high:g}"
    if column.values and value not in column.values:
        return f"{column.name} is {value!r}, none of {', '.join(column.values)}"
    return None
