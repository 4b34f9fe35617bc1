"""Starting and ending processes, submitting jobs, and comparing workspaces bit for bit: what the cluster tests are made of."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from gsem_spark.catalog.schemas import SCHEMAS
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.session import delta_jars

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUDY = ROOT / "conf" / "studies" / "demo.yaml"
SETTINGS = ROOT / "conf" / "spark" / "standalone.conf"
NO_HOME = "/dev/null/home"
"""Nobody can write there, root included: workers often run as a user without a home."""
START_S, RUN_S = 120.0, 900.0
SMALL_BATCHES = {"spark.sql.execution.arrow.maxRecordsPerBatch": "300"}
BEFORE_GWAS = ("references", "munge", "ldsc", "common_factor")


@dataclass
class Finished:
    """A process that has ended, with what it said."""

    code: int
    text: str
    seconds: float


@dataclass
class Running:
    """A driver that runs, with its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.monotonic)

    def finish(self) -> Finished:
        try:
            code = self.process.wait(RUN_S)
        finally:
            kill_group(self.process)
        return Finished(code, self.log.read_text(encoding="utf-8", errors="replace"), time.monotonic() - self.started)


@dataclass
class Cluster:
    """Master and workers; ``submit`` starts a driver beside them."""

    url: str
    folder: Path
    environment: Mapping[str, str]

    def submit(
        self, script: Path, *arguments: str, conf: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Running:
        """Spark-submit a script with the shipped settings; only what is this machine's own is set over them."""
        jars = str(delta_jars()[0].parent / "*")
        settings = {
            "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false",
            "spark.driver.memory": "1g", "spark.executor.memory": "1g", "spark.executor.cores": "1",
            "spark.driver.extraClassPath": jars, "spark.executor.extraClassPath": jars,
            "spark.executorEnv.NUMBA_CACHE_DIR": str(self.folder / "caches" / "numba"),
            "spark.executorEnv.MPLCONFIGDIR": str(self.folder / "caches" / "matplotlib"),
            **(conf or {}),
        }  # fmt: skip
        flags = [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]
        program = [spark_program("spark-submit"), "--master", self.url, "--properties-file", str(SETTINGS), *flags]
        return start([*program, str(script), str(STUDY), *arguments], self.folder, {**self.environment, **(environment or {})})


def spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def spark_program(name: str) -> str:
    return str(spark_home() / "bin" / name)


def start(command: list[str], folder: Path, environment: Mapping[str, str]) -> Running:
    """Start a process in a group of its own, its output going to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{time.monotonic_ns()}.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True)
    return Running(process, log)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait(30)


def await_text(running: Running, pattern: str) -> re.Match[str]:
    """Wait until a process has said something."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if match := re.search(pattern, running.log.read_text(encoding="utf-8", errors="replace")):
            return match
        if running.process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(f"{pattern!r} did not come:\n{running.log.read_text(errors='replace')[-3000:]}")


def base_environment(folder: Path) -> dict[str, str]:
    """This process's environment without what would set a cluster up already."""
    set_up = ("SPARK_", "PYSPARK_", "GSEM_SPARK_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(set_up) or name == "GSEM_SPARK_JARS"}
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return {
        **kept, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(scratch), "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def run_local(script: Path, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Finished:
    """The same job without a cluster: a plain Python process that starts its own local session."""
    command = [sys.executable, str(script), str(STUDY), *arguments]
    return start(command, folder, {**base_environment(folder), **(environment or {})}).finish()


def only(*sections: str) -> list[str]:
    return [part for section in sections for part in ("--only", section)]


@dataclass(frozen=True)
class LocalStudy:
    """The demo study in local mode: its workspace as it stood before the GWAS, and at the end."""

    before_gwas: Path
    whole: Path

    def copy_before_gwas(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.before_gwas, folder / "ws"))


# --- comparing tables -----------------------------------------------------------------------------------------------------


def table_of(ws: Workspace, name: str) -> pa.Table:
    """A table's rows in the order of its key, which must be unique."""
    schema = SCHEMAS[name]
    rows = ws.read(name).toArrow().sort_by([(key, "ascending") for key in schema.key])
    keys = rows.select(schema.key).group_by(list(schema.key)).aggregate([([], "count_all")])
    assert keys.num_rows == rows.num_rows, f"table {name} has {rows.num_rows - keys.num_rows} rows twice"
    return rows


def bits(column: pa.ChunkedArray) -> object:
    """A column's values in a form in which equal means equal bits: floats as integers, maps sorted."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_floating(array.type):
        return array.view(pa.int64()).to_pylist()
    if pa.types.is_map(array.type):
        return [sorted(value) for value in array.to_pylist()]
    if pa.types.is_list(array.type):
        return pc.list_value_length(array).to_pylist(), bits(pa.chunked_array([array.flatten()]))
    return array.to_pylist()


def ledger_of(ws: Workspace) -> dict[str, dict[str, object]]:
    """What counts of each run, without the times and without which chromosomes were there already."""
    ws.runs.refresh()
    entries = {}
    for entry in ws.runs.all():
        facts = {k: v for k, v in entry.__dict__.items() if k not in ("started", "ended", "seq", "summary")}
        entries[entry.run_id] = {**facts, "summary": {k: v for k, v in entry.summary.items() if k != "resumed"}}
    return entries


@dataclass(frozen=True)
class Content:
    """All that a workspace holds: the rows of every table in the order of its key, and the ledger."""

    tables: Mapping[str, pa.Table]
    ledger: Mapping[str, Mapping[str, object]]

    @classmethod
    def of(cls, ws: Workspace) -> Content:
        return cls({name: table_of(ws, name) for name in SCHEMAS if name != "runs" and ws.exists(name)}, ledger_of(ws))


def assert_same_content(found: Content, expected: Content) -> None:
    """Two workspaces hold the same tables with the same rows, bit for bit, and the same runs."""
    assert sorted(found.tables) == sorted(expected.tables)
    for name, table in expected.tables.items():
        assert found.tables[name].num_rows == table.num_rows, name
        for column in table.column_names:
            assert bits(found.tables[name][column]) == bits(table[column]), f"{name}.{column} differs"
    assert found.ledger == expected.ledger


# --- the gate -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """Where a worker waits in the middle of the GWAS; see ``gated_gwas.py``."""

    folder: Path

    def environment(self, mode: str) -> dict[str, str]:
        return {"GSEM_TEST_GATE": str(self.folder), "GSEM_TEST_GATE_MODE": mode}

    def await_worker(self, running: Running) -> dict[str, object]:
        """Wait for a worker to come; what it says of itself."""
        told, end = self.folder / "at_gate.json", time.monotonic() + RUN_S
        while not told.exists():
            assert running.process.poll() is None, running.log.read_text(errors="replace")[-5000:]
            assert time.monotonic() < end, "no worker came to the gate"
            time.sleep(0.1)
        facts: dict[str, object] = json.loads(told.read_text(encoding="utf-8"))
        return facts
