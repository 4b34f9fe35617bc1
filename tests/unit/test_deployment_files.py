"""Files that cannot be run here are at least parsed: Spark settings, image, compose file, jobs, README, CI."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from gsem_spark.session import read_settings

ROOT = Path(__file__).parents[2]
CONFS = sorted((ROOT / "conf" / "spark").glob("*.conf"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))


def test_there_is_a_settings_file_for_each_kind_of_cluster():
    assert {p.stem for p in CONFS} >= {"local", "standalone", "yarn", "kubernetes", "databricks"}


@pytest.mark.parametrize("path", CONFS, ids=lambda p: p.stem)
def test_settings_can_be_read_and_keep_numbers_fixed(path):
    settings = read_settings(path)
    assert settings["spark.executorEnv.OMP_NUM_THREADS"] == "1"
    assert settings["spark.executorEnv.PYTHONHASHSEED"] == "0"


@pytest.mark.parametrize("path", [p for p in CONFS if p.stem != "local"], ids=lambda p: p.stem)
def test_every_setting_is_explained(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for above, line in pairwise(lines):
        if line.startswith("spark."):
            assert above.startswith("#"), line


@pytest.mark.parametrize("path", [p for p in CONFS if p.stem in ("standalone", "kubernetes", "yarn")], ids=lambda p: p.stem)
def test_clusters_have_delta(path):
    assert read_settings(path)["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.stem)
def test_jobs_are_thin(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    assert ast.get_docstring(ast.parse(text))


def test_there_is_a_job_for_each_step():
    steps = {"references", "munge", "ldsc", "common_factor", "gwas", "wald", "lmm", "mtag", "report"}
    assert {p.stem for p in JOBS} == {"pipeline", *steps}


def test_compose_starts_master_workers_and_job():
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    assert {"master", "worker-1", "worker-2", "job"} == set(services)
    for service in services.values():
        assert "data:/data" in service["volumes"]
        assert service["image"] == "gsem-spark:0.1.0"
    command = services["job"]["command"]
    for argument in command:
        if argument.startswith("/opt/gsem_spark/"):
            assert (ROOT / argument.removeprefix("/opt/gsem_spark/")).is_file(), argument


def test_image_runs_without_rights_and_holds_the_jars():
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if line.startswith("USER")] == ["USER gsem"]
    assert "delta_jars" in text
    assert "openjdk-17-jre-headless" in text
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.M):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_readme_has_the_two_lines_that_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    lines = [line for line in readme if re.match(r"^pip install '\.\[(local|test)\]' && ", line)]
    assert lines == ["pip install '.[local]' && gsem-spark demo", "pip install '.[test]' && pytest"]
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_files_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target
