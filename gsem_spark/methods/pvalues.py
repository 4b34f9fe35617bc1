"""P-values and their logarithms, one definition for the whole package.

A genome-wide scan meets Z-scores whose p-value is below the smallest float64 (1e-308 at |Z| of about 37.6). Every function
here works in log space, so that ``neglog10p`` stays exact where ``p`` has become 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

LN10 = float(np.log(10.0))
_TAIL_SWITCH = 600.0
"""Half chi-square above which the upper tail comes from its continued fraction instead of ``gammaincc`` (which is 0 at 745)."""


def from_z(z: ArrayLike) -> tuple[Floats, Floats]:
    """Two-sided p-value of a standard normal Z and its -log10.

    Parameters
    ----------
    z
        Z-scores, any shape, unit-free. NaN gives NaN in both; an infinite Z gives p = 0 and neglog10p = inf.

    Returns
    -------
    p, neglog10p
        Arrays of the shape of ``z``; ``p`` in [0, 1], ``neglog10p`` in [0, inf].
    """
    log_p = special.log_ndtr(-np.abs(np.asarray(z, dtype=np.float64))) + np.log(2.0)
    return np.exp(log_p), np.maximum(-log_p / LN10, 0.0)


def from_chisq(chisq: ArrayLike, df: ArrayLike) -> tuple[Floats, Floats]:
    """Upper-tail p-value of a chi-square statistic and its -log10.

    Parameters
    ----------
    chisq
        Statistics, any shape; small negative values (rounding) count as 0, NaN gives NaN.
    df
        Degrees of freedom, broadcast against ``chisq``; a df of 0 gives NaN (there is no test).

    Returns
    -------
    p, neglog10p
        Arrays of the broadcast shape.

    Notes
    -----
    Far in the tail log Q(a, x) = -x + a log x - log Gamma(a) - log(x + 1 - a - 1(1-a)/(x + 3 - a - ...)), the Legendre
    continued fraction (Abramowitz & Stegun 6.5.31), evaluated bottom-up at a fixed depth.
    """
    x, a = np.broadcast_arrays(np.asarray(chisq, np.float64) / 2.0, np.asarray(df, np.float64) / 2.0)
    a = np.where(a > 0, a, np.nan)
    x = np.maximum(x, 0.0)
    near = x < _TAIL_SWITCH
    with np.errstate(divide="ignore"):
        log_q = np.log(special.gammaincc(a, np.where(near, x, 1.0)))
    far = ~near & np.isfinite(x)
    if far.any():
        log_q = np.where(far, _log_upper_gamma_far(np.where(far, a, 1.0), np.where(far, x, 1e3)), log_q)
    log_q = np.where(np.isposinf(x), -np.inf, log_q)
    log_q = np.where(np.isnan(x), np.nan, log_q)
    return np.exp(log_q), np.maximum(-log_q / LN10, 0.0)


def _log_upper_gamma_far(a: Floats, x: Floats, depth: int = 60) -> Floats:
    tail = np.zeros_like(x)
    for i in range(depth, 0, -1):
        tail = i * (i - a) / (x + 2 * i + 1 - a - tail)
    return -x + a * np.log(x) - special.gammaln(a) - np.log(x + 1.0 - a - tail)


def z_from_neglog10p(neglog10p: ArrayLike) -> Floats:
    """The positive Z whose two-sided p-value is 10 ** -neglog10p, exact for p far below 1e-308.

    Parameters
    ----------
    neglog10p
        Values in [0, inf]; negative values (p above 1) and NaN give NaN, infinity gives infinity.
    """
    x = np.asarray(neglog10p, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        log_half_p = np.where(x >= 0, -x * LN10 - np.log(2.0), np.nan)
    return np.where(x == 0, 0.0, -special.ndtri_exp(log_half_p))


def scientific(neglog10p: float, digits: int = 1) -> str:
    """A p-value as text such as ``3.9e-378`` from its -log10, also where it is too small for a float64."""
    if not np.isfinite(neglog10p):
        return "0" if neglog10p > 0 else "nan"
    exponent = int(np.ceil(neglog10p))
    mantissa = f"{10.0 ** (exponent - neglog10p):.{digits}f}"
    if float(mantissa) >= 10.0:
        mantissa, exponent = f"{1.0:.{digits}f}", exponent - 1
    return f"{mantissa}e-{exponent:02d}"
