"""Where a report's files go: a folder on whatever file system the workspace stands on, each file written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsem_spark.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


class ReportFolder:
    """A folder that files are published to: written under another name first, then renamed over what stood there."""

    def __init__(self, ws: Workspace, out: str | Path | None = None) -> None:
        if out is None and "/" not in ws.location:
            raise ConfigError(
                "a workspace in a metastore has no folder of its own for reports",
                where=ws.location,
                remedy="say where the report shall go: report(ws, run, out=folder)",
            )
        self.location = str(out) if out is not None else f"{ws.location}/reports"
        jvm: Any = ws.spark.sparkContext._jvm
        self._jvm = jvm
        self._configuration = ws.spark.sparkContext._jsc.hadoopConfiguration()
        path = jvm.org.apache.hadoop.fs.Path(self.location)
        self._local = out is not None and "://" not in self.location
        self._local = self._local or str(path.getFileSystem(self._configuration).getUri().getScheme()) == "file"

    def publish(self, name: str, content: bytes) -> str:
        """Write one file and return its address.

        Raises
        ------
        StorageError
            The folder cannot be written; a file that stood there is still what it was.
        """
        try:
            return self._publish_local(name, content) if self._local else self._publish_remote(name, content)
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise StorageError(
                f"the report cannot be written: {first}",
                where=f"{self.location}/{name}",
                remedy="choose a folder that can be written",
            ) from error

    def exists(self, name: str) -> bool:
        """Whether a file of that name stands in the folder."""
        if self._local:
            return (self._local_folder() / name).exists()
        path = self._jvm.org.apache.hadoop.fs.Path(f"{self.location}/{name}")
        return bool(path.getFileSystem(self._configuration).exists(path))

    def _local_folder(self) -> Path:
        return Path(self.location.removeprefix("file://").removeprefix("file:")).expanduser()

    def _publish_local(self, name: str, content: bytes) -> str:
        folder = self._local_folder()
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{name}.{uuid.uuid4().hex}.tmp"
        try:
            with partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)
        return str(folder / name)

    def _publish_remote(self, name: str, content: bytes) -> str:
        hadoop = self._jvm.org.apache.hadoop.fs
        target = hadoop.Path(f"{self.location}/{name}")
        partial = hadoop.Path(f"{self.location}/.{name}.{uuid.uuid4().hex}.tmp")
        system = target.getFileSystem(self._configuration)
        system.mkdirs(target.getParent())
        stream = system.create(partial, False)
        try:
            stream.write(content)
        finally:
            stream.close()
        kind = self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.Options$Rename")
        options = self._jvm.java.lang.reflect.Array.newInstance(kind, 1)
        options[0] = self._jvm.java.lang.Enum.valueOf(kind, "OVERWRITE")
        context = hadoop.FileContext.getFileContext(target.toUri(), self._configuration)
        try:
            context.rename(system.makeQualified(partial), system.makeQualified(target), options)
        except Exception:
            system.delete(partial, False)
            raise
        return str(target)
