"""Genetic relatedness matrices from genotypes, as sums over blocks of variants that can be added and taken away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm.checks import as_kinship
from gsem_spark.methods.lmm.genotypes import standardise

Floats = NDArray[np.float64]
Kind = Literal["centred", "standardised", "gcta"]

_SCALES: Final = {"centred": "none", "standardised": "sample", "gcta": "hwe"}
SLICE: Final = 1000
"""Variants standardised at a time, so that memory does not grow with the block."""
OVERSAMPLING: Final = 10
POWER_ITERATIONS: Final = 2
"""Passes over the genotypes that sharpen a random SVD (Halko, Martinsson & Tropp 2011, SIAM Rev 53:217, algorithm 4.4)."""


@dataclass(frozen=True)
class KinshipSums:
    """Sum of z zᵀ over variants; sums of disjoint variants add, and those of a chromosome can be taken away again.

    Parameters
    ----------
    product
        (n, n).
    variants
        Variants in the sum that vary.
    """

    product: Floats
    variants: int

    def __add__(self, other: KinshipSums) -> KinshipSums:
        return KinshipSums(self.product + other.product, self.variants + other.variants)

    def __sub__(self, other: KinshipSums) -> KinshipSums:
        return KinshipSums(self.product - other.product, self.variants - other.variants)

    def matrix(self) -> Floats:
        """The kinship, the mean product over variants.

        Raises
        ------
        DataError
            When no variant is left.
        """
        if self.variants < 1:
            raise DataError("no variants that vary to compute a kinship from", where="kinship")
        return self.product / self.variants


def kinship_sums(G: ArrayLike, kind: Kind = "centred") -> KinshipSums:
    """One block's part of a kinship.

    Parameters
    ----------
    G
        (S, n) genotypes, variants in rows; missing calls take the variant's mean over all n samples.
    kind
        ``"centred"``: (x - mean)(x - mean)ᵀ (GEMMA -gk 1). ``"standardised"``: also over the variance of the imputed genotypes
        (GEMMA -gk 2, limix). ``"gcta"``: over 2 af (1 - af) (VanRaden 2008, J Dairy Sci 91:4414, method 2; Yang et al. 2011).

    Raises
    ------
    ConfigError
        When ``kind`` is unknown.
    """
    scale = scale_of(kind)
    block = np.asarray(G)
    if block.ndim != 2:
        raise DataError(f"a block of genotypes is a matrix, this has the shape {block.shape}", where="G")
    total, variants = np.zeros((block.shape[1], block.shape[1])), 0
    for start in range(0, len(block), SLICE):
        Z = standardise(block[start : start + SLICE], scale)
        total += Z.T @ Z
        variants += int(Z.any(axis=1).sum())
    return KinshipSums(total, variants)


def scale_of(kind: str) -> str:
    """How :func:`~gsem_spark.methods.lmm.genotypes.standardise` scales the genotypes of a kind of kinship.

    Raises
    ------
    ConfigError
        When the kind is unknown.
    """
    if kind not in _SCALES:
        raise ConfigError(f"unknown kinship {kind!r}", where="kind", remedy=f"choose from {', '.join(_SCALES)}")
    return _SCALES[kind]


def kinship(G: ArrayLike | Iterable[ArrayLike], kind: Kind = "centred") -> Floats:
    """Kinship (n, n) of genotypes with variants in rows, given whole or as an iterable of blocks added in their order."""
    blocks: list[ArrayLike] = [G] if isinstance(G, np.ndarray) else list(G)  # type: ignore[arg-type]
    if not blocks:
        raise DataError("no genotypes to compute a kinship from", where="kinship")
    total = kinship_sums(blocks[0], kind)
    for block in blocks[1:]:
        total = total + kinship_sums(block, kind)
    return total.matrix()


def leave_one_out(parts: Mapping[str, KinshipSums]) -> dict[str, Floats]:
    """Kinship without each chromosome, from the sums of all: {chromosome: (n, n)}.

    Raises
    ------
    DataError
        When there is one chromosome only, so that nothing is left without it.
    """
    if len(parts) < 2:
        raise DataError(f"kinships that leave one chromosome out need at least two, {len(parts)} given", where="kinship")
    names = sorted(parts)
    total = parts[names[0]]
    for name in names[1:]:
        total = total + parts[name]
    return {name: (total - parts[name]).matrix() for name in parts}


def unpack_grm(values: ArrayLike, n: int) -> Floats:
    """Matrix of a GCTA ``.grm.bin``: its float32 values, the lower triangle row by row with the diagonal.

    Raises
    ------
    DataError
        When their number is not n (n + 1) / 2.
    """
    packed = np.asarray(values, dtype=np.float64).ravel()
    if packed.size != n * (n + 1) // 2:
        raise DataError(f"{packed.size} values, {n} samples have {n * (n + 1) // 2}", where=".grm.bin",
                        remedy="check that .grm.id belongs to it, and that the file is whole")
    K = np.zeros((n, n))
    K[np.tril_indices(n)] = packed
    return np.asarray(K + np.tril(K, -1).T)


def centre_kinship(K: ArrayLike) -> Floats:
    """Kinship with its row, column and overall means taken out, C K C with C = I - 11ᵀ/n.

    REML estimates and all tests of a model with an intercept are the same as with K. Under full ML they are not, because log|H|
    is not taken beside the covariates: GEMMA always centres, so its ML figures belong to the centred matrix.
    """
    values = as_kinship(K)
    rows = values.mean(axis=0)
    return np.asarray(values - rows - rows[:, None] + values.mean())


def normalise_kinship(K: ArrayLike) -> Floats:
    """Kinship with a mean diagonal of 1, so that hsq is a share of the phenotype's variance."""
    values = as_kinship(K)
    return np.asarray(values / np.trace(values) * len(values))


def low_rank_background(G: ArrayLike, rank: int, seed: int, kind: Kind = "standardised") -> Floats:
    """Columns W (n, rank) whose W Wᵀ is close to the best approximation of the kinship of that rank.

    Parameters
    ----------
    G
        (S, n) genotypes, variants in rows.
    rank
        Columns wanted, at most the smaller of S and n.
    seed
        Of the random start.

    Raises
    ------
    DataError
        When the rank is not between 1 and min(S, n).

    Notes
    -----
    Random range finder with two power iterations (Halko, Martinsson & Tropp 2011, SIAM Rev 53:217, algorithms 4.4 and 5.1).
    """
    Z = standardise(G, _SCALES[kind])
    Z = Z / np.sqrt(max(int(Z.any(axis=1).sum()), 1))
    if not 1 <= rank <= min(Z.shape):
        raise DataError(f"rank {rank} of genotypes of the shape {Z.shape}", where="rank",
                        remedy=f"ask for 1 to {min(Z.shape)}")
    width = min(rank + OVERSAMPLING, *Z.shape)
    Q = linalg.qr(Z.T @ np.random.default_rng(seed).normal(size=(len(Z), width)), mode="economic")[0]
    for _ in range(POWER_ITERATIONS):
        Q = linalg.qr(Z.T @ (Z @ Q), mode="economic")[0]
    U, s, _ = linalg.svd((Z @ Q).T, full_matrices=False)
    return np.asarray((Q @ U[:, :rank]) * s[:rank])
