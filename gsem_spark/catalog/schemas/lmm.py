"""Kinship mixed models: null models, tests of variants, and bootstraps."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import A1, A2, BP, CHR, FIT_STATUSES, NLP, RUN_ID, SNP, Column, P, TableSchema

_CHR_OF_MODEL = Column("chr", "int", "chromosome whose variants are tested by the model, its kinship being made without it; "
                       "0 for a model of all chromosomes", nullable=False, low=0, high=26)
_TRAIT = Column("trait", "string", "trait; the traits of a multi-trait model joined by commas", nullable=False)

LMM_MODELS = TableSchema(
    "lmm_models", "null models of mixed-model runs", ("run_id", "trait", "chr", "likelihood"), ("run_id", "chr"), ("run_id", "chr"),
    (
        RUN_ID, _TRAIT, _CHR_OF_MODEL,
        Column("likelihood", "string", "restricted or full maximum likelihood", nullable=False, values=("reml", "ml")),
        Column("n", "long", "samples", "samples", nullable=False, low=1),
        Column("samples", "string", "SHA-256 of the sample list, first 16 hex digits", nullable=False),
        Column("kinship_id", "string", "kinship; null for independent samples"),
        Column("traits", "array<string>", "trait order of Cg and Cn", nullable=False),
        Column("covariates", "array<string>", "names of the fixed effects", nullable=False),
        Column("beta", "array<double>", "fixed effects; of several traits covariate by covariate", nullable=False),
        Column("beta_se", "array<double>", "their standard errors", nullable=False),
        Column("hsq", "double", "share of the kinship's component (of one trait)", low=0, high=1),
        Column("hsq_se", "double", "its standard error; null at a boundary", low=0),
        Column("hsq_p", "double", "p of hsq = 0, likelihood ratio against its mixture", low=0, high=1),
        Column("sigmasq_g", "double", "variance of the kinship's component, per unit of the kinship", low=0),
        Column("sigmasq_e", "double", "residual variance", low=0),
        Column("loglik", "double", "log likelihood with all constants; null where many traits are fitted at once"),
        Column("at_boundary", "boolean", "the optimum lies at a boundary", nullable=False),
        Column("components", "array<string>", "names of all variance components, where there are more than kinship and residual", nullable=False),
        Column("theta", "array<double>", "their variances", nullable=False),
        Column("theta_se", "array<double>", "their standard errors; NaN where a variance is 0", nullable=False),
        Column("theta_stat", "array<double>", "likelihood ratio statistic of each being 0; NaN for the residual and covariances; empty "
               "where it was not tested: of models without each chromosome the first one is", nullable=False),
        Column("theta_p", "array<double>", "its p, against its mixture", nullable=False),
        Column("profile_hsq", "array<double>", "heritabilities at which the profile was taken", nullable=False),
        Column("profile_loglik", "array<double>", "profile log likelihood there, with all constants", nullable=False),
        Column("Cg", "array<double>", "genetic covariance of several traits, per unit of the kinship, row-major", nullable=False),
        Column("Cn", "array<double>", "their residual covariance", nullable=False),
        Column("Cg_cov", "array<double>", "sampling covariance of vech Cg, row-major; NaN at a boundary", nullable=False),
        Column("Cn_cov", "array<double>", "of vech Cn", nullable=False),
    ),
)
LMM_RESULTS = TableSchema(
    "lmm_results", "mixed-model tests of variants", ("run_id", "chr", "snp", "a1", "a2", "trait", "design", "test"), ("run_id", "chr"),
    ("run_id", "chr"),
    (
        RUN_ID, SNP, CHR, BP, A1, A2, _TRAIT,
        Column("design", "string", "hypothesis: effect (one variant, one trait), set; with environments common, any, interaction; of "
               "several traits any, common, difference, specific:<trait>, or a design of one's own", nullable=False),
        Column("test", "string", "test by name", nullable=False),
        Column("size", "int", "variants tested jointly; snp is the first of them", nullable=False, low=1),
        Column("af", "double", "frequency of a1 among the samples of the model", low=0, high=1),
        Column("n", "long", "samples of the model with a genotype", "samples", nullable=False, low=0),
        Column("missing", "long", "samples of the model without one", "samples", nullable=False, low=0),
        Column("beta", "double", "effect per copy of a1, in units of the trait; null where several effects are tested"),
        Column("se", "double", "its standard error", low=0),
        Column("betas", "array<double>", "effects of a joint test, in the order of the design (see the run's summary); empty for a test of one", nullable=False),
        Column("ses", "array<double>", "their standard errors", nullable=False),
        Column("df", "int", "effects tested", nullable=False, low=1),
        Column("stat", "double", "test statistic", low=0),
        P, NLP,
        Column("hsq", "double", "share of the kinship's component at which the variant was tested", low=0, high=1),
        Column("status", "string", "what became of the test", nullable=False, values=FIT_STATUSES),
        Column("message", "string", "why, when the status is not ok"),
    ),
)
LMM_BOOTSTRAPS = TableSchema(
    "lmm_bootstraps", "replicates of bootstrapped mixed models", ("run_id", "replicate"), ("run_id",), ("run_id",),
    (
        RUN_ID,
        Column("replicate", "long", "number of the replicate, 0-based: with the seed it makes the draw", nullable=False, low=0),
        Column("names", "array<string>", "parameters", nullable=False),
        Column("estimates", "array<double>", "their estimates; NaN where the replicate has no optimum", nullable=False),
        Column("ses", "array<double>", "standard errors, where there is one", nullable=False),
    ),
)
LMM_INTERVALS = TableSchema(
    "lmm_intervals", "confidence intervals from bootstraps", ("run_id", "name", "interval"), ("run_id",), ("run_id",),
    (
        RUN_ID,
        Column("trait", "string", "trait", nullable=False),
        Column("name", "string", "parameter: a fixed effect, hsq, a variance", nullable=False),
        Column("interval", "string", "kind of interval", nullable=False,
               values=("wald", "basic", "normal", "percentile", "studentized")),
        Column("level", "double", "confidence", nullable=False, low=0, high=1),
        Column("estimate", "double", "estimate from the data", nullable=False),
        Column("bias", "double", "mean of the replicates less the estimate"),
        Column("se", "double", "standard deviation of the replicates", low=0),
        Column("lower", "double", "lower end; null where the kind needs a standard error that is not known"),
        Column("upper", "double", "upper end"),
        Column("p", "double", "two-sided bootstrap p of the parameter being 0", nullable=False, low=0, high=1),
    ),
)
