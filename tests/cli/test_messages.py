"""What a user reads: the command line by subprocess, as it is typed, where no Spark is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gsem_spark

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "conf" / "studies" / "demo.yaml"
VERBS = [
    "demo", "doctor", "run", "init", "load-references", "munge", "ldsc", "common-factor", "fit", "esem", "parallel-analysis",
    "common-factor-gwas", "gwas", "t-sem", "multi-snp", "mtag", "max-fdr", "reconcile", "review", "report",
    "tables", "runs", "export", "simulate",
]  # fmt: skip


def gsem(*arguments, cwd=None, **environment):
    """Run the command line; the environment has no terminal."""
    kept = {**os.environ, "COLUMNS": "150", "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environment}
    command = [sys.executable, "-m", "gsem_spark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=kept, timeout=500, check=False)


def test_version():
    done = gsem("--version")
    assert done.stdout == f"gsem-spark {gsem_spark.__version__}\n"


def test_help_lists_every_verb_in_the_order_of_use():
    done = gsem("--help")
    assert done.returncode == 0
    listed = done.stdout.split("Commands", 1)[1]
    places = [listed.index(f"│ {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_purpose_inputs_outputs_and_example(verb):
    done = gsem(verb, "--help")
    assert done.returncode == 0
    assert f"Example: gsem-spark {verb}" in done.stdout or "Example" in done.stdout
    assert "Reads" in done.stdout or "Writes" in done.stdout


def test_no_verb_shows_the_help():
    done = gsem()
    assert "Usage" in done.stdout + done.stderr


def test_unknown_verb():
    done = gsem("mung")
    assert done.returncode == 2
    assert "munge" in done.stderr


def test_wrong_key_in_a_study(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(DEMO.read_text(encoding="utf-8").replace("n_blocks: 200", "nblocks: 200"), encoding="utf-8")
    done = gsem("run", study)
    assert done.returncode == 2
    assert "error: unknown key 'nblocks'" in done.stderr
    assert f"where: {study}, line " in done.stderr
    assert "key ldsc.nblocks" in done.stderr
    assert "remedy: did you mean 'n_blocks'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_study_that_is_not_there(tmp_path):
    done = gsem("run", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "the study file does not exist" in done.stderr
    assert "remedy: " in done.stderr


def test_raw_file_that_is_not_there(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(DEMO.read_text(encoding="utf-8").replace("CCC.OLS.tsv.gz", "CCC.tsv.gz"), encoding="utf-8")
    done = gsem("run", study)
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
    assert "traits[2].file" in done.stderr


def test_dry_run_prints_settings_and_plan_and_starts_nothing(tmp_path):
    done = gsem("run", DEMO, "--dry-run", "--set", f"workspace={tmp_path / 'ws'}", "--set", "gwas.gc=none", JAVA_HOME="/none")
    assert done.returncode == 0, done.stderr
    assert "gc: none" in done.stdout
    assert "gwas_results" in done.stdout
    assert not (tmp_path / "ws").exists()


def test_unknown_step():
    done = gsem("run", DEMO, "--only", "gwass", "--dry-run")
    assert done.returncode == 2
    assert "there is no step 'gwass'" in done.stderr


def test_trait_with_a_wrong_key(tmp_path):
    done = gsem("munge", tmp_path, "--trait", "name=AA,file=a.tsv,scael=linear")
    assert done.returncode == 2
    assert "unknown key 'scael'" in done.stderr
    assert "did you mean 'scale'?" in done.stderr


def test_no_trait(tmp_path):
    done = gsem("munge", tmp_path)
    assert done.returncode == 2
    assert "no trait given" in done.stderr


def test_schema_of_a_table():
    done = gsem("tables", "--schema", "gwas_results")
    assert done.returncode == 0
    for word in ("q_snp_p", "neglog10p", "not_converged", "key: run_id"):
        assert word in done.stdout


def test_schema_of_an_unknown_table():
    done = gsem("tables", "--schema", "gwas")
    assert done.returncode == 3
    assert "gwas_results" in done.stderr


def test_doctor_without_spark_names_the_remedy_for_missing_java(tmp_path):
    done = gsem("doctor", "--no-spark", "--workspace", tmp_path, JAVA_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "Remedy: install Java 17 or 21" in done.stdout
    assert "not fit to run: Java" in done.stderr


def test_print_study_is_the_commented_demo():
    done = gsem("demo", "--print-study")
    assert done.stdout.strip() == DEMO.read_text(encoding="utf-8").strip()


def test_debug_gives_the_traceback():
    done = gsem("run", "none.yaml", GSEM_SPARK_DEBUG="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_simulate_refuses_to_overwrite(tmp_path):
    (tmp_path / "x").write_text("mine", encoding="utf-8")
    done = gsem("simulate", tmp_path)
    assert done.returncode == 7
    assert "error: " in done.stderr
    assert (tmp_path / "x").read_text(encoding="utf-8") == "mine"


def test_simulate_writes_a_set(tmp_path):
    done = gsem("simulate", tmp_path / "set", "--design", "three", "--n-snps", "500", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "set" / "raw" / "truth.json").is_file()
    assert "trait" in done.stdout
