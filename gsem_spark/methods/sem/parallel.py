"""Parallel analysis: how many factors stand out from what the sampling errors of S alone would produce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.extraction import eigenvalues
from gsem_spark.methods.sem.painters import SCREE, paint
from gsem_spark.methods.vech import vech_indices

Floats = NDArray[np.float64]

DRAWS: Final = 500
LEVEL: Final = 0.95
"""Quantile of the null eigenvalues that an observed one must exceed (the reference's default)."""
PRINCIPAL_AXIS_ITERATIONS: Final = 500
PRINCIPAL_AXIS_TOLERANCE: Final = 1e-5
LARGEST_COMMUNALITY: Final = 0.995
"""Communalities are kept below this; a null draw can have a Heywood case."""


@dataclass(frozen=True, eq=False)
class ParallelAnalysis:
    """Observed eigenvalues beside those of matrices without any genetic correlation.

    Parameters
    ----------
    observed
        (k,) eigenvalues, largest first.
    null_mean, null_sd, null_quantile
        (k,) mean, standard deviation and ``level`` quantile of the eigenvalues of the draws.
    null_quantile_se
        (k,) Monte Carlo standard error of the quantile.
    factors
        Leading eigenvalues above their quantile: the number of factors to extract.
    draws, level, seed
        How the null was drawn.
    kind
        ``components`` (eigenvalues of S) or ``factors`` (of S with communalities on its diagonal).
    diagonal
        Whether sampling errors were taken as uncorrelated.
    """

    observed: Floats
    null_mean: Floats
    null_sd: Floats
    null_quantile: Floats
    null_quantile_se: Floats
    factors: int
    draws: int
    level: float
    seed: int
    kind: str
    diagonal: bool

    def table(self) -> pd.DataFrame:
        """One row an eigenvalue: ``number observed null_mean null_quantile difference retained``."""
        return pd.DataFrame({
            "number": np.arange(1, self.observed.size + 1), "observed": self.observed, "null_mean": self.null_mean,
            "null_quantile": self.null_quantile, "difference": self.observed - self.null_quantile,
            "retained": np.arange(self.observed.size) < self.factors,
        })

    def draw(self, path: str | Path) -> Path:
        """Draw the scree plot to a file, ``.svg`` or ``.png`` by its ending, and return where it is.

        Raises
        ------
        ConfigError
            For another ending.
        """
        return paint(SCREE, self.table(), path, level=self.level, kind=self.kind)

    def summary(self) -> str:
        """One sentence and the table as text."""
        sentence = (
            f"Parallel analysis suggests {self.factors} {self.kind[:-1]}(s): leading eigenvalues above the "
            f"{self.level:.0%} quantile of {self.draws} draws without genetic correlation"
        )
        return f"{sentence}\n{self.table().round(4).to_string(index=False)}"


def parallel_analysis(
    cov: CovStruct,
    draws: int = DRAWS,
    seed: int = 0,
    *,
    level: float = LEVEL,
    standardised: bool = True,
    diagonal: bool = False,
    factor_analysis: bool = False,
    factors: int = 1,
) -> ParallelAnalysis:
    """Compare the eigenvalues of S with those of draws under the LDSC sampling distribution.

    Parameters
    ----------
    cov
        k traits.
    draws
        Draws of vech(S) ~ N(vech(diag(S)), V), >= 20.
    seed
        Of the draws.
    level
        Quantile to exceed, in (0, 1).
    standardised
        Use genetic correlations and their V (recommended) instead of S and V.
    diagonal
        Take V's off-diagonal as 0: a laxer null.
    factor_analysis
        Compare eigenvalues of the matrix reduced by the uniquenesses of a minres solution with ``factors`` factors.
    factors
        Only for ``factor_analysis``.

    Raises
    ------
    ConfigError
        For too few draws, a level outside (0, 1), or too many factors.
    ModelError
        When a heritability is not positive and correlations are asked for.

    Notes
    -----
    Horn 1965, Psychometrika 30:179; with the LDSC sampling covariance: de la Fuente & Tucker-Drob, ``paLDSC`` of GenomicSEM.
    Unlike there, drawn matrices of the factor variant are scaled to correlations before they are factored, so that noise in
    the heritabilities does not count as shared variance.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.full((4, 4), 0.6) + 0.4 * np.eye(4)
    >>> cov = CovStruct.from_matrices(S, np.eye(10) * 0.01, np.eye(4), list("abcd"))
    >>> parallel_analysis(cov, draws=100).factors
    1
    """
    if draws < 20:
        raise ConfigError(f"{draws} draws give no quantile", remedy="use 500 or more")
    if not 0 < level < 1:
        raise ConfigError(f"the level is {level:g}; it must lie between 0 and 1", remedy="use 0.95")
    if factor_analysis and not 1 <= factors < cov.k:
        raise ConfigError(f"{factors} factors of {cov.k} traits cannot be extracted", remedy=f"use 1 to {cov.k - 1}")
    S, V = (cov.S_stand, cov.V_stand) if standardised else (cov.S, cov.V)
    null = null_draws(S, np.diag(np.diag(V)) if diagonal else V, draws, np.random.default_rng(seed))
    if factor_analysis:
        observed = reduced_eigenvalues(S[None], factors)[0]
        drawn = reduced_eigenvalues(null, factors)
    else:
        observed, drawn = eigenvalues(S), np.asarray(np.linalg.eigvalsh(null)[:, ::-1], dtype=np.float64)
    quantile = np.quantile(drawn, level, axis=0)
    below = np.flatnonzero(observed < quantile)
    return ParallelAnalysis(
        observed=observed, null_mean=drawn.mean(axis=0), null_sd=drawn.std(axis=0, ddof=1), null_quantile=quantile,
        null_quantile_se=_quantile_se(drawn, level), factors=int(below[0]) if below.size else cov.k, draws=draws, level=level,
        seed=seed, kind="factors" if factor_analysis else "components", diagonal=diagonal,
    )


def null_draws(S: Floats, V: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, k, k) symmetric matrices diag(S) + noise with covariance V (k*, k*); negative eigenvalues of V count as 0."""
    k = S.shape[0]
    values, vectors = np.linalg.eigh(V)
    noise = (rng.standard_normal((draws, values.size)) * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    rows, columns = vech_indices(k)
    out = np.zeros((draws, k, k))
    out[:, rows, columns] = noise
    out[:, columns, rows] = noise
    out[:, np.arange(k), np.arange(k)] += np.diag(S)
    return out


def reduced_eigenvalues(matrices: Floats, factors: int) -> Floats:
    """(n, k) eigenvalues, largest first, of correlation matrices with minres communalities on their diagonals.

    Parameters
    ----------
    matrices
        (n, k, k) symmetric; each is scaled to a unit diagonal, and its negative eigenvalues are set to 0 first.
    factors
        Factors of the minres solution, found by iterated principal axes, whose fixed point it is [Harman & Jones 1966,
        Psychometrika 31:351].
    """
    r = _correlations(matrices)
    k = r.shape[1]
    at = np.arange(k)
    communality = np.clip(np.max(np.abs(r - np.eye(k)), axis=2), 0.0, LARGEST_COMMUNALITY)
    live = np.arange(len(r))
    for _ in range(PRINCIPAL_AXIS_ITERATIONS):
        reduced = r[live]
        reduced[:, at, at] = communality[live]
        values, vectors = np.linalg.eigh(reduced)
        new = np.sum(vectors[:, :, -factors:] ** 2 * np.maximum(values[:, None, -factors:], 0.0), axis=2)
        new = np.clip(new, 0.0, LARGEST_COMMUNALITY)
        change = np.max(np.abs(new - communality[live]), axis=1)
        communality[live] = new
        live = live[change >= PRINCIPAL_AXIS_TOLERANCE]
        if not live.size:
            break
    reduced = r.copy()
    reduced[:, at, at] = communality
    return np.asarray(np.linalg.eigvalsh(reduced)[:, ::-1])


def _correlations(matrices: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrices)
    clipped = (vectors * np.maximum(values, 1e-8 * values[:, -1:])[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    scale = 1.0 / np.sqrt(np.diagonal(clipped, axis1=1, axis2=2))
    return np.asarray(clipped * scale[:, :, None] * scale[:, None, :])


def _quantile_se(drawn: Floats, level: float) -> Floats:
    """A quarter of the distance of the order statistics two binomial standard errors around the quantile."""
    half = 2.0 * np.sqrt(level * (1.0 - level) / len(drawn))
    low, high = np.quantile(drawn, [max(level - half, 0.0), min(level + half, 1.0)], axis=0)
    return np.asarray((high - low) / 4.0)
