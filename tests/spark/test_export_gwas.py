"""Files for other programs from a workspace: one file a path, in the run's own order, with what its record says of N."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from pyspark.sql import functions as F

import gsem_spark as gs
from gsem_spark.catalog.runs import RunEntry
from gsem_spark.catalog.schemas import schema_of
from gsem_spark.errors import ConfigError, DataError

TRAITS = ("A", "B", "C")
SNPS = 120
EXACT = {"sep": "\t", "float_precision": "round_trip"}


@pytest.fixture(scope="module")
def ws(spark, tmp_path_factory):
    """A common-factor GWAS of 120 SNPs on two chromosomes, and a run of two paths made of its rows."""
    rng = np.random.default_rng(6)
    ws = gs.Workspace.create(str(tmp_path_factory.mktemp("export") / "ws"), "parquet", spark)
    eaf = rng.uniform(0.05, 0.95, SNPS)
    known = pd.DataFrame({
        "snp": [f"rs{i}" if i else "1:77_A_G" for i in range(SNPS)], "chr": np.repeat([1, 22], SNPS // 2),
        "bp": rng.permutation(SNPS) * 1000 + 5, "a1": "A", "a2": "G", "maf": np.minimum(eaf, 1 - eaf), "info": 1.0, "n": 1e5,
    })  # fmt: skip
    for number, trait in enumerate(TRAITS):
        se = 1 / np.sqrt(2 * eaf * (1 - eaf) * 1e5)
        z = rng.normal(0, 1.5, SNPS)
        z[7] = 60.0
        given = np.where((number == 0) & (np.arange(SNPS) % 10 == 3), np.nan, eaf)  # the first trait does not always say
        given[5] = np.nan
        bad = np.where(number + np.arange(SNPS) == 30, 0, se)
        rows = known.assign(trait=trait, file_id=f"f{trait}", eaf=given, z=z, beta=z * se, se=bad)
        ws.put("sumstats", rows, {"trait": trait})
        ws.put("traits", [{
            "trait": trait, "file_id": f"f{trait}", "file": trait, "sha256": "0" * 64, "scale": "linear", "columns": {},
            "settings": "{}", "rows_in": SNPS, "rows_kept": SNPS,
        }], {"trait": trait})  # fmt: skip
    S = np.array([[0.3, 0.15, 0.12], [0.15, 0.25, 0.1], [0.12, 0.1, 0.2]])
    cov = gs.CovStruct.from_matrices(S, np.diag([2, 1, 1, 2, 1, 3]) * 1e-4, np.eye(3), TRAITS)
    run = gs.common_factor_gwas(ws, cov)
    rows = run.results().withColumn("run_id", F.lit("user-1"))
    twice = rows.unionByName(rows.withColumn("lhs", F.lit("B")).withColumn("q_snp_df", F.lit(0)))
    scope = schema_of("gwas_results").scope
    ws.replace("gwas_results", twice, [row.asDict() for row in twice.select(*scope).distinct().collect()])
    now = dt.datetime(2026, 1, 2)
    config = {"model": "F1 =~ A + B + C\nF1 ~ g*SNP\nB ~ SNP", "traits": TRAITS}
    figures = {"rows": ["F1~SNP", "B~SNP"], "free": [4, 5], "paths": {"F1~SNP": {"effective_n": 5e4}, "B~SNP": {}}}
    ws.runs.record(RunEntry("user-1", "user_gwas", "done", "h", json.dumps(config), "v", {}, now, summary=figures, ended=now))
    return ws, run


def results(run):
    return run.results().toPandas().sort_values(["chr", "bp"], ignore_index=True)


def test_gwas_ssf_has_the_frequency_of_the_effect_allele_and_its_metadata(ws, tmp_path):
    ws, run = ws
    (made,) = gs.export_gwas(ws, tmp_path / "f.tsv.gz", "gwas-ssf", run_id=run.run_id, assembly="GRCh38", bgzip=True)
    want = results(run)
    kept = want[want["est"].notna()].reset_index(drop=True)
    assert 0 < made.left_out == len(want) - len(kept) and made.rows == len(kept)
    data = gzip.decompress((tmp_path / "f.tsv.gz").read_bytes()).decode()
    assert data.splitlines()[0].split("\t")[:8] == [
        "chromosome", "base_pair_location", "effect_allele", "other_allele", "beta", "standard_error", "effect_allele_frequency",
        "p_value",
    ]  # fmt: skip
    got = pd.read_csv(tmp_path / "f.tsv.gz", na_values=["#NA"], **EXACT)
    assert np.array_equal(got["beta"], kept["est"]) and np.array_equal(got["standard_error"], kept["se"])
    assert got["rsid"].isna().sum() == (~kept["snp"].str.startswith("rs")).sum() == 1
    third = ws.read("sumstats").where("trait = 'B'").toPandas().set_index("snp")["eaf"]
    assert np.array_equal(got["effect_allele_frequency"], third[kept["snp"]], equal_nan=True)
    assert made.without_frequency == got["effect_allele_frequency"].isna().sum() == 1
    small = int(np.argmax(kept["neglog10p"]))
    assert kept["neglog10p"][small] > 320 and f"e-{int(np.ceil(kept['neglog10p'][small]))}" in data
    meta = yaml.safe_load((tmp_path / "f.tsv.gz-meta.yaml").read_text())
    assert meta["data_file_md5sum"] == hashlib.md5((tmp_path / "f.tsv.gz").read_bytes()).hexdigest()
    assert meta["samples"][0]["sample_size"] == round(run.summary["effective_n"]) == got["n"][0]
    assert meta["genome_assembly"] == "GRCh38" and "var(F) / (2 MAF (1 - MAF) SE^2)" in meta["author_notes"]
    assert [p.name for p in made.others] == ["f.tsv.gz.tbi", "f.tsv.gz-meta.yaml"] and all(p.exists() for p in made.others)


def test_each_path_has_a_file_in_the_run_s_own_order(ws, tmp_path):
    ws, run = ws
    made = gs.export_gwas(ws, tmp_path / "u.tsv", "genomicsem", run_id="user-1")
    assert [(m.path, m.file.name, m.rows) for m in made] == [("F1~SNP", "u.F1~SNP.tsv", SNPS), ("B~SNP", "u.B~SNP.tsv", SNPS)]
    first, second = (pd.read_csv(m.file, keep_default_na=False, sep="\t") for m in made)
    assert set(first["label"]) == {"g"} and set(second["label"]) == {""}
    assert "Q_SNP" in first and "Q_SNP" not in second and set(second["lhs"]) == {"B"}
    bad = first[first["est"] == "NA"]
    assert len(bad) and bad["error"].str.contains("standard error").all() and (bad["free"] == "NA").all()
    assert set(first.loc[first["est"] != "NA", "free"].astype(int)) == {4} and "Z_smooth" not in first
    assert (first.loc[first["est"] != "NA", "error"] == 0).all() or set(first.loc[first["est"] != "NA", "error"]) == {"0"}
    assert first["SNP"].tolist() == results(run)["snp"].tolist()


def test_z_smooth_is_written_when_asked_for(ws, tmp_path):
    ws, run = ws
    (made,) = gs.export_gwas(ws, tmp_path / "z.tsv", "genomicsem", run_id=run.run_id, smooth_check=True)
    got = pd.read_csv(made.file, sep="\t")
    assert got.columns[-1] == "Z_smooth" and np.array_equal(got["Z_smooth"], results(run)["z_smooth"], equal_nan=True)
    with pytest.raises(ConfigError, match="ldsc has no Z_smooth"):
        gs.export_gwas(ws, tmp_path / "l", "ldsc", run_id=run.run_id, smooth_check=True)


def test_n_is_the_record_s_or_the_user_s(ws, tmp_path):
    ws, _ = ws
    (made,) = gs.export_gwas(ws, tmp_path / "l.sumstats.gz", "ldsc", run_id="user-1", paths=["F1 ~ SNP"])
    assert made.n == 5e4 and set(pd.read_csv(made.file, sep="\t")["N"]) == {50_000}
    with pytest.raises(DataError, match="effective sample size of B~SNP is not known"):
        gs.export_gwas(ws, tmp_path / "b", "fuma", run_id="user-1", paths=["B~SNP"])
    (given,) = gs.export_gwas(ws, tmp_path / "b", "fuma", run_id="user-1", paths=["B~SNP"], n=1234)
    table = pd.read_csv(given.file, **EXACT)
    assert table.columns.tolist() == ["SNP", "CHR", "BP", "A1", "A2", "P", "BETA", "SE", "N"] and table["P"].min() == 1e-308
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_exported(ws, tmp_path):
    ws, _ = ws
    for words, error, arguments in (
        ("no format 'plink'", ConfigError, {"format": "plink"}),
        ("no path F9~SNP", ConfigError, {"format": "ldsc", "run_id": "user-1", "paths": ["F9~SNP"]}),
        ("no finished GWAS other", DataError, {"format": "ldsc", "run_id": "other"}),
    ):
        with pytest.raises(error, match=words):
            gs.export_gwas(ws, tmp_path / "x", **arguments)
    assert list(tmp_path.iterdir()) == []
