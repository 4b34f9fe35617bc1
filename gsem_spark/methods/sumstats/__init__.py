"""Raw GWAS files to harmonised summary statistics: format, header, rules, scale. Pure functions of arrays.

>>> from gsem_spark.methods.sumstats import HarmoniseSpec, RULES
>>> HarmoniseSpec("MDD", scale="logistic").rules is RULES
True
"""

from gsem_spark.methods.sumstats.effects import effect_kind, verify_effect_kind
from gsem_spark.methods.sumstats.frames import harmonise_frame, join_reference
from gsem_spark.methods.sumstats.harmonise import INPUTS, harmonise
from gsem_spark.methods.sumstats.headers import ROLES, ColumnMap, check_columns, resolve
from gsem_spark.methods.sumstats.rules import COMPAT_RULES, RULES, Rule, rules_for
from gsem_spark.methods.sumstats.sniff import RawFormat, sniff
from gsem_spark.methods.sumstats.spec import Counters, Harmonised, HarmoniseSpec, qc_rows, total

__all__ = [
    "COMPAT_RULES",
    "INPUTS",
    "ROLES",
    "RULES",
    "ColumnMap",
    "Counters",
    "HarmoniseSpec",
    "Harmonised",
    "RawFormat",
    "Rule",
    "check_columns",
    "effect_kind",
    "harmonise",
    "harmonise_frame",
    "join_reference",
    "qc_rows",
    "resolve",
    "rules_for",
    "sniff",
    "total",
    "verify_effect_kind",
]
