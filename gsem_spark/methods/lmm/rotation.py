"""A mixed model in the coordinates of its kinship's eigenvectors, where samples are independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.checks import as_design, as_kinship, as_spectrum, as_vector

Floats = NDArray[np.float64]

OUTSIDE_RTOL: Final = 1e-13
"""A column whose share outside of the eigenvectors is no larger than this lies inside of them, to rounding."""


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of a kinship, K = U diag(d) Uᵀ.

    Parameters
    ----------
    eigenvalues
        (r,) eigenvalues d, ascending, not negative.
    vectors
        (n, r) eigenvectors U in columns. r = n, or r < n for a background of low rank: the other n - r eigenvalues are 0.
    """

    eigenvalues: Floats
    vectors: Floats

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.vectors)

    @property
    def full(self) -> bool:
        """Whether every direction has an eigenvector of its own."""
        return bool(self.vectors.shape[0] == self.vectors.shape[1])

    @property
    def mean(self) -> float:
        """Mean eigenvalue over all n directions: the mean diagonal of the kinship."""
        return float(self.eigenvalues.sum() / self.n)


@dataclass(frozen=True)
class Rotated:
    """Phenotype and covariates in the kinship's eigenvectors, q rows.

    Parameters
    ----------
    eigenvalues
        (q,) eigenvalues that go with the rows.
    y
        (q,) rotated phenotype.
    X
        (q, c) rotated covariates.
    names
        c covariate names.
    n
        Number of samples. n - q further directions have eigenvalue 0 and hold neither phenotype nor covariates.
    logdet_xx
        log |XᵀX|.
    kinship_mean
        Mean eigenvalue over all n directions.
    """

    eigenvalues: Floats
    y: Floats
    X: Floats
    names: tuple[str, ...]
    n: int
    logdet_xx: float
    kinship_mean: float

    @property
    def c(self) -> int:
        """Number of covariates."""
        return int(self.X.shape[1])

    @property
    def hidden(self) -> int:
        """Directions of eigenvalue 0 that are not among the rows."""
        return self.n - len(self.eigenvalues)


def kinship_spectrum(K: ArrayLike, n: int | None = None) -> Spectrum:
    """Eigenvalues and eigenvectors of a kinship, of n samples where n is given.

    Raises
    ------
    DataError
        When K is not square, finite, symmetric or positive semidefinite, or of another size.
    """
    values, vectors = linalg.eigh(as_kinship(K, n), driver="evd", overwrite_a=True, check_finite=False)
    return Spectrum(as_spectrum(values), vectors)


def background_spectrum(W: ArrayLike) -> Spectrum:
    """Eigenvalues and eigenvectors of the kinship W Wᵀ of a low-rank background.

    Parameters
    ----------
    W
        (n, r) columns, such as standardised genotypes over sqrt(r), or environments.

    Raises
    ------
    DataError
        When W is not a finite matrix, or is zero.
    """
    values = np.asarray(W, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not np.isfinite(values).all() or not values.any():
        raise DataError(f"a background is a finite matrix of samples by columns, not all 0; its shape is {values.shape}",
                        where="W")
    vectors, roots, _ = linalg.svd(values, full_matrices=False, check_finite=False)
    kept = roots > roots[0] * max(values.shape) * np.finfo(float).eps
    order = np.flatnonzero(kept)[::-1]
    return Spectrum(roots[order] ** 2, np.ascontiguousarray(vectors[:, order]))


def eigen_rotation(K: ArrayLike | Spectrum, y: ArrayLike, X: ArrayLike | None = None, names: list[str] | None = None) -> Rotated:
    """Rotate a phenotype and its covariates by the eigenvectors of a kinship.

    Parameters
    ----------
    K
        (n, n) kinship, or its ``Spectrum`` where one decomposition serves several phenotypes.
    y
        (n,) phenotype without missing values.
    X
        (n, c) covariates including the intercept; None for an intercept alone.
    names
        c names for messages and results.

    Raises
    ------
    DataError
        When an input is not usable: see ``checks``.

    Notes
    -----
    With H = hsq K + (1 - hsq) I, y = X b + N(0, sigmasq H) becomes Uᵀy = UᵀX b + N(0, sigmasq diag(hsq d + 1 - hsq)): Kang et
    al. 2008, Genetics 178:1709; Lippert et al. 2011, Nat Methods 8:833. A kinship of rank r < n leaves a complement in which all
    eigenvalues are 0; the part of (X, y) in it fits into c + 1 further rows.
    """
    values = as_vector(y)
    design, labels = as_design(X, len(values), names)
    spectrum = K if isinstance(K, Spectrum) else kinship_spectrum(K, len(values))
    if spectrum.n != len(values):
        raise DataError(f"the kinship has {spectrum.n} samples, the phenotype {len(values)}", where="K")
    d, rows = rotate_columns(spectrum, np.column_stack([design, values]))
    return Rotated(d, np.ascontiguousarray(rows[:, -1]), np.ascontiguousarray(rows[:, :-1]), labels, len(values),
                   log_det_cross(design), spectrum.mean)


def rotate_columns(spectrum: Spectrum, columns: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues (q,) and columns (n, k) rotated to (q, k)."""
    d, basis = rotation_basis(spectrum, columns)
    return d, basis.T @ columns


def rotation_basis(spectrum: Spectrum, columns: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues (q,) and orthonormal (n, q) basis that holds all of some columns.

    The eigenvectors themselves where the kinship is of full rank; else the eigenvectors and a basis of what the columns have
    outside of them, with eigenvalues 0.
    """
    if spectrum.full:
        return spectrum.eigenvalues, spectrum.vectors
    U = spectrum.vectors
    outside = columns - U @ (U.T @ columns)
    outside -= U @ (U.T @ outside)
    lengths = np.linalg.norm(columns, axis=0)
    q, r, _ = linalg.qr(outside / np.where(lengths > 0, lengths, 1.0), mode="economic", pivoting=True)
    extra = q[:, np.abs(np.diag(r)) > OUTSIDE_RTOL]
    return np.concatenate([spectrum.eigenvalues, np.zeros(extra.shape[1])]), np.hstack([U, extra])


def log_det_cross(X: Floats) -> float:
    """Log determinant of XᵀX for a matrix of full column rank."""
    return 2.0 * float(np.log(np.abs(np.diag(linalg.qr(X, mode="r")[0]))).sum())
