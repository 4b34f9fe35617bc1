"""Do the workers of a cluster have the driver's Python and libraries? Asked once a session, before anything is computed.

Pickles and results depend on them: a worker with another NumPy or another gsem_spark fails late and obscurely, or not at all.
"""

from __future__ import annotations

import json
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

from gsem_spark.errors import ConfigError, GsemError, GsemWarning

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMPARED_PACKAGES: Final = ("numpy", "pandas", "pyarrow", "scipy", "numba", "gsem_spark")
"""Driver and workers must have the same ones."""
WORKERS_ASKED: Final = 16
"""At most so many tasks ask; clusters of more cores run images of one kind."""
PATIENCE_S: Final = 30.0
"""After so long without an executor the user is told why nothing happens."""
REMEDY: Final = (
    "give the workers the driver's environment: the same Docker image or archive on every node, and PYSPARK_PYTHON "
    "(or spark.pyspark.python) naming an interpreter that exists there"
)

_MEMORY: Final = (
    "give Python workers more memory (spark.executor.memoryOverhead; a lower worker --memory on a standalone cluster; a lower "
    "spark.driver.memory locally) or smaller batches (spark.sql.execution.arrow.maxRecordsPerBatch); the executors' stderr "
    "says more. Then run the same command: it goes on from what is finished"
)
_FAILURES: Final = (
    (
        "No space left on device",
        "a disk of the cluster is full",
        "free some space, or point SPARK_LOCAL_DIRS (spark.local.dir) at a larger disk; then run the same command again",
    ),
    (
        "OutOfMemoryError",
        "a Java process ran out of memory",
        "raise spark.executor.memory (spark.driver.memory in local mode), then run the same command: it goes on from there",
    ),
    ("ExecutorLostFailure", "a task lost its executor in every attempt; exit code 137 says that the system killed it", _MEMORY),
    (
        "Python worker exited unexpectedly",
        "a task lost its Python worker in every attempt, most often for want of memory",
        _MEMORY,
    ),
)
"""What stands in Spark's message, what it means, and what to do; the first that fits counts."""

Versions = dict[str, str | None]
_checked: set[str] = set()


def check_workers(spark: SparkSession) -> None:
    """Compare the libraries of a cluster's Python workers with the driver's, once an application.

    A local master runs its workers from the driver's own interpreter: nothing is asked there.

    Parameters
    ----------
    spark
        The session.

    Raises
    ------
    ConfigError
        A worker has another version, lacks a package, or cannot start Python at all.
    """
    context = spark.sparkContext
    master = context.master or ""
    if is_local(master) or context.applicationId in _checked:
        return
    try:
        workers = worker_versions(spark)
    except Exception as error:
        what = f"the cluster's Python workers do not start: {_reason(error)}"
        raise ConfigError(what, where=master, remedy=REMEDY) from error
    driver = installed_versions(COMPARED_PACKAGES)
    for host, versions in workers:
        if differing := differences(driver, versions):
            what = f"a worker does not have the driver's libraries: {differing}"
            raise ConfigError(what, where=f"worker on {host}", remedy=REMEDY)
    _checked.add(context.applicationId)


def lost_resources(error: BaseException) -> GsemError | None:
    """Explain a job that failed for want of memory, disk or executors; None where the error is of another kind."""
    text = str(error)
    for sign, what, remedy in _FAILURES:
        if sign in text:
            return GsemError(what, where="Spark", remedy=remedy)
    return None


def is_local(master: str) -> bool:
    """Whether a master runs its tasks in the driver's own process: ``local``, ``local[4]``, ``local[*, 4]``."""
    return master == "local" or master.startswith("local[")


def installed_versions(names: tuple[str, ...] = COMPARED_PACKAGES) -> Versions:
    """Versions of Python and of the named packages on this side; None where one is missing."""
    import importlib
    import sys

    found: Versions = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in names:
        try:
            found[name] = str(importlib.import_module(name).__version__)
        except ImportError:
            found[name] = None
    return found


def differences(driver: Versions, worker: Versions) -> str:
    """Name every package that differs, with both versions; empty where none does.

    Examples
    --------
    >>> differences({"numpy": "2.1.0", "numba": "0.61"}, {"numpy": "2.0.0", "numba": None})
    'numpy: driver 2.1.0, worker 2.0.0; numba: driver 0.61, worker missing'
    """
    return "; ".join(
        f"{name}: driver {version or 'missing'}, worker {worker.get(name) or 'missing'}"
        for name, version in driver.items()
        if worker.get(name) != version
    )


def worker_versions(spark: SparkSession) -> list[tuple[str, Versions]]:
    """Ask Python workers for their host and versions, through the same Arrow road that the pipeline uses; distinct answers."""
    ask = _question(COMPARED_PACKAGES)
    tasks = max(1, min(int(spark.sparkContext.defaultParallelism), WORKERS_ASKED))
    hint = threading.Timer(PATIENCE_S, _say_no_executor, [spark])
    hint.daemon = True
    hint.start()
    try:
        rows = spark.range(0, tasks, 1, tasks).mapInArrow(ask, "host string, versions string").distinct().collect()
    finally:
        hint.cancel()
    return [(str(row["host"]), json.loads(row["versions"])) for row in sorted(rows, key=lambda r: (r["host"], r["versions"]))]


def _question(names: tuple[str, ...]) -> Any:
    """Make the function that workers run. Being local it is pickled whole: a worker may lack this module."""

    def ask(batches):  # type: ignore[no-untyped-def] # pyspark reads annotations of UDFs as schema hints
        import importlib
        import json
        import socket
        import sys

        import pyarrow as pa

        for _ in batches:
            found = {"python": ".".join(map(str, sys.version_info[:2]))}
            for name in names:
                try:
                    found[name] = str(importlib.import_module(name).__version__)
                except ImportError:
                    found[name] = None  # type: ignore[assignment]
            yield pa.RecordBatch.from_pydict({"host": [socket.gethostname()], "versions": [json.dumps(found)]})

    return ask


def _say_no_executor(spark: SparkSession) -> None:
    """Spark itself waits in silence where its log is quiet."""
    context: Any = spark.sparkContext
    if not is_local(str(context.master)) and context._jsc.sc().getExecutorMemoryStatus().size() <= 1:  # the driver counts as one
        warnings.warn(
            f"no executor has come from {context.master} in {PATIENCE_S:.0f} s: are workers registered there, with "
            f"{context.getConf().get('spark.executor.cores', 'enough')} cores and "
            f"{context.getConf().get('spark.executor.memory', '1g')} of memory free each? Waiting on.",
            GsemWarning,
            stacklevel=2,
        )


def _reason(error: BaseException) -> str:
    """The line of a long Java message that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = ("PYTHON_VERSION_MISMATCH", "Cannot run program", "ModuleNotFoundError", "ImportError", "must be installed")
    first = lines[0] if lines else type(error).__name__
    return next((line for line in lines if any(word in line for word in telling)), first)[:300]
