"""The share of SNPs that are causal for a trait, from a two-component mixture: it narrows the grid of the maxFDR search.

A SNP's standardised effect is 0 with probability pi and normal with standard deviation tau otherwise; its estimate has the
standard error 1 / sqrt(N).

Source: Turley et al. 2018, Nat Genet 50:229, Supplementary Note 1.1.4 (the "spike-and-slab" restriction).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from gsem_spark.errors import DataError

Floats = NDArray[np.float64]

_START_NULL: Final = 0.5
_START_SD: Final = 1e-3
_TOLERANCE: Final = 1e-7
"""Of the gradient per SNP: the share is then exact to about 1e-5."""
_MAX_ITERATIONS: Final = 1000
_EDGE: Final = 1e-4
"""A share this close to 0 or 1 is the edge of the parameter space: there is no mixture to be told apart."""


@dataclass(frozen=True)
class SpikeSlab:
    """Fitted mixture of one trait.

    Parameters
    ----------
    causal_share
        Probability that a SNP's effect is not 0.
    effect_sd
        Standard deviation of the standardised effects that are not 0.
    log_likelihood
        At the optimum, up to a constant.
    converged
        Whether the optimum was found, away from the edges.
    """

    causal_share: float
    effect_sd: float
    log_likelihood: float
    converged: bool


def spike_slab(z: ArrayLike, n: ArrayLike) -> SpikeSlab:
    """Fit the mixture to a trait by maximum likelihood.

    Parameters
    ----------
    z, n
        (m,) Z-scores and sample sizes; SNPs with a missing value are left out.

    Raises
    ------
    DataError
        When no SNP is left.
    """
    Z, N = np.asarray(z, np.float64), np.asarray(n, np.float64)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(Z) & np.isfinite(N) & (N > 0)
    Z, N = Z[usable], N[usable]
    if Z.size == 0:
        raise DataError("no SNP has both a Z-score and a sample size", where="spike_slab")
    half, size = 0.5 * Z * Z, Z.size

    def negative(x: Floats) -> tuple[float, Floats]:
        # On the scale of Z the causal variance is 1 + N tau²; the constant of the normal density is left out.
        growth = N * np.exp(-2.0 * x[1])
        spread = 1.0 + growth
        slab = special.log_expit(-x[0]) - half / spread - 0.5 * np.log(spread)
        both = np.logaddexp(slab, special.log_expit(x[0]) - half)
        causal = np.exp(slab - both)
        by_share = (1.0 - causal).sum() - size * special.expit(x[0])
        by_sd = (causal * growth * (1.0 / spread - 2.0 * half / (spread * spread))).sum()
        return -float(both.sum()) / size, -np.array([by_share, by_sd]) / size

    start = np.array([special.logit(_START_NULL), -np.log(_START_SD)])
    found = optimize.minimize(
        negative, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_ITERATIONS, "gtol": _TOLERANCE, "ftol": 0.0}
    )
    flat = bool(np.abs(found.jac).max() <= 10.0 * _TOLERANCE)
    share = float(special.expit(-found.x[0]))
    inside = _EDGE < share < 1.0 - _EDGE
    return SpikeSlab(share, float(np.exp(-found.x[1])), -float(found.fun) * size, flat and inside)
