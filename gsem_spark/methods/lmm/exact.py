"""Variance components fitted anew for every variant, by ML or REML, from rotated data.

The likelihood is followed in t = log lambda, lambda = sigmasq_g / sigmasq_e, between GEMMA's bounds. For a tile of variants it is
first compared at fixed t (matrix products), then each variant takes Newton steps from the best of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.lmm.exact_kernel import fit_rows, null_likelihood
from gsem_spark.methods.lmm.exact_series import Series, fit_series, prepare_series
from gsem_spark.methods.lmm.null import fit_lmm
from gsem_spark.methods.lmm.rotation import Rotated, Spectrum, log_det_cross, rotation_basis
from gsem_spark.methods.lmm.tiles import Tile, row_sums_of_squares

Floats = NDArray[np.float64]

LOG_RATIO_MAX: Final = 11.512925464970229
"""Bounds of log lambda, ±log 1e5 (Zhou & Stephens 2012, GEMMA's default)."""
GRID: Final = 11
"""Values of log lambda at which likelihoods are compared first: lambda a factor of ten apart, as in GEMMA."""

@dataclass(frozen=True)
class Grid:
    """The null model at G fixed values of log lambda.

    Parameters
    ----------
    at
        (G,) the values.
    rss
        (G,) residual sums of squares.
    fixed_ml, fixed_reml
        (G,) the part of the log likelihood that does not depend on the variant.
    """

    at: Floats
    rss: Floats
    fixed_ml: Floats
    fixed_reml: Floats


@dataclass(frozen=True)
class ExactNull:
    """Rotated phenotype and covariates, ready for refits; broadcastable.

    Parameters
    ----------
    eigenvalues, basis
        (q,) eigenvalues and the (n, q) basis genotypes are rotated by; float32 where that was asked for.
    W
        (c, q) rotated covariates.
    y
        (q,) rotated phenotype.
    n
        Samples; n - q directions have eigenvalue 0 and hold neither phenotype nor covariates.
    logdet_xx
        log |XᵀX|.
    start_reml, start_ml
        log lambda of the null model.
    loglik_ml
        Log likelihood of the null model under ML, with all constants.
    grid
        Values of log lambda compared first, with what their likelihoods need.
    series
        Series about ``start_reml`` and ``start_ml``, by "reml" and "ml".
    plain
        (q, c) orthonormal basis of the rotated covariates.
    """

    eigenvalues: Floats
    basis: NDArray[np.floating]
    W: Floats
    y: Floats
    n: int
    logdet_xx: float
    start_reml: float
    start_ml: float
    loglik_ml: float
    grid: Grid
    series: dict[str, Series]
    plain: Floats


@dataclass(frozen=True)
class RotatedTile:
    """A tile in the basis.

    Parameters
    ----------
    rows
        (rows, q) rotated genotypes.
    rest
        (rows,) sum of squares of each variant that lies outside of the basis.
    alone
        (rows,) sum of squares of each variant beside the covariates, in the plain metric.
    """

    rows: Floats
    rest: Floats
    alone: Floats


@dataclass(frozen=True)
class ExactFits:
    """Refits of a tile's variants: log_ratio, beta, se, loglik (all constants), codes, all (size,)."""

    log_ratio: Floats
    beta: Floats
    se: Floats
    loglik: Floats
    codes: NDArray[np.int64]


def prepare_exact(spectrum: Spectrum, y: Floats, X: Floats, precision: str = "float64") -> ExactNull:
    """Rotate the null model and fit it by REML and ML within the bounds of the refits."""
    values, basis = rotation_basis(spectrum, np.column_stack([X, y]))
    rows = basis.T @ np.column_stack([X, y])
    rotated = Rotated(values, np.ascontiguousarray(rows[:, -1]), np.ascontiguousarray(rows[:, :-1]), (), len(y),
                      log_det_cross(X), spectrum.mean)
    starts = {}
    for reml in (True, False):
        hsq = fit_lmm(rotated, reml=reml).hsq
        with np.errstate(divide="ignore"):
            starts[reml] = float(np.clip(np.log(hsq) - np.log1p(-hsq), -LOG_RATIO_MAX, LOG_RATIO_MAX))
    W = np.ascontiguousarray(rotated.X.T)
    null = np.empty(3)
    null_likelihood(starts[False], values, rotated.y, W, len(y), null)
    kept = basis.astype(np.float32) if precision == "float32" else np.ascontiguousarray(basis)
    grid, linear = _prepare_grid(values, W, rotated.y)
    weights = 1.0 / (np.exp(grid.at) * values[:, None] + 1.0)
    series = {kind: prepare_series(starts[kind == "reml"], values, W, rotated.y, weights, linear) for kind in ("reml", "ml")}
    return ExactNull(values, kept, W, rotated.y, len(y), rotated.logdet_xx, starts[True], starts[False], float(null[0]),
                     grid, series, np.ascontiguousarray(linalg.qr(W.T, mode="economic")[0]))


def rotated_tile(null: ExactNull, tile: Tile, rotated: Floats) -> RotatedTile:
    """A tile in the basis of the null model, given the product of its rows with the basis."""
    inside = np.empty(len(rotated))
    row_sums_of_squares(rotated, inside)
    rest = np.zeros(len(rotated))
    if len(null.eigenvalues) < null.n:
        rest[: tile.size] = np.maximum(tile.sumsq - inside[: tile.size], 0.0)
    return RotatedTile(rotated, rest, inside + rest - ((rotated @ null.plain) ** 2).sum(axis=1))


def fit_tile(null: ExactNull, tile: RotatedTile, size: int, reml: bool) -> ExactFits:
    """Refit the variance components with each of the first ``size`` variants of a tile as one more covariate."""
    series, grid = null.series["reml" if reml else "ml"], null.grid
    products = GRID * (len(null.W) + 1)
    squares, linear = tile.rows**2 @ series.squares, tile.rows @ series.linear
    best = _compare_grid(null, squares[:, :GRID], linear[:, :products], tile.rest, reml)
    logdet = null.logdet_xx + np.log(np.maximum(tile.alone, np.finfo(float).tiny)) if reml else np.full(
        len(tile.rest), null.logdet_xx)
    out = np.zeros((size, 4))
    codes = np.zeros(size, dtype=np.int64)
    fit_series(np.ascontiguousarray(squares[:, GRID:]), np.ascontiguousarray(linear[:, products:]), tile.rest, best,
               series.centre, grid.at, series.common, len(null.W) + 1, null.n, logdet, reml, out, codes)
    fit_rows(tile.rows, tile.rest, best, series.centre, grid.at, null.eigenvalues, null.y, null.W, null.n, logdet, reml, out,
             codes)
    return ExactFits(out[:, 0], out[:, 1], out[:, 2], out[:, 3], codes)


def _prepare_grid(d: Floats, W: Floats, y: Floats) -> tuple[Grid, Floats]:
    """The grid, and its columns (q, G (c + 1)).

    Their products with a variant give its part in each of c orthonormal covariates for every value, then its product with the
    residuals for every value.
    """
    at = np.linspace(-LOG_RATIO_MAX, LOG_RATIO_MAX, GRID)
    weights = 1.0 / (np.exp(at)[:, None] * d + 1.0)
    bases, residuals, rss, fixed, restriction = [], [], np.empty(GRID), np.empty(GRID), np.empty(GRID)
    for g in range(GRID):
        root = np.sqrt(weights[g])
        basis, triangle = linalg.qr((W * root).T, mode="economic")
        residual = y * root
        residual = residual - basis @ (basis.T @ residual)
        bases.append(basis * root[:, None])
        residuals.append(residual * root)
        rss[g], fixed[g] = residual @ residual, 0.5 * np.log(weights[g]).sum()
        restriction[g] = np.log(np.abs(np.diag(triangle))).sum()
    linear = np.column_stack([*bases, np.column_stack(residuals)])
    return Grid(at, rss, fixed, fixed - restriction), linear


def _compare_grid(null: ExactNull, squares: Floats, linear: Floats, rest: Floats, reml: bool) -> NDArray[np.int64]:
    """Position in the grid of each variant's largest likelihood."""
    c, grid = len(null.W), null.grid
    own = squares + rest[:, None] - (linear[:, : c * GRID].reshape(len(rest), GRID, c) ** 2).sum(axis=2)
    own = np.maximum(own, np.finfo(float).tiny)
    left = np.maximum(grid.rss - linear[:, c * GRID :] ** 2 / own, np.finfo(float).tiny)
    if reml:
        values = grid.fixed_reml - 0.5 * (null.n - c - 1) * np.log(left) - 0.5 * np.log(own)
    else:
        values = grid.fixed_ml - 0.5 * null.n * np.log(left)
    return np.asarray(np.argmax(values, axis=1), dtype=np.int64)
