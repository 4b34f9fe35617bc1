"""The genetic covariance structure S, V, I, N, M: what LDSC gives and every structural equation model takes.

``k`` traits have ``k* = k (k + 1) / 2`` distinct elements of S. Vectors over them (rows of V, N) follow ``vech`` order: the
lower triangle read column by column, (1,1), (2,1), ..., (k,1), (2,2), ... .
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods.ldsc import covstruct_checks as checks
from gsem_spark.methods.ldsc import covstruct_files as files
from gsem_spark.methods.ldsc import covstruct_tables as tables
from gsem_spark.methods.ldsc.quality import quality_warnings
from gsem_spark.methods.vech import unvech as unvech
from gsem_spark.methods.vech import vech as vech
from gsem_spark.methods.vech import vech_indices as vech_indices

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CovStruct:
    """Genetic covariances of k traits and their joint sampling covariance. Immutable; arrays are read-only.

    Parameters
    ----------
    traits
        k distinct trait names; the order of every matrix.
    S
        (k, k) genetic covariance; liability scale for traits with both prevalences, else observed scale.
    V
        (k*, k*) sampling covariance of vech(S).
    I
        (k, k) LDSC intercepts: on the diagonal 1 + confounding, off it phenotypic correlation times sample overlap.
    N
        (k*,) sample sizes per element of vech(S), sqrt(N_i N_j) off the diagonal; NaN where unknown.
    M
        Number of SNPs of the LD-score panel that h2 refers to; NaN where unknown.
    sample_prevalence, population_prevalence
        (k,) shares in (0, 1); NaN for traits on the observed scale.
    diagnostics
        ``"traits"`` and ``"pairs"``: lists of records with LDSC figures; ``"warnings"``: list of sentences.
    settings
        LDSC settings, JSON-serialisable.
    inputs
        Versions of the tables or files that it came from.

    Raises
    ------
    ModelError
        When shapes disagree, names repeat, or an element of S, V or I is not finite or not symmetric.
    """

    traits: tuple[str, ...]
    S: Floats
    V: Floats
    I: Floats
    N: Floats
    M: float
    sample_prevalence: Floats
    population_prevalence: Floats
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = tuple(str(t) for t in self.traits)
        k = len(names)
        k_star = k * (k + 1) // 2
        if k == 0:
            raise ModelError("a covariance structure needs at least one trait")
        repeated = sorted({t for t in names if names.count(t) > 1})
        if repeated:
            raise ModelError(f"trait names repeat: {', '.join(repeated)}", remedy="give every trait its own name")
        rows, columns = vech_indices(k)
        elements = tuple(f"{names[c]}~~{names[r]}" for r, c in zip(rows, columns, strict=True))
        object.__setattr__(self, "traits", names)
        for name, labels in (("S", names), ("V", elements), ("I", names)):
            object.__setattr__(self, name, checks.symmetric(getattr(self, name), labels, name))
        for name, size in (("N", k_star), ("sample_prevalence", k), ("population_prevalence", k)):
            object.__setattr__(self, name, checks.vector(getattr(self, name), size, name))
        for name in ("sample_prevalence", "population_prevalence"):
            checks.check_prevalence(getattr(self, name), names, name)
        object.__setattr__(self, "M", float(self.M))
        for name in ("diagnostics", "settings", "inputs"):
            object.__setattr__(self, name, dict(getattr(self, name)))

    @classmethod
    def from_matrices(
        cls,
        S: ArrayLike,
        V: ArrayLike,
        I: ArrayLike,
        traits: Sequence[str],
        N: ArrayLike | None = None,
        M: float | None = None,
        *,
        sample_prevalence: ArrayLike | None = None,
        population_prevalence: ArrayLike | None = None,
        diagnostics: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Self:
        """Build a structure from matrices (GenomicSEM's S, V, I, N, m have the same meaning and order).

        ``diagnostics["warnings"]`` is filled with what is wrong with S and V, each a sentence with its numbers.
        """
        k = len(traits)
        unknown = np.full(k, np.nan)
        in_sample = unknown if sample_prevalence is None else np.asarray(sample_prevalence, dtype=np.float64)
        in_population = unknown if population_prevalence is None else np.asarray(population_prevalence, dtype=np.float64)
        out = cls(
            traits=tuple(traits),
            S=np.asarray(S, dtype=np.float64),
            V=np.asarray(V, dtype=np.float64),
            I=np.asarray(I, dtype=np.float64),
            N=np.full(k * (k + 1) // 2, np.nan) if N is None else np.ravel(np.asarray(N, dtype=np.float64)),
            M=np.nan if M is None else float(M),
            sample_prevalence=in_sample,
            population_prevalence=in_population,
            diagnostics=diagnostics or {},
            settings=settings or {},
            inputs=inputs or {},
        )
        return out._with_warnings()

    def _with_warnings(self) -> Self:
        warnings = quality_warnings(self.traits, self.S, self.V, self.I, self.diagnostics.get("traits", []))
        return replace(self, diagnostics={**self.diagnostics, "warnings": warnings})

    def with_notices(self, notices: Sequence[str]) -> Self:
        """Return a copy whose warnings begin with these sentences."""
        return replace(self, diagnostics={**self.diagnostics, "warnings": [*notices, *self.warnings]})

    # --- sizes and parts -------------------------------------------------------------------------------------------
    @property
    def k(self) -> int:
        """Number of traits."""
        return len(self.traits)

    @property
    def k_star(self) -> int:
        """Number of distinct elements of S."""
        return self.k * (self.k + 1) // 2

    @property
    def warnings(self) -> list[str]:
        """What a user of this structure must know, one sentence each."""
        return list(self.diagnostics.get("warnings", []))

    @property
    def S_se(self) -> Floats:
        """(k, k) standard errors of S."""
        return unvech(np.sqrt(np.diag(self.V)))

    @property
    def liability(self) -> NDArray[np.bool_]:
        """(k,) True for traits on the liability scale: both prevalences known."""
        return np.isfinite(self.sample_prevalence) & np.isfinite(self.population_prevalence)

    @property
    def S_stand(self) -> Floats:
        """(k, k) genetic correlation matrix.

        Raises
        ------
        ModelError
            When a trait's h2 is not positive; the traits are named.
        """
        return self.S * self._standardiser()

    @property
    def V_stand(self) -> Floats:
        """(k*, k*) sampling covariance of vech(S_stand), V rescaled with the diagonal of S taken as known.

        Source: GenomicSEM ``ldsc(stand=TRUE)`` / Grotzinger et al. 2019, whose standardised V it equals.
        """
        scale = vech(self._standardiser())
        return self.V * np.outer(scale, scale)

    def _standardiser(self) -> Floats:
        h2 = np.diag(self.S)
        bad = [f"{t} ({v:.4g})" for t, v in zip(self.traits, h2, strict=True) if not v > 0]
        if bad:
            raise ModelError(
                f"no genetic correlations: heritability is not positive for {', '.join(bad)}",
                remedy="leave these traits out (cov.subset([...])) or use larger GWAS of them",
            )
        root = 1.0 / np.sqrt(h2)
        return np.outer(root, root)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CovStruct):
            return NotImplemented
        return files.records_equal(self.as_record(), other.as_record())

    def __hash__(self) -> int:
        return hash((self.traits, self.S.tobytes(), self.V.tobytes(), self.I.tobytes()))

    def fingerprint(self) -> str:
        """SHA-256 (first 16 hex digits) of the names and the bytes of S, V, I, N, M: equal structures, equal fingerprints."""
        digest = hashlib.sha256("\x1f".join(self.traits).encode())
        for part in (self.S, self.V, self.I, self.N, np.array([self.M]), self.sample_prevalence, self.population_prevalence):
            digest.update(np.ascontiguousarray(part).astype("<f8").tobytes())
        return digest.hexdigest()[:16]

    def subset(self, traits: Sequence[str]) -> Self:
        """Return the structure of some of the traits, in the order given.

        Raises
        ------
        ModelError
            When a name is unknown or repeats.
        """
        unknown = [t for t in traits if t not in self.traits]
        if unknown:
            raise ModelError(
                f"no trait {', '.join(map(repr, unknown))}; there are {', '.join(self.traits)}",
                remedy="name traits of the covariance structure, or make one with those that are missing",
            )
        at = np.array([self.traits.index(t) for t in traits], dtype=np.intp)
        rows, columns = vech_indices(len(at))
        place = np.empty((self.k, self.k), dtype=np.intp)
        all_rows, all_columns = vech_indices(self.k)
        place[all_rows, all_columns] = place[all_columns, all_rows] = np.arange(self.k_star)
        keep = place[at[rows], at[columns]]
        chosen = set(traits)
        diagnostics = dict(self.diagnostics)
        if "traits" in diagnostics:
            diagnostics["traits"] = [r for t in traits for r in diagnostics["traits"] if r["trait"] == t]
        if "pairs" in diagnostics:
            diagnostics["pairs"] = [r for r in diagnostics["pairs"] if {r["trait_1"], r["trait_2"]} <= chosen]
        out = replace(
            self,
            traits=tuple(traits),
            S=self.S[np.ix_(at, at)],
            V=self.V[np.ix_(keep, keep)],
            I=self.I[np.ix_(at, at)],
            N=self.N[keep],
            sample_prevalence=self.sample_prevalence[at],
            population_prevalence=self.population_prevalence[at],
            diagnostics=diagnostics,
        )
        return out._with_warnings()

    # --- tables of results -----------------------------------------------------------------------------------------
    def rg(self) -> pd.DataFrame:
        """Genetic correlations with their errors; see :func:`gsem_spark.methods.ldsc.covstruct_tables.rg_table`."""
        return tables.rg_table(self.traits, self.S, self.V)

    def h2(self) -> pd.DataFrame:
        """Heritabilities with their errors; see :func:`gsem_spark.methods.ldsc.covstruct_tables.h2_table`."""
        return tables.h2_table(self.traits, self.S, self.V, self.I, self.liability, self.diagnostics.get("traits", []))

    # --- files -------------------------------------------------------------------------------------------------------
    def as_record(self) -> dict[str, Any]:
        """Everything as plain lists, numbers and strings (NaN stays NaN): the form behind JSON, NPZ and the catalog."""
        return {
            "traits": list(self.traits), "S": self.S.tolist(), "V": self.V.tolist(), "I": self.I.tolist(),
            "N": self.N.tolist(), "M": self.M,
            "sample_prevalence": self.sample_prevalence.tolist(),
            "population_prevalence": self.population_prevalence.tolist(),
            "diagnostics": dict(self.diagnostics), "settings": dict(self.settings), "inputs": dict(self.inputs),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`as_record`; S, V and I may also be flat lists, row-major, as the catalog keeps them."""
        k = len(record["traits"])
        k_star = k * (k + 1) // 2
        matrices = {
            name: files.shaped(record[name], size, name) for name, size in (("S", k), ("V", k_star), ("I", k))
        }
        vectors = {name: files.floats(record[name]) for name in ("N", "sample_prevalence", "population_prevalence")}
        return cls(
            traits=tuple(record["traits"]), **matrices, **vectors, M=files.number(record["M"]),
            diagnostics=record.get("diagnostics") or {}, settings=record.get("settings") or {}, inputs=record.get("inputs") or {},
        )

    def to_json(self, path: str | Path) -> Path:
        """Write one JSON file; numbers round-trip exactly, NaN is written as null."""
        return files.write_json(self.as_record(), Path(path))

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read :meth:`to_json`'s file. Raises :class:`DataError` when it is not one."""
        return cls.from_record(files.read_json(Path(path)))

    def to_npz(self, path: str | Path) -> Path:
        """Write one NumPy archive: the arrays by name, the rest as a JSON string under ``meta``."""
        return files.write_npz(self.as_record(), Path(path))

    @classmethod
    def from_npz(cls, path: str | Path) -> Self:
        """Read :meth:`to_npz`'s file. Raises :class:`DataError` when it is not one."""
        return cls.from_record(files.read_npz(Path(path)))

    def to_csv(self, folder: str | Path) -> Path:
        """Write S.csv, V.csv, I.csv, N.csv (headed by trait names or by ``trait~~trait``) and meta.json into a folder."""
        return files.write_csv(self.as_record(), Path(folder))

    @classmethod
    def from_csv(cls, folder: str | Path) -> Self:
        """Read :meth:`to_csv`'s folder."""
        return cls.from_record(files.read_csv(Path(folder)))

    @classmethod
    def from_genomicsem_csv(
        cls,
        S: str | Path,
        V: str | Path,
        I: str | Path,
        N: str | Path | None = None,
        *,
        M: float | None = None,
        traits: Sequence[str] | None = None,
    ) -> Self:
        """Read the matrices that GenomicSEM's ``ldsc`` returns, written by R's ``write.csv`` or ``write.table``.

        Delimiter, header and row names are found out. Trait names come from ``traits``, else from the header of S.

        Raises
        ------
        DataError
            When a file holds no square numeric matrix, or no trait names are to be had.
        """
        matrix, header = files.read_matrix(Path(S))
        names = list(traits) if traits is not None else header
        if names is None:
            raise DataError("the file has no header with trait names", where=str(S), remedy="pass traits=[...]")
        return cls.from_matrices(
            matrix, files.read_matrix(Path(V))[0], files.read_matrix(Path(I))[0], names,
            N=None if N is None else files.read_vector(Path(N)), M=M,
        )
