"""Loading the variant reference and LD scores."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.steps.references.load import load_references, panel_version


@pytest.fixture
def ld_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ld"
    folder.mkdir()
    for chromosome, rows in {1: [("rs2", 20, 2.0), ("rs1", 10, 1.5)], 10: [("rs9", 5, 3.0)], 2: [("rs4", 7, 4.0)]}.items():
        with gzip.open(folder / f"{chromosome}.l2.ldscore.gz", "wt") as out:
            out.write("CHR\tSNP\tBP\tCM\tMAF\tL2\n")
            out.writelines(f"{chromosome}\t{snp}\t{bp}\t0.1\t0.3\t{l2}\n" for snp, bp, l2 in rows)
        (folder / f"{chromosome}.l2.M_5_50").write_text(f"{100 * chromosome}\n")
    return folder


def test_demo_references_load_and_load_once(tmp_workspace, demo_data) -> None:
    ws = tmp_workspace
    first = load_references(ws, demo_data / "raw" / "reference.tsv", demo_data / "ld", hm3=demo_data / "raw" / "snplist.tsv")
    assert [r.status for r in first] == ["done", "done"]
    assert [r.rows for r in first] == [24001, 24001]
    assert first[1].summary["M"] == 1_000_000
    assert ws.read("reference_variants").where("hm3").count() == 24001
    version = ws.version("ld_scores")
    again = load_references(ws, demo_data / "raw" / "reference.tsv", demo_data / "ld", hm3=demo_data / "raw" / "snplist.tsv")
    assert [r.status for r in again] == ["skipped", "skipped"]
    assert ws.version("ld_scores") == version


def test_order_is_by_chromosome_number_and_position(tmp_workspace, ld_folder) -> None:
    load_references(tmp_workspace, ld_scores=ld_folder)
    rows = tmp_workspace.read("ld_scores").orderBy("ord").collect()
    assert [(r.ord, r.chr, r.snp, r.m) for r in rows] == [
        (0, 1, "rs1", 100.0),
        (1, 1, "rs2", 100.0),
        (2, 2, "rs4", 200.0),
        (3, 10, "rs9", 1000.0),
    ]
    assert all(r.wld == r.l2 for r in rows)


def test_weights_from_another_folder(tmp_workspace, ld_folder, tmp_path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    with gzip.open(weights / "1.l2.ldscore.gz", "wt") as out:
        out.write("CHR\tSNP\tBP\tL2\n1\trs1\t10\t7.5\n")
    load_references(tmp_workspace, ld_scores=ld_folder, weights=weights)
    assert [(r.snp, r.l2, r.wld) for r in tmp_workspace.read("ld_scores").collect()] == [("rs1", 1.5, 7.5)]


def test_a_panel_replaced_by_other_scores_is_another_version(tmp_workspace, ld_folder) -> None:
    load_references(tmp_workspace, ld_scores=ld_folder)
    before = panel_version(tmp_workspace, None)
    (ld_folder / "2.l2.M_5_50").write_text("777\n")
    load_references(tmp_workspace, ld_scores=ld_folder)
    assert panel_version(tmp_workspace, "eur") != before
    assert tmp_workspace.read("ld_scores").where(F.col("m") == 777).count() == 1
    assert tmp_workspace.read("ld_scores").count() == 4


def test_variants_with_repeats_frequencies_and_names(tmp_workspace, tmp_path) -> None:
    path = tmp_path / "ref.txt"
    path.write_text("rsid  chromosome pos A1 A2 af\nrs1 chr1 100 a g 0.9\nrs2 X 5 C T NA\nrs3 1 7 C T 0.2\nrs3 1 7 C G 0.2\n")
    report = load_references(tmp_workspace, variants=path)[0]
    rows = {r.snp: r for r in tmp_workspace.read("reference_variants").collect()}
    assert set(rows) == {"rs1", "rs2"}
    assert rows["rs1"].maf == pytest.approx(0.1) and rows["rs1"].a1 == "A" and rows["rs1"].chr == 1
    assert rows["rs2"].chr == 23 and rows["rs2"].maf is None
    assert "1 variant names stand more than once" in report.warnings[0]
    assert "have no MAF" in report.warnings[1]


def test_unknown_chromosome_names_are_told(tmp_workspace, tmp_path) -> None:
    path = tmp_path / "ref.txt"
    path.write_text("SNP CHR BP A1 A2 MAF\nrs1 chr1 9 A G 0.2\nrs2 chrUn_KI270752v1 9 A G 0.2\nrs3 27 9 A G 0.2\n")
    report = load_references(tmp_workspace, variants=path)[0]
    assert "2 of 3 reference variants have no chromosome that is known (1 to 22, X" in report.warnings[0]


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("none.txt", None, "does not exist"),
        ("empty.txt", "", "0 bytes"),
        ("cols.txt", "SNP A1 X Y\nrs1 A C 1\n", "column A2 not found"),
    ],
)
def test_bad_variant_files(tmp_workspace, tmp_path, name, text, phrase) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=phrase):
        load_references(tmp_workspace, variants=tmp_path / name)
    assert not tmp_workspace.exists("reference_variants")


def test_bad_ld_folders(tmp_workspace, tmp_path, ld_folder) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_references(tmp_workspace, ld_scores=tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.txt").write_text("x")
    with pytest.raises(DataError, match="no file is named like"):
        load_references(tmp_workspace, ld_scores=tmp_path / "other")
    (ld_folder / "10.l2.M_5_50").unlink()
    with pytest.raises(DataError, match=r"chromosomes \[10\] have LD scores and no"):
        load_references(tmp_workspace, ld_scores=ld_folder)
    with pytest.raises(ConfigError, match="nothing to load"):
        load_references(tmp_workspace)
    assert not tmp_workspace.exists("ld_scores")
