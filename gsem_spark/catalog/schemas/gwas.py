"""Per-SNP models: the panel they read, their results, and the loci found in them."""

from __future__ import annotations

from typing import Final

from gsem_spark.catalog.schemas.columns import (
    A1,
    A2,
    BP,
    CHR,
    FIT_STATUSES,
    MAF,
    NLP,
    RUN_ID,
    SLICE,
    SNP,
    Column,
    P,
    TableSchema,
)

SIGNALS: Final = ("factor", "q_snp", "effect", "omnibus", "contrast")
"""Tests that loci are found by: a path to a factor, its Q_SNP, any other path, and the Wald tests."""

GWAS_PANEL = TableSchema(
    "gwas_panel", "one row a SNP present in every trait of a trait set", ("panel_id", "snp"), ("panel_id",),
    ("panel_id", "slice", "chr"),
    (
        Column("panel_id", "string", "trait set and filters: hash of traits, versions and thresholds", nullable=False),
        SNP, CHR, SLICE, BP, A1, A2,
        Column("maf", "double", MAF.meaning, nullable=False, low=0, high=0.5),
        Column("beta", "array<double>", "standardised effects, in the order of the panel's trait list", nullable=False),
        Column("se", "array<double>", "their standard errors", nullable=False),
        Column("n", "array<double>", "sample sizes", "samples", nullable=False),
    ),
)
_OMNIBUS: Final = (
    Column("omnibus_chisq", "double", "Wald test of no association with any trait; null where it was not asked for", low=0),
    Column("omnibus_df", "int", "its degrees of freedom: traits", low=0),
    Column("omnibus_p", "double", "its p-value", low=0, high=1),
    Column("omnibus_neglog10p", "double", "its -log10 p, computed in log space", low=0),
)
GWAS_RESULTS = TableSchema(
    "gwas_results", "per-SNP model estimates", ("run_id", "snp", "lhs", "op", "rhs"), ("run_id", "slice"),
    ("run_id", "slice", "chr"),
    (
        RUN_ID, SNP, CHR, SLICE, BP, A1, A2,
        Column("maf", "double", MAF.meaning, low=0, high=0.5),
        Column("lhs", "string", "left-hand side of the parameter", nullable=False),
        Column("op", "string", "operator of the parameter", nullable=False),
        Column("rhs", "string", "right-hand side of the parameter", nullable=False),
        Column("est", "double", "estimate"),
        Column("se", "double", "sandwich standard error", low=0),
        Column("z", "double", "est / se"),
        P, NLP,
        Column("chisq", "double", "model chi-square"),
        Column("chisq_df", "int", "its degrees of freedom", low=0),
        Column("chisq_p", "double", "its p-value", low=0, high=1),
        Column("aic", "double", "chi-square + 2 x free parameters"),
        Column("q_snp", "double", "Q_SNP: heterogeneity of the SNP's effects against the factor"),
        Column("q_snp_df", "int", "its degrees of freedom", low=0),
        Column("q_snp_p", "double", "its p-value", low=0, high=1),
        Column("q_snp_neglog10p", "double", "its -log10 p, computed in log space", low=0),
        *_OMNIBUS,
        Column("status", "string", "what became of the fit", nullable=False, values=FIT_STATUSES),
        Column("message", "string", "why, when the status is not ok"),
        Column("z_smooth", "double", "largest change of any of the SNP's trait Z-scores by smoothing; 0 where none was needed", low=0),
    ),
)
WALD_RESULTS = TableSchema(
    "wald_results", "multivariate Wald tests of the traits' own effects", ("run_id", "snp", "test"), ("run_id", "slice"),
    ("run_id", "slice", "chr"),
    (
        RUN_ID, SNP, CHR, SLICE, BP, A1, A2,
        Column("maf", "double", MAF.meaning, low=0, high=0.5),
        Column("test", "string", "name of the hypothesis; omnibus: no association with any trait", nullable=False),
        Column("est", "double", "value of a contrast of 1 degree of freedom"),
        Column("se", "double", "its standard error", low=0),
        Column("chisq", "double", "Wald statistic", low=0),
        Column("df", "int", "its degrees of freedom", nullable=False, low=1),
        P, NLP,
        *_OMNIBUS,
        Column("status", "string", "what became of the test", nullable=False, values=FIT_STATUSES),
        Column("message", "string", "why, when the status is not ok"),
    ),
)
LOCI = TableSchema(
    "loci", "lead SNPs of a GWAS run after distance clumping", ("run_id", "locus"), ("run_id",), ("run_id",),
    (
        RUN_ID,
        Column("locus", "int", "locus number in genome order, 1-based", nullable=False, low=1),
        Column("path", "string", "parameter or test that the locus is of, e.g. F1~SNP", nullable=False),
        Column("signal", "string", "which test the locus was found by", nullable=False, values=SIGNALS),
        SNP, CHR, BP, A1, A2,
        Column("maf", "double", MAF.meaning, low=0, high=0.5),
        Column("start", "long", "first genome-wide significant position of the locus", "bp", low=0),
        Column("end", "long", "last one", "bp", low=0),
        Column("n_snps", "int", "genome-wide significant SNPs in it", nullable=False, low=1),
        Column("est", "double", "lead SNP's estimate"),
        Column("se", "double", "its standard error", low=0),
        Column("z", "double", "its Z"),
        P, NLP,
        Column("q_snp", "double", "its Q_SNP"),
        Column("q_snp_p", "double", "p-value of Q_SNP", low=0, high=1),
        Column("factor_sig", "boolean", "p of the path or test < 5e-8", nullable=False),
        Column("qsnp_sig", "boolean", "Q_SNP p < .05 / number of factor SNPs", nullable=False),
        Column("factor_only", "boolean", "factor_sig and not qsnp_sig: acts through the factor", nullable=False),
    ),
)
