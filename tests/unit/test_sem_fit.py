"""Fitting: special sizes, Heywood cases, smoothing, identification, text and JSON."""

import json

import numpy as np
import pytest

from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import Fit, Model, common_factor, factor_model, fit_model, user_model
from gsem_spark.methods.sem import Path as Arrow
from gsem_spark.methods.sem.estimate import LeastSquares, minimise, minimise_from
from gsem_spark.methods.sem.fit import PARAMETER_COLUMNS
from gsem_spark.methods.sem.inference import moment_weights

LOADINGS = np.array([0.7, 0.6, 0.5, 0.4])


def structure(S, se=0.01, names="abcdefgh"):
    k = len(S)
    V = np.eye(k * (k + 1) // 2) * se**2
    return CovStruct.from_matrices(S, V, np.eye(k), list(names[:k]))


def one_factor(loadings=LOADINGS):
    x = np.asarray(loadings)
    return np.outer(x, x) + np.diag(1 - x**2)


@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_a_true_factor_is_recovered_with_its_fit(estimation):
    fit = common_factor(structure(one_factor()), estimation)
    assert fit.status == "ok"
    assert fit.converged
    assert np.allclose(fit.theta, [*LOADINGS, *(1 - LOADINGS**2)], atol=1e-10)
    assert fit.indices["chisq"] < 1e-12
    assert fit.verdict["overall"] == "good"
    assert tuple(fit.parameters.columns) == PARAMETER_COLUMNS
    assert np.allclose(fit.residual, 0, atol=1e-12)


def test_two_traits_get_equal_loadings_and_a_note():
    fit = common_factor(structure([[1.0, 0.36], [0.36, 2.0]]))
    assert np.allclose(fit.theta, [0.6, 0.64, 1.64])
    assert fit.indices["df"] == 0
    assert np.isnan(fit.indices["p"])
    assert "equal loadings" in fit.messages[-1]
    marker = common_factor(structure([[1.0, 0.36], [0.36, 2.0]]), identification="marker")
    assert marker.value("F1", "~~", "F1") == pytest.approx(0.36)


def test_sizes_and_settings_that_cannot_be_are_refused():
    with pytest.raises(ModelError, match="at least 2 traits"):
        common_factor(structure([[1.0]]))
    with pytest.raises(ModelError, match="equal loadings, but the covariance of a and b is"):
        common_factor(structure([[1.0, -0.3], [-0.3, 1.0]]))
    with pytest.raises(ConfigError, match="WLS"):
        common_factor(structure(one_factor()), "WLS")
    with pytest.raises(ConfigError, match="varimax"):
        common_factor(structure(one_factor()), identification="varimax")


def test_negative_correlations_give_negative_loadings():
    fit = common_factor(structure(one_factor([0.7, 0.6, -0.5, 0.4])))
    assert np.allclose(fit.theta[:4], [0.7, 0.6, -0.5, 0.4])


def test_heywood_case_is_said_and_not_hidden():
    S = np.array([[1.0, 0.8, 0.8, 0.2], [0.8, 1.0, 0.4, 0.2], [0.8, 0.4, 1.0, 0.2], [0.2, 0.2, 0.2, 1.0]])
    fit = common_factor(structure(S))
    assert fit.status == "heywood"
    assert fit.value("a", "~~", "a") < 0
    assert any("residual variance of a" in m for m in fit.messages)


def test_non_positive_definite_s_is_smoothed_and_said():
    S = np.array([[1.0, 0.9, 0.2, 0.3], [0.9, 1.0, 0.9, 0.3], [0.2, 0.9, 1.0, 0.3], [0.3, 0.3, 0.3, 1.0]])
    fit = common_factor(structure(S))
    assert fit.status in ("smoothed", "heywood")
    assert any(m.startswith("S was not positive definite") and "Z-statistic" in m for m in fit.messages)


def test_a_latent_correlation_beyond_one_is_a_heywood_case():
    S = np.array([[1.0, 0.3, 0.5, 0.5], [0.3, 1.0, 0.5, 0.5], [0.5, 0.5, 1.0, 0.3], [0.5, 0.5, 0.3, 1.0]])
    cov = structure(S)
    model = factor_model({"F": ("a", "b"), "G": ("c", "d")}, [Arrow("F", "~~", "G")], observed=cov.traits)
    fit = fit_model(cov, model)
    assert fit.status == "heywood"
    assert any("correlation of F and G" in m for m in fit.messages)


def test_models_without_enough_moments_or_scale_are_refused_with_names():
    cov = structure(one_factor())
    crossed = factor_model({"F": cov.traits, "G": cov.traits}, [Arrow("F", "~~", "G")], observed=cov.traits)
    with pytest.raises(ModelError, match=r"df = -3"):
        fit_model(cov, crossed)
    unscaled = factor_model({"F": cov.traits}, [Arrow("F", "~~", "F")], observed=cov.traits)
    with pytest.raises(ModelError, match=r"not identified.*F=~a, F=~b, F=~c, F=~d, F~~F"):
        fit_model(cov, unscaled)
    with pytest.raises(ModelError, match="no trait 'q'"):
        fit_model(cov, Model(("a", "q"), (), (Arrow("a", "~~", "q"),)))


def test_empirical_underidentification_gives_no_standard_errors():
    S = np.eye(4)
    S[0, 1] = S[1, 0] = 0.4
    cov = structure(S)
    model = factor_model({"F": ("a", "b"), "G": ("c", "d")}, [Arrow("F", "~~", "G")], observed=cov.traits)
    fit = fit_model(cov, model)
    assert fit.status in ("singular", "not_converged")
    assert fit.parameters["se"].isna().all()
    assert fit.messages


def test_unused_traits_are_left_aside():
    cov = structure(one_factor([0.7, 0.6, 0.5, 0.4, 0.3]))
    part = fit_model(cov, factor_model({"F1": ("d", "b", "a", "c")}, observed=("d", "b", "a", "c")))
    assert np.allclose(part.theta[:4], [0.4, 0.6, 0.7, 0.5])
    assert part.implied.columns.tolist() == ["d", "b", "a", "c"]


def test_ml_weights_are_the_normal_theory_information():
    implied = one_factor()
    model = factor_model({"F": tuple("abcd")}, observed=tuple("abcd"))
    theta = np.r_[LOADINGS, 1 - LOADINGS**2]
    W, J = moment_weights(implied, np.eye(10), "ML"), model.jacobian(theta)
    d, inverse = model.jacobian_matrices(theta), np.linalg.inv(implied)  # noqa: TID251
    direct = 0.5 * np.einsum("ab,ibc,cd,jda->ij", inverse, d, inverse, d)
    assert np.allclose(J.T @ W @ J, direct)


def test_a_start_at_a_saddle_point_is_left():
    S = one_factor()
    model = factor_model({"F": tuple("abcd")}, observed=tuple("abcd"))
    columns, rows = np.triu_indices(4)
    end = minimise(LeastSquares(model, S[rows, columns], np.full(10, 1e4)), np.r_[np.zeros(4), np.ones(4)])
    assert end.converged
    assert np.allclose(np.abs(end.theta[:4]), LOADINGS)


def test_an_infeasible_start_is_followed_by_the_next():
    class Half:
        """(x - 1)^2 / 2 on x > 0."""

        rounding = 0.0

        def value(self, theta):
            return 0.5 * float((theta[0] - 1) ** 2) if theta[0] > 0 else float("inf")

        def derivatives(self, theta):
            from gsem_spark.methods.sem.estimate import Derivatives

            return Derivatives(theta - 1, np.eye(1), np.eye(1))

    end = minimise_from(Half(), [np.array([-1.0]), np.array([3.0])])
    assert end.converged
    assert end.theta[0] == pytest.approx(1)
    assert len(end.tried) == 1
    assert not minimise_from(Half(), [np.array([-1.0])]).converged


def test_a_fit_without_an_optimum_says_so_and_claims_nothing(monkeypatch):
    monkeypatch.setattr("gsem_spark.methods.sem.estimate.MAX_ITERATIONS", 0)
    fit = common_factor(structure(one_factor()))
    assert fit.status == "not_converged"
    assert not fit.converged
    assert fit.parameters["se"].isna().all()
    assert np.isnan(fit.indices["chisq"])
    assert "5 start(s)" in fit.messages[0]
    assert "NOT CONVERGED" in fit.summary()


def test_json_round_trip_is_exact():
    fit = common_factor(structure(one_factor([0.7, 0.6, 0.5])))
    again = Fit.from_json(fit.to_json())
    assert again.parameters.equals(fit.parameters)
    assert again.implied.equals(fit.implied)
    assert again.model == fit.model
    assert again.messages == fit.messages
    assert np.array_equal(again.theta_cov, fit.theta_cov)
    assert again.to_json() == fit.to_json()
    assert json.loads(fit.to_json())["indices"]["p"] is None


@pytest.mark.parametrize("text", ["{", "{}", '{"model": 3}'])
def test_json_that_is_no_fit_is_refused(text):
    with pytest.raises(DataError):
        Fit.from_json(text)


def test_a_p_value_below_the_smallest_number_is_not_printed_as_zero():
    fit = common_factor(structure(one_factor(), se=1e-3))
    row = fit.parameters.iloc[0]
    assert row["p"] == 0
    mantissa, exponent = fit.summary().split("Latent variables:")[1].splitlines()[2].split()[6].split("e-")
    assert int(exponent) - np.log10(float(mantissa)) == pytest.approx(row["neglog10p"], abs=0.05)


@pytest.mark.parametrize(("neglog10p", "text"), [
    (377.104, "7.87e-378"), (2.0, "1.00e-02"), (1.9999, "1.00e-02"), (4.6990, "2.00e-05"), (0.0, "1.00e-00"), (np.inf, "0"),
])  # fmt: skip
def test_p_values_from_their_logarithm(neglog10p, text):
    assert pvalues.scientific(neglog10p, 2) == text


def test_numbers_in_a_model_are_printed_as_they_were_written():
    fit = user_model(structure(one_factor()), "F =~ NA*a + u*b + 0.1*c + d\nF ~~ 1*F\nu < 0.3")
    assert any("the constraint u <= 0.3 holds" in m or "the constraint u < 0.3 holds" in m for m in fit.messages)
    assert "F =~ 0.1*c" in fit.model.syntax


def test_summary_shows_fit_and_parameters():
    text = common_factor(structure(one_factor())).summary()
    for part in ("Degrees of freedom", "CFI", "Latent variables:", "F1 =~ a", "Std.all", "Variances and covariances:"):
        assert part in text


def test_value_reads_the_table_and_names_what_is_absent():
    fit = common_factor(structure(one_factor()))
    assert fit.value("F1", "=~", "a", "se") > 0
    with pytest.raises(DataError, match="F1=~zz"):
        fit.value("F1", "=~", "zz")


# --- the twin: the same model scaled by variances -----------------------------------------------------------------------
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_the_twins_optimum_is_the_models_optimum(estimation):
    from gsem_spark.methods.sem.estimate import objective_for
    from gsem_spark.methods.sem.twin import from_twin, unit_variance_twin

    x = np.array([0.7, 0.6, 0.5, 0.8, 0.6, 0.7, 0.5, 0.6, 0.7])
    pattern = np.zeros((9, 3))
    for f in range(3):
        pattern[3 * f : 3 * f + 3, f] = x[3 * f : 3 * f + 3]
    S = pattern @ (0.5 + 0.5 * np.eye(3)) @ pattern.T
    np.fill_diagonal(S, 1.2)
    cov = structure(S, names="abcdefghi")
    model = Model.parse("F =~ a + b + c\nG =~ d + e + f\nH =~ g + h + i\nP =~ F + G + H")
    twin = unit_variance_twin(model)
    assert twin.n_free == model.n_free
    theta = from_twin(model, twin, fit_model(cov, twin, estimation).theta)
    fit = fit_model(cov, model, estimation)
    np.testing.assert_allclose(theta, fit.theta, rtol=1e-7)
    assert objective_for(model, cov.S, cov.V, estimation).derivatives(theta).gradient == pytest.approx(0, abs=1e-6)
    assert unit_variance_twin(Model.parse("F =~ a + k*b + c")) is None
    assert unit_variance_twin(Model.parse("F =~ a + b + c", std_lv=True)) is None


def test_a_marker_that_hardly_loads_is_named():
    from gsem_spark.methods.sem.twin import weak_markers

    S = one_factor([0.02, 0.7, 0.6, 0.5])
    cov = structure(S)
    (sentence,) = weak_markers(Model.parse("F =~ a + b + c + d"), cov.S, cov.V, "DWLS")
    assert "a scales F but loads only 0.02" in sentence
    assert weak_markers(Model.parse("F =~ b + a + c + d"), cov.subset(list("bacd")).S, cov.V, "DWLS") == []
