"""The reference program's rules, quirk by quirk: GenomicSEM 0.0.5's ``munge`` for z and n, its ``sumstats`` for beta and se.

Kept apart from the default rules because it is frozen: it shows parity, and nothing is ever improved here. The quirks that
matter: strands are not turned; copies of a variant all stay in the munged product and all leave the other; a p-value outside
[0, 1] keeps its munged row without a Z; a p-value of 0 gives an infinite Z; an effect of exactly 0 leaves the per-SNP product;
the SE of an odds ratio whose alleles are swapped is divided by the inverse odds ratio; rows whose INFO is missing leave both (in
the reference as rows of NA).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods import pvalues
from gsem_spark.methods.sumstats.alleles import Bools, codes
from gsem_spark.methods.sumstats.answer import answer
from gsem_spark.methods.sumstats.batch import Batch, positions, same_as_previous, unknown_share
from gsem_spark.methods.sumstats.chain import Chain
from gsem_spark.methods.sumstats.scale import standardise
from gsem_spark.methods.sumstats.spec import Harmonised, HarmoniseSpec
from gsem_spark.methods.sumstats.text import P_UNDERFLOW, neglog10_p

Floats = NDArray[np.float64]


def harmonise_compat(batch: Batch, spec: HarmoniseSpec) -> Harmonised:
    """Apply the reference's two chains of rules to one batch; arguments and result as for ``harmonise``."""
    chain = Chain(spec.rules, batch.rows)
    raw = batch.numbers("effect")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        effect = np.log(raw) if spec.effect_kind == "odds_ratio" else raw
    file_maf = batch.numbers("maf")
    file_maf = np.where(file_maf > 0.5, 1.0 - file_maf, file_maf)
    z, n, munge_swapped = _munge(chain, batch, spec, raw, effect, file_maf)
    beta, se, swapped = _sumstats(chain, batch, spec, raw, effect, file_maf)
    kept = chain.alive("row")
    chain.repair("alleles_swapped", munge_swapped | swapped, kept)
    chain.repair("p_underflow", batch.numbers("p") < P_UNDERFLOW, kept)
    chain.repair("position_disagrees", positions(batch)[1], kept)
    # outside the SNP list says little of a row that per-SNP rules refused for a reason of its own
    recorded = np.where(chain.ldsc == 1, chain.per_snp, chain.ldsc)
    rule = np.where(kept, 0, recorded).astype(np.int8)
    nlp = neglog10_p(batch.p_text, batch.numbers("p"))
    return answer(chain, batch, kept, rule, np.full(batch.rows, np.nan), (z, n, beta, se, nlp))


def _munge(
    chain: Chain, batch: Batch, spec: HarmoniseSpec, raw: Floats, effect: Floats, file_maf: Floats
) -> tuple[Floats, Floats, Bools]:
    p = batch.numbers("p")
    first, second, swapped = _alleles(batch, indels=False)
    none = np.zeros(batch.rows, np.bool_)
    chain.drop("ldsc:not_in_hm3", ~batch.hm3)
    chain.drop("ldsc:p_missing", np.isnan(p))
    chain.drop("ldsc:effect_missing", np.isnan(raw))
    chain.drop("ldsc:a1_mismatch", ~first)
    chain.drop("ldsc:a2_mismatch", ~second)
    chain.drop("ldsc:info_low", ~(batch.numbers("info") >= spec.ldsc_info_min) if "info" in batch.present else none)
    chain.drop("ldsc:maf_low", ~(file_maf >= spec.ldsc_maf_min) if "maf" in batch.present else none)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.sign(np.where(swapped, -effect, effect)) * pvalues.z_from_neglog10p(_neglog10_number(p))
    n = batch.numbers("n") if "n" in batch.present else 2.0 * batch.numbers("neff_half")
    own_n = spec.n is not None and (spec.scale != "linear_probability" or not {"n", "neff_half"} & batch.present)
    return z, np.full(batch.rows, float(spec.n or np.nan)) if own_n else n, swapped


def _sumstats(
    chain: Chain, batch: Batch, spec: HarmoniseSpec, raw: Floats, effect: Floats, file_maf: Floats
) -> tuple[Floats, Floats, Bools]:
    p = batch.numbers("p")
    first, second, swapped = _alleles(batch, indels=spec.indels)
    none = np.zeros(batch.rows, np.bool_)
    repeats = same_as_previous(batch.text["snp"])
    unknown = none
    if spec.direction_max_missing is not None and "direction" in batch.present:
        unknown = ~(unknown_share(batch.text["direction"]) < spec.direction_max_missing)
    r1, r2 = codes(batch.text["ref_a1"]), codes(batch.text["ref_a2"])
    chain.drop("per_snp:duplicate", repeats | np.append(repeats[1:], False) if batch.rows else none)
    chain.drop("per_snp:direction", unknown)
    chain.drop("per_snp:not_in_reference", ~(batch.matched & (batch.ref["ref_maf"] >= spec.maf_min)))
    chain.drop("per_snp:ambiguous", (r1 >= 0) & (r1 + r2 == 3) if spec.ambiguous == "drop" else none)
    chain.drop("per_snp:p_missing", np.isnan(p))
    chain.drop("per_snp:effect_missing", np.isnan(raw))
    own_maf = "maf" in batch.present
    chain.drop("per_snp:maf_fixed", np.isnan(file_maf) | (file_maf == 0) | (file_maf == 1) if own_maf else none)
    chain.drop("per_snp:effect_zero", ~((effect < 0) | (effect > 0)))
    chain.drop("per_snp:a1_mismatch", ~first)
    chain.drop("per_snp:a2_mismatch", ~second)
    chain.drop("per_snp:info_low", ~(batch.numbers("info") >= spec.info_min) if "info" in batch.present else none)
    # turned before it is scaled: the reference divides an odds ratio's SE by the turned odds ratio (default rules: the file's)
    turned = np.where(swapped, -effect, effect)
    beta, se = _scaled(batch, spec, turned, file_maf if own_maf else batch.ref["ref_maf"])
    incomplete = np.isnan(beta) | np.isnan(se)
    if spec.scale == "linear_probability":
        incomplete |= (beta == 0) | (se == 0)
    chain.drop("per_snp:incomplete", incomplete)
    return beta, se, swapped


def _scaled(batch: Batch, spec: HarmoniseSpec, effect: Floats, frequency: Floats) -> tuple[Floats, Floats]:
    """Standardised effect of the reference's a1 and SE; ``linear`` has SE = |effect / Z|, none where Z is 0 or infinite."""
    p = batch.numbers("p")
    tiny = ~(p >= P_UNDERFLOW)
    nlp = _neglog10_number(p)
    if tiny.any() and spec.p_as_text:
        nlp = np.where(tiny, neglog10_p(batch.p_text, p), nlp)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.where(tiny, np.sqrt(2.0 * np.log(10.0) * nlp), pvalues.z_from_neglog10p(nlp))
        z = np.sign(effect) * size
    given = spec.n if spec.n_per_snp is None else spec.n_per_snp
    n = batch.numbers("n") if given is None else np.full(batch.rows, float(given))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if spec.standardised:
            return effect, np.abs(effect / z)
        beta, se = standardise(spec.scale, effect=effect, se=batch.numbers("se"), z=z, n=n, frequency=frequency)
        return beta, np.abs(beta / z) if spec.scale == "linear" else se


def _alleles(batch: Batch, *, indels: bool) -> tuple[Bools, Bools, Bools]:
    """Tell whether the reference's a1 and a2 each are one of the file's alleles, and whether the two are swapped."""
    known = np.ones(batch.rows, np.bool_)
    x1: NDArray[Any]
    x2: NDArray[Any]
    r1: NDArray[Any]
    r2: NDArray[Any]
    if indels:
        x1, x2 = (_words(batch.text[name], upper=True) for name in ("a1", "a2"))
        r1, r2 = (_words(batch.text[name], upper=False) for name in ("ref_a1", "ref_a2"))
    else:
        x1, x2, r1, r2 = (codes(batch.text[name]) for name in ("a1", "a2", "ref_a1", "ref_a2"))
        known = (r1 >= 0) & (r2 >= 0)
    first, second = (r1 == x1) | (r1 == x2), (r2 == x2) | (r2 == x1)
    return first & known, second & known, (r1 != x1) & (r1 == x2)


def _words(text: object, *, upper: bool) -> NDArray[np.object_]:
    words = text.to_numpy(zero_copy_only=False)  # type: ignore[attr-defined]
    return np.array([w.upper() if upper and w is not None else w if w is not None else object() for w in words], dtype=object)


def _neglog10_number(p: Floats) -> Floats:
    """−log10 of p as float64 holds it: numbers below its range are 0 and give infinity; outside [0, 1] NaN."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where((p >= 0) & (p <= 1), -np.log10(p) + 0.0, np.nan)
