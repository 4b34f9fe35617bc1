"""Exploratory models: recovery, unrotated extraction, errors against a numeric derivative, refusals, text."""

import json

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ConfigError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech
from gsem_spark.methods.sem import Fit, common_factor
from gsem_spark.methods.sem.esem import esem
from gsem_spark.methods.sem.extraction import extract, largest_factor_number
from gsem_spark.methods.sem.rotation import congruence_coefficients

PATTERN = np.array([[0.8, 0.05], [0.7, -0.1], [0.6, 0.2], [0.1, 0.75], [-0.05, 0.7], [0.0, 0.55], [0.1, 0.5]])
PHI = np.array([[1.0, 0.35], [0.35, 1.0]])
NAMES = tuple("abcdefg")


def dense_v(k, se, seed=2):
    rng = np.random.default_rng(seed)
    q = k * (k + 1) // 2
    correlation = np.corrcoef(rng.normal(size=(q, 3 * q)))
    return correlation * se**2


def structure(misfit=0.0, se=0.02, seed=1):
    k = len(PATTERN)
    S = PATTERN @ PHI @ PATTERN.T
    np.fill_diagonal(S, 1.0)
    noise = np.random.default_rng(seed).normal(scale=misfit, size=(k, k)) if misfit else np.zeros((k, k))
    S = S + np.tril(noise, -1) + np.tril(noise, -1).T
    sd = np.linspace(0.5, 1.5, k)
    rows, columns = np.triu_indices(k)[::-1]
    V = dense_v(k, se) * np.outer(sd[rows] * sd[columns], sd[rows] * sd[columns])
    return CovStruct.from_matrices(S * np.outer(sd, sd), V, np.eye(k), NAMES)


def aligned_to_pattern(result):
    congruence = congruence_coefficients(PATTERN, result.loadings.to_numpy())
    order = np.abs(congruence).argmax(axis=1)
    return order, np.sign(congruence[[0, 1], order])


@pytest.mark.parametrize("estimation", ["DWLS", "ML", "WLS"])
def test_exact_factors_come_back_up_to_the_rotation(estimation):
    result = esem(structure(), 2, "quartimin", estimation)
    assert result.status == "ok"
    assert result.indices["chisq"] < 1e-10
    assert result.indices["df"] == 8
    standard = result.loadings @ result.correlations @ result.loadings.T
    expected = PATTERN @ PHI @ PATTERN.T
    np.testing.assert_allclose(standard.to_numpy(), expected, atol=1e-8)
    order, _ = aligned_to_pattern(result)
    assert sorted(order) == [0, 1]
    np.testing.assert_allclose(result.communalities, np.diag(expected), atol=1e-8)
    assert result.explained.sum() == pytest.approx(np.trace(expected))


def test_a_target_of_the_truth_gives_the_truth_back():
    target = pd.DataFrame(np.where(np.abs(PATTERN) < 0.3, PATTERN, np.nan), index=list(NAMES)).iloc[::-1]
    result = esem(structure(), 2, "target", target=target)
    np.testing.assert_allclose(result.loadings, PATTERN, atol=1e-8)
    np.testing.assert_allclose(result.correlations, PHI, atol=1e-8)


def test_one_exploratory_factor_is_the_common_factor():
    cov = structure(misfit=0.02)
    one, common = esem(cov, 1), common_factor(cov)
    assert one.indices == pytest.approx(common.indices, rel=1e-8)
    loading = one.fit.parameters[one.fit.parameters["op"] == "=~"]
    other = common.parameters[common.parameters["op"] == "=~"]
    for column in ("est", "se", "std_est", "std_se", "std_all"):
        np.testing.assert_allclose(loading[column], other[column], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [{"rotation": "geomin"}, {"rotation": "oblimin", "gamma": -0.5, "estimation": "WLS"},
     {"rotation": "varimax", "estimation": "ML"}],
    ids=str,
)  # fmt: skip
def test_errors_are_the_numeric_derivative_by_the_moments(settings):
    """Every moment is moved a little and the whole analysis redone: extraction, standardisation, rotation.

    The sandwich holds the curvature of the misfit for 0, so the data must fit.
    """
    cov = structure()
    base = esem(cov, 2, **settings)
    h = 1e-5

    def numbers(s):
        moved = CovStruct.from_matrices(unvech(s), cov.V, cov.I, cov.traits)
        result = esem(moved, 2, **settings, starts=3)
        # The signs and the order cannot change for so small a step.
        return np.r_[result.fit.theta, result.loadings.to_numpy().ravel(), result.correlations.iloc[0, 1]]

    s = vech(cov.S)
    jacobian = np.column_stack([(numbers(s + e) - numbers(s - e)) / (2 * h) for e in h * np.eye(s.size)])
    expected = np.sqrt(np.maximum(np.diag(jacobian @ cov.V @ jacobian.T), 0))
    found = np.r_[
        np.sqrt(np.maximum(np.diag(base.fit.theta_cov), 0)), base.loadings_se.to_numpy().ravel(), base.correlations_se.iloc[0, 1]
    ]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)


def test_the_result_is_a_fit_that_can_be_stored_and_read():
    result = esem(structure(misfit=0.02), names=("Left", "Right"))
    again = Fit.from_json(result.fit.to_json())
    pd.testing.assert_frame_equal(again.parameters, result.fit.parameters)
    assert list(result.loadings.columns) == ["Left", "Right"]
    table = result.table()
    assert list(table.columns) == ["trait", "factor", "loading", "se", "z", "p", "neglog10p"]
    row = table[(table["trait"] == "c") & (table["factor"] == "Right")].iloc[0]
    assert row["loading"] == result.loadings.loc["c", "Right"]
    assert row["se"] == result.loadings_se.loc["c", "Right"]
    stored = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert stored["loadings"]["c"]["Right"] == row["loading"]
    assert stored["fit"]["indices"]["df"] == 8
    text = result.summary()
    assert "Factor correlations" in text
    assert "geomin" in text
    assert "Left" in text


def test_a_solution_is_drawn_with_its_salient_loadings(tmp_path):
    result = esem(structure())
    few, all_ = (result.draw(tmp_path / f"{n}.dot", hide_below=n).read_text().count('color="#0072B2"') for n in (0.3, 0.0))
    assert few == int((result.loadings.to_numpy() >= 0.3).sum()) == 7
    assert all_ > few
    assert result.draw(tmp_path / "a.svg").read_bytes() == result.fit.draw(tmp_path / "b.svg", hide_below=0.3).read_bytes()


def test_eigenvalues_are_those_of_the_correlations():
    cov = structure()
    result = esem(cov)
    np.testing.assert_allclose(result.eigenvalues, np.linalg.eigvalsh(cov.S_stand)[::-1], rtol=1e-12)
    np.testing.assert_allclose(result.factor_eigenvalues[2:], 0, atol=1e-8)


def test_a_heywood_case_is_named():
    S = np.array([[1.0, 0.9, 0.9, 0.1], [0.9, 1.0, 0.6, 0.3], [0.9, 0.6, 1.0, 0.2], [0.1, 0.3, 0.2, 1.0]])
    cov = CovStruct.from_matrices(S, np.eye(10) * 1e-4, np.eye(4), list("abcd"))
    result = esem(cov, 1)
    assert result.status in ("heywood", "smoothed")
    assert any("Heywood" in m and " a " in m for m in result.fit.messages)


def test_too_many_factors_are_refused_with_the_largest_number():
    assert [largest_factor_number(k) for k in (1, 2, 3, 4, 5, 6, 9)] == [0, 0, 1, 1, 2, 3, 5]
    for factors in (0, 4):
        with pytest.raises(ModelError, match="1 to 3 exploratory"):
            esem(structure(), factors)
    with pytest.raises(ModelError, match="exploratory"):
        extract(np.eye(2), np.eye(3), 1, "DWLS")


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="GLS"):
        esem(structure(), estimation="GLS")
    with pytest.raises(ConfigError, match="names"):
        esem(structure(), names=("A",))
    with pytest.raises(ConfigError, match="no row for b"):
        esem(structure(), 2, "target", target=pd.DataFrame(np.zeros((1, 2)), index=["a"]))


def test_errors_that_reach_over_the_bend_of_geomin_are_said():
    rough, smooth = (esem(structure(se=0.1), epsilon=e) for e in (0.001, 0.1))
    assert any("near 0" in m and "epsilon=0.01" in m for m in rough.fit.messages)
    assert not any("near 0" in m for m in smooth.fit.messages)
    assert not any("near 0" in m for m in esem(structure(se=0.1), 2, "quartimin").fit.messages)


def test_a_rotation_whose_starts_disagree_says_so():
    """A nearly structureless matrix has many rotations that are equally simple."""
    rng = np.random.default_rng(4)
    a = rng.normal(size=(12, 4)) * 0.35
    S = a @ a.T
    np.fill_diagonal(S, 1.0)
    cov = CovStruct.from_matrices(S, np.eye(78) * 1e-4, np.eye(12), [f"t{i}" for i in range(12)])
    result = esem(cov, 4, starts=60)
    assert result.agreeing < 60
    said = any("starts of the rotation" in m for m in result.fit.messages)
    assert said == (result.agreeing < 0.2 * 60)
