"""A finished MTAG run: its results stay in the tables, this knows where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyspark.sql import functions as F

from gsem_spark.errors import DataError
from gsem_spark.steps.found_runs import FinishedRun
from gsem_spark.steps.mtag.model import ModelFacts, read_model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.steps.mtag.fdr import FdrRun


@dataclass(frozen=True)
class MtagRun(FinishedRun):
    """A finished MTAG run: its results stay in the tables, this knows where."""

    @property
    def facts(self) -> ModelFacts:
        """Omega, Sigma and what they rest on."""
        found = read_model(self.workspace, self.run_id)
        if found is None:
            raise DataError(f"there is no model of run {self.run_id!r}", where="table mtag_models", remedy="run mtag again")
        return found

    @property
    def traits(self) -> tuple[str, ...]:
        """Traits in the order of the matrices."""
        return self.facts.model.traits

    @property
    def omega(self) -> pd.DataFrame:
        """Variances and covariances of standardised effects per SNP, as used."""
        model = self.facts.model
        return pd.DataFrame(model.omega, list(model.traits), list(model.traits))

    @property
    def sigma(self) -> pd.DataFrame:
        """LD score intercepts, as used."""
        model = self.facts.model
        return pd.DataFrame(model.sigma, list(model.traits), list(model.traits))

    @property
    def summary(self) -> pd.DataFrame:
        """Per trait: SNPs, N, mean chi-square, λ and hits before and after, GWAS-equivalent N."""
        return pd.DataFrame(self.report.summary.get("traits", []))

    @property
    def weights(self) -> pd.DataFrame:
        """Which trait informs which, at the mean sample sizes."""
        return pd.DataFrame(self.report.summary.get("weights", []))

    def results(self, trait: str | None = None) -> DataFrame:
        """Per-SNP results as a Spark frame, of all traits or one."""
        rows = self.workspace.read("mtag_results").where(F.col("run_id") == self.run_id)
        return rows if trait is None else rows.where(F.col("trait") == trait)

    def max_fdr(self, intervals: int = 10, **settings: Any) -> FdrRun:
        """Upper bound of each trait's false discovery rate; see :func:`gsem_spark.max_fdr`."""
        from gsem_spark.steps.mtag.fdr import max_fdr

        return max_fdr(self.workspace, self, intervals, **settings)
