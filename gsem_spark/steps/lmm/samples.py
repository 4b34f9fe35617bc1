"""Phenotypes and covariates from text files, matched to genotyped samples by name; the order of lines means nothing."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, DataError, placed
from gsem_spark.methods.lmm.checks import as_columns, as_design, refuse_explained
from gsem_spark.methods.lmm.formula import FormulaData, formula_data, without_random_terms
from gsem_spark.methods.lmm.samples import match_samples
from gsem_spark.methods.lmm.transform import gaussianize
from gsem_spark.methods.lmm.variance_components import Component
from gsem_spark.steps.lmm.config import ModelConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXAMPLES: Final = 3


@dataclass(frozen=True)
class SampleTable:
    """Columns as text, rows in the order of the genotyped samples found in it.

    Parameters
    ----------
    places
        (n,) places of the rows among the genotyped samples.
    columns
        Columns but for FID and IID; missing values are None.
    notices
        What a reader must know of samples without a partner.
    """

    places: Ints
    columns: pd.DataFrame
    notices: tuple[str, ...]

    @property
    def version(self) -> str:
        """Hash of the samples and their values, the same in whatever order the lines stood."""
        text = self.columns.to_csv(index=False, na_rep="\0")
        return hashlib.sha256(self.places.tobytes() + text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TraitData:
    """One trait's complete samples.

    Parameters
    ----------
    trait
        Its name.
    places
        (n,) places of its samples among the genotyped ones, ascending.
    y, X, names
        (n,) phenotype, (n, c) covariates with the intercept, and their names.
    components
        Variance components of random terms, besides kinship and residual.
    environments
        (n, e) columns of interactions.
    """

    trait: str
    places: Ints
    y: Floats
    X: Floats
    names: tuple[str, ...]
    components: tuple[Component, ...]
    environments: Floats


def read_samples(config: ModelConfig, samples: pd.DataFrame) -> SampleTable:
    """The phenotype file, with the covariate file beside it, in the order of genotyped samples (fid, iid).

    Raises
    ------
    DataError
        A file cannot be read, lacks IID, names a sample twice, or no sample has genotypes (counts and examples both ways).
    """
    files = [config.phenotypes, *([config.covariates] if config.covariates is not None else [])]
    tables = [_read_file(path, config.na) for path in files]
    places, columns, notices = None, [], []
    for path, table in zip(files, tables, strict=True):
        have, wanted = _names(table, samples)
        rows, at = match_samples(wanted, have, "genotypes", Path(path).name, need_all=False)
        if len(at) < len(table):
            notices.append(f"{len(table) - len(at):,} of {len(table):,} samples of {Path(path).name} have no genotypes")
        frame = table.drop(columns=[c for c in ("FID", "IID") if c in table]).iloc[at].set_axis(rows, axis=0)
        places = frame.index if places is None else places.intersection(frame.index)
        columns.append(frame)
    assert places is not None
    if both := sorted(set(map(str, columns[0])) & set(map(str, columns[-1]))) if len(columns) > 1 else []:
        raise DataError(f"both files have the column {both[0]!r}", where=files[1], remedy="rename or drop it in one of them")
    kept = places.sort_values()
    if len(kept) == 0:
        raise DataError("no sample is in both files", where=files[1], remedy="check the sample names")
    return SampleTable(kept.to_numpy(np.int64), pd.concat([c.loc[kept] for c in columns], axis=1).reset_index(drop=True),
                       tuple(notices))


def traits_of(config: ModelConfig, table: SampleTable, environments: Sequence[str] = ()) -> tuple[str, ...]:
    """Traits to be modelled: those named, that of the formula, or every column that is nothing else."""
    left = (config.formula or "").split("~")[0].strip()
    if config.traits is not None:
        if twice := [t for k, t in enumerate(config.traits) if t in config.traits[:k]]:
            raise ConfigError(f"trait {twice[0]!r} is named twice", where="traits", remedy="name each once")
        if left and config.traits != (left,):
            raise ConfigError(f"the formula is of {left!r}, traits names {', '.join(config.traits)}", where="traits",
                              remedy="leave the formula's left side or traits away")
        return config.traits
    if left:
        return (left,)
    used = {*config.covar, *environments, *_columns_in(config.formula or "", table.columns)}
    chosen = tuple(str(c) for c in table.columns if c not in used)
    if not chosen:
        raise ConfigError("every column is a covariate: there is no phenotype", where=config.phenotypes,
                          remedy="name it: traits=…")
    return chosen


def trait_data(config: ModelConfig, table: SampleTable, trait: str, environments: Sequence[str] = ()) -> TraitData:
    """A trait with its covariates, over the samples that have all of them.

    Raises
    ------
    DataError
        A column is not there, holds words where numbers are wanted, or too few samples are complete.
    ConfigError
        The formula cannot be read.
    """
    covariates = [*config.covar, *(e for e in environments if e not in config.covar)]
    right = config.formula.split("~")[1] if config.formula else ""
    if config.formula:
        covariates = [e for e in environments if e not in _columns_in(right, table.columns)]
    for name in (trait, *config.covar, *environments):
        _check_column(name, table.columns, config)
    fixed = [*covariates, *_columns_in(without_random_terms(right), table.columns)]
    if trait in fixed:
        raise ConfigError(f"{trait!r} is the phenotype and a covariate too", where=_files(config), remedy="leave it out of one")
    used = list(dict.fromkeys([trait, *covariates, *environments, *_columns_in(right, table.columns)]))
    complete = table.columns[used].notna().all(axis=1).to_numpy()
    if not complete.any():
        gone = {name: int(table.columns[name].isna().sum()) for name in used if table.columns[name].isna().any()}
        raise DataError(f"no sample has all of {', '.join(used)}; missing: {gone}", where=config.phenotypes,
                        remedy="leave out covariates that are mostly missing")
    part = table.columns.loc[complete, used].reset_index(drop=True)
    data = pd.DataFrame({name: _numbers_or_words(part[name]) for name in used})
    _check_values(config, part, data, (trait, *environments), fixed)
    if config.gaussianize:
        data[trait] = gaussianize(data[trait].to_numpy(np.float64))
    made = _formula_data(config, table, trait, right, covariates, data)
    names = tuple("intercept" if name == "Intercept" else name.replace("`", "") for name in made.names)
    values = data[list(environments)].to_numpy(np.float64) if environments else np.empty((len(data), 0))
    return TraitData(trait, table.places[complete], made.y, made.X, names, made.components, values)


def modelled_data(config: ModelConfig, table: SampleTable, trait: str, environments: Sequence[str] = ()) -> TraitData:
    """A trait's data as ``trait_data`` gives it, fit for a model.

    Raises
    ------
    DataError
        As there; besides, the phenotype or a covariate is constant, covariates are combinations of others or make up the
        phenotype, or there are fewer samples than parameters.
    """
    data = trait_data(config, table, trait, environments)
    with placed(f"{_files(config)}, trait {trait}"):
        as_columns(data.y[:, None], names=[trait])
        as_design(data.X, len(data.y), data.names)
        refuse_explained(data.y, data.X, trait)
    return data


def _formula_data(config: ModelConfig, table: SampleTable, trait: str, right: str, covariates: Sequence[str], data: pd.DataFrame
                  ) -> FormulaData:
    """Phenotype, design and components; a name that is no column is told with the columns of the files, not those in use."""
    terms = [right.strip()] if right.strip() else ["1"]
    try:
        return formula_data(f"`{trait}` ~ " + " + ".join([*terms, *(f"`{c}`" for c in covariates)]), data)
    except DataError as error:
        if unknown := re.search(r"no column '([^']+)'", error.what):
            _check_column(unknown.group(1), table.columns, config)
        raise type(error)(error.what, where=f"formula {config.formula!r}: {error.where}", remedy=error.remedy) from None
    except ConfigError as error:
        raise ConfigError(error.what, where=f"formula {config.formula!r}", remedy=error.remedy) from None


def _read_file(path: str, na: Sequence[str]) -> pd.DataFrame:
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    try:
        lines = [line for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not text: {error}", where=path, remedy="unpack it, or save it as UTF-8 text") from None
    if not lines:
        raise DataError("the file is empty", where=path, remedy="fetch it again")
    separator = next((mark for mark in ("\t", ",") if mark in lines[0]), None)
    rows = [line.split() for line in lines] if separator is None else list(csv.reader(lines, delimiter=separator))
    header = rows[0]
    if torn := next((i for i, row in enumerate(rows) if len(row) != len(header)), None):
        raise DataError(f"line {torn + 1} has {len(rows[torn])} fields, the header {len(header)}: {lines[torn][:60]}", where=path,
                        remedy="write missing values as NA, or separate fields by tabs")
    words = set(na)
    cells = [[None if word.strip() in words else word.strip() for word in row] for row in rows[1:]]
    table = pd.DataFrame(cells, columns=header, dtype=object)
    plain = [str(c).strip() for c in table.columns]
    table.columns = pd.Index([c.lstrip("#").upper() if c.lstrip("#").upper() in ("FID", "IID") else c for c in plain])
    if "IID" not in table:
        raise DataError(f"there is no column IID; the file has {', '.join(map(str, table.columns[:8]))}", where=path,
                        remedy="the first line names the columns: FID IID, then phenotypes and covariates")
    if table.empty:
        raise DataError("the file has a header and no sample", where=path, remedy="fetch it again")
    if unnamed := np.flatnonzero(table["IID"].isna()).tolist():
        raise DataError(f"{len(unnamed)} lines have no IID, the first is line {unnamed[0] + 2}", where=path,
                        remedy="give every sample a name")
    return table


def _names(table: pd.DataFrame, samples: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Names of a file's samples and of the genotyped ones, by family and individual where both have families."""
    if "FID" in table and not table["FID"].isna().any():
        both = [f"{f} {i}" for f, i in zip(table["FID"], table["IID"], strict=True)]
        wanted = [f"{f} {i}" for f, i in zip(samples["fid"].astype(str), samples["iid"].astype(str), strict=True)]
        if set(both) & set(wanted) or samples["iid"].duplicated().any():
            return both, wanted
    return table["IID"].tolist(), samples["iid"].astype(str).tolist()


def _columns_in(formula: str, columns: pd.DataFrame) -> list[str]:
    return [c for c in map(str, columns) if re.search(rf"(?<![\w.]){re.escape(c)}(?![\w.])", formula)]


def _files(config: ModelConfig) -> str:
    return " and ".join(Path(f).name for f in (config.phenotypes, config.covariates) if f)


def _check_column(name: str, columns: pd.DataFrame, config: ModelConfig) -> None:
    if name not in columns:
        raise DataError(f"there is no column {name!r}; there are {', '.join(map(str, columns.columns[:12]))}",
                        where=_files(config), remedy="correct the name")


def _check_values(config: ModelConfig, text: pd.DataFrame, data: pd.DataFrame, numeric: Sequence[str], fixed: Sequence[str]
                  ) -> None:
    """Numbers where numbers are wanted, none of them infinite; covariates of words that have more than one."""
    for name in data:
        if name in numeric or data[name].dtype == np.float64:
            _check_numbers(str(name), text[name], data[name], config)
        elif name in fixed and (data[name] == data[name].iloc[0]).all():
            raise DataError(f"constant covariate: {name} is {data[name].iloc[0]} in all {len(data)} samples",
                            where=_files(config), remedy="leave it out; one intercept is enough")


def _numbers_or_words(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers.astype(np.float64) if numbers.notna().all() else column


def _check_numbers(name: str, text: pd.Series, values: pd.Series, config: ModelConfig) -> None:
    if values.dtype == np.float64 and np.isfinite(values).all():
        return
    bad = [str(v) for v in text[~np.isfinite(pd.to_numeric(text, errors="coerce"))].unique()[:EXAMPLES]]
    remedy = "recode it, or name the words that mean missing: na=… (--na)"
    if config.traits is None and config.formula is None:
        remedy = f"name the phenotypes, traits=… (--traits): without, every column that is no covariate is one; or {remedy}"
    raise DataError(f"column {name!r} holds what is no number: {', '.join(bad)}", where=_files(config), remedy=remedy)
