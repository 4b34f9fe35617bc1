"""A kinship in tiles and from products: the same as the whole matrix's; and matrices of others as text."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import kinship, kinship_spectrum, random_spectrum
from gsem_spark.methods.lmm.kinship_tiles import add_block, put_tile, tiles_of
from gsem_spark.methods.lmm.low_rank import add_product
from gsem_spark.readers.kinship_matrix import read_matrix, read_pedigree


@pytest.fixture(scope="module")
def G() -> np.ndarray:
    rng = np.random.default_rng(4)
    calls = rng.binomial(2, rng.uniform(0.1, 0.9, (70, 1)), (70, 45)).astype(np.int8)
    calls[rng.random(calls.shape) < 0.05] = -9
    calls[3] = 1
    return calls


@pytest.mark.parametrize("kind", ["centred", "standardised", "gcta"])
def test_tiles_make_the_kinship(G: np.ndarray, kind: str) -> None:
    whole, variants = np.zeros((45, 45)), 0
    tiles = tiles_of(45, 20)
    assert [t.shape for t in tiles] == [(20, 20), (20, 20), (20, 20), (5, 20), (5, 20), (5, 5)]
    totals = [np.zeros(t.shape) for t in tiles]
    for block in (G[:30], G[30:]):
        variants += add_block(block, kind, tiles, totals)
    for tile, total in zip(tiles, totals, strict=True):
        put_tile(whole, tile, total)
    assert variants == 69
    np.testing.assert_allclose(whole / variants, kinship(G, kind), rtol=1e-12, atol=1e-14)
    with pytest.raises(ConfigError, match="unknown kinship"):
        add_block(G, "other", tiles, totals)


def test_products_find_the_largest_eigenvalues(G: np.ndarray) -> None:
    def product(Q: np.ndarray) -> np.ndarray:
        total = np.zeros(Q.shape)
        variants = add_product(G[:30], "standardised", Q, total) + add_product(G[30:], "standardised", Q, total)
        return total / variants

    wanted = kinship_spectrum(kinship(G, "standardised"))
    spectrum, subspace = random_spectrum(product, 45, 5, 1, iterations=60)
    np.testing.assert_allclose(spectrum.eigenvalues, wanted.eigenvalues[-5:], rtol=1e-10)
    np.testing.assert_allclose(np.abs((spectrum.vectors * wanted.vectors[:, -5:]).sum(axis=0)), 1.0, atol=1e-6)
    assert subspace.shape == (45, 15)
    again, _ = random_spectrum(product, 45, 45, 2)  # all of them: one product would do
    np.testing.assert_allclose(again.eigenvalues, wanted.eigenvalues[wanted.eigenvalues > 1e-12], rtol=1e-9)
    with pytest.raises(DataError, match="rank 46 of a kinship of 45 samples"):
        random_spectrum(product, 45, 46, 1)


def test_matrices_as_text(tmp_path: Path) -> None:
    K = np.array([[1.0, 0.25, 0.5], [0.25, 1.5, 0.125], [0.5, 0.125, 2.0]])
    names = ["a", "b", "c"]
    rows = [" ".join(map(str, row)) for row in K.tolist()]
    named = "\n".join(f"{n} {r}" for n, r in zip(names, rows, strict=True))
    texts = {
        "header": " ".join(names) + "\n" + "\n".join(rows),
        "corner": f"id {' '.join(names)}\n{named}".replace(" ", "\t"),
        "no_corner": f"{' '.join(names)}\n{named}",
        "rows": named,
        "commas": ",".join(names) + "\n" + "\n".join(r.replace(" ", ",") for r in rows),
    }
    for what, text in texts.items():
        (tmp_path / "k.txt").write_text(text + "\n")
        found = read_matrix(str(tmp_path / "k.txt"))
        np.testing.assert_array_equal(found.K, K, err_msg=what)
        assert found.samples["iid"].tolist() == names, what
    with gzip.open(tmp_path / "k.txt.gz", "wt") as out:
        out.write("\n".join(rows) + "\n")
    (tmp_path / "ids").write_text("f a 0 0\nf b 0 0\ng c 0 0\n")
    found = read_matrix(str(tmp_path / "k.txt.gz"), str(tmp_path / "ids"))
    np.testing.assert_array_equal(found.K, K)
    assert (found.samples["fid"].tolist(), found.families) == (["f", "f", "g"], True)
    (tmp_path / "k.txt").write_text(texts["corner"].replace("b\t0.25", "x\t0.25") + "\n")
    with pytest.raises(DataError, match="not the same names"):
        read_matrix(str(tmp_path / "k.txt"))
    (tmp_path / "k.txt").write_text("1 2\n2 1 3\n")
    with pytest.raises(DataError, match="no matrix of numbers"):
        read_matrix(str(tmp_path / "k.txt"))
    (tmp_path / "k.grm.bin").write_bytes(b"\0" * 20)
    (tmp_path / "k.grm.id").write_text("f a\nf b\n")
    with pytest.raises(DataError, match="5 values, 2 samples have 3"):
        read_matrix(str(tmp_path / "k"))
    (tmp_path / "k.npy").write_bytes(b"no")
    with pytest.raises(DataError, match="no NumPy array"):
        read_matrix(str(tmp_path / "k.npy"), str(tmp_path / "ids"))


def test_pedigrees_as_text(tmp_path: Path) -> None:
    (tmp_path / "p.fam").write_text("f a 0 0 1 -9\nf b 0 0 2 -9\nf c a b 1 -9\n")
    found, families = read_pedigree(str(tmp_path / "p.fam"))
    assert (found["sire"].tolist(), families) == (["", "", "a"], True)
    (tmp_path / "p.csv").write_text("Animal,Father,Mother\na,0,0\nb,0,0\nc,a,b\n")
    found, families = read_pedigree(str(tmp_path / "p.csv"))
    assert (found["dam"].tolist(), families) == (["0", "0", "b"], False)
    (tmp_path / "p.csv").write_text("animal,boss\na,0\n")
    with pytest.raises(DataError, match="column sire, dam not found; the header has animal, boss"):
        read_pedigree(str(tmp_path / "p.csv"))
