"""Kinship scans as jobs: seconds, and the memory of workers, at thousands of samples.

Run by hand on an idle machine; prints one table. A worker's own memory is what it does not map from files: the eigenvectors
and factors of a plan are mapped, once a host::

    python tests/benchmarks/bench_lmm_job.py --samples 10000 --variants 8000             # dense kinship
    python tests/benchmarks/bench_lmm_job.py --samples 100000 --variants 2000 --rank 100
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from bed_reader import to_bed
from bench_pipeline import Watch

import gsem_spark as gs

CHROMOSOMES = 4


class OwnMemory(Watch):
    """Also the largest memory of a Python worker that is not mapped from a file, and of the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.driver = 0, 0

    def run(self) -> None:
        me = psutil.Process()
        while not self.stop.wait(0.2):
            self.driver = max(self.driver, me.memory_info().rss)
            for process in me.children(recursive=True):
                try:
                    memory = process.memory_info()
                    if process.name() == "java":
                        self.jvm = max(self.jvm, memory.rss)
                    elif "python" in process.name():
                        self.worker = max(self.worker, memory.rss)
                        self.own = max(self.own, memory.rss - memory.shared)
                except psutil.NoSuchProcess:
                    continue


def cohort(folder: Path, n: int, variants: int) -> tuple[Path, Path]:
    """A fileset of n samples in families of four half-alike members, one call in a hundred missing, and a phenotype."""
    rng = np.random.default_rng(1)
    G = np.empty((variants, n), dtype=np.int8)
    for at in range(0, variants, 500):
        af = rng.uniform(0.05, 0.5, (len(G[at : at + 500]), 1))
        shared = rng.random((len(af), -(-n // 4))) < af
        own = rng.random((len(af), n), dtype=np.float32) < af
        part = np.repeat(shared, 4, axis=1)[:, :n].astype(np.int8) + own
        part[rng.random(part.shape, dtype=np.float32) < 0.01] = -127  # missing, as bed_reader writes it
        G[at : at + 500] = part
    iid = np.array([f"s{i}" for i in range(n)])
    to_bed(folder / "g.bed", G.T, properties={
        "fid": iid, "iid": iid, "sid": [f"rs{j}" for j in range(variants)],
        "chromosome": [str(1 + j * CHROMOSOMES // variants) for j in range(variants)], "bp_position": np.arange(variants) + 1,
        "allele_1": ["A"] * variants, "allele_2": ["G"] * variants})
    polygenic = np.maximum(G[:: max(variants // 200, 1)], 0).T @ rng.normal(size=len(G[:: max(variants // 200, 1)]))
    y = (polygenic - polygenic.mean()) / polygenic.std() + rng.normal(size=n)
    pd.DataFrame({"FID": iid, "IID": iid, "y": y}).to_csv(folder / "y.tsv", sep="\t", index=False)
    return folder / "g.bed", folder / "y.tsv"


def main() -> None:
    """Load, make the kinship, scan, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--samples", type=int, default=10_000)
    options.add_argument("--variants", type=int, default=8_000)
    options.add_argument("--rank", type=int, help="rank of the kinship; dense without")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bed, phenotype = cohort(Path(name), given.samples, given.variants)
        gs.start_session(delta=False, conf={"spark.ui.enabled": "false"})
        ws = gs.Workspace.create(str(Path(name) / "ws"), "parquet")

        def stage(what: str, work: Callable[[], Any]) -> None:
            watch = OwnMemory()
            watch.start()
            start = time.perf_counter()
            work()
            took = time.perf_counter() - start
            watch.stop.set()
            watch.join()
            said = f"worker {watch.own / 1e6:6,.0f} MB of its own, {watch.worker / 1e6:6,.0f} with mapped files; " \
                   f"driver {watch.driver / 1e6:6,.0f}, JVM {watch.jvm / 1e6:5,.0f}"
            print(f"{what:36} {took:8.1f} s  {given.variants / took:8,.0f} variants/s  {said}", flush=True)

        print(f"{given.samples:,} samples, {given.variants:,} variants, kinship {given.rank or 'dense'}")
        stage("genotypes", lambda: gs.genotypes(ws, bed, "g"))
        kind = {"kind": "low_rank", "rank": given.rank} if given.rank else {"kind": "centred"}
        stage("kinship, eigenvectors", lambda: gs.kinship(ws, loco=False, **kind))
        stage("scan, fast, model included", lambda: gs.lmm_scan(ws, phenotype, "y", loco=False))
        stage("scan, exact, model included", lambda: gs.lmm_scan(ws, phenotype, "y", loco=False, exact=True))


if __name__ == "__main__":
    main()
