"""What must hold for any rows: allele order and strand do not matter, batches do not matter, row counts add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.methods.sumstats import HarmoniseSpec, harmonise, total
from gsem_spark.methods.sumstats.text import neglog10_of_text

COMPLEMENT = str.maketrans("ACGT", "TGCA")
PAIRS = [a + b for a in "ACGT" for b in "ACGT" if a != b]
UNAMBIGUOUS = [p for p in PAIRS if p.translate(COMPLEMENT) != p[::-1]]
TEXTS = st.sampled_from(["0.01", "0.5", "1", "0", "NA", ".", "", "x", "-0.3", "1e-320", "1e-400", "2", "inf", "nan"])


@st.composite
def good_rows(draw: st.DrawFn) -> dict[str, object]:
    pair = draw(st.sampled_from(UNAMBIGUOUS))
    frequency = draw(st.floats(0.05, 0.95))
    return {
        "a1": pair[0],
        "a2": pair[1],
        "ref_a1": pair[0],
        "ref_a2": pair[1],
        "effect": repr(draw(st.floats(-1, 1))),
        "se": repr(draw(st.floats(0.001, 1))),
        "p": f"{draw(st.floats(1, 9.9)):.6g}e-{draw(st.integers(1, 2000))}",
        "n": str(draw(st.integers(100, 10**6))),
        "eaf": repr(frequency),
        "ref_maf": min(frequency, 1 - frequency),
    }


dirty_rows = st.fixed_dictionaries(
    dict.fromkeys(("effect", "se", "p", "n", "eaf", "info"), TEXTS)
    | {
        "snp": st.sampled_from(["rs1", "rs2", "rs3", ".", "RS2"]),
        "a1": st.sampled_from(["A", "C", "g", "AT", "NA"]),
        "a2": st.sampled_from(["G", "T", "c", "A", ""]),
        "ref_a1": st.sampled_from(["A", "C", None]),
        "ref_a2": st.just("G"),
        "ref_maf": st.sampled_from([0.3, 0.001, None]),
        "hm3": st.booleans(),
    }
)


def columns(rows: list[dict[str, object]]) -> dict[str, list[object]]:
    named = [{"snp": f"rs{i:05d}", **row} for i, row in enumerate(rows)]
    return {name: [row[name] for row in named] for name in named[0]}


@settings(max_examples=60, deadline=None)
@given(st.lists(good_rows(), min_size=1, max_size=20), st.sampled_from(["linear", "logistic", "linear_probability"]))
def test_allele_order_and_strand_do_not_matter(rows: list[dict[str, object]], scale: str) -> None:
    spec = HarmoniseSpec("T", scale=scale)  # type: ignore[arg-type]
    plain = harmonise(columns(rows), spec)
    swapped = [
        r | {"a1": r["a2"], "a2": r["a1"], "effect": repr(-float(str(r["effect"]))), "eaf": repr(1 - float(str(r["eaf"])))}
        for r in rows
    ]
    flipped = [r | {"a1": str(r["a1"]).translate(COMPLEMENT), "a2": str(r["a2"]).translate(COMPLEMENT)} for r in swapped]
    for other in (swapped, flipped):
        done = harmonise(columns(other), spec)
        np.testing.assert_array_equal(done.rule, plain.rule)
        for name in ("z", "n", "beta", "se", "eaf"):
            np.testing.assert_allclose(getattr(done, name), getattr(plain, name), rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(st.lists(good_rows(), min_size=1, max_size=20))
def test_beta_over_se_is_z_for_linear_traits(rows: list[dict[str, object]]) -> None:
    done = harmonise(columns(rows), HarmoniseSpec("T"))
    both = done.keep_ldsc & done.keep_per_snp
    np.testing.assert_allclose(done.beta[both] / done.se[both], done.z[both], rtol=1e-12)


@pytest.mark.parametrize("compat", [None, "genomicsem"])
@settings(max_examples=100, deadline=None)
@given(rows=st.lists(dirty_rows, min_size=1, max_size=30), data=st.data())
def test_batches_do_not_matter_and_counts_add_up(compat: str | None, rows: list[dict[str, object]], data: st.DataObject) -> None:
    rows = sorted(rows, key=lambda r: str(r["snp"]).lower() if compat is None else str(r["snp"]))
    spec = HarmoniseSpec("T", compat=compat)
    whole = harmonise(columns(rows), spec)
    names = [str(r["snp"]).lower() if compat is None else r["snp"] for r in rows]
    borders = [i for i in range(1, len(rows)) if names[i] != names[i - 1]]
    cuts = sorted(data.draw(st.sets(st.sampled_from(borders)))) if borders else []
    # a batch may lack every value of a column: give the roles all the same, as the caller does
    parts = [harmonise(columns(rows[i:j]), spec) for i, j in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    for name in ("rule", "keep", "keep_ldsc", "keep_per_snp", "repairs", "z", "n", "beta", "se", "neglog10p"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name), err_msg=name)
    np.testing.assert_array_equal(total((p.counters for p in parts), spec).rules, whole.counters.rules)
    for rule in spec.rules:
        if rule.scope == "row":
            assert whole.counters.rules[rule.code - 1, 1] == np.count_nonzero(whole.rule == rule.code)
    assert whole.counters.facts["kept"] == np.count_nonzero(whole.rule == 0)
    assert (whole.keep == (whole.keep_ldsc | whole.keep_per_snp)).all()
    if compat is None:
        assert np.isfinite(whole.z[whole.keep_ldsc]).all() and np.isfinite(whole.n[whole.keep_ldsc]).all()
        assert np.isfinite(whole.beta[whole.keep_per_snp]).all() and (whole.se[whole.keep_per_snp] > 0).all()
        kept = [names[i] for i in np.flatnonzero(whole.keep)]
        assert len(kept) == len(set(kept))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**12), st.integers(-5000, 20), st.integers(0, 12))
def test_log_of_text_whatever_way_it_is_written(mantissa: int, exponent: int, point: int) -> None:
    digits = str(mantissa)
    shown = digits if point == 0 else ("0" * point + digits)[:-point] + "." + ("0" * point + digits)[-point:]
    exact = -(np.log10(mantissa) + exponent - point)
    assert abs(neglog10_of_text(f"{shown}e{exponent}") - exact) <= 1e-12 * max(abs(exact), 1.0) + 1e-12
