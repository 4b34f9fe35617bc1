"""The ledger of runs."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import RUN_ID, Column, TableSchema

RUNS = TableSchema(
    "runs", "the ledger: what was run on what, and how it ended", ("run_id", "seq"), (), (),
    (
        RUN_ID,
        Column("seq", "long", "order of the entries of one run; the last one counts", nullable=False, low=0),
        Column("step", "string", "step name", nullable=False),
        Column("status", "string", "state of the run", nullable=False, values=("running", "done", "empty", "failed")),
        Column("config_hash", "string", "hash of the settings", nullable=False),
        Column("config", "string", "settings, JSON", nullable=False),
        Column("code_version", "string", "gsem_spark version that ran", nullable=False),
        Column("inputs", "map<string,string>", "input tables and their versions", nullable=False),
        Column("state", "map<string,string>", "rows written per chromosome or part", nullable=False),
        Column("summary", "string", "figures worth keeping, JSON", nullable=False),
        Column("warnings", "array<string>", "what a reader must know", nullable=False),
        Column("started", "timestamp", "start", nullable=False),
        Column("ended", "timestamp", "end; null while running"),
        Column("rows", "long", "rows written", nullable=False, low=0),
    ),
)
