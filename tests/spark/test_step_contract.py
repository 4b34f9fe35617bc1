"""What every step promises, tested on every registered step; a new step only adds its case to :mod:`step_cases`."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel, ValidationError
from step_cases import CASES, Inputs, StepCase
from workspace_tools import (
    Death,
    Killed,
    Moment,
    assert_no_doubled_rows,
    assert_same_tables,
    commits,
    copied,
    files,
    of_the_same_scopes,
    other_partitions,
    reopened,
    stored,
)

from gsem_spark.catalog.contracts import check_structure
from gsem_spark.catalog.schemas import SCHEMAS
from gsem_spark.catalog.workspace import Format, Workspace
from gsem_spark.steps.registry import STEPS
from gsem_spark.steps.step import Report, Step

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

each_step = pytest.mark.parametrize("name", list(CASES))
each_format = pytest.mark.parametrize("format", [pytest.param("delta", marks=pytest.mark.slow), "parquet"])


@dataclass(frozen=True)
class Stage:
    """A step's workspace just before and just after its run, and what the run came to."""

    ready: Workspace
    done: Workspace
    report: Report
    tables: dict[str, pa.Table]


Stages = Callable[[str, Format], Stage]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def stages(inputs: Inputs, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Stages made when first asked for, each from the finished workspace of the step before it, then kept."""
    root = tmp_path_factory.mktemp("stages")
    made: dict[tuple[str, Format], Stage] = {}

    def stage(name: str, format: Format) -> Stage:
        if (name, format) not in made:
            case, place = CASES[name], root / format / name
            shutil.rmtree(place, ignore_errors=True)  # of an attempt that failed
            if case.starts_from is None:
                ready = Workspace.create(str(place / "ready"), format, spark)
            else:
                ready = copied(stage(case.starts_from, format).done, place / "ready")
            done = copied(ready, place / "done")
            with cut_small(case):
                report = case.make(inputs).run(done)
            made[name, format] = Stage(ready, done, report, written(case.make(inputs), done))
        return made[name, format]

    return stage


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[Workspace], Workspace]:
    """Copies of a workspace, each as another process finds it."""
    number = count()
    return lambda ws: copied(ws, tmp_path / f"ws{next(number)}")


class cut_small:
    """The constants that cut a step's work into parts take values that make many parts of the tiny input."""

    def __init__(self, case: StepCase) -> None:
        self._case = case

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        for path, value in self._case.sizes.items():
            module, constant = path.rsplit(".", 1)
            self._patch.setattr(importlib.import_module(module), constant, value)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def written(step: Step[Any], ws: Workspace, case: StepCase | None = None) -> dict[str, pa.Table]:
    """Every table that a step writes, bit by bit; with a case, without the columns that tell the input's bytes."""
    return {table: stored(ws, table, case.named_by_bytes.get(table, ()) if case else ()) for table in step.writes}


def figures(case: StepCase, report: Report) -> dict[str, Any]:
    return {"rows": report.rows, **{name: report.summary[name] for name in case.figures}}


def test_every_registered_step_has_a_case(inputs: Inputs) -> None:
    assert set(CASES) == set(STEPS), "add the step to step_cases.CASES"
    for name, case in CASES.items():
        assert type(case.make(inputs)) is STEPS[name]


@each_format
@each_step
def test_a_plan_changes_nothing_and_the_same_run_twice_is_a_no_op(
    name: str, format: Format, inputs: Inputs, stages: Stages, fresh: Callable[[Workspace], Workspace]
) -> None:
    stage, case = stages(name, format), CASES[name]
    before = files(stage.ready)
    plan = case.make(inputs).plan(stage.ready)
    assert not plan.done
    assert files(stage.ready) == before

    assert (stage.report.status, stage.report.run_id) == ("done", plan.run_id)
    assert stage.report.rows > 0
    ws = fresh(stage.done)
    before = files(ws)
    again = case.make(inputs).run(ws)
    assert (again.status, again.run_id) == ("skipped", plan.run_id)
    assert figures(case, again) == figures(case, stage.report)
    assert again.warnings == stage.report.warnings
    assert files(ws) == before


@each_format
@each_step
def test_the_tables_written_are_those_declared_and_have_their_schema(
    name: str, format: Format, inputs: Inputs, stages: Stages
) -> None:
    stage, step = stages(name, format), CASES[name].make(inputs)
    had, has = commits(stage.ready), commits(stage.done)
    assert {t for t in has if has[t] != had[t]} == {*step.writes, "runs"}
    for table in (*step.writes, "runs"):
        schema = SCHEMAS[table]
        where = f"{stage.done.location}/{table}"
        raw = stage.done.spark.read.format("delta").load(where) if format == "delta" else stage.done.read(table)
        check_structure(schema, raw.schema, what="the stored table")
        assert raw.columns == list(schema.names)
    for table, rows in stage.tables.items():
        assert rows.num_rows > 0, f"the case leaves table {table} empty and so proves nothing of it"
        assert_no_doubled_rows(table, rows)


@pytest.mark.slow
@each_step
def test_partitions_batches_wave_sizes_and_row_order_leave_no_trace(
    name: str, inputs: Inputs, stages: Stages, fresh: Callable[[Workspace], Workspace]
) -> None:
    """The stage was made with work cut small; here it is cut as by default, and shuffled and handed over otherwise."""
    stage, case = stages(name, "parquet"), CASES[name]
    ways: list[tuple[bool, StepCase | None]] = [(case.permuted is not None, case)]
    if case.named_by_bytes:  # the same bytes once more: now those columns stand still too
        ways.append((False, None))
    for in_another_order, unnamed in ways:
        ws = fresh(stage.ready)
        step = case.permuted(inputs, ws) if in_another_order and case.permuted else case.make(inputs)
        with other_partitions(ws, 5, 501):
            report = step.run(ws)
        assert_same_tables(written(step, ws, unnamed), written(step, stage.done, unnamed))
        assert figures(case, report) == figures(case, stage.report)


@each_step
def test_empty_input_gives_an_empty_typed_result_or_the_error_that_says_why(
    name: str, inputs: Inputs, stages: Stages, fresh: Callable[[Workspace], Workspace]
) -> None:
    case = CASES[name]
    ws = fresh(stages(name, "parquet").ready)
    if case.empty_error is not None:
        before = commits(ws)
        with pytest.raises(case.empty_error) as error:
            case.empty(inputs, ws).run(ws)
        assert error.value.what
        after = commits(ws)
        assert {t for t in after if after[t] != before[t]} <= {"runs"}, "an error leaves no table changed"
        return
    step = case.empty(inputs, ws)
    report = step.run(ws)
    assert (report.status, report.rows) == ("empty", 0)
    assert report.warnings, "an empty result says why it is empty"
    for table in step.writes:
        rows = ws.read(table)
        check_structure(SCHEMAS[table], rows.schema, what="the stored table")
    before = files(ws)
    again = step.run(Workspace.open(ws.location, ws.spark))
    assert (again.status, again.rows, again.warnings) == ("skipped", 0, report.warnings)
    assert files(ws) == before


@pytest.mark.slow
@each_step
def test_killed_after_and_before_any_commit_a_rerun_ends_with_the_same_tables(
    name: str, inputs: Inputs, stages: Stages, fresh: Callable[[Workspace], Workspace]
) -> None:
    """For each commit n: the run dies right after its n-th, the next right before its own n-th, the third is held to the bits."""
    start = stages(CASES[name].killed_after or name, "parquet")
    ready = start.done if CASES[name].killed_after else start.ready
    for at in count(1):
        if not _killed_then_rerun(fresh(ready), stages(name, "parquet"), name, at, ("after", "before"), inputs):
            assert at > len(STEPS[name].writes), "the run has fewer commits than tables"
            return


@pytest.mark.slow
@each_step
def test_killed_at_a_delta_commit_a_rerun_ends_with_the_same_tables(
    name: str, inputs: Inputs, stages: Stages, fresh: Callable[[Workspace], Workspace]
) -> None:
    """One commit is in, of the next one only the data files."""
    stage = stages(name, "delta")
    assert _killed_then_rerun(fresh(stage.ready), stage, name, 2, ("before",), inputs)


def _killed_then_rerun(ws: Workspace, wanted: Stage, name: str, at: int, moments: Sequence[Moment], inputs: Inputs) -> bool:
    """Whether the run has an ``at``-th commit to die at; when it has, the last rerun is held to the undisturbed run."""
    case, ended = CASES[name], False
    with cut_small(case):
        for moment in moments:
            with pytest.MonkeyPatch.context() as patch:
                death = Death(patch, ws, at, moment)
                try:
                    case.make(inputs).run(ws)
                except Killed:
                    assert death.came
                else:
                    assert not death.came, "the step went on after its death: it catches BaseException"
                    ended = True
            if ended and moment == moments[0]:
                return False
            ws = reopened(ws)
        step = case.make(inputs)
        report = step.run(ws)
    assert report.status in ("done", "skipped")
    assert_same_tables(written(step, ws), wanted.tables)
    assert figures(case, report) == figures(case, wanted.report)
    assert step.run(ws).status == "skipped"
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.other])
def test_a_run_on_other_input_that_was_killed_does_not_pass_for_the_one_before(
    name: str, inputs: Inputs, stages: Stages, fresh: Callable[[Workspace], Workspace]
) -> None:
    """Its commit replaced the earlier result and the ledger does not know: asking for the earlier result must make it again."""
    stage, case = stages(name, "parquet"), CASES[name]
    assert case.other is not None
    for at in sorted({2, len(STEPS[name].writes)}):  # early, and when the first result that both write is replaced
        ws = fresh(stage.done)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            Death(patch, ws, at, "after")
            case.other(inputs).run(ws)
        found = reopened(ws)
        with cut_small(case):
            step = case.make(inputs)
            step.run(found)
        now = written(step, found)
        assert_same_tables({t: of_the_same_scopes(t, now[t], stage.tables[t]) for t in now}, stage.tables)


@each_step
def test_config_round_trips_through_yaml_and_refuses_what_it_does_not_know(name: str, inputs: Inputs) -> None:
    configs = CASES[name].configs(inputs)
    assert {field for config in configs for field in config.model_fields_set} == set(type(configs[0]).model_fields)
    for config in configs:
        text = yaml.safe_dump(config.model_dump(mode="json"))
        assert type(config).model_validate(yaml.safe_load(text)) == config
        for path, part in _parts(config):
            loaded = yaml.safe_load(text)
            inner = loaded
            for key in path:
                inner = inner[key]
            inner["no_such_setting"] = 1
            with pytest.raises(ValidationError, match="no_such_setting"):
                type(config).model_validate(loaded)
            with pytest.raises(ValidationError, match="frozen"):
                setattr(part, next(iter(type(part).model_fields)), "x")


def _parts(config: BaseModel, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], BaseModel]]:
    """The config and every config within it, each with its place."""
    yield path, config
    for name in type(config).model_fields:
        value = getattr(config, name)
        for number, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, BaseModel):
                yield from _parts(item, (*path, name, number))
