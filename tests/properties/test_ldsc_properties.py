"""Laws that LD score regression obeys whatever the data."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.ldsc.arrays import LdscTrait, ldsc_from_arrays
from gsem_spark.methods.ldsc.blocks import collect_blocks, plan_second_pass
from gsem_spark.methods.ldsc.regression import TraitRows, block_edges, first_pass, second_pass

seeds = st.integers(0, 2**32 - 1)


def _data(seed: int, m: int = 600, k: int = 2):
    rng = np.random.default_rng(seed)
    l2 = rng.lognormal(3, 1, m)
    traits = []
    for j in range(k):
        at = np.flatnonzero(rng.random(m) < 0.8)
        traits.append(LdscTrait(f"T{j}", at, rng.normal(size=at.size) * np.sqrt(1 + l2[at] / 20), rng.uniform(1e4, 2e4, at.size)))
    return traits, l2, rng.lognormal(2, 1, m)


def _changed(trait: LdscTrait, sign: float = 1.0, times: float = 1.0) -> LdscTrait:
    return LdscTrait(trait.name, trait.ord, trait.z * sign, trait.n * times)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_flipping_all_effects_of_a_trait_flips_its_covariances_exactly(seed):
    (a, b), l2, wld = _data(seed)
    plain = ldsc_from_arrays([a, b], l2, wld, 1e5, n_blocks=10)
    flipped = ldsc_from_arrays([_changed(a, sign=-1.0), b], l2, wld, 1e5, n_blocks=10)
    sign = np.array([1.0, -1.0, 1.0])
    assert np.array_equal(flipped.S, plain.S * [[1, -1], [-1, 1]])
    assert np.array_equal(flipped.V, plain.V * np.outer(sign, sign))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_larger_n_and_m_scale_h2_and_nothing_else(seed):
    (a, b), l2, wld = _data(seed)
    # Weights depend on N / M x h2 alone; chi-square limits are held fixed, and h2 far from its bounds at 0 and 1.
    plain = ldsc_from_arrays([a, b], l2, wld, 1e5, n_blocks=10, chisq_max=1e6)
    double = ldsc_from_arrays([_changed(a, times=2), _changed(b, times=2)], l2, wld, 2e5, n_blocks=10, chisq_max=1e6)
    assert np.allclose(double.S, plain.S, rtol=1e-9, atol=1e-13)
    assert np.allclose(double.I, plain.I, rtol=1e-9, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 9))
def test_sums_do_not_depend_on_how_chunks_arrive(seed, shift):
    traits, l2, wld = _data(seed)
    rows = [TraitRows(t.ord, t.z, t.n, l2[t.ord], wld[t.ord]) for t in traits]
    cuts = [0, 100, 130, 400, 600]
    chunks = [
        (c, [TraitRows(*(getattr(r, f)[(r.ord >= lo) & (r.ord < hi)] for f in ("ord", "z", "n", "l2", "wld"))) for r in rows])
        for c, (lo, hi) in enumerate(pairwise(cuts))
    ]
    pairs = np.array([[0, 0], [0, 1], [1, 1]])

    def run(order):
        plan, totals = plan_second_pass([first_pass(c, r, pairs) for c, r in order], pairs, ["T0", "T1"], 1e5, 10)
        return collect_blocks([second_pass(c, r, plan) for c, r in reversed(order)], plan, totals)

    turned = chunks[shift % 4:] + chunks[: shift % 4]
    for one, other in zip(run(chunks), run(turned), strict=True):
        assert one.totals.as_record() == other.totals.as_record()
        for part in ("count", "xtx", "xty"):
            assert np.array_equal(getattr(one, part), getattr(other, part))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_v_is_a_covariance_and_blocks_add_up(seed):
    traits, l2, wld = _data(seed, k=3)
    cov = ldsc_from_arrays(traits, l2, wld, 1e5, n_blocks=30)
    assert np.linalg.eigvalsh(cov.V).min() > -1e-12 * np.abs(cov.V).max()


@given(st.integers(2, 400), st.integers(2, 10**7))
def test_blocks_are_equal_and_cover_everything(n_blocks, extra):
    edges = block_edges(2 * n_blocks + extra, n_blocks)
    sizes = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == 2 * n_blocks + extra
    assert sizes.min() >= 1 and sizes[:-1].max() - sizes[:-1].min() <= 1


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_trait_with_itself_is_its_heritability(seed):
    (a, _), l2, wld = _data(seed)
    twin = LdscTrait("twin", a.ord, a.z, a.n)
    cov = ldsc_from_arrays([a, twin], l2, wld, 1e5, n_blocks=10)
    assert cov.S[0, 1] == pytest.approx(cov.S[0, 0], rel=1e-12)
    assert cov.I[0, 1] == pytest.approx(cov.I[0, 0], rel=1e-12)
