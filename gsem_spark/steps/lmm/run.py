"""A finished mixed-model run: its rows stay in the tables, this knows where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.lmm.multitrait import genetic_covstruct
from gsem_spark.steps.found_runs import FinishedRun
from gsem_spark.steps.hit_rows import above, few_rows
from gsem_spark.steps.lmm.models import component_table
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Report
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame

_HIT_COLUMNS = ("snp", "chr", "bp", "a1", "a2", "trait", "design", "test", "size", "af", "n", "beta", "se", "betas", "ses", "df",
                "stat", "p", "neglog10p")


TEST_COLUMNS = ("trait", "design", "test", "df", "tests", "lambda_gc", "hits", "top_snp", "top_neglog10p")


@dataclass(frozen=True)
class LmmRun(FinishedRun):
    """A scan of one or many traits, or of several traits in one model."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Counts by status, and by trait, design and test: λGC, hits, the strongest variant."""
        return self.report.summary

    @property
    def traits(self) -> list[str]:
        """Traits of the run's rows, by name."""
        return sorted({str(t["trait"]) for t in self.summary.get("tests", [])})

    def results(self) -> DataFrame:
        """Tests as a Spark frame, a row a variant, trait, design and test."""
        return self.workspace.read("lmm_results").where(F.col("run_id") == self.run_id)

    def tests(self) -> pd.DataFrame:
        """Figures by trait, design and test."""
        return pd.DataFrame(self.summary.get("tests", []), columns=list(TEST_COLUMNS))

    def hits(self, p: float = GENOME_WIDE_P) -> pd.DataFrame:
        """Tests below a p-value, in genome order."""
        return few_rows(self.workspace, "lmm_results", _HIT_COLUMNS, {"run_id": self.run_id},
                        above(["neglog10p"], float(-np.log10(p))))

    def models(self) -> pd.DataFrame:
        """Null models, a row a trait, chromosome left out (0: none) and likelihood."""
        rows: pd.DataFrame = self.workspace.rows("lmm_models", {"run_id": self.run_id}).to_pandas()
        return rows.sort_values(["trait", "chr", "likelihood"], ignore_index=True)

    def components(self) -> pd.DataFrame:
        """Variance components of models with random terms: variance, se, share, and the likelihood-ratio test of each being 0.

        Of models without each chromosome the first has been tested.
        """
        return component_table(self.models())

    def enter_traits(self, names: Sequence[str], *, progress: Progress | None = None, **settings: Any) -> Report:
        """Enter the results in ``sumstats`` and ``traits``, a name a trait in the order of ``traits``.

        Further settings are those of :class:`gsem_spark.Trait`: ``scale="linear_probability"``, ``n`` (effective),
        ``sample_prevalence`` and ``population_prevalence`` for a case-control trait that was tested as 0 and 1.
        """
        from gsem_spark.steps.lmm.as_trait import enter_traits

        return enter_traits(self, names, progress=progress, **settings)

    def manhattan(self, trait: str | None = None, design: str | None = None, test: str | None = None) -> Figure:
        """Manhattan plot; of the first trait, design and test by default."""
        from gsem_spark.steps.lmm.figures import manhattan_of

        wanted = {"trait": trait, "design": design, "test": test}
        chosen = [t for t in self.summary["tests"] if all(v in (None, t[k]) for k, v in wanted.items())]
        if not chosen:
            raise DataError(f"the run has no tests of {wanted}", where=self.run_id, remedy="run.tests() lists them")
        return manhattan_of(self, chosen[0]["trait"], chosen[0]["design"], chosen[0]["test"])

    def qq(self, trait: str | None = None) -> Figure:
        """QQ plots, one a trait, design and test."""
        from gsem_spark.steps.lmm.figures import qq_of

        return qq_of(self, trait)

    def h2_profile(self, trait: str | None = None) -> Figure:
        """Profile likelihood of the heritability."""
        from gsem_spark.steps.lmm.figures import profile_of

        return profile_of(self, trait)

    def genotype_effect(self, snp: str, trait: str | None = None) -> Figure:
        """A trait by the genotype of one variant."""
        from gsem_spark.steps.lmm.figures import effect_of

        return effect_of(self, snp, self.traits[0] if trait is None else trait)

    def write_figures(self, folder: str | Path) -> list[Path]:
        """Every figure as PNG and SVG."""
        from gsem_spark.steps.lmm.figures import write_figures

        return write_figures(self, folder)

    def covstruct(self, chromosome: int | None = None) -> CovStruct:
        """Genetic covariance S and its sampling covariance V from a multi-trait model, for the SEM engine.

        Parameters
        ----------
        chromosome
            The model made without this chromosome; by default that of all, or the first that there is.

        Raises
        ------
        DataError
            The run has no model of several traits, or one on the boundary, where the genetic covariance has no V.
        """
        return covstruct_of(self.models(), chromosome, self.run_id)


def covstruct_of(models: pd.DataFrame, chromosome: int | None, run_id: str) -> CovStruct:
    """S and V of a row of ``lmm_models``."""
    several = models[models["Cg"].map(len) > 0]
    if chromosome is not None:
        several = several[several["chr"] == chromosome]
    if several.empty:
        raise DataError("there is no model of several traits", where=run_id,
                        remedy="gsem-spark mtlmm fits one; a chromosome must be one that was left out")
    row = several.iloc[0]
    return genetic_covstruct(row["Cg"], row["Cg_cov"], tuple(map(str, row["traits"])), int(row["n"]))
