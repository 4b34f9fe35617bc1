"""What must hold for any SNP: symmetries of the model, and numbers that do not depend on company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.gwas import RESULT_COLUMNS, CommonFactorGwas
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices

STATISTICS = ("est", "se", "z", "p", "neglog10p", "chisq", "chisq_p", "aic", "q_snp", "q_snp_p", "q_snp_neglog10p")
K = 4


def structure(seed: int = 0) -> CovStruct:
    rng = np.random.default_rng(seed)
    loadings = rng.uniform(0.35, 0.6, K)
    wobble = rng.normal(0, 0.01, (K, K))
    S = np.outer(loadings, loadings) + np.diag(rng.uniform(0.1, 0.3, K)) + (wobble + wobble.T) * (1 - np.eye(K))
    size = K * (K + 1) // 2
    root = rng.normal(0, 0.001, (size, size)) + np.eye(size) * 0.007
    I = np.full((K, K), 0.08) + np.diag(rng.uniform(0.9, 1.02, K))
    return CovStruct.from_matrices(S, root @ root.T, I, [f"T{i}" for i in range(K)])


@st.composite
def scans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 12))
    z = st.floats(-8, 8, allow_subnormal=False)
    se = np.array([draw(st.lists(st.floats(0.002, 0.02), min_size=K, max_size=K)) for _ in range(n)])
    scores = np.array([draw(st.lists(z, min_size=K, max_size=K)) for _ in range(n)])
    maf = np.array(draw(st.lists(st.floats(0.01, 0.5), min_size=n, max_size=n)))
    return scores * se, se, maf


@pytest.fixture(scope="module", params=["DWLS", "ML"])
def gwas(request: pytest.FixtureRequest) -> CommonFactorGwas:
    return CommonFactorGwas.prepare(structure(), estimation=request.param)


def same_bytes(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(
        a[c].tolist() == b[c].tolist() if a[c].dtype == object else a[c].tobytes() == b[c].tobytes() for c in RESULT_COLUMNS
    )


@settings(max_examples=40, deadline=None)
@given(scan=scans())
def test_flipping_the_allele_flips_the_effect_and_nothing_else(gwas: CommonFactorGwas, scan) -> None:
    beta, se, maf = scan
    one, other = gwas.fit(beta, se, maf), gwas.fit(-beta, se, maf)
    for name in ("est", "z"):
        assert np.allclose(one[name], -other[name], rtol=1e-9, atol=1e-12, equal_nan=True)
    for name in ("se", "q_snp", "chisq", "p"):
        assert np.allclose(one[name], other[name], rtol=1e-7, atol=1e-9, equal_nan=True)
    assert one["status"].tolist() == other["status"].tolist()


@settings(max_examples=25, deadline=None)
@given(scan=scans(), order=st.permutations(range(1, K)))
def test_order_of_the_other_traits_does_not_matter(gwas: CommonFactorGwas, scan, order: list[int]) -> None:
    """With the marker in its place every number stays: a permutation renames parameters."""
    beta, se, maf = scan
    place = [0, *order]
    cov = structure()
    rows, columns = vech_indices(K)
    cell = {(r, c): i for i, (r, c) in enumerate(zip(rows, columns, strict=True))}
    moved = [cell[max(place[r], place[c]), min(place[r], place[c])] for r, c in zip(rows, columns, strict=True)]
    permuted = CovStruct.from_matrices(
        cov.S[np.ix_(place, place)], cov.V[np.ix_(moved, moved)], cov.I[np.ix_(place, place)], [cov.traits[i] for i in place]
    )
    one = gwas.fit(beta, se, maf)
    other = CommonFactorGwas.prepare(permuted, estimation=gwas.estimation).fit(beta[:, place], se[:, place], maf)
    assert np.max(np.abs(one["est"] - other["est"]) / one["se"]) < 1e-8
    for name in ("se", "q_snp", "chisq"):
        assert np.allclose(one[name], other[name], rtol=1e-7, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(scan=scans(), data=st.data())
def test_batches_of_any_size_and_order_give_the_same_bytes(gwas: CommonFactorGwas, scan, data: st.DataObject) -> None:
    beta, se, maf = scan
    n = len(maf)
    whole = gwas.fit(beta, se, maf)
    order = np.array(data.draw(st.permutations(range(n))))
    cut = data.draw(st.integers(0, n))
    parts = [gwas.fit(beta[rows], se[rows], maf[rows]) for rows in (order[:cut], order[cut:])]
    joined = {c: np.concatenate([p[c] for p in parts]) for c in RESULT_COLUMNS}
    assert same_bytes({c: whole[c][order] for c in RESULT_COLUMNS}, joined)


def test_a_large_batch_equals_its_rows_one_by_one(gwas: CommonFactorGwas) -> None:
    """Vectorised p-values too: no remainder loop may round differently."""
    rng = np.random.default_rng(5)
    se = rng.uniform(0.002, 0.02, (2000, K))
    beta, maf = rng.normal(0, 2, (2000, K)) * se, rng.uniform(0.01, 0.5, 2000)
    beta[::100] *= 8
    whole = gwas.fit(beta, se, maf)
    for row in range(0, 2000, 7):
        part = slice(row, row + 1)
        assert same_bytes({c: whole[c][part] for c in RESULT_COLUMNS}, gwas.fit(beta[part], se[part], maf[part]))


@settings(max_examples=25, deadline=None)
@given(scan=scans())
def test_no_effect_on_any_trait_is_no_effect_on_the_factor(gwas: CommonFactorGwas, scan) -> None:
    _, se, maf = scan
    got = gwas.fit(np.zeros_like(se), se, maf)
    assert np.all(got["est"] == 0) and np.all(got["q_snp"] == 0) and np.all(got["p"] == 1)


@settings(max_examples=25, deadline=None)
@given(scan=scans(), size=st.floats(-0.05, 0.05))
def test_effects_in_proportion_to_the_loadings_have_no_heterogeneity(gwas: CommonFactorGwas, scan, size: float) -> None:
    """Three traits meet their covariances exactly, so such a SNP meets the whole model exactly."""
    _, se, maf = scan
    three = CommonFactorGwas.prepare(structure().subset(["T0", "T1", "T2"]), estimation=gwas.estimation)
    loadings = three.start / three.start[0]
    got = three.fit(np.outer(np.full(len(maf), size), loadings), se[:, :3], maf)
    assert np.allclose(got["est"], size, rtol=1e-6, atol=1e-10)
    assert np.max(got["q_snp"]) < 1e-6


@settings(max_examples=25, deadline=None)
@given(scan=scans())
def test_identification_changes_the_scale_and_not_the_test_of_heterogeneity(gwas: CommonFactorGwas, scan) -> None:
    beta, se, maf = scan
    one = gwas.fit(beta, se, maf)
    other = CommonFactorGwas.prepare(structure(), estimation=gwas.estimation, std_lv=True).fit(beta, se, maf)
    for name in ("q_snp", "chisq"):
        assert np.allclose(one[name], other[name], rtol=1e-8, atol=1e-10)
    assert np.array_equal(np.sign(one["est"]), np.sign(other["est"]))
