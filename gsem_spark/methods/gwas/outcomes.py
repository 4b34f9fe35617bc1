"""What can become of one SNP's fit: codes that the kernels write, and the status and message that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Texts = NDArray[np.object_]

# Plain integers: compiled code takes them as constants.
OK: Final = 0
MISSING: Final = 1
NO_SE: Final = 2
NO_VARIANCE: Final = 3
NOT_CONVERGED: Final = 4
SINGULAR: Final = 5
NOT_PD: Final = 6
HEYWOOD_TRAIT: Final = 7
HEYWOOD_FACTOR: Final = 8
NEEDS_SMOOTHING: Final = 9
"""Internal: the SNP's S_full is not positive definite and has to go the smoothed way."""

_STATUS: Final = {
    OK: "ok",
    MISSING: "missing",
    NO_SE: "singular",
    NO_VARIANCE: "singular",
    NOT_CONVERGED: "not_converged",
    SINGULAR: "singular",
    NOT_PD: "not_pd",
    HEYWOOD_TRAIT: "heywood",
    HEYWOOD_FACTOR: "heywood",
}
_MESSAGE: Final[dict[int, str | None]] = {
    OK: None,
    MISSING: "beta or se of {trait} (or the MAF) is missing or not finite",
    NO_SE: "standard error of {trait} is zero or negative",
    NO_VARIANCE: "MAF is not between 0 and 1: the SNP has no variance",
    NOT_CONVERGED: "no optimum found within the iteration limit",
    SINGULAR: "normal equations are singular at the optimum: no standard error",
    NOT_PD: "S_full or V_full is not positive definite even after smoothing",
    HEYWOOD_TRAIT: "residual variance of {trait} is negative (Heywood case)",
    HEYWOOD_FACTOR: "residual variance of the factor is negative (Heywood case)",
}
S_SMOOTHED: Final = 1
V_SMOOTHED: Final = 2
_SMOOTHED: Final = {
    S_SMOOTHED: "S_full smoothed",
    V_SMOOTHED: "V_full smoothed",
    S_SMOOTHED | V_SMOOTHED: "S_full and V_full smoothed",
}


def describe(
    codes: Ints, culprits: Ints, smoothed: Ints, traits: tuple[str, ...], other: Mapping[int, str] = MappingProxyType({})
) -> tuple[Texts, Texts]:
    """Turn the kernel's codes into the ``status`` and ``message`` columns.

    Parameters
    ----------
    codes
        (n,) codes of this module.
    culprits
        (n,) index of the trait a code speaks of; read only where its message names one.
    smoothed
        (n,) bits ``S_SMOOTHED`` and ``V_SMOOTHED``.
    traits
        k trait names.
    other
        Messages that replace the usual ones of their codes.

    Returns
    -------
    status, message
        (n,) object arrays; ``message`` is None for an ok fit. A smoothed fit stays ``smoothed`` where it is also a
        Heywood case, and its message says both.
    """
    k = len(traits)
    slots = np.where(smoothed > 0, (smoothed * 10 + codes) * k + culprits, codes * k + culprits)
    distinct, place = np.unique(slots, return_inverse=True)
    statuses, messages = np.empty(distinct.size, dtype=object), np.empty(distinct.size, dtype=object)
    for i, slot in enumerate(distinct.tolist()):
        bits, code, trait = slot // (10 * k), slot // k % 10, slot % k
        text = other.get(code, _MESSAGE[code])
        text = text.format(trait=traits[trait]) if text else None
        statuses[i] = _STATUS[code]
        if bits:
            text = "; ".join(t for t in (_SMOOTHED[bits], text) if t)
            if code in (OK, HEYWOOD_TRAIT, HEYWOOD_FACTOR):
                statuses[i] = "smoothed"
        messages[i] = text
    return statuses[place], messages[place]
