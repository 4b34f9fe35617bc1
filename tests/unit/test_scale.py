from __future__ import annotations

import numpy as np
import pytest

from gsem_spark.methods.sumstats.scale import LOGISTIC_VARIANCE, effective_n, snp_variance, standardise

EFFECT = np.array([0.1, -0.2, 0.05])
SE = np.array([0.02, 0.03, 0.01])
F = np.array([0.1, 0.5, 0.3])
Z = EFFECT / SE
N = np.array([1e4, 2e4, 3e4])


def scaled(scale: str, **change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = {"effect": EFFECT, "se": SE, "z": Z, "n": N, "frequency": F} | change
    return standardise(scale, **inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["linear", "logistic", "linear_probability"])
def test_z_survives_scaling(scale: str) -> None:
    beta, se = scaled(scale)
    np.testing.assert_allclose(beta / se, Z, rtol=1e-14)


def test_linear_explains_z2_over_n_of_the_variance() -> None:
    beta, _ = scaled("linear")
    np.testing.assert_allclose(beta**2 * snp_variance(F), Z**2 / N, rtol=1e-14)


def test_logistic_divides_by_the_liability_sd() -> None:
    beta, _ = scaled("logistic")
    np.testing.assert_allclose(beta, EFFECT / np.sqrt(EFFECT**2 * 2 * F * (1 - F) + LOGISTIC_VARIANCE), rtol=1e-15)


def test_or_scale_se_by_the_delta_method() -> None:
    np.testing.assert_allclose(scaled("logistic_or_se", se=SE * np.exp(EFFECT))[1], scaled("logistic")[1], rtol=1e-14)


def test_linear_probability_recovers_the_log_odds_of_a_balanced_study() -> None:
    log_odds_se = 1 / np.sqrt(N / 4 * snp_variance(F))
    np.testing.assert_allclose(
        scaled("linear_probability"), scaled("logistic", effect=Z * log_odds_se, se=log_odds_se), rtol=1e-14
    )


def test_effective_n() -> None:
    np.testing.assert_allclose(effective_n(np.array([500.0, 100.0]), np.array([500.0, 900.0])), [1000.0, 360.0])
    assert np.isnan(effective_n(np.array([0.0]), np.array([10.0]))).all()


def test_missing_stays_missing() -> None:
    gone = np.array([np.nan, 0.1, 0.1])
    for scale in ("linear", "logistic", "linear_probability"):
        beta, se = scaled(scale, frequency=gone)
        assert np.isnan(beta).tolist() == np.isnan(se).tolist() == [True, False, False]


def test_zero_effect_has_a_standard_error() -> None:
    beta, se = scaled("linear", z=np.zeros(3))
    assert (beta == 0).all() and (se > 0).all()
