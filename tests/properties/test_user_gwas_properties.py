"""What must hold for any SNP under any model: symmetries, and numbers that do not depend on company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.gwas import RESULT_COLUMNS, UserModelGwas
from gsem_spark.methods.ldsc.covstruct import CovStruct

pytestmark = pytest.mark.slow  # minutes beside the rest; the contract suite and the verbs' tests stay in the default lane

K = 6
TEXT = "F1 =~ T0 + T1 + T2\nF2 =~ T3 + T4 + T5\nF1 ~~ F2\nF1 ~ SNP\nF2 ~ SNP"
ONE = "F1 =~ T0 + T1 + T2 + T3 + T4 + T5\nF1 ~ SNP"
SETTINGS = {
    "analytic": (ONE, {}),
    "reduced": (TEXT, {}),
    "iterative": (TEXT, {"fix_measurement": False}),
    "everything": (TEXT + "\nT0 ~ d*SNP\ntwice := 2*d", {"fix_measurement": False, "sub": "all"}),
}


def structure() -> CovStruct:
    rng = np.random.default_rng(3)
    first, second = np.r_[rng.uniform(0.4, 0.6, 3), np.zeros(3)], np.r_[np.zeros(3), rng.uniform(0.4, 0.6, 3)]
    S = np.outer(first, first) + np.outer(second, second) + 0.5 * (np.outer(first, second) + np.outer(second, first))
    wobble = rng.normal(0, 0.003, (K, K))
    S += np.diag(rng.uniform(0.1, 0.2, K)) + (wobble + wobble.T) * (1 - np.eye(K))
    size = K * (K + 1) // 2
    root = rng.normal(0, 0.001, (size, size)) + np.eye(size) * 0.007
    I = np.full((K, K), 0.08) + np.diag(rng.uniform(0.9, 1.02, K))
    return CovStruct.from_matrices(S, root @ root.T, I, [f"T{i}" for i in range(K)])


@st.composite
def scans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 10))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.floats(0.1, 6))
    se = rng.uniform(0.002, 0.02, (n, K))
    return rng.normal(0, size, (n, K)) * se, se, rng.uniform(0.01, 0.5, n)


@pytest.fixture(scope="module", params=SETTINGS)
def gwas(request: pytest.FixtureRequest) -> UserModelGwas:
    text, chosen = SETTINGS[request.param]
    return UserModelGwas.prepare(structure(), text, **chosen)


def same_bytes(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(
        a[c].tolist() == b[c].tolist() if a[c].dtype == object else a[c].tobytes() == b[c].tobytes() for c in RESULT_COLUMNS
    )


@settings(max_examples=25, deadline=None)
@given(scan=scans())
def test_flipping_the_allele_flips_the_effects_and_nothing_else(gwas: UserModelGwas, scan) -> None:
    beta, se, maf = scan
    one, other = gwas.fit(beta, se, maf), gwas.fit(-beta, se, maf)
    n = len(maf)
    flips = np.tile([(r.op == "~" and r.rhs == "SNP") or r.op == ":=" for r in gwas.rows], n)
    assert np.allclose(one["est"][flips], -other["est"][flips], rtol=1e-7, atol=1e-10, equal_nan=True)
    assert np.allclose(one["est"][~flips], other["est"][~flips], rtol=1e-7, atol=1e-10, equal_nan=True)
    for name in ("se", "q_snp", "chisq", "p"):
        assert np.allclose(one[name], other[name], rtol=1e-6, atol=1e-9, equal_nan=True)
    assert one["status"].tolist() == other["status"].tolist()


@settings(max_examples=20, deadline=None)
@given(scan=scans(), order=st.permutations(range(K)))
def test_permuting_the_traits_changes_nothing(gwas: UserModelGwas, scan, order: list[int]) -> None:
    """The model names its traits, so their order in the covariance structure is nobody's business."""
    beta, se, maf = scan
    cov = structure().subset([f"T{i}" for i in order])
    text, chosen = SETTINGS["everything" if gwas.table.has_defined else gwas.route]
    other = UserModelGwas.prepare(cov, text, **chosen | {"sub": [r.name for r in gwas.rows]})
    one, two = gwas.fit(beta, se, maf), other.fit(beta[:, order], se[:, order], maf)
    free = np.isfinite(one["se"])
    assert np.max(np.abs(one["est"] - two["est"])[free] / one["se"][free], initial=0) < 1e-7
    for name in ("se", "q_snp", "chisq"):
        assert np.allclose(one[name], two[name], rtol=1e-6, atol=1e-8, equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(scan=scans(), data=st.data())
def test_batches_of_any_size_and_order_give_the_same_bytes(gwas: UserModelGwas, scan, data: st.DataObject) -> None:
    beta, se, maf = scan
    n, r = len(maf), len(gwas.rows)
    whole = gwas.fit(beta, se, maf)
    order = np.array(data.draw(st.permutations(range(n))))
    cut = data.draw(st.integers(0, n))
    parts = [gwas.fit(beta[rows], se[rows], maf[rows]) for rows in (order[:cut], order[cut:])]
    joined = {c: np.concatenate([p[c] for p in parts]) for c in RESULT_COLUMNS}
    places = (order[:, None] * r + np.arange(r)).ravel()
    assert same_bytes({c: whole[c][places] for c in RESULT_COLUMNS}, joined)


def test_a_large_batch_equals_its_rows_one_by_one(gwas: UserModelGwas) -> None:
    """Vectorised p-values too: no remainder loop may round differently."""
    rng = np.random.default_rng(5)
    se = rng.uniform(0.002, 0.02, (1500, K))
    beta, maf = rng.normal(0, 2, (1500, K)) * se, rng.uniform(0.01, 0.5, 1500)
    beta[::100] *= 8
    whole, r = gwas.fit(beta, se, maf), len(gwas.rows)
    for row in range(0, 1500, 11):
        part = slice(row, row + 1)
        own = slice(row * r, row * r + r)
        assert same_bytes({c: whole[c][own] for c in RESULT_COLUMNS}, gwas.fit(beta[part], se[part], maf[part]))


@settings(max_examples=15, deadline=None)
@given(scan=scans())
def test_no_effect_on_any_trait_is_no_effect_at_all(gwas: UserModelGwas, scan) -> None:
    _, se, maf = scan
    got = gwas.fit(np.zeros_like(se), se, maf)
    own = np.tile([(r.op == "~" and r.rhs == "SNP") or r.op == ":=" for r in gwas.rows], len(maf))
    assert np.all(got["est"][own] == 0) and np.all(got["p"][own] == 1)
    assert np.all(got["q_snp"][np.isfinite(got["q_snp"])] == 0)


@settings(max_examples=15, deadline=None)
@given(scan=scans(), sizes=st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03)))
def test_effects_through_the_factors_have_no_heterogeneity(scan, sizes: tuple[float, float]) -> None:
    _, se, maf = scan
    gwas = UserModelGwas.prepare(structure(), TEXT)
    index = {(p.lhs, p.rhs): p.fixed for p in gwas.model.paths if p.op == "=~"}
    loadings = np.array([[index.get((f, f"T{j}"), 0.0) for j in range(K)] for f in ("F1", "F2")])
    got = gwas.fit(np.tile(np.array(sizes) @ loadings, (len(maf), 1)), se, maf)
    assert np.max(np.abs(got["est"].reshape(-1, 2) - sizes) / got["se"].reshape(-1, 2)) < 1e-2
    assert np.max(got["q_snp"]) < 1e-3


@settings(max_examples=15, deadline=None)
@given(scan=scans())
def test_identification_changes_the_scale_and_not_the_tests(scan) -> None:
    """With everything free, a marker loading and a unit residual variance are the same model."""
    cov = structure()
    one = UserModelGwas.prepare(cov, TEXT, fix_measurement=False).fit(*scan)
    other = UserModelGwas.prepare(cov, TEXT, fix_measurement=False, std_lv=True).fit(*scan)
    for name in ("q_snp", "chisq"):
        assert np.allclose(one[name], other[name], rtol=1e-6, atol=1e-8)
    assert np.array_equal(np.sign(one["est"]), np.sign(other["est"]))
