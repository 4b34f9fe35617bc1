"""A lead SNP's effect on each trait, three times: as its GWAS has it, as the factor implies it, and as MTAG has it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from gsem_spark.errors import DataError
from gsem_spark.methods.reconcile.replication import sign_test

Z95: Final = float(-special.ndtri(0.025))
SOURCES: Final = ("input", "implied", "mtag")


def effect_table(
    snp: Sequence[str],
    traits: Sequence[str],
    *,
    beta: ArrayLike,
    se: ArrayLike,
    factor_beta: ArrayLike,
    factor_se: ArrayLike,
    loadings: ArrayLike,
    mtag_beta: ArrayLike,
    mtag_se: ArrayLike,
) -> pd.DataFrame:
    """Per lead SNP and trait: input effect, loading times the factor's effect, and MTAG's effect, with 95 % intervals.

    Parameters
    ----------
    snp, traits
        (m,) and (k,) names.
    beta, se
        (m, k) input effects per copy of the effect allele, on the standardised traits.
    factor_beta, factor_se
        (m,) the SNP's effect on the factor.
    loadings
        (k,) in the units in which the factor's effect is (unstandardised). They count as known: their error is one for all
        SNPs, and far below that of a SNP's effect.
    mtag_beta, mtag_se
        (m, k) MTAG's effects in the units of ``beta``.

    Returns
    -------
    DataFrame
        m·k rows: ``snp trait`` and for each of ``input implied mtag``: ``<source>_beta <source>_se <source>_low <source>_high``;
        ``implied_same`` and ``mtag_same``: whether that effect has the direction of the input effect (missing where unknown).

    Raises
    ------
    DataError
        When shapes disagree.
    """
    m, k = len(snp), len(traits)
    lam = np.asarray(loadings, np.float64)
    arrays = {
        "input": (np.asarray(beta, np.float64), np.asarray(se, np.float64)),
        "mtag": (np.asarray(mtag_beta, np.float64), np.asarray(mtag_se, np.float64)),
    }
    f, f_se = np.asarray(factor_beta, np.float64), np.asarray(factor_se, np.float64)
    if lam.shape != (k,) or f.shape != (m,) or f_se.shape != (m,):
        raise DataError(f"{lam.size} loadings, {f.size} factor effects for {k} traits and {m} SNPs", where="effects")
    arrays["implied"] = (f[:, None] * lam, f_se[:, None] * np.abs(lam))
    columns: dict[str, object] = {
        "snp": np.repeat(np.asarray(snp, dtype=object), k), "trait": np.tile(np.asarray(traits, dtype=object), m)
    }
    for source in SOURCES:
        b, e = arrays[source]
        if b.shape != (m, k) or e.shape != (m, k):
            raise DataError(f"{source} effects have the shape {b.shape}, not {(m, k)}", where="effects")
        columns |= {
            f"{source}_beta": b.ravel(), f"{source}_se": e.ravel(), f"{source}_low": (b - Z95 * e).ravel(),
            f"{source}_high": (b + Z95 * e).ravel(),
        }
    table = pd.DataFrame(columns)
    for source in ("implied", "mtag"):
        product = table["input_beta"] * table[f"{source}_beta"]
        table[f"{source}_same"] = (product > 0).astype("boolean").mask(product.isna() | (product == 0))
    return table


def sign_concordance(effects: pd.DataFrame) -> pd.DataFrame:
    """Agreement in direction of each two sources over all SNPs and traits, and trait by trait.

    Parameters
    ----------
    effects
        From :func:`effect_table`.

    Returns
    -------
    DataFrame
        ``trait`` ("all" first), ``first``, ``second``, ``tested``, ``same``, ``share``, one-sided binomial ``p``. SNPs of one
        locus and traits with overlapping samples are not independent: the p-value is a guide.
    """
    rows = []
    groups = [("all", effects), *((str(t), part) for t, part in effects.groupby("trait", sort=False))]
    for trait, part in groups:
        for first, second in combinations(SOURCES, 2):
            product = (part[f"{first}_beta"] * part[f"{second}_beta"]).to_numpy(np.float64)
            known = np.isfinite(product) & (product != 0)
            found = sign_test(product[known] > 0)
            share = found.same / found.tested if found.tested else np.nan
            rows.append((trait, first, second, found.tested, found.same, share, found.p))
    return pd.DataFrame(rows, columns=["trait", "first", "second", "tested", "same", "share", "p"])
