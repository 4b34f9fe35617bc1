"""Munging on Spark: what goes in, what comes out, what is refused, and that nothing half-written stays."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gsem_spark as gs
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.steps.munge.step import MungeConfig, MungeStep

N_SNPS = 240
ALLELES = [("A", "C"), ("G", "T"), ("A", "G"), ("C", "T")]


def _reference() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    at = np.arange(N_SNPS)
    return pd.DataFrame(
        {
            "SNP": [f"rs{i + 1}" for i in at],
            "CHR": at % 3 + 1,
            "BP": (at + 1) * 1000,
            "MAF": rng.uniform(0.1, 0.5, N_SNPS).round(4),
            "A1": [ALLELES[i % 4][0] for i in at],
            "A2": [ALLELES[i % 4][1] for i in at],
        }
    )


def _raw(reference: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    beta, se = rng.normal(0, 0.02, len(reference)), np.full(len(reference), 0.01)
    from scipy import stats

    return reference[["SNP", "CHR", "BP", "A1", "A2"]].assign(
        FRQ=reference["MAF"], INFO=0.98, BETA=beta, SE=se, P=2 * stats.norm.sf(np.abs(beta / se)), N=50_000
    )


@pytest.fixture
def ws(parquet_workspace, tmp_path):
    _reference().to_csv(tmp_path / "reference.tsv", sep="\t", index=False)
    gs.load_references(parquet_workspace, variants=tmp_path / "reference.tsv")
    return parquet_workspace


@pytest.fixture
def raw() -> pd.DataFrame:
    return _raw(_reference())


def _write(frame: pd.DataFrame, path: Path, sep: str = "\t", **kwargs) -> Path:
    frame.to_csv(path, sep=sep, index=False, **kwargs)
    return path


def _rows(ws, trait: str = "T") -> pd.DataFrame:
    return ws.read("sumstats").where(f"trait = '{trait}'").toPandas().sort_values("snp", ignore_index=True)


def test_rows_come_out_scaled_signed_and_placed(ws, raw, tmp_path) -> None:
    report = gs.munge(ws, [gs.Trait("T", _write(raw, tmp_path / "t.tsv"))])
    assert (report.status, report.rows) == ("done", N_SNPS)
    got = _rows(ws).merge(raw, left_on="snp", right_on="SNP")
    assert np.allclose(got["z"], got["BETA"] / got["SE"], rtol=1e-9)
    assert np.allclose(got["beta"] / got["se"], got["z"], rtol=1e-9)
    assert (got["chr"] == got["CHR"]).all() and (got["bp"] == got["BP"]).all()
    assert got["n"].eq(50_000).all()


@pytest.mark.parametrize(("name", "sep"), [("t.csv", ","), ("t.txt", " "), ("t.ssv", ";"), ("t.tsv.gz", "\t")])
def test_any_delimiter_and_gzip_give_the_same(ws, raw, tmp_path, name, sep) -> None:
    gs.munge(ws, [gs.Trait("T", _write(raw, tmp_path / "plain.tsv"))])
    expected = _rows(ws).drop(columns="file_id")
    gs.munge(ws, [gs.Trait("T", _write(raw, tmp_path / name, sep))])
    pd.testing.assert_frame_equal(_rows(ws).drop(columns="file_id"), expected)


def test_zstd_bgzip_crlf_bom_and_quotes_give_the_same(ws, raw, tmp_path) -> None:
    import pyarrow as pa

    gs.munge(ws, [gs.Trait("T", _write(raw, tmp_path / "plain.tsv"))])
    expected = _rows(ws).drop(columns="file_id")
    text = (tmp_path / "plain.tsv").read_bytes()
    half = text.index(b"\n", len(text) // 2) + 1
    variants = {
        "t.tsv.bgz": gzip.compress(text[:half]) + gzip.compress(text[half:]),
        "t.crlf.tsv": text.replace(b"\n", b"\r\n"),
        "t.bom.tsv": b"\xef\xbb\xbf" + text,
        "t.quoted.tsv": b"\n".join(b"\t".join(b'"' + f + b'"' for f in line.split(b"\t")) for line in text.splitlines()) + b"\n",
    }
    for name, content in variants.items():
        (tmp_path / name).write_bytes(content)
    with pa.CompressedOutputStream(str(tmp_path / "t.tsv.zst"), "zstd") as out:
        out.write(text)
    for name in [*variants, "t.tsv.zst"]:
        gs.munge(ws, [gs.Trait("T", tmp_path / name)])
        pd.testing.assert_frame_equal(_rows(ws).drop(columns="file_id"), expected, obj=name)


def test_dirty_rows_are_rejected_with_rule_line_and_examples(ws, raw, tmp_path) -> None:
    raw = raw.astype(object)
    raw.loc[3, "P"] = "NA"
    raw.loc[5, "P"] = 1.7
    raw.loc[7, "A1"], raw.loc[7, "A2"] = "A", "A"
    raw = pd.concat([raw, raw.iloc[[10]]], ignore_index=True)
    path = _write(raw, tmp_path / "t.tsv")
    with path.open("a") as out:
        out.write("rs12\tonly\tthree\n")
    report = gs.munge(ws, [gs.Trait("T", path)])
    rejects = {r.row: r for r in ws.read("rejects").collect()}
    assert {row: r.rule for row, r in rejects.items()} == {
        5: "p_missing",
        7: "p_out_of_range",
        9: "allele_mismatch",
        N_SNPS + 2: "duplicate",
        N_SNPS + 3: "field_count",
    }
    assert rejects[7].text.split("\t")[9] == "1.7"
    log = {r.rule: r for r in ws.read("qc_log").collect()}
    assert log["duplicate"].rows_dropped == 1
    assert log["p_missing"].examples == [f"5: {rejects[5].text}"]
    assert log["field_count"].rows_in == N_SNPS + 2
    assert report.rows == N_SNPS - 3
    assert any("another number of fields" in w for w in report.warnings)


def test_same_content_and_settings_is_no_new_data(ws, raw, tmp_path) -> None:
    path = _write(raw, tmp_path / "t.tsv")
    gs.munge(ws, [gs.Trait("T", path)])
    versions = {t: ws.version(t) for t in ("sumstats", "rejects", "qc_log", "traits")}
    (tmp_path / "copy.tsv").write_bytes(path.read_bytes())
    assert gs.munge(ws, [gs.Trait("T", tmp_path / "copy.tsv")]).status == "skipped"
    both = gs.munge(ws, [gs.Trait("T", path), gs.Trait("U", path)])
    assert (both.summary["munged"], both.summary["unchanged"]) == (["U"], ["T"])
    gs.munge(ws, [gs.Trait("T", path)], maf_min=0.2)
    assert ws.version("sumstats") > versions["sumstats"]
    assert len(_rows(ws)) == int((raw["FRQ"] >= 0.2).sum())
    again = gs.munge(ws, [gs.Trait("T", path)])
    assert again.status == "done" and len(_rows(ws)) == N_SNPS


def test_sample_size_from_the_sidecar(ws, raw, tmp_path) -> None:
    path = _write(raw.drop(columns="N"), tmp_path / "t.tsv")
    (tmp_path / "t.tsv-meta.yaml").write_text("samples:\n  - sample_size: 1000\n  - sample_size: 234\n")
    gs.munge(ws, [gs.Trait("T", path)])
    assert _rows(ws)["n"].eq(1234).all()


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (lambda raw: raw.drop(columns="P").drop(columns="SE"), "p-value"),
        (lambda raw: raw.drop(columns="N"), "sample size"),
        (lambda raw: raw.assign(P="NA").drop(columns="SE"), "p-value"),
        (lambda raw: raw.assign(A1="N"), "none of 240 rows is usable"),
        (lambda raw: raw.assign(BP=raw["BP"] + 17), "another genome build"),
        (lambda raw: raw.assign(SNP=[f"x{i}" for i in range(len(raw))]), "not_in_reference"),
        (lambda raw: raw.rename(columns={"BETA": "OR"}), "odds ratio"),
    ],
)
def test_unusable_files_are_refused_and_leave_nothing(ws, raw, tmp_path, make, phrase) -> None:
    with pytest.raises(DataError, match=phrase) as error:
        gs.munge(ws, [gs.Trait("T", _write(make(raw), tmp_path / "t.tsv"))])
    assert "t.tsv" in str(error.value) and error.value.remedy
    assert not ws.exists("sumstats") and not ws.exists("traits") and not ws.exists("rejects")


@pytest.mark.parametrize(
    ("name", "content", "phrase"),
    [
        ("t.tsv", b"", "0 bytes"),
        ("t.html", b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        ("t.bin", bytes(range(256)) * 40, "binary"),
        ("t.one", b"SNPA1A2P\nrs1\nrs2\n", "column"),
    ],
)
def test_files_that_are_no_tables(ws, tmp_path, name, content, phrase) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=phrase):
        gs.munge(ws, [gs.Trait("T", tmp_path / name)])


def test_a_truncated_gzip_is_named_and_leaves_the_old_data(ws, raw, tmp_path) -> None:
    path = _write(raw, tmp_path / "good.tsv")
    gs.munge(ws, [gs.Trait("T", path)])
    before = _rows(ws)
    big = pd.concat([raw] * 40, ignore_index=True)
    big["SNP"] = [f"rs{i}" for i in range(len(big))]
    whole = gzip.compress(big.to_csv(sep="\t", index=False).encode())
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut off before its end") as error:
        gs.munge(ws, [gs.Trait("T", tmp_path / "cut.tsv.gz")])
    assert "cut.tsv.gz" in error.value.where
    pd.testing.assert_frame_equal(_rows(ws), before)


def test_settings_that_make_no_sense(ws, raw, tmp_path) -> None:
    path = _write(raw, tmp_path / "t.tsv")
    with pytest.raises(ConfigError, match="named twice: T"):
        gs.munge(ws, [gs.Trait("T", path), gs.Trait("T", path)])
    with pytest.raises(ConfigError, match="no such column"):
        gs.munge(ws, [gs.Trait("T", path, columns={"snp": "MarkerID"})])
    with pytest.raises(ValueError, match="go together"):
        gs.Trait("T", path, sample_prevalence=0.3)


def test_rows_do_not_depend_on_the_order_of_lines_or_partitions(ws, raw, tmp_path, monkeypatch) -> None:
    gs.munge(ws, [gs.Trait("T", _write(raw, tmp_path / "a.tsv"))])
    expected = _rows(ws).drop(columns="file_id")
    monkeypatch.setattr("gsem_spark.steps.munge.step.BYTES_PER_PARTITION", 3_000)
    gs.munge(ws, [gs.Trait("T", _write(raw.sample(frac=1, random_state=3), tmp_path / "b.tsv"))])
    pd.testing.assert_frame_equal(_rows(ws).drop(columns="file_id"), expected)


def test_a_header_without_rows_is_an_empty_trait(ws, raw, tmp_path) -> None:
    report = gs.munge(ws, [gs.Trait("T", _write(raw.iloc[:0], tmp_path / "t.tsv"))])
    assert report.status == "empty" and any("no rows" in w for w in report.warnings)
    assert ws.read("sumstats").count() == 0


def test_the_config_survives_json() -> None:
    config = MungeConfig(traits=(gs.Trait("T", "t.tsv", scale="logistic", sample_prevalence=0.3, population_prevalence=0.1),))
    assert MungeConfig.model_validate_json(config.model_dump_json()) == config
    assert MungeStep(config).config == config
