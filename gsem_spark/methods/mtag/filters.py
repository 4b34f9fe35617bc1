"""Which SNPs take part in MTAG, and on which allele their effects are counted.

Source of the defaults: Turley et al. 2018, Nat Genet 50:229, Online Methods; the reference program 1.0.8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.thresholds import MTAG_MAF_MIN, MTAG_N_QUANTILE, MTAG_N_SHARE

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MISMATCH_SHARE_MAX: Final = 0.05
"""Above this share of SNPs whose alleles fit neither way round, a trait's alleles are not those of the first trait."""
_COMPLEMENT: Final[Mapping[str, str]] = {"A": "T", "T": "A", "C": "G", "G": "C"}


@dataclass(frozen=True)
class TraitFilter:
    """Filters of one trait's SNPs; None switches one off.

    Parameters
    ----------
    maf_min
        SNPs with a minor allele frequency of at most this are left out.
    n_min
        SNPs with a smaller N are left out; ``"auto"``: 2/3 of the 90th percentile of N.
    n_max
        SNPs with a larger N are left out.
    n_near_mode
        SNPs whose N differs from the most frequent N by more than this share of it are left out (homogeneous N).
    n_near_mode_distance
        The same, the difference in samples.
    """

    maf_min: float | None = MTAG_MAF_MIN
    n_min: float | str | None = "auto"
    n_max: float | None = None
    n_near_mode: float | None = None
    n_near_mode_distance: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.n_min, str) and self.n_min != "auto":
            raise ConfigError(f"n_min is {self.n_min!r}", where="n_min", remedy='give a number, "auto" or None')
        if self.n_near_mode is not None and self.n_near_mode_distance is not None:
            raise ConfigError(
                "both a share and a distance from the most frequent N are given", where="n_near_mode", remedy="give one of them"
            )
        for name in ("maf_min", "n_max", "n_near_mode", "n_near_mode_distance"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{name} is {value}", where=name, remedy="give 0 or more")


@dataclass(frozen=True)
class Filtered:
    """Which of a trait's SNPs stay.

    Parameters
    ----------
    keep
        (m,) SNPs that pass all filters.
    dropped
        SNPs that each filter drops, of those that passed the ones before it, in their order.
    n_floor
        The smallest N that was allowed.
    """

    keep: Bools
    dropped: Mapping[str, int]
    n_floor: float


def n_floor(n: ArrayLike) -> float:
    """Two thirds of the 90th percentile of N (linear interpolation between the two nearest values).

    Raises
    ------
    DataError
        When no N is known.
    """
    N = np.asarray(n, np.float64)
    N = N[np.isfinite(N)]
    if N.size == 0:
        raise DataError("no SNP has a sample size", where="n", remedy="give N: MTAG's weights depend on it")
    return float(np.quantile(N, MTAG_N_QUANTILE)) * MTAG_N_SHARE


def filter_trait(z: ArrayLike, n: ArrayLike, eaf: ArrayLike, rules: TraitFilter | None = None) -> Filtered:
    """Apply a trait's filters.

    Parameters
    ----------
    z, n, eaf
        (m,) Z-scores, sample sizes and allele frequencies. The N floor is that of all SNPs that pass the filters before it.
    rules
        The filters; the defaults when None.

    Raises
    ------
    DataError
        When N is missing throughout, or nothing is left.
    """
    rules = rules if rules is not None else TraitFilter()
    Z, N, f = (np.asarray(a, np.float64) for a in (z, n, eaf))
    keep, dropped = np.ones(Z.size, dtype=bool), {}

    def drop(name: str, passes: Bools) -> None:
        nonlocal keep
        dropped[name] = int((keep & ~passes).sum())
        keep = keep & passes

    with np.errstate(invalid="ignore"):
        if np.isnan(N).all():
            raise DataError("no SNP has a sample size", where="n", remedy="give N: MTAG's weights depend on it")
        drop("missing", np.isfinite(Z) & np.isfinite(N) & (N > 0))
        if rules.maf_min is not None:
            drop("maf", (np.minimum(f, 1.0 - f) > rules.maf_min) & (f > 0) & (f < 1))
        floor = 0.0
        if rules.n_min is not None and keep.any():
            floor = n_floor(N[keep]) if isinstance(rules.n_min, str) else float(rules.n_min)
            drop("n_min", np.asarray(floor <= N))
        if (rules.n_near_mode is not None or rules.n_near_mode_distance is not None) and keep.any():
            mode = most_frequent(N[keep])
            allowed = rules.n_near_mode_distance if rules.n_near_mode is None else rules.n_near_mode * mode
            drop("n_near_mode", np.abs(N - mode) <= float(allowed or 0.0))
        if rules.n_max is not None:
            drop("n_max", rules.n_max >= N)
    if not keep.any():
        told = ", ".join(f"{name} {count:,}" for name, count in dropped.items())
        raise DataError(f"no SNP passes the filters (dropped: {told})", remedy="check frequencies and N, or relax the filters")
    return Filtered(keep, dropped, floor)


def most_frequent(n: Floats) -> float:
    """Most frequent value; of equally frequent ones the smallest."""
    values, counts = np.unique(n, return_counts=True)
    return float(values[int(counts.argmax())])


def strand_ambiguous(a1: ArrayLike, a2: ArrayLike) -> Bools:
    """Whether a SNP's two alleles are complements (A/T, C/G), so that its strand cannot be told; (m,)."""
    first, second = _upper(a1), _upper(a2)
    out = np.zeros(first.shape, dtype=bool)
    for allele, other in _COMPLEMENT.items():
        out |= (first == allele) & (second == other)
    return out


def align(
    a1: ArrayLike, a2: ArrayLike, traits: Sequence[str], mismatch_max: float = MISMATCH_SHARE_MAX
) -> tuple[NDArray[np.int8], dict[str, dict[str, int]]]:
    """Signs that turn all traits' effects to the first trait's effect allele, by the alleles' names.

    Parameters
    ----------
    a1, a2
        (m, k) effect and other allele of each trait.
    traits
        k names, for messages.
    mismatch_max
        Share of SNPs with other alleles than the first trait's above which a trait is refused.

    Returns
    -------
    sign
        (m, k): 1, -1 where the alleles are swapped (turn z, and take 1 - frequency), 0 where they fit neither way (leave out).
    counts
        Per trait the SNPs ``same``, ``swapped`` and ``mismatched``.

    Raises
    ------
    DataError
        When a trait's alleles follow another convention (strand, indel coding), with its numbers.
    """
    first, second = _upper(a1), _upper(a2)
    same = (first == first[:, :1]) & (second == second[:, :1])
    swapped = (first == second[:, :1]) & (second == first[:, :1])
    sign = same.astype(np.int8) - (swapped & ~same).astype(np.int8)
    counts = {
        name: {"same": int(same[:, t].sum()), "swapped": int((sign[:, t] < 0).sum()), "mismatched": int((sign[:, t] == 0).sum())}
        for t, name in enumerate(traits)
    }
    for t, name in enumerate(traits):
        if len(sign) and counts[name]["mismatched"] > mismatch_max * len(sign):
            at = int(np.flatnonzero(sign[:, t] == 0)[0])
            raise DataError(
                f"{counts[name]['mismatched']:,} of {len(sign):,} SNPs have other alleles than in {traits[0]}, as "
                f"{first[at, t]}/{second[at, t]} for {first[at, 0]}/{second[at, 0]}", where=f"trait {name}",
                remedy="harmonise all traits to one reference and strand (munge) before MTAG",
            )
    return sign, counts


def _upper(alleles: ArrayLike) -> NDArray[np.str_]:
    return np.char.upper(np.asarray(alleles, dtype=np.str_))
