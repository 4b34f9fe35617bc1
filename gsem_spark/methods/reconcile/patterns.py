"""What it means where Genomic SEM and MTAG agree and where they do not: the patterns as data, and each locus held against them.

A locus is described by four things: whether the factor's SNP effect, Q_SNP, each trait's MTAG and each trait's own GWAS are
significant; and whether MTAG's effects point where the factor and its loadings say. Several patterns may hold at once: all are
told, and the first in the table that holds is the locus's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pattern:
    """One row of the table.

    Parameters
    ----------
    code
        Short name, kept in tables.
    seen
        What is seen.
    cause
        Its likely cause.
    action
        What to do.
    """

    code: str
    seen: str
    cause: str
    action: str


PATTERNS: Final = (
    Pattern("opposite", "factor and MTAG significant, opposite directions",
            "sample overlap mis-specified, or a sign error when a file was read",
            "munge again with one allele convention and run LD score regression again; report nothing before"),
    Pattern("common_factor", "factor significant, MTAG significant for all traits", "a SNP of the common factor",
            "report, high confidence"),
    Pattern("one_trait_dominant", "factor significant, MTAG significant in one trait only",
            "one trait dominates, heterogeneity (Q_SNP) is likely",
            "look at Q_SNP: if it is significant, this is not a factor SNP"),
    Pattern("common_factor_partly", "factor significant, MTAG significant in several traits, not in all",
            "a SNP of the common factor, short of power in the other traits or not acting on them",
            "look at Q_SNP and at the forest of effects; report with the traits named"),
    Pattern("factor_only", "factor significant, MTAG in no trait, and no trait's GWAS significant",
            "power gained by pooling small effects of all traits, or inflation of the factor GWAS",
            "look at the factor GWAS's intercept; report only with replication"),
    Pattern("factor_without_mtag", "factor significant, MTAG in no trait, some trait's GWAS significant",
            "MTAG shrinks the trait's effect towards the others': heterogeneity is likely",
            "look at Q_SNP and at the forest of effects"),
    Pattern("trait_specific_mtag", "MTAG significant, factor not, Q_SNP significant",
            "a trait-specific SNP that MTAG's weights carry over to other traits",
            "report as trait-specific, for traits whose maxFDR allows it"),
    Pattern("one_trait_gwas", "one trait's GWAS significant, the factor not", "trait-specific architecture",
            "do not force it into the common factor"),
    Pattern("power_lost", "factor and MTAG not significant, a GWAS significant",
            "power lost in the multivariate parameterisation", "check the overlap in V again"),
    Pattern("mtag_only", "MTAG significant, factor not, Q_SNP not significant",
            "the factor effect is short of power, or a hit borrowed from a stronger trait",
            "hold back unless maxFDR allows it and it replicates"),
    Pattern("q_only", "Q_SNP significant, nothing else",
            "effects of opposite direction on the traits", "report as heterogeneous; no factor SNP"),
    Pattern("none", "nothing significant", "no association", "nothing to report"),
)  # fmt: skip
"""Patterns of a locus, in the order in which the first that holds names it."""

RUN_PATTERN: Final = Pattern(
    "mtag_assumption", "maxFDR above its limit, Genomic SEM with Q_SNP available",
    "MTAG's assumption of one Omega for all SNPs is violated", "make Genomic SEM the primary analysis",
)  # fmt: skip
"""The pattern of a whole run."""

BY_CODE: Final = {p.code: p for p in (*PATTERNS, RUN_PATTERN)}


@dataclass(frozen=True)
class Classified:
    """Loci with their patterns.

    Parameters
    ----------
    pattern
        (m,) codes of the first pattern that holds.
    holds
        (m, patterns) all that hold, columns in the order of :data:`PATTERNS`.
    """

    pattern: NDArray[np.str_]
    holds: Bools

    def also(self) -> list[str]:
        """Codes of the other patterns that hold, joined by commas; "" for none."""
        codes = np.array([p.code for p in PATTERNS])
        return [", ".join(c for c in codes[row] if c != first) for row, first in zip(self.holds, self.pattern, strict=True)]


def classify(factor: ArrayLike, q_snp: ArrayLike, mtag: ArrayLike, gwas: ArrayLike, opposite: ArrayLike) -> Classified:
    """Hold loci against the patterns, all at once.

    Parameters
    ----------
    factor, q_snp
        (m,) whether the factor's effect and Q_SNP are significant.
    mtag, gwas
        (m, k) whether each trait's MTAG result and own GWAS are significant.
    opposite
        (m,) whether a significant MTAG effect points against the factor's effect times the trait's loading.

    Raises
    ------
    DataError
        When shapes disagree.
    """
    f, q, o = (np.asarray(a, dtype=np.bool_).ravel() for a in (factor, q_snp, opposite))
    M, G = np.atleast_2d(np.asarray(mtag, dtype=np.bool_)), np.atleast_2d(np.asarray(gwas, dtype=np.bool_))
    if M.shape != G.shape or not (len(M) == f.size == q.size == o.size):
        raise DataError(
            f"loci disagree: factor {f.size}, Q_SNP {q.size}, opposite {o.size}, MTAG {M.shape}, GWAS {G.shape}",
            remedy="give one row a locus and one column a trait",
        )
    n_mtag, n_gwas, k = M.sum(axis=1), G.sum(axis=1), M.shape[1]
    any_mtag, any_gwas = n_mtag > 0, n_gwas > 0
    # A lone GWAS hit without MTAG and without heterogeneity is rather lost power than another architecture.
    own_architecture = any_mtag | q
    rules = {
        "opposite": f & any_mtag & o,
        "common_factor": f & (n_mtag == k),
        "one_trait_dominant": f & (n_mtag == 1) & (k > 1),
        "common_factor_partly": f & (n_mtag > 1) & (n_mtag < k),
        "factor_only": f & ~any_mtag & ~any_gwas,
        "factor_without_mtag": f & ~any_mtag & any_gwas,
        "trait_specific_mtag": ~f & any_mtag & q,
        "one_trait_gwas": ~f & (n_gwas == 1) & own_architecture,
        "power_lost": ~f & ~any_mtag & any_gwas,
        "mtag_only": ~f & any_mtag & ~q,
        "q_only": ~f & ~any_mtag & ~any_gwas & q,
        "none": ~f & ~any_mtag & ~any_gwas & ~q,
    }
    holds = np.column_stack([rules[p.code] for p in PATTERNS]) if f.size else np.zeros((0, len(PATTERNS)), dtype=np.bool_)
    codes = np.array([p.code for p in PATTERNS])
    return Classified(codes[holds.argmax(axis=1)] if f.size else codes[:0], holds)


def primary_analysis(max_fdr: ArrayLike, limit: float, *, q_snp_available: bool) -> Pattern | None:
    """Return the run's pattern where a trait's maxFDR is above the limit and Genomic SEM can take over; else None."""
    above = np.asarray(max_fdr, np.float64) > limit
    return RUN_PATTERN if q_snp_available and bool(above.any()) else None
