"""Null models of many phenotypes that share kinship and covariates: one rotation, one search for all.

Used for panels of traits and for bootstrap replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.methods.lmm.checks import as_columns, as_design
from gsem_spark.methods.lmm.null import HSQ_GRID, hsq_max
from gsem_spark.methods.lmm.rotation import Rotated, Spectrum, kinship_spectrum, log_det_cross, rotation_basis

Floats = NDArray[np.float64]

CHUNK: Final = 64
"""Phenotypes a matrix product; chunks are filled up, so that a phenotype's result does not depend on its company."""
MAX_STEPS: Final = 60
STEP_TOL: Final = 1e-9


@dataclass(frozen=True)
class ManyFits:
    """Fits of B phenotypes: hsq, hsq_se (NaN at a boundary), sigmasq, rss (B,), beta and se (B, c)."""

    hsq: Floats
    hsq_se: Floats
    sigmasq: Floats
    rss: Floats
    beta: Floats
    se: Floats

    def frame(self, names: tuple[str, ...], labels: list[str] | None = None) -> pd.DataFrame:
        """One row a phenotype: hsq, hsq_se, sigmasq_g, sigmasq_e, and beta_<name>, se_<name> of every covariate."""
        columns = {"hsq": self.hsq, "hsq_se": self.hsq_se, "sigmasq_g": self.hsq * self.sigmasq,
                   "sigmasq_e": (1 - self.hsq) * self.sigmasq}
        columns |= {f"beta_{name}": self.beta[:, j] for j, name in enumerate(names)}
        columns |= {f"se_{name}": self.se[:, j] for j, name in enumerate(names)}
        frame = pd.DataFrame(columns)
        if labels is not None:
            frame.insert(0, "trait", labels)
        return frame


def fit_phenotypes(
    K: ArrayLike | Spectrum, Y: ArrayLike, X: ArrayLike | None = None, reml: bool = True, names: list[str] | None = None,
    traits: list[str] | None = None,
) -> pd.DataFrame:
    """Fit a mixed model to each of P phenotypes (n, P) by one decomposition of the kinship; see ``fit_lmm``, ``ManyFits``."""
    values = as_columns(Y, "Y", traits)
    design, labels = as_design(X, len(values), names)
    spectrum = K if isinstance(K, Spectrum) else kinship_spectrum(K)
    d, basis = rotation_basis(spectrum, np.column_stack([design, values]))
    rotated = Rotated(d, np.zeros(len(d)), basis.T @ design, labels, len(values), log_det_cross(design), spectrum.mean)
    fits = fit_rotated(rotated, np.ascontiguousarray((basis.T @ values).T), reml)
    return fits.frame(labels, traits or [f"y{j}" for j in range(values.shape[1])])


def fit_rotated(rotated: Rotated, Y: Floats, reml: bool) -> ManyFits:
    """Fit B rotated phenotypes (B, q) that share eigenvalues and covariates of ``rotated``, whose own phenotype is not used."""
    parts = []
    pairs = _pairs(rotated.X)
    for start in range(0, len(Y), CHUNK):
        chunk = np.ones((CHUNK, Y.shape[1]))
        size = min(CHUNK, len(Y) - start)
        chunk[:size] = Y[start : start + size]
        parts.append([column[:size] for column in _fit_chunk(rotated, pairs, chunk, reml)])
    return ManyFits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _fit_chunk(rotated: Rotated, pairs: Floats, Y: Floats, reml: bool) -> tuple[Floats, ...]:
    low, high, hsq, ends = _bracket(rotated, pairs, Y, reml)
    done = ends.copy()
    for _ in range(MAX_STEPS):
        _, first, second = _slopes(rotated, pairs, Y, hsq, reml)
        low, high = np.where(first > 0, hsq, low), np.where(first > 0, high, hsq)
        with np.errstate(divide="ignore", invalid="ignore"):
            after = hsq - first / second
        inside = (second < 0) & (after > low) & (after < high)
        # a phenotype that has arrived stays where it is, however long others in its chunk take
        after = np.where(done, hsq, np.where(inside, after, 0.5 * (low + high)))
        done |= np.abs(after - hsq) < STEP_TOL
        hsq = after
        if done.all():
            break
    hsq, ends = _try_ends(rotated, Y, hsq, ends, _slopes(rotated, pairs, Y, hsq, reml)[0], reml)
    second = _slopes(rotated, pairs, Y, hsq, reml)[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        hsq_se = np.where(ends | ~(second < 0), np.nan, 1.0 / np.sqrt(-second))
    A, beta, rss = _solve(rotated, pairs, Y, hsq)
    sigmasq = rss / (rotated.n - rotated.c)
    inverse = np.linalg.solve(A, np.broadcast_to(np.eye(rotated.c), A.shape))
    se = np.sqrt(sigmasq[:, None] * np.einsum("bii->bi", inverse))
    return hsq, hsq_se, sigmasq, rss, beta, se


def _try_ends(rotated: Rotated, Y: Floats, hsq: Floats, ends: NDArray[np.bool_], value: Floats, reml: bool
              ) -> tuple[Floats, NDArray[np.bool_]]:
    """Move fits to an end of the range where its likelihood is no lower."""
    for bound in (0.0, hsq_max(rotated)):
        better = _value_at(rotated, Y, bound, reml) >= value
        hsq, ends = np.where(better, bound, hsq), ends | better
    return hsq, ends


def _bracket(rotated: Rotated, pairs: Floats, Y: Floats, reml: bool) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """For each phenotype neighbours of the best point of a grid, a start between them, and whether it is an end of the range."""
    grid = np.linspace(0.0, hsq_max(rotated), HSQ_GRID)
    best = np.argmax(np.stack([_value_at(rotated, Y, h, reml) for h in grid], axis=1), axis=1)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, HSQ_GRID - 1)]
    ends = np.zeros(CHUNK, dtype=bool)
    for place, sign in ((0, -1.0), (HSQ_GRID - 1, 1.0)):
        slope = _slopes(rotated, pairs, Y, np.full(CHUNK, grid[place]), reml)[1]
        ends |= (best == place) & (sign * slope >= 0)
    middle = np.where((best == 0) | (best == HSQ_GRID - 1), 0.5 * (low + high), grid[best])
    return low, high, np.where(ends, grid[best], middle), ends


def _value_at(rotated: Rotated, Y: Floats, h: float, reml: bool) -> Floats:
    """Profile log likelihood without constants of every phenotype at the same hsq."""
    scale = h * rotated.eigenvalues + 1.0 - h
    root = 1.0 / np.sqrt(scale)
    basis, triangle = np.linalg.qr(rotated.X * root[:, None])
    whitened = Y * root
    whitened = whitened - (whitened @ basis) @ basis.T
    log_h = float(np.log(scale).sum()) + (rotated.hidden * float(np.log1p(-h)) if rotated.hidden else 0.0)
    df = rotated.n - rotated.c if reml else rotated.n
    fixed = log_h + (2.0 * float(np.log(np.abs(np.diag(triangle))).sum()) if reml else 0.0)
    return np.asarray(-0.5 * (df * np.log((whitened**2).sum(axis=1)) + fixed))


def _pairs(X: Floats) -> Floats:
    """Products (q, c (c + 1) / 2) of the columns of X."""
    rows, columns = np.triu_indices(X.shape[1])
    return np.ascontiguousarray(X[:, rows] * X[:, columns])


def _square(packed: Floats, c: int) -> Floats:
    """Symmetric (B, c, c) matrices of their packed upper triangles."""
    rows, columns = np.triu_indices(c)
    out = np.empty((len(packed), c, c))
    out[:, rows, columns] = packed
    out[:, columns, rows] = packed
    return out


def _solve(rotated: Rotated, pairs: Floats, Y: Floats, hsq: Floats) -> tuple[Floats, Floats, Floats]:
    w = 1.0 / (hsq[:, None] * rotated.eigenvalues + 1.0 - hsq[:, None])
    A = _square(w @ pairs, rotated.c)
    beta = np.linalg.solve(A, ((w * Y) @ rotated.X)[:, :, None])[:, :, 0]
    return A, np.asarray(beta, dtype=np.float64), (w * (Y - beta @ rotated.X.T) ** 2).sum(axis=1)


def _slopes(rotated: Rotated, pairs: Floats, Y: Floats, hsq: Floats, reml: bool) -> tuple[Floats, Floats, Floats]:
    """Profile log likelihood without constants, and its first and second derivative, of each phenotype at its own hsq."""
    c, u = rotated.c, rotated.eigenvalues - 1.0
    scale = hsq[:, None] * rotated.eigenvalues + 1.0 - hsq[:, None]
    w = 1.0 / scale
    dw, ddw = -u * w**2, 2.0 * u**2 * w**3
    A, dA, ddA = (_square(v @ pairs, c) for v in (w, dw, ddw))
    beta = np.linalg.solve(A, ((w * Y) @ rotated.X)[:, :, None])
    r = Y - beta[:, :, 0] @ rotated.X.T
    rss, d_rss = (w * r**2).sum(axis=1), (dw * r**2).sum(axis=1)
    cross = ((dw * r) @ rotated.X)[:, :, None]
    dd_rss = (ddw * r**2).sum(axis=1) - 2.0 * (cross.transpose(0, 2, 1) @ np.linalg.solve(A, cross))[:, 0, 0]
    hidden, left = rotated.hidden, 1.0 - hsq
    log_h, d_log_h, dd_log_h = np.log(scale).sum(axis=1), (u * w).sum(axis=1), -((u * w) ** 2).sum(axis=1)
    if hidden:
        log_h, d_log_h, dd_log_h = log_h + hidden * np.log(left), d_log_h - hidden / left, dd_log_h - hidden / left**2
    df = rotated.n - c if reml else rotated.n
    value = -0.5 * (df * np.log(rss) + log_h)
    first = -0.5 * (df * d_rss / rss + d_log_h)
    second = -0.5 * (df * (dd_rss / rss - (d_rss / rss) ** 2) + dd_log_h)
    if reml:
        B = np.linalg.solve(A, dA)
        value = value - 0.5 * np.linalg.slogdet(A)[1]
        first = first - 0.5 * np.trace(B, axis1=1, axis2=2)
        second = second - 0.5 * (np.trace(np.linalg.solve(A, ddA), axis1=1, axis2=2) - np.einsum("bij,bji->b", B, B))
    return value, first, second
