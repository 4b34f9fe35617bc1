"""A table of the workspace as one tab-separated text file, for programs that read text.

Rows pass through the driver one chromosome at a time, so that its memory is bounded by the largest chromosome.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.csv
from pyspark.sql import functions as F

from gsem_spark.catalog.schemas import TableSchema, schema_of
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.mtag.columns import META_COLUMNS, TRAIT_COLUMNS, reference_columns
from gsem_spark.steps.export.text_files import text_file
from gsem_spark.steps.mtag.write import META
from gsem_spark.steps.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

_ID_COLUMNS: Final = ("run_id", "panel_id", "covstruct_id", "fit_id", "blocks_id")
_ORDER: Final = ("trait", "chr", "bp", "locus", "snp", "lhs", "op", "rhs", "file_id", "row", "step", "seq")


def export_table(
    ws: Workspace,
    table: str,
    target: str | Path,
    *,
    run_id: str | None = None,
    trait: str | None = None,
    reference: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write a table, or one run or trait of it, as tab-separated text and return the number of rows.

    Parameters
    ----------
    ws
        The workspace.
    table
        Table name.
    target
        File to write: gzip when its name ends in ``.gz``, BGZF when in ``.bgz``. It appears when it is complete.
    run_id
        Value of the table's run, panel or structure column; where there are several and none is named, the last run's.
    trait
        One trait of tables that have them.
    reference
        Columns and names of the reference program's files, for tables that one has: ``mtag_results``, one trait a file.
    progress
        Where to show progress; silent by default.

    Raises
    ------
    ContractError
        There is no such table.
    ConfigError
        The table has no runs or traits to choose from, or no reference program.
    DataError
        Nothing is there to export.
    StorageError
        The file cannot be written.
    """
    schema, target = schema_of(table), Path(target)
    chosen = _chosen(ws, schema, ws.read(table), run_id, trait)
    if reference:
        trait = _one_trait(schema, chosen, trait)
        chosen = chosen.where(F.col("trait") == trait)
    names, to_reference = (META_COLUMNS if trait == META else TRAIT_COLUMNS, trait) if reference else (schema.names, None)
    text = chosen.select(*(_as_text(c.name, c.type) for c in schema.columns))
    order = [c for c in _ORDER if c in schema.names]
    chromosomes = (
        sorted(r["chr"] for r in text.select("chr").distinct().collect() if r["chr"] is not None) if "chr" in order else []
    )
    slices = [text.where(F.col("chr") == c) for c in chromosomes]
    slices += [text.where("chr IS NULL")] if "chr" in order else [text]
    rows = 0
    with (progress or Progress()).stage(f"export of {table}", len(slices), "slices") as stage, text_file(target) as out:
        out.write(("\t".join(names) + "\n").encode())
        for part in slices:
            batch = part.orderBy(*order).toArrow() if order else part.toArrow()
            if to_reference is not None:
                renamed = reference_columns(batch.to_pandas(), meta=to_reference == META)
                batch = pa.Table.from_pandas(renamed, preserve_index=False)
            pa.csv.write_csv(batch, out, pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))
            rows += batch.num_rows
            stage.advance(1)
        if rows == 0:
            raise DataError(
                "there is no row to export", where=f"table {table}", remedy=f"gsem-spark runs {ws.location} shows what was run"
            )
    return rows


def _one_trait(schema: TableSchema, chosen: DataFrame, trait: str | None) -> str:
    """The trait of a file in the reference program's format: the one named, or the only one."""
    if schema.name != "mtag_results":
        raise ConfigError(f"table {schema.name} has no reference program whose columns could be written", where="--reference",
                          remedy="export it as it is; mtag_results has one")
    present = sorted(r["trait"] for r in chosen.select("trait").distinct().collect())
    if trait is not None or len(present) == 1:
        return present[0] if trait is None else trait
    raise ConfigError(f"there are several traits: {', '.join(present) or 'none'}", where="--reference",
                      remedy="one file holds one trait: --trait NAME")


def _chosen(ws: Workspace, schema: TableSchema, frame: DataFrame, run_id: str | None, trait: str | None) -> DataFrame:
    column = next((c for c in _ID_COLUMNS if c in schema.names), None)
    if trait is not None:
        if "trait" not in schema.names:
            raise ConfigError(f"table {schema.name} has no traits to choose from", where="--trait")
        frame = frame.where(F.col("trait") == trait)
    if run_id is not None:
        if column is None:
            raise ConfigError(f"table {schema.name} has no runs to choose from", where="--run")
        return frame.where(F.col(column) == run_id)
    if column is None or schema.name == "runs":
        return frame
    present = {r[column] for r in frame.select(column).distinct().collect()}
    last = [e.run_id for e in ws.runs.all() if e.run_id in present]
    if last:
        return frame.where(F.col(column) == last[-1])
    if len(present) > 1:
        raise ConfigError(
            f"there are several: {', '.join(sorted(present))}", where=f"table {schema.name}", remedy="name one: --run ID"
        )
    return frame


def _as_text(name: str, kind: str) -> Any:
    """Arrays and maps as text; tabs and line ends inside text would break the file."""
    if kind.startswith("array"):
        return F.concat_ws(";", F.col(name).cast("array<string>")).alias(name)
    if kind.startswith("map"):
        return F.to_json(name).alias(name)
    if kind == "string":
        return F.regexp_replace(name, r"[\t\r\n]+", " ").alias(name)
    return F.col(name)
