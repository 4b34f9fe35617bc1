"""Settings that every per-SNP model shares, and what values they may have."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas.moments import Gc
from gsem_spark.thresholds import SNP_SE

Estimation = Literal["DWLS", "ML"]


def check_settings(gc: str, snp_se: float, estimation: str) -> None:
    """Refuse a setting that has no such value.

    Raises
    ------
    ModelError
        With the values there are.
    """
    for name, value, choices in (("gc", gc, get_args(Gc)), ("estimation", estimation, get_args(Estimation))):
        if value not in choices:
            raise ModelError(f"{name} is {value!r}", remedy=f"use one of {', '.join(choices)}")
    if not (np.isfinite(snp_se) and snp_se > 0):
        raise ModelError(f"snp_se is {snp_se}; it must be a positive number", remedy=f"leave it out for the usual {SNP_SE}")
