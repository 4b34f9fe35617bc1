"""Passing files of a run: a folder of the workspace that lives no longer than the work that needs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import StorageError

SCRATCH: Final = "scratch"


@contextmanager
def scratch_folder(location: str, name: str) -> Iterator[Path]:
    """A folder that driver and workers share while the block runs, for workspaces in a folder that both mount.

    It is removed behind the block, and one of the same name that a killed run left is removed before it.

    Raises
    ------
    StorageError
        The workspace is elsewhere, or the folder cannot be made.
    """
    root = local_folder(location)
    if root is None:
        raise StorageError("the workspace is no mounted folder", where=location, remedy="let Spark keep the rows")
    folder = Path(root, SCRATCH, name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"a folder cannot be made: {error}", where=str(folder), remedy="free some space") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
