"""Per-SNP structural equation models: a common factor for every SNP of a genome, Q_SNP, and the loci they find."""

from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, RESULT_COLUMNS, CommonFactorGwas
from gsem_spark.methods.gwas.effective_n import effective_n, effective_n_terms, lambda_gc
from gsem_spark.methods.gwas.fit_snps import fit_snps
from gsem_spark.methods.gwas.loci import HIT_COLUMNS, LOCUS_COLUMNS, find_loci, flag_hits

__all__ = [
    "HIT_COLUMNS", "LHS_OP_RHS", "LOCUS_COLUMNS", "RESULT_COLUMNS", "CommonFactorGwas", "effective_n", "effective_n_terms",
    "find_loci", "fit_snps", "flag_hits", "lambda_gc",
]
