"""Linear mixed models with a kinship: null models, association of variants, several traits, pedigrees, bootstrap."""

from gsem_spark.methods.lmm.bootstrap import (
    Bootstrap,
    bootstrap,
    bootstrap_block,
    bootstrap_intervals,
    bootstrap_of,
)
from gsem_spark.methods.lmm.component_bootstrap import ComponentModel, bootstrap_components, component_block, component_model
from gsem_spark.methods.lmm.component_tests import component_tests, variance_component_test
from gsem_spark.methods.lmm.formula import FormulaData, formula_data
from gsem_spark.methods.lmm.genotypes import filter_variants, hardy_weinberg, impute_mean, inflation, standardise, summarise
from gsem_spark.methods.lmm.kinship import (
    KinshipSums,
    centre_kinship,
    kinship,
    kinship_sums,
    leave_one_out,
    low_rank_background,
    normalise_kinship,
    unpack_grm,
)
from gsem_spark.methods.lmm.low_rank import random_spectrum
from gsem_spark.methods.lmm.manyphenotypes import fit_phenotypes
from gsem_spark.methods.lmm.multitrait import MultitraitFit, fit_multitrait, genetic_covstruct, trait_correlations
from gsem_spark.methods.lmm.multitrait_scan import (
    TraitScanPlan,
    prepare_multitrait_scan,
    scan_multitrait,
    scan_multitrait_block,
    trait_designs,
)
from gsem_spark.methods.lmm.null import LmmFit, NullSolution, fit_lmm, log_likelihood, ml_solution
from gsem_spark.methods.lmm.pedigree import inbreeding, parse_fam, pedigree_kinship
from gsem_spark.methods.lmm.plan_arrays import join_arrays, split_arrays
from gsem_spark.methods.lmm.rotation import Rotated, Spectrum, background_spectrum, eigen_rotation, kinship_spectrum
from gsem_spark.methods.lmm.samples import match_samples
from gsem_spark.methods.lmm.scan import ScanPlan, prepare_scan, scan, scan_block
from gsem_spark.methods.lmm.scan_phenotypes import PhenotypesPlan, prepare_scan_phenotypes, scan_phenotypes, scan_phenotypes_block
from gsem_spark.methods.lmm.statistics import mixture_lrt
from gsem_spark.methods.lmm.transform import gaussianize
from gsem_spark.methods.lmm.variance_components import (
    Component,
    VarianceComponentFit,
    fit_variance_components,
    grouping_component,
)

__all__ = [
    "Bootstrap", "Component", "ComponentModel", "FormulaData", "KinshipSums", "LmmFit", "MultitraitFit", "NullSolution",
    "PhenotypesPlan", "Rotated", "ScanPlan", "Spectrum", "TraitScanPlan", "VarianceComponentFit", "background_spectrum",
    "bootstrap", "bootstrap_block", "bootstrap_components", "bootstrap_intervals", "bootstrap_of", "centre_kinship",
    "component_block", "component_model", "component_tests", "eigen_rotation", "filter_variants", "fit_lmm", "fit_multitrait",
    "fit_phenotypes", "fit_variance_components", "formula_data", "gaussianize", "genetic_covstruct", "grouping_component",
    "hardy_weinberg", "impute_mean", "inbreeding", "inflation", "join_arrays", "kinship", "kinship_spectrum", "kinship_sums",
    "leave_one_out", "log_likelihood", "low_rank_background", "match_samples", "mixture_lrt", "ml_solution",
    "normalise_kinship", "parse_fam", "pedigree_kinship", "prepare_multitrait_scan", "prepare_scan",
    "prepare_scan_phenotypes", "random_spectrum", "scan", "scan_block", "scan_multitrait", "scan_multitrait_block",
    "scan_phenotypes", "scan_phenotypes_block", "split_arrays", "standardise", "summarise", "trait_correlations",
    "trait_designs", "unpack_grm", "variance_component_test",
]
