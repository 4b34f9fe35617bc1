"""Allele matching: file against reference, on either strand, vectorised over integer codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Codes = NDArray[np.int8]

_LETTERS: Final = pa.array(list("ACGTacgt"), pa.string())
# A, C, G, T = 0, 1, 2, 3, so that the complement of code c is 3 − c; other texts and nulls are −1.


def codes(text: pa.Array) -> Codes:
    """Code of each allele: A, C, G, T (either case) 0–3, anything else −1."""
    found = pc.fill_null(pc.index_in(text, value_set=_LETTERS), -1).to_numpy(zero_copy_only=False)
    return np.array(np.where(found >= 4, found - 4, found), np.int8)


@dataclass(frozen=True)
class Match:
    """How each row's alleles agree with the reference's (all boolean, n).

    Attributes
    ----------
    missing
        A file allele is missing.
    letters
        Both file alleles are single letters A, C, G, T.
    same, swapped
        The file's (a1, a2) are the reference's (a1, a2) or (a2, a1), on either strand.
    flipped
        … on the other strand, and only there. Never set for strand-ambiguous pairs.
    ambiguous
        The reference's alleles are A/T or C/G.
    """

    missing: Bools
    letters: Bools
    same: Bools
    swapped: Bools
    flipped: Bools
    ambiguous: Bools

    @property
    def matched(self) -> Bools:
        """Alleles agree on some strand in some order."""
        return self.same | self.swapped


def match(a1: pa.Array, a2: pa.Array, ref_a1: pa.Array, ref_a2: pa.Array, *, indels: bool = False) -> Match:
    """Compare alleles with the reference's.

    Parameters
    ----------
    a1, a2
        File's effect and other allele (n), any case.
    ref_a1, ref_a2
        Reference's alleles (n).
    indels
        Compare longer alleles too, as text and on the given strand only: which strand an indel is written on cannot be told.
    """
    x1, x2, r1, r2 = codes(a1), codes(a2), codes(ref_a1), codes(ref_a2)
    letters = (x1 >= 0) & (x2 >= 0)
    usable = letters & (r1 >= 0) & (r2 >= 0) & (r1 != r2) & (x1 != x2)
    same, swapped = usable & (x1 == r1) & (x2 == r2), usable & (x1 == r2) & (x2 == r1)
    direct = same | swapped
    other = usable & ~direct
    same_other, swapped_other = other & (3 - x1 == r1) & (3 - x2 == r2), other & (3 - x1 == r2) & (3 - x2 == r1)
    missing = _bools(pc.is_null(a1)) | _bools(pc.is_null(a2))
    if indels:
        words = np.flatnonzero(~letters & ~missing)
        if words.size:
            _match_words(words, (a1, a2, ref_a1, ref_a2), same, swapped)
    return Match(missing, letters, same | same_other, swapped | swapped_other, same_other | swapped_other,
                 (r1 >= 0) & (r1 + r2 == 3))


def _match_words(rows: NDArray[np.int64], alleles: tuple[pa.Array, ...], same: Bools, swapped: Bools) -> None:
    take = pa.array(rows)
    x1, x2, r1, r2 = (pc.ascii_upper(pc.take(a, take)) for a in alleles)
    differ = _bools(pc.not_equal(x1, x2))
    same[rows] = _bools(pc.and_(pc.equal(x1, r1), pc.equal(x2, r2))) & differ
    swapped[rows] = _bools(pc.and_(pc.equal(x1, r2), pc.equal(x2, r1))) & differ


def _bools(values: pa.Array) -> Bools:
    return np.array(pc.fill_null(values, False).to_numpy(zero_copy_only=False), np.bool_)
