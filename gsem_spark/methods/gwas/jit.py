"""How the kernels of this folder are compiled: nopython, without the GIL, kept on disk where a disk folder is writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
T = TypeVar("T")


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
