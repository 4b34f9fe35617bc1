"""Kinship mixed models: variants a second on one core, beside a plain matrix product and the ``gemma`` program.

Run ``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/benchmarks/bench_lmm.py``. Times are processor time. GEMMA is run
where it is installed, on the same mice in the same run.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gsem_spark.methods.lmm import (
    bootstrap,
    centre_kinship,
    fit_lmm,
    fit_multitrait,
    kinship_spectrum,
    pedigree_kinship,
    prepare_multitrait_scan,
    prepare_scan,
    scan_block,
    scan_multitrait_block,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
import lmm_reference as reference

LIMIX = {"full rank": 2200, "rank 10": 45_000, "two traits": 810}
"""Variants a second of limix-lmm, measured on the same kind of machine (N = 1940)."""


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Processor seconds of a call, best of some."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def line(what: str, value: str, beside: str = "", target: str = "", verdict: bool | None = None) -> None:
    mark = "" if verdict is None else ("reached" if verdict else "not reached")
    print(f"{what:<52}{value:>24}{beside:>30}{target:>26}  {mark}")


def mice() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Genotypes int8, kinship, CD8 and MCH of the mice that have CD8 (MCH filled with its mean)."""
    cohort = reference.mice()
    keep = np.isfinite(cohort.phenotypes[:, 0])
    rows = cohort.rows(reference.table(reference.GEMMA / "cd8_lmm4.assoc.txt.gz")["rs"])
    K = centre_kinship(reference.gemma_sums()[1].matrix()[np.ix_(keep, keep)])
    mch = cohort.phenotypes[keep, 5]
    mch = np.where(np.isnan(mch), np.nanmean(mch), mch)
    return np.ascontiguousarray(cohort.G[rows][:, keep]), K, cohort.phenotypes[keep, 0], mch


def gemm_rate(n: int, dtype: type, tile: int = 256) -> float:
    """GFLOP/s of a plain product of a tile of genotypes with an (n, n) matrix."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4 * tile, n)).astype(dtype), rng.normal(size=(n, n)).astype(dtype)
    return 2e-9 * n * n * len(a) / seconds(lambda: a @ b, 5)


def full_rank(G: np.ndarray, K: np.ndarray, y: np.ndarray) -> None:
    """The fast scan against the rotation alone."""
    n = len(y)
    for name, dtype in (("float64", np.float64), ("float32", np.float32)):
        rate = gemm_rate(n, dtype)
        plan = prepare_scan(y, K=K, precision=name)
        scan_block(plan, G[:300])
        snps = len(G) / seconds(lambda plan=plan: scan_block(plan, G))
        share = snps / (rate * 1e9 / (2 * n * n))
        line(f"fast scan, full rank, N = {n}, {name}", f"{snps:,.0f} variants/s", f"{share:.0%} of a {rate:.0f} GFLOP/s GEMM",
             ">= 70 % of GEMM", share >= 0.7)


def low_rank(n: int = 1940, r: int = 10, S: int = 20_000) -> None:
    """Rank 10, as limix was timed."""
    rng = np.random.default_rng(1)
    W, y = rng.normal(size=(n, r)), rng.normal(size=n)
    plan = prepare_scan(y + W @ rng.normal(size=r), W=W, test="limix_lrt")
    G = rng.binomial(2, 0.3, (S, n)).astype(np.int8)
    for name, block in (("int8", G), ("float64", G.astype(np.float64))):
        scan_block(plan, block[:300])
        rate = S / seconds(lambda block=block: scan_block(plan, block))
        line(f"fast scan, rank {r}, N = {n}, {name}", f"{rate:,.0f} variants/s", f"{rate / LIMIX['rank 10']:.1f} x limix",
             ">= 200,000 variants/s", rate >= 200_000)


def large(n: int = 20_000, r: int = 100, S: int = 2048) -> None:
    """Low rank at biobank-like N: GFLOP/s beside those of the plain product it is made of."""
    rng = np.random.default_rng(2)
    W, y = rng.normal(size=(n, r)), rng.normal(size=n)
    plan = prepare_scan(y + W @ rng.normal(size=r), W=W)
    G = rng.binomial(2, 0.3, (S, n)).astype(np.int8)
    tile, basis = G[:256].astype(np.float64), np.ascontiguousarray(rng.normal(size=(n, r + 2)))
    flops = 2 * n * (r + 2)
    plain = 256 * flops / seconds(lambda: tile @ basis, 5) / 1e9
    scan_block(plan, G[:256])
    rate = S / seconds(lambda: scan_block(plan, G))
    line(f"fast scan, rank {r}, N = {n:,}, int8", f"{rate:,.0f} variants/s",
         f"{rate * flops / 1e9:.1f} GFLOP/s, plain {plain:.1f}")


def run_gemma(folder: Path, *arguments: str) -> float:
    """Seconds of processor time of a call of GEMMA."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["gemma", "-bfile", "mouse", *arguments], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def gemma_times() -> tuple[float, float, float] | None:
    """Seconds of GEMMA -lmm 1 (10,768 variants), all included and without its start, and of its two-trait scan (700 variants)."""
    if shutil.which("gemma") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ext in ("bed", "bim", "fam"):
            with gzip.open(reference.GEMMA / f"mouse_hs1940.{ext}.gz") as source:
                (folder / f"mouse.{ext}").write_bytes(source.read())
        run_gemma(folder, "-n", "1", "-gk", "1", "-o", "k")
        one = run_gemma(folder, "-n", "1", "-k", "output/k.cXX.txt", "-lmm", "1", "-o", "one")
        wanted = reference.table(reference.GEMMA / "cd8_mch_mvlmm4_chr17_19_tight.assoc.txt.gz")["rs"]
        (folder / "snps.txt").write_text("\n".join(wanted) + "\n")
        empty = folder / "none.txt"
        empty.write_text(wanted.iloc[0] + "\n")
        start = run_gemma(folder, "-n", "1", "-snps", "none.txt", "-k", "output/k.cXX.txt", "-lmm", "1", "-o", "start")
        alone = run_gemma(folder, "-n", "1", "6", "-snps", "none.txt", "-k", "output/k.cXX.txt", "-lmm", "4", "-o", "none")
        two = run_gemma(folder, "-n", "1", "6", "-snps", "snps.txt", "-k", "output/k.cXX.txt", "-lmm", "4", "-o", "two")
        return one, one - start, two - alone


def exact(G: np.ndarray, K: np.ndarray, y: np.ndarray, gemma: tuple[float, float] | None) -> None:
    """Refits of every variant, from genotypes to p-values, eigendecomposition included."""
    for precision in ("float64", "float32"):
        scan_block(prepare_scan(y[:400], K=K[:400, :400], exact=True), G[:10, :400])

        def whole(precision: str = precision) -> object:
            return scan_block(prepare_scan(y, K=K, exact=True, precision=precision), G)

        time_all = seconds(whole, 4)
        plan = prepare_scan(y, K=K, exact=True, precision=precision)
        alone = seconds(lambda plan=plan: scan_block(plan, G), 4)
        for what, took, whose in ((f"exact scan, N = {len(y)}, {precision}, eigen included", time_all, 0),
                                  ("  of which refits and rotation", alone, 1)):
            theirs = gemma[whose] if gemma else np.nan
            beside = f"{theirs / took:.1f} x GEMMA ({theirs * 1e6 / len(G):.0f} us)" if gemma else "GEMMA is not installed"
            line(what, f"{took * 1e6 / len(G):.0f} us a variant", beside, ">= 10 x GEMMA", theirs / took >= 10 if gemma else None)


def two_traits(G: np.ndarray, K: np.ndarray, Y: np.ndarray, gemma: float | None) -> None:
    """Any-effect tests of two traits, fixed and refitted."""
    fit = fit_multitrait(Y, kinship_spectrum(K))
    for precision in ("float64", "float32"):
        plan = prepare_multitrait_scan(fit, test="limix_lrt", precision=precision)
        scan_multitrait_block(plan, G[:256])
        rate = len(G) / seconds(lambda plan=plan: scan_multitrait_block(plan, G), 4)
        # limix was timed at N = 1940; a rotation costs N squared
        scaled = rate * (len(Y) / 1940) ** 2
        line(f"two traits, fixed, N = {len(Y)}, {precision}", f"{rate:,.0f} variants/s",
             f"{scaled / LIMIX['two traits']:.1f} x MTLMM (at its N)", ">= 10 x MTLMM", scaled >= 10 * LIMIX["two traits"])
    plan = prepare_multitrait_scan(fit, test=["wald", "lrt_ml", "score"], exact=True)
    took = seconds(lambda: scan_multitrait_block(plan, G[::100]), 1) / len(G[::100])
    line("two traits, refitted by REML and ML", f"{took * 1e3:.1f} ms a variant",
         f"GEMMA {gemma / 700 * 1e3:.1f} ms (looser)" if gemma else "")


def refits() -> None:
    """1,000 bootstrap refits of a pedigree model: 100 families of 12, one covariate and 25."""
    import pandas as pd

    rows = []
    for f in range(100):
        rows += [(f"{f}_{i}", None, None) for i in range(4)]
        rows += [(f"{f}_{i}", f"{f}_0", f"{f}_1") for i in (4, 5)] + [(f"{f}_{i}", f"{f}_2", f"{f}_4") for i in range(6, 12)]
    K = pedigree_kinship(pd.DataFrame(rows, columns=["id", "sire", "dam"])).to_numpy()
    rng = np.random.default_rng(0)
    y = np.linalg.cholesky(K + 1e-9 * np.eye(1200)) @ rng.normal(size=1200) + 0.5 * rng.normal(size=1200)
    for c in (1, 25):
        fit = fit_lmm(K, y, np.column_stack([np.ones(1200), rng.normal(size=(1200, c - 1))]))
        took = seconds(lambda fit=fit: bootstrap(fit, 1000), 1)
        line(f"1,000 bootstrap refits, N = 1200, {c} fixed effects", f"{took:.1f} s on one core", "", "<= 10 s on two cores",
             took <= 20)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snps", type=int, default=10_768, help="variants of the mice to scan")
    count = parser.parse_args().snps
    G, K, y, mch = mice()
    G = G[:count]
    gemma = gemma_times()
    full_rank(G, K, y)
    low_rank()
    large()
    exact(G, K, y, (gemma[0] * len(G) / 10_768, gemma[1] * len(G) / 10_768) if gemma else None)
    two_traits(G, K, np.column_stack([y, mch]), gemma[2] if gemma else None)
    refits()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
