"""Products with the inverse of H = hsq K + (1 - hsq) I, prepared once and applied to tiles of genotypes.

With K of full rank H⁻¹ = RᵀR, R upper triangular: one triangular product, half of what a rotation by the eigenvectors costs.
With a background of rank r, H⁻¹ = (I + U diag(w) Uᵀ) / (1 - hsq), w = (1 - hsq) / (hsq d + 1 - hsq) - 1: r columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas

from gsem_spark.methods.lmm.rotation import Spectrum
from gsem_spark.methods.lmm.tiles import Tile, row_sums_of_squares

Floats = NDArray[np.float64]
Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Whitening:
    """A null model with its variance components fixed, ready for tests; broadcastable.

    Parameters
    ----------
    hsq
        Heritability it stands at.
    factor
        (n, n) R in column-major order; float32 where the rotation was asked for in float32. (0, 0) for a low rank.
    columns
        (n, c + 1 + r): a row of genotypes times it gives the part explained by the c covariates, in an orthonormal basis of them,
        its product with the residuals, xᵀP y, and its products with the r vectors U of a low rank (none for a full rank).
    c
        Covariates.
    shrink
        (r,) w of a low rank.
    rss
        yᵀP y, the residual sum of squares without the variant.
    """

    hsq: float
    factor: NDArray[np.floating]
    columns: Floats
    c: int
    shrink: Floats
    rss: float

    @property
    def low_rank(self) -> bool:
        """Whether the background is of low rank."""
        return self.factor.size == 0

    @property
    def project(self) -> Floats:
        """(n, c + 1) columns of the covariates and the residual."""
        return self.columns[:, : self.c + 1]

    @property
    def vectors(self) -> Floats:
        """(n, r) eigenvectors of a low rank."""
        return self.columns[:, self.c + 1 :]

    def sums(self, tile: Tile, products: Floats, squares: Floats) -> tuple[Floats, Floats, Floats]:
        """Products xᵀPx, xᵀPy and xᵀH⁻¹x of each variant of a tile; uses up the tile's rows.

        P takes out covariates in the metric of H⁻¹: P = H⁻¹ - H⁻¹X (XᵀH⁻¹X)⁻¹ XᵀH⁻¹. ``products`` (tile_rows, c + 1 + r) are
        those of the rows with ``columns``; ``squares`` (size,) holds xᵀH⁻¹x of a full rank where it is known, NaN elsewhere.
        """
        size, c = tile.size, self.c
        if self.low_rank:
            inside = products[:size, c + 1 :]
            total = (tile.sumsq + (inside**2 * self.shrink).sum(axis=1)) / (1.0 - self.hsq)
        elif (known := np.isfinite(squares)).all():
            total = squares
        else:
            total = np.empty(len(tile.rows))
            row_sums_of_squares(self.whiten_rows(tile.rows), total)
            total[:size][known] = squares[known]
        covered = products[:size, :c]
        return total[:size] - (covered**2).sum(axis=1), products[:size, c], total[:size]

    def whiten_rows(self, rows: Floats) -> NDArray[np.floating]:
        """Rows g of a tile as H^(-1/2) g; for a full rank ``rows`` is used up."""
        if self.low_rank:
            return _whiten_low_rank(rows, self.vectors, self.shrink, self.hsq)
        if self.factor.dtype == np.float32:
            return np.asarray(blas.strmm(1.0, self.factor, rows.astype(np.float32).T, overwrite_b=1).T)
        return np.asarray(blas.dtrmm(1.0, self.factor, rows.T, overwrite_b=1).T)


def _whiten_low_rank(rows: Floats, vectors: Floats, shrink: Floats, hsq: float) -> Floats:
    root = np.sqrt(1.0 + shrink) - 1.0
    return np.asarray((rows + ((rows @ vectors) * root) @ vectors.T) / np.sqrt(1.0 - hsq))


def prepare_whitening(spectrum: Spectrum, y: Floats, X: Floats, hsq: float, precision: Precision = "float64") -> Whitening:
    """Fold a kinship at a heritability, the covariates and the phenotype into one set of arrays.

    Parameters
    ----------
    spectrum
        Of the kinship; rank 0 for independent samples.
    y, X
        (n,) phenotype and (n, c) covariates.
    hsq
        In [0, 1); 0 makes samples independent whatever the kinship.
    precision
        ``"float32"`` keeps the triangular factor, and makes its products, in single precision: xᵀP x has a relative error of
        about 1e-6 then, so that statistics agree to 1e-5. Sums are taken in float64 all the same.
    """
    n = len(y)
    if hsq == 0.0 or not spectrum.full:
        kept = spectrum.vectors[:, :0] if hsq == 0.0 else spectrum.vectors
        d = spectrum.eigenvalues[: kept.shape[1]]
        shrink = (1.0 - hsq) / (hsq * d + 1.0 - hsq) - 1.0

        def apply(columns: Floats) -> Floats:
            return _whiten_low_rank(columns.T, kept, shrink, hsq).T

        back = apply
        factor: NDArray[np.floating] = np.empty((0, 0))
    else:
        roots = spectrum.vectors / np.sqrt(hsq * spectrum.eigenvalues + 1.0 - hsq)
        R = np.asfortranarray(linalg.qr(roots.T, mode="r", overwrite_a=True, check_finite=False)[0])

        def apply(columns: Floats) -> Floats:
            return np.asarray(blas.dtrmm(1.0, R, columns))

        def back(columns: Floats) -> Floats:
            return np.asarray(blas.dtrmm(1.0, R, columns, trans_a=1))

        kept, shrink = np.empty((n, 0)), np.empty(0)
        factor = np.asfortranarray(R.astype(np.float32)) if precision == "float32" else R
    basis = linalg.qr(apply(X), mode="economic")[0]
    residual = apply(y[:, None])
    residual = residual - basis @ (basis.T @ residual)
    residual -= basis @ (basis.T @ residual)
    columns = np.ascontiguousarray(np.hstack([back(np.hstack([basis, residual])), kept]))
    return Whitening(hsq, factor, columns, X.shape[1], shrink, float((residual**2).sum()))
