"""Upper tails of the F distribution in log space."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from gsem_spark.methods.pvalues import LN10

Floats = NDArray[np.float64]

_TAIL_SWITCH: Final = 1e-280
"""Below this probability the tail comes from its continued fraction instead of ``betainc`` (which is 0 at 1e-308)."""
_DEPTH: Final = 400
_TINY: Final = 1e-290


def from_f(stat: ArrayLike, df1: ArrayLike, df2: ArrayLike) -> tuple[Floats, Floats]:
    """Upper-tail p-value of an F statistic and its -log10.

    Parameters
    ----------
    stat
        Statistics, any shape; small negative values (rounding) count as 0, NaN gives NaN.
    df1, df2
        Degrees of freedom above 0, broadcast against ``stat``; others give NaN.

    Returns
    -------
    p, neglog10p
        Arrays of the broadcast shape.

    Notes
    -----
    P(F > f) = I_x(df2/2, df1/2) with x = df2 / (df2 + df1 f) (DLMF 8.17). Far in the tail the logarithm of I_x is taken by its
    continued fraction (DLMF 8.17.22), evaluated by the modified Lentz method.
    """
    f, d1, d2 = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (stat, df1, df2)))
    bad = np.isnan(f) | ~(d1 > 0) | ~(d2 > 0)
    f, d1, d2 = np.where(bad, 1.0, np.maximum(f, 0.0)), np.where(bad, 1.0, d1), np.where(bad, 1.0, d2)
    x = d2 / (d2 + d1 * f)
    p = special.betainc(d2 / 2, d1 / 2, x)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    far = (p < _TAIL_SWITCH) & (x > 0)
    if far.any():
        log_p = np.where(far, _log_beta_tail(d2 / 2, d1 / 2, np.where(far, x, 0.5)), log_p)
    log_p = np.where(bad, np.nan, log_p)
    return np.exp(log_p), np.maximum(-log_p / LN10, 0.0)


def _log_beta_tail(a: Floats, b: Floats, x: Floats) -> Floats:
    c = np.ones_like(x)
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / np.where(np.abs(d) < _TINY, _TINY, d)
    h = d.copy()
    for m in range(1, _DEPTH):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for top in (even, odd):
            d = 1.0 + top * d
            d = 1.0 / np.where(np.abs(d) < _TINY, _TINY, d)
            c = 1.0 + top / c
            c = np.where(np.abs(c) < _TINY, _TINY, c)
            h = h * d * c
    return a * np.log(x) + b * np.log1p(-x) - np.log(a) - special.betaln(a, b) + np.log(h)
