"""Genotype files through Spark into blocks: the genotypes themselves, what filters did, samples, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from genotype_files import Cohort, write_bed, write_bgen

import gsem_spark as gs
from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import filter_variants, summarise
from gsem_spark.steps.genotypes import blocks as genotype_blocks
from gsem_spark.steps.genotypes import index as genotype_index
from gsem_spark.steps.genotypes.source import block_source, chromosomes_of, decode


@pytest.fixture(scope="module")
def mice() -> Cohort:
    return Cohort.draw(40, {1: 130, 2: 60, 19: 70}, missing=0.05, seed=3)


def rows_of(ws: Workspace, cohort: str, chromosomes: list[int] | None = None) -> pd.DataFrame:
    """Every variant of a cohort as a row, read as a step reads it."""
    source = block_source(ws, cohort, chromosomes)
    read = source.read

    def unpack(batches):
        yield from read(batches)

    table = source.frame.mapInArrow(unpack, ws.read("genotype_blocks").schema).toArrow().sort_by(
        [("chr", "ascending"), ("block", "ascending")])
    rows = []
    for row in table.to_pylist():
        G = decode(row)
        for j in range(row["n_variants"]):
            rows.append({name: row[name][j] for name in ("snp", "a1", "a2", "bp", "af", "maf", "missing", "hwe_p", "info")}
                        | {"chr": row["chr"], "block": row["block"], "first": row["first"], "G": G[j]})
    return pd.DataFrame(rows)


def test_a_fileset_comes_out_as_it_went_in(parquet_workspace: Workspace, mice: Cohort, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(genotype_index, "BLOCK_VARIANTS", 50)
    monkeypatch.setattr(genotype_blocks, "TASK_BYTES", 3_000)
    bed = write_bed(tmp_path / "mice", mice)
    cohort = gs.genotypes(parquet_workspace, bed, "mice", autosomes=19)
    found = rows_of(parquet_workspace, "mice")
    assert found["snp"].tolist() == mice.snp.tolist()
    np.testing.assert_array_equal(np.stack(found["G"].tolist()), mice.G)
    for name in ("a1", "a2", "bp", "chr"):
        assert found[name].tolist() == getattr(mice, name).tolist(), name
    assert found.groupby("chr")["block"].max().to_dict() == {1: 2, 2: 1, 19: 1}
    assert sorted(set(zip(found["block"], found["first"], strict=True))) == [(0, 0), (1, 50), (2, 100)]
    wanted = summarise(mice.G)
    for name in ("af", "maf", "missing", "hwe_p", "info"):
        np.testing.assert_array_equal(found[name], wanted[name])

    assert cohort.names == mice.iid.tolist()
    assert cohort.samples["sex"].tolist() == mice.sex.tolist()
    assert cohort.samples["father"].tolist() == mice.father.tolist()
    assert (cohort.n_samples, cohort.n_variants, cohort.kind) == (40, 260, "calls")
    assert chromosomes_of(parquet_workspace, "mice") == [1, 2, 19]
    assert set(rows_of(parquet_workspace, "mice", [2])["snp"]) == set(mice.snp[mice.chr == 2])


def test_filters_are_counted_rule_by_rule_with_examples(parquet_workspace: Workspace, tmp_path: Path) -> None:
    mice = Cohort.draw(50, {1: 80, 2: 40, 23: 4}, missing=0.02, seed=4)
    G = mice.G.copy()
    G[3], G[4], G[5, :20] = 0, -9, -9
    G[6] = np.where(np.arange(50) < 25, 0, 2)  # no heterozygote
    mice = mice.with_calls(G)
    mice.snp[10] = mice.snp[11] = "rs_twice"
    mice.snp[12] = "."
    chosen = {"maf": 0.1, "missing": 0.2, "hwe_p": 1e-4}
    gs.genotypes(parquet_workspace, write_bed(tmp_path / "mice", mice), **chosen)
    log = pd.DataFrame(parquet_workspace.records("qc_log")).set_index("rule")
    autosomal = mice.chr < 23
    named = autosomal & (mice.snp != "rs_twice")
    reasons = filter_variants(summarise(G[named]), **chosen)
    wanted = {"sex_chromosome": 4, "duplicate": 2, "no_name": 1, **{r: int((reasons == r).sum()) for r in log.index[-6:]}}
    for rule, n in wanted.items():
        assert log.loc[rule, "rows_dropped"] == n, rule
    assert wanted["no_calls"] == wanted["monomorphic"] == 1
    assert min(wanted["missing"], wanted["maf"], wanted["hwe"]) >= 1
    assert log.loc["hwe", "examples"] == [mice.snp[6]]
    assert log.loc["missing", "examples"] == [mice.snp[5]]
    assert log.loc["duplicate", "examples"][0].startswith("rs_twice (1:")
    assert log.loc["info", "rows_in"] == len(rows_of(parquet_workspace, "cohort")) == sum(r is None for r in reasons)
    assert f"1:{mice.bp[12]}:{mice.a2[12]}:{mice.a1[12]}" in set(rows_of(parquet_workspace, "cohort")["snp"])


def test_samples_are_kept_removed_and_matched_by_name(parquet_workspace: Workspace, mice: Cohort, tmp_path: Path) -> None:
    bed = write_bed(tmp_path / "mice", mice)
    (tmp_path / "keep.txt").write_text("#FID IID\n" + "".join(f"fam {i}\n" for i in mice.iid[[7, 3, 30]]) + "fam stranger\n")
    kept = gs.genotypes(parquet_workspace, bed, "few", keep=tmp_path / "keep.txt", remove=[mice.iid[30]], autosomes=19,
                        keep_monomorphic=True)
    assert kept.names == [mice.iid[3], mice.iid[7]], "in the order of the file"
    found = rows_of(parquet_workspace, "few")
    np.testing.assert_array_equal(np.stack(found["G"].tolist()), mice.G[:, [3, 7]])
    said = parquet_workspace.runs.of_step("genotypes")[-1].warnings
    assert any("1 of 4 samples of the keep list" in text and "fam stranger" in text for text in said)
    with pytest.raises(DataError, match=r"2 of 2 samples of the keep list .*nobody.* 40 of 40 samples of the genotypes .*fam s0"):
        gs.genotypes(parquet_workspace, bed, "none", keep=["nobody", "else"])


def test_what_cannot_be_used_is_refused_before_anything_is_written(
    parquet_workspace: Workspace, mice: Cohort, tmp_path: Path
) -> None:
    bed = write_bed(tmp_path / "mice", mice)
    with pytest.raises(DataError, match="none of 260 variants is left: chromosome 260"):
        gs.genotypes(parquet_workspace, bed, chromosomes=[5])
    with pytest.raises(ConfigError, match="hard calls do not say how well"):
        gs.genotypes(parquet_workspace, bed, info=0.8)
    with pytest.raises(ConfigError, match="maf"):
        gs.genotypes(parquet_workspace, bed, maf=0.7)
    with pytest.raises(DataError, match=r"70 of 260 variants lie on sex chromosomes or are mitochondrial: rs190 \(19:"):
        gs.genotypes(parquet_workspace, bed, autosomes=18, sex_chromosomes="refuse")
    assert not parquet_workspace.count("genotype_blocks")
    bgen = write_bgen(tmp_path / "mice.bgen", mice)
    bgen.write_bytes(bgen.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"mice.bgen: the file cannot be read: .*\nRemedy: fetch it again; is it cut off\?$"):
        gs.genotypes(parquet_workspace, bgen)
    other = write_bed(tmp_path / "other", mice.samples(slice(0, 39)))
    with pytest.raises(DataError, match="they differ from sample 40 on"):
        gs.genotypes(parquet_workspace, [bed, other])
