"""The no-SNP common factor, in the form the per-SNP fits start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConvergenceError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.commonfactor import common_factor

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NullSolution:
    """Common factor without a SNP, k traits.

    Parameters
    ----------
    sign
        1, or -1 where the factor's variance is negative (a Heywood case).
    loadings
        (k,) loadings for a factor of variance ``sign``; the first is positive.
    residual_variances
        (k,).
    """

    sign: float
    loadings: Floats
    residual_variances: Floats


def null_solution(cov: CovStruct, estimation: Literal["DWLS", "ML"]) -> NullSolution:
    """Fit the common factor to S and V (smoothed where they are not positive definite).

    Raises
    ------
    ConvergenceError
        When the fit has no optimum, or the first trait does not load on the factor, so that it cannot be its marker.
    """
    fit = common_factor(cov, estimation=estimation, identification="marker")
    table = fit.parameters
    loadings = _values(table, "=~", "rhs", cov.traits)
    residuals = _values(table[table["lhs"] == table["rhs"]], "~~", "rhs", cov.traits)
    factor = table.loc[table["op"] == "=~", "lhs"].iloc[0]
    variance = float(_values(table, "~~", "lhs", (str(factor),))[0])
    if fit.status == "not_converged" or not (np.all(np.isfinite(loadings)) and np.isfinite(variance) and variance != 0.0):
        raise ConvergenceError(
            f"the common factor of {', '.join(cov.traits)} has no {estimation} solution without a SNP, so no SNP can be "
            f"tested on it; {'; '.join(fit.messages)}",
            remedy="leave out the traits with the weakest signal, put a trait first that loads well, or try the other estimation",
        )
    return NullSolution(float(np.sign(variance)), loadings * np.sqrt(abs(variance)), residuals)


def _values(table: pd.DataFrame, op: str, key: str, names: tuple[str, ...]) -> Floats:
    rows = table[table["op"] == op].set_index(key)["est"]
    return rows.reindex(list(names)).to_numpy(dtype=np.float64)
