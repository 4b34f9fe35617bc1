"""Tables of a covariance structure: heritabilities, and genetic correlations, with their errors and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.methods import pvalues
from gsem_spark.methods.vech import correlation_jacobian, correlations, vech_indices

Floats = NDArray[np.float64]


def rg_table(traits: Sequence[str], S: Floats, V: Floats) -> pd.DataFrame:
    """Genetic correlations, one row a pair of traits, in vech order.

    Parameters
    ----------
    traits
        k names.
    S, V
        (k, k) covariances and (k*, k*) sampling covariance of vech(S).

    Returns
    -------
    DataFrame
        ``trait_1 trait_2 rg se z p neglog10p se_delta``. ``se`` is GenomicSEM's (V rescaled, heritabilities taken as
        known); ``se_delta`` lets them vary too: the delta method on (S_ij, S_ii, S_jj). All NaN for pairs with a
        heritability that is not positive.
    """
    rows, columns = vech_indices(len(traits))
    off = np.flatnonzero(rows != columns)
    r, c = rows[off], columns[off]
    jacobian = correlation_jacobian(S)
    rg = correlations(S)[r, c]
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(np.diag(V)[off]) * jacobian[np.arange(off.size), off]
        z = rg / se
        se_delta = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, V, jacobian))
    p, neglog10p = pvalues.from_z(z)
    return pd.DataFrame({
        "trait_1": [traits[i] for i in c], "trait_2": [traits[i] for i in r],
        "rg": rg, "se": se, "z": z, "p": p, "neglog10p": neglog10p, "se_delta": se_delta,
    })


def h2_table(
    traits: Sequence[str], S: Floats, V: Floats, I: Floats, liability: NDArray[np.bool_], figures: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Heritabilities, one row a trait, with the LDSC figures beside them where there are any.

    Parameters
    ----------
    traits, S, V
        As :func:`rg_table`.
    I
        (k, k) LDSC intercepts.
    liability
        (k,) whether a trait is on the liability scale.
    figures
        One record a trait, with the key ``trait``; may be empty.

    Returns
    -------
    DataFrame
        ``trait h2 se z p neglog10p scale intercept`` and, from LDSC, ``intercept_se ratio ratio_se mean_chisq lambda_gc
        h2_observed h2_observed_se n n_snps chisq_max snps_removed``.
    """
    diagonal = np.flatnonzero(np.equal(*vech_indices(len(traits))))
    h2 = np.diag(S)
    se = np.sqrt(np.diag(V)[diagonal])
    with np.errstate(invalid="ignore", divide="ignore"):
        z = h2 / se
    p, neglog10p = pvalues.from_z(z)
    frame = pd.DataFrame({
        "trait": list(traits), "h2": h2, "se": se, "z": z, "p": p, "neglog10p": neglog10p,
        "scale": np.where(liability, "liability", "observed"), "intercept": np.diag(I),
    })
    others = pd.DataFrame(figures)
    if others.empty:
        return frame
    extra = [c for c in others.columns if c not in frame.columns or c == "trait"]
    return frame.merge(others[extra], on="trait", how="left")
