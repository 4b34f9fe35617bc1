"""The covariance structure: order, checks, derived tables, files."""

import pickle

import numpy as np
import pytest

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech, vech_indices
from gsem_spark.methods.ldsc.report import ldsc_report

TRAITS = ("A", "B", "C")
S = np.array([[0.5, 0.2, 0.1], [0.2, 0.4, 0.15], [0.1, 0.15, 0.3]])


def _v(seed: int = 1) -> np.ndarray:
    draws = np.random.default_rng(seed).normal(size=(50, 6))
    return np.cov(draws, rowvar=False) * 1e-4


def _cov(**changes) -> CovStruct:
    arguments = {"S": S, "V": _v(), "I": np.eye(3), "traits": TRAITS, "N": np.arange(1.0, 7.0) * 1e4, "M": 1e6} | changes
    return CovStruct.from_matrices(**arguments)


def test_vech_reads_the_lower_triangle_by_columns():
    rows, columns = vech_indices(3)
    assert list(zip(rows + 1, columns + 1, strict=True)) == [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (3, 3)]
    assert np.array_equal(unvech(vech(S)), S)


def test_arrays_cannot_be_written():
    cov = _cov()
    for name in ("S", "V", "I", "N"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(cov, name)[0] = 1.0


def test_it_does_not_share_memory_with_what_was_given():
    given = S.copy()
    cov = _cov(S=given)
    given[0, 0] = 99.0
    assert cov.S[0, 0] == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"S": S[:2, :2]}, "S is 2 x 2, but must be 3 x 3"),
        ({"V": np.eye(5)}, "V is 5 x 5, but must be 6 x 6"),
        ({"traits": ("A", "B", "A")}, "trait names repeat: A"),
        ({"S": S + np.array([[0, 0, 0.05], [0, 0, 0], [0, 0, 0]])}, r"S is not symmetric: \[A, C\] is 0.15"),
        ({"I": np.array([[1, 0, np.nan], [0, 1, 0], [np.nan, 0, 1]])},
         "I has 2 elements that are not finite, the first at row A, column C"),
        ({"N": [1.0, 2.0]}, "N has 2 values, but must have 6"),
        ({"population_prevalence": [0.01, 5.0, np.nan]}, r"population prevalence must lie between 0 and 1: B \(5\)"),
    ],
)
def test_wrong_input_is_named(changes, words):
    with pytest.raises(ModelError, match=words):
        _cov(**changes)


def test_rounding_asymmetry_is_averaged():
    rough = S.copy()
    rough[0, 1] += 1e-9
    cov = _cov(S=rough)
    assert np.array_equal(cov.S, cov.S.T)


def test_standardised_matrices():
    cov = _cov()
    assert np.allclose(np.diag(cov.S_stand), 1.0, rtol=0, atol=1e-15)
    d = 1 / np.sqrt(np.diag(S))
    scale = np.diag(vech(np.outer(d, d)))
    assert np.allclose(cov.V_stand, scale @ cov.V @ scale, rtol=1e-14)


def test_rg_and_its_two_standard_errors():
    cov = _cov()
    frame = cov.rg()
    assert list(frame.trait_1) == ["A", "A", "B"] and list(frame.trait_2) == ["B", "C", "C"]
    assert np.allclose(frame.rg, [cov.S_stand[1, 0], cov.S_stand[2, 0], cov.S_stand[2, 1]])
    assert np.allclose(frame.se, np.sqrt(np.diag(cov.V_stand))[[1, 2, 4]])
    # Delta method against draws: 1 % is three standard errors of a standard deviation over 40,000 draws.
    draws = np.random.default_rng(5).multivariate_normal(vech(S), cov.V * 1e-2, size=40_000)
    simulated = np.std(draws[:, 1] / np.sqrt(draws[:, 0] * draws[:, 3])) * 10
    assert frame.se_delta[0] == pytest.approx(simulated, rel=0.015)


def test_negative_h2_is_warned_about_and_has_no_rg():
    bad = S.copy()
    bad[1, 1] = -0.01
    cov = _cov(S=bad)
    assert any(w.startswith("B: h2 is -0.01") for w in cov.warnings)
    assert any("not positive definite" in w for w in cov.warnings)
    assert list(np.isnan(cov.rg().rg)) == [True, False, True]
    with pytest.raises(ModelError, match=r"not positive for B \(-0.01\)"):
        _ = cov.S_stand
    assert "not defined" in ldsc_report(cov)


def test_weak_traits_singular_v_and_negative_intercepts_are_warned_about():
    draws = np.random.default_rng(3).normal(size=(4, 6))
    assert any(w.startswith("V is singular: rank 3 of 6") for w in _cov(V=np.cov(draws, rowvar=False) * 1e-4).warnings)
    weak = _cov(V=_v() * 1e4, I=np.diag([1.0, -0.2, 1.0])).warnings
    assert any("C: h2 Z is" in w for w in weak)
    assert any("B: the LDSC intercept is -0.2" in w for w in weak)
    assert _cov().warnings == []


def test_subset_takes_the_right_elements_in_any_order():
    cov = _cov()
    sub = cov.subset(["C", "A"])
    assert sub.traits == ("C", "A")
    assert np.array_equal(sub.S, S[np.ix_([2, 0], [2, 0])])
    place = [5, 2, 0]
    assert np.array_equal(sub.V, cov.V[np.ix_(place, place)])
    assert np.array_equal(sub.N, cov.N[place])
    assert cov.subset(["C", "B", "A"]).subset(TRAITS) == cov
    with pytest.raises(ModelError, match="no trait 'X'; there are A, B, C"):
        cov.subset(["X"])


@pytest.mark.parametrize("form", ["json", "npz", "csv"])
def test_files_round_trip_bit_for_bit(tmp_path, form):
    cov = _cov(
        sample_prevalence=[0.5, np.nan, np.nan], population_prevalence=[0.01, np.nan, np.nan],
        N=[1.0, np.nan, 3.0, 4.0, 5.0, 1 / 3], settings={"n_blocks": 200}, inputs={"sumstats": "v3"},
    )
    path = getattr(cov, f"to_{form}")(tmp_path / f"cov.{form}")
    back = getattr(CovStruct, f"from_{form}")(path)
    assert back == cov
    assert back.fingerprint() == cov.fingerprint()


def test_it_pickles():
    assert pickle.loads(pickle.dumps(_cov())) == _cov()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"S": 1}')
    with pytest.raises(DataError, match="not a covariance structure"):
        CovStruct.from_json(tmp_path / "x.json")
    with pytest.raises(DataError, match="not a readable"):
        CovStruct.from_npz(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"no meta\.json"):
        CovStruct.from_csv(tmp_path)


WRITTEN = {
    "write.csv": '"","A","B"\n"1",0.5,0.2\n"2",0.2,0.4\n',
    "write.csv row.names=FALSE": '"A","B"\n0.5,0.2\n0.2,0.4\n',
    "write.table": '"A" "B"\n"1" 0.5 0.2\n"2" 0.2 0.4\n',
    "write.table named rows": '"A" "B"\n"A" 0.5 0.2\n"B" 0.2 0.4\n',
    "tabs": "A\tB\n0.5\t0.2\n0.2\t0.4\n",
    "no header": "0.5,0.2\n0.2,0.4\n",
}


@pytest.mark.parametrize("form", WRITTEN)
def test_matrices_written_by_r(tmp_path, form):
    (tmp_path / "S").write_text(WRITTEN[form])
    (tmp_path / "V").write_text('"","V1","V2","V3"\n"1",3e-4,1e-5,0\n"2",1e-5,2e-4,0\n"3",0,0,1e-4\n')
    (tmp_path / "N").write_text('"V1","V2","V3"\n1e5,NA,2e5\n')
    names = ("A", "B") if form == "no header" else None
    cov = CovStruct.from_genomicsem_csv(tmp_path / "S", tmp_path / "V", tmp_path / "S", tmp_path / "N", traits=names, M=5.0)
    assert cov.traits == ("A", "B")
    assert np.array_equal(cov.S, [[0.5, 0.2], [0.2, 0.4]])
    assert cov.V[0, 0] == 3e-4 and np.isnan(cov.N[1]) and cov.M == 5.0


def test_a_file_that_is_no_matrix_is_named(tmp_path):
    (tmp_path / "S").write_text("A,B\n1,2\n")
    with pytest.raises(DataError, match="not a square matrix"):
        CovStruct.from_genomicsem_csv(tmp_path / "S", tmp_path / "S", tmp_path / "S")
    (tmp_path / "S").write_text("A,B\n1,2\n3,x\n")
    with pytest.raises(DataError, match=r"line 3: 'x' is not a number"):
        CovStruct.from_genomicsem_csv(tmp_path / "S", tmp_path / "S", tmp_path / "S")
