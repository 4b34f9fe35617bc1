"""Which sample size belongs to which product.

LDSC on the liability scale divides by the case share of the sample it is told. Total N belongs to the true share; the effective
size N_eff = 4 / (1/cases + 1/controls) is that of a balanced sample and belongs to a share of one half. So a case-control trait
takes N_eff unless a share other than .5 is given, and then the total. A continuous trait takes the total. The linear probability
model's log odds always need N_eff; with the share P known it is 4 P (1 − P) N.

Source: Grotzinger et al. 2023, Biol Psychiatry 93:29.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sumstats.batch import Batch
from gsem_spark.methods.sumstats.scale import effective_n
from gsem_spark.methods.sumstats.spec import HarmoniseSpec

Floats = NDArray[np.float64]


def ldsc_n(batch: Batch, spec: HarmoniseSpec) -> Floats:
    """Sample size of the LDSC product (n), NaN where unknown.

    The user's ``n`` stands before the file's columns, but for ``linear_probability``, where it is the effective size that the
    scaling needs and the file's own column is asked first.
    """
    share = spec.sample_prevalence
    wants_total = spec.scale == "linear" or (share is not None and share != 0.5)
    total, effective = _total(batch), _effective(batch)
    file = _first(batch, (*total, *effective) if wants_total else (*effective, *total))
    if spec.n is None:
        return file
    if spec.scale != "linear_probability":
        return np.full(batch.rows, float(spec.n))
    given = spec.n / (4.0 * share * (1.0 - share)) if wants_total and share is not None else float(spec.n)
    return np.where(file > 0, file, given)


def per_snp_n(batch: Batch, spec: HarmoniseSpec) -> Floats:
    """Sample size of the per-SNP product (n): total for ``linear``, effective for ``linear_probability``; unused otherwise."""
    given = spec.n if spec.n_per_snp is None else spec.n_per_snp
    if given is not None:
        return np.full(batch.rows, float(given))
    if spec.scale != "linear_probability":
        return _first(batch, (*_total(batch), *_effective(batch)))
    share = spec.sample_prevalence
    total = [n * 4.0 * share * (1.0 - share) for n in _total(batch)] if share is not None else _total(batch)
    return _first(batch, (*_effective(batch), *total))


def _total(batch: Batch) -> list[Floats]:
    sizes = [batch.numbers("n")] if "n" in batch.present else []
    if {"n_cases", "n_controls"} <= batch.present:
        sizes.append(batch.numbers("n_cases") + batch.numbers("n_controls"))
    return sizes


def _effective(batch: Batch) -> list[Floats]:
    sizes = [batch.numbers("neff")] if "neff" in batch.present else []
    if "neff_half" in batch.present:
        sizes.append(2.0 * batch.numbers("neff_half"))
    if {"n_cases", "n_controls"} <= batch.present:
        sizes.append(effective_n(batch.numbers("n_cases"), batch.numbers("n_controls")))
    return sizes


def _first(batch: Batch, sizes: Sequence[Floats]) -> Floats:
    """Row by row, the first that is a positive number."""
    result = np.full(batch.rows, np.nan)
    for size in reversed(sizes):
        result = np.where((size > 0) & np.isfinite(size), size, result)
    return result
