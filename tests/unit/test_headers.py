from __future__ import annotations

import pytest

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.sumstats import HarmoniseSpec, check_columns, resolve
from gsem_spark.methods.sumstats.synonyms import COMPAT_SYNONYMS, ROLES, SYNONYMS

BASE = ["SNP", "A1", "A2", "BETA", "SE", "P", "N"]


def test_every_synonym_belongs_to_one_role() -> None:
    for table in (SYNONYMS, COMPAT_SYNONYMS):
        assert set(table) <= set(ROLES)
        names = [name for group in table.values() for name in group]
        assert len(names) == len(set(names))
        assert all(name == name.upper() for name in names)


@pytest.mark.parametrize("role", ["snp", "a1", "a2", "effect", "p", "se"])
def test_each_synonym_is_recognised_in_any_case(role: str) -> None:
    for name in SYNONYMS[role]:
        header = [h for h in BASE if h not in SYNONYMS[role]] + [name.lower()]
        assert resolve(header).names[role] == name.lower()


def test_gwas_ssf() -> None:
    header = [
        "chromosome",
        "base_pair_location",
        "effect_allele",
        "other_allele",
        "odds_ratio",
        "standard_error",
        "effect_allele_frequency",
        "neg_log_10_p_value",
        "rsid",
        "variant_id",
        "ci_upper",
        "ci_lower",
        "info",
        "n",
    ]
    columns = resolve(header)
    assert columns.names["snp"] == "rsid"
    assert columns.has("chr", "bp", "a1", "a2", "se", "eaf", "neglog10p", "ci_lower", "ci_upper", "info", "n")
    assert columns.effect_hint == "odds_ratio"
    assert list(columns.index) == [role for role in ROLES if role in columns.index]


def test_ssf_columns_without_values_give_way() -> None:
    header = ["rsid", "effect_allele", "other_allele", "beta", "odds_ratio", "standard_error", "p_value", "n"]
    assert resolve(header).names["effect"] == "beta"
    assert resolve(header, empty=["beta"]).names["effect"] == "odds_ratio"


def test_daner() -> None:
    header = [
        "CHR",
        "SNP",
        "BP",
        "A1",
        "A2",
        "FRQ_A_53386",
        "FRQ_U_77258",
        "INFO",
        "OR",
        "SE",
        "P",
        "ngt",
        "Direction",
        "HetISqt",
        "HetDf",
        "HetPVa",
        "Nca",
        "Nco",
        "Neff_half",
    ]
    names = resolve(header).names
    assert (names["eaf"], names["neff_half"], names["n_cases"]) == ("FRQ_U_77258", "Neff_half", "Nca")


def test_plink2_finds_the_other_allele_by_row() -> None:
    columns = resolve(["CHROM", "POS", "ID", "REF", "ALT", "A1", "TEST", "OBS_CT", "OR", "LOG(OR)_SE", "Z_STAT", "P"])
    assert columns.has("a1", "ref", "alt") and not columns.has("a2")
    assert columns.names["a1"] == "A1"


def test_saige_effect_allele_is_allele2() -> None:
    columns = resolve(
        ["CHR", "POS", "MarkerID", "Allele1", "Allele2", "AC_Allele2", "AF_Allele2", "BETA", "SE", "p.value", "N_case", "N_ctrl"]
    )
    assert (columns.names["a1"], columns.names["eaf"]) == ("Allele2", "AF_Allele2")
    assert "SAIGE" in columns.notes[0]


def test_regenie_log10p_is_minus_log10() -> None:
    assert (
        resolve(
            ["CHROM", "GENPOS", "ID", "ALLELE0", "ALLELE1", "A1FREQ", "INFO", "N", "TEST", "BETA", "SE", "CHISQ", "LOG10P"]
        ).names["neglog10p"]
        == "LOG10P"
    )


def test_ref_is_never_the_effect_allele_unasked() -> None:
    header = ["ID", "REF", "ALT", "BETA", "SE", "P"]
    with pytest.raises(DataError, match="effect allele") as caught:
        resolve(header, file="x.tsv")
    assert "a1: ALT, a2: REF" in caught.value.remedy
    columns = resolve(header, {"a1": "ALT", "a2": "REF"})
    assert (columns.names["a1"], columns.names["a2"]) == ("ALT", "REF")


def test_compat_takes_ref_and_does_not_know_frq() -> None:
    columns = resolve(["ID", "REF", "ALT", "BETA", "SE", "P", "FRQ", "EAF"], compat=True)
    assert (columns.names["a1"], columns.names["a2"], columns.names["maf"]) == ("REF", "ALT", "EAF")
    assert not columns.has("eaf")
    assert resolve(["SNP", "A1", "A2", "Z", "P"], compat=True).names["effect"] == "Z"


def test_the_users_map_wins() -> None:
    columns = resolve([*BASE, "b_adj"], {"effect": "B_ADJ", "effect_kind": "signed"})
    assert columns.names["effect"] == "b_adj"
    assert columns.effect_kind_given


def test_a_column_without_values_is_named_where_its_role_is_missing() -> None:
    with pytest.raises(DataError, match=r"effect allele \(A1: without a value in the first lines\)") as told:
        resolve(["SNP", "A1", "A2", "BETA", "SE", "P"], empty=["A1"])
    assert told.value.remedy.startswith("fill the column")


def test_an_empty_name_leaves_a_role_out() -> None:
    assert not resolve([*BASE, "CHR", "BP"], {"chr": "", "bp": ""}).has("bp")


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"effect": "BETAA"}, "the nearest is BETA"),
        ({"effects": "BETA"}, "did you mean effect"),
        ({"effect_kind": "or"}, "odds_ratio or signed"),
    ],
)
def test_a_wrong_map_is_refused(user: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        resolve(BASE, user, file="f.tsv")
    assert "f.tsv" in caught.value.where


@pytest.mark.parametrize("gone", ["SNP", "A1", "A2", "BETA"])
def test_a_missing_column_lists_what_there_is(gone: str) -> None:
    with pytest.raises(DataError, match="no column is recognised") as caught:
        resolve([h for h in BASE if h != gone], file="f.tsv")
    assert "columns: {" in caught.value.remedy
    assert caught.value.where == "f.tsv, header line"


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(DataError) as caught:
        resolve(["SNP", "EFFECT_ALELE", "A2", "BETA", "SE", "P"])
    assert "a1: EFFECT_ALELE" in caught.value.remedy


def test_p_is_not_needed_where_effect_and_se_are() -> None:
    assert not resolve(["SNP", "A1", "A2", "BETA", "SE", "N"]).has("p")
    with pytest.raises(DataError, match="p-value"):
        resolve(["SNP", "A1", "A2", "BETA", "N"])
    with pytest.raises(DataError, match="p-value"):
        resolve(["SNP", "A1", "A2", "BETA", "SE", "N"], compat=True)


def test_twin_columns_are_refused() -> None:
    with pytest.raises(DataError, match="2 columns"):
        resolve([*BASE, "p"])
    with pytest.raises(DataError, match="2 columns"):
        resolve([*BASE, "X", "X"], {"z": "X"})


def test_n_must_come_from_somewhere() -> None:
    columns = resolve([h for h in BASE if h != "N"])
    with pytest.raises(DataError, match="sample sizes") as caught:
        check_columns(columns, HarmoniseSpec("T"), file="f")
    assert "n: <samples>" in caught.value.remedy
    check_columns(columns, HarmoniseSpec("T", n=1000.0))


def test_a_logistic_trait_needs_an_effect() -> None:
    with pytest.raises(DataError, match="scale logistic") as caught:
        check_columns(resolve(["SNP", "A1", "A2", "Z", "P", "N"]), HarmoniseSpec("T", scale="logistic"))
    assert "linear_probability" in caught.value.remedy


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="scale"):
        HarmoniseSpec("T", scale="probit")  # type: ignore[arg-type]
