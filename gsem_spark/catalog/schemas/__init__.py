"""One schema per table: the only place that says which columns a table has, what they mean and what may stand in them.

Plain data, no Spark: :mod:`gsem_spark.catalog.contracts` turns a schema into Spark types and checks, ``gsem-spark tables
--schema`` prints it.
"""

from __future__ import annotations

from typing import Final

from gsem_spark.catalog.schemas.columns import CHROMOSOME_CODES, FIT_STATUSES, Column, TableSchema, Type
from gsem_spark.catalog.schemas.genotypes import COHORTS, GENOTYPE_BLOCKS, KINSHIPS
from gsem_spark.catalog.schemas.gwas import GWAS_PANEL, GWAS_RESULTS, LOCI, WALD_RESULTS
from gsem_spark.catalog.schemas.inputs import LD_SCORES, QC_LOG, REFERENCE_VARIANTS, REJECTS, SUMSTATS, TRAITS
from gsem_spark.catalog.schemas.ledger import RUNS
from gsem_spark.catalog.schemas.lmm import LMM_BOOTSTRAPS, LMM_INTERVALS, LMM_MODELS, LMM_RESULTS
from gsem_spark.catalog.schemas.mtag import MTAG_FDR, MTAG_MODELS, MTAG_RESULTS
from gsem_spark.catalog.schemas.reconciliation import RECONCILED_EFFECTS, RECONCILED_LOCI, REVIEWS
from gsem_spark.catalog.schemas.structures import COVSTRUCTS, FITS, LDSC_BLOCKS
from gsem_spark.errors import ContractError

__all__ = ["CHROMOSOME_CODES", "FIT_STATUSES", "SCHEMAS", "Column", "TableSchema", "Type", "schema_of"]

SCHEMAS: Final[dict[str, TableSchema]] = {
    schema.name: schema
    for schema in (
        REFERENCE_VARIANTS, LD_SCORES, TRAITS, SUMSTATS, REJECTS, QC_LOG, GWAS_PANEL, LDSC_BLOCKS, COVSTRUCTS, FITS,
        GWAS_RESULTS, WALD_RESULTS, LOCI, MTAG_MODELS, MTAG_RESULTS, MTAG_FDR, RECONCILED_LOCI, RECONCILED_EFFECTS, REVIEWS,
        COHORTS, GENOTYPE_BLOCKS, KINSHIPS, LMM_MODELS, LMM_RESULTS, LMM_BOOTSTRAPS, LMM_INTERVALS, RUNS,
    )
}


def schema_of(table: str) -> TableSchema:
    """Return the schema of a table by name; a :class:`ContractError` lists the known ones otherwise."""
    try:
        return SCHEMAS[table]
    except KeyError:
        raise ContractError(f"there is no table {table!r}; tables are {', '.join(SCHEMAS)}") from None
