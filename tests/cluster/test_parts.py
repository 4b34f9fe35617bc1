"""Parts of one GWAS as a scheduler runs them: three sessions at a time on one workspace, none of which has the panel yet."""

import sys

import pytest
from cluster_tools import Content, assert_same_content, base_environment, start

from gsem_spark.catalog.workspace import Workspace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
PARTS = 3


def test_sessions_that_share_out_a_run_end_in_the_run_of_one(local_study, expected, spark, tmp_path):
    ws = local_study.copy_before_gwas(tmp_path)

    def part(i):
        command = [sys.executable, "-m", "gsem_spark", "gwas", str(ws), "--slice", f"{i}/{PARTS}", "--quiet"]
        return start(command, tmp_path, base_environment(tmp_path / f"session-{i}"))

    done = [running.finish() for running in [part(i) for i in range(1, PARTS + 1)]]
    assert [d.code for d in done] == [0] * PARTS, "\n".join(d.text for d in done)
    found = Workspace.open(str(ws), spark)
    run = next(run for run in expected.ledger if run.startswith("common_factor_gwas-"))
    assert found.runs.last(run).status == "done"
    assert_same_content(Content.of(found), expected)
