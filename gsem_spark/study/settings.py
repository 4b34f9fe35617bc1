"""Sections of a study made from the configs of steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import create_model

from gsem_spark.steps.step import StepConfig


def settings_of(name: str, *configs: type[StepConfig], supplied: Iterable[str] = (), **more: Any) -> Any:
    """Make the section of a step: the fields of its configs without those that the study itself supplies.

    Parameters
    ----------
    name
        Name of the section.
    configs
        Configs of the section's steps.
    supplied
        Fields that the runner fills in.
    more
        Further fields, as pydantic's ``create_model`` takes them.
    """
    left_out = set(supplied)
    fields: dict[str, Any] = {
        field: (info.annotation, info)
        for config in configs
        for field, info in config.model_fields.items()
        if field not in left_out
    }
    return create_model(name, __base__=StepConfig, __doc__=f"Settings of {name} in a study file.", **fields, **more)
