"""Kinships as other steps read them: the registry's row, and the spectrum whose eigenvectors lie in a file.

The file is memory-mapped: however many workers a host has, the eigenvectors are in its memory once.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.store import local_folder
from gsem_spark.errors import DataError, StorageError
from gsem_spark.methods.lmm.rotation import Spectrum

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]

ARRAYS: Final = "arrays"
"""Folder of the workspace that holds arrays too large for a table's cell."""
ARRAYS_SETTING: Final = "spark.gsem.arrays"
"""Spark setting that names the folder where the workspace is a catalog's schema."""


@dataclass(frozen=True)
class SpectrumFile:
    """A spectrum that a task can open: the eigenvalues, and where the eigenvectors are. Small, and pickles.

    Parameters
    ----------
    eigenvalues
        (r,) ascending.
    path
        The .npy file on every node, or its name among the files that Spark has brought to them.
    shipped
        Whether Spark brings it (``SparkContext.addFile``).
    """

    eigenvalues: Floats
    path: str
    shipped: bool = False

    def load(self, mmap: bool = True) -> Spectrum:
        """The spectrum; its eigenvectors are memory-mapped, read-only, unless they are to be in this process's own memory."""
        path = self.path
        if self.shipped:
            from pyspark import SparkFiles

            path = SparkFiles.get(path)
        try:
            vectors = np.load(path, mmap_mode="r" if mmap else None)
        except (OSError, ValueError) as error:
            raise StorageError(f"the eigenvectors cannot be read: {error}", where=path,
                               remedy="make the kinship again: gsem-spark kinship") from None
        return Spectrum(self.eigenvalues, vectors)


def kinship_of(ws: Workspace, kinship_id: str, loco_chr: int | None = None) -> dict[str, Any]:
    """A kinship's row of ``kinships``: that of all chromosomes, or the one without a chromosome.

    Raises
    ------
    DataError
        There is none.
    """
    rows = ws.records("kinships", {"kinship_id": kinship_id})
    if not rows:
        known = sorted({str(r["kinship_id"]) for r in ws.records("kinships", columns=["kinship_id"])})
        raise DataError(f"there is no kinship {kinship_id!r}; there are {', '.join(known) or 'none'}", where=ws.location,
                        remedy="gsem-spark kinship WORKSPACE")
    for row in rows:
        if row["loco_chr"] == loco_chr:
            return row
    left_out = ", ".join(str(r["loco_chr"]) for r in sorted(rows, key=lambda r: r["loco_chr"] or 0) if r["loco_chr"])
    raise DataError(f"kinship {kinship_id} was not made without chromosome {loco_chr}; it was without: {left_out or 'none'}",
                    where=ws.location, remedy="make it with loco, or test without")


def loco_chromosomes(ws: Workspace, kinship_id: str) -> list[int]:
    """Chromosomes that a kinship was also made without, in order."""
    kinship_of(ws, kinship_id)
    rows = ws.records("kinships", {"kinship_id": kinship_id}, ["loco_chr"])
    return sorted(int(r["loco_chr"]) for r in rows if r["loco_chr"] is not None)


def spectrum_file(ws: Workspace, kinship_id: str, loco_chr: int | None = None) -> SpectrumFile:
    """A kinship's spectrum for tasks: give it to them and call ``load()`` there.

    Where the workspace is no mounted folder, Spark is told to bring the file to every node, once.
    """
    row = kinship_of(ws, kinship_id, loco_chr)
    values = np.array(row["eigenvalues"], np.float64)
    root = arrays_root(ws)
    folder = local_folder(root)
    if folder is not None:
        return SpectrumFile(values, f"{folder}/{row['file']}")
    ws.spark.sparkContext.addFile(f"{root}/{row['file']}")
    return SpectrumFile(values, Path(row["file"]).name, shipped=True)


def load_spectrum(ws: Workspace, kinship_id: str, loco_chr: int | None = None, mmap: bool = True) -> Spectrum:
    """Eigenvalues and eigenvectors of a kinship, on the driver.

    Raises
    ------
    DataError
        There is no such kinship.
    StorageError
        Its file is gone.
    """
    return spectrum_file(ws, kinship_id, loco_chr).load(mmap)


def load_matrix(ws: Workspace, kinship_id: str, loco_chr: int | None = None) -> Floats:
    """The kinship itself, (n, n), from its spectrum: right to rounding."""
    spectrum = load_spectrum(ws, kinship_id, loco_chr)
    return np.asarray((spectrum.vectors * spectrum.eigenvalues) @ np.asarray(spectrum.vectors).T)


def write_vectors(ws: Workspace, name: str, vectors: Floats) -> tuple[str, str]:
    """Write eigenvectors whole or not at all; an earlier file of the name is replaced.

    Returns
    -------
    file, sha256
        Where it is below the workspace's arrays folder, and its hash.
    """
    root = arrays_root(ws)
    folder = local_folder(root)
    with tempfile.TemporaryDirectory(prefix="gsem_arrays_") as scratch:
        place = Path(folder or scratch)
        place.mkdir(parents=True, exist_ok=True)
        partial = place / f".{name}.{uuid.uuid4().hex}.tmp"
        try:
            with partial.open("wb") as stream:
                np.save(stream, np.ascontiguousarray(vectors, np.float64))
                stream.flush()
                os.fsync(stream.fileno())
            with partial.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if folder is not None:
                partial.replace(place / name)
            else:
                _upload(ws.spark, str(partial), f"{root}/{name}")
        except OSError as error:
            raise StorageError(f"the eigenvectors cannot be written: {error}", where=root,
                               remedy="free some space, or choose a folder that can be written") from error
        finally:
            partial.unlink(missing_ok=True)
    return name, digest


def delete_vectors(ws: Workspace, names: list[str]) -> None:
    """Clear away files that no row names any more."""
    root = arrays_root(ws)
    folder = local_folder(root)
    for name in names:
        if folder is not None:
            Path(folder, name).unlink(missing_ok=True)
        else:
            HadoopFiles(ws.spark).delete(f"{root}/{name}")


def file_exists(ws: Workspace, name: str) -> bool:
    """Whether a file is in the workspace's arrays folder."""
    root = arrays_root(ws)
    folder = local_folder(root)
    return Path(folder, name).is_file() if folder is not None else HadoopFiles(ws.spark).exists(f"{root}/{name}")


def arrays_root(ws: Workspace) -> str:
    """Folder of the workspace's arrays.

    Raises
    ------
    StorageError
        The workspace is a schema of a catalog, and no folder was named for its arrays.
    """
    if "/" in ws.location or ":" in ws.location:
        return f"{ws.location}/{ARRAYS}"
    named = ws.spark.conf.get(ARRAYS_SETTING, None)
    if not named:
        raise StorageError("a workspace in a catalog has no folder of its own for eigenvectors", where=ws.location,
                           remedy=f"name one that every node sees: spark.conf.set('{ARRAYS_SETTING}', '/Volumes/…')")
    return f"{named.rstrip('/')}/{ws.location}"


def _upload(spark: SparkSession, local: str, target: str) -> None:
    jvm: Any = spark.sparkContext._jvm
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(target)
    system = path.getFileSystem(configuration)
    partial = jvm.org.apache.hadoop.fs.Path(f"{target}.{uuid.uuid4().hex}.tmp")
    system.mkdirs(path.getParent())
    system.copyFromLocalFile(False, True, jvm.org.apache.hadoop.fs.Path(local), partial)
    system.delete(path, False)
    if not system.rename(partial, path):
        system.delete(partial, False)
        raise StorageError("the eigenvectors cannot be put in place", where=target, remedy="run the same command again")
