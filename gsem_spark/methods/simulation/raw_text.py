"""Rows to text: one Arrow string table a file, made column by column without a Python loop over rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.methods import pvalues
from gsem_spark.methods.simulation.dirt import P_ABOVE_ONE, P_NA, P_VALID, RawRows
from gsem_spark.methods.simulation.ld_panel import BASES, Panel
from gsem_spark.methods.simulation.raw_formats import RawFormat, Role, effect_and_se

Floats = NDArray[np.float64]

DIGITS = 6
"""Significant digits of effects, standard errors and P, as most programs print."""
_POWERS = np.array([float(f"1e{i}") for i in range(23)])
"""Powers of ten that float64 holds exactly; scaling by them rounds decimals correctly."""
_SMALL_NEGLOG10P = 15.0
"""Above this, P is written from its logarithm: mantissa and exponent, exact far below the smallest float64."""


def raw_table(
    panel: Panel, rows: RawRows, kind: RawFormat, *, case_share: float = np.nan, snp: pa.Array | None = None
) -> pa.Table:
    """Format the rows of one file; column names and order are the format's, all columns are strings or whole numbers.

    Parameters
    ----------
    panel
        The SNPs that ``rows.row`` points into.
    rows
        The file's rows.
    kind
        Raw format.
    case_share
        Share of cases, for case-control formats.
    snp
        ``panel.snp`` as an Arrow string array, when the caller has it already.
    """
    names = pa.array(panel.snp, pa.string()) if snp is None else snp
    effect, se = effect_and_se(kind, rows.z, rows.freq, rows.n, case_share)
    bases = pa.array(list(BASES))
    take = pa.array(rows.row)
    make = {
        "snp": lambda: _named(names.take(take), rows.nameless),
        "chr": lambda: pa.array(panel.chr[rows.row]),
        "bp": lambda: pa.array(panel.bp[rows.row]),
        "a1": lambda: bases.take(pa.array(rows.a1)),
        "a2": lambda: bases.take(pa.array(rows.a2)),
        "freq": lambda: pa.array(rows.freq),
        "info": lambda: pa.array(rows.info),
        "effect": lambda: pa.array(significant(effect)),
        "se": lambda: pa.array(significant(se)),
        "p": lambda: p_text(rows.z, rows.p_state),
        "n": lambda: pa.array(rows.n.astype(np.int64)),
    }
    roles: tuple[Role, ...] = tuple(role for _, role in kind.columns)
    return pa.table([make[role]() for role in roles], names=list(kind.header))


def significant(x: Floats, digits: int = DIGITS) -> Floats:
    """Round to significant digits, to the very float64 that those digits read back as, so that they are what gets printed.

    Exact for magnitudes of 1e-17 to 1e22; smaller ones keep fewer digits.
    """
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log10(np.abs(x)))
    exponent = np.where(np.isfinite(exponent), exponent, 0.0).astype(np.int64)
    shift = digits - 1 - exponent
    up = _POWERS[np.clip(shift, 0, 22)]
    down = _POWERS[np.clip(-shift, 0, 22)]
    return np.asarray(np.rint(x * up / down) * down / up)


def p_text(z: Floats, p_state: NDArray[np.uint8]) -> pa.Array:
    """Two-sided P of Z as text; ``NA`` and ``1.7`` where the state says so. P = 1e-400 is written as it is, not as 0."""
    p, neglog10p = pvalues.from_z(z)
    text = pc.cast(pa.array(significant(np.where(neglog10p < _SMALL_NEGLOG10P, p, 1.0))), pa.string())
    small = np.flatnonzero((neglog10p >= _SMALL_NEGLOG10P) & (p_state == P_VALID))
    text = _put(text, small, [_small_p(v) for v in neglog10p[small].tolist()])
    text = _put(text, np.flatnonzero(p_state == P_NA), ["NA"])
    return _put(text, np.flatnonzero(p_state == P_ABOVE_ONE), ["1.7"])


def _small_p(neglog10p: float) -> str:
    exponent = int(np.ceil(neglog10p))
    mantissa = f"{10.0 ** (exponent - neglog10p):.{DIGITS}g}"
    return f"1e-{exponent - 1:02d}" if mantissa == "10" else f"{mantissa}e-{exponent:02d}"


def _named(names: pa.Array, nameless: NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(nameless), ".", names)


def _put(text: pa.Array, at: NDArray[np.int64], values: list[str]) -> pa.Array:
    """Replace the rows ``at`` (ascending) by as many values, or by the one value given."""
    if len(at) == 0:
        return text
    mask = np.zeros(len(text), bool)
    mask[at] = True
    new = pa.array(values if len(values) == len(at) else values * len(at), pa.string())
    return pc.replace_with_mask(text, pa.array(mask), new)


def reference_table(panel: Panel, snp: pa.Array | None = None) -> pa.Table:
    """Format the variant reference: SNP CHR BP MAF A1 A2."""
    bases = pa.array(list(BASES))
    return pa.table({
        "SNP": pa.array(panel.snp, pa.string()) if snp is None else snp, "CHR": pa.array(panel.chr), "BP": pa.array(panel.bp),
        "MAF": pa.array(panel.maf), "A1": bases.take(pa.array(panel.a1)), "A2": bases.take(pa.array(panel.a2)),
    })  # fmt: skip


def ld_score_table(panel: Panel, rows: slice) -> pa.Table:
    """One chromosome's LD scores in the columns of the ldsc programs: CHR SNP BP CM MAF L2."""
    return pa.table({
        "CHR": pa.array(panel.chr[rows]), "SNP": pa.array(panel.snp[rows], pa.string()), "BP": pa.array(panel.bp[rows]),
        "CM": pa.array(panel.cm[rows]), "MAF": pa.array(panel.maf[rows]), "L2": pa.array(panel.l2[rows]),
    })  # fmt: skip
