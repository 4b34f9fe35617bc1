"""Multi-trait analysis of GWAS (MTAG): Omega, per-SNP estimates of every trait, and the bound of their false discovery rate."""

from gsem_spark.methods.mtag.assumptions import AssumptionLimits, Finding, check_assumptions
from gsem_spark.methods.mtag.columns import META_COLUMNS, TRAIT_COLUMNS, reference_columns
from gsem_spark.methods.mtag.estimate import (
    MtagColumns,
    MtagEstimate,
    MtagModel,
    checked_sigma,
    estimate,
    fixed_omega,
    mtag_model,
    unstandardise,
)
from gsem_spark.methods.mtag.fdr import FdrProblem, fdr_at, fdr_problem
from gsem_spark.methods.mtag.filters import TraitFilter, align, filter_trait, strand_ambiguous
from gsem_spark.methods.mtag.lattice import Lattice, grid
from gsem_spark.methods.mtag.maxfdr import GridBest, MaxFdr, conclude, max_fdr, merge_best, search
from gsem_spark.methods.mtag.numerical import OmegaSearch, group_by_n, numerical_omega, searched_omega
from gsem_spark.methods.mtag.omega import OmegaSums, estimate_omega, merge_omega_sums, omega_gmm, omega_sums
from gsem_spark.methods.mtag.spike_slab import SpikeSlab, spike_slab
from gsem_spark.methods.mtag.summary import equivalent_n, merge_scan_sums, scan_sums, summary_table, weights_table

__all__ = [
    "META_COLUMNS", "TRAIT_COLUMNS", "AssumptionLimits", "FdrProblem", "Finding", "GridBest", "Lattice", "MaxFdr", "MtagColumns",
    "MtagEstimate", "MtagModel", "OmegaSearch", "OmegaSums", "SpikeSlab", "TraitFilter", "align", "check_assumptions",
    "checked_sigma", "conclude", "equivalent_n", "estimate", "estimate_omega", "fdr_at", "fdr_problem", "filter_trait",
    "fixed_omega", "grid", "group_by_n", "max_fdr", "merge_best", "merge_omega_sums", "merge_scan_sums", "mtag_model",
    "numerical_omega", "omega_gmm", "omega_sums", "reference_columns", "scan_sums", "search", "searched_omega", "spike_slab",
    "strand_ambiguous", "summary_table", "unstandardise", "weights_table",
]  # fmt: skip
