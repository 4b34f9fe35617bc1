"""The large arrays of a plan, taken out and put back, so that a host keeps them once on disk instead of once a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError

T = TypeVar("T")

LARGE_BYTES: Final = 1 << 20
"""Arrays of a megabyte or more are taken out."""


def split_arrays(plan: T, least: int = LARGE_BYTES) -> tuple[T, dict[str, NDArray[Any]]]:
    """A plan without its large arrays, and these by name.

    Parameters
    ----------
    plan
        A ``ScanPlan``, ``TraitScanPlan``, ``PhenotypesPlan`` or any dataclass of arrays, dataclasses and dictionaries.
    least
        Bytes from which on an array counts as large.

    Returns
    -------
    light, arrays
        ``light`` is small enough to broadcast. Each array can be saved with ``numpy.save`` (which keeps the order of its axes)
        and read back with ``numpy.load(…, mmap_mode="r")``; ``join_arrays`` puts them back, with the same results to the last
        bit.
    """
    arrays: dict[str, NDArray[Any]] = {}
    return cast("T", _split(plan, "", least, arrays)), arrays


def join_arrays(light: T, arrays: Mapping[str, NDArray[Any]]) -> T:
    """The plan again, from what ``split_arrays`` gave.

    Raises
    ------
    DataError
        When an array is missing, or has another shape or type than the one taken out.
    """
    return cast("T", _join(light, arrays))


class _Hole:
    """The place of an array that was taken out."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        self.name, self.shape, self.dtype = name, array.shape, str(array.dtype)


def _split(value: Any, name: str, least: int, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray) and value.nbytes >= least:
        arrays[name] = value
        return _Hole(name, value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _split(getattr(value, f.name), f"{name}.{f.name}".lstrip("."), least, arrays)
                                 for f in fields(value)})
    if isinstance(value, dict):
        return {k: _split(v, f"{name}.{k}", least, arrays) for k, v in value.items()}
    return value


def _join(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, _Hole):
        if value.name not in arrays:
            raise DataError(f"the array {value.name} of the plan is missing", where="join_arrays")
        array = arrays[value.name]
        if array.shape != value.shape or str(array.dtype) != value.dtype:
            raise DataError(f"the array {value.name} is {array.dtype} {array.shape}, {value.dtype} {value.shape} was taken out",
                            where="join_arrays")
        return array
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _join(getattr(value, f.name), arrays) for f in fields(value)})
    if isinstance(value, dict):
        return {k: _join(v, arrays) for k, v in value.items()}
    return value
