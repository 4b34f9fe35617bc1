"""Slow: under the null every test of a GWAS of any model keeps its level with overlapping samples; Q_SNP tells the rest apart.

Prints a table: ``pytest -m slow -s tests/simulation/test_user_gwas_calibration.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gsem_spark.methods.gwas import UserModelGwas, wald
from gsem_spark.methods.ldsc.covstruct import CovStruct

pytestmark = pytest.mark.slow

SNPS = 1_000_000
BATCH = 100_000
LEVEL = 1e-4
FAR = 1e-4
"""A test that is right must not fail more than once in ten thousand seeds; seeds are fixed, so it fails never or always."""
N = np.array([100_000.0, 150_000.0, 200_000.0])
LOADINGS = np.array([0.5, 0.42, 0.35])
MODEL = "F1 =~ A + B + C\nF1 ~ SNP"


def structure() -> CovStruct:
    """One factor; half of each pair of samples shared."""
    S = np.outer(LOADINGS, LOADINGS) + np.diag([0.05, 0.06, 0.07])
    I = np.array([[1.0, 0.25, 0.15], [0.25, 1.0, 0.2], [0.15, 0.2, 1.0]])
    return CovStruct.from_matrices(S, np.diag((0.02 * np.array([5, 4, 4, 5, 3, 4])) ** 2 * 0.01), I, ["A", "B", "C"])


def draw(cov: CovStruct, n: int, seed: int, mean: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects per allele with errors correlated by overlap; ``mean`` (n, 3) expected z-scores."""
    rng = np.random.default_rng(seed)
    maf = rng.uniform(0.05, 0.5, n)
    se = 1.0 / np.sqrt(2 * maf * (1 - maf))[:, None] / np.sqrt(N)
    z = rng.standard_normal((n, 3)) @ np.linalg.cholesky(cov.I).T
    return (z if mean is None else z + mean) * se, se, maf


def p_values(gwas: UserModelGwas, cov: CovStruct, snps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """p-values of the factor's effect, Q_SNP and the omnibus Wald test."""
    got = gwas.fit(*snps)
    assert np.isin(got["status"].astype(str), ["ok", "heywood"]).all()
    return {"F1~SNP": got["p"], "Q_SNP": got["q_snp_p"], "Wald": wald(cov, *snps)["p"].to_numpy()}


@pytest.mark.parametrize("fix", [True, False])
def test_null_snps_with_overlap(fix: bool) -> None:
    cov = structure()
    gwas = UserModelGwas.prepare(cov, MODEL, fix_measurement=fix)
    parts = [p_values(gwas, cov, draw(cov, BATCH, seed)) for seed in range(SNPS // BATCH)]
    print(f"\n{SNPS:,} null SNPs, overlap, {gwas.route}\n{'test':<8}{'lambda':>9}{'p < 1e-4':>10}{'expected':>10}")
    for name in parts[0]:
        p = np.concatenate([part[name] for part in parts])
        inflation = stats.chi2.isf(np.median(p), 1) / stats.chi2.isf(0.5, 1)
        hits = int((p < LEVEL).sum())
        print(f"{name:<8}{inflation:>9.4f}{hits:>10}{SNPS * LEVEL:>10.0f}")
        assert 0.99 <= inflation <= 1.01
        assert stats.binomtest(hits, SNPS, LEVEL).pvalue > FAR


def test_power_and_what_q_snp_rejects() -> None:
    cov, n = structure(), 20_000
    gwas = UserModelGwas.prepare(cov, MODEL)
    print(f"\n{n:,} SNPs each, share below {LEVEL:g}\n{'kind':<10}{'mean z':>8}{'F1~SNP':>9}{'Q_SNP':>9}{'Wald':>9}")
    power: dict[tuple[str, float], dict[str, float]] = {}
    for kind, shape in (("factor", LOADINGS * np.sqrt(N)), ("trait A", np.array([1.0, 0.0, 0.0]))):
        for size in (2.0, 4.0, 6.0, 8.0):
            mean = np.tile(shape / np.max(shape) * size, (n, 1))
            power[kind, size] = {
                name: float((p < LEVEL).mean()) for name, p in p_values(gwas, cov, draw(cov, n, 99, mean)).items()
            }
            print(f"{kind:<10}{size:>8.0f}" + "".join(f"{x:>9.4f}" for x in power[kind, size].values()))
    for size in (2.0, 4.0, 6.0, 8.0):
        rejected = round(power["factor", size]["Q_SNP"] * n)
        # Q_SNP keeps its level for SNPs that act through the factor, however strong.
        assert stats.binomtest(rejected, n, LEVEL, alternative="greater").pvalue > FAR
        assert power["factor", size]["F1~SNP"] >= power["factor", size]["Wald"]
        assert power["trait A", size]["Wald"] > power["trait A", size]["F1~SNP"]
    assert power["factor", 8.0]["F1~SNP"] > 0.99 and power["trait A", 8.0]["Q_SNP"] > 0.95
