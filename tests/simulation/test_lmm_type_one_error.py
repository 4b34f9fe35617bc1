"""Type-I error with relatedness: variants dropped through a pedigree, none with an effect."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gsem_spark.methods.lmm import inflation, kinship_spectrum, pedigree_kinship, prepare_scan, scan_block

pytestmark = pytest.mark.slow

FAMILIES, CHILDREN, GRANDCHILDREN = 40, 4, 12
PHENOTYPES, VARIANTS = 250, 400
LEVELS = (0.05, 0.01, 0.001)
# of the binomial interval; the seed is fixed, so that a run passes always or never
COVERAGE = 0.99


def simulated_pedigree(rng) -> pd.DataFrame:
    """Families of two founders, their children, outside spouses, and grandchildren."""
    rows = []
    for f in range(FAMILIES):
        rows += [(f"{f}a", None, None), (f"{f}b", None, None)]
        rows += [(f"{f}c{i}", f"{f}a", f"{f}b") for i in range(CHILDREN)]
        rows += [(f"{f}s{i}", None, None) for i in range(CHILDREN)]
        # children 0 and 1 are fathers, 2 and 3 mothers
        for i in range(GRANDCHILDREN):
            k = int(rng.integers(0, CHILDREN))
            pair = (f"{f}c{k}", f"{f}s{k}")
            rows.append((f"{f}g{i}", *(pair if k < CHILDREN // 2 else pair[::-1])))
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


def drop_genes(pedigree: pd.DataFrame, m: int, rng) -> np.ndarray:
    """(m, n) dosages of m unlinked variants, founders in Hardy-Weinberg proportions, parents' alleles passed on at random."""
    at = {name: i for i, name in enumerate(pedigree["id"])}
    frequency = rng.uniform(0.05, 0.5, m)
    alleles = np.zeros((len(pedigree), 2, m), dtype=np.int8)
    columns = np.arange(m)
    for i, (sire, dam) in enumerate(zip(pedigree["sire"], pedigree["dam"], strict=True)):
        for side, parent in enumerate((sire, dam)):
            drawn = rng.random(m) < frequency if parent is None else alleles[at[parent], rng.integers(0, 2, m), columns]
            alleles[i, side] = drawn
    return np.ascontiguousarray(alleles.sum(axis=1, dtype=np.int8).T)


@pytest.fixture(scope="module")
def rates():
    """Rejections by engine and level over 100,000 tests, and genomic inflation, side by side."""
    rng = np.random.default_rng(20240611)
    pedigree = simulated_pedigree(rng)
    A = pedigree_kinship(pedigree).to_numpy()
    spectrum, root = kinship_spectrum(A), np.linalg.cholesky(A)
    plans = {"mixed model, fixed": {"K": spectrum}, "mixed model, refitted": {"K": spectrum, "exact": True},
             "plain regression": {}}
    counts = {name: np.zeros(len(LEVELS)) for name in plans}
    statistics = {name: [] for name in plans}
    for _ in range(PHENOTYPES):
        y = np.sqrt(0.6) * root @ rng.normal(size=len(A)) + np.sqrt(0.4) * rng.normal(size=len(A))
        G = drop_genes(pedigree, VARIANTS, rng)
        for name, options in plans.items():
            frame = scan_block(prepare_scan(y, **options), G)
            p = frame.loc[frame["status"] == "ok", "p"].to_numpy()
            counts[name] += [(p < level).sum() for level in LEVELS]
            statistics[name].append(stats.chi2.isf(p, 1))
    total = PHENOTYPES * VARIANTS
    table = pd.DataFrame({name: np.append(c / total, inflation(np.concatenate(statistics[name]))) for name, c in counts.items()},
                         index=[*map(str, LEVELS), "lambda GC"])
    print("\n" + table.T.round(5).to_string())
    return table, total


@pytest.mark.parametrize("engine", ["mixed model, fixed", "mixed model, refitted"])
def test_mixed_models_keep_their_level(rates, engine):
    table, total = rates
    for level in LEVELS:
        low, high = stats.binom.interval(COVERAGE, total, level)
        assert low <= table.loc[str(level), engine] * total <= high, (engine, level)
    assert 0.97 < table.loc["lambda GC", engine] < 1.03


def test_plain_regression_does_not(rates):
    table, total = rates
    for level in LEVELS:
        assert table.loc[str(level), "plain regression"] * total > 1.3 * stats.binom.interval(COVERAGE, total, level)[1]
    assert table.loc["lambda GC", "plain regression"] > 1.2
