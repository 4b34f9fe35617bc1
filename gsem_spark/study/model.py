"""What a study file may say. Each section takes the settings of its step, under the step's own names and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from gsem_spark.demo import data_folder
from gsem_spark.errors import ConfigError, GsemError
from gsem_spark.steps.fit import FitConfig
from gsem_spark.steps.gwas import GwasConfig
from gsem_spark.steps.ingest import IngestConfig
from gsem_spark.steps.ldsc import LdscConfig
from gsem_spark.steps.references import ReferencesConfig
from gsem_spark.steps.report import ReportConfig
from gsem_spark.steps.step import StepConfig
from gsem_spark.steps.traits import Trait
from gsem_spark.study.source import Loc, Problem, StudySource, expand, model_keys, problems_of

STEP_NAMES: Final = ("references", "munge", "ldsc", "common_factor", "gwas", "report")
"""Steps of a study in the order they run."""
_REFERENCE_FILES: Final = ("variants", "ld_scores", "weights", "hm3")


def settings_of(name: str, config: type[StepConfig], supplied: Iterable[str]) -> type[StepConfig]:
    """Make the section of a step: the fields of its config without those that the study itself supplies."""
    left_out = set(supplied)
    fields: dict[str, Any] = {
        field: (info.annotation, info) for field, info in config.model_fields.items() if field not in left_out
    }
    made: type[StepConfig] = create_model(name, __base__=StepConfig, __doc__=f"Settings of {name} in a study file.", **fields)
    return made


SECTIONS: Final[dict[str, type[StepConfig]]] = {
    "references": ReferencesConfig,
    "munge": settings_of("munge", IngestConfig, ["traits"]),
    "ldsc": settings_of("ldsc", LdscConfig, ["traits", "panel", "sample_prevalence", "population_prevalence"]),
    "common_factor": settings_of("common_factor", FitConfig, ["covstruct_id", "traits"]),
    "gwas": settings_of("gwas", GwasConfig, ["covstruct_id", "traits"]),
    "report": settings_of("report", ReportConfig, ["run_id"]),
}
if TYPE_CHECKING:
    MungeSettings = LdscSettings = CommonFactorSettings = GwasSettings = ReportSettings = StepConfig
else:
    MungeSettings, LdscSettings = SECTIONS["munge"], SECTIONS["ldsc"]
    CommonFactorSettings, GwasSettings, ReportSettings = SECTIONS["common_factor"], SECTIONS["gwas"], SECTIONS["report"]


class Study(BaseModel):
    """A whole study: where its tables are, what goes in, and the settings of each step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: str = Field(description="folder or catalog.schema of the tables; made when it is not there")
    format: Literal["delta", "parquet"] = Field("delta", description="table format of a workspace made by this study")
    references: ReferencesConfig = Field(description="variants, LD scores and HapMap 3 list")
    traits: tuple[Trait, ...] = Field(min_length=1, description="the GWAS, in the order of every matrix")
    munge: MungeSettings = Field(default_factory=SECTIONS["munge"], description="rules for raw files")
    ldsc: LdscSettings = Field(default_factory=SECTIONS["ldsc"], description="LD score regression")
    common_factor: CommonFactorSettings = Field(default_factory=SECTIONS["common_factor"], description="the model without SNPs")
    gwas: GwasSettings = Field(default_factory=SECTIONS["gwas"], description="the common-factor GWAS")
    report: ReportSettings = Field(default_factory=SECTIONS["report"], description="the HTML report")
    steps: tuple[Literal["references", "munge", "ldsc", "common_factor", "gwas", "report"], ...] = Field(
        STEP_NAMES, description="steps to run; all by default"
    )

    def chosen_steps(self, only: Sequence[str] = ()) -> tuple[str, ...]:
        """Steps to run, in their order."""
        unknown = sorted(set(only) - set(STEP_NAMES))
        if unknown:
            raise ConfigError(f"there is no step {unknown[0]!r}", where="--only", remedy=f"steps are {', '.join(STEP_NAMES)}")
        wanted = set(only) or set(self.steps)
        return tuple(name for name in STEP_NAMES if name in wanted)


def load_study(path: str | Path, overrides: Iterable[str] = ()) -> Study:
    """Read, complete and check a study file.

    Parameters
    ----------
    path
        YAML study file. Relative paths in it are resolved against its folder, ``package:demo/…`` is the packaged demo data,
        and ``${NAME}`` an environment variable.
    overrides
        Settings of the form ``key.sub=value`` that win over the file's.

    Raises
    ------
    ConfigError
        The file cannot be read, or keys are unknown, missing or wrong: each with line, key and remedy.
    """
    source = StudySource.read(path)
    source.override(overrides)
    return study_from(source)


def study_from(source: StudySource) -> Study:
    """Check a study that was read already."""
    problems = list(_resolve(source))
    if problems:
        raise source.fail(problems)
    try:
        study = Study.model_validate(source.data)
    except ValidationError as error:
        raise source.fail(problems_of(error, lambda loc: model_keys(Study, loc))) from None
    except GsemError as error:
        raise ConfigError(error.what, where=error.where or source.name, remedy=error.remedy) from None
    problems = [*_same_names(study), *_absent_files(study)]
    if problems:
        raise source.fail(problems)
    return study


def _resolve(source: StudySource) -> Iterator[Problem]:
    """Make the paths in the study's data absolute, in place; yields those that name an unset variable."""
    for holder, key, loc in list(_paths_in(source.data)):
        try:
            text = expand(str(holder[key]), demo=data_folder())
        except KeyError as error:
            yield Problem(loc, f"the environment variable {error.args[0]!r} is not set", f"export {error.args[0]}=…, or write the path")
            continue
        from_file = loc not in source.overrides
        catalog = key == "workspace" and "/" not in text and "." in text.strip(".")
        if not is_uri(text) and not catalog:
            base = source.folder if from_file else Path.cwd()
            text = str(base / Path(text).expanduser())
        holder[key] = text


def _paths_in(data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Loc]]:
    """Every key of the study that holds a path; of whatever else stands there validation will speak."""
    candidates: list[tuple[Any, str, Loc]] = [(data, "workspace", ("workspace",)), (data.get("report"), "out", ("report", "out"))]
    candidates += [(data.get("references"), key, ("references", key)) for key in _REFERENCE_FILES]
    traits = data.get("traits")
    candidates += [(t, "file", ("traits", i, "file")) for i, t in enumerate(traits if isinstance(traits, list) else [])]
    for holder, key, loc in candidates:
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            yield holder, key, loc


def is_uri(text: str) -> bool:
    """Whether a path is of another file system (``s3a://``, ``dbfs:/`` …), which cannot be looked at from here."""
    return "://" in text or text.startswith(("dbfs:", "file:"))


def _same_names(study: Study) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, trait in enumerate(study.traits):
        if trait.name in first:
            yield Problem(
                ("traits", index, "name"), f"trait {trait.name!r} is named twice (it is also item {first[trait.name] + 1})",
                "give each trait its own name",
            )
        first.setdefault(trait.name, index)


def _absent_files(study: Study) -> Iterator[Problem]:
    named: list[tuple[Loc, Any]] = [(("references", k), getattr(study.references, k, None)) for k in _REFERENCE_FILES]
    named += [(("traits", i, "file"), t.file) for i, t in enumerate(study.traits)]
    for loc, path in named:
        if path is not None and not is_uri(str(path)) and not Path(str(path)).exists():
            yield Problem(loc, f"there is no such file or folder: {path}", "relative paths start at the study file's folder")
