"""Slow: estimates drawn around a true S behave as their standard errors and tests say, for three models.

S* ~ N(S, V) with a V like LDSC's: correlated elements, standard errors of different sizes. Printed with ``-s``.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech
from gsem_spark.methods.sem import Model, modification_indices, nested_test, residual_test, user_model
from gsem_spark.methods.sem.inference import moment_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

DRAWS = 1_000
TWO = "F =~ a + b + c\nG =~ d + e + f"
MODELS = {
    "two factors, DWLS": (TWO, "DWLS", {}),
    "mediation with a cross-loading, DWLS": (
        "F =~ a + b + c + d\nG =~ d + e + f\nG ~ p*F\ny ~ q*G + r*F\nind := p*q\ntotal := ind + r", "DWLS", {}),
    "equal loadings by ==, ML": ("F =~ a + l*b + m*c\nG =~ d + e + f\nl == m\nb ~~ u*b\nc ~~ v*c\nu > -1", "ML", {"equal": True}),
}


def truth_of(model: Model, equal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Parameters in the region that genetic studies meet, and the S that they imply."""
    theta = np.zeros(model.n_free)
    size = {"=~": 0.9, "~": 0.35, "~~": 0.12}
    for n, (path, i) in enumerate(zip(model.paths, model.path_index.tolist(), strict=True)):
        if i >= 0:
            own = path.op == "~~" and path.lhs == path.rhs
            theta[i] = (0.4 if own else size[path.op]) * (1.0 if equal and path.op == "=~" else 1.0 + 0.15 * np.sin(n))
    return theta, model.implied(theta)


def sampling_covariance(S: np.ndarray, seed: int) -> np.ndarray:
    """Normal-theory covariances of S's elements at N = 2500, roughened so that no estimator is efficient."""
    rows, columns = np.triu_indices(len(S))[::-1]
    base = S[np.ix_(rows, rows)] * S[np.ix_(columns, columns)] + S[np.ix_(rows, columns)] * S[np.ix_(columns, rows)]
    rough = np.exp(np.random.default_rng(seed).normal(scale=0.25, size=len(rows)))
    return base / 2500 * np.outer(rough, rough)


def expected_chisq(fit, V: np.ndarray) -> float:
    """Mean of the model chi-square where the model holds: df, and more where the weights are not V's inverse."""
    directions = fit.model.restrictions.null_space(fit.theta)
    D = fit.model.jacobian(fit.theta) @ directions
    W = moment_weights(fit.implied.to_numpy(), V, fit.estimation)
    left = np.eye(len(V)) - D @ np.linalg.solve(D.T @ W @ D, D.T @ W)
    return float(np.trace(left.T @ np.linalg.solve(V, left @ V)))


@pytest.mark.parametrize("name", MODELS)
def test_intervals_cover_and_the_chi_square_has_its_mean(name):
    text, estimation, settings = MODELS[name]
    model = Model.parse(text)
    theta, S = truth_of(model, settings.get("equal", False))
    V = sampling_covariance(S, seed=4)
    root, rng = np.linalg.cholesky(V), np.random.default_rng(17)
    k, names = model.k, list(model.observed)
    exact = user_model(CovStruct.from_matrices(S, V, np.eye(k), names), model, estimation)
    np.testing.assert_allclose(exact.theta, theta, atol=1e-7)
    wanted = exact.parameters["est"].to_numpy()
    std_wanted = exact.parameters["std_all"].to_numpy()
    inside, std_inside, chisq, cleared, improper = [], [], [], [], 0
    for _ in range(DRAWS):
        cov = CovStruct.from_matrices(unvech(vech(S) + root @ rng.normal(size=len(V))), V, np.eye(k), names)
        fit = user_model(cov, model, estimation)
        improper += fit.status not in ("ok", "smoothed")
        table = fit.parameters
        inside.append(np.abs(table["est"] - wanted) <= 1.959964 * table["se"])
        std_inside.append(np.abs(table["std_all"] - std_wanted) <= 1.959964 * table["std_all_se"])
        chisq.append(fit.indices["chisq"])
        cleared.append(residual_test(fit).chisq)
    shown = exact.parameters["se"].notna().to_numpy()
    std_shown = exact.parameters["std_all_se"].notna().to_numpy()
    cover, std_cover = np.mean(inside, axis=0)[shown], np.mean(std_inside, axis=0)[std_shown]
    mean, df = float(np.mean(chisq)), exact.indices["df"]
    right = expected_chisq(exact, V)
    rejected, tested = (np.mean(np.array(x) > stats.chi2.isf(0.05, df)) for x in (chisq, cleared))
    print(
        f"\n{name}: {DRAWS} draws, {improper} improper\n"
        f"  coverage of {shown.sum()} intervals {cover.min():.3f} to {cover.max():.3f}, mean {cover.mean():.3f}; standardised "
        f"{std_cover.min():.3f} to {std_cover.max():.3f}, mean {std_cover.mean():.3f}\n"
        f"  mean chi-square {mean:.2f}, expected {right:.2f}, df {df:.0f}; rejected at .05: {rejected:.3f}\n"
        f"  mean residual chi-square {np.mean(cleared):.2f}; rejected at .05: {tested:.3f}"
    )
    for row, share in zip(exact.parameters[shown].itertuples(), cover, strict=True):
        print(f"    {row.lhs + ' ' + row.op + ' ' + row.rhs:<14} {row.est:8.3f} {row.se:7.4f} {share:7.3f}")
    assert improper <= DRAWS // 100
    assert ((cover >= 0.93) & (cover <= 0.97)).all()
    assert abs(mean - right) < 4 * np.std(chisq) / np.sqrt(DRAWS)
    assert abs(np.mean(cleared) - df) < 4 * np.sqrt(2 * df / DRAWS)
    assert 0.03 < tested < 0.075
    assert ((std_cover >= 0.92) & (std_cover <= 0.98)).all()


# --- tests of single restrictions -----------------------------------------------------------------------------------------------
NAMES = ("a", "b", "c", "d", "e", "f")


def two_factors() -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros((6, 2))
    x[:3, 0], x[3:, 1] = [0.8, 0.7, 0.6], [0.7, 0.8, 0.6]
    S = x @ np.array([[1, 0.5], [0.5, 1]]) @ x.T
    np.fill_diagonal(S, 1.0)
    return S, sampling_covariance(S, seed=2)


def test_the_index_has_its_distribution_where_the_path_is_zero():
    """The true V makes it a chi-square with 1 df; with W's inverse in place of V it would be off by the misfit of the two."""
    model = Model.parse(TWO, std_lv=True)
    truth, V = two_factors()
    cov = CovStruct.from_matrices(truth, V, np.eye(6), NAMES)
    rng = np.random.default_rng(3)
    root = np.linalg.cholesky(cov.V)
    draws = []
    for _ in range(600):
        S = unvech(vech(truth) + root @ rng.normal(size=21))
        fit = user_model(CovStruct.from_matrices(S, cov.V, cov.I, NAMES), model)
        draws.append(modification_indices(fit).set_index(["lhs", "op", "rhs"])["mi"])
    for path in (("F", "=~", "d"), ("a", "~~", "f"), ("b", "~~", "e")):
        values = np.array([d[path] for d in draws])
        assert stats.kstest(values, stats.chi2(1).cdf).pvalue > 1e-3, path
        assert 0.75 < values.mean() < 1.3


def test_nested_test_of_one_restriction_is_exact():
    """One restriction: the scaled difference has the 1-df distribution under the restriction; rejects at its level."""
    truth, V = two_factors()
    cov = CovStruct.from_matrices(truth, V, np.eye(6), NAMES)
    rng = np.random.default_rng(8)
    root = np.linalg.cholesky(cov.V)
    small, large = Model.parse(TWO, std_lv=True), Model.parse(TWO + "\na ~~ f", std_lv=True)
    values = []
    for _ in range(400):
        here = CovStruct.from_matrices(unvech(vech(truth) + root @ rng.normal(size=21)), cov.V, cov.I, NAMES)
        values.append(nested_test(user_model(here, small), user_model(here, large)).chisq)
    assert stats.kstest(values, stats.chi2(1).cdf).pvalue > 1e-3


