"""Kinships through Spark: the sums against the whole matrix, low rank, given ones, pedigrees; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from genotype_files import Cohort, write_bed

import gsem_spark as gs
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import kinship, kinship_spectrum, leave_one_out, pedigree_kinship
from gsem_spark.methods.lmm.kinship import kinship_sums
from gsem_spark.steps.genotypes import index as genotype_index
from gsem_spark.steps.genotypes import kinship_sums as kinship_job
from gsem_spark.steps.genotypes.kinship_files import spectrum_file


@pytest.fixture(scope="module")
def mice() -> Cohort:
    return Cohort.draw(60, {1: 90, 2: 70, 3: 50}, missing=0.04, seed=8)


@pytest.fixture(scope="module")
def ws(spark, mice: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the mice in small blocks; many kinships are made in it."""
    root = tmp_path_factory.mktemp("mice")
    workspace = Workspace.create(str(root / "ws"), "parquet", spark)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genotype_index, "BLOCK_VARIANTS", 20)
        gs.genotypes(workspace, write_bed(root / "mice", mice), "mice")
    return workspace


def close(found: np.ndarray, wanted: np.ndarray, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


def test_tiles_segments_and_waves_add_up_to_the_kinship(ws: Workspace, mice: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without each chromosome; in one tile a chromosome, and in 6 tiles, 3 a task, of segments of 2 blocks: cut otherwise,
    right to rounding."""
    whole = gs.kinship(ws, "mice", "standardised")
    parts = {str(c): kinship_sums(mice.G[mice.chr == c], "standardised") for c in (1, 2, 3)}
    close(whole.matrix(), kinship(mice.G, "standardised"))
    assert whole.chromosomes == [1, 2, 3]
    for chromosome, wanted in leave_one_out(parts).items():
        close(whole.matrix(int(chromosome)), wanted)
    for name, value in {"TILE_SIDE": 25, "UNIT_BYTES": 3 * 8 * 25 * 25, "SEGMENT_BLOCKS": 2, "WAVE_BYTES": 40_000}.items():
        monkeypatch.setattr(kinship_job, name, value)
    chosen = gs.kinship(ws, "mice", "gcta", maf=0.2, missing=0.1, snps=mice.snp[::2].tolist(), loco=False, normalise=True)
    summary = gs.methods.lmm.summarise(mice.G)
    used = (summary["maf"] >= 0.2) & (summary["missing"] <= 0.1) & (np.arange(len(mice.snp)) % 2 == 0)
    wanted = kinship(mice.G[used], "gcta")
    close(chosen.matrix(), wanted * len(wanted) / np.trace(wanted))
    assert (chosen.chromosomes, chosen.report.summary["variants"]) == ([], int(used.sum()))


def test_the_spectrum_is_mapped_by_tasks_and_is_that_of_the_matrix(ws: Workspace, mice: Cohort) -> None:
    made = gs.kinship(ws, "mice")
    assert gs.kinship(ws, "mice").report.status == "skipped"
    spectrum, wanted = made.spectrum(2), kinship_spectrum(kinship(mice.G[mice.chr != 2]))
    assert isinstance(spectrum.vectors, np.memmap)
    close(spectrum.eigenvalues, wanted.eigenvalues)
    file = spectrum_file(ws, made.kinship_id, 2)

    def ask(batches):
        import pyarrow as pa

        for _ in batches:
            opened = file.load()
            yield pa.RecordBatch.from_pydict({"x": [float(np.abs(opened.vectors).sum())]})

    assert ws.spark.range(0, 1, 1, 1).mapInArrow(ask, "x double").collect()[0]["x"] == float(np.abs(spectrum.vectors).sum())
    Path(file.path).unlink()
    assert gs.kinship(ws, "mice").report.status == "done", "a file that is gone is made again"


@pytest.mark.slow
def test_low_rank_finds_the_largest_eigenvalues(spark, tmp_path: Path) -> None:
    """Three populations: two eigenvalues stand out. Without each chromosome the search starts from the subspace of all."""
    rng = np.random.default_rng(2)
    base = Cohort.draw(90, {1: 300, 2: 200}, seed=9)
    af = np.clip(rng.uniform(0.2, 0.8, 500)[:, None] + rng.normal(0, 0.15, (500, 3)), 0.02, 0.98)
    mice = base.with_calls(rng.binomial(2, np.repeat(af, 30, axis=1)).astype(np.int8))
    ws = Workspace.create(str(tmp_path / "ws"), "parquet", spark)
    gs.genotypes(ws, write_bed(tmp_path / "mice", mice))
    made = gs.kinship(ws, kind="low_rank", rank=2, iterations=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinship_job, "UNIT_BYTES", 8 * 90 * 8)  # 12 columns in two cuts
        cut = gs.kinship(ws, kind="low_rank", rank=2, iterations=3, loco=False)
    np.testing.assert_allclose(cut.spectrum().eigenvalues, made.spectrum().eigenvalues, rtol=1e-12)
    for chromosome, chosen in {None: mice.chr > 0, 1: mice.chr != 1, 2: mice.chr != 2}.items():
        wanted = kinship_spectrum(kinship(mice.G[chosen], "standardised"))
        found = made.spectrum(chromosome)
        np.testing.assert_allclose(found.eigenvalues, wanted.eigenvalues[-2:], rtol=1e-4)
        overlap = np.linalg.svd(wanted.vectors[:, -2:].T @ found.vectors)[1]
        np.testing.assert_allclose(overlap, 1.0, atol=1e-3)
        np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(2), atol=1e-12)


def test_given_matrices_come_into_the_cohorts_order(ws: Workspace, mice: Cohort, tmp_path: Path) -> None:
    order = np.random.default_rng(5).permutation(60)
    K = kinship(mice.G)
    shuffled = K[np.ix_(order, order)]
    np.save(tmp_path / "k.npy", shuffled)
    pd.DataFrame({"fid": "fam", "iid": mice.iid[order]}).to_csv(tmp_path / "k.id", sep="\t", header=False, index=False)
    close(gs.kinship(ws, "mice", "given", file=tmp_path / "k.npy", ids=tmp_path / "k.id").matrix(), K)
    names = mice.iid[order]
    pd.DataFrame(shuffled, names, names).to_csv(tmp_path / "k.tsv", sep="\t", float_format="%.17g")
    alone = gs.kinship(ws, kind="given", file=tmp_path / "k.tsv")
    close(alone.matrix(), shuffled)
    assert ws.records("kinships", {"kinship_id": alone.kinship_id})[0]["iid"] == names.tolist()
    shuffled[np.tril_indices(60)].astype("<f4").tofile(tmp_path / "k.grm.bin")
    (tmp_path / "k.grm.id").write_text((tmp_path / "k.id").read_text())
    close(gs.kinship(ws, "mice", "given", file=tmp_path / "k").matrix(), K, 1e-6)


def test_a_pedigree_is_read_from_the_fam_file_or_a_table(ws: Workspace, mice: Cohort, tmp_path: Path) -> None:
    table = pd.DataFrame({"id": mice.iid, "sire": mice.father, "dam": mice.mother})
    wanted = pedigree_kinship(table).to_numpy()
    close(gs.kinship(ws, "mice", "pedigree").matrix(), wanted)
    ancestors = pd.concat([table.iloc[::-1], pd.DataFrame({"id": ["old"], "sire": ["0"], "dam": ["0"]})])
    ancestors.to_csv(tmp_path / "p.csv", index=False)
    close(gs.kinship(ws, "mice", "pedigree", file=tmp_path / "p.csv").matrix(), wanted)
    assert gs.kinship(ws, kind="pedigree", file=tmp_path / "p.csv").report.summary["samples"] == 61


def test_what_cannot_be_a_kinship_is_refused(ws: Workspace, mice: Cohort, tmp_path: Path) -> None:
    K = kinship(mice.G)

    def given(matrix: np.ndarray, names: np.ndarray = mice.iid, cohort: str | None = "mice") -> None:
        np.save(tmp_path / "k.npy", matrix)
        (tmp_path / "ids").write_text("\n".join(names) + "\n")
        gs.kinship(ws, cohort, "given", file=tmp_path / "k.npy", ids=tmp_path / "ids")

    with pytest.raises(DataError, match=r"shape \(60, 59\)"):
        given(K[:, :59])
    lopsided = K.copy()
    lopsided[2, 5] += 1
    with pytest.raises(DataError, match="not symmetric: K"):
        given(lopsided)
    with pytest.raises(DataError, match="not positive semidefinite"):
        given(K - 0.1 * np.eye(60))
    strangers = mice.iid.copy()
    strangers[:2] = ["x1", "x2"]
    with pytest.raises(DataError, match=r"2 of 60 samples of the genotypes .*s0, s1.* 2 of 60 of the kinship .*x1, x2"):
        given(K, strangers)
    with pytest.raises(DataError, match="59 samples"):
        given(K, mice.iid[:59])
    with pytest.raises(DataError, match="does not say whose it is"):
        gs.kinship(ws, "mice", "given", file=tmp_path / "k.npy")
    (tmp_path / "loop.txt").write_text("id sire dam\na b 0\nb a 0\n")
    with pytest.raises(DataError, match="a pedigree loop: a is an offspring of b"):
        gs.kinship(ws, kind="pedigree", file=tmp_path / "loop.txt")
    (tmp_path / "unknown.txt").write_text("id sire dam\na 0 0\nb a c\n")
    with pytest.raises(DataError, match="1 parents are not in the pedigree: c"):
        gs.kinship(ws, kind="pedigree", file=tmp_path / "unknown.txt")
    assert gs.kinship(ws, kind="pedigree", file=tmp_path / "unknown.txt", unknown_parents="founders").matrix().shape == (2, 2)
    with pytest.raises(ConfigError, match="needs a rank"):
        gs.kinship(ws, "mice", "low_rank")
    with pytest.raises(DataError, match="there is no cohort 'rats'; loaded are mice"):
        gs.kinship(ws, "rats")
    with pytest.raises(DataError, match="no variant"):
        gs.kinship(ws, "mice", snps=["rs_nowhere"])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "delta"])
def test_through_spark_alone_the_same_bits(
    spark, ws: Workspace, mice: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """As where no worker reaches the tables' files: rows pass the JVM, eigenvectors are brought to workers by Spark."""
    wanted = gs.kinship(ws, "mice", "standardised")
    monkeypatch.setenv("GSEM_SPARK_DIRECT", "0")
    monkeypatch.setattr(genotype_index, "BLOCK_VARIANTS", 20)
    other = Workspace.create(str(tmp_path / "ws"), format, spark)
    gs.genotypes(other, write_bed(tmp_path / "mice", mice), "mice")
    found = gs.kinship(other, "mice", "standardised")
    for chromosome in (None, 1, 2, 3):
        np.testing.assert_array_equal(found.spectrum(chromosome).eigenvalues, wanted.spectrum(chromosome).eigenvalues)
        np.testing.assert_array_equal(found.spectrum(chromosome).vectors, wanted.spectrum(chromosome).vectors)
    file = spectrum_file(other, found.kinship_id, 2)
    assert file.shipped

    def ask(batches):
        import pyarrow as pa

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"x": [float(np.abs(file.load().vectors).sum())]})

    there = spark.range(0, 1, 1, 1).mapInArrow(ask, "x double").collect()[0]["x"]
    assert there == float(np.abs(wanted.spectrum(2).vectors).sum())
