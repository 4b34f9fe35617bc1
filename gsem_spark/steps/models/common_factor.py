"""Fit a model to a covariance structure and keep the fit; here the common factor. Small, so all of it happens on the driver.

Spark is imported only when a workspace is involved: without one, :func:`common_factor` is the pure function of
:mod:`gsem_spark.methods.sem`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import commonfactor
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import C, Outcome, Plan, Step, StepConfig, checked_config

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


class FitConfig(StepConfig):
    """Settings of a common factor fit."""

    traits: tuple[str, ...] = Field(min_length=2, description="traits of the model, in the order of its matrices")
    estimation: Literal["DWLS", "ML"] = Field("DWLS", description="diagonally weighted least squares or maximum likelihood")
    identification: Literal["unit_variance", "marker"] = Field(
        "unit_variance", description="what fixes the factor's scale: a variance of 1, or a first loading of 1"
    )


class KeptFit(Step[C]):
    """What all steps have in common that fit one model to a covariance structure and keep it in ``fits``."""

    reads: ClassVar[tuple[str, ...]] = ("covstructs",)
    writes: ClassVar[tuple[str, ...]] = ("covstructs", "fits")
    title: ClassVar[str]
    """What progress calls the stage."""

    def __init__(self, config: C, cov: CovStruct) -> None:
        super().__init__(config)
        self.cov = cov

    @property
    @abstractmethod
    def part(self) -> CovStruct:
        """The structure of the model's traits: all that the result rests on."""

    @property
    @abstractmethod
    def fit(self) -> Fit:
        """The fit itself, made when first asked for; the same bytes every time."""

    def summary(self) -> dict[str, Any]:
        """What the ledger keeps of the fit: plain values by name."""
        return {"status": self.fit.status, **{name: _finite(self.fit.indices[name]) for name in ("chisq", "df", "cfi", "srmr")}}

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Return the structure's content hash; a :class:`ModelError` names traits that it does not have."""
        return {"covstruct": self.part.fingerprint()}

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the fit is in ``fits``."""
        return bool(ws.count("fits", {"fit_id": run_id}))

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Fit, and commit the fit with the structure that it rests on."""
        with progress.stage(self.title):
            fit = self.fit
        covstruct = _keep_covstruct(ws, self.part)
        ws.put("fits", [fit_row(fit, plan.run_id, covstruct)], {"fit_id": plan.run_id},
               metadata={"run_id": plan.run_id})
        return Outcome(1, summary=self.summary(), warnings=fit.messages)


class FitStep(KeptFit[FitConfig]):
    """Fit the common factor model to a covariance structure and keep it in ``fits``."""

    name: ClassVar[str] = "common_factor"
    title: ClassVar[str] = "common factor"

    @cached_property
    def part(self) -> CovStruct:
        """The structure of the config's traits."""
        return self.cov if self.cov.traits == self.config.traits else self.cov.subset(self.config.traits)

    @cached_property
    def fit(self) -> Fit:
        """The fit itself, made when first asked for; the same bytes every time."""
        return commonfactor.common_factor(self.part, self.config.estimation, self.config.identification)


def common_factor(
    cov: CovStruct,
    estimation: Literal["DWLS", "ML"] = "DWLS",
    identification: Literal["unit_variance", "marker"] = "unit_variance",
    ws: Workspace | None = None,
    *,
    progress: Progress | None = None,
) -> Fit:
    """Fit the common factor model to all traits of a covariance structure.

    Parameters
    ----------
    cov
        At least two traits; ``cov.subset([...])`` chooses some.
    estimation
        ``DWLS`` (weights 1 / diag(V)) or ``ML``; sandwich standard errors from all of V either way.
    identification
        ``unit_variance`` (factor variance 1) or ``marker`` (first loading 1).
    ws
        Where to keep the fit (table ``fits``); by default it is only returned, and no Spark is needed.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Fit
        ``.parameters``, ``.indices``, ``.implied``, ``.status``, ``.messages``, ``.summary()``.

    Raises
    ------
    ModelError
        For fewer than two traits, or matrices that no model can be fitted to.
    ConfigError
        For an unknown estimation or identification.
    """
    if ws is None:
        return commonfactor.common_factor(cov, estimation, identification)
    model = commonfactor.common_factor_model(cov.traits, identification)
    config = checked_config(
        FitConfig, "common_factor", traits=model.observed, estimation=estimation, identification=identification
    )
    step = FitStep(config, cov)
    step.run(ws, progress)
    return step.fit


def fit_row(fit: Fit, fit_id: str, covstruct_id: str) -> dict[str, Any]:
    """Make a fit a row of ``fits``: its tables for queries, and the whole of it to be read back."""
    record = fit.to_dict()
    return {
        "fit_id": fit_id, "covstruct_id": covstruct_id, "model": fit.model.syntax, "estimation": fit.estimation,
        "parameters": json.dumps(record["parameters"]), "indices": json.dumps(record["indices"]),
        "messages": list(fit.messages), "fit": json.dumps(record, allow_nan=False),
    }


def read_fit(ws: Workspace, fit_id: str) -> Fit:
    """Read one fit of ``fits``; a :class:`DataError` says when there is none of that id."""
    rows = ws.records("fits", {"fit_id": fit_id}, ["fit"])
    if not rows:
        raise DataError(f"there is no fit {fit_id!r}", where="table fits", remedy="run common_factor or user_model there first")
    return Fit.from_json(rows[0]["fit"])


def _keep_covstruct(ws: Workspace, cov: CovStruct) -> str:
    """Keep the structure beside the fit, under its identity by content, and return that."""
    from gsem_spark.steps.gwas.common_factor import covstruct_id
    from gsem_spark.steps.ldsc.step import covstruct_row

    identity = covstruct_id(cov)
    if not ws.count("covstructs", {"covstruct_id": identity}):
        ws.put("covstructs", [covstruct_row(cov, identity)], {"covstruct_id": identity})
    return identity


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
