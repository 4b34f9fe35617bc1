"""Genetic correlations, meta-regression, heterogeneity, genetic regression, written models, parallel analysis, split genomes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.methods.sem import Fit, Path, factor_model, fit_model, user_model
from gsem_spark.methods.sem.esem import esem
from gsem_spark.methods.sem.factor_number import factor_numbers
from gsem_spark.methods.sem.genetic_correlations import index_s, rg_model, sub_cov
from gsem_spark.methods.sem.genetic_regression import genetic_regression
from gsem_spark.methods.sem.gls import gls_bands, summary_gls
from gsem_spark.methods.sem.heterogeneity import q_factor, q_trait
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.parallel import parallel_analysis, reduced_eigenvalues
from gsem_spark.methods.sem.split import chromosomes_of, split_analysis
from gsem_spark.methods.sem.write_model import confirmatory_model, factor_membership, write_model

NAMES = tuple("abcdefg")


def dense_v(S, se=0.02, seed=2):
    """A V with correlated errors in proportion to the size of each covariance."""
    k = len(S)
    rows, columns = vech_indices(k)
    q = rows.size
    correlation = np.corrcoef(np.random.default_rng(seed).normal(size=(q, 3 * q)))
    size = se * np.sqrt(S[rows, rows] * S[columns, columns])
    return correlation * np.outer(size, size)


def structure(S, se=0.02, seed=2):
    S = np.asarray(S, dtype=float)
    return CovStruct.from_matrices(S, dense_v(S, se, seed), np.eye(len(S)), NAMES[: len(S)])


def two_factors(rg=0.4, noise=0.0):
    """Six traits on two factors, scales that differ."""
    pattern = np.zeros((6, 2))
    pattern[:3, 0], pattern[3:, 1] = (0.8, 0.7, 0.6), (0.75, 0.65, 0.5)
    S = pattern @ np.array([[1, rg], [rg, 1]]) @ pattern.T
    np.fill_diagonal(S, 1.0)
    if noise:
        e = np.random.default_rng(1).normal(scale=noise, size=(6, 6))
        S = S + np.tril(e, -1) + np.tril(e, -1).T
    sd = np.linspace(0.4, 1.3, 6)
    return structure(S * np.outer(sd, sd))


class TestGeneticCorrelations:
    def test_they_are_what_the_saturated_model_gives(self):
        cov = two_factors(noise=0.03)
        latent = {f"L{x}": (x,) for x in cov.traits}
        between = [Path(a, "~~", b) for i, b in enumerate(latent) for a in list(latent)[:i]]
        model = factor_model(latent, [*between, *(Path(x, "~~", x, fixed=0.0) for x in cov.traits)], observed=cov.traits)
        fit = fit_model(cov, model)
        found = rg_model(cov).table()
        for row in found.itertuples():
            lhs, rhs = f"L{row.trait_1}", f"L{row.trait_2}"
            assert row.rg == pytest.approx(fit.value(lhs, "~~", rhs), rel=1e-8)
            assert row.se == pytest.approx(fit.value(lhs, "~~", rhs, "se"), rel=1e-7)

    def test_errors_are_those_of_the_pairwise_delta_method(self):
        cov = two_factors(noise=0.03)
        np.testing.assert_allclose(rg_model(cov).table()["se"], cov.rg()["se_delta"], rtol=1e-12)

    def test_a_matrix_that_is_not_positive_definite_is_smoothed_and_said(self):
        S = np.array([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]])
        found = rg_model(structure(S))
        assert np.linalg.eigvalsh(found.R)[0] > 0
        assert any("positive definite" in m for m in found.messages)

    def test_elements_are_found_by_number_and_by_name_in_the_order_asked(self):
        cov = two_factors(noise=0.03)
        numbers = index_s(cov)
        by_number = sub_cov(cov, [numbers.loc["b", "d"], numbers.loc["a", "a"]])
        by_name = sub_cov(cov, [("d", "b"), ("a", "a")])
        assert by_number.names == by_name.names == ("b~~d", "a~~a")
        assert np.array_equal(by_number.V, by_name.V)
        assert by_number.y.tolist() == [cov.S[1, 3], cov.S[0, 0]]
        assert sub_cov(cov).y.size == 21
        assert sub_cov(cov, moments="R").V.shape == (15, 15)

    @pytest.mark.parametrize("elements", [[0], [22], [("a", "z")], [1, 1]])
    def test_elements_that_are_not_there_or_come_twice_are_refused(self, elements):
        with pytest.raises(ConfigError, match="element"):
            sub_cov(two_factors(), elements)

    def test_one_trait_and_unknown_moments_are_refused(self):
        with pytest.raises(ModelError, match="one trait"):
            rg_model(structure([[1.0]]))
        with pytest.raises(ConfigError, match="moments"):
            sub_cov(two_factors(), moments="V")


class TestGls:
    def test_it_is_the_textbook_formula(self):
        rng = np.random.default_rng(3)
        n = 12
        X, root = rng.normal(size=(n, 2)), rng.normal(size=(n, 3 * n))
        V, y = root @ root.T / 1000, rng.normal(size=n)
        fit = summary_gls(y, V, pd.DataFrame(X, columns=["age", "sex"]))
        W, D = linalg.solve(V, np.eye(n)), np.column_stack([np.ones(n), X])
        covariance = linalg.solve(D.T @ W @ D, np.eye(3))
        np.testing.assert_allclose(fit.beta, covariance @ D.T @ W @ y, rtol=1e-10)
        np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-10)
        residual = y - D @ fit.beta
        assert fit.chisq == pytest.approx(residual @ W @ residual)
        assert fit.df == 9
        assert fit.table()["name"].tolist() == ["b0", "age", "sex"]

    def test_the_band_is_that_of_the_fitted_mean(self):
        rng = np.random.default_rng(4)
        x, c = rng.normal(size=20), rng.normal(size=20)
        y = 0.2 + 0.3 * x - 0.1 * x**2 + 0.5 * c
        fit, band = gls_bands(y, np.eye(20) * 1e-4, x, quadratic=True, controls=c, points=7, width=1.96)
        np.testing.assert_allclose(fit.beta, [0.2, 0.3, -0.1, 0.5], atol=1e-12)
        np.testing.assert_allclose(band["fitted"], 0.2 + 0.3 * band["x"] - 0.1 * band["x"] ** 2 + 0.5 * c.mean(), atol=1e-12)
        np.testing.assert_allclose(band["high"] - band["low"], 2 * 1.96 * band["se"], rtol=1e-12)
        design = np.column_stack([np.ones(20), x, x**2, c])
        row = np.array([1, band["x"].iloc[2], band["x"].iloc[2] ** 2, c.mean()])
        assert band["se"].iloc[2] == pytest.approx(0.01 * np.sqrt(row @ np.linalg.solve(design.T @ design, row)))

    @pytest.mark.parametrize(
        ("y", "V", "X", "error", "words"),
        [
            ([1, 2], np.eye(3), [1, 2], ConfigError, "y has 2"), ([1, np.nan], np.eye(2), [1, 2], ConfigError, "finite"),
            ([1, 2, 3], np.eye(3), [1, 1, 1], ModelError, "collinear"), ([1, 2], np.ones((2, 2)), [1, 2], ModelError, "positive"),
            ([1, 2], np.eye(2), np.ones((2, 3)), ModelError, "cannot carry"),
        ],
    )  # fmt: skip
    def test_bad_input_is_refused(self, y, V, X, error, words):
        with pytest.raises(error, match=words):
            summary_gls(y, V, X)


class TestHeterogeneity:
    def test_q_factor_is_0_where_the_factors_carry_all_and_finds_what_they_do_not(self):
        factors = {"F": ("a", "b", "c"), "G": ("d", "e", "f")}
        model = factor_model(factors, [Path("F", "~~", "G")], observed=NAMES[:6])
        assert q_factor(fit_model(two_factors(), model))["chisq"].iloc[0] < 1e-12
        cov = two_factors()
        S = cov.S.copy()
        S[0, 3] = S[3, 0] = S[0, 3] + 0.25 * np.sqrt(S[0, 0] * S[3, 3])
        found = q_factor(fit_model(replace(cov, S=S), model)).iloc[0]
        assert found["df"] == 8
        assert found["p"] < 1e-3

    def test_q_factor_leaves_out_uncorrelated_factors_and_needs_a_fit_with_v(self):
        model = factor_model({"F": ("a", "b", "c"), "G": ("d", "e", "f")}, observed=NAMES[:6])
        fit = fit_model(two_factors(), model)
        assert q_factor(fit).empty
        with pytest.raises(DataError, match="without its V"):
            q_factor(Fit.from_json(fit.to_json()))

    def outside(self, extra=0.0):
        """Five indicators and an outside trait that relates to them through the factor, and directly to the first."""
        loadings = np.array([0.8, 0.75, 0.7, 0.65, 0.6])
        S = np.eye(6)
        S[:5, :5] = np.outer(loadings, loadings)
        np.fill_diagonal(S, 1.0)
        S[5, :5] = S[:5, 5] = 0.5 * loadings + np.array([extra, 0, 0, 0, 0])
        sd = np.linspace(0.5, 1.2, 6)
        return structure(S * np.outer(sd, sd), se=0.015)

    def test_q_trait_is_0_where_the_factor_carries_the_trait(self):
        found = q_trait(self.outside(), NAMES[:5], ["f"]).iloc[0]
        assert found["rg"] == pytest.approx(0.5, abs=1e-8)
        assert found["q"] < 1e-8
        assert found["q_df"] == 4
        assert found["lsrmr"] < 1e-8
        assert not found["heterogeneous"]
        assert found["freed"] == ""

    def test_the_error_of_rg_is_the_delta_method_of_a_fitted_correlation(self):
        cov = self.outside(0.05)
        found = q_trait(cov, NAMES[:5], ["f"], follow_up=False).iloc[0]
        # the same model with the correlation itself as the parameter: the trait as a factor of variance 1
        measured = fit_model(cov, factor_model({"F": NAMES[:5]}, observed=NAMES[:5]))
        paths = [Path("F", "=~", x, fixed=measured.value("F", "=~", x)) for x in NAMES[:5]]
        paths += [Path(x, "~~", x) for x in NAMES[:5]] + [Path("F", "~~", "F"), Path("f", "~~", "f"), Path("F", "~~", "f")]
        fit = fit_model(cov, Model(NAMES[:6], ("F",), tuple(paths)))
        names = list(fit.model.free_names)
        at = [names.index(n) for n in ("F~~f", "F~~F", "f~~f")]
        c, v, w = fit.theta[at]
        gradient = np.array([1 / np.sqrt(v * w), -c / (2 * v * np.sqrt(v * w)), -c / (2 * w * np.sqrt(v * w))])
        assert found["rg"] == pytest.approx(c / np.sqrt(v * w), rel=1e-8)
        assert found["se"] == pytest.approx(np.sqrt(gradient @ fit.theta_cov[np.ix_(at, at)] @ gradient), rel=1e-6)

    def test_a_direct_relation_is_found_and_freed(self):
        found = q_trait(self.outside(0.3), NAMES[:5], ["f"]).iloc[0]
        assert found["heterogeneous"]
        assert found["freed"] == "a"
        assert found["q_p"] < 1e-10
        # the freed path also carries covariance between the indicators, which the held loadings already do: not exactly .5
        assert found["rg_freed"] == pytest.approx(0.5, abs=0.05)
        assert abs(found["rg_freed"] - 0.5) < abs(found["rg"] - 0.5)
        assert found["q_freed"] < 0.1 * found["q"]
        assert found["q_freed_df"] == 3

    def test_wrong_traits_are_refused(self):
        with pytest.raises(ConfigError, match="both"):
            q_trait(self.outside(), NAMES[:5], ["a"])
        with pytest.raises(ConfigError, match="at least 3"):
            q_trait(self.outside(), NAMES[:2], ["f"])


class TestGeneticRegression:
    def test_it_is_what_the_fitted_regression_gives(self):
        cov = two_factors(noise=0.03)
        found = genetic_regression(cov, "f", ["a", "b", "d"])
        names = ("a", "b", "d", "f")
        paths = [Path("f", "~", x) for x in names[:3]] + [Path(x, "~~", x) for x in names]
        paths += [Path("a", "~~", "b"), Path("a", "~~", "d"), Path("b", "~~", "d")]
        fit = fit_model(cov, Model(names, (), tuple(paths)))
        for row in found.coefficients.itertuples():
            assert row.est == pytest.approx(fit.value("f", "~", row.predictor), rel=1e-8)
            assert row.se == pytest.approx(fit.value("f", "~", row.predictor, "se"), rel=1e-7)
            assert row.std_est == pytest.approx(fit.value("f", "~", row.predictor, "std_all"), rel=1e-8)
            assert row.std_se == pytest.approx(fit.value("f", "~", row.predictor, "std_all_se"), rel=1e-6)
        assert found.residual_h2 == pytest.approx(fit.value("f", "~~", "f"), rel=1e-8)
        assert found.residual_h2_se == pytest.approx(fit.value("f", "~~", "f", "se"), rel=1e-7)
        assert found.r2 == pytest.approx(1 - fit.value("f", "~~", "f", "std_all"), rel=1e-8)
        assert found.r2_se == pytest.approx(fit.value("f", "~~", "f", "std_all_se"), rel=1e-6)
        assert "R2" in found.summary()

    def test_one_predictor_is_the_genetic_correlation(self):
        cov = two_factors(noise=0.03)
        found = genetic_regression(cov, "a", ["b"])
        rg = rg_model(cov.subset(["a", "b"])).table().iloc[0]
        assert found.coefficients["std_est"].iloc[0] == pytest.approx(rg["rg"])
        assert found.coefficients["std_se"].iloc[0] == pytest.approx(rg["se"])
        assert found.r2 == pytest.approx(rg["rg"] ** 2)
        assert found.chisq == pytest.approx(found.coefficients["z"].iloc[0] ** 2)

    @pytest.mark.parametrize("predictors", [[], ["a"], ["b", "b"]])
    def test_what_is_no_regression_is_refused(self, predictors):
        with pytest.raises(ConfigError, match="no regression"):
            genetic_regression(two_factors(), "a", predictors)


class TestWrittenModels:
    LOADINGS = pd.DataFrame(
        {"F1": [0.7, 0.6, 0.5, 0.1, 0.35, 0.2], "F2": [0.0, -0.1, 0.1, 0.8, -0.6, -0.25]}, index=list("abcdef")
    )

    def test_cross_loadings_stay_and_weak_traits_go_unless_they_must_load(self):
        assert factor_membership(self.LOADINGS) == {"F1": ["a", "b", "c", "e"], "F2": ["d", "e"]}
        assert factor_membership(self.LOADINGS, mustload=True)["F2"] == ["d", "e", "f"]
        assert factor_membership(self.LOADINGS, common=True) == {"F1": list("abcdef")}

    def test_factors_without_traits_are_left_out(self):
        text = write_model(self.LOADINGS.assign(F3=0.05), bound_residuals=False)
        assert text == "F1 =~ a + b + c + e\nF2 =~ d + e"

    @pytest.mark.parametrize("settings", [{}, {"mustload": True}, {"common": True}], ids=str)
    def test_the_text_and_the_model_fit_alike(self, settings):
        cov = two_factors(noise=0.03)
        loadings = self.LOADINGS.assign(F2=[0.0, 0.0, 0.0, 0.8, 0.6, 0.25], F1=[0.7, 0.6, 0.5, 0.0, 0.0, 0.0])
        loadings.loc["f", "F2"] = 0.25 if settings else 0.4
        from_text = user_model(cov, write_model(loadings, **settings), std_lv=True)
        built = fit_model(cov, confirmatory_model(loadings, **settings))
        assert from_text.indices["chisq"] == pytest.approx(built.indices["chisq"], rel=1e-6)
        assert from_text.indices["df"] == built.indices["df"]

    def test_a_bifactor_model_has_uncorrelated_factors(self):
        text = write_model(self.LOADINGS, mustload=True, bifactor=True, bound_residuals=False)
        assert text.splitlines()[2:] == [
            "Common_F =~ a + b + c + d + e + f", "Common_F ~~ 0*F1", "Common_F ~~ 0*F2", "F1 ~~ 0*F2",
        ]  # fmt: skip
        model = confirmatory_model(self.LOADINGS, mustload=True, bifactor=True)
        assert not [p for p in model.paths if p.op == "~~" and p.lhs != p.rhs]

    def test_labels_never_collide_with_traits(self):
        loadings = pd.DataFrame({"F1": [0.7, 0.6]}, index=["r_a", "a"])
        assert "rr_a > .0001" in write_model(loadings)

    def test_bad_loadings_are_refused(self):
        with pytest.raises(ModelError, match="no trait"):
            write_model(self.LOADINGS * 0.1)
        with pytest.raises(ConfigError, match="cutoff"):
            write_model(self.LOADINGS, 1.5)
        with pytest.raises(ConfigError, match="finite"):
            write_model(self.LOADINGS * np.nan)
        with pytest.raises(ConfigError, match="repeat"):
            write_model(self.LOADINGS.set_axis(["F1", "a"], axis=1))


class TestParallelAnalysis:
    def test_traits_without_correlations_have_no_factor_and_true_factors_are_counted(self):
        assert parallel_analysis(structure(np.eye(6), se=0.05), 200).factors == 0
        found = parallel_analysis(two_factors(0.2), 200, seed=5)
        assert found.factors == 2
        assert found.table()["retained"].tolist() == [True, True, False, False, False, False]
        assert "suggests 2 component" in found.summary()

    def test_the_same_seed_gives_the_same_draws(self):
        cov = two_factors()
        one, two, other = (parallel_analysis(cov, 50, seed) for seed in (1, 1, 2))
        assert np.array_equal(one.null_quantile, two.null_quantile)
        assert not np.array_equal(one.null_quantile, other.null_quantile)

    def test_reduced_eigenvalues_of_a_one_factor_matrix_are_exact(self):
        x = np.array([0.8, 0.7, 0.6, 0.5])
        S = np.outer(x, x)
        np.fill_diagonal(S, 1.0)
        values = reduced_eigenvalues(np.stack([S, S * 4.0]), 1)
        np.testing.assert_allclose(values[0], [x @ x, 0, 0, 0], atol=1e-4)
        np.testing.assert_allclose(values[0], values[1], atol=1e-12)

    def test_bad_settings_are_refused(self):
        for settings, words in (({"draws": 5}, "draws"), ({"level": 1.0}, "level")):
            with pytest.raises(ConfigError, match=words):
                parallel_analysis(two_factors(), **settings)
        with pytest.raises(ConfigError, match="factors"):
            parallel_analysis(two_factors(), factor_analysis=True, factors=6)


class TestFactorNumbers:
    def test_they_are_the_indices_of_the_rotated_models_and_the_right_number_fits(self):
        cov = two_factors(noise=0.01)
        found = factor_numbers(cov)
        assert found["factors"].tolist() == [1, 2]
        for row in found.itertuples():
            rotated = esem(cov, row.factors, "quartimin").indices
            assert row.chisq == pytest.approx(rotated["chisq"], rel=1e-7)
            assert row.rmsea == pytest.approx(rotated["rmsea"], rel=1e-6, abs=1e-12)
            assert row.df == rotated["df"]
        assert found["p"].iloc[0] < 1e-6 < found["p"].iloc[1]

    def test_more_than_the_traits_identify_is_refused(self):
        with pytest.raises(ModelError, match="at most 3"):
            factor_numbers(two_factors(), 4)
        with pytest.raises(ModelError, match="at most 0"):
            factor_numbers(structure(np.eye(2)))


class TestSplit:
    def halves(self):
        cov = two_factors()
        return replace(cov, settings={"chromosomes": "odd"}), replace(cov, settings={"chromosomes": "even"})

    def test_the_model_of_one_half_is_fitted_to_the_other(self):
        odd, even = self.halves()
        found = split_analysis(odd, even.subset(even.traits[::-1]))
        assert found.syntax.splitlines()[:2] == ["F1 =~ a + b + c", "F2 =~ d + e + f"]
        assert found.confirmatory.indices["chisq"] < 1e-8
        assert found.confirmatory.indices["df"] == 8
        assert (found.congruence > 0.999).all()

    def test_chromosomes_are_read_from_the_settings(self):
        odd, even = self.halves()
        assert chromosomes_of(odd) == set(range(1, 23, 2))
        assert chromosomes_of(replace(odd, settings={"chromosomes": None})) == set(range(1, 23))
        assert chromosomes_of(replace(odd, settings={"chromosomes": [1, 2]})) == {1, 2}
        assert chromosomes_of(two_factors()) == set()
        with pytest.raises(DataError, match="share chromosome"):
            split_analysis(odd, replace(even, settings={"chromosomes": [1]}))
        with pytest.raises(DataError, match="different traits"):
            split_analysis(odd, even.subset(even.traits[:4]))
