"""The verbs one after the other on a small simulated set, in this process, so that they share one Spark session."""

import re

import pytest
from verb_runner import type_in

from gsem_spark.steps.simulation.simulate import simulate

TRAITS = "T1,T2,T3"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "set"
    S = [[0.3, 0.15, 0.12], [0.15, 0.25, 0.1], [0.12, 0.1, 0.2]]
    simulate(folder, S=S, n=[200_000, 150_000, 180_000], n_snps=3000, seed=5)
    return folder


def test_the_road_verb_by_verb(spark, simulated, tmp_path):
    ws, raw = tmp_path / "ws", simulated / "raw"
    assert type_in("init", ws, "--format", "parquet")[0] == 0

    status, said = type_in("ldsc", ws, "--quiet")
    assert status == 4
    assert "error: no trait has been munged" in said
    assert "remedy: gsem-spark munge" in said

    references = ["--variants", raw / "reference.tsv", "--ld-scores", simulated / "ld", "--hm3", raw / "snplist.tsv"]
    assert type_in("load-references", ws, *references, "--quiet")[0] == 0

    given = [x for name in TRAITS.split(",") for x in ("--trait", f"name={name},file={raw / f'{name}.OLS.tsv.gz'}")]
    status, said = type_in("munge", ws, *given, "--quiet")
    assert status == 0, said
    assert "munge" in said

    status, said = type_in("ldsc", ws, "--traits", TRAITS, "--n-blocks", 50, "--out", tmp_path / "ldsc", "--quiet")
    assert status == 0, said
    assert "genetic correlation" in said
    assert (tmp_path / "ldsc" / "ldsc.log").is_file()

    status, said = type_in("common-factor", ws, "--estimation", "ML")
    assert status == 0, said
    assert "Model fit:" in said

    status, said = type_in("gwas", ws, "--gc", "loud", "--quiet")
    assert status == 2
    assert "'loud' is not one of standard, conserv, none" in said

    status, said = type_in("gwas", ws, "--quiet")
    assert status == 0, said
    assert "effective N" in said

    status, said = type_in("report", ws, "--quiet")
    assert status == 0, said
    assert re.search(r"report: .*\.html", said)

    status, said = type_in("runs", ws, "--step", "ldsc")
    assert status == 0
    assert "done" in said

    status, said = type_in("export", ws, "rejects", tmp_path / "none.tsv", "--trait", "T1", "--quiet")
    assert status == 2
    assert "has no traits to choose from" in said

    status, said = type_in("report", ws, "--run", "nothing", "--quiet")
    assert status == 4
    assert "there is no finished run 'nothing'" in said
