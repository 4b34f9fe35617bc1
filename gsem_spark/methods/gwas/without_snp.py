"""The fit without the SNP: where every SNP's search starts, and what a fixed measurement is fixed at."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConvergenceError, ModelError
from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.settings import Estimation
from gsem_spark.methods.gwas.snp_model import SnpModel, with_fixed_measurement
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.inference import check_identified
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.model_checks import cell_key
from gsem_spark.methods.sem.starts import starting_values

Floats = NDArray[np.float64]

PROBE_VARIANCE: Final = 0.4
PROBE_EFFECT: Final = 0.02
"""Variance and effect of a SNP of no special kind, at which the model's identification is checked."""


def fit_without_snp(
    read: SnpModel, part: CovStruct, estimation: Estimation, fix: bool
) -> tuple[Model, Floats, Floats, Floats, int, tuple[str, ...]]:
    """The model to fit, its start (q,), S, V, what was smoothed once for all, and notes."""
    S, V, bits = np.array(part.S, order="C"), np.array(part.V, order="C"), 0
    notes: tuple[str, ...] = ()
    theta = None
    try:
        null = fit_model(part, read.measurement, estimation)
        if null.converged:
            theta, notes = null.theta, null.messages
            if fix:
                moments = null.sources().moments
                S, V = np.array(moments.S, order="C"), np.array(moments.V, order="C")
                bits = outcomes.S_SMOOTHED * moments.smoothed_s | outcomes.V_SMOOTHED * moments.smoothed_v
        elif fix:
            raise ConvergenceError(
                f"the measurement part of the model has no {estimation} solution without {read.predictor}; "
                f"{'; '.join(null.messages)}",
                remedy="simplify the model, leave out the weakest traits, or set fix_measurement=False",
            )
    except ModelError:
        if fix:
            raise
    fitted = with_fixed_measurement(read, theta) if fix and theta is not None else read.full
    values = read.measurement.path_values(starting_values(read.measurement, S) if theta is None else theta)
    known = {cell_key(p): float(v) for p, v in zip(read.measurement.paths, values, strict=True)}
    start = np.zeros(fitted.n_free)
    for path, place in reversed(list(zip(fitted.paths, fitted.path_index.tolist(), strict=True))):
        if place >= 0:
            start[place] = known.get(cell_key(path), 0.0)
    _check_identified(fitted, S, start)
    return fitted, start, S, V, bits, notes


def _check_identified(model: Model, S: Floats, start: Floats) -> None:
    k = S.shape[0]
    probe = np.eye(k + 1) * PROBE_VARIANCE
    probe[1:, 1:] = S
    theta = start.copy()
    for path, place in zip(model.paths, model.path_index.tolist(), strict=True):
        if place >= 0 and model.observed[0] in (path.lhs, path.rhs):
            theta[place] = PROBE_VARIANCE if path.lhs == path.rhs else PROBE_EFFECT
    check_identified(model, probe, theta)
