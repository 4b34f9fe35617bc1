"""Fit indices against hand computation and published definitions."""

import numpy as np
import pytest
from scipy import stats

from gsem_spark.methods.sem.indices import cfi, effective_n, fit_indices, no_indices, rmsea, rmsea_interval, srmr, tli, verdict


def test_cfi_stays_between_0_and_1():
    assert cfi(5, 10, 100, 15) == 1
    assert cfi(200, 10, 100, 15) == 0
    assert cfi(30, 10, 100, 20) == pytest.approx(1 - 20 / 80)
    assert cfi(0, 0, 0, 3) == 1


def test_tli_and_rmsea_by_hand():
    assert tli(30, 10, 100, 20) == pytest.approx((5 - 3) / (5 - 1))
    assert np.isnan(tli(0, 0, 100, 3))
    assert rmsea(30, 10, 1000) == pytest.approx(np.sqrt(20 / 10000))
    assert np.isnan(rmsea(0, 0, 1000))


def test_rmsea_interval_holds_the_chi_square_at_its_tails():
    low, high = rmsea_interval(50, 10, 500)
    assert stats.ncx2.cdf(50, 10, low**2 * 10 * 500) == pytest.approx(0.95, abs=1e-7)
    assert stats.ncx2.cdf(50, 10, high**2 * 10 * 500) == pytest.approx(0.05, abs=1e-7)
    assert rmsea_interval(1.0, 10, 500) == (0.0, 0.0)
    assert rmsea_interval(10.0, 10, 500)[0] == 0
    assert all(np.isfinite(rmsea_interval(8e5, 20, 5000)))


def test_srmr_counts_the_diagonal_cells():
    S = np.array([[4.0, 1.0], [1.0, 1.0]])
    implied = np.array([[4.0, 0.5], [0.5, 1.0]])
    assert srmr(S, implied) == pytest.approx(np.sqrt((0.5 / 2) ** 2 / 3))


def test_effective_n_recovers_the_sample_size_of_normal_data():
    S = np.array([[1.0, 0.4, 0.1], [0.4, 2.0, 0.3], [0.1, 0.3, 0.5]])
    columns, rows = np.triu_indices(3)
    V = np.diag((S[rows, rows] * S[columns, columns] + S[rows, columns] ** 2) / 750)
    assert effective_n(S, V) == pytest.approx(750)


def test_a_perfect_model_with_df():
    S = np.array([[1.0, 0.25, 0.25], [0.25, 1.0, 0.25], [0.25, 0.25, 1.0]])
    out = fit_indices(S, np.eye(6) * 1e-3, S, 4)
    assert (out["chisq"], out["df"], out["p"], out["cfi"], out["rmsea"], out["srmr"]) == (0, 2, 1, 1, 0, 0)
    assert out["aic"] == 8
    assert verdict(out)["overall"] == "good"


@pytest.mark.parametrize(("values", "wanted"), [
    ({"cfi": 0.96, "tli": 0.95, "rmsea": 0.05, "srmr": 0.01}, ("good", "good", "good", "good", "good")),
    ({"cfi": 0.92, "tli": 0.96, "rmsea": 0.07, "srmr": 0.06}, ("acceptable", "good", "acceptable", "acceptable", "acceptable")),
    ({"cfi": 0.89, "tli": np.nan, "rmsea": 0.2, "srmr": 0.01}, ("poor", "not defined", "poor", "good", "poor")),
])
def test_verdicts(values, wanted):
    assert tuple(verdict({**values, "df": 5}).values()) == wanted


def test_nothing_is_judged_without_degrees_of_freedom_or_an_optimum():
    assert set(verdict({"cfi": 1.0, "tli": np.nan, "rmsea": np.nan, "srmr": 0.0, "df": 0}).values()) == {"not defined"}
    assert set(verdict(no_indices(4, 8)).values()) == {"not defined"}
