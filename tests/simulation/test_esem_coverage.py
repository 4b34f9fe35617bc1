"""Slow: 95 % intervals of rotated loadings and factor correlations cover the truth; chi-square has its mean.

S* ~ N(S, V) with correlated errors; each draw is extracted, standardised and rotated anew, and its factors are matched to
those of the truth, which is the rotated solution of S itself. Errors of S of about .01 keep to the range where first-order
errors hold for every loading; with errors of .03 their mean coverage is still .944 to .951, that of single loadings .91 to .98,
and of some loadings near 0 under geomin with epsilon .001, whose bend at 0 is sharper than their errors, .86 to .99.
"""

import numpy as np
import pytest

from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech, vech_indices
from gsem_spark.methods.sem.esem import esem
from gsem_spark.methods.sem.rotation import congruence_coefficients

pytestmark = pytest.mark.slow

DRAWS = 1000
PATTERN = np.array([
    [0.80, 0.00, 0.05], [0.70, 0.10, 0.00], [0.65, 0.00, 0.00], [0.60, 0.25, 0.00], [0.00, 0.75, 0.10],
    [0.05, 0.70, 0.00], [0.00, 0.65, -0.05], [0.00, 0.05, 0.80], [0.20, 0.00, 0.65], [0.00, 0.00, 0.60],
])  # fmt: skip
PHI = np.array([[1.0, 0.4, 0.2], [0.4, 1.0, 0.3], [0.2, 0.3, 1.0]])


def truth():
    S = PATTERN @ PHI @ PATTERN.T
    np.fill_diagonal(S, 1.0)
    sd = np.linspace(0.25, 0.6, len(S))
    S = S * np.outer(sd, sd)
    rows, columns = vech_indices(len(S))
    rng = np.random.default_rng(1)
    correlation = np.corrcoef(rng.normal(size=(rows.size, 4 * rows.size)))
    se = 0.01 * np.sqrt(S[rows, rows] * S[columns, columns]) * rng.uniform(0.7, 1.3, rows.size)
    return CovStruct.from_matrices(S, correlation * np.outer(se, se), np.eye(len(S)), [f"t{i}" for i in range(len(S))])


def flat(result, order, signs):
    pairs = np.tril_indices(len(order), -1)
    loadings = result.loadings.to_numpy()[:, order] * signs
    correlations = result.correlations.to_numpy()[np.ix_(order, order)] * np.outer(signs, signs)
    errors = result.loadings_se.to_numpy()[:, order], result.correlations_se.to_numpy()[np.ix_(order, order)]
    return np.r_[loadings.ravel(), correlations[pairs]], np.r_[errors[0].ravel(), errors[1][pairs]]


@pytest.mark.parametrize(
    ("rotation", "estimation", "epsilon"),
    [("quartimin", "DWLS", 0.001), ("geomin", "DWLS", 0.01), ("varimax", "ML", 0.001), ("quartimin", "WLS", 0.001),
     ("geomin", "DWLS", 0.001)],
)  # fmt: skip
def test_intervals_cover(rotation, estimation, epsilon):
    cov = truth()
    base = esem(cov, 3, rotation, estimation, epsilon=epsilon)
    expected, _ = flat(base, np.arange(3), np.ones(3))
    root = np.linalg.cholesky(cov.V)
    rng = np.random.default_rng(7)
    estimates, errors, chisq = [], [], []
    for _ in range(DRAWS):
        drawn = CovStruct.from_matrices(unvech(vech(cov.S) + root @ rng.standard_normal(len(root))), cov.V, cov.I, cov.traits)
        result = esem(drawn, 3, rotation, estimation, starts=3, epsilon=epsilon)
        congruence = congruence_coefficients(base.loadings, result.loadings)
        order = np.abs(congruence).argmax(axis=1)
        assert sorted(order) == [0, 1, 2]
        value, error = flat(result, order, np.sign(congruence[[0, 1, 2], order]))
        estimates.append(value)
        errors.append(error)
        chisq.append(result.indices["chisq"])
    estimates, errors = np.array(estimates), np.array(errors)
    moving = errors.mean(axis=0) > 0  # not the correlations of an orthogonal rotation
    covered = (np.abs(estimates - expected) < 1.959964 * errors).mean(axis=0)[moving]
    ratio = (errors.mean(axis=0) / np.where(moving, estimates.std(axis=0), 1.0))[moving]
    print(f"\n{rotation} ({epsilon:g}) {estimation}: coverage {covered.mean():.3f} ({covered.min():.3f} to {covered.max():.3f}), "
          f"SE / SD {ratio.mean():.3f} ({ratio.min():.3f} to {ratio.max():.3f}), "
          f"chi-square {np.mean(chisq):.2f} of df {base.indices['df']:.0f}")  # fmt: skip
    assert 0.94 < covered.mean() < 0.96
    if (rotation, epsilon) != ("geomin", 0.001):
        assert covered.min() > 0.92  # four Monte Carlo errors below .95
        assert covered.max() < 0.98
    # V^-1 weighs the residuals of all estimations, and only WLS makes that smallest: its mean is df, the others' is larger
    assert np.mean(chisq) > base.indices["df"] - 4 * np.sqrt(2 * base.indices["df"] / DRAWS)
    if estimation == "WLS":
        assert np.mean(chisq) == pytest.approx(base.indices["df"], abs=4 * np.sqrt(2 * base.indices["df"] / DRAWS))
