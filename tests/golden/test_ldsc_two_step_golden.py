"""ldsc's own estimator against bulik/ldsc 1.0.1: ``--h2`` of six traits and ``--rg`` of their fifteen pairs, to 1e-10.

Source: ``tests/data/mtag/ldsc.json`` (README there). ldsc divides the median chi-square by 0.4549, a rounded constant.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from mtag_golden_data import DATA, TRAITS, six, total_M

from gsem_spark.methods.ldsc.arrays import LdscTrait
from gsem_spark.methods.ldsc.blocks import CHISQ1_MEDIAN
from gsem_spark.methods.ldsc.two_step import correlation, heritability
from gsem_spark.methods.ldsc.two_step_covstruct import pair_data, two_step_from_arrays

RTOL = 1e-10
ANSWERS = json.loads((DATA / "ldsc.json").read_text())


@pytest.fixture(scope="module")
def traits() -> dict[str, LdscTrait]:
    """Shuffled, as ``ord`` alone gives the genome order."""
    table = six()
    table = table[~table["ambiguous"]].sample(frac=1.0, random_state=1)
    out = {}
    for t in TRAITS:
        mine = table[table[f"Z{t}"].notna()]
        out[t] = LdscTrait(t, mine["row"].to_numpy(), mine[f"Z{t}"].to_numpy(), mine[f"N{t}"].to_numpy(float))
    return out


@pytest.fixture(scope="module")
def l2() -> np.ndarray:
    return six()["L2"].to_numpy()


def check(got, wanted):
    pairs = {
        "h2": got.estimate, "h2_se": got.se, "intercept": got.intercept, "intercept_se": got.intercept_se, "ratio": got.ratio,
        "ratio_se": got.ratio_se, "mean_chi2": got.mean_y, "lambda_gc": got.lambda_gc * CHISQ1_MEDIAN / 0.4549,
    }
    for name, value in pairs.items():
        np.testing.assert_allclose(value, wanted[name], rtol=RTOL, err_msg=name)


@pytest.mark.parametrize("trait", TRAITS)
def test_heritability(traits, l2, trait):
    d = pair_data(traits[trait], traits[trait], l2, l2)
    check(heritability(d.z1, d.n1, d.l2, d.wld, total_M()), ANSWERS["h2"][trait])


@pytest.mark.parametrize("pair", sorted(ANSWERS["rg"]))
def test_correlation(traits, l2, pair):
    first, second = pair.split("__")
    wanted = ANSWERS["rg"][pair]
    got = correlation(pair_data(traits[first], traits[second], l2, l2), total_M())
    check(got.h2_1, wanted["h2_1"])
    check(got.h2_2, wanted["h2_2"])
    cross = got.covariance
    for value, name in (
        (got.rg, "rg"), (got.se, "rg_se"), (got.z, "z"), (got.p, "p"), (cross.estimate, "gencov"), (cross.se, "gencov_se"),
        (cross.intercept_se, "gencov_intercept_se"), (cross.mean_y, "mean_z1z2"),
    ):
        np.testing.assert_allclose(value, wanted[name], rtol=1e-8 if name == "p" else RTOL, err_msg=name)
    np.testing.assert_allclose(cross.intercept, wanted["gencov_intercept"], rtol=0, atol=1e-12)


def test_covariance_structure(traits, l2):
    """S, I of all six at once; V's diagonal are the squared standard errors."""
    cov = two_step_from_arrays([traits[t] for t in TRAITS[:3]], l2, l2, total_M())
    np.testing.assert_allclose(np.diag(cov.S), [ANSWERS["h2"][t]["h2"] for t in TRAITS[:3]], rtol=RTOL)
    np.testing.assert_allclose(cov.S[1, 0], ANSWERS["rg"]["AAA__BBB"]["gencov"], rtol=RTOL)
    np.testing.assert_allclose(cov.I[2, 1], ANSWERS["rg"]["BBB__CCC"]["gencov_intercept"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(cov.V[0, 0]), ANSWERS["h2"]["AAA"]["h2_se"], rtol=RTOL)
    np.testing.assert_allclose(np.sqrt(cov.V[1, 1]), ANSWERS["rg"]["AAA__BBB"]["gencov_se"], rtol=RTOL)
    np.testing.assert_allclose(cov.diagnostics["pairs"][0]["rg_se"], ANSWERS["rg"]["AAA__BBB"]["rg_se"], rtol=RTOL)
    np.testing.assert_allclose(cov.N[1], np.sqrt(90_000 * 60_000))
