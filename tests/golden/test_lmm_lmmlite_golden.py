"""Null models against lmmlite 0.2-2 on the recla mice (../shared/golden/lmm/lmmlite)."""

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.lmm import eigen_rotation, fit_lmm, kinship_spectrum, log_likelihood, ml_solution
from gsem_spark.methods.lmm.null import log_likelihood_gradient


@pytest.fixture(scope="module")
def recla(shared_golden):
    folder = shared_golden("golden/lmm/lmmlite")
    K = pd.read_csv(folder / "recla_kinship.tsv.gz", sep="\t", index_col=0).to_numpy()
    X = pd.read_csv(folder / "recla_covar.tsv", sep="\t", index_col=0).to_numpy(float)
    traits = pd.read_csv(folder / "recla_pheno_odd.tsv", sep="\t", index_col=0)
    return folder, K, X, traits


@pytest.fixture(scope="module")
def first(recla):
    _, K, X, traits = recla
    return eigen_rotation(K, traits["OF_distance_first4"], X)


def test_eigen_rotation(recla, first):
    """Eigenvalues, and products of rotated vectors, which do not depend on signs."""
    wanted = pd.read_csv(recla[0] / "pheno1_eigen_rotation.tsv", sep="\t")
    np.testing.assert_allclose(first.eigenvalues, wanted["Kva"], rtol=1e-10)
    scale = np.abs(wanted).max()
    for column, product in (("y_rot_sq", first.y**2), ("yx0", first.y * first.X[:, 0]), ("yx1", first.y * first.X[:, 1]),
                            ("x0x1", first.X[:, 0] * first.X[:, 1]), ("x1sq", first.X[:, 1] ** 2)):
        np.testing.assert_allclose(product, wanted[column], atol=1e-8 * scale[column], err_msg=column)


def test_solutions_and_likelihoods_at_given_heritabilities(recla, first):
    """getMLsoln and calcLL on a grid, REML and ML."""
    np.testing.assert_allclose(first.logdet_xx, 9.7415566853899129, rtol=1e-13)
    for row in pd.read_csv(recla[0] / "pheno1_getMLsoln.tsv", sep="\t").itertuples():
        solution = ml_solution(first, row.hsq, bool(row.reml))
        np.testing.assert_allclose(solution.beta, [row.beta_int, row.beta_sex], rtol=1e-9)
        ours = [solution.sigmasq, solution.rss, solution.loglik]
        np.testing.assert_allclose(ours, [row.sigmasq, row.rss, row.loglik], rtol=1e-11)
        if row.reml:
            np.testing.assert_allclose(solution.logdet_xsx, row.logdetXSX, rtol=1e-11)
    grid = pd.read_csv(recla[0] / "pheno1_calcLL_grid.tsv", sep="\t")
    np.testing.assert_allclose(log_likelihood(first, grid["hsq"]), grid["loglik_reml"], rtol=1e-12)
    np.testing.assert_allclose(log_likelihood(first, grid["hsq"], reml=False), grid["loglik_ml"], rtol=1e-12)


def test_documented_figures(first):
    """The package's documented fit, which stopped 1.3e-5 short of the optimum, and the optimum."""
    documented = ml_solution(first, 0.76428408607727338)
    np.testing.assert_allclose(documented.beta, [1417.98, -23.24], atol=0.005)
    np.testing.assert_allclose(documented.loglik, -2332.84, atol=0.005)
    assert round(documented.hsq * documented.sigmasq, 1) == 225724.1
    assert round((1 - documented.hsq) * documented.sigmasq, 2) == 69616.46
    fit = fit_lmm(first)
    assert round(fit.hsq, 6) == 0.764297
    assert fit.loglik >= documented.loglik
    assert abs(float(log_likelihood_gradient(first, fit.hsq)[0])) < 1e-9
    # the full log likelihood from the one without constants
    n, p = first.n, first.c
    constants = 0.5 * (n * np.log(2 * np.pi) - n * np.log(n - p) + n - p)
    np.testing.assert_allclose(fit.loglik_full, fit.loglik - constants, rtol=1e-13)


def test_every_trait_by_reml_and_ml(recla):
    """fitLMM of 13 traits at tol 1e-8: likelihoods, hsq to the reference's own stopping error, all else at its hsq."""
    folder, K, X, traits = recla
    table = pd.read_csv(folder / "fitLMM_odd.tsv", sep="\t").query("check_boundary == 1 and tol == 1e-8")
    se = pd.read_csv(folder / "fitLMM_se_plainR_odd.tsv", sep="\t").set_index(["phenotype", "reml"])["hsq_se"]
    assert len(table) == 26
    for name, rows in table.groupby("phenotype"):
        y = traits[name].to_numpy()
        keep = np.isfinite(y)
        spectrum = kinship_spectrum(K[np.ix_(keep, keep)])
        for row in rows.itertuples():
            fit = fit_lmm(spectrum, y[keep], X[keep], reml=bool(row.reml))
            # Brent on the likelihood cannot tell points apart whose likelihoods agree to 1e-12; hsq carries its root, 1e-6
            assert abs(fit.hsq - row.hsq) < 1e-6
            np.testing.assert_allclose(fit.loglik, row.loglik, rtol=1e-12)
            assert fit.loglik > row.loglik - 1e-10
            at = ml_solution(fit.rotated, row.hsq, bool(row.reml))
            np.testing.assert_allclose(at.beta, [row.beta_int, row.beta_sex], rtol=1e-9)
            np.testing.assert_allclose(at.hsq * at.sigmasq, row.sigmasq_g, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose((1 - at.hsq) * at.sigmasq, row.sigmasq_e, rtol=1e-9, atol=1e-9 * at.sigmasq)
            if fit.at_boundary:
                assert np.isnan(fit.hsq_se)
            else:
                np.testing.assert_allclose(fit.hsq_se, se[name, row.reml], rtol=1e-5)


def test_without_the_boundary_check(recla):
    """check_boundary=FALSE keeps the search inside: lmmlite stops 3e-9 short of an end, ours within 1e-6 of it."""
    folder, K, X, traits = recla
    table = pd.read_csv(folder / "fitLMM_odd.tsv", sep="\t").query("check_boundary == 0 and tol == 1e-8 and reml == 1")
    for row in table.itertuples():
        y = traits[row.phenotype].to_numpy()
        keep = np.isfinite(y)
        fit = fit_lmm(K[np.ix_(keep, keep)], y[keep], X[keep], check_boundary=False)
        assert not fit.at_boundary
        assert 0 < fit.hsq < 1
        assert abs(fit.hsq - row.hsq) < 1.1e-6
