"""Standard errors by the sandwich, the model chi-square, and whether the model is identified.

The estimate weighs the moments by W, their true sampling covariance is V; so cov(theta) = A D'W V W D A with D the Jacobian
and A = (D'W D)^-1 [Savalei 2014, Struct Equ Modeling 21:149; Grotzinger et al. 2019, Nat Hum Behav 3:513, Methods].
Parameters held equal are one parameter here, so the SEs respect the constraint (GenomicSEM's do not).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import unvech, vech_indices
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.model import Model

Floats = NDArray[np.float64]

RANK_RTOL: Final = 1e-9
"""Singular values of the column-scaled Jacobian below this share of the largest count as zero."""


def moment_weights(implied: Floats, V: Floats, estimation: Estimation) -> Floats:
    """Return the weight matrix W (k*, k*) of an estimation.

    Parameters
    ----------
    implied
        (k, k) implied covariances at the estimate; used by ML only, whose W is the normal-theory one.
    V
        (k*, k*) sampling covariance; used by DWLS only, W = diag(V)^-1.

    Notes
    -----
    Normal theory: half of D'(U x U)D with U the inverse of the implied matrix and D the duplication matrix
    [Browne 1974, S Afr Stat J 8:1].
    """
    if estimation == "DWLS":
        return np.diag(1.0 / np.diag(V))
    k = implied.shape[0]
    u = linalg.cho_solve(linalg.cho_factor(implied, lower=True), np.eye(k))
    i, j = vech_indices(k)
    twice = np.where(i == j, 1.0, 2.0)
    both = u[np.ix_(i, i)] * u[np.ix_(j, j)] + u[np.ix_(i, j)] * u[np.ix_(j, i)]
    out: Floats = 0.25 * both * np.outer(twice, twice)
    return out


def sandwich(jacobian: Floats, weights: Floats, V: Floats) -> Floats | None:
    """Return the sampling covariance (q, q) of the estimates, or None where the Jacobian has no full column rank.

    Parameters
    ----------
    jacobian
        (k*, q) at the estimate.
    weights
        (k*, k*) W, positive definite.
    V
        (k*, k*) sampling covariance of the moments.
    """
    if jacobian.shape[1] == 0:
        return np.zeros((0, 0))
    root = linalg.cholesky(weights, lower=False)
    weighted = root @ jacobian
    scale = np.sqrt(np.sum(weighted**2, axis=0))
    if np.any(scale == 0):
        return None
    q, r = linalg.qr(weighted / scale, mode="economic")
    singular = np.linalg.svd(r, compute_uv=False)
    if singular[-1] <= RANK_RTOL * singular[0]:
        return None
    # theta moves with the moments by (D'WD)^-1 D'W = R^-1 Q' root, in scaled parameters.
    influence = linalg.solve_triangular(r, q.T @ root) / scale[:, None]
    out = influence @ V @ influence.T
    covariance: Floats = (out + out.T) / 2.0
    return covariance


def quadratic_form(residual: Floats, V: Floats) -> float:
    """Compute residual' V^-1 residual for a positive definite V, scaled to unit diagonal before it is factored.

    With residual = s - sigma this is the model chi-square of GenomicSEM, which takes V^-1 from V's eigenvectors; the
    Cholesky factor gives the same number.
    """
    root = np.sqrt(np.diag(V))
    half = linalg.solve_triangular(linalg.cholesky(V / np.outer(root, root), lower=True), residual / root, lower=True)
    return float(half @ half)


def check_identified(model: Model, S: Floats, theta: Floats) -> None:
    """Refuse a model that no data can identify.

    The rank of the Jacobian is taken at a generic point near ``theta``, each moment scaled to a correlation.

    Raises
    ------
    ModelError
        When there are more free parameters than moments, or directions of theta that move no moment; the parameters on
        them are named.
    """
    if model.df < 0:
        raise ModelError(
            f"the model has {model.n_free} free parameters but {model.k} traits give only {model.n_moments} moments "
            f"(df = {model.df})",
            remedy="fix or equate parameters, or add traits",
        )
    if model.n_free == 0:
        return
    # A fixed irrational pattern: no cell stays at a special value such as zero, and reruns agree.
    shake = 1.0 + 0.05 * np.sin(1.0 + np.sqrt(2.0) * np.arange(model.n_free))
    generic = theta * shake + 0.05 * np.where(theta == 0, _unit(model, S), 0.0) * shake
    rows, columns = vech_indices(model.k)
    sd = np.sqrt(np.diag(S))
    jacobian = model.jacobian(generic) / (sd[rows] * sd[columns])[:, None]
    length = np.sqrt(np.sum(jacobian**2, axis=0))
    dead = length <= RANK_RTOL * float(np.max(length))
    _, singular, right = np.linalg.svd(jacobian / np.where(dead, 1.0, length))
    null = right[singular <= RANK_RTOL * singular[0]]
    if null.size == 0 and not dead.any():
        return
    involved = dead | (np.max(np.abs(null), axis=0, initial=0.0) > 1e-6)
    names = [n for n, bad in zip(model.free_names, involved, strict=True) if bad]
    raise ModelError(
        f"the model is not identified: {len(null)} combination(s) of these parameters change no moment: {', '.join(names)}",
        remedy="fix one of them (a loading or a factor variance at 1), or equate some",
    )


def _unit(model: Model, S: Floats) -> Floats:
    """(q,) a value of each free parameter that is large enough to be felt: a variance or covariance scale."""
    sd = dict(zip(model.observed, np.sqrt(np.diag(S)), strict=True))
    out = np.ones(model.n_free)
    for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
        if i >= 0:
            lhs, rhs = sd.get(path.lhs, 1.0), sd.get(path.rhs, 1.0)
            out[i] = {"=~": rhs, "~": lhs / rhs, "~~": lhs * rhs}[path.op]
    return out


def correlation_of(covariance: Floats) -> Floats:
    """Return the correlations (k, k) of a covariance matrix with a positive diagonal."""
    sd = np.sqrt(np.diag(covariance))
    out: Floats = covariance / np.outer(sd, sd)
    return out


def standardise_moments(S: Floats, V: Floats) -> tuple[Floats, Floats]:
    """Return S as correlations and V rescaled alike, the variances of S taken as known (GenomicSEM's S_Stand and V_Stand)."""
    rows, columns = vech_indices(S.shape[0])
    sd = np.sqrt(np.diag(S))
    scale = 1.0 / (sd[rows] * sd[columns])
    return unvech((S[rows, columns]) * scale), V * np.outer(scale, scale)
