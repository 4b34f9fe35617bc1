"""Every threshold that a verdict, a flag or a warning depends on: one place, one value, its source beside it."""

from __future__ import annotations

from typing import Final

# --- association -----------------------------------------------------------------------------------------------------
GENOME_WIDE_P: Final = 5e-8
"""Genome-wide significance of a factor SNP (Pe'er et al. 2008, Genet Epidemiol 32:381)."""
Q_SNP_ALPHA: Final = 0.05
"""Family-wise level of Q_SNP over the genome-wide significant factor SNPs (each is tested at this / their number)."""
CLUMP_WINDOW_BP: Final = 500_000
"""Distance clumping: SNPs closer than this to a stronger one belong to its locus."""

# --- model fit (Hu & Bentler 1999, Struct Equ Modeling 6:1) --------------------------------------------------------------
CFI_GOOD: Final = 0.95
CFI_ACCEPTABLE: Final = 0.90
RMSEA_GOOD: Final = 0.05
RMSEA_ACCEPTABLE: Final = 0.08
SRMR_GOOD: Final = 0.05
SRMR_ACCEPTABLE: Final = 0.08

# --- LDSC input quality ----------------------------------------------------------------------------------------------
H2_Z_MIN: Final = 4.0
"""Below this h2 Z-score, genetic correlations of the trait are too noisy to model (GenomicSEM and LDSC guidance)."""
MEAN_CHISQ_MIN: Final = 1.02
"""Below this mean chi-square there is hardly any polygenic signal to regress (Bulik-Sullivan et al. 2015)."""
MIN_SNPS_WARN: Final = 200_000
"""Fewer SNPs than this after merging with the LD scores: the estimate is unreliable (ldsc's own warning)."""
LDSC_CHISQ_MAX: Final = 80.0
LDSC_CHISQ_MAX_PER_N: Final = 0.001
"""SNPs with chi-square above max(0.001 * max N, 80) are left out of LDSC, per trait."""
LDSC_INFO_MIN: Final = 0.9
LDSC_MAF_MIN: Final = 0.01
"""Row filters of LDSC's reader (munge defaults)."""

# --- per-SNP inputs ----------------------------------------------------------------------------------------------------
PER_SNP_INFO_MIN: Final = 0.6
PER_SNP_MAF_MIN: Final = 0.01
"""Row filters of the per-SNP readers (GenomicSEM sumstats() defaults)."""
SNP_SE: Final = 0.0005
"""Standard error given to the SNP's own variance, which is known from the reference MAF."""

# --- harmonisation -----------------------------------------------------------------------------------------------------
BUILD_MISMATCH_SHARE: Final = 0.05
"""Above this share of rsIDs whose position disagrees with the reference, the file is taken to be on another build."""
SMOOTH_Z_WARN: Final = 1.0
"""A Z-statistic that smoothing moved by more than this is reported as untrustworthy (GenomicSEM's z_smooth guidance)."""

# --- MTAG --------------------------------------------------------------------------------------------------------------
MTAG_MAF_MIN: Final = 0.01
MTAG_N_QUANTILE: Final = 0.9
MTAG_N_SHARE: Final = 2.0 / 3.0
"""SNPs with an N below 2/3 of its 90th percentile are left out, per trait (Turley et al. 2018, Nat Genet 50:229)."""
MTAG_MEAN_CHISQ_LOW: Final = 1.1
"""Mean chi-square over the LD score intercept below which Omega is badly known (the reference program's caution)."""
MTAG_RG_MIN: Final = 0.7
"""Below this genetic correlation SNPs are often null for one trait of a pair, which MTAG assumes away (package guidance)."""
MTAG_POWER_RATIO_MAX: Final = 10.0
"""Largest ratio of two traits' (mean chi-square - 1): beyond it the weak one borrows its hits (guidance of this package)."""
MAX_FDR_WARN: Final = 0.05
"""Upper bound of the false discovery rate above which a trait's MTAG hits are not to be published (Turley et al. 2018)."""

# --- reconciliation, publication rule, reviewer checklist --------------------------------------------------------------
REPLICATION_ALPHA: Final = 0.05
"""One-sided level of a lead SNP's replication in an independent panel, and of the sign test over all of them."""
REPLICATION_POWER: Final = 0.8
"""Power below which a failure to replicate says little."""
LOADING_MIN: Final = 0.3
LOADING_MAX: Final = 0.9
LOADING_SUSPICIOUS: Final = 0.95
"""Standardised loadings: below .3 the trait hardly belongs to the factor, above .9 it nearly is the factor, above .95 be wary."""
RG_MAX: Final = 0.95
"""Genetic correlation above which two traits are not told apart (and S comes near to singular)."""
FACTOR_INTERCEPT_WARN: Final = 1.05
FACTOR_INTERCEPT_FAIL: Final = 1.2
"""LD score intercept of the factor GWAS above which its test statistics are inflated (guidance of this package)."""
STABLE_LOCI_GOOD: Final = 0.8
STABLE_LOCI_ACCEPTABLE: Final = 0.5
"""Share of the factor's loci that stay when a trait is left out (guidance of this package)."""

# --- diagnosis of a structural model --------------------------------------------------------------------------------------
RG_MERGE: Final = 0.95
"""Two traits with a genetic correlation beyond this measure one thing; a model of both is close to singular."""
LOADING_WEAK: Final = 0.30
LOADING_STRONG: Final = 0.80
"""Standardised loadings below the one and above the other on the same single factor: not one factor (Comrey & Lee 1992)."""
