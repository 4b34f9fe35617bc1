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
