"""Fit models that a user wrote in lavaan syntax, and keep the fits beside the common factor's.

As in :mod:`gsem_spark.steps.models.common_factor`, Spark is imported only when a workspace is involved.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gsem_spark.methods import sem
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.model import Model
from gsem_spark.steps.models.common_factor import KeptFit
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import StepConfig, checked_config, content_hash

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


class ModelSettings(StepConfig):
    """How a model is fitted, whatever it says."""

    estimation: Literal["DWLS", "ML"] = Field("DWLS", description="diagonally weighted least squares or maximum likelihood")
    std_lv: bool = Field(False, description="factor variances of 1 in place of a first loading of 1")
    bound_residuals: bool = Field(False, description="hold residual variances above 0.0001, the way out of Heywood cases")


class UserModelConfig(ModelSettings):
    """Settings of the fit of a user's model."""

    model: str = Field(min_length=1, description="the model in lavaan syntax")
    name: str = Field("", description="what reports call the model; nothing of the result depends on it")


class UserModelStep(KeptFit[UserModelConfig]):
    """Fit a user's model to a covariance structure and keep it in ``fits``."""

    name: ClassVar[str] = "user_model"
    title: ClassVar[str] = "user model"

    def __init__(self, config: UserModelConfig, cov: CovStruct, ready: Model | None = None) -> None:
        super().__init__(config, cov)
        self._ready = ready

    @cached_property
    def model(self) -> Model:
        """The model; a :class:`ModelError` names line and column of what is wrong with its text."""
        if self._ready is not None:
            return self._ready
        return Model.parse(self.config.model, std_lv=self.config.std_lv, traits=self.cov.traits)

    @cached_property
    def part(self) -> CovStruct:
        """The structure of the traits that the model uses."""
        return self.cov if self.cov.traits == self.model.observed else self.cov.subset(self.model.observed)

    @cached_property
    def fit(self) -> Fit:
        """The fit itself, made when first asked for; the same bytes every time."""
        config = self.config
        text = config.model if self._ready is None else self._ready
        return sem.user_model(self.part, text, config.estimation, config.std_lv, bound_residuals=config.bound_residuals)

    def result_config(self) -> Mapping[str, Any]:
        """The settings without the name."""
        return self.config.model_dump(mode="json", exclude={"name"})

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Return the structure's content hash, and the model's where it did not come as a text."""
        ready = {} if self._ready is None else {"model": content_hash(self._ready.to_dict())}
        return {**super().inputs(ws), **ready}

    def summary(self) -> dict[str, Any]:
        """What the ledger keeps: status, indices, and the diagnosis, which needs V and so cannot be made from a fit read back."""
        findings = self.fit.diagnosis.frame()[["severity", "text", "remedy"]].to_dict(orient="records")
        return {**super().summary(), "findings": findings}


def user_model(
    cov: CovStruct,
    model: str | Model,
    estimation: Literal["DWLS", "ML"] = "DWLS",
    std_lv: bool = False,
    ws: Workspace | None = None,
    *,
    bound_residuals: bool = False,
    name: str = "",
    progress: Progress | None = None,
) -> Fit:
    """Fit a model that the user wrote.

    Parameters
    ----------
    cov
        S with its sampling covariance V, from :func:`ldsc` or any other source; may have more traits than the model uses.
    model
        lavaan syntax, e.g. ``"F1 =~ BMI + WHR + CAD"`` (see :mod:`gsem_spark.methods.sem.syntax`), or a ready model.
    estimation
        ``DWLS`` (weights 1 / diag(V)) or ``ML``; sandwich standard errors from all of V either way.
    std_lv
        Fix the factors' variances at 1 instead of each first loading.
    ws
        Where to keep the fit (table ``fits``); by default it is only returned, and no Spark is needed.
    bound_residuals
        Hold residual variances above 0.0001: the way out of Heywood cases.
    name
        What reports call a kept model.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Fit
        ``.parameters``, ``.indices``, ``.implied``, ``.residual``, ``.diagnosis``, ``.draw(path)``, ``.summary()``. A fit without
        an optimum says so in ``.status`` and ``.messages``.

    Raises
    ------
    ModelError
        For a syntax error (with line and column), an unknown trait, a model that is not identified, constraints that cannot be
        met, or an S without its V.
    ConfigError
        For an unknown estimation.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.array([[1.0, 0.42, 0.35], [0.42, 1.0, 0.30], [0.35, 0.30, 1.0]])
    >>> cov = CovStruct.from_matrices(S, np.eye(6) * 1e-4, np.eye(3), ["a", "b", "c"])
    >>> user_model(cov, "F =~ a + b + c", std_lv=True).parameters["est"].head(3).round(3).tolist()
    [0.7, 0.6, 0.5]
    """
    if ws is None or not isinstance(cov, CovStruct):  # the pure function says what is wrong with another cov
        return sem.user_model(cov, model, estimation, std_lv, bound_residuals=bound_residuals)
    ready = model if isinstance(model, Model) else None
    config = checked_config(
        UserModelConfig, UserModelStep.name, model=model if isinstance(model, str) else model.syntax, estimation=estimation,
        std_lv=std_lv, bound_residuals=bound_residuals, name=name,
    )
    step = UserModelStep(config, cov, ready)
    step.run(ws, progress)
    return step.fit
