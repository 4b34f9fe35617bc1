"""Java's class archive of a local session: written once by the first session's JVM as it ends, then mapped by all later ones.

Half of a local session's start is the JVM reading and checking the same few thousand classes. A class archive (JEP 350)
keeps them as they stand in memory. The JVM checks on its own that an archive fits its version and class path, and does
without one that does not; nothing depends on it but time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

SETTLED_S: Final = 60.0
"""A written archive that has not changed for so long is whole: the JVM writes it in one go after the session's end."""
_ABANDONED_S: Final = 3600.0
_QUIET: Final = "-Xlog:cds*=off -Xlog:class+path=off"


def archive_option(cache: Path, identity: str) -> str:
    """The JVM option of a local session: use the archive, or write it at the end, or nothing while another session does.

    Parameters
    ----------
    cache
        A writable folder.
    identity
        What the classes depend on: versions and jars. Java's own place and age are added here.

    Returns
    -------
    str
        Options for ``spark.driver.extraJavaOptions``; empty where there is nothing to gain or nothing can be written.
    """
    if os.environ.get("GSEM_SPARK_CLASS_ARCHIVE") == "0":
        return ""
    java = _java()
    if java is None:
        return ""
    key = hashlib.sha256(f"{identity}|{java}|{java.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    archive, partial = cache / f"classes-{key}.jsa", cache / f"classes-{key}.partial"
    try:
        if not archive.exists() and _age(partial) > SETTLED_S and partial.stat().st_size > 0:
            partial.replace(archive)
        if archive.exists():
            return f"-XX:SharedArchiveFile={archive} {_QUIET}"
        return f"-XX:ArchiveClassesAtExit={partial} {_QUIET}" if _claimed(partial) else ""
    except OSError:
        return ""


def _claimed(partial: Path) -> bool:
    """Whether this session is the one that writes: a claim is a file that only one process can create."""
    claim = partial.with_suffix(".claim")
    if claim.exists() and _age(claim) > _ABANDONED_S:
        claim.unlink(missing_ok=True)
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return -1.0


def _java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    found = Path(home, "bin", "java") if home else Path(shutil.which("java") or "")
    return found.resolve() if found.is_file() else None
