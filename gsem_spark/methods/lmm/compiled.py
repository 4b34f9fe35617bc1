"""How the kernels of this folder are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
T = TypeVar("T")

FLAGS = {"reassoc", "contract", "nsz"}
"""Sums over samples may be taken in several lanes at once. Infinities and NaN keep their meaning."""


def jit(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a kernel without the GIL; in memory where numba finds no writable cache folder.

    Notes
    -----
    The order of a sum is chosen when the kernel is compiled and depends on the length of the sum alone, so that a variant
    has the same bytes in whatever block it comes, on every machine of a kind.
    """
    return _compile(function, FLAGS)


def jit_in_order(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a kernel whose sums are taken in the order written, nothing contracted: for loops over neighbouring results."""
    return _compile(function, set())


def _compile(function: Callable[P, T], flags: set[str]) -> Callable[P, T]:
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=flags)(function)
    except (RuntimeError, OSError):
        compiled = numba.njit(nogil=True, error_model="numpy", fastmath=flags)(function)
    return cast("Callable[P, T]", compiled)
