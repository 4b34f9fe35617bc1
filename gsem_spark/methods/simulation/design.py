"""What is to be simulated: genetic covariance (given, or from a factor model), sample sizes and sample overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError

Floats = NDArray[np.float64]

PSD_TOLERANCE = 1e-10
"""An eigenvalue above minus this share of the largest one is rounding, not indefiniteness."""
SYMMETRY_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Design:
    """The truth of a simulation, without its SNPs.

    Parameters
    ----------
    names
        Trait names, k of them, distinct.
    S
        Genetic covariance, shape (k, k): heritabilities on the diagonal, on the scale of the GWAS (observed scale with the
        given total N for case-control traits).
    I
        Covariance of the estimation errors of the Z-scores, shape (k, k): LDSC's intercepts.
    n
        Samples per trait, shape (k,).
    loadings
        Genetic loadings on the factors, shape (k, f), with S = loadings factor_cov loadingsᵀ + residuals; f = 0 when S was
        given as it is.
    factor_cov
        Covariance of the factors, shape (f, f).
    """

    names: tuple[str, ...]
    S: Floats
    I: Floats
    n: Floats
    loadings: Floats
    factor_cov: Floats

    @property
    def k(self) -> int:
        """Number of traits."""
        return len(self.names)

    @property
    def standardised_loadings(self) -> Floats:
        """Correlation of each trait's genetic value with each factor's own axis, shape (k, f): lambda sd(F) / sqrt(h2)."""
        scale = np.sqrt(np.diag(self.factor_cov))[None, :] / np.sqrt(np.diag(self.S))[:, None]
        return self.loadings * scale

    @classmethod
    def build(
        cls,
        names: tuple[str, ...] | list[str],
        n: ArrayLike,
        S: ArrayLike,
        *,
        I: ArrayLike | None = None,
        loadings: ArrayLike | None = None,
        factor_cov: ArrayLike | None = None,
    ) -> Design:
        """Check and freeze a design; the identity is the default of I (no overlap, no inflation).

        Raises
        ------
        ConfigError
            When names repeat, shapes disagree, N is not positive, or S or I is not symmetric positive semidefinite.
        """
        k = len(names)
        if k == 0 or len(set(names)) != k:
            raise ConfigError(f"trait names must be distinct and at least one, got {list(names)}", where="simulate/traits")
        size = np.asarray(n, dtype=np.float64)
        if size.shape != (k,) or not np.all(np.isfinite(size) & (size > 0)):
            raise ConfigError(f"N needs {k} positive numbers, one a trait, got {size.tolist()}", where="simulate/n")
        lam = np.zeros((k, 0)) if loadings is None else np.asarray(loadings, dtype=np.float64).reshape(k, -1)
        psi = np.eye(lam.shape[1]) if factor_cov is None else np.asarray(factor_cov, dtype=np.float64)
        error = np.eye(k) if I is None else np.asarray(I, dtype=np.float64)
        genetic = np.asarray(S, dtype=np.float64)
        for matrix, name in ((genetic, "S"), (error, "I")):
            semidefinite_root(matrix, name, k)
        if not np.all(np.diag(genetic) > 0):
            raise ConfigError(
                f"heritabilities on the diagonal of S must be above 0, got {np.diag(genetic).tolist()}",
                where="simulate/S", remedy="Leave out traits without a genetic signal, or give them a small h2 such as 1e-6.",
            )  # fmt: skip
        return cls(tuple(names), genetic, error, size, lam, psi)


def factor_covariance(
    loadings: ArrayLike, factor_cov: ArrayLike | None = None, *, residuals: ArrayLike | None = None, h2: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Genetic covariance that a factor model implies: S = Λ Ψ Λᵀ + Θ.

    Parameters
    ----------
    loadings
        Λ, shape (k, f). With ``residuals``: in the units of S. With ``h2``: standardised (Ψ must then be a correlation matrix).
    factor_cov
        Ψ, shape (f, f), or the f variances; the identity when not given.
    residuals
        Diagonal of Θ, shape (k,), genetic variance that the factors do not explain, 0 or greater.
    h2
        Heritabilities, shape (k,), in (0, 1]; residuals then are what is left: h2 (1 - λᵀΨλ).

    Returns
    -------
    S, loadings, factor_cov
        S (k, k), Λ (k, f) in the units of S, Ψ (f, f).

    Raises
    ------
    ConfigError
        When both or neither of ``residuals`` and ``h2`` are given, shapes disagree, Ψ is not positive semidefinite, or a
        residual variance comes out negative.

    Source
    ------
    Grotzinger et al. (2019), Nat Hum Behav 3:513, Methods (Σ(θ) of the measurement model); Bollen (1989), eq. 7.4.
    """
    lam = np.asarray(loadings, dtype=np.float64)
    lam = lam[:, None] if lam.ndim == 1 else lam
    k, f = lam.shape
    psi = np.eye(f) if factor_cov is None else np.asarray(factor_cov, dtype=np.float64)
    psi = np.diag(psi) if psi.ndim == 1 else psi
    if (residuals is None) == (h2 is None):
        raise ConfigError(
            "a factor model needs either residual variances or the heritability of every trait",
            where="simulate/loadings", remedy="Give `residuals`, or h2 for each trait (loadings are then standardised).",
        )  # fmt: skip
    semidefinite_root(psi, "factor_cov", f)
    if h2 is not None:
        heritability = np.asarray(h2, dtype=np.float64)
        if heritability.shape != (k,) or np.any(~(heritability > 0) | (heritability > 1)):
            raise ConfigError(f"h2 needs {k} values in (0, 1], got {heritability.tolist()}", where="simulate/h2")
        if np.any(np.abs(np.diag(psi) - 1.0) > SYMMETRY_TOLERANCE):
            raise ConfigError("standardised loadings need factors of variance 1", where="simulate/factor_cov",
                              remedy="Give factor_cov as correlations, or use `residuals` instead of h2.")  # fmt: skip
        lam = lam * np.sqrt(heritability)[:, None]
        theta = heritability - np.einsum("if,fg,ig->i", lam, psi, lam)
    else:
        theta = np.asarray(residuals, dtype=np.float64)
    if theta.shape != (k,) or np.any(theta < -PSD_TOLERANCE):
        raise ConfigError(
            f"residual variances must be {k} values of 0 or more, got {theta.tolist()}",
            where="simulate/loadings", remedy="Lower the loadings: standardised, λᵀΨλ of a trait cannot be above 1.",
        )  # fmt: skip
    S = lam @ psi @ lam.T + np.diag(np.maximum(theta, 0.0))
    return (S + S.T) / 2.0, lam, psi


def overlap_intercepts(
    n: ArrayLike, shared: ArrayLike, phenotypic: ArrayLike, *, inflation: ArrayLike | None = None, names: tuple[str, ...] = ()
) -> Floats:
    """Intercept matrix that sample overlap gives: I_jk = ρ_jk N_shared,jk / sqrt(N_j N_k).

    Parameters
    ----------
    n
        Samples, shape (k,).
    shared
        Samples that both GWAS have, shape (k, k), symmetric; the diagonal is not read.
    phenotypic
        Phenotypic correlation in the shared samples, shape (k, k), in [-1, 1]; the diagonal is not read.
    inflation
        Univariate intercepts, shape (k,), 1 or so; 1 (no confounding) when not given.

    Raises
    ------
    ConfigError
        When the overlap is above the smaller GWAS, a correlation lies outside [-1, 1], or I is not positive semidefinite.

    Source
    ------
    Bulik-Sullivan et al. (2015), Nat Genet 47:1236, eq. 1 (the second term).
    """
    size, both = np.asarray(n, np.float64), np.asarray(shared, np.float64)
    rho = np.asarray(phenotypic, np.float64)
    k = len(size)
    off = ~np.eye(k, dtype=bool)
    excess = off & ((both > np.minimum.outer(size, size)) | ~(both >= 0))
    if excess.any():
        j, m = (int(i) for i in np.argwhere(excess)[0])
        label = f"{names[j]} and {names[m]}" if names else f"traits {j} and {m}"
        raise ConfigError(
            f"{label} share {both[j, m]:g} samples, but overlap must be between 0 and the smaller N, {min(size[j], size[m]):g}",
            where="simulate/overlap", remedy="Lower the overlap or raise N.",
        )  # fmt: skip
    if np.any(off & ~(np.abs(rho) <= 1)):
        raise ConfigError("phenotypic correlations must lie in [-1, 1]", where="simulate/overlap")
    I = np.where(off, rho * both / np.sqrt(np.outer(size, size)), 0.0)
    np.fill_diagonal(I, 1.0 if inflation is None else np.asarray(inflation, np.float64))
    semidefinite_root(I, "I", k)
    return I


def semidefinite_root(matrix: Floats, name: str, k: int) -> Floats:
    """Lower triangular R with R Rᵀ = matrix, also for singular matrices (a pivot of rounding size gives a column of zeros).

    Row j of R depends on the first j + 1 traits alone: a trait appended to a design changes no earlier trait's draws.

    Raises
    ------
    ConfigError
        When the matrix is not k by k, finite, symmetric and positive semidefinite.
    """
    where = f"simulate/{name}"
    if matrix.shape != (k, k) or not np.all(np.isfinite(matrix)):
        raise ConfigError(f"{name} must be a finite {k} x {k} matrix, got shape {matrix.shape}", where=where)
    scale = float(np.max(np.abs(np.diag(matrix)), initial=0.0))
    gap = float(np.max(np.abs(matrix - matrix.T), initial=0.0))
    if gap > SYMMETRY_TOLERANCE * max(scale, 1.0):
        raise ConfigError(f"{name} is not symmetric: cells differ from their mirror by up to {gap:g}", where=where)
    lowest = float(np.linalg.eigvalsh(matrix)[0]) if k else 0.0
    if lowest < -PSD_TOLERANCE * max(scale, 1e-300):
        raise ConfigError(
            f"{name} is not positive semidefinite: its smallest eigenvalue is {lowest:g}",
            where=where, remedy="Bring the off-diagonal cells nearer to 0: no correlation may be above 1 or contradict others.",
        )  # fmt: skip
    root = np.zeros((k, k))
    for j in range(k):
        pivot = matrix[j, j] - root[j, :j] @ root[j, :j]
        if pivot > PSD_TOLERANCE * scale:
            root[j, j] = np.sqrt(pivot)
            root[j + 1 :, j] = (matrix[j + 1 :, j] - root[j + 1 :, :j] @ root[j, :j]) / root[j, j]
    return root
