"""Local mode survives the loss of a Python worker in the middle of a batch: Spark tries again, nothing is doubled or lost."""

import json

import pytest
from cluster_tools import HERE, ROOT, Content, assert_same_content, run_local

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


def run_and_kill(ws, gate, small_batches, folder, *settings):
    """The GWAS in a workspace, its Python worker killed in the middle of a batch."""
    environment = {**gate.environment("die"), "GSEM_SPARK_CONF": str(small_batches), "GSEM_SPARK_VERBOSE": "1"}
    done = run_local(HERE / "gated_gwas.py", folder, "--set", f"workspace={ws}", *settings, environment=environment)
    assert done.code == 0, done.text
    assert (gate.folder / "at_gate.json").exists(), "no worker was killed"
    assert "Python worker exited unexpectedly" in done.text


def test_a_python_worker_killed_in_a_batch_changes_nothing(local_study, expected, gate, small_batches, spark, tmp_path):
    ws = local_study.copy_before_gwas(tmp_path)
    run_and_kill(ws, gate, small_batches, tmp_path)
    assert_same_content(Content.of(Workspace.open(str(ws), spark)), expected)


def test_nor_in_a_pass_of_several_models(local_study, gate, small_batches, spark, tmp_path):
    """Two models, one of several rows a SNP: each run has every row once, the same as where nobody was killed."""
    models = ["F1 =~ AAA + BBB + CCC; F1 ~ SNP", "F1 =~ AAA + BBB + CCC; F1 ~ SNP; CCC ~ SNP"]
    settings = ["--set", f"gwas.models={json.dumps(models)}", "--set", "gwas.omnibus=true"]
    whole, killed = (local_study.copy_before_gwas(tmp_path / name) for name in ("whole", "killed"))
    done = run_local(ROOT / "jobs" / "gwas.py", tmp_path, "--set", f"workspace={whole}", *settings)
    assert done.code == 0, done.text
    run_and_kill(killed, gate, small_batches, tmp_path, *settings)
    wanted = Content.of(Workspace.open(str(whole), spark))
    assert_same_content(Content.of(Workspace.open(str(killed), spark)), wanted)
    assert len([run for run in wanted.ledger if run.startswith("user_gwas-")]) == 2
