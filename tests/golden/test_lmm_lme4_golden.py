"""Variance components, pedigrees and bootstrap against lme4, the mixed_models gem and lmmlite (../shared/golden/lmm)."""

import json

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.lmm import (
    bootstrap,
    bootstrap_intervals,
    fit_lmm,
    fit_variance_components,
    formula_data,
    kinship_spectrum,
    ml_solution,
    scan,
)


@pytest.fixture(scope="module")
def folder(shared_golden):
    return shared_golden("golden/lmm/mixed_models")


@pytest.mark.parametrize("place", range(10))
def test_lme4_models_by_formula(folder, place):
    """Five formulas by REML and ML: criteria, effects, standard errors, components, AIC and BIC."""
    model = json.loads((folder / "lme4_fits.json").read_text())[place]
    parts = formula_data(model["formula"], pd.read_csv(folder / model["data"]))
    fit = fit_variance_components(parts.y, parts.X, parts.components, reml=model["REML"], names=parts.names)
    np.testing.assert_allclose(fit.criterion(), -2 * model["logLik"], rtol=1e-9)
    np.testing.assert_allclose(fit.information_criteria(), [model["AIC"], model["BIC"]], rtol=1e-9)
    np.testing.assert_allclose(fit.beta, list(model["fixef"].values()), rtol=1e-6, atol=1e-7)
    # lme4 stops where theta is good to 5e-5; its criterion is not below ours
    assert fit.criterion() <= -2 * model["logLik"] + 1e-8
    np.testing.assert_allclose(fit.fixed_effects()["se"], list(model["se"].values()), rtol=1e-4)
    np.testing.assert_allclose(fit.theta[-1], model["sigma"] ** 2, rtol=1e-4)


def test_likelihood_ratio_of_a_fixed_effect(folder):
    """The drop-one test of Age, by ML."""
    wanted = json.loads((folder / "alien_LRT_age.json").read_text())
    data = pd.read_csv(folder / "alien_species.csv")
    criteria = []
    for formula in ("Aggression ~ Age + Species + (Age|Location)", "Aggression ~ Species + (Age|Location)"):
        parts = formula_data(formula, data)
        criteria.append(fit_variance_components(parts.y, parts.X, parts.components, reml=False).criterion())
    np.testing.assert_allclose(criteria[1] - criteria[0], wanted["chisq"], rtol=1e-5)


def test_refits_of_stored_bootstrap_responses(folder):
    """Twenty of the gem's hundred parametric replicates: its simplex stops 1e-4 to 1e-3 short in standard errors."""
    stored = json.loads((folder / "alien_gem_fit_and_bootstrap.json").read_text())["bootstrap"]
    responses = pd.read_csv(folder / "alien_bootstrap_responses.csv.gz", header=None).to_numpy(float)
    parts = formula_data("Aggression ~ Age + Species + (Age|Location)", pd.read_csv(folder / "alien_species.csv"))
    for i in range(20):
        fit = fit_variance_components(responses[i], parts.X, parts.components)
        np.testing.assert_allclose(fit.beta, stored["replicates"][i], rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(np.sqrt(np.diag(fit.beta_cov)), stored["replicate_sd"][i], rtol=3e-2)


def test_bootstrap_intervals_of_stored_replicates(folder):
    """All kinds of the gem, its quantiles included; studentized by the replicates' own standard errors, not as the gem has it."""
    answers = json.loads((folder / "alien_gem_fit_and_bootstrap.json").read_text())
    fit, stored = answers["REML"], answers["bootstrap"]
    replicates, sds = np.array(stored["replicates"]), np.array(stored["replicate_sd"])
    for j, name in enumerate(fit["fix_ef"]):
        frame = bootstrap_intervals(name, fit["fix_ef"][name], fit["sd"][name], replicates[:, j], sds[:, j]).set_index("interval")
        for kind in ("wald", "basic", "normal", "percentile"):
            np.testing.assert_allclose(frame.loc[kind, ["lower", "upper"]].astype(float), stored["ci"][kind][name], rtol=1e-8)
        ours = frame.loc["studentized", ["lower", "upper"]].astype(float)
        np.testing.assert_allclose(ours, stored["ci"]["studentized_own_se"][name], rtol=1e-8)
        np.testing.assert_allclose(stored["ci"]["studentized"][name], stored["ci"]["basic"][name], rtol=1e-6)


@pytest.fixture(scope="module")
def family(folder):
    """The pedigree data of the gem: 100 families of 12, and a design matrix whose columns are not independent."""
    K = 2 * np.loadtxt(folder / "kinship_matrix.csv.gz", delimiter=",")
    snps = np.loadtxt(folder / "design_matrix.csv.gz", delimiter=",")
    return kinship_spectrum(K), np.loadtxt(folder / "phenotype.csv.gz"), snps


def test_pedigree_models(folder, family):
    """With a proper intercept and independent columns, against lmmlite; the gem's published fit used a scrambled design."""
    spectrum, y, snps = family
    wanted = json.loads((folder / "snp_pedigree_correct_X_lmmlite.json").read_text())
    X = np.column_stack([np.ones(len(y)), snps])[:, wanted["kept_columns_0_is_intercept"]]
    for design, answer in ((X, wanted["full"]), (None, wanted["intercept_only"])):
        fit = fit_lmm(spectrum, y, design)
        # the reference's log determinant of the 25 columns is good to 6e-8; its search for hsq to 1e-6
        np.testing.assert_allclose(fit.loglik, answer["lmmlite_loglik"], rtol=1e-10)
        np.testing.assert_allclose(fit.hsq, answer["hsq"], rtol=1e-6)
        at = ml_solution(fit.rotated, answer["hsq"])
        assert fit.loglik >= at.loglik
        np.testing.assert_allclose(at.hsq * at.sigmasq, answer["sigmasq_g"], rtol=1e-9)
        np.testing.assert_allclose((1 - at.hsq) * at.sigmasq, answer["sigmasq_e"], rtol=1e-9)
        np.testing.assert_allclose(at.beta, answer["beta"], rtol=1e-8, atol=1e-9)


def test_scrambled_design_has_another_optimum_than_published(folder, family):
    """The gem's own design: the true REML optimum (theta 2.7488), not 2.5080 where its determinant overflowed."""
    spectrum, y, snps = family
    wanted = json.loads((folder / "snp_pedigree_same_X_true_REML_optimum.json").read_text())
    X = np.concatenate([np.ones(len(y)), snps.ravel()]).reshape(len(y), 131)
    fit = fit_lmm(spectrum, y, X)
    theta = np.sqrt(2 * fit.sigmasq_g / fit.sigmasq_e)
    np.testing.assert_allclose(theta, wanted["theta"], rtol=1e-5)
    np.testing.assert_allclose(fit.beta, wanted["beta"], rtol=1e-4, atol=1e-6)
    published = json.loads((folder / "snp_pedigree_gem_as_published.json").read_text())["theta"][0]
    assert abs(theta - published) > 0.2


def test_pedigree_scan(family):
    """GEMMA's exact scan of the same data; K is centred, as GEMMA does."""
    from lmm_reference import GEMMA, table

    from gsem_spark.methods.lmm import centre_kinship

    spectrum, y, snps = family
    K = (spectrum.vectors * spectrum.eigenvalues) @ spectrum.vectors.T
    wanted = table(GEMMA / "pedigree_snp_lmm4.assoc.txt.gz")
    columns = wanted["rs"].str.replace("SNP", "").astype(int).to_numpy() - 1
    frame = scan(snps[:, columns], y, K=centre_kinship(K), exact=True, test=["wald_f", "lrt_ml"])
    for test, column in (("wald_f", "p_wald"), ("lrt_ml", "p_lrt")):
        ours = frame.loc[frame["test"] == test, "neglog10p"]
        np.testing.assert_allclose(ours, -np.log10(wanted[column]), rtol=1e-5, atol=1e-6)


def test_parametric_bootstrap_of_the_pedigree_model(family):
    """Replicates agree with the estimates' own standard errors."""
    spectrum, y, _ = family
    fit = fit_lmm(spectrum, y)
    result = bootstrap(fit, 200, seed=5)
    frame = result.frame()
    np.testing.assert_allclose(frame["intercept"].std(), fit.se[0], rtol=0.2)
    np.testing.assert_allclose(frame["hsq"].mean(), fit.hsq, atol=3 * frame["hsq"].std() / np.sqrt(200))
