"""Common-factor GWAS on Spark: the null fit is broadcast, SNPs run through one compiled kernel, restart is by slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gsem_spark.methods.gwas.commonfactor import LHS_OP_RHS, CommonFactorGwas
from gsem_spark.methods.gwas.wald import WaldTest
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.gwas.rows import RowMaker, left_out_columns
from gsem_spark.steps.gwas.run import COMMON_FACTOR_PATH, Run
from gsem_spark.steps.gwas.scan import ScanConfig, ScanStep, check_failed
from gsem_spark.steps.gwas.scan import covstruct_id as covstruct_id
from gsem_spark.steps.gwas.summary import OMNIBUS, Q_SNP, Measured
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import checked_config
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN, SNP_SE

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

WITH_ANYTHING = Measured("omnibus", "omnibus", OMNIBUS)
"""Figures and loci of the omnibus test beside a model."""


class GwasConfig(ScanConfig):
    """Settings of a common-factor GWAS."""

    traits: tuple[str, ...] = Field(min_length=1, description="trait order of the covariance structure and the panel")
    estimation: Literal["DWLS", "ML"] = "DWLS"
    std_lv: bool = Field(False, description="unit factor variance instead of a first loading of 1")
    snp_se: float = Field(SNP_SE, gt=0, description="standard error given to the SNP's variance")
    omnibus: bool = Field(False, description="also test each SNP for association with any trait (Wald), in the same rows")
    smooth_check: bool = Field(True, description="give z_smooth, the largest change of a trait's Z by smoothing S_full or V_full")


class GwasStep(ScanStep[GwasConfig]):
    """Test every SNP of the panel on the common factor, and for heterogeneity (Q_SNP)."""

    name: ClassVar[str] = "common_factor_gwas"
    title: ClassVar[str] = "common-factor GWAS"
    table: ClassVar[str] = "gwas_results"
    flat: ClassVar[bool] = True
    writes: ClassVar[tuple[str, ...]] = ("gwas_panel", "covstructs", "gwas_results", "loci")

    def result_config(self) -> Mapping[str, Any]:
        """The settings that decide the result; the omnibus test only where it is asked for."""
        config = dict(super().result_config())
        return config if config["omnibus"] else {k: v for k, v in config.items() if k != "omnibus"}

    def prepare(self) -> RowMaker:
        """Fit the common factor without SNPs."""
        c = self.config
        kernel = CommonFactorGwas.prepare(self.cov, c.gc, c.snp_se, c.estimation, c.std_lv, c.toler)
        words = {name: (value,) for name, value in zip(("lhs", "op", "rhs"), LHS_OP_RHS, strict=True)}
        omnibus = WaldTest.prepare(self.cov, gc=c.gc, toler=c.toler) if c.omnibus else None
        return RowMaker(self.table, kernel, words, omnibus, left_out_columns(c.smooth_check))

    def measured(self, maker: RowMaker) -> tuple[Measured, ...]:
        """The factor with Q_SNP, and the omnibus test where it is there."""
        kernel: Any = maker.kernel
        factor = Measured(COMMON_FACTOR_PATH, "factor", q=Q_SNP, factor_variance=kernel.factor_variance)
        return (factor, WITH_ANYTHING) if maker.omnibus is not None else (factor,)


def common_factor_gwas(
    ws: Workspace,
    cov: CovStruct,
    gc: Literal["standard", "conserv", "none"] = "standard",
    *,
    estimation: Literal["DWLS", "ML"] = "DWLS",
    std_lv: bool = False,
    snp_se: float = SNP_SE,
    omnibus: bool = False,
    toler: float | None = None,
    smooth_check: bool = True,
    info_min: float = PER_SNP_INFO_MIN,
    maf_min: float = PER_SNP_MAF_MIN,
    max_failed: float | None = None,
    part: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a genome-wide common-factor GWAS with Q_SNP on the traits of a covariance structure.

    Parameters
    ----------
    ws
        Workspace that holds the traits' summary statistics.
    cov
        S, V, I of the traits; traits are matched by name.
    gc
        Correction of the standard errors by the LDSC intercepts: by their root, fully, or not.
    estimation
        ``DWLS`` or ``ML``.
    std_lv
        Scale the factor by a unit variance instead of the first trait's loading.
    snp_se
        Standard error given to the SNP's variance.
    omnibus
        Put the Wald test of no association with any trait beside each SNP's effect (columns ``omnibus_*``).
    toler
        Tolerance of matrix inversion, as of :func:`~gsem_spark.methods.gwas.fit_snps.fit_snps`; None: 1e-13.
    smooth_check
        Fill ``z_smooth``, the largest change of a trait's Z by smoothing.
    info_min, maf_min
        Rows of the summary statistics below these are left out.
    max_failed
        Share of SNPs without a fit above which an error is raised; the results are kept.
    part
        ``(i, n)``: run the i-th of n parts of the genome only, i from 1. When the last part is in, the run is finished.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Run
        Results in ``gwas_results`` and ``loci``; running it again with the same inputs does nothing.

    Raises
    ------
    DataError
        A trait has no summary statistics in the workspace.
    ModelError
        Fewer than three traits, the model without a SNP cannot be fitted, or V is singular at ``toler``.
    ConfigError
        For a setting without such a value.
    ConvergenceError
        The model without a SNP has no solution, or more SNPs than ``max_failed`` have no fit.
    """
    config = checked_config(
        GwasConfig, GwasStep.name, traits=cov.traits, gc=gc, estimation=estimation, std_lv=std_lv, snp_se=snp_se, omnibus=omnibus,
        toler=toler, smooth_check=smooth_check, info_min=info_min, maf_min=maf_min, max_failed=max_failed,
    )  # fmt: skip
    run = Run(ws, GwasStep(config, cov, part).run(ws, progress))
    check_failed(run.report, max_failed)
    return run
