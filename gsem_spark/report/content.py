"""What a report is made from: frames and mappings on the driver, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.report.mixed_content import BootstrapContent, MixedContent
from gsem_spark.report.reconcile_content import ReconcileContent, ReviewContent
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from gsem_spark.methods.sem.fit import Fit
    from gsem_spark.report.model_sections import UserModelContent
    from gsem_spark.report.scan_sections import ScanContent


def _empty() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True)
class ModelContent:
    """A fitted model.

    Parameters
    ----------
    syntax
        The model as the user may write it.
    estimation
        ``DWLS`` or ``ML``.
    parameters
        ``lhs op rhs est se std_est std_se`` and, where known, ``p neglog10p std_all``.
    indices
        Fit indices by name (``chisq df p aic cfi tli rmsea rmsea_low rmsea_high srmr``); missing ones are not shown.
    messages
        What a reader must know about the fit.
    """

    syntax: str
    estimation: str
    parameters: pd.DataFrame
    indices: Mapping[str, float]
    messages: tuple[str, ...] = ()

    @classmethod
    def from_fit(cls, fit: Fit, syntax: str = "") -> Self:
        """Take what the report shows from a fit."""
        return cls(syntax, fit.estimation, fit.parameters, fit.indices, tuple(fit.messages))


@dataclass(frozen=True)
class GwasContent:
    """A genome-wide scan of a factor, thinned.

    Parameters
    ----------
    status
        SNPs by fit status.
    factor_points, q_points
        What :func:`~gsem_spark.report.thinning.thin_for_manhattan` leaves: ``chr bp neglog10p``.
    factor_qq, q_qq
        What :func:`~gsem_spark.report.thinning.qq_points` returns.
    loci
        Rows of table ``loci``.
    summary
        ``lambda_gc lambda_gc_q mean_chisq effective_n factor_hits``, as the GWAS step keeps them; missing ones are not shown.
    effects
        ``snp trait beta se`` of lead SNPs, for the forest figure; may be empty.
    factor
        Name of the factor.
    q_threshold
        p-value below which a factor SNP's Q_SNP is significant; None where no SNP was tested.
    """

    status: Mapping[str, int]
    factor_points: pd.DataFrame
    q_points: pd.DataFrame
    factor_qq: pd.DataFrame
    q_qq: pd.DataFrame
    loci: pd.DataFrame
    summary: Mapping[str, float | None]
    effects: pd.DataFrame = field(default_factory=_empty)
    factor: str = "F1"
    p_threshold: float = GENOME_WIDE_P
    q_threshold: float | None = None

    @property
    def n_snps(self) -> int:
        """All SNPs of the scan, whatever their status."""
        return sum(self.status.values())

    @property
    def n_fitted(self) -> int:
        """SNPs with an admissible fit: status ok or smoothed."""
        return self.status.get("ok", 0) + self.status.get("smoothed", 0)


@dataclass(frozen=True)
class ReportContent:
    """Everything a report shows. A part that is missing is a section that is left out.

    Parameters
    ----------
    title, run_id
        Heading, and the run that the report is of.
    traits
        Rows of table ``traits``, in the order to show.
    qc
        Rows of table ``qc_log``.
    cov
        Genetic covariance structure, with LDSC's figures in its diagnostics where it came from LDSC.
    model, gwas
        The fitted model and the scan.
    settings
        Settings by step.
    truth
        ``quantity truth estimate se`` where the data were simulated.
    warnings
        What a reader must know, besides what the parts say themselves.
    provenance
        Versions, input tables, times: names and texts.
    reconcile, review
        The run's reconciliation with MTAG, and the checklist.
    models
        Models that the user wrote, in the order to show.
    scans
        GWAS of users' models and Wald tests, in the order to show.
    mixed, bootstraps
        Scans of genotypes under mixed models, and bootstraps of such models, in the order to show.
    """

    title: str
    run_id: str
    traits: pd.DataFrame = field(default_factory=_empty)
    qc: pd.DataFrame = field(default_factory=_empty)
    cov: CovStruct | None = None
    model: ModelContent | None = None
    gwas: GwasContent | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    truth: pd.DataFrame = field(default_factory=_empty)
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    reconcile: ReconcileContent | None = None
    review: ReviewContent | None = None
    models: tuple[UserModelContent, ...] = ()
    scans: tuple[ScanContent, ...] = ()
    mixed: tuple[MixedContent, ...] = ()
    bootstraps: tuple[BootstrapContent, ...] = ()
