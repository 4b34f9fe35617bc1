"""gsem_spark: multivariate GWAS on Apache Spark, from raw summary statistics to a reviewed result.

>>> import gsem_spark as gs

A user needs no other import. The verbs that need Spark are loaded when first used, so that the mathematics
(``gs.CovStruct``, ``gs.common_factor``, ``gs.methods``) works where Spark is not installed.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from gsem_spark.version import __version__

_PUBLIC = {
    "start_session": "gsem_spark.session",
    "Workspace": "gsem_spark.catalog.workspace",
    "Trait": "gsem_spark.steps.munge.traits",
    "load_references": "gsem_spark.steps.references.load",
    "munge": "gsem_spark.steps.munge.step",
    "ldsc": "gsem_spark.steps.ldsc.step",
    "CovStruct": "gsem_spark.methods.ldsc.covstruct",
    "common_factor": "gsem_spark.steps.models.common_factor",
    "Fit": "gsem_spark.methods.sem.fit",
    "user_model": "gsem_spark.steps.models.user_model",
    "modification_indices": "gsem_spark.methods.sem",
    "what_if": "gsem_spark.methods.sem",
    "compare": "gsem_spark.methods.sem",
    "nested_test": "gsem_spark.methods.sem",
    "residual_test": "gsem_spark.methods.sem",
    "local_srmd": "gsem_spark.methods.sem",
    "structure_from_frames": "gsem_spark.methods.sem",
    "Model": "gsem_spark.methods.sem",
    "esem": "gsem_spark.methods.sem.esem",
    "parallel_analysis": "gsem_spark.methods.sem.parallel",
    "write_model": "gsem_spark.methods.sem.write_model",
    "rg_model": "gsem_spark.methods.sem.genetic_correlations",
    "index_s": "gsem_spark.methods.sem.genetic_correlations",
    "sub_cov": "gsem_spark.methods.sem.genetic_correlations",
    "summary_gls": "gsem_spark.methods.sem.gls",
    "gls_bands": "gsem_spark.methods.sem.gls",
    "draw_bands": "gsem_spark.report.bands",
    "split_analysis": "gsem_spark.methods.sem.split",
    "q_factor": "gsem_spark.methods.sem.heterogeneity",
    "q_trait": "gsem_spark.methods.sem.heterogeneity",
    "genetic_regression": "gsem_spark.methods.sem.genetic_regression",
    "draw": "gsem_spark.report.path_diagram",
    "common_factor_gwas": "gsem_spark.steps.gwas.common_factor",
    "user_gwas": "gsem_spark.steps.gwas.user_gwas",
    "user_gwas_models": "gsem_spark.steps.gwas.user_gwas",
    "multivariate_wald": "gsem_spark.steps.gwas.wald",
    "Run": "gsem_spark.steps.gwas.run",
    "mtag": "gsem_spark.steps.mtag.step",
    "MtagRun": "gsem_spark.steps.mtag.run",
    "max_fdr": "gsem_spark.steps.mtag.fdr",
    "reconcile": "gsem_spark.steps.reconcile.step",
    "review": "gsem_spark.steps.reconcile.review",
    "read_fusion": "gsem_spark.steps.gwas.predictor_files",
    "panel_snps": "gsem_spark.steps.gwas.predictor_files",
    "t_sem": "gsem_spark.methods.gwas",
    "multi_snp": "gsem_spark.methods.gwas",
    "multi_gene": "gsem_spark.methods.gwas",
    "export_gwas": "gsem_spark.steps.export.gwas",
    "genotypes": "gsem_spark.steps.genotypes.step",
    "lmm_scan": "gsem_spark.steps.lmm.step",
    "mtlmm_scan": "gsem_spark.steps.lmm.multitrait",
    "lmm_bootstrap": "gsem_spark.steps.lmm.bootstrap",
    "LmmRun": "gsem_spark.steps.lmm.run",
    "BootstrapRun": "gsem_spark.steps.lmm.bootstrap",
    "Cohort": "gsem_spark.steps.genotypes.source",
    "kinship": "gsem_spark.steps.genotypes.kinship",
    "Kinship": "gsem_spark.steps.genotypes.kinship",
    "simulate": "gsem_spark.steps.simulation.simulate",
    "report": "gsem_spark.steps.report.step",
    "run_study": "gsem_spark.study",
    "GsemError": "gsem_spark.errors",
}
__all__ = ["__version__", *_PUBLIC, "methods"]  # noqa: PLE0604 - names of the table above

if TYPE_CHECKING:
    from gsem_spark import methods as methods
    from gsem_spark.catalog.workspace import Workspace as Workspace
    from gsem_spark.errors import GsemError as GsemError
    from gsem_spark.methods.gwas import multi_gene as multi_gene
    from gsem_spark.methods.gwas import multi_snp as multi_snp
    from gsem_spark.methods.gwas import t_sem as t_sem
    from gsem_spark.methods.ldsc.covstruct import CovStruct as CovStruct
    from gsem_spark.methods.sem import Model as Model
    from gsem_spark.methods.sem import compare as compare
    from gsem_spark.methods.sem import local_srmd as local_srmd
    from gsem_spark.methods.sem import modification_indices as modification_indices
    from gsem_spark.methods.sem import nested_test as nested_test
    from gsem_spark.methods.sem import residual_test as residual_test
    from gsem_spark.methods.sem import structure_from_frames as structure_from_frames
    from gsem_spark.methods.sem import what_if as what_if
    from gsem_spark.methods.sem.esem import esem as esem
    from gsem_spark.methods.sem.fit import Fit as Fit
    from gsem_spark.methods.sem.genetic_correlations import index_s as index_s
    from gsem_spark.methods.sem.genetic_correlations import rg_model as rg_model
    from gsem_spark.methods.sem.genetic_correlations import sub_cov as sub_cov
    from gsem_spark.methods.sem.genetic_regression import genetic_regression as genetic_regression
    from gsem_spark.methods.sem.gls import gls_bands as gls_bands
    from gsem_spark.methods.sem.gls import summary_gls as summary_gls
    from gsem_spark.methods.sem.heterogeneity import q_factor as q_factor
    from gsem_spark.methods.sem.heterogeneity import q_trait as q_trait
    from gsem_spark.methods.sem.parallel import parallel_analysis as parallel_analysis
    from gsem_spark.methods.sem.split import split_analysis as split_analysis
    from gsem_spark.methods.sem.write_model import write_model as write_model
    from gsem_spark.report.bands import draw_bands as draw_bands
    from gsem_spark.report.path_diagram import draw as draw
    from gsem_spark.session import start_session as start_session
    from gsem_spark.steps.export.gwas import export_gwas as export_gwas
    from gsem_spark.steps.genotypes.kinship import Kinship as Kinship
    from gsem_spark.steps.genotypes.kinship import kinship as kinship
    from gsem_spark.steps.genotypes.source import Cohort as Cohort
    from gsem_spark.steps.genotypes.step import genotypes as genotypes
    from gsem_spark.steps.gwas.common_factor import common_factor_gwas as common_factor_gwas
    from gsem_spark.steps.gwas.predictor_files import panel_snps as panel_snps
    from gsem_spark.steps.gwas.predictor_files import read_fusion as read_fusion
    from gsem_spark.steps.gwas.run import Run as Run
    from gsem_spark.steps.gwas.user_gwas import user_gwas as user_gwas
    from gsem_spark.steps.gwas.user_gwas import user_gwas_models as user_gwas_models
    from gsem_spark.steps.gwas.wald import multivariate_wald as multivariate_wald
    from gsem_spark.steps.ldsc.step import ldsc as ldsc
    from gsem_spark.steps.lmm.bootstrap import BootstrapRun as BootstrapRun
    from gsem_spark.steps.lmm.bootstrap import lmm_bootstrap as lmm_bootstrap
    from gsem_spark.steps.lmm.multitrait import mtlmm_scan as mtlmm_scan
    from gsem_spark.steps.lmm.run import LmmRun as LmmRun
    from gsem_spark.steps.lmm.step import lmm_scan as lmm_scan
    from gsem_spark.steps.models.common_factor import common_factor as common_factor
    from gsem_spark.steps.models.user_model import user_model as user_model
    from gsem_spark.steps.mtag.fdr import max_fdr as max_fdr
    from gsem_spark.steps.mtag.run import MtagRun as MtagRun
    from gsem_spark.steps.mtag.step import mtag as mtag
    from gsem_spark.steps.munge.step import munge as munge
    from gsem_spark.steps.munge.traits import Trait as Trait
    from gsem_spark.steps.reconcile.review import review as review
    from gsem_spark.steps.reconcile.step import reconcile as reconcile
    from gsem_spark.steps.references.load import load_references as load_references
    from gsem_spark.steps.report.step import report as report
    from gsem_spark.steps.simulation.simulate import simulate as simulate
    from gsem_spark.study import run_study as run_study


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    elif name == "methods":
        value = importlib.import_module("gsem_spark.methods")
    else:
        raise AttributeError(f"module 'gsem_spark' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(types.ModuleType):
    """Keeps ``gs.report`` the verb: importing the folder ``report`` would otherwise put the module under that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name == "report" and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
