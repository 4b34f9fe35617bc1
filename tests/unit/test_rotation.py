"""Rotation: criteria and their gradients, known minima, order and direction, refusals."""

import numpy as np
import pytest

from gsem_spark.errors import ConfigError
from gsem_spark.methods.sem.rotation import (
    aligned,
    complex_jacobian,
    congruence_coefficients,
    matched,
    rotate,
    stationarity_conditions,
)
from gsem_spark.methods.sem.rotation_criteria import criterion_for

# Three correlated factors with a perfect simple structure and one general factor beside it.
SIMPLE = np.kron(np.eye(3), np.array([[0.8], [0.7], [0.6], [0.5]]))
PHI = np.array([[1.0, 0.4, 0.2], [0.4, 1.0, 0.3], [0.2, 0.3, 1.0]])
WISH = np.where(SIMPLE > 0, np.nan, 0.0)
OBLIQUE = ["geomin", "oblimin", "quartimin", "target"]


def unrotated(pattern, phi, seed=3):
    """Loadings of uncorrelated factors with the same covariances, turned by chance."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=phi.shape))[0]
    return pattern @ np.linalg.cholesky(phi) @ turn


def criterion(name, shape=(12, 3), **settings):
    return criterion_for(name, shape, target=WISH if name == "target" else None, **settings)


@pytest.mark.parametrize("name", [*OBLIQUE, "varimax", "bi-geomin"])
def test_gradients_are_the_numeric_ones(name):
    rng = np.random.default_rng(1)
    c = criterion(name)
    x = rng.normal(size=(12, 3))
    gradient = c.evaluate(x)[1]
    if name == "varimax":  # its gradient holds the rows' lengths, so it is right along rotations only
        turn = rng.normal(size=(3, 3))
        turn -= turn.T
        h = 1e-6
        slope = (c.evaluate(x + h * x @ turn)[0] - c.evaluate(x - h * x @ turn)[0]) / (2 * h)
        assert np.sum(gradient * (x @ turn)) == pytest.approx(slope, rel=1e-6)
        return
    numeric = complex_jacobian(lambda v: c.evaluate(v.reshape(12, 3))[0], x.ravel())
    np.testing.assert_allclose(gradient.ravel(), numeric[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OBLIQUE)
def test_a_perfect_simple_structure_is_found_again(name):
    found = rotate(unrotated(SIMPLE, PHI), criterion(name, epsilon=1e-4))
    assert found.converged
    found = matched(found, SIMPLE)
    # geomin's epsilon pulls a little on exact zeros, by about its root; the others are exact
    tolerance = 1e-2 if name == "geomin" else 1e-8
    np.testing.assert_allclose(found.loadings, SIMPLE, atol=tolerance)
    np.testing.assert_allclose(found.correlations, PHI, atol=tolerance)


def test_an_orthogonal_bifactor_structure_is_found_again():
    general = np.array([0.6, 0.5, 0.7, 0.6, 0.5, 0.7, 0.6, 0.5, 0.4, 0.5, 0.6, 0.7])
    groups = SIMPLE * 0.7
    pattern = np.column_stack([general, groups])
    found = rotate(unrotated(pattern, np.eye(4)), criterion_for("bi-geomin", (12, 4), epsilon=1e-4))
    found = matched(found, pattern)
    assert np.array_equal(found.correlations, np.eye(4)) or np.allclose(found.correlations, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(found.loadings, pattern, atol=5e-3)


def test_the_general_factor_stays_first():
    pattern = np.column_stack([np.full(12, 0.3), SIMPLE])
    found = rotate(unrotated(pattern, np.eye(4)), criterion_for("bi-geomin", (12, 4)))
    assert np.abs(congruence_coefficients(pattern, found.loadings))[0].argmax() == 0


@pytest.mark.parametrize("name", [*OBLIQUE, "varimax", "bi-geomin"])
def test_the_end_is_stationary_and_no_small_turn_is_better(name):
    a = unrotated(SIMPLE + 0.1 * np.random.default_rng(5).normal(size=SIMPLE.shape), PHI)
    c = criterion(name)
    found = rotate(a, c)
    assert found.stationarity < 1e-10
    assert np.max(np.abs(stationarity_conditions(found.loadings, found.correlations, c))) < 1e-9
    rng = np.random.default_rng(7)
    for _ in range(50):
        step = 1e-3 * rng.normal(size=(3, 3))
        if c.orthogonal:
            turn = np.linalg.qr(np.eye(3) + step - step.T)[0]
            turn *= np.sign(np.diag(turn))
            other = found.loadings @ turn
        else:
            root = np.linalg.cholesky(found.correlations).T @ (np.eye(3) + step)
            root /= np.linalg.norm(root, axis=0)
            other = found.loadings @ np.linalg.cholesky(found.correlations) @ np.linalg.solve(root, np.eye(3)).T
        assert c.evaluate(other)[0] >= found.value - 1e-12


def test_many_starts_find_a_deeper_minimum_than_one():
    rng = np.random.default_rng(11)
    deeper = 0
    for _ in range(6):
        a = rng.normal(size=(8, 3))
        c = criterion_for("geomin", (8, 3))
        one, many = rotate(a, c, starts=1), rotate(a, c, starts=30)
        assert many.value <= one.value + 1e-9
        deeper += many.value < one.value - 1e-6
    assert deeper > 0


def test_alignment_puts_the_largest_factor_first_and_upright():
    found = rotate(-unrotated(SIMPLE[:, ::-1] * [0.6, 0.8, 1.0], np.eye(3)), criterion("quartimin"))
    assert (found.loadings.sum(axis=0) > 0).all()
    explained = np.sum(found.loadings * (found.loadings @ found.correlations), axis=0)
    assert (np.diff(explained) <= 0).all()
    again = aligned(found, criterion("quartimin"))
    assert np.array_equal(again.loadings, found.loadings)


def test_one_factor_is_turned_but_not_rotated():
    found = rotate([[-0.7], [-0.6], [0.1]], criterion_for("geomin", (3, 1)))
    np.testing.assert_array_equal(found.loadings[:, 0], [0.7, 0.6, -0.1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "promax"}, "not known"), ({"name": "geomin", "epsilon": 0.0}, "epsilon"),
        ({"name": "oblimin", "gamma": 1.0}, "gamma"), ({"name": "varimax", "orthogonal": False}, "oblique"),
        ({"name": "target"}, "target"), ({"name": "geomin", "target": WISH}, "target"),
        ({"name": "target", "target": WISH[:3]}, "target is"), ({"name": "target", "target": WISH * np.nan}, "entries"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        criterion_for(shape=(12, 3), **settings)


def test_a_bifactor_rotation_of_one_factor_is_refused():
    with pytest.raises(ConfigError, match="group factor"):
        criterion_for("bi-geomin", (12, 1))


def test_wrong_loadings_and_starts_are_refused():
    with pytest.raises(ConfigError, match="finite"):
        rotate([[np.nan, 1.0]], criterion_for("geomin", (1, 2)))
    with pytest.raises(ConfigError, match="start"):
        rotate(SIMPLE, criterion("geomin"), starts=0)
    with pytest.raises(ConfigError, match="reference"):
        matched(rotate(SIMPLE, criterion("geomin")), np.eye(3))
