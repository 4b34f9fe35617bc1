"""The doctor's judgements, without Spark."""

from pathlib import Path

import pytest

from gsem_spark import doctor


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_402"', 8),
        ("nothing of the kind", None),
    ],
)
def test_java_version(text, version):
    assert doctor.parse_java_version(text) == version


def fake_java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(("version", "state"), [("17.0.1", "ok"), ("21.0.2", "ok"), ("11.0.2", "fail"), ("24.0.1", "warn")])
def test_java_is_judged_by_its_version(tmp_path, monkeypatch, version, state):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path, version)))
    check = doctor.check_java()
    assert check.state == state
    assert (check.remedy == "") == (state == "ok")


def test_no_java(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.check_java()
    assert check.state == "fail"
    assert "openjdk-17" in check.remedy


def test_java_home_without_java(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert doctor.check_java().state == "fail"


@pytest.mark.parametrize(("text", "gb"), [("2g", 2.147483648), ("512m", 0.536870912), ("1024", 1.024e-6), ("junk", 0.0)])
def test_memory_notation(text, gb):
    assert doctor.parse_memory_gb(text) == pytest.approx(gb)


def test_too_little_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "memory_gb", lambda: 1.5)
    check = doctor.check_memory()
    assert check.state == "warn"
    assert "spark.driver.memory" in check.remedy


def test_writable_folder_need_not_exist_yet(tmp_path):
    check = doctor.check_writable("workspace folder", tmp_path / "new" / "deep", "x")
    assert check.state in ("ok", "warn")
    assert not (tmp_path / "new").exists()


def test_unwritable_folder():
    check = doctor.check_writable("workspace folder", Path("/proc/none"), "choose another")
    assert check.state == "fail"
    assert check.remedy == "choose another"


def test_same_versions():
    versions = doctor.installed_versions()
    assert doctor.compare_versions(versions, dict(versions)).state == "ok"


@pytest.mark.parametrize(
    ("worker", "state"), [({"numpy": "1.0"}, "warn"), ({"numpy": None}, "fail"), ({"python": "3.9"}, "fail")]
)
def test_differing_worker(worker, state):
    versions = doctor.installed_versions()
    check = doctor.compare_versions(versions, {**versions, **worker})
    assert check.state == state
    assert next(iter(worker)) in check.found


def test_delta_jars_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("GSEM_SPARK_JARS", str(tmp_path))
    check = doctor.check_delta()
    assert check.state == "warn"
    assert "parquet" in check.remedy


def test_checks_without_spark_are_findings():
    found = list(doctor.run_checks(".", spark=False))
    assert [c.name for c in found][:4] == ["Python", "Java", "Spark", "Delta"]
    assert all(c.remedy for c in found if c.state != "ok")
