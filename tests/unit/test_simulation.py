"""Simulation: designs, panels, draws, faults, formats, and the set that `simulate` writes."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
import yaml

from gsem_spark.errors import ConfigError, DataError, StorageError
from gsem_spark.methods.simulation.design import Design, factor_covariance, overlap_intercepts, semidefinite_root
from gsem_spark.methods.simulation.dirt import CLEAN, DIRTY, DirtRates, raw_rows
from gsem_spark.methods.simulation.draw import draw_sample_sizes, draw_z, plant
from gsem_spark.methods.simulation.ld_panel import BASES, autoregressive, panel_from_ld_scores, simulate_panel
from gsem_spark.methods.simulation.presets import PRESETS
from gsem_spark.methods.simulation.raw_formats import FORMATS, effect_and_se, format_of
from gsem_spark.methods.simulation.raw_text import p_text, raw_table, significant
from gsem_spark.methods.simulation.truth import SimulationTruth
from gsem_spark.steps.simulation.config import SimulateConfig
from gsem_spark.steps.simulation.simulate import read_ld_scores, read_truth, simulate

SMALL = Path(__file__).parents[1] / "data" / "gsem_small"
TWO = {"S": [[0.2, 0.1], [0.1, 0.3]], "n": [1e5, 2e5], "n_snps": 400}


# --- designs -------------------------------------------------------------------------------------------------------------
def test_standardised_loadings_and_h2_give_s():
    S, lam, psi = factor_covariance([[0.8], [0.7]], h2=[0.25, 0.18])
    np.testing.assert_allclose(S, [[0.25, np.sqrt(0.25 * 0.18) * 0.56], [np.sqrt(0.25 * 0.18) * 0.56, 0.18]], rtol=1e-14)
    np.testing.assert_allclose(lam[:, 0], [0.4, 0.7 * np.sqrt(0.18)], rtol=1e-14)
    assert psi.tolist() == [[1.0]]


def test_factor_variances_and_residuals_give_s():
    S, _, psi = factor_covariance([[1.0], [0.5]], [0.2], residuals=[0.1, 0.05])
    np.testing.assert_allclose(S, [[0.3, 0.1], [0.1, 0.1]], rtol=1e-14)
    assert psi.shape == (1, 1)


def test_standardised_loadings_come_back_from_a_design():
    S, lam, psi = factor_covariance([[1.0], [0.5]], [0.2], residuals=[0.1, 0.05])
    design = Design.build(["a", "b"], [1e5, 1e5], S, loadings=lam, factor_cov=psi)
    np.testing.assert_allclose(design.standardised_loadings[:, 0], [np.sqrt(0.2 / 0.3), np.sqrt(0.05 / 0.1)], rtol=1e-14)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"h2": [0.2, 0.3], "residuals": [0.1, 0.1]}, "either"),
        ({}, "either"),
        ({"h2": [0.2, 1.2]}, r"\(0, 1\]"),
        ({"h2": [0.2]}, "2 values"),
        ({"residuals": [0.1, -0.1]}, "residual"),
    ],
)
def test_factor_model_errors(kwargs, words):
    with pytest.raises(ConfigError, match=words):
        factor_covariance([[0.5], [0.5]], **kwargs)


def test_loading_above_one_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="Remedy: Lower the loadings"):
        factor_covariance([[1.1], [0.5]], h2=[0.2, 0.2])


def test_overlap_gives_intercepts():
    shared = np.array([[0, 4e4], [4e4, 0]])
    I = overlap_intercepts([9e4, 4e4], shared, np.full((2, 2), 0.3), inflation=[1.02, 1.0])
    np.testing.assert_allclose(I, [[1.02, 0.3 * 4e4 / 6e4], [0.3 * 4e4 / 6e4, 1.0]], rtol=1e-14)


def test_overlap_above_the_smaller_gwas_names_the_traits():
    shared = np.array([[0, 5e4], [5e4, 0]])
    with pytest.raises(ConfigError, match=r"AAA and BBB share 50000 samples.*40000"):
        overlap_intercepts([9e4, 4e4], shared, np.full((2, 2), 0.3), names=("AAA", "BBB"))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[0.2, 0.3], [0.3, 0.2]], "not positive semidefinite: its smallest eigenvalue is -0.1"),
        ([[0.2, 0.1], [0.0, 0.2]], "not symmetric"),
        ([[0.2, np.nan], [np.nan, 0.2]], "finite"),
        ([[0.2]], "2 x 2"),
        ([[0.0, 0.0], [0.0, 0.2]], "above 0"),
    ],
)
def test_bad_s_is_refused(matrix, words):
    with pytest.raises(ConfigError, match=words):
        Design.build(["a", "b"], [1e5, 1e5], matrix)


def test_semidefinite_root_of_a_singular_matrix():
    lam = np.array([0.4, 0.3, 0.5])
    matrix = np.outer(lam, lam)
    root = semidefinite_root(matrix, "S", 3)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-15)
    assert np.count_nonzero(root) == 3


@pytest.mark.parametrize(("names", "n"), [(["a", "a"], [1, 1]), (["a", "b"], [1, 0]), (["a", "b"], [1])])
def test_names_and_n_are_checked(names, n):
    with pytest.raises(ConfigError):
        Design.build(names, n, np.eye(2) * 0.2)


# --- panels --------------------------------------------------------------------------------------------------------------
def test_simulated_panel_has_the_shape_of_a_real_one():
    panel = simulate_panel(24_000, seed=3)
    assert panel.size == 24_000
    assert panel.M == 1_000_000
    assert panel.chromosomes.tolist() == list(range(1, 23))
    assert all(np.all(np.diff(panel.bp[rows]) > 0) for _, rows in panel.chromosome_slices())
    assert len(set(panel.snp)) == panel.size
    assert np.all(panel.a1 != panel.a2)
    assert panel.ambiguous.mean() == pytest.approx(0.01, abs=0.003)
    assert np.all((panel.maf >= 0.01) & (panel.maf <= 0.5))
    log_l2 = np.log(panel.l2)
    assert np.corrcoef(log_l2[1:], log_l2[:-1])[0, 1] == pytest.approx(0.9, abs=0.03)
    assert panel.l2.mean() == pytest.approx(78, rel=0.1)


def test_a_panel_keeps_a_chromosome_whatever_the_others_are():
    whole = simulate_panel(500, seed=3)
    rows = whole.chr >= 21
    args = [getattr(whole, f)[rows] for f in ("snp", "chr", "bp", "cm", "maf", "l2")]
    part = panel_from_ld_scores(*args, whole.m_5_50[-2:], seed=3)
    np.testing.assert_array_equal(part.a1, whole.a1[rows])
    np.testing.assert_array_equal(part.a1_freq, whole.a1_freq[rows])


def test_autoregressive_is_stationary():
    x = autoregressive(np.random.default_rng(1).standard_normal(200_000), 0.8)
    assert x.std() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(0.8, abs=0.01)


def test_unusable_frequencies_are_counted():
    panel = simulate_panel(30, seed=1)
    maf = panel.maf.copy()
    maf[[4, 7]] = [np.nan, 0.0]
    with pytest.raises(DataError, match=f"2 of 30 SNPs.*{panel.snp[4]}"):
        panel_from_ld_scores(panel.snp, panel.chr, panel.bp, panel.cm, maf, panel.l2, panel.m_5_50, seed=1)


def test_more_snps_than_base_pairs_or_fewer_than_chromosomes():
    with pytest.raises(ConfigError, match="at least 22"):
        simulate_panel(21, seed=1)


# --- draws ---------------------------------------------------------------------------------------------------------------
def _design():
    S, lam, psi = factor_covariance([[0.8], [0.7], [0.6]], h2=[0.25, 0.18, 0.12])
    shared = np.zeros((3, 3))
    shared[0, 1] = shared[1, 0] = 5e4
    I = overlap_intercepts([1e5, 1.5e5, 2e5], shared, np.full((3, 3), 0.5), inflation=[1.02, 1, 1])
    return Design.build(["A", "B", "C"], [1e5, 1.5e5, 2e5], S, I=I, loadings=lam, factor_cov=psi)


@pytest.mark.parametrize("neighbour", [0.0, 0.5])
def test_z_has_the_covariance_of_the_model(neighbour):
    design, panel = _design(), simulate_panel(60_000, seed=5)
    panel = replace(panel, l2=np.full(panel.size, 60.0))
    z = draw_z(design, panel, design.n, seed=8, neighbour=neighbour)
    expected = np.sqrt(np.outer(design.n, design.n)) * design.S * 60 / panel.M + design.I
    # Standard error of a variance is value * sqrt(2 / m), m effective SNPs (fewer when autocorrelated): within 5 of them.
    np.testing.assert_allclose(np.cov(z.T), expected, atol=5 * np.sqrt(2 * 3 / panel.size) * expected.max())
    assert np.corrcoef(z[1:, 0], z[:-1, 0])[0, 1] == pytest.approx(neighbour, abs=0.02)


def test_a_trait_more_changes_no_earlier_draw():
    design, panel = _design(), simulate_panel(300, seed=5)
    two = Design.build(design.names[:2], design.n[:2], design.S[:2, :2], I=design.I[:2, :2])
    np.testing.assert_array_equal(
        draw_z(design, panel, design.n, seed=8)[:, :2], draw_z(two, panel, two.n, seed=8)
    )  # fmt: skip


def test_negative_ld_scores_leave_the_sampling_error():
    design, panel = _design(), simulate_panel(300, seed=5)
    below = draw_z(design, replace(panel, l2=np.full(300, -0.2)), design.n, seed=8)
    zero = draw_z(design, replace(panel, l2=np.zeros(300)), design.n, seed=8)
    np.testing.assert_array_equal(below, zero)


def test_sample_sizes_stay_in_their_range():
    design, panel = _design(), simulate_panel(2000, seed=5)
    n = draw_sample_sizes(design, panel, np.array([0.0, 0.07, 0.5]), seed=2)
    assert np.all(n[:, 0] == 1e5)
    assert n[:, 1].min() >= 0.93 * 1.5e5 - 1
    assert n[:, 2].min() < 0.51 * 2e5
    assert np.all(n == np.floor(n))


def test_planted_variants_act_as_said():
    design, panel = _design(), simulate_panel(3000, seed=5)
    planted = plant(design, panel, seed=4, per_factor=(20,), per_trait={"C": 5}, distance_bp=2_000_000)
    assert planted.target == ("factor1",) * 20 + ("C",) * 5
    np.testing.assert_allclose(planted.per_sd[:20], planted.effect[:20, None] * design.loadings[:, 0], rtol=1e-14)
    np.testing.assert_array_equal(planted.per_sd[20:, :2], 0)
    with_, without = (draw_z(design, panel, design.n, seed=8, planted=p) for p in (planted, None))
    np.testing.assert_allclose((with_ - without)[planted.rows], np.sqrt(design.n) * planted.per_sd, atol=1e-12)
    for chromosome in panel.chromosomes:
        at = np.sort(panel.bp[planted.rows[panel.chr[planted.rows] == chromosome]])
        assert np.all(np.diff(at) >= 2_000_000)


def test_planted_effects_reach_neighbours_of_the_same_chromosome_only():
    design, panel = _design(), simulate_panel(100, seed=5)
    planted = plant(design, panel, seed=4, per_factor=(1,))
    first_of_2 = int(np.flatnonzero(panel.chr == 2)[0])
    planted = replace(planted, rows=np.array([first_of_2]))
    change = draw_z(design, panel, design.n, seed=8, neighbour=0.5, planted=planted) - draw_z(
        design, panel, design.n, seed=8, neighbour=0.5
    )
    assert change[first_of_2 + 1, 0] == pytest.approx(change[first_of_2, 0] / 2)
    assert change[first_of_2 - 1, 0] == 0


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"per_factor": (101,)}, "101 planted variants, but the panel has 100 SNPs"),
        ({"per_factor": (90,), "distance_bp": 10**8}, "find room"),
        ({"per_trait": {"X": 1}}, "'X'"),
        ({"per_factor": (1, 1)}, "2 factors"),
        ({"per_factor": (-1,)}, "negative"),
    ],
)
def test_planting_errors(kwargs, words):
    with pytest.raises(ConfigError, match=words):
        plant(_design(), simulate_panel(100, seed=5), seed=1, **kwargs)


def test_neighbour_of_one_is_refused():
    with pytest.raises(ConfigError, match=r"\[0, 1\)"):
        draw_z(_design(), simulate_panel(30, seed=5), _design().n, seed=1, neighbour=1.0)


# --- faults --------------------------------------------------------------------------------------------------------------
def test_each_fault_is_made_as_often_as_counted():
    panel = simulate_panel(20_000, seed=5)
    z, n = np.ones(panel.size), np.full(panel.size, 1e5)
    rows, counts = raw_rows(panel, z, n, rates=DIRTY, seed=3, trait=0)
    ref1, ref2 = panel.a1[rows.row], panel.a2[rows.row]
    same = (rows.a1 == ref1) & (rows.a2 == ref2)
    swap = (rows.a1 == ref2) & (rows.a2 == ref1)
    flip = ((3 - rows.a1 == ref1) & (3 - rows.a2 == ref2)) | ((3 - rows.a1 == ref2) & (3 - rows.a2 == ref1))
    none = ~(same | swap | flip)
    assert counts["mismatches"] == none.sum() > 0
    assert counts["strand_flips"] == (flip & ~same & ~swap).sum() > 0
    assert np.all(rows.z[swap] == -1)
    assert np.all(rows.z[same] == 1)
    np.testing.assert_allclose(rows.freq[swap], 1 - panel.a1_freq[rows.row[swap]], atol=1e-12)
    assert counts["duplicates"] == rows.size - len(set(rows.row.tolist()))
    assert counts["rows"] == rows.size == panel.size - counts["missing"] + counts["duplicates"]
    assert counts["low_info"] == (rows.info < 0.9).sum()
    for name in ("missing", "strand_flips", "mismatches", "duplicates", "low_info"):
        rate = getattr(DIRTY, name)
        assert counts[name] / panel.size == pytest.approx(rate, abs=5 * np.sqrt(rate / panel.size))


def test_one_fault_leaves_the_others_where_they_were():
    panel = simulate_panel(2000, seed=5)
    z, n = np.ones(panel.size), np.full(panel.size, 1e5)
    a, _ = raw_rows(panel, z, n, rates=CLEAN, seed=3, trait=0)
    b, _ = raw_rows(panel, z, n, rates=DirtRates(p_missing=0.5), seed=3, trait=0)
    np.testing.assert_array_equal(a.a1, b.a1)
    np.testing.assert_array_equal(a.info, b.info)
    assert b.p_state.mean() == pytest.approx(0.5, abs=0.06)


def test_shares_outside_zero_to_one_are_refused():
    with pytest.raises(ConfigError, match="missing is a share"):
        DirtRates(missing=1.5)


# --- formats and text ----------------------------------------------------------------------------------------------------
def test_effects_and_errors_by_format():
    z, freq, n, s = np.array([2.0]), np.array([0.3]), np.array([1e5]), 0.35
    v = 2 * 0.3 * 0.7
    got = {code: effect_and_se(f, z, freq, n, s) for code, f in FORMATS.items()}
    log_odds_se = 1 / np.sqrt(v * 1e5 * s * (1 - s))
    np.testing.assert_allclose(got["OLS"], [[2 / np.sqrt(v * 1e5)], [1 / np.sqrt(v * 1e5)]], rtol=1e-14)
    np.testing.assert_allclose(got["LOGOR"], [[2 * log_odds_se], [log_odds_se]], rtol=1e-14)
    np.testing.assert_allclose(got["OR"], [[np.exp(2 * log_odds_se)], [log_odds_se]], rtol=1e-14)
    np.testing.assert_allclose(got["ORSE"], [[np.exp(2 * log_odds_se)], [np.exp(2 * log_odds_se) * log_odds_se]], rtol=1e-14)
    np.testing.assert_allclose(got["LPM"][1], np.sqrt(s * (1 - s)) / np.sqrt(v * 1e5), rtol=1e-14)
    assert got["ZN"][0] is z


def test_formats_have_the_columns_of_the_golden_files():
    for path in sorted((SMALL / "inputs").glob("*.tsv.gz")) or sorted((SMALL / "raw").glob("*.tsv.gz")):
        with gzip.open(path, "rt") as file:
            assert file.readline().rstrip("\n").split("\t") == list(format_of(path.name.split(".")[1]).header)


def test_roles_of_all_formats_are_known():
    known = {"snp", "chr", "bp", "a1", "a2", "freq", "info", "effect", "se", "p", "n"}
    for f in FORMATS.values():
        assert {role for _, role in f.columns} <= known
        assert {"snp", "a1", "a2", "effect", "p"} <= {role for _, role in f.columns}


def test_unknown_format_and_missing_case_share():
    with pytest.raises(ConfigError, match="there are OR, ORSE"):
        format_of("XYZ")
    with pytest.raises(ConfigError, match="share of cases"):
        effect_and_se(format_of("OR"), np.ones(1), np.ones(1) / 2, np.ones(1))


def test_significant_digits_are_those_that_print():
    x = np.array([0.0, 1.0, -0.123456789, 1234567.89, 9.9999996e-5, 2.5e-10, -7.7777777e-16, np.nan])
    assert [f"{v:.6g}" for v in significant(x)] == [f"{v:.6g}" for v in x]
    assert [repr(float(v)) for v in significant(x)] == [repr(float(f"{v:.6g}")) for v in x]


def test_p_text_is_exact_in_the_far_tail():
    from scipy.stats import norm

    z = np.array([0.0, 1.0, -8.5, 30.0, 60.0, 5.0, 5.0])
    text = p_text(z, np.array([0, 0, 0, 0, 0, 1, 2], np.uint8)).to_pylist()
    assert text[0] == "1"
    for t, value in zip(text[1:4], z[1:4], strict=True):
        assert float(t) == pytest.approx(2 * norm.sf(abs(value)), rel=1e-5)
    mantissa, exponent = text[4].split("e")
    assert np.log10(float(mantissa)) + int(exponent) == pytest.approx((norm.logsf(60) + np.log(2)) / np.log(10), abs=1e-5)
    assert int(exponent) < -700
    assert text[5:] == ["NA", "1.7"]


def test_table_of_nameless_rows():
    panel = simulate_panel(200, seed=5)
    rows, counts = raw_rows(panel, np.ones(200), np.full(200, 1e5), rates=DirtRates(nameless=0.5), seed=3, trait=0)
    table = raw_table(panel, rows, format_of("SSF"))
    assert pc.sum(pc.equal(table["rsid"], ".")).as_py() == counts["nameless"] > 0
    assert set(table["effect_allele"].to_pylist()) <= set(BASES)


# --- the written set -------------------------------------------------------------------------------------------------------
def test_demo_set_reads_back(tmp_path):
    truth = simulate(tmp_path / "demo", n_snps=2000, seed=7)
    raw = tmp_path / "demo" / "raw"
    assert truth.kinds == ("OR", "LOGOR", "OLS", "ZN", "LPM", "SSF")
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == ["ld", "raw", "study.yaml"]
    reference = pd.read_csv(raw / "reference.tsv", sep="\t")
    assert list(reference) == ["SNP", "CHR", "BP", "MAF", "A1", "A2"]
    assert list(pd.read_csv(raw / "snplist.tsv", sep="\t")) == ["SNP", "A1", "A2"]
    ld = pd.concat(pd.read_csv(tmp_path / "demo" / "ld" / f"{c}.l2.ldscore.gz", sep="\t") for c in range(1, 23))
    assert list(ld) == ["CHR", "SNP", "BP", "CM", "MAF", "L2"]
    assert ld.SNP.tolist() == reference.SNP.tolist()
    assert sum(float((tmp_path / "demo" / "ld" / f"{c}.l2.M_5_50").read_text()) for c in range(1, 23)) == truth.M
    for trait, counts in truth.faults.items():
        frame = pd.read_csv(raw / truth.files[trait], sep="\t", dtype=str, keep_default_na=False)
        columns = {role: name for name, role in format_of(truth.files[trait].split(".")[1]).columns}
        assert len(frame) == counts["rows"]
        assert (frame[columns["snp"]] == ".").sum() == counts["nameless"]
        assert (frame[columns["p"]] == "NA").sum() == counts["p_missing"]
        assert (frame[columns["p"]] == "1.7").sum() == counts["p_above_one"]
    assert len(truth.hits["factor1"]) == 60
    assert len(truth.hits["first_only"]) == len(truth.hits["last_only"]) == 30


def test_truth_has_the_fields_of_the_golden_truth(tmp_path):
    simulate(tmp_path / "set", n_snps=2000, seed=7)
    record = json.loads((tmp_path / "set" / "raw" / "truth.json").read_text())
    assert set(record) >= {"names", "S", "I", "N", "M", "lam", "hits", "kinds"}
    truth = read_truth(tmp_path / "set")
    assert truth.to_record() == record
    np.testing.assert_allclose(truth.lam, PRESETS["demo"]["loadings"], rtol=1e-12)


def test_truth_of_a_foreign_set_reads():
    record = {"names": ["a"], "S": [[0.2]], "I": [[1.0]], "N": [1e5], "M": 1e6, "kinds": ["OLS"]}
    truth = SimulationTruth.from_record(record)
    assert truth.lam.shape == (1, 0)
    with pytest.raises(DataError, match="lacks S"):
        SimulationTruth.from_record({k: v for k, v in record.items() if k != "S"})


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        simulate(tmp_path / name, design="three", n_snps=2000, seed=7)
    simulate(tmp_path / "c", design="three", n_snps=2000, seed=8)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 1 + 3 + 3 + 44
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert any((tmp_path / "a" / f).read_bytes() != (tmp_path / "c" / f).read_bytes() for f in files)


def test_a_written_panel_can_be_used_again_and_thinned(tmp_path):
    simulate(tmp_path / "a", **TWO)
    truth = simulate(tmp_path / "b", S=TWO["S"], n=TWO["n"], ld_scores=tmp_path / "a" / "ld", n_snps=100)
    assert not (tmp_path / "b" / "ld").exists()
    assert truth.M == 1_000_000
    thinned = pd.read_csv(tmp_path / "b" / "raw" / "reference.tsv", sep="\t")
    whole = pd.read_csv(tmp_path / "a" / "raw" / "reference.tsv", sep="\t")
    assert thinned.SNP.tolist() == whole.SNP.tolist()[::4]
    with pytest.raises(ConfigError, match="401 SNPs wanted, the panel has 400"):
        read_ld_scores(tmp_path / "a" / "ld", seed=1, n_snps=401)


def test_yaml_settings(tmp_path):
    path = tmp_path / "sim.yaml"
    path.write_text(
        "traits:\n  - {name: A, n: 1e5, h2: 0.2}\n  - {name: B, n: 2e5, h2: 0.3, kind: SSF}\n"
        "loadings: [[0.7], [0.6]]\nplanted: {factor: [5]}\nn_snps: 300\ndirt: {duplicates: 0.1}\nseed: 4\n"
    )
    truth = simulate(tmp_path / "out", design=path)
    assert truth.names == ("A", "B")
    assert truth.seed == 4
    assert truth.faults["A"]["duplicates"] > 10
    config = SimulateConfig.from_yaml(path)
    assert SimulateConfig.parse(config.model_dump()) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("traits: [{name: A, n: 1e5}]\nS: [[0.2]]\nsead: 1\n", "sead: Extra inputs"),
        ("traits: [{name: A, n: 1e5}]\n", "either S or loadings"),
        ("traits: [{name: A, n: 1e5}]\nS: [[0.2]]\noverlap: [{traits: [A, X], shared: 1, correlation: 0}]\n", "unknown traits"),
        ("traits: [{name: A, n: -5}]\nS: [[0.2]]\n", "traits.0.n"),
        ("traits: [\n", "not valid YAML"),
        ("- a\n", "key: value"),
    ],
)
def test_yaml_errors_name_file_and_key(tmp_path, text, words):
    path = tmp_path / "sim.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        simulate(tmp_path / "out", design=path)
    assert "sim.yaml" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"design": "nowhere"}, "designs demo, three"),
        ({"design": "demo", "S": [[0.2]]}, "one or the other"),
        ({"h2": [0.2]}, "without S or loadings"),
        ({"S": [[0.2, 0], [0, 0.2]], "n": [1, 2, 3]}, "one value a trait"),
        ({"S": [[0.2, 0.5], [0.5, 0.2]]}, "not positive semidefinite"),
        ({"S": [[0.2]], "seed": -1}, "seed"),
        ({"design": {**PRESETS["demo"], "planted": {"factor": [500]}}, "n_snps": 400}, "500 planted variants"),
        ({"design": {**PRESETS["demo"], "dirt": {"spots": 0.1}}}, "unknown faults"),
        ({"design": {"traits": [{"name": "A", "n": 10, "kind": "OR"}], "S": [[0.2]]}, "n_snps": 30}, "share of cases"),
    ],
)
def test_bad_settings_leave_nothing_behind(tmp_path, kwargs, words):
    with pytest.raises(ConfigError, match=words):
        simulate(tmp_path / "out", **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept_unless_told(tmp_path):
    out = tmp_path / "set"
    simulate(out, **TWO)
    before = (out / "raw" / "truth.json").read_text()
    with pytest.raises(StorageError, match="exists already"):
        simulate(out, **TWO, seed=2)
    assert (out / "raw" / "truth.json").read_text() == before
    simulate(out, **TWO, seed=2, overwrite=True)
    assert read_truth(out).seed == 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_foreign_folder_is_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(StorageError, match="not a simulated set"):
        simulate(tmp_path / "mine", **TWO, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        simulate(tmp_path / "file" / "set", **TWO)


def test_unusable_ld_scores(tmp_path):
    with pytest.raises(DataError, match=r"no 1\.l2\.ldscore\.gz"):
        simulate(tmp_path / "out", **{**TWO, "n_snps": None}, ld_scores=tmp_path)
    with gzip.open(tmp_path / "1.l2.ldscore.gz", "wt") as file:
        file.write("CHR\tSNP\tBP\tL2\n1\trs1\t5\t1.5\n")
    with pytest.raises(DataError, match="columns CHR SNP BP CM MAF L2"):
        simulate(tmp_path / "out", **{**TWO, "n_snps": None}, ld_scores=tmp_path)
    with gzip.open(tmp_path / "1.l2.ldscore.gz", "wt") as file:
        file.write("CHR\tSNP\tBP\tCM\tMAF\tL2\n1\trs1\t5\t0.1\t0.2\t1.5\n")
    with pytest.raises(DataError, match=r"M_5_50"):
        simulate(tmp_path / "out", **{**TWO, "n_snps": None}, ld_scores=tmp_path)


def test_study_file_of_a_set(tmp_path):
    simulate(tmp_path / "set", n_snps=400, design={**PRESETS["demo"], "planted": {}})
    study = yaml.safe_load((tmp_path / "set" / "study.yaml").read_text())
    assert study["references"] == {"variants": "raw/reference.tsv", "hm3": "raw/snplist.tsv", "ld_scores": "ld"}
    assert all((tmp_path / "set" / t["file"]).is_file() for t in study["traits"])
    assert {t["name"]: t.get("n") for t in study["traits"]} == {
        "AAA": 90_000, "BBB": 60_000, "CCC": None, "DDD": None, "EEE": 0.64 * 180_000, "FFF": None,
    }  # fmt: skip


def test_ld_scores_in_a_settings_file_are_found_beside_it(tmp_path):
    simulate(tmp_path / "a", **TWO)
    (tmp_path / "sim.yaml").write_text("traits: [{name: A, n: 1e5}]\nS: [[0.2]]\nld_scores: a/ld\n")
    assert simulate(tmp_path / "b", design=tmp_path / "sim.yaml").faults["A"]["rows"] == 400


def test_own_shares_of_faults_survive_dirty(tmp_path):
    design = {"traits": [{"name": "A", "n": 1e5}], "S": [[0.2]], "dirt": {"duplicates": 1.0, "missing": 0.0}, "n_snps": 100}
    assert simulate(tmp_path / "a", design=design, dirty=True).faults["A"]["rows"] == 200
    assert simulate(tmp_path / "b", design=design, dirty=False).faults["A"]["rows"] == 100


def test_no_truth(tmp_path):
    with pytest.raises(DataError, match=r"no truth\.json"):
        read_truth(tmp_path)
