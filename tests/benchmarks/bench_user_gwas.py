"""SNPs per second of a GWAS of any model, everything included (screening, fits, Q_SNP, p-values, messages), on one core.

Run ``OMP_NUM_THREADS=1 python tests/benchmarks/bench_user_gwas.py``. The first table is of one process; "kernel" leaves out what
is made of the fits afterwards (p-values and columns).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from gsem_spark.methods.gwas import UserModelGwas, WaldTest
from gsem_spark.methods.gwas.result_rows import RowTable
from gsem_spark.methods.ldsc.covstruct import CovStruct

BATCH = 50_000
PASSES = 3


def names(first: int, last: int) -> list[str]:
    return [f"T{i}" for i in range(first, last)]


def factors(sizes: list[int]) -> str:
    """A model of correlated factors, each with an effect of the SNP."""
    lines, first = [], 0
    for f, size in enumerate(sizes, 1):
        lines.append(f"F{f} =~ " + " + ".join(names(first, first + size)))
        first += size
    lines += [f"F{a} ~~ F{b}" for a in range(1, len(sizes) + 1) for b in range(a + 1, len(sizes) + 1)]
    return "\n".join([*lines, *(f"F{f} ~ SNP" for f in range(1, len(sizes) + 1))])


CASES = (
    ("one factor", [3], 250_000), ("two factors", [3, 3], 60_000), ("three factors", [4, 4, 4], 8_000),
)
CLOSED_FORM = 1_000_000


def structure(sizes: list[int], seed: int = 1) -> CovStruct:
    """Factors with correlations of .5, loadings .3 to .6, h2 Z of about 15, correlated sampling errors, overlap."""
    rng = np.random.default_rng(seed)
    k = sum(sizes)
    loadings = np.zeros((k, len(sizes)))
    loadings[np.arange(k), np.repeat(np.arange(len(sizes)), sizes)] = rng.uniform(0.35, 0.6, k)
    correlation = np.full((len(sizes), len(sizes)), 0.5) + 0.5 * np.eye(len(sizes))
    wobble = rng.normal(0, 0.003, (k, k))
    S = loadings @ correlation @ loadings.T + np.diag(rng.uniform(0.08, 0.25, k)) + (wobble + wobble.T) * (1 - np.eye(k))
    size = k * (k + 1) // 2
    root = rng.normal(0, 0.002, (size, size)) / np.sqrt(size) * 3 + np.eye(size) * 0.01
    I = np.full((k, k), 0.05) + np.diag(rng.uniform(0.93, 1.0, k))
    return CovStruct.from_matrices(S, root @ root.T, I, names(0, k))


def scan(k: int, n: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Polygenic effects (mean chi-square about 1.5) with every thousandth SNP strong."""
    rng = np.random.default_rng(seed)
    maf = rng.uniform(0.01, 0.5, n)
    se = 1 / np.sqrt(2 * maf * (1 - maf))[:, None] / np.sqrt(rng.uniform(5e4, 2e5, k))[None, :]
    z = rng.normal(0, 1.2, (n, k))
    z[::1000] += 12
    return z * se, se, maf


def rate(run, snps: tuple[np.ndarray, ...]) -> float:
    """SNPs per second of processor time, best of some passes in batches."""
    n, best = len(snps[2]), np.inf
    for _ in range(PASSES):
        start = time.process_time()
        for low in range(0, n, BATCH):
            run(*(x[low : low + BATCH] for x in snps))
        best = min(best, time.process_time() - start)
    return n / best


def kernel_rate(gwas: UserModelGwas, snps: tuple[np.ndarray, ...]) -> float:
    """The same without p-values and columns."""
    whole = RowTable.columns
    RowTable.columns = lambda self, *_: {}  # type: ignore[method-assign, assignment]
    try:
        return rate(gwas.fit, snps)
    finally:
        RowTable.columns = whole  # type: ignore[method-assign]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snps", type=int, default=200_000, help="SNPs a pass; fewer for the slow routes")
    n = parser.parse_args().snps
    head = f"{'model':<16}{'traits':>7}{'measurement':>13}{'route':>11}{'SNPs/s':>12}{'kernel':>12}{'target':>12}"
    print(f"{head}{'first call, s':>15}")
    for name, sizes, target in CASES:
        k = sum(sizes)
        snps = scan(k, n)
        for fix in (True, False):
            gwas = UserModelGwas.prepare(structure(sizes), factors(sizes), fix_measurement=fix)
            start = time.perf_counter()
            gwas.warm_up()
            first = time.perf_counter() - start
            part = snps if fix else tuple(x[: n // (5 if k < 12 else 20)] for x in snps)
            aim = CLOSED_FORM if gwas.route == "analytic" else target
            print(
                f"{name:<16}{k:>7}{'fixed' if fix else 'free':>13}{gwas.route:>11}{rate(gwas.fit, part):>12,.0f}"
                f"{kernel_rate(gwas, part):>12,.0f}{aim:>12,}{first:>15.2f}"
            )
    few = tuple(x[:200] for x in scan(6, 200))
    ml = UserModelGwas.prepare(structure([3, 3]), factors([3, 3]), estimation="ML")
    print(f"{'two factors, ML':<16}{6:>7}{'fixed':>13}{ml.route:>11}{rate(ml.fit, few):>12,.0f}")
    test = WaldTest.prepare(structure([3]))
    test.fit(*scan(3, 10))
    print(f"{'Wald, omnibus':<16}{3:>7}{'':>24}{rate(test.fit, scan(3, n)):>12,.0f}")


if __name__ == "__main__":
    main()
