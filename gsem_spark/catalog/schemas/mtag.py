"""MTAG: its model, its results, and the bound of its false discoveries."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import A1, A2, BP, CHR, NLP, RUN_ID, SNP, TRAIT, Column, P, TableSchema

MTAG_RUN = Column("mtag_run", "string", "MTAG run", nullable=False)
MTAG_MODELS = TableSchema(
    "mtag_models", "Omega and Sigma of MTAG runs, with what they came from", ("run_id",), ("run_id",), ("run_id",),
    (
        RUN_ID,
        Column("traits", "array<string>", "trait order of every matrix", nullable=False),
        Column("omega", "array<double>", "variances and covariances of standardised effects per SNP, as used, k x k row-major", nullable=False),
        Column("omega_raw", "array<double>", "the estimate before repair and restriction; NaN where none was made", nullable=False),
        Column("sigma", "array<double>", "LD score intercepts, as used, k x k row-major", nullable=False),
        Column("sigma_raw", "array<double>", "the intercepts as given or estimated", nullable=False),
        Column("method", "string", "how Omega came about", nullable=False,
               values=("gmm", "perfect_gencov", "equal_h2", "fixed", "numerical")),
        Column("n_mean", "array<double>", "mean sample size of each trait over the SNPs used", "samples", nullable=False),
        Column("mean_chisq", "array<double>", "mean z x z of each trait over the SNPs used", nullable=False),
        Column("n_snps", "long", "SNPs that all traits have", "SNPs", nullable=False, low=0),
        Column("notices", "array<string>", "repairs, and searches that did not end", nullable=False),
        Column("findings", "string", "what was found against MTAG's assumptions, JSON", nullable=False),
        Column("filters", "string", "rows each filter dropped and alleles turned, by trait, JSON", nullable=False),
    ),
)
MTAG_RESULTS = TableSchema(
    "mtag_results", "MTAG's estimates of each trait at each SNP", ("run_id", "trait", "snp"), ("run_id", "chr"),
    ("run_id", "chr", "trait"),
    (
        RUN_ID,
        Column("trait", "string", "trait name; `meta` for the one result of a meta-analysis (equal_h2)", nullable=False),
        SNP, CHR, BP, A1, A2,
        Column("eaf", "double", "frequency of a1 in the trait's GWAS; the traits' mean in a meta-analysis", low=0, high=1),
        Column("n", "double", "sample size of the trait's GWAS; null in a meta-analysis", "samples", low=0),
        Column("z", "double", "Z-score of a1 in the trait's GWAS; null in a meta-analysis"),
        Column("mtag_beta", "double", "effect per copy of a1 in standard deviations of the trait; null where no frequency is known"),
        Column("mtag_se", "double", "its standard error", low=0),
        Column("std_beta", "double", "effect of the standardised genotype on the standardised trait"),
        Column("std_se", "double", "its standard error", low=0),
        Column("mtag_z", "double", "estimate / standard error"),
        Column("mtag_p", "double", P.meaning, low=0, high=1),
        NLP,
    ),
)
MTAG_FDR = TableSchema(
    "mtag_fdr", "maxFDR: upper bound of each trait's false discovery rate in an MTAG run", ("run_id", "trait"), ("run_id",), ("run_id",),
    (
        RUN_ID, MTAG_RUN, TRAIT,
        Column("max_fdr", "double", "the bound: after refinement where it was asked for", nullable=False, low=0, high=1),
        Column("grid_fdr", "double", "largest FDR on the grid", nullable=False, low=0, high=1),
        Column("grid_index", "long", "number of that grid point", nullable=False, low=0),
        Column("probabilities", "array<double>", "probabilities of the states at the bound", nullable=False),
        Column("states", "array<string>", "the states, as T and F by trait: which traits a SNP is causal for", nullable=False),
        Column("causal_share", "double", "share of causal SNPs that restricted the grid; null where none did", low=0, high=1),
        Column("intervals", "int", "grid steps from 0 to 1", nullable=False, low=1),
        Column("p_threshold", "double", "significance of a hit", nullable=False, low=0, high=1),
        Column("searched", "long", "grid points looked at", "points", nullable=False, low=0),
        Column("feasible", "long", "grid points that satisfy all conditions", "points", nullable=False, low=0),
    ),
)
