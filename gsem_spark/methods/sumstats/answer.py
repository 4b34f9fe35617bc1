"""What harmonising a batch gives, put together from what the rules left of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sumstats.alleles import Bools
from gsem_spark.methods.sumstats.batch import Batch
from gsem_spark.methods.sumstats.chain import Chain
from gsem_spark.methods.sumstats.facts import facts
from gsem_spark.methods.sumstats.spec import Counters, Harmonised

Floats = NDArray[np.float64]


def answer(
    chain: Chain, batch: Batch, keep: Bools, rule: NDArray[np.int8], eaf: Floats, values: tuple[Floats, ...]
) -> Harmonised:
    """Build the result: numbers stand where a row survives for the product that they belong to.

    Parameters
    ----------
    chain, batch
        The rules after their work, and the rows they worked on.
    keep, rule
        (rows,) whether a row survives for any product, and the code of the rule that took it, 0 where none did.
    eaf
        (rows,) frequency of the effect allele a1.
    values
        ``z``, ``n`` (for LDSC), ``beta``, ``se`` (for per-SNP models), ``neglog10p``; (rows,) each.
    """
    z, n, beta, se, neglog10p = values
    in_ldsc, in_per_snp = chain.ldsc == 0, chain.per_snp == 0
    return Harmonised(
        keep=keep,
        keep_ldsc=in_ldsc,
        keep_per_snp=in_per_snp,
        rule=rule,
        rule_ldsc=chain.ldsc,
        rule_per_snp=chain.per_snp,
        repairs=chain.repairs,
        z=np.where(in_ldsc, z, np.nan),
        n=np.where(in_ldsc, n, np.nan),
        beta=np.where(in_per_snp, beta, np.nan),
        se=np.where(in_per_snp, se, np.nan),
        eaf=eaf,
        maf=batch.ref["ref_maf"],
        info=batch.numbers("info"),
        neglog10p=neglog10p,
        a1=batch.text["ref_a1"],
        a2=batch.text["ref_a2"],
        counters=Counters(chain.counts, facts(batch, in_ldsc, in_per_snp)),
    )
