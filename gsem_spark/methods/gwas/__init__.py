"""Per-SNP structural equation models: a common factor for every SNP of a genome, Q_SNP, and the loci they find."""

from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, RESULT_COLUMNS, CommonFactorGwas
from gsem_spark.methods.gwas.fit_snps import fit_snps

__all__ = ["LHS_OP_RHS", "RESULT_COLUMNS", "CommonFactorGwas", "fit_snps"]
