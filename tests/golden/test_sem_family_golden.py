"""rgmodel, summaryGLS, subSV, indexS, write.model, paLDSC, Q_Factor against GenomicSEM 0.0.5's answers in ``other``, ``edge``."""

import json

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import Path, factor_model, fit_model
from gsem_spark.methods.sem.genetic_correlations import index_s, rg_model, sub_cov
from gsem_spark.methods.sem.gls import summary_gls
from gsem_spark.methods.sem.heterogeneity import q_factor
from gsem_spark.methods.sem.parallel import parallel_analysis
from gsem_spark.methods.sem.write_model import write_model

TRAITS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
FITTED_RTOL = 3e-7
"""rgmodel fits its saturated model with lavaan, stopped at optim.dx.tol = .01; ours is the closed form."""


@pytest.fixture(scope="module")
def answers(shared_golden):
    return shared_golden("golden/gsem/answers")


@pytest.fixture(scope="module")
def cov(answers):
    S, V, I = (table(answers / f"ldsc_{m}.tsv").to_numpy() for m in "SVI")
    return CovStruct.from_matrices(S, (V + V.T) / 2, I, TRAITS)


def table(path):
    return pd.read_csv(path, sep="\t")


def test_genetic_correlations_and_their_sampling_covariance(cov, answers):
    ours = rg_model(cov)
    np.testing.assert_allclose(ours.R, table(answers / "other/rgmodel_R.tsv"), rtol=FITTED_RTOL)
    expected = table(answers / "other/rgmodel_V_R.tsv").to_numpy()
    se = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(ours.V_R / np.outer(se, se), expected / np.outer(se, se), atol=1e-6)


def test_index_numbers(cov, answers):
    for name, R in (("indexS", False), ("indexS_R", True)):
        expected = table(answers / f"other/{name}.tsv")
        np.testing.assert_array_equal(index_s(cov, R=R).to_numpy(), expected.to_numpy())


@pytest.mark.parametrize("moments", ["S", "S_stand"])
def test_sub_covariances(cov, answers, moments):
    expected = json.loads((answers / f"other/subSV_{moments.replace('stand', 'Stand')}.json").read_text())
    ours = sub_cov(cov, expected["indexvals"], moments=moments)
    np.testing.assert_allclose(ours.y, expected["subS"], rtol=1e-9)
    np.testing.assert_allclose(ours.V, expected["subV"], rtol=1e-6)


def test_sub_covariances_of_correlations_do_not_have_the_references_defect(cov, answers):
    """Its values of TYPE="R" take the diagonal along: elements 2, 3, 5 of V_R, but shifted elements of R."""
    expected = json.loads((answers / "other/subSV_R.json").read_text())
    ours = sub_cov(cov, expected["indexvals"], moments="R")
    np.testing.assert_allclose(ours.V, expected["subV"], rtol=2e-6)
    R = table(answers / "other/rgmodel_R.tsv")
    np.testing.assert_allclose(ours.y, [R.loc[2, "AAA"], R.loc[3, "AAA"], R.loc[5, "AAA"]], rtol=FITTED_RTOL)


@pytest.mark.parametrize("case", ["YV", "noint", "object"])
def test_generalised_least_squares(answers, case):
    given = json.loads((answers / "other/summaryGLS_inputs.json").read_text())
    expected = table(answers / f"other/summaryGLS_{case}.tsv")
    X = np.asarray(given["predictors"] if "predictors" in given else given["X"], dtype=float)
    X = X[:, :1] if case == "object" else X
    fit = summary_gls(given["y"], given["V"], X, intercept=case != "noint").table()
    assert list(fit["name"]) == list(expected["row"])
    for ours, theirs in (("beta", "betas"), ("se", "SE"), ("z", "Z")):
        np.testing.assert_allclose(fit[ours], expected[theirs], rtol=1e-9)
    np.testing.assert_allclose(fit["neglog10p"], -np.log10(expected["pvals"]), rtol=1e-9)


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("cutoff-0.3", {}), ("cutoff-0.3_fix_resid-0", {"bound_residuals": False}),
        ("cutoff-0.3_fix_resid-0_bifactor-1", {"bound_residuals": False, "bifactor": True}),
        ("cutoff-0.6_fix_resid-0_mustload-1", {"bound_residuals": False, "mustload": True, "cutoff": 0.6}),
        ("cutoff-0.3_fix_resid-0_common-1", {"bound_residuals": False, "common": True}),
    ],
)  # fmt: skip
def test_written_models(answers, file, settings):
    """The same formulas; the reference's residual labels are random, so labels are compared by what they stand on."""
    loadings = table(answers / "other/write.model_loadings.tsv").set_index("row").set_axis(["F1", "F2"], axis=1)
    ours = write_model(loadings, **settings)
    theirs = (answers / f"other/write.model_{file}.txt").read_text()
    assert formulas(ours) == formulas(theirs)


def formulas(text):
    """Formulas as a sorted list; residual labels replaced by the trait they label."""
    lines = ["".join(line.split()) for line in text.splitlines() if line.strip()]
    trait_of = {label: lhs for lhs, label, rhs in (split(x) for x in lines) if label and lhs == rhs and label != "0"}
    return sorted(
        trait_of[line.split(">")[0]] + ">" + line.split(">")[1] if ">" in line
        else f"{split(line)[0]}~~label*{split(line)[2]}" if split(line)[1] in trait_of else line
        for line in lines
    )  # fmt: skip


def split(line):
    if "~~" not in line or "*" not in line:
        return ("", "", "")
    lhs, right = line.split("~~")
    label, rhs = right.split("*")
    return (lhs, label, rhs)


def test_parallel_analysis(cov, answers):
    """Observed eigenvalues exactly; mean, spread and 95 % quantile of the null within Monte Carlo error of 2,000 draws each."""
    expected = json.loads((answers / "other/paLDSC_numbers.json").read_text())
    ours = parallel_analysis(cov, draws=2000, seed=1)
    np.testing.assert_allclose(ours.observed, expected["observed"], rtol=1e-9)
    mean_error = np.array(expected["sd"]) * np.sqrt(2 / 2000)
    assert np.max(np.abs(ours.null_mean - expected["mean"]) / mean_error) < 4
    quantile_error = np.hypot(ours.null_quantile_se, expected["mc_se_q95"])
    assert np.max(np.abs(ours.null_quantile - expected["q95"]) / quantile_error) < 4
    np.testing.assert_allclose(ours.null_sd, expected["sd"], rtol=4 * np.sqrt(1 / 2000))


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("factor_analysis", [False, True])
def test_number_of_factors(cov, diagonal, factor_analysis):
    """All four variants of ``paLDSC_*.console.txt`` suggest two."""
    assert parallel_analysis(cov, 500, 42, diagonal=diagonal, factor_analysis=factor_analysis).factors == 2


def test_q_factor(cov, answers):
    expected = table(answers / "edge/usermodel_Q_Factor.tsv").iloc[0]
    factors = {"F1": TRAITS[:3], "F2": TRAITS[3:]}
    fit = fit_model(cov, factor_model(factors, [Path("F1", "~~", "F2")], observed=TRAITS))
    found = q_factor(fit)
    assert found[["factor_1", "factor_2"]].to_numpy().tolist() == [["F1", "F2"]]
    assert found["df"].iloc[0] == expected["QFactor_df"]
    # the reference's fit stops early; Q moves by its distance from the optimum
    assert found["chisq"].iloc[0] == pytest.approx(expected["QFactor_chisq"], rel=1e-5)
    assert found["p"].iloc[0] == pytest.approx(expected["QFactor_p"], rel=1e-5)
