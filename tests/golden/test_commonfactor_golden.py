"""The SEM engine against GenomicSEM 0.0.5 and against tight fits of the same models in lavaan.

GenomicSEM stops lavaan early (``optim.dx.tol = .01``), so its own numbers lie up to about 1e-5 from the optimum; p-values of
Z = 20 magnify that 400-fold, so the exponent is compared, not p. The tight fits were run to the optimum: 1e-6 holds there
(measured: 2e-10).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import Model, common_factor, factor_model, fit_model, near_pd
from gsem_spark.methods.sem import Path as Arrow
from gsem_spark.methods.sem.inference import moment_weights, sandwich

SMALL = Path(__file__).parents[1] / "data" / "gsem_small"
REFERENCE_RTOL = 1e-5
TIGHT_RTOL = 1e-6
INDICES = {"chisq": "chisq", "df": "df", "aic": "AIC", "cfi": "CFI", "srmr": "SRMR"}
A, B, C, D, E, F = TRAITS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
TWO = {"F1": (A, B, C), "F2": (D, E, F)}


@pytest.fixture(scope="module", params=["small", "large"])
def answers(request) -> Path:
    if request.param == "small":
        return SMALL / "answers"
    return request.getfixturevalue("shared_golden")("golden/gsem/answers")


@pytest.fixture(scope="module")
def cov(answers) -> CovStruct:
    return CovStruct.from_matrices(*(table(answers / f"ldsc_{m}.tsv").to_numpy() for m in "SVI"), TRAITS)


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t")


# --- the models of models.json, put together without a syntax ----------------------------------------------------------
def residuals(names):
    return [Arrow(x, "~~", x) for x in names]


def scaled(factors, std_lv, labels=None):
    """lavaan's automatic scale: first loading 1, or factor variance 1 under std.lv."""
    labels = labels or {}
    paths = [
        Arrow(f, "=~", x, fixed=1.0) if n == 0 and not std_lv else Arrow(f, "=~", x, label=labels.get(x))
        for f, xs in factors.items() for n, x in enumerate(xs)
    ]
    return paths + [Arrow(f, "~~", f, fixed=1.0 if std_lv else None) for f in factors]


def build(name, std_lv):
    covariance = Arrow("F1", "~~", "F2")
    if name == "a_onefactor":
        return Model(TRAITS, ("F1",), [*scaled({"F1": TRAITS}, std_lv), *residuals(TRAITS)])
    if name == "b_twofactor":
        return Model(TRAITS, ("F1", "F2"), [*scaled(TWO, std_lv), *residuals(TRAITS), covariance])
    if name == "b2_twofactor_NA":
        return factor_model(TWO, [covariance], observed=TRAITS)
    if name == "d1_secondorder":
        second = [Arrow("P", "=~", "F1", fixed=1.0), Arrow("P", "=~", "F2", fixed=1.0),
                  Arrow("P", "~~", "P", fixed=1.0 if std_lv else None)]
        return Model(TRAITS, ("F1", "F2", "P"), [*scaled(TWO, std_lv), *residuals(TRAITS), *second])
    if name == "d2_bifactor_s1":
        return Model(TRAITS, ("G", "F2"), [*scaled({"G": TRAITS, "F2": (D, E, F)}, std_lv), *residuals(TRAITS)])
    if name == "e3_latent_regression":
        return Model(TRAITS, ("F1", "F2"), [*scaled(TWO, std_lv), *residuals(TRAITS), Arrow("F2", "~", "F1")])
    if name == "f1_genmultreg":
        predictors = (A, D, C)
        paths = [Arrow(E, "~", x) for x in predictors] + [Arrow(A, "~~", D), Arrow(A, "~~", C), Arrow(C, "~~", D)]
        return Model((E, *predictors), (), [*paths, *residuals((E, *predictors))])
    if name == "g1_heywood":
        loadings = [Arrow("F1", "=~", A, fixed=1.0), Arrow("F1", "=~", B, fixed=2.0), Arrow("F1", "=~", C), Arrow("F1", "=~", D)]
        variance = Arrow("F1", "~~", "F1", fixed=1.0 if std_lv else None)
        return Model((A, B, C, D), ("F1",), [*loadings, *residuals((A, B, C, D)), variance])
    if name == "h1_equal_loadings":
        if not std_lv:  # lavaan: a label on a fixed loading fixes all that share it
            fixed = [Arrow("F1", "=~", A, fixed=1.0), Arrow("F1", "=~", B, fixed=1.0), Arrow("F1", "=~", C)]
            rest = [p for p in scaled(TWO, False, {E: "b", F: "b"}) if not (p.lhs == "F1" and p.op == "=~")]
            return Model(TRAITS, ("F1", "F2"), [*fixed, *rest, *residuals(TRAITS), covariance])
        labelled = scaled(TWO, True, {A: "a", B: "a", E: "b", F: "b"})
        return Model(TRAITS, ("F1", "F2"), [*labelled, *residuals(TRAITS), covariance])
    if name == "h2_equal_resid":
        own = [replace(p, label="r" if p.lhs in (A, B) else None) for p in residuals(TRAITS)]
        return Model(TRAITS, ("F1", "F2"), [*scaled(TWO, std_lv), *own, covariance])
    if name == "i_subset":
        names = (A, B, C, E)
        return Model(names, ("F1",), [*scaled({"F1": names}, std_lv), *residuals(names)])
    assert name == "j_saturated_cor"
    latent = {"lA": A, "lB": B, "lC": C}
    paths = [Arrow(f, "=~", x) for f, x in latent.items()] + [Arrow(f, "~~", f, fixed=1.0) for f in latent]
    return Model((A, B, C), tuple(latent), [*paths, Arrow("lA", "~~", "lB"), Arrow("lA", "~~", "lC"), Arrow("lB", "~~", "lC")])


MODELS = ("a_onefactor", "b_twofactor", "b2_twofactor_NA", "d1_secondorder", "d2_bifactor_s1", "e3_latent_regression",
          "f1_genmultreg", "g1_heywood", "h1_equal_loadings", "h2_equal_resid", "i_subset", "j_saturated_cor")
EQUALITY = ("h1_equal_loadings", "h2_equal_resid")


def aligned(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Their rows for our free parameters, in our order, whichever way round a covariance is written."""
    key = [(o, *(sorted((a, b)) if o == "~~" else (a, b))) for a, o, b in theirs[["lhs", "op", "rhs"]].itertuples(index=False)]
    indexed = theirs.set_axis(pd.MultiIndex.from_tuples(key))
    free = ours[ours["free"]]
    wanted = [(o, *(sorted((a, b)) if o == "~~" else (a, b))) for a, o, b in free[["lhs", "op", "rhs"]].itertuples(index=False)]
    return indexed.loc[wanted]


# --- commonfactor() ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_common_factor_is_that_of_genomicsem(cov, answers, estimation):
    fit = common_factor(cov, estimation)
    wanted = table(answers / "commonfactor" / f"commonfactor_{estimation}.results.tsv")
    ours = fit.parameters[fit.parameters["free"]]
    assert ours[["lhs", "op", "rhs"]].to_numpy().tolist() == wanted[["lhs", "op", "rhs"]].to_numpy().tolist()
    for column, reference in (("est", "Unstandardized_Estimate"), ("se", "Unstandardized_SE"),
                              ("std_est", "Standardized_Est"), ("std_se", "Standardized_SE")):
        np.testing.assert_allclose(ours[column], wanted[reference], rtol=REFERENCE_RTOL, err_msg=column)
    # -log10 p grows as (est / se) squared: twice the errors of both.
    np.testing.assert_allclose(ours["neglog10p"], -np.log10(wanted["p_value"].astype(float)), rtol=4 * REFERENCE_RTOL)
    indices = table(answers / "commonfactor" / f"commonfactor_{estimation}.modelfit.tsv").iloc[0]
    for name, reference in INDICES.items():
        np.testing.assert_allclose(fit.indices[name], indices[reference], rtol=REFERENCE_RTOL, err_msg=name)
    np.testing.assert_allclose(fit.indices["neglog10p"], -np.log10(indices["p_chisq"]), rtol=REFERENCE_RTOL)
    assert fit.status == "ok"
    assert fit.gradient_norm <= 1e-10


@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
def test_marker_identification_is_the_same_model(cov, answers, estimation):
    unit, marker = common_factor(cov, estimation), common_factor(cov, estimation, identification="marker")
    np.testing.assert_allclose(marker.implied, unit.implied, rtol=1e-8)
    assert marker.indices["chisq"] == pytest.approx(unit.indices["chisq"], rel=1e-9)
    tight = table(answers / "usermodel" / f"a_onefactor__{estimation}__stdlvFALSE.tight.tsv")
    wanted = aligned(marker.parameters, tight)
    free = marker.parameters["free"]
    np.testing.assert_allclose(marker.parameters.loc[free, "est"], wanted["est"], rtol=TIGHT_RTOL)
    np.testing.assert_allclose(marker.parameters.loc[free, "se"], wanted["SE"], rtol=TIGHT_RTOL)


# --- every model that paths without defined parameters can express -----------------------------------------------------
@pytest.mark.parametrize("std_lv", [False, True], ids=["marker", "std.lv"])
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
@pytest.mark.parametrize("name", MODELS)
def test_model_is_at_its_tight_optimum(cov, answers, name, estimation, std_lv):
    stem = answers / "usermodel" / f"{name}__{estimation}__stdlv{str(std_lv).upper()}"
    fit = fit_model(cov, build(name, std_lv), estimation)
    wanted = aligned(fit.parameters, table(stem.with_name(stem.name + ".tight.tsv")))
    ours = fit.parameters[fit.parameters["free"]]
    # A factor's direction is arbitrary where no loading is fixed.
    np.testing.assert_allclose(np.abs(ours["est"]), np.abs(wanted["est"]), rtol=TIGHT_RTOL, atol=1e-9)
    if name not in EQUALITY:
        np.testing.assert_allclose(ours["se"], wanted["SE"], rtol=TIGHT_RTOL)
    indices = table(stem.with_name(stem.name + ".modelfit.tsv")).iloc[0]
    assert fit.indices["df"] == indices["df"]
    if indices["df"] > 0:
        for index, reference in INDICES.items():
            if index == "cfi" and indices["CFI"] < 0:
                assert fit.indices["cfi"] == 0  # the reference lets CFI leave 0..1
            else:
                np.testing.assert_allclose(fit.indices[index], indices[reference], rtol=REFERENCE_RTOL, err_msg=index)


@pytest.mark.parametrize("std_lv", [False, True], ids=["marker", "std.lv"])
@pytest.mark.parametrize("name", ["a_onefactor", "b_twofactor", "d2_bifactor_s1", "e3_latent_regression", "h2_equal_resid"])
def test_standardised_columns(cov, answers, name, std_lv):
    stem = answers / "usermodel" / f"{name}__DWLS__stdlv{str(std_lv).upper()}.results.tsv"
    fit = fit_model(cov, build(name, std_lv), "DWLS")
    wanted = aligned(fit.parameters, table(stem))
    ours = fit.parameters[fit.parameters["free"]]
    rtol = 5 * REFERENCE_RTOL  # usermodel's own looseness; the unstandardised optimum is held to 1e-6 above
    np.testing.assert_allclose(np.abs(ours["std_est"]), np.abs(wanted["STD_Genotype"].astype(float)), rtol=rtol)
    # The reference repeats STD_Genotype for factor variances; completely standardised, they are 1 (or 1 - R2), as in ours.
    own = ((ours["lhs"] == ours["rhs"]) & ours["lhs"].isin(fit.model.latent)).to_numpy()
    np.testing.assert_allclose(np.abs(ours["std_all"])[~own], np.abs(wanted["STD_All"].astype(float))[~own], rtol=rtol)
    assert ((ours["std_all"][own] > 0) & (ours["std_all"][own] <= 1 + 1e-12)).all()
    if name not in EQUALITY:
        np.testing.assert_allclose(ours["std_se"], wanted["STD_Genotype_SE"].astype(float), rtol=rtol)


@pytest.mark.parametrize("name", EQUALITY)
def test_reference_forgets_equality_constraints_in_its_standard_errors(cov, answers, name):
    """With labels taken off at the constrained estimate, the sandwich gives the reference's SEs; ours respect the constraint."""
    fit = fit_model(cov, build(name, True), "DWLS")
    loose = replace(fit.model, paths=tuple(replace(p, label=None) for p in fit.model.paths))
    theta = fit.parameters.loc[loose.path_index >= 0, "est"].to_numpy()
    part = sandwich(loose.jacobian(theta), moment_weights(fit.implied.to_numpy(), cov.V, "DWLS"), cov.V)
    tight = aligned(fit.parameters, table(answers / "usermodel" / f"{name}__DWLS__stdlvTRUE.tight.tsv"))
    np.testing.assert_allclose(np.sqrt(np.diag(part)), tight["SE"], rtol=TIGHT_RTOL)
    labelled = fit.parameters[fit.parameters["label"] != ""]
    assert (labelled.groupby("label")["se"].agg(np.ptp) == 0).all()


# --- smoothing -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["S", "V"])
def test_near_pd_is_that_of_the_matrix_package(answers, name):
    given, wanted = (
        table(answers / "gwas" / f"nonPD_{name}{end}.tsv").select_dtypes("number").to_numpy() for end in ("", "_nearPD")
    )
    result = near_pd(given)
    np.testing.assert_allclose(result.matrix, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())
    assert result.largest_change == pytest.approx(np.abs(wanted - given).max(), rel=1e-9)
    assert result.converged
