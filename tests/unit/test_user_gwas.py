"""GWAS of any model: what is refused, which rows come out, which route is taken, and what becomes of bad SNPs."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ConvergenceError, ModelError
from gsem_spark.methods.gwas import RESULT_COLUMNS, CommonFactorGwas, UserModelGwas, fit_snps
from gsem_spark.methods.gwas.moments import s_full, v_full
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.model import Model

K = 6
ONE = "F1 =~ T0 + T1 + T2 + T3 + T4 + T5\nF1 ~ SNP"
TWO = "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF1 ~~ F2\nF1 ~ SNP\nF2 ~ SNP"
MODELS = {
    "one factor": ONE,
    "two factors": TWO,
    "factor and trait": TWO + "\nT0 ~ SNP",
    "mediation": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF2 ~ F1\nF1 ~ SNP\nF2 ~ SNP",
    "second order": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nG =~ F1 + 1*F2\nG ~ SNP",
    "bifactor": "G =~ T0 + T1 + T2 + T3 + T4 + T5\nF =~ T3 + T4 + T5\nG ~~ 0*F\nG ~ SNP\nF ~ SNP",
    "equal effects": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF1 ~~ F2\nF1 ~ g*SNP\nF2 ~ g*SNP",
    "fixed effect": "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF1 ~~ F2\nF1 ~ 0.01*SNP\nF2 ~ SNP",
    "trait as predictor": "F1 =~ T0 + T1 + T2\nT4 ~ F1 + T3\nF1 ~ SNP\nT4 ~ SNP",
    "equal residuals": "F1 =~ T0 + T1 + T2 + T3\nT0 ~~ r*T0\nT1 ~~ r*T1\nF1 ~ SNP",
}


@pytest.fixture(scope="module")
def cov() -> CovStruct:
    rng = np.random.default_rng(0)
    first, second = np.r_[rng.uniform(0.35, 0.6, 3), np.zeros(3)], np.r_[np.zeros(3), rng.uniform(0.35, 0.6, 3)]
    S = np.outer(first, first) + np.outer(second, second) + 0.5 * (np.outer(first, second) + np.outer(second, first))
    wobble = rng.normal(0, 0.004, (K, K))
    S += np.diag(rng.uniform(0.1, 0.2, K)) + (wobble + wobble.T) * (1 - np.eye(K))
    size = K * (K + 1) // 2
    root = rng.normal(0, 0.001, (size, size)) + np.eye(size) * 0.007
    I = np.full((K, K), 0.08) + np.diag(rng.uniform(0.9, 1.02, K))
    return CovStruct.from_matrices(S, root @ root.T, I, [f"T{i}" for i in range(K)])


@pytest.fixture(scope="module")
def snps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    se = rng.uniform(0.003, 0.01, (12, K))
    z = rng.normal(0, 1.3, (12, K))
    z[0] += 9
    z[1, 2] += 25
    return z * se, se, rng.uniform(0.03, 0.5, 12)


@pytest.mark.parametrize("fix", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_every_route_ends_at_the_same_optimum(cov: CovStruct, snps, name: str, fix: bool) -> None:
    """The compiled routes against the general engine, which knows nothing of their shortcuts."""
    usual = UserModelGwas.prepare(cov, MODELS[name], fix_measurement=fix)
    slow = UserModelGwas.prepare(cov, MODELS[name], fix_measurement=fix, route="general").fit(*snps)
    covaries = name == "trait as predictor"  # the SNP covaries with the other predictor, which no reduction allows for
    assert usual.route in (("analytic", "reduced") if fix and not covaries else ("iterative",))
    assert set(slow["status"]) <= {"ok", "heywood"}
    for route in ("iterative", None):
        gwas = UserModelGwas.prepare(cov, MODELS[name], fix_measurement=fix, route=route)
        got = gwas.fit(*snps)
        assert got["status"].tolist() == slow["status"].tolist() and got["message"].tolist() == slow["message"].tolist()
        free = np.isfinite(slow["se"])
        assert np.array_equal(np.isfinite(got["se"]), free)
        assert np.max(np.abs(got["est"] - slow["est"])[free] / slow["se"][free], initial=0) < 1e-8
        assert np.array_equal(got["est"][~free], slow["est"][~free])
        for column, floor in (("se", 0.0), ("chisq", 1e-9), ("q_snp", 1e-9)):
            assert np.allclose(got[column], slow[column], rtol=1e-7, atol=floor, equal_nan=True)
        assert np.array_equal(got["chisq_df"], slow["chisq_df"]) and np.array_equal(got["q_snp_df"], slow["q_snp_df"])


def test_every_row_has_the_same_numbers_on_either_road(cov: CovStruct, snps) -> None:
    model = TWO.replace("F1 ~ SNP", "F1 ~ a*SNP").replace("F2 ~ SNP", "F2 ~ b*SNP")
    model += "\nsum := a + b\nratio := a/b\nlogged := log(a)"
    one = UserModelGwas.prepare(cov, model, sub="all", fix_measurement=False)
    other = UserModelGwas.prepare(cov, model, sub="all", fix_measurement=False, route="general")
    got, want = one.frame(one.fit(*snps)), other.frame(other.fit(*snps))
    assert len(got) == 12 * (len(one.model.paths) + 3)
    for column in ("est", "se"):
        assert np.allclose(got[column], want[column], rtol=1e-6, atol=1e-9, equal_nan=True)
    logged = got[got["lhs"] == "logged"].reset_index(drop=True)
    a = got[(got["lhs"] == "F1") & (got["op"] == "~")].reset_index(drop=True)
    negative = a["est"] < 0
    assert negative.any() and logged.loc[negative, "est"].isna().all()
    assert np.allclose(logged.loc[~negative, "se"], a.loc[~negative, "se"] / a.loc[~negative, "est"])


def test_the_closed_form_is_the_optimum(cov: CovStruct, snps) -> None:
    """Exact where it is chosen: against the reduced search and the search over all parameters, to 1e-8 standard errors."""
    closed = UserModelGwas.prepare(cov, ONE)
    assert closed.route == "analytic" and "free variances take up" in closed.route_reason
    got = closed.fit(*snps)
    for route in ("reduced", "iterative"):
        other = UserModelGwas.prepare(cov, ONE, route=route)
        assert other.route == route
        want = other.fit(*snps)
        assert np.max(np.abs(got["est"] - want["est"]) / want["se"]) < 1e-8
        for column in ("se", "chisq", "q_snp"):
            assert np.allclose(got[column], want[column], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("std_lv", [False, True])
def test_one_factor_with_everything_free_is_the_common_factor_gwas(cov: CovStruct, snps, std_lv: bool) -> None:
    """Under one identification the models are one: the first trait's loading at 1, or the factor's residual variance at 1.

    Their Q_SNP are other statistics: residuals of the SNP's covariances here, direct effects on every trait there.
    """
    user = UserModelGwas.prepare(cov, ONE, fix_measurement=False, std_lv=std_lv)
    factor = CommonFactorGwas.prepare(cov, std_lv=std_lv)
    one, other = user.fit(*snps), factor.fit(*snps)
    assert np.max(np.abs(one["est"] - other["est"]) / other["se"]) < 1e-8
    for column in ("se", "chisq", "aic"):
        assert np.allclose(one[column], other[column], rtol=1e-8)
    assert np.array_equal(one["chisq_df"], other["chisq_df"]) and one["status"].tolist() == other["status"].tolist()


def test_the_closed_form_is_not_chosen_where_it_would_be_wrong(cov: CovStruct, snps) -> None:
    assert UserModelGwas.prepare(cov, ONE, std_lv=True).route == "reduced"
    assert UserModelGwas.prepare(cov, TWO).route == "reduced"
    assert UserModelGwas.prepare(cov, MODELS["fixed effect"]).route == "reduced"


@pytest.mark.parametrize("fix", [True, False])
def test_ml_is_at_its_optimum(cov: CovStruct, snps, fix: bool) -> None:
    """The gradient of the likelihood, by differences, at the estimates of all parameters."""
    beta, se, maf = (x[:3] for x in snps)
    gwas = UserModelGwas.prepare(cov, TWO, estimation="ML", sub="all", fix_measurement=fix)
    assert gwas.route == "general"
    frame = gwas.frame(gwas.fit(beta, se, maf))
    for snp in range(3):
        values = frame.loc[frame["snp"] == snp, "est"].to_numpy()
        v = 2 * maf[snp] * (1 - maf[snp])
        S = s_full(cov.S, beta[snp], v)
        theta = np.zeros(gwas.model.n_free)
        theta[gwas.model.path_index[gwas.model.path_index >= 0]] = values[gwas.model.path_index >= 0]

        def likelihood(t: np.ndarray, S: np.ndarray = S) -> float:
            implied = gwas.model.implied(t)
            return float(np.linalg.slogdet(implied)[1] + np.trace(np.linalg.solve(implied, S)))

        for place in range(theta.size):
            step = np.zeros(theta.size)
            step[place] = 1e-5
            slope = (likelihood(theta + step) - likelihood(theta - step)) / 2e-5
            assert abs(slope) < 1e-7
    given = frame[(frame["lhs"] == "SNP") & (frame["rhs"] == "SNP")]
    assert given["se"].isna().all()
    assert np.allclose(given["est"], 2 * maf * (1 - maf), rtol=1e-9)


def test_ml_sandwich_is_the_dense_one(cov: CovStruct, snps) -> None:
    """(D'WD)^-1 D'WVWD (D'WD)^-1 written out, the SNP's variance held fixed."""
    from gsem_spark.methods.sem.inference import moment_weights

    beta, se, maf = (x[:2] for x in snps)
    gwas = UserModelGwas.prepare(cov, TWO, estimation="ML", sub="all")
    frame = gwas.frame(gwas.fit(beta, se, maf))
    for snp in range(2):
        rows = frame[frame["snp"] == snp].reset_index(drop=True)
        index = gwas.model.path_index
        theta = np.zeros(gwas.model.n_free)
        theta[index[index >= 0]] = rows["est"].to_numpy()[index >= 0]
        v = 2 * maf[snp] * (1 - maf[snp])
        keep = [i for i in range(theta.size) if i != index[(rows["lhs"] == "SNP") & (rows["rhs"] == "SNP")][0]]
        D = gwas.model.jacobian(theta)[:, keep]
        W = moment_weights(gwas.model.implied(theta), np.eye(D.shape[0]), "ML")
        V = v_full(cov.V, gwas.R, se[snp] * gwas.gc_factors, v, 0.0)
        bread = np.linalg.solve(D.T @ W @ D, D.T @ W)
        want = np.sqrt(np.diag(bread @ V @ bread.T))
        got = np.array([rows["se"][np.flatnonzero(index == i)[0]] for i in keep])
        assert np.allclose(got, want, rtol=1e-7)


def test_constraints_hold_for_every_snp(cov: CovStruct, snps) -> None:
    text = TWO.replace("F1 ~ SNP", "F1 ~ a*SNP").replace("F2 ~ SNP", "F2 ~ b*SNP")
    bound = UserModelGwas.prepare(cov, text + "\na == 2*b", fix_measurement=False)
    assert bound.route == "general" and "constraints" in bound.route_reason
    got = bound.fit(*snps)
    assert np.allclose(got["est"][::2], 2 * got["est"][1::2], rtol=1e-7)
    assert bound.chisq_df == UserModelGwas.prepare(cov, text, fix_measurement=False).chisq_df + 1
    loose = UserModelGwas.prepare(cov, "F1 =~ x*T0 + y*T1 + T2 + T3\nF1 ~ SNP\ny > 0")
    assert loose.route == "analytic", "a constraint on what is fixed binds nothing"


def test_traits_that_the_model_does_not_use_do_not_matter(cov: CovStruct, snps) -> None:
    beta, se, maf = snps
    text = "F1 =~ T3 + T1 + T4\nF1 ~ SNP"
    spoilt = beta.copy()
    spoilt[:, [0, 2, 5]] = np.nan
    one, other = fit_snps(cov, spoilt, se, maf, model=text), fit_snps(cov.subset(["T1", "T3", "T4"]), beta[:, [1, 3, 4]],
                                                                     se[:, [1, 3, 4]], maf, model=text)
    assert set(one["status"]) <= {"ok", "heywood"}
    pd.testing.assert_frame_equal(one, other, rtol=1e-9)


def test_columns_of_frames_are_matched_by_name(cov: CovStruct, snps) -> None:
    beta, se, maf = snps
    order = [3, 0, 5, 1, 4, 2]
    b = pd.DataFrame(beta[:, order], columns=[f"beta.T{i}" for i in order])
    s = pd.DataFrame(se[:, order], columns=[f"T{i}" for i in order])
    pd.testing.assert_frame_equal(fit_snps(cov, b, s, maf, model=TWO), fit_snps(cov, beta, se, maf, model=TWO))
    pd.testing.assert_frame_equal(fit_snps(cov, b, s, maf), fit_snps(cov, beta, se, maf))
    with pytest.raises(ModelError, match="no column for the trait T4"):
        fit_snps(cov, b.drop(columns="beta.T4"), s, maf, model=TWO)
    with pytest.raises(ModelError, match="two columns for the trait T3"):
        fit_snps(cov, b.assign(T3=0.0), s, maf, model=TWO)


@pytest.mark.parametrize(("text", "words"), [
    ("F1 =~ T0 + T1 + T2", "no path from SNP"),
    ("F1 =~ T0 + T1 + T2\nSNP ~ F1", "SNP ~ F1|SNP~F1"),
    ("F1 =~ T0 + T1 + SNP", "outcome or a factor"),
    ("SNP =~ T0 + T1 + T2", "SNP"),
    ("F1 =~ T0 + T1 + T2\nF1 ~ SNP\nSNP ~~ 0.3*SNP", "variance of SNP cannot be fixed"),
    ("F1 =~ T0 + T1 + T9\nF1 ~ SNP", "T9"),
    ("F1 =~ T0 + T1 + T2 + T3\nF1 ~ SNP\nT0 + T1 + T2 + T3 ~ SNP", "not identified"),
    ("F1 =~ T0 + T1 + T2 F1 ~ SNP", "model line 1"),
    ("", "empty"),
])
def test_impossible_models_are_refused(cov: CovStruct, text: str, words: str) -> None:
    for fix in (True, False):
        with pytest.raises(ModelError, match=words):
            UserModelGwas.prepare(cov, text, fix_measurement=fix)


def test_settings_are_checked(cov: CovStruct) -> None:
    for settings, words in (({"gc": "some"}, "gc is"), ({"estimation": "WLS"}, "estimation is"), ({"snp_se": 0.0}, "snp_se")):
        with pytest.raises(ModelError, match=words):
            UserModelGwas.prepare(cov, ONE, **settings)
    with pytest.raises(ModelError, match="no row 'F3~SNP'") as refused:
        UserModelGwas.prepare(cov, TWO, sub=["F3~SNP"])
    assert "F1~SNP" in refused.value.remedy
    with pytest.raises(ModelError, match="sub names no row"):
        UserModelGwas.prepare(cov, TWO, sub=[])
    named = CovStruct.from_matrices(cov.S, cov.V, cov.I, ["SNP", *cov.traits[1:]])
    with pytest.raises(ModelError, match="a trait is called SNP"):
        UserModelGwas.prepare(named, "F1 =~ T1 + T2 + T3\nF1 ~ SNP")
    with pytest.raises(ModelError, match="no trait beside"):
        UserModelGwas.prepare(cov, Model.parse("F =~ 0\nF ~ SNP"))


def test_a_measurement_part_without_an_optimum_is_an_error(cov: CovStruct) -> None:
    S = np.array([[1.0, 0.9, 0.9, 0.1], [0.9, 1.0, 0.05, 0.5], [0.9, 0.05, 1.0, -0.5], [0.1, 0.5, -0.5, 1.0]])
    bad = CovStruct.from_matrices(S, np.eye(10) * 1e-4, np.eye(4), list("abcd"))
    try:
        gwas = UserModelGwas.prepare(bad, "F =~ a + b + c + d\nF ~ SNP")
    except ConvergenceError as error:
        assert "measurement part" in error.what
    else:
        assert gwas.notes  # it has one after all: what was wrong is said


def test_bad_snps_are_rows_with_a_status(cov: CovStruct, snps) -> None:
    beta, se, maf = (np.array(x[[2, 3, 4, 5, 6, 7]]) for x in snps)
    beta[0, 1], se[1, 2], maf[2], maf[3], maf[4] = np.nan, 0.0, 0.0, np.nan, 1.5
    for model in (ONE, TWO):
        for settings in ({}, {"fix_measurement": False}, {"estimation": "ML"}):
            frame = fit_snps(cov, beta, se, maf, model=model, **settings)
            rows = frame.groupby("snp")["status"].first().tolist()
            assert rows[:5] == ["missing", "singular", "singular", "missing", "singular"] and rows[5] in ("ok", "heywood")
            messages = frame.groupby("snp")["message"].first()
            assert "T1" in messages[0] and "T2" in messages[1] and "MAF" in messages[2]
            assert frame.loc[frame["snp"] < 5, ["est", "se", "p", "chisq", "aic", "q_snp"]].isna().all(axis=None)


def test_shapes_must_agree(cov: CovStruct, snps) -> None:
    beta, se, maf = snps
    gwas = UserModelGwas.prepare(cov, ONE)
    for bad in ((beta[:, :5], se, maf), (beta, se[:3], maf), (beta, se, maf[:, None])):
        with pytest.raises(ModelError, match="must be"):
            gwas.fit(*bad)


def test_it_pickles_small_and_gives_the_same_bytes(cov: CovStruct, snps) -> None:
    for settings in ({}, {"fix_measurement": False, "sub": "all"}):
        gwas = UserModelGwas.prepare(cov, TWO, **settings)
        data = pickle.dumps(gwas)
        assert len(data) < 100_000
        one, other = gwas.fit(*snps), pickle.loads(data).fit(*snps)
        for column in RESULT_COLUMNS:
            assert one[column].tolist() == other[column].tolist() or one[column].tobytes() == other[column].tobytes()


def test_the_default_rows_are_the_paths_of_the_snp(cov: CovStruct) -> None:
    text = TWO + "\nT0 ~ d*SNP\ndouble := 2*d"
    assert [r.name for r in UserModelGwas.prepare(cov, text).rows] == ["F1~SNP", "F2~SNP", "T0~SNP"]
    assert [r.name for r in UserModelGwas.prepare(cov, text, sub=["double", "F2 ~~ F1"]).rows] == ["double:=2*d", "F1~~F2"]


@pytest.mark.parametrize("settings", [{}, {"fix_measurement": False}, {"fix_measurement": False, "sub": "all"}])
def test_what_stands_beside_a_snp_does_not_touch_it(cov: CovStruct, settings: dict[str, object]) -> None:
    """SNPs go through the kernels in blocks: the same bytes in any lane, beside SNPs that fail or that need many steps."""
    rng = np.random.default_rng(8)
    se, maf = rng.uniform(0.003, 0.01, (37, K)), rng.uniform(0.03, 0.5, 37)
    beta = rng.normal(0, 1.5, (37, K)) * se
    beta[3, 2], se[5, 1], maf[7] = np.nan, 0.0, 0.0
    beta[11] *= 40.0 * np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    for model in (ONE, TWO + "\nT0 ~ d*SNP\ntwice := 2*d"):
        gwas = UserModelGwas.prepare(cov, model, **settings)
        whole, r = gwas.fit(beta, se, maf), len(gwas.rows)
        assert {"missing", "singular"} < set(whole["status"])
        for row in range(37):
            alone = gwas.fit(beta[row : row + 1], se[row : row + 1], maf[row : row + 1])
            for column in RESULT_COLUMNS:
                ours, theirs = alone[column], whole[column][row * r : row * r + r]
                assert ours.tolist() == theirs.tolist() or ours.tobytes() == theirs.tobytes()
