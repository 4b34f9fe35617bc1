"""What goes in: references, LD scores, and harmonised summary statistics with what each rule did to them."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import A1, A2, BP, CHR, FILE_ID, MAF, NLP, SNP, TRAIT, Column, TableSchema

REFERENCE_VARIANTS = TableSchema(
    "reference_variants", "the variants every GWAS is harmonised to", ("snp",), (), ("chr",),
    (
        SNP,
        Column("chr", "int", CHR.meaning, low=0, high=26),
        BP, A1, A2, MAF,
        Column("hm3", "boolean", "in the HapMap 3 list, the SNPs that LDSC uses", nullable=False),
    ),
)
LD_SCORES = TableSchema(
    "ld_scores", "LD scores and regression weights of an ancestry panel", ("panel", "snp"), ("panel",), ("panel", "chr"),
    (
        Column("panel", "string", "name of the LD-score panel", nullable=False),
        CHR, SNP,
        Column("bp", "long", BP.meaning, "bp", nullable=False, low=0),
        Column("cm", "double", "genetic map position", "cM"),
        Column("maf", "double", "minor allele frequency in the panel", low=0, high=0.5),
        Column("l2", "double", "LD score", nullable=False),
        Column("wld", "double", "LD score of the regression weights (over regression SNPs)", nullable=False),
        Column("ord", "long", "place of the SNP in the panel, ordered by chromosome and position", nullable=False, low=0),
        Column("m", "double", "reference SNPs with MAF > 5 % on this chromosome (the .l2.M_5_50 file)", "SNPs", nullable=False, low=0),
    ),
)
TRAITS = TableSchema(
    "traits", "which file and which settings each trait of sumstats comes from", ("trait",), ("trait",), ("trait",),
    (
        TRAIT, FILE_ID,
        Column("file", "string", "raw file name", nullable=False),
        Column("sha256", "string", "SHA-256 of the raw file", nullable=False),
        Column("scale", "string", "scale of the raw effects", nullable=False,
               values=("linear", "logistic", "logistic_or_se", "linear_probability")),
        Column("n", "double", "sample size given by the user, where the file has none", "samples", low=0),
        Column("sample_prevalence", "double", "share of cases in the sample", low=0, high=1),
        Column("population_prevalence", "double", "share of cases in the population", low=0, high=1),
        Column("columns", "map<string,string>", "raw column read as each role", nullable=False),
        Column("settings", "string", "munge settings, JSON", nullable=False),
        Column("rows_in", "long", "data rows of the raw file", nullable=False, low=0),
        Column("rows_kept", "long", "rows in sumstats", nullable=False, low=0),
    ),
)
SUMSTATS = TableSchema(
    "sumstats", "harmonised summary statistics: z and n for LDSC, standardised beta and se for per-SNP models",
    ("trait", "snp"), ("trait",), ("trait", "chr"),
    (
        TRAIT, SNP,
        Column("chr", "int", CHR.meaning, low=0, high=26),
        BP, A1, A2,
        Column("eaf", "double", "frequency of a1 in the GWAS", low=0, high=1),
        MAF,
        Column("info", "double", "imputation quality", low=0),
        Column("n", "double", "sample size (effective where the file says so)", "samples", low=0),
        Column("z", "double", "signed Z-score of a1, from the raw p-value and sign; null where the row is not fit for LDSC"),
        Column("beta", "double", "effect of a1 on the trait standardised as GenomicSEM's sumstats does; null where not fit for per-SNP models"),
        Column("se", "double", "standard error of beta", low=0),
        Column("neglog10p", "double", NLP.meaning, low=0),
        FILE_ID,
    ),
)
REJECTS = TableSchema(
    "rejects", "raw rows that were dropped, each with the rule that dropped it", ("file_id", "row"), ("file_id",), ("file_id",),
    (
        FILE_ID,
        Column("row", "long", "line number in the raw file, the header being line 1", nullable=False, low=1),
        Column("text", "string", "the line as it stands in the file", nullable=False),
        Column("rule", "string", "rule of the harmonisation that dropped the row", nullable=False),
    ),
)
QC_LOG = TableSchema(
    "qc_log", "what each rule did to each raw file", ("file_id", "rule"), ("file_id",), ("file_id",),
    (
        FILE_ID, TRAIT,
        Column("step", "int", "place of the rule in the order of rules", nullable=False, low=0),
        Column("rule", "string", "rule name", nullable=False),
        Column("meaning", "string", "what the rule does, with its threshold", nullable=False),
        Column("rows_in", "long", "rows that reached the rule", nullable=False, low=0),
        Column("rows_dropped", "long", "rows it dropped (or changed, for rules that repair)", nullable=False, low=0),
        Column("examples", "array<string>", "up to three of those rows, as line: text", nullable=False),
    ),
)
