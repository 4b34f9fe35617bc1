"""Refits by series of sums against refits that pass over the samples."""

import numpy as np
import pytest

from gsem_spark.methods.lmm import Spectrum, kinship_spectrum, prepare_scan, scan_block
from gsem_spark.methods.lmm.exact import fit_tile, rotated_tile
from gsem_spark.methods.lmm.exact_kernel import OK, PENDING, fit_rows
from gsem_spark.methods.lmm.exact_series import HALF_WIDTH
from gsem_spark.methods.lmm.hard_calls import rotated_tiles


def cohort(seed: int = 4, n: int = 260, S: int = 90) -> tuple[np.ndarray, Spectrum, np.ndarray, np.ndarray]:
    """Genotypes, kinship, design of three columns, and a phenotype on which variant 7 has a large effect."""
    rng = np.random.default_rng(seed)
    G = rng.binomial(2, rng.uniform(0.05, 0.95, S)[:, None], (S, n)).astype(np.int8)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    W = rng.normal(size=(n, 60)) / np.sqrt(60)
    y = 1.2 * (W @ rng.normal(size=60)) + rng.normal(size=n) + 2.5 * G[7] + X @ [1.0, 0.5, 0.0]
    return G, kinship_spectrum(W @ W.T), X, y


@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize("reml", [True, False])
def test_series_give_what_passes_over_the_samples_give(low_rank: bool, reml: bool) -> None:
    G, spectrum, X, y = cohort()
    if low_rank:
        spectrum = Spectrum(spectrum.eigenvalues[-60:], np.ascontiguousarray(spectrum.vectors[:, -60:]))
    null = prepare_scan(y, X, K=spectrum, test=["wald_f", "lrt_ml"], exact=True).exact
    assert null is not None
    tile = rotated_tile(null, *next(rotated_tiles(G, null.basis, True)))
    by_series = fit_tile(null, tile, len(G), reml)
    out, codes = np.zeros((len(G), 4)), np.full(len(G), PENDING)
    start = null.start_reml if reml else null.start_ml
    logdet = null.logdet_xx + np.log(np.maximum(tile.alone, 1e-300)) if reml else np.full(len(tile.rest), null.logdet_xx)
    best = np.full(len(G), int(np.argmin(np.abs(null.grid.at - start))))
    fit_rows(tile.rows, tile.rest, best, start, null.grid.at, null.eigenvalues, null.y, null.W, null.n, logdet, reml, out, codes)
    assert (codes == OK).all() and (by_series.codes == OK).all()
    np.testing.assert_allclose(by_series.log_ratio, out[:, 0], atol=1e-8)
    np.testing.assert_allclose(by_series.beta, out[:, 1], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(by_series.se, out[:, 2], rtol=1e-9)
    np.testing.assert_allclose(by_series.loglik, out[:, 3], rtol=1e-12)


def test_a_variant_that_moves_the_ratio_far_leaves_the_series_and_is_fitted_all_the_same() -> None:
    G, spectrum, X, y = cohort()
    frame = scan_block(prepare_scan(y, X, K=spectrum, exact=True), G)
    null = prepare_scan(y, X, K=spectrum, exact=True).exact
    assert null is not None
    at = np.log(frame["hsq"] / (1 - frame["hsq"]))
    moved = (at - null.start_reml).abs()
    assert moved[7] > HALF_WIDTH and (moved.drop(7) < HALF_WIDTH).mean() > 0.9
    assert frame["neglog10p"].idxmax() == 7 and (frame["status"] == "ok").all()
