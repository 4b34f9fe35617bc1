"""What a model leaves out: modification indices, expected parameter changes, and what freeing a path would really give.

The score of a path that is fixed, cleared of what the free parameters can take up, is tested against its true sampling
variance: with W the weights of the estimation and V the sampling covariance of the moments, U = W - W D (D'W D)^-1 D'W and d the
moments' derivative by the path, the score is d'U r, its variance d'U V U d and the expected change d'U r / d'U d. So the index is
a chi-square with one degree of freedom, which the usual index, that takes W^-1 for V, is not [Sörbom 1989, Psychometrika
54:371; Satorra 1989, Psychometrika 54:131, generalised score test].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.errors import ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.inference import moment_weights
from gsem_spark.methods.sem.model import Model, Operator, Path
from gsem_spark.methods.sem.model_checks import cell_key
from gsem_spark.methods.sem.ram import State
from gsem_spark.methods.vech import vech

Floats = NDArray[np.float64]

ABSORBED: Final = 1e-8
"""A path whose derivative the free parameters explain but for this share (squared) has no index: freeing it adds nothing."""
COLUMNS: Final = ("lhs", "op", "rhs", "kind", "mi", "p", "neglog10p", "epc", "epc_se", "std_epc")
WHAT_IF_COLUMNS: Final = (
    "lhs", "op", "rhs", "mi", "epc", "status", "est", "se", "p", "std_all", "chisq", "df", "aic", "cfi", "tli", "rmsea", "srmr",
    "chisq_drop",
)


@dataclass(frozen=True)
class Candidate:
    """A path that could be freed, and why it is not: ``absent`` from the model or ``fixed`` in it."""

    path: Path
    kind: str


def modification_indices(fit: Fit, minimum: float = 0.0) -> pd.DataFrame:
    """Test every cross-loading, residual covariance, factor covariance and fixed path that the model does not estimate.

    Parameters
    ----------
    fit
        A converged fit that still has its V.
    minimum
        Leave out rows with a smaller index.

    Returns
    -------
    DataFrame
        ``lhs op rhs kind mi p neglog10p epc epc_se std_epc``, the largest index first. ``kind`` is cross-loading, residual
        covariance, factor covariance or fixed path; ``mi`` a chi-square with 1 df; ``epc`` the expected change of the path in the
        units of S, ``std_epc`` with all variables standardised. A path that the free parameters can stand in for is left out.

    Raises
    ------
    ModelError
        When the fit has no optimum or no standard errors.
    DataError
        When the fit was read back from JSON, without V.
    """
    moments = fit.sources().moments
    if not fit.converged or np.isnan(fit.theta_cov).any():
        raise ModelError(f"modification indices need an optimum with standard errors; the fit's status is {fit.status}",
                         remedy="look at fit.diagnosis first")
    model, at = fit.model, fit.model.state(fit.theta)
    candidates = candidates_of(model)
    if not candidates:
        return pd.DataFrame(columns=list(COLUMNS))
    rows, columns, directed = _cells(model, candidates)
    derivatives = _derivatives(model, at, rows, columns, directed)
    weights = moment_weights(fit.implied.to_numpy(), moments.V, fit.estimation)
    active = model.restrictions.active_inequalities(fit.theta)
    taken = model.ram.jacobian(at) @ model.restrictions.null_space(fit.theta, active)
    score, information, variance = _scores(derivatives, taken, weights, moments.V, vech(fit.residual.to_numpy()))
    with np.errstate(divide="ignore", invalid="ignore"):
        epc, se = score / information, np.sqrt(variance) / information
        index = (epc / se) ** 2
    p, neglog10p = pvalues.from_chisq(index, 1)
    table = pd.DataFrame({
        "lhs": [c.path.lhs for c in candidates], "op": [c.path.op for c in candidates], "rhs": [c.path.rhs for c in candidates],
        "kind": [c.kind for c in candidates], "mi": index, "p": p, "neglog10p": neglog10p, "epc": epc, "epc_se": se,
        "std_epc": epc / _units(at, rows, columns, directed),
    })
    table = table[np.isfinite(index) & (index >= minimum)]
    # Two names of one change have one index, up to rounding, which must not order them.
    down = [-float(f"{x:.9g}") for x in table["mi"]]
    ranked = table.assign(down=down).sort_values(["down", "lhs", "op", "rhs"], kind="stable", ignore_index=True)
    return ranked.drop(columns="down")


def candidates_of(model: Model) -> list[Candidate]:
    """Paths that could be freed: absent loadings, absent covariances within traits and within factors, fixed paths."""
    there = {cell_key(p) for p in model.paths}
    reach = _reach(model)
    place = {name: i for i, name in enumerate(model.variables)}
    out: list[Candidate] = []
    for factor in model.latent:
        if any(p.op == "=~" and p.lhs == factor for p in model.paths):
            out += [Candidate(Path(factor, "=~", x), "cross-loading") for x in model.observed
                    if not reach[place[factor], place[x]]]
    pairs = [(*pair, "residual covariance") for pair in combinations(model.observed, 2)]
    pairs += [(*pair, "factor covariance") for pair in combinations(model.latent, 2)]
    out += [Candidate(Path(a, "~~", b), kind) for a, b, kind in pairs]
    out = [c for c in out if cell_key(c.path) not in there]
    return out + [Candidate(p, "fixed path") for p in model.paths if p.fixed is not None]


def _reach(model: Model) -> NDArray[np.bool_]:
    """(m, m) whether a chain of arrows leads from the column's variable to the row's: an arrow back would close a circle."""
    m = len(model.variables)
    rows, columns, directed = model.cells
    step = np.zeros((m, m), dtype=np.int64)
    step[rows[directed], columns[directed]] = 1  # to, from
    total, power = step.copy(), step
    for _ in range(model.ram.depth):
        power = np.minimum(power @ step, 1)
        total |= power
    return total.astype(bool)


def _cells(model: Model, candidates: Sequence[Candidate]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    probe = Model(model.observed, model.latent, ())
    place = {name: i for i, name in enumerate(probe.variables)}
    rows, columns, directed = [], [], []
    for path in (c.path for c in candidates):
        to, source = (path.rhs, path.lhs) if path.op == "=~" else (path.lhs, path.rhs)
        rows.append(place[to])
        columns.append(place[source])
        directed.append(path.op != "~~")
    return np.array(rows, np.intp), np.array(columns, np.intp), np.array(directed, bool)


def _derivatives(
    model: Model, at: State, rows: NDArray[np.intp], columns: NDArray[np.intp], directed: NDArray[np.bool_]
) -> Floats:
    """(k*, n) derivatives of the implied covariances by single cells of A or P (formulas of ``Model.jacobian_matrices``)."""
    k = model.k
    left = at.b[:k, rows].T
    right = np.where(directed[:, None], at.d[columns, :k], at.b[:k, columns].T)
    i, j = model.moments
    half = np.where(~directed & (rows == columns), 0.5, 1.0)[:, None]
    return np.asarray((half * (left[:, i] * right[:, j] + left[:, j] * right[:, i])).T)


def _scores(candidates: Floats, taken: Floats, weights: Floats, V: Floats, residual: Floats) -> tuple[Floats, Floats, Floats]:
    """Score, information and variance of the score (n,) of each candidate; NaN where the free parameters absorb it."""
    root = linalg.cholesky(weights, lower=False)
    basis = np.linalg.qr(root @ taken)[0] if taken.shape[1] else np.zeros((root.shape[0], 0))
    own = root @ candidates
    cleared = own - basis @ (basis.T @ own)
    cleared -= basis @ (basis.T @ cleared)  # once more, for precision
    information = np.sum(cleared**2, axis=0)
    absorbed = information <= ABSORBED * np.sum(own**2, axis=0)
    pulled = root.T @ cleared
    variance = np.einsum("in,ij,jn->n", pulled, V, pulled, optimize=True)
    score = pulled.T @ residual
    score[absorbed] = np.nan
    return score, information, variance


def _units(at: State, rows: NDArray[np.intp], columns: NDArray[np.intp], directed: NDArray[np.bool_]) -> Floats:
    """(n,) what one standardised unit of each path is; covariances of residuals in their residual standard deviations."""
    with np.errstate(invalid="ignore"):
        sd, own = np.sqrt(np.diag(at.d)), np.sqrt(np.diag(at.p))
        return np.asarray(np.where(directed, sd[rows] / sd[columns], own[rows] * own[columns]))


# --- freeing them ---------------------------------------------------------------------------------------------------------------
def what_if(fit: Fit, paths: Sequence[str] | None = None, top: int = 5) -> pd.DataFrame:
    """Free one path at a time, refit, and show what changes.

    Parameters
    ----------
    fit
        The fit to improve.
    paths
        Paths as ``"lhs op rhs"``, e.g. ``"F1 =~ BMI"``; None takes the ``top`` modification indices.
    top
        How many, without ``paths``.

    Returns
    -------
    DataFrame
        One row a path: its modification index and expected change, and from the refit its estimate, SE, p and standardised
        value, the fit indices, and by how much the chi-square fell. A refit without an optimum shows its status only.

    Raises
    ------
    ModelError
        When a path is no candidate.
    """
    table = modification_indices(fit)
    known = {f"{r.lhs} {r.op} {r.rhs}": r for r in table.itertuples()}
    wanted = list(known)[:top] if paths is None else [_spaced(p) for p in paths]
    rows = []
    for name in wanted:
        if name not in known:
            raise ModelError(f"{name} is not a path that could be freed alone", remedy="choose from modification_indices(fit)")
        row = known[name]
        lhs, op, rhs = name.split(" ")
        again = fit_model(fit.sources().cov, freed(fit.model, lhs, op, rhs), fit.estimation)  # type: ignore[arg-type]
        numbers = {c: again.value(lhs, op, rhs, c) for c in ("est", "se", "p", "std_all")} if again.converged else {}
        indices = {c: again.indices[c] for c in ("chisq", "df", "aic", "cfi", "tli", "rmsea", "srmr")}
        rows.append({
            "lhs": lhs, "op": op, "rhs": rhs, "mi": row.mi, "epc": row.epc, "status": again.status, **numbers, **indices,
            "chisq_drop": fit.indices["chisq"] - again.indices["chisq"],
        })
    return pd.DataFrame(rows, columns=list(WHAT_IF_COLUMNS))


def freed(model: Model, lhs: str, op: Operator, rhs: str) -> Model:
    """The model with one more free path: a fixed one freed, or an absent one added."""
    key = cell_key(Path(lhs, op, rhs))
    paths = tuple(replace(p, fixed=None, constant=None) if cell_key(p) == key else p for p in model.paths)
    if all(cell_key(p) != key for p in model.paths):
        paths = (*paths, Path(lhs, op, rhs))
    return replace(model, paths=paths)


def _spaced(path: str) -> str:
    for op in ("=~", "~~", "~"):
        if op in path:
            lhs, rhs = path.split(op, 1)
            return f"{lhs.strip()} {op} {rhs.strip()}"
    raise ModelError(f"{path!r} is no path", remedy='write it as "F1 =~ BMI"')
