"""A real standalone cluster gives local mode's tables bit for bit, also when an executor or the driver is killed in the GWAS."""

import os
import signal

import psutil
import pytest
from cluster_tools import HERE, NO_HOME, ROOT, SMALL_BATCHES, Content, assert_same_content

from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ConfigError
from gsem_spark.session import read_settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

GATED = HERE / "gated_gwas.py"


def executor_above(pid):
    """The executor that a Python worker belongs to."""
    for process in psutil.Process(pid).parents():
        if any("CoarseGrainedExecutorBackend" in part for part in process.cmdline()):
            return process
    raise AssertionError("the worker has no executor above it")


def gwas_entry(ws):
    return ws.runs.of_step("common_factor_gwas")[-1]


def test_pipeline_gives_the_tables_of_local_mode(cluster, expected, spark, tmp_path):
    done = cluster.submit(ROOT / "jobs/pipeline.py", "--set", f"workspace={tmp_path / 'ws'}").finish()
    assert done.code == 0, done.text
    assert_same_content(Content.of(Workspace.open(str(tmp_path / "ws"), spark)), expected)
    assert expected.tables["gwas_results"].num_rows > 10_000
    assert list((tmp_path / "ws" / "reports").glob("*.html"))


def test_an_executor_killed_in_a_batch_changes_nothing(cluster, local_study, expected, gate, spark, tmp_path):
    ws = local_study.copy_before_gwas(tmp_path)
    running = cluster.submit(GATED, "--set", f"workspace={ws}", conf=SMALL_BATCHES, environment=gate.environment("wait"))
    worker = gate.await_worker(running)
    executor_above(worker["pid"]).send_signal(signal.SIGKILL)
    done = running.finish()
    assert done.code == 0, done.text
    assert "Lost executor" in done.text
    found = Workspace.open(str(ws), spark)
    assert_same_content(Content.of(found), expected)
    assert gwas_entry(found).summary["resumed"] == []
    assert_worker_environment(worker)


def assert_worker_environment(worker):
    """One thread, caches that can be written although the home cannot."""
    environment = worker["environment"]
    assert environment["HOME"] == NO_HOME
    assert {environment[f"{library}_NUM_THREADS"] for library in ("OMP", "OPENBLAS", "MKL")} == {"1"}
    assert environment["PYTHONHASHSEED"] == "0"
    assert worker["writable"] == {"HOME": False, "NUMBA_CACHE_DIR": True, "MPLCONFIGDIR": True}


def test_a_killed_driver_goes_on_from_finished_slices(cluster, local_study, expected, gate, spark, tmp_path):
    ws = local_study.copy_before_gwas(tmp_path)

    def submit():
        return cluster.submit(GATED, "--set", f"workspace={ws}", conf=SMALL_BATCHES, environment=gate.environment("wait"))

    first = submit()
    gate.await_worker(first)
    os.killpg(first.process.pid, signal.SIGKILL)
    assert first.finish().code == -signal.SIGKILL
    found = Workspace.open(str(ws), spark)
    assert [entry.status for entry in found.runs.all() if entry.step == "common_factor_gwas"] == ["running"]
    finished = sorted(int(str(key[1])) for key in found.count("gwas_results", {"run_id": found.runs.all()[-1].run_id}))
    assert 0 < len(finished) < len(set(expected.tables["gwas_results"]["slice"].to_pylist()))

    again = submit().finish()
    assert again.code == 0, again.text
    assert_same_content(Content.of(found), expected)
    assert gwas_entry(found).summary["resumed"] == finished


def test_workers_with_other_libraries_are_refused_before_anything_is_made(cluster, tmp_path):
    other = tmp_path / "other" / "gsem_spark"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0.1"\n', encoding="utf-8")
    conf = {"spark.executorEnv.PYTHONPATH": str(other.parent)}
    done = cluster.submit(ROOT / "jobs/references.py", "--set", f"workspace={tmp_path / 'ws'}", conf=conf).finish()
    assert done.code == ConfigError.exit_code, done.text
    assert "gsem_spark: driver 0.1.0, worker 0.0.1" in done.text
    assert "remedy: give the workers the driver's environment" in done.text
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("name", ["standalone", "local"])
def test_spark_knows_every_key_of_the_settings(spark, name):
    registry = spark.sparkContext._jvm.org.apache.spark.internal.config.ConfigEntry
    free = ("spark.master", "spark.executorEnv.", "spark.databricks.delta.")  # any name is taken there, or Delta's own
    keys = [key for key in read_settings(ROOT / "conf" / "spark" / f"{name}.conf") if not key.startswith(free)]
    assert [key for key in keys if registry.findEntry(key) is None] == []
