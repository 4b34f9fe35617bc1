"""Fixtures of all tests: one Spark session, workspaces in temporary folders, golden data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from gsem_spark.catalog.workspace import Workspace

TESTS = Path(__file__).parent
SMALL = TESTS / "data" / "gsem_small"
SHARED = TESTS.parent.parent / "shared"


@pytest.fixture(scope="session")
def small() -> Path:
    """The small golden set: ``answers/…`` of GenomicSEM 0.0.5 on the demo's raw files."""
    return SMALL


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The demo's data as shipped with the package: ``raw`` and ``ld``."""
    import gsem_spark

    return Path(gsem_spark.__file__).parent / "demo" / "data"


@pytest.fixture(scope="session")
def shared_golden() -> Callable[[str], Path]:
    """A path below the large reference data beside the checkout; skips with a notice where they are absent."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"reference data {relative} are not beside this checkout")
        return path

    return find


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One local session with Delta for all tests; two cores, few partitions."""
    from gsem_spark.session import start_session

    settings = {
        "spark.sql.shuffle.partitions": "3",
        "spark.driver.memory": "2g",
        # hundreds of tiny jobs: the first compiler is enough, the second one costs more than it gives
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    session = start_session("gsem_spark tests", master="local[2]", conf=settings)
    yield session
    session.stop()


@pytest.fixture
def tmp_workspace(spark: SparkSession, tmp_path: Path) -> Workspace:
    """An empty Delta workspace in a temporary folder."""
    from gsem_spark.catalog.workspace import Workspace

    return Workspace.create(str(tmp_path / "ws"), "delta", spark)


@pytest.fixture
def parquet_workspace(spark: SparkSession, tmp_path: Path) -> Workspace:
    """An empty Parquet workspace: commits of tiny tables take a third of Delta's time."""
    from gsem_spark.catalog.workspace import Workspace

    return Workspace.create(str(tmp_path / "ws"), "parquet", spark)


@pytest.fixture(params=["delta", "parquet"])
def any_workspace(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Workspace:
    """An empty workspace, once in each format."""
    from gsem_spark.catalog.workspace import Workspace

    return Workspace.create(str(tmp_path / f"ws-{request.param}"), request.param, spark)
