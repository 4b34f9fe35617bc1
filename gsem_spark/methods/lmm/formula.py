"""Mixed models as people write them: ``y ~ sex + age + (1|household)``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm.variance_components import Component, grouping_component

Floats = NDArray[np.float64]

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m|[⧛⧚]")
"""What formulaic marks a place of a formula with, for terminals."""
_RANDOM: Final = re.compile(r"\(([^()|]+)\|([^()|]+)\)")


@dataclass(frozen=True)
class FormulaData:
    """What a formula and a table make: y (n,), X (n, c) with names, and components of the random terms."""

    y: Floats
    X: Floats
    names: tuple[str, ...]
    components: tuple[Component, ...]


def formula_data(formula: str, data: pd.DataFrame) -> FormulaData:
    """Phenotype, design and variance components of a formula.

    Parameters
    ----------
    formula
        Fixed terms as in R (by formulaic), and random terms: ``(1|g)`` an intercept a group; ``(x|g)`` or ``(1 + x|g)`` intercept
        and slope with their covariance; ``(0 + x|g)`` a slope alone; ``(1|a/b)`` groups b within a, and a; ``(1|a:b)``
        combinations.
    data
        A table with the columns named, no missing values in them.

    Raises
    ------
    ConfigError
        When the formula cannot be read.
    DataError
        When a column is missing, or holds missing values.
    """
    from formulaic import model_matrix  # type: ignore[import-untyped]
    from formulaic.errors import FormulaicError  # type: ignore[import-untyped]

    if formula.count("~") != 1:
        raise ConfigError(f"{formula!r} has {formula.count('~')} tildes, one is wanted", where="formula",
                          remedy="write it as y ~ covariates + (1|group)")
    components: list[Component] = []
    for inner, group in _RANDOM.findall(formula):
        components += _random_term(inner, group, data)
    fixed = _fixed_part(formula)
    try:
        parts = model_matrix(fixed, data, na_action="raise")
    except (FormulaicError, ValueError) as error:
        if unknown := re.search(r"`([^`]+)` is not present", str(error)):
            raise _no_column(unknown.group(1), data) from error
        said = _COLOURS.sub("", str(error)).splitlines()[0]
        raise ConfigError(f"the fixed part {fixed!r} cannot be read: {said}", where="formula",
                          remedy="write it as y ~ sex + age + (1|household)") from error
    except KeyError as error:
        raise DataError(f"the table has no column {error}", where="formula") from error
    X = pd.DataFrame(parts.rhs)
    y = np.asarray(parts.lhs, dtype=np.float64)
    return FormulaData(y.ravel(), X.to_numpy(dtype=np.float64), tuple(map(str, X.columns)), tuple(components))


def _no_column(name: str, data: pd.DataFrame) -> DataError:
    return DataError(f"the table has no column {name!r}; it has {', '.join(map(str, data.columns))}", where="formula",
                     remedy="correct the formula, or add the column")


def without_random_terms(formula: str) -> str:
    """A formula, or its right side, without ``(…|group)``."""
    return _RANDOM.sub("", formula)


def _fixed_part(formula: str) -> str:
    left, right = without_random_terms(formula).split("~")
    terms = [t.strip() for t in re.split(r"\+", right)]
    return f"{left.strip()} ~ {' + '.join(t for t in terms if t) or '1'}"


def _random_term(inner: str, group: str, data: pd.DataFrame) -> list[Component]:
    groups = [g.strip() for g in group.split("/")]
    if len(groups) > 1:
        nested = [":".join(groups[: i + 1]) for i in range(len(groups))]
        return [c for name in nested for c in _random_term(inner, name, data)]
    name = groups[0].replace(" ", "")
    same = grouping_component(name, _column_of(name, data)).matrix
    terms = [t.strip() for t in inner.split("+")]
    slopes = [t for t in terms if t not in ("0", "1")]
    intercept = "0" not in terms
    if len(slopes) > 1:
        raise ConfigError(f"({inner}|{group}) has {len(slopes)} slopes, one is the most", where="formula",
                          remedy="give each slope its own term, or its components as matrices")
    out = [Component(name, same)] if intercept else []
    if slopes:
        x = _slope_of(slopes[0], data)
        if intercept:
            out.append(Component(f"{name}:1,{slopes[0]}", same * (x[:, None] + x[None, :]), covariance=True))
        out.append(Component(f"{name}:{slopes[0]}", same * np.outer(x, x)))
    return out


def _slope_of(name: str, data: pd.DataFrame) -> Floats:
    """A numeric column, or the product of several joined by colons."""
    x = np.ones(len(data))
    for part in name.split(":"):
        values = pd.to_numeric(pd.Series(_column_of(part.strip(), data)), errors="coerce").to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise DataError("a random slope is over numbers", where=part.strip())
        x = x * values
    return x


def _column_of(name: str, data: pd.DataFrame) -> NDArray[np.generic]:
    parts = name.split(":")
    for part in parts:
        if part not in data.columns:
            raise _no_column(part, data)
        if data[part].isna().any():
            raise DataError(f"{int(data[part].isna().sum())} values are missing", where=part)
    if len(parts) == 1:
        return data[name].to_numpy()
    codes, _ = pd.factorize(pd.MultiIndex.from_frame(data[parts]))
    return np.asarray(codes)
