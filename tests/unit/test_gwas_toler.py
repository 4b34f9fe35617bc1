"""The tolerance of matrix inversion in per-SNP models, by its definition; settings that came after runs had been made."""

from __future__ import annotations

import numpy as np
import pytest

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas import CommonFactorGwas, UserModelGwas, fit_snps
from gsem_spark.methods.gwas.wald import NO_CONTRAST, wald
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.gwas.common_factor import GwasConfig, GwasStep
from gsem_spark.steps.gwas.user_gwas import model_step

TRAITS = ("A", "B", "C", "D")
ONE = "F1 =~ A + B + C\nF1 ~ SNP"
SNPS = np.array([[0.02, 0.01, 0.03, 0.01], [-0.01, 0.02, 0.01, 0.0]]), np.full((2, 4), 0.004), np.array([0.3, 0.1])
NO_FIT = "normal equations are singular at the optimum: no standard error"


def structure(V: np.ndarray | None = None, overlap: float = 0.1) -> CovStruct:
    loadings = np.array([0.5, 0.4, 0.6, 0.3])
    S = np.outer(loadings, loadings) + np.diag([0.2, 0.1, 0.15, 0.1])
    I = np.full((4, 4), overlap) + np.eye(4) * (1.02 - overlap)
    return CovStruct.from_matrices(S, np.eye(10) * 1e-4 if V is None else V, I, TRAITS)


def shares(matrix: np.ndarray) -> np.ndarray:
    return np.diag(np.linalg.cholesky(matrix)) ** 2 / np.diag(matrix)


@pytest.mark.parametrize("model", [None, ONE])
def test_a_v_below_the_tolerance_is_refused_whatever_its_scale(model: str | None) -> None:
    V = np.eye(10) * np.geomspace(1e-12, 1e-2, 10)  # a condition number of 1e10 that is a matter of units
    fit_snps(structure(V), *SNPS, model=model, toler=0.5)
    V[9, 8] = V[8, 9] = np.sqrt(V[8, 8] * V[9, 9] * (1 - 1e-4))  # 1e-4 of the last moment's variance is its own
    cov = structure(V)
    assert len(fit_snps(cov, *SNPS, model=model, toler=0.9e-4)) == len(fit_snps(cov, *SNPS, model=model)) == 2
    if model is None:
        with pytest.raises(ModelError, match=r"V \(10, 10\) cannot be inverted at toler = 0.00011: .* 0.0001 of a variance"):
            fit_snps(cov, *SNPS, toler=1.1e-4)
    with pytest.raises(ModelError, match=r"intercepts' correlations \(4, 4\) cannot be inverted"):
        wald(structure(overlap=0.9), *SNPS, toler=0.5)


def test_a_snp_s_normal_equations_below_the_tolerance_have_no_standard_error() -> None:
    cov = structure()
    free = UserModelGwas.prepare(cov, ONE, "all", fix_measurement=False)
    t, model = free.parts.tape, free.model
    assert t is not None
    columns = free.fit(*SNPS)
    place = np.full(t.q, -1)
    known = (t.parameter >= 0) & (model.path_index >= 0)
    place[t.parameter[known]] = model.path_index[known]
    least = []
    for row, (se, maf) in enumerate(zip(SNPS[1], SNPS[2], strict=True)):
        theta = np.empty(model.n_free)
        theta[model.path_index[model.path_index >= 0]] = columns["est"].reshape(2, -1)[row][model.path_index >= 0]
        J = model.jacobian(theta)[: , place]
        i, j = np.tril_indices(model.k)
        order = np.lexsort((i, j))  # vech: column by column
        cells = {(int(r), int(c)): n for n, (r, c) in enumerate(zip(i[order], j[order], strict=True))}
        rows = [cells[max(a, b), min(a, b)] for a, b in zip(t.moment_row, t.moment_column, strict=True)][: t.searched]
        v = 2 * maf * (1 - maf)
        w = np.full(t.searched, 1e4)
        w[0], w[1:4] = 1 / free.snp_se**2, 1 / (se[:3] * free.gc_factors * v) ** 2
        least.append(shares(J[rows].T @ (w[:, None] * J[rows])).min())
    assert 1e-6 < min(least) < max(least) < 1
    for toler, want in ((0.99 * min(least), ["ok", "ok"]), (1.01 * max(least), ["singular", "singular"])):
        got = fit_snps(cov, *SNPS, ONE, fix_measurement=False, toler=toler)
        assert got["status"].tolist() == want and set(got["message"]) <= {None, NO_FIT}
        assert got["est"].isna().all() == (want[0] == "singular")


@pytest.mark.parametrize("given", [
    {"model": None}, {"model": None, "estimation": "ML"}, {"model": ONE, "fix_measurement": False},
    {"model": ONE, "estimation": "ML"}, {"model": f"{ONE}\nA ~ SNP"},
])  # fmt: skip
def test_every_route_knows_it(given: dict[str, object]) -> None:
    cov = structure(overlap=0.0)
    usual, small, large = (fit_snps(cov, *SNPS, toler=toler, **given) for toler in (None, 1e-30, 0.999))
    assert usual.equals(small) and set(usual["status"]) == {"ok"}
    assert set(large["status"]) == {"singular"} and large["est"].isna().all()


def test_a_contrast_whose_values_hang_together_has_no_test() -> None:
    L = {"two": [[1, 0, 0, 0], [1, 0.01, 0, 0]], "one": [1, -1, 0, 0]}
    cov = structure(overlap=0.0)
    least = 1e-4 / (1 + 1e-4)  # of the second value's variance, given the first
    fine, none = (wald(cov, *SNPS, contrast=L, toler=toler) for toler in (0.99 * least, 1.01 * least))
    assert set(fine["status"]) == {"ok"} and fine["chisq"].notna().all()
    assert set(none["status"]) == {"singular"} and set(none["message"]) == {NO_CONTRAST}
    assert none.loc[none["test"] == "two", "chisq"].isna().all()
    assert none.loc[none["test"] == "one", "chisq"].equals(fine.loc[fine["test"] == "one", "chisq"])


@pytest.mark.parametrize("toler", [-1e-9, 1.0, np.nan])
def test_a_tolerance_that_is_none(toler: float) -> None:
    with pytest.raises(ModelError, match=r"toler is .*; it must be at least 0 and below 1"):
        CommonFactorGwas.prepare(structure(), toler=toler)


def test_runs_made_before_are_the_same_runs() -> None:
    """Identities of runs must not change because a setting was added: workspaces would compute everything again."""
    cov = structure()
    factor, model = GwasStep(GwasConfig(traits=TRAITS), cov), model_step(cov, ONE)
    for step in (factor, model):
        assert not {"toler", "smooth_check"} & set(step.result_config())
    asked = model_step(cov, ONE, toler=1e-9, smooth_check=False).result_config()
    assert (asked["toler"], asked["smooth_check"]) == (1e-9, False)
