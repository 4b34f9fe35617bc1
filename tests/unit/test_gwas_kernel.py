"""The compiled fits against a slow twin: dense matrices, complex-step Jacobians, the formulas as they are printed."""

from __future__ import annotations

import pickle

import numba
import numpy as np
import pytest

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas import CommonFactorGwas, fit_snps, jit
from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech

SNP_SE = 0.0005


def structure(k: int, seed: int, noise: float = 0.02) -> CovStruct:
    """A covariance structure near a common factor, with overlap and correlated sampling errors."""
    rng = np.random.default_rng(seed)
    loadings = rng.uniform(0.3, 0.6, k)
    loadings[1] *= -1
    S = np.outer(loadings, loadings) + np.diag(rng.uniform(0.1, 0.3, k))
    wobble = rng.normal(0, noise, (k, k))
    S += (wobble + wobble.T) / 2 * (1 - np.eye(k))
    size = k * (k + 1) // 2
    root = rng.normal(0, 1, (size, size)) * 0.002 + np.eye(size) * 0.008
    overlap = rng.uniform(-0.1, 0.2, (k, k))
    I = (overlap + overlap.T) / 2
    np.fill_diagonal(I, rng.uniform(0.95, 1.1, k))
    return CovStruct.from_matrices(S, root @ root.T, I, [f"T{i}" for i in range(k)])


def snps(k: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    se = rng.uniform(0.003, 0.009, (n, k))
    return rng.normal(0, 1, (n, k)) * 3 * se, se, rng.uniform(0.02, 0.5, n)


class Twin:
    """One SNP's model, slowly."""

    def __init__(self, cov: CovStruct, gc: str, beta: np.ndarray, se: np.ndarray, maf: float) -> None:
        k = self.k = len(beta)
        self.v = v = 2 * maf * (1 - maf)
        self.S = np.block([[np.array([[v]]), v * beta[None, :]], [v * beta[:, None], cov.S]])
        I = cov.I.copy()
        np.fill_diagonal(I, np.maximum(1, np.diag(I)))
        d = np.diag(I)
        g = {"standard": np.sqrt(d), "conserv": d, "none": np.ones(k)}[gc]
        V_snp = I * np.outer(g * se, g * se) * v**2
        np.fill_diagonal(V_snp, (se * g * v) ** 2)
        self.V = np.zeros((1 + k + len(cov.V),) * 2)
        self.V[0, 0] = SNP_SE**2
        self.V[1 : k + 1, 1 : k + 1] = V_snp
        self.V[k + 1 :, k + 1 :] = cov.V

    def sigma(self, loadings, b, psi, theta, phi, eta) -> np.ndarray:
        tau = loadings * b + eta
        k = self.k
        out = np.empty((k + 1, k + 1), dtype=np.result_type(tau, psi, theta, phi))
        out[0, 0] = phi
        out[0, 1:] = out[1:, 0] = tau * phi
        out[1:, 1:] = np.outer(tau, tau) * phi + np.outer(loadings, loadings) * psi + np.diag(theta)
        return out

    def step1(self, p: np.ndarray, std_lv: bool, free_phi: bool) -> np.ndarray:
        k = self.k
        loadings = p[:k] if std_lv else np.concatenate([[1.0], p[1:k]])
        psi = 1.0 if std_lv else p[0]
        return self.sigma(loadings, p[k], psi, p[k + 1 : 2 * k + 1], p[2 * k + 1] if free_phi else self.v, np.zeros(k))

    @staticmethod
    def jacobian(f, p: np.ndarray) -> np.ndarray:
        columns = []
        for i in range(p.size):
            q = p.astype(complex)
            q[i] += 1e-30j
            columns.append(vech_any(f(q)).imag / 1e-30)
        return np.array(columns).T

    def weights(self, sigma: np.ndarray, ml: bool) -> np.ndarray:
        if not ml:
            return np.diag(1 / np.diag(self.V))
        inverse = np.linalg.solve(sigma, np.eye(len(sigma)))
        size = len(self.V)
        basis = [unvech(np.eye(size)[i]) for i in range(size)]
        return 0.5 * np.array([[np.trace(inverse @ a @ inverse @ b) for b in basis] for a in basis])

    def optimum(self, f, p: np.ndarray, ml: bool) -> np.ndarray:
        for _ in range(2000):
            sigma = f(p)
            D, W = self.jacobian(f, p), self.weights(sigma, ml)
            step = np.linalg.solve(D.T @ W @ D, D.T @ W @ (vech(self.S) - vech(sigma)))
            p = p + step
            if np.max(np.abs(step) / (1e-3 + np.abs(p))) < 1e-14:
                return p
        raise AssertionError("the twin did not converge")

    def sandwich(self, D: np.ndarray, W: np.ndarray) -> np.ndarray:
        influence = np.linalg.solve(D.T @ W @ D, D.T @ W)
        return influence @ self.V @ influence.T

    def fit(self, ml: bool, std_lv: bool) -> dict[str, float]:
        k = self.k
        cov = self.S[1:, 1:]
        values, vectors = np.linalg.eigh(cov - np.diag(np.diag(cov)) * 0.6)
        a = vectors[:, -1] * np.sqrt(values[-1])
        a *= np.sign(a[0])
        theta = np.diag(cov) - a * a
        loadings = a if std_lv else a / a[0]
        start = np.concatenate([[1.0 if std_lv else a[0] ** 2], loadings[1:], [0.001], theta, [] if ml else [self.v]])
        if std_lv:
            start[0] = a[0]

        def f(p: np.ndarray) -> np.ndarray:
            return self.step1(p, std_lv, not ml)

        p = self.optimum(f, start, ml)
        W = self.weights(f(p), ml)
        if ml:
            W[0, :] = W[:, 0] = 0
        residual = vech(self.S) - vech(f(p))
        se = np.sqrt(self.sandwich(self.jacobian(f, p), W)[k, k])
        loadings = p[:k] if std_lv else np.concatenate([[1.0], p[1:k]])

        def direct(q: np.ndarray) -> np.ndarray:
            phi = self.v if ml else p[2 * k + 1]
            return self.sigma(loadings, p[k], 1.0 if std_lv else p[0], q[k:], phi, q[:k])

        q = self.optimum(direct, np.concatenate([self.S[0, 1:] / self.v - loadings * p[k], p[k + 1 : 2 * k + 1]]), ml)
        V_eta = self.sandwich(self.jacobian(direct, q), self.weights(direct(q), ml))[:k, :k]
        return {
            "est": p[k],
            "se": se,
            "chisq": residual @ np.linalg.solve(self.V, residual),
            "q_snp": q[:k] @ np.linalg.solve(V_eta, q[:k]),
        }


def vech_any(a: np.ndarray) -> np.ndarray:
    columns, rows = np.triu_indices(a.shape[0])
    return a[rows, columns]


@pytest.mark.parametrize("std_lv", [False, True])
@pytest.mark.parametrize("estimation", ["DWLS", "ML"])
@pytest.mark.parametrize(("k", "gc"), [(3, "standard"), (4, "conserv"), (6, "none")])
def test_dense_twin_agrees(k: int, gc: str, estimation: str, std_lv: bool) -> None:
    cov = structure(k, seed=k)
    beta, se, maf = snps(k, 3, seed=10 + k)
    got = fit_snps(cov, beta, se, maf, gc=gc, estimation=estimation, std_lv=std_lv)
    assert set(got["status"]) == {"ok"}
    for i in range(len(maf)):
        want = Twin(cov, gc, beta[i], se[i], maf[i]).fit(estimation == "ML", std_lv)
        # estimates in units of their standard error; 1e-9 leaves room for the twin's own rounding
        assert abs(got["est"][i] - want["est"]) < 1e-9 * want["se"]
        for name in ("se", "q_snp"):
            assert got[name][i] == pytest.approx(want[name], rel=1e-8)
        assert got["chisq"][i] == pytest.approx(want["chisq"], rel=1e-7, abs=1e-9)


def test_df_aic_and_p_values_are_those_of_the_statistics() -> None:
    from scipy import stats

    cov = structure(5, seed=1)
    got = fit_snps(cov, *snps(5, 4, seed=2))
    assert set(got["chisq_df"]) == {21 - 12} and set(got["q_snp_df"]) == {4}
    assert np.allclose(got["aic"], got["chisq"] + 2 * 12)
    assert np.allclose(got["z"], got["est"] / got["se"])
    assert np.allclose(got["p"], 2 * stats.norm.sf(np.abs(got["z"])))
    assert np.allclose(got["q_snp_p"], stats.chi2.sf(got["q_snp"], 4))
    assert np.allclose(got["chisq_p"], stats.chi2.sf(got["chisq"], 9))
    assert np.allclose(got["neglog10p"], -np.log10(got["p"]))
    assert np.allclose(got["q_snp_neglog10p"], -np.log10(got["q_snp_p"]))


def test_three_traits_without_a_snp_effect_fit_their_covariances_exactly() -> None:
    cov = structure(3, seed=3)
    got = fit_snps(cov, np.zeros((1, 3)), np.full((1, 3), 0.01), [0.3])
    assert got["chisq_df"][0] == 2
    assert got["chisq"][0] == pytest.approx(0, abs=1e-12)


def test_bad_snps_are_rows_with_a_status_and_do_not_touch_their_neighbours() -> None:
    cov = structure(3, seed=4)
    beta, se, maf = snps(3, 9, seed=5)
    good = fit_snps(cov, beta, se, maf)
    beta[1, 2] = np.nan
    se[2, 0] = np.inf
    se[3, 1] = 0.0
    se[4, 2] = -0.01
    maf[5] = 0.0
    maf[6] = np.nan
    maf[7] = 1.0
    got = fit_snps(cov, beta, se, maf)
    assert got["status"].tolist() == ["ok", "missing", "missing", "singular", "singular", "singular", "missing", "singular", "ok"]
    assert "T2" in got["message"][1] and "T1" in got["message"][3] and "MAF" in got["message"][5]
    assert got["message"][0] is None
    bad = slice(1, 8)
    assert got.loc[1:7, ["est", "se", "z", "p", "chisq", "aic", "q_snp", "q_snp_p"]].isna().all(axis=None), got[bad]
    for row in (0, 8):
        assert got.loc[row].equals(good.loc[row])


def test_extreme_snps_never_raise() -> None:
    cov = structure(3, seed=6)
    beta, se, maf = snps(3, 6, seed=7)
    beta[0] = 1e6
    beta[1] = [5.0, -5.0, 5.0]
    se[2] = 1e-12
    se[3] = 1e12
    maf[4] = 1e-12
    beta[5] = 1e300
    got = fit_snps(cov, beta, se, maf)
    assert set(got["status"]) <= {"ok", "smoothed", "not_converged", "heywood", "not_pd", "singular", "missing"}
    fitted = got["est"].notna()
    assert got.loc[fitted, ["se", "p", "q_snp"]].notna().all(axis=None)


def test_heywood_keeps_its_estimate_and_names_the_trait() -> None:
    S = np.array([[0.20, 0.21, 0.22], [0.21, 0.30, 0.14], [0.22, 0.14, 0.40]])
    cov = CovStruct.from_matrices(S, np.eye(6) * 1e-5, np.eye(3), ["A", "B", "C"])
    assert np.linalg.eigvalsh(S)[0] > 0
    got = fit_snps(cov, [[0.01, 0.02, 0.0]], [[0.005] * 3], [0.3])
    assert got["status"][0] == "heywood" and "A" in got["message"][0]
    assert np.isfinite(got["est"][0]) and np.isfinite(got["se"][0])


def test_smoothed_snp_among_ordinary_ones() -> None:
    cov = structure(3, seed=8)
    beta, se, maf = snps(3, 3, seed=9)
    beta[1] *= 60  # more variance than the traits have
    got = fit_snps(cov, beta, se, maf)
    assert got["status"][0] == got["status"][2] == "ok"
    assert got["status"][1] in {"smoothed", "not_converged"} and "S_full smoothed" in got["message"][1]
    assert got["z_smooth"][0] == got["z_smooth"][2] == 0.0 < got["z_smooth"][1]
    assert "z_smooth" not in fit_snps(cov, beta, se, maf, smooth_check=False)


def test_prepared_gwas_survives_pickling() -> None:
    cov = structure(4, seed=11)
    batch = snps(4, 5, seed=12)
    prepared = CommonFactorGwas.prepare(cov)
    again = pickle.loads(pickle.dumps(prepared))
    first, second = prepared.fit(*batch), again.fit(*batch)
    assert all(np.array_equal(first[c], second[c]) for c in first)
    assert len(pickle.dumps(prepared)) < 50_000


def test_empty_batch_has_every_column() -> None:
    got = fit_snps(structure(3, seed=1), np.empty((0, 3)), np.empty((0, 3)), np.empty(0))
    assert len(got) == 0 and {"lhs", "est", "status", "z_smooth"} <= set(got.columns)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gc": "loud"}, "gc is 'loud'"),
        ({"estimation": "WLS"}, "estimation is 'WLS'"),
        ({"snp_se": 0.0}, "snp_se is 0.0"),
        ({"model": "F1 =~ T0 + T1 + T2"}, "no path from SNP"),
        ({"sub": "F2~SNP"}, "F2~SNP"),
        ({"maf": [0.1, 0.2]}, "must be"),
        ({"beta": [[0.1, 0.2]]}, "must be"),
    ],
)
def test_wrong_calls_say_what_is_wrong(change: dict[str, object], said: str) -> None:
    call = {"beta": [[0.0] * 3], "se": [[0.01] * 3], "maf": [0.2], **change}
    with pytest.raises(ModelError, match=said):
        fit_snps(structure(3, seed=1), **call)


def test_two_traits_are_refused() -> None:
    with pytest.raises(ModelError, match="at least 3 traits"):
        CommonFactorGwas.prepare(structure(3, seed=1).subset(["T0", "T1"]))


def test_sub_is_read_without_regard_to_spaces() -> None:
    assert len(fit_snps(structure(3, seed=1), [[0.0] * 3], [[0.01] * 3], [0.2], sub="F1 ~ SNP")) == 1


def test_kernels_compile_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def no_locator(**options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available for file")
        return real(**options)

    monkeypatch.setattr(numba, "njit", no_locator)
    assert jit.jit(lambda x: x + 1)(1) == 2
