"""Models of a study's GWAS: which of the study's models, texts and files are run over the SNPs, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, field_validator

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods.gwas.snp_model import SNP, choose_rows, read_snp_model
from gsem_spark.steps.gwas.common_factor import GwasConfig
from gsem_spark.steps.gwas.scan import ScanConfig
from gsem_spark.steps.gwas.user_gwas import UserGwasConfig, UserGwasSettings
from gsem_spark.steps.models.texts import is_model_text, read_model_file
from gsem_spark.study.source import Loc, Problem

if TYPE_CHECKING:
    from gsem_spark.study.model import Study, StudyModel

COMMON_FACTOR: Final = "common_factor"
"""What names the common-factor GWAS beside models."""
_OF_MODELS: Final = ("sub", "q_snp", "fix_measurement")
"""Settings that say nothing of the common-factor GWAS."""


class GwasSettings(UserGwasSettings):
    """Settings of gwas in a study file."""

    models: tuple[str, ...] = Field(
        (), description="models to run over the SNPs: names of the study's models, syntax, or files; common_factor beside them"
    )

    @field_validator("models", mode="before")
    @classmethod
    def _one_model(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


def has_snp(text: str) -> bool:
    """Whether a model speaks of the SNP, comments aside: such a model is for the GWAS."""
    return re.search(rf"\b{SNP}\b", re.sub(r"[#!].*", "", text)) is not None


def gwas_configs(study: Study) -> tuple[ScanConfig, ...]:
    """Configs of the study's GWAS: the common factor's, or those of its models, in their order."""
    given: dict[str, Any] = study.gwas.model_dump(exclude_unset=True)
    named = given.pop("models", ())
    of_factor = {k: v for k, v in given.items() if k not in _OF_MODELS}
    made: list[ScanConfig] = []
    for place, name in enumerate(named or (COMMON_FACTOR,), 1):
        if name == COMMON_FACTOR:
            made.append(GwasConfig(traits=study.factor_traits, **of_factor))
            continue
        text, label, own = _model(study.models, name, place)
        made.append(UserGwasConfig(**{**given, **own, "model": text, "name": label}))
    return tuple(made)


def _model(models: dict[str, StudyModel], given: str, place: int) -> tuple[str, str, dict[str, Any]]:
    """Text and name of a model, and the settings that the study gives it by name."""
    if given in models:
        own = models[given].model_dump(exclude_unset=True)
        return models[given].text, given, {k: own[k] for k in ("estimation", "std_lv") if k in own}
    if is_model_text(given):
        return given, f"model_{place}", {}
    return read_model_file(Path(given)), Path(given).stem, {}


def gwas_problems(study: Study) -> Iterator[Problem]:
    """Yield what is wrong with the models of the GWAS, and with settings that have no model to speak of."""
    settings = study.gwas
    if not [m for m in settings.models if m != COMMON_FACTOR]:
        for key in _OF_MODELS:
            if key in settings.model_fields_set:
                what = f"{key} says something of a model, and gwas has no models"
                yield Problem(("gwas", key), what, "add models, or leave it out")
    for index, given in enumerate(settings.models):
        if given == COMMON_FACTOR:
            continue
        loc: Loc = ("gwas", "models", index)
        try:
            text, label, own = _model(study.models, given, index + 1)
        except DataError as error:
            known = ", ".join([COMMON_FACTOR, *study.models])
            yield Problem(loc, f"{Path(given).name!r} is no model of this study: {error.what}", f"models are {known}")
            continue
        try:
            read = read_snp_model(text, study.trait_names, own.get("std_lv", settings.std_lv))
            choose_rows(read.full, settings.sub)
        except ModelError as error:
            place = f"{error.where}: " if error.where.startswith("model line") else ""
            yield Problem(loc, f"model {label!r}: {place}{error.what}", error.remedy)
