"""Which compiled route a model takes, the arrays of that route, and what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods.gwas.arrangement import Sampling, sampling
from gsem_spark.methods.gwas.linear import Reduced, Shared, layout_of, reduce, share
from gsem_spark.methods.gwas.moments import spd_inverse
from gsem_spark.methods.gwas.result_rows import RowTable
from gsem_spark.methods.gwas.tape import Tape, compile_model
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.smooth import is_positive_definite

Floats = NDArray[np.float64]
Route = Literal["analytic", "reduced", "iterative", "general"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The arrays that the compiled routes read; those of other routes are None."""

    tape: Tape | None = None
    sampling: Sampling | None = None
    reduced: Reduced | None = None
    shared: Shared | None = None


def choose_route(
    model: Model, start: Floats, table: RowTable, S: Floats, V: Floats, R: Floats, error: float, bounds: Floats | None,
    estimation: str, wanted: Route | None, toler: float,
) -> tuple[Route, str, Parts]:
    """The fastest exact route that is not faster than the one wanted, and its arrays."""
    if estimation == "ML":
        return "general", "ML is estimated SNP by SNP", Parts()
    if not model.restrictions.empty:
        return "general", "the model has constraints on free parameters", Parts()
    if wanted == "general":
        return "general", "asked for", Parts()
    layout = layout_of(model) if wanted != "iterative" else "asked for"
    if not isinstance(layout, str):
        if not set(table.places) <= set(_effects(model)):
            layout = "rows other than the SNP's paths are asked for"
        else:
            reduced = reduce(layout, V, R, error, bounds, toler)
            if reduced is not None and wanted == "reduced":
                reduced = reduced._replace(exact=False)
            if reduced is not None:
                parts = Parts(reduced=reduced, shared=share(reduced, S))
                if reduced.exact:
                    return "analytic", "the measurement is fixed and its free variances take up all that the SNP explains", parts
                return "reduced", "the measurement is fixed, and the SNP's effects enter covariances that are fixed too", parts
            return "general", "V or the intercepts have no Cholesky factor", Parts()
    tape = compile_model(model, start)
    sampled = sampling(tape.cell, tape.searched - 1 - tape.k, S, V, R, error, bounds, toler)
    if sampled is None:
        return "general", "V or the intercepts have no Cholesky factor", Parts()
    return "iterative", layout, Parts(tape=tape, sampling=sampled)


def _effects(model: Model) -> list[int]:
    """Places in theta of the free paths from the SNP, in the order of ``linear.layout_of``."""
    _, columns, directed = model.cells
    index = model.path_index
    return list(dict.fromkeys(index[(index >= 0) & directed & (columns == 0)].tolist()))


def targets_of(model: Model, table: RowTable, R: Floats, parts: Parts) -> Targets:
    """What the kernels of a route are asked for: the rows' parameters and the factors' Q_SNP."""
    places = table.places
    parameter, own = np.full(len(places), -1, dtype=np.int64), np.full(len(places), -1, dtype=np.int64)
    if parts.reduced is not None:
        effects = _effects(model)
        parameter[:] = [effects.index(p) for p in places]
    elif parts.tape is not None:
        for n, place in enumerate(places):
            path = int(np.flatnonzero(model.path_index == place)[0])
            parameter[n] = parts.tape.parameter[path]
            if parameter[n] < 0:
                trait = int(model.cells[0][path])
                own[n] = int(np.flatnonzero(parts.tape.own_trait == trait)[0])
    k, f = R.shape[0], len(table.factors)
    precision = np.zeros((f, k, k))
    for n, (_, at) in enumerate(table.factors):
        if is_positive_definite(R):
            precision[n, : len(at), : len(at)] = spd_inverse(R[np.ix_(at, at)])
    start = np.concatenate([[0], np.cumsum([len(at) for _, at in table.factors])]).astype(np.int64)
    return Targets(parameter, own, start, np.array([t for _, at in table.factors for t in at], dtype=np.int64), precision)
