"""Covariance structures, the block sums they come from, and the models fitted to them."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import Column, TableSchema

LDSC_BLOCKS = TableSchema(
    "ldsc_blocks", "block sums of LD score regression: its sufficient statistics", ("blocks_id", "trait_1", "trait_2", "block"),
    ("blocks_id",), ("blocks_id",),
    (
        Column("blocks_id", "string", "hash of panel version, the pair's trait versions and settings", nullable=False),
        Column("panel", "string", "LD-score panel", nullable=False),
        Column("trait_1", "string", "first trait of the pair", nullable=False),
        Column("trait_2", "string", "second trait; the same for heritability", nullable=False),
        Column("block", "int", "jackknife block, 0-based", nullable=False, low=0),
        Column("n_snps", "long", "SNPs of the pair in the block", nullable=False, low=0),
        Column("xtx", "array<double>", "XᵀWX of the block: 2 x 2, row-major (LD score, intercept)", nullable=False),
        Column("xty", "array<double>", "XᵀWy of the block: 2", nullable=False),
        Column("pair", "string", "pair-wide sums as JSON: SNPs, mean N, mean χ², λGC, weights' aggregate h2", nullable=False),
    ),
)
COVSTRUCTS = TableSchema(
    "covstructs", "genetic covariance structures: S, V, I, N, M", ("covstruct_id",), ("covstruct_id",), ("covstruct_id",),
    (
        Column("covstruct_id", "string", "hash of inputs and settings", nullable=False),
        Column("traits", "array<string>", "trait order of every matrix", nullable=False),
        Column("S", "array<double>", "genetic covariance, k x k row-major", nullable=False),
        Column("V", "array<double>", "sampling covariance of vech(S), column-wise lower triangle, k* x k* row-major", nullable=False),
        Column("I", "array<double>", "LDSC intercepts, k x k row-major", nullable=False),
        Column("N", "array<double>", "sample sizes per element of vech(S)", "samples", nullable=False),
        Column("M", "double", "SNPs of the LD-score panel; null where unknown", "SNPs", low=0),
        Column("sample_prevalence", "array<double>", "share of cases in the samples; NaN for observed-scale traits", nullable=False),
        Column("population_prevalence", "array<double>", "share of cases in the population; NaN likewise", nullable=False),
        Column("diagnostics", "string", "per-trait and per-pair LDSC figures, JSON", nullable=False),
        Column("settings", "string", "LDSC settings, JSON", nullable=False),
        Column("inputs", "map<string,string>", "versions of the input tables", nullable=False),
    ),
)
FITS = TableSchema(
    "fits", "fitted models on a covariance structure", ("fit_id",), ("fit_id",), ("fit_id",),
    (
        Column("fit_id", "string", "hash of covstruct, model and settings", nullable=False),
        Column("covstruct_id", "string", "the covariance structure", nullable=False),
        Column("model", "string", "model in lavaan syntax", nullable=False),
        Column("estimation", "string", "DWLS or ML", nullable=False, values=("DWLS", "ML")),
        Column("parameters", "string", "parameter table, JSON records", nullable=False),
        Column("indices", "string", "fit indices, JSON", nullable=False),
        Column("messages", "array<string>", "what a reader must know: smoothing, Heywood cases, convergence", nullable=False),
        Column("fit", "string", "the whole fit, JSON: matrices, covariance of the estimates, how the estimation ended", nullable=False),
    ),
)
