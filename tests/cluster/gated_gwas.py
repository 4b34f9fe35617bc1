"""``jobs/gwas.py`` with a gate in its kernel: in the second batch of the third wave a worker stops, so that a test can
kill a process exactly there, or kills itself. Whoever comes to the gate first closes it behind itself: all later runs go through.

Waves are made small, so that the demo's SNPs make several commits. The numbers are the real kernel's.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

WAVE, BATCH = 3, 2
WAVE_SNPS = 4_000
PATIENCE_S = 120.0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FOLDERS = ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")


class GatedKernel:
    """Stands in for the kernel on the workers."""

    def __init__(self, kernel, wave, folder, mode):
        self.kernel, self.wave, self.folder, self.mode = kernel, wave, folder, mode
        self.traits = kernel.traits
        self.batches = 0

    def fit(self, beta, se, maf):
        self.batches += 1
        if self.wave == WAVE and self.batches == BATCH:
            pass_gate(Path(self.folder), self.mode)
        return self.kernel.fit(beta, se, maf)


def pass_gate(folder, mode):
    """The first to come stays (``wait``) or dies (``die``); the others pass."""
    try:
        handle = os.open(folder / "closed", os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return
    os.close(handle)
    told = folder / "at_gate.partial"
    told.write_text(json.dumps({"pid": os.getpid(), **worker_facts()}), encoding="utf-8")
    told.rename(folder / "at_gate.json")
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    parent, end = os.getppid(), time.monotonic() + PATIENCE_S
    while time.monotonic() < end and os.getppid() == parent:  # an orphan has nothing to wait for
        time.sleep(0.1)
    raise RuntimeError("nobody came to kill the process at the gate")


def worker_facts():
    """What the worker's environment is like."""
    environment = {name: os.environ.get(name) for name in (*THREADS, *FOLDERS, "PYTHONHASHSEED")}
    return {"environment": environment, "writable": {name: writable(environment[name]) for name in FOLDERS}}


def writable(folder):
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, TypeError):
        return False


def main():
    from gsem_spark.steps.gwas import scan

    original, waves = scan.run_wave, iter(range(1, 10_000))
    folder, mode = os.environ["GSEM_TEST_GATE"], os.environ["GSEM_TEST_GATE_MODE"]

    def gated(ws, scans, *rest):
        wave = next(waves)
        makers = [replace(s.maker, kernel=GatedKernel(s.maker.kernel, wave, folder, mode)) for s in scans]
        return original(ws, [replace(s, maker=maker) for s, maker in zip(scans, makers, strict=True)], *rest)

    scan.WAVE_SNPS, scan.run_wave = WAVE_SNPS, gated
    job = Path(__file__).parents[2] / "jobs" / "gwas.py"
    sys.argv[0] = str(job)
    runpy.run_path(str(job), run_name="__main__")


if __name__ == "__main__":
    import gated_gwas  # by its name, so that workers unpickle the same class

    gated_gwas.main()
