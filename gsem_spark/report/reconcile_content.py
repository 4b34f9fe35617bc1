"""What the report's sections on MTAG, on the reconciliation and on the review are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


def _empty() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True)
class ReconcileContent:
    """A reconciliation of a factor GWAS with MTAG.

    Parameters
    ----------
    run_id, mtag_run
        The reconciliation and the MTAG run.
    summary, weights
        MTAG's tables by trait, as :mod:`gsem_spark.methods.mtag` makes them.
    mtag_warnings
        What was found against MTAG's assumptions.
    max_fdr
        Bound by trait; empty where it was not searched for.
    loci, effects
        Rows of ``reconciled_loci`` and ``reconciled_effects``.
    patterns
        Loci by pattern.
    rule
        The publication rule with its numbers.
    concordance, trait_claims, replication
        Records of the tables of these names; None for a replication that was not made.
    primary
        ``seen cause action`` where the run as a whole has a pattern.
    factor_points, mtag_points
        Thinned scans for the Miami plot: ``chr bp neglog10p``.
    warnings
        Of the reconciliation.
    """

    run_id: str
    mtag_run: str
    summary: pd.DataFrame
    weights: pd.DataFrame
    loci: pd.DataFrame
    effects: pd.DataFrame
    patterns: Mapping[str, int]
    rule: str
    concordance: Sequence[Mapping[str, Any]]
    trait_claims: Sequence[Mapping[str, Any]]
    mtag_warnings: tuple[str, ...] = ()
    max_fdr: Mapping[str, float] = field(default_factory=dict)
    replication: Sequence[Mapping[str, Any]] | None = None
    sign_test: Mapping[str, Any] | None = None
    primary: Mapping[str, str] | None = None
    factor_points: pd.DataFrame = field(default_factory=_empty)
    mtag_points: pd.DataFrame = field(default_factory=_empty)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReviewContent:
    """A review: its items (``question verdict number place``) and what it says besides."""

    run_id: str
    items: pd.DataFrame
    warnings: tuple[str, ...] = ()
