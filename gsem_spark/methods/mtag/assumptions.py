"""What MTAG takes for granted, held against the traits at hand: findings with their numbers, nothing repaired in silence.

MTAG takes every SNP to have the same Omega. It stands on firm ground where traits are strongly correlated and alike in power; a
weak trait beside a strong one borrows the strong one's hits.

Source: Turley et al. 2018, Nat Genet 50:229, Online Methods and Supplementary Note 1.1.4; the values that are guidance of this
package are marked so in :mod:`gsem_spark.thresholds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.methods.mtag.matrices import is_psd, to_correlation
from gsem_spark.thresholds import MEAN_CHISQ_MIN, MTAG_MEAN_CHISQ_LOW, MTAG_POWER_RATIO_MAX, MTAG_RG_MIN

Floats = NDArray[np.float64]
TOLD_ONE_BY_ONE: Final = 3
"""Pairs of low correlation that are told of each by itself; more of them would bury other findings."""


@dataclass(frozen=True)
class AssumptionLimits:
    """Settings of :func:`check_assumptions`: smallest mean chi-square, low mean chi-square, smallest rg, largest power ratio."""

    mean_chisq_min: float = MEAN_CHISQ_MIN
    mean_chisq_low: float = MTAG_MEAN_CHISQ_LOW
    rg_min: float = MTAG_RG_MIN
    power_ratio_max: float = MTAG_POWER_RATIO_MAX


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of MTAG's results must know.

    Parameters
    ----------
    code
        ``mean_chisq``, ``mean_chisq_low``, ``negative_variance``, ``not_psd``, ``rg_beyond_1``, ``low_rg`` or ``power_ratio``.
    level
        ``"fail"``: MTAG should not be run so; ``"warn"``: its results need care.
    traits
        The traits concerned.
    value, limit
        The number and what it was held against.
    sentence
        The finding in words, with both.
    """

    code: str
    level: Literal["warn", "fail"]
    traits: tuple[str, ...]
    value: float
    limit: float
    sentence: str


def check_assumptions(
    traits: Sequence[str],
    mean_chisq: ArrayLike,
    sigma: Floats,
    omega_raw: Floats,
    *,
    perfect_gencov: bool = False,
    limits: AssumptionLimits | None = None,
) -> list[Finding]:
    """List all findings, failures first.

    Parameters
    ----------
    traits
        k names.
    mean_chisq
        (k,) mean of z², uncorrected.
    sigma
        (k, k) before any repair.
    omega_raw
        (k, k) the moment estimate before any repair; NaN where it was not estimated.
    perfect_gencov
        Whether genetic correlations are set to 1, so that estimates beyond it say nothing.
    limits
        Settings.
    """
    by = limits if limits is not None else AssumptionLimits()
    raw = np.asarray(mean_chisq, np.float64)
    found = [*_chisq(traits, raw, raw / np.diag(sigma), by), *_matrix("Sigma", traits, sigma)]
    if np.isfinite(omega_raw).all():
        found += [*_matrix("Omega", traits, omega_raw), *_correlations(traits, omega_raw, by, perfect_gencov)]
    found += _power(traits, raw / np.diag(sigma) - 1.0, by)
    return sorted(found, key=lambda f: f.level != "fail")


def told(findings: Sequence[Finding], traits: Sequence[str]) -> tuple[str, ...]:
    """Findings as sentences; more than a few pairs of low correlation become one, with the lowest of them."""
    low = [f for f in findings if f.code == "low_rg"]
    if len(low) <= TOLD_ONE_BY_ONE:
        return tuple(f.sentence for f in findings)
    least = min(low, key=lambda f: abs(f.value))
    pairs = len(traits) * (len(traits) - 1) // 2
    merged = (
        f"{len(low)} of {pairs} pairs of traits have a genetic correlation below {least.limit:g}, the lowest {least.value:.3f} "
        f"({least.traits[0]} and {least.traits[1]}): SNPs that act on one alone may become hits of the other; look at maxFDR"
    )
    return (*(f.sentence for f in findings if f.code != "low_rg"), merged)


def _chisq(traits: Sequence[str], raw: Floats, adjusted: Floats, by: AssumptionLimits) -> list[Finding]:
    out = []
    for t, name in enumerate(traits):
        if raw[t] < by.mean_chisq_min:
            out.append(Finding(
                "mean_chisq", "fail", (name,), float(raw[t]), by.mean_chisq_min,
                f"{name} has a mean chi-square of {raw[t]:.3f}, below {by.mean_chisq_min:g}: too little signal for "
                "Omega",
            ))  # fmt: skip
        elif adjusted[t] < by.mean_chisq_low:
            out.append(Finding(
                "mean_chisq_low", "warn", (name,), float(adjusted[t]), by.mean_chisq_low,
                f"{name} has a mean chi-square of {adjusted[t]:.3f} after its LD score intercept, below {by.mean_chisq_low:g}: "
                "MTAG may do badly",
            ))  # fmt: skip
    return out


def _matrix(name: str, traits: Sequence[str], matrix: Floats) -> list[Finding]:
    out = [
        Finding("negative_variance", "fail", (traits[t],), float(matrix[t, t]), 0.0,
                f"{traits[t]} has a variance of {matrix[t, t]:.3g} in {name}: it must be above 0")
        for t in np.flatnonzero(~(np.diag(matrix) > 0)).tolist()
    ]
    if not is_psd(matrix):
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        out.append(Finding("not_psd", "warn", tuple(traits), smallest, 0.0,
                           f"{name} is not positive semidefinite: its smallest eigenvalue is {smallest:.3g}"))
    return out


def _correlations(traits: Sequence[str], omega: Floats, by: AssumptionLimits, perfect: bool) -> list[Finding]:
    rg, out = to_correlation(omega), []
    for i in range(len(traits)):
        for j in range(i + 1, len(traits)):
            pair = (traits[i], traits[j])
            if abs(rg[i, j]) > 1.0 and not perfect:
                out.append(Finding("rg_beyond_1", "warn", pair, float(rg[i, j]), 1.0,
                                   f"the genetic correlation of {pair[0]} and {pair[1]} in Omega is {rg[i, j]:.3f}, beyond 1"))
            elif abs(rg[i, j]) < by.rg_min:
                out.append(Finding(
                    "low_rg", "warn", pair, float(rg[i, j]), by.rg_min,
                    f"{pair[0]} and {pair[1]} have a genetic correlation of {rg[i, j]:.3f}, below {by.rg_min:g}: SNPs that act "
                    "on one alone may become hits of the other; look at maxFDR",
                ))  # fmt: skip
    return out


def _power(traits: Sequence[str], excess: Floats, by: AssumptionLimits) -> list[Finding]:
    """Compare every trait with the strongest; one without any excess has no ratio and is told of by its mean chi-square."""
    strongest = int(np.argmax(excess))
    out = []
    for t, name in enumerate(traits):
        if t == strongest or not excess[t] > 0:
            continue
        ratio = float(excess[strongest] / excess[t])
        if ratio > by.power_ratio_max:
            out.append(Finding(
                "power_ratio", "warn", (name, traits[strongest]), ratio, by.power_ratio_max,
                f"{traits[strongest]} has {ratio:.1f} times the power of {name} (mean chi-square less 1), more than "
                f"{by.power_ratio_max:g}: hits of {name} may be those of {traits[strongest]}; look at maxFDR",
            ))  # fmt: skip
    return out
