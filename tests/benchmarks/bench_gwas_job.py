"""The GWAS job alone, panel read to results written, for growing numbers of SNPs: time, rate, memory.

Run by hand on an idle machine; prints one table::

    python tests/benchmarks/bench_gwas_job.py --millions 1 5 10
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_pipeline import Watch
from pyspark.sql import functions as F

import gsem_spark as gs
from gsem_spark.methods.gwas.commonfactor import CommonFactorGwas
from gsem_spark.steps.gwas import GwasConfig, GwasStep, waves
from gsem_spark.steps.panel import panel_counts

TRAITS = ("T1", "T2", "T3")


def structure() -> gs.CovStruct:
    """Three traits of one factor."""
    loading = np.array([0.8, 0.7, 0.6]) * np.sqrt([0.25, 0.18, 0.12])
    S = np.outer(loading, loading) + np.diag([0.09, 0.0918, 0.0768])
    V = np.diag(np.full(6, 1e-4)) + 1e-5
    return gs.CovStruct.from_matrices(S, V, np.eye(3) + 0.05, TRAITS, M=1e6)


def write_panel(ws: gs.Workspace, panel_id: str, snps: int) -> None:
    """A panel made on executors; values are a hash of the row number, so nothing depends on the partitions."""

    def uniform(salt: int) -> object:
        return (F.abs(F.xxhash64("id", F.lit(salt))) % 1_000_000 + 0.5) / 1_000_000

    rows = ws.spark.range(snps).select(
        F.lit(panel_id).alias("panel_id"),
        F.concat(F.lit("rs"), "id").alias("snp"),
        (F.col("id") * 22 / snps + 1).cast("int").alias("chr"),
        (F.col("id") * 500).alias("bp"),
        F.lit("A").alias("a1"),
        F.lit("C").alias("a2"),
        (uniform(0) * 0.48 + 0.01).alias("maf"),
        F.array(*((uniform(i) - 0.5) * 0.02 for i in (1, 2, 3))).alias("beta"),
        F.array(*((uniform(i) * 0.001 + 0.004) for i in (4, 5, 6))).alias("se"),
        F.array(*(F.lit(1e5) for _ in TRAITS)).alias("n"),
    )
    ws.replace("gwas_panel", rows, {"panel_id": panel_id})


def make(folder: str, millions: float) -> None:
    """Make a panel, in a process of its own so that its memory is not the job's."""
    snps = int(millions * 1e6)
    write_panel(gs.Workspace.create(folder, "delta"), f"p{snps}", snps)


def run(folder: str, millions: float) -> None:
    """Run the job on a panel that is there; print a line."""
    snps = int(millions * 1e6)
    ws = gs.Workspace.open(folder)
    cov = structure()
    kernel = CommonFactorGwas.prepare(cov)
    kernel.warm_up()
    step = GwasStep(GwasConfig(traits=TRAITS), cov)
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    for wave in waves(panel_counts(ws, f"p{snps}")):
        step._run_wave(ws, kernel, f"p{snps}", f"r{snps}", wave)
    seconds = time.perf_counter() - start
    watch.stop.set()
    memory = f"{watch.jvm / 2**20:,.0f} | {watch.worker / 2**20:,.0f}"
    print(f"| {snps:,} | {seconds:.1f} | {snps / seconds:,.0f} | {memory} |", flush=True)


def main() -> None:
    """Make panels, run the job on each, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--millions", type=float, nargs="+", default=[1.0])
    options.add_argument("--part", choices=["make", "run"], help=argparse.SUPPRESS)
    options.add_argument("--folder", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part:
        {"make": make, "run": run}[given.part](given.folder, given.millions[0])
        return
    scratch = Path(tempfile.mkdtemp())
    head = "| SNPs | seconds, panel to results | SNPs/s | peak JVM MB | peak Python worker MB |"
    print(f"{head}\n|---|---|---|---|---|", flush=True)
    for millions in given.millions:
        for part in ("make", "run"):
            arguments = ["--part", part, "--folder", str(scratch / f"ws{millions}"), "--millions", str(millions)]
            subprocess.run([sys.executable, __file__, *arguments], check=True)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
