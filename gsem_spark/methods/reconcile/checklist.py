"""What a reviewer asks of a multivariate GWAS, answered from the run: each item with a verdict, the number, and where to look.

Thresholds stand in :mod:`gsem_spark.thresholds`, with their sources, and are settings of :class:`ReviewLimits`. What the run does
not hold is "not assessed", never passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Final, Literal

import numpy as np
import pandas as pd

from gsem_spark import thresholds as T

CheckVerdict = Literal["pass", "warn", "fail", "not assessed"]

_Answer = tuple[CheckVerdict, str]


@dataclass(frozen=True)
class CheckItem:
    """One item of the list.

    Parameters
    ----------
    key
        Short name.
    question
        What is asked, with the threshold.
    verdict
        ``"pass"``, ``"warn"``, ``"fail"`` or ``"not assessed"``.
    number
        The number or words that it rests on; a dash where there is none.
    place
        Section of the report that shows it.
    """

    key: str
    question: str
    verdict: CheckVerdict
    number: str
    place: str


@dataclass(frozen=True)
class ReviewLimits:
    """Thresholds of the list; the defaults are those of the package."""

    cfi: tuple[float, float] = (T.CFI_GOOD, T.CFI_ACCEPTABLE)
    rmsea: tuple[float, float] = (T.RMSEA_GOOD, T.RMSEA_ACCEPTABLE)
    srmr: tuple[float, float] = (T.SRMR_GOOD, T.SRMR_ACCEPTABLE)
    loading: tuple[float, float] = (T.LOADING_MIN, T.LOADING_MAX)
    loading_suspicious: float = T.LOADING_SUSPICIOUS
    rg_max: float = T.RG_MAX
    z_smooth: float = T.SMOOTH_Z_WARN
    intercept: tuple[float, float] = (T.FACTOR_INTERCEPT_WARN, T.FACTOR_INTERCEPT_FAIL)
    h2_z: float = T.H2_Z_MIN
    max_fdr: float = T.MAX_FDR_WARN
    stable_loci: tuple[float, float] = (T.STABLE_LOCI_GOOD, T.STABLE_LOCI_ACCEPTABLE)
    replication_alpha: float = T.REPLICATION_ALPHA


@dataclass(frozen=True)
class ReviewFacts:
    """What the run holds; None, NaN or an empty mapping for what it does not.

    Parameters
    ----------
    sample_sizes
        By trait; NaN where a file has no N.
    ancestry, ld_reference
        As said in the study.
    overlap_in_v, gc
        Whether sampling covariances of the traits (V, and the LDSC intercepts I) enter the per-SNP model; the correction used.
    cfi, tli, rmsea, srmr
        Fit indices; NaN in a model without degrees of freedom.
    loadings
        Standardised, by trait.
    rg
        Genetic correlations by pair of traits.
    heywood
        Residual variances below 0.
    v_min_eigenvalue
        Smallest eigenvalue of V, over its largest.
    smoothed_share, z_smooth_max
        Share of SNPs whose matrix was smoothed, and the largest change of a Z.
    lambda_gc, intercept, intercept_se
        Of the factor GWAS.
    factor_h2, factor_h2_se
        SNP heritability of the factor by LD score regression of its GWAS.
    factor_rg
        Genetic correlation of the factor with each input trait.
    factor_loci, q_loci, factor_loci_heterogeneous
        Loci of the factor, of Q_SNP, and those of the factor whose Q_SNP is significant.
    max_fdr
        By trait.
    stable_loci
        By trait left out, the share of the factor's loci that stay.
    replicated_same, replicated_tested, replicated_p
        Sign test of the leads in an independent panel.
    """

    sample_sizes: Mapping[str, float] = field(default_factory=dict)
    ancestry: str | None = None
    ld_reference: str | None = None
    overlap_in_v: bool | None = None
    gc: str | None = None
    cfi: float | None = None
    tli: float | None = None
    rmsea: float | None = None
    srmr: float | None = None
    loadings: Mapping[str, float] = field(default_factory=dict)
    rg: Mapping[tuple[str, str], float] = field(default_factory=dict)
    heywood: Sequence[str] | None = None
    v_min_eigenvalue: float | None = None
    smoothed_share: float | None = None
    z_smooth_max: float | None = None
    lambda_gc: float | None = None
    intercept: float | None = None
    intercept_se: float | None = None
    factor_h2: float | None = None
    factor_h2_se: float | None = None
    factor_rg: Mapping[str, float] = field(default_factory=dict)
    factor_loci: int | None = None
    q_loci: int | None = None
    factor_loci_heterogeneous: int | None = None
    max_fdr: Mapping[str, float] = field(default_factory=dict)
    stable_loci: Mapping[str, float] = field(default_factory=dict)
    replicated_same: int | None = None
    replicated_tested: int | None = None
    replicated_p: float | None = None


def review(facts: ReviewFacts, limits: ReviewLimits | None = None) -> tuple[CheckItem, ...]:
    """Answer every item, in the order of a paper."""
    by = limits if limits is not None else ReviewLimits()
    return tuple(
        CheckItem(key, question(by), *answer(facts, by), place=place) for key, question, place, answer in _ITEMS
    )


def overall(items: Sequence[CheckItem]) -> CheckVerdict:
    """Return the worst verdict; "not assessed" only where nothing was assessed."""
    order: tuple[CheckVerdict, ...] = ("fail", "warn", "pass")
    given = {item.verdict for item in items}
    return next((v for v in order if v in given), "not assessed")


def checklist_table(items: Sequence[CheckItem]) -> pd.DataFrame:
    """Return the items as a table, one row each: ``key question verdict number place``."""
    return pd.DataFrame([asdict(item) for item in items], columns=[f.name for f in fields(CheckItem)])


_NOT_ASSESSED: Final[_Answer] = ("not assessed", "–")


def _missing(value: float | None) -> bool:
    return value is None or bool(np.isnan(value))


def _graded(value: float | None, good: float, acceptable: float, *, high: bool, digits: int = 3) -> _Answer:
    """Pass, warn or fail by two thresholds; ``high``: larger is better."""
    if value is None or np.isnan(value):
        return _NOT_ASSESSED
    sign = 1.0 if high else -1.0
    better = sign * value >= sign * good
    enough = sign * value >= sign * acceptable
    return "pass" if better else "warn" if enough else "fail", f"{value:.{digits}f}"


def _inputs(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if not f.sample_sizes:
        return _NOT_ASSESSED
    absent = [t for t, n in f.sample_sizes.items() if _missing(n) or n <= 0]
    if absent:
        return "fail", f"no N for {', '.join(absent)}"
    sizes = list(f.sample_sizes.values())
    return "pass", f"{len(sizes)} traits, N {min(sizes):,.0f} to {max(sizes):,.0f}"


def _ancestry(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.ancestry and f.ld_reference:
        return "pass", f"{f.ancestry}; {f.ld_reference}"
    absent = " and ".join(name for name, given in (("ancestry", f.ancestry), ("LD reference", f.ld_reference)) if not given)
    return "warn", f"{absent} not said"


def _overlap(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.overlap_in_v is None:
        return _NOT_ASSESSED
    if not f.overlap_in_v:
        return "fail", "samples are taken to be disjoint"
    return "pass", f"V and I used{f', genomic control {f.gc}' if f.gc else ''}"


def _loadings(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if not f.loadings:
        return _NOT_ASSESSED
    size = {t: abs(v) for t, v in f.loadings.items()}
    number = f"{min(size.values()):.2f} to {max(size.values()):.2f}"
    impossible = [t for t, v in size.items() if not v <= 1.0]
    if impossible:
        return "fail", f"{number}; beyond 1: {', '.join(impossible)}"
    suspicious = [t for t, v in size.items() if v > by.loading_suspicious]
    outside = [t for t, v in size.items() if not by.loading[0] <= v <= by.loading[1] and t not in suspicious]
    said = [f"suspicious: {', '.join(suspicious)}"] if suspicious else []
    said += [f"outside: {', '.join(outside)}"] if outside else []
    return ("warn" if said else "pass"), "; ".join([number, *said])


def _rg(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    known = {pair: v for pair, v in f.rg.items() if not np.isnan(v)}
    if not known:
        return _NOT_ASSESSED
    pair = max(known, key=lambda p: abs(known[p]))
    largest = abs(known[pair])
    verdict: CheckVerdict = "pass" if largest < by.rg_max else "warn" if largest < 1.0 else "fail"
    return verdict, f"largest {known[pair]:.3f} ({pair[0]} and {pair[1]})"


def _heywood(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.heywood is None:
        return _NOT_ASSESSED
    return ("fail", ", ".join(f.heywood)) if f.heywood else ("pass", "none")


def _v_definite(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.v_min_eigenvalue is None or np.isnan(f.v_min_eigenvalue):
        return _NOT_ASSESSED
    return ("pass" if f.v_min_eigenvalue > 0 else "fail"), f"smallest over largest eigenvalue {f.v_min_eigenvalue:.2g}"


def _smoothing(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.smoothed_share is None or np.isnan(f.smoothed_share):
        return _NOT_ASSESSED
    if f.smoothed_share == 0:
        return "pass", "no SNP"
    change = f.z_smooth_max
    number = f"{f.smoothed_share:.2%} of SNPs" + ("" if change is None else f", largest change of a Z {change:.3f}")
    return ("fail" if change is not None and change > by.z_smooth else "warn"), number


def _inflation(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.intercept is None or np.isnan(f.intercept):
        if f.lambda_gc is None or np.isnan(f.lambda_gc):
            return _NOT_ASSESSED
        return "warn", f"λ {f.lambda_gc:.3f}; without the LD score intercept inflation is not told from polygenicity"
    number = f"intercept {f.intercept:.3f}" + ("" if _missing(f.intercept_se) else f" ({f.intercept_se:.3f})")
    if f.lambda_gc is not None:
        number = f"λ {f.lambda_gc:.3f}, {number}"
    return _graded(f.intercept, *by.intercept, high=False)[0], number


def _factor_h2(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.factor_h2 is None or f.factor_h2_se is None or not f.factor_h2_se > 0:
        return _NOT_ASSESSED
    z = f.factor_h2 / f.factor_h2_se
    return ("pass" if z >= by.h2_z else "warn" if z > 0 else "fail"), f"{f.factor_h2:.3f} ({f.factor_h2_se:.3f}), Z {z:.1f}"


def _factor_rg(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    known = {t: v for t, v in f.factor_rg.items() if not np.isnan(v)}
    if not known:
        return _NOT_ASSESSED
    number = ", ".join(f"{t} {v:.2f}" for t, v in known.items())
    signs = {t: np.sign(f.loadings[t]) for t in known if t in f.loadings}
    against = [t for t, s in signs.items() if known[t] * s < 0]
    if against:
        return "fail", f"{number}; against the loading: {', '.join(against)}"
    return ("pass" if all(abs(v) > by.loading[0] for v in known.values()) else "warn"), number


def _hits(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if f.factor_loci is None or f.q_loci is None:
        return _NOT_ASSESSED
    number = f"{f.factor_loci} factor loci, {f.q_loci} Q_SNP loci"
    shared = f.factor_loci_heterogeneous
    if shared is not None:
        number += f"; {shared} factor loci are heterogeneous"
    many = shared is not None and f.factor_loci > 0 and 2 * shared > f.factor_loci
    return ("warn" if many or f.factor_loci == 0 else "pass"), number


def _max_fdr(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    known = {t: v for t, v in f.max_fdr.items() if not np.isnan(v)}
    if not known:
        return _NOT_ASSESSED
    trait = max(known, key=lambda t: known[t])
    return ("pass" if known[trait] < by.max_fdr else "fail"), f"largest {known[trait]:.3g} ({trait})"


def _stability(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    known = {t: v for t, v in f.stable_loci.items() if not np.isnan(v)}
    if not known:
        return _NOT_ASSESSED
    trait = min(known, key=lambda t: known[t])
    return _graded(known[trait], *by.stable_loci, high=True)[0], f"at least {known[trait]:.0%} of loci stay (without {trait})"


def _direction(f: ReviewFacts, by: ReviewLimits) -> _Answer:
    if not f.replicated_tested or f.replicated_same is None or f.replicated_p is None or np.isnan(f.replicated_p):
        return _NOT_ASSESSED
    number = f"{f.replicated_same} of {f.replicated_tested} leads, p {f.replicated_p:.2g}"
    most = 2 * f.replicated_same > f.replicated_tested
    return ("pass" if f.replicated_p < by.replication_alpha else "warn" if most else "fail"), number


def _fit(name: Literal["cfi", "tli", "rmsea", "srmr"]) -> Callable[[ReviewFacts, ReviewLimits], _Answer]:
    def answer(f: ReviewFacts, by: ReviewLimits) -> _Answer:
        value: float | None = getattr(f, name)
        pair = by.cfi if name in ("cfi", "tli") else by.rmsea if name == "rmsea" else by.srmr
        return _graded(value, *pair, high=name in ("cfi", "tli"))

    return answer


_INPUTS, _LDSC, _MODEL, _GWAS, _RECONCILE = "inputs", "ldsc", "model", "gwas", "reconcile"
_ITEMS: Final[tuple[tuple[str, Callable[[ReviewLimits], str], str, Callable[[ReviewFacts, ReviewLimits], _Answer]], ...]] = (
    ("inputs", lambda by: "Are all inputs and their N said?", _INPUTS, _inputs),
    ("ancestry", lambda by: "Are the ancestry and the LD reference said?", _INPUTS, _ancestry),
    ("overlap", lambda by: "Is sample overlap handled through V and I?", _LDSC, _overlap),
    ("rg", lambda by: f"Are all genetic correlations below {by.rg_max:g}?", _LDSC, _rg),
    ("v_definite", lambda by: "Is V positive definite?", _LDSC, _v_definite),
    ("cfi", lambda by: f"CFI ≥ {by.cfi[0]:g} (acceptable {by.cfi[1]:g})?", _MODEL, _fit("cfi")),
    ("tli", lambda by: f"TLI ≥ {by.cfi[0]:g} (acceptable {by.cfi[1]:g})?", _MODEL, _fit("tli")),
    ("rmsea", lambda by: f"RMSEA ≤ {by.rmsea[0]:g} (acceptable {by.rmsea[1]:g})?", _MODEL, _fit("rmsea")),
    ("srmr", lambda by: f"SRMR ≤ {by.srmr[0]:g} (acceptable {by.srmr[1]:g})?", _MODEL, _fit("srmr")),
    ("loadings", lambda by: f"Loadings within {by.loading[0]:g} and {by.loading[1]:g}, none above {by.loading_suspicious:g}?",
     _MODEL, _loadings),
    ("heywood", lambda by: "No residual variance below 0?", _MODEL, _heywood),
    ("smoothing", lambda by: f"No SNP's matrix smoothed, no Z changed by more than {by.z_smooth:g}?", _GWAS, _smoothing),
    ("inflation", lambda by: f"LD score intercept of the factor GWAS ≤ {by.intercept[0]:g} (acceptable {by.intercept[1]:g})?",
     _GWAS, _inflation),
    ("factor_h2", lambda by: f"Is the factor's h2 well told from 0 (Z ≥ {by.h2_z:g})?", _GWAS, _factor_h2),
    ("factor_rg", lambda by: "Does the factor correlate with each trait as its loading says?", _GWAS, _factor_rg),
    ("hits", lambda by: "How many loci of the factor, how many of Q_SNP?", _GWAS, _hits),
    ("max_fdr", lambda by: f"Is maxFDR below {by.max_fdr:g} for all traits?", _RECONCILE, _max_fdr),
    ("stability", lambda by: f"Do {by.stable_loci[0]:.0%} of loci stay without any trait (acceptable {by.stable_loci[1]:.0%})?",
     _RECONCILE, _stability),
    ("direction", lambda by: f"Do leads keep their direction in an independent panel (sign test p < {by.replication_alpha:g})?",
     _RECONCILE, _direction),
)  # fmt: skip
