"""A standalone Spark cluster on loopback, and the demo study in local mode to hold it against."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster_tools import (
    BEFORE_GWAS,
    NO_HOME,
    ROOT,
    Cluster,
    Content,
    Gate,
    LocalStudy,
    Running,
    await_text,
    base_environment,
    kill_group,
    only,
    run_local,
    spark_home,
    spark_program,
    start,
)

from gsem_spark.catalog.workspace import Workspace
from gsem_spark.session import WORKER_THREAD_VARIABLES, delta_jars

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and two workers of one core each, without a writable home; gone when the tests are."""
    folder = tmp_path_factory.mktemp("cluster")
    delta_jars()  # resolved under this user's home before it is taken away
    environment = {**base_environment(folder), "HOME": NO_HOME, "SPARK_HOME": str(spark_home()), "SPARK_DAEMON_MEMORY": "256m"}
    # One thread a worker must come from the settings, not from the accident of this machine's environment.
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", *WORKER_THREAD_VARIABLES):
        environment.pop(name, None)
    daemons: list[Running] = []

    def daemon(kind: str, *arguments: str) -> Running:
        command = [spark_program("spark-class"), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", "--webui-port", "0"]
        daemons.append(start([*command, *arguments], folder, environment))
        return daemons[-1]

    try:
        master = daemon("master.Master", "--port", "0")
        url = await_text(master, r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")[1]
        size = ("--cores", "1", "--memory", "1g")
        workers = [daemon("worker.Worker", *size, "--work-dir", str(folder / f"work-{number}"), url) for number in (1, 2)]
        for worker in workers:
            await_text(worker, "Successfully registered with master")
        yield Cluster(url, folder, environment)
    finally:
        for running in reversed(daemons):
            kill_group(running.process)


@pytest.fixture(scope="session")
def local_study(tmp_path_factory: pytest.TempPathFactory) -> LocalStudy:
    """Run once: references to common factor, a copy of the workspace, then the GWAS."""
    folder = tmp_path_factory.mktemp("local")
    given = os.environ.get("GSEM_TEST_LOCAL_STUDY")  # a folder of an earlier session, while writing tests
    if given and (Path(given) / "whole").is_dir():
        return LocalStudy(Path(given) / "before", Path(given) / "whole")
    folder = Path(given) if given else folder
    study = LocalStudy(folder / "before", folder / "whole")
    first = run_local(ROOT / "jobs/pipeline.py", folder, "--set", f"workspace={study.whole}", *only(*BEFORE_GWAS))
    assert first.code == 0, first.text
    shutil.copytree(study.whole, study.before_gwas)
    second = run_local(ROOT / "jobs/gwas.py", folder, "--set", f"workspace={study.whole}")
    assert second.code == 0, second.text
    return study


@pytest.fixture(scope="session")
def expected(local_study: LocalStudy, spark: SparkSession) -> Content:
    """What local mode's workspace holds at the end."""
    return Content.of(Workspace.open(str(local_study.whole), spark))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    return Gate(folder)
