"""Multivariate Wald tests on Spark: is a SNP associated with any of the traits, and contrasts of its effects on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from gsem_spark.methods.gwas.wald import OMNIBUS, WaldTest
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.gwas.rows import RowMaker
from gsem_spark.steps.gwas.run import Run
from gsem_spark.steps.gwas.scan import ScanConfig, ScanStep, check_failed
from gsem_spark.steps.gwas.summary import WALD, Measured
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import checked_config
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Weights = dict[str, float] | tuple[float, ...] | tuple[tuple[float, ...], ...]


class WaldConfig(ScanConfig):
    """Settings of multivariate Wald tests."""

    traits: tuple[str, ...] = Field(min_length=1, description="traits of the tests, in the order of the panel")
    contrasts: dict[str, Weights] = Field(
        default_factory=dict,
        description="hypotheses by name: weights by trait, or rows of one weight a trait; the omnibus test where there is none",
    )


class WaldStep(ScanStep[WaldConfig]):
    """Test every SNP of the panel for association with any of the traits, and the contrasts."""

    name: ClassVar[str] = "multivariate_wald"
    title: ClassVar[str] = "Wald tests"
    table: ClassVar[str] = "wald_results"
    writes: ClassVar[tuple[str, ...]] = ("gwas_panel", "covstructs", "wald_results", "loci")

    def __init__(self, config: WaldConfig, cov: CovStruct, part: tuple[int, int] | None = None) -> None:
        super().__init__(config, cov if cov.traits == config.traits else cov.subset(config.traits), part)
        self._test = WaldTest.prepare(self.cov, self.config.contrasts or None, config.gc, config.toler)

    def prepare(self) -> RowMaker:
        """The hypotheses, checked."""
        return RowMaker(self.table, self._test, {"test": self._test.names})

    def measured(self, maker: RowMaker) -> tuple[Measured, ...]:
        """One a hypothesis."""
        names = maker.words["test"]
        return tuple(
            Measured(n, "omnibus" if n == OMNIBUS else "contrast", WALD, words={} if len(names) == 1 else {"test": n})
            for n in names
        )

    def facts(self, maker: RowMaker) -> dict[str, Any]:
        """The traits, and the degrees of freedom of each test."""
        df = {name: int(L.shape[0]) for name, L in zip(self._test.names, self._test.contrasts, strict=True)}
        return {"traits": list(self.cov.traits), "tests": df}


def multivariate_wald(
    ws: Workspace,
    cov: CovStruct,
    contrast: ArrayLike | Mapping[str, Any] | None = None,
    gc: Literal["standard", "conserv", "none"] = "standard",
    *,
    toler: float | None = None,
    info_min: float = PER_SNP_INFO_MIN,
    maf_min: float = PER_SNP_MAF_MIN,
    max_failed: float | None = None,
    part: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Test every SNP for association with any of k traits, with sample overlap allowed for, and contrasts of its effects.

    Parameters
    ----------
    ws
        Workspace that holds the traits' summary statistics.
    cov
        Intercepts of k >= 2 traits; traits are matched by name.
    contrast
        None: the k-df omnibus test. ``{"A": 1, "B": -1}``: one contrast by trait names. A vector (k,) or matrix (r, k): one test
        of L b = 0. ``{"name": vector, matrix or weights by trait, …}``: several.
    gc
        Correction of the standard errors by the LDSC intercepts.
    toler
        Tolerance of matrix inversion, as of :func:`~gsem_spark.methods.gwas.fit_snps.fit_snps`; None: 1e-13.
    info_min, maf_min, max_failed, part, progress
        As for :func:`~gsem_spark.steps.gwas.user_gwas.user_gwas`.

    Returns
    -------
    Run
        Results in ``wald_results``, one row a SNP and test, the omnibus test beside each; loci in ``loci``.

    Raises
    ------
    ModelError
        For fewer than two traits, an unknown trait, or an L of the wrong shape or without full row rank.
    DataError
        A trait has no summary statistics in the workspace.
    """
    tests = WaldTest.prepare(cov, contrast, gc, toler)  # names the hypotheses and refuses wrong ones
    contrasts = {} if contrast is None else {
        name: tuple(tuple(row) for row in np.asarray(L).tolist()) for name, L in zip(tests.names, tests.contrasts, strict=True)
    }  # fmt: skip
    config = checked_config(
        WaldConfig, WaldStep.name, traits=cov.traits, contrasts=contrasts, gc=gc, toler=toler, info_min=info_min,
        maf_min=maf_min, max_failed=max_failed,
    )  # fmt: skip
    run = Run(ws, WaldStep(config, cov, part).run(ws, progress))
    check_failed(run.report, max_failed)
    return run
