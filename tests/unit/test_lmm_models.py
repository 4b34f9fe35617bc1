"""Models beyond one kinship: variance components, several traits, many phenotypes, bootstrap, formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import (
    Component,
    background_spectrum,
    bootstrap,
    bootstrap_block,
    bootstrap_components,
    bootstrap_intervals,
    component_block,
    component_model,
    component_tests,
    fit_lmm,
    fit_multitrait,
    fit_phenotypes,
    fit_variance_components,
    formula_data,
    grouping_component,
    join_arrays,
    kinship,
    kinship_spectrum,
    kinship_sums,
    leave_one_out,
    log_likelihood,
    mixture_lrt,
    prepare_multitrait_scan,
    prepare_scan_phenotypes,
    scan,
    scan_multitrait,
    scan_multitrait_block,
    scan_phenotypes,
    scan_phenotypes_block,
    split_arrays,
    trait_designs,
    traitkernel,
    unpack_grm,
    variance_component_test,
)


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(12)
    n, P = 150, 3
    G = rng.binomial(2, 0.4, (n, 300)).astype(float)
    # full rank: with a centred kinship and an intercept the likelihood by ML has no upper bound
    K = kinship(G.T, "standardised") + 0.05 * np.eye(n)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    C = np.linalg.cholesky(K + 1e-9 * np.eye(n))
    root = np.array([[0.9, 0, 0], [0.5, 0.6, 0], [-0.3, 0.2, 0.7]])
    Y = C @ rng.normal(size=(n, P)) @ root.T + rng.normal(size=(n, P)) @ np.array([[0.7, 0.2, 0], [0, 0.8, 0], [0, 0, 0.6]])
    return G, K, X, Y


# --- variance components ---------------------------------------------------------------------------------------------

def test_one_component_is_the_kinship_model(cohort):
    _, K, X, Y = cohort
    for reml in (True, False):
        a, b = fit_lmm(K, Y[:, 0], X, reml=reml), fit_variance_components(Y[:, 0], X, {"kinship": K}, reml=reml)
        scale = 1.0 if reml else (len(Y) - 2) / len(Y)
        np.testing.assert_allclose(b.theta, [a.sigmasq_g * scale, a.sigmasq_e * scale], rtol=1e-6)
        np.testing.assert_allclose(b.loglik, a.loglik_full, rtol=1e-11)


def test_kinship_household_and_residual(cohort):
    """Three components are recovered, their standard errors cover the truth, and each is tested against its mixture null."""
    _, K, X, _ = cohort
    rng = np.random.default_rng(3)
    home = np.repeat(np.arange(50), 3)
    y = (np.linalg.cholesky(K + 1e-9 * np.eye(150)) @ rng.normal(size=150) + rng.normal(size=50)[home] * 1.5
         + 0.7 * rng.normal(size=150))
    full = fit_variance_components(y, X, {"kinship": K, "household": home})
    table = full.variance_components().set_index("name")
    for name, truth in (("kinship", 1.0), ("household", 2.25), ("residual", 0.49)):
        assert abs(table.loc[name, "variance"] - truth) < 4 * table.loc[name, "se"]
    test = variance_component_test(full, fit_variance_components(y, X, {"kinship": K}))
    assert test.loc[0, "name"] == "household"
    assert test.loc[0, "p"] < 1e-4
    with pytest.raises(DataError, match="one component is wanted"):
        variance_component_test(full, full)


def test_a_variance_that_is_zero_is_held_there(cohort):
    _, K, X, _ = cohort
    rng = np.random.default_rng(8)
    results = [fit_variance_components(rng.normal(size=150), X, {"kinship": K, "home": np.arange(150) // 3}) for _ in range(6)]
    held = [fit for fit in results if fit.at_zero.any()]
    assert held
    for fit in held:
        assert (fit.theta[fit.at_zero] == 0).all()
        assert np.isnan(fit.variance_components().loc[fit.at_zero, "se"]).all()


def test_mixture_null_of_a_variance():
    assert mixture_lrt("g", -10.0, -10.0).loc[0, "p"] == 1.0
    row = mixture_lrt("g", -10.0, -10.0 - 0.5 * 2.705543).iloc[0]
    np.testing.assert_allclose(row["p"], 0.05, rtol=1e-5)
    np.testing.assert_allclose(mixture_lrt("g", 0.0, -1e4).loc[0, "neglog10p"], 4345.0, rtol=1e-3)


def test_wrong_components(cohort):
    _, K, X, Y = cohort
    y = Y[:, 0]
    with pytest.raises(DataError, match="kinship, copy are combinations"):
        fit_variance_components(y, X, {"kinship": K, "copy": 2 * K})
    with pytest.raises(DataError, match="cannot be told from the residual"):
        fit_variance_components(y, X, {"own": np.arange(150)})
    with pytest.raises(DataError, match="not positive semidefinite"):
        fit_variance_components(y, X, {"k": K - 2 * np.eye(150)})
    with pytest.raises(DataError, match=r"2 samples have no group \(rows 0, 7\)"):
        grouping_component("home", [None, *["a"] * 6, None, "b"])
    with pytest.raises(DataError, match="no variance component"):
        fit_variance_components(y, X, {})


def test_formulas():
    data = pd.DataFrame({"y": np.arange(8.0), "age": [1.0, 4, 2, 8, 5, 7, 1, 9], "sex": list("mfmfmfmf"),
                         "home": list("aabbccdd"), "town": list("uuuuvvvv")})
    parts = formula_data("y ~ sex + age + (1|town/home) + (0 + age|town)", data)
    assert parts.names == ("Intercept", "sex[T.m]", "age")
    assert [c.name for c in parts.components] == ["town", "town:home", "town:age"]
    assert formula_data("y ~ (age|town)", data).components[1].covariance
    assert formula_data("y ~ (1|home)", data).names == ("Intercept",)
    with pytest.raises(ConfigError, match="2 tildes"):
        formula_data("y ~ age ~ sex", data)
    with pytest.raises(DataError, match="no column 'house'"):
        formula_data("y ~ age + (1|house)", data)
    with pytest.raises(ConfigError, match="cannot be read"):
        formula_data("y ~ age +* sex", data)
    with pytest.raises((DataError, ConfigError), match="height"):
        formula_data("y ~ height", data)
    with pytest.raises(DataError, match="over numbers"):
        formula_data("y ~ (sex|home)", data)


# --- several traits ----------------------------------------------------------------------------------------------------

def test_gradient_and_information_by_differences(cohort):
    _, K, X, Y = cohort
    fit = fit_multitrait(Y, K, X)
    data, rng = fit.data.rotated, np.random.default_rng(0)
    Cg, Cn = fit.Cg + 0.2 * np.eye(3), fit.Cn + 0.1 * np.eye(3)
    for reml in (True, False):
        at = traitkernel.evaluate(data, Cg, Cn, reml)
        for _ in range(4):
            step = rng.normal(size=12)
            h = 1e-5
            values = [traitkernel.evaluate(data, traitkernel._moved(at.T, Cg, s * h * step[:6]),
                                           traitkernel._moved(at.T, Cn, s * h * step[6:]), reml).value for s in (1, -1)]
            np.testing.assert_allclose((values[0] - values[1]) / (2 * h), at.gradient @ step, rtol=1e-5, atol=1e-6)


def test_one_trait_is_the_single_trait_model(cohort):
    _, K, X, Y = cohort
    for reml in (True, False):
        one = fit_lmm(K, Y[:, 0], X, reml=reml, scale_df="n-p" if reml else "n")
        many = fit_multitrait(Y[:, :1], K, X, reml=reml)
        np.testing.assert_allclose([many.Cg[0, 0], many.Cn[0, 0]], [one.sigmasq_g, one.sigmasq_e], rtol=1e-6, atol=1e-10)
        np.testing.assert_allclose(many.loglik, one.loglik_full, rtol=1e-11)
        np.testing.assert_allclose(many.B.ravel(), one.beta, rtol=1e-6)


@pytest.mark.parametrize("low_rank", [False, True])
def test_scans_against_dense_algebra(cohort, low_rank):
    """Fixed and refitted tests of one variant with the (n P) x (n P) covariance written out."""
    G, K, X, Y = cohort
    if low_rank:
        W = G[:, :8] - G[:, :8].mean(axis=0)
        K, spectrum = W @ W.T, background_spectrum(W)
    else:
        spectrum = kinship_spectrum(K)
    fit = fit_multitrait(Y, spectrum, X)
    V = np.kron(K, fit.Cg) + np.kron(np.eye(150), fit.Cn)
    F = np.kron(X, np.eye(3))
    P = np.linalg.solve(V, np.eye(450))
    P = P - P @ F @ np.linalg.solve(F.T @ P @ F, F.T @ P)
    y = Y.ravel()
    designs = trait_designs(["a", "b", "c"])
    frame = scan_multitrait(G[:, :2], fit, designs).set_index(["variant", "design"])
    for name, (base, effects) in designs.items():
        for s in range(2):
            quadratics = []
            for D in (np.hstack([base, effects]), base):
                Z = np.kron(G[:, [s]], D)
                quadratics.append(y @ P @ Z @ np.linalg.solve(Z.T @ P @ Z, Z.T @ P @ y) if D.shape[1] else 0.0)
            np.testing.assert_allclose(frame.loc[(s, name), "stat"], quadratics[0] - quadratics[1], rtol=1e-7)
    Z = np.kron(G[:, [0]], np.eye(3))
    cov = np.linalg.solve(Z.T @ P @ Z, np.eye(3))
    row = frame.loc[(0, "any")]
    np.testing.assert_allclose(row[["beta_0", "beta_1", "beta_2"]].astype(float), cov @ Z.T @ P @ y, rtol=1e-7)
    np.testing.assert_allclose(row[["se_0", "cov_0_1", "cov_1_2"]].astype(float),
                               [np.sqrt(cov[0, 0]), cov[0, 1], cov[1, 2]], rtol=1e-7)
    refitted = scan_multitrait(G[:, :1], fit, test=["wald", "lrt_ml"], exact=True)
    for reml, test in ((True, "wald"), (False, "lrt_ml")):
        larger = fit_multitrait(Y, spectrum, np.column_stack([X, G[:, 0]]), reml=reml)
        stat = refitted.loc[refitted["test"] == test, "stat"].iloc[0]
        if reml:
            b = larger.B[-1]
            np.testing.assert_allclose(stat, b @ np.linalg.solve(larger.B_cov[-3:, -3:], b), rtol=1e-6)
        else:
            np.testing.assert_allclose(stat, 2 * (larger.loglik - fit_multitrait(Y, spectrum, X, reml=False).loglik), rtol=1e-6)


@pytest.mark.parametrize("exact", [False, True])
def test_multitrait_blocks_have_the_same_bytes(cohort, exact):
    G, K, X, Y = cohort
    plan = prepare_multitrait_scan(fit_multitrait(Y, K, X), trait_designs("abc"), ["limix_lrt", "score"], exact=exact)
    block = np.ascontiguousarray(G.T)
    whole = scan_multitrait_block(plan, block)
    parts = [scan_multitrait_block(plan, block[a : a + 77], first=a) for a in range(0, 300, 77)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)


def test_forms_of_covariance(cohort):
    """Nested forms have ordered likelihoods; a fixed matrix at the optimum has the optimum's; bad forms are refused."""
    _, K, X, Y = cohort
    free = fit_multitrait(Y, K, X)
    diagonal = fit_multitrait(Y, K, X, genetic="diagonal", residual="diagonal")
    low = fit_multitrait(Y, K, X, genetic="low_rank", residual="diagonal", rank=1)
    fixed = fit_multitrait(Y, K, X, genetic=free.Cg, residual=free.Cn)
    assert diagonal.loglik < low.loglik <= free.loglik + 1e-6
    np.testing.assert_allclose(fixed.loglik, free.loglik, rtol=1e-12)
    # three traits: rank one and a diagonal is any covariance matrix without a Heywood case
    np.testing.assert_allclose(fit_multitrait(Y, K, X, genetic="low_rank").loglik, free.loglik, atol=1e-3)
    singles = [fit_lmm(K, Y[:, p], X).loglik_full for p in range(3)]
    np.testing.assert_allclose(diagonal.loglik, sum(singles), rtol=1e-9)
    with pytest.raises(ConfigError, match="unknown form"):
        fit_multitrait(Y, K, X, genetic="toeplitz")
    with pytest.raises(ConfigError, match="rank 3 for 3 traits"):
        fit_multitrait(Y, K, X, genetic="low_rank", rank=3)


def test_an_optimum_on_the_boundary(cohort):
    """Two traits with the same genetic part: Cg is singular, its sampling covariance is not given."""
    _, K, X, _ = cohort
    rng = np.random.default_rng(5)
    Y = np.repeat(rng.normal(size=(150, 1)), 2, axis=1) * 0.1 + rng.normal(size=(150, 2))
    fit = fit_multitrait(Y, K, X)
    assert fit.at_boundary == (np.linalg.eigvalsh(fit.Cg)[0] < 1e-6 * np.trace(fit.Cg) / 2)
    assert np.isnan(fit.Cg_cov).all() == fit.at_boundary
    assert fit.at_boundary


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("forms", [("free", "free"), ("low_rank", "diagonal")])
def test_units_of_traits_and_kinship_play_no_part(cohort, forms, reml):
    """Traits eight orders of magnitude apart and a kinship of large entries, at optima inside and on either boundary."""
    _, K, X, Y = cohort
    scale, unit = np.array([1e-4, 1.0, 1e4]), 1e3
    rng = np.random.default_rng(5)
    without = np.repeat(rng.normal(size=(150, 1)), 3, axis=1) * 0.1 + rng.normal(size=(150, 3))
    # free matrices of the cohort have a singular Cn by ML, not by REML; the other traits have a singular Cg
    for values, boundary in ((Y, forms[0] == "free" and not reml), (without, True)):
        one = fit_multitrait(values, K, X, reml=reml, genetic=forms[0], residual=forms[1])
        assert one.at_boundary == boundary
        two = fit_multitrait(values * scale, unit * K, X, reml=reml, genetic=forms[0], residual=forms[1])
        assert two.at_boundary == boundary
        np.testing.assert_allclose(two.loglik, one.loglik - (150 - 2 * reml) * np.log(scale).sum(), rtol=1e-9)
        for back, C in ((unit * two.Cg, one.Cg), (two.Cn, one.Cn)):
            np.testing.assert_allclose(back / np.outer(scale, scale), C, atol=1e-5 * np.trace(one.Cg + one.Cn))
        np.testing.assert_allclose(two.B / scale, one.B, atol=1e-5)


@pytest.mark.parametrize("reml", [True, False])
def test_a_combination_without_residual_variance(cohort, reml):
    """Two traits that share their residual: Cn is singular, and no Cg near the optimum has a higher likelihood."""
    _, K, X, _ = cohort
    rng = np.random.default_rng(3)
    root = np.linalg.cholesky(K + 1e-10 * np.eye(150))
    Y = root @ rng.normal(size=(150, 2)) + 0.5 * rng.normal(size=(150, 1))
    fit = fit_multitrait(Y, K, X, reml=reml)
    assert fit.at_boundary
    assert np.linalg.eigvalsh(fit.Cn)[0] < 1e-6
    assert np.linalg.eigvalsh(fit.Cg)[0] > 0.1
    assert np.isnan(fit.Cg_cov).all()
    for i, j in ((0, 0), (0, 1), (1, 1)):
        E = np.zeros((2, 2))
        E[i, j] = E[j, i] = 1e-4
        for step in (E, -E):
            assert fit.data.loglik(fit.Cg + step, fit.Cn, reml) < fit.data.loglik(fit.Cg, fit.Cn, reml)
    with pytest.raises(DataError, match="lies on the boundary"):
        fit.covstruct()


@pytest.mark.slow
def test_standard_errors_of_covariances_over_replicates(cohort):
    """S and V for structural equation models: V is the spread of S over simulated data, within Monte Carlo error."""
    _, K, X, Y = cohort
    spectrum = kinship_spectrum(K)
    fit = fit_multitrait(Y[:, :2], spectrum, X)
    assert not fit.at_boundary
    rng = np.random.default_rng(1)
    roots = [np.linalg.cholesky(M) for M in (K + 1e-10 * np.eye(150), fit.Cg, fit.Cn)]
    draws = []
    for _ in range(80):
        Z = roots[0] @ rng.normal(size=(150, 2)) @ roots[1].T + rng.normal(size=(150, 2)) @ roots[2].T
        Cg = fit_multitrait(Z, spectrum, X).Cg
        draws.append([Cg[0, 0], Cg[1, 0], Cg[1, 1]])
    S, V = fit.sampling()
    assert S.shape == (2, 2)
    np.testing.assert_allclose(np.std(draws, axis=0), np.sqrt(np.diag(V)), rtol=0.35)
    frame = fit.correlations()
    assert frame["kind"].tolist() == ["genetic", "residual"]
    assert (frame["se"] > 0).all()
    assert (fit.variances()["hsq_se"] > 0).all()


def test_wrong_trait_inputs(cohort):
    G, K, X, Y = cohort
    fit = fit_multitrait(Y[:, :2], K, X)
    for words, call in (
        ("combinations of one another", lambda: fit_multitrait(np.column_stack([Y[:, 0], Y[:, 1], Y[:, 0] + Y[:, 1]]), K, X)),
        ("phenotype 'flat' is constant",
         lambda: fit_multitrait(np.column_stack([Y[:, 0], np.ones(150)]), K, X, traits=["y", "flat"])),
        ("the kinship has 150 samples", lambda: fit_multitrait(Y[:140], K, X[:140])),
        ("2 rows and independent columns", lambda: fit_multitrait(Y[:, :2], K, X, np.ones((3, 1)))),
        ("2 rows are wanted", lambda: scan_multitrait(G, fit, np.eye(3))),
        ("combinations", lambda: scan_multitrait(G, fit, {"d": (np.ones(2), np.ones(2))})),
        ("meet a model of 150", lambda: scan_multitrait(G[:100], fit)),
    ):
        with pytest.raises(DataError, match=words):
            call()
    with pytest.raises(ConfigError, match="unknown multi-trait test"):
        scan_multitrait(G, fit, test="wald_f")
    G = G.copy()
    G[:, 1], G[:, 2] = np.nan, 1.0
    frame = scan_multitrait(G[:, :4], fit, test=["wald", "lrt_ml"], exact=True)
    assert frame.groupby("variant")["status"].first().tolist() == ["ok", "missing", "singular", "ok"]
    assert frame.loc[frame["variant"].isin([1, 2]), ["beta_0", "se_0", "stat", "p"]].isna().all().all()


# --- many phenotypes and bootstrap ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize("reml", [False, True])
def test_many_phenotypes_are_fitted_as_one_is(cohort, reml, low_rank):
    G, K, X, Y = cohort
    spectrum = background_spectrum(G[:, :10] - G[:, :10].mean(axis=0)) if low_rank else kinship_spectrum(K + 0.01 * np.eye(150))
    rng = np.random.default_rng(2)
    Y = np.column_stack([Y, rng.normal(size=(150, 3)), G[:, :10] @ rng.normal(size=(10, 2))+ 0.1 * rng.normal(size=(150, 2))])
    frame = fit_phenotypes(spectrum, Y, X, reml=reml)
    for j in range(Y.shape[1]):
        fit = fit_lmm(spectrum, Y[:, j], X, reml=reml)
        np.testing.assert_allclose(frame.loc[j, ["hsq", "sigmasq_g", "sigmasq_e"]].astype(float),
                                   [fit.hsq, fit.sigmasq_g, fit.sigmasq_e], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(frame.loc[j, ["beta_intercept", "beta_x1"]].astype(float), fit.beta, rtol=1e-7)
        np.testing.assert_allclose(frame.loc[j, ["se_intercept", "se_x1"]].astype(float), fit.se, rtol=1e-7)
        np.testing.assert_allclose(frame.loc[j, "hsq_se"], fit.hsq_se, rtol=1e-4)


def test_bootstrap_replicates_do_not_depend_on_the_cut(cohort):
    _, K, X, Y = cohort
    fit = fit_lmm(K, Y[:, 0], X)
    for kind in ("parametric", "residual"):
        whole = bootstrap_block(fit, 0, 130, kind, seed=4)
        parts = [bootstrap_block(fit, a, b, kind, seed=4) for a, b in ((0, 37), (37, 101), (101, 130))]
        for k in range(2):
            np.testing.assert_array_equal(np.concatenate([p[k] for p in parts]), whole[k])
        other = bootstrap_block(fit, 0, 2, kind, seed=5)
        assert not np.array_equal(other[0], whole[0][:2])


@pytest.mark.parametrize("kind", ["parametric", "residual"])
def test_bootstrap_finds_the_standard_errors(cohort, kind):
    _, K, X, Y = cohort
    fit = fit_lmm(K + 0.01 * np.eye(150), Y[:, 0], X)
    result = bootstrap(fit, 400, kind, seed=2)
    np.testing.assert_allclose(result.replicates[:, :2].std(axis=0), fit.se, rtol=0.25)
    table = result.intervals()
    assert len(table) == 5 * 5
    beta = table[table["name"] == "x1"]
    assert (beta["lower"] < beta["upper"]).all()
    assert result.p_values()["p"].between(1 / 401, 1).all()


def test_bootstrap_of_a_low_rank_background(cohort):
    """Residual variance in the directions without an eigenvector is drawn as well."""
    G, _, X, Y = cohort
    spectrum = background_spectrum(G[:, :10] - G[:, :10].mean(axis=0))
    fit = fit_lmm(spectrum, Y[:, 0] + G[:, :10].sum(axis=1), X)
    result = bootstrap(fit, 300, seed=3)
    frame = result.frame()
    np.testing.assert_allclose(frame["sigmasq_e"].mean(), fit.sigmasq_e, rtol=0.05)
    np.testing.assert_allclose(frame["sigmasq_e"].std(), fit.sigmasq_e * np.sqrt(2 / 140), rtol=0.2)
    with pytest.raises(ConfigError, match="low-rank"):
        bootstrap(fit, 10, "residual")


def test_bootstrap_settings(cohort):
    _, K, X, Y = cohort
    fit = fit_lmm(K, Y[:, 0], X)
    for words, call in (("unknown bootstrap", lambda: bootstrap(fit, 10, "wild")), ("at least 2", lambda: bootstrap(fit, 1)),
                        ("level is 95", lambda: bootstrap_intervals("b", 0, 1, np.arange(9.0), np.ones(9), 95))):
        with pytest.raises(ConfigError, match=words):
            call()


def test_scan_of_a_trait_without_heritability_is_ordinary_regression(cohort):
    """hsq at its bound 0: the mixed model and plain regression are the same."""
    G, K, X, _ = cohort
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = rng.normal(size=150)
        if fit_lmm(K, y, X).hsq == 0.0:
            np.testing.assert_allclose(scan(G[:, :5], y, X, K)["p"], scan(G[:, :5], y, X)["p"], rtol=1e-9)
            return
    pytest.fail("no draw without heritability")


@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize("test", ["wald_f", "lrt_ml"])
def test_many_phenotypes_are_scanned_as_one_is(cohort, low_rank, test):
    """One rotation for all phenotypes, the same tests as of each alone; the same bytes in any block; bad variants are rows."""
    G, K, X, Y = cohort
    spectrum = background_spectrum(G[:, :10] - G[:, :10].mean(axis=0)) if low_rank else kinship_spectrum(K)
    G = G[:, :30].copy()
    G[3, 4], G[:, 7], G[:, 9] = np.nan, np.nan, 2.0
    frame = scan_phenotypes(G, Y, X, spectrum, test, traits=["a", "b", "c"])
    for j, name in enumerate("abc"):
        alone = scan(G, Y[:, j], X, spectrum, test=test)
        mine = frame[frame["trait"] == name].reset_index(drop=True)
        figures = ["beta", "se", "stat", "p", "neglog10p"]
        np.testing.assert_allclose(mine[figures], alone[figures], rtol=1e-6, atol=1e-12)
        assert mine["status"].tolist() == alone["status"].tolist()
    assert set(frame.loc[frame["variant"] == 7, "status"]) == {"missing"}
    plan = prepare_scan_phenotypes(Y, X, spectrum, test, traits=["a", "b", "c"])
    parts = [scan_phenotypes_block(plan, G.T[a : a + 11], first=a) for a in (0, 11, 22)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame, check_exact=True)


def test_hsq_is_tested_on_its_boundary(cohort):
    _, K, X, Y = cohort
    fit = fit_lmm(K, Y[:, 1], X)
    row = fit.test_hsq().iloc[0]
    np.testing.assert_allclose(row["stat"], 2 * (fit.loglik - float(log_likelihood(fit.rotated, 0.0)[0])), rtol=1e-12)
    noise = np.random.default_rng(0).normal(size=(150, 12))
    p = [fit_lmm(K, noise[:, j], X).test_hsq().loc[0, "p"] for j in range(12)]
    assert max(p) == 1.0


def test_kinship_files_and_chromosomes_left_out(cohort):
    G, K, _, _ = cohort
    packed = K[np.tril_indices(150)].astype(np.float32)
    np.testing.assert_allclose(unpack_grm(packed, 150), K, atol=1e-6)
    with pytest.raises(DataError, match="149 samples have 11175"):
        unpack_grm(packed, 149)
    parts = {"1": kinship_sums(G.T[:100]), "2": kinship_sums(G.T[100:250]), "X": kinship_sums(G.T[250:])}
    left = leave_one_out(parts)
    np.testing.assert_allclose(left["2"], kinship(np.vstack([G.T[:100], G.T[250:]])), rtol=1e-9, atol=1e-12)
    with pytest.raises(DataError, match="at least two"):
        leave_one_out({"1": parts["1"]})


def test_bootstrap_of_several_components(cohort):
    _, _, X, _ = cohort
    rng = np.random.default_rng(6)
    X, home = X[:90], np.arange(90) // 3
    y = rng.normal(size=30)[home] + rng.normal(size=90)
    terms = [grouping_component("home", home)]
    fit = fit_variance_components(y, X, terms)
    result = bootstrap_components(fit, X, terms, 60, seed=2)
    assert result.names == ("intercept", "x1", "home", "residual")
    np.testing.assert_allclose(np.nanstd(result.replicates, axis=0), result.se, rtol=0.4)
    assert len(result.intervals()) == 20
    assert np.array_equal(bootstrap_components(fit, X, terms, 5, seed=2).replicates, result.replicates[:5])
    again = fit_variance_components(X @ fit.beta + np.linalg.cholesky(fit.theta[0] * terms[0].matrix + fit.theta[1] * np.eye(90))
                                    @ np.random.default_rng([2, 3]).standard_normal(90), X, terms)
    np.testing.assert_allclose(result.replicates[3], [*again.beta, *again.theta], rtol=1e-6, atol=1e-9)
    with pytest.raises(ConfigError, match="not those of the fit"):
        bootstrap_components(fit, X, [Component("house", terms[0].matrix)], 5)
    with pytest.raises(ConfigError, match="at least 2"):
        bootstrap_components(fit, X, terms, 1)


@pytest.mark.parametrize("kind", ["parametric", "residual"])
def test_replicates_of_components_do_not_depend_on_the_cut_nor_on_where_the_matrices_lie(cohort, kind, tmp_path):
    _, K, X, Y = cohort
    home = np.arange(150) // 3
    terms = [Component("kinship", K), grouping_component("home", home)]
    y = Y[:, 0] + np.random.default_rng(1).normal(size=50)[home]
    fit = fit_variance_components(y, X, terms, reml=False)
    model = component_model(fit, X, terms, y)
    whole = component_block(model, 0, 6, kind, 9)
    light, arrays = split_arrays(model, 1000)
    assert {"matrices.kinship", "matrices.home", "root"} <= set(arrays)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = join_arrays(light, {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays})
    for part in range(2):
        parts = [component_block(mapped, i, j, kind, 9)[part] for i, j in ((0, 1), (1, 4), (4, 6))]
        assert np.concatenate(parts).tobytes() == whole[part].tobytes()
    assert np.isfinite(whole[0]).all() and (whole[0].std(axis=0) > 0).all()
    with pytest.raises(ConfigError, match="residuals are drawn from a phenotype"):
        bootstrap_components(fit, X, terms, 5, kind="residual")


def test_bootstrap_of_components_finds_the_standard_errors_by_residuals_too(cohort):
    _, _, X, _ = cohort
    rng = np.random.default_rng(16)
    X, home = X[:120], np.arange(120) // 4
    y = X @ [1.0, 0.3] + rng.normal(size=30)[home] + rng.normal(size=120)
    terms = [grouping_component("home", home)]
    fit = fit_variance_components(y, X, terms)
    result = bootstrap_components(fit, X, terms, 300, seed=5, kind="residual", y=y)
    np.testing.assert_allclose(np.nanstd(result.replicates, axis=0), result.se, rtol=0.2)
    np.testing.assert_allclose(np.nanmean(result.replicates, axis=0), result.estimate, atol=0.3 * result.se.max())


def test_every_component_is_tested_against_its_mixture(cohort):
    _, K, X, Y = cohort
    y, home = Y[:, 0], np.arange(150) // 3
    terms = [Component("kinship", K), grouping_component("home", home)]
    fit = fit_variance_components(y, X, terms)
    tests = component_tests(fit, y, X, terms).set_index("name")
    for name, left in (("kinship", {"home": home}), ("home", {"kinship": K})):
        wanted = variance_component_test(fit, fit_variance_components(y, X, left)).iloc[0]
        np.testing.assert_allclose(tests.loc[name, ["stat", "p"]].astype(float), wanted[["stat", "p"]].astype(float), rtol=1e-6,
                                   atol=1e-9)
    for reml in (True, False):
        alone = fit_variance_components(y, X, terms[:1], reml)
        found = component_tests(alone, y, X, terms[:1]).iloc[0]
        np.testing.assert_allclose(found["stat"], fit_lmm(K, y, X, reml=reml).test_hsq()["stat"][0], rtol=1e-6)


def test_the_variance_of_a_slope_leaves_with_its_covariance():
    rng = np.random.default_rng(4)
    town, age = np.repeat(np.arange(20), 8), rng.normal(size=160)
    y = rng.normal(size=20)[town] + 0.9 * rng.normal(size=20)[town] * age + rng.normal(size=160)
    data = formula_data("y ~ age + (age|town)", pd.DataFrame({"y": y, "age": age, "town": town}))
    fit = fit_variance_components(data.y, data.X, data.components)
    tests = component_tests(fit, data.y, data.X, data.components).set_index("name")
    assert tests["stat"].isna().tolist() == [True, True, False]
    without = fit_variance_components(data.y, data.X, data.components[:1])
    stat = 2 * (fit.loglik - without.loglik)
    np.testing.assert_allclose(tests.loc["town:age", "stat"], stat, rtol=1e-6)
    wanted = 0.5 * (stats.chi2.sf(stat, 1) + stats.chi2.sf(stat, 2))
    np.testing.assert_allclose(tests.loc["town:age", "p"], wanted, rtol=1e-6)
