"""Local mode survives the loss of a Python worker in the middle of a batch: Spark tries again, nothing is doubled or lost."""

import pytest
from cluster_tools import HERE, Content, assert_same_content, run_local

from gsem_spark.catalog.workspace import Workspace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def small_batches(tmp_path):
    """The shipped local settings with small batches, so that a task has several of them."""
    from gsem_spark.session import local_settings

    path = tmp_path / "local.conf"
    settings = {**local_settings(), "spark.sql.execution.arrow.maxRecordsPerBatch": "300"}
    path.write_text("".join(f"{key} {value}\n" for key, value in settings.items()), encoding="utf-8")
    return path


def test_a_python_worker_killed_in_a_batch_changes_nothing(local_study, expected, gate, small_batches, spark, tmp_path):
    ws = local_study.copy_before_gwas(tmp_path)
    environment = {**gate.environment("die"), "GSEM_SPARK_CONF": str(small_batches), "GSEM_SPARK_VERBOSE": "1"}
    done = run_local(HERE / "gated_gwas.py", tmp_path, "--set", f"workspace={ws}", environment=environment)
    assert done.code == 0, done.text
    assert (gate.folder / "at_gate.json").exists(), "no worker was killed"
    assert "Python worker exited unexpectedly" in done.text
    assert_same_content(Content.of(Workspace.open(str(ws), spark)), expected)
