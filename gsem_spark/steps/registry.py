"""Every step of the pipeline by name; the contract suite and the documentation go through this list."""

from __future__ import annotations

from typing import Any, Final

from gsem_spark.steps.fit import FitStep
from gsem_spark.steps.genotypes import GenotypesStep
from gsem_spark.steps.gwas import GwasStep
from gsem_spark.steps.ingest import MungeStep
from gsem_spark.steps.kinship import KinshipStep
from gsem_spark.steps.ld_panel import LoadLdScores
from gsem_spark.steps.ldsc import LdscStep
from gsem_spark.steps.ldsc_two_step import TwoStepLdscStep
from gsem_spark.steps.lmm import LmmStep
from gsem_spark.steps.lmm_bootstrap import BootstrapStep
from gsem_spark.steps.mtag import MtagStep
from gsem_spark.steps.mtag_fdr import FdrStep
from gsem_spark.steps.mtlmm import MtlmmStep
from gsem_spark.steps.panel import BuildPanel
from gsem_spark.steps.reconcile import ReconcileStep
from gsem_spark.steps.review import ReviewStep
from gsem_spark.steps.step import Step
from gsem_spark.steps.user_fit import UserModelStep
from gsem_spark.steps.user_gwas import UserGwasStep
from gsem_spark.steps.variant_reference import LoadVariants
from gsem_spark.steps.wald import WaldStep

STEPS: Final[dict[str, type[Step[Any]]]] = {
    step.name: step
    for step in (
        LoadVariants, LoadLdScores, MungeStep, LdscStep, TwoStepLdscStep, FitStep, BuildPanel, GwasStep, MtagStep, FdrStep,
        ReconcileStep, ReviewStep, UserModelStep, UserGwasStep, WaldStep, GenotypesStep, KinshipStep, LmmStep, MtlmmStep,
        BootstrapStep,
    )
}
