"""The daemon of Python workers: which archives leave the path."""

from __future__ import annotations

import zipfile
from pathlib import Path

import py4j
import pytest

from gsem_spark.worker_daemon import needless_archives

SITE = Path(py4j.__file__).parent.parent


def archive(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return str(path)


def test_a_copy_of_what_is_installed_and_a_jar_without_python_are_needless(tmp_path: Path) -> None:
    version = (SITE / "py4j" / "version.py").read_bytes()
    copy = archive(tmp_path / "py4j-src.zip", {"py4j/__init__.py": b"", "py4j/version.py": version})
    jar = archive(tmp_path / "spark-core.jar", {"org/apache/spark/Task.class": b"\xca\xfe"})
    assert needless_archives([str(tmp_path), copy, jar, str(SITE)]) == [copy, jar]


@pytest.mark.parametrize("files", [
    {"py4j/__init__.py": b"", "py4j/version.py": b"__version__ = '0.0'\n"},
    {"mine.py": b"", "org/Task.class": b""},
    {"py4j/__init__.py": b"", "py4j/version.py": (SITE / "py4j" / "version.py").read_bytes(), "mine/__init__.py": b""},
], ids=["another version", "a user's module", "a user's module beside a copy"])  # fmt: skip
def test_other_archives_stay(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert needless_archives([archive(tmp_path / "some.zip", files), str(SITE)]) == []


def test_an_archive_stays_where_nothing_else_has_the_package(tmp_path: Path) -> None:
    version = (SITE / "py4j" / "version.py").read_bytes()
    copy = archive(tmp_path / "py4j.zip", {"py4j/__init__.py": b"", "py4j/version.py": version})
    assert needless_archives([copy, str(tmp_path)]) == []
    assert needless_archives([str(tmp_path / "none.zip")]) == []
