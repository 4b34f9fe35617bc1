"""Harmonisation of one batch of raw rows to the reference: default rules here, the reference program's in ``compat``.

A batch holds rows of one file, sorted by (snp, line number), with every copy of a SNP in the same batch, joined to the variant
reference. Everything here is vectorised; results do not depend on how a file is cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods import pvalues
from gsem_spark.methods.sumstats.alleles import Bools, Match, match
from gsem_spark.methods.sumstats.answer import answer
from gsem_spark.methods.sumstats.batch import INPUTS, Batch, decode, positions, same_as_previous, unknown_share
from gsem_spark.methods.sumstats.chain import Chain
from gsem_spark.methods.sumstats.compat import harmonise_compat
from gsem_spark.methods.sumstats.samplesize import ldsc_n, per_snp_n
from gsem_spark.methods.sumstats.scale import CI_WIDTH, standardise
from gsem_spark.methods.sumstats.spec import Harmonised, HarmoniseSpec
from gsem_spark.methods.sumstats.text import P_UNDERFLOW, neglog10_p

Floats = NDArray[np.float64]
__all__ = ["INPUTS", "harmonise"]

FREQUENCY_MARGIN: Final = 0.1
"""Frequencies nearer to one half than this do not tell the strand of an ambiguous variant."""


def harmonise(raw: Mapping[str, Any] | pa.RecordBatch | pa.Table, spec: HarmoniseSpec) -> Harmonised:
    """Apply the rules of ``spec`` to one batch.

    Parameters
    ----------
    raw
        Columns as in :data:`INPUTS`: text columns by role, and the reference's, aligned row by row (nulls where the variant is
        not in the reference). Sorted by (snp, line number); all copies of a SNP in the same batch.
    spec
        What the file is and which rules hold.

    Returns
    -------
    Harmonised
        Arrays in the batch's row order; see there.

    Raises
    ------
    ContractError
        The batch lacks the reference's alleles, or its columns differ in length.
    ConfigError
        ``ambiguous="frequency"`` without the reference's allele frequency.
    """
    batch = decode(raw, compat=spec.compat is not None)
    return _harmonise_default(batch, spec) if spec.compat is None else harmonise_compat(batch, spec)


def _harmonise_default(batch: Batch, spec: HarmoniseSpec) -> Harmonised:
    chain = Chain(spec.rules, batch.rows)
    a2 = _other_allele(batch)
    alleles = match(batch.text["a1"], a2, batch.text["ref_a1"], batch.text["ref_a2"], indels=spec.indels)
    turned, undecided = _ambiguous(batch, alleles, spec)
    swapped = alleles.swapped ^ turned
    log_effect = _log_effect(batch, spec)
    se = _standard_error(batch, log_effect, spec)
    nlp, z, how = _significance(batch, log_effect, se, spec)

    _drop_unmatched(chain, batch, alleles, undecided, spec)
    _drop_unusable(chain, batch, log_effect, nlp, how, spec)
    frequency = _drop_rare(chain, batch, spec)
    _drop_copies(chain, batch)

    z = np.where(swapped, -z, z)
    log_effect = np.where(swapped, -log_effect, log_effect)
    n = ldsc_n(batch, spec)
    beta, beta_se, from_p = _standardised(batch, spec, np.where(swapped, -1.0, 1.0), log_effect, se, z, frequency)
    chain.drop("n_missing", ~(n > 0))
    chain.drop("not_scalable", ~(np.isfinite(beta) & (beta_se > 0) & np.isfinite(beta_se)))
    nothing = (chain.ldsc != 0) & (chain.per_snp != 0)
    _note_repairs(chain, batch, alleles, turned, swapped, how, from_p)
    rule = np.where(nothing, np.minimum(chain.ldsc, chain.per_snp), 0).astype(np.int8)
    lost_both = nothing & (chain.ldsc != chain.per_snp)
    code = next(r.code for r in spec.rules if r.name == "no_product")
    rule[lost_both] = code
    chain.counts[code - 1] += (np.count_nonzero(~nothing | lost_both), np.count_nonzero(lost_both))
    eaf = batch.numbers("eaf")
    return answer(chain, batch, rule == 0, rule, np.where(swapped, 1.0 - eaf, eaf), (z, n, beta, beta_se, nlp))


# --- alleles ---------------------------------------------------------------------------------------------------------------
def _other_allele(batch: Batch) -> pa.Array:
    """Return the file's a2, or where it has none the one of REF and ALT that is not the effect allele."""
    a1, a2, ref, alt = (batch.text[name] for name in ("a1", "a2", "ref", "alt"))
    if "a2" in batch.present or not {"ref", "alt"} <= batch.present:
        return a2
    is_alt, is_ref = pc.fill_null(pc.equal(a1, alt), False), pc.fill_null(pc.equal(a1, ref), False)
    return pc.if_else(is_alt, ref, pc.if_else(is_ref, alt, pa.scalar(None, pa.string())))


def _ambiguous(batch: Batch, alleles: Match, spec: HarmoniseSpec) -> tuple[Bools, Bools]:
    """Ambiguous rows to turn to the other strand, and those to drop."""
    none = np.zeros(batch.rows, np.bool_)
    if spec.ambiguous == "keep":
        return none, none
    if spec.ambiguous == "drop":
        return none, alleles.ambiguous
    if batch.rows and batch.matched.any() and not np.isfinite(batch.ref["ref_eaf"]).any():
        raise ConfigError(
            "ambiguous = frequency needs the reference's frequency of a1, and this reference has only minor allele frequencies",
            where=f"trait {spec.trait}",
            remedy="use ambiguous keep or drop",
        )
    eaf, ref = batch.numbers("eaf"), batch.ref["ref_eaf"]
    side = np.where(alleles.swapped, 1.0 - eaf, eaf) - 0.5
    told = (np.abs(side) > FREQUENCY_MARGIN) & (np.abs(ref - 0.5) > FREQUENCY_MARGIN)
    return alleles.ambiguous & alleles.matched & told & (side * (ref - 0.5) < 0), alleles.ambiguous & ~told


def _drop_unmatched(chain: Chain, batch: Batch, alleles: Match, undecided: Bools, spec: HarmoniseSpec) -> None:
    chain.drop("snp_missing", _nulls(batch.text["snp"]))
    chain.drop("not_in_reference", ~batch.matched)
    chain.drop("allele_missing", alleles.missing)
    chain.drop("indel", ~alleles.letters if not spec.indels else np.zeros(batch.rows, np.bool_))
    chain.drop("allele_mismatch", ~alleles.matched)
    chain.drop("ambiguous", undecided)


# --- effect, standard error, significance --------------------------------------------------------------------------------------
def _log_effect(batch: Batch, spec: HarmoniseSpec) -> Floats:
    """Signed effect per copy of the file's a1: the log of odds ratios. NaN where it cannot be used."""
    effect = batch.numbers("effect")
    if spec.effect_kind == "odds_ratio":
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            effect = np.log(effect)
    return np.where(np.isfinite(effect), effect, np.nan)


def _standard_error(batch: Batch, log_effect: Floats, spec: HarmoniseSpec) -> Floats:
    """SE on the scale of ``log_effect``, from the SE column, else from the 95 % confidence interval. NaN unless positive."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if "se" in batch.present:
            se = batch.numbers("se")
            se = se / np.exp(log_effect) if spec.scale == "logistic_or_se" else se
        else:
            low, high = batch.numbers("ci_lower"), batch.numbers("ci_upper")
            se = (np.log(high) - np.log(low) if spec.effect_kind == "odds_ratio" else high - low) / CI_WIDTH
        return np.where((se > 0) & np.isfinite(se), se, np.nan)


def _significance(batch: Batch, log_effect: Floats, se: Floats, spec: HarmoniseSpec) -> tuple[Floats, Floats, dict[str, Bools]]:
    """−log10 p, signed Z of the file's a1, and which rows had their p from elsewhere than the p-value column."""
    given, p = batch.numbers("z"), batch.numbers("p")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        estimate = np.where(np.isfinite(given), given, log_effect / se)
    estimate = np.where(np.isfinite(estimate), estimate, np.nan)
    none = np.zeros(batch.rows, np.bool_)
    how = {"underflow": none, "zero": none, "recovered": none, "estimated": none}
    if {"p", "neglog10p"} & batch.present:
        from_p = "p" in batch.present
        logs = batch.numbers("neglog10p")
        nlp = neglog10_p(batch.p_text, p) if from_p else np.where(logs >= 0, logs, np.nan)
        how["zero"] = np.isposinf(nlp)
        how["underflow"] = (p >= 0) & (p < P_UNDERFLOW) & np.isfinite(nlp)
        how["recovered"] = how["zero"] & np.isfinite(estimate) & (estimate != 0)
        replace = how["recovered"]
    else:
        nlp, replace = np.full(batch.rows, np.nan), np.isfinite(estimate)
        how["estimated"] = replace
    if replace.any():
        nlp = nlp.copy()
        nlp[replace] = pvalues.from_z(estimate[replace])[1]
    magnitude = pvalues.z_from_neglog10p(nlp)
    magnitude = np.where(replace, np.abs(estimate), magnitude)
    sign = np.sign(log_effect) if "effect" in batch.present else np.sign(given)
    if {"effect", "z"} <= batch.present:
        sign = np.where((sign == 0) & np.isfinite(given), np.sign(given), sign)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return nlp, np.where(sign == 0, 0.0, sign * magnitude), how


def _drop_unusable(
    chain: Chain, batch: Batch, log_effect: Floats, nlp: Floats, how: dict[str, Bools], spec: HarmoniseSpec
) -> None:
    none = np.zeros(batch.rows, np.bool_)
    unknown = none
    if spec.direction_max_missing is not None and "direction" in batch.present:
        unknown = unknown_share(batch.text["direction"]) >= spec.direction_max_missing
    chain.drop("direction", unknown)
    p = batch.numbers("p") if "p" in batch.present else batch.numbers("neglog10p") if "neglog10p" in batch.present else nlp
    chain.drop("p_missing", np.isnan(p))
    chain.drop("p_out_of_range", np.isnan(nlp))
    chain.drop("effect_missing", np.isnan(log_effect if "effect" in batch.present else batch.numbers("z")))
    chain.drop("p_zero", how["zero"] & ~how["recovered"])
    chain.drop("info_low", ~(batch.numbers("info") >= spec.info_min) if "info" in batch.present else none)


def _drop_rare(chain: Chain, batch: Batch, spec: HarmoniseSpec) -> Floats:
    """Drop by allele frequency; returns the frequency that scaling uses: the file's, else the reference's."""
    file = batch.numbers("eaf")
    file = np.where(np.isnan(file), batch.numbers("maf"), file)
    chain.drop("frequency_invalid", (file < 0) | (file > 1))
    frequency = np.where(np.isnan(file), batch.ref["ref_maf"], file)
    chain.drop("maf_low", ~(np.minimum(frequency, 1.0 - frequency) >= spec.maf_min))
    return np.where((frequency > 0) & (frequency < 1), frequency, np.nan)


def _drop_copies(chain: Chain, batch: Batch) -> None:
    """Of several copies that are still there, keep the first in file order."""
    repeats = same_as_previous(batch.text["snp"])
    if not repeats.any():
        chain.drop("duplicate", repeats)
        return
    group = np.cumsum(~repeats)
    order = np.flatnonzero(chain.alive("row"))
    later = np.zeros(batch.rows, np.bool_)
    if order.size > 1:
        later[order[1:]] = group[order[1:]] == group[order[:-1]]
    chain.drop("duplicate", later & ~_nulls(batch.text["snp"]))


def _standardised(
    batch: Batch, spec: HarmoniseSpec, turn: Floats, log_effect: Floats, se: Floats, z: Floats, frequency: Floats
) -> tuple[Floats, Floats, Bools]:
    """Standardised effect and SE, and the rows whose SE came from the p-value."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wald = np.abs(log_effect / z)
    from_p = np.isnan(se) & np.isfinite(wald) & (wald > 0)
    logistic = spec.scale in ("logistic", "logistic_or_se")
    se = np.where(from_p, wald, se)
    if spec.standardised:
        return log_effect, se, from_p
    # the SE is on the log scale by now, whichever scale it had in the file
    scale = "logistic" if logistic else spec.scale
    effect = log_effect if "effect" in batch.present else np.full(batch.rows, np.nan)
    beta, beta_se = standardise(scale, effect=effect, se=se, z=z, n=per_snp_n(batch, spec), frequency=frequency)
    return beta, beta_se, from_p & logistic


def _note_repairs(
    chain: Chain, batch: Batch, alleles: Match, turned: Bools, swapped: Bools, how: dict[str, Bools], from_p: Bools
) -> None:
    kept = chain.alive("row")
    chain.repair("alleles_swapped", swapped, kept)
    chain.repair("strand_flipped", alleles.flipped, kept)
    chain.repair("ambiguous_flipped", turned, kept)
    chain.repair("p_underflow", how["underflow"], kept)
    chain.repair("p_zero_recovered", how["recovered"], kept)
    chain.repair("p_from_estimate", how["estimated"], kept)
    chain.repair("se_from_p", from_p, chain.alive("per_snp"))
    chain.repair("position_disagrees", positions(batch)[1], kept)


def _nulls(text: pa.Array) -> Bools:
    return np.array(pc.is_null(text).to_numpy(zero_copy_only=False), np.bool_)
