"""A covariance structure from matrices that carry names: what is in the wrong place is put right, what does not match refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.vech import vech_indices

Floats = NDArray[np.float64]


def structure_from_frames(S: pd.DataFrame, V: pd.DataFrame | ArrayLike, I: ArrayLike | None = None, **settings: Any) -> CovStruct:
    """Build a covariance structure from S and V with names, e.g. of HDL or of another program than LDSC.

    Parameters
    ----------
    S
        (k, k) frame; rows and columns have the traits' names, rows in any order (a default index means the columns' order).
    V
        (k*, k*) sampling covariance. A frame whose columns are named ``a~~b`` (or ``a b``, as GenomicSEM has it) may stand in any
        order and is put into vech order; without such names it must be in vech order, the lower triangle column by column.
    I
        (k, k) intercepts; None takes 1 on the diagonal and 0 off it, which suits a V that holds the overlap already.
    settings
        Passed on to ``CovStruct.from_matrices``.

    Raises
    ------
    ModelError
        When names repeat, or of S's rows and columns, or of S and V, do not match; when V has not k* rows; when a cell is not
        a finite number.
    """
    traits = [str(c) for c in S.columns]
    matrix = _ordered_s(S, traits)
    rows, columns = vech_indices(len(traits))
    wanted = [f"{traits[c]}~~{traits[r]}" for r, c in zip(rows, columns, strict=True)]
    sampling = _ordered_v(V, traits, wanted)
    for name, x in (("S", matrix), ("V", sampling)):
        if not np.all(np.isfinite(x)):
            at = np.argwhere(~np.isfinite(x))[0]
            labels = traits if name == "S" else wanted
            raise ModelError(f"{name} has no number at {labels[at[0]]}, {labels[at[1]]}",
                             remedy="leave out the trait that causes it")
    intercepts = np.eye(len(traits)) if I is None else np.asarray(I, dtype=np.float64)
    return CovStruct.from_matrices(matrix, sampling, intercepts, traits, **settings)


def _ordered_s(S: pd.DataFrame, traits: list[str]) -> Floats:
    if len(set(traits)) < len(traits):
        raise ModelError(f"the columns of S repeat: {', '.join(sorted({t for t in traits if traits.count(t) > 1}))}")
    if S.shape[0] != S.shape[1]:
        raise ModelError(f"S has {S.shape[0]} rows and {S.shape[1]} columns; it must be square")
    frame = S.set_axis(traits, axis=1)
    if not isinstance(S.index, pd.RangeIndex):
        index = [str(r) for r in S.index]
        if sorted(index) != sorted(traits):
            odd = sorted(set(index) ^ set(traits))
            raise ModelError(f"the rows and columns of S do not have the same names: {', '.join(odd)}")
        frame = frame.set_axis(index, axis=0).loc[traits]
    return frame.to_numpy(dtype=np.float64)


def _ordered_v(V: pd.DataFrame | ArrayLike, traits: list[str], wanted: list[str]) -> Floats:
    k, size = len(traits), len(wanted)
    matrix = np.asarray(V, dtype=np.float64)
    if matrix.shape != (size, size):
        raise ModelError(f"V is {' by '.join(map(str, matrix.shape))}, but {k} traits have {size} elements of S, so it must be "
                         f"{size} by {size}", remedy="take the V that belongs to this S; subset both with cov.subset([...])")
    if not isinstance(V, pd.DataFrame) or not all(_pair(str(c)) for c in V.columns):
        return matrix
    place = {frozenset((t, u)): n for n, (t, u) in enumerate(w.split("~~") for w in wanted)}
    pairs = [_pair(str(c)) for c in V.columns]
    unknown = sorted({name for pair in pairs if pair for name in pair if name not in traits})
    if unknown:
        raise ModelError(f"V names traits that S does not have: {', '.join(unknown)}", remedy="take S and V from one run")
    order = [place[frozenset(pair)] for pair in pairs if pair]
    if len(set(order)) < size:
        missing = [w for n, w in enumerate(wanted) if n not in order]
        raise ModelError(f"V has no column for {', '.join(missing)}, and another twice")
    back = np.argsort(order)
    return np.asarray(matrix[np.ix_(back, back)])


def _pair(label: str) -> tuple[str, str] | None:
    """The two traits that a label of V names."""
    parts = re.split(r"~~|\s+", label.strip())
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None
