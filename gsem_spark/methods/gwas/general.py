"""Any model, any estimation, one SNP at a time by the general SEM engine: the slow road, with the same numbers at its end.

It takes ML, constraints, and SNPs whose V_full has to be smoothed on its own. Under ML the SNP is exogenous and given, as lavaan
has it (``fixed.x``): the likelihood falls into the SNP's and that of the traits given the SNP, so its variance is met exactly
and does not touch the rest; its sampling error stays out of the sandwich, and it counts neither as a moment nor as a parameter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import GsemError
from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.moments import s_full, v_full
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.ldsc.covstruct import vech
from gsem_spark.methods.sem.constrained import minimise_restricted
from gsem_spark.methods.sem.estimate import Estimation, objective_for
from gsem_spark.methods.sem.inference import moment_weights, quadratic_form, restricted_sandwich
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.smooth import is_positive_definite, near_pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class GeneralFit(NamedTuple):
    """One SNP's fit; fields as the rows of ``user_batch.Found``, ``covariance`` (q, q) of all parameters."""

    theta: Floats
    covariance: Floats
    q: Floats
    chisq: float
    code: int
    culprit: int
    smoothed: int
    z_smooth: float


def fit_general(
    model: Model, estimation: Estimation, S: Floats, V: Floats, R: Floats, beta: Floats, scale: Floats, v: float,
    snp_error: float, start: Floats, targets: Targets, toler: float,
) -> GeneralFit:
    """Fit one SNP.

    Parameters
    ----------
    model
        First observed variable the SNP, then the k traits.
    S, V, R
        Of the traits, as in ``moments.arrange``; smoothed here with the SNP where they need it.
    beta, scale, v
        (k,) effects, their standard errors with the GC factor, variance of the SNP.
    snp_error
        Sampling variance of the SNP's variance.
    start
        (q,) no-SNP solution.
    targets
        Read for the factors whose Q_SNP is asked for.
    toler
        Share of its diagonal element that a pivot of the normal equations has to exceed.
    """
    k = beta.size
    covariances, errors = s_full(S, beta, v), v_full(V, R, scale, v, snp_error)
    bits = 0
    try:
        if not is_positive_definite(covariances):
            covariances, bits = near_pd(covariances).matrix, outcomes.S_SMOOTHED
        if not is_positive_definite(errors):
            errors, bits = near_pd(errors).matrix, bits | outcomes.V_SMOOTHED
        block = errors[1 : k + 1, 1 : k + 1]
        z_smooth = float(np.max(np.abs(covariances[0, 1:] / np.sqrt(np.diag(block)) - beta / scale))) if bits else 0.0
        begin = _begin(model, start, float(covariances[0, 0]))
        end = minimise_restricted(objective_for(model, covariances, errors, estimation), model.restrictions, [begin])
    except (GsemError, np.linalg.LinAlgError):
        return _nothing(model, targets, outcomes.NOT_PD, bits)
    if not end.converged:
        return _nothing(model, targets, outcomes.NOT_CONVERGED, bits)
    return _judged(model, estimation, covariances, errors, end.theta, targets, bits, z_smooth, toler)


def _begin(model: Model, start: Floats, v: float) -> Floats:
    out = start.copy()
    place = next(i for p, i in zip(model.paths, model.path_index.tolist(), strict=True) if p.lhs == p.rhs == model.observed[0])
    out[place] = v
    return out


def _nothing(model: Model, targets: Targets, code: int, bits: int) -> GeneralFit:
    q, f = model.n_free, targets.q_precision.shape[0]
    return GeneralFit(np.full(q, np.nan), np.full((q, q), np.nan), np.full(f, np.nan), np.nan, code, 0, bits, np.nan)


def _judged(
    model: Model, estimation: Estimation, S: Floats, V: Floats, theta: Floats, targets: Targets, bits: int, z_smooth: float,
    toler: float,
) -> GeneralFit:
    """Errors, chi-square and Q_SNP at the optimum."""
    implied = model.implied(theta)
    weights = moment_weights(implied, V, estimation)
    meat = V.copy()
    if estimation == "ML":
        meat[0, :] = meat[:, 0] = 0.0
    directions = model.restrictions.null_space(theta, model.restrictions.active_inequalities(theta))
    covariance = restricted_sandwich(model.jacobian(theta), weights, meat, directions, toler)
    if covariance is None:
        return _nothing(model, targets, outcomes.SINGULAR, bits)
    residual = S - implied
    q = np.empty(targets.q_precision.shape[0])
    for f in range(q.size):
        at = targets.q_trait[targets.q_start[f] : targets.q_start[f + 1]]
        q[f] = quadratic_form(residual[0, 1 + at], V[np.ix_(1 + at, 1 + at)])
    p = np.diag(model.matrices(theta)[1])
    negative = np.flatnonzero(p[1:] < 0)
    code, culprit = (outcomes.HEYWOOD_TRAIT, int(negative[0])) if negative.size else (outcomes.OK, 0)
    return GeneralFit(theta, covariance, q, quadratic_form(vech(residual), V), code, culprit, bits, z_smooth)
