"""Laws that every simulation keeps, whatever its design, seed or faults."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gsem_spark.methods.simulation.design import Design, semidefinite_root
from gsem_spark.methods.simulation.dirt import DirtRates, raw_rows
from gsem_spark.methods.simulation.draw import draw_z
from gsem_spark.methods.simulation.ld_panel import BASES, MAF_DIGITS, simulate_panel
from gsem_spark.methods.simulation.raw_formats import FORMATS, effect_and_se
from gsem_spark.methods.simulation.raw_text import p_text, raw_table, significant

PANEL = simulate_panel(200, seed=1)
SEEDS = st.integers(0, 2**32)
SHARES = st.floats(0, 1)


def _covariances(k: int) -> st.SearchStrategy[np.ndarray]:
    factors = hnp.arrays(np.float64, (k, 2), elements=st.floats(-0.7, 0.7, allow_subnormal=False))
    return factors.map(lambda x: x @ x.T + 0.01 * np.eye(k))


@given(S=_covariances(4))
@settings(deadline=None)
def test_root_times_its_transpose_is_the_matrix(S):
    root = semidefinite_root(S, "S", 4)
    np.testing.assert_allclose(root @ root.T, S, atol=1e-12)
    assert np.all(np.triu(root, 1) == 0)


@given(S=_covariances(3), n=st.floats(100, 1e7), seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_draws_scale_as_the_square_root_of_n_without_sampling_errors(S, n, seed):
    design = Design.build(["a", "b", "c"], [n] * 3, S, I=np.zeros((3, 3)))
    once, fourfold = draw_z(design, PANEL, design.n, seed=seed), draw_z(design, PANEL, 4 * design.n, seed=seed)
    np.testing.assert_allclose(fourfold, 2 * once, rtol=1e-12)


@given(S=_covariances(2), seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_draws_of_a_chromosome_do_not_need_the_others(S, seed):
    design = Design.build(["a", "b"], [1e5, 1e5], S)
    rows = PANEL.chr == 7
    fields = ("snp", "chr", "bp", "cm", "maf", "l2", "a1", "a2", "a1_freq")
    # M stays the genome's, so that only the chromosomes differ.
    part = replace(PANEL, **{f: getattr(PANEL, f)[rows] for f in fields})
    np.testing.assert_array_equal(draw_z(design, part, design.n, seed=seed), draw_z(design, PANEL, design.n, seed=seed)[rows])


@given(seed=SEEDS, swapped=SHARES, flips=SHARES)
@settings(max_examples=40, deadline=None)
def test_z_times_allele_is_invariant(seed, swapped, flips):
    """Put back on the panel's allele, every row's Z is the drawn one: no swap or flip may change what a file says."""
    z = np.random.default_rng(2).standard_normal(PANEL.size)
    rates = DirtRates(swapped=swapped, strand_flips=flips, missing=0.1, duplicates=0.1)
    rows, _ = raw_rows(PANEL, z, np.full(PANEL.size, 1e5), rates=rates, seed=seed, trait=0)
    a1, a2 = PANEL.a1[rows.row], PANEL.a2[rows.row]
    forward = ((rows.a1 == a1) & (rows.a2 == a2)) | ((3 - rows.a1 == a1) & (3 - rows.a2 == a2) & ~PANEL.ambiguous[rows.row])
    backward = ((rows.a1 == a2) & (rows.a2 == a1)) | ((3 - rows.a1 == a2) & (3 - rows.a2 == a1) & ~PANEL.ambiguous[rows.row])
    assert np.all(forward ^ backward)
    np.testing.assert_array_equal(np.where(forward, rows.z, -rows.z), z[rows.row])
    freq = np.round(np.where(forward, rows.freq, 1 - rows.freq), MAF_DIGITS)
    np.testing.assert_allclose(freq, PANEL.a1_freq[rows.row], atol=1e-12)


@given(
    z=hnp.arrays(np.float64, 5, elements=st.floats(-40, 40)),
    freq=st.floats(0.01, 0.99),
    n=st.floats(1000, 1e7),
    s=st.floats(0.01, 0.99),
)
@settings(deadline=None)
def test_effect_over_se_is_z(z, freq, n, s):
    for kind in FORMATS.values():
        effect, se = effect_and_se(kind, z, np.full(5, freq), np.full(5, n), s)
        if kind.effect == "odds_ratio_se":
            effect, se = np.log(effect), se / effect
        elif kind.effect == "odds_ratio":
            effect = np.log(effect)
        assert np.all(se > 0)
        # The logarithm of an odds ratio near 1 carries the rounding of exp: absolute 1e-15 over the standard error.
        np.testing.assert_allclose(effect / se, z, rtol=1e-9, atol=4e-15 / se.min())


@given(x=hnp.arrays(np.float64, 20, elements=st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-15)))
@settings(deadline=None)
def test_rounding_prints_what_printf_prints(x):
    got = significant(x)
    for value, rounded in zip(x.tolist(), got.tolist(), strict=True):
        assert float(f"{rounded:.6g}") == rounded
        assert rounded == pytest.approx(value, rel=5.0000001e-6)


@given(z=hnp.arrays(np.float64, 20, elements=st.floats(-120, 120)))
@settings(deadline=None)
def test_p_text_falls_as_z_grows(z):
    z = np.sort(np.abs(z))
    texts = p_text(z, np.zeros(20, np.uint8)).to_pylist()
    logs = [np.log10(float(m)) + int(e or 0) for m, _, e in (t.partition("e") for t in texts)]
    assert all(b <= a + 1e-9 for a, b in pairwise(logs))
    assert all(v <= 0 for v in logs)


@given(seed=SEEDS, rates=st.builds(DirtRates, *[SHARES] * 9))
@settings(max_examples=40, deadline=None)
def test_any_mixture_of_faults_gives_a_whole_table(seed, rates):
    rows, counts = raw_rows(PANEL, np.ones(PANEL.size), np.full(PANEL.size, 1e5), rates=rates, seed=seed, trait=1)
    for kind in FORMATS.values():
        table = raw_table(PANEL, rows, kind, case_share=0.4)
        assert table.num_rows == counts["rows"]
        assert all(column.null_count == 0 for column in table.columns)
    assert np.all(rows.a1 < len(BASES))
    assert np.all(rows.a2 < len(BASES))
    assert np.all((rows.freq > 0) & (rows.freq < 1))
