"""Several traits at once: genetic and residual covariances by a kinship, fitted by REML or ML.

Y = X B Aᵀ + G + E, vec G ~ N(0, Cg ⊗ K), vec E ~ N(0, Cn ⊗ I), for n samples and P traits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConvergenceError, DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.methods.lmm import traitkernel
from gsem_spark.methods.lmm.checks import as_columns, as_design, as_kinship, dependent_columns
from gsem_spark.methods.lmm.rotation import Spectrum, kinship_spectrum, rotation_basis
from gsem_spark.methods.lmm.traitcov import TraitCovariance, fit_structured
from gsem_spark.methods.lmm.traitkernel import RotatedTraits

Floats = NDArray[np.float64]
Form = Literal["free", "diagonal", "low_rank"]

START_SHARE: Final = 0.5
"""Share of each trait's residual variance that a fit starts with as genetic."""


@dataclass(frozen=True)
class TraitData:
    """Rotated data of a multi-trait model.

    Parameters
    ----------
    basis
        (n, q) what samples are rotated by.
    rotated
        Phenotypes and design in it; design columns are covariate-major.
    n
        Samples.
    """

    basis: Floats
    rotated: RotatedTraits
    n: int

    def loglik(self, Cg: Floats, Cn: Floats, reml: bool) -> float:
        """Log likelihood at given covariances, with all constants."""
        return full_loglik(self.rotated, traitkernel.evaluate(self.rotated, Cg, Cn, reml, derivatives=False), reml)


@dataclass(frozen=True)
class MultitraitFit:
    """A fitted multi-trait model.

    Parameters
    ----------
    data
        The rotated data.
    traits, names
        P trait names and c covariate names.
    Cg, Cn
        (P, P) genetic covariance per unit of K, and residual covariance.
    Cg_cov, Cn_cov, cross_cov
        Sampling covariances of vech Cg and vech Cn (column-wise lower triangles), and between the two; NaN where a matrix is not
        free, or its optimum lies on the boundary.
    B
        (c, a) effects of the covariates by trait design column.
    B_cov
        (c a, c a) their covariance, covariate-major.
    loglik
        Log likelihood with all constants.
    reml
        Restricted or full maximum likelihood.
    at_boundary
        Whether Cg or Cn, where fitted, is singular at the optimum: some combination of the traits is all residual or all genetic.
    forms
        Forms of Cg and Cn.
    """

    data: TraitData
    traits: tuple[str, ...]
    names: tuple[str, ...]
    Cg: Floats
    Cn: Floats
    Cg_cov: Floats
    Cn_cov: Floats
    cross_cov: Floats
    B: Floats
    B_cov: Floats
    loglik: float
    reml: bool
    at_boundary: bool
    forms: tuple[TraitCovariance, TraitCovariance]

    def sampling(self) -> tuple[Floats, Floats]:
        """The genetic covariance S (P, P) and the sampling covariance V of its vech, as structural equation models take them."""
        return self.Cg, self.Cg_cov

    def covstruct(self) -> CovStruct:
        """S and V as a covariance structure; see ``genetic_covstruct``."""
        return genetic_covstruct(self.Cg, self.Cg_cov, self.traits, self.data.n)

    def correlations(self) -> pd.DataFrame:
        """A row a pair of traits and kind (genetic, residual): r, se (delta method), z, p, neglog10p."""
        return trait_correlations(self.traits, self.Cg, self.Cg_cov, self.Cn, self.Cn_cov)

    def variances(self) -> pd.DataFrame:
        """A row a trait: sigmasq_g, se_g, sigmasq_e, se_e, hsq and its standard error (delta method)."""
        P = len(self.traits)
        diagonal = [k for k, (i, j) in enumerate(zip(*vech_indices(P), strict=True)) if i == j]
        rows = []
        for p, k in enumerate(diagonal):
            g, e = self.Cg[p, p], self.Cn[p, p]
            vg, ve, c = self.Cg_cov[k, k], self.Cn_cov[k, k], self.cross_cov[k, k]
            spread = (e**2 * vg + g**2 * ve - 2 * g * e * c) / (g + e) ** 4
            rows.append({"trait": self.traits[p], "sigmasq_g": g, "se_g": np.sqrt(vg), "sigmasq_e": e, "se_e": np.sqrt(ve),
                         "hsq": g / (g + e), "hsq_se": np.sqrt(spread)})
        return pd.DataFrame(rows)


def trait_correlations(traits: Sequence[str], Cg: ArrayLike, Cg_cov: ArrayLike, Cn: ArrayLike, Cn_cov: ArrayLike) -> pd.DataFrame:
    """Correlations of P traits, from covariances (P, P) and the sampling covariances of their vech; flat arrays do too.

    Returns
    -------
    DataFrame
        A row a pair of traits and kind (genetic, residual): ``kind trait1 trait2 r se z p neglog10p``, se by the delta method.
    """
    P, rows = len(traits), []
    for kind, C, cov in (("genetic", Cg, Cg_cov), ("residual", Cn, Cn_cov)):
        square, sampling = np.asarray(C, np.float64).reshape(P, P), np.asarray(cov, np.float64).reshape(P * (P + 1) // 2, -1)
        for i in range(P):
            for j in range(i):
                r, se = _correlation(square, sampling, i, j)
                rows.append({"kind": kind, "trait1": traits[j], "trait2": traits[i], "r": r, "se": se})
    frame = pd.DataFrame(rows, columns=["kind", "trait1", "trait2", "r", "se"])
    frame["z"] = frame["r"] / frame["se"]
    frame["p"], frame["neglog10p"] = pvalues.from_z(frame["z"])
    return frame


def genetic_covstruct(Cg: ArrayLike, Cg_cov: ArrayLike, traits: Sequence[str], n: int) -> CovStruct:
    """Genetic covariances from individual-level data in place of LD score regression's.

    Parameters
    ----------
    Cg, Cg_cov
        Genetic covariance (P, P) per unit of the kinship, and the sampling covariance of its vech; flat arrays do too.
    traits, n
        P trait names, and samples.

    Returns
    -------
    CovStruct
        S on the scale of the traits as given (standardise them for heritabilities, with a kinship of mean diagonal 1). I is the
        identity: there are no LD score intercepts, so that per-SNP models of it need intercepts from elsewhere.

    Raises
    ------
    DataError
        When the fit lies on the boundary, where Cg has no sampling covariance.
    """
    P = len(traits)
    S = np.asarray(Cg, dtype=np.float64).reshape(P, P)
    V = np.asarray(Cg_cov, dtype=np.float64).reshape(P * (P + 1) // 2, -1)
    if not np.isfinite(V).all():
        raise DataError("the fit lies on the boundary: the genetic covariance has no sampling covariance there",
                        where=", ".join(traits),
                        remedy="leave out traits without heritability or residual, or near to combinations of others")
    return CovStruct.from_matrices(S, V, np.eye(P), tuple(traits), N=np.full(P * (P + 1) // 2, float(n)))


def _correlation(C: Floats, cov: Floats, i: int, j: int) -> tuple[float, float]:
    at = {pair: k for k, pair in enumerate(zip(*(v.tolist() for v in vech_indices(len(C))), strict=True))}
    r = C[i, j] / np.sqrt(C[i, i] * C[j, j])
    slope = np.array([1 / np.sqrt(C[i, i] * C[j, j]), -0.5 * r / C[i, i], -0.5 * r / C[j, j]])
    use = [at[i, j], at[i, i], at[j, j]]
    return float(r), float(np.sqrt(slope @ cov[np.ix_(use, use)] @ slope))


def full_loglik(data: RotatedTraits, at: traitkernel.Evaluation, reml: bool) -> float:
    """An evaluation's log likelihood with its constants."""
    df = (len(data.d) + data.hidden) * data.Y.shape[1] - (len(data.which) if reml else 0)
    return float(at.value - 0.5 * df * np.log(2 * np.pi) + (0.5 * data.log_det_design() if reml else 0.0))


def fit_multitrait(
    Y: ArrayLike, K: ArrayLike | Spectrum, X: ArrayLike | None = None, A: ArrayLike | None = None, reml: bool = True,
    genetic: Form | ArrayLike = "free", residual: Form | ArrayLike = "free", rank: int = 1,
    traits: Sequence[str] | None = None, names: Sequence[str] | None = None,
) -> MultitraitFit:
    """Fit a multi-trait mixed model.

    Parameters
    ----------
    Y
        (n, P) phenotypes, no missing values.
    K
        (n, n) kinship or its ``Spectrum``.
    X
        (n, c) covariates including the intercept; None for an intercept alone.
    A
        (P, a) trait design of the covariates: the identity (None) gives each trait its own effects, a column of ones common ones.
    reml
        Restricted or full maximum likelihood.
    genetic, residual
        ``"free"``, ``"diagonal"``, ``"low_rank"`` (rank ``rank`` plus a diagonal), or a (P, P) matrix that stays fixed.
    traits, names
        Names of traits and covariates.

    Raises
    ------
    DataError
        When an input is not usable.
    ConvergenceError
        When no optimum is found.

    Notes
    -----
    Free matrices are fitted by Newton steps with the average information (``traitkernel``), others, and optima on the boundary,
    by quasi-Newton steps in a factor of the matrix. Standard errors are from the average information at the optimum.
    """
    values = as_columns(Y, "Y", traits)
    n, P = values.shape
    design, labels = as_design(X, n, names)
    spectrum = K if isinstance(K, Spectrum) else kinship_spectrum(K, n)
    if spectrum.n != n:
        raise DataError(f"the kinship has {spectrum.n} samples, the phenotypes {n}", where="K")
    if n * P <= design.shape[1] * P + P * (P + 1):
        raise DataError(f"{n} samples are too few for {P} traits", where="Y", remedy="leave out traits")
    if dependent := dependent_columns(values):
        shown = ", ".join(str(traits[j]) if traits else f"column {j}" for j in dependent)
        raise DataError(f"traits are combinations of one another: {shown} of those before", where="Y", remedy="leave them out")
    data = _rotate(spectrum, values, design, _trait_design(A, P))
    forms = (_covariance(genetic, P, rank, "genetic"), _covariance(residual, P, rank, "residual"))
    Cg, Cn, boundary = _fit_covariances(data, values, design, forms, reml)
    return _finish(data, tuple(traits) if traits else tuple(f"y{p}" for p in range(P)), labels, Cg, Cn, forms, reml, boundary)


def _trait_design(A: ArrayLike | None, P: int) -> Floats:
    design = np.eye(P) if A is None else np.asarray(A, dtype=np.float64)
    design = design[:, None] if design.ndim == 1 else design
    if design.ndim != 2 or len(design) != P or not np.isfinite(design).all() or dependent_columns(design):
        raise DataError(f"a trait design has {P} rows and independent columns, this has the shape {design.shape}", where="A")
    return design


def _covariance(form: Any, P: int, rank: int, name: str) -> TraitCovariance:
    if isinstance(form, str):
        return TraitCovariance(form, P, rank)  # type: ignore[arg-type]
    fixed = as_kinship(form, P)
    if np.linalg.eigvalsh(fixed)[0] < (0 if name == "genetic" else 1e-12):
        raise DataError(f"the fixed {name} covariance is not positive definite", where=name)
    return TraitCovariance("fixed", P, rank, fixed)


def _rotate(spectrum: Spectrum, Y: Floats, X: Floats, A: Floats) -> TraitData:
    columns = np.column_stack([X, Y])
    d, basis = rotation_basis(spectrum, columns)
    rows = basis.T @ columns
    c, a = X.shape[1], A.shape[1]
    rotated = RotatedTraits(d, len(Y) - len(d), np.ascontiguousarray(rows[:, c:]), np.ascontiguousarray(rows[:, :c].T),
                            np.repeat(np.arange(c), a), np.tile(A.T, (c, 1)))
    return TraitData(np.ascontiguousarray(basis), rotated, len(Y))


def _fit_covariances(data: TraitData, Y: Floats, X: Floats, forms: tuple[TraitCovariance, TraitCovariance], reml: bool
                     ) -> tuple[Floats, Floats, bool]:
    residual = Y - X @ np.linalg.lstsq(X, Y, rcond=None)[0]
    total = residual.T @ residual / len(Y)
    start = (START_SHARE * total / data.rotated.mean_d, (1 - START_SHARE) * total)
    if all(f.form == "free" for f in forms):
        Cg, Cn, _, converged = traitkernel.maximise(data.rotated, *start, reml)
        if converged:
            return Cg, Cn, False
        start = (Cg, Cn)
    Cg, Cn, converged = fit_structured(data.rotated, forms, start, reml)
    if not converged:
        raise ConvergenceError("the covariances of the traits have no optimum that could be found", where="fit_multitrait",
                               remedy="leave out traits that are nearly combinations of others, or fix or restrict a matrix")
    return Cg, Cn, _on_boundary(data.rotated, Cg, Cn, forms)


def _on_boundary(data: RotatedTraits, Cg: Floats, Cn: Floats, forms: tuple[TraitCovariance, TraitCovariance]) -> bool:
    """Whether a matrix that was fitted is singular, by its share of the variance of any combination of traits."""
    shares = traitkernel.smallest_shares(traitkernel.trait_rotation(Cg, Cn, data.mean_d)[1], data.mean_d)
    return any(f.form != "fixed" and share < traitkernel.BOUNDARY_SHARE for f, share in zip(forms, shares, strict=True))


def refit(fit: MultitraitFit, reml: bool) -> tuple[Floats, Floats]:
    """Covariances of a fitted model under the other likelihood (or its own, which it has already)."""
    if fit.reml == reml:
        return fit.Cg, fit.Cn
    if all(f.form == "free" for f in fit.forms) and not fit.at_boundary:
        Cg, Cn, _, converged = traitkernel.maximise(fit.data.rotated, fit.Cg, fit.Cn, reml)
        if converged:
            return Cg, Cn
    Cg, Cn, _ = fit_structured(fit.data.rotated, fit.forms, (fit.Cg, fit.Cn), reml)
    return Cg, Cn


def _finish(
    data: TraitData, traits: tuple[str, ...], names: tuple[str, ...], Cg: Floats, Cn: Floats,
    forms: tuple[TraitCovariance, TraitCovariance], reml: bool, boundary: bool,
) -> MultitraitFit:
    P = len(traits)
    at = traitkernel.evaluate(data.rotated, Cg, Cn, reml)
    m = P * (P + 1) // 2
    cov = np.full((2 * m, 2 * m), np.nan)
    if not boundary and all(f.form == "free" for f in forms):
        to_T = _vech_map(at.T)
        J = np.zeros((2 * m, 2 * m))
        J[:m, :m] = J[m:, m:] = to_T
        cov = np.linalg.solve(J.T @ at.information @ J, np.eye(2 * m))
    c = len(names)
    return MultitraitFit(data, traits, names, Cg, Cn, cov[:m, :m], cov[m:, m:], cov[:m, m:], at.beta.reshape(c, -1),
                         np.asarray(np.linalg.solve(at.precision, np.eye(len(at.beta))), dtype=np.float64),
                         full_loglik(data.rotated, at, reml), reml, boundary, forms)


def _vech_map(T: Floats) -> Floats:
    """Linear map from vech C (column-wise lower) to the elements a <= b (row-wise upper) of T C Tᵀ."""
    P = len(T)
    columns = []
    for i, j in zip(*vech_indices(P), strict=True):
        E = np.zeros((P, P))
        E[i, j] = E[j, i] = 1.0
        columns.append((T @ E @ T.T)[np.triu_indices(P)])
    return np.array(columns).T
