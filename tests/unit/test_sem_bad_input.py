"""Everything that a user can get wrong gives an error that says so: the list of what must be refused, one test each."""

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ConfigError, GsemError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.methods.sem import user_model
from gsem_spark.methods.sem.genetic_correlations import sub_cov
from gsem_spark.methods.sem.named_matrices import structure_from_frames

TRAITS = ["BMI", "WHR", "CAD", "T2D"]
S = np.array([[1.0, 0.5, 0.4, 0.3], [0.5, 1.0, 0.45, 0.35], [0.4, 0.45, 1.0, 0.3], [0.3, 0.35, 0.3, 1.0]])
V = np.diag(np.linspace(1, 2, 10)) * 1e-4 + 1e-5


@pytest.fixture
def cov() -> CovStruct:
    return CovStruct.from_matrices(S, V, np.eye(4), TRAITS)


def frames():
    rows, columns = vech_indices(4)
    labels = [f"{TRAITS[c]}~~{TRAITS[r]}" for r, c in zip(rows, columns, strict=True)]
    return pd.DataFrame(S, index=TRAITS, columns=TRAITS), pd.DataFrame(V, index=labels, columns=labels)


@pytest.mark.parametrize(("text", "says"), [
    ("F =~ BMI + WHR", r"4 free parameters but 2 traits give only 3 moments.*F has 2"),
    ("F =~ BMI + WHR\nG =~ CAD + T2D\nF ~~ 0*G", r"not identified.*F=~WHR.*fewer than 3 indicators: F has 2, G has 2"),
    ("F =~ NA*BMI + WHR + CAD + T2D", r"not identified: 1 combination\(s\) of these parameters change no moment: F=~BMI"),
    ("F =~ BMI + WHR + CHD", r"'CHD' is neither a trait nor a factor with a =~ line"),
    ("F =~ BMI + WHR + CAD\nBMI ~~ v*BMI\nv > 2\nv < 1", r"cannot all be met: v > 2; v < 1"),
    ("F =~ 1*BMI + k*BMI + 2*WHR + k*WHR + CAD", r"label 'k' stands for different fixed values"),
    ("BMI ~ WHR\nWHR ~ CAD\nCAD ~ BMI", r"arrows run in a circle"),
    ("BMI ~ WHR + WHR", r"the path BMI ~ WHR is given twice"),
    ("F =~ BMI + WHR + CAD\nF ~~ q*G", r"'G' is neither a trait"),
    ("BMI =~ WHR + CAD + T2D", r"factor 'BMI' has the name of a trait"),
    ("F =~ 1*BMI + k*BMI + WHR + CAD\nk == 2", r"the constraint k == 2 cannot hold: k is fixed at 1"),
    ("F =~ BMI + WHR + CAD\nk == 2", r"uses the label 'k', which no path has\s+Remedy: no path has a label; write k\*X"),
    (17, r"a model is a text in lavaan syntax or a Model, not int"),
])
def test_models_that_cannot_be(cov, text, says):
    with pytest.raises(ModelError, match=says) as caught:
        user_model(cov, text)
    assert len(str(caught.value)) > 20


def test_unknown_estimation(cov):
    with pytest.raises(ConfigError, match="'ULS' is not known"):
        user_model(cov, "F =~ BMI + WHR + CAD", "ULS")


def test_s_with_missing_cells():
    broken = S.copy()
    broken[0, 1] = broken[1, 0] = np.nan
    with pytest.raises(GsemError, match=r"S"):
        CovStruct.from_matrices(broken, V, np.eye(4), TRAITS)
    frame, sampling = frames()
    with pytest.raises(ModelError, match="S has no number at BMI, WHR"):
        structure_from_frames(frame.where(frame != 0.5), sampling)


def test_v_of_the_wrong_size():
    with pytest.raises(GsemError, match="V"):
        CovStruct.from_matrices(S, V[:9, :9], np.eye(4), TRAITS)
    with pytest.raises(ModelError, match="V is 6 by 6, but 4 traits have 10 elements of S"):
        structure_from_frames(frames()[0], V[:6, :6])


def test_i_that_is_not_given_and_elements_that_are_traits(cov):
    with pytest.raises(ModelError, match=r"I is a single number or nothing.*\s+Remedy: .*np.eye\(k\)"):
        CovStruct.from_matrices(S, V, None, TRAITS)
    with pytest.raises(ConfigError, match=r"'BMI' is no element of S\s+Remedy: .*cov.subset"):
        sub_cov(cov, ["BMI", "WHR"])


def test_v_in_another_order_is_put_right_by_its_names(cov):
    frame, sampling = frames()
    shuffled = list(np.random.default_rng(1).permutation(sampling.columns))
    turned = sampling.loc[shuffled, shuffled]
    turned.columns = [" ".join(reversed(c.split("~~"))) for c in turned.columns]
    got = structure_from_frames(frame.loc[TRAITS[::-1]], turned)
    np.testing.assert_array_equal(got.V, cov.V)
    np.testing.assert_array_equal(got.S, cov.S)
    assert got.traits == tuple(TRAITS)


def test_names_of_s_and_v_that_do_not_match():
    frame, sampling = frames()
    other = sampling.rename(columns=lambda c: c.replace("T2D", "CKD"))
    with pytest.raises(ModelError, match="V names traits that S does not have: CKD"):
        structure_from_frames(frame, other)
    with pytest.raises(ModelError, match="do not have the same names: CKD, T2D"):
        structure_from_frames(frame.rename(index={"T2D": "CKD"}), sampling)
    with pytest.raises(ModelError, match="columns of S repeat: BMI"):
        structure_from_frames(frame.rename(columns={"WHR": "BMI"}), sampling)
    twice = sampling.set_axis([sampling.columns[0], *sampling.columns[:-1]], axis=1)
    with pytest.raises(ModelError, match="V has no column for T2D~~T2D, and another twice"):
        structure_from_frames(frame, twice)
    with pytest.raises(ModelError, match="3 rows and 4 columns"):
        structure_from_frames(frame.iloc[:3], sampling)


def test_s_without_v_is_refused():
    with pytest.raises(ModelError, match="S with its V"):
        user_model(pd.DataFrame(S, TRAITS, TRAITS), "F =~ BMI + WHR + CAD")
