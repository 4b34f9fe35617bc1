"""``mtag``, ``reconcile`` and ``review`` as they are typed, on a small simulated set, in this process."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import yaml
from verb_runner import type_in

import gsem_spark as gs
from gsem_spark.steps.simulation.simulate import simulate

TRAITS = ("T1", "T2", "T3")


@pytest.fixture(scope="module")
def workspace(spark, tmp_path_factory):
    """Three munged traits with their structure and the factor GWAS."""
    root = tmp_path_factory.mktemp("cli")
    raw = root / "set" / "raw"
    S = [[0.3, 0.15, 0.12], [0.15, 0.25, 0.1], [0.12, 0.1, 0.2]]
    simulate(root / "set", S=S, n=[200_000, 150_000, 180_000], n_snps=3000, seed=5)
    ws = gs.Workspace.create(str(root / "ws"), "parquet", spark)
    gs.load_references(ws, variants=str(raw / "reference.tsv"), ld_scores=str(root / "set" / "ld"))
    gs.munge(ws, [gs.Trait(t, str(raw / f"{t}.OLS.tsv.gz")) for t in TRAITS])
    gs.common_factor_gwas(ws, gs.ldsc(ws, TRAITS, n_blocks=50))
    return ws.location


def test_the_verbs_one_after_the_other(workspace, tmp_path):
    status, said = type_in("reconcile", workspace, "--quiet")
    assert status == 4
    assert "there is no finished run of mtag" in said
    assert "remedy: run mtag first" in said

    status, said = type_in("mtag", workspace, "--covstruct", "last", "--max-fdr", "--intervals", 4, "--quiet")
    assert status == 0, said
    for words in ("MTAG, run mtag-", "share of each trait", "maxFDR", "T3"):
        assert words in said

    status, said = type_in("max-fdr", workspace, "--states", "TTT,FFF,TFF", "--intervals", 3, "--quiet")
    assert status == 0, said
    assert "reached at" in said

    status, said = type_in("reconcile", workspace, "--quiet")
    assert status == 0, said
    assert "Common-factor SNP: factor p < 5e-08" in " ".join(said.split()) or "no SNP is significant" in said

    status, said = type_in("review", workspace, "--ancestry", "European", "--n-blocks", 50, "--quiet")
    assert status == 0, said
    assert "review of common_factor_gwas-" in said
    assert "maxFDR" in said  # a narrow terminal breaks the question over lines
    assert "loci without each trait need more than 3 indicators" in said

    cohort = tmp_path / "cohort.tsv"
    cohort.write_text("SNP\tA1\tA2\tBETA\nrs1\tA\tC\t0.1\n", encoding="utf-8")
    status, said = type_in("reconcile", workspace, "--replication-file", cohort, "--quiet")
    assert status == 4
    assert "columns se are missing; there are snp, a1, a2, beta" in " ".join(said.split())

    target = tmp_path / "t1.txt"
    status, said = type_in("export", workspace, "mtag_results", target, "--trait", "T1", "--reference", "--quiet")
    assert status == 0, said
    assert target.read_text().startswith("SNP\tCHR\tBP\tA1\tA2\tZ\tN\tFRQ\tmtag_beta")


def test_a_matrix_file_and_what_is_wrong_with_it(workspace, tmp_path):
    good, bad = tmp_path / "sigma.txt", tmp_path / "bad.txt"
    np.savetxt(good, np.eye(3))
    np.savetxt(bad, np.eye(2))
    status, said = type_in("mtag", workspace, "--sigma", good, "--no-overlap", "--quiet")
    assert status == 0, said
    status, said = type_in("mtag", workspace, "--sigma", bad, "--quiet")
    assert status != 0
    assert "Sigma has the shape 2 × 2, but there are 3 traits" in said
    status, said = type_in("mtag", workspace, "--sigma", good, "--equal-h2", "--quiet")
    assert status == 2
    assert "equal_h2 needs perfect_gencov" in said
    status, said = type_in("mtag", workspace, "--traits", "T1", "--sigma", good, "--quiet")
    assert status == 4
    assert "MTAG needs at least 2 traits" in said


def test_the_factor_s_gwas_for_other_programs_and_back_again(workspace, tmp_path):
    """What munge reads of our own files are the numbers that stand in the table."""
    ws = gs.Workspace.open(workspace)
    run = [e for e in ws.runs.all() if e.step == "common_factor_gwas"][-1]
    everything = ws.read("gwas_results").toPandas().set_index("snp").sort_index()
    results = everything[everything["est"].notna()]
    size = round(run.summary["effective_n"])
    for kind, name, columns in (("gwas-ssf", "factor.tsv.bgz", 10), ("ldsc", "factor.sumstats.gz", 5)):
        options = ("--as", kind, "--assembly", "GRCh37", "--quiet")
        status, said = type_in("export", workspace, "gwas_results", tmp_path / name, *options)
        assert status == 0, said
        assert f"{name}: F1~SNP, {len(results):,} SNPs, N {size:,}" in said.replace("\n", "")
        assert f"{len(everything) - len(results)} SNPs without an estimate are left out" in said.replace("\n", " ")
        text = pd.read_csv(tmp_path / name, sep="\t", compression="gzip")
        assert len(text) == len(results) and len(text.columns) >= columns
        trait = kind.replace("-", "_")
        gs.munge(ws, [gs.Trait(trait, str(tmp_path / name))])
        back = ws.read("sumstats").where(f"trait = '{trait}'").toPandas().set_index("snp").sort_index()
        assert back.index.equals(results.index)
        assert np.allclose(back["z"], results["z"], rtol=1e-9) and (back["n"] == size).all()
        assert (back["a1"] == results["a1"]).all()
    meta = yaml.safe_load((tmp_path / "factor.tsv.bgz-meta.yaml").read_text())
    assert meta["data_file_md5sum"] == hashlib.md5((tmp_path / "factor.tsv.bgz").read_bytes()).hexdigest()
    assert meta["genome_assembly"] == "GRCh37" and meta["samples"][0]["sample_size"] == size
    assert "var(F) / (2 MAF (1 - MAF) SE^2)" in meta["author_notes"]
    assert (tmp_path / "factor.tsv.bgz.tbi").exists()
    exact = {"sep": "\t", "compression": "gzip", "float_precision": "round_trip"}
    first = pd.read_csv(tmp_path / "factor.tsv.bgz", **exact).set_index("rsid").sort_index()
    assert np.array_equal(first["beta"], results["est"]) and np.array_equal(first["standard_error"], results["se"])
    eaf = ws.read("sumstats").where("trait = 'T1'").toPandas().set_index("snp")["eaf"]
    assert np.array_equal(first["effect_allele_frequency"], eaf[first.index])


def test_genomicsem_s_table_and_what_cannot_be_exported(workspace, tmp_path):
    target = tmp_path / "factor.tsv"
    status, said = type_in("export", workspace, "gwas_results", target, "--as", "genomicsem", "--path", "F1 ~ SNP", "--quiet")
    assert status == 0, said
    table = pd.read_csv(target, sep="\t")
    assert list(table.columns[:11]) == ["SNP", "CHR", "BP", "MAF", "A1", "A2", "i", "lhs", "op", "rhs", "est"]
    assert table["i"].tolist() == list(range(1, len(table) + 1)) and (table["BP"].diff()[table["CHR"].diff() == 0] >= 0).all()
    for arguments, words in (
        (("gwas_results", target, "--as", "plink"), "there is no format 'plink'"),
        (("gwas_results", target, "--as", "ldsc", "--path", "F2~SNP"), "the run has no path F2~SNP"),
        (("gwas_results", target, "--as", "ldsc", "--run", "other"), "there is no finished GWAS other"),
        (("loci", target, "--as", "ldsc"), "table loci has no formats of other programs"),
    ):
        status, said = type_in("export", workspace, *arguments, "--quiet")
        assert status != 0 and words in said


def test_snps_of_the_panel_in_one_model(workspace, tmp_path):
    """One SNP of the panel, with its own LD of 1, is its GWAS with the measurement free."""
    ws = gs.Workspace.open(workspace)
    results = ws.read("gwas_results").toPandas().set_index("snp")
    best = results["p"].idxmin()
    (tmp_path / "ld.txt").write_text("1\n")
    options = ("--covstruct", "last", "--snps", best, "--ld", tmp_path / "ld.txt", "--gc", "standard", "--out", tmp_path / "fit")
    status, said = type_in("multi-snp", workspace, "--model", f"F1 =~ T1 + T2 + T3\nF1 ~ {best}", *options)
    assert status == 0, said
    table = pd.read_csv(tmp_path / "fit" / "parameters.csv")
    own = table[(table["op"] == "~") & (table["rhs"] == best)].iloc[0]
    assert np.isclose(own["est"], results.loc[best, "est"], rtol=1e-6)
    assert np.isclose(own["se"], results.loc[best, "se"], rtol=1e-6)
    absent = (*options[:3], "rs0", *options[4:])
    status, said = type_in("multi-snp", workspace, "--model", "F1 =~ T1 + T2 + T3\nF1 ~ rs0", *absent)
    assert status == 4 and "rs0: not in the panel of T1, T2, T3" in " ".join(said.split())
