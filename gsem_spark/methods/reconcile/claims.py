"""The publication rule: what may be claimed of a locus, by thresholds that are settings and are printed beside the verdicts.

A claim of a common-factor SNP needs (1) the factor's p below its threshold, (2) a Q_SNP p above alpha over the number of factor
SNPs, (3) replication in an independent set of traits or cohorts; without a replication panel, or where the effect has the same
direction in panels too weak to tell, it awaits replication. A claim of a trait-specific SNP from MTAG needs the trait's maxFDR
below its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.thresholds import GENOME_WIDE_P, MAX_FDR_WARN, Q_SNP_ALPHA, REPLICATION_ALPHA, REPLICATION_POWER


@dataclass(frozen=True)
class ClaimRule:
    """Thresholds of the publication rule.

    Parameters
    ----------
    factor_p
        The factor's p must be below.
    q_alpha
        The Q_SNP p must be above this over the number of factor SNPs.
    max_fdr
        The trait's maxFDR must be below.
    replication_alpha
        One-sided level of replication.
    replication_power
        Panels with less power for the SNP (winner's curse removed) do not speak against it.
    """

    factor_p: float = GENOME_WIDE_P
    q_alpha: float = Q_SNP_ALPHA
    max_fdr: float = MAX_FDR_WARN
    replication_alpha: float = REPLICATION_ALPHA
    replication_power: float = REPLICATION_POWER

    def __post_init__(self) -> None:
        for name in ("factor_p", "q_alpha", "max_fdr", "replication_alpha", "replication_power"):
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise ConfigError(f"{name} is {value}", where=name, remedy="give a number in (0, 1)")

    def text(self, n_factor_snps: int) -> str:
        """Print the rule with its numbers."""
        q = self.q_alpha / max(n_factor_snps, 1)
        return (
            f"Common-factor SNP: factor p < {self.factor_p:g}; Q_SNP p > {q:.3g} ({self.q_alpha:g} over {n_factor_snps} factor "
            f"SNPs); same direction and one-sided p < {self.replication_alpha:g} in an independent panel. "
            f"Trait-specific SNP by MTAG: maxFDR of the trait < {self.max_fdr:g}."
        )


def factor_claims(
    leads: pd.DataFrame, n_factor_snps: int, replication: pd.DataFrame | None = None, rule: ClaimRule | None = None
) -> pd.DataFrame:
    """Judge the claim of a common-factor SNP for each lead.

    Parameters
    ----------
    leads
        ``snp p q_snp_p`` (NaN where Q_SNP is missing).
    n_factor_snps
        Genome-wide significant factor SNPs of the scan.
    replication
        From :func:`~gsem_spark.methods.reconcile.replication.replicate`, of one or more panels one below the other; None: there
        is no panel.
    rule
        Thresholds.

    Returns
    -------
    DataFrame
        ``snp``, ``significant``, ``homogeneous``, ``replicated`` (boolean with missing: not assessed), ``claim`` ("supported",
        "awaiting replication", "not supported") and ``why``, with the thresholds.
    """
    by = rule if rule is not None else ClaimRule()
    _require(leads, ("snp", "p", "q_snp_p"), "leads")
    p, q = (leads[c].to_numpy(np.float64, na_value=np.nan) for c in ("p", "q_snp_p"))
    q_limit = by.q_alpha / max(n_factor_snps, 1)
    significant = p < by.factor_p
    homogeneous = pd.array(np.where(np.isnan(q), False, q > q_limit), dtype="boolean")
    homogeneous[np.isnan(q)] = pd.NA
    panels = _panels(leads["snp"], replication)
    replicated = panels["replicated"].to_numpy()
    rows = [
        _factor_verdict(bool(s), _known(h), _known(r), float(w), by, q_limit)
        for s, h, r, w in zip(significant, homogeneous, replicated, panels["open_power"], strict=True)
    ]
    return pd.DataFrame({
        "snp": leads["snp"].to_numpy(), "significant": significant, "homogeneous": homogeneous,
        "replicated": panels["replicated"].array, "claim": [c for c, _ in rows], "why": [w for _, w in rows],
    })  # fmt: skip


def trait_claims(loci: pd.DataFrame, max_fdr: Mapping[str, float] | None, rule: ClaimRule | None = None) -> pd.DataFrame:
    """Judge the claim of a trait-specific SNP for each locus and trait that MTAG finds without the factor.

    Parameters
    ----------
    loci
        ``locus snp factor_sig mtag_traits`` of :func:`~gsem_spark.methods.reconcile.loci.reconcile_loci`.
    max_fdr
        By trait; None, or a trait without one: not assessed.
    rule
        Thresholds.

    Returns
    -------
    DataFrame
        ``locus snp trait max_fdr claim why``; claim is "supported", "not supported" or "not assessed".
    """
    by = rule if rule is not None else ClaimRule()
    _require(loci, ("locus", "snp", "factor_sig", "mtag_traits"), "loci")
    known = dict(max_fdr or {})
    rows = []
    for locus in loci[~loci["factor_sig"].astype(bool)].to_dict("records"):
        for trait in filter(None, str(locus["mtag_traits"]).split(",")):
            bound = float(known.get(trait, np.nan))
            if np.isnan(bound):
                claim, why = "not assessed", f"maxFDR of {trait} is unknown (limit {by.max_fdr:g})"
            elif bound < by.max_fdr:
                claim, why = "supported", f"maxFDR of {trait} is {bound:.3g} < {by.max_fdr:g}"
            else:
                claim, why = "not supported", f"maxFDR of {trait} is {bound:.3g}, not below {by.max_fdr:g}"
            rows.append((locus["locus"], locus["snp"], trait, bound, claim, why))
    return pd.DataFrame(rows, columns=["locus", "snp", "trait", "max_fdr", "claim", "why"])


def _factor_verdict(
    significant: bool, homogeneous: bool | None, replicated: bool | None, open_power: float, by: ClaimRule, q_limit: float
) -> tuple[str, str]:
    if not significant:
        return "not supported", f"factor p is not below {by.factor_p:g}"
    if homogeneous is None:
        return "not supported", "Q_SNP is missing, so that heterogeneity cannot be excluded"
    if not homogeneous:
        return "not supported", f"Q_SNP p is not above {q_limit:.3g}: the SNP does not act through the factor alone"
    if replicated is None:
        return "awaiting replication", "no independent panel has this SNP"
    if not replicated and open_power < by.replication_power:
        return "awaiting replication", (
            f"same direction, one-sided p not below {by.replication_alpha:g}, but the power was {open_power:.2f}, below "
            f"{by.replication_power:g}"
        )
    if not replicated:
        return "not supported", f"not replicated: other direction or one-sided p not below {by.replication_alpha:g}"
    return "supported", f"factor p < {by.factor_p:g}, Q_SNP p > {q_limit:.3g}, replicated at {by.replication_alpha:g}"


def _panels(snps: pd.Series, replication: pd.DataFrame | None) -> pd.DataFrame:
    """What the panels that have a SNP say: ``replicated`` by any of them (missing where none has it), and ``open_power``.

    ``open_power`` is the largest power of a panel where all effects have the lead's direction; infinite where one has not, for
    then power is no excuse.
    """
    out = pd.DataFrame({"snp": snps.to_numpy()})
    if replication is None:
        return out.assign(replicated=pd.array([pd.NA] * len(out), dtype="boolean"), open_power=np.inf)
    _require(replication, ("snp", "found", "same_direction", "power_corrected", "replicated"), "replication")
    found = replication[replication["found"].astype(bool)]
    by_snp = found.assign(
        same=found["same_direction"].astype("boolean").fillna(False).astype(bool), replicated=found["replicated"].astype(bool)
    ).groupby("snp").agg(replicated=("replicated", "any"), same=("same", "all"), power=("power_corrected", "max"))
    excuse = by_snp["power"].where(by_snp["same"], np.inf).fillna(np.inf)
    return out.assign(
        replicated=out["snp"].map(by_snp["replicated"]).astype("boolean"), open_power=out["snp"].map(excuse).fillna(np.inf)
    )


def _known(value: object) -> bool | None:
    return None if value is pd.NA or value is None else bool(value)


def _require(frame: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    absent = [c for c in columns if c not in frame.columns]
    if absent:
        raise DataError(f"columns {', '.join(absent)} are missing", where=where, remedy=f"give {' '.join(columns)}")
