"""Names to buckets and rows to packages and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gsem_spark.steps import exchange

HASHES = [3195687856070846955, 1433312519251641660]
NAMES = st.lists(st.one_of(st.none(), st.text(max_size=80)), max_size=60)


@given(NAMES, st.integers(1, 50))
def test_a_bucket_depends_on_the_name_alone(names: list[str | None], n: int) -> None:
    together = exchange.name_buckets(pa.array(names, pa.string()), n)
    apart = [int(exchange.name_buckets(pa.array([name], pa.string()), n)[0]) for name in names]
    assert together.tolist() == apart
    sliced = exchange.name_buckets(pa.array(["x", *names], pa.string()).slice(1), n)
    assert sliced.tolist() == apart
    assert all(0 <= bucket < n for bucket in apart)


def test_names_spread_evenly_and_hashes_do_not_collide() -> None:
    names = pa.array([f"rs{i}" for i in range(1_000_000)])
    counts = np.bincount(exchange.name_buckets(names, 40), minlength=40)
    assert counts.min() > 24_000
    assert counts.max() < 26_000
    assert np.unique(exchange.name_hashes(names)).size == 1_000_000


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert exchange.name_buckets(pa.array(["rs1", "rs2", "", None, "1:100:A:C"]), 1000).tolist() == [
        *exchange.name_buckets(pa.array(["rs1", "rs2"]), 1000).tolist(), 0, 0,
        *exchange.name_buckets(pa.array(["1:100:A:C"]), 1000).tolist(),
    ]  # fmt: skip
    assert exchange.name_hashes(pa.array(["rs1", "rs429358"])).tolist() == HASHES


def test_packages_come_back_whole_and_apart_by_kind() -> None:
    table = pa.table({"snp": [f"rs{i % 50}" for i in range(500)], "x": list(range(500))})
    other = pa.table({"snp": ["rs3"], "y": [1.5]})
    sent = [*exchange.packages("a", [table.slice(0, 123), table.slice(123)], exchange.by_name("snp", 7)),
            *exchange.packages("b", [other], exchange.by_name("snp", 7))]  # fmt: skip
    got = dict(exchange.received(sent))
    assert sorted(x for kinds in got.values() if "a" in kinds for x in kinds["a"].column("x").to_pylist()) == list(range(500))
    of = {name: bucket for bucket, kinds in got.items() for name in kinds["a"].column("snp").to_pylist()}
    assert [bucket for bucket, kinds in got.items() if "b" in kinds] == [of["rs3"]]
