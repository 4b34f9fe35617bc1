"""How files are shared out among tasks."""

from __future__ import annotations

import pytest

from gsem_spark.catalog.part_files import PartFile, tasks_of

MB = 1_000_000


def files(sizes: list[int]) -> list[PartFile]:
    return [PartFile(path=f"f{n:03d}", values={}, rows=1, size=size) for n, size in enumerate(sizes)]


@pytest.mark.parametrize(("sizes", "cores", "want"), [
    ([14 * MB] * 10, 1, 3), ([14 * MB] * 10, 2, 4), ([14 * MB] * 10, 4, 4), ([14 * MB] * 10, 8, 8), ([14 * MB] * 3, 8, 3),
    ([MB], 2, 1), ([], 2, 0), ([50 * MB] * 4, 3, 4),
])  # fmt: skip
def test_cores_get_as_many_tasks_each_and_every_file_is_read_once(sizes: list[int], cores: int, want: int) -> None:
    given = files(sizes)
    tasks = tasks_of(given, cores, bytes_per_task=48 * MB)
    assert len(tasks) == want
    assert sorted(f.path for task in tasks for f in task) == [f.path for f in given]
    assert want % cores == 0 or want == len(sizes)
    loads = [sum(f.size for f in task) for task in tasks]
    assert not loads or max(loads) - min(loads) <= max(sizes)
