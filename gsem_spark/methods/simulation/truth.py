"""What a simulated set was made with, as written to ``truth.json`` and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.simulation.design import Design
from gsem_spark.methods.simulation.draw import Planted
from gsem_spark.methods.simulation.ld_panel import Panel

Floats = NDArray[np.float64]

MODEL = (
    "z ~ N(0, sqrt(N_j N_k) S_jk l2 / M + I_jk) per SNP (Bulik-Sullivan et al. 2015, eq. 1), plus sqrt(N_j) times the planted "
    "effect; S is the polygenic part, without the planted variants"
)


@dataclass(frozen=True)
class SimulationTruth:
    """The truth of a simulated set.

    Parameters
    ----------
    names, kinds
        Traits and their raw formats.
    S, I
        Genetic covariance (polygenic part, observed scale) and intercepts, shape (k, k).
    N, M
        Samples, shape (k,); number of reference SNPs.
    lam
        Standardised loadings, shape (k, f); f = 0 when S was given as it is.
    factor_cov
        Covariance of the factors, shape (f, f).
    hits
        rsIDs of planted variants: ``factor1``, ``factor2``, ... act through a factor; ``first_only``, ``last_only`` on the
        first or last trait alone, ``<trait>_only`` on another.
    planted
        One record a planted variant: snp, target, effect (target's SD per genotype SD, of allele a1 of the reference).
    sample_prevalence
        Share of cases by trait; NaN for continuous traits, shape (k,).
    faults
        By trait: rows written, and how often each fault was made.
    files
        By trait: file name in the set's ``raw`` folder.
    seed
        Seed of all draws.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    S: Floats
    I: Floats
    N: Floats
    M: float
    lam: Floats
    factor_cov: Floats
    hits: Mapping[str, list[str]]
    planted: Sequence[Mapping[str, Any]]
    sample_prevalence: Floats
    faults: Mapping[str, Mapping[str, int]]
    files: Mapping[str, str]
    seed: int

    def to_record(self) -> dict[str, Any]:
        """Give plain lists and numbers, ready for JSON (NaN becomes null)."""
        prevalence = [None if np.isnan(p) else float(p) for p in self.sample_prevalence]
        return {
            "names": list(self.names), "S": self.S.tolist(), "I": self.I.tolist(), "N": self.N.tolist(), "M": self.M,
            "lam": self.lam.tolist(), "hits": dict(self.hits), "kinds": list(self.kinds), "factor_cov": self.factor_cov.tolist(),
            "planted": [dict(p) for p in self.planted], "sample_prevalence": prevalence,
            "faults": {t: dict(c) for t, c in self.faults.items()}, "files": dict(self.files), "seed": self.seed, "model": MODEL,
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, where: str = "truth.json") -> SimulationTruth:
        """Rebuild from :meth:`to_record`; fields that other simulators leave out become empty.

        Raises
        ------
        DataError
            When one of names, S, I, N, M, kinds is missing.
        """
        missing = [key for key in ("names", "S", "I", "N", "M", "kinds") if key not in record]
        if missing:
            raise DataError(f"the record of a simulation lacks {', '.join(missing)}", where=where)
        k = len(record["names"])
        lam = np.asarray(record.get("lam", np.zeros((k, 0))), np.float64).reshape(k, -1 if record.get("lam") else 0)
        f = lam.shape[1]
        factor_cov = np.asarray(record.get("factor_cov", np.eye(f)), np.float64).reshape(f, f)
        prevalence = [np.nan if p is None else p for p in record.get("sample_prevalence", [None] * k)]
        return cls(
            names=tuple(record["names"]), kinds=tuple(record["kinds"]), S=np.asarray(record["S"], np.float64),
            I=np.asarray(record["I"], np.float64), N=np.asarray(record["N"], np.float64), M=float(record["M"]), lam=lam,
            factor_cov=factor_cov, hits=record.get("hits", {}), planted=list(record.get("planted", [])),
            sample_prevalence=np.asarray(prevalence, np.float64), faults=record.get("faults", {}),
            files=record.get("files", {}), seed=int(record.get("seed", 0)),
        )  # fmt: skip


def planted_hits(design: Design, panel: Panel, planted: Planted) -> dict[str, list[str]]:
    """Group the planted rsIDs by what they act on; every factor, and the first and last trait, has a key."""
    label = {t: f"{t}_only" for t in design.names} | {design.names[-1]: "last_only", design.names[0]: "first_only"}
    hits: dict[str, list[str]] = {f"factor{f + 1}": [] for f in range(design.loadings.shape[1])}
    hits |= {"first_only": [], "last_only": []}
    for row, target in zip(planted.rows.tolist(), planted.target, strict=True):
        hits.setdefault(label.get(target, target), []).append(str(panel.snp[row]))
    return hits
