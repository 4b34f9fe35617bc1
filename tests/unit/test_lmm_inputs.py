"""Bad input of mixed models: each is refused with its numbers and names, and a bad variant is a row."""

import numpy as np
import pytest

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import eigen_rotation, fit_lmm, kinship, log_likelihood, ml_solution, prepare_scan, scan, scan_block
from gsem_spark.methods.lmm.genotypes import filter_variants, standardise, summarise
from gsem_spark.methods.lmm.kinship import low_rank_background


@pytest.fixture
def data():
    rng = np.random.default_rng(7)
    G = rng.integers(0, 3, (60, 300)).astype(np.int8)
    K = kinship(G.T[:, :60], "standardised")
    y = rng.normal(size=60)
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    return G[:, :40], K, y, X


def refuses(words, call, error=DataError):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_kinship(data):
    _, K, y, X = data
    refuses(["square", "(60, 59)"], lambda: fit_lmm(K[:, :59], y, X))
    lopsided = K.copy()
    lopsided[3, 5] += 0.1
    refuses(["not symmetric", "K[3, 5]", "K[5, 3]"], lambda: fit_lmm(lopsided, y, X))
    negative = K - 0.5 * np.eye(60)
    refuses(["positive semidefinite", "of 60 negative"], lambda: fit_lmm(negative, y, X))
    refuses(["kinship has 59 samples", "phenotype 60"], lambda: fit_lmm(K[:59, :59], y, X))
    holed = K.copy()
    holed[2, 2] = np.nan
    refuses(["1 values are missing", "rows 2"], lambda: fit_lmm(holed, y, X))
    refuses(["no positive eigenvalue"], lambda: fit_lmm(np.zeros((60, 60)), y, X))


def test_phenotype_and_covariates(data):
    _, K, y, X = data
    refuses(["phenotype is constant", "60 samples"], lambda: fit_lmm(K, np.full(60, 3.0), X))
    holed = y.copy()
    holed[[4, 9]] = np.nan
    refuses(["2 values are missing", "rows 4, 9"], lambda: fit_lmm(K, holed, X))
    refuses(["X has 59 rows", "60"], lambda: fit_lmm(K, y, X[:59]))
    for value in (2.0, 0.0):
        flat = np.column_stack([X, np.full(60, value)])
        refuses(["constant covariate: batch"], lambda flat=flat: fit_lmm(K, y, flat, names=["one", "age", "batch"]))
    doubled = np.column_stack([X, 2 * X[:, 1] - 1])
    refuses(["collinear covariates: months"], lambda: fit_lmm(K, y, doubled, names=["one", "age", "months"]))
    wide = np.random.default_rng(0).normal(size=(60, 59))
    refuses(["60 samples are too few for 59 covariates"], lambda: fit_lmm(K, y, wide))
    refuses(["one column", "(60, 2)"], lambda: fit_lmm(K, X, X))
    refuses(["3 names for 2 covariates"], lambda: fit_lmm(K, y, X, names=["a", "b", "c"]))


def test_heritability_outside_of_its_range(data):
    _, K, y, X = data
    rotated = eigen_rotation(K, y, X)
    refuses(["[0, 1]", "1.5"], lambda: log_likelihood(rotated, [0.2, 1.5]))
    centred = eigen_rotation(np.outer(y, y), y, X)
    refuses(["hsq = 1", "eigenvalues of 0"], lambda: ml_solution(centred, 1.0))


def test_scan_settings(data):
    G, K, y, X = data
    refuses(["unknown test 'waldo'", "wald_f"], lambda: scan(G, y, X, K, test="waldo"), ConfigError)
    refuses(["both a kinship K and a background W"], lambda: scan(G, y, X, K, W=X), ConfigError)
    refuses(["step is 0"], lambda: scan(G, y, X, K, step=0), ConfigError)
    refuses(["single variants"], lambda: scan(G, y, X, K, step=2, exact=True), ConfigError)
    refuses(["no inter"], lambda: scan(G, y, X, K, inter0=np.ones(60)), ConfigError)
    refuses(["combinations"], lambda: scan(G, y, X, K, inter=np.ones(60), inter0=np.ones(60)))
    refuses(["60 complete rows", "(59, 1)"], lambda: scan(G, y, X, K, inter=np.arange(59.0)))
    refuses(["set 0", "0 to 39"], lambda: scan(G, y, X, K, sets=[[0, 99]]))
    refuses(["degrees of freedom"], lambda: scan(np.tile(G, 2), y, X, K, step=60))
    refuses(["genotypes of 59 samples", "60"], lambda: scan_block(prepare_scan(y, X, K), G[:59].T))
    refuses(["(59, 40)", "60 phenotypes"], lambda: scan(G[:59], y, X, K))
    refuses(["background has 59"], lambda: scan(G, y, X, W=X[:59]))
    refuses(["not all 0"], lambda: scan(G, y, X, W=np.zeros((60, 2))))
    refuses(["genotypes are numbers"], lambda: scan(G.astype(str), y, X))


@pytest.mark.parametrize("options", [
    {}, {"K": True}, {"K": True, "exact": True, "test": ["wald_f", "lrt_ml", "score"]}, {"step": 2},
])
def test_bad_variants_are_rows(data, options):
    G, K, y, X = data
    options = options | ({"K": K} if options.get("K") else {})
    G = G.astype(float)
    clean = scan(G, y, X, **options)
    G[:, 4] = np.nan
    G[:, 9] = 1.0
    G[:, 12] = X[:, 1] * 0.1 + 1.0
    frame = scan(G, y, X, **options)
    bad = frame["variant"].isin([4, 9, 12]) if "step" not in options else frame["variant"].isin([4, 8, 12])
    assert set(frame.loc[frame["variant"] == 4, "status"]) == {"missing"}
    assert set(frame.loc[bad & (frame["variant"] != 4), "status"]) == {"singular"}
    assert frame.loc[bad, ["stat", "p", "neglog10p"]].isna().all().all()
    assert frame.loc[bad, "message"].notna().all()
    assert (frame.loc[~bad, "status"] == "ok").all()
    columns = ["stat", "p", "status"]
    assert frame.loc[~bad, columns].equals(clean.loc[~bad, columns])


def test_genotype_checks():
    refuses(["outside of 0 to 2", "variant 1", "5"], lambda: summarise(np.array([[0, 1, 2], [0, 5, 1]])))
    refuses(["numeric matrix"], lambda: summarise(np.array([["a"]])))
    refuses(["is a matrix", "(3,)"], lambda: kinship(np.array([0, 1, 2])))
    refuses(["maf is 0.7", "0.5"], lambda: filter_variants(summarise(np.array([[0, 1, 2]])), maf=0.7), ConfigError)
    refuses(["unknown scale"], lambda: standardise(np.array([[0, 1, 2]]), "z"), ConfigError)
    refuses(["unknown kinship"], lambda: kinship(np.array([[0, 1, 2]]), "ibs"), ConfigError)
    refuses(["no variants that vary"], lambda: kinship(np.ones((3, 5))))
    refuses(["no genotypes"], lambda: kinship([]))
    refuses(["rank 9"], lambda: low_rank_background(np.array([[0, 1, 2], [1, 0, 2]]), 9, 0))
