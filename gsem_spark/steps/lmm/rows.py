"""Blocks of genotypes to rows of ``lmm_results`` on executors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.catalog.part_files import Part
from gsem_spark.methods.lmm.multitrait_scan import TraitScanPlan, scan_multitrait_block
from gsem_spark.methods.lmm.scan import ScanPlan, scan_block
from gsem_spark.methods.lmm.scan_phenotypes import PhenotypesPlan, scan_phenotypes_block
from gsem_spark.methods.lmm.statistics import NULL_OF
from gsem_spark.steps.genotypes.source import decode
from gsem_spark.steps.lmm.plan_files import PlanFile

SCAN_COLUMNS: Final = ("chr", "block", "snp", "a1", "a2", "bp", "genotypes", "n_variants", "n_samples")
"""Columns of ``genotype_blocks`` that a scan reads."""
_NUMBERS: Final = ("af", "beta", "se", "stat", "p", "neglog10p", "hsq")


@dataclass(frozen=True)
class Tested:
    """A plan and what it is of.

    Parameters
    ----------
    trait
        Trait, or traits joined by commas.
    chromosome
        Chromosome it is for; None for all.
    places
        (n,) places of its samples among the genotyped ones; None for all of them in order.
    plan
        Of ``methods.lmm``.
    """

    trait: str
    chromosome: int | None
    places: NDArray[np.int64] | None
    plan: PlanFile


def result_parts(tested: Iterable[Tested], batches: Iterable[pa.RecordBatch], run_id: str) -> Iterator[Part]:
    """Test every block with the plans for its chromosome; parts by chromosome."""
    opened: dict[int, Any] = {}
    every = list(tested)
    for batch in batches:
        for row in block_rows(batch):
            genotypes = decode(row)
            for number, one in enumerate(every):
                if one.chromosome not in (None, row["chr"]):
                    continue
                if number not in opened:
                    opened[number] = one.plan.load()
                block = genotypes if one.places is None else np.ascontiguousarray(genotypes[:, one.places])
                frame = test_block(opened[number], block, one.trait)
                yield Part({"run_id": run_id, "chr": row["chr"]}, result_rows(frame, row))


def test_block(plan: ScanPlan | PhenotypesPlan | TraitScanPlan, block: NDArray[Any], trait: str) -> pd.DataFrame:
    """A block's tests with columns trait, design, size and hsq, whatever kind of plan it is."""
    if isinstance(plan, PhenotypesPlan):
        frame = scan_phenotypes_block(plan, block)
        hsq = dict(zip(plan.traits, plan.hsq.tolist(), strict=True))
        return frame.assign(design="effect", df=1, size=1, hsq=frame["trait"].map(hsq))
    if isinstance(plan, TraitScanPlan):
        return scan_multitrait_block(plan, block).assign(trait=trait, size=1, hsq=np.nan)
    frame = scan_block(plan, block)
    if "hypothesis" in frame:
        design = frame["hypothesis"].where((frame["hypothesis"] != "effect") | (plan.step == 1), "set")
        frame = frame.assign(design=design)
    else:
        frame = frame.assign(design="effect", size=1)
    return with_hsq(plan, frame).assign(trait=trait)


def with_hsq(plan: ScanPlan, frame: pd.DataFrame) -> pd.DataFrame:
    """Tests with the heritability that each was made at."""
    if "hsq" in frame:
        return frame
    return frame.assign(hsq=frame["test"].map({test: plan.whitenings[NULL_OF[test]].hsq for test in plan.tests}))


def result_rows(frame: pd.DataFrame, block: Mapping[str, Any]) -> pa.Table:
    """Tests of a block as rows of the table, but for run and chromosome; NaN becomes null, as tables keep it."""
    at = frame["variant"].to_numpy(np.int64)
    columns: dict[str, pa.Array] = {
        name: pa.array(np.asarray(block[name], dtype=object)[at], pa.string()) for name in ("snp", "a1", "a2")
    }
    columns["bp"] = pa.array(np.asarray(block["bp"], dtype=np.int64)[at])
    for name in ("trait", "design", "test", "status", "message"):
        columns[name] = pa.array(frame[name].tolist(), pa.string())
    for name, kind in (("size", pa.int32()), ("n", pa.int64()), ("missing", pa.int64()), ("df", pa.int32())):
        columns[name] = pa.array(frame[name].to_numpy(np.int64), kind)
    effects = _effects(frame)
    columns |= effects
    for name in _NUMBERS:
        if name not in effects:
            columns[name] = pa.array(frame[name].to_numpy(np.float64), from_pandas=True)
    return pa.table(columns)


def _effects(frame: pd.DataFrame) -> dict[str, pa.Array]:
    """Single effects as numbers; those of joint tests as arrays, and as numbers where the test is of one."""
    numbers = pa.list_(pa.float64())
    nothing = pa.ListArray.from_arrays(pa.array(np.zeros(len(frame) + 1), pa.int32()), pa.array([], pa.float64()))
    if "beta" in frame:
        return {"betas": nothing, "ses": nothing}
    df = frame["df"].to_numpy(np.int64)
    out: dict[str, pa.Array] = {}
    for single, several in (("beta", "betas"), ("se", "ses")):
        values = frame[[f"{single}_{j}" for j in range(int(df.max()) if len(df) else 0)]].to_numpy(np.float64)
        one = np.where(df == 1, values[:, 0], np.nan)
        out[single] = pa.array(one, from_pandas=True)
        out[several] = pa.array([row[:k].tolist() if k > 1 else [] for row, k in zip(values, df.tolist(), strict=True)], numbers)
    return out


def block_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows of a batch, one at a time: a block's arrays are made Python objects only while it is tested."""
    for i in range(batch.num_rows):
        one = batch.slice(i, 1)
        row = {name: one.column(name)[0].as_py() for name in ("chr", "block", "n_variants", "n_samples", "snp", "a1", "a2", "bp")}
        yield {**row, "genotypes": one.column("genotypes")[0].as_buffer()}

