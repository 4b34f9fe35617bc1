"""Univariate association and null models against GEMMA 0.98.5 on the HS1940 mice (tests/data/lmm/gemma)."""

import json

import lmm_reference as reference
import numpy as np
import pandas as pd
import pytest
from lmm_reference import GEMMA, mouse, null_model, six_digits, table

from gsem_spark.methods.lmm import centre_kinship, fit_lmm, kinship, kinship_spectrum, prepare_scan, scan_block
from gsem_spark.methods.lmm.genotypes import filter_variants, summarise

# GEMMA stops its search for lambda at a relative step of 1e-5; tables have 7 significant digits.
LAMBDA_RTOL = 2e-5
STAT_RTOL = 1e-5


@pytest.fixture(scope="module")
def mice():
    return reference.mice()


@pytest.fixture(scope="module")
def answers():
    return table(GEMMA / "cd8_lmm4.assoc.txt.gz")


@pytest.fixture(scope="module")
def sums():
    return reference.gemma_sums()


@pytest.fixture(scope="module")
def raw_kinship(sums):
    return sums[1].matrix()


@pytest.fixture(scope="module")
def cd8(mice, raw_kinship):
    keep = np.isfinite(mice.phenotypes[:, 0])
    return keep, kinship_spectrum(centre_kinship(raw_kinship[np.ix_(keep, keep)]))


def run(mice, cd8, names, covariates=None, tests=("wald_f", "lrt_ml", "score")):
    keep, spectrum = cd8
    plan = prepare_scan(mice.phenotypes[keep, 0], covariates, K=spectrum, test=tests, exact=True)
    frame = scan_block(plan, mice.G[mice.rows(names)][:, keep])
    assert (frame["status"] == "ok").all()
    return plan, {test: frame[frame["test"] == test].reset_index(drop=True) for test in tests}


def assert_univariate(result, wanted):
    wald, lrt, score = (result[t] for t in ("wald_f", "lrt_ml", "score"))
    # relative to the coefficient or to its standard error where the coefficient is near 0
    scale = np.maximum(wanted["beta"].abs(), wanted["se"])
    assert ((wald["beta"] - wanted["beta"]).abs() / scale).max() < 2e-6
    np.testing.assert_allclose(wald["se"], wanted["se"], rtol=2e-6)
    np.testing.assert_allclose(wald["hsq"] / (1 - wald["hsq"]), wanted["l_remle"], rtol=LAMBDA_RTOL)
    np.testing.assert_allclose(lrt["hsq"] / (1 - lrt["hsq"]), wanted["l_mle"], rtol=LAMBDA_RTOL)
    np.testing.assert_allclose(lrt["loglik"], wanted["logl_H1"], rtol=5e-7)
    for frame, column in ((wald, "p_wald"), (lrt, "p_lrt"), (score, "p_score")):
        np.testing.assert_allclose(frame["neglog10p"], -np.log10(wanted[column]), rtol=STAT_RTOL, atol=1e-6, err_msg=column)
        np.testing.assert_allclose(frame["p"], wanted[column], rtol=1e-4, err_msg=column)


@pytest.mark.parametrize("kind", ["gk1", pytest.param("gk2", marks=pytest.mark.slow)])
def test_kinship_centred_and_standardised(mice, raw_kinship, answers, kind):
    """GEMMA -gk 1 and -gk 2: trace, norm, printed entries and the diagonal."""
    K = raw_kinship if kind == "gk1" else kinship(mice.G[mice.rows(answers["rs"])], "standardised")
    name = f"{kind}_pheno1_filter"
    check = json.loads((GEMMA / "kinship_checks.json").read_text())[name]
    np.testing.assert_allclose(np.trace(K), check["trace"], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(K), check["frobenius"], rtol=1e-9)
    np.testing.assert_allclose(K[0, :10], check["row0_first10"], rtol=0, atol=5.1e-10)
    diagonal = pd.read_csv(GEMMA / f"kinship_diag_{name}.tsv.gz", sep="\t")["diag"]
    np.testing.assert_allclose(np.diag(K), diagonal, rtol=0, atol=5.1e-10)


def test_null_models(mice, cd8):
    """GEMMA's log: pve with its standard error, vg, ve, both log likelihoods, effects; with and without sex."""
    keep, spectrum = cd8
    sex = np.loadtxt(GEMMA / "mouse_hs1940.covar_sex.txt.gz")[keep]
    for name, X in (("cd8_lmm4", None), ("cd8_sex_lmm4", sex)):
        wanted = null_model(name)
        reml = fit_lmm(spectrum, mice.phenotypes[keep, 0], X)
        ml = fit_lmm(spectrum, mice.phenotypes[keep, 0], X, reml=False)
        six_digits(reml.loglik_full, wanted["REMLE log-likelihood in the null model"])
        six_digits(ml.loglik_full, wanted["MLE log-likelihood in the null model"])
        pve, pve_se = reml.pve()
        six_digits(pve, wanted["pve estimate in the null model"])
        six_digits(pve_se, wanted["se(pve) in the null model"])
        six_digits(reml.sigmasq_g, wanted["vg estimate in the null model"])
        six_digits(reml.sigmasq_e, wanted["ve estimate in the null model"])
        np.testing.assert_allclose(reml.beta, wanted["beta estimate in the null model"], rtol=5.01e-6, atol=1e-14)
        np.testing.assert_allclose(reml.se, wanted["se(beta)"], rtol=5.01e-6)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_exact_scan(mice, cd8, answers, every):
    """-lmm 4: Wald, likelihood ratio and score; all 10,768 variants in the slow lane."""
    answers = answers.iloc[::every].reset_index(drop=True)
    _, result = run(mice, cd8, answers["rs"])
    assert_univariate(result, answers)
    np.testing.assert_allclose(result["wald_f"]["af"], answers["af"], atol=5.1e-4)
    restricted = table(GEMMA / "cd8_lmm1_logl_H1_reml.tsv.gz")
    np.testing.assert_allclose(result["wald_f"]["loglik"], restricted["logl_H1_reml"][::every], rtol=5e-7)


def test_exact_scan_with_a_covariate(mice, cd8):
    """-lmm 4 -c sex: chromosome 19."""
    answers = table(GEMMA / "cd8_sex_lmm4.assoc.txt.gz").query("chr == 19").reset_index(drop=True)
    sex = np.loadtxt(GEMMA / "mouse_hs1940.covar_sex.txt.gz")[cd8[0]]
    assert_univariate(run(mice, cd8, answers["rs"], sex)[1], answers)


def test_plain_regression(mice, cd8):
    """-lm 4: no random effect; the fixed tests without a kinship are those of ordinary least squares."""
    answers = table(GEMMA / "cd8_lm4.assoc.txt.gz")
    keep = cd8[0]
    plan = prepare_scan(mice.phenotypes[keep, 0], test=["wald_f", "lrt_ml", "score"])
    frame = scan_block(plan, mice.G[mice.rows(answers["rs"])][:, keep])
    for test, column in (("wald_f", "p_wald"), ("lrt_ml", "p_lrt"), ("score", "p_score")):
        part = frame[frame["test"] == test].reset_index(drop=True)
        np.testing.assert_allclose(part["beta"], answers["beta"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(part["neglog10p"], -np.log10(answers[column]), rtol=1e-6, atol=5e-7, err_msg=column)


def test_leave_one_chromosome_out(mice, cd8, sums):
    """The kinship without chromosome 19, taken from the sums by subtraction, and its scan."""
    wanted = table(GEMMA / "cd8_loco19_lmm4.assoc.txt.gz")
    parts = sums[1] - sums[0]
    keep = cd8[0]
    diagonal = pd.read_csv(GEMMA / "kinship_diag_gk1_no_chr19.tsv.gz", sep="\t")["diag"]
    np.testing.assert_allclose(np.diag(parts.matrix()), diagonal, atol=5.1e-10, rtol=0)
    spectrum = kinship_spectrum(centre_kinship(parts.matrix()[np.ix_(keep, keep)]))
    assert_univariate(run(mice, (keep, spectrum), wanted["rs"])[1], wanted)


def test_missing_genotypes(cd8):
    """Chromosome 19 with masked calls: mean imputation, GEMMA's filters, and the same tests."""
    masked, keep = mouse("mouse_chr19_missing"), cd8[0]
    wanted = table(GEMMA / "cd8_chr19_missing_lmm4.assoc.txt.gz")
    summary = summarise(masked.G[:, keep])
    kept = filter_variants(summary, maf=0.01, missing=0.05) == np.array(None)
    assert (kept & (summary["classes"] > 1)).sum() == len(wanted)
    assert list(masked.snps[kept]) == list(wanted["rs"])
    _, result = run(masked, cd8, wanted["rs"])
    assert_univariate(result, wanted)
    assert (result["wald_f"]["missing"] == wanted["n_miss"]).all()


def test_fixed_components_are_close_to_refits_and_one_product_in_single_precision_closer(mice, cd8, answers):
    """Documented losses: of components fixed at the null, and of float32."""
    keep, spectrum = cd8
    names = answers["rs"][::20]
    block = mice.G[mice.rows(names)][:, keep]
    frames = [scan_block(prepare_scan(mice.phenotypes[keep, 0], K=spectrum, precision=p), block) for p in ("float64", "float32")]
    difference = (frames[0]["stat"] - frames[1]["stat"]).abs() / (1 + frames[0]["stat"])
    assert 0 < difference.max() < 1e-5
    assert np.corrcoef(frames[0]["neglog10p"], -np.log10(answers["p_wald"][::20]))[0, 1] > 0.999
