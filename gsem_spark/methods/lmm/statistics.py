"""The tests of fixed effects, each defined once.

Every test of m effects beside c covariates in n samples is a function of two sums of squares in the metric of H⁻¹: ``rss``,
what the covariates leave of the phenotype, and ``explained``, what the m effects take of it.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods import pvalues
from gsem_spark.methods.lmm.tails import from_f

Floats = NDArray[np.float64]
Test = Literal["wald_f", "wald_chi2", "lrt_ml", "score", "score_chi2", "limix_lrt"]

NULL_OF: Final[dict[str, Literal["reml", "ml"]]] = {
    "wald_f": "reml", "wald_chi2": "reml", "limix_lrt": "reml", "score_chi2": "reml", "lrt_ml": "ml", "score": "ml",
}
"""The null model at whose variance components a test stands (its own refit where a scan is exact and ``REFITTED`` says so)."""
REFITTED: Final = frozenset({"wald_f", "wald_chi2", "lrt_ml"})
"""Tests that an exact scan takes at components fitted anew for every variant."""


def check_tests(test: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Test names as a tuple.

    Raises
    ------
    ConfigError
        When a name is unknown, or none is given.
    """
    names = (test,) if isinstance(test, str) else tuple(test)
    unknown = [name for name in names if name not in NULL_OF]
    if unknown or not names:
        raise ConfigError(f"unknown test {', '.join(map(repr, unknown)) or '(none)'}", where="test",
                          remedy=f"choose from {', '.join(NULL_OF)}")
    return names


def statistic(test: str, explained: Floats, rss: Floats | float, n: int, c: int, m: int, c_null: int | None = None
              ) -> tuple[Floats, Floats, Floats]:
    """Test statistic, p and -log10 p of m effects at given variance components.

    Parameters
    ----------
    test
        * ``wald_f``: (explained / m) / (rss1 / (n - c - m)) against F(m, n - c - m), rss1 = rss - explained. Exact for known hsq.
        * ``wald_chi2``: m times that against chi-square with m degrees of freedom.
        * ``lrt_ml``: -n log(rss1 / rss) against chi-square: the likelihood ratio at the null's ML components.
        * ``score``: n explained / (m rss) against F(m, n - c - m): GEMMA's score test, with n where the unbiased scale has n - c.
        * ``score_chi2``: (n - c) explained / rss against chi-square.
        * ``limix_lrt``: -(n - c) log(rss1 / rss) against chi-square: limix-lmm's, the same n - c under both hypotheses, neither a
          Wald nor a likelihood ratio test in the strict sense.
    explained, rss
        Sums of squares, broadcast against each other.
    n, c, m
        Samples, covariates of the null model, effects tested.
    c_null
        Covariates of the model whose scale ``limix_lrt`` keeps, where ``c`` counts tested effects of a smaller model too.
    """
    share = np.clip(explained / rss, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        if test in ("wald_f", "wald_chi2"):
            stat = share / (1.0 - share) * (n - c - m) / (m if test == "wald_f" else 1)
        elif test == "score":
            stat = share * n / m
        elif test == "score_chi2":
            stat = share * (n - c)
        else:
            stat = -np.log1p(-share) * (n if test == "lrt_ml" else n - (c if c_null is None else c_null))
    return (stat, *tail(test, stat, m, n - c - m))


def tail(test: str, stat: Floats, m: int, df: int) -> tuple[Floats, Floats]:
    """P-value and -log10 p of a statistic, m effects tested on df residual degrees of freedom."""
    if test in ("wald_f", "score"):
        return from_f(stat, m, df)
    # one degree of freedom: a squared normal, several times faster
    return pvalues.from_z(np.sqrt(stat)) if m == 1 else pvalues.from_chisq(stat, m)


def mixture_lrt(name: str, loglik: float, loglik_null: float, df: int = 1) -> pd.DataFrame:
    """Likelihood ratio test of one variance, which is 0 under the null hypothesis.

    Parameters
    ----------
    name
        Of the variance.
    loglik, loglik_null
        With it and without.
    df
        Parameters that the model without it lacks: 1, or 2 where a covariance goes with it.

    Returns
    -------
    DataFrame
        One row: name, stat, p, neglog10p. The null distribution is an equal mixture of chi-square with df - 1 and df degrees of
        freedom (Self & Liang 1987, J Am Stat Assoc 82:605, cases 5 and 6). With df = 1 p is half of the chi-square tail, and 1
        where the variance is 0.
    """
    stat = max(2.0 * (loglik - loglik_null), 0.0)
    log_p = 0.0
    if stat > 0:
        tails = [-float(pvalues.from_chisq(stat, k)[1]) * pvalues.LN10 for k in (df - 1, df) if k]
        log_p = float(np.logaddexp.reduce(tails)) - np.log(2.0)
    return pd.DataFrame([{"name": name, "stat": stat, "p": float(np.exp(log_p)), "neglog10p": -log_p / pvalues.LN10}])
