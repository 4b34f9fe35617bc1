"""Joint tests: sets of variants, genotype × environment, and both; several effects a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.statistics import NULL_OF, statistic
from gsem_spark.methods.lmm.tiles import Tile, load_tile, tile_rows

if TYPE_CHECKING:
    from gsem_spark.methods.lmm.scan import ScanPlan
    from gsem_spark.methods.lmm.whiten import Whitening

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANK_RTOL: Final = 1e-8
"""Effects cannot be told apart when the smallest eigenvalue of their correlation, beside the covariates, is below this."""


@dataclass(frozen=True)
class Hypothesis:
    """One test of a set: ``effects`` beyond ``base`` (slices of the set's design columns)."""

    name: str
    base: slice
    effects: slice


@dataclass(frozen=True)
class SetFit:
    """Least squares of k sets of m columns: beta (k, m), inverse (k, m, m), explained (k,), whether the set has full rank."""

    beta: Floats
    inverse: Floats
    explained: Floats
    full_rank: NDArray[np.bool_]


def scan_sets(plan: ScanPlan, genotypes: NDArray[Any], groups: Sequence[Sequence[int]], first: int) -> pd.DataFrame:
    """Test sets of variants of a block jointly; see ``scan_block``.

    Notes
    -----
    The columns of a test are environment-major: all variants of the set times the first environment, then times the second, as
    in limix-lmm's Khatri-Rao product of (environments, genotypes). A set has the columns of the set's own size, so that a short
    last set has fewer degrees of freedom.

    Raises
    ------
    DataError
        When a set is empty, names a variant outside of the block, or has as many effects as there are samples.
    """
    environments = [e for e in (plan.inter0, plan.inter) if e is not None]
    columns = np.hstack(environments) if environments else None
    width = 1 if columns is None else columns.shape[1]
    _check_groups(groups, len(genotypes), width, plan)
    sizes = np.array([len(g) for g in groups], dtype=np.int64)
    frames = []
    for size in np.unique(sizes).tolist():
        members = np.flatnonzero(sizes == size)
        many = max(tile_rows(plan.n) // (size * width), 1)
        for start in range(0, len(members), many):
            chunk = members[start : start + many]
            variants = np.array([groups[i] for i in chunk], dtype=np.int64)
            frames.append(_test_chunk(plan, genotypes, variants, columns, chunk, first))
    return _order(frames, plan.step * width)


def _check_groups(groups: Sequence[Sequence[int]], size: int, width: int, plan: ScanPlan) -> None:
    for i, group in enumerate(groups):
        if not len(group) or min(group) < 0 or max(group) >= size:
            raise DataError(f"set {i} holds {list(group)[:5]}, the block has variants 0 to {size - 1}", where="sets")
        if len(group) * width >= plan.n - plan.c:
            raise DataError(f"set {i} has {len(group) * width} effects, but {plan.n} samples and {plan.c} covariates leave only "
                            f"{plan.n - plan.c} degrees of freedom", where="sets", remedy="make sets smaller")


def _test_chunk(plan: ScanPlan, genotypes: NDArray[Any], variants: Ints, columns: Floats | None, chunk: Ints, first: int
                ) -> pd.DataFrame:
    tiles = [load_tile(np.ascontiguousarray(genotypes[variants[:, s]]), 0, plan.centre) for s in range(variants.shape[1])]
    rows, k, m = _design_rows(tiles, columns)
    fits, rss = {}, {}
    for kind, whitening in plan.whitenings.items():
        products = _cross_products(whitening, rows, k, m)
        fits[kind] = {q.name: solve_sets(*products, q.effects.stop)
                      for q in hypotheses(plan, m) if q.name != "interaction"}
        rss[kind] = whitening.rss
    missing = np.max([t.missing for t in tiles], axis=0)
    gone = np.any([t.missing == plan.n for t in tiles], axis=0)
    parts = []
    for q in hypotheses(plan, m):
        for test in plan.tests:
            kind = NULL_OF[test]
            body = _test_columns(plan, test, q, fits[kind], rss[kind], gone)
            parts.append(pd.DataFrame({"set": chunk, "variant": variants[:, 0] + first, "size": variants.shape[1],
                                       "af": tiles[0].mean / 2 if len(tiles) == 1 else np.nan, "n": plan.n - missing,
                                       "missing": missing, "hypothesis": q.name, "test": test, **body}))
    return pd.concat(parts)


def hypotheses(plan: ScanPlan, m: int) -> list[Hypothesis]:
    """The tests of a set of m columns: one, or common, any and interaction where there is a smaller hypothesis."""
    if plan.inter0 is None or plan.inter is None:
        return [Hypothesis("any" if plan.inter is not None else "effect", slice(0, 0), slice(0, m))]
    e0, e1 = plan.inter0.shape[1], plan.inter.shape[1]
    small = m * e0 // (e0 + e1)
    return [Hypothesis("common", slice(0, 0), slice(0, small)), Hypothesis("any", slice(0, 0), slice(0, m)),
            Hypothesis("interaction", slice(0, small), slice(small, m))]


def _design_rows(tiles: list[Tile], columns: Floats | None) -> tuple[Floats, int, int]:
    """Design of k sets of m columns as (k * m, n) rows, filled up to whole tiles."""
    k, n = tiles[0].size, tiles[0].rows.shape[1]
    stacked = np.stack([t.rows[:k] for t in tiles], axis=1)
    if columns is not None:
        stacked = (stacked[:, None, :, :] * columns.T[None, :, None, :]).reshape(k, -1, n)
    m = stacked.shape[1]
    height = tile_rows(n)
    rows = np.zeros((-(-k * m // height) * height, n))
    rows[: k * m] = stacked.reshape(k * m, n)
    return rows, k, m


def _cross_products(whitening: Whitening, rows: Floats, k: int, m: int) -> tuple[Floats, Floats, Floats]:
    """Products ZᵀPZ (k, m, m), ZᵀPy (k, m) and the diagonal of ZᵀH⁻¹Z (k, m) of the sets; P as in ``Whitening.sums``."""
    both, white = [], []
    height = tile_rows(rows.shape[1])
    for start in range(0, len(rows), height):
        part = rows[start : start + height]
        both.append(part @ whitening.project)
        white.append(whitening.whiten_rows(part.copy()).astype(np.float64, copy=False))
    Z = np.ascontiguousarray(np.concatenate(white)[: k * m]).reshape(k, m, -1)
    small = np.concatenate(both)[: k * m]
    covered = np.ascontiguousarray(small[:, :-1]).reshape(k, m, -1)
    whole = Z @ Z.transpose(0, 2, 1)
    return whole - covered @ covered.transpose(0, 2, 1), small[:, -1].reshape(k, m), np.einsum("kii->ki", whole)


def solve_sets(S: Floats, v: Floats, own: Floats, m: int) -> SetFit:
    """Solve k sets of normal equations for their first m effects.

    Parameters
    ----------
    S, v
        (k, M, M) and (k, M) cross products beside the covariates.
    own
        (k, M) sums of squares with the covariates' part in them, by which what is left counts as nothing.
    m
        Effects.
    """
    S, v = S[:, :m, :m], v[:, :m]
    diagonal = np.einsum("kii->ki", S)
    alive = np.all((diagonal > RANK_RTOL * own[:, :m]) & (own[:, :m] > 0), axis=1)
    root = np.sqrt(np.where(alive[:, None], np.maximum(diagonal, 1e-300), 1.0))
    scaled = np.where(alive[:, None, None], S / (root[:, :, None] * root[:, None, :]), np.eye(m))
    full_rank = alive & (np.linalg.eigvalsh(scaled)[:, 0] > RANK_RTOL)
    scaled = np.where(full_rank[:, None, None], scaled, np.eye(m))
    inverse = np.linalg.solve(scaled, np.broadcast_to(np.eye(m), scaled.shape))
    reduced = v / root
    solution = np.einsum("kij,kj->ki", inverse, reduced)
    explained = np.einsum("ki,ki->k", solution, reduced)
    return SetFit(solution / root, inverse / (root[:, :, None] * root[:, None, :]), explained, full_rank)


def _test_columns(plan: ScanPlan, test: str, q: Hypothesis, fits: dict[str, SetFit], rss: float, gone: NDArray[np.bool_]
                  ) -> dict[str, Any]:
    full = fits["any" if q.name == "interaction" else q.name]
    base = fits["common"].explained if q.name == "interaction" else np.zeros(len(full.explained))
    m, m0 = q.effects.stop - q.effects.start, q.base.stop
    stat, p, neglog10p = statistic(test, np.maximum(full.explained - base, 0.0), rss - base, plan.n, plan.c + m0, m, plan.c)
    scale = np.maximum(rss - full.explained, 0.0) / (plan.n - plan.c - m0 - m)
    se = np.sqrt(scale[:, None] * np.einsum("kii->ki", full.inverse))
    ok = full.full_rank & ~gone
    out: dict[str, Any] = {"df": m}
    for j in range(m):
        out[f"beta_{j}"] = np.where(ok, full.beta[:, q.effects.start + j], np.nan)
        out[f"se_{j}"] = np.where(ok, se[:, q.effects.start + j], np.nan)
    out |= {name: np.where(ok, value, np.nan) for name, value in (("stat", stat), ("p", p), ("neglog10p", neglog10p))}
    out["status"] = np.where(gone, "missing", np.where(ok, "ok", "singular"))
    return out


def _order(frames: list[pd.DataFrame], effects_at_least: int) -> pd.DataFrame:
    from gsem_spark.methods.lmm.scan import with_messages

    if not frames:
        return pd.DataFrame()
    frame = pd.concat(frames).sort_values("set", kind="stable").reset_index(drop=True)
    # the same columns in every block of a plan, also where a block holds short sets alone
    effects = [f"{part}_{j}" for part in ("beta", "se") for j in range(max(int(frame["df"].max()), effects_at_least))]
    frame = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *effects])))
    frame = frame[["variant", "size", "af", "n", "missing", "hypothesis", "test", *effects, "df", "stat", "p", "neglog10p",
                   "status"]]
    if len(effects) == 2:
        frame = frame.rename(columns={"beta_0": "beta", "se_0": "se"})
    return with_messages(frame)
