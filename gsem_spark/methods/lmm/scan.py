"""Association of variants with a trait under a mixed model: prepared once, then block by block.

``prepare_scan`` fits the null model and folds kinship, covariates and phenotype into a ``ScanPlan``, which can be broadcast;
``scan_block`` tests a block of variants against it and holds no state, so that results do not depend on how variants are cut
into blocks. ``scan`` does both on arrays in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import exact as refits
from gsem_spark.methods.lmm.checks import as_design, as_vector, dependent_columns, spans_constant
from gsem_spark.methods.lmm.exact_kernel import OK
from gsem_spark.methods.lmm.hard_calls import Products, tile_products
from gsem_spark.methods.lmm.null import LmmFit, fit_lmm
from gsem_spark.methods.lmm.rotation import Spectrum, background_spectrum, eigen_rotation, kinship_spectrum
from gsem_spark.methods.lmm.statistics import NULL_OF, REFITTED, check_tests, statistic, tail
from gsem_spark.methods.lmm.tiles import Tile, as_block
from gsem_spark.methods.lmm.whiten import Precision, Whitening, prepare_whitening

Floats = NDArray[np.float64]

SINGULAR_RTOL: Final = 1e-8
"""A variant whose sum of squares beside the covariates is below this share of its own is a combination of them."""
MESSAGES: Final = {
    "missing": "all genotypes are missing",
    "singular": "the variant does not vary, or is a combination of covariates or of other variants of its set",
    "not_converged": "no optimum of the variance components found within the iteration limit",
}


@dataclass(frozen=True)
class ScanPlan:
    """A null model ready for tests; frozen, picklable, and of arrays that may be memory-mapped.

    Parameters
    ----------
    tests
        Names of ``statistics.statistic``.
    n, c
        Samples and covariates.
    centre
        Whether variants are centred first: the covariates hold an intercept, so that nothing changes but rounding.
    inter, inter0
        (n, e) environments of the interaction and of the smaller hypothesis; None without.
    step
        Consecutive variants a joint test.
    whitenings
        Null models by "reml" and "ml", those that the tests need.
    null
        The fitted null models by "reml" and "ml".
    exact
        Rotated data where variance components are fitted anew.
    """

    tests: tuple[str, ...]
    n: int
    c: int
    centre: bool
    inter: Floats | None
    inter0: Floats | None
    step: int
    whitenings: dict[str, Whitening]
    null: dict[str, LmmFit]
    exact: refits.ExactNull | None


def scan(
    G: ArrayLike, y: ArrayLike, X: ArrayLike | None = None, K: ArrayLike | Spectrum | None = None, W: ArrayLike | None = None,
    inter: ArrayLike | None = None, inter0: ArrayLike | None = None, step: int = 1, test: str | Sequence[str] = "wald_f",
    exact: bool = False, sets: Sequence[Sequence[int]] | None = None, precision: Precision = "float64",
) -> pd.DataFrame:
    """Test every variant, or every set of variants, for association with a trait.

    Parameters
    ----------
    G
        (n, S) genotypes, samples in rows: dosages of the counted allele; NaN (or a negative int8) is missing and takes the
        variant's mean.
    y
        (n,) phenotype.
    X
        (n, c) covariates including the intercept; None for an intercept alone.
    K, W
        Kinship (n, n), or background (n, r) with kinship W Wᵀ; neither: independent samples. Not both.
    inter
        (n, e) environments: genotype × environment effects are tested. The smaller hypothesis has no effect of the variant
        unless ``inter0`` gives it one. Main effects of the environments themselves belong into X.
    inter0
        (n, e0) environments of the smaller hypothesis, a column of ones for the variant's main effect. Three tests a variant:
        ``common`` (inter0 against nothing), ``any`` (inter0 and inter against nothing), ``interaction`` (any against common).
    step
        Consecutive variants tested jointly. A shorter last set is tested too (limix-lmm drops it).
    test
        One or several of ``statistics.statistic``: ``wald_f`` (the default), ``wald_chi2``, ``lrt_ml``, ``score``,
        ``score_chi2``, ``limix_lrt``.
    exact
        Variance components fitted anew for every variant, as in GEMMA, for the Wald tests (REML) and ``lrt_ml`` (ML); otherwise
        they stay at the null's (EMMAX, limix-lmm). Single variants without interaction only.
    sets
        Positions of the variants of each joint test, in place of ``step``.
    precision
        ``"float32"`` multiplies by the kinship's factors in single precision: statistics are good to 1e-5, dosages take half the
        time, hard calls (which are looked up in double precision) hardly less.

    Returns
    -------
    DataFrame
        A row a variant and test: variant (position), af (of the counted allele; NaN for values outside of 0 to 2), n (calls),
        missing, test, beta, se, df, stat, p, neglog10p, status (ok, missing, singular, not_converged) and message; with ``exact``
        also hsq and loglik (all constants) of the variant's own fit. For sets and interactions a row a set, hypothesis
        (effect, common, any, interaction) and test, with size, and with beta_j and se_j, environment-major, where there is more
        than one effect.

    Raises
    ------
    DataError, ConfigError
        When the inputs of the null model are not usable, or settings exclude each other. A bad variant never raises: its row has
        NaN, a status and a message.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> G = rng.integers(0, 3, (100, 4))
    >>> hits = scan(G, G[:, 2] + rng.normal(size=100))
    >>> int(hits["neglog10p"].idxmax())
    2
    """
    values = as_vector(y)
    genotypes = np.asarray(G)
    if genotypes.ndim == 1:
        genotypes = genotypes[:, None]
    if genotypes.ndim != 2 or len(genotypes) != len(values):
        raise DataError(f"genotypes of the shape {genotypes.shape} meet {len(values)} phenotypes", where="G",
                        remedy="give samples in rows, in the order of the phenotype")
    plan = prepare_scan(values, X, K, W, inter, inter0, step, test, exact, precision)
    return scan_block(plan, genotypes.T, sets=sets)


def prepare_scan(
    y: ArrayLike, X: ArrayLike | None = None, K: ArrayLike | Spectrum | None = None, W: ArrayLike | None = None,
    inter: ArrayLike | None = None, inter0: ArrayLike | None = None, step: int = 1, test: str | Sequence[str] = "wald_f",
    exact: bool = False, precision: Precision = "float64", names: Sequence[str] | None = None,
) -> ScanPlan:
    """Fit the null model and fold it into what a block of variants needs; arguments and errors of ``scan``."""
    tests = check_tests(test if isinstance(test, str) else tuple(test))
    values = as_vector(y)
    design, labels = as_design(X, len(values), names)
    _check_settings(step, exact, inter, inter0, K, W)
    environments = _environments(inter, inter0, len(values))
    spectrum = _spectrum(K, W, len(values))
    centre = environments[0] is None and spans_constant(design)
    whitenings, null = {}, {}
    refitted = REFITTED if exact else frozenset[str]()
    for kind in ("reml", "ml"):
        if all(NULL_OF[t] != kind for t in tests):
            continue
        fit = fit_lmm(eigen_rotation(spectrum, values, design, list(labels)), reml=kind == "reml")
        null[kind] = fit
        if any(NULL_OF[t] == kind and t not in refitted for t in tests):
            whitenings[kind] = prepare_whitening(spectrum, values, design, min(fit.hsq, refits_bound()), precision)
    rotated = refits.prepare_exact(spectrum, values, design, precision) if refitted & set(tests) else None
    return ScanPlan(tests, len(values), design.shape[1], centre, *environments, step, whitenings, null, rotated)


def refits_bound() -> float:
    """Largest hsq a whitening stands at: some residual variance is needed to turn H."""
    return float(1.0 / (1.0 + np.exp(-refits.LOG_RATIO_MAX)))


def _check_settings(step: int, exact: bool, inter: object, inter0: object, K: object, W: object) -> None:
    if K is not None and W is not None:
        raise ConfigError("both a kinship K and a background W were given", where="scan", remedy="give one of them")
    if step < 1:
        raise ConfigError(f"step is {step}, but a test has at least one variant", where="step")
    if exact and (inter is not None or step > 1):
        raise ConfigError("exact tests are of single variants without interaction", where="exact", remedy="leave out `exact`")
    if inter0 is not None and inter is None:
        raise ConfigError("inter0 is the smaller hypothesis of an interaction, but there is no inter", where="inter0",
                          remedy="give `inter`, or leave out `inter0`")


def _environments(inter: ArrayLike | None, inter0: ArrayLike | None, n: int) -> tuple[Floats | None, Floats | None]:
    columns: list[Floats | None] = []
    for name, given in (("inter", inter), ("inter0", inter0)):
        if given is None:
            columns.append(None)
            continue
        values = np.asarray(given, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or len(values) != n or not np.isfinite(values).all():
            raise DataError(f"environments are {n} complete rows, these have the shape {values.shape}"
                            + ("" if np.isfinite(values).all() else " and missing values"), where=name)
        columns.append(values)
    both = [c for c in reversed(columns) if c is not None]
    if both and (bad := dependent_columns(np.hstack(both))):
        smaller = both[0].shape[1] if len(both) == 2 else 0
        raise DataError(f"environments {[j - smaller for j in bad]} are combinations of others or of inter0", where="inter",
                        remedy="leave them out")
    return columns[0], columns[1]


def _spectrum(K: ArrayLike | Spectrum | None, W: ArrayLike | None, n: int) -> Spectrum:
    if W is not None:
        spectrum = background_spectrum(W)
    elif K is None:
        return Spectrum(np.empty(0), np.empty((n, 0)))
    else:
        spectrum = K if isinstance(K, Spectrum) else kinship_spectrum(K, n)
    if spectrum.n != n:
        raise DataError(f"the {'background' if W is not None else 'kinship'} has {spectrum.n} samples, the phenotype {n}",
                        where="W" if W is not None else "K", remedy="match both by sample")
    return spectrum


def scan_block(plan: ScanPlan, block: ArrayLike, sets: Sequence[Sequence[int]] | None = None, first: int = 0) -> pd.DataFrame:
    """Test a block of variants.

    Parameters
    ----------
    plan
        From ``prepare_scan``.
    block
        (S, n) genotypes, variants in rows, int8 (negative is missing), float32 or float64 (NaN is missing). A set of variants
        must lie in one block.
    sets
        Positions in the block of the variants of each joint test, in place of the plan's ``step``.
    first
        Number added to positions, where the block is a part of something larger.

    Returns
    -------
    DataFrame
        See ``scan``. The same rows, to the last bit, however variants are cut into blocks.
    """
    genotypes = as_block(block, plan.n)
    if sets is None and plan.step == 1 and plan.inter is None:
        return _single_variants(plan, genotypes, first)
    from gsem_spark.methods.lmm.interactions import scan_sets

    groups = [list(s) for s in sets] if sets is not None else [
        list(range(a, min(a + plan.step, len(genotypes)))) for a in range(0, len(genotypes), plan.step)]
    return scan_sets(plan, genotypes, groups, first)


def _single_variants(plan: ScanPlan, genotypes: NDArray[Any], first: int) -> pd.DataFrame:
    parts: dict[str, list[dict[str, Any]]] = {test: [] for test in plan.tests}
    counts: list[tuple[Floats, NDArray[np.int64]]] = []
    bases: dict[str, NDArray[np.floating]] = {kind: whitening.columns for kind, whitening in plan.whitenings.items()}
    if plan.exact is not None:
        bases["exact"] = plan.exact.basis
    factors = {kind: whitening.factor for kind, whitening in plan.whitenings.items()}
    for tile, products in tile_products(genotypes, plan.centre, bases, factors):
        counts.append((tile.mean, tile.missing))
        columns = _test_tile(plan, tile, products)
        for test in plan.tests:
            parts[test].append(columns[test])
    frames = []
    size = len(genotypes)
    mean = np.concatenate([c[0] for c in counts]) if counts else np.empty(0)
    missing = np.concatenate([c[1] for c in counts]) if counts else np.empty(0, dtype=np.int64)
    head = {"variant": np.arange(first, first + size), "af": allele_frequency(mean), "n": plan.n - missing, "missing": missing}
    for test in plan.tests:
        body = {k: np.concatenate([p[k] for p in parts[test]]) if parts[test] else np.empty(0) for k in _columns(plan, test)}
        frames.append(pd.DataFrame({**head, "test": test, **body}))
    frame = frames[0] if len(frames) == 1 else pd.concat(frames).sort_values("variant", kind="stable").reset_index(drop=True)
    return with_messages(frame)


def with_messages(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column that says in words what is wrong with a row; None for an ok one."""
    messages = np.full(len(frame), None, dtype=object)
    status = frame["status"].to_numpy()
    for name, text in MESSAGES.items():
        messages[status == name] = text
    frame["message"] = messages
    return frame


def allele_frequency(mean: Floats) -> Floats:
    """Half the mean dosage where that is a frequency, else NaN (genotypes that were standardised before)."""
    with np.errstate(invalid="ignore"):
        return np.where((mean >= 0) & (mean <= 2), mean / 2, np.nan)


def _columns(plan: ScanPlan, test: str) -> list[str]:
    fitted = ["hsq", "loglik"] if plan.exact is not None else []
    return ["beta", "se", "df", "stat", "p", "neglog10p", "status", *fitted]


def _test_tile(plan: ScanPlan, tile: Tile, products: Products) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    fits = {}
    if plan.exact is not None:
        rotated = refits.rotated_tile(plan.exact, tile, products.rotated["exact"])
        for kind in ("reml", "ml"):
            if any(t in REFITTED and NULL_OF[t] == kind for t in plan.tests):
                fits[kind] = refits.fit_tile(plan.exact, rotated, tile.size, kind == "reml")
        alone = rotated.alone[: tile.size]
    sums = {}
    for kind, whitening in plan.whitenings.items():
        given = load_copy(tile) if len(plan.whitenings) > 1 else tile
        sums[kind] = whitening.sums(given, products.rotated[kind], products.squares[kind])
    for test in plan.tests:
        kind = NULL_OF[test]
        if plan.exact is not None and test in REFITTED:
            out[test] = _exact_columns(plan, test, fits[kind])
            free, own = alone, tile.sumsq
        else:
            out[test] = _fixed_columns(plan, test, plan.whitenings[kind], *sums[kind][:2])
            free, own = sums[kind][0], sums[kind][2]
        bad = (tile.missing == plan.n) | ~(free > SINGULAR_RTOL * own) | (tile.constant & plan.centre)
        _mark(out[test], bad, tile.missing == plan.n)
    return out


def load_copy(tile: Tile) -> Tile:
    """The tile with rows of its own: a whitening uses up those it is given."""
    return Tile(tile.rows.copy(), tile.mean, tile.missing, tile.sumsq, tile.constant)


def _fixed_columns(plan: ScanPlan, test: str, whitening: Whitening, xpx: Floats, xpy: Floats) -> dict[str, Any]:
    n, c = plan.n, plan.c
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = xpy / xpx
        explained = np.where(xpx > 0, beta * xpy, 0.0)
        stat, p, neglog10p = statistic(test, explained, whitening.rss, n, c, 1)
        se = np.sqrt(np.maximum(whitening.rss - explained, 0.0) / (n - c - 1) / xpx)
    columns: dict[str, Any] = {"beta": beta, "se": se, "df": np.ones(len(beta), dtype=np.int64), "stat": stat, "p": p,
                               "neglog10p": neglog10p, "status": np.full(len(beta), "ok", dtype=object)}
    if plan.exact is not None:
        columns |= {"hsq": np.full(len(beta), whitening.hsq), "loglik": np.full(len(beta), np.nan)}
    return columns


def _exact_columns(plan: ScanPlan, test: str, fits: refits.ExactFits) -> dict[str, Any]:
    null = plan.exact
    assert null is not None
    df = plan.n - plan.c - 1
    stat = np.maximum(2.0 * (fits.loglik - null.loglik_ml), 0.0) if test == "lrt_ml" else (fits.beta / fits.se) ** 2
    p, neglog10p = tail(test, stat, 1, df)
    status = np.where(fits.codes == OK, "ok", "not_converged").astype(object)
    return {"beta": fits.beta, "se": fits.se, "df": np.ones(len(stat), dtype=np.int64), "stat": stat, "p": p,
            "neglog10p": neglog10p, "status": status, "hsq": 1.0 / (1.0 + np.exp(-fits.log_ratio)), "loglik": fits.loglik}


def _mark(columns: dict[str, Any], bad: NDArray[np.bool_], missing: NDArray[np.bool_]) -> None:
    if not bad.any():
        return
    for name in ("beta", "se", "stat", "p", "neglog10p", "hsq", "loglik"):
        if name in columns:
            columns[name] = np.where(bad, np.nan, columns[name])
    columns["status"] = np.where(missing, "missing", np.where(bad, "singular", columns["status"])).astype(object)
