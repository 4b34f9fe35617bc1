"""Genotypes rotated by look-up against the matrix product of the decoded rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.lmm import hard_calls_kernel, kinship_spectrum, prepare_scan, scan_block
from gsem_spark.methods.lmm.hard_calls import (
    LEAST_COLUMNS,
    MISSING_SHARE,
    SLAB_ROWS,
    encode_calls,
    rotated_tiles,
    squares_of_calls,
)
from gsem_spark.methods.lmm.tiles import loaded_tiles

RTOL = 1e-14
"""Of the lengths of both: n products, each good to half of 2.2e-16, added in another order."""


def draw(n: int, S: int, q: int, seed: int = 3, missing: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Genotypes with missing calls, frequencies over the whole range, and q orthonormal columns."""
    rng = np.random.default_rng(seed)
    G = rng.binomial(2, rng.uniform(0.0, 1.0, (S, 1)), (S, n)).astype(np.int8)
    G[rng.random(G.shape) < missing] = -9
    return G, np.linalg.qr(rng.normal(size=(max(n, q), max(n, q))))[0][:n, :q]


def rotate(block: np.ndarray, basis: np.ndarray, centre: bool = True) -> np.ndarray:
    return np.vstack([rotated[: tile.size] for tile, rotated in rotated_tiles(block, basis, centre)])


def decoded(block: np.ndarray, centre: bool = True) -> np.ndarray:
    return np.vstack([tile.rows[: tile.size].copy() for tile in loaded_tiles(block, centre)])


def assert_is_the_product(rotated: np.ndarray, rows: np.ndarray, basis: np.ndarray) -> None:
    lengths = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(basis, axis=0))
    assert (np.abs(rotated - rows @ basis) <= RTOL * lengths).all()


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize(("n", "q"), [(63, 64), (64, 65), (65, 200), (257, 257), (1100, 130)])
def test_is_the_matrix_product(n: int, q: int, centre: bool) -> None:
    G, basis = draw(n, 300, q)
    assert len(encode_calls(G).which) > 280
    assert_is_the_product(rotate(G, basis, centre), decoded(G, centre), basis)


@pytest.mark.parametrize("centre", [True, False])
def test_samples_may_take_several_segments(centre: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums go on from segment to segment; those of all samples together are rounded otherwise."""
    G, basis = draw(400, 60, 150)
    factor = np.asfortranarray(np.triu(np.random.default_rng(2).normal(size=(400, 400))))
    whole, squares, parts = rotate(G, basis, centre), np.zeros(60), np.zeros(60)
    squares_of_calls(encode_calls(G), factor, centre, squares)
    monkeypatch.setattr(hard_calls_kernel, "SEGMENT", 128)
    squares_of_calls(encode_calls(G), factor, centre, parts)
    np.testing.assert_allclose(rotate(G, basis, centre), whole, rtol=0, atol=1e-13 * np.abs(whole).max())
    np.testing.assert_allclose(parts, squares, rtol=1e-13)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 150), st.integers(LEAST_COLUMNS, LEAST_COLUMNS + 40), st.integers(0, 2**32), st.booleans(),
       st.sampled_from([0.0, 0.1, 0.5]))
def test_is_the_matrix_product_whatever_the_shape(n: int, q: int, seed: int, centre: bool, missing: float) -> None:
    G, basis = draw(n, 9, q, seed, missing)
    assert_is_the_product(rotate(G, basis, centre), decoded(G, centre), basis)


def test_a_variant_has_the_same_bytes_in_any_block_beside_any_others() -> None:
    G, basis = draw(130, SLAB_ROWS + 300, 100)
    G[::7, 0] = 3
    whole = rotate(G, basis)
    for rows in (slice(0, 1), slice(5, 6), slice(5, 300), slice(SLAB_ROWS - 2, SLAB_ROWS + 3)):
        assert np.array_equal(rotate(G[rows], basis), whole[rows])
    assert np.array_equal(rotate(G[::-1].copy(), basis)[::-1], whole)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("n", [64, 130, 300])
def test_squares_are_those_of_the_product_with_the_triangle(n: int, centre: bool) -> None:
    G, _ = draw(n, SLAB_ROWS + 20, n)
    factor = np.asfortranarray(np.triu(np.random.default_rng(2).normal(size=(n, n))))
    calls = encode_calls(G)
    assert len(calls.which) > 0 and calls.which[-1] > SLAB_ROWS
    found = np.full(len(G), -1.0)
    squares_of_calls(calls, factor, centre, found)
    rows = decoded(G, centre)
    wanted = ((rows @ factor.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(found[calls.which], wanted[calls.which], rtol=1e-13, atol=1e-13 * wanted.max())
    assert (np.delete(found, calls.which) == -1.0).all()
    for rows_of in (slice(3, 4), slice(SLAB_ROWS - 7, SLAB_ROWS + 5)):
        part = np.full(len(G[rows_of]), -1.0)
        squares_of_calls(encode_calls(G[rows_of]), factor, centre, part)
        assert np.array_equal(part, found[rows_of])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_calls_have_the_same_bytes_in_any_type_and_any_layout_of_the_matrix(kind: type) -> None:
    G, basis = draw(130, 40, 100)
    whole = rotate(G, basis)
    assert np.array_equal(rotate(np.where(G < 0, np.nan, G).astype(kind), basis), whole)
    assert np.array_equal(rotate(G, np.asfortranarray(basis)), whole)


def test_only_rows_of_calls_are_looked_up() -> None:
    G, basis = draw(130, 6, 100, missing=0.0)
    block = G.astype(np.float64)
    block[1, 5], block[2, 7], block[3, 9] = 0.5, -1.0, 3.0
    gone = int(MISSING_SHARE * 130)
    block[4, : gone + 1], block[5, :gone] = np.nan, np.inf
    assert encode_calls(block).which.tolist() == [0, 5]
    assert_is_the_product(rotate(block, basis), decoded(block), basis)
    integers = np.where(np.isfinite(block), np.round(block), -9).astype(np.int8)
    assert encode_calls(integers).which.tolist() == [0, 1, 2, 5]  # a negative integer is a missing call


def test_nothing_is_left_of_centred_calls_that_are_all_equal() -> None:
    G, basis = draw(130, 5, 100, missing=0.0)
    G[1], G[2], G[3] = 0, 1, 2
    G[2, 4] = -9
    rotated = rotate(G, basis)
    assert not rotated[1:4].any() and rotated[0].any() and rotated[4].any()


def test_rows_of_dosages_are_multiplied_as_they_are_without_calls_beside_them() -> None:
    G, basis = draw(130, 300, 100)
    block = np.where(G < 0, np.nan, G)
    block[::3] += 0.25
    mixed, alone = rotate(block, basis), rotate(block + 0.125, basis)
    tile = next(loaded_tiles(block + 0.125, True))
    assert np.array_equal(alone[: tile.size], (tile.rows @ basis)[: tile.size])
    assert np.array_equal(mixed[::3][:86], (next(loaded_tiles(block, True)).rows @ basis)[::3])


def test_a_matrix_of_single_precision_is_multiplied_in_it() -> None:
    G, basis = draw(130, 20, 100)
    single = basis.astype(np.float32)
    tile = next(loaded_tiles(G, True))
    assert np.array_equal(rotate(G, single), (tile.rows.astype(np.float32) @ single)[:20])


@pytest.mark.parametrize("exact", [False, True])
def test_tests_of_calls_are_those_of_the_same_genotypes_on_another_scale(exact: bool) -> None:
    """Half of each call is a dosage, so that it is multiplied: twice the effect, the same statistics."""
    rng = np.random.default_rng(5)
    G, _ = draw(200, 120, 64)
    W = rng.normal(size=(200, 150)) / np.sqrt(150)
    plan = prepare_scan(W @ rng.normal(size=150) + rng.normal(size=200), K=kinship_spectrum(W @ W.T + 0.01 * np.eye(200)),
                        test=["wald_f", "lrt_ml", "score"], exact=exact)
    calls, halves = scan_block(plan, G), scan_block(plan, np.where(G < 0, np.nan, G / 2))
    ok = (calls["status"] == "ok").to_numpy()
    assert ok.sum() > 300 and (calls["status"] == halves["status"]).all()
    np.testing.assert_allclose(2 * calls["beta"][ok], halves["beta"][ok], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(calls["stat"][ok], halves["stat"][ok], rtol=1e-8, atol=1e-10)
