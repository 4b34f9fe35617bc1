"""Z-scores of all traits: polygenic background given LD scores, planted variants, sampling errors that overlap gives.

The model, for SNP i and traits j, k [Bulik-Sullivan et al. 2015, Nat Genet 47:1236, eq. 1]::

    E[z_ij z_ik] = sqrt(N_j N_k) S_jk l2_i / M + I_jk

Z-scores are normal with that covariance and, given l2, independent between SNPs. Real neighbours share LD; ``neighbour``
gives an autocorrelated series instead, whose covariance at each single SNP is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods.simulation.design import Design, semidefinite_root
from gsem_spark.methods.simulation.ld_panel import Panel, autoregressive
from gsem_spark.methods.simulation.streams import stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPREAD_CUTOFF = 0.01
"""A planted effect is passed on to neighbours (``neighbour`` > 0) until less than this share of it is left."""


@dataclass(frozen=True)
class Planted:
    """Variants with an effect of their own, on top of the polygenic background.

    Parameters
    ----------
    rows
        Row of each variant in the panel, shape (p,), distinct.
    target
        What each acts on, shape (p,): ``factor1``, ``factor2``, ... or a trait name.
    effect
        Effect on the target in its standard deviations per standard deviation of the genotype, shape (p,), of a1; its square
        is the share of the target's variance (a factor's genetic, a trait's phenotypic variance) that the variant explains.
    per_sd
        Effects on all traits in standard deviations of the trait, shape (p, k): Λ_·f sd(F) effect for a factor.
    """

    rows: Ints
    target: tuple[str, ...]
    effect: Floats
    per_sd: Floats


def draw_z(
    design: Design, panel: Panel, n: Floats, *, seed: int, neighbour: float = 0.0, planted: Planted | None = None
) -> Floats:
    """Draw Z-scores, shape (M, k), of the panel's allele a1.

    Parameters
    ----------
    design, panel
        The truth and its SNPs.
    n
        Samples by SNP and trait, shape (M, k) or (k,).
    seed
        Seed; each trait and chromosome has its own streams, so that a trait appended or a chromosome left out changes nothing.
    neighbour
        Correlation of neighbouring SNPs' draws, in [0, 1); 0: independent given l2.
    planted
        Variants with own effects; each adds sqrt(N_j) times its effect to the mean of z.

    Notes
    -----
    LD scores below 0 (estimates, seen in real panels) count as 0 here: they leave the sampling error alone.
    """
    if not 0.0 <= neighbour < 1.0:
        raise ConfigError(f"the correlation of neighbours must lie in [0, 1), got {neighbour:g}", where="simulate/neighbour")
    genetic, error = semidefinite_root(design.S, "S", design.k), semidefinite_root(design.I, "I", design.k)
    root_n = np.sqrt(np.broadcast_to(n, (panel.size, design.k)))
    mean = _planted_mean(panel, planted, design.k, neighbour)
    z = np.empty((panel.size, design.k))
    for chromosome, rows in panel.chromosome_slices():
        u = _normals(seed, "polygenic", chromosome, rows, design.k, neighbour)
        e = _normals(seed, "sampling", chromosome, rows, design.k, neighbour)
        per_snp = np.sqrt(np.maximum(panel.l2[rows], 0.0) / panel.M)[:, None]
        z[rows] = root_n[rows] * (per_snp * (u @ genetic.T) + mean[rows]) + e @ error.T
    return z


def draw_sample_sizes(design: Design, panel: Panel, spread: Floats, *, seed: int) -> Floats:
    """Draw the samples per SNP, whole numbers between (1 - spread) N and N, shape (M, k).

    ``spread`` holds one share a trait, in [0, 1).
    """
    out = np.empty((panel.size, design.k))
    for j, (total, share) in enumerate(zip(design.n, spread, strict=True)):
        for chromosome, rows in panel.chromosome_slices():
            draws = stream(seed, "samples", j, chromosome).random(rows.stop - rows.start)
            out[rows, j] = np.floor(total * (1.0 - share * draws))
    return out


def plant(
    design: Design, panel: Panel, *, seed: int, per_factor: tuple[int, ...] = (), per_trait: dict[str, int] | None = None,
    factor_variance: tuple[float, float] = (0.002, 0.006), trait_variance: tuple[float, float] = (0.0004, 0.001),
    distance_bp: int = 1_000_000,
) -> Planted:  # fmt: skip
    """Choose variants and their effects: some act through a factor on all its traits, some on one trait alone.

    Parameters
    ----------
    per_factor
        Number of variants for each factor.
    per_trait
        Number of variants by trait name.
    factor_variance, trait_variance
        Range of the share of variance that one variant explains, drawn uniformly: of the factor's genetic variance, of the
        trait's phenotypic variance.
    distance_bp
        Planted variants lie at least this far from each other, so that distance clumping can tell them apart.

    Raises
    ------
    ConfigError
        When a factor or trait does not exist, or there are more variants than the panel has room for.
    """
    specific = per_trait or {}
    unknown = [t for t in specific if t not in design.names]
    if unknown or len(per_factor) > design.loadings.shape[1]:
        raise ConfigError(
            f"planted variants for {unknown or f'{len(per_factor)} factors'}, but the design has traits {list(design.names)} and "
            f"{design.loadings.shape[1]} factors", where="simulate/planted", remedy="Plant for traits and factors of the design.",
        )  # fmt: skip
    if min((*per_factor, *specific.values()), default=0) < 0:
        raise ConfigError("numbers of planted variants cannot be negative", where="simulate/planted")
    target = [f"factor{f + 1}" for f, count in enumerate(per_factor) for _ in range(count)]
    n_factor = len(target)
    target += [t for t in design.names if t in specific for _ in range(specific[t])]
    rng = stream(seed, "planted")
    rows = _spaced_rows(panel, len(target), distance_bp, rng)
    low = np.where(np.arange(len(target)) < n_factor, factor_variance[0], trait_variance[0])
    high = np.where(np.arange(len(target)) < n_factor, factor_variance[1], trait_variance[1])
    effect = np.sqrt(rng.uniform(low, high)) * rng.choice([-1.0, 1.0], len(target))
    columns = np.hstack([design.loadings * np.sqrt(np.diag(design.factor_cov)), np.eye(design.k)])
    index = {**{f"factor{f + 1}": f for f in range(design.loadings.shape[1])},
             **{t: design.loadings.shape[1] + j for j, t in enumerate(design.names)}}  # fmt: skip
    per_sd = effect[:, None] * columns[:, [index[t] for t in target]].T
    return Planted(rows, tuple(target), effect, per_sd)


def _normals(seed: int, purpose: str, chromosome: int, rows: slice, k: int, neighbour: float) -> Floats:
    m = rows.stop - rows.start
    draws = [stream(seed, purpose, j, chromosome).standard_normal(m) for j in range(k)]
    return autoregressive(np.stack(draws, axis=1), neighbour)


def _planted_mean(panel: Panel, planted: Planted | None, k: int, neighbour: float) -> Floats:
    mean = np.zeros((panel.size, k))
    if planted is None or len(planted.rows) == 0:
        return mean
    mean[planted.rows] = planted.per_sd
    reach = int(np.ceil(np.log(SPREAD_CUTOFF) / np.log(neighbour))) if neighbour > 0 else 0
    for step in range(1, reach + 1):
        for side in (-step, step):
            to = planted.rows + side
            inside = (to >= 0) & (to < panel.size)
            inside[inside] &= panel.chr[to[inside]] == panel.chr[planted.rows[inside]]
            np.add.at(mean, to[inside], planted.per_sd[inside] * neighbour**step)
    return mean


def _spaced_rows(panel: Panel, count: int, distance_bp: int, rng: np.random.Generator) -> Ints:
    """Rows in random order, no two nearer than the distance: a visit to each candidate looks at its neighbours' cells only."""
    if count > panel.size:
        raise ConfigError(f"{count} planted variants, but the panel has {panel.size} SNPs", where="simulate/planted",
                          remedy="Plant fewer variants or simulate more SNPs.")  # fmt: skip
    taken: dict[tuple[int, int], list[int]] = {}
    chosen: list[int] = []
    cell = max(distance_bp, 1)
    for row in rng.permutation(panel.size) if count else []:
        c, bp = int(panel.chr[row]), int(panel.bp[row])
        near = (q for g in (-1, 0, 1) for q in taken.get((c, bp // cell + g), ()))
        if any(abs(q - bp) < distance_bp for q in near):
            continue
        taken.setdefault((c, bp // cell), []).append(bp)
        chosen.append(int(row))
        if len(chosen) == count:
            break
    if len(chosen) < count:
        raise ConfigError(
            f"only {len(chosen)} of {count} planted variants find room at {distance_bp} base pairs from each other",
            where="simulate/planted", remedy="Plant fewer variants or lower distance_bp.",
        )  # fmt: skip
    return np.array(chosen, dtype=np.int64)
