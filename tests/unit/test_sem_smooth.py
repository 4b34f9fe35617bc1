"""Nearest positive definite matrices and what is said about them."""

import numpy as np
import pytest

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import near_pd
from gsem_spark.methods.sem.smooth import is_positive_definite, smooth_moments

INDEFINITE = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.9], [0.1, 0.9, 1.0]])


def test_result_is_positive_definite_and_its_change_is_reported():
    result = near_pd(INDEFINITE)
    assert is_positive_definite(result.matrix)
    assert not is_positive_definite(INDEFINITE)
    assert result.largest_change == np.abs(result.matrix - INDEFINITE).max()
    assert 0 < result.largest_change < 0.15


def test_a_positive_definite_matrix_stays_as_it_is():
    x = np.array([[2.0, 0.3], [0.3, 1.0]])
    assert np.allclose(near_pd(x).matrix, x, atol=1e-14)
    moments = smooth_moments(x, np.eye(3))
    assert moments.S is x
    assert not moments.smoothed
    assert moments.messages == ()


def test_traits_on_very_different_scales_are_not_singular():
    scale = np.array([1e-6, 1.0, 1e4])
    S = (np.eye(3) + 0.5) * np.outer(scale, scale)
    assert is_positive_definite(S)


@pytest.mark.parametrize("x", [np.ones((2, 3)), np.array([[1.0, np.nan], [np.nan, 1.0]]), -np.eye(2)])
def test_hopeless_matrices_are_refused(x):
    with pytest.raises(ModelError):
        near_pd(x)


def test_messages_name_cell_and_z_change():
    moments = smooth_moments(INDEFINITE, np.eye(6) * 1e-4)
    assert moments.smoothed_s
    assert not moments.smoothed_v
    assert moments.largest_z_change == pytest.approx(np.abs(moments.S - INDEFINITE).max() / 0.01)
    assert f"{moments.largest_z_change:.3g}" in moments.messages[0]
    assert "changed the moments much" in moments.messages[-1]


def test_v_that_is_singular_is_smoothed():
    V = np.outer(np.arange(1.0, 7.0), np.arange(1.0, 7.0)) * 1e-5
    moments = smooth_moments(np.eye(3), V)
    assert moments.smoothed_v
    assert is_positive_definite(moments.V)
    assert "V was not positive definite" in moments.messages[0]
