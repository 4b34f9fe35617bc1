"""Genetic correlations as a vector with its sampling covariance, and elements of S picked out for meta-regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.smooth import smooth_moments
from gsem_spark.methods.vech import correlation_jacobian, correlations, vech, vech_indices

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Moments = Literal["S", "S_stand", "R"]


@dataclass(frozen=True, eq=False)
class RgModel:
    """Genetic correlations of k traits with their joint sampling covariance.

    Parameters
    ----------
    traits
        Names.
    R
        (k, k) genetic correlations.
    V_R
        (p, p), p = k (k - 1) / 2: sampling covariance of the correlations below the diagonal, column by column. The
        heritabilities vary in it; GenomicSEM's ``V_Stand`` takes them as known.
    messages
        What was smoothed.
    """

    traits: tuple[str, ...]
    R: Floats
    V_R: Floats
    messages: tuple[str, ...]

    @property
    def rg(self) -> Floats:
        """(p,) correlations below the diagonal, column by column."""
        rows, columns = below_diagonal(len(self.traits))
        return self.R[rows, columns]

    def table(self) -> pd.DataFrame:
        """One row a pair: ``trait_1 trait_2 rg se z p neglog10p``."""
        rows, columns = below_diagonal(len(self.traits))
        se = np.sqrt(np.diag(self.V_R))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = self.rg / se
        p, neglog10p = pvalues.from_z(z)
        return pd.DataFrame({
            "trait_1": [self.traits[i] for i in columns], "trait_2": [self.traits[i] for i in rows], "rg": self.rg,
            "se": se, "z": z, "p": p, "neglog10p": neglog10p,
        })

    def matrix(self) -> pd.DataFrame:
        """Correlations as a frame with trait names."""
        return pd.DataFrame(self.R, index=list(self.traits), columns=list(self.traits))


@dataclass(frozen=True, eq=False)
class Elements:
    """Chosen elements of S, S_stand or R: ``y`` (n,) and their sampling covariance ``V`` (n, n), named ``A~~B``."""

    names: tuple[str, ...]
    y: Floats
    V: Floats


def below_diagonal(k: int) -> tuple[Ints, Ints]:
    """Rows and columns below the diagonal, column by column, each of length k (k - 1) / 2."""
    rows, columns = vech_indices(k)
    off = rows != columns
    return rows[off], columns[off]


def rg_model(cov: CovStruct) -> RgModel:
    """Genetic correlations with their sampling covariance, by the model in which nothing else is estimated.

    Parameters
    ----------
    cov
        k >= 2 traits.

    Raises
    ------
    ModelError
        For one trait, or where S or V cannot be made positive definite.

    Notes
    -----
    The model has one factor of variance 1 behind each trait and no residual; its free parameters are the roots of the
    heritabilities and the correlations. It is saturated, so its estimates and its sandwich are S_ij / sqrt(S_ii S_jj) and the
    delta method on V, which is how they are computed. GenomicSEM's ``rgmodel`` fits it.
    """
    if cov.k < 2:
        raise ModelError("one trait has no genetic correlation", remedy="give two traits or more")
    moments = smooth_moments(cov.S, cov.V)
    jacobian = correlation_jacobian(moments.S)
    v = jacobian @ moments.V @ jacobian.T
    return RgModel(cov.traits, correlations(moments.S), (v + v.T) / 2.0, moments.messages)


def index_s(cov: CovStruct, *, R: bool = False) -> pd.DataFrame:
    """Number the elements of S as :func:`sub_cov` takes them: 1, 2, … down the columns of the lower triangle.

    Parameters
    ----------
    cov
        k traits.
    R
        Number the correlations instead, the diagonal left out (0 there).
    """
    k = cov.k
    rows, columns = below_diagonal(k) if R else vech_indices(k)
    out = np.zeros((k, k), dtype=np.int64)
    out[rows, columns] = out[columns, rows] = np.arange(1, rows.size + 1)
    return pd.DataFrame(out, index=list(cov.traits), columns=list(cov.traits))


def sub_cov(
    cov: CovStruct, elements: Sequence[int] | Sequence[tuple[str, str]] | None = None, *, moments: Moments = "S"
) -> Elements:
    """Pick elements of S with their sampling covariance, e.g. as the outcome of :func:`gsem_spark.methods.sem.gls.summary_gls`.

    Parameters
    ----------
    cov
        k traits; for all elements among some traits, ``cov.subset([...])`` first.
    elements
        Numbers as :func:`index_s` shows them, or pairs of trait names; the order is kept. All by default.
    moments
        ``S`` (covariances), ``S_stand`` (correlations, heritabilities taken as known) or ``R`` (correlations with the V of
        :func:`rg_model`; no diagonal).

    Raises
    ------
    ConfigError
        For unknown ``moments``, or an element that is not there or given twice.
    """
    if moments not in get_args(Moments):
        raise ConfigError(f"moments {moments!r} are not known", remedy="use S, S_stand or R")
    if moments == "R":
        model = rg_model(cov)
        (rows, columns), y, v = below_diagonal(cov.k), model.rg, model.V_R
    else:
        rows, columns = vech_indices(cov.k)
        y, v = (vech(cov.S), cov.V) if moments == "S" else (vech(cov.S_stand), cov.V_stand)
    labels = [frozenset((cov.traits[r], cov.traits[c])) for r, c in zip(rows, columns, strict=True)]
    at = np.arange(len(y)) if elements is None else np.array([_place(e, labels) for e in elements], dtype=np.intp)
    if len(set(at.tolist())) < at.size:
        raise ConfigError("an element of S is asked for twice", remedy="give each once")
    names = tuple(f"{cov.traits[columns[i]]}~~{cov.traits[rows[i]]}" for i in at)
    return Elements(names, y[at], v[np.ix_(at, at)])


def _place(element: int | tuple[str, str], labels: Sequence[frozenset[str]]) -> int:
    if isinstance(element, int | np.integer):
        if not 1 <= element <= len(labels):
            raise ConfigError(f"there is no element {element}; they are numbered 1 to {len(labels)}", remedy="see index_s(cov)")
        return int(element) - 1
    if isinstance(element, str):
        raise ConfigError(f"{element!r} is no element of S",
                          remedy="give pairs of traits; for the S and V of some traits, cov.subset([...])")
    try:
        return labels.index(frozenset(element))
    except ValueError:
        raise ConfigError(f"there is no element {'~~'.join(element)}", remedy="see index_s(cov)") from None
