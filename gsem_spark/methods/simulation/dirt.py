"""The rows of one raw file: which allele is the effect allele, and what goes wrong in files that people publish."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError
from gsem_spark.methods.simulation.ld_panel import MAF_DIGITS, Panel
from gsem_spark.methods.simulation.streams import stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]

P_VALID, P_NA, P_ABOVE_ONE = 0, 1, 2
INFO_DIGITS = 4
LOW_INFO = (0.3, 0.9)
GOOD_INFO = (0.9, 1.0)


@dataclass(frozen=True)
class DirtRates:
    """Share of the rows (0 to 1) that each fault befalls; faults are drawn independently.

    Parameters
    ----------
    swapped
        The effect allele is the panel's second allele; not a fault, every file has it.
    missing
        SNPs that the file lacks.
    strand_flips
        Alleles given on the other strand (never of ambiguous SNPs, where a flip cannot be seen and would change the truth).
    mismatches
        Alleles that do not fit the reference on either strand, or twice the same allele.
    duplicates
        Rows that stand a second time, at the end of the file.
    nameless
        ``.`` where the rsID should be.
    p_missing, p_above_one
        ``NA`` and ``1.7`` in the P column.
    low_info
        INFO below 0.9 (in the other rows it is 0.9 to 1).
    """

    swapped: float = 0.3
    missing: float = 0.0
    strand_flips: float = 0.0
    mismatches: float = 0.0
    duplicates: float = 0.0
    nameless: float = 0.0
    p_missing: float = 0.0
    p_above_one: float = 0.0
    low_info: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"{field.name} is a share of rows and must lie in [0, 1], got {value:g}", where="simulate/dirt")


CLEAN = DirtRates()
DIRTY = DirtRates(
    missing=0.02, strand_flips=0.05, mismatches=0.003, duplicates=0.003, nameless=0.001, p_missing=0.001, p_above_one=0.0005,
    low_info=0.03,
)  # fmt: skip


@dataclass(frozen=True)
class RawRows:
    """The rows of one file, before they become text; all shape (r,).

    Parameters
    ----------
    row
        Row in the panel.
    a1, a2
        Effect allele and other allele, codes into ``BASES``.
    freq
        Frequency of the effect allele.
    z
        Z-score of the effect allele.
    n
        Samples.
    info
        Imputation quality.
    nameless
        True where the rsID is ``.``.
    p_state
        :data:`P_VALID`, :data:`P_NA` or :data:`P_ABOVE_ONE`.
    """

    row: Ints
    a1: Codes
    a2: Codes
    freq: Floats
    z: Floats
    n: Floats
    info: Floats
    nameless: NDArray[np.bool_]
    p_state: Codes

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.row)

    def take(self, index: NDArray[Any] | slice) -> RawRows:
        """Return the rows that an index, mask or slice selects."""
        return RawRows(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def raw_rows(panel: Panel, z: Floats, n: Floats, *, rates: DirtRates, seed: int, trait: int) -> tuple[RawRows, dict[str, int]]:
    """Make one trait's file rows out of its Z-scores.

    Parameters
    ----------
    panel
        The SNPs.
    z, n
        Z-score of the panel's a1 and samples, shape (M,).
    rates
        How often each fault happens.
    seed, trait
        Seed and number of the trait: each trait and each kind of fault has its own stream.

    Returns
    -------
    rows, counts
        The rows in genome order (copies at the end), and how often each fault was made.
    """

    def hit(name: str) -> NDArray[np.bool_]:
        return np.asarray(stream(seed, f"dirt/{name}", trait).random(panel.size) < getattr(rates, name))

    p_state = np.where(hit("p_missing"), P_NA, np.where(hit("p_above_one"), P_ABOVE_ONE, P_VALID)).astype(np.uint8)
    rows = RawRows(
        row=np.arange(panel.size), a1=panel.a1, a2=panel.a2, freq=panel.a1_freq, z=z, n=n,
        info=_info(panel, hit("low_info"), seed, trait), nameless=hit("nameless"), p_state=p_state,
    )  # fmt: skip
    swapped, mismatched = hit("swapped"), hit("mismatches")
    flipped = hit("strand_flips") & ~panel.ambiguous & ~mismatched
    rows = _flip(_mismatch(_swap(rows, swapped), mismatched), flipped)
    present = ~hit("missing")
    copied = hit("duplicates") & present
    order = np.concatenate([np.flatnonzero(present), np.flatnonzero(copied)])
    rows = rows.take(order)
    counts = {
        "rows": rows.size, "missing": int((~present).sum()), "swapped": int(swapped[order].sum()),
        "strand_flips": int(flipped[order].sum()), "mismatches": int(mismatched[order].sum()), "duplicates": int(copied.sum()),
        "nameless": int(rows.nameless.sum()), "p_missing": int((rows.p_state == P_NA).sum()),
        "p_above_one": int((rows.p_state == P_ABOVE_ONE).sum()), "low_info": int((rows.info < GOOD_INFO[0]).sum()),
        "ambiguous": int(panel.ambiguous[order].sum()),
    }  # fmt: skip
    return rows, counts


def _info(panel: Panel, low: NDArray[np.bool_], seed: int, trait: int) -> Floats:
    u = stream(seed, "info", trait).random(panel.size)
    good = GOOD_INFO[0] + (GOOD_INFO[1] - GOOD_INFO[0]) * u
    # Rounded down: a low INFO must not become 0.9, which filters keep.
    poor = np.floor((LOW_INFO[0] + (LOW_INFO[1] - LOW_INFO[0]) * u) * 10**INFO_DIGITS) / 10**INFO_DIGITS
    return np.where(low, poor, np.round(good, INFO_DIGITS))


def _swap(rows: RawRows, at: NDArray[np.bool_]) -> RawRows:
    return replace(
        rows, a1=np.where(at, rows.a2, rows.a1), a2=np.where(at, rows.a1, rows.a2), z=np.where(at, -rows.z, rows.z),
        freq=np.round(np.where(at, 1.0 - rows.freq, rows.freq), MAF_DIGITS).astype(np.float64),
    )  # fmt: skip


def _mismatch(rows: RawRows, at: NDArray[np.bool_]) -> RawRows:
    """Give a2 the complement of a1, or another base for ambiguous pairs; every other time simply a1 once more."""
    ambiguous = rows.a1 + rows.a2 == 3
    foreign = np.where(ambiguous, (rows.a1 + 1) % 4, 3 - rows.a1)
    foreign = np.where(ambiguous & (foreign == rows.a2), (rows.a1 + 2) % 4, foreign)
    wrong = np.where(rows.row % 2 == 0, rows.a1, foreign).astype(np.uint8)
    return replace(rows, a2=np.where(at, wrong, rows.a2))


def _flip(rows: RawRows, at: NDArray[np.bool_]) -> RawRows:
    return replace(
        rows, a1=np.where(at, 3 - rows.a1, rows.a1).astype(np.uint8), a2=np.where(at, 3 - rows.a2, rows.a2).astype(np.uint8)
    )
