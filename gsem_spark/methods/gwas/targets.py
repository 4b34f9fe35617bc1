"""What is asked of every fit, whatever the route: parameters with their errors, and factors with their Q_SNP."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Targets(NamedTuple):
    """r parameters with their errors, f factors with their Q_SNP."""

    parameter: Ints  # (r,) searched parameter, or -1
    own: Ints  # (r,) number of the left-out variance, or -1
    q_start: Ints  # (f + 1,)
    q_trait: Ints  # indicators of each factor
    q_precision: Floats  # (f, k, k) inverse of R at the indicators, in their order
