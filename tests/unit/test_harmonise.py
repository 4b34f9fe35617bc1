from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from gsem_spark.errors import ConfigError, ContractError, DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.sumstats import (
    COMPAT_RULES,
    RULES,
    Counters,
    HarmoniseSpec,
    effect_kind,
    harmonise,
    qc_rows,
    total,
    verify_effect_kind,
)
from gsem_spark.methods.sumstats.text import neglog10_of_text, parse_floats

NAMES = ["", *(rule.name for rule in RULES)]
ROW = {
    "snp": "rs1",
    "a1": "A",
    "a2": "G",
    "effect": "0.02",
    "se": "0.01",
    "p": "0.0455",
    "n": "10000",
    "eaf": "0.3",
    "info": "0.95",
    "chr": "1",
    "bp": "100",
    "direction": "++",
    "ref_a1": "A",
    "ref_a2": "G",
    "ref_maf": 0.3,
    "ref_chr": 1,
    "ref_bp": 100,
}


def batch(*rows: dict[str, object], drop: tuple[str, ...] = ()) -> dict[str, list[object]]:
    full = [ROW | {"snp": f"rs{i}"} | row for i, row in enumerate(rows)]
    names = [name for name in dict.fromkeys(k for row in full for k in row) if name not in drop]
    return {name: [row.get(name) for row in full] for name in names}


def rules_of(done) -> list[str]:
    return [NAMES[code] for code in done.rule]


def repaired(done, row: int) -> set[str]:
    return {rule.name for rule in RULES if int(done.repairs[row]) >> (rule.code - 1) & 1}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, ""),
        ({"snp": "."}, "snp_missing"),
        ({"snp": None}, "snp_missing"),
        ({"ref_a1": None, "ref_a2": None, "ref_maf": None}, "not_in_reference"),
        ({"a1": "NA"}, "allele_missing"),
        ({"a1": "AT"}, "indel"),
        ({"a1": "A", "a2": "A"}, "allele_mismatch"),
        ({"a1": "A", "a2": "C"}, "allele_mismatch"),
        ({"p": "."}, "p_missing"),
        ({"p": "abc"}, "p_missing"),
        ({"p": "1.5"}, "p_out_of_range"),
        ({"p": "-0.1"}, "p_out_of_range"),
        ({"effect": "NA"}, "effect_missing"),
        ({"effect": "inf"}, "effect_missing"),
        ({"p": "0", "se": "NA"}, "p_zero"),
        ({"info": "0.59"}, "info_low"),
        ({"info": "NA"}, "info_low"),
        ({"eaf": "1.2"}, "frequency_invalid"),
        ({"eaf": "1"}, "maf_low"),
        ({"eaf": "0.995"}, "maf_low"),
        ({"eaf": "NA", "ref_maf": 0.005}, "maf_low"),
        ({"eaf": "NA"}, ""),
        ({"effect": "0"}, ""),
        ({"p": "1"}, ""),
        ({"n": "NA", "se": "NA"}, "no_product"),
    ],
)
def test_each_rule_drops_its_row_alone(change: dict[str, object], rule: str) -> None:
    done = harmonise(batch({}, change), HarmoniseSpec("T"))
    assert rules_of(done) == ["", rule]
    assert done.keep.tolist() == [True, rule == ""]
    if rule:
        assert np.isnan([done.z[1], done.n[1], done.beta[1], done.se[1]]).all()


def test_all_allele_orders_and_strands_give_the_same_row() -> None:
    done = harmonise(
        batch(
            {},
            {"a1": "G", "a2": "A", "effect": "-0.02", "eaf": "0.7"},
            {"a1": "T", "a2": "C"},
            {"a1": "c", "a2": "t", "effect": "-0.02", "eaf": "0.7"},
        ),
        HarmoniseSpec("T"),
    )
    for name in ("z", "beta", "se", "eaf", "neglog10p"):
        np.testing.assert_allclose(getattr(done, name), getattr(done, name)[0], rtol=1e-15)
    assert [repaired(done, i) for i in range(4)] == [
        set(),
        {"alleles_swapped"},
        {"strand_flipped"},
        {"alleles_swapped", "strand_flipped"},
    ]


def test_ambiguous_variants() -> None:
    pair = {"a1": "T", "a2": "A", "ref_a1": "A", "ref_a2": "T", "ref_eaf": 0.3}
    rows = batch({**pair, "eaf": "0.7"}, {**pair, "eaf": "0.3"}, {**pair, "eaf": "0.5"}, {"ref_eaf": 0.3})
    keep = harmonise(rows, HarmoniseSpec("T"))
    assert keep.keep.all() and (np.sign(keep.z) == [-1, -1, -1, 1]).all()
    assert rules_of(harmonise(rows, HarmoniseSpec("T", ambiguous="drop"))) == ["ambiguous"] * 3 + [""]
    told = harmonise(rows, HarmoniseSpec("T", ambiguous="frequency"))
    assert rules_of(told) == ["", "", "ambiguous", ""]
    assert np.sign(told.z[:2]).tolist() == [-1, 1]  # T at .7 is A's swap; T at .3 must be A on the other strand
    np.testing.assert_allclose(told.eaf[:2], 0.3)
    assert "ambiguous_flipped" in repaired(told, 1)
    with pytest.raises(ConfigError, match="frequency"):
        harmonise(batch({}), HarmoniseSpec("T", ambiguous="frequency"))


def test_indels_on_request() -> None:
    rows = batch(
        {"a1": "at", "a2": "A", "ref_a1": "AT", "ref_a2": "A"},
        {"a1": "A", "a2": "AT", "ref_a1": "AT", "ref_a2": "A"},
        {"a1": "AT", "a2": "G"},
    )
    assert rules_of(harmonise(rows, HarmoniseSpec("T"))) == ["indel"] * 3
    done = harmonise(rows, HarmoniseSpec("T", indels=True))
    assert rules_of(done) == ["", "", "allele_mismatch"]
    assert np.sign(done.z[:2]).tolist() == [1, -1]


def test_one_copy_stays_the_first_that_passes() -> None:
    done = harmonise(
        batch(
            {"snp": "rs1", "a2": "C"},
            {"snp": "rs1", "effect": "0.3"},
            {"snp": "rs1"},
            {"snp": "rs2"},
            {"snp": None},
            {"snp": None},
        ),
        HarmoniseSpec("T"),
    )
    assert rules_of(done) == ["allele_mismatch", "", "duplicate", "", "snp_missing", "snp_missing"]


def test_capital_rsids_are_copies_too() -> None:
    assert rules_of(harmonise(batch({"snp": "RS7"}, {"snp": "rs7"}), HarmoniseSpec("T"))) == ["", "duplicate"]


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("1e-400", 400.0),
        ("4.2e-4321", 4320.376750709602),
        ("0.00001E-310", 315.0),
        ("2.5e-308", 307.6020599913279),
        ("1e-307", 307.0),
    ],
)
def test_p_below_float64_is_exact(text: str, exact: float) -> None:
    done = harmonise(batch({"p": text}), HarmoniseSpec("T"))
    assert done.neglog10p[0] == pytest.approx(exact, rel=1e-15)
    assert done.z[0] == pytest.approx(pvalues.z_from_neglog10p(exact), rel=1e-14)
    assert ("p_underflow" in repaired(done, 0)) == (exact > 307)


def test_text_of_a_long_decimal() -> None:
    assert neglog10_of_text("0." + "0" * 399 + "1") == pytest.approx(400.0, rel=1e-15)
    assert neglog10_of_text("0.000") == np.inf
    assert np.isnan(neglog10_of_text("-1e-400"))


def test_p_printed_as_zero_is_recovered() -> None:
    done = harmonise(batch({"p": "0", "effect": "0.5"}, {"p": "0.0", "effect": "-0.5", "z": "-49"}), HarmoniseSpec("T"))
    np.testing.assert_allclose(done.z, [50.0, -49.0])
    np.testing.assert_allclose(done.neglog10p, pvalues.from_z([50.0, 49.0])[1])
    assert "p_zero_recovered" in repaired(done, 0)


def test_files_without_p() -> None:
    by_se = harmonise(batch({}, drop=("p",)), HarmoniseSpec("T"))
    assert by_se.z[0] == pytest.approx(2.0)
    by_z = harmonise(batch({"z": "-3"}, drop=("p", "effect", "se")), HarmoniseSpec("T"))
    assert by_z.z[0] == pytest.approx(-3.0)
    by_log = harmonise(batch({"neglog10p": "400"}, {"neglog10p": "-1"}, drop=("p",)), HarmoniseSpec("T"))
    assert by_log.z[0] == pytest.approx(42.83, abs=0.01)
    assert rules_of(by_log) == ["", "p_out_of_range"]


def test_odds_ratios_and_confidence_intervals() -> None:
    odds = {
        "effect": str(np.exp(0.02)),
        "ci_lower": str(np.exp(0.02 - 1.959963984540054 * 0.01)),
        "ci_upper": str(np.exp(0.02 + 1.959963984540054 * 0.01)),
    }
    spec = HarmoniseSpec("T", scale="logistic", effect_kind="odds_ratio")
    plain = harmonise(batch({}), HarmoniseSpec("T", scale="logistic"))
    np.testing.assert_allclose(harmonise(batch(odds, drop=("se",)), spec).se, plain.se, rtol=1e-9)
    np.testing.assert_allclose(harmonise(batch(odds), spec).beta, plain.beta, rtol=1e-12)
    or_se = HarmoniseSpec("T", scale="logistic_or_se", effect_kind="odds_ratio")
    np.testing.assert_allclose(harmonise(batch({**odds, "se": str(0.01 * np.exp(0.02))}), or_se).se, plain.se, rtol=1e-12)
    assert rules_of(harmonise(batch({"effect": "0"}, {"effect": "-1"}), spec)) == ["effect_missing"] * 2


def test_a_missing_se_comes_from_p() -> None:
    done = harmonise(batch({"se": "NA"}, {"se": "0"}, {}), HarmoniseSpec("T", scale="logistic"))
    np.testing.assert_allclose(done.se, done.se[2], rtol=1e-3)
    assert "se_from_p" in repaired(done, 0)


def test_per_snp_may_fail_where_ldsc_does_not_and_the_reverse() -> None:
    done = harmonise(batch({"se": "NA", "effect": "0"}, {"n": "-5"}), HarmoniseSpec("T", scale="logistic"))
    assert done.keep.all()
    assert done.keep_ldsc.tolist() == [True, False] and done.keep_per_snp.tolist() == [False, True]
    assert [NAMES[c] for c in done.rule_per_snp] == ["not_scalable", ""] and [NAMES[c] for c in done.rule_ldsc] == [
        "",
        "n_missing",
    ]


CASES = {"n_cases": "1000", "n_controls": "9000"}


@pytest.mark.parametrize(
    ("row", "spec", "n"),
    [
        ({}, {}, 10000),
        ({}, {"n": 5.0}, 5),
        ({"neff": "7"}, {"scale": "logistic"}, 7),
        ({"neff": "7"}, {}, 10000),
        ({"neff_half": "7"}, {"scale": "logistic"}, 14),
        (CASES, {"scale": "logistic"}, 3600),
        ({**CASES, "n": None}, {}, 10000),
        (CASES, {"scale": "logistic", "sample_prevalence": 0.1}, 10000),
        (CASES, {"scale": "logistic", "sample_prevalence": 0.5}, 3600),
        ({"neff": "NA"}, {"scale": "logistic"}, 10000),
        ({}, {"scale": "linear_probability", "n": 5.0, "sample_prevalence": 0.1}, 10000),
        ({"n": None}, {"scale": "linear_probability", "n": 360.0, "sample_prevalence": 0.1}, 1000),
    ],
)
def test_sample_size(row: dict[str, object], spec: dict, n: float) -> None:
    assert harmonise(batch(row), HarmoniseSpec("T", **spec)).n[0] == pytest.approx(n)


def test_linear_probability_scales_by_the_effective_n() -> None:
    by_share = harmonise(batch({}), HarmoniseSpec("T", scale="linear_probability", sample_prevalence=0.1))
    by_user = harmonise(batch({}), HarmoniseSpec("T", scale="linear_probability", n=3600.0))
    np.testing.assert_allclose(by_share.beta, by_user.beta, rtol=1e-14)


def test_direction_filter() -> None:
    rows = batch({"direction": "??+-"}, {"direction": "?++-"}, {"direction": "NA"})
    assert harmonise(rows, HarmoniseSpec("T")).keep.all()
    assert rules_of(harmonise(rows, HarmoniseSpec("T", direction_max_missing=0.5))) == ["direction", "", ""]


def test_other_allele_from_ref_and_alt() -> None:
    rows = batch({"ref": "G", "alt": "A"}, {"ref": "A", "alt": "G"}, {"ref": "C", "alt": "T"}, drop=("a2",))
    done = harmonise(rows, HarmoniseSpec("T"))
    assert rules_of(done) == ["", "", "allele_missing"]
    assert (done.z[:2] > 0).all()


def test_positions_are_compared_and_counted() -> None:
    done = harmonise(batch({}, {"bp": "101"}, {"chr": "chr2"}, {"chr": "chr1"}, {"bp": "NA"}), HarmoniseSpec("T"))
    facts = done.counters.facts
    assert (facts["positions_compared"], facts["positions_disagree"]) == (4, 2)
    assert done.keep.all() and "position_disagrees" in repaired(done, 1)


def test_numbers_with_blanks_signs_and_rubbish() -> None:
    values, failed = parse_floats(pa.array([" 0.5", "+2", "1e5", "x", "NA", None, ".", "-.5", "1e-400", "5."]))
    np.testing.assert_array_equal(values, [0.5, 2, 1e5, np.nan, np.nan, np.nan, np.nan, -0.5, 0, 5])
    assert failed == 1
    assert harmonise(batch({"info": "good"}, {}), HarmoniseSpec("T")).counters.facts["unparsable_info"] == 1


def test_counters_add_up_and_survive_json() -> None:
    spec = HarmoniseSpec("T")
    parts = [harmonise(batch(*rows), spec).counters for rows in ([{}, {"p": "NA"}], [{"info": "0"}])]
    whole = harmonise(batch({}, {"p": "NA"}, {"info": "0"}), spec).counters
    added = total((Counters.from_dict(c.to_dict()) for c in parts), spec)
    np.testing.assert_array_equal(added.rules, whole.rules)
    assert {k: v for k, v in added.facts.items() if v} == {k: v for k, v in whole.facts.items() if v}
    rows = {row["rule"]: row for row in qc_rows(whole, spec)}
    assert (rows["p_missing"]["rows_in"], rows["p_missing"]["rows_dropped"]) == (3, 1)
    assert rows["info_low"]["meaning"].endswith("below 0.6")
    assert sum(row["rows_dropped"] for row in rows.values() if NAMES.index(row["rule"]) <= 15) == 2


@pytest.mark.parametrize("compat", [None, "genomicsem"])
def test_empty_and_arrow_batches(compat: str | None) -> None:
    spec = HarmoniseSpec("T", compat=compat)
    table = pa.table({name: pa.array(values) for name, values in batch({}, {"p": "2"}).items()})
    assert harmonise(table.slice(0, 0), spec).to_arrow().num_rows == 0
    whole, lists = harmonise(table, spec).to_arrow(), harmonise(batch({}, {"p": "2"}), spec).to_arrow()
    assert whole.equals(lists)
    assert whole.column("z").null_count == 1


def test_wrong_batches_are_refused() -> None:
    with pytest.raises(ContractError, match="reference's alleles"):
        harmonise({"snp": ["rs1"]}, HarmoniseSpec("T"))
    with pytest.raises(ContractError, match="lengths"):
        harmonise({**batch({}), "p": []}, HarmoniseSpec("T"))


def test_spec_and_rules_are_plain() -> None:
    spec = HarmoniseSpec("T", compat="genomicsem")
    assert pickle.loads(pickle.dumps(spec)) == spec
    for rules in (RULES, COMPAT_RULES):
        assert [rule.code for rule in rules] == list(range(1, len(rules) + 1))
        assert len(rules) < 32  # a bit each in an int32
        assert all(spec.meaning(rule) for rule in rules)


class TestEffectKind:
    def test_by_the_median(self) -> None:
        assert effect_kind(["0.9", "1.1", "NA", "1.02"]) == "odds_ratio"
        assert effect_kind(["-0.1", "0.1", "3"]) == "signed"
        assert effect_kind(["0.5", "0.5"]) == "signed"  # round half to even, as the reference

    def test_a_name_that_lies(self) -> None:
        with pytest.raises(DataError, match="named as an odds ratio"):
            effect_kind(["-0.1", "0.1", "0"], hint="odds_ratio", column="OR", file="f")

    def test_nothing_to_judge_by(self) -> None:
        assert effect_kind(["NA"], hint="signed") == "signed"
        with pytest.raises(DataError, match="no row"):
            effect_kind(["NA"])

    def test_the_whole_file_is_asked(self) -> None:
        spec = HarmoniseSpec("T", effect_kind="odds_ratio")
        counters = harmonise(batch(*({"effect": e} for e in ("1.1", "-0.1", "0.1"))), spec).counters
        with pytest.raises(DataError, match="first rows"):
            verify_effect_kind(counters, spec, file="f")
        verify_effect_kind(counters, HarmoniseSpec("T"))
        verify_effect_kind(counters, HarmoniseSpec("T", effect_kind="odds_ratio", effect_kind_given=True))
