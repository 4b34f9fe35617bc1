"""Spark's daemon of Python workers with less to do for each task; the setting ``spark.python.daemon.module`` names it.

Before every task a worker has the import system forget what it knows of the path, and behind it collects garbage. Spark puts
archives on the path, pyspark's and a jar, whose directories are then read again each time: with the garbage of a thousand
modules 0.15 to 0.2 s of processor time a task, more than many of this pipeline's tasks need for their work. Here archives leave
the path that hold nothing of use; what tasks import is imported once, before the first worker is forked, which shares its
memory too, and is kept out of the garbage collector's sight.
"""

from __future__ import annotations

import gc
import importlib
import sys
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

PRELOADED: Final = ("pandas", "pyarrow.parquet", "pyarrow.compute", "numba", "scipy.linalg", "scipy.special", "scipy.stats")
"""What nearly every job's tasks import sooner or later."""
_ARCHIVED: Final = ("pyspark", "py4j")
_VERSION: Final = "version.py"


def main() -> None:
    """Prepare this process, then be Spark's daemon."""
    for archive in needless_archives(sys.path):
        sys.path.remove(archive)
        sys.path_importer_cache.pop(archive, None)
    for name in PRELOADED:
        importlib.import_module(name)
    from pyspark.daemon import manager

    gc.collect()
    gc.freeze()
    manager()  # type: ignore[no-untyped-call] # pyspark has no types there


def needless_archives(path: list[str]) -> list[str]:
    """Archives on a path that no import needs.

    They hold nothing of Python (Spark puts a jar of its own there), or a package of Spark's that the rest of the path has
    too, in the same version.
    """
    archives = [entry for entry in path if zipfile.is_zipfile(entry)]
    rest = [entry for entry in path if entry not in archives]
    return [entry for entry in archives if _is_needless(entry, rest)]


def _is_needless(archive: str, rest: list[str]) -> bool:
    with zipfile.ZipFile(archive) as held:
        names = set(held.namelist())
        tops = {name.split("/")[0] for name in names if name.endswith((".py", ".pyc"))}
        if any(top not in _ARCHIVED or f"{top}/{_VERSION}" not in names for top in tops):
            return False
        return all(_installed_version(top, rest) == held.read(f"{top}/{_VERSION}") for top in tops)


def _installed_version(package: str, rest: list[str]) -> bytes | None:
    """What the file that names the version says."""
    found = PathFinder.find_spec(package, rest)
    beside = Path(found.origin).with_name(_VERSION) if found is not None and found.origin else None
    return beside.read_bytes() if beside is not None and beside.is_file() else None


if __name__ == "__main__":
    main()
