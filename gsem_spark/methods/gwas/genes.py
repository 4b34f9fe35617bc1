"""T-SEM: genes in the place of SNPs. FUSION files to effects of expression, and any model with a gene.

A FUSION z-score and the heritability of expression (HSQ, the variance of the predictor) give the effect per unit of expression,
Z / sqrt(N HSQ), with error 1 / sqrt(N HSQ). For a binary trait N is the sum of effective sample sizes, counted a quarter (the
variance of a balanced sample's status), and the log odds ratio is brought to the liability by sqrt(b^2 HSQ + pi^2 / 3), the
standard deviation of a logistic liability (Grotzinger et al. 2022, Genet Epidemiol 46:461, on T-SEM; what GenomicSEM's
read_fusion computes).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.gwas.columns import by_name
from gsem_spark.methods.gwas.moments import Gc
from gsem_spark.methods.gwas.settings import Estimation
from gsem_spark.methods.gwas.user_model import UserModelGwas
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.model import Model
from gsem_spark.thresholds import SNP_SE

Floats = NDArray[np.float64]

GENE: Final = "Gene"
LOGISTIC_VARIANCE: Final = np.pi**2 / 3.0
MISSING: Final = (".", "NA", "")
NEEDED: Final = ("FILE", "ID", "HSQ", "TWAS.Z")
PERMUTED: Final = ("PERM.PV", "PERM.N")
KEYS: Final = ("panel", "gene")


def read_fusion(text: str, n: float, binary: bool = False, permutation: bool = False) -> pd.DataFrame:
    """Read the results of FUSION for one trait.

    Parameters
    ----------
    text
        The file's text, with the header of FUSION (``FILE ID HSQ TWAS.Z``, for permutations ``PERM.PV PERM.N``), split by white
        space. ``.``, ``NA`` and nothing are missing.
    n
        Sample size of the trait's GWAS; for a binary trait the sum of its effective sample sizes.
    binary
        Whether the trait is binary: effects go to the scale of a logistic liability with variance pi^2 / 3.
    permutation
        Take the z-score of the permutation p-value, with the sign of TWAS.Z; p-values of 0 and 1 become 1 and N - 1 in N.

    Returns
    -------
    DataFrame
        panel (last two parts of the weight file's path), gene, hsq, beta, se: the genes with all of it, each once.

    Raises
    ------
    DataError
        When a column is missing, ``n`` is not positive, a number cannot be read, or a gene of one panel has two results.
    """
    if not (np.isfinite(n) and n > 0):
        raise DataError(f"the sample size is {n}; it must be a positive number", remedy="give N of the trait's GWAS")
    frame = pd.read_csv(io.StringIO(text), sep=r"\s+", dtype=str, keep_default_na=False, na_values=list(MISSING))
    wanted = [*NEEDED, *(PERMUTED if permutation else ())]
    absent = [c for c in wanted if c not in frame.columns]
    if absent:
        raise DataError(f"the FUSION file has no column {', '.join(absent)}; its columns are {', '.join(frame.columns)}",
                        remedy="give the table that FUSION.assoc_test.R wrote, with its header")
    number = {c: _numbers(frame[c]) for c in wanted[2:]}
    z = number["TWAS.Z"]
    if permutation:
        p, times = number["PERM.PV"], number["PERM.N"]
        p = np.where(p == 1, (times - 1) / times, np.where(p == 0, 1 / times, p))
        z = np.sign(z) * pvalues.z_from_neglog10p(-np.log10(p))
    hsq = np.where(number["HSQ"] > 0, number["HSQ"], np.nan)
    root = np.sqrt((n / 4.0 if binary else n) * hsq)
    beta, se = z / root, 1.0 / root
    if binary:
        liability = np.sqrt(beta * beta * hsq + LOGISTIC_VARIANCE)
        beta, se = beta / liability, se / liability
    panel = frame["FILE"].str.split("/").str[-2:].str.join("/")
    out = pd.DataFrame({"panel": panel, "gene": frame["ID"], "hsq": hsq, "beta": beta, "se": se})
    out = out.dropna().drop_duplicates().reset_index(drop=True)
    twice = out[out.duplicated(list(KEYS), keep=False)]
    if len(twice):
        first = twice.iloc[0]
        raise DataError(f"{len(twice)} rows give genes of one panel twice, e.g. {first['gene']} of {first['panel']}",
                        remedy="keep one result for each gene and panel")
    return out


def join_genes(traits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the genes that all traits have.

    Parameters
    ----------
    traits
        Frames of :func:`read_fusion` by trait name.

    Returns
    -------
    DataFrame
        panel, gene, hsq, then ``beta.T`` and ``se.T`` for every trait T; in the order of panel and gene.

    Raises
    ------
    DataError
        When no trait is given, or the same gene of the same panel has different HSQ.
    """
    if not traits:
        raise DataError("no trait is given", remedy="give one frame of read_fusion a trait")
    out: pd.DataFrame | None = None
    for name, frame in traits.items():
        part = frame.rename(columns={"beta": f"beta.{name}", "se": f"se.{name}"})
        if out is None:
            out = part
            continue
        out = out.merge(part, on=list(KEYS), suffixes=("", "_other"), validate="one_to_one")
        unequal = ~np.isclose(out["hsq"], out["hsq_other"], rtol=1e-6)
        if unequal.any():
            raise DataError(f"{int(unequal.sum())} genes have another HSQ for {name}, e.g. {out.loc[unequal, 'gene'].iloc[0]}",
                            remedy="run FUSION with the same weights for every trait")
        out = out.drop(columns="hsq_other")
    assert out is not None
    first = [*KEYS, "hsq"]
    return out[[*first, *(c for c in out.columns if c not in first)]].sort_values(list(KEYS), ignore_index=True)


def fit_genes(
    cov: CovStruct, beta: ArrayLike | pd.DataFrame, se: ArrayLike | pd.DataFrame, hsq: ArrayLike, model: str | Model,
    gc: Gc = "standard", sub: str | Sequence[str] | None = None, gene_se: float = SNP_SE, estimation: Estimation = "DWLS",
    std_lv: bool = False, smooth_check: bool = True, q_snp: bool = True, fix_measurement: bool = True,
    toler: float | None = None,
) -> pd.DataFrame:
    """Fit a model with ``Gene`` as a predictor to each of n genes.

    Parameters
    ----------
    beta, se
        (n, k) effects of expression and their errors, e.g. the columns of :func:`join_genes`; frames are matched by name.
    hsq
        (n,) heritability of expression: the variance of the predictor.
    gene_se
        Standard error given to that variance.
    cov, model, gc, sub, estimation, std_lv, smooth_check, q_snp, fix_measurement, toler
        As for :func:`~gsem_spark.methods.gwas.fit_snps.fit_snps`, with ``Gene`` in the place of ``SNP``.

    Returns
    -------
    DataFrame
        As of ``fit_snps``; the first column is called ``row``.

    Raises
    ------
    ModelError
        As ``fit_snps``.
    """
    if isinstance(model, str) and GENE not in model:
        raise ModelError(f"the model has no {GENE}", remedy=f"write {GENE} where a model of SNPs has SNP, e.g. F1 ~ {GENE}")
    gwas = UserModelGwas.prepare(cov, model, sub, q_snp, fix_measurement, std_lv, estimation, gc, gene_se, GENE, toler=toler)
    columns = gwas.fit_predictor(by_name(beta, cov.traits, "beta"), by_name(se, cov.traits, "se"), hsq)
    frame = gwas.frame(columns).rename(columns={"snp": "row"})
    return frame if smooth_check else frame.drop(columns="z_smooth")


def t_sem(cov: CovStruct, genes: pd.DataFrame, model: str | Model, **settings: Any) -> pd.DataFrame:
    r"""Transcriptome-wide SEM: a model with ``Gene`` as a predictor, fitted to every gene of a joined table.

    Parameters
    ----------
    cov
        S, V and I; its traits that the table lacks are left out, and may not be in the model.
    genes
        panel, gene, hsq, ``beta.T`` and ``se.T`` for every trait T, as :func:`join_genes` and ``gs.read_fusion`` give it.
    model
        lavaan syntax, e.g. ``"F1 =~ a + b + c\nF1 ~ Gene"``.
    **settings
        ``gc sub gene_se estimation std_lv smooth_check q_snp fix_measurement toler`` of :func:`fit_genes`.

    Returns
    -------
    DataFrame
        panel, gene, hsq, then the columns of :func:`fit_genes`: one row a gene and parameter.

    Raises
    ------
    ModelError
        A column is missing, or as :func:`fit_genes`.
    """
    absent = [c for c in (*KEYS, "hsq") if c not in genes.columns]
    if absent:
        raise ModelError(f"the table of genes has no column {', '.join(absent)}", remedy="make it with read_fusion")
    part = cov.subset([t for t in cov.traits if f"beta.{t}" in genes.columns])
    fitted = fit_genes(part, genes, genes, genes["hsq"].to_numpy(dtype=np.float64), model, **settings)
    named = genes[[*KEYS, "hsq"]].iloc[fitted["row"].to_numpy()].reset_index(drop=True)
    out = pd.concat([named, fitted.drop(columns="row")], axis=1)
    out.attrs |= fitted.attrs
    return out


def _numbers(column: pd.Series) -> Floats:
    out = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.isnan(out) & column.notna().to_numpy() & (column.str.lower() != "nan").to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{int(bad.sum())} cells of {column.name} are no numbers, e.g. {column.iloc[row]!r}",
                        where=f"line {row + 2}", remedy="repair the file, or write NA")
    return out
