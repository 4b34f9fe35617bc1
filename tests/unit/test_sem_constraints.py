"""Constraints: exact at the optimum, right standard errors, refused where they cannot be met; user_model as a whole."""

import numpy as np
import pytest
from scipy import optimize

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import Fit, Model, user_model
from gsem_spark.methods.sem.constrained import minimise_restricted
from gsem_spark.methods.sem.estimate import objective_for
from gsem_spark.methods.sem.starts import starting_values

NAMES = ("a", "b", "c", "d", "e", "f")
TWO = "F =~ a + b + c\nG =~ d + e + f\n"


@pytest.fixture(scope="module")
def cov() -> CovStruct:
    rng = np.random.default_rng(5)
    x = np.zeros((6, 2))
    x[:3, 0], x[3:, 1] = [0.8, 0.6, 0.5], [0.7, 0.9, 0.4]
    S = x @ np.array([[1, 0.6], [0.6, 1]]) @ x.T
    np.fill_diagonal(S, 1.0)
    noise = rng.normal(scale=0.03, size=(6, 6))
    S = S + (noise + noise.T) / 2
    root = rng.normal(size=(21, 60)) * 0.01
    return CovStruct.from_matrices(S, root @ root.T, np.eye(6), NAMES)


def best_by_scipy(model, cov, estimation):
    """The constrained optimum by scipy's SLSQP, from many starts."""
    objective, limits = objective_for(model, cov.S, cov.V, estimation), model.restrictions
    first = starting_values(model, cov.S)
    scale = 1.0 / max(abs(objective.value(first)), 1.0)
    conditions = [{"type": "eq", "fun": f.value} for f in limits.equalities]
    conditions += [{"type": "ineq", "fun": f.value} for f in limits.inequalities]
    rng = np.random.default_rng(1)

    def slope(t):
        return objective.derivatives(t).gradient * scale if np.isfinite(objective.value(t)) else 0 * t

    def height(t):
        return min(objective.value(t), 1e9) * scale

    ends = [optimize.minimize(height, first * rng.uniform(0.8, 1.2, first.size), jac=slope, constraints=conditions,
                              method="SLSQP", options={"ftol": 1e-14, "maxiter": 500}) for _ in range(4)]
    return min((e for e in ends if e.success), key=lambda e: e.fun).x


@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
@pytest.mark.parametrize("text", [
    "F ~~ r*G\nr < .3", "d ~~ v*d\nv > .7", "F ~~ r*G\nF ~~ vf*F\nG ~~ vg*G\nr / sqrt(vf*vg) <= .4",
    "a ~~ p*a\nb ~~ q*b\np*q == .1", "a ~~ p*a\nb ~~ q*b\nc ~~ r*c\np < q\nq < r\np + q + r == 1.2",
    "a ~~ p*a\np == .5\nd ~~ n*d\nn > .8",
    "exp(-r) > .8\nF ~~ r*G",
])
def test_the_constrained_optimum_is_that_of_slsqp_and_meets_its_conditions(cov, text, estimation):
    fit = user_model(cov, TWO + text, estimation)
    assert fit.converged
    assert fit.gradient_norm <= 1e-9
    objective = objective_for(fit.model, cov.S, cov.V, estimation)
    assert fit.model.restrictions.violation(fit.theta) < 1e-10
    wanted = best_by_scipy(fit.model, cov, estimation)
    assert objective.value(fit.theta) <= objective.value(wanted) * (1 + 1e-9) + 1e-12
    np.testing.assert_allclose(fit.theta, wanted, atol=3e-4)
    assert fit.constraints["active"].any()


@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_an_idle_bound_changes_nothing(cov, estimation):
    free, bounded = user_model(cov, TWO, estimation), user_model(cov, TWO + "a ~~ v*a; v > .0001", estimation)
    np.testing.assert_allclose(np.sort(bounded.theta), np.sort(free.theta), rtol=1e-9)
    assert bounded.indices["df"] == free.indices["df"]
    assert not bounded.constraints["active"].any()
    for path in (("F", "=~", "b"), ("F", "~~", "G")):
        assert bounded.value(*path, "se") == pytest.approx(free.value(*path, "se"), rel=1e-8)


@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_a_parameter_on_its_bound_is_a_fixed_one_for_the_others(cov, estimation):
    bounded, fixed = user_model(cov, TWO + "d ~~ v*d; v > .7", estimation), user_model(cov, TWO + "d ~~ .7*d", estimation)
    assert bounded.value("d", "~~", "d") == pytest.approx(0.7, abs=1e-12)
    assert np.isnan(bounded.value("d", "~~", "d", "se"))
    for path in (("G", "=~", "e"), ("F", "~~", "G"), ("e", "~~", "e")):
        for column in ("est", "se"):
            assert bounded.value(*path, column) == pytest.approx(fixed.value(*path, column), rel=1e-7)
    assert bounded.indices["chisq"] == pytest.approx(fixed.indices["chisq"], rel=1e-7)
    assert bounded.indices["df"] == fixed.indices["df"] - 1  # a bound that might not have held takes no degree of freedom
    assert any("v > 0.69999999999999996 holds with equality" in m or "v > 0.7 holds" in m for m in bounded.messages)


def test_equality_by_label_and_by_constraint_are_the_same_fit(cov):
    label = user_model(cov, TWO + "a ~~ v*a; b ~~ v*b")
    both = user_model(cov, TWO + "a ~~ v*a; b ~~ w*b; v == w")
    curved = user_model(cov, TWO + "a ~~ v*a; b ~~ w*b; log(v) == log(w)")
    for other in (both, curved):
        assert other.indices["df"] == label.indices["df"] == 9
        for path in (("a", "~~", "a"), ("b", "~~", "b"), ("F", "~~", "G"), ("F", "=~", "c")):
            for column in ("est", "se", "std_est", "std_se", "std_all", "std_all_se"):
                assert other.value(*path, column) == pytest.approx(label.value(*path, column), rel=1e-6), (path, column)


def test_redundant_equalities_count_once(cov):
    fit = user_model(cov, TWO + "a ~~ u*a; b ~~ v*b; c ~~ w*c; u == v; v == w; u == w")
    assert fit.indices["df"] == 8 + 2
    assert fit.converged


def test_constraints_identify_a_model(cov):
    with pytest.raises(ModelError, match=r"df = -1\) \(fewer than 3 indicators: F has 2"):
        user_model(cov, "F =~ a + b")
    with pytest.raises(ModelError, match=r"not identified.*fewer than 3 indicators: F has 2"):
        user_model(cov, "F =~ a + b\nc ~~ c")
    fit = user_model(cov, "F =~ NA*a + l*a + m*b\nF ~~ 1*F\nl == m")
    assert fit.indices["df"] == 0
    assert fit.value("F", "=~", "a") == pytest.approx(np.sqrt(cov.S[1, 0]))
    bound = user_model(cov, "F =~ NA*a + l*a + b + c\nF ~~ v*F\nv == 1")
    assert bound.indices["chisq"] < 1e-12


@pytest.mark.parametrize("text", ["a ~~ v*a; v > 1; v < .5", "a ~~ v*a; b ~~ w*b; v == w; v == w + 1", "a ~~ v*a; v^2 < -1",
                                  "a ~~ v*a; exp(v) == -1"])
def test_constraints_that_cannot_be_met_are_refused(cov, text):
    with pytest.raises(ModelError, match="constraints cannot all be met"):
        user_model(cov, TWO + text)


def test_a_constraint_on_a_fixed_value_is_weighed_too(cov):
    assert user_model(cov, "F =~ k*a + b + c\nk > .5").converged
    with pytest.raises(ModelError, match=r"k > 1\.5 cannot hold: k is fixed at 1"):
        user_model(cov, "F =~ k*a + b + c\nk > 1.5")


def test_defined_parameters_have_delta_method_errors(cov):
    fit = user_model(cov, "F =~ a + b + c\ne ~ p*d + q*F\nd ~ r*F\nind := r*p\ntotal := ind + q\nshare := ind/total")
    p, q, r = (fit.model.label_index[n] for n in "pqr")
    gradient = np.zeros(fit.theta.size)
    gradient[[p, q, r]] = fit.theta[r], 1.0, fit.theta[p]
    assert fit.value("total", ":=", "ind+q") == pytest.approx(fit.theta[r] * fit.theta[p] + fit.theta[q])
    assert fit.value("total", ":=", "ind+q", "se") == pytest.approx(np.sqrt(gradient @ fit.theta_cov @ gradient))
    std = [fit.value(*path, "std_all") for path in (("d", "~", "F"), ("e", "~", "d"), ("e", "~", "F"))]
    assert fit.value("share", ":=", "ind/total", "std_all") == pytest.approx(std[0] * std[1] / (std[0] * std[1] + std[2]))
    assert "Defined parameters:" in fit.summary()
    again = Fit.from_json(fit.to_json())
    assert again.parameters.equals(fit.parameters)
    assert again.model == fit.model


def test_errors_of_completely_standardised_values_are_those_of_a_numeric_derivative(cov):
    from gsem_spark.methods.sem.parameters import completely_standardised

    fit = user_model(cov, TWO + "a ~~ d\nG ~ F")
    theta, h = fit.sources().standard_theta, 1e-6
    steps = h * np.eye(theta.size)
    jacobian = np.stack([(completely_standardised(fit.model, theta + e) - completely_standardised(fit.model, theta - e)) / (2 * h)
                         for e in steps], axis=1)
    sd = np.sqrt(np.diag(cov.S))
    standard = CovStruct.from_matrices(cov.S / np.outer(sd, sd), cov.V_stand, np.eye(6), NAMES)
    covariance = user_model(standard, TWO + "a ~~ d\nG ~ F").theta_cov
    wanted = np.sqrt(np.einsum("iq,qr,ir->i", jacobian, covariance, jacobian))
    ours = fit.parameters["std_all_se"].to_numpy()
    assert np.isfinite(ours).sum() >= len(ours) - 2
    np.testing.assert_allclose(ours[np.isfinite(ours)], wanted[np.isfinite(ours)], rtol=1e-5)


def test_a_matrix_without_its_v_is_refused():
    with pytest.raises(ModelError, match="sample overlap lives in the off-diagonal of V"):
        user_model(np.eye(3), "F =~ a + b + c")


def test_fits_without_moments_in_them_say_what_they_lack(cov):
    fit = user_model(cov, TWO)
    again = Fit.from_json(fit.to_json())
    with pytest.raises(Exception, match="without its V"):
        again.sources()
    assert fit.residual_standardised.shape == (6, 6)


def test_an_infeasible_start_is_led_back_under_a_curved_bound(cov):
    model = Model.parse(TWO + "a ~~ p*a\nb ~~ q*b\np*q == .3")
    objective = objective_for(model, cov.S, cov.V, "ML")
    end = minimise_restricted(objective, model.restrictions, [np.full(model.n_free, 0.9)])
    assert model.restrictions.violation(end.theta) < 1e-9 or not end.converged
