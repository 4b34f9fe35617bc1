"""What harmonisation is told (:class:`HarmoniseSpec`) and what it answers (:class:`Harmonised`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods.sumstats.rules import Rule, rules_for
from gsem_spark.thresholds import LDSC_INFO_MIN, LDSC_MAF_MIN, PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Scale = Literal["linear", "logistic", "logistic_or_se", "linear_probability"]
SCALES: Final = ("linear", "logistic", "logistic_or_se", "linear_probability")
EffectKind = Literal["odds_ratio", "signed"]
AMBIGUOUS: Final = ("keep", "drop", "frequency")
COMPAT: Final = (None, "genomicsem")


@dataclass(frozen=True)
class HarmoniseSpec:
    """Everything that decides how the rows of one file are read. Picklable; the same for every batch of the file.

    Parameters
    ----------
    trait
        Trait name, for messages.
    scale
        ``linear``: least squares on a continuous trait. ``logistic``: log odds or odds ratio with the SE of the log odds.
        ``logistic_or_se``: the SE is on the odds-ratio scale. ``linear_probability``: least squares on a 0/1 trait.
    effect_kind
        ``odds_ratio`` or ``signed``; decided file-wide by :func:`~gsem_spark.methods.sumstats.effects.effect_kind`.
    n
        Sample size in place of the file's columns; effective for ``linear_probability``.
    n_per_snp
        Sample size for the per-SNP product alone, where it differs from LDSC's (compat: ``N`` of ``sumstats`` against that of
        ``munge``). None: the same as ``n``.
    sample_prevalence
        Share of cases that LDSC's liability conversion will use. It decides whether total or effective N belongs to it.
    ambiguous
        ``keep`` or ``drop`` A/T and C/G variants, or ``frequency``: keep those whose allele frequency tells the strand
        (needs the reference's frequency of a1, ``ref_eaf``).
    indels
        Keep variants with other alleles than single letters A, C, G, T.
    info_min, maf_min
        Rows below are dropped (compat: from the per-SNP product; ``maf_min`` there is the reference MAF's bound).
    ldsc_info_min, ldsc_maf_min
        Bounds of the LDSC product; used under compat only (default rules keep the columns, and LDSC's reader applies its bounds).
    direction_max_missing
        None: no filter. Else rows whose direction string has this share or more of ``?`` are dropped; the reference's is .5.
    standardised
        Effects are already per SD of the trait and are kept as they are (``linear`` only).
    compat
        None for the default rules, ``"genomicsem"`` for the reference's.
    p_as_text
        Compat: the p-value column's header is ``P``, the only one that the reference keeps as text; others underflow.
    effect_kind_given
        The user said what the effects are: the file-wide check does not contradict.
    """

    trait: str
    scale: Scale = "linear"
    effect_kind: EffectKind = "signed"
    n: float | None = None
    n_per_snp: float | None = None
    sample_prevalence: float | None = None
    ambiguous: Literal["keep", "drop", "frequency"] = "keep"
    indels: bool = False
    info_min: float = PER_SNP_INFO_MIN
    maf_min: float = PER_SNP_MAF_MIN
    ldsc_info_min: float = LDSC_INFO_MIN
    ldsc_maf_min: float = LDSC_MAF_MIN
    direction_max_missing: float | None = None
    standardised: bool = False
    compat: str | None = None
    p_as_text: bool = True
    effect_kind_given: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("scale", SCALES), ("ambiguous", AMBIGUOUS), ("compat", COMPAT)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} is {value!r}", where=f"trait {self.trait}",
                                  remedy=f"use one of {', '.join(str(a) for a in allowed)}")
        if self.compat and self.ambiguous == "frequency":
            raise ConfigError("the reference has no frequency check of ambiguous variants", where=f"trait {self.trait}",
                              remedy='with compat="genomicsem" use ambiguous "keep" or "drop"')

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The ordered rules of this spec."""
        return rules_for(self.compat)

    def meaning(self, rule: Rule) -> str:
        """Return a rule's meaning with this spec's thresholds filled in."""
        return rule.meaning.format(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Counters:
    """Additive facts of a batch: sum them over the batches of a file (``a + b``, or ``sum(list, Counters.zero(spec))``).

    Attributes
    ----------
    rules
        Int64 (number of rules, 2): rows that reached each rule, and rows it dropped (or changed).
    facts
        Named counts: ``rows``, ``kept``, ``kept_ldsc``, ``kept_per_snp``, ``effect_low`` (≤ .5), ``effect_mid``, ``effect_high``
        (≥ 1.5), ``positions_compared``, ``positions_disagree``, ``p_outside``, ``unparsable_<role>``, …
    """

    rules: NDArray[np.int64]
    facts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def zero(cls, spec: HarmoniseSpec) -> Counters:
        """Return the neutral element of addition for a spec's rules."""
        return cls(np.zeros((len(spec.rules), 2), np.int64))

    def __add__(self, other: Counters) -> Counters:
        facts = dict(self.facts)
        for name, count in other.facts.items():
            facts[name] = facts.get(name, 0) + count
        return Counters(self.rules + other.rules, facts)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, fit for JSON."""
        return {"rules": self.rules.tolist(), "facts": dict(self.facts)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Counters:
        """Inverse of :meth:`to_dict`."""
        return cls(np.asarray(plain["rules"], np.int64), {k: int(v) for k, v in plain["facts"].items()})


@dataclass(frozen=True)
class Harmonised:
    """One batch after the rules: arrays in the order of the batch's rows, NaN (None for text) where there is no value.

    Attributes
    ----------
    keep, keep_ldsc, keep_per_snp
        Row is kept at all; has z and n; has beta and se.
    rule, rule_ldsc, rule_per_snp
        0, or the code of the rule that dropped the row from the table, from the LDSC product, from the per-SNP product.
    repairs
        Int32 (n, 1 per repair rule) as bit mask: bit ``code − 1`` is set when the repair with that code changed the row.
    z, n
        Signed Z of ``a1`` and sample size. NaN outside the LDSC product.
    beta, se
        Effect of ``a1`` on the standardised trait and its standard error. NaN outside the per-SNP product.
    eaf, maf, info, neglog10p
        Frequency of a1 in the GWAS; the reference's MAF; imputation quality; −log10 p.
    a1, a2
        The reference's alleles (Arrow text).
    counters
        Additive counts.
    """

    keep: Bools
    keep_ldsc: Bools
    keep_per_snp: Bools
    rule: NDArray[np.int8]
    rule_ldsc: NDArray[np.int8]
    rule_per_snp: NDArray[np.int8]
    repairs: NDArray[np.int32]
    z: Floats
    n: Floats
    beta: Floats
    se: Floats
    eaf: Floats
    maf: Floats
    info: Floats
    neglog10p: Floats
    a1: pa.Array
    a2: pa.Array
    counters: Counters

    def to_arrow(self) -> pa.RecordBatch:
        """All rows as an Arrow batch (not finite → null): z, n, beta, se, …, a1, a2, rule, repairs, keep…."""
        numbers = {
            name: pa.array(values, mask=~np.isfinite(values))
            for name in ("z", "n", "beta", "se", "eaf", "maf", "info", "neglog10p")
            for values in (getattr(self, name),)
        }
        flags = ("rule", "rule_ldsc", "rule_per_snp", "repairs", "keep", "keep_ldsc", "keep_per_snp")
        return pa.RecordBatch.from_pydict(
            {**numbers, "a1": self.a1, "a2": self.a2, **{name: pa.array(getattr(self, name)) for name in flags}}
        )


def qc_rows(counters: Counters, spec: HarmoniseSpec) -> list[dict[str, Any]]:
    """Rows for the quality-control log: step, rule, meaning, rows_in, rows_dropped; in the order of the rules."""
    return [
        {"step": r.code, "rule": r.name, "meaning": spec.meaning(r), "rows_in": int(seen), "rows_dropped": int(dropped)}
        for r, (seen, dropped) in zip(spec.rules, counters.rules, strict=True)
    ]


def total(parts: Iterable[Counters], spec: HarmoniseSpec) -> Counters:
    """Sum of the counters of a file's batches."""
    return sum(parts, Counters.zero(spec))
