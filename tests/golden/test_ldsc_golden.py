"""LDSC against GenomicSEM 0.0.5: S, V, I, N, M to 1e-8 relative."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.ldsc.arrays import LdscTrait, ldsc_from_arrays
from gsem_spark.methods.ldsc.covstruct import CovStruct

SMALL = Path(__file__).parents[1] / "data" / "gsem_small"
TRAITS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
SAMPLE = dict(zip(TRAITS, (0.35, 0.5, np.nan, np.nan, 0.2, np.nan), strict=True))
POPULATION = dict(zip(TRAITS, (0.05, 0.01, np.nan, np.nan, 0.1, np.nan), strict=True))
RTOL = 1e-8
"""Asked for; what is reached is 1e-13 of S, I and 1e-10 of V's smallest elements (sums in another order)."""


def read_panel(folder: Path, chromosomes=range(1, 23)) -> tuple[pd.DataFrame, float]:
    panel = pd.concat([pd.read_csv(folder / f"{c}.l2.ldscore.gz", sep="\t") for c in chromosomes], ignore_index=True)
    M = sum(float((folder / f"{c}.l2.M_5_50").read_text()) for c in chromosomes)
    return panel.sort_values(["CHR", "BP"], kind="stable").reset_index(drop=True), M


def read_traits(munged: Path, panel: pd.DataFrame, names=TRAITS, liability=True) -> list[LdscTrait]:
    """Munged files as R reads them (rows with NA out, duplicates kept), effects turned to the allele seen first."""
    place, first_a1, out = pd.Series(panel.index, index=panel.SNP), {}, []
    for name in names:
        data = pd.read_csv(munged / f"{name}.sumstats.gz", sep="\t").dropna()
        data = data[data.SNP.isin(place.index)]
        sign = np.array([1.0 if first_a1.setdefault(s, a) == a else -1.0 for s, a in zip(data.SNP, data.A1, strict=True)])
        prevalence = (SAMPLE[name], POPULATION[name]) if liability else (np.nan, np.nan)
        out.append(LdscTrait(name, place[data.SNP].to_numpy(), data.Z.to_numpy() * sign, data.N.to_numpy(float), *prevalence))
    return out


def read_answer(path: Path) -> np.ndarray:
    return np.loadtxt(path, skiprows=1, ndmin=2)


def assert_equals_reference(cov: CovStruct, prefix: str, parts="SVIN") -> None:
    for part in parts:
        wanted = read_answer(Path(f"{prefix}{part}.tsv"))
        np.testing.assert_allclose(getattr(cov, part).reshape(wanted.shape), wanted, rtol=RTOL, atol=0, err_msg=part)


@pytest.fixture(scope="module")
def panel_small(demo_data):
    return read_panel(demo_data / "ld")


@pytest.mark.parametrize("liability", [True, False])
def test_small_set(panel_small, liability):
    panel, M = panel_small
    traits = read_traits(SMALL / "answers" / "munged", panel, liability=liability)
    cov = ldsc_from_arrays(traits, panel.L2, panel.L2, M)
    assert float((SMALL / "answers" / "ldsc_m.txt").read_text().split()[-1]) == M
    if liability:
        assert_equals_reference(cov, str(SMALL / "answers" / "ldsc_"))
        for part, name in ((cov.S_stand, "S_Stand"), (cov.V_stand, "V_Stand")):
            np.testing.assert_allclose(part, read_answer(SMALL / "answers" / f"ldsc_{name}.tsv"), rtol=RTOL, atol=1e-15)
    else:
        assert_equals_reference(cov, str(SMALL / "answers" / "ldsc_observed_"), "SV")


def test_small_set_log_figures(panel_small):
    """Figures that only the log holds, to its four decimals."""
    panel, M = panel_small
    cov = ldsc_from_arrays(read_traits(SMALL / "answers" / "munged", panel), panel.L2, panel.L2, M)
    log = (SMALL / "answers" / "ldsc_ldsc.log").read_text().splitlines()

    def logged(words: str) -> list[list[float]]:
        lines = [line.split(": ", 1)[1] for line in log if line.startswith(words + ":")]
        return [[float(x) for x in line.replace("(", " ").replace(")", " ").split()] for line in lines]

    figures = pd.DataFrame(cov.diagnostics["traits"])
    half = 0.5000001e-4
    for words, columns in (
        ("Mean Chi^2 across remaining SNPs", ["mean_chisq"]), ("Lambda GC", ["lambda_gc"]),
        ("Intercept", ["intercept", "intercept_se"]),
        ("Ratio", ["ratio", "ratio_se"]), ("Total Observed Scale h2", ["h2_observed", "h2_observed_se"]),
    ):
        np.testing.assert_allclose(figures[columns].to_numpy(float), logged(words), rtol=0, atol=half, err_msg=words)
    pairs = pd.DataFrame(cov.diagnostics["pairs"])
    for words, columns in (
        ("Mean Z*Z", ["mean_zz"]), ("Cross trait Intercept", ["intercept", "intercept_se"]),
        ("Total Observed Scale Genetic Covariance (g_cov)", ["cov_g_observed", "cov_g_observed_se"]),
    ):
        np.testing.assert_allclose(pairs[columns].to_numpy(float), logged(words), rtol=0, atol=half, err_msg=words)
    np.testing.assert_allclose(pairs["p"], [v[0] for v in logged("g_cov P-value")], rtol=1e-4)


@pytest.fixture(scope="module")
def large(shared_golden):
    return shared_golden("golden/gsem"), shared_golden("data/eur_w_ld_chr")


def test_large_set(large):
    folder, ld = large
    panel, M = read_panel(ld)
    traits = read_traits(folder / "answers" / "munged", panel)
    assert_equals_reference(ldsc_from_arrays(traits, panel.L2, panel.L2, M), str(folder / "answers" / "ldsc_"))
    observed = [LdscTrait(t.name, t.ord, t.z, t.n) for t in traits]
    assert_equals_reference(ldsc_from_arrays(observed, panel.L2, panel.L2, M), str(folder / "answers" / "ldsc_observed_"), "SV")
    for name, settings in (("chisqmax30", {"chisq_max": 30.0}), ("nblocks100", {"n_blocks": 100})):
        cov = ldsc_from_arrays(traits[:3], panel.L2, panel.L2, M, **settings)
        assert_equals_reference(cov, str(folder / "answers" / "edge" / f"ldsc3_{name}_"))


@pytest.mark.parametrize(("name", "chromosomes"), [("selectODD", range(1, 23, 2)), ("select_1_2_3", (1, 2, 3))])
def test_large_set_some_chromosomes(large, name, chromosomes):
    folder, ld = large
    panel, M = read_panel(ld, chromosomes)
    cov = ldsc_from_arrays(read_traits(folder / "answers" / "munged", panel, TRAITS[:3]), panel.L2, panel.L2, M)
    assert_equals_reference(cov, str(folder / "answers" / "edge" / f"ldsc3_{name}_"))
    assert float((folder / "answers" / "edge" / f"ldsc3_{name}_m.tsv").read_text().split()[-1]) == M
