"""Effects per standard deviation of the trait (or of the liability) from what GWAS files hold.

With v = 2·maf·(1 − maf), the variance of a SNP in Hardy-Weinberg proportions:

- ``linear``: a standardised effect has β = z / sqrt(N v), SE = 1 / sqrt(N v).
- ``logistic``: the logistic error has variance π²/3, so that b / sqrt(b² v + π²/3) is the effect on a liability of variance 1;
  the SE is divided by the same.
- ``logistic_or_se``: as before, after SE(log OR) = SE(OR) / OR (delta method).
- ``linear_probability``: the log odds are recovered as b = z / sqrt(N_eff v / 4), SE = 1 / sqrt(N_eff v / 4), where N_eff is the
  effective sample size 4 / (1/cases + 1/controls); then as for ``logistic``.

Source: Grotzinger et al. 2019, Nat Hum Behav 3:513, supplement; Grotzinger et al. 2023, Biol Psychiatry 93:29 (effective N).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sumstats.spec import Scale

Floats = NDArray[np.float64]

LOGISTIC_VARIANCE: Final = np.pi**2 / 3.0
"""Variance of the standard logistic distribution."""
CI_WIDTH: Final = 2.0 * 1.959963984540054
"""Width of a 95 % confidence interval in standard errors."""


def snp_variance(frequency: Floats) -> Floats:
    """Variance 2 f (1 − f) of a SNP's allele count, f in [0, 1]."""
    return 2.0 * frequency * (1.0 - frequency)


def effective_n(cases: Floats, controls: Floats) -> Floats:
    """Effective sample size 4 / (1/cases + 1/controls): a balanced study of the same power. NaN unless both are positive."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where((cases > 0) & (controls > 0), 4.0 / (1.0 / cases + 1.0 / controls), np.nan)


def standardise(scale: Scale, *, effect: Floats, se: Floats, z: Floats, n: Floats, frequency: Floats) -> tuple[Floats, Floats]:
    """Standardised effect and standard error.

    Parameters
    ----------
    scale
        Scale of the raw effects.
    effect
        Log odds (logistic scales); not read for ``linear`` and ``linear_probability``.
    se
        Standard error of ``effect`` (``logistic``), or of the odds ratio (``logistic_or_se``).
    z
        Signed Z (``linear``, ``linear_probability``).
    n
        Sample size, total for ``linear``, effective for ``linear_probability``.
    frequency
        Allele frequency of either allele, in (0, 1).

    Returns
    -------
    beta, se
        Arrays (n); NaN where an input is missing.
    """
    variance = snp_variance(frequency)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if scale == "linear":
            root = np.sqrt(n * variance)
            return z / root, 1.0 / root + 0.0 * z
        if scale == "linear_probability":
            root = np.sqrt(n / 4.0 * variance)
            effect, se = z / root, 1.0 / root
        elif scale == "logistic_or_se":
            se = se / np.exp(effect)
        residual = np.sqrt(effect**2 * variance + LOGISTIC_VARIANCE)
        return effect / residual, se / residual
