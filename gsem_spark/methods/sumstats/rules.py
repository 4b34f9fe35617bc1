"""The rules of harmonisation as data: what each one does, to which product, and in which order.

A raw row feeds two products: ``ldsc`` (z and n, read by LD score regression) and ``per_snp`` (standardised beta and se, read by
per-SNP models). A rule of scope ``row`` takes the row from both, one of scope ``ldsc`` or ``per_snp`` from that product only, and
a ``repair`` drops nothing: it changes the row (or takes note of it) and is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Scope = Literal["row", "ldsc", "per_snp", "repair"]


@dataclass(frozen=True)
class Rule:
    """One rule: its place in the order (``code``, from 1), its name, its scope, and its meaning.

    ``meaning`` may hold the names of :class:`~gsem_spark.methods.sumstats.spec.HarmoniseSpec` fields in braces; they are filled
    with the run's thresholds when the quality-control log is written.
    """

    code: int
    name: str
    scope: Scope
    meaning: str


def _ordered(*rules: tuple[str, Scope, str]) -> tuple[Rule, ...]:
    return tuple(Rule(code, name, scope, meaning) for code, (name, scope, meaning) in enumerate(rules, start=1))


RULES: Final = _ordered(
    ("snp_missing", "row", "no variant name"),
    ("not_in_reference", "row", "variant name not in the variant reference"),
    ("allele_missing", "row", "effect allele or other allele missing"),
    ("indel", "row", "alleles are not single letters A, C, G, T (dropped unless indels are asked for)"),
    ("allele_mismatch", "row", "alleles are not those of the reference on either strand"),
    ("ambiguous", "row", "strand-ambiguous alleles (A/T or C/G), ambiguous = {ambiguous}"),
    ("direction", "row", "direction string unknown (?) for {direction_max_missing} or more of the cohorts"),
    ("p_missing", "row", "p-value missing or not a number"),
    ("p_out_of_range", "row", "p-value below 0 or above 1"),
    ("effect_missing", "row", "effect missing, not a number, infinite, or an odds ratio of 0 or less"),
    ("p_zero", "row", "p-value printed as 0 and no Z, or effect with standard error, to recover it from"),
    ("info_low", "row", "imputation quality missing or below {info_min}"),
    ("frequency_invalid", "row", "allele frequency below 0 or above 1"),
    ("maf_low", "row", "minor allele frequency (the file's, else the reference's) missing or below {maf_min}"),
    ("duplicate", "row", "another copy of the variant, earlier in the file, passed every rule above"),
    ("n_missing", "ldsc", "sample size missing, zero or negative: the row is kept without z and n"),
    (
        "not_scalable",
        "per_snp",
        "no standardised effect (standard error, sample size or frequency missing): kept without beta and se",
    ),
    ("no_product", "row", "neither z with n, nor beta with se, could be formed"),
    ("alleles_swapped", "repair", "effect allele is the reference's a2: sign and frequency turned"),
    ("strand_flipped", "repair", "alleles given on the other strand: complemented"),
    ("ambiguous_flipped", "repair", "strand-ambiguous variant turned because its frequency is on the reference's other side"),
    ("p_underflow", "repair", "p-value below 1e-307: its logarithm taken from the text"),
    ("p_zero_recovered", "repair", "p-value printed as 0: recovered from Z, or from the effect and its standard error"),
    ("p_from_estimate", "repair", "no p-value column: taken from Z, or from the effect and its standard error"),
    ("se_from_p", "repair", "standard error missing or not positive: taken from the effect and the p-value"),
    (
        "position_disagrees",
        "repair",
        "chromosome or position differs from the reference's (another build); the reference's is kept",
    ),
)
"""Default rules, in order. The first one that applies to a row is the one that is recorded for it."""

COMPAT_RULES: Final = _ordered(
    ("ldsc:not_in_hm3", "ldsc", "munge: variant not in the SNP list"),
    ("ldsc:p_missing", "ldsc", "munge: p-value missing"),
    ("ldsc:effect_missing", "ldsc", "munge: effect missing"),
    ("ldsc:a1_mismatch", "ldsc", "munge: effect allele is neither of the reference's (strands are not turned)"),
    ("ldsc:a2_mismatch", "ldsc", "munge: other allele is neither of the reference's"),
    ("ldsc:info_low", "ldsc", "munge: INFO below {ldsc_info_min}"),
    ("ldsc:maf_low", "ldsc", "munge: MAF missing or below {ldsc_maf_min}"),
    ("per_snp:duplicate", "per_snp", "sumstats: every copy of a variant that occurs more than once"),
    ("per_snp:direction", "per_snp", "sumstats: direction unknown for {direction_max_missing} or more of the cohorts"),
    ("per_snp:not_in_reference", "per_snp", "sumstats: variant not in the reference, or its reference MAF below {maf_min}"),
    ("per_snp:ambiguous", "per_snp", "sumstats: reference alleles are strand-ambiguous (ambiguous = {ambiguous})"),
    ("per_snp:p_missing", "per_snp", "sumstats: p-value missing"),
    ("per_snp:effect_missing", "per_snp", "sumstats: effect missing"),
    ("per_snp:maf_fixed", "per_snp", "sumstats: allele frequency missing or exactly 0 or 1"),
    ("per_snp:effect_zero", "per_snp", "sumstats: effect exactly 0"),
    ("per_snp:a1_mismatch", "per_snp", "sumstats: effect allele is neither of the reference's (strands are not turned)"),
    ("per_snp:a2_mismatch", "per_snp", "sumstats: other allele is neither of the reference's"),
    ("per_snp:info_low", "per_snp", "sumstats: INFO below {info_min}"),
    ("per_snp:incomplete", "per_snp", "sumstats: standardised effect or standard error could not be computed"),
    ("alleles_swapped", "repair", "effect allele is the reference's a2: sign turned"),
    ("p_underflow", "repair", "p-value below 1e-307, read from the text, or 0"),
    (
        "position_disagrees",
        "repair",
        "chromosome or position differs from the reference's (another build); the reference's is kept",
    ),
)
"""Rules of ``compat="genomicsem"``: the two functions of the reference one after the other, each with its own order."""


def rules_for(compat: str | None) -> tuple[Rule, ...]:
    """Return the ordered rules of a mode: ``None`` (default rules) or ``"genomicsem"``."""
    return RULES if compat is None else COMPAT_RULES
