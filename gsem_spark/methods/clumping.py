"""Loci by distance, one rule for every scan: the strongest SNP leads, and takes all that is near and not yet taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


def leads_by_distance(chromosome: ArrayLike, bp: ArrayLike, ranked: ArrayLike, window_bp: int) -> Ints:
    """Find the lead of every SNP's locus.

    Parameters
    ----------
    chromosome, bp
        (m,) chromosome codes and positions. A SNP without a position (NaN) is a locus of its own.
    ranked
        (m,) places of the SNPs, the strongest first; ties must be broken in it by something that belongs to the SNPs.
    window_bp
        Distance in bp; a SNP exactly that far belongs to the locus.

    Returns
    -------
    Ints
        (m,) place of the lead of each SNP's locus; a lead's own place at itself.
    """
    codes, position = np.asarray(chromosome, dtype=np.int64), np.asarray(bp, dtype=np.float64)
    order = np.asarray(ranked, dtype=np.int64)
    lead = np.full(codes.size, -1, dtype=np.int64)
    for code in np.unique(codes):
        mine = order[codes[order] == code]
        at, owner = position[mine], np.full(mine.size, -1, dtype=np.int64)
        for rank in range(mine.size):
            if owner[rank] < 0:
                owner[(owner < 0) & (np.abs(at - at[rank]) <= window_bp)] = rank
                owner[rank] = rank
        lead[mine] = mine[owner]
    return lead
