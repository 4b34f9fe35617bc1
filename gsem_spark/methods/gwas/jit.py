"""How the kernels of this folder are compiled: nopython, without the GIL, kept on disk where a disk folder is writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
T = TypeVar("T")
_INNER: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def jit(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a kernel; fall back to compilation in memory where numba finds no writable cache folder.

    Notes
    -----
    Executors often run from a read-only image under a user without a home. Numba then refuses ``cache=True`` when the
    module is imported, which would take the whole task down for want of a cache. ``fastmath`` stays off: sums keep their
    written order, so that results are the same bytes on every machine of a kind, in any batch. Numba's cache looks at the
    age of the file that holds a kernel, not of those it calls: after editing one of these modules delete the ``*.nb?`` files
    in their ``__pycache__``.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except (RuntimeError, OSError):
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return cast("Callable[P, T]", compiled)


def inner(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a function that only other kernels call, not Python.

    Notes
    -----
    It gets neither the wrapper that turns Python objects into arrays, which for a model's many arrays is longer than most
    functions, nor a file of its own in the cache: what calls it holds it. To call one from Python, e.g. in a test, call it
    from a kernel.
    """
    return cast("Callable[P, T]", numba.njit(**_INNER)(function))


def inlined(function: Callable[P, T]) -> Callable[P, T]:
    """:func:`inner` for a function that does little but call others: it is pasted into its caller before compilation.

    Otherwise everything that it calls would be optimised once more with it, and then again with its caller.
    """
    return cast("Callable[P, T]", numba.njit(inline="always", **_INNER)(function))
