"""Additive facts of a batch: what the whole file must be judged by, and no batch alone can be."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsem_spark.methods.sumstats.alleles import Bools
from gsem_spark.methods.sumstats.batch import Batch, positions
from gsem_spark.methods.sumstats.effects import OR_HIGH, OR_LOW


def facts(batch: Batch, in_ldsc: Bools, in_per_snp: Bools) -> dict[str, int]:
    """Additive facts of a batch; names as in :class:`Counters`."""
    effect, p = batch.numbers("effect"), batch.numbers("p")
    compared, disagree = positions(batch)
    named: dict[str, Any] = {
        "rows": np.ones(batch.rows, np.bool_), "matched": batch.matched, "kept": in_ldsc | in_per_snp, "kept_ldsc": in_ldsc,
        "kept_per_snp": in_per_snp, "effect_low": effect <= OR_LOW, "effect_mid": (effect > OR_LOW) & (effect < OR_HIGH),
        "effect_high": effect >= OR_HIGH, "p_outside": (p < 0) | (p > 1), "positions_compared": compared,
        "positions_disagree": disagree,
    }
    return batch.facts | {name: int(np.count_nonzero(mask)) for name, mask in named.items()}
