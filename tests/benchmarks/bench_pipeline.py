"""The whole road timed by stage: raw gz files → Delta tables → LDSC → common factor → GWAS → loci.

Run by hand on an idle machine; prints one table::

    python tests/benchmarks/bench_pipeline.py --snps 1290028 --traits 3
    python tests/benchmarks/bench_pipeline.py --ld-scores /path/to/eur_w_ld_chr
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import gsem_spark as gs


class Watch(threading.Thread):
    """Largest resident memory of the JVM and of any Python worker, looked at twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jvm, self.worker, self.stop = 0, 0, threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.stop.wait(0.5):
            for process in me.children(recursive=True):
                try:
                    size = process.memory_info().rss
                    if process.name() == "java":
                        self.jvm = max(self.jvm, size)
                    elif "python" in process.name():
                        self.worker = max(self.worker, size)
                except psutil.NoSuchProcess:
                    continue


def simulated(folder: Path, snps: int, ld_scores: str | None) -> Path:
    """Three clean raw files with a known truth, in three formats."""
    if ld_scores:
        gs.simulate(folder, design="three", ld_scores=ld_scores, seed=20260101, dirty=False)
    else:
        gs.simulate(folder, design="three", n_snps=snps, seed=20260101, dirty=False)
    return folder


def main() -> None:
    """Simulate, run, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--snps", type=int, default=200_000)
    options.add_argument("--ld-scores", help="folder of a real panel; its SNPs are used instead of simulated ones")
    options.add_argument("--set", help="folder of a simulated set that is there already")
    options.add_argument("--keep", help="keep the workspace here")
    given = options.parse_args()
    scratch = Path(tempfile.mkdtemp())
    data = Path(given.set) if given.set else simulated(scratch / "set", given.snps, given.ld_scores)
    workspace = given.keep or str(scratch / "ws")
    rows: list[tuple[str, float, str]] = []
    began = time.perf_counter()

    def stage(name: str, work: Callable[[], Any], note: Callable[[Any], str] = lambda _: "") -> Any:
        start = time.perf_counter()
        result = work()
        rows.append((name, time.perf_counter() - start, note(result)))
        return result

    watch = Watch()
    watch.start()
    spark = stage("Spark session", gs.start_session)
    ws = gs.Workspace.create(workspace, "delta", spark)
    ld_folder = given.ld_scores or data / "ld"
    stage("references", lambda: gs.load_references(ws, data / "raw" / "reference.tsv", ld_folder))
    loaded = time.perf_counter()
    from gsem_spark.study import load_study

    traits = load_study(data / "study.yaml").traits
    rate = f"{os.cpu_count()} cores"
    munged = stage("munge", lambda: gs.munge(ws, traits), lambda r: f"{r.rows:,} rows")
    cov = stage("LDSC", lambda: gs.ldsc(ws, [t.name for t in traits]), lambda c: f"{c.k} traits")
    stage("common factor", lambda: gs.common_factor(cov))
    run = stage("GWAS, panel to loci", lambda: gs.common_factor_gwas(ws, cov), lambda r: f"{r.report.rows:,} SNPs")
    ended = time.perf_counter()
    watch.stop.set()
    print(f"\n| stage ({rate}) | seconds | |\n|---|---|---|")
    for name, seconds, note in rows:
        print(f"| {name} | {seconds:.1f} | {note} |")
    session = rows[0][1]
    print(f"| raw files to GWAS results, Spark start included | {session + ended - loaded:.1f} | without loading references |")
    print(f"| all | {ended - began:.1f} | |")
    jvm, worker = watch.jvm / 2**20, watch.worker / 2**20
    print(f"\nmunge {munged.rows / rows[2][1]:,.0f} rows/s; peak JVM {jvm:,.0f} MB, Python worker {worker:,.0f} MB")
    print(f"statuses {dict(run.summary['status'])}, lambda {run.summary['lambda_gc']:.4f}, loci {run.summary['loci']}")
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
