"""The GWAS job alone, panel read to results written, for growing numbers of SNPs: time, rate, memory.

Run by hand on an idle machine; prints one table::

    python tests/benchmarks/bench_gwas_job.py --millions 1 5 10
    python tests/benchmarks/bench_gwas_job.py --millions 5 --models user free two
    python tests/benchmarks/bench_gwas_job.py --millions 5 --models user --masters 'local[1]' 'local[2]'
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_pipeline import Watch
from pyspark.sql import functions as F

import gsem_spark as gs
from gsem_spark.steps.gwas import scan
from gsem_spark.steps.gwas.common_factor import GwasConfig, GwasStep
from gsem_spark.steps.gwas.panel import panel_counts
from gsem_spark.steps.gwas.rows import Scan
from gsem_spark.steps.gwas.slices import SLICE_BP, waves
from gsem_spark.steps.gwas.user_gwas import model_step

TRAITS = ("T1", "T2", "T3")
ONE = "F1 =~ T1 + T2 + T3\nF1 ~ SNP"
WITH_DIRECT = f"{ONE}\nT3 ~ SNP"
CHROMOSOME_BP = 140_000_000


def structure() -> gs.CovStruct:
    """Three traits of one factor."""
    loading = np.array([0.8, 0.7, 0.6]) * np.sqrt([0.25, 0.18, 0.12])
    S = np.outer(loading, loading) + np.diag([0.09, 0.0918, 0.0768])
    V = np.diag(np.full(6, 1e-4)) + 1e-5
    return gs.CovStruct.from_matrices(S, V, np.eye(3) + 0.05, TRAITS, M=1e6)


def steps(kind: str) -> Sequence[scan.ScanStep]:
    """The common factor, one factor in lavaan syntax with the measurement fixed or free, or two models in one pass."""
    cov = structure()
    if kind == "common":
        return [GwasStep(GwasConfig(traits=TRAITS), cov)]
    if kind == "two":
        return [model_step(cov, ONE), model_step(cov, WITH_DIRECT)]
    return [model_step(cov, ONE, fix_measurement=kind == "user")]


def write_panel(ws: gs.Workspace, panel_id: str, snps: int) -> None:
    """A panel made on executors; values are a hash of the row number, so nothing depends on the partitions."""

    def uniform(salt: int) -> object:
        return (F.abs(F.xxhash64("id", F.lit(salt))) % 1_000_000 + 0.5) / 1_000_000

    per_chromosome = -(-snps // 22)
    chromosome, bp = (F.col("id") / per_chromosome).cast("int") + 1, (
        (F.col("id") % per_chromosome) * CHROMOSOME_BP / per_chromosome
    ).cast("long")
    rows = ws.spark.range(snps).select(
        F.lit(panel_id).alias("panel_id"),
        F.concat(F.lit("rs"), "id").alias("snp"),
        chromosome.alias("chr"),
        (chromosome * 100 + bp / SLICE_BP).cast("int").alias("slice"),
        bp.alias("bp"),
        F.lit("A").alias("a1"),
        F.lit("C").alias("a2"),
        (uniform(0) * 0.48 + 0.01).alias("maf"),
        F.array(*((uniform(i) - 0.5) * 0.02 for i in (1, 2, 3))).alias("beta"),
        F.array(*((uniform(i) * 0.001 + 0.004) for i in (4, 5, 6))).alias("se"),
        F.array(*(F.lit(1e5) for _ in TRAITS)).alias("n"),
    )
    ws.replace("gwas_panel", rows.repartition("slice"), {"panel_id": panel_id})


def make(folder: str, millions: float) -> None:
    """Make a panel, in a process of its own so that its memory is not the job's."""
    snps = int(millions * 1e6)
    write_panel(gs.Workspace.create(folder, "delta"), f"p{snps}", snps)


def run(folder: str, millions: float, kind: str, master: str | None) -> None:
    """Run the job on a panel that is there; print a line."""
    snps = int(millions * 1e6)
    spark = gs.start_session(master=master) if master else None
    ws = gs.Workspace.open(folder, spark)
    chosen = steps(kind)
    makers = [step.prepare() for step in chosen]
    scan._warm_up(makers)
    counts = panel_counts(ws, f"p{snps}")
    scans = [Scan(f"r{snps}-{kind}-{i}-{time.time_ns()}", maker, frozenset(counts)) for i, maker in enumerate(makers)]
    cores = int(ws.spark.sparkContext.defaultParallelism)
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    for wave in waves(counts, scan.WAVE_SNPS * max(1, cores // scan.WAVE_CORES)):
        scan.run_wave(ws, scans, f"p{snps}", wave)
    seconds = time.perf_counter() - start
    watch.stop.set()
    memory = f"{watch.jvm / 2**20:,.0f} | {watch.worker / 2**20:,.0f}"
    where = master or f"local, {cores} cores"
    print(f"| {kind} | {where} | {snps:,} | {seconds:.1f} | {snps / seconds:,.0f} | {memory} |", flush=True)


def main() -> None:
    """Make panels, run the jobs on each, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--millions", type=float, nargs="+", default=[1.0])
    options.add_argument("--models", nargs="+", choices=["common", "user", "free", "two"], default=["common"])
    options.add_argument("--masters", nargs="+", default=[""], help="Spark masters; the usual local one by default")
    options.add_argument("--part", choices=["make", "run"], help=argparse.SUPPRESS)
    options.add_argument("--folder", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part == "make":
        make(given.folder, given.millions[0])
        return
    if given.part == "run":
        run(given.folder, given.millions[0], given.models[0], given.masters[0] or None)
        return
    scratch = Path(tempfile.mkdtemp())
    head = "| model | master | SNPs | seconds, panel to results | SNPs/s | peak JVM MB | peak Python worker MB |"
    print(f"{head}\n|---|---|---|---|---|---|---|", flush=True)

    def part(name: str, millions: float, *more: str) -> None:
        arguments = ["--part", name, "--folder", str(scratch / f"ws{millions}"), "--millions", str(millions), *more]
        subprocess.run([sys.executable, __file__, *arguments], check=True)

    for millions in given.millions:
        part("make", millions)
        for kind in given.models:
            for master in given.masters:
                part("run", millions, "--models", kind, "--masters", master)
        shutil.rmtree(scratch / f"ws{millions}", ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
