"""The same genotypes from every format, whole and in parts, with and without an index; and files that are damaged."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from genotype_files import Cohort, write_bed, write_bgen, write_pgen, write_vcf

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.readers import expand_files, open_reader
from gsem_spark.steps.genotypes.index import cut_blocks, with_chromosomes


@pytest.fixture(scope="module")
def mice() -> Cohort:
    cohort = Cohort.draw(23, {1: 40, 2: 25, 11: 30}, missing=0.1, seed=6)
    cohort.bp[10:14] = cohort.bp[10]  # several variants at one place
    return cohort


@pytest.fixture(scope="module")
def doses(mice: Cohort) -> Cohort:
    """Dosages in steps that every format keeps exactly: 8 bits of BGEN are 255ths, so only quarters near the ends differ."""
    G = np.where(np.random.default_rng(1).random(mice.G.shape) < 0.3, np.minimum(mice.G + 0.5, 2), mice.G)
    return mice.with_calls(np.where(mice.G < 0, -9, G))


def index_of(reader) -> pa.Table:
    parts = reader.index_parts
    return pa.concat_tables([reader.variants(p) for p in parts]) if parts else reader.variants()


def holds(reader, cohort: Cohort, tol: float = 0.0) -> None:
    """The reader's variants, samples and genotypes are the cohort's: all, some samples, and blocks with gaps from the middle."""
    index = index_of(reader)
    assert index.column("snp").to_pylist() == cohort.snp.tolist()
    assert index.column("bp").to_pylist() == cohort.bp.tolist()
    for name in ("a1", "a2"):
        assert index.column(name).to_pylist() == getattr(cohort, name).tolist()
    assert with_chromosomes(index, 0).column("chr").to_pylist() == cohort.chr.tolist()
    assert reader.samples()["iid"].tolist() == cohort.iid.tolist()
    wanted = cohort.G.astype(float)
    wanted[wanted < 0] = np.nan

    def same(found: np.ndarray, expected: np.ndarray) -> None:
        assert found.dtype == (np.int8 if reader.kind == "calls" else np.float32)
        assert found.flags.c_contiguous
        values = found.astype(float)
        if reader.kind == "calls":
            assert set(np.unique(found[found < 0])) <= {-9}
            values[found < 0] = np.nan
        np.testing.assert_allclose(values, expected, rtol=0, atol=tol)

    whole = list(reader.read(iter([index.slice(0, 40), index.slice(40)]), None))
    same(np.concatenate(whole), wanted)
    columns, rows = np.array([1, 5, 22]), np.array([11, 13, 20, 21, 45, 94])
    parts = [index.take(pa.array(rows[:2])), index.take(pa.array(rows[2:]))]
    same(np.concatenate(list(reader.read(iter(parts), columns))), wanted[np.ix_(rows, columns)])


def test_hard_calls(mice: Cohort, tmp_path: Path) -> None:
    bed = write_bed(tmp_path / "m", mice)
    holds(open_reader(str(bed)), mice)
    holds(open_reader(str(bed.with_suffix(""))), mice)
    holds(open_reader(str(write_pgen(tmp_path / "p", mice))), mice)
    holds(open_reader(str(write_vcf(tmp_path / "v.vcf", mice))), mice)
    indexed = open_reader(str(write_vcf(tmp_path / "i.vcf.gz", mice, index=True, chrom="chr{}")))
    assert (indexed.index_parts, indexed.sequential) == (("chr1", "chr2", "chr11"), False)
    holds(indexed, mice)
    for reader in (open_reader(str(bed)), open_reader(str(tmp_path / "p.pgen"))):
        assert reader.samples()["sex"].tolist() == mice.sex.tolist()
        assert reader.samples()["father"].tolist() == mice.father.tolist()


def test_dosages(mice: Cohort, doses: Cohort, tmp_path: Path) -> None:
    eighth = 0.5 / 255 + 1e-6
    holds(open_reader(str(write_pgen(tmp_path / "p", doses, dosages=True))), doses, 1e-4)
    holds(open_reader(str(write_bgen(tmp_path / "b.bgen", doses))), doses, 2 * eighth)
    walked = open_reader(str(write_bgen(tmp_path / "w.bgen", doses, index=False, named=False)))
    assert walked.sequential
    assert walked.samples()["sex"].tolist() == mice.sex.tolist()
    holds(walked, doses, 2 * eighth)
    both = write_vcf(tmp_path / "v.vcf", doses, ("GT", "DS", "GP"))
    assert [open_reader(str(both), field).field for field in ("auto", "GP")] == ["DS", "GP"]
    holds(open_reader(str(both)), doses, 1e-6)
    holds(open_reader(str(both), "GP"), doses, 1e-6)
    holds(open_reader(str(write_vcf(tmp_path / "g.vcf.gz", doses, ("GP",), index=True))), doses, 1e-6)


def test_several_alleles_are_counted(mice: Cohort, tmp_path: Path) -> None:
    three = open_reader(str(write_pgen(tmp_path / "p", mice, further={3: "TT", 50: "CC"})))
    alleles = three.variants().column("alleles").to_numpy()
    assert np.flatnonzero(alleles == 3).tolist() == [3, 50]
    rows = three.variants().filter(pa.array(alleles == 2))
    np.testing.assert_array_equal(next(three.read(iter([rows]), None)), mice.G[alleles == 2])
    text = (tmp_path / "v.vcf")
    write_vcf(text, mice)
    lines = text.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if "\trs7\t" in line)
    lines[row] = lines[row].replace(f"\t{mice.a1[7]}\t.", f"\t{mice.a1[7]},CCC\t.")
    text.write_text("\n".join(lines) + "\n")
    assert np.flatnonzero(index_of(open_reader(str(text))).column("alleles").to_numpy() == 3).tolist() == [7]


def test_blocks_of_a_file_that_is_not_in_order_of_chromosomes(mice: Cohort, tmp_path: Path) -> None:
    mixed = mice.variants(np.random.default_rng(3).permutation(95))
    order = np.argsort(mixed.chr, kind="stable")
    files = (write_bed(tmp_path / "m", mixed), write_vcf(tmp_path / "v.vcf", mixed),
             write_bgen(tmp_path / "b.bgen", mixed, index=False))
    for path in files:
        reader = open_reader(str(path))
        plans = cut_blocks(with_chromosomes(index_of(reader), 0), 23)
        found = np.concatenate(list(reader.read((p.rows() for p in plans), None)))
        wanted = mixed.G[order].astype(float)
        if reader.kind == "dosages":
            wanted[wanted < 0] = np.nan
        np.testing.assert_array_equal(found, wanted)


def refused(path: Path, words: str, error: type = DataError, **settings: str) -> None:
    with pytest.raises(error, match=words):
        reader = open_reader(str(path), **settings)
        list(reader.read(iter([index_of(reader)]), None))


def test_damaged_filesets(mice: Cohort, tmp_path: Path) -> None:
    bed = write_bed(tmp_path / "m", mice)
    data, bim, fam = bed.read_bytes(), bed.with_suffix(".bim"), bed.with_suffix(".fam")
    bed.write_bytes(data[:-1])
    refused(bed, r"572 bytes; 23 samples \(.fam\) and 95 variants \(.bim\) make 573: it is cut off")
    bed.write_bytes(data[:-6])
    refused(bed, "it holds 94 variants, the .bim file has 95 lines")
    bed.write_bytes(b"\x6c\x1b\x00" + data[3:])
    refused(bed, "sample-major")
    bed.write_bytes(b"BED" + data[3:])
    refused(bed, "does not begin as a PLINK 1")
    bed.write_bytes(data)
    lines = bim.read_text().splitlines()
    bim.write_text("\n".join([*lines[:4], lines[4].rsplit("\t", 2)[0], *lines[5:]]) + "\n")
    refused(bed, r"m.bim, line 5: 4 columns; 6 are wanted")
    bim.write_text("\n".join([*lines[:4], lines[4].replace(f"\t{mice.bp[4]}\t", "\there\t"), *lines[5:]]) + "\n")
    refused(bed, r"m.bim, line 5, column 4: the position 'here'")
    fam.unlink()
    refused(bed, r"m.fam: the file does not exist")
    pgen = write_pgen(tmp_path / "p", mice)
    packed, psam = pgen.read_bytes(), pgen.with_suffix(".psam")
    pgen.write_bytes(packed[: len(packed) // 2])
    refused(pgen, "cannot be read|does not begin")
    pgen.write_bytes(packed)
    psam.write_text(psam.read_text().rsplit("\n", 2)[0] + "\n")
    refused(pgen, "22 samples, the .pgen file has 23")


def test_damaged_vcf_and_bgen(mice: Cohort, tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "v.vcf.gz", mice, index=True)
    data = vcf.read_bytes()
    vcf.write_bytes(data[: len(data) * 2 // 3])
    refused(vcf, "cut off: its last block is not there")
    (tmp_path / "no.vcf").write_text("hello\n")
    refused(tmp_path / "no.vcf", "no VCF or BCF")
    plain = write_vcf(tmp_path / "p.vcf", mice)
    refused(plain, "no field DS; it declares GT", ConfigError, field="DS")
    plain.write_text(plain.read_text()[:-300])
    refused(plain, "cannot be read")
    bgen = write_bgen(tmp_path / "b.bgen", mice)
    data = bgen.read_bytes()
    bgen.write_bytes(data[:-40])
    refused(bgen, "cannot be read")
    bgen.write_bytes(b"x" * 100)
    refused(bgen, "no BGEN file")
    unnamed = write_bgen(tmp_path / "u.bgen", mice, named=False)
    sample = tmp_path / "u.sample"
    sample.write_text(sample.read_text().rsplit("\n", 2)[0] + "\n")
    with pytest.raises(DataError, match="has 22 samples, the BGEN file 23"):
        open_reader(str(unnamed)).samples()
    sample.unlink()
    refused(unnamed, "does not say who its samples are")


def test_names_of_files(mice: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for chromosome in (10, 2, 1):
        write_bed(tmp_path / f"chr{chromosome}", mice)
    names = [str(tmp_path / f"chr{c}.bed") for c in (1, 2, 10)]
    assert expand_files([str(tmp_path / "chr{chr}.bed")]) == expand_files([str(tmp_path / "chr*.bed")]) == names
    with pytest.raises(DataError, match="no file fits"):
        expand_files([str(tmp_path / "no*.bed")])
    with pytest.raises(ConfigError, match="mounted folder"):
        open_reader("s3a://bucket/mice.bed")
    (tmp_path / "mice.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"format is not known.*\n.*\.bgen"):
        open_reader(str(tmp_path / "mice.txt"))
    real = builtins.__import__
    monkeypatch.setitem(__import__("sys").modules, "bed_reader", None)
    with pytest.raises(ConfigError, match=r"needs the Python package bed-reader.*\n.*pip install 'gsem-spark\[geno\]'"):
        open_reader(names[0])
    assert builtins.__import__ is real
