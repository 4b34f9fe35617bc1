"""MTAG on one core: SNPs per second with p-values, Omega's sums, Sigma from LD score regression, and the maxFDR of 4 traits.

Run ``OMP_NUM_THREADS=1 python tests/benchmarks/bench_mtag.py``.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from gsem_spark.methods import mtag
from gsem_spark.methods.ldsc.two_step import intercept_matrix
from gsem_spark.methods.mtag.summary import scan_sums

BATCH = 50_000
HAPMAP3_SNPS = 1_200_000


def matrices(k: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Omega with correlations of about .8, Sigma with some overlap."""
    rng = np.random.default_rng(seed)
    h = rng.uniform(2e-6, 6e-6, k)
    return np.sqrt(np.outer(h, h)) * (np.full((k, k), 0.8) + 0.2 * np.eye(k)), np.full((k, k), 0.05) + 0.97 * np.eye(k)


def scan(k: int, m: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1.2, (m, k)), np.round(rng.uniform(5e4, 4e5, k) * rng.uniform(0.9, 1.0, (m, k)))


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Processor time of the fastest of some runs."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def whole_pass(model: mtag.MtagModel, z: np.ndarray, n: np.ndarray) -> None:
    for c, low in enumerate(range(0, len(z), BATCH)):
        part = slice(low, low + BATCH)
        scan_sums(z[part], n[part], model.fit(z[part], n[part]), part=c)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snps", type=int, default=HAPMAP3_SNPS, help="SNPs for 3 and 6 traits (fewer for more traits)")
    m = parser.parse_args().snps
    print(f"{'step':<44}{'traits':>7}{'SNPs':>12}{'seconds':>10}{'SNPs/s':>14}")
    for k, size in ((3, m), (6, m), (12, m // 6), (50, m // 60)):
        omega, sigma = matrices(k)
        z, n = scan(k, size)
        model = mtag.estimate(z[:2], n[:2], sigma, omega).model
        for label, work in (
            ("Omega, sums of one pass", lambda z=z, n=n: mtag.omega_sums(z, n)),
            ("estimates, p-values, summary", lambda z=z, n=n, model=model: whole_pass(model, z, n)),
        ):
            took = seconds(work)
            print(f"{label:<44}{k:>7}{size:>12,}{took:>10.2f}{size / took:>14,.0f}")
    z, n = scan(3, m)
    l2 = np.random.default_rng(3).lognormal(3, 1, m)
    took = seconds(lambda: intercept_matrix(z, n, l2, l2, 1.2e6), 1)
    print(f"{'Sigma by LD score regression (ldsc method)':<44}{3:>7}{m:>12,}{took:>10.2f}")
    print(f"\n{'maxFDR':<44}{'traits':>7}{'points':>12}{'seconds':>10}{'points/s':>14}")
    for k, intervals in ((2, 10), (3, 10), (4, 10)):
        omega, sigma = matrices(k)
        sizes = np.linspace(60_000, 250_000, k)
        problem, lattice = mtag.fdr_problem(omega, sigma, sizes), mtag.grid(k, intervals)
        took = seconds(lambda p=problem, g=lattice: mtag.search(p, g, 0, g.size), 1)
        print(f"{f'{intervals} intervals':<44}{k:>7}{lattice.size:>12,}{took:>10.2f}{lattice.size / took:>14,.0f}")
    print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
