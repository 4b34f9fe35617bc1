"""What a review needs of a factor GWAS beyond its tables: LD score regression of its output, its loci without each trait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.errors import GsemError
from gsem_spark.methods.gwas.commonfactor import CommonFactorGwas
from gsem_spark.methods.gwas.loci import HIT_COLUMNS, find_loci
from gsem_spark.methods.ldsc.two_step import PairData, correlation, heritability
from gsem_spark.methods.reconcile.stability import stable_loci
from gsem_spark.steps import exchange
from gsem_spark.steps.ldsc.inputs import panel_total_m
from gsem_spark.steps.ldsc.panel_arrays import with_ld_scores
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct

Floats = NDArray[np.float64]
MIN_INDICATORS: Final = 3
"""A factor model with fewer indicators is not identified."""
_PLACE: Final = ("snp", "chr", "bp", "a1", "a2", "maf")


def factor_regressions(
    ws: Workspace, run_id: str, panel_id: str, effective_n: float, traits: Sequence[str], panel: str, n_blocks: int
) -> dict[str, Any]:
    """LD score regression of a factor GWAS: intercept and h2 of the factor, its genetic correlation with each trait.

    Parameters
    ----------
    ws
        Workspace of the run, with ``ld_scores`` of the panel.
    run_id, panel_id
        The GWAS and the panel that it read, whose Z-scores and sample sizes stand for the traits.
    effective_n
        Sample size that the factor's Z-scores count for.
    traits
        In the order of the panel.
    panel, n_blocks
        LD-score panel, and jackknife blocks.

    Returns
    -------
    dict
        ``snps intercept intercept_se h2 h2_se`` and ``rg``, by trait.

    Raises
    ------
    DataError
        Too few SNPs have LD scores.
    """
    k = len(traits)
    results = ws.source("gwas_results", ["snp", "z"], {"run_id": run_id})
    panels = ws.source("gwas_panel", ["snp", "beta", "se", "n"], {"panel_id": panel_id})
    of_traits = [f"{kind}{t}" for kind in ("z", "n") for t in range(k)]
    read_results, read_panels = results.read, panels.read

    def factor(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        for batch in read_results(batches):
            rows = pa.table({"snp": batch.column("snp"), "z": batch.column("z")})
            yield rows.filter(rows.column("z").is_valid())

    def inputs(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        for batch in read_panels(batches):
            beta, se, n = (list_matrix(batch, name, k) for name in ("beta", "se", "n"))
            both = np.column_stack([beta / se, n])
            usable = np.isfinite(both).all(axis=1)
            columns = {name: pa.array(both[:, i].copy()) for i, name in enumerate(of_traits)}
            yield pa.table({"snp": batch.column("snp"), **columns}).filter(pa.array(usable))

    found = with_ld_scores(ws, panel, [(results.frame, factor), (panels.frame, inputs)], ["z", *of_traits], f"{run_id}-review")
    M = panel_total_m(ws, panel)
    z, n = found.columns[:, 0], np.full(len(found.columns), effective_n)
    own = heritability(z, n, found.l2, found.wld, M, n_blocks=n_blocks)
    rg = {}
    for t, trait in enumerate(traits):
        data = PairData(z, found.columns[:, 1 + t], n, found.columns[:, 1 + k + t], found.l2, found.wld)
        rg[trait] = _number(correlation(data, M, n_blocks=n_blocks).rg)
    return {
        "snps": len(z), "intercept": own.intercept, "intercept_se": own.intercept_se, "h2": own.estimate, "h2_se": own.se,
        "rg": rg,
    }  # fmt: skip


def loci_without_each_trait(
    ws: Workspace, panel_id: str, cov: CovStruct, gwas_config: Mapping[str, Any], loci: pd.DataFrame
) -> tuple[dict[str, float], list[str]]:
    """Share of the factor's loci that stay when a trait is left out, by trait; all traits in one pass over the panel.

    Parameters
    ----------
    ws, panel_id
        Workspace and panel of the GWAS. SNPs that only the other traits have are not looked at.
    cov
        The GWAS's structure.
    gwas_config
        Its settings.
    loci
        Its rows of ``loci``.

    Returns
    -------
    shares, warnings
        A trait without which the model cannot be fitted has no share and a warning.
    """
    k, kernels, said = len(cov.traits), {}, []
    factor = loci[loci["signal"] == "factor"]
    if k <= MIN_INDICATORS:
        return {}, [f"loci without each trait need more than {MIN_INDICATORS} indicators; the factor has {k}"]
    if factor.empty:
        return {}, []
    for left_out in cov.traits:
        try:
            kernels[left_out] = CommonFactorGwas.prepare(
                cov.subset([t for t in cov.traits if t != left_out]), gwas_config["gc"], gwas_config["snp_se"],
                gwas_config["estimation"], gwas_config["std_lv"],
            )
        except GsemError as error:
            said.append(f"without {left_out} the factor model has no solution: {error.what}")
    hits = _hits(ws, panel_id, kernels, list(cov.traits))
    leads = {}
    for trait in kernels:
        found = find_loci(hits[hits["left_out"] == trait].drop(columns="left_out"))
        leads[trait] = found[found["signal"] == "factor"][["snp", "chr", "bp"]]
    stay = stable_loci(factor[["snp", "chr", "bp"]], leads)
    return {trait: float(stay[trait].mean()) for trait in kernels}, said


def _hits(ws: Workspace, panel_id: str, kernels: Mapping[str, CommonFactorGwas], traits: list[str]) -> pd.DataFrame:
    source = ws.source("gwas_panel", [*_PLACE, "beta", "se"], {"panel_id": panel_id})
    read, shared, k = source.read, ws.spark.sparkContext.broadcast(dict(kernels)), len(traits)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            beta, se = (list_matrix(batch, name, k) for name in ("beta", "se"))
            maf = batch.column("maf").to_numpy(zero_copy_only=False)
            for left_out, kernel in shared.value.items():
                keep = [i for i, t in enumerate(traits) if t != left_out]
                found = kernel.fit(beta[:, keep], se[:, keep], maf)
                with np.errstate(invalid="ignore"):
                    rows = np.flatnonzero((found["p"] < GENOME_WIDE_P) | (found["q_snp_p"] < GENOME_WIDE_P))
                if rows.size:
                    columns = {name: batch.column(name).take(pa.array(rows)) for name in _PLACE}
                    columns |= {name: pa.array(found[name][rows]) for name in HIT_COLUMNS if name not in _PLACE}
                    packed = exchange.pack(pa.table({**columns, "left_out": pa.repeat(left_out, rows.size)}))
                    yield pa.RecordBatch.from_arrays([pa.array([packed], pa.binary())], names=["packed"])

    parts = [exchange.unpack(bytes(row["packed"])) for row in source.frame.mapInArrow(run, "packed binary").collect()]
    if not parts:
        return pd.DataFrame(columns=[*HIT_COLUMNS, "left_out"])
    rows: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return rows.sort_values(["left_out", "chr", "bp", "snp"], ignore_index=True)


def list_matrix(batch: pa.RecordBatch, name: str, k: int) -> Floats:
    """A list column of a panel's rows as an (m, k) array."""
    return np.asarray(batch.column(name).flatten().to_numpy(zero_copy_only=False), np.float64).reshape(-1, k)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
