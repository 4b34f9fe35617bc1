"""Passing files of a run: a folder of the workspace that lives no longer than the work that needs it, and rows in its files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import StorageError

SCRATCH: Final = "scratch"
"""Folder of the workspace for most of them."""


@contextmanager
def scratch_folder(location: str, *below: str) -> Iterator[Path]:
    """A folder that driver and workers share while the block runs, for workspaces in a folder that both mount.

    It is removed behind the block, and one of the same name that a killed run left is removed before it.

    Parameters
    ----------
    location
        Of the workspace, or a folder of it.
    below
        Names of the folders down to it; the last one tells runs apart.

    Raises
    ------
    StorageError
        The workspace is elsewhere, or the folder cannot be made.
    """
    root = local_folder(location)
    if root is None:
        raise StorageError("the workspace is no mounted folder", where=location, remedy="let Spark keep the rows")
    folder = Path(root, *below)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"a folder cannot be made: {error}", where=str(folder), remedy="free some space") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_rows(path: Path | str, rows: pa.Table) -> None:
    """Write rows to a file that :func:`mapped_rows` reads."""
    with pa.ipc.new_file(path, rows.schema) as file:
        file.write_table(rows)


def mapped_rows(path: Path | str) -> pa.Table:
    """Rows of a file, in memory once however many processes of a host look at them."""
    with pa.ipc.open_file(pa.memory_map(str(path))) as file:
        return file.read_all()
