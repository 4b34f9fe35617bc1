"""A study file as text: YAML whose every key remembers its line, overrides from the command line, and errors that say where.

YAML is composed into nodes rather than loaded, because a loaded dictionary no longer knows its lines and keeps only the
last of two equal keys.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from gsem_spark.errors import ConfigError
from gsem_spark.steps.step import wrong_value

Loc = tuple[str | int, ...]

_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_MAX_PROBLEMS_SHOWN: Final = 10


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the study: the key's place in the tree, what is wrong, and what to do."""

    loc: Loc
    what: str
    remedy: str = ""


@dataclass
class StudySource:
    """The content of a study file with the line of each key.

    Attributes
    ----------
    name
        What errors call the file.
    folder
        Relative paths in the study are resolved against it.
    data
        The content as plain dictionaries, lists and scalars.
    lines
        Line (1-based) of every key, by its place in the tree.
    overrides
        Keys that came from ``--set``; errors on them name that argument in place of a line.
    """

    name: str
    folder: Path
    data: dict[str, Any]
    lines: dict[Loc, int] = field(default_factory=dict)
    overrides: dict[Loc, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> StudySource:
        """Read a study file.

        Raises
        ------
        ConfigError
            The file is missing, is not UTF-8 YAML, holds a key twice, or is not a mapping at its top.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError("the study file does not exist", where=str(path), remedy=_nearest_file(path)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the study file cannot be read: {error}", where=str(path)) from error
        return cls.parse(text, name=str(path), folder=path.resolve().parent)

    @classmethod
    def parse(cls, text: str, *, name: str = "study", folder: Path | None = None) -> StudySource:
        """Read a study from YAML text."""
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise ConfigError(
                f"not valid YAML: {error.problem}", where=f"{name}{line}", remedy="check the indentation, colons and quotes there"
            ) from error
        source = cls(name, folder or Path.cwd(), {})
        value = {} if root is None else _construct(root, (), source)
        if not isinstance(value, dict):
            raise ConfigError("a study file is a list of `key: value` lines", where=f"{name}, line 1", remedy=_SEE_DEMO)
        source.data = value
        return source

    def override(self, settings: Iterable[str]) -> None:
        """Apply ``key.sub=value`` settings; the value is read as YAML, list items are addressed by number or trait name.

        Raises
        ------
        ConfigError
            A setting is not of that form or its path does not exist in the study.
        """
        for setting in settings:
            key, equals, text = setting.partition("=")
            loc = tuple(int(part) if part.isdigit() else part for part in key.strip().split(".") if part)
            if not equals or not loc:
                raise ConfigError(f"{setting!r} is not of the form key=value", where="--set", remedy="e.g. --set gwas.gc=conserv")
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ConfigError(f"the value of {setting!r} is not valid YAML", where="--set") from error
            loc = self._assign(loc, value, setting)
            self.overrides[loc] = f"--set {setting}"

    def _assign(self, loc: Loc, value: Any, setting: str) -> Loc:
        here: Any = self.data
        walked: list[str | int] = []
        for depth, key in enumerate(loc):
            part = key
            if isinstance(here, list):
                part = _list_index(here, part, f"{setting!r}: there is no item {part!r} in {dotted(tuple(walked))}")
            elif not isinstance(here, dict):
                raise ConfigError(f"{setting!r}: {dotted(tuple(walked))} is a single value, it has no keys", where="--set")
            walked.append(part)
            if depth == len(loc) - 1:
                here[part] = value
            elif isinstance(here, dict):
                if here.get(part) is None:
                    here[part] = {}
                here = here[part]
            else:
                here = here[part]
        return tuple(walked)

    def where(self, loc: Loc) -> str:
        """File, line and key of a place in the tree; of its nearest parent where the key itself is absent."""
        known = loc
        while known and known not in self.lines and known not in self.overrides:
            known = known[:-1]
        if known in self.overrides:
            return self.overrides[known]
        line = self.lines.get(known)
        key = dotted(self._present(loc))
        return self.name + (f", line {line}" if line else "") + (f", key {key}" if key else "")

    def _present(self, loc: Loc) -> Loc:
        """Cut off what a validator appended to the path (names of union members and the like)."""
        here: Any = self.data
        for depth, part in enumerate(loc):
            keys = here if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
            if part not in keys:
                return loc[:depth]
            here = here[part]
        return loc

    def fail(self, problems: Sequence[Problem]) -> ConfigError:
        """Return one error that tells all problems."""
        first = problems[0]
        if len(problems) == 1:
            return ConfigError(first.what, where=self.where(first.loc), remedy=first.remedy)
        lines = [f"{len(problems)} things are wrong with the study"]
        for problem in problems[:_MAX_PROBLEMS_SHOWN]:
            lines.append(f"- {self.where(problem.loc)}: {problem.what}" + (f" ({problem.remedy})" if problem.remedy else ""))
        if len(problems) > _MAX_PROBLEMS_SHOWN:
            lines.append(f"- and {len(problems) - _MAX_PROBLEMS_SHOWN} more")
        return ConfigError("\n".join(lines), where=self.name, remedy="correct these keys and run again; nothing has been run")


def problems_of(error: ValidationError, keys_at: Any) -> list[Problem]:
    """Turn pydantic's findings into problems in the user's words.

    Parameters
    ----------
    error
        What pydantic found.
    keys_at
        Function from a place in the tree to the keys that are known there.
    """
    return [_problem(tuple(found["loc"]), found, keys_at) for found in error.errors(include_url=False)]


def _problem(loc: Loc, found: Any, keys_at: Any) -> Problem:
    kind, name = found["type"], str(loc[-1]) if loc else ""
    if kind == "extra_forbidden":
        known = list(keys_at(loc[:-1]))
        return Problem(loc, f"unknown key {name!r}", _nearest(name, known) + (f"known keys: {', '.join(known)}" if known else ""))
    if kind == "missing":
        return Problem(loc, f"the key {name!r} is missing", f"add a line `{name}: …`")
    value = found.get("input")
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return Problem(loc, f"YAML reads {value!r} here, not text", "put quotes around the value")
    if kind == "model_type":
        return Problem(loc, f"found {value!r}; it has keys of its own")
    return Problem(loc, *wrong_value(found))


def model_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys known at a place below a model: walks models, lists of models and optional models."""
    here: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int) or here is None:
            continue
        info = here.model_fields.get(part)
        here = None if info is None else _model_in(info.annotation)
    return [] if here is None else list(here.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def expand(text: str, *, demo: Path) -> str:
    """Replace ``package:demo`` and ``${demo}`` by the packaged demo data, and ``${NAME}`` by the environment variable.

    Raises
    ------
    KeyError
        An environment variable is not set; its name is the argument.
    """
    if text == "package:demo" or text.startswith("package:demo/"):
        return str(demo / text.removeprefix("package:demo").lstrip("/"))

    def value(match: re.Match[str]) -> str:
        return str(demo) if match[1] == "demo" else os.environ[match[1]]

    return _VARIABLE.sub(value, text)


def dotted(loc: Loc) -> str:
    """Write a place in the tree as ``traits[2].file``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


_SEE_DEMO: Final = "conf/studies/demo.yaml is a commented example; `gsem-spark demo --print-study` prints it"


def _construct(node: yaml.Node, loc: Loc, source: StudySource) -> Any:
    if isinstance(node, yaml.MappingNode):
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node)
            line = key_node.start_mark.line + 1
            if key in mapping:
                raise ConfigError(
                    f"the key {dotted((*loc, key))!r} stands twice (first on line {source.lines[(*loc, key)]})",
                    where=f"{source.name}, line {line}",
                    remedy="keep one of the two lines",
                )
            source.lines[(*loc, key)] = line
            mapping[key] = _construct(value_node, (*loc, key), source)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            source.lines[(*loc, index)] = item.start_mark.line + 1
            items.append(_construct(item, (*loc, index), source))
        return items
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _list_index(items: list[Any], part: str | int, absent: str) -> int:
    """Place of an item by its number, or by the name it has."""
    if isinstance(part, int) and part < len(items):
        return part
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == part:
            return index
    raise ConfigError(absent, where="--set")


def _nearest(name: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}? " if match else ""


def _nearest_file(path: Path) -> str:
    here = [str(p) for pattern in ("*.yaml", "*.yml") for p in sorted(path.parent.glob(pattern))] if path.parent.is_dir() else []
    match = difflib.get_close_matches(path.name, [Path(p).name for p in here], n=1, cutoff=0.4)
    return f"did you mean {path.parent / match[0]}?" if match else _SEE_DEMO
