"""SNPs per second of the common-factor GWAS, everything included, on one core.

Run ``OMP_NUM_THREADS=1 python tests/benchmarks/bench_kernel.py``.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from gsem_spark.methods.gwas import CommonFactorGwas
from gsem_spark.methods.ldsc.covstruct import CovStruct

TARGETS = {("DWLS", 3): 250_000, ("DWLS", 6): 60_000}
BATCH = 50_000


def structure(k: int, seed: int = 1) -> CovStruct:
    """A realistic structure: h2 of about .3, loadings .3 to .6, h2 Z of about 15, correlated sampling errors, overlap."""
    rng = np.random.default_rng(seed)
    loadings = rng.uniform(0.3, 0.6, k)
    wobble = rng.normal(0, 0.01, (k, k))
    S = np.outer(loadings, loadings) + np.diag(rng.uniform(0.08, 0.25, k)) + (wobble + wobble.T) * (1 - np.eye(k))
    size = k * (k + 1) // 2
    root = rng.normal(0, 0.002, (size, size)) / np.sqrt(size) * 3 + np.eye(size) * 0.01
    I = np.full((k, k), 0.05) + np.diag(rng.uniform(0.93, 1.0, k))
    return CovStruct.from_matrices(S, root @ root.T, I, [f"T{i}" for i in range(k)])


def scan(k: int, n: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Polygenic effects (mean chi-square about 1.5) with every thousandth SNP strong."""
    rng = np.random.default_rng(seed)
    maf = rng.uniform(0.01, 0.5, n)
    se = 1 / np.sqrt(2 * maf * (1 - maf))[:, None] / np.sqrt(rng.uniform(5e4, 2e5, k))[None, :]
    z = rng.normal(0, 1.2, (n, k))
    z[::1000] += 12
    return z * se, se, maf


def measure(gwas: CommonFactorGwas, n: int) -> float:
    """SNPs per second of processor time, best of three passes over n SNPs in batches."""
    beta, se, maf = scan(len(gwas.traits), n)
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        for low in range(0, n, BATCH):
            part = slice(low, low + BATCH)
            gwas.fit(beta[part], se[part], maf[part])
        best = min(best, time.process_time() - start)
    return n / best


def memory_growth(k: int) -> tuple[float, float]:
    """Peak resident MB after 20 and after 80 batches of fits."""
    gwas = CommonFactorGwas.prepare(structure(k))
    batch = scan(k, BATCH)
    peaks = []
    for passes in (20, 60):
        for _ in range(passes):
            gwas.fit(*batch)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return peaks[0], peaks[1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snps", type=int, default=200_000, help="SNPs a pass (a tenth under ML and with smoothing)")
    n = parser.parse_args().snps
    print(f"{'model':<28}{'traits':>7}{'SNPs/s':>12}{'target':>10}{'first call, s':>15}")
    for estimation in ("DWLS", "ML"):
        for k in (3, 6, 12):
            gwas = CommonFactorGwas.prepare(structure(k), estimation=estimation)  # type: ignore[arg-type]
            start = time.perf_counter()
            gwas.warm_up()
            first = time.perf_counter() - start
            rate = measure(gwas, n if estimation == "DWLS" and k < 12 else n // 10)
            target = TARGETS.get((estimation, k))
            print(f"{'common factor, ' + estimation:<28}{k:>7}{rate:>12,.0f}{f'{target:,}' if target else '':>10}{first:>15.2f}")
    for what in ("S", "V"):
        cov = structure(6)
        S, V = cov.S.copy(), cov.V.copy()
        if what == "S":
            S[0, 1] = S[1, 0] = 1.05 * np.sqrt(S[0, 0] * S[1, 1])
        else:
            V[0, 1] = V[1, 0] = 1.05 * np.sqrt(V[0, 0] * V[1, 1])
        gwas = CommonFactorGwas.prepare(CovStruct.from_matrices(S, V, cov.I, cov.traits))
        print(f"{f'{what} not positive definite':<28}{6:>7}{measure(gwas, n // 100 if what == 'S' else n // 10):>12,.0f}")
    first_peak, last_peak = memory_growth(6)
    print(f"peak memory, 6 traits: {first_peak:,.0f} MB after 1 million SNPs, {last_peak:,.0f} MB after 4 million")


if __name__ == "__main__":
    main()
