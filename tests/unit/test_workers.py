"""The comparison of a cluster's Python workers with the driver, without a cluster."""

from types import SimpleNamespace

import pytest

from gsem_spark import workers
from gsem_spark.errors import ConfigError


def session(master="spark://host:7077", application="app-1"):
    return SimpleNamespace(sparkContext=SimpleNamespace(master=master, applicationId=application))


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    monkeypatch.setattr(workers, "_checked", set())


def answer(monkeypatch, *answers):
    asked = []

    def ask(spark):
        asked.append(spark)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return list(answers)

    monkeypatch.setattr(workers, "worker_versions", ask)
    return asked


@pytest.mark.parametrize(
    ("master", "local"),
    [("local", True), ("local[*]", True), ("local[*,4]", True), ("local[2, 3]", True), ("local-cluster[2,1,1024]", False),
     ("spark://h:7077", False), ("yarn", False), ("k8s://https://h", False)],
)  # fmt: skip
def test_what_counts_as_local(master, local):
    assert workers.is_local(master) is local


def test_nothing_is_asked_in_local_mode(monkeypatch):
    asked = answer(monkeypatch, RuntimeError("must not be asked"))
    workers.check_workers(session("local[*,4]"))
    assert asked == []


def test_asked_once_an_application(monkeypatch):
    asked = answer(monkeypatch, ("a", workers.installed_versions()))
    workers.check_workers(session())
    workers.check_workers(session())
    assert len(asked) == 1
    workers.check_workers(session(application="app-2"))
    assert len(asked) == 2


@pytest.mark.parametrize(("package", "version"), [("numpy", "1.0"), ("numba", None), ("python", "3.9"), ("gsem_spark", "9.9")])
def test_a_differing_worker_is_named_with_host_and_versions(monkeypatch, package, version):
    same = workers.installed_versions()
    answer(monkeypatch, ("node-1", same), ("node-2", {**same, package: version}))
    with pytest.raises(ConfigError) as caught:
        workers.check_workers(session())
    assert f"{package}: driver {same[package]}, worker {version or 'missing'}" in caught.value.what
    assert "node-2" in caught.value.where
    assert "PYSPARK_PYTHON" in caught.value.remedy


def test_workers_that_do_not_start(monkeypatch):
    lost = 'Job aborted\n  java.io.IOException: Cannot run program "/no/python": error=2\n  at x.y'
    answer(monkeypatch, RuntimeError(lost))
    with pytest.raises(ConfigError, match="Cannot run program"):
        workers.check_workers(session())


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Job aborted … ExecutorLostFailure (executor 1 exited …): Command exited with code 137", "maxRecordsPerBatch"),
        ("SparkException: Python worker exited unexpectedly (crashed)", "maxRecordsPerBatch"),
        ("java.io.IOException: No space left on device", "SPARK_LOCAL_DIRS"),
        ("java.lang.OutOfMemoryError: Java heap space", "spark.executor.memory"),
    ],
)
def test_lost_resources_have_a_remedy(said, remedy):
    found = workers.lost_resources(RuntimeError(said))
    assert found is not None
    assert remedy in found.remedy


def test_other_failures_are_left_alone():
    assert workers.lost_resources(ValueError("something else")) is None
