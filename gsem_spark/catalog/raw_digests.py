"""SHA-256 of raw files, remembered by the ledger: a file's bytes are read again only where its size or times have changed.

A run leaves in its ledger entry what it found: each file's digest with the marks (size, times, inode) that it bore. A later plan
believes the digest of a file with the same marks, unless the file was so young when it was read that a change within the
clock's step could have left no mark.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.store import local_folder

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

KEY: Final = "raw_files"
"""Entry of a run's summary that holds the digests."""
YOUNG_SECONDS: Final = 3.0
"""Files changed so shortly before they were read are read again: file systems keep times by steps of up to two seconds."""


class RawDigests:
    """Digests of raw files as one workspace knows them.

    Parameters
    ----------
    ws
        Its ledger holds what earlier runs have found.
    """

    def __init__(self, ws: Workspace) -> None:
        self._files = HadoopFiles(ws.spark)
        self._known: dict[str, dict[str, Any]] = {}
        for entry in ws.runs.all():
            self._known |= entry.summary.get(KEY, {})
        self._seen: dict[str, dict[str, Any]] = {}

    def sha256(self, path: str) -> str:
        """SHA-256 of a file's bytes as hexadecimal digits."""
        path = _whole(path)
        if path not in self._seen:
            marks = self._marks(path)
            known = self._known.get(path, {})
            if known.get("marks") != marks or known.get("young", True):
                young = time.time() - YOUNG_SECONDS < max(marks[1:3]) / 1e9
                known = {"marks": marks, "young": young, "sha256": self._files.sha256(path)}
            self._seen[path] = known
        return str(self._seen[path]["sha256"])

    @property
    def summary(self) -> dict[str, Any]:
        """What a run's summary is to hold of the files that were asked for."""
        return {KEY: dict(sorted(self._seen.items()))}

    def _marks(self, path: str) -> list[int]:
        """Size, time of change, time of change of the entry itself, and inode; the last two 0 where only Hadoop sees the file."""
        local = local_folder(path)
        if local is None or not Path(local).is_file():
            return [self._files.size(path), self._files.modified_ms(path) * 1_000_000, 0, 0]
        found = Path(local).stat()
        return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _whole(path: str) -> str:
    """A relative path as the absolute one that it stands for here."""
    return path if "://" in path or path.startswith(("dbfs:", "file:")) else str(Path(path).absolute())
