"""Exploratory and confirmatory work on different chromosomes, so that a model is not tested on what suggested it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.esem import esem
from gsem_spark.methods.sem.esem_fit import EsemFit
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.rotation import congruence_coefficients
from gsem_spark.methods.sem.rotation_criteria import RotationName
from gsem_spark.methods.sem.write_model import CUTOFF, confirmatory_model, write_model

Floats = NDArray[np.float64]

AUTOSOMES: Final = tuple(range(1, 23))


@dataclass(frozen=True, eq=False)
class SplitAnalysis:
    """What one half of the genome suggests and the other says of it.

    Parameters
    ----------
    exploratory
        Rotated factors of the first half.
    syntax
        The confirmatory model that they suggest, as lavaan text.
    confirmatory
        That model fitted to the second half.
    congruence
        (m,) Tucker's congruence of each factor with its counterpart in the second half's own rotated factors; above .95
        they count as the same [Lorenzo-Seva & ten Berge 2006, Methodology 2:57].
    """

    exploratory: EsemFit
    syntax: str
    confirmatory: Fit
    congruence: Floats


def split_analysis(
    explore: CovStruct,
    confirm: CovStruct,
    factors: int = 2,
    rotation: RotationName = "geomin",
    estimation: Estimation = "DWLS",
    *,
    cutoff: float = CUTOFF,
    bifactor: bool = False,
    mustload: bool = False,
    **settings: Any,
) -> SplitAnalysis:
    """Find factors in one half of the genome, fit the model that they suggest to the other half.

    Parameters
    ----------
    explore, confirm
        Structures of the same traits from different chromosomes: each half needs its own S, V, I, N and M, all from LD score
        regression on the SNPs, and with the M, of its chromosomes (``gs.ldsc(ws, traits, chromosomes="odd")`` and ``"even"``).
        Parts of one S and V do not do: neither splits by chromosome.
    factors, rotation, estimation, settings
        Of :func:`gsem_spark.methods.sem.esem.esem`.
    cutoff, bifactor, mustload
        Of :func:`gsem_spark.methods.sem.write_model.write_model`.

    Raises
    ------
    DataError
        When the traits differ, or the chromosomes, where the structures know them, overlap.
    ModelError
        When the factors or the model that they suggest are not identified.
    """
    if set(explore.traits) != set(confirm.traits):
        raise DataError(
            f"the two halves have different traits: {', '.join(sorted(set(explore.traits) ^ set(confirm.traits)))}",
            remedy="run LDSC on the same traits for both halves of the chromosomes",
        )
    shared = sorted(chromosomes_of(explore) & chromosomes_of(confirm))
    if shared:
        raise DataError(
            f"the two halves share chromosome(s) {', '.join(map(str, shared))}: a model would be tested on what suggested it",
            remedy='use gs.ldsc(..., chromosomes="odd") and chromosomes="even"',
        )
    found = esem(explore, factors, rotation, estimation, **settings)
    again = esem(confirm.subset(explore.traits), factors, rotation, estimation, **settings)
    model = confirmatory_model(found.loadings, cutoff, bifactor=bifactor, mustload=mustload)
    alike = np.abs(congruence_coefficients(found.loadings, again.loadings)).max(axis=1)
    return SplitAnalysis(
        exploratory=found, syntax=write_model(found.loadings, cutoff, bifactor=bifactor, mustload=mustload),
        confirmatory=fit_model(confirm, model, estimation), congruence=np.asarray(alike, dtype=np.float64),
    )


def chromosomes_of(cov: CovStruct) -> set[int]:
    """Chromosomes that a structure was estimated on; empty where its settings do not say.

    ``settings["chromosomes"]`` is ``"odd"``, ``"even"``, a list, or None for all autosomes.
    """
    if "chromosomes" not in cov.settings:
        return set()
    chosen = cov.settings["chromosomes"]
    if chosen is None:
        return set(AUTOSOMES)
    if isinstance(chosen, str):
        return {c for c in AUTOSOMES if c % 2 == (1 if chosen.lower() == "odd" else 0)}
    return {int(c) for c in chosen}
