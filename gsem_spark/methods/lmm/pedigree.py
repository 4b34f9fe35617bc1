"""Relationships from a pedigree: Henderson's recursion, inbreeding, and what can be wrong with a pedigree."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, DataError

Floats = NDArray[np.float64]

UNKNOWN: Final = frozenset({"", "0", "NA", "nan", "None", "."})
"""How files say that a parent is not known."""
_SYNONYMS: Final = {"id": ("id", "iid", "animal", "individual"), "sire": ("sire", "father", "pat", "fa"),
                    "dam": ("dam", "mother", "mat", "mo")}
EXAMPLES: Final = 5


def parse_fam(text: str) -> pd.DataFrame:
    """Pedigree of a PLINK .fam file: columns id, sire, dam, fid, iid.

    Parameters
    ----------
    text
        The file's text: six columns a line (family, individual, father, mother, sex, phenotype), split at white space.

    Returns
    -------
    DataFrame
        ``id`` is the individual's name, or ``family:individual`` where names repeat between families; parents likewise.

    Raises
    ------
    DataError
        When a line has fewer than four columns.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    for i, row in enumerate(rows):
        if len(row) < 4:
            raise DataError(f"{len(row)} columns, at least four are wanted", where=f".fam line {i + 1}")
    names = [row[1] for row in rows]
    unique = len(set(names)) == len(names)

    def label(fid: str, iid: str) -> str:
        return "" if iid in UNKNOWN else iid if unique else f"{fid}:{iid}"

    return pd.DataFrame([{"id": label(r[0], r[1]), "sire": label(r[0], r[2]), "dam": label(r[0], r[3]), "fid": r[0], "iid": r[1]}
                         for r in rows])


def pedigree_kinship(
    pedigree: pd.DataFrame, scale: Literal["relationship", "kinship"] = "relationship",
    unknown_parents: Literal["error", "founders"] = "error",
) -> pd.DataFrame:
    """Expected relationships of a pedigree.

    Parameters
    ----------
    pedigree
        One row an individual with columns id, sire and dam (or father and mother, as in a .fam table), in any order; a missing
        parent is NaN, None, "" or "0".
    scale
        ``"relationship"``: the numerator relationship matrix A, diagonal 1 + inbreeding, so that sigmasq_g is the additive
        variance of an outbred population. ``"kinship"``: coefficients of kinship, A / 2.
    unknown_parents
        What to do with a parent that has no row of its own: refuse it, or take it as an unrelated founder that is left out of the
        result.

    Returns
    -------
    DataFrame
        (n, n), individuals in the pedigree's order as index and columns.

    Raises
    ------
    DataError
        When an individual has several rows, is its own ancestor (the loop is named), is sire and dam, or has an unknown parent.

    Notes
    -----
    With parents before offspring, A[i, j] = (A[s, j] + A[d, j]) / 2 and A[i, i] = 1 + A[s, d] / 2 (Henderson 1976, Biometrics
    32:69; Emik & Terrill 1949).

    Examples
    --------
    >>> family = pd.DataFrame({"id": ["a", "b", "c"], "sire": ["0", "0", "a"], "dam": ["0", "0", "b"]})
    >>> pedigree_kinship(family).loc["c"].tolist()
    [0.5, 0.5, 1.0]
    """
    if scale not in ("relationship", "kinship"):
        raise ConfigError(f"unknown scale {scale!r}", where="scale", remedy='choose "relationship" or "kinship"')
    ids, parents = _parents(pedigree)
    known = dict.fromkeys(ids)
    strangers = list(dict.fromkeys(p for pair in parents.values() for p in pair if p and p not in known))
    if strangers and unknown_parents == "error":
        shown = ", ".join(strangers[:EXAMPLES])
        raise DataError(f"{len(strangers)} parents are not in the pedigree: {shown}", where="pedigree",
                        remedy='add a row for each, or take them as founders with unknown_parents="founders"')
    order = _parents_first([*strangers, *ids], parents)
    A = _recursion(order, parents)
    at = {name: i for i, name in enumerate(order)}
    places = [at[name] for name in ids]
    matrix = A[np.ix_(places, places)] * (1.0 if scale == "relationship" else 0.5)
    return pd.DataFrame(matrix, index=pd.Index(ids, name="id"), columns=pd.Index(ids, name="id"))


def inbreeding(pedigree: pd.DataFrame, unknown_parents: Literal["error", "founders"] = "error") -> pd.DataFrame:
    """Columns id and inbreeding, the diagonal of A less 1."""
    A = pedigree_kinship(pedigree, unknown_parents=unknown_parents)
    return pd.DataFrame({"id": A.index, "inbreeding": np.diag(A.to_numpy()) - 1.0})


def _parents(pedigree: pd.DataFrame) -> tuple[list[str], dict[str, tuple[str, str]]]:
    columns = {}
    lower = {str(c).lower(): c for c in pedigree.columns}
    for name, synonyms in _SYNONYMS.items():
        found = [lower[s] for s in synonyms if s in lower]
        if not found:
            raise DataError(f"the pedigree has no column {name} (or {', '.join(synonyms[1:])}); it has "
                            f"{', '.join(map(str, pedigree.columns))}", where="pedigree")
        columns[name] = pedigree[found[0]].map(_text).tolist()
    ids: list[str] = columns["id"]
    if "" in ids:
        raise DataError(f"row {ids.index('')} has no individual", where="pedigree")
    repeated = sorted(name for name, count in Counter(ids).items() if count > 1)
    if repeated:
        raise DataError(f"{len(repeated)} individuals have several rows: {', '.join(repeated[:EXAMPLES])}", where="pedigree")
    both = sorted((set(columns["sire"]) & set(columns["dam"])) - {""})
    if both:
        raise DataError(f"{len(both)} individuals are sire and dam: {', '.join(both[:EXAMPLES])}", where="pedigree")
    return ids, dict(zip(ids, zip(columns["sire"], columns["dam"], strict=True), strict=True))


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return "" if text in UNKNOWN else text


def _parents_first(ids: list[str], parents: dict[str, tuple[str, str]]) -> list[str]:
    """Individuals with parents before offspring, otherwise in the order given."""
    done: dict[str, None] = {}
    for name in ids:
        path: list[str] = []
        stack = [name]
        while stack:
            current = stack[-1]
            if current in done:
                stack.pop()
                continue
            waiting = [p for p in parents.get(current, ("", "")) if p and p not in done]
            if not waiting:
                done[current] = None
                stack.pop()
                if path and path[-1] == current:
                    path.pop()
                continue
            if current not in path:
                path.append(current)
            loop = [p for p in waiting if p in path]
            if loop:
                chain = [*path[path.index(loop[0]):], loop[0]]
                raise DataError(f"a pedigree loop: {' is an offspring of '.join(chain[: EXAMPLES + 1])}", where="pedigree",
                                remedy="correct a parent of one of them")
            stack.extend(waiting)
    return list(done)


def _recursion(order: list[str], parents: dict[str, tuple[str, str]]) -> Floats:
    n = len(order)
    at = {name: i for i, name in enumerate(order)}
    A = np.zeros((n, n))
    for i, name in enumerate(order):
        known = [at[p] for p in parents.get(name, ("", "")) if p]
        for p in known:
            A[i, :i] += 0.5 * A[p, :i]
        A[:i, i] = A[i, :i]
        A[i, i] = 1.0 + (0.5 * A[known[0], known[1]] if len(known) == 2 else 0.0)
    return A
