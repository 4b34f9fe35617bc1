"""What is wrong with a covariance structure, as sentences with numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.thresholds import H2_Z_MIN, MEAN_CHISQ_MIN, MIN_SNPS_WARN

Floats = NDArray[np.float64]

RANK_RTOL: Final = 1e-12
"""An eigenvalue of the scaled V below this share of the largest counts as zero."""


def quality_warnings(
    traits: Sequence[str], S: Floats, V: Floats, I: Floats, figures: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Say what makes a structure doubtful.

    Parameters
    ----------
    traits, S, V, I
        As in ``CovStruct``.
    figures
        Per-trait LDSC records with ``trait``, ``mean_chisq`` and ``n_snps``, where known.

    Returns
    -------
    list of str
        Sentences in a fixed order: per trait (h2, mean chi-square, SNPs, intercept), then S, then V. Empty when all is well.
    """
    return [*_per_trait(traits, S, V, I), *_per_trait_figures(figures), *_of_s(traits, S), *_of_v(V)]


def _per_trait(traits: Sequence[str], S: Floats, V: Floats, I: Floats) -> list[str]:
    k = len(traits)
    diagonal = np.cumsum([0, *range(k, 1, -1)])
    out = []
    for i, trait in enumerate(traits):
        h2, se = S[i, i], np.sqrt(max(V[diagonal[i], diagonal[i]], 0.0))
        if h2 <= 0:
            out.append(f"{trait}: h2 is {h2:.4g} (SE {se:.3g}), not positive; it cannot be modelled")
        elif se > 0 and h2 / se < H2_Z_MIN:
            out.append(f"{trait}: h2 Z is {h2 / se:.2f}, below {H2_Z_MIN:g}; its genetic correlations are too noisy to model")
        if I[i, i] < 0:
            out.append(f"{trait}: the LDSC intercept is {I[i, i]:.4g}, below zero")
    return out


def _per_trait_figures(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    out = []
    for row in figures:
        mean_chisq, n_snps = row.get("mean_chisq"), row.get("n_snps")
        if mean_chisq is not None and mean_chisq < MEAN_CHISQ_MIN:
            out.append(f"{row['trait']}: mean chi-square is {mean_chisq:.4f}, below {MEAN_CHISQ_MIN:g}; hardly any signal")
        if n_snps is not None and n_snps < MIN_SNPS_WARN:
            out.append(f"{row['trait']}: {n_snps:,} SNPs after merging with the LD scores, fewer than {MIN_SNPS_WARN:,}")
    return out


def _of_s(traits: Sequence[str], S: Floats) -> list[str]:
    smallest = float(np.linalg.eigvalsh(S)[0])
    if smallest > 0:
        return []
    return [f"S of {', '.join(traits)} is not positive definite: its smallest eigenvalue is {smallest:.4g}"]


def _of_v(V: Floats) -> list[str]:
    variances = np.diag(V)
    if (variances <= 0).any():
        return [f"V has {int((variances <= 0).sum())} variances that are not positive"]
    root = 1.0 / np.sqrt(variances)
    values = np.linalg.eigvalsh(V * np.outer(root, root))
    rank = int((values > RANK_RTOL * values[-1]).sum())
    if rank == values.size and values[0] > 0:
        return []
    return [f"V is singular: rank {rank} of {values.size}; use more jackknife blocks than elements of S, or fewer traits"]
