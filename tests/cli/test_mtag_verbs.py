"""``mtag``, ``reconcile`` and ``review`` as they are typed, on a small simulated set, in this process."""

import numpy as np
import pytest
from typer.testing import CliRunner

import gsem_spark as gs
from gsem_spark.cli import inspect_verbs, mtag_verbs, reconcile_verbs, step_verbs  # noqa: F401 - importing registers their verbs
from gsem_spark.cli.app import app
from gsem_spark.steps.simulate import simulate

TRAITS = ("T1", "T2", "T3")


def type_in(*arguments):
    """Run a verb and return its exit status with all that it printed."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def workspace(spark, tmp_path_factory):
    """Three munged traits with their structure and the factor GWAS."""
    root = tmp_path_factory.mktemp("cli")
    raw = root / "set" / "raw"
    S = [[0.3, 0.15, 0.12], [0.15, 0.25, 0.1], [0.12, 0.1, 0.2]]
    simulate(root / "set", S=S, n=[200_000, 150_000, 180_000], n_snps=3000, seed=5)
    ws = gs.Workspace.create(str(root / "ws"), "parquet", spark)
    gs.load_references(ws, variants=str(raw / "reference.tsv"), ld_scores=str(root / "set" / "ld"))
    gs.munge(ws, [gs.Trait(t, str(raw / f"{t}.OLS.tsv.gz")) for t in TRAITS])
    gs.common_factor_gwas(ws, gs.ldsc(ws, TRAITS, n_blocks=50))
    return ws.location


def test_the_verbs_one_after_the_other(workspace, tmp_path):
    status, said = type_in("reconcile", workspace, "--quiet")
    assert status == 4
    assert "there is no finished run of mtag" in said
    assert "remedy: run mtag first" in said

    status, said = type_in("mtag", workspace, "--covstruct", "last", "--max-fdr", "--intervals", 4, "--quiet")
    assert status == 0, said
    for words in ("MTAG, run mtag-", "share of each trait", "maxFDR", "T3"):
        assert words in said

    status, said = type_in("reconcile", workspace, "--quiet")
    assert status == 0, said
    assert "Common-factor SNP: factor p < 5e-08" in " ".join(said.split()) or "no SNP is significant" in said

    status, said = type_in("review", workspace, "--ancestry", "European", "--n-blocks", 50, "--quiet")
    assert status == 0, said
    assert "review of common_factor_gwas-" in said
    assert "maxFDR" in said  # a narrow terminal breaks the question over lines
    assert "loci without each trait need more than 3 indicators" in said

    target = tmp_path / "t1.txt"
    status, said = type_in("export", workspace, "mtag_results", target, "--trait", "T1", "--reference", "--quiet")
    assert status == 0, said
    assert target.read_text().startswith("SNP\tCHR\tBP\tA1\tA2\tZ\tN\tFRQ\tmtag_beta")


def test_a_matrix_file_and_what_is_wrong_with_it(workspace, tmp_path):
    good, bad = tmp_path / "sigma.txt", tmp_path / "bad.txt"
    np.savetxt(good, np.eye(3))
    np.savetxt(bad, np.eye(2))
    status, said = type_in("mtag", workspace, "--sigma", good, "--no-overlap", "--quiet")
    assert status == 0, said
    status, said = type_in("mtag", workspace, "--sigma", bad, "--quiet")
    assert status != 0
    assert "Sigma has the shape 2 × 2, but there are 3 traits" in said
    status, said = type_in("mtag", workspace, "--sigma", good, "--equal-h2", "--quiet")
    assert status == 2
    assert "equal_h2 needs perfect_gencov" in said
    status, said = type_in("mtag", workspace, "--traits", "T1", "--sigma", good, "--quiet")
    assert status == 4
    assert "MTAG needs at least 2 traits" in said
