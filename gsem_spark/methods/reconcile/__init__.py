"""Genomic SEM and MTAG of one study side by side: patterns of loci, what may be claimed, replication, a reviewer's checklist."""

from gsem_spark.methods.reconcile.checklist import CheckItem, ReviewFacts, ReviewLimits, checklist_table, overall, review
from gsem_spark.methods.reconcile.claims import ClaimRule, factor_claims, trait_claims
from gsem_spark.methods.reconcile.effects import effect_table, sign_concordance
from gsem_spark.methods.reconcile.loci import HitTable, LocusRule, reconcile_loci
from gsem_spark.methods.reconcile.patterns import PATTERNS, RUN_PATTERN, Pattern, classify, primary_analysis
from gsem_spark.methods.reconcile.regions import read_blocks, regions_by_blocks, regions_by_distance
from gsem_spark.methods.reconcile.replication import SignTest, conditional_effect, replicate, sign_test
from gsem_spark.methods.reconcile.stability import stable_loci

__all__ = [
    "PATTERNS", "RUN_PATTERN", "CheckItem", "ClaimRule", "HitTable", "LocusRule", "Pattern", "ReviewFacts", "ReviewLimits",
    "SignTest", "checklist_table", "classify", "conditional_effect", "effect_table", "factor_claims", "overall",
    "primary_analysis",
    "read_blocks", "reconcile_loci", "regions_by_blocks", "regions_by_distance", "replicate", "review", "sign_concordance",
    "sign_test", "stable_loci", "trait_claims",
]  # fmt: skip
