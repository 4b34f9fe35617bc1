"""Association of variants with several traits: any effect, a common effect, specific effects, differences, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.lmm import traitkernel
from gsem_spark.methods.lmm.checks import dependent_columns, spans_constant
from gsem_spark.methods.lmm.hard_calls import rotated_tiles
from gsem_spark.methods.lmm.interactions import solve_sets
from gsem_spark.methods.lmm.multitrait import MultitraitFit, full_loglik, refit
from gsem_spark.methods.lmm.scan import allele_frequency, with_messages
from gsem_spark.methods.lmm.statistics import statistic
from gsem_spark.methods.lmm.tiles import Tile, as_block
from gsem_spark.methods.lmm.traitcov import fit_structured
from gsem_spark.methods.lmm.whiten import Precision

Floats = NDArray[np.float64]
Designs = Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]]

TESTS: Final = {"wald": "reml", "score": "ml", "limix_lrt": "reml", "lrt_ml": "ml"}
"""Multi-trait tests, and the null model they stand at."""
REFITTED: Final = ("wald", "lrt_ml")


@dataclass(frozen=True)
class TraitDesign:
    """A hypothesis on a variant's effects: ``effects`` (P, m) tested beyond ``base`` (P, m0)."""

    name: str
    base: Floats
    effects: Floats


@dataclass(frozen=True)
class TraitNull:
    """One null model in the form a tile needs.

    Parameters
    ----------
    Cg, Cn, T
        Covariances and their trait rotation.
    weights
        (q, P) inverse variances.
    linear
        (q, P (K + 1)): for trait p of the rotation, K columns of the orthonormal design and the residual.
    rss
        Residual sum of squares.
    loglik
        With all constants.
    """

    Cg: Floats
    Cn: Floats
    T: Floats
    weights: Floats
    linear: Floats
    rss: float
    loglik: float


@dataclass(frozen=True)
class TraitScanPlan:
    """A multi-trait null model ready for tests; broadcastable."""

    fit: MultitraitFit
    designs: tuple[TraitDesign, ...]
    tests: tuple[str, ...]
    exact: bool
    centre: bool
    basis: NDArray[np.floating]
    nulls: dict[str, TraitNull]


def trait_designs(traits: Sequence[str]) -> dict[str, tuple[Floats, Floats]]:
    """The usual hypotheses on P traits.

    Returns
    -------
    dict
        ``any``: an effect on any trait. ``common``: one effect, the same on all. ``difference``: effects that differ between
        traits, beyond a common one. ``specific:<trait>``: an effect on that trait beyond a common one.
    """
    P = len(traits)
    none, ones = np.empty((P, 0)), np.ones((P, 1))
    designs = {"any": (none, np.eye(P)), "common": (none, ones), "difference": (ones, np.eye(P)[:, 1:])}
    return designs | {f"specific:{t}": (ones, np.eye(P)[:, [p]]) for p, t in enumerate(traits)}


def scan_multitrait(
    G: ArrayLike, fit: MultitraitFit, A_snp: ArrayLike | Designs | None = None, test: str | Sequence[str] = "wald",
    exact: bool = False, precision: Precision = "float64",
) -> pd.DataFrame:
    """Test every variant for effects on several traits.

    Parameters
    ----------
    G
        (n, S) genotypes, samples in rows, NaN (or a negative int8) missing.
    fit
        From ``fit_multitrait``.
    A_snp
        (P, m) design of the variant's effects, the identity (None) for any effect; or several by name, each a matrix or a pair
        (base, effects) of matrices: effects beyond those of the base (``trait_designs`` gives the usual ones).
    test
        * ``wald``: b Cov(b)⁻¹ b against chi-square, at the REML components (GEMMA's multivariate Wald test where exact).
        * ``score``: the same quadratic form at the components of the null model by ML (GEMMA's score test).
        * ``lrt_ml``: likelihood ratio by ML; at fixed components only the overall scale is fitted again.
        * ``limix_lrt``: -(n P - K) log(rss1 / rss0), limix-lmm's.
    exact
        Covariances of the traits fitted anew for every variant for ``wald`` (REML) and ``lrt_ml`` (ML); milliseconds a variant.
    precision
        ``"float32"``: rotate in single precision.

    Returns
    -------
    DataFrame
        A row a variant, design and test: variant, af, n, missing, design, test, beta_j, se_j, cov_i_j, df, stat, p, neglog10p,
        status, message.

    Raises
    ------
    DataError, ConfigError
        When inputs or settings are not usable.
    """
    genotypes = np.asarray(G)
    genotypes = genotypes[:, None] if genotypes.ndim == 1 else genotypes
    if genotypes.ndim != 2 or len(genotypes) != fit.data.n:
        raise DataError(f"genotypes of the shape {genotypes.shape} meet a model of {fit.data.n} samples", where="G",
                        remedy="give samples in rows, in the order of the phenotypes")
    return scan_multitrait_block(prepare_multitrait_scan(fit, A_snp, test, exact, precision), genotypes.T)


def prepare_multitrait_scan(
    fit: MultitraitFit, A_snp: ArrayLike | Designs | None = None, test: str | Sequence[str] = "wald", exact: bool = False,
    precision: Precision = "float64",
) -> TraitScanPlan:
    """Fold a fitted model into what a block of variants needs; arguments and errors of ``scan_multitrait``."""
    tests = (test,) if isinstance(test, str) else tuple(test)
    if not tests or any(t not in TESTS for t in tests):
        raise ConfigError(f"unknown multi-trait test in {tests}", where="test", remedy=f"choose from {', '.join(TESTS)}")
    designs = _as_designs(A_snp, len(fit.traits))
    nulls = {kind: _null(fit, kind == "reml") for kind in sorted({TESTS[t] for t in tests})}
    rotated = fit.data.rotated
    covered = fit.data.basis @ rotated.V.T
    full_traits = np.linalg.matrix_rank(rotated.A) == len(fit.traits)
    basis = fit.data.basis.astype(np.float32) if precision == "float32" else fit.data.basis
    return TraitScanPlan(fit, designs, tests, exact, bool(full_traits and spans_constant(covered)), basis, nulls)


def _as_designs(A_snp: ArrayLike | Designs | None, P: int) -> tuple[TraitDesign, ...]:
    if A_snp is None:
        A_snp = {"any": np.eye(P)}
    elif not isinstance(A_snp, Mapping):
        A_snp = {"effects": A_snp}
    designs = []
    for name, given in A_snp.items():
        base, effects = given if isinstance(given, tuple) else (np.empty((P, 0)), given)
        parts = [np.asarray(part, dtype=np.float64) for part in (base, effects)]
        parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        if any(part.ndim != 2 or len(part) != P for part in parts) or not parts[1].shape[1]:
            raise DataError(f"design {name!r} has the shapes {[part.shape for part in parts]}, {P} rows are wanted",
                            where="A_snp")
        if dependent_columns(np.hstack(parts)):
            raise DataError(f"columns of design {name!r} are combinations of one another", where="A_snp")
        designs.append(TraitDesign(name, *parts))
    return tuple(designs)


def _null(fit: MultitraitFit, reml: bool) -> TraitNull:
    Cg, Cn = refit(fit, reml)
    data = fit.data.rotated
    at = traitkernel.evaluate(data, Cg, Cn, reml, derivatives=False)
    q, P = data.Y.shape
    weights = 1.0 / (data.d[:, None] * at.delta + 1.0)
    root = np.sqrt(weights)
    Z = (data.V[data.which][:, :, None] * (data.A @ at.T.T)[:, None, :] * root).reshape(len(data.which), q * P)
    basis = np.linalg.qr(Z.T)[0]
    y = ((data.Y @ at.T.T) * root).ravel()
    residual = y - basis @ (basis.T @ y)
    residual -= basis @ (basis.T @ residual)
    linear = np.column_stack([basis, residual]).reshape(q, P, -1) * root[:, :, None]
    return TraitNull(Cg, Cn, at.T, np.ascontiguousarray(weights), np.ascontiguousarray(linear.reshape(q, -1)),
                     float(residual @ residual), full_loglik(data, at, reml))


def scan_multitrait_block(plan: TraitScanPlan, block: ArrayLike, first: int = 0) -> pd.DataFrame:
    """Test a block (S, n) of variants; the same rows, to the last bit, however variants are cut into blocks."""
    genotypes = as_block(block, plan.fit.data.n)
    parts = []
    start = first
    for tile, rotated in rotated_tiles(genotypes, plan.basis, plan.centre):
        outside = _outside(plan, tile, rotated)
        sums = {kind: _sums(null, rotated, outside) for kind, null in plan.nulls.items()}
        for design in plan.designs:
            for test in plan.tests:
                columns = (_exact_columns if plan.exact and test in REFITTED else _fixed_columns)
                body = columns(plan, design, test, tile, rotated, outside, sums[TESTS[test]])
                parts.append(_frame(plan, design, test, tile, start, body))
        start += tile.size
    if not parts:
        return pd.DataFrame()
    frame = pd.concat(parts).sort_values("variant", kind="stable").reset_index(drop=True)
    tail = ["df", "stat", "p", "neglog10p", "status"]
    frame = frame[[c for c in frame.columns if c not in tail] + tail]
    return with_messages(frame)


def _outside(plan: TraitScanPlan, tile: Tile, rotated: Floats) -> Floats:
    """Sum of squares of each row that lies outside of the basis."""
    outside = np.zeros(len(rotated))
    if plan.fit.data.rotated.hidden:
        outside[: tile.size] = np.maximum(tile.sumsq - (rotated[: tile.size] ** 2).sum(axis=1), 0.0)
    return outside


def _sums(null: TraitNull, rotated: Floats, outside: Floats) -> tuple[Floats, Floats]:
    """For each row (rows, P) weighted sums of squares, and (rows, P, K + 1) products with design and residual."""
    P = null.T.shape[0]
    return rotated**2 @ null.weights + outside[:, None], (rotated @ null.linear).reshape(len(rotated), P, -1)


def _fixed_columns(
    plan: TraitScanPlan, design: TraitDesign, test: str, tile: Tile, rotated: Floats, outside: Floats,
    sums: tuple[Floats, Floats],
) -> dict[str, Any]:
    null = plan.nulls[TESTS[test]]
    tau = null.T @ np.hstack([design.base, design.effects])
    squares, linear = sums
    whole = np.einsum("sp,pk,pl->skl", squares, tau, tau)[: tile.size]
    both = np.einsum("spj,pk->skj", linear, tau)[: tile.size]
    covered = np.ascontiguousarray(both[:, :, :-1])
    S = whole - covered @ covered.transpose(0, 2, 1)
    m0, m = design.base.shape[1], design.effects.shape[1]
    own = np.einsum("kii->ki", whole)
    full = solve_sets(S, both[:, :, -1], own, m0 + m)
    explained = full.explained
    base = solve_sets(S, both[:, :, -1], own, m0).explained if m0 else np.zeros(tile.size)
    gain = np.maximum(explained - base, 0.0)
    if test in ("wald", "score"):
        stat = gain
        p, neglog10p = pvalues.from_chisq(stat, m)
    else:
        n, K = plan.fit.data.n * null.T.shape[0], linear.shape[2] - 1
        stat, p, neglog10p = statistic(test, gain, null.rss - base, n, K + m0, m, K)
    ok = full.full_rank
    return {"beta": full.beta[:, m0:], "cov": full.inverse[:, m0:, m0:], "stat": stat, "p": p, "neglog10p": neglog10p,
            "status": np.where(tile.missing == plan.fit.data.n, "missing", np.where(ok, "ok", "singular"))}


def _exact_columns(
    plan: TraitScanPlan, design: TraitDesign, test: str, tile: Tile, rotated: Floats, outside: Floats,
    sums: tuple[Floats, Floats],
) -> dict[str, Any]:
    fixed = _fixed_columns(plan, design, "wald" if test == "wald" else "score", tile, rotated, outside, sums)
    null, reml = plan.nulls[TESTS[test]], test == "wald"
    m0, m = design.base.shape[1], design.effects.shape[1]
    beta, cov, stat = fixed["beta"].copy(), fixed["cov"].copy(), np.full(tile.size, np.nan)
    status = fixed["status"].astype(object)
    for s in np.flatnonzero(status == "ok").tolist():
        x, out = rotated[s], float(outside[s])
        data = plan.fit.data.rotated.with_variant(x, out, np.hstack([design.base, design.effects]).T)
        at, converged = _refit(plan, data, null, reml)
        inverse = np.linalg.solve(at.precision, np.eye(len(at.beta)))
        beta[s], cov[s] = at.beta[-m:], inverse[-m:, -m:]
        if test == "wald":
            stat[s] = beta[s] @ np.linalg.solve(cov[s], beta[s])
        else:
            before = null.loglik
            if m0:
                smaller = plan.fit.data.rotated.with_variant(x, out, design.base.T)
                start, fitted = _refit(plan, smaller, null, reml)
                before, converged = full_loglik(smaller, start, reml), converged and fitted
            stat[s] = max(2.0 * (full_loglik(data, at, reml) - before), 0.0)
        if not converged:
            status[s] = "not_converged"
    p, neglog10p = pvalues.from_chisq(stat, m)
    return {"beta": beta, "cov": cov, "stat": stat, "p": p, "neglog10p": neglog10p, "status": status}


def _refit(plan: TraitScanPlan, data: traitkernel.RotatedTraits, null: TraitNull, reml: bool
           ) -> tuple[traitkernel.Evaluation, bool]:
    """Evaluation at covariances fitted anew, in the model's own forms, or on the boundary."""
    Cg, Cn, converged = null.Cg, null.Cn, False
    if all(f.form == "free" for f in plan.fit.forms) and not plan.fit.at_boundary:
        Cg, Cn, at, converged = traitkernel.maximise(data, Cg, Cn, reml, traitkernel.VARIANT_TOL)
        if converged:
            return at, True
    Cg, Cn, converged = fit_structured(data, plan.fit.forms, (Cg, Cn), reml)
    return traitkernel.evaluate(data, Cg, Cn, reml, derivatives=False), converged


def _frame(plan: TraitScanPlan, design: TraitDesign, test: str, tile: Tile, first: int, body: dict[str, Any]) -> pd.DataFrame:
    n, m = plan.fit.data.n, design.effects.shape[1]
    good = np.isin(body["status"], ("ok", "not_converged"))
    columns: dict[str, Any] = {"variant": np.arange(first, first + tile.size), "af": allele_frequency(tile.mean),
                               "n": n - tile.missing, "missing": tile.missing, "design": design.name, "test": test}
    cov = np.where(good[:, None, None], body["cov"], np.nan)
    for j in range(m):
        columns[f"beta_{j}"] = np.where(good, body["beta"][:, j], np.nan)
        columns[f"se_{j}"] = np.sqrt(cov[:, j, j])
    for j in range(m):
        for i in range(j):
            columns[f"cov_{i}_{j}"] = cov[:, i, j]
    columns["df"] = m
    for name in ("stat", "p", "neglog10p"):
        columns[name] = np.where(good, body[name], np.nan)
    columns["status"] = body["status"]
    return pd.DataFrame(columns)
