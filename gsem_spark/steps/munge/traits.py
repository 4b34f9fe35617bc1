"""A trait as the user describes it: its raw file and what the file cannot say of itself."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from gsem_spark.steps.step import StepConfig

Scale = Literal["linear", "logistic", "logistic_or_se", "linear_probability"]
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")


class Trait(StepConfig):
    """One trait: raw file, scale of its effects, sample size, prevalences, and names of unusual columns.

    Parameters
    ----------
    name
        Trait name, usable as a variable in a model: letters, digits, ``_`` and ``.``, a letter first.
    file
        Raw summary statistics: text, plain or gzip, bgzip or zstd.
    scale
        ``linear`` (continuous trait, ordinary least squares), ``logistic`` (odds ratio or log odds with the SE of the log
        odds), ``logistic_or_se`` (odds ratio with the SE on the odds-ratio scale), ``linear_probability`` (case-control
        trait analysed by least squares).
    n
        Sample size where the file has no column of it; for ``linear_probability`` the effective one.
    sample_prevalence, population_prevalence
        Share of cases; both or neither. With them LDSC reports the liability scale.
    columns
        Role → column of the file, where the header is not recognised, e.g. ``{"snp": "MarkerID", "effect": "b"}``.

    Examples
    --------
    >>> Trait(name="MDD", file="mdd.tsv.gz", scale="logistic", sample_prevalence=0.5, population_prevalence=0.15).name
    'MDD'
    """

    name: str
    file: str
    scale: Scale = "linear"
    n: float | None = Field(default=None, gt=0)
    sample_prevalence: float | None = Field(default=None, gt=0, lt=1)
    population_prevalence: float | None = Field(default=None, gt=0, lt=1)
    columns: dict[str, str] = Field(default_factory=dict)

    def __init__(self, name: Any = None, file: Any = None, **settings: Any) -> None:
        given = {k: v for k, v in (("name", name), ("file", file)) if v is not None}
        super().__init__(**{**given, "file": str(file)} if file is not None else given, **settings)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"trait name {self.name!r} must start with a letter and hold only letters, digits, _ and .")
        if self.name in ("SNP", "NA"):
            raise ValueError(f"trait name {self.name!r} has a meaning of its own in models")
        if (self.sample_prevalence is None) != (self.population_prevalence is None):
            raise ValueError("sample_prevalence and population_prevalence go together: give both or neither")
        return self
