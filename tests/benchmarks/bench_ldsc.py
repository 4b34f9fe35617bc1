"""LDSC on munged traits: seconds for k traits at once, and what one more trait costs.

Run by hand on an idle machine; the three simulated GWAS are munged under several names. Prints one table::

    python tests/benchmarks/bench_ldsc.py --ld-scores /path/to/eur_w_ld_chr --traits 6
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from bench_pipeline import Watch, simulated

import gsem_spark as gs
from gsem_spark.study import load_study


def main() -> None:
    """Simulate, munge, time, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--snps", type=int, default=200_000)
    options.add_argument("--ld-scores", help="folder of a real panel; its SNPs are used instead of simulated ones")
    options.add_argument("--set", help="folder of a simulated set that is there already")
    options.add_argument("--traits", type=int, default=6)
    given = options.parse_args()
    scratch = Path(tempfile.mkdtemp())
    data = Path(given.set) if given.set else simulated(scratch / "set", given.snps, given.ld_scores)
    ws = gs.Workspace.create(str(scratch / "ws"), "delta")
    gs.load_references(ws, data / "raw" / "reference.tsv", given.ld_scores or data / "ld")
    three = load_study(data / "study.yaml").traits
    traits = [three[i % 3].model_copy(update={"name": f"T{i}"}) for i in range(given.traits + 1)]
    gs.munge(ws, traits)
    names = [t.name for t in traits]
    watch = Watch()
    watch.start()
    print("| LDSC | seconds |\n|---|---|", flush=True)
    for chosen, label in ((names[:-1], f"{given.traits} traits at once"), (names, "one more trait, its pairs only")):
        start = time.perf_counter()
        gs.ldsc(ws, chosen)
        print(f"| {label} | {time.perf_counter() - start:.1f} |", flush=True)
    watch.stop.set()
    print(f"\npeak JVM {watch.jvm / 2**20:,.0f} MB, Python worker {watch.worker / 2**20:,.0f} MB")
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
