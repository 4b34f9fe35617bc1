"""Column names that GWAS files use, as data: upper case, in order of preference within a role.

Sources: the recognised names of GenomicSEM's munge and sumstats and of LDSC's munge, the GWAS-SSF standard (Hayhurst et al.
2022), and the output of PLINK 2, REGENIE, SAIGE, BOLT-LMM, METAL and the PGC's daner format.
"""

from __future__ import annotations

from typing import Final

ROLES: Final[tuple[str, ...]] = (
    "snp", "chr", "bp", "a1", "a2", "effect", "z", "p", "neglog10p", "se", "n", "n_cases", "n_controls", "neff", "neff_half",
    "info", "maf", "eaf", "direction", "ci_lower", "ci_upper", "ref", "alt",
)
"""Canonical text columns, in their fixed order. ``a1`` is the effect allele; ``eaf`` its frequency; ``maf`` a frequency of
unknown allele, folded; ``ref`` and ``alt`` only serve to find ``a2`` where a file names the effect allele alone."""

SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "snp": ("RSID", "RS_ID", "RSIDS", "RS", "SNP", "MARKERNAME", "MARKER", "MARKERID", "RS_NUMBER", "RS_NUMBERS", "RSNUMBER",
            "DBSNP",
            "SNPID", "SNP_ID", "SNPNAME", "PREDICTOR", "ID", "VARIANT", "VARIANTID", "VARIANT_ID"),
    "chr": ("CHR", "CHROM", "CHROMOSOME", "HG19CHR", "CHR_ID"),
    "bp": ("BP", "POS", "POSITION", "BASE_PAIR_LOCATION", "GENPOS", "BP_HG19", "BASEPAIR", "CHR_POSITION"),
    "a1": ("EFFECT_ALLELE", "EA", "A1", "ALLELE1", "ALLELE_1", "INC_ALLELE", "EFFECTALLELE", "TESTED_ALLELE", "CODED_ALLELE",
           "RISK_ALLELE", "EFF_ALLELE"),
    "a2": ("OTHER_ALLELE", "NON_EFFECT_ALLELE", "NEA", "OA", "A2", "ALLELE2", "ALLELE_2", "ALLELE0", "A0", "DEC_ALLELE",
           "OTHERALLELE", "NONEFFECT_ALLELE", "NON_CODED_ALLELE", "NONCODED_ALLELE", "OMITTED", "AX"),
    "effect": ("BETA", "B", "LOG_ODDS", "LOGOR", "LOG_OR", "LOG(OR)", "LN_OR", "BETA1", "OR", "ODDS_RATIO", "ODDSRATIO",
               "HAZARD_RATIO",
               "HR", "EFFECT", "EFFECTS", "EFFECT_SIZE", "EST", "ESTIMATE", "SIGNED_SUMSTAT"),
    "z": ("Z", "ZSCORE", "Z-SCORE", "Z_SCORE", "GC_ZSCORE", "ZSTAT", "ZSTATISTIC", "Z-STATISTIC", "Z_STAT", "Z_STATISTIC",
          "Z_OR_F_STAT", "T_STAT", "TSTAT", "STAT_Z"),
    "p": ("P", "PVALUE", "P_VALUE", "PVAL", "P_VAL", "P-VALUE", "P.VALUE", "P-VAL", "GC_PVALUE", "WALD_P", "P_BOLT_LMM",
          "P_BOLT_LMM_INF", "P_SPA", "PVALUE_ASSOCIATION"),
    "neglog10p": ("NEG_LOG_10_P_VALUE", "NEGLOG10P", "NEG_LOG10_P", "NEG_LOG10_P_VALUE", "NEGLOG10_PVAL", "LOG10P",
                  "LOG10_P", "MLOG10P",
                  "MINUSLOG10P", "-LOG10P", "-LOG10(P)", "NLOG10P"),
    "se": ("SE", "STANDARD_ERROR", "STDERR", "STANDARDERROR", "STD_ERR", "STDERRLOGOR", "SEBETA", "SE_BETA", "BETA_SE",
           "LOG(OR)_SE",
           "SE_LOGOR", "LOGOR_SE"),
    "n": ("N", "SAMPLESIZE", "SAMPLE_SIZE", "TOTALSAMPLESIZE", "TOTAL_SAMPLE_SIZE", "TOTALN", "TOTAL_N", "N_TOTAL",
          "NCOMPLETESAMPLES",
          "N_COMPLETE_SAMPLES", "N_SAMPLES", "NSAMPLES", "OBS_CT", "NMISS", "WEIGHT"),
    "n_cases": ("N_CASES", "NCASES", "N_CASE", "NCASE", "CASES_N", "N_CAS", "NCAS", "NCA", "CASES", "NUM_CASES"),
    "n_controls": ("N_CONTROLS", "NCONTROLS", "N_CONTROL", "NCONTROL", "CONTROLS_N", "N_CON", "NCON", "NCO", "CONTROLS",
                   "N_CTRL", "NUM_CONTROLS"),
    "neff": ("NEFF", "N_EFF", "N_EFFECTIVE", "EFFECTIVE_N", "EFFECTIVE_SAMPLE_SIZE", "SUMNEFF", "SUM_NEFF"),
    "neff_half": ("NEFF_HALF", "NEFFDIV2", "NEFF_DIV2", "HALF_NEFF"),
    "info": ("INFO", "IMPINFO", "IMPUTATION_INFO", "INFO_SCORE", "IMPUTATION_QUALITY", "RSQ"),
    "maf": ("MAF", "MINOR_ALLELE_FREQUENCY", "MINOR_AF"),
    "eaf": ("EFFECT_ALLELE_FREQUENCY", "EFFECT_ALLELE_FREQ", "EAF", "FRQ", "FREQ", "FREQ1", "FREQ_A1", "FREQ.A1", "A1FREQ",
            "A1_FREQ",
            "A1_FRQ", "AF_ALLELE1", "ALLELE1FREQ", "FREQ_EFFECT_ALLELE", "FREQ1.HAPMAP", "FREQALLELE1HAPMAPCEU",
            "FREQ.ALLELE1.HAPMAPCEU", "CEUAF", "ALLELEFREQ", "AF"),
    "direction": ("DIRECTION", "DIREC", "DIRE", "DIRECTIONS", "SIGN"),
    "ci_lower": ("CI_LOWER", "L95", "OR_95L", "LOWER_CI", "CI_L"),
    "ci_upper": ("CI_UPPER", "U95", "OR_95U", "UPPER_CI", "CI_U"),
    "ref": ("REF", "REF_ALLELE"),
    "alt": ("ALT", "ALT_ALLELE", "ALT1"),
}
"""Default rules. ``REFERENCE_ALLELE``, ``REF`` and ``ALT`` are never taken as the effect allele unasked: programs disagree."""

PATTERNS: Final[dict[str, str]] = {"eaf": r"FRQ_U_[0-9]+", "info": r"INFO\.PLINK"}
"""Names with a number in them (daner: the frequency in controls), tried after the synonyms."""

ODDS_RATIO_NAMES: Final = frozenset({"OR", "ODDS_RATIO", "ODDSRATIO", "HAZARD_RATIO", "HR"})
SIGNED_NAMES: Final = frozenset({"BETA", "B", "BETA1", "LOG_ODDS", "LOGOR", "LOG_OR", "LOG(OR)", "LN_OR"})
"""What an effect column's name says of its values; the other names leave it to the values."""

COMPAT_SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "snp": ("SNP", "SNPID", "RSID", "RS_NUMBER", "RS_NUMBERS", "MARKERNAME", "ID", "PREDICTOR", "SNP_ID", "VARIANTID",
            "VARIANT_ID",
            "RSIDS", "RS_ID"),
    "a1": ("A1", "ALLELE1", "EFFECT_ALLELE", "INC_ALLELE", "REFERENCE_ALLELE", "EA", "REF"),
    "a2": ("A2", "ALLELE2", "ALLELE0", "OTHER_ALLELE", "NON_EFFECT_ALLELE", "DEC_ALLELE", "OA", "NEA", "ALT", "A0"),
    "effect": ("EFFECT", "OR", "B", "BETA", "LOG_ODDS", "EFFECTS", "SIGNED_SUMSTAT", "EST", "BETA1", "LOGOR"),
    "info": ("INFO", "IMPINFO"),
    "p": ("P", "PVALUE", "PVAL", "P_VALUE", "P-VALUE", "P.VALUE", "P_VAL", "GC_PVALUE", "WALD_P"),
    "n": ("N", "WEIGHT", "NCOMPLETESAMPLES", "TOTALSAMPLESIZE", "TOTALN", "TOTAL_N", "N_COMPLETE_SAMPLES", "SAMPLESIZE",
          "NEFF", "N_EFF",
          "N_EFFECTIVE", "SUMNEFF"),
    "maf": ("MAF", "CEUAF", "FREQ1", "EAF", "FREQ1.HAPMAP", "FREQALLELE1HAPMAPCEU", "FREQ.ALLELE1.HAPMAPCEU",
            "EFFECT_ALLELE_FREQ",
            "FREQ.A1", "A1FREQ", "ALLELEFREQ", "EFFECT_ALLELE_FREQUENCY"),
    "z": ("Z", "ZSCORE", "Z-SCORE", "ZSTATISTIC", "ZSTAT", "Z-STATISTIC"),
    "se": ("SE", "STDERR", "STDERRLOGOR", "SEBETA", "STANDARDERROR", "STANDARD_ERROR"),
    "direction": ("DIRECTION", "DIREC", "DIRE", "SIGN"),
    "neff_half": ("NEFF_HALF", "NEFFDIV2"),
    "chr": SYNONYMS["chr"],
    "bp": SYNONYMS["bp"],
}
"""``compat="genomicsem"``: exactly the names that the reference knows (positions are for the build check alone). Where several
columns of a file answer to one role, the reference uses the first in the file."""
