"""Per-SNP structural equation models: any model for every SNP of a genome, Q_SNP, Wald tests, and the loci they find."""

from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, RESULT_COLUMNS, CommonFactorGwas
from gsem_spark.methods.gwas.effective_n import effective_n, effective_n_terms, lambda_gc
from gsem_spark.methods.gwas.fit_snps import fit_snps
from gsem_spark.methods.gwas.genes import fit_genes, join_genes, read_fusion, t_sem
from gsem_spark.methods.gwas.loci import HIT_COLUMNS, LOCUS_COLUMNS, find_loci, flag_hits
from gsem_spark.methods.gwas.several import multi_gene, multi_snp
from gsem_spark.methods.gwas.user_model import UserModelGwas
from gsem_spark.methods.gwas.wald import WALD_COLUMNS, WaldTest, wald

__all__ = [
    "HIT_COLUMNS", "LHS_OP_RHS", "LOCUS_COLUMNS", "RESULT_COLUMNS", "WALD_COLUMNS", "CommonFactorGwas", "UserModelGwas",
    "WaldTest", "effective_n", "effective_n_terms", "find_loci", "fit_genes", "fit_snps", "flag_hits", "join_genes", "lambda_gc",
    "multi_gene", "multi_snp", "read_fusion", "t_sem", "wald",
]
