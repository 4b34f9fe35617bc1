"""Harmonisation of a whole raw table in memory: the route for small data and for tests, without Spark."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats.harmonise import harmonise
from gsem_spark.methods.sumstats.headers import ColumnMap
from gsem_spark.methods.sumstats.spec import Harmonised, HarmoniseSpec

_REFERENCE = {"SNP": "snp", "CHR": "ref_chr", "BP": "ref_bp", "MAF": "ref_maf", "A1": "ref_a1", "A2": "ref_a2", "EAF": "ref_eaf"}


def join_reference(
    raw: pd.DataFrame, columns: ColumnMap, reference: pd.DataFrame, hm3: Collection[str] | None = None
) -> pd.DataFrame:
    """Give a raw table its roles and its reference columns, in the order that harmonisation wants.

    Parameters
    ----------
    raw
        The file's columns as text.
    columns
        Its roles.
    reference
        Variant reference: SNP, A1, A2, and MAF, CHR, BP, EAF (frequency of A1) where known; one row a SNP.
    hm3
        Names of the SNP list of LDSC; None: every variant of the reference.

    Returns
    -------
    One row a raw row, sorted by (snp, row), ``row`` being the 0-based place in the file.

    Raises
    ------
    DataError
        The reference has a SNP twice.
    """
    twice = int(reference["SNP"].duplicated().sum())
    if twice:
        raise DataError(f"{twice} SNPs stand more than once in the variant reference", remedy="keep one row per SNP name")
    frame = pd.DataFrame({role: raw.iloc[:, place] for role, place in columns.index.items()})
    frame["row"] = np.arange(len(frame))
    known = reference[[c for c in _REFERENCE if c in reference]].rename(columns=_REFERENCE)
    frame = frame.merge(known, on="snp", how="left", validate="many_to_one", indicator="ref_matched")
    frame["ref_matched"] = frame["ref_matched"] == "both"
    frame["hm3"] = frame["ref_matched"] if hm3 is None else frame["snp"].isin(set(hm3))
    return frame.sort_values(["snp", "row"], kind="stable", ignore_index=True)


def harmonise_frame(
    raw: pd.DataFrame, columns: ColumnMap, reference: pd.DataFrame, spec: HarmoniseSpec, hm3: Collection[str] | None = None
) -> tuple[pd.DataFrame, Harmonised]:
    """Harmonise a raw table in memory.

    Returns
    -------
    frame
        One row a raw row, sorted by (snp, row): snp, row, a1, a2, z, n, beta, se, eaf, maf, info, neglog10p, keep, keep_ldsc,
        keep_per_snp, rule (name, empty for kept rows).
    result
        The same as arrays, with the counters.
    """
    joined = join_reference(raw, columns, reference, hm3)
    result = harmonise({name: joined[name].to_numpy() for name in joined}, spec)
    names = np.array(["", *(rule.name for rule in spec.rules)], dtype=object)
    frame = joined[["snp", "row"]].assign(
        a1=result.a1.to_numpy(zero_copy_only=False), a2=result.a2.to_numpy(zero_copy_only=False), z=result.z, n=result.n,
        beta=result.beta, se=result.se, eaf=result.eaf, maf=result.maf, info=result.info, neglog10p=result.neglog10p,
        keep=result.keep, keep_ldsc=result.keep_ldsc, keep_per_snp=result.keep_per_snp, rule=names[result.rule],
    )
    return frame, result
