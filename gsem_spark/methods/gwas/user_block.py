"""A block of SNPs in the fit of any model: one state for all of them, and what is kept of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.arrangement import Sampling
from gsem_spark.methods.gwas.jit import inner
from gsem_spark.methods.gwas.lanes import LANES, fill_row
from gsem_spark.methods.gwas.tape import Tape
from gsem_spark.methods.gwas.targets import Targets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Block(NamedTuple):
    """State of one block and what is kept of each of its SNPs; one lane a SNP."""

    s: Floats  # (rows, lanes)
    beta: Floats  # (k, lanes)
    scale: Floats  # (k, lanes) standard errors, corrected
    v: Floats  # (lanes,)
    code: Ints  # (lanes,) only lanes with ``outcomes.OK`` are fitted
    culprit: Ints  # (lanes,)
    objective: Floats  # (lanes,)
    lowest: Floats  # (lanes,)
    damping: Floats  # (lanes,)
    length: Floats  # (lanes,)
    scratch: Floats  # (lanes,)
    good: Bools  # (lanes,)
    unsure: Bools  # (lanes,)
    searching: Bools  # (lanes,)
    est: Floats  # (r, lanes)
    covariance: Floats  # (r, r or 1, lanes)
    q: Floats  # (f, lanes)
    chisq: Floats  # (lanes,)


@inner
def make_block(t: Tape, s: Sampling, targets: Targets, wide: bool) -> Block:
    """Allocate a block and fill what no SNP changes; ``wide`` for covariances of the targets beside their variances."""
    k, r, f = t.k, targets.parameter.size, targets.q_start.size - 1
    state = np.zeros((t.rows, LANES))
    for n in range(t.constant_row.size):
        fill_row(state, t.constant_row[n], t.constant_value[n])
    for n in range(s.covariance.size):
        fill_row(state, t.observed + 1 + k + n, s.covariance[n])
        fill_row(state, t.weight + 1 + k + n, s.weight[n])
    fill_row(state, t.weight, 1.0 / s.snp_error)
    one = np.zeros(LANES)
    off = np.zeros(LANES, dtype=np.bool_)
    return Block(
        state, np.zeros((k, LANES)), np.ones((k, LANES)), one + 0.4, np.zeros(LANES, dtype=np.int64),
        np.zeros(LANES, dtype=np.int64), one.copy(), one.copy(), one.copy(), one.copy(), one.copy(), off.copy(), off.copy(),
        off.copy(), np.zeros((r, LANES)), np.zeros((r, r if wide else 1, LANES)), np.zeros((f, LANES)), one.copy(),
    )
