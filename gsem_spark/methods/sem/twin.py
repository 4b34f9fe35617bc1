"""The same model with its factors scaled by their variances instead of by markers: another road to the same optimum.

A marker that hardly loads makes the other loadings and the factor's variance run to extremes, and the estimation stall; the
twin has no such corner. Its solution, put back on the markers' scale, starts the model itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.sem.constrained import minimise_restricted
from gsem_spark.methods.sem.estimate import Estimation, objective_for
from gsem_spark.methods.sem.model import Model, Path
from gsem_spark.methods.sem.starts import alternative_starts, starting_values

Floats = NDArray[np.float64]

WEAK_MARKER: Final = 0.1
"""Standardised loading of a marker below which it is named as the cause of a failed fit."""


def markers_of(model: Model) -> dict[str, tuple[Path, Path]]:
    """Factors that a fixed loading alone scales: the loading's path and the (free) variance's path."""
    out: dict[str, tuple[Path, Path]] = {}
    for factor in model.latent:
        touching = [p for p in model.paths if (p.lhs == factor) != (p.rhs == factor)]
        fixed = [p for p in touching if p.fixed is not None and p.fixed != 0]
        own = [p for p in model.paths if p.op == "~~" and p.lhs == p.rhs == factor and p.fixed is None]
        if len(fixed) == 1 and fixed[0].op == "=~" and fixed[0].lhs == factor and own:
            out[factor] = (fixed[0], own[0])
    return out


def unit_variance_twin(model: Model) -> Model | None:
    """The model with markers freed and their factors' variances fixed at 1; None where a label binds what changes its scale."""
    markers = markers_of(model)
    if not markers or any((p.label or p.constant) and {p.lhs, p.rhs} & markers.keys() for p in model.paths):
        return None
    freed = {marker for marker, _ in markers.values()}
    fixed = {own for _, own in markers.values()}
    swapped = {
        **{p: replace(p, fixed=None, constant=None, start=None) for p in freed},
        **{p: replace(p, fixed=1.0, start=None) for p in fixed},
    }
    paths = tuple(swapped.get(p, p) for p in model.paths)
    return Model(model.observed, model.latent, paths, model.constraints, model.defined)


def from_twin(model: Model, twin: Model, theta: Floats) -> Floats | None:
    """The twin's solution on the scale of the markers, (q,); None where a marker's loading is zero."""
    value = dict(zip(((p.lhs, p.op, p.rhs) for p in twin.paths), twin.path_values(theta), strict=True))
    scale = dict.fromkeys(model.variables, 1.0)
    for factor, (marker, _) in markers_of(model).items():
        scale[factor] = value[(marker.lhs, marker.op, marker.rhs)] / float(marker.fixed or 1.0)
    # A marker that is a factor itself is rescaled by its own marker: its loading on the parent is measured in that.
    for factor, (marker, _) in markers_of(model).items():
        scale[factor] *= scale[marker.rhs] if marker.rhs in model.latent else 1.0
    if any(abs(s) < np.finfo(np.float64).eps for s in scale.values()):
        return None
    out = np.zeros(model.n_free)
    for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
        if i >= 0:
            lhs, rhs = scale[path.lhs], scale[path.rhs]
            out[i] = value[(path.lhs, path.op, path.rhs)] * {"=~": rhs / lhs, "~": lhs / rhs, "~~": lhs * rhs}[path.op]
    return out


def twin_starts(model: Model, S: Floats, V: Floats, estimation: Estimation) -> Iterator[Floats]:
    """Yield the twin's optimum as a start of the model, where there is a twin and it converges."""
    twin = unit_variance_twin(model)
    theta = None if twin is None else _optimum(twin, S, V, estimation)
    start = None if twin is None or theta is None else from_twin(model, twin, theta)
    if start is not None:
        yield start


def weak_markers(model: Model, S: Floats, V: Floats, estimation: Estimation) -> list[str]:
    """Name the markers that hardly load on their factors where the twin has an optimum; sentences for a fit that has none."""
    twin = unit_variance_twin(model)
    theta = None if twin is None else _optimum(twin, S, V, estimation)
    if twin is None or theta is None:
        return []
    sd = dict(zip(model.observed, np.sqrt(np.diag(S)), strict=True))
    out = []
    for factor, (marker, _) in markers_of(model).items():
        where = next(i for i, p in enumerate(twin.paths) if (p.lhs, p.op, p.rhs) == (marker.lhs, marker.op, marker.rhs))
        loading = float(twin.path_values(theta)[where]) / sd.get(marker.rhs, 1.0)
        if abs(loading) < WEAK_MARKER:
            out.append(
                f"{marker.rhs} scales {factor} but loads only {loading:.3g} (standardised) on it, so that the scale runs off; "
                f"the model has an optimum with std_lv=True, or with another trait first on the line of {factor}"
            )
    return out


def _optimum(twin: Model, S: Floats, V: Floats, estimation: Estimation) -> Floats | None:
    first = starting_values(twin, S)
    starts = [first, *alternative_starts(twin, S, first)]
    end = minimise_restricted(objective_for(twin, S, V, estimation), twin.restrictions, starts)
    return end.theta if end.converged else None
