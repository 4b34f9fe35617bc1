"""The arithmetic of MTAG: effects and standard errors of blocks of SNPs, vectorised over the SNPs of a block.

With b = z / sqrt(N) the standardised GWAS effects and Sigma_N their error covariance, Sigma_pq / sqrt(N_p N_q), the published
estimator of trait t is a'A^-1 b / a'A^-1 a with a = omega_t / omega_tt and A = Omega - omega_t omega_t' / omega_tt + Sigma_N. All
traits share B = Omega + Sigma_N, and A is B less a matrix of rank one, so that by the Sherman-Morrison formula
A^-1 omega_t is a multiple of B^-1 omega_t. Hence with q_t = omega_t' B^-1 omega_t

    beta_t = omega_tt / q_t * omega_t' B^-1 b,    se_t^2 = omega_tt (omega_tt - q_t) / q_t,

one Cholesky factor a SNP for all traits instead of one inverse a trait. On the scale of Z-scores B becomes
C = D Omega D + Sigma, the covariance of z, with D = diag(sqrt(N)); that is what is factored.

Source: Turley et al. 2018, Nat Genet 50:229, Online Methods, eq. 1; the rearrangement is this package's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BLOCK_ELEMENTS: Final = 1 << 17
"""Elements of the (k, k, block) work arrays: about 1 MB each, to stay in the processor's cache."""
_MIN_BLOCK: Final = 256
"""SNPs below which a block's vector operations cost more to start than to do."""


def effects(z: Floats, n: Floats, omega: Floats, sigma: Floats, *, rank_one: bool) -> tuple[Floats, Floats]:
    """Standardised effects and their standard errors; the same bits however SNPs are put into calls.

    Parameters
    ----------
    z, n
        (m, k) Z-scores and sample sizes; a row with NaN gives NaN.
    omega, sigma
        (k, k) positive semidefinite and positive definite.
    rank_one
        Whether all genetic correlations are 1: only Omega's diagonal then counts.

    Returns
    -------
    beta, se
        (m, k) each.
    """
    m, k = z.shape
    size = max(_BLOCK_ELEMENTS // (k * k), _MIN_BLOCK) // 16 * 16
    beta, se = np.empty((m, k)), np.empty((m, k))
    block_z, block_n = np.zeros((k, size)), np.ones((k, size))
    errors = np.asarray(np.linalg.cholesky(sigma), dtype=np.float64) if rank_one else sigma
    solve = _rank_one_block if rank_one else _block
    for low in range(0, m, size):
        rows = slice(low, min(low + size, m))
        used = rows.stop - low
        # The last block is filled up with dummies: every SNP then goes through the same vector instructions.
        block_z[:, :used], block_n[:, :used] = z[rows].T, n[rows].T
        with np.errstate(invalid="ignore", divide="ignore"):
            block_beta, variance = solve(block_z, block_n, omega, errors)
            beta[rows], se[rows] = block_beta[:, :used].T, np.sqrt(variance[:, :used]).T
    return beta, se


def _block(z: Floats, n: Floats, omega: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Effects and variances of a block, (k, b) each, by one Cholesky factor of C = D Omega D + Sigma a SNP."""
    k, b = z.shape
    root = np.sqrt(n)
    factor, cross, score = np.zeros((k, k, b)), np.empty((k, k, b)), np.empty((k, b))
    for j in range(k):
        column = root[j] * root[j:] * omega[j:, j, None] + sigma[j:, j, None]
        row = root[j] * omega[j, :, None]
        residual = z[j].copy()
        if j:
            done = factor[j, :j]
            column -= np.einsum("aib,ib->ab", factor[j:, :j], done)
            row -= np.einsum("ib,iab->ab", done, cross[:j])
            residual -= np.einsum("ib,ib->b", done, score[:j])
        pivot = np.sqrt(column[0])
        factor[j:, j], cross[j], score[j] = column / pivot, row / pivot, residual / pivot
    q, along = np.einsum("jtb,jtb->tb", cross, cross), np.einsum("jtb,jb->tb", cross, score)
    variance = np.diag(omega)[:, None]
    return variance * along / q, variance * (variance - q) / q


def _rank_one_block(z: Floats, n: Floats, omega: Floats, sigma_root: Floats) -> tuple[Floats, Floats]:
    """Effects and variances of a block where Omega = a a': a generalised least squares mean, whatever the size of a.

    One common effect f with b = a f + error has the estimate a' Sigma_N^-1 b / a' Sigma_N^-1 a, and trait t's is a_t f.
    """
    k, b = z.shape
    a = np.sqrt(np.diag(omega))
    a = a / a.max()
    signal = np.sqrt(n) * a[:, None]
    whitened, score = np.empty((k, b)), np.empty((k, b))
    information, along = np.zeros(b), np.zeros(b)
    for j in range(k):
        row, residual = signal[j].copy(), z[j].copy()
        for i in range(j):
            row -= sigma_root[j, i] * whitened[i]
            residual -= sigma_root[j, i] * score[i]
        whitened[j], score[j] = row / sigma_root[j, j], residual / sigma_root[j, j]
        information += whitened[j] * whitened[j]
        along += whitened[j] * score[j]
    return a[:, None] * (along / information), a[:, None] ** 2 / information

