"""Where several SNPs, or genes, and their LD come from: text files, or the panel of a workspace."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.methods.gwas import genes
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.thresholds import PER_SNP_INFO_MIN, PER_SNP_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

_SNP_COLUMNS: Final = {"snp": "SNP", "maf": "MAF", "a1": "A1", "a2": "A2"}
_GENE_COLUMNS: Final = ("panel", "gene", "hsq")
_OF_FUSION: Final = {"Panel": "panel", "Gene": "gene", "HSQ": "hsq"}


def read_fusion(
    files: Sequence[str | Path] | Mapping[str, str | Path],
    n: float | Sequence[float] | Mapping[str, float],
    names: Sequence[str] | None = None,
    binary: bool | Sequence[bool] | Mapping[str, bool] = False,
    permutation: bool = False,
) -> pd.DataFrame:
    """Read FUSION's results of several traits and join the genes that all of them have.

    Parameters
    ----------
    files
        One file a trait (plain or .gz); a mapping by trait name needs no ``names``.
    n
        Sample size of each trait's GWAS, for binary traits the sum of effective sample sizes; one number stands for all.
    names
        Trait names; by default those of the files, without their endings.
    binary
        Which traits are binary; one value stands for all.
    permutation
        Take the z-scores of FUSION's permutation p-values.

    Returns
    -------
    DataFrame
        panel, gene, hsq, then ``beta.T`` and ``se.T`` for every trait T; give it to :func:`gsem_spark.t_sem`.

    Raises
    ------
    DataError
        A file is not there or is no FUSION table (with file, line and column), numbers do not match the files, or genes disagree.
    """
    listed = files if isinstance(files, Mapping) else dict(zip(_names(files, names), files, strict=True))
    sizes, kinds = _each("n", n, list(listed)), _each("binary", binary, list(listed))
    traits = {}
    for name, file in listed.items():
        try:
            traits[name] = genes.read_fusion(_text(file), float(sizes[name]), bool(kinds[name]), permutation)
        except DataError as error:
            place = f"{file}, {error.where}" if error.where and error.where != str(file) else str(file)
            raise DataError(error.what, where=place, remedy=error.remedy) from None
    return genes.join_genes(traits)


def read_genes(file: str | Path) -> pd.DataFrame:
    """Read a joined table of genes: ``panel gene hsq`` (or ``Panel Gene HSQ``), ``beta.T`` and ``se.T`` for every trait T.

    Raises
    ------
    DataError
        The file is not there or lacks a column.
    """
    frame = _table(file).rename(columns=_OF_FUSION)
    _need(frame, _GENE_COLUMNS, file)
    return frame


def read_snps(file: str | Path) -> pd.DataFrame:
    """Read SNPs as GenomicSEM's ``sumstats`` writes them: ``SNP MAF``, ``beta.T`` and ``se.T`` for every trait T.

    Returns
    -------
    DataFrame
        snp, maf, a1 and a2 where the file has them, and the traits' columns.

    Raises
    ------
    DataError
        The file is not there, lacks a column, or names a SNP twice.
    """
    frame = _table(file).rename(columns={theirs: ours for ours, theirs in _SNP_COLUMNS.items()})
    _need(frame, ("snp", "maf"), file)
    twice = frame.loc[frame["snp"].duplicated(), "snp"]
    if len(twice):
        raise DataError(f"{len(twice)} SNPs stand there twice, e.g. {twice.iloc[0]}", where=str(file), remedy="keep one row each")
    return frame


def read_ld(file: str | Path, names: Sequence[str]) -> pd.DataFrame:
    """Read a square matrix of LD correlations, with a header of SNP names or without.

    Parameters
    ----------
    file
        Text; the first column may hold the names too. Without names (as PLINK's ``--r square`` writes) the order is ``names``.
    names
        (f,) SNPs or genes of the model.

    Raises
    ------
    DataError
        The file is not there, is not square, or has other names.
    """
    cells = [line.split() for line in _text(file).replace(",", " ").splitlines() if line.strip()]
    headed = bool(cells) and not _is_number(cells[0][-1])
    labels = cells.pop(0) if headed else list(map(str, names))
    f = len(cells)
    if cells and len(cells[0]) == f + 1:
        rows = [row.pop(0) for row in cells]
        labels = labels[-f:] if headed else rows
        if headed and set(rows) == set(labels):
            cells = [cells[rows.index(label)] for label in labels]
    if any(len(row) != f for row in cells) or len(labels) != f or f == 0:
        raise DataError(f"{f} rows of {sorted({len(r) for r in cells})} numbers with {len(labels)} names are no square matrix",
                        where=str(file), remedy="one row and one column a SNP")
    bad = next(((i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if not _is_number(cell)), None)
    if bad is not None:
        raise DataError(f"{cells[bad[0]][bad[1]]!r} is no number", where=f"{file}, row {bad[0] + 1}, column {bad[1] + 1}",
                        remedy="leave SNPs without an LD out")
    missing = [n for n in names if n not in labels]
    if missing:
        raise DataError(f"the LD matrix has no {', '.join(missing)}", where=str(file), remedy=f"it has {', '.join(labels[:10])}")
    return pd.DataFrame(np.array(cells, dtype=np.float64), index=labels, columns=labels)


def flipped(snps: pd.DataFrame, file: str | Path) -> list[bool]:
    """Which SNPs (with ``a1 a2``) have their LD counted for the other allele.

    Parameters
    ----------
    snps
        snp, a1, a2.
    file
        Text with the columns ``SNP A1``: the allele whose copies the LD was computed from (of PLINK: the .bim file's A1).

    Raises
    ------
    DataError
        A SNP is not in the file, or its allele there is neither of its own.
    """
    table = _table(file).drop_duplicates("SNP").set_index("SNP") if "SNP" in _table(file).columns else pd.DataFrame()
    if "A1" not in table.columns or not {"a1", "a2"} <= set(snps.columns):
        raise DataError("alleles can be compared only where this file has SNP and A1, and the SNPs have A1 and A2",
                        where=str(file), remedy="give both, or leave --ld-alleles out")
    out = []
    for snp, a1, a2 in snps[["snp", "a1", "a2"]].itertuples(index=False):
        counted = str(table.loc[snp, "A1"]).upper() if snp in table.index else None
        if counted not in (a1, a2):
            said = "is not in the file" if counted is None else f"has the allele {counted}, and here {a1} and {a2}"
            raise DataError(f"{snp} {said}", where=str(file), remedy="leave the SNP out, or repair the file")
        out.append(counted == a2)
    return out


def panel_snps(
    ws: Workspace, cov: CovStruct, snps: Sequence[str], *, info_min: float = PER_SNP_INFO_MIN, maf_min: float = PER_SNP_MAF_MIN
) -> pd.DataFrame:
    """Effects of some SNPs on the traits of a structure, from the panel of a workspace, which is built where it is not there.

    Returns
    -------
    DataFrame
        snp, a1, a2, maf, ``beta.T`` and ``se.T`` for every trait T, in the order asked for.

    Raises
    ------
    DataError
        A SNP is not in the panel, or a trait has no summary statistics.
    """
    from pyspark.sql import functions as F

    from gsem_spark.steps.gwas.panel import BuildPanel, PanelConfig

    made = BuildPanel(PanelConfig(traits=cov.traits, info_min=info_min, maf_min=maf_min)).run(ws)
    wanted = ws.read("gwas_panel").where((F.col("panel_id") == made.run_id) & F.col("snp").isin(list(snps)))
    rows = wanted.select("snp", "a1", "a2", "maf", "beta", "se").toPandas().set_index("snp")
    missing = [s for s in snps if s not in rows.index]
    if missing:
        raise DataError(f"{', '.join(missing)}: not in the panel of {', '.join(cov.traits)}", where=ws.location,
                        remedy="a SNP of the panel has effects on all traits, and passes their INFO and MAF; leave it out")
    rows = rows.loc[list(snps)].reset_index()
    out = rows[["snp", "a1", "a2", "maf"]].copy()
    for number, trait in enumerate(cov.traits):
        for what in ("beta", "se"):
            out[f"{what}.{trait}"] = [float(values[number]) for values in rows[what]]
    return out


def _names(files: Sequence[str | Path], names: Sequence[str] | None) -> list[str]:
    found = [Path(f).name.split(".")[0] for f in files] if names is None else list(names)
    if len(found) != len(files) or len(set(found)) < len(found):
        raise DataError(f"{len(files)} files have the names {', '.join(found)}", remedy="give each file a name of its own")
    return found


def _each(what: str, given: object, traits: list[str]) -> Mapping[str, float]:
    """One value a trait, from a value for all, a list in their order, or a mapping."""
    values: Mapping[str, float]
    if isinstance(given, Mapping):
        values = given
    elif isinstance(given, Sequence):
        values = dict(zip(traits, given, strict=False)) if len(given) == len(traits) else {}
    else:
        values = dict.fromkeys(traits, given)  # type: ignore[arg-type]
    if missing := [t for t in traits if t not in values]:
        raise DataError(f"{what} is not given for {', '.join(missing)}", remedy=f"give one {what} a trait, or one for all")
    return values


def _table(file: str | Path) -> pd.DataFrame:
    from io import StringIO

    return pd.read_csv(StringIO(_text(file)), sep=r"\s+")


def _text(file: str | Path) -> str:
    path = Path(file).expanduser()
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"the file cannot be read: {error}", where=str(path), remedy="check the path and the file") from error


def _need(frame: pd.DataFrame, columns: Sequence[str], file: str | Path) -> None:
    absent = [c for c in columns if c not in frame.columns]
    if absent:
        raise DataError(f"there is no column {', '.join(absent)}; there are {', '.join(map(str, frame.columns))}",
                        where=str(file), remedy="give a table with a header")


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
