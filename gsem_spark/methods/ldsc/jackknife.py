"""From block sums to estimates, their block jackknife, and the covariance structure: what the driver computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.blocks import PairBlocks
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.vech import unvech, vech, vech_indices

Floats = NDArray[np.float64]

MANY_TRAITS: Final = 18
"""Above this many traits 200 blocks cannot give a V of full rank for a model with a SNP (GenomicSEM's rule)."""

COLLINEAR_RTOL: Final = 1e-10
"""Below this share of unexplained weighted variance the LD score is a constant to rounding."""


@dataclass(frozen=True)
class PairEstimate:
    """One pair's regression.

    Parameters
    ----------
    slope, intercept
        Regression of χ² (or z1 z2) on the LD score.
    pseudo
        (n_blocks, 2) delete-one pseudo-values of slope and intercept.
    cov
        (2, 2) their jackknife covariance.
    n
        Sample size of the pair, sqrt(mean N1 · mean N2).
    """

    slope: float
    intercept: float
    pseudo: Floats
    cov: Floats
    n: float


def effective_blocks(n_traits: int, n_blocks: int) -> int:
    """Blocks that will be used: as asked for up to 18 traits, (k + 1)(k + 2) / 2 + 1 for more (one more than S with a SNP has).

    Raises
    ------
    ConfigError
        When fewer than 2 blocks are asked for.
    """
    if n_blocks < 2:
        raise ConfigError(f"n_blocks is {n_blocks}, but the jackknife needs at least 2", remedy="leave n_blocks at 200")
    return n_blocks if n_traits <= MANY_TRAITS else (n_traits + 1) * (n_traits + 2) // 2 + 1


def estimate_pair(blocks: PairBlocks) -> PairEstimate:
    """Solve a pair's weighted regression and jackknife it over its blocks.

    Raises
    ------
    DataError
        When the LD scores of the pair's SNPs do not vary.

    Notes
    -----
    With B blocks, full solution r and solution r₋ᵦ without block b, pseudo-value b is B r − (B − 1) r₋ᵦ, and the jackknife
    covariance is that of the pseudo-values over B (Bulik-Sullivan et al. 2015, Nat Genet 47:291, Supplementary Note).
    """
    n_blocks = len(blocks.xty)
    xtx, xty = _sum_in_order(blocks.xtx), _sum_in_order(blocks.xty)
    if xtx[0, 0] * xtx[1, 1] - xtx[0, 1] ** 2 <= COLLINEAR_RTOL * xtx[0, 0] * xtx[1, 1]:
        raise DataError("the LD scores of the SNPs do not vary, so there is nothing to regress on",
                        remedy="check the l2 column of the LD-score panel")
    full = np.linalg.solve(xtx, xty)
    deleted = np.linalg.solve(xtx - blocks.xtx, (xty - blocks.xty)[:, :, None])[:, :, 0]
    pseudo = n_blocks * full - (n_blocks - 1) * deleted
    n = float(np.sqrt(blocks.totals.mean_n[0] * blocks.totals.mean_n[1]))
    return PairEstimate(float(full[0]), float(full[1]), pseudo, np.cov(pseudo, rowvar=False) / n_blocks, n)


def _sum_in_order(parts: Floats) -> Floats:
    total: Floats = np.zeros(parts.shape[1:])
    for part in parts:
        total += part
    return total


def liability_factor(sample_prevalence: Floats, population_prevalence: Floats) -> Floats:
    """Factor from observed-scale to liability-scale h2, K²(1−K)² / (P(1−P) φ(Φ⁻¹(1−K))²); 1 where a prevalence is unknown.

    Source: Lee et al. 2011, Am J Hum Genet 88:294, eq. 23.
    """
    P, K = np.asarray(sample_prevalence, np.float64), np.asarray(population_prevalence, np.float64)
    known = np.isfinite(P) & np.isfinite(K)
    p, q = np.where(known, P, 0.5), np.where(known, K, 0.5)
    density = np.exp(-(special.ndtri(q) ** 2) / 2.0) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.where(known, q**2 * (1 - q) ** 2 / (p * (1 - p) * density**2), 1.0), dtype=np.float64)


def assemble(
    traits: Sequence[str],
    blocks: Mapping[tuple[int, int], PairBlocks],
    M: float,
    *,
    sample_prevalence: Floats,
    population_prevalence: Floats,
    trait_figures: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    notices: Sequence[str] = (),
) -> CovStruct:
    """Put all pairs together into S, V, I, N on the liability scale, with diagnostics.

    Parameters
    ----------
    traits
        k names.
    blocks
        Block sums of pair (i, j) for all i <= j.
    M
        SNPs of the LD-score panel.
    sample_prevalence, population_prevalence
        (k,) NaN for observed-scale traits.
    trait_figures
        Per trait: what is known besides (rows read, SNPs removed, chisq_max), kept in the diagnostics.
    settings, inputs
        Kept with the structure.
    notices
        Sentences that come before the structure's own warnings.
    """
    k = len(traits)
    rows, columns = vech_indices(k)
    estimates = [estimate_pair(blocks[c, r]) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
    n_blocks = len(estimates[0].pseudo)
    N = np.array([e.n for e in estimates])
    slopes = np.array([e.slope for e in estimates])
    pseudo = np.column_stack([e.pseudo[:, 0] for e in estimates])
    to_liability = np.sqrt(liability_factor(sample_prevalence, population_prevalence))
    scale = M / N * vech(np.outer(to_liability, to_liability))
    V = np.atleast_2d(np.cov(pseudo, rowvar=False)) / n_blocks * np.outer(scale, scale)
    diagnostics = {
        "traits": [_trait_record(traits[i], blocks[i, i], estimates[p], M, trait_figures[i] if trait_figures else {})
                   for p, i in _diagonal(rows, columns)],
        "pairs": [_pair_record(traits[c], traits[r], blocks[c, r], estimates[p], M)
                  for p, (r, c) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)) if r != c],
    }
    out = CovStruct.from_matrices(
        S=unvech(slopes * scale), V=V, I=unvech([e.intercept for e in estimates]), traits=traits, N=N, M=M,
        sample_prevalence=sample_prevalence, population_prevalence=population_prevalence,
        diagnostics=diagnostics, settings=settings, inputs=inputs,
    )
    return out if not notices else out.with_notices(notices)


def _diagonal(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> list[tuple[int, int]]:
    return [(p, int(r)) for p, (r, c) in enumerate(zip(rows, columns, strict=True)) if r == c]


def _trait_record(name: str, blocks: PairBlocks, estimate: PairEstimate, M: float, known: Mapping[str, Any]) -> dict[str, Any]:
    totals = blocks.totals
    intercept_se = float(np.sqrt(estimate.cov[1, 1]))
    excess = totals.mean_chisq[0] - 1.0
    return {
        "trait": name, **known,
        "n_snps": totals.n_snps, "n": totals.mean_n[0], "mean_chisq": totals.mean_chisq[0], "lambda_gc": totals.lambda_gc,
        "intercept": estimate.intercept, "intercept_se": intercept_se,
        "ratio": (estimate.intercept - 1.0) / excess if excess else np.nan,
        "ratio_se": intercept_se / excess if excess else np.nan,
        "h2_observed": estimate.slope * M / estimate.n,
        "h2_observed_se": float(np.sqrt(estimate.cov[0, 0])) * M / estimate.n,
    }


def _pair_record(first: str, second: str, blocks: PairBlocks, estimate: PairEstimate, M: float) -> dict[str, Any]:
    cov_g, se = estimate.slope * M / estimate.n, float(np.sqrt(estimate.cov[0, 0])) * M / estimate.n
    z = cov_g / se if se > 0 else np.nan
    p, neglog10p = pvalues.from_z(z)
    return {
        "trait_1": first, "trait_2": second, "n_snps": blocks.totals.n_snps, "mean_zz": blocks.totals.mean_zz,
        "intercept": estimate.intercept, "intercept_se": float(np.sqrt(estimate.cov[1, 1])),
        "cov_g_observed": cov_g, "cov_g_observed_se": se, "z": z, "p": float(p), "neglog10p": float(neglog10p),
    }
