"""Association of variants with many phenotypes, one rotation for all; variance components fixed at each phenotype's null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm.checks import as_columns, as_design, spans_constant
from gsem_spark.methods.lmm.hard_calls import rotated_tiles
from gsem_spark.methods.lmm.manyphenotypes import fit_rotated
from gsem_spark.methods.lmm.rotation import Rotated, Spectrum, kinship_spectrum, log_det_cross, rotation_basis
from gsem_spark.methods.lmm.scan import SINGULAR_RTOL, allele_frequency, refits_bound, with_messages
from gsem_spark.methods.lmm.statistics import NULL_OF, check_tests, statistic
from gsem_spark.methods.lmm.tiles import Tile, as_block
from gsem_spark.methods.lmm.whiten import Precision

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PhenotypesPlan:
    """Null models of P phenotypes ready for tests; broadcastable.

    Parameters
    ----------
    traits, test
        P names, and the name of the test.
    n, c
        Samples and covariates.
    centre
        Whether variants are centred (there is an intercept).
    basis
        (n, q) what genotypes are rotated by; float32 where that was asked for.
    hsq, rss
        (P,) of the null models.
    weights
        (q, P) 1 / (hsq d + 1 - hsq).
    linear
        (q, P (c + 1)): for each phenotype c orthonormal covariates, then the residual.
    """

    traits: tuple[str, ...]
    test: str
    n: int
    c: int
    centre: bool
    basis: NDArray[np.floating]
    hsq: Floats
    rss: Floats
    weights: Floats
    linear: Floats


def scan_phenotypes(
    G: ArrayLike, Y: ArrayLike, X: ArrayLike | None = None, K: ArrayLike | Spectrum | None = None, test: str = "wald_f",
    traits: Sequence[str] | None = None, precision: Precision = "float64",
) -> pd.DataFrame:
    """Test every variant (n, S) against each of P phenotypes (n, P): one test, rows by variant and trait; see ``scan``.

    Raises
    ------
    DataError, ConfigError
        As in ``scan``.
    """
    genotypes = np.asarray(G)
    return scan_phenotypes_block(prepare_scan_phenotypes(Y, X, K, test, traits, precision), genotypes.T)


def prepare_scan_phenotypes(
    Y: ArrayLike, X: ArrayLike | None = None, K: ArrayLike | Spectrum | None = None, test: str = "wald_f",
    traits: Sequence[str] | None = None, precision: Precision = "float64",
) -> PhenotypesPlan:
    """Fit all null models and fold them into what a block of variants needs."""
    check_tests(test)
    values = as_columns(Y, "Y", traits)
    n, P = values.shape
    design, labels = as_design(X, n)
    if K is None:
        raise ConfigError("phenotypes share a rotation, but there is no kinship", where="K",
                          remedy="use `scan` for plain regression")
    spectrum = K if isinstance(K, Spectrum) else kinship_spectrum(K, n)
    if spectrum.n != n:
        raise DataError(f"the kinship has {spectrum.n} samples, the phenotypes {n}", where="K")
    d, basis = rotation_basis(spectrum, np.column_stack([design, values]))
    rotated = Rotated(d, np.zeros(len(d)), basis.T @ design, labels, n, log_det_cross(design), spectrum.mean)
    fits = fit_rotated(rotated, np.ascontiguousarray((basis.T @ values).T), NULL_OF[test] == "reml")
    hsq = np.minimum(fits.hsq, refits_bound())
    weights = 1.0 / (hsq * d[:, None] + 1.0 - hsq)
    linear, rss = [], np.empty(P)
    for j in range(P):
        root = np.sqrt(weights[:, j])
        q = np.linalg.qr(rotated.X * root[:, None])[0]
        residual = (basis.T @ values[:, j]) * root
        residual = residual - q @ (q.T @ residual)
        rss[j] = residual @ residual
        linear.append(np.column_stack([q, residual]) * root[:, None])
    names = tuple(traits) if traits else tuple(f"y{j}" for j in range(P))
    kept = basis.astype(np.float32) if precision == "float32" else np.ascontiguousarray(basis)
    return PhenotypesPlan(names, test, n, design.shape[1], spans_constant(design), kept, hsq, rss,
                          np.ascontiguousarray(weights), np.ascontiguousarray(np.hstack(linear)))


def scan_phenotypes_block(plan: PhenotypesPlan, block: ArrayLike, first: int = 0) -> pd.DataFrame:
    """Test a block (S, n) of variants; the same rows, to the last bit, however variants are cut into blocks."""
    genotypes = as_block(block, plan.n)
    parts = []
    start = first
    for tile, rotated in rotated_tiles(genotypes, plan.basis, plan.centre):
        parts.append(_test_tile(plan, tile, rotated, start))
        start += tile.size
    return with_messages(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame()


def _test_tile(plan: PhenotypesPlan, tile: Tile, rotated: Floats, first: int) -> pd.DataFrame:
    P, size = len(plan.traits), tile.size
    whole = (rotated**2 @ plan.weights)[:size]
    if rotated.shape[1] < plan.n:
        outside = np.maximum(tile.sumsq - (rotated[:size] ** 2).sum(axis=1), 0.0)
        whole = whole + outside[:, None] / (1.0 - plan.hsq)
    products = (rotated @ plan.linear)[:size].reshape(size, P, plan.c + 1)
    xpx = whole - (products[:, :, :-1] ** 2).sum(axis=2)
    xpy = products[:, :, -1]
    gone = np.broadcast_to((tile.missing == plan.n)[:, None], xpx.shape)
    bad = gone | ~(xpx > SINGULAR_RTOL * whole) | (tile.constant & plan.centre)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(bad, np.nan, xpy / xpx)
        explained = beta * xpy
        stat, p, neglog10p = statistic(plan.test, explained, plan.rss, plan.n, plan.c, 1)
        se = np.sqrt(np.maximum(plan.rss - explained, 0.0) / (plan.n - plan.c - 1) / xpx)
    columns = {"beta": beta, "se": np.where(bad, np.nan, se), "stat": stat, "p": p, "neglog10p": neglog10p,
               "status": np.where(gone, "missing", np.where(bad, "singular", "ok"))}
    per_variant = {"variant": np.arange(first, first + size), "af": allele_frequency(tile.mean), "n": plan.n - tile.missing,
                   "missing": tile.missing}
    return pd.DataFrame({**{k: np.repeat(v, P) for k, v in per_variant.items()}, "trait": np.tile(np.array(plan.traits), size),
                         "test": plan.test, **{k: v.ravel() for k, v in columns.items()}})
