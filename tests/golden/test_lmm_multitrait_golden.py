"""Multi-trait models against GEMMA's mvLMM run to its optimum, and limix-lmm's MTLMM (tests/data/lmm)."""

import json

import lmm_reference as reference
import numpy as np
import pytest
from lmm_reference import GEMMA, LIMIX, load, null_model, six_digits, table

from gsem_spark.methods.lmm import (
    centre_kinship,
    fit_multitrait,
    kinship_spectrum,
    prepare_multitrait_scan,
    scan_multitrait,
    scan_multitrait_block,
)


@pytest.fixture(scope="module")
def mice():
    cohort = reference.mice()
    keep = np.isfinite(cohort.phenotypes[:, [0, 5]]).all(axis=1)
    # the kinship is of all mice; means over all of them too
    K = reference.gemma_sums()[1].matrix()[np.ix_(keep, keep)]
    return cohort, keep, kinship_spectrum(centre_kinship(K))


def lower(rows) -> np.ndarray:
    """GEMMA prints the REML matrices as a lower triangle, the ML ones whole."""
    full = np.zeros((2, 2))
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            full[i, j] = full[j, i] = value
    return full


def test_gemma_null_models(mice):
    """CD8 and MCH: covariances, likelihoods and intercepts to the six digits of the log, REML and ML."""
    cohort, keep, spectrum = mice
    wanted = null_model("cd8_mch_mvlmm4_chr17_19_tight")
    for reml, name in ((True, "REMLE"), (False, "MLE")):
        fit = fit_multitrait(cohort.phenotypes[keep][:, [0, 5]], spectrum, reml=reml)
        np.testing.assert_allclose(fit.Cg, lower(wanted[f"{name} Vg"]), rtol=5.01e-6)
        np.testing.assert_allclose(fit.Cn, lower(wanted[f"{name} Ve"]), rtol=5.01e-6)
        six_digits(fit.loglik, wanted[f"{name} log-likelihood in the null model"])
        if reml:
            np.testing.assert_allclose(fit.B.ravel(), np.ravel(wanted["B"]), rtol=5.01e-6)


@pytest.mark.parametrize("every", [70, pytest.param(4, marks=pytest.mark.slow)])
def test_gemma_refits_of_every_variant(mice, every):
    """Wald, likelihood ratio and score of chromosomes 17 and 19 against the tight run; every fourth in the slow lane."""
    cohort, keep, spectrum = mice
    fit = fit_multitrait(cohort.phenotypes[keep][:, [0, 5]], spectrum)
    wanted = table(GEMMA / "cd8_mch_mvlmm4_chr17_19_tight.assoc.txt.gz").iloc[::every].reset_index(drop=True)
    plan = prepare_multitrait_scan(fit, test=["wald", "lrt_ml", "score"], exact=True)
    frame = scan_multitrait_block(plan, cohort.G[cohort.rows(wanted["rs"])][:, keep])
    assert (frame["status"] == "ok").all()
    result = {test: frame[frame["test"] == test].reset_index(drop=True) for test in plan.tests}
    for test, column in (("wald", "p_wald"), ("lrt_ml", "p_lrt"), ("score", "p_score")):
        np.testing.assert_allclose(result[test]["neglog10p"], -np.log10(wanted[column]), rtol=1e-5, atol=1e-6, err_msg=column)
    wald = result["wald"]
    for j in range(2):
        np.testing.assert_allclose(wald[f"beta_{j}"], wanted[f"beta_{j + 1}"], rtol=1e-5, atol=1e-6 * wald[f"se_{j}"].max())
        np.testing.assert_allclose(wald[f"se_{j}"] ** 2, wanted[f"Vbeta_{j + 1}_{j + 1}"], rtol=1e-5)
    scale = np.sqrt(wanted["Vbeta_1_1"] * wanted["Vbeta_2_2"])
    np.testing.assert_allclose(wald["cov_0_1"] / scale, wanted["Vbeta_1_2"] / scale, rtol=1e-6, atol=1e-7)


def test_gemma_score_of_every_variant(mice):
    """The score test stands at the null fit alone, so that GEMMA's default run has it exactly: a ninth of 10,758 variants."""
    cohort, keep, spectrum = mice
    fit = fit_multitrait(cohort.phenotypes[keep][:, [0, 5]], spectrum)
    wanted = table(GEMMA / "cd8_mch_mvlmm4.assoc.txt.gz").iloc[::9].reset_index(drop=True)
    frame = scan_multitrait_block(prepare_multitrait_scan(fit, test="score"),
                                  cohort.G[cohort.rows(wanted["rs"])][:, keep])
    np.testing.assert_allclose(frame["neglog10p"], -np.log10(wanted["p_score"]), rtol=1e-6, atol=5e-7)


@pytest.fixture(scope="module")
def limix():
    Graw, F, Y = (load(LIMIX / "mtlmm" / f"{name}.npy.gz") for name in ("Graw", "F", "Y"))
    Z = (Graw - Graw.mean(axis=0)) / Graw.std(axis=0) / np.sqrt(Graw.shape[1])
    R = Z @ Z.T
    return Z, F, Y, R / np.diag(R).mean() + 1e-4 * np.eye(len(R))


def test_limix_null_model(limix):
    """Four traits: REML covariances. limix stops at gradients of 2e-5, so that its likelihood is not above ours."""
    _, F, Y, R = limix
    wanted = json.loads((LIMIX / "mtlmm" / "null.json").read_text())["null"]
    Cg, Cn = np.array(wanted["Cg"]), np.array(wanted["Cn"])
    fit = fit_multitrait(Y, R, F)
    scale = np.sqrt(np.outer(np.diag(Cn), np.diag(Cn)))
    np.testing.assert_allclose(fit.Cg / scale, Cg / scale, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.Cn / scale, Cn / scale, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.B.ravel(), np.array(wanted["B_null"]).reshape(4, 2).T.ravel(), rtol=1e-6)
    assert fit.loglik >= fit.data.loglik(Cg, Cn, True)


@pytest.mark.parametrize("name", ["any", "common", "any_contrast"])
def test_limix_scans(limix, name):
    """Any effect, a common effect, and any effect in contrasts."""
    Z, F, Y, R = limix
    designs = {"any": np.eye(4), "common": np.ones(4), "any_contrast": np.column_stack([np.ones(4), np.eye(4)[:, 1:]])}
    wanted = table(LIMIX / "mtlmm" / f"mtlmm_{name}.tsv.gz")
    frame = scan_multitrait(Z, fit_multitrait(Y, R, F), designs[name], test="limix_lrt")
    np.testing.assert_allclose(frame["p"], wanted["pv"], rtol=1e-5)
    np.testing.assert_allclose(frame["stat"], wanted["lrt"], rtol=1e-5, atol=1e-7)
    betas = [c for c in wanted if c.startswith("beta") and "ste" not in c]
    np.testing.assert_allclose(frame[betas], wanted[betas], rtol=1e-5, atol=2e-6)
