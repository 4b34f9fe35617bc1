"""How well exploratory models with 1, 2, 3, … factors fit, side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.extraction import Extraction, eigenvalues, extract, largest_factor_number
from gsem_spark.methods.sem.indices import fit_indices, no_indices
from gsem_spark.methods.sem.inference import standardise_moments
from gsem_spark.methods.sem.smooth import smooth_moments

_SHOWN = ("chisq", "df", "p", "neglog10p", "aic", "cfi", "tli", "rmsea", "srmr")


def factor_numbers(cov: CovStruct, most: int | None = None, estimation: Extraction = "DWLS") -> pd.DataFrame:
    """Fit unrotated exploratory models with 1 to ``most`` factors.

    Parameters
    ----------
    cov
        k >= 3 traits.
    most
        Largest number of factors; by default the largest that k traits identify with a degree of freedom left, at most 6.
    estimation
        ``DWLS``, ``ML`` or ``WLS``.

    Returns
    -------
    DataFrame
        One row a number of factors: ``factors eigenvalue chisq df p neglog10p aic cfi tli rmsea srmr heywood converged``;
        ``eigenvalue`` is the last one that this number takes in, ``heywood`` counts negative residual variances.

    Raises
    ------
    ModelError
        When the traits identify no factor, or not so many.

    Examples
    --------
    >>> import numpy as np
    >>> S = np.full((5, 5), 0.4) + 0.6 * np.eye(5)
    >>> cov = CovStruct.from_matrices(S, np.eye(15) * 0.01, np.eye(5), list("abcde"))
    >>> factor_numbers(cov)[["factors", "df"]].to_numpy().tolist()
    [[1, 5], [2, 1]]
    """
    largest = largest_factor_number(cov.k)
    if largest == 0 or (most is not None and not 1 <= most <= largest):
        raise ModelError(f"{cov.k} traits identify at most {largest} exploratory factor(s)", remedy="add traits or ask for fewer")
    testable = [m for m in range(1, largest + 1) if (cov.k - m) ** 2 > cov.k + m]
    numbers = range(1, (most or min(max(testable, default=1), 6)) + 1)
    moments = smooth_moments(cov.S, cov.V)
    S, V = standardise_moments(moments.S, moments.V)
    roots = eigenvalues(S)
    rows = []
    for m in numbers:
        found = extract(S, V, m, estimation)
        n_free = cov.k * m + cov.k - m * (m - 1) // 2
        implied = found.loadings @ found.loadings.T + np.diag(found.uniquenesses)
        indices = fit_indices(S, V, implied, n_free) if found.optimum.converged else no_indices(cov.k, n_free)
        rows.append({
            "factors": m, "eigenvalue": float(roots[m - 1]), **{name: indices[name] for name in _SHOWN},
            "heywood": int(np.sum(found.uniquenesses < 0)), "converged": found.optimum.converged,
        })
    return pd.DataFrame(rows)
