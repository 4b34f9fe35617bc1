"""Sections of a study on individual-level data: ``genotypes``, ``kinship`` and ``lmm``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import Field

from gsem_spark.steps.genotypes.kinship_config import FROM_GENOTYPES, KinshipConfig
from gsem_spark.steps.genotypes.step import GenotypesConfig
from gsem_spark.steps.lmm.config import BootstrapConfig, LmmConfig, ModelConfig, MtlmmConfig, ScanConfig
from gsem_spark.steps.step import StepConfig
from gsem_spark.study.settings import settings_of
from gsem_spark.study.source import Loc

SECTIONS: Final = ("genotypes", "kinship", "lmm")
_AS_TRAIT: Final = Field((), description="names under which the results enter sumstats, one a trait, by the traits' names")
_MULTITRAIT: Final = Field(None, description="also test the traits in one model; left out, it is not done")
_BOOTSTRAP: Final = Field(None, description="also bootstrap each trait's model; left out, it is not done")
_SCAN_FIELDS: Final = ("chromosomes", "exact", "precision")
_PATHS: Final = (
    ("genotypes", ("files", "keep", "remove", "sample_file")), ("kinship", ("file", "ids", "snps")),
    ("lmm", ("phenotypes", "covariates", "sets")),
)
if TYPE_CHECKING:
    GenotypeSettings: TypeAlias = Any
    KinshipSettings: TypeAlias = Any
    LmmSettings: TypeAlias = Any
else:
    GenotypeSettings = settings_of(
        "genotypes", GenotypesConfig, supplied=["files"], files=(tuple[str, ...] | str, GenotypesConfig.model_fields["files"])
    )
    KinshipSettings = settings_of("kinship", KinshipConfig)
    _several = settings_of("multitrait", MtlmmConfig, supplied=[*ModelConfig.model_fields, *_SCAN_FIELDS])
    _replicates = settings_of("bootstrap", BootstrapConfig, supplied=ModelConfig.model_fields)
    LmmSettings = settings_of(
        "lmm", LmmConfig, as_trait=(tuple[str, ...], _AS_TRAIT), multitrait=(_several | None, _MULTITRAIT),
        bootstrap=(_replicates | None, _BOOTSTRAP),
    )  # fmt: skip


def genotype_configs(section: str, given: dict[str, Any], cohort: str | None) -> tuple[StepConfig, ...]:
    """Configs of one of the sections from its settings; the cohort is that of the study's genotypes where it has any."""
    if section == "genotypes":
        files = given.get("files", ())
        return (GenotypesConfig(**{**given, "files": (files,) if isinstance(files, str) else tuple(files)}),)
    named = given if "cohort" in given or cohort is None else {**given, "cohort": cohort}
    if section == "kinship":
        needs = named.get("kind", "centred") in FROM_GENOTYPES or cohort is not None
        return (KinshipConfig(**(named if needs else given)),)
    own = {k: v for k, v in named.items() if k not in ("as_trait", "multitrait", "bootstrap")}
    model = {k: v for k, v in own.items() if k in ModelConfig.model_fields}
    scan = {k: v for k, v in own.items() if k in ScanConfig.model_fields}
    made: list[StepConfig] = [LmmConfig(**own)]
    if given.get("multitrait") is not None:
        made.append(MtlmmConfig(**{**scan, **given["multitrait"]}))
    if given.get("bootstrap") is not None:
        for trait in model.get("traits") or (None,):
            made.append(BootstrapConfig(**{**model, **({} if trait is None else {"traits": (trait,)}), **given["bootstrap"]}))
    return tuple(made)


def genotype_paths(data: dict[str, Any]) -> Iterator[tuple[Any, Any, Loc]]:
    """Every place of the sections that holds a path: holder, key, location."""
    for section, keys in _PATHS:
        holder: Any = data.get(section)
        for key in keys if isinstance(holder, dict) else ():
            value = holder.get(key)
            if isinstance(value, str):
                yield holder, key, (section, key)
            elif isinstance(value, list) and key == "files":
                yield from ((value, i, (section, key, i)) for i in range(len(value)))


def named_files(sections: dict[str, Any]) -> Iterable[tuple[Loc, Any]]:
    """Files of the sections that must be there when the study starts (genotype files are looked for by their step)."""
    for section, keys in _PATHS[1:]:
        settings = sections.get(section)
        for key in keys if settings is not None else ():
            value = getattr(settings, key, None)
            if isinstance(value, str):
                yield (section, key), value
