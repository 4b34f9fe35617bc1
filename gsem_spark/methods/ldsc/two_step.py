"""ldsc's own estimator: regressions that take their weights from their own fit, where GenomicSEM's weights stay fixed.

A regression of chi-squares (or products of Z-scores) on LD scores starts from the weights of the aggregate estimate and takes its
weights twice from its last fit. With a cut it goes in two steps: step 1 uses SNPs with chi-square below the cut and keeps the
intercept only; step 2 fits the slope to all SNPs with that intercept held. Standard errors come from a jackknife over blocks.

The program uses the cut, at 30, for heritabilities alone: its test of whether an intercept was given never holds for pairs of
traits, so that genetic covariances, and with them MTAG's Sigma (:func:`intercept_matrix`), come from one step unless a cut is
asked for. The defaults here are the program's.

Source: Bulik-Sullivan et al. 2015, Nat Genet 47:291 (regression, weights) and 47:1236 (cross-trait); steps and jackknife as in
the program ldsc (bulik/ldsc 1.0.1), one habit of it included: the weights of step 1 use N L / mean(N) where those of step 2, and
of a single step, use L.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.blocks import CHISQ1_MEDIAN
from gsem_spark.methods.ldsc.jackknife import COLLINEAR_RTOL

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

TWO_STEP_CUT: Final = 30.0
"""Chi-square from which SNPs do not take part in estimating the intercept of a heritability (ldsc's default)."""
REWEIGHTINGS: Final = 2


@dataclass(frozen=True)
class PairData:
    """SNPs that two traits share, in genome order; the same trait twice for a heritability.

    Parameters
    ----------
    z1, z2
        (m,) Z-scores on common effect alleles.
    n1, n2
        (m,) sample sizes.
    l2, wld
        (m,) LD scores, and LD scores of the regression weights.
    """

    z1: Floats
    z2: Floats
    n1: Floats
    n2: Floats
    l2: Floats
    wld: Floats


@dataclass(frozen=True)
class Regression:
    """A two-step regression: of chi-squares (h2) or of products of Z-scores (genetic covariance).

    Parameters
    ----------
    estimate, se
        h2 or genetic covariance on the observed scale.
    intercept, intercept_se
        Of the regression; the SE is NaN where the intercept was given.
    mean_y
        Mean chi-square, or mean product of the Z-scores.
    ratio, ratio_se
        (intercept - 1) / (mean chi-square - 1); NaN for a covariance or a mean chi-square of at most 1.
    lambda_gc
        Median chi-square over its expectation, NaN for a covariance.
    deleted
        (blocks, 2) delete-one values of estimate and intercept.
    n_snps, n_snps_step_1
        SNPs of step 2 and of step 1.
    mean_n
        Mean of sqrt(N1 N2).
    """

    estimate: float
    se: float
    intercept: float
    intercept_se: float
    mean_y: float
    ratio: float
    ratio_se: float
    lambda_gc: float
    deleted: Floats
    n_snps: int
    n_snps_step_1: int
    mean_n: float


@dataclass(frozen=True)
class Correlation:
    """Genetic correlation of two traits over the SNPs that they share.

    Parameters
    ----------
    rg, se, z, p, neglog10p
        The correlation and its jackknife test; NaN where an h2 is not positive.
    h2_1, h2_2
        The two heritabilities over the shared SNPs.
    covariance
        The genetic covariance and its intercept.
    """

    rg: float
    se: float
    z: float
    p: float
    neglog10p: float
    h2_1: Regression
    h2_2: Regression
    covariance: Regression


def heritability(
    z: ArrayLike, n: ArrayLike, l2: ArrayLike, wld: ArrayLike, M: float, *, n_blocks: int = 200,
    cut: float | None = TWO_STEP_CUT, intercept: float | None = None, chisq_max: float | None = None,
) -> Regression:
    """Estimate a trait's h2 and intercept.

    Parameters
    ----------
    z, n
        (m,) Z-scores and sample sizes in genome order, none missing.
    l2, wld
        (m,) LD scores and weight LD scores.
    M
        SNPs that the LD scores stand for.
    n_blocks
        Jackknife blocks.
    cut
        Chi-square cut of step 1; None: one step.
    intercept
        A given intercept, then in one step.
    chisq_max
        SNPs with a chi-square of at least this are left out altogether; None: all take part.

    Raises
    ------
    DataError
        For fewer SNPs than blocks, LD scores that do not vary, or values that are not finite.
    """
    Z, N, L, W = (np.asarray(a, np.float64) for a in (z, n, l2, wld))
    data = PairData(Z, Z, N, N, L, W)
    if chisq_max is not None:
        data = _take(data, np.less(Z * Z, chisq_max))
    return _fit_h2(_checked(data, n_blocks), M, n_blocks, cut, intercept)


def covariance(
    data: PairData, h2_1: Regression, h2_2: Regression, M: float, *, n_blocks: int = 200,
    cut: float | None = None, intercept: float | None = None,
) -> Regression:
    """Estimate the genetic covariance of two traits and its intercept, given their heritabilities over the same SNPs.

    Raises
    ------
    DataError
        As :func:`heritability`, and when an h2 intercept is not positive (the weights are its inverse).
    """
    for r in (h2_1, h2_2):
        if r.intercept <= 0:
            raise DataError(f"an h2 intercept is {r.intercept:.4g}, so that regression weights are not defined")
    data = _checked(data, n_blocks)
    y = data.z1 * data.z2
    low = (data.z1**2 < cut) & (data.z2**2 < cut) if cut is not None else None
    weights = _CovarianceWeights(data, M, h2_1, h2_2)
    return _fit(y, np.sqrt(data.n1 * data.n2), data, M, n_blocks, low, intercept, weights, null=0.0)


def correlation(
    data: PairData, M: float, *, n_blocks: int = 200, cut: float | None = None, chisq_max: float | None = None,
    intercepts: tuple[float, float, float] | None = None,
) -> Correlation:
    """Estimate the genetic correlation of two traits, everything over the SNPs that they share.

    Parameters
    ----------
    data
        The shared SNPs.
    M, n_blocks, cut
        As :func:`heritability`.
    chisq_max
        SNPs with z1² z2² of at least its square are left out.
    intercepts
        Given intercepts of trait 1, trait 2 and the covariance, then in one step.
    """
    if chisq_max is not None:
        data = _take(data, (data.z1 * data.z2) ** 2 < chisq_max**2)
    data = _checked(data, n_blocks)
    given = intercepts if intercepts is not None else (None, None, None)
    first = _fit_h2(replace(data, z2=data.z1, n2=data.n1), M, n_blocks, cut, given[0])
    second = _fit_h2(replace(data, z1=data.z2, n1=data.n2), M, n_blocks, cut, given[1])
    cross = covariance(data, first, second, M, n_blocks=n_blocks, cut=cut, intercept=given[2])
    return _correlation(first, second, cross)


def intercept_matrix(
    z: ArrayLike, n: ArrayLike, l2: ArrayLike, wld: ArrayLike, M: float, *, n_blocks: int = 200,
    cut: float | None = None, no_overlap: bool = False,
) -> Floats:
    """Sigma of MTAG: intercepts of the cross-trait regressions of all pairs, a trait with itself on the diagonal.

    Parameters
    ----------
    z, n
        (m, k) Z-scores on common effect alleles and sample sizes of SNPs that all traits have, in genome order.
    l2, wld, M, n_blocks, cut
        As :func:`heritability`.
    no_overlap
        Whether covariances are 0 instead.

    Notes
    -----
    The diagonal is the intercept of the genetic covariance of the trait with itself, as in the reference program: nearly, not
    quite, that of its heritability, since the two start from other weights.
    """
    Z, N = np.asarray(z, np.float64), np.asarray(n, np.float64)
    L, W = np.asarray(l2, np.float64), np.asarray(wld, np.float64)
    k = Z.shape[1]
    h2 = [heritability(Z[:, t], N[:, t], L, W, M, n_blocks=n_blocks, cut=cut) for t in range(k)]  # over the same SNPs, hence once
    out = np.zeros((k, k))
    for i in range(k):
        for j in range(i, i + 1 if no_overlap else k):
            pair = PairData(Z[:, i], Z[:, j], N[:, i], N[:, j], L, W)
            out[i, j] = out[j, i] = covariance(pair, h2[i], h2[j], M, n_blocks=n_blocks, cut=cut).intercept
    return out


class _HeritabilityWeights:
    """Inverse variance of a chi-square over its LD with others: 1 / (2 (intercept + N h2 L / M)²) / wld."""

    def __init__(self, data: PairData, M: float) -> None:
        self._n, self._M, self._wld = data.n1, M, np.maximum(data.wld, 1.0)

    def __call__(self, ld: Floats, slope: float, intercept: float, rows: Bools | slice) -> Floats:
        h2 = min(max(slope, 0.0), 1.0)
        spread = intercept + h2 * self._n[rows] / self._M * np.maximum(ld, 1.0)
        return np.asarray(1.0 / (2.0 * spread * spread * self._wld[rows]), dtype=np.float64)


class _CovarianceWeights:
    """Inverse variance of a product of Z-scores: 1 / (a b + c²) / wld, a and b the two expected chi-squares, c its own mean."""

    def __init__(self, data: PairData, M: float, h2_1: Regression, h2_2: Regression) -> None:
        self._data, self._M, self._wld = data, M, np.maximum(data.wld, 1.0)
        self._root_n = np.sqrt(data.n1 * data.n2)
        self._h2 = tuple(min(max(r.estimate, 0.0), 1.0) for r in (h2_1, h2_2))
        self._intercepts = (h2_1.intercept, h2_2.intercept)

    def __call__(self, ld: Floats, slope: float, intercept: float, rows: Bools | slice) -> Floats:
        covariance = min(max(slope, -1.0), 1.0)
        per_snp = np.maximum(ld, 1.0) / self._M
        a = self._data.n1[rows] * self._h2[0] * per_snp + self._intercepts[0]
        b = self._data.n2[rows] * self._h2[1] * per_snp + self._intercepts[1]
        c = self._root_n[rows] * covariance * per_snp + intercept
        return np.asarray(1.0 / ((a * b + c * c) * self._wld[rows]), dtype=np.float64)


_Weights = _HeritabilityWeights | _CovarianceWeights


def _fit_h2(data: PairData, M: float, n_blocks: int, cut: float | None, intercept: float | None) -> Regression:
    y = data.z1 * data.z1
    out = _fit(y, data.n1, data, M, n_blocks, y < cut if cut is not None else None, intercept, _HeritabilityWeights(data, M), 1.0)
    excess = out.mean_y - 1.0
    known = excess > 0
    return replace(
        out, lambda_gc=float(np.median(y)) / CHISQ1_MEDIAN, ratio=(out.intercept - 1.0) / excess if known else np.nan,
        ratio_se=out.intercept_se / excess if known else np.nan,
    )


def _fit(
    y: Floats, n: Floats, data: PairData, M: float, n_blocks: int, low: Bools | None, intercept: float | None,
    weights: _Weights, null: float,
) -> Regression:
    """Fit and jackknife; ``low`` the SNPs of step 1, ``null`` the intercept of the aggregate estimate."""
    mean_y, mean_n, m = float(y.mean()), float(n.mean()), y.size
    aggregate = M * (mean_y - (null if intercept is None else intercept)) / float((data.l2 * n).mean())
    everything = slice(None)
    start = weights(data.l2, aggregate, null if intercept is None else intercept, everything)
    x = n * data.l2 / mean_n
    to_estimate = M / mean_n
    if intercept is None and low is not None:
        first = _weighted(
            x[low], y[low], start[low], lambda b: weights(x[low], b[0] * to_estimate, b[1], low), free=True,
            edges=_edges(int(low.sum()), n_blocks),
        )
        held = float(first.full[1])
        edges = np.concatenate([[0], np.flatnonzero(low)[first.edges[1:-1]], [m]])
        second = _weighted(
            x, y - held, start, lambda b: weights(data.l2, b[0] * to_estimate, held, everything), free=False, edges=edges
        )
        # What the slope loses when the intercept moves by one, by the starting weights.
        give = float((start * x).sum() / (start * x * x).sum())
        slope_deleted = second.deleted[:, 0] - give * (first.deleted[:, 1] - held)
        full, deleted = np.array([second.full[0], held]), np.column_stack([slope_deleted, first.deleted[:, 1]])
    else:
        held_value = 0.0 if intercept is None else float(intercept)
        free = intercept is None
        ld = data.l2
        done = _weighted(
            x, y - held_value, start, lambda b: weights(ld, b[0] * to_estimate, b[1] if free else held_value, everything),
            free=free, edges=_edges(m, n_blocks),
        )
        full = done.full if free else np.array([done.full[0], held_value])
        deleted = done.deleted if free else np.column_stack([done.deleted[:, 0], np.full(n_blocks, held_value)])
    full, deleted = full * [to_estimate, 1.0], deleted * [to_estimate, 1.0]
    pseudo = n_blocks * full - (n_blocks - 1) * deleted
    se = np.sqrt(np.var(pseudo, axis=0, ddof=1) / n_blocks)
    return Regression(
        float(full[0]), float(se[0]), float(full[1]), np.nan if intercept is not None else float(se[1]), mean_y, np.nan, np.nan,
        np.nan, deleted, m, m if low is None else int(low.sum()), mean_n,
    )


@dataclass(frozen=True)
class _Solved:
    full: Floats
    deleted: Floats
    edges: Ints


def _weighted(x: Floats, y: Floats, w: Floats, update: Any, *, free: bool, edges: Ints) -> _Solved:
    """Least squares of y on x (and 1, if free), reweighted twice from its own fit, then without each block in turn."""
    for _ in range(REWEIGHTINGS):
        xtx, xty = _products(x, y, w, None, free)
        w = update(_solve(xtx[0], xty[0]))
    xtx, xty = _products(x, y, w, edges, free)
    total_xtx, total_xty = xtx.sum(axis=0), xty.sum(axis=0)
    full = _solve(total_xtx, total_xty)
    deleted = np.linalg.solve(total_xtx - xtx, (total_xty - xty)[:, :, None])[:, :, 0]
    return _Solved(full, deleted, edges)


def _products(x: Floats, y: Floats, w: Floats, edges: Ints | None, free: bool) -> tuple[Floats, Floats]:
    """XᵀWX and XᵀWy of each block (one block when there are no edges); (blocks, p, p) and (blocks, p)."""
    wx = w * x
    starts = np.zeros(1, dtype=np.int64) if edges is None else edges[:-1]

    def sums(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, starts), dtype=np.float64)

    xx, xy = sums(wx * x), sums(wx * y)
    if not free:
        return xx[:, None, None], xy[:, None]
    x1, one, y1 = sums(wx), sums(w), sums(w * y)
    return np.stack([np.stack([xx, x1], axis=1), np.stack([x1, one], axis=1)], axis=1), np.stack([xy, y1], axis=1)


def _solve(xtx: Floats, xty: Floats) -> Floats:
    if len(xty) == 2 and xtx[0, 0] * xtx[1, 1] - xtx[0, 1] ** 2 <= COLLINEAR_RTOL * xtx[0, 0] * xtx[1, 1]:
        raise DataError("the LD scores of the SNPs do not vary, so there is nothing to regress on",
                        remedy="check the l2 column of the LD-score panel")
    return np.asarray(np.linalg.solve(xtx, xty), dtype=np.float64)


def _edges(m: int, n_blocks: int) -> Ints:
    """First SNP of each block and m at the end: floor(b m / n_blocks), as numpy's linspace gives it."""
    if m < n_blocks:
        raise DataError(
            f"{m:,} SNPs are too few for {n_blocks} jackknife blocks", remedy="check that SNP names match the LD-score panel"
        )
    return np.floor(np.linspace(0, m, n_blocks + 1)).astype(np.int64)


def _correlation(first: Regression, second: Regression, cross: Regression) -> Correlation:
    if first.estimate <= 0 or second.estimate <= 0:
        return Correlation(np.nan, np.nan, np.nan, np.nan, np.nan, first, second, cross)
    blocks = len(cross.deleted)
    rg = cross.estimate / np.sqrt(first.estimate * second.estimate)
    with np.errstate(invalid="ignore"):
        deleted = cross.deleted[:, 0] / np.sqrt(first.deleted[:, 0] * second.deleted[:, 0])
    pseudo = blocks * rg - (blocks - 1) * deleted
    se = float(np.sqrt(np.var(pseudo, ddof=1) / blocks))
    z = rg / se if se > 0 else np.inf * np.sign(rg)
    p, neglog10p = pvalues.from_z(z)
    return Correlation(float(rg), se, float(z), float(p), float(neglog10p), first, second, cross)


def _checked(data: PairData, n_blocks: int) -> PairData:
    for name in ("z1", "z2", "n1", "n2", "l2", "wld"):
        values = getattr(data, name)
        if values.shape != data.z1.shape or not np.isfinite(values).all():
            raise DataError(f"{name} has {values.size:,} values, not all finite, for {data.z1.size:,} SNPs", where=name,
                            remedy="leave out SNPs with a missing value")
    _edges(data.z1.size, n_blocks)
    return data


def _take(data: PairData, keep: Bools) -> PairData:
    return PairData(*(getattr(data, name)[keep] for name in ("z1", "z2", "n1", "n2", "l2", "wld")))
