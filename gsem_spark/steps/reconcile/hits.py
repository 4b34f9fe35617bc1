"""SNPs that are significant in some analysis, with what the factor, MTAG and every input GWAS say of them, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.methods.reconcile.effects import effect_table
from gsem_spark.methods.reconcile.loci import HitTable
from gsem_spark.steps.hit_rows import above, few_rows, named, spread_by_trait, turned

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Floats = NDArray[np.float64]
_FACTOR = ("chr", "bp", "snp", "a1", "a2", "est", "se", "z", "p", "neglog10p", "q_snp_p", "q_snp_neglog10p")
_MTAG = ("chr", "bp", "snp", "trait", "a1", "a2", "mtag_beta", "mtag_se", "mtag_z", "neglog10p")
_GWAS = ("chr", "bp", "snp", "trait", "a1", "a2", "beta", "se", "z", "neglog10p")


@dataclass(frozen=True)
class Hits:
    """Significant SNPs with what each analysis says of them, on the factor's effect alleles."""

    table: HitTable
    snps: pd.DataFrame
    input_beta: Floats
    input_se: Floats
    mtag_beta: Floats
    mtag_se: Floats


def gather_hits(ws: Workspace, gwas_run: str, mtag_run: str, traits: Sequence[str], p_threshold: float) -> Hits:
    """All SNPs that are significant for the factor, Q_SNP, MTAG or an input GWAS, with the results of all of them."""
    line, names = float(-np.log10(p_threshold)), list(traits)
    tables: dict[str, tuple[tuple[str, ...], dict[str, Any], tuple[str, ...]]] = {
        "gwas_results": (_FACTOR, {"run_id": gwas_run}, ("neglog10p", "q_snp_neglog10p")),
        "mtag_results": (_MTAG, {"run_id": mtag_run, "trait": names}, ("neglog10p",)),
        "sumstats": (_GWAS, {"trait": names}, ("neglog10p",)),
    }
    found = {t: few_rows(ws, t, ("snp", "chr", *by), where, above(by, line)) for t, (_, where, by) in tables.items()}
    significant = pd.concat([f[["snp", "chr"]] for f in found.values() if len(f)] or [pd.DataFrame(columns=["snp", "chr"])])
    significant = significant.dropna().drop_duplicates("snp")
    rows = {}
    for table, (columns, where, _) in tables.items():
        place: dict[str, Any] = {**where, "chr": sorted({int(c) for c in significant["chr"]})}
        rows[table] = few_rows(ws, table, columns, place, named(set(significant["snp"]))) if len(significant) else (
            pd.DataFrame(columns=list(columns)))
    return _side_by_side(rows["gwas_results"], rows["mtag_results"], rows["sumstats"], names)


def _side_by_side(factor: pd.DataFrame, mtag: pd.DataFrame, gwas: pd.DataFrame, traits: Sequence[str]) -> Hits:
    """Put the analyses' rows into one order, effects on the alleles of the factor's row (of MTAG's, where it has none)."""
    shared = ["snp", "chr", "bp", "a1", "a2"]
    snps = pd.concat([f[shared] for f in (factor, mtag, gwas) if len(f)] or [factor[shared]]).drop_duplicates("snp")
    snps = snps.dropna(subset=["chr", "bp"]).sort_values(["chr", "bp", "snp"], ignore_index=True)
    own = [c for c in _FACTOR if c not in shared]
    snps = snps.merge(factor[["snp", *own]], on="snp", how="left")
    snps[own] = snps[own].astype(np.float64)
    alleles, names = snps.set_index("snp"), snps["snp"].tolist()
    arrays = {}
    for kind, frame, columns in (("mtag", mtag, ("mtag_beta", "mtag_se", "mtag_z")), ("gwas", gwas, ("beta", "se", "z"))):
        sign = turned(frame, alleles)
        for name, column in zip(("beta", "se", "z", "p"), (*columns, "neglog10p"), strict=True):
            values = frame[column].to_numpy(np.float64, na_value=np.nan)
            values = values * (sign if name in ("beta", "z") else np.abs(sign))
            arrays[f"{kind}_{name}"] = spread_by_trait(frame, values, names, traits)
    # Where a file's Z is not fit for LD score regression, that of its effect stands in.
    with np.errstate(invalid="ignore", divide="ignore"):
        gwas_z = np.where(np.isnan(arrays["gwas_z"]), arrays["gwas_beta"] / arrays["gwas_se"], arrays["gwas_z"])
    table = HitTable(
        tuple(traits), snps["snp"].to_numpy(object), snps["chr"].to_numpy(np.int64), snps["bp"].to_numpy(np.int64),
        snps["z"].to_numpy(np.float64), snps["neglog10p"].to_numpy(np.float64), snps["q_snp_neglog10p"].to_numpy(np.float64),
        arrays["mtag_z"], arrays["mtag_p"], gwas_z, arrays["gwas_p"],
    )
    return Hits(table, snps, arrays["gwas_beta"], arrays["gwas_se"], arrays["mtag_beta"], arrays["mtag_se"])


def lead_effects(hits: Hits, loci: pd.DataFrame, traits: Sequence[str], loadings: Floats) -> pd.DataFrame:
    """Effects of the loci's lead SNPs on each trait: input, implied by the factor, MTAG's."""
    at = pd.Index(hits.snps["snp"]).get_indexer(loci["snp"])
    return effect_table(
        loci["snp"].tolist(), traits, beta=hits.input_beta[at], se=hits.input_se[at], loadings=loadings,
        factor_beta=hits.snps["est"].to_numpy(np.float64)[at], factor_se=hits.snps["se"].to_numpy(np.float64)[at],
        mtag_beta=hits.mtag_beta[at], mtag_se=hits.mtag_se[at],
    )
