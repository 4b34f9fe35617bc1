"""Omega by the method of moments: sums over SNPs that executors compute in one pass, and what the driver makes of them.

For SNP j with Z-scores z_j, sample sizes N_j and error matrix Sigma, E[z_jp z_jq] = sqrt(N_jp N_jq) Omega_pq + Sigma_pq, so that
Omega_pq = mean over SNPs of (z_jp z_jq - Sigma_pq) / sqrt(N_jp N_jq).

Source: Turley et al. 2018, Nat Genet 50:229, Online Methods and Supplementary Note 1.2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError, ModelError
from gsem_spark.methods.mtag.matrices import Repair, repair_psd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OmegaSums:
    """Sums over one part of the SNPs; those of all parts together give Omega for any Sigma.

    Parameters
    ----------
    part
        Number of the part (a chunk of the data, never a partition); parts are added in its order.
    count
        SNPs with Z-scores and sample sizes of all traits.
    skipped
        SNPs left out because one is missing.
    zz
        (k, k) sum of z_p z_q / sqrt(N_p N_q).
    inverse_n
        (k, k) sum of 1 / sqrt(N_p N_q).
    """

    part: int
    count: int
    skipped: int
    zz: Floats
    inverse_n: Floats


@dataclass(frozen=True)
class OmegaEstimate:
    """Omega as MTAG will use it.

    Parameters
    ----------
    omega
        (k, k) variances and covariances of standardised effects per SNP; all ones under ``equal_h2`` (never estimated).
    raw
        (k, k) the moment estimate before repair and restriction; NaN under ``equal_h2``.
    repair
        What was done to it where it was not positive semidefinite.
    method
        ``"gmm"``, ``"perfect_gencov"``, ``"equal_h2"``, ``"fixed"`` or ``"numerical"``.
    n_snps
        SNPs that it comes from; 0 where it was given.
    """

    omega: Floats
    raw: Floats
    repair: Repair
    method: str
    n_snps: int


def omega_sums(z: ArrayLike, n: ArrayLike, part: int = 0) -> OmegaSums:
    """Add up one part of the SNPs.

    Parameters
    ----------
    z, n
        (m, k) Z-scores on common effect alleles, and sample sizes. Rows with a missing or infinite value, or an N that is
        not positive, are counted and left out.
    part
        Number of the part.
    """
    Z, N = np.asarray(z, np.float64), np.asarray(n, np.float64)
    with np.errstate(invalid="ignore"):
        usable = (np.isfinite(Z) & np.isfinite(N) & (N > 0)).all(axis=1)
    if not usable.all():
        Z, N = Z[usable], N[usable]
    root = 1.0 / np.sqrt(N)
    scaled = Z * root
    return OmegaSums(part, len(Z), int(usable.size - len(Z)), scaled.T @ scaled, root.T @ root)


def merge_omega_sums(parts: Sequence[OmegaSums]) -> OmegaSums:
    """Add parts up in the order of their numbers, whatever the order they come in.

    Raises
    ------
    DataError
        When there is no part, or a part comes twice.
    """
    ordered = sorted(parts, key=lambda p: p.part)
    if not ordered:
        raise DataError("there are no SNPs to estimate Omega from", remedy="check that the traits share SNPs")
    repeated = [a.part for a, b in pairwise(ordered) if a.part == b.part]
    if repeated:
        raise DataError(f"part {repeated[0]} of the SNPs comes twice", remedy="give every part its own number")
    zz, inverse = np.zeros_like(ordered[0].zz), np.zeros_like(ordered[0].inverse_n)
    for p in ordered:
        zz = zz + p.zz
        inverse = inverse + p.inverse_n
    return OmegaSums(0, sum(p.count for p in ordered), sum(p.skipped for p in ordered), zz, inverse)


def omega_gmm(sums: OmegaSums, sigma: Floats) -> Floats:
    """Moment estimate of Omega (k, k), which need not be positive semidefinite.

    Raises
    ------
    DataError
        When no SNP has all traits.
    """
    if sums.count == 0:
        raise DataError(
            f"no SNP has a Z-score and a sample size in all {len(sigma)} traits ({sums.skipped:,} SNPs lack one)",
            remedy="check that all traits name SNPs alike (rsIDs), have N, and were joined",
        )
    raw = (sums.zz - sigma * sums.inverse_n) / sums.count
    return np.asarray((raw + raw.T) / 2.0, dtype=np.float64)


def check_options(perfect_gencov: bool, equal_h2: bool) -> None:
    """Refuse ``equal_h2`` without ``perfect_gencov``.

    Raises
    ------
    ConfigError
        With the remedy.
    """
    if equal_h2 and not perfect_gencov:
        raise ConfigError(
            "equal_h2 needs perfect_gencov: equal heritabilities alone do not make the traits one trait",
            where="equal_h2", remedy="set perfect_gencov as well, or leave equal_h2 out",
        )


def estimate_omega(
    sums: OmegaSums, sigma: Floats, traits: Sequence[str], *, perfect_gencov: bool = False, equal_h2: bool = False
) -> OmegaEstimate:
    """Estimate Omega by the method of moments, with the restrictions asked for.

    Parameters
    ----------
    sums
        Of all SNPs.
    sigma
        (k, k) error matrix.
    traits
        Names, for messages.
    perfect_gencov
        Genetic correlations of 1: covariances are the roots of the products of the variances.
    equal_h2
        Equal variances besides: inverse-variance meta-analysis. Omega is then all ones and not estimated.

    Raises
    ------
    ConfigError
        For ``equal_h2`` without ``perfect_gencov``.
    DataError
        When no SNP has all traits.
    ModelError
        When a trait's estimated variance is not positive.
    """
    check_options(perfect_gencov, equal_h2)
    k = len(sigma)
    if equal_h2:
        ones = np.ones((k, k))
        return OmegaEstimate(ones, np.full((k, k), np.nan), Repair(ones, False, True, 0.0, 0.0), "equal_h2", sums.count)
    raw = omega_gmm(sums, sigma)
    require_positive_variances(raw, "Omega", traits)
    repair = repair_psd(raw)
    if perfect_gencov:
        root = np.sqrt(np.diag(raw))
        return OmegaEstimate(np.outer(root, root), raw, repair, "perfect_gencov", sums.count)
    return OmegaEstimate(repair.matrix, raw, repair, "gmm", sums.count)


def require_positive_variances(matrix: Floats, name: str, traits: Sequence[str]) -> None:
    """Refuse a matrix with a variance that is not positive.

    Raises
    ------
    ModelError
        Naming every such trait with its value.
    """
    bad = np.flatnonzero(~(np.diag(matrix) > 0))
    if bad.size:
        named = ", ".join(f"{traits[i]} ({matrix[i, i]:.3g})" for i in bad.tolist())
        raise ModelError(
            f"{name} has variances that are not positive: {named}", where=name,
            remedy="leave these traits out: their GWAS holds no polygenic signal beyond its LD score intercept",
        )
