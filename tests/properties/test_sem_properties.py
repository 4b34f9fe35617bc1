"""What must hold for every structure: scale, order, derivatives, saturation, nesting."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech
from gsem_spark.methods.sem import Model, common_factor, factor_model, fit_model, modification_indices, user_model
from gsem_spark.methods.sem import Path as Arrow
from gsem_spark.methods.sem.estimate import objective_for
from gsem_spark.methods.sem.inference import standardise_moments
from gsem_spark.methods.sem.modification import candidates_of, freed
from gsem_spark.methods.sem.starts import rescaling, starting_values

NAMES = tuple("abcdefgh")
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)
fewer = settings(max_examples=10, deadline=None)


def random_structure(seed, k, misfit=0.03):
    """A factor-like S with misfit and a random dense V; well inside the region of proper solutions."""
    rng = np.random.default_rng(seed)
    loadings = rng.uniform(0.4, 0.8, k)
    S = np.outer(loadings, loadings)
    noise = rng.normal(scale=misfit, size=(k, k))
    S = S + (noise + noise.T) / 2
    np.fill_diagonal(S, 1.0)
    sd = rng.uniform(0.3, 2.0, k)
    S = S * np.outer(sd, sd)
    q = k * (k + 1) // 2
    root = rng.normal(size=(q, 2 * q))
    correlation = np.corrcoef(root)
    columns, rows = np.triu_indices(k)
    se = 0.01 * sd[rows] * sd[columns] * rng.uniform(0.5, 2.0, q)
    return CovStruct.from_matrices(S, correlation * np.outer(se, se), np.eye(k), NAMES[:k])


def random_model(rng, k):
    """Two correlated factors with cross-loading, a residual covariance, a regression and an equality."""
    half = k // 2
    names = NAMES[:k]
    extra = [Arrow("F", "~~", "G"), Arrow("F", "=~", names[-1]), Arrow(names[0], "~~", names[half]),
             Arrow(names[1], "~~", names[1], label="r"), Arrow(names[0], "~~", names[0], label="r"),
             Arrow(names[2], "~", names[1])]
    model = factor_model({"F": names[:half], "G": names[half:]}, extra, observed=names)
    return model, rng.normal(scale=0.5, size=model.n_free)


@few
@given(SEEDS, st.integers(6, 8))
def test_analytic_jacobian_is_the_numeric_one(seed, k):
    model, theta = random_model(np.random.default_rng(seed), k)
    h = 1e-6
    steps = h * np.eye(model.n_free)
    numeric = np.stack([(model.implied_vech(theta + e) - model.implied_vech(theta - e)) / (2 * h) for e in steps], axis=1)
    np.testing.assert_allclose(model.jacobian(theta), numeric, rtol=1e-6, atol=1e-7)


@few
@given(SEEDS, st.integers(6, 8))
def test_curvature_is_the_numeric_one(seed, k):
    rng = np.random.default_rng(seed)
    model, theta = random_model(rng, k)
    weight = rng.normal(size=(k, k))
    weight = weight + weight.T

    def gradient(t):
        return np.einsum("ab,iab->i", weight, model.jacobian_matrices(t))

    h = 1e-6
    numeric = np.stack([(gradient(theta + e) - gradient(theta - e)) / (2 * h) for e in h * np.eye(model.n_free)])
    np.testing.assert_allclose(model.curvature(theta, weight), numeric, rtol=1e-5, atol=1e-5)


@few
@given(SEEDS, st.integers(3, 6), st.sampled_from(["DWLS", "ML"]))
def test_gradient_and_hessian_of_the_objectives(seed, k, estimation):
    cov = random_structure(seed, k)
    model = factor_model({"F": cov.traits}, observed=cov.traits)
    objective = objective_for(model, cov.S, cov.V, estimation)
    theta = starting_values(model, cov.S) * np.random.default_rng(seed).uniform(0.8, 1.2, model.n_free)
    here = objective.derivatives(theta)
    h = 1e-6
    steps = h * np.eye(theta.size)
    gradient = [(objective.value(theta + e) - objective.value(theta - e)) / (2 * h) for e in steps]
    hessian = [(objective.derivatives(theta + e).gradient - objective.derivatives(theta - e).gradient) / (2 * h) for e in steps]
    np.testing.assert_allclose(here.gradient, gradient, rtol=1e-5, atol=1e-5 * np.abs(here.gradient).max() + 1e-8)
    np.testing.assert_allclose(here.hessian, hessian, rtol=1e-5, atol=1e-6 * np.abs(here.hessian).max())


@few
@given(SEEDS, st.integers(4, 6), st.sampled_from(["DWLS", "ML"]))
def test_scale_equivariance(seed, k, estimation):
    cov = random_structure(seed, k)
    scale = np.exp(np.random.default_rng(seed + 1).normal(scale=2.0, size=k))
    S = cov.S * np.outer(scale, scale)
    factor = vech(np.outer(scale, scale))
    scaled = CovStruct.from_matrices(S, cov.V * np.outer(factor, factor), cov.I, cov.traits)
    one, two = common_factor(cov, estimation), common_factor(scaled, estimation)
    assume(one.status == "ok")
    by = np.r_[scale, scale**2]
    np.testing.assert_allclose(two.theta, one.theta * by, rtol=1e-7)
    np.testing.assert_allclose(np.diag(two.theta_cov), np.diag(one.theta_cov) * by**2, rtol=1e-6)
    np.testing.assert_allclose(two.parameters["std_est"], one.parameters["std_est"], rtol=1e-7)
    for name in ("chisq", "cfi", "srmr", "rmsea", "n_effective"):
        assert two.indices[name] == pytest.approx(one.indices[name], rel=1e-6, abs=1e-9)


@few
@given(SEEDS, st.integers(4, 6), st.sampled_from(["DWLS", "ML"]), st.randoms(use_true_random=False))
def test_order_of_traits_does_not_matter(seed, k, estimation, random):
    cov = random_structure(seed, k)
    order = list(cov.traits)
    random.shuffle(order)
    one, two = common_factor(cov, estimation), common_factor(cov.subset(order), estimation)
    assume(one.status == "ok")
    for trait in cov.traits:
        for column in ("est", "se", "std_est", "std_all"):
            assert two.value("F1", "=~", trait, column) == pytest.approx(one.value("F1", "=~", trait, column), rel=1e-7)
    assert two.indices["chisq"] == pytest.approx(one.indices["chisq"], rel=1e-8)


@few
@given(SEEDS, st.integers(2, 5), st.sampled_from(["DWLS", "ML"]))
def test_a_saturated_model_reproduces_s(seed, k, estimation):
    cov = random_structure(seed, k, misfit=0.1)
    pairs = [(i, j) for i in range(k) for j in range(i, k)]
    model = Model(cov.traits, (), [Arrow(cov.traits[i], "~~", cov.traits[j]) for i, j in pairs])
    fit = fit_model(cov, model, estimation)
    assume(fit.status == "ok")
    np.testing.assert_allclose(fit.implied, cov.S, rtol=1e-9, atol=1e-12)
    assert fit.indices["chisq"] == pytest.approx(0, abs=1e-9)
    # Each parameter is one moment, so its sampling variance is that moment's.
    columns, rows = np.triu_indices(k)
    assert [(int(i), int(j)) for i, j in zip(columns, rows, strict=True)] == pairs
    np.testing.assert_allclose(fit.theta_cov, cov.V, rtol=1e-6, atol=1e-12)


@few
@given(SEEDS, st.sampled_from(["DWLS", "ML"]))
def test_a_freed_parameter_never_raises_the_discrepancy(seed, estimation):
    cov = random_structure(seed, 5)
    small = factor_model({"F": cov.traits}, observed=cov.traits)
    large = factor_model({"F": cov.traits}, [Arrow("a", "~~", "b")], observed=cov.traits)
    values = []
    for model in (small, large):
        fit = fit_model(cov, model, estimation)
        assume(fit.converged)
        values.append(objective_for(model, cov.S, cov.V, estimation).value(fit.theta))
    assert values[1] <= values[0] * (1 + 1e-12) + 1e-14


@few
@given(SEEDS, st.integers(3, 6))
def test_sign_of_a_trait_turns_its_loading_only(seed, k):
    cov = random_structure(seed, k)
    flip = np.ones(k)
    flip[-1] = -1.0
    factor = vech(np.outer(flip, flip))
    turned = CovStruct.from_matrices(cov.S * np.outer(flip, flip), cov.V * np.outer(factor, factor), cov.I, cov.traits)
    one, two = common_factor(cov), common_factor(turned)
    assume(one.status == "ok")
    np.testing.assert_allclose(two.theta[:k] * flip * np.sign(two.theta[0]), one.theta[:k], rtol=1e-7)
    np.testing.assert_allclose(two.implied, unvech(vech(one.implied.to_numpy()) * factor), rtol=1e-7)


# --- models in syntax --------------------------------------------------------------------------------------------------------
TWO_FACTORS = "F =~ a + b + c + x*d\nG =~ d + e + f\nF ~~ r*G\na ~~ e\ns := r*x"


def two_factor_structure(seed):
    """Six traits of two correlated factors with a cross-loading, misfit, and a random dense V."""
    rng = np.random.default_rng(seed)
    loadings = np.zeros((6, 2))
    loadings[:3, 0], loadings[3:, 1] = rng.uniform(0.5, 0.8, 3), rng.uniform(0.5, 0.8, 3)
    loadings[3, 0] = 0.2
    S = loadings @ np.array([[1, 0.4], [0.4, 1]]) @ loadings.T
    np.fill_diagonal(S, 1.0)
    noise = rng.normal(scale=0.015, size=(6, 6))
    q = 21
    root = rng.normal(size=(q, 2 * q)) * 0.01 / np.sqrt(2 * q)
    return CovStruct.from_matrices(S + (noise + noise.T) / 2, root @ root.T, np.eye(6), NAMES[:6])


@fewer
@given(SEEDS, st.sampled_from(["DWLS", "ML"]), st.booleans())
def test_scale_equivariance_of_a_model_in_syntax(seed, estimation, std_lv):
    cov = two_factor_structure(seed)
    scale = np.exp(np.random.default_rng(seed + 1).normal(size=6))
    by = vech(np.outer(scale, scale))
    scaled = CovStruct.from_matrices(cov.S * np.outer(scale, scale), cov.V * np.outer(by, by), cov.I, cov.traits)
    one, two = (user_model(c, TWO_FACTORS, estimation, std_lv) for c in (cov, scaled))
    assume(one.status == "ok")
    for column in ("std_all", "std_all_se"):
        np.testing.assert_allclose(two.parameters[column], one.parameters[column], rtol=1e-6, atol=1e-9, err_msg=column)
    np.testing.assert_allclose(two.parameters["z"], one.parameters["z"], rtol=1e-6)
    assert two.indices["chisq"] == pytest.approx(one.indices["chisq"], rel=1e-6)
    mi = [modification_indices(f).set_index(["lhs", "op", "rhs"])["mi"] for f in (one, two)]
    np.testing.assert_allclose(mi[1].loc[mi[0].index], mi[0], rtol=1e-5, atol=1e-8)


SECOND_ORDER = "F =~ a + b + c\nG =~ d + e + f\nH =~ F + l*G\nl == 1\nF ~~ p*F\nG ~~ p*G"
EQUAL_LOADINGS = "F =~ x*a + x*b + c\nG =~ d + e + f\nF ~~ 0.2*G"


@fewer
@given(SEEDS, st.sampled_from([TWO_FACTORS, SECOND_ORDER, EQUAL_LOADINGS]), st.sampled_from(["DWLS", "ML"]), st.booleans())
def test_the_standardised_columns_are_the_fit_on_the_standardised_matrices(seed, text, estimation, std_lv):
    cov = two_factor_structure(seed)
    sd = np.exp(np.random.default_rng(seed + 1).normal(scale=0.3, size=6))
    by = vech(np.outer(sd, sd))
    scaled = CovStruct.from_matrices(cov.S * np.outer(sd, sd), cov.V * np.outer(by, by), cov.I, cov.traits)
    standard = CovStruct.from_matrices(*standardise_moments(scaled.S, scaled.V), cov.I, cov.traits)
    one, two = (user_model(c, text, estimation, std_lv) for c in (scaled, standard))
    assume(one.converged and two.converged)
    np.testing.assert_allclose(one.parameters["std_est"], two.parameters["est"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(one.parameters["std_se"], two.parameters["se"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(one.parameters["std_all_se"], two.parameters["std_all_se"], rtol=1e-5, atol=1e-9)
    assert rescaling(one.model, scaled.S)[1] == (text is TWO_FACTORS)


@fewer
@given(SEEDS, st.sampled_from(["DWLS", "ML"]), st.randoms(use_true_random=False))
def test_order_of_traits_does_not_matter_to_a_model_in_syntax(seed, estimation, random):
    cov = two_factor_structure(seed)
    order = list(cov.traits)
    random.shuffle(order)
    turned = "G =~ f + d + e\nF =~ c + b + x*d + a\nF ~~ r*G\na ~~ e\ns := r*x"
    one = user_model(cov, TWO_FACTORS, estimation, std_lv=True)
    two = user_model(cov.subset(order), turned, estimation, std_lv=True)
    assume(one.status == "ok")
    for path in (("F", "=~", "d"), ("G", "=~", "f"), ("F", "~~", "G"), ("a", "~~", "e"), ("s", ":=", "r*x")):
        for column in ("est", "se", "std_all", "std_all_se"):
            assert two.value(*path, column) == pytest.approx(one.value(*path, column), rel=1e-6, abs=1e-10), (path, column)
    assert two.indices["chisq"] == pytest.approx(one.indices["chisq"], rel=1e-8)


@fewer
@given(SEEDS, st.sampled_from(["DWLS", "ML"]), st.integers(0, 30))
def test_freeing_any_path_never_raises_the_discrepancy(seed, estimation, which):
    cov = two_factor_structure(seed)
    small = Model.parse("F =~ a + b + c\nG =~ d + e + f", std_lv=True)
    open_paths = candidates_of(small)[:-2]  # all but the factors' variances
    path = open_paths[which % len(open_paths)].path
    values = []
    for model in (small, freed(small, path.lhs, path.op, path.rhs)):
        fit = fit_model(cov, model, estimation)
        assume(fit.converged)
        values.append(objective_for(model, cov.S, cov.V, estimation).value(fit.theta))
    assert values[1] <= values[0] * (1 + 1e-10) + 1e-14


@fewer
@given(SEEDS, st.sampled_from(["DWLS", "ML"]))
def test_a_constraint_never_lowers_the_discrepancy(seed, estimation):
    cov = two_factor_structure(seed)
    limit = np.random.default_rng(seed).uniform(0.0, 0.6)
    texts = ("F =~ a + b + c\nG =~ d + e + f\nF ~~ r*G", f"F =~ a + b + c\nG =~ d + e + f\nF ~~ r*G\nr < {limit:.3f}")
    fits = [user_model(cov, t, estimation, std_lv=True) for t in texts]
    assume(all(f.converged for f in fits))
    values = [objective_for(f.model, cov.S, cov.V, estimation).value(f.theta) for f in fits]
    assert values[0] <= values[1] * (1 + 1e-10) + 1e-14
    assert fits[1].value("F", "~~", "G") <= float(f"{limit:.3f}") + 1e-9
    if fits[0].value("F", "~~", "G") < limit - 1e-3:
        assert values[0] == pytest.approx(values[1], rel=1e-8)
