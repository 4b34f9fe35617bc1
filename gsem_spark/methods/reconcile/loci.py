"""One table of loci from both analyses: what is significant where, which pattern it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.reconcile.patterns import BY_CODE, classify
from gsem_spark.methods.reconcile.regions import regions_by_blocks, regions_by_distance
from gsem_spark.thresholds import CLUMP_WINDOW_BP, GENOME_WIDE_P, Q_SNP_ALPHA

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LocusRule:
    """What counts as significant, and what is one locus.

    Parameters
    ----------
    genome_wide_p
        For the factor, MTAG and each GWAS.
    q_alpha
        Family-wise level of Q_SNP over the factor SNPs.
    window_bp
        Distance clumping.
    """

    genome_wide_p: float = GENOME_WIDE_P
    q_alpha: float = Q_SNP_ALPHA
    window_bp: int = CLUMP_WINDOW_BP


@dataclass(frozen=True)
class HitTable:
    """All SNPs that are significant in some analysis, with what every analysis says of them; NaN where one has no result.

    Parameters
    ----------
    traits
        k names.
    snp, chromosome, bp
        (m,) names, chromosome codes, positions.
    factor_z, factor_neglog10p, q_neglog10p
        (m,) the factor's SNP effect and Q_SNP.
    mtag_z, mtag_neglog10p, gwas_z, gwas_neglog10p
        (m, k) MTAG and the input GWAS, effects on the factor's effect allele.
    """

    traits: tuple[str, ...]
    snp: NDArray[np.object_]
    chromosome: NDArray[np.int64]
    bp: NDArray[np.int64]
    factor_z: Floats
    factor_neglog10p: Floats
    q_neglog10p: Floats
    mtag_z: Floats
    mtag_neglog10p: Floats
    gwas_z: Floats
    gwas_neglog10p: Floats

    def __post_init__(self) -> None:
        m, k = len(self.snp), len(self.traits)
        for name, shape in (
            ("chromosome", (m,)), ("bp", (m,)), ("factor_z", (m,)), ("factor_neglog10p", (m,)), ("q_neglog10p", (m,)),
            ("mtag_z", (m, k)), ("mtag_neglog10p", (m, k)), ("gwas_z", (m, k)), ("gwas_neglog10p", (m, k)),
        ):  # fmt: skip
            if np.shape(getattr(self, name)) != shape:
                raise DataError(f"{name} has the shape {np.shape(getattr(self, name))}, not {shape}", where="hits")
        names = pd.Series(self.snp)
        if names.duplicated().any():
            raise DataError(f"{int(names.duplicated().sum())} rows repeat a SNP", where="hits", remedy="give one row a SNP")


def reconcile_loci(
    hits: HitTable, loadings: Floats, n_factor_snps: int, rule: LocusRule | None = None, blocks: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Put hits into loci and each locus into its pattern.

    Parameters
    ----------
    hits
        Significant SNPs of all analyses.
    loadings
        (k,) of the traits on the factor, for the directions.
    n_factor_snps
        Genome-wide significant factor SNPs of the whole scan: Q_SNP is held against ``q_alpha`` over their number.
    rule
        Settings.
    blocks
        LD blocks (:func:`~gsem_spark.methods.reconcile.regions.read_blocks`); by distance when None.

    Returns
    -------
    DataFrame
        One row a locus in genome order: ``locus chr start end n_snps``, the lead SNP (of the factor, where it is significant
        there, else the strongest of all) ``snp bp``, the strongest results in the locus ``factor_neglog10p mtag_neglog10p
        gwas_neglog10p``, ``q_neglog10p`` of the lead where the factor is significant, else the strongest, ``factor_sig q_sig``
        (likewise of the lead, or of any SNP), ``mtag_traits gwas_traits opposite_traits`` (names joined by commas),
        ``pattern also cause action``.
    """
    by = rule if rule is not None else LocusRule()
    loadings = np.asarray(loadings, np.float64)
    if loadings.shape != (len(hits.traits),):
        raise DataError(f"{loadings.size} loadings for {len(hits.traits)} traits", where="loadings")
    strongest = _strongest(hits)
    if blocks is None:
        region = regions_by_distance(hits.chromosome, hits.bp, strongest, by.window_bp)
    else:
        region = regions_by_blocks(hits.chromosome, hits.bp, strongest, blocks, by.window_bp)
    line = -np.log10(by.genome_wide_p)
    q_line = -np.log10(by.q_alpha / max(n_factor_snps, 1))
    with np.errstate(invalid="ignore"):
        significant = _Significant(
            hits.factor_neglog10p > line, hits.q_neglog10p > q_line, hits.mtag_neglog10p > line, hits.gwas_neglog10p > line,
        )
    members = [np.flatnonzero(region == r) for r in range(int(region.max(initial=-1)) + 1)]
    rows = [_locus(hits, at, strongest, significant, loadings) for at in members]
    return _table(rows, hits.traits)


@dataclass(frozen=True)
class _Significant:
    factor: NDArray[np.bool_]
    q_snp: NDArray[np.bool_]
    mtag: NDArray[np.bool_]
    gwas: NDArray[np.bool_]


@dataclass(frozen=True)
class _Locus:
    chromosome: int
    start: int
    end: int
    n_snps: int
    snp: str
    bp: int
    factor: bool
    q_snp: bool
    mtag: NDArray[np.bool_]
    gwas: NDArray[np.bool_]
    opposite: NDArray[np.bool_]
    strengths: tuple[float, float, float, float]


def _strongest(hits: HitTable) -> Floats:
    every = np.column_stack([hits.factor_neglog10p, hits.q_neglog10p, hits.mtag_neglog10p, hits.gwas_neglog10p])
    return np.asarray(np.where(np.isnan(every), -np.inf, every).max(axis=1, initial=-np.inf), dtype=np.float64)


def _locus(hits: HitTable, at: NDArray[np.intp], strongest: Floats, sig: _Significant, loadings: Floats) -> _Locus:
    factor = bool(sig.factor[at].any())
    by = np.where(np.isnan(hits.factor_neglog10p[at]), -np.inf, hits.factor_neglog10p[at]) if factor else strongest[at]
    lead = int(at[np.lexsort((hits.bp[at], -by))[0]])
    mtag: NDArray[np.bool_] = np.any(sig.mtag[at], axis=0)
    gwas: NDArray[np.bool_] = np.any(sig.gwas[at], axis=0)
    with np.errstate(invalid="ignore"):
        # Directions are compared at SNPs where both are significant; without one, at the lead.
        shared = at[sig.factor[at]] if factor else at[:0]
        against = hits.mtag_z[shared] * loadings * hits.factor_z[shared, None] < 0
        here = sig.mtag[shared] & against
        at_lead = (hits.mtag_z[lead] * loadings * hits.factor_z[lead] < 0) & mtag & ~sig.mtag[shared].any(axis=0)
    columns = (hits.factor_neglog10p, hits.q_neglog10p, hits.mtag_neglog10p, hits.gwas_neglog10p)
    strengths = [_largest(c[at]) for c in columns]
    if factor:  # the claim rests on the lead's own Q_SNP
        strengths[1] = float(hits.q_neglog10p[lead])
    return _Locus(
        int(hits.chromosome[lead]), int(hits.bp[at].min()), int(hits.bp[at].max()), at.size, str(hits.snp[lead]),
        int(hits.bp[lead]), factor, bool(sig.q_snp[lead]) if factor else bool(sig.q_snp[at].any()), mtag, gwas,
        (here.any(axis=0) | at_lead) if factor else np.zeros(loadings.size, dtype=np.bool_),
        (strengths[0], strengths[1], strengths[2], strengths[3]),
    )


def _largest(values: Floats) -> float:
    finite = values[~np.isnan(values)]
    return float(finite.max()) if finite.size else np.nan


def _table(rows: list[_Locus], traits: tuple[str, ...]) -> pd.DataFrame:
    k = len(traits)
    found = classify(
        [r.factor for r in rows], [r.q_snp for r in rows],
        np.array([r.mtag for r in rows], dtype=np.bool_).reshape(len(rows), k),
        np.array([r.gwas for r in rows], dtype=np.bool_).reshape(len(rows), k), [bool(r.opposite.any()) for r in rows],
    )

    def named(flags: NDArray[np.bool_]) -> str:
        return ",".join(t for t, on in zip(traits, flags, strict=True) if on)

    return pd.DataFrame({
        "locus": np.arange(1, len(rows) + 1, dtype=np.int32),
        "chr": np.array([r.chromosome for r in rows], dtype=np.int32),
        "start": np.array([r.start for r in rows], dtype=np.int64), "end": np.array([r.end for r in rows], dtype=np.int64),
        "n_snps": np.array([r.n_snps for r in rows], dtype=np.int32),
        "snp": np.array([r.snp for r in rows], dtype=object), "bp": np.array([r.bp for r in rows], dtype=np.int64),
        "factor_neglog10p": np.array([r.strengths[0] for r in rows], dtype=np.float64),
        "q_neglog10p": np.array([r.strengths[1] for r in rows], dtype=np.float64),
        "mtag_neglog10p": np.array([r.strengths[2] for r in rows], dtype=np.float64),
        "gwas_neglog10p": np.array([r.strengths[3] for r in rows], dtype=np.float64),
        "factor_sig": np.array([r.factor for r in rows], dtype=np.bool_),
        "q_sig": np.array([r.q_snp for r in rows], dtype=np.bool_),
        "mtag_traits": np.array([named(r.mtag) for r in rows], dtype=object),
        "gwas_traits": np.array([named(r.gwas) for r in rows], dtype=object),
        "opposite_traits": np.array([named(r.opposite) for r in rows], dtype=object),
        "pattern": found.pattern.astype(object), "also": np.array(found.also(), dtype=object),
        "cause": np.array([BY_CODE[str(c)].cause for c in found.pattern], dtype=object),
        "action": np.array([BY_CODE[str(c)].action for c in found.pattern], dtype=object),
    })  # fmt: skip
