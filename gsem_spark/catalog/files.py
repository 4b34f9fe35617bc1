"""Small files on whatever file system the workspace stands on (local, HDFS, object stores), through Hadoop's interface."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from gsem_spark.errors import StorageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class HadoopFiles:
    """Read, list and atomically publish small text files."""

    def __init__(self, spark: SparkSession) -> None:
        self._jvm: Any = spark.sparkContext._jvm
        self._configuration = spark.sparkContext._jsc.hadoopConfiguration()

    def exists(self, path: str) -> bool:
        """Whether a file or folder exists."""
        return bool(self._system(path).exists(self._path(path)))

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted; empty where the folder does not exist."""
        if not self.exists(folder):
            return []
        return sorted(status.getPath().getName() for status in self._system(folder).listStatus(self._path(folder)))

    def read_text(self, path: str) -> str:
        """A whole small file as UTF-8 text."""
        stream = self._system(path).open(self._path(path))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream)).decode("utf-8")
        finally:
            stream.close()

    def read_head(self, path: str, limit: int) -> bytes:
        """The first bytes of a file as they stand on disk."""
        stream = self._system(path).open(self._path(path))
        try:
            size = min(limit, self.size(path))
            buffer = self._jvm.org.apache.commons.io.IOUtils.toByteArray(
                self._jvm.org.apache.commons.io.input.BoundedInputStream(stream, size)
            )
            return bytes(buffer)
        finally:
            stream.close()

    def size(self, path: str) -> int:
        """Length of a file in bytes."""
        return int(self._system(path).getFileStatus(self._path(path)).getLen())

    def modified_ms(self, path: str) -> int:
        """Time of a file's last change, in milliseconds since 1970."""
        return int(self._system(path).getFileStatus(self._path(path)).getModificationTime())

    def sha256(self, path: str) -> str:
        """SHA-256 of a file's bytes, computed in the JVM, as hexadecimal digits."""
        stream = self._system(path).open(self._path(path))
        try:
            return str(self._jvm.org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))
        finally:
            stream.close()

    def publish_text(self, path: str, text: str) -> bool:
        """Create a file whole, or leave everything as it was: False when a file of that name stands there already."""
        target = self._path(path)
        system = self._system(path)
        system.mkdirs(target.getParent())
        partial = self._path(f"{path}.{uuid.uuid4().hex}.tmp")
        stream = system.create(partial, False)
        try:
            stream.write(text.encode("utf-8"))
        finally:
            stream.close()
        context = self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(target.toUri(), self._configuration)
        options = self._jvm.java.lang.reflect.Array.newInstance(
            self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.Options$Rename"), 0
        )
        try:
            context.rename(self._qualified(partial, system), self._qualified(target, system), options)
        except Exception as error:
            system.delete(partial, False)
            if "FileAlreadyExists" in str(error):
                return False
            raise StorageError(f"cannot publish {path}: {error}") from error
        return True

    def delete(self, path: str) -> None:
        """Remove a file or folder with all that is in it; nothing happens where there is none."""
        self._system(path).delete(self._path(path), True)

    def _path(self, path: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(path)

    def _system(self, path: str) -> Any:
        return self._path(path).getFileSystem(self._configuration)

    @staticmethod
    def _qualified(path: Any, system: Any) -> Any:
        return system.makeQualified(path)
