"""RAM model: construction, errors, implied moments and derivatives."""

import numpy as np
import pytest

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import Model, common_factor_model, factor_model
from gsem_spark.methods.sem import Path as Arrow
from gsem_spark.methods.sem.starts import orient_factors, starting_values

XYZ = ("x", "y", "z")


def test_implied_covariance_of_one_factor_by_hand():
    model = factor_model({"F": XYZ}, observed=XYZ)
    implied = model.implied([0.8, 0.5, -0.3, 0.1, 0.2, 0.4])
    assert np.allclose(implied, np.outer([0.8, 0.5, -0.3], [0.8, 0.5, -0.3]) + np.diag([0.1, 0.2, 0.4]))
    assert (model.n_free, model.n_moments, model.df) == (6, 6, 0)
    assert model.free_names == ("F=~x", "F=~y", "F=~z", "x~~x", "y~~y", "z~~z")


def test_implied_covariance_of_a_regression_by_hand():
    model = Model(("x", "y"), (), (Arrow("y", "~", "x"), Arrow("x", "~~", "x"), Arrow("y", "~~", "y")))
    assert np.allclose(model.implied([0.5, 2.0, 1.0]), [[2.0, 1.0], [1.0, 1.5]])


def test_equal_labels_are_one_parameter():
    paths = [Arrow("F", "=~", n, label="l") for n in XYZ] + [Arrow(n, "~~", n) for n in XYZ] + [Arrow("F", "~~", "F", fixed=1.0)]
    model = Model(XYZ, ("F",), paths)
    assert model.n_free == 4
    assert model.path_index.tolist() == [0, 0, 0, 1, 2, 3, -1]
    assert np.allclose(model.jacobian([0.7, 1, 1, 1])[0], [1.4, 1, 0, 0])


def test_syntax_and_plain_data_round_trip():
    model = factor_model({"F": XYZ}, [Arrow("x", "~~", "y", start=0.1), Arrow("z", "~~", "z", fixed=0.25)], observed=XYZ)
    assert Model.from_dict(model.to_dict()) == model
    assert model.syntax.splitlines() == [
        "F =~ NA*x", "F =~ NA*y", "F =~ NA*z", "x ~~ x", "y ~~ y", "z ~~ 0.25*z", "F ~~ 1*F", "x ~~ y",
    ]


@pytest.mark.parametrize(("paths", "says"), [
    ([Arrow("F", "=~", "x"), Arrow("F", "=~", "x")], "given twice"),
    ([Arrow("F", "=~", "x"), Arrow("x", "~", "F")], "given twice"),
    ([Arrow("x", "~~", "y"), Arrow("y", "~~", "x")], "given twice"),
    ([Arrow("F", "=~", "w")], "unknown variable 'w'"),
    ([Arrow("x", "~", "x")], "to itself"),
    ([Arrow("x", "~~", "x", fixed=1.0, label="a")], "fixed at 1"),
    ([Arrow("x", "<-", "y")], "no known operator"),
])
def test_impossible_paths_are_refused(paths, says):
    with pytest.raises(ModelError, match=says):
        Model(XYZ, ("F",), paths)


def test_a_factor_named_like_a_trait_is_refused():
    with pytest.raises(ModelError, match="names repeat: F1"):
        common_factor_model(("F1", "b", "c"))


def test_theta_of_the_wrong_length_is_refused():
    with pytest.raises(ModelError, match="5 values, the model has 6"):
        factor_model({"F": XYZ}, observed=XYZ).implied(np.ones(5))


def test_starts_follow_the_signs_of_the_correlations():
    S = np.array([[1.0, 0.5, -0.5], [0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]])
    theta = starting_values(factor_model({"F": XYZ}, observed=XYZ), S)
    assert np.sign(theta[:3]).tolist() == [1, 1, -1]
    assert starting_values(common_factor_model(XYZ, "marker"), S)[:2].tolist() == pytest.approx([1, -1])


def test_own_start_of_a_path_is_used():
    model = factor_model({"F": XYZ}, [Arrow("x", "~~", "x", start=0.123)], observed=XYZ)
    assert starting_values(model, np.eye(3) + 0.3)[3] == 0.123


def test_orientation_turns_a_free_factor_and_leaves_a_marked_one():
    S = np.eye(3)
    free = factor_model({"F": XYZ}, observed=XYZ)
    assert orient_factors(free, np.array([-0.5, -0.4, 0.1, 1, 1, 1]), S)[:3].tolist() == [0.5, 0.4, -0.1]
    marked = common_factor_model(XYZ, "marker")
    theta = np.array([-2.0, -2.0, 1, 1, 1, 1])
    assert orient_factors(marked, theta, S).tolist() == theta.tolist()


def test_orientation_turns_the_covariance_of_a_factor_too():
    names = ("a", "b", "c", "d")
    model = factor_model({"F": names[:2], "G": names[2:]}, [Arrow("F", "~~", "G")], observed=names)
    theta = np.array([-0.5, -0.5, 0.6, 0.6, 1, 1, 1, 1, 0.3])
    turned = orient_factors(model, theta, np.eye(4))
    assert turned[-1] == -0.3
    assert np.allclose(model.implied(turned), model.implied(theta))
