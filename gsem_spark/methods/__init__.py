"""The mathematics, one folder a method; nothing in here knows Spark, tables or files. Folders are loaded when first used."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["gwas", "ldsc", "lmm", "mtag", "reconcile", "sem", "simulation", "sumstats"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
