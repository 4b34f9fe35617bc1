"""Every step of the pipeline by name; the contract suite and the documentation go through this list."""

from __future__ import annotations

from typing import Any, Final

from gsem_spark.steps.genotypes.kinship import KinshipStep
from gsem_spark.steps.genotypes.step import GenotypesStep
from gsem_spark.steps.gwas.common_factor import GwasStep
from gsem_spark.steps.gwas.panel import BuildPanel
from gsem_spark.steps.gwas.user_gwas import UserGwasStep
from gsem_spark.steps.gwas.wald import WaldStep
from gsem_spark.steps.ldsc.step import LdscStep
from gsem_spark.steps.ldsc.two_step import TwoStepLdscStep
from gsem_spark.steps.lmm.bootstrap import BootstrapStep
from gsem_spark.steps.lmm.multitrait import MtlmmStep
from gsem_spark.steps.lmm.step import LmmStep
from gsem_spark.steps.models.common_factor import FitStep
from gsem_spark.steps.models.user_model import UserModelStep
from gsem_spark.steps.mtag.fdr import FdrStep
from gsem_spark.steps.mtag.step import MtagStep
from gsem_spark.steps.munge.step import MungeStep
from gsem_spark.steps.reconcile.review import ReviewStep
from gsem_spark.steps.reconcile.step import ReconcileStep
from gsem_spark.steps.references.ld_panel import LoadLdScores
from gsem_spark.steps.references.variants import LoadVariants
from gsem_spark.steps.step import Step

STEPS: Final[dict[str, type[Step[Any]]]] = {
    step.name: step
    for step in (
        LoadVariants, LoadLdScores, MungeStep, LdscStep, TwoStepLdscStep, FitStep, BuildPanel, GwasStep, MtagStep, FdrStep,
        ReconcileStep, ReviewStep, UserModelStep, UserGwasStep, WaldStep, GenotypesStep, KinshipStep, LmmStep, MtlmmStep,
        BootstrapStep,
    )
}
