"""Is this machine, or this cluster, fit to run the pipeline? Each check says what it found and, if not well, the remedy."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from gsem_spark import session
from gsem_spark.errors import GsemError
from gsem_spark.workers import REMEDY, differences, installed_versions, worker_versions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

State = Literal["ok", "warn", "fail"]

JAVA_VERSIONS: Final = (17, 21)
"""Java releases that Spark 4.1 is built and tested for."""
SPARK_SERIES: Final = "4.1"
"""Spark series whose Delta jars the package pins."""
DELTA_VERSION: Final = "4.4.0"
FREE_DISK_WARN_GB: Final = 5.0
SYSTEM_MEMORY_GB: Final = 1.0
"""Left for the operating system and the Python workers beside the driver's heap."""


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: State
    found: str
    remedy: str = ""


def run_checks(workspace: str | Path = ".", *, spark: bool = True) -> Iterator[Check]:
    """Check everything, cheapest first; yields findings as they come.

    Parameters
    ----------
    workspace
        Folder that must be writable.
    spark
        Whether to start a session and ask a worker too; without it only what can be seen from here is checked.
    """
    yield check_python()
    java = check_java()
    yield java
    yield check_pyspark()
    jars = check_delta()
    yield jars
    yield check_memory()
    yield check_writable("workspace folder", Path(workspace), "choose a folder you may write to")
    yield check_writable("cache folder", session.cache_folder(), "set XDG_CACHE_HOME to a folder you may write to")
    yield check_writable(
        "scratch folder",
        Path(os.environ.get("SPARK_LOCAL_DIRS", tempfile.gettempdir()).split(",")[0]),
        "set SPARK_LOCAL_DIRS to a folder with space",
    )
    if spark and java.state != "fail":
        yield from _guarded("Spark session", lambda: _check_session(delta=jars.state == "ok"))


def check_python() -> Check:
    """Python's version and the libraries' versions on this side."""
    version = ".".join(map(str, sys.version_info[:3]))
    versions = installed_versions()
    absent = [name for name, v in versions.items() if v is None]
    if absent:
        return Check("Python", "fail", f"{version}; missing: {', '.join(absent)}", "pip install gsem-spark")
    text = ", ".join(f"{name} {v}" for name, v in versions.items())
    if (versions["pandas"] or "").startswith("3."):
        return Check("Python", "warn", f"{version}; {text}", "pip install 'pandas<3': Spark 4.1 does not support pandas 3")
    return Check("Python", "ok", f"{version}; {text}")


def check_java() -> Check:
    """Look at the Java that Spark will start: JAVA_HOME's, else the one on the PATH."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    remedy = "install Java 17 or 21 (Debian, Ubuntu: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    if program is None:
        return Check("Java", "fail", "no java on the PATH and JAVA_HOME is not set", remedy)
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("Java", "fail", f"{program} does not run: {error}", remedy)
    version = parse_java_version(done.stderr + done.stdout)
    if version is None:
        return Check("Java", "warn", f"{program}: version not recognised", remedy)
    if version not in JAVA_VERSIONS:
        return Check("Java", "fail" if version < min(JAVA_VERSIONS) else "warn", f"Java {version} ({program})", remedy)
    return Check("Java", "ok", f"Java {version} ({program})")


def parse_java_version(text: str) -> int | None:
    """Major version out of what ``java -version`` prints (1.8 counts as 8).

    Examples
    --------
    >>> parse_java_version('openjdk version "17.0.15" 2025-04-15')
    17
    """
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def check_pyspark() -> Check:
    """Spark's Python package."""
    version = _version("pyspark")
    if version is None:
        return Check("Spark", "fail", "pyspark is not installed", "pip install 'gsem-spark[local]' (clusters bring their own)")
    if not version.startswith(SPARK_SERIES + "."):
        return Check(
            "Spark", "warn", f"pyspark {version}; tested with {SPARK_SERIES}", f"pip install 'pyspark~={SPARK_SERIES}.0'"
        )
    return Check("Spark", "ok", f"pyspark {version}")


def check_delta() -> Check:
    """Delta's Python package and its jars; Parquet workspaces need neither, so their absence is a warning."""
    version = _version("delta-spark")
    parquet = "or use Parquet workspaces (--format parquet)"
    if version is None and not os.environ.get("GSEM_SPARK_JARS"):
        return Check("Delta", "warn", "delta-spark is not installed", f"pip install 'gsem-spark[local]', {parquet}")
    try:
        folder = os.environ.get("GSEM_SPARK_JARS")
        jars = sorted(Path(folder).glob("io.delta_*.jar")) if folder else session.delta_jars()
    except GsemError as error:
        return Check("Delta", "warn", error.what, error.remedy)
    if not jars:
        return Check("Delta", "warn", f"no io.delta_*.jar in {folder}", f"correct or unset GSEM_SPARK_JARS, {parquet}")
    found = f"delta-spark {version}, {len(jars)} jars in {jars[0].parent}"
    if version is not None and version != DELTA_VERSION:
        return Check(
            "Delta", "warn", found, f"pip install delta-spark=={DELTA_VERSION}, the version tested with Spark {SPARK_SERIES}"
        )
    return Check("Delta", "ok", found)


def check_memory() -> Check:
    """Whether the driver's heap of a local session fits into this machine, container limits included."""
    have, cores = memory_gb(), os.cpu_count() or 1
    try:
        asked = session.local_settings().get("spark.driver.memory", "1g")
    except GsemError as error:
        return Check("Memory", "fail", error.what, error.remedy)
    want = parse_memory_gb(asked)
    found = f"{have:.1f} GB, {cores} cores; the local session's heap is {asked}"
    if have < want + SYSTEM_MEMORY_GB:
        return Check("Memory", "warn", found, "lower spark.driver.memory in a settings file of your own (GSEM_SPARK_CONF)")
    return Check("Memory", "ok", found)


def memory_gb() -> float:
    """Physical memory in GB, or the container's limit where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            text = limit.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total / 1e9


def parse_memory_gb(text: str) -> float:
    """Spark's memory notation (512m, 2g, 1t) in GB; a bare number is bytes.

    Examples
    --------
    >>> parse_memory_gb("512m")
    0.536870912
    """
    match = re.fullmatch(r"\s*(\d+)\s*([kmgt]?)b?\s*", text.lower())
    if match is None:
        return 0.0
    return int(match[1]) * float(1024 ** " kmgt".index(match[2] or " ")) / 1e9


def check_writable(name: str, folder: Path, remedy: str) -> Check:
    """Whether a folder, or the nearest one above that exists, takes a file; and how much space is left there."""
    there = folder.expanduser().absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.NamedTemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return Check(name, "fail", f"{there}: {error.strerror}", remedy)
    free = shutil.disk_usage(there).free / 1e9
    if free < FREE_DISK_WARN_GB:
        return Check(
            name, "warn", f"{folder}: writable, {free:.1f} GB free", "free some space: 10 million SNPs x 3 traits take about 5 GB"
        )
    return Check(name, "ok", f"{folder}: writable, {free:.0f} GB free")


def compare_versions(driver: dict[str, str | None], worker: dict[str, str | None]) -> Check:
    """Judge a worker's versions against the driver's."""
    differing = {name: (v, worker.get(name)) for name, v in driver.items() if worker.get(name) != v}
    if not differing:
        return Check("Worker", "ok", "same Python and libraries as the driver")
    missing = any(w is None for _, w in differing.values()) or "python" in differing
    return Check("Worker", "fail" if missing else "warn", differences(driver, worker), REMEDY)


def _check_session(*, delta: bool) -> Iterator[Check]:
    spark = session.start_session(delta=delta)
    yield Check("Spark session", "ok", f"Spark {spark.version} on {spark.sparkContext.master}")
    yield from _guarded("Worker", lambda: iter([_judge_workers(spark)]))


def _judge_workers(spark: SparkSession) -> Check:
    """The first worker that differs speaks for all."""
    driver = installed_versions()
    found = [compare_versions(driver, versions) for _, versions in worker_versions(spark)]
    return next((check for check in found if check.state != "ok"), found[0])


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Yield findings; a check that breaks is a finding too, not a crash."""
    try:
        yield from checks()
    except GsemError as error:
        yield Check(name, "fail", error.what, error.remedy)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Check(name, "fail", first[:300], "GSEM_SPARK_VERBOSE=1 gsem-spark doctor shows Spark's own messages")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
