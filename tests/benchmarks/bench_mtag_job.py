"""The MTAG job, harmonised table to results written, by numbers of traits and SNPs: time, processor time, memory.

Run by hand on an idle machine; prints one table::

    python tests/benchmarks/bench_mtag_job.py --snps 1200000 --traits 3
    python tests/benchmarks/bench_mtag_job.py --snps 1000000 --traits 50 --no-ldsc
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
from bench_pipeline import Watch

import gsem_spark as gs
from gsem_spark.catalog.part_files import Part

LD_MEAN = 40.0
STEP_BP = 2_300


def write_traits(ws: gs.Workspace, traits: list[str], snps: int) -> None:
    """Munged traits of one factor with overlapping samples, made on executors; each chromosome from a seed of its own."""
    sizes = np.linspace(6e4, 3e5, len(traits)).round()
    per_chromosome = snps // 22

    def made(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
        for batch in batches:
            for chromosome in batch.column(0).to_pylist():
                rng = np.random.default_rng(chromosome)
                m = per_chromosome
                l2 = rng.lognormal(np.log(LD_MEAN), 0.8, m)
                maf = rng.uniform(0.02, 0.5, m)
                factor, shared = rng.normal(0, np.sqrt(l2 / LD_MEAN), m), rng.normal(size=m)
                names = pa.array([f"rs{chromosome * 10_000_000 + i}" for i in range(m)])
                for t, trait in enumerate(traits):
                    noise = np.sqrt(0.1) * shared + np.sqrt(0.9) * rng.normal(size=m)
                    z = 0.5 * factor * np.sqrt(sizes[t] / 1e5) + noise
                    se = 1 / np.sqrt(2 * maf * (1 - maf) * sizes[t])
                    none = pa.nulls(m, pa.float64())
                    yield Part({"trait": trait, "chr": chromosome}, pa.table({
                        "snp": names, "bp": np.arange(m, dtype=np.int64) * STEP_BP, "a1": pa.repeat("A", m),
                        "a2": pa.repeat("C", m), "eaf": maf, "maf": maf, "info": none,
                        "n": sizes[t] - rng.integers(0, 2_000, m).astype(float), "z": z, "beta": z * se, "se": se,
                        "neglog10p": none, "file_id": pa.repeat(f"file-{trait}", m),
                    }))  # fmt: skip

    ws.replace_parts("sumstats", ws.spark.range(1, 23, 1, 22), made, [{"trait": t} for t in traits])
    ws.put("traits", [
        {"trait": t, "file_id": f"file-{t}", "file": t, "sha256": "", "scale": "linear", "columns": {}, "settings": "{}",
         "rows_in": snps, "rows_kept": snps} for t in traits
    ], [{"trait": t} for t in traits])  # fmt: skip


def write_scores(ws: gs.Workspace, snps: int) -> None:
    """The LD scores that the traits were made with."""
    per_chromosome = snps // 22

    def made(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
        for batch in batches:
            for chromosome in batch.column(0).to_pylist():
                m = per_chromosome
                l2 = np.random.default_rng(chromosome).lognormal(np.log(LD_MEAN), 0.8, m)
                none = pa.nulls(m, pa.float64())
                yield Part({"panel": "eur", "chr": chromosome}, pa.table({
                    "snp": pa.array([f"rs{chromosome * 10_000_000 + i}" for i in range(m)]),
                    "bp": np.arange(m, dtype=np.int64) * STEP_BP, "cm": none, "maf": none, "l2": l2, "wld": l2,
                    "ord": (chromosome - 1) * m + np.arange(m, dtype=np.int64), "m": np.full(m, float(m)),
                }))  # fmt: skip

    ws.replace_parts("ld_scores", ws.spark.range(1, 23, 1, 22), made, {"panel": "eur"})


def processor_seconds() -> float:
    """Processor time of this process and of the JVM and workers that are alive."""
    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def timed(label: str, traits: int, snps: int, work: Callable[[], object]) -> None:
    """Print one line."""
    watch = Watch()
    watch.start()
    start, before = time.perf_counter(), processor_seconds()
    work()
    seconds, used = time.perf_counter() - start, processor_seconds() - before
    watch.stop.set()
    memory = f"{watch.jvm / 2**20:,.0f} | {watch.worker / 2**20:,.0f}"
    print(f"| {label} | {traits} | {snps:,} | {seconds:.1f} | {used:.1f} | {memory} |", flush=True)


def main() -> None:
    """Make the tables, run, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--snps", type=int, default=1_200_000)
    options.add_argument("--traits", type=int, default=3)
    options.add_argument("--format", default="delta")
    options.add_argument("--no-ldsc", action="store_true", help="leave out the run that estimates Sigma itself")
    options.add_argument("--intervals", type=int, default=10, help="grid steps of maxFDR (for at most 4 traits)")
    given = options.parse_args()
    names = [f"T{t}" for t in range(1, given.traits + 1)]
    scratch = Path(tempfile.mkdtemp())
    ws = gs.Workspace.create(str(scratch / "ws"), given.format)
    write_traits(ws, names, given.snps)
    write_scores(ws, given.snps)
    sigma = pd.DataFrame(np.full((given.traits, given.traits), 0.1) + 0.9 * np.eye(given.traits), names, names)
    ws.spark.range(0, 8, 1, 2).mapInArrow(lambda batches: batches, "id long").collect()  # the workers are up
    print("| job | traits | SNPs | seconds | processor seconds | peak JVM MB | peak Python worker MB |")
    print("|---|---|---|---|---|---|---|")
    timed("MTAG, Sigma given", given.traits, given.snps, lambda: gs.mtag(ws, names, sigma=sigma))
    if not given.no_ldsc:
        timed("MTAG, Sigma estimated", given.traits, given.snps, lambda: gs.mtag(ws, names))
    if given.traits <= 4:
        timed(f"maxFDR, {given.intervals} intervals", given.traits, given.snps, lambda: gs.max_fdr(ws, intervals=given.intervals))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
