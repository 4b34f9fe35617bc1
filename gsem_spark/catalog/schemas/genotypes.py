"""Individual-level genotypes: cohorts, their variants in packed blocks, and the kinships of their samples."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import CHR, Column, TableSchema

COHORT = Column("cohort", "string", "name of a set of genotyped samples", nullable=False)

COHORTS = TableSchema(
    "cohorts", "sets of genotyped samples: who they are, where their genotypes come from", ("cohort",), ("cohort",), ("cohort",),
    (
        COHORT,
        Column("version", "string", "SHA-256 of the files' bytes, the settings and the samples, first 16 hex digits", nullable=False),
        Column("fid", "array<string>", "family of each sample, in the order of the blocks' columns; 0 where there is none", nullable=False),
        Column("iid", "array<string>", "name of each sample, in that order", nullable=False),
        Column("sex", "array<long>", "1 male, 2 female, 0 not known", nullable=False),
        Column("father", "array<string>", "father's name within the family; 0 where not known", nullable=False),
        Column("mother", "array<string>", "mother's name within the family; 0 where not known", nullable=False),
        Column("n_samples", "long", "samples", "samples", nullable=False, low=1),
        Column("n_variants", "long", "variants kept", "variants", nullable=False, low=0),
        Column("kind", "string", "calls: copies of a1 as int8, -9 missing; dosages: as float32, NaN missing", nullable=False,
               values=("calls", "dosages")),
        Column("source", "string", "format of the files", nullable=False, values=("plink1", "plink2", "bgen", "vcf")),
        Column("settings", "string", "settings of the load, JSON", nullable=False),
        Column("files", "array<string>", "files read", nullable=False),
    ),
)
GENOTYPE_BLOCKS = TableSchema(
    "genotype_blocks", "genotypes in blocks of consecutive variants of a chromosome", ("cohort", "chr", "block"), ("cohort",),
    ("cohort", "chr"),
    (
        COHORT,
        Column("chr", "int", CHR.meaning, nullable=False, low=1, high=26),
        Column("block", "int", "number of the block within the chromosome, 0-based, in the order of the files", nullable=False, low=0),
        Column("first", "long", "place within the chromosome of the block's first variant among those read, before filters", nullable=False, low=0),
        Column("snp", "array<string>", "variant names", nullable=False),
        Column("a1", "array<string>", "counted allele: effects are per copy of it", nullable=False),
        Column("a2", "array<string>", "other allele", nullable=False),
        Column("bp", "array<long>", "positions, 1-based; 0 where not known", "bp", nullable=False),
        Column("af", "array<double>", "frequency of a1 among the samples with a genotype", nullable=False),
        Column("maf", "array<double>", "minor allele frequency", nullable=False),
        Column("missing", "array<double>", "share of samples without a genotype", nullable=False),
        Column("hwe_p", "array<double>", "p of the exact test of Hardy-Weinberg proportions", nullable=False),
        Column("info", "array<double>", "variance of the genotypes over 2 af (1 - af)", nullable=False),
        Column("genotypes", "binary", "copies of a1: variants in rows, samples in columns, row-major; int8 or float32 (see cohorts.kind)", nullable=False),
        Column("n_variants", "long", "variants in the block", "variants", nullable=False, low=1, high=1000),
        Column("n_samples", "long", "samples", "samples", nullable=False, low=1),
    ),
)
KINSHIPS = TableSchema(
    "kinships", "kinships as eigenvalues here and eigenvectors in a file, whole and without each chromosome",
    ("kinship_id", "loco_chr"), ("kinship_id",), ("kinship_id",),
    (
        Column("kinship_id", "string", "hash of cohort or files, and settings", nullable=False),
        Column("loco_chr", "int", "chromosome that was left out; null for the kinship of all", low=1, high=26),
        Column("cohort", "string", "cohort whose samples these are; null for a kinship that stands alone"),
        Column("kind", "string", "how it was made", nullable=False,
               values=("centred", "standardised", "gcta", "pedigree", "given", "low_rank")),
        Column("n", "long", "samples", "samples", nullable=False, low=1),
        Column("rank", "long", "eigenvectors kept; n for a kinship of full rank", nullable=False, low=1),
        Column("n_variants", "long", "variants it is the mean over; null for a pedigree or a given matrix", "variants", low=1),
        Column("mean_diagonal", "double", "mean diagonal of the kinship, the scale of sigmasq_g", nullable=False, low=0),
        Column("fid", "array<string>", "family of each sample, in the order of the eigenvectors' rows", nullable=False),
        Column("iid", "array<string>", "name of each sample, in that order", nullable=False),
        Column("samples", "string", "SHA-256 of the sample list, first 16 hex digits", nullable=False),
        Column("eigenvalues", "array<double>", "rank eigenvalues, ascending", nullable=False),
        Column("file", "string", "n x rank eigenvectors in columns, NumPy's .npy, float64, row-major; below the workspace's arrays folder", nullable=False),
        Column("sha256", "string", "SHA-256 of that file", nullable=False),
        Column("settings", "string", "settings, JSON", nullable=False),
        Column("inputs", "map<string,string>", "versions of cohort and files", nullable=False),
    ),
)
