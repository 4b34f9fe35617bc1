"""Bootstrap of a mixed model: replicates that can be drawn anywhere in any order, and the intervals made from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from gsem_spark.errors import ConfigError
from gsem_spark.methods.lmm.manyphenotypes import fit_rotated
from gsem_spark.methods.lmm.null import LmmFit
from gsem_spark.methods.lmm.rotation import Rotated

Floats = NDArray[np.float64]
Kind = Literal["parametric", "residual"]

INTERVALS: Final = ("wald", "basic", "normal", "percentile", "studentized")
QUANTILE: Final = "averaged_inverted_cdf"
"""Order statistics, and the mean of two where n q is whole (definition 2 of Hyndman & Fan 1996, Am Stat 50:361)."""


@dataclass(frozen=True)
class Bootstrap:
    """Replicates of a fit.

    Parameters
    ----------
    names
        Parameters: the covariates, then hsq, sigmasq_g, sigmasq_e, or the variance components by name.
    estimate, se
        (k,) of the fit itself; the standard errors of sigmasq_g and sigmasq_e are NaN.
    replicates, replicate_se
        (n, k) of the replicates.
    """

    names: tuple[str, ...]
    estimate: Floats
    se: Floats
    replicates: Floats
    replicate_se: Floats

    def frame(self) -> pd.DataFrame:
        """One row a replicate, a column a parameter."""
        return pd.DataFrame(self.replicates, columns=list(self.names)).rename_axis("replicate").reset_index()

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of every parameter.

        Returns
        -------
        DataFrame
            Rows by parameter and interval: estimate, bias, se (of the replicates), lower, upper.

        Raises
        ------
        ConfigError
            When the level is not between 0 and 1.
        """
        return pd.concat([
            bootstrap_intervals(name, self.estimate[j], self.se[j], self.replicates[:, j], self.replicate_se[:, j], level)
            for j, name in enumerate(self.names)
        ], ignore_index=True)

    def p_values(self) -> pd.DataFrame:
        """Two-sided p of each parameter being 0: (number of |b* - b| >= |b|, plus 1) / (n + 1)."""
        beyond = (np.abs(self.replicates - self.estimate) >= np.abs(self.estimate)).sum(axis=0)
        p = (beyond + 1.0) / (len(self.replicates) + 1.0)
        return pd.DataFrame({"name": self.names, "p": p, "neglog10p": -np.log10(p)})


def bootstrap_intervals(name: str, estimate: float, se: float, replicates: Floats, replicate_se: Floats, level: float = 0.95
                        ) -> pd.DataFrame:
    """The five intervals of one parameter.

    Parameters
    ----------
    name
        Of the parameter.
    estimate, se
        b and its standard error.
    replicates, replicate_se
        (n,) b* and the standard error of each, from its own replicate's fit. NaN are left out, with their replicate.
    level
        Of confidence, in (0, 1).

    Notes
    -----
    With a = 1 - level, z the normal quantile, q quantiles over replicates (Davison & Hinkley 1997, Bootstrap Methods, ch. 5):
    wald b ∓ z se; basic 2b - q(1 - a/2), 2b - q(a/2); normal b - bias ∓ z sd(b*), bias = mean(b*) - b; percentile q(a/2),
    q(1 - a/2); studentized b - q_t(1 - a/2) se, b - q_t(a/2) se, t* = (b* - b) / se*. The mixed_models gem divides by the se of
    the data instead of the replicate's, so that the interval it calls studentized is the basic one.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level:g}, but lies between 0 and 1", where="level")
    a = 1.0 - level
    z = float(special.ndtri(1 - a / 2))
    seen = replicates[np.isfinite(replicates)]
    low, high = np.quantile(seen, [a / 2, 1 - a / 2], method=QUANTILE)
    bias, sd = float(seen.mean() - estimate), float(seen.std(ddof=1))
    t = (replicates - estimate) / replicate_se
    t = t[np.isfinite(t)]
    t_low, t_high = np.quantile(t, [a / 2, 1 - a / 2], method=QUANTILE) if t.size else (np.nan, np.nan)
    bounds = {"wald": (estimate - z * se, estimate + z * se), "basic": (2 * estimate - high, 2 * estimate - low),
              "normal": (estimate - bias - z * sd, estimate - bias + z * sd), "percentile": (low, high),
              "studentized": (estimate - t_high * se, estimate - t_low * se)}
    return pd.DataFrame([{"name": name, "interval": kind, "estimate": estimate, "bias": bias, "se": sd,
                          "lower": bounds[kind][0], "upper": bounds[kind][1]} for kind in INTERVALS])


def bootstrap(fit: LmmFit, n: int = 1000, kind: Kind = "parametric", seed: int = 1) -> Bootstrap:
    """Draw phenotypes from a fitted mixed model and fit it again to each.

    Parameters
    ----------
    fit
        From ``fit_lmm``; replicates are fitted as it was (REML or ML).
    n
        Replicates.
    kind
        ``"parametric"``: y* = X b + g + e, normal. ``"residual"``: rotated residuals over their standard deviations, centred and
        scaled to unit variance, drawn with replacement (a bootstrap of whitened residuals; needs a kinship of full rank).
    seed
        Replicate i has a stream of its own, made of the seed and i.

    Raises
    ------
    ConfigError
        When ``kind`` is unknown, ``n`` is below 2, or residuals of a low-rank background are to be drawn.
    """
    check_draws(kind, n)
    return bootstrap_of(fit, *bootstrap_block(fit, 0, n, kind, seed))


def check_draws(kind: str, n: int = 2) -> None:
    """Refuse an unknown kind, and fewer than two replicates."""
    if n < 2:
        raise ConfigError(f"{n} replicates, at least 2 are wanted", where="n")
    if kind not in ("parametric", "residual"):
        raise ConfigError(f"unknown bootstrap {kind!r}", where="kind", remedy='choose "parametric" or "residual"')


def bootstrap_of(fit: LmmFit, replicates: Floats, replicate_se: Floats) -> Bootstrap:
    """Replicates (n, k) from ``bootstrap_block``, put together in the order of their numbers, beside the fit itself."""
    s = fit.solution
    names = (*(fit.rotated.names or tuple(f"x{j}" for j in range(fit.rotated.c))), "hsq", "sigmasq_g", "sigmasq_e")
    estimate = np.concatenate([s.beta, [fit.hsq, fit.sigmasq_g, fit.sigmasq_e]])
    return Bootstrap(names, estimate, np.concatenate([fit.se, [fit.hsq_se, np.nan, np.nan]]), replicates, replicate_se)


def bootstrap_block(fit: LmmFit, start: int, stop: int, kind: Kind = "parametric", seed: int = 1) -> tuple[Floats, Floats]:
    """Estimates and standard errors (stop - start, k) of replicates ``start`` to ``stop - 1``; the same bytes in any cut."""
    rotated, hidden = _with_hidden_row(fit.rotated)
    check_draws(kind)
    if kind == "residual" and hidden:
        raise ConfigError("residuals of a low-rank background have no own direction each", where="kind",
                          remedy='draw them normally with kind="parametric"')
    sd = np.sqrt(fit.sigmasq * (fit.hsq * rotated.eigenvalues + 1.0 - fit.hsq))
    mean = rotated.X @ fit.beta
    drawn = np.empty((stop - start, len(sd)))
    pool = _whitened_residuals(fit, sd, mean) if kind == "residual" else np.empty(0)
    for i in range(start, stop):
        stream = np.random.default_rng([seed, i])
        if kind == "residual":
            drawn[i - start] = pool[stream.integers(0, len(pool), len(sd))]
            continue
        drawn[i - start] = stream.standard_normal(len(sd))
        if hidden:
            drawn[i - start, -1] = np.sqrt(stream.chisquare(hidden))
    fits = fit_rotated(rotated, mean + sd * drawn, fit.reml)
    missing = np.full(len(fits.hsq), np.nan)
    estimates = np.column_stack([fits.beta, fits.hsq, fits.hsq * fits.sigmasq, (1 - fits.hsq) * fits.sigmasq])
    return estimates, np.column_stack([fits.se, fits.hsq_se, missing, missing])


def _with_hidden_row(rotated: Rotated) -> tuple[Rotated, int]:
    """One more row of eigenvalue 0 that takes up the length of what lies in directions without a row."""
    hidden = rotated.hidden
    if not hidden:
        return rotated, 0
    return replace(rotated, eigenvalues=np.append(rotated.eigenvalues, 0.0), y=np.append(rotated.y, 0.0),
                   X=np.vstack([rotated.X, np.zeros(rotated.c)])), hidden


def _whitened_residuals(fit: LmmFit, sd: Floats, mean: Floats) -> Floats:
    return scaled_residuals((fit.rotated.y - mean) / sd)


def scaled_residuals(z: Floats) -> Floats:
    """Whitened residuals, centred and scaled to unit variance: what a residual bootstrap draws from."""
    z = z - z.mean()
    return np.asarray(z / np.sqrt((z**2).mean()))
