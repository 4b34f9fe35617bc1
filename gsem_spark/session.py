"""A SparkSession: the active one where spark-submit or Databricks gives one, else a local one with Delta configured.

An active session is adopted as it is: nothing that the cluster set is overridden. A local session takes its settings from
``conf/spark/local.conf`` and starts quietly, with Spark's own log at ERROR so that it never drowns the user's lines.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsem_spark.class_archive import archive_option
from gsem_spark.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WORKER_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DELTA_EXTENSION: Final = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG: Final = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
RESOLVE_TIMEOUT_S: Final = 300


def start_session(
    app_name: str = "gsem_spark", *, delta: bool = True, master: str | None = None, conf: Mapping[str, str] | None = None
) -> SparkSession:
    """Return the active SparkSession, or start a local one.

    Parameters
    ----------
    app_name
        Name shown by Spark, used for a session started here only.
    delta
        Whether the session must be able to read and write Delta tables.
    master
        Spark master of a session started here; the settings file's (``local[*]``) when None.
    conf
        Further settings of a session started here; they win over the settings file.

    Raises
    ------
    ConfigError
        pyspark is not installed, Java is missing, or a settings line cannot be read.
    StorageError
        The Delta jars could not be resolved; the message gives the Parquet remedy.

    Examples
    --------
    >>> spark = start_session()  # doctest: +SKIP
    """
    session_class = _pyspark_session()
    active = session_class.getActiveSession()
    if active is not None:
        return active
    settings = {**local_settings(), **({"spark.master": master} if master else {}), **(conf or {})}
    managed = _is_submitted()
    if managed:  # spark-submit has set the cluster up: take its settings, add only what an application may choose
        settings = dict(conf or {})
    else:
        settings = {**settings, **(_delta_settings(settings) if delta else {})}
        settings = {**settings, **_class_archive(settings)}
        if settings.get("spark.master", "local").startswith("local"):
            os.environ.setdefault(*_LOOPBACK)
    _prepare_environment()
    builder = session_class.builder.appName(app_name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        with _quiet_start():
            spark: SparkSession = builder.getOrCreate()
    except Exception as error:
        raise ConfigError(
            f"Spark did not start: {_first_line(error)}",
            remedy="run `gsem-spark doctor`; Spark 4.1 needs Java 17 or 21 (JAVA_HOME, or java on the PATH)",
        ) from error
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def has_delta(spark: SparkSession) -> bool:
    """Whether the session has the Delta extension, as it must to read or write Delta tables."""
    return (
        DELTA_EXTENSION in (spark.conf.get("spark.sql.extensions", "") or "")
        or "databricks" in (spark.conf.get("spark.app.name", "") or "").lower()
    )


def local_settings() -> dict[str, str]:
    """Settings of a local session: ``conf/spark/local.conf``, or the file that GSEM_SPARK_CONF names."""
    named = os.environ.get("GSEM_SPARK_CONF")
    path = Path(named) if named else conf_folder() / "spark" / "local.conf"
    if not path.is_file():
        raise ConfigError("the Spark settings file does not exist", where=str(path), remedy="correct or unset GSEM_SPARK_CONF")
    return read_settings(path)


def read_settings(path: Path) -> dict[str, str]:
    """Read a spark-defaults file: ``key value`` lines, ``#`` comments."""
    settings = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, value = (*line.split(None, 1), "")[:2]
        if not key.startswith("spark.") or not value.strip():
            raise ConfigError(f"not a `spark.key value` line: {line.strip()!r}", where=f"{path}, line {number}")
        settings[key] = value.strip()
    return settings


def conf_folder() -> Path:
    """The shipped ``conf`` folder: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    return package / "_conf" if (package / "_conf").is_dir() else package.parent / "conf"


def delta_jars(*, refresh: bool = False) -> list[Path]:
    """Paths of the io.delta jars that match the installed delta-spark, resolved once by coordinates and then kept.

    Only the ``io.delta`` jars are needed beyond Spark's own. They are kept in the user's cache folder, because passing
    files starts a session in about half the time of resolving coordinates.

    Raises
    ------
    StorageError
        delta-spark is not installed, or its jars cannot be resolved (no network and nothing cached).
    """
    version = _delta_version()
    cache = cache_folder() / f"delta-{version}"
    kept = sorted(cache.glob("io.delta_*.jar"))
    if kept and not refresh:
        return kept
    with tempfile.TemporaryDirectory() as scratch:
        resolved = _resolve_delta_jars(Path(scratch))
        if not resolved:
            raise StorageError("no io.delta jar came out of the resolution", remedy=_PARQUET_REMEDY)
        cache.mkdir(parents=True, exist_ok=True)
        for jar in resolved:  # copied under another name first: a second process never sees half a jar
            partial = cache / f".{jar.name}.{os.getpid()}"
            shutil.copyfile(jar, partial)
            partial.replace(cache / jar.name)
    return sorted(cache.glob("io.delta_*.jar"))


_LOOPBACK: Final = ("SPARK_LOCAL_IP", "127.0.0.1")
"""Where one machine is the cluster, Spark need not look up its name, which fails on hosts and in containers that have none."""
_PARQUET_REMEDY: Final = (
    "connect once so that the jars can be fetched, or point GSEM_SPARK_JARS at a folder that holds the io.delta jars, "
    "or do without Delta: make the workspace with format parquet (`--format parquet`)"
)


def cache_folder() -> Path:
    """A writable folder for resolved jars and compiled kernels; a temporary one where the home folder is not writable."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "gsem_spark"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    fallback = Path(tempfile.gettempdir()) / f"gsem_spark-{os.getuid()}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    return fallback


def _pyspark_session() -> type[SparkSession]:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ConfigError(
            "pyspark is not installed in this Python", remedy="pip install 'gsem-spark[local]' (clusters bring their own Spark)"
        ) from error
    return SparkSession


def _is_submitted() -> bool:
    """Whether this process was started by spark-submit, whose settings then stand in the JVM already."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _delta_version() -> str:
    try:
        return importlib.metadata.version("delta-spark")
    except importlib.metadata.PackageNotFoundError as error:
        raise StorageError(
            "delta-spark is not installed", remedy="pip install 'gsem-spark[local]', or make the workspace with format parquet"
        ) from error


def _delta_settings(settings: Mapping[str, str]) -> dict[str, str]:
    folder = os.environ.get("GSEM_SPARK_JARS")
    jars = sorted(Path(folder).glob("io.delta_*.jar")) if folder else delta_jars()
    if not jars:
        raise StorageError("GSEM_SPARK_JARS holds no io.delta_*.jar", where=str(folder), remedy=_PARQUET_REMEDY)
    given = [settings["spark.driver.extraClassPath"]] if settings.get("spark.driver.extraClassPath") else []
    return {
        "spark.driver.extraClassPath": os.pathsep.join([*given, *map(str, jars)]),  # in local mode the driver is the executor
        "spark.sql.extensions": DELTA_EXTENSION,
        "spark.sql.catalog.spark_catalog": DELTA_CATALOG,
    }


def _class_archive(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings with which a local session's JVM starts from an archive of its classes, or writes one."""
    if not settings.get("spark.master", "local").startswith("local"):
        return {}
    spark = importlib.metadata.version("pyspark")
    option = archive_option(cache_folder(), f"{spark}|{settings.get('spark.driver.extraClassPath', '')}")
    given = settings.get("spark.driver.extraJavaOptions", "")
    return {"spark.driver.extraJavaOptions": f"{given} {option}".strip()} if option else {}


def _resolve_delta_jars(scratch: Path) -> list[Path]:
    """Resolve by coordinates in a process of its own, so that the resolver's long report stays out of the user's sight."""
    program = (
        "from pyspark.sql import SparkSession; from delta import configure_spark_with_delta_pip as c; "
        "b = SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
        ".config('spark.driver.host', '127.0.0.1'); s = c(b).getOrCreate(); "
        "print('JARS', s.sparkContext._conf.get('spark.submit.pyFiles', '')); s.stop()"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYSPARK_SUBMIT")}
    environment.setdefault(*_LOOPBACK)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=scratch,
        env=environment,
        timeout=RESOLVE_TIMEOUT_S,
        check=False,
    )
    line = next((text for text in done.stdout.splitlines() if text.startswith("JARS ")), None)
    if line is None:
        said = [t.strip() for t in done.stderr.splitlines() if t.strip()] or ["unknown reason"]
        told = [t for t in said if "not found" in t or "Exception" in t]
        causes = [t for t in told if t.startswith("Caused by")]  # the last one is what everything else follows from
        reason = causes[-1] if causes else told[0] if told else said[-1]
        raise StorageError(f"the Delta jars could not be resolved ({reason[:200]})", remedy=_PARQUET_REMEDY)
    return [Path(jar) for jar in line[5:].split(",") if Path(jar).name.startswith("io.delta_")]


def _prepare_environment() -> None:
    """Executors of a local session inherit this process's environment: same Python, one BLAS thread, writable caches."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    for name in WORKER_THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "numba"))
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))


class _quiet_start:
    """Keep the JVM's start-up chatter (log4j banner, native-code notice) off standard error until the session is up.

    The JVM inherits the file descriptor, so it is swapped at that level; what was said is shown again if the start fails.
    """

    def __enter__(self) -> None:
        self._shown = os.environ.get("GSEM_SPARK_VERBOSE") == "1"
        if self._shown:
            return
        sys.stderr.flush()
        self._saved = os.dup(2)
        self._log = tempfile.TemporaryFile()
        os.dup2(self._log.fileno(), 2)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._shown:
            return
        os.dup2(self._saved, 2)
        os.close(self._saved)
        if kind is not None:
            self._log.seek(0)
            sys.stderr.write(self._log.read().decode(errors="replace"))
        self._log.close()


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
