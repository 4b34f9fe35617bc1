"""GWAS of models that the user wrote, on Spark: one model, or several over the same panel in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas.factor_scale import factor_variances
from gsem_spark.methods.gwas.snp_model import ALL, SNP, Row, SnpModel, free_numbers, read_snp_model
from gsem_spark.methods.gwas.user_model import UserModelGwas
from gsem_spark.methods.gwas.wald import WaldTest
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.model import Model
from gsem_spark.steps.gwas.common_factor import WITH_ANYTHING
from gsem_spark.steps.gwas.rows import RowMaker, left_out_columns
from gsem_spark.steps.gwas.run import Run
from gsem_spark.steps.gwas.scan import ScanConfig, ScanStep, check_failed, run_together
from gsem_spark.steps.gwas.summary import Q_SNP, Measured
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import checked_config, content_hash
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN, SNP_SE

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Sub = str | Sequence[str] | None


class UserGwasSettings(ScanConfig):
    """How models are run over the SNPs, whatever they say."""

    sub: tuple[str, ...] | Literal["all"] | None = Field(
        None, description="rows to keep of every SNP, e.g. F1~SNP; by default the paths of the SNP, with all every row"
    )
    q_snp: bool = Field(True, description="give Q_SNP of each factor that the SNP points at")
    fix_measurement: bool = Field(True, description="hold loadings, regressions and covariances at the fit without the SNP")
    std_lv: bool = Field(False, description="unit factor variances instead of first loadings of 1")
    estimation: Literal["DWLS", "ML"] = "DWLS"
    snp_se: float = Field(SNP_SE, gt=0, description="standard error given to the SNP's variance")
    omnibus: bool = Field(False, description="also test each SNP for association with any trait (Wald), in the same rows")
    smooth_check: bool = Field(True, description="give z_smooth, the largest change of a trait's Z by smoothing S_full or V_full")

    @field_validator("sub", mode="before")
    @classmethod
    def _one_name(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) and given != ALL else given


class UserGwasConfig(UserGwasSettings):
    """Settings of the GWAS of a user's model."""

    model: str = Field(min_length=1, description="the model in lavaan syntax, with SNP as a predictor")
    name: str = Field("", description="what reports call the model; nothing of the result depends on it")


class UserGwasStep(ScanStep[UserGwasConfig]):
    """Fit a user's model to every SNP of the panel of its traits."""

    name: ClassVar[str] = "user_gwas"
    title: ClassVar[str] = "GWAS of a model"
    table: ClassVar[str] = "gwas_results"
    writes: ClassVar[tuple[str, ...]] = ("gwas_panel", "covstructs", "gwas_results", "loci")

    def __init__(
        self, config: UserGwasConfig, cov: CovStruct, ready: Model | None = None, part: tuple[int, int] | None = None
    ) -> None:
        self._ready, self._given = ready, cov
        read = self._read(config, cov)
        super().__init__(config, cov if cov.traits == read.traits else cov.subset(read.traits), part)

    def _read(self, config: UserGwasConfig, cov: CovStruct) -> SnpModel:
        """The model; a :class:`ModelError` says what is wrong with it, before anything is run."""
        return read_snp_model(config.model if self._ready is None else self._ready, cov.traits, config.std_lv)

    def result_config(self) -> Mapping[str, Any]:
        """The settings without the name."""
        return {k: v for k, v in super().result_config().items() if k != "name"}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """The structure's content, the panel's, and the model's where it did not come as a text."""
        ready = {} if self._ready is None else {"model": content_hash(self._ready.to_dict())}
        return {**super().inputs(ws), **ready}

    @cached_property
    def gwas(self) -> UserModelGwas:
        """The model fitted without SNPs and compiled; made when first asked for."""
        c = self.config
        return UserModelGwas.prepare(
            self.cov, c.model if self._ready is None else self._ready, c.sub, c.q_snp, c.fix_measurement, c.std_lv, c.estimation,
            c.gc, c.snp_se, toler=c.toler,
        )  # fmt: skip

    def prepare(self) -> RowMaker:
        """Fit the measurement part and compile the model."""
        rows = self.gwas.rows
        words = {name: tuple(getattr(row, name) for row in rows) for name in ("lhs", "op", "rhs")}
        c = self.config
        omnibus = WaldTest.prepare(self.cov, gc=c.gc, toler=c.toler) if c.omnibus else None
        return RowMaker(self.table, self.gwas, words, omnibus, left_out_columns(c.smooth_check))

    def slow(self, maker: RowMaker) -> bool:
        """Whether SNPs go through the general engine."""
        return self.gwas.route == "general"

    def measured(self, maker: RowMaker) -> tuple[Measured, ...]:
        """Paths of the SNP, and defined parameters in which one has a part."""
        gwas, variances = self.gwas, factor_variances(self.gwas)
        alone = len(gwas.rows) == 1
        found = []
        for row, factor in zip(gwas.rows, gwas.table.row_factor, strict=True):
            if _of_the_snp(gwas.model, row):
                on_factor = row.op == "~" and row.lhs in gwas.model.latent
                found.append(Measured(
                    row.name if row.op != ":=" else row.lhs, "factor" if on_factor else "effect",
                    q=Q_SNP if factor >= 0 else None,
                    words={} if alone else {"lhs": row.lhs, "op": row.op, "rhs": row.rhs},
                    factor_variance=variances.get(row.lhs) if on_factor else None,
                ))  # fmt: skip
        if maker.omnibus is not None:
            found.append(Measured(WITH_ANYTHING.label, WITH_ANYTHING.signal, WITH_ANYTHING.main, words=maker.first_row))
        return tuple(found)

    def facts(self, maker: RowMaker) -> dict[str, Any]:
        """The route and why, the traits, the rows with their numbers in lavaan's table, and what was noted of the model."""
        gwas = self.gwas
        given = gwas.estimation == "ML" and not gwas.fix_measurement
        return {
            "route": gwas.route, "route_reason": gwas.route_reason, "traits": list(gwas.traits),
            "rows": [r.name for r in gwas.rows], "free": list(free_numbers(gwas.model, gwas.rows, given)),
            "notes": list(gwas.notes),
        }  # fmt: skip


def _of_the_snp(model: Model, row: Row) -> bool:
    """Whether a row says what the SNP does: a path from it, or a defined parameter in which one has a part."""
    if row.op != ":=":
        return row.op == "~" and row.rhs == SNP
    labels = {p.label for p in model.paths if p.op == "~" and p.rhs == SNP and p.label is not None}
    return bool(labels & set(ex.names_in(model.defined_functions[row.place].expression)))


def user_gwas(
    ws: Workspace,
    cov: CovStruct,
    model: str | Model,
    sub: Sub = None,
    q_snp: bool = True,
    fix_measurement: bool = True,
    std_lv: bool = False,
    estimation: Literal["DWLS", "ML"] = "DWLS",
    gc: Literal["standard", "conserv", "none"] = "standard",
    snp_se: float = SNP_SE,
    omnibus: bool = False,
    *,
    toler: float | None = None,
    smooth_check: bool = True,
    info_min: float = PER_SNP_INFO_MIN,
    maf_min: float = PER_SNP_MAF_MIN,
    max_failed: float | None = None,
    name: str = "",
    part: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Run:
    r"""Fit any model with a SNP in it to every SNP that the model's traits share.

    Parameters
    ----------
    ws
        Workspace that holds the traits' summary statistics.
    cov
        S, V, I; traits are matched by name, and the model may use some of them.
    model
        lavaan syntax with ``SNP`` as a predictor, e.g. ``"F1 =~ a + b + c\nF1 ~ SNP"``, or a ready model.
    sub
        Rows to keep of every SNP, e.g. ``"F1~SNP"``; None: all paths of the SNP; ``"all"``: every row.
    q_snp
        Give Q_SNP of each factor that the SNP points at and whose indicators are all traits.
    fix_measurement
        Hold loadings, regressions and covariances at the fit without the SNP; variances stay free (GenomicSEM's default).
    std_lv
        Fix the factors' (residual) variances at 1 instead of each first loading.
    estimation
        ``DWLS`` or ``ML``.
    gc
        Correction of the standard errors by the LDSC intercepts: ``standard``, ``conserv`` or ``none``.
    snp_se
        Standard error given to the SNP's variance.
    omnibus
        Put the Wald test of no association with any of the model's traits beside each row (columns ``omnibus_*``).
    toler
        Tolerance of matrix inversion, as of :func:`~gsem_spark.methods.gwas.fit_snps.fit_snps`; None: 1e-13.
    smooth_check
        Fill ``z_smooth``, the largest change of a trait's Z by smoothing.
    info_min, maf_min
        Rows of the summary statistics below these are left out.
    max_failed
        Share of SNPs without a fit above which an error is raised; the results are kept.
    name
        What reports call the model.
    part
        ``(i, n)``: run the i-th of n parts of the genome only, i from 1. When the last part is in, the run is finished.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Run
        Results in ``gwas_results`` and ``loci``; ``.summary`` says which route was taken and why.

    Raises
    ------
    DataError
        A trait has no summary statistics in the workspace.
    ModelError
        For a model that cannot be read, names an unknown trait, has no SNP, has it as an outcome, or is not identified; for a
        ``sub`` that names no row.
    ConvergenceError
        The measurement part has no solution, or more SNPs than ``max_failed`` have no fit.
    ConfigError
        For a setting without such a value.
    """
    runs = user_gwas_models(
        ws, cov, {name: model}, sub, q_snp, fix_measurement, std_lv, estimation, gc, snp_se, omnibus, toler=toler,
        smooth_check=smooth_check, info_min=info_min, maf_min=maf_min, max_failed=max_failed, part=part, progress=progress,
    )  # fmt: skip
    return runs[name]


def user_gwas_models(
    ws: Workspace,
    cov: CovStruct,
    models: Mapping[str, str | Model] | Sequence[str | Model],
    sub: Sub = None,
    q_snp: bool = True,
    fix_measurement: bool = True,
    std_lv: bool = False,
    estimation: Literal["DWLS", "ML"] = "DWLS",
    gc: Literal["standard", "conserv", "none"] = "standard",
    snp_se: float = SNP_SE,
    omnibus: bool = False,
    *,
    toler: float | None = None,
    smooth_check: bool = True,
    info_min: float = PER_SNP_INFO_MIN,
    maf_min: float = PER_SNP_MAF_MIN,
    max_failed: float | None = None,
    part: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Run]:
    """Run several models: those of the same traits share one pass over the panel. Each has a run of its own, as if it ran alone.

    Parameters
    ----------
    models
        By name, or a list (then named ``model_1`` …).
    ws, cov, sub, q_snp, fix_measurement, std_lv, estimation, gc, snp_se, omnibus, toler, smooth_check, info_min,
    maf_min, max_failed, part, progress
        As for :func:`user_gwas`.

    Returns
    -------
    dict of Run
        By name, in the order given.

    Raises
    ------
    ModelError
        No model is given; else as for :func:`user_gwas`, before anything is run.
    """
    settings: dict[str, Any] = {
        "sub": sub, "q_snp": q_snp, "fix_measurement": fix_measurement, "std_lv": std_lv, "estimation": estimation, "gc": gc,
        "snp_se": snp_se, "omnibus": omnibus, "toler": toler, "smooth_check": smooth_check, "info_min": info_min,
        "maf_min": maf_min, "max_failed": max_failed,
    }  # fmt: skip
    if not models:
        raise ModelError("no model is given", remedy="give one in lavaan syntax, or several by name")
    named = models if isinstance(models, Mapping) else {f"model_{i}": given for i, given in enumerate(models, 1)}
    steps = [model_step(cov, given, part, name=label, **settings) for label, given in named.items()]
    reports = run_together(ws, steps, progress, part)
    runs = {label: Run(ws, report) for label, report in zip(named, reports, strict=True)}
    for run in runs.values():
        check_failed(run.report, max_failed)
    return runs


def model_step(cov: CovStruct, model: str | Model, part: tuple[int, int] | None = None, **settings: Any) -> UserGwasStep:
    """Make the step of a model; settings as the fields of :class:`UserGwasConfig`."""
    ready = model if isinstance(model, Model) else None
    text = model if isinstance(model, str) else model.syntax
    return UserGwasStep(checked_config(UserGwasConfig, UserGwasStep.name, model=text, **settings), cov, ready, part)
