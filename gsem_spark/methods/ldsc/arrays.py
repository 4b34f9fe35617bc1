"""LD score regression of arrays in memory: the same passes as the distributed run, chunk by chunk, hence the same bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.blocks import collect_blocks, plan_second_pass
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.ldsc.jackknife import MANY_TRAITS, assemble, effective_blocks
from gsem_spark.methods.ldsc.regression import CHUNK_SNPS, TraitRows, first_pass, second_pass, split_chunk
from gsem_spark.thresholds import LDSC_CHISQ_MAX, LDSC_CHISQ_MAX_PER_N

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LdscTrait:
    """One trait's Z-scores on an LD-score panel.

    Parameters
    ----------
    name
        Trait name.
    ord
        (n,) row of the panel that each SNP is; need not be sorted, may repeat (each copy then counts).
    z
        (n,) Z-scores, all traits on the same effect alleles; NaN rows are left out.
    n
        (n,) sample sizes.
    sample_prevalence, population_prevalence
        Shares of cases for the liability scale; NaN for the observed scale.
    """

    name: str
    ord: NDArray[np.int64]
    z: Floats
    n: Floats
    sample_prevalence: float = np.nan
    population_prevalence: float = np.nan


def ldsc_from_arrays(
    traits: Sequence[LdscTrait],
    l2: ArrayLike,
    wld: ArrayLike,
    M: float,
    n_blocks: int = 200,
    chisq_max: float | None = None,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> CovStruct:
    """Estimate S, V, I, N of k traits by LD score regression.

    Parameters
    ----------
    traits
        k traits; order fixes the order of all matrices.
    l2, wld
        (m,) LD scores and weight LD scores of the panel, in genome order.
    M
        SNPs that the LD scores stand for (sum of the ``.l2.M_5_50`` files).
    n_blocks
        Jackknife blocks; for more than 18 traits raised to (k + 1)(k + 2) / 2 + 1.
    chisq_max
        SNPs with a larger chi-square are left out; by default max(0.001 · max N, 80), per trait.
    settings, inputs
        Kept with the structure.

    Raises
    ------
    DataError
        When a trait has no usable SNP or a pair too few.
    """
    ld = np.column_stack([np.asarray(l2, np.float64), np.asarray(wld, np.float64)])
    names = [t.name for t in traits]
    blocks_used = effective_blocks(len(traits), n_blocks)
    rows = [_rows_of(t, ld) for t in traits]
    limits = np.array([chisq_limit(float(r.n.max(initial=0.0)), chisq_max) for r in rows])
    chunks = _chunks(rows, limits)
    i, j = np.triu_indices(len(traits))
    pairs = np.column_stack([i, j]).astype(np.int64)
    plan, totals = plan_second_pass([first_pass(c, part, pairs) for c, part in chunks.items()], pairs, names, M, blocks_used)
    pair_blocks = collect_blocks([second_pass(c, part, plan) for c, part in chunks.items()], plan, totals)
    figures = [
        {"n_merged": r.z.size, "chisq_max": limit, "snps_removed": r.z.size - int(totals.bins[t].sum())}
        for t, (r, limit) in enumerate(zip(rows, limits.tolist(), strict=True))
    ]
    return assemble(
        names, {(int(a), int(b)): block for (a, b), block in zip(pairs, pair_blocks, strict=True)}, M,
        sample_prevalence=np.array([t.sample_prevalence for t in traits]),
        population_prevalence=np.array([t.population_prevalence for t in traits]),
        trait_figures=figures, notices=block_notices(len(traits), blocks_used),
        settings={"n_blocks": blocks_used, "chisq_max": chisq_max, **(settings or {})}, inputs=inputs,
    )


def chisq_limit(max_n: float, chisq_max: float | None) -> float:
    """Largest chi-square that takes part: the user's, else max(0.001 · max N, 80)."""
    return float(chisq_max) if chisq_max is not None else max(LDSC_CHISQ_MAX_PER_N * max_n, LDSC_CHISQ_MAX)


def block_notices(n_traits: int, n_blocks: int) -> list[str]:
    """Say it when the number of traits, not the user, set the number of blocks."""
    if n_traits <= MANY_TRAITS:
        return []
    notes = [f"{n_blocks} jackknife blocks are used: {n_traits} traits need more blocks than S with a SNP has elements"]
    if n_blocks > 1000:
        notes.append(f"{n_blocks} blocks are so short that neighbours depend on each other; standard errors may be too small")
    return notes


def _rows_of(trait: LdscTrait, ld: Floats) -> TraitRows:
    ord, z, n = np.asarray(trait.ord, np.int64), np.asarray(trait.z, np.float64), np.asarray(trait.n, np.float64)
    usable = ~np.isnan(z) & np.isfinite(n)
    if not usable.any():
        raise DataError("no SNP has both a Z-score and a sample size", where=f"trait {trait.name}")
    order = np.flatnonzero(usable)[np.argsort(ord[usable], kind="stable")]
    ord = ord[order]
    return TraitRows(ord, z[order], n[order], ld[ord, 0], ld[ord, 1])


def _chunks(rows: Sequence[TraitRows], limits: Floats) -> dict[int, list[TraitRows]]:
    trait = np.concatenate([np.full(r.ord.size, t, dtype=np.int64) for t, r in enumerate(rows)])
    ord, z, n, l2, wld = (np.concatenate([getattr(r, name) for r in rows]) for name in ("ord", "z", "n", "l2", "wld"))
    everything = TraitRows(ord, z, n, l2, wld)
    chunk = ord // CHUNK_SNPS
    order = np.argsort(chunk, kind="stable")
    numbers, starts = np.unique(chunk[order], return_index=True)
    return {
        number: split_chunk(trait[at], everything.take(at), limits)
        for number, at in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)
    }
