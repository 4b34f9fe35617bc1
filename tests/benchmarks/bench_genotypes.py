"""Genotype files to blocks, and kinships, timed; the kinship beside a plain matrix product and GEMMA -gk 1.

Run by hand on an idle machine; prints one table::

    python tests/benchmarks/bench_genotypes.py                        # the HS1940 mice
    python tests/benchmarks/bench_genotypes.py --samples 10000 --variants 20000 --rank 100
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_pipeline import Watch
from genotype_files import Cohort, write_bed

import gsem_spark as gs

GEMMA_DATA = Path(__file__).parents[1] / "data" / "lmm" / "gemma"


def mice(folder: Path) -> Path:
    """The HS1940 fileset."""
    for suffix in (".bed", ".bim", ".fam"):
        with gzip.open(GEMMA_DATA / f"mouse_hs1940{suffix}.gz") as packed, (folder / f"g{suffix}").open("wb") as out:
            shutil.copyfileobj(packed, out)
    return folder / "g.bed"


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """A call's value and its wall time."""
    start = time.perf_counter()
    value = call()
    return value, time.perf_counter() - start


def product_seconds(n: int, variants: int) -> float:
    """Zᵀ Z of as many variants, by one matrix product a thousand, one thread."""
    Z = np.random.default_rng(1).normal(size=(1000, n))
    _, seconds = timed(lambda: [Z.T @ Z for _ in range(2)])
    return seconds / 2 * variants / 1000


def main() -> None:
    """Load, make kinships, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--samples", type=int)
    options.add_argument("--variants", type=int, default=20_000)
    options.add_argument("--rank", type=int)
    options.add_argument("--dense", action=argparse.BooleanOptionalAction, default=True)
    given = options.parse_args()
    rows: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bed = mice(folder) if given.samples is None else write_bed(
            folder / "g", Cohort.draw(given.samples, dict.fromkeys(range(1, 21), given.variants // 20), missing=0.01))
        _, seconds = timed(lambda: gs.start_session(delta=False, conf={"spark.ui.enabled": "false"}))
        rows.append(("Spark session", seconds, ""))
        ws = gs.Workspace.create(str(folder / "ws"), "parquet")
        watch = Watch()
        watch.start()
        cohort, seconds = timed(lambda: gs.genotypes(ws, bed, "g"))
        size = cohort.n_samples * cohort.n_variants
        rate = f"{cohort.n_variants / seconds:,.0f} variants/s, {size / seconds / 1e6:,.0f} million calls/s"
        rows.append(("genotypes", seconds, rate))
        if given.dense:
            made, seconds = timed(lambda: gs.kinship(ws, kind="centred", loco=False))
            used = made.report.summary["variants"]
            rows.append(("kinship, sums and eigenvectors", seconds, f"{used:,} variants"))
            rows.append(("its matrix products alone, one thread", product_seconds(cohort.n_samples, used), ""))
        if given.rank:
            made, seconds = timed(lambda: gs.kinship(ws, kind="low_rank", rank=given.rank, loco=False))
            flops = 4 * 4.0 * size * (given.rank + 10)
            rows.append((f"low rank {given.rank}", seconds, f"{flops / seconds / 1e9:,.1f} GFLOP/s over four passes"))
        watch.stop.set()
        if given.samples is None and shutil.which("gemma"):
            call = ["gemma", "-bfile", str(bed.with_suffix("")), "-n", "1", "-gk", "1", "-outdir", str(folder), "-o", "k"]
            _, seconds = timed(lambda: subprocess.run(call, check=True, capture_output=True))
            rows.append(("GEMMA -gk 1 (no eigenvectors)", seconds, ""))
    for what, seconds, said in rows:
        print(f"{what:40} {seconds:8.1f} s  {said}")
    print(f"largest worker {watch.worker / 1e6:,.0f} MB, JVM {watch.jvm / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
