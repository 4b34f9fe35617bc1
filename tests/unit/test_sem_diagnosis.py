"""What is wrong with a fit and what would mend it: modification indices, what-if, nested tests, diagnosis."""

import numpy as np
import pytest
from scipy import stats

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import (
    Fit,
    Model,
    bic,
    compare,
    local_srmd,
    modification_indices,
    nested_test,
    user_model,
    what_if,
)
from gsem_spark.methods.sem.modification import candidates_of
from gsem_spark.methods.sem.usermodel import with_bounded_residuals

NAMES = ("a", "b", "c", "d", "e", "f")
TWO = "F =~ a + b + c\nG =~ d + e + f"


def random_v(k, seed=1, se=0.012):
    rng = np.random.default_rng(seed)
    q = k * (k + 1) // 2
    root = rng.normal(size=(q, 3 * q)) * se / np.sqrt(3 * q)
    return root @ root.T


def structure(S, names=NAMES, seed=1, se=0.012, **settings):
    k = len(S)
    return CovStruct.from_matrices(S, random_v(k, seed, se), np.eye(k), names[:k], **settings)


def two_factors(cross=0.0, residual=0.0, rg=0.5):
    x = np.zeros((6, 2))
    x[:3, 0], x[3:, 1] = [0.8, 0.7, 0.6], [0.7, 0.8, 0.6]
    x[3, 0] = cross
    S = x @ np.array([[1, rg], [rg, 1]]) @ x.T
    S[0, 5] = S[5, 0] = S[0, 5] + residual
    np.fill_diagonal(S, 1.0)
    return S


@pytest.fixture(scope="module")
def misfit() -> Fit:
    S = two_factors(cross=0.25, residual=0.1)
    return user_model(structure(S), TWO, std_lv=True)


# --- modification indices ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_indices_find_what_was_left_out(estimation):
    fit = user_model(structure(two_factors(residual=0.15)), TWO, estimation, std_lv=True)
    table = modification_indices(fit)
    first = table.iloc[0]
    assert (first["lhs"], first["op"], first["rhs"], first["kind"]) == ("a", "~~", "f", "residual covariance")
    assert first["epc"] == pytest.approx(0.15, abs=0.03)
    assert (table["mi"].diff().dropna() <= 1e-8 * table["mi"].max()).all()  # equal ones in the order of their names
    np.testing.assert_allclose(table["p"], stats.chi2.sf(table["mi"], 1), rtol=1e-9)


def test_expected_change_is_what_freeing_gives_for_small_misfit():
    S = two_factors(cross=0.01)
    fit = user_model(structure(S, se=0.002), TWO, std_lv=True)
    table = what_if(fit, ["F =~ d"])
    row = table.iloc[0]
    assert row["est"] == pytest.approx(row["epc"], rel=0.05)
    assert (row["est"] / row["se"]) ** 2 == pytest.approx(row["mi"], rel=0.1)
    assert row["df"] == fit.indices["df"] - 1
    assert row["chisq_drop"] == pytest.approx(fit.indices["chisq"] - row["chisq"])


def test_a_path_that_adds_nothing_has_no_index():
    cov = structure(two_factors())
    fit = user_model(cov, TWO)
    table = modification_indices(fit)
    markers = table[(table["kind"] == "fixed path")]
    assert markers.empty  # freeing a marker only rescales
    assert len(table) == 6 + 15
    fixed = user_model(cov, TWO + "\nF ~~ 0*G")
    row = modification_indices(fixed).iloc[0]
    assert (row["lhs"], row["op"], row["rhs"], row["kind"]) == ("F", "~~", "G", "fixed path")


def test_candidates_close_no_circle():
    model = Model.parse("F =~ a + b + c\nG =~ d + e + f\nG ~ a")
    names = {(c.path.lhs, c.path.op, c.path.rhs) for c in candidates_of(model)}
    assert ("F", "=~", "d") in names
    assert ("G", "=~", "a") not in names  # a leads to G
    assert ("G", "=~", "b") in names


def test_what_if_takes_the_top_or_names_what_is_no_candidate(misfit):
    table = what_if(misfit, top=3)
    assert len(table) == 3
    assert (table["chisq"] < misfit.indices["chisq"]).all()
    assert table["mi"].is_monotonic_decreasing
    with pytest.raises(ModelError, match="F =~ a is not a path that could be freed"):
        what_if(misfit, ["F =~ a"])


def test_indices_under_constraints_respect_them():
    S = two_factors(cross=0.3)
    held = user_model(structure(S), "F =~ a + b + c\nG =~ d + k*e + f\nG ~~ v*G\nF ~~ 1*F\nv == 1", std_lv=False)
    plain = user_model(structure(S), "F =~ a + b + c\nG =~ d + k*e + f\nG ~~ 1*G\nF ~~ 1*F", std_lv=False)
    one, two = (modification_indices(f).set_index(["lhs", "op", "rhs"])["mi"] for f in (held, plain))
    assert one["a", "~~", "f"] == pytest.approx(two["a", "~~", "f"], rel=1e-6)


def test_indices_need_an_optimum_and_v(misfit):
    with pytest.raises(DataError, match="without its V"):
        modification_indices(Fit.from_json(misfit.to_json()))


# --- comparison ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_nested_test_agrees_with_the_wald_test_nearby(estimation):
    cov = structure(two_factors(cross=0.02), se=0.006)
    small, large = (user_model(cov, TWO + more, estimation, std_lv=True) for more in ("", "\nF =~ d"))
    large = user_model(cov, "F =~ a + b + c + d\nG =~ d + e + f", estimation, std_lv=True)
    test = nested_test(small, large)
    assert test.df == 1
    assert test.chisq == pytest.approx(large.value("F", "=~", "d", "z") ** 2, rel=0.15)
    with pytest.raises(ModelError, match="more degrees of freedom"):
        nested_test(large, small)


def test_models_that_are_not_nested_are_told_so():
    cov = structure(two_factors(cross=0.3, residual=0.1))
    one = user_model(cov, TWO + "\na ~~ 0*b", std_lv=True)
    other = user_model(cov, "F =~ a + b + c + d + e + f\na ~~ b\nd ~~ e", std_lv=True)
    with pytest.raises(ModelError, match="not nested"):
        nested_test(one, other)
    with pytest.raises(ModelError, match="different traits"):
        nested_test(user_model(cov, "F =~ a + b + c + d"), one)
    with pytest.raises(ModelError, match="by ML"):
        nested_test(user_model(cov, TWO, "ML"), one)


def test_the_table_of_several_models(misfit):
    cov = misfit.sources().cov
    fits = {"one": user_model(cov, "F =~ a + b + c + d + e + f"), "two": misfit,
            "cross": user_model(cov, "F =~ a + b + c + d\nG =~ d + e + f", std_lv=True)}
    table = compare(fits, n=50_000)
    assert table["model"].tolist() == ["one", "two", "cross"]
    assert table["bic"].tolist() == pytest.approx([bic(fits[m], 50_000) for m in table["model"]])
    assert table["delta_df"].tolist()[:2] == [1.0, 1.0]
    assert np.isnan(table["delta_p"].iloc[-1])
    assert table["delta_p"].iloc[1] < 1e-6
    assert "bic" not in compare([misfit]).columns


def test_local_srmd_by_hand():
    free, equal = [[0.5, 0.3], [0.7, 0.4]], [[0.6, 0.35], [0.6, 0.35]]
    variances = [[1.0, 4.0], [1.0, 4.0]]
    wanted = np.sqrt(np.mean([0.01, 0.01, (0.05 / 4) ** 2, (0.05 / 4) ** 2]))
    assert local_srmd(free, equal, variances, variances) == pytest.approx(wanted)
    with pytest.raises(DataError, match="one shape"):
        local_srmd(free, equal, variances, [1.0])


# --- diagnosis ----------------------------------------------------------------------------------------------------------------
def codes(fit):
    return {f.code for f in fit.diagnosis}


def test_a_good_fit_has_only_notes():
    fit = user_model(structure(two_factors()), TWO)
    assert {f.severity for f in fit.diagnosis} <= {"note"}
    assert "The fit is good" in str(fit.diagnosis)


def test_a_heywood_case_gets_cause_and_remedy():
    S = np.array([[1.0, 0.8, 0.8, 0.2], [0.8, 1.0, 0.4, 0.2], [0.8, 0.4, 1.0, 0.2], [0.2, 0.2, 0.2, 1.0]])
    fit = user_model(structure(S), "F =~ a + b + c + d")
    (case,) = fit.diagnosis.of("heywood")
    assert case.severity == "problem"
    assert "residual variance a is negative: -" in case.text
    assert "SE" in case.text
    assert "a ~~ v*a; v > .0001" in case.remedy
    assert fit.diagnosis.of("loading_above_1")[0].figures["std_all"] > 1
    bounded = user_model(fit.sources().cov, "F =~ a + b + c + d", bound_residuals=True)
    assert bounded.value("a", "~~", "a") == pytest.approx(1e-4)
    assert bounded.diagnosis.of("on_bound")


def test_latent_correlation_beyond_one_and_small_factors():
    S = np.array([[1.0, 0.3, 0.5, 0.5], [0.3, 1.0, 0.5, 0.5], [0.5, 0.5, 1.0, 0.3], [0.5, 0.5, 0.3, 1.0]])
    fit = user_model(structure(S), "F =~ a + b\nG =~ c + d")
    (case,) = fit.diagnosis.of("latent_rg_above_1")
    assert "merge F and G" in case.remedy
    assert [f.subject for f in fit.diagnosis.of("few_indicators")] == ["F", "G"]


def test_weak_traits_copies_smoothing_and_diagonal_v():
    S = two_factors()
    S[5] *= 0.1
    S[:, 5] *= 0.1
    figures = [{"trait": t, "mean_chisq": 1.3 if t != "b" else 1.01, "n_snps": 150_000 if t == "c" else 1_100_000}
               for t in NAMES]
    fit = user_model(structure(S, se=0.03, diagnostics={"traits": figures}), TWO)
    weak = fit.diagnosis.of("weak_trait")
    assert {w.subject for w in weak} == {"b", "f"}
    assert "1.010, below 1.02" in next(w.text for w in weak if w.subject == "b")
    (few,) = fit.diagnosis.of("few_snps")
    assert (few.subject, few.figures["n_snps"]) == ("c", 150_000)
    near = np.array([[1.0, 0.97, 0.5, 0.4], [0.97, 1.0, 0.5, 0.4], [0.5, 0.5, 1.0, 0.3], [0.4, 0.4, 0.3, 1.0]])
    copies = user_model(structure(near), "F =~ a + b + c + d").diagnosis.of("near_copies")
    assert copies[0].subject == "a, b"
    assert "0.970" in copies[0].text
    broken = np.array([[1.0, 0.9, 0.2, 0.3], [0.9, 1.0, 0.9, 0.3], [0.2, 0.9, 1.0, 0.3], [0.3, 0.3, 0.3, 1.0]])
    (smoothed,) = user_model(structure(broken), "F =~ a + b + c + d").diagnosis.of("smoothed")
    assert smoothed.figures["eigenvalue_before"] < 0 < smoothed.figures["eigenvalue_after"]
    flat = CovStruct.from_matrices(two_factors(), np.eye(21) * 1e-4, np.eye(6), NAMES)
    assert user_model(flat, TWO).diagnosis.of("diagonal_v")


def test_empirical_underidentification_names_the_parameters():
    S = two_factors(rg=0.0002)
    fit = user_model(structure(S, se=0.0001), "F =~ a + b\nG =~ d + e\nF ~~ G")
    (found,) = fit.diagnosis.of("underidentified")
    assert found.severity == "problem"
    assert "F=~b" in found.subject or "G=~e" in found.subject
    assert "has rank 7 of 9" in found.text


def test_no_optimum_is_diagnosed_with_what_was_tried():
    S = np.array([[1.0, 0.5, -0.5], [0.5, 1.0, 0.5], [-0.5, 0.5, 1.0]]) * 0.9 + 0.1 * np.eye(3)
    fit = user_model(structure(S), "F =~ a + b + c", std_lv=True)
    assert fit.status == "not_converged"
    (found,) = fit.diagnosis.of("not_converged")
    assert found.severity == "problem"
    assert "runs off" in found.text
    assert "bound_residuals=True" in found.remedy
    assert user_model(structure(S), "F =~ a + b + c", std_lv=True, bound_residuals=True).converged


def test_a_structure_that_is_not_one_factor_is_said_to_be_so():
    x = np.zeros((6, 2))
    x[:3, 0], x[3:, 1] = [0.9, 0.85, 0.9], [0.7, 0.8, 0.6]
    S = x @ np.array([[1, 0.1], [0.1, 1]]) @ x.T
    np.fill_diagonal(S, 1.0)
    fit = user_model(structure(S), "F =~ a + b + c + d + e + f")
    (found,) = fit.diagnosis.of("not_one_factor")
    assert "load above 0.8" in found.text
    assert "Two exploratory factors give" in found.text


def test_one_factor_over_three_is_said_to_be_none_with_as_many_as_there_are():
    x = np.kron(np.eye(3), [[0.7], [0.6], [0.65], [0.55]])
    S = x @ (0.2 + 0.8 * np.eye(3)) @ x.T
    np.fill_diagonal(S, 1.0)
    names = tuple("abcdefghijkl")
    fit = user_model(structure(S, names), "F =~ " + " + ".join(names))
    (found,) = fit.diagnosis.of("not_one_factor")
    assert found.severity == "warning"
    assert "Three exploratory factors give F1: " in found.text
    assert "(CFI 1.000, RMSEA 0.000)" in found.text
    assert "p = 0" not in str(fit.diagnosis)


def test_modification_indices_are_named_with_their_numbers(misfit):
    found = misfit.diagnosis.of("modification")
    assert 1 <= len(found) <= 5
    assert {f.subject for f in found[:2]} == {"F =~ e", "d ~~ f"}  # two names of one change: their indices are equal
    assert found[0].figures["mi"] == pytest.approx(found[1].figures["mi"], rel=1e-9)
    assert found[0].figures["mi"] >= found[-1].figures["mi"]
    assert "modification index" in found[0].text
    frame = misfit.diagnosis.frame()
    assert list(frame.columns) == ["code", "severity", "subject", "text", "remedy"]
    assert len(frame) == len(misfit.diagnosis)


def test_bounding_residuals_adds_labels_and_bounds_once():
    model = Model.parse("F =~ a + b + c\na ~~ v*a\nb ~~ v*b")
    bounded = with_bounded_residuals(model)
    assert [c.text for c in bounded.constraints] == ["v > 0.0001", "residual_c > 0.0001"]
    assert bounded.n_free == model.n_free


# --- random matrices ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("marker", [False, True])
def test_random_matrices_converge_or_say_what_runs_off(marker):
    """Without a factor structure the discrepancy may have no minimum: then a residual variance is named, and a bound helps."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(3, 7))
        x = rng.normal(size=(k, 2 * k))
        cov = structure(x @ x.T / (2 * k), seed=seed)
        text = "F =~ " + " + ".join(NAMES[:k])
        fit = user_model(cov, text, std_lv=not marker)
        if not fit.converged:
            assert any("runs off" in m for m in fit.messages), (seed, fit.messages)
            assert len(fit.tried) >= 4
            assert user_model(cov, text, std_lv=not marker, bound_residuals=True).converged, seed
