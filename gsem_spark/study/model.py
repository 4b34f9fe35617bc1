"""What a study file may say. Each section takes the settings of its step, under the step's own names and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gsem_spark.demo import data_folder
from gsem_spark.errors import ConfigError, DataError, GsemError, ModelError
from gsem_spark.methods.gwas.snp_model import read_snp_model
from gsem_spark.methods.sem import Model
from gsem_spark.steps.given_matrices import Matrix, given_matrix
from gsem_spark.steps.gwas.wald import WaldConfig
from gsem_spark.steps.ldsc.inputs import LdscConfig
from gsem_spark.steps.models.common_factor import FitConfig
from gsem_spark.steps.models.texts import is_model_text, read_model_file
from gsem_spark.steps.models.user_model import ModelSettings, UserModelConfig
from gsem_spark.steps.mtag.fdr import FdrConfig
from gsem_spark.steps.mtag.step import MtagConfig
from gsem_spark.steps.munge.step import MungeConfig
from gsem_spark.steps.munge.traits import Trait
from gsem_spark.steps.reconcile.review import ReviewConfig
from gsem_spark.steps.reconcile.step import ReconcileConfig
from gsem_spark.steps.references.ld_panel import LdScoresConfig
from gsem_spark.steps.references.variants import VariantsConfig
from gsem_spark.steps.step import StepConfig
from gsem_spark.study.genotype_sections import SECTIONS as GENOTYPE_SECTIONS
from gsem_spark.study.genotype_sections import (
    GenotypeSettings,
    KinshipSettings,
    LmmSettings,
    genotype_configs,
    genotype_paths,
    named_files,
)
from gsem_spark.study.gwas_models import COMMON_FACTOR, GwasSettings, gwas_configs, gwas_problems, has_snp
from gsem_spark.study.settings import settings_of
from gsem_spark.study.source import Loc, Problem, StudySource, expand, model_keys, problems_of

_REFERENCE_FILES: Final = ("variants", "ld_scores", "weights", "hm3")


_FACTOR_TRAITS: Final = Field(
    None, min_length=2, description="indicators of the factor, here and in the GWAS; all traits by default"
)
_REPORT_TITLE: Final = Field(None, description="heading; by default the traits' names")
_REPORT_OUT: Final = Field(None, description="folder of the report; by default reports in the workspace")
_REPORT_TRUTH: Final = Field(None, description="truth.json of simulated data: estimates are shown beside it")
_WALD_TRAITS: Final = Field(None, min_length=2, description="traits of the tests; the indicators of the factor by default")
_MTAG_TRAITS: Final = Field(None, min_length=2, description="traits of MTAG; the indicators of the factor by default")
_MTAG_INTERCEPTS: Final = Field(
    "covstruct", description="where Sigma comes from: the covariance structure, or ldsc's own estimator on MTAG's SNPs"
)
_MTAG_FDR: Final = Field(None, description="the search for the bound of the false discovery rate; left out, none is made")
_MTAG_MATRIX: Final = Field(None, description="fixed matrix, in rows or as a text file of numbers, in the order of MTAG's traits")
_REPLICATION_FILE: Final = Field(None, description="an independent cohort: text with the columns snp a1 a2 beta se")
_LD_BLOCKS: Final = Field(None, description="LD blocks (BED), by which loci are made; by distance when left out")
if TYPE_CHECKING:
    ReferenceSettings: TypeAlias = Any
    MungeSettings: TypeAlias = Any
    LdscSettings: TypeAlias = Any
    CommonFactorSettings: TypeAlias = Any
    WaldSettings: TypeAlias = Any
    MtagSettings: TypeAlias = Any
    ReconcileSettings: TypeAlias = Any
    ReviewSettings: TypeAlias = Any
    ReportSettings: TypeAlias = Any
else:
    ReferenceSettings = settings_of("references", VariantsConfig, LdScoresConfig)
    MungeSettings = settings_of("munge", MungeConfig, supplied=["trait", "traits"])
    LdscSettings = settings_of("ldsc", LdscConfig, supplied=["traits", "panel", "sample_prevalence", "population_prevalence"])
    CommonFactorSettings = settings_of(
        "common_factor", FitConfig, supplied=["traits"], traits=(tuple[str, ...] | None, _FACTOR_TRAITS)
    )
    WaldSettings = settings_of("wald", WaldConfig, supplied=["traits"], traits=(tuple[str, ...] | None, _WALD_TRAITS))
    MtagSettings = settings_of(
        "mtag", MtagConfig, supplied=["traits", "panel", "sigma", "omega"], traits=(tuple[str, ...] | None, _MTAG_TRAITS),
        intercepts=(Literal["covstruct", "ldsc"], _MTAG_INTERCEPTS), sigma=(Matrix | str | None, _MTAG_MATRIX),
        omega=(Matrix | str | None, _MTAG_MATRIX),
        max_fdr=(settings_of("max_fdr", FdrConfig, supplied=["mtag_run"]) | None, _MTAG_FDR),
    )  # fmt: skip
    ReconcileSettings = settings_of(
        "reconcile", ReconcileConfig, supplied=["gwas_run", "mtag_run", "fdr_run"], blocks=(str | None, _LD_BLOCKS),
        replication_file=(str | None, _REPLICATION_FILE),
    )
    ReviewSettings = settings_of("review", ReviewConfig, supplied=["gwas_run", "reconcile_run", "panel"])
    ReportSettings = settings_of(
        "report", title=(str | None, _REPORT_TITLE), out=(str | None, _REPORT_OUT), truth=(str | None, _REPORT_TRUTH)
    )
STEP_NAMES: Final = (
    "references", "genotypes", "kinship", "lmm", "munge", "ldsc", "common_factor", "models", "gwas", "wald", "mtag", "reconcile",
    "review", "report",
)  # fmt: skip
"""Steps of a study, and their sections in the file, in the order they run."""
ON_REQUEST: Final = ("genotypes", "kinship", "lmm", "models", "wald", "mtag", "reconcile", "review")
"""Steps that a study runs only where it has their section, or names them in ``steps``."""


class StudyModel(ModelSettings):
    """A model of a study: its text or file alone, or with settings."""

    model: str = Field(min_length=1, description="lavaan syntax, or a text file with it")

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, given: Any) -> Any:
        return {"model": given} if isinstance(given, str) else given

    @property
    def text(self) -> str:
        """The model itself; a :class:`DataError` says when its file cannot be read."""
        return self.model if is_model_text(self.model) else read_model_file(Path(self.model))


class Study(BaseModel):
    """A whole study: where its tables are, what goes in, and the settings of each step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: str = Field(description="folder or catalog.schema of the tables; made when it is not there")
    format: Literal["delta", "parquet"] = Field("delta", description="table format of a workspace made by this study")
    references: ReferenceSettings | None = Field(None, description="variants, LD scores and HapMap 3 list")
    genotypes: GenotypeSettings | None = Field(None, description="genotype files of a cohort; read where this section is there")
    kinship: KinshipSettings | None = Field(None, description="the cohort's kinship; made where this section is there")
    lmm: LmmSettings | None = Field(None, description="mixed-model scan of the cohort; run where this section is there")
    traits: tuple[Trait, ...] = Field((), description="the GWAS, in the order of every matrix; behind them lmm.as_trait")
    munge: MungeSettings = Field(default_factory=MungeSettings, description="rules for raw files")
    ldsc: LdscSettings = Field(default_factory=LdscSettings, description="LD score regression")
    common_factor: CommonFactorSettings = Field(default_factory=CommonFactorSettings, description="the model without SNPs")
    models: dict[str, StudyModel] = Field(
        default_factory=dict, description="further models on the same structure: name, then lavaan syntax or a file"
    )
    gwas: GwasSettings = Field(GwasSettings.model_validate({}), description="the GWAS of the common factor, or of models")
    wald: WaldSettings = Field(default_factory=WaldSettings, description="Wald tests; run where this section is there")
    mtag: MtagSettings = Field(default_factory=MtagSettings, description="MTAG; run where this section is there")
    reconcile: ReconcileSettings = Field(
        default_factory=ReconcileSettings, description="the GWAS and MTAG side by side; made where this section is there"
    )
    review: ReviewSettings = Field(
        default_factory=ReviewSettings, description="the reviewer's checklist; filled where this section is there"
    )
    report: ReportSettings = Field(default_factory=ReportSettings, description="the HTML report")
    steps: tuple[
        Literal["references", "genotypes", "kinship", "lmm", "munge", "ldsc", "common_factor", "models", "gwas", "wald", "mtag",
                "reconcile", "review", "report"], ...
    ] | None = Field(None, description="steps to run; by default all but those on request whose section is not there")

    @property
    def trait_names(self) -> tuple[str, ...]:
        """Traits in the order of every matrix."""
        return (*(t.name for t in self.traits), *(self.lmm.as_trait if self.lmm is not None else ()))

    @property
    def panel(self) -> str:
        """Name of the LD-score panel."""
        return str(self.references.panel) if self.references is not None else "eur"

    @property
    def factor_traits(self) -> tuple[str, ...]:
        """Indicators of the factor."""
        return getattr(self.common_factor, "traits", None) or self.trait_names

    @property
    def possible(self) -> tuple[str, ...]:
        """Steps that this study has the inputs of: a cohort alone has no GWAS to munge, and no references."""
        without = set() if self.traits else {"munge"}
        if self.references is None or not self.trait_names:
            without |= {"references", "ldsc", "common_factor", "gwas"}
            if self.lmm is None:
                without.add("report")
        return tuple(name for name in STEP_NAMES if name not in without)

    def configs_of(self, section: str) -> tuple[StepConfig, ...]:
        """Complete configs of one section's steps, in their order."""
        if section == "models":
            return tuple(
                UserModelConfig(**{**made.model_dump(exclude_unset=True), "model": made.text, "name": name})
                for name, made in self.models.items()
                if not has_snp(made.text)
            )
        if section == "gwas":
            return gwas_configs(self)
        settings = getattr(self, section)
        if settings is None:
            return ()
        given: dict[str, Any] = settings.model_dump(exclude_unset=True)
        if section in GENOTYPE_SECTIONS:
            return genotype_configs(section, given, None if self.genotypes is None else self.genotypes.cohort)
        if section == "references":
            return tuple(
                config(**{k: v for k, v in given.items() if k in config.model_fields})
                for config in (VariantsConfig, LdScoresConfig)
            )
        if section == "munge":
            return (MungeConfig(traits=self.traits, **given),)
        if section == "ldsc":
            return (LdscConfig(traits=self.trait_names, panel=self.panel, **given),)
        if section == "common_factor":
            return (FitConfig(**{**given, "traits": self.factor_traits}),)
        if section == "mtag":
            return self._mtag_configs(given)
        if section == "reconcile":
            return (ReconcileConfig(**{k: v for k, v in given.items() if k not in ("blocks", "replication_file")}),)
        if section == "review":
            return (ReviewConfig(**given),)
        return (WaldConfig(**{**given, "traits": self.wald_traits}),) if section == "wald" else ()

    def _mtag_configs(self, given: dict[str, Any]) -> tuple[StepConfig, ...]:
        own = {k: v for k, v in given.items() if k not in ("traits", "intercepts", "max_fdr")}
        own |= {name: given_matrix(own[name], self.mtag_traits, name) for name in ("sigma", "omega") if name in own}
        made = MtagConfig(traits=self.mtag_traits, panel=self.panel, **own)
        if self.mtag.max_fdr is None:
            return (made,)
        return made, FdrConfig(**self.mtag.max_fdr.model_dump(exclude_unset=True))

    @property
    def wald_traits(self) -> tuple[str, ...]:
        """Traits of the Wald tests."""
        return getattr(self.wald, "traits", None) or self.factor_traits

    @property
    def mtag_traits(self) -> tuple[str, ...]:
        """Traits of MTAG."""
        return getattr(self.mtag, "traits", None) or self.factor_traits

    def chosen_steps(self, only: Sequence[str] = ()) -> tuple[str, ...]:
        """Choose the steps to run, in their order."""
        unknown = sorted(set(only) - set(STEP_NAMES))
        if unknown:
            raise ConfigError(f"there is no step {unknown[0]!r}", where="--only", remedy=f"steps are {', '.join(STEP_NAMES)}")
        asked = [name for name in STEP_NAMES if name not in ON_REQUEST or name in self.model_fields_set]
        asked = [name for name in asked if name in self.possible]
        if "gwas" not in self.possible and "report" not in self.model_fields_set:
            asked = [name for name in asked if name != "report"]  # of mixed models alone on request
        wanted = set(only) or set(asked if self.steps is None else self.steps)
        if "models" in wanted and self.models and not self.configs_of("models"):
            wanted.remove("models")  # all of them are for the GWAS
        if "models" in wanted and not self.models:
            raise ConfigError("the study has no models", where="step models", remedy="add a section models: name: syntax or file")
        for name in GENOTYPE_SECTIONS:
            if name in wanted and getattr(self, name) is None:
                raise ConfigError(f"the study has no section {name}", where=f"step {name}", remedy=f"add a section {name}:")
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
    for section in STEP_NAMES:  # a section whose lines are all comments is an empty one
        if source.data.get(section, {}) is None:
            if section in ON_REQUEST:
                source.data[section] = {}
            else:
                del source.data[section]
    problems = list(_resolve(source))
    if problems:
        raise source.fail(problems)
    try:
        study = Study.model_validate(source.data)
    except ValidationError as error:
        raise source.fail([*problems_of(error, _known_keys), *_incomplete(source.data)]) from None
    except GsemError as error:
        raise ConfigError(error.what, where=error.where or source.name, remedy=error.remedy) from None
    problems = [*_incomplete(source.data), *_same_names(study), *_unknown_factor_traits(study), *_absent_files(study)]
    problems = problems or [*_refused_by_steps(study), *_unreadable_models(study), *gwas_problems(study)]
    if problems:
        raise source.fail(problems)
    return study


def _known_keys(loc: Loc) -> list[str]:
    """Keys known at a place of a study; the names of models are the user's own."""
    return model_keys(Study, loc if loc[:1] != ("models",) else ("models", *loc[2:]))


def _resolve(source: StudySource) -> Iterator[Problem]:
    """Make the paths in the study's data absolute, in place; yields those that name an unset variable."""
    for holder, key, loc in list(_paths_in(source.data)):
        try:
            text = expand(str(holder[key]), demo=data_folder())
        except KeyError as error:
            yield Problem(
                loc, f"the environment variable {error.args[0]!r} is not set", f"export {error.args[0]}=…, or write the path"
            )
            continue
        from_file = loc not in source.overrides
        catalog = key == "workspace" and "/" not in text and "." in text.strip(".")
        if not is_uri(text) and not catalog:
            base = source.folder if from_file else Path.cwd()
            text = str(base / Path(text).expanduser())
        holder[key] = text


def _paths_in(data: dict[str, Any]) -> Iterator[tuple[Any, Any, Loc]]:
    """Every key of the study that holds a path; of whatever else stands there validation will speak."""
    candidates: list[tuple[Any, str, Loc]] = [(data, "workspace", ("workspace",))]
    candidates += [(data.get("report"), key, ("report", key)) for key in ("out", "truth")]
    candidates += [(data.get("reconcile"), key, ("reconcile", key)) for key in ("blocks", "replication_file")]
    candidates += [(data.get("mtag"), key, ("mtag", key)) for key in ("sigma", "omega")]
    candidates += [(data.get("references"), key, ("references", key)) for key in _REFERENCE_FILES]
    traits = data.get("traits")
    candidates += [(t, "file", ("traits", i, "file")) for i, t in enumerate(traits if isinstance(traits, list) else [])]
    for holder, key, loc in (*candidates, *_model_files_in(data)):
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            yield holder, key, loc
    yield from genotype_paths(data)
    yield from _gwas_files_in(data)


def _gwas_files_in(data: dict[str, Any]) -> Iterator[tuple[Any, Any, Loc]]:
    """Models of the GWAS that are given as files."""
    gwas, known = data.get("gwas"), data.get("models")
    if not isinstance(gwas, dict):
        return
    if isinstance(gwas.get("models"), str):
        gwas["models"] = [gwas["models"]]
    models = gwas.get("models")
    for index, given in enumerate(models if isinstance(models, list) else []):
        named = given == COMMON_FACTOR or (isinstance(known, dict) and given in known)
        file = isinstance(given, str) and ("/" in given or "." in given) and not is_model_text(given)
        if file and not named:  # a bare word is a name, perhaps a wrong one
            yield models, index, ("gwas", "models", index)


def _model_files_in(data: dict[str, Any]) -> Iterator[tuple[Any, str, Loc]]:
    """Models that are given as files."""
    models = data.get("models")
    for name, given in list(models.items()) if isinstance(models, dict) else []:
        holder: dict[str, Any]
        holder, key = (given, "model") if isinstance(given, dict) else (data["models"], name)
        if isinstance(text := holder.get(key), str) and text.strip() and not is_model_text(text):
            yield holder, key, ("models", name, "model") if holder is given else ("models", name)


def is_uri(text: str) -> bool:
    """Whether a path is of another file system (``s3a://``, ``dbfs:/`` …), which cannot be looked at from here."""
    return "://" in text or text.startswith(("dbfs:", "file:"))


def _incomplete(data: dict[str, Any]) -> Iterator[Problem]:
    """What a study of summary statistics must have, and one of genotypes may lack."""
    if not data.get("lmm"):
        for key in ("references", "traits"):
            if not data.get(key):
                yield Problem((key,), f"the key {key!r} is missing", f"add a line `{key}: …` (or `lmm: …` for genotypes)")


def _same_names(study: Study) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, trait in enumerate(study.traits):
        if trait.name in first:
            yield Problem(
                ("traits", index, "name"),
                f"trait {trait.name!r} is named twice (it is also item {first[trait.name] + 1})",
                "give each trait its own name",
            )
        first.setdefault(trait.name, index)


def _refused_by_steps(study: Study) -> Iterator[Problem]:
    """Yield what a step's own checks across fields say."""
    for section in study.possible:
        try:
            study.configs_of(section)
        except DataError:  # a model's file, of which _unreadable_models speaks
            continue
        except ValidationError as error:
            yield from (replace(p, loc=(section, *p.loc)) for p in problems_of(error, lambda _: ()))


def _unreadable_models(study: Study) -> Iterator[Problem]:
    """Yield what is wrong with models as texts; whether they are identified, the fit itself will say."""
    for name, made in study.models.items():
        try:
            if has_snp(made.text):
                read_snp_model(made.text, study.trait_names, made.std_lv)
            else:
                Model.parse(made.text, std_lv=made.std_lv, traits=study.trait_names)
        except (DataError, ModelError) as error:
            place = f"{error.where}: " if error.where.startswith("model line") else ""
            yield Problem(("models", name), f"model {name!r}: {place}{error.what}", error.remedy)


def _unknown_factor_traits(study: Study) -> Iterator[Problem]:
    for index, name in enumerate(study.factor_traits):
        if name not in study.trait_names:
            known = ", ".join(study.trait_names)
            yield Problem(("common_factor", "traits", index), f"{name!r} is not a trait of this study", f"traits are {known}")
    for section, named in (
        ("mtag", study.mtag_traits), ("wald", study.wald_traits), ("reconcile", study.reconcile.replication_traits),
    ):  # fmt: skip
        key = "replication_traits" if section == "reconcile" else "traits"
        own = getattr(getattr(study, section), key, None) or ()
        for index, name in enumerate(named if own else ()):
            if name not in study.trait_names:
                known = ", ".join(study.trait_names)
                yield Problem((section, key, index), f"{name!r} is not a trait of this study", f"traits are {known}")


def _absent_files(study: Study) -> Iterator[Problem]:
    named: list[tuple[Loc, Any]] = [(("references", k), getattr(study.references, k, None)) for k in _REFERENCE_FILES]
    named.append((("report", "truth"), study.report.truth))
    named += named_files({"kinship": study.kinship, "lmm": study.lmm})
    named += [(("reconcile", key), getattr(study.reconcile, key)) for key in ("blocks", "replication_file")]
    named += [(("mtag", key), found) for key in ("sigma", "omega") if isinstance(found := getattr(study.mtag, key), str)]
    named += [(("traits", i, "file"), t.file) for i, t in enumerate(study.traits)]
    named += [(("models", name), m.model) for name, m in study.models.items() if not is_model_text(m.model)]
    for loc, path in named:
        if path is not None and not is_uri(str(path)) and not Path(str(path)).exists():
            yield Problem(loc, f"there is no such file or folder: {path}", "relative paths start at the study file's folder")
