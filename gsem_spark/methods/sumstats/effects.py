"""Is an effect column an odds ratio or a signed effect? Decided once per file, and verified over all of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats.spec import Counters, EffectKind, HarmoniseSpec
from gsem_spark.methods.sumstats.text import MISSING, to_float

OR_LOW: Final = 0.5
OR_HIGH: Final = 1.5
"""An odds-ratio column has its median strictly between these: it rounds to 1 (GenomicSEM's test)."""
NEGATIVE_SHARE: Final = 0.05
"""More negative values than this are no slips in a column of odds ratios."""


def effect_kind(sample: Iterable[str | None], *, hint: str | None = None, column: str = "effect", file: str = "") -> EffectKind:
    """Tell odds ratios from signed effects by the median of a sample.

    Parameters
    ----------
    sample
        Effects as text; missing marks and other non-numbers are left out. A few hundred rows are enough.
    hint
        What the column's name says: ``odds_ratio``, ``signed`` or None (undecided).
    column, file
        For messages.

    Raises
    ------
    DataError
        The name says odds ratio, but the values cannot be (negative ones, median near 0), or no value is a number.
    """
    values = np.array([v for v in (_number(s) for s in sample) if np.isfinite(v)])
    if values.size == 0:
        if hint in ("odds_ratio", "signed"):
            return "odds_ratio" if hint == "odds_ratio" else "signed"
        raise DataError(
            f"no row of the file's beginning has a number in column {column}",
            where=file,
            remedy="check the delimiter and the column map",
        )
    median = float(np.median(values))
    looks: EffectKind = "odds_ratio" if OR_LOW < median < OR_HIGH else "signed"
    share = float(np.mean(values < 0))
    if hint == "odds_ratio" and (looks == "signed" or share > NEGATIVE_SHARE):
        raise DataError(
            f"column {column} is named as an odds ratio, but its median is {median:.4g} and {share:.0%} of its "
            "values are negative",
            where=file,
            remedy=f'these look like log odds: name the column\'s kind with columns: {{"effect": "{column}", '
            '"effect_kind": "signed"}',
        )
    return looks


def verify_effect_kind(counters: Counters, spec: HarmoniseSpec, *, file: str = "") -> None:
    """Check the file-wide counts against the kind of effect that the sample suggested.

    Raises
    ------
    DataError
        More than half of all effects lie on one side of the odds-ratio range although the sample said odds ratio, or the
        reverse.
    """
    facts = counters.facts
    low, mid, high = (facts.get(f"effect_{part}", 0) for part in ("low", "mid", "high"))
    rows = low + mid + high
    if rows == 0 or spec.effect_kind_given:
        return
    is_or = low * 2 < rows and high * 2 < rows
    if is_or != (spec.effect_kind == "odds_ratio"):
        said, found = spec.effect_kind, "odds_ratio" if is_or else "signed"
        raise DataError(
            f"the first rows say that effects are {_WORDS[said]}, but of all {rows} effects {low} are at most {OR_LOW}, "
            f"{mid} between, and {high} at least {OR_HIGH}: as a whole they are {_WORDS[found]}",
            where=file or f"trait {spec.trait}",
            remedy=f'say which they are: columns: {{"effect_kind": "{found}"}} or "{said}"',
        )


_WORDS: Final = {"odds_ratio": "odds ratios (median near 1)", "signed": "signed effects (median near 0)"}


def _number(text: str | None) -> float:
    return np.nan if text is None or text.strip() in MISSING else to_float(text)
