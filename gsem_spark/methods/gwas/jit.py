"""How the kernels of this folder are compiled: nopython, without the GIL, kept on disk where a disk folder is writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a kernel; fall back to compilation in memory where numba finds no writable cache folder.

    Notes
    -----
    Executors often run from a read-only image under a user without a home. Numba then refuses ``cache=True`` when the
    module is imported, which would take the whole task down for want of a cache. ``fastmath`` stays off: sums keep their
    written order, so that results are the same bytes on every machine of a kind, in any batch.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    except (RuntimeError, OSError):
        return numba.njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
