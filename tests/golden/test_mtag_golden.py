"""MTAG against the reference program 1.0.8 (JonJala/mtag) in ten modes, on six simulated traits (``tests/data/mtag/README.md``).

Asked for is 1e-6. Omega, Sigma, standard errors, N-equivalents and FDRs agree to 1e-12; effects to 1e-8 of their own size
(those near 0 lose digits in the sum over traits), and to 1e-12 of their standard error.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from mtag_golden_data import DATA, TRAITS, mode, six, total_M

from gsem_spark.methods import mtag
from gsem_spark.methods.ldsc.two_step import intercept_matrix
from gsem_spark.methods.mtag.matrices import repair_psd
from gsem_spark.methods.mtag.spike_slab import spike_slab
from gsem_spark.methods.mtag.summary import merge_scan_sums, scan_sums, summary_table

RTOL = 1e-12
OPTIONS = {
    "default": {}, "no_overlap": {"no_overlap": True}, "perfect_gencov": {"perfect_gencov": True},
    "equal_h2": {"perfect_gencov": True, "equal_h2": True}, "fixed": {}, "std_betas_fixed": {}, "fdr2traits": {},
    "fdr2traits_fitss": {}, "fdr3traits": {}, "fdr_all": {},
}  # fmt: skip
FIXED = ("fixed", "std_betas_fixed")
SAMPLED = ("default", "no_overlap", "perfect_gencov", "fixed", "std_betas_fixed", "fdr3traits")


def run(name: str) -> mtag.MtagEstimate:
    """Our estimate with the reference's Sigma, and its Omega in the modes that are given one."""
    m = mode(name)
    omega = m.arrays["omega"] if name in FIXED else None
    return mtag.estimate(m.z, m.n, m.arrays["sigma"], omega, traits=m.traits, **OPTIONS[name])


@pytest.mark.parametrize("name", ["default", "no_overlap", "fdr2traits", "fdr3traits"])
def test_sigma_from_ld_score_regression(name):
    m = mode(name)
    l2 = m.table["L2"].to_numpy()
    got = intercept_matrix(m.z, m.n, l2, l2, total_M(), no_overlap=OPTIONS[name].get("no_overlap", False))
    np.testing.assert_allclose(got, m.arrays["sigma"], rtol=0, atol=RTOL)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ("equal_h2", *FIXED)])
def test_omega(name):
    m = mode(name)
    sums = mtag.merge_omega_sums([mtag.omega_sums(m.z[c::7], m.n[c::7], c) for c in (3, 0, 6, 1, 5, 2, 4)])
    options = {key: value for key, value in OPTIONS[name].items() if key == "perfect_gencov"}
    got = mtag.estimate_omega(sums, m.arrays["sigma"], m.traits, **options).omega
    np.testing.assert_allclose(got, m.arrays["omega"], rtol=RTOL)


@pytest.mark.parametrize("name", SAMPLED)
def test_effects_of_single_snps(name):
    m, got = mode(name), run(name)
    beta, se = got.beta, got.se
    if name != "std_betas_fixed":
        beta, se = mtag.unstandardise(beta, se, m.eaf)
    rows = m.answer_rows
    np.testing.assert_allclose(se[rows], m.arrays["se"], rtol=RTOL)
    np.testing.assert_allclose(beta[rows], m.arrays["beta"], rtol=1e-7)
    assert (np.abs(beta[rows] - m.arrays["beta"]) <= RTOL * m.arrays["se"]).all()


def test_effects_of_single_snps_in_a_meta_analysis():
    """One file for all traits, unstandardised by the mean frequency."""
    m, got = mode("equal_h2"), run("equal_h2")
    beta, se = mtag.unstandardise(got.beta, got.se, m.eaf)
    assert got.model.one_result
    for t in range(len(TRAITS)):
        np.testing.assert_allclose(se[m.answer_rows, t], m.arrays["se"], rtol=RTOL)
        np.testing.assert_allclose(beta[m.answer_rows, t], m.arrays["beta"], rtol=1e-7)
    whole = m.facts["meta_out"]
    np.testing.assert_allclose(np.square(got.z[:, 0]).sum(), whole["sum_sq"]["mtag_z"], rtol=RTOL)
    np.testing.assert_allclose(got.p[:, 0].sum(), whole["sum"]["mtag_pval"], rtol=RTOL)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n != "equal_h2"])
def test_sums_over_all_snps(name):
    m, got = mode(name), run(name)
    beta, se = got.beta, got.se
    if name != "std_betas_fixed":
        beta, se = mtag.unstandardise(beta, se, m.eaf)
    for t, trait in enumerate(m.traits):
        wanted = m.facts["traits_out"][trait]
        assert len(beta) == wanted["rows"]
        for column, values in (("mtag_beta", beta), ("mtag_se", se), ("mtag_z", got.z), ("mtag_pval", got.p)):
            np.testing.assert_allclose(np.square(values[:, t]).sum(), wanted["sum_sq"][column], rtol=1e-11, err_msg=column)
            np.testing.assert_allclose(np.abs(values[:, t]).sum(), wanted["sum_abs"][column], rtol=1e-11, err_msg=column)
        assert (got.p[:, t] < 5e-8).sum() == wanted["n_gws_mtag"]


@pytest.mark.parametrize("name", [n for n in OPTIONS if n != "equal_h2"])
def test_sample_size_equivalents(name):
    m, got = mode(name), run(name)
    parts = [scan_sums(m.z[c::3], m.n[c::3], got.model.fit(m.z[c::3], m.n[c::3]), part=c) for c in (2, 0, 1)]
    table = summary_table(merge_scan_sums(parts), got.model).set_index("trait")
    for trait in m.traits:
        wanted = m.facts["traits_out"][trait]
        for column, fact in (
            ("n_snps", "rows"), ("n_max", "N_max"), ("n_mean", "N_mean"), ("mean_chisq_raw", "mean_chi2_gwas_raw"),
            ("mean_chisq", "mean_chi2_gwas"), ("mtag_mean_chisq", "mean_chi2_mtag"), ("n_equivalent_max", "gwas_equiv_N_max"),
            ("hits", "n_gws_gwas"), ("mtag_hits", "n_gws_mtag"),
        ):
            np.testing.assert_allclose(table.loc[trait, column], wanted[fact], rtol=RTOL * 100, err_msg=column)


@pytest.mark.parametrize("name", ["default", "perfect_gencov", "equal_h2", "fdr3traits"])
def test_mean_weight_factors(name):
    """The estimator applied to standardised effects of 1 gives the sum of a trait's weights."""
    m, got = mode(name), run(name)
    factors = got.model.fit(np.sqrt(m.n), m.n).beta.mean(axis=0)
    np.testing.assert_allclose(factors, m.facts["mean_weight_factors"], rtol=1e-10)


@pytest.mark.parametrize(("name", "intervals"), [("fdr2traits", 10), ("fdr3traits", 8), ("fdr_all", 2)])
def test_whole_fdr_matrix(name, intervals):
    m = mode(name)
    n = np.round(m.n).mean(axis=0)
    problem = mtag.fdr_problem(m.arrays["omega"], m.arrays["sigma"], n)
    lattice = mtag.grid(len(m.traits), intervals)
    points = lattice.points(0, lattice.size)
    fdr = mtag.fdr_at(points, problem)
    feasible = np.isfinite(fdr[:, 0])
    np.testing.assert_array_equal(points[feasible], m.arrays["prob_grid"])
    np.testing.assert_allclose(fdr[feasible], m.arrays["fdr"], rtol=1e-11, atol=0)
    got = mtag.max_fdr(m.arrays["omega"], m.arrays["sigma"], n, intervals=intervals, traits=m.traits)
    np.testing.assert_allclose(got.fdr, [m.facts["maxFDR"][t] for t in m.traits], rtol=1e-11)
    np.testing.assert_allclose(got.probabilities, m.facts["argmax_probs"], atol=1e-15)
    assert got.feasible == m.facts["n_grid_points_searched"]
    assert got.searched == lattice.size


def test_grid_restricted_by_the_spike_and_slab():
    """The reference prints the causal shares with three decimals and keeps the lattice points within one interval of them."""
    m = mode("fdr2traits_fitss")
    shares = [spike_slab(m.z[:, t], m.n[:, t]) for t in range(2)]
    printed = [float(line.split()[-1]) for line in m.facts["fdr_log"] if line.startswith("Trait")]
    np.testing.assert_allclose([s.causal_share for s in shares], printed, atol=5.01e-4)
    assert all(s.converged for s in shares)
    omega, sigma, n = m.arrays["omega"], m.arrays["sigma"], m.n.mean(axis=0)
    got = mtag.max_fdr(omega, sigma, n, causal_share=[s.causal_share for s in shares])
    np.testing.assert_allclose(got.fdr, [m.facts["maxFDR"][t] for t in m.traits], rtol=1e-11)
    assert got.feasible == len(m.arrays["fdr"]) == 14
    np.testing.assert_allclose(mtag.fdr_at(m.arrays["prob_grid"], mtag.fdr_problem(omega, sigma, n)), m.arrays["fdr"], rtol=1e-11)


def test_repair_cases():
    """Unit cases of the reference's repair: correlations beyond 1, indefinite with proper correlations, a negative variance."""
    cases = json.loads((DATA / "posdef_cases.json").read_text())
    assert len(cases) == 6
    for label, case in cases.items():
        done = repair_psd(np.array(case["input"], dtype=float))
        np.testing.assert_allclose(done.matrix, case["output"], rtol=1e-10, err_msg=label)
        assert done.needed == (label != "ok")
        assert done.success == (label != "neg_var")
        np.testing.assert_allclose(done.min_eigenvalue, case["min_eig_in"], rtol=1e-7)
        np.testing.assert_allclose(done.min_eigenvalue_after, case["min_eig_out"], rtol=1e-7)


@pytest.mark.slow
def test_the_committed_inputs_are_the_shared_ones(shared_golden):
    folder = shared_golden("golden/mtag/inputs")
    table = six().set_index("SNP")
    for trait in TRAITS:
        given = pd.read_csv(folder / f"{trait}.tsv.gz", sep="\t", float_precision="round_trip").set_index("SNP")
        mine = table[table[f"Z{trait}"].notna()]
        assert len(given) == len(mine)
        assert (mine.loc[given.index, f"Z{trait}"] == given["Z"]).all()
        assert (mine.loc[given.index, f"N{trait}"] == given["N"]).all()
