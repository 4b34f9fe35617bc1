"""Settings of a simulation: typed, unknown keys refused, the same keys in Python and in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gsem_spark.errors import ConfigError
from gsem_spark.methods.simulation.design import Design, factor_covariance, overlap_intercepts
from gsem_spark.methods.simulation.dirt import CLEAN, DIRTY, DirtRates
from gsem_spark.methods.simulation.presets import PRESETS

Matrix = list[list[float]]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TraitSettings(_Settings):
    """One simulated GWAS."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]*$")]
    n: Annotated[float, Field(gt=0)]
    kind: str = "OLS"
    """Raw format: OR, ORSE, LOGOR, OLS, ZN, LPM or SSF."""
    h2: Annotated[float, Field(gt=0, le=1)] | None = None
    """Heritability, when loadings are standardised and no S is given."""
    sample_prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of cases, for case-control formats."""
    intercept: Annotated[float, Field(gt=0)] = 1.0
    """Univariate LDSC intercept; above 1: confounding."""
    n_spread: Annotated[float, Field(ge=0, lt=1)] | None = None
    """N per SNP lies between (1 - this) n and n; by default as usual in the format."""


class OverlapSettings(_Settings):
    """Samples that two GWAS share."""

    traits: tuple[str, str]
    shared: Annotated[float, Field(ge=0)]
    correlation: Annotated[float, Field(ge=-1, le=1)]
    """Phenotypic correlation in the shared samples."""


class PlantedSettings(_Settings):
    """Variants with an effect of their own."""

    factor: list[Annotated[int, Field(ge=0)]] = []
    """Number of variants per factor."""
    trait: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Number of variants that act on one trait alone, by trait name."""
    factor_variance: tuple[float, float] = (0.002, 0.006)
    """Range of the share of the factor's genetic variance that one variant explains."""
    trait_variance: tuple[float, float] = (0.0004, 0.001)
    """Range of the share of the trait's variance that one variant explains."""
    distance_bp: Annotated[int, Field(ge=0)] = 1_000_000
    """Least distance between planted variants."""


class SimulateConfig(_Settings):
    """All settings of a simulation; a YAML file holds the same keys."""

    traits: Annotated[list[TraitSettings], Field(min_length=1)]
    S: Matrix | None = None
    """Genetic covariance; or give loadings."""
    loadings: Matrix | None = None
    """One row a trait, one column a factor; standardised when the traits have h2, else in the units of S with ``residuals``."""
    factor_cov: Matrix | list[float] | None = None
    """Covariance (or variances) of the factors; uncorrelated with variance 1 by default."""
    residuals: list[float] | None = None
    overlap: list[OverlapSettings] = []
    I: Matrix | None = None
    """Intercept matrix, in place of overlap and univariate intercepts."""
    ld_scores: Path | None = None
    """Folder of a real panel in ldsc's format; by default a panel is simulated."""
    n_snps: Annotated[int, Field(ge=22)] | None = None
    """SNPs of the simulated panel (24,000 by default); of a real one: SNPs kept, evenly spread (all by default)."""
    M: Annotated[float, Field(ge=22)] = 1_000_000.0
    """M_5_50 of a simulated panel."""
    ambiguous: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of A/T and C/G SNPs."""
    neighbour: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Correlation of neighbouring SNPs' draws; 0: independent given the LD scores."""
    planted: PlantedSettings = PlantedSettings()
    dirt: bool | dict[str, float] = False
    """False: clean; true: the usual faults; or shares by fault, the others as usual."""
    seed: Annotated[int, Field(ge=0)] = 1
    gzip_level: Annotated[int, Field(ge=1, le=9)] = 2

    @model_validator(mode="after")
    def _one_source_of_covariance(self) -> SimulateConfig:
        if (self.S is None) == (self.loadings is None):
            raise ValueError("give either S or loadings")
        if self.S is not None and (self.residuals is not None or self.factor_cov is not None):
            raise ValueError("residuals and factor_cov belong to loadings, not to S")
        if self.I is not None and self.overlap:
            raise ValueError("give either I or overlap")
        names = [t.name for t in self.traits]
        strangers = sorted({t for o in self.overlap for t in o.traits} - set(names))
        if strangers:
            raise ValueError(f"overlap names unknown traits {strangers}; there are {names}")
        return self

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, where: str = "simulate") -> SimulateConfig:
        """Validate plain settings; a :class:`ConfigError` lists all that is wrong with them."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            lines = [f"{'.'.join(str(p) for p in e['loc']) or 'settings'}: {e['msg']}" for e in error.errors()]
            raise ConfigError("; ".join(lines), where=where, remedy=f"Known settings: {', '.join(cls.model_fields)}.") from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> SimulateConfig:
        """Read settings from a YAML file; a relative ``ld_scores`` is taken from the file's folder."""
        try:
            loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"the settings cannot be read: {error.strerror}", where=str(path),
                              remedy=f"Give a YAML file, or one of the designs {', '.join(PRESETS)}.") from None  # fmt: skip
        except yaml.YAMLError as error:
            raise ConfigError(f"this is not valid YAML: {error}", where=str(path), remedy="Mend the line named.") from None
        if not isinstance(loaded, Mapping):
            raise ConfigError("a settings file must hold key: value pairs", where=str(path))
        config = cls.parse(loaded, where=str(path))
        if config.ld_scores is None:
            return config
        return config.model_copy(update={"ld_scores": Path(path).parent / config.ld_scores.expanduser()})

    def design(self) -> Design:
        """Turn traits, covariance and overlap into checked matrices."""
        names = tuple(t.name for t in self.traits)
        n = [t.n for t in self.traits]
        if self.S is not None:
            S, loadings, factor_cov = _matrix(self.S, "S"), None, None
        else:
            h2 = [t.h2 for t in self.traits if t.h2 is not None]
            given = h2 if len(h2) == len(names) and self.residuals is None else None
            S, loadings, factor_cov = factor_covariance(
                _matrix(self.loadings, "loadings"), self.factor_cov, residuals=self.residuals, h2=given
            )
            if len(S) != len(names):
                raise ConfigError(f"loadings have {len(S)} rows for {len(names)} traits", where="simulate/loadings")
        intercepts = self._intercepts(names, n) if self.I is None else _matrix(self.I, "I")
        return Design.build(names, n, S, I=intercepts, loadings=loadings, factor_cov=factor_cov)

    def _intercepts(self, names: tuple[str, ...], n: list[float]) -> NDArray[np.float64]:
        shared, correlation = np.zeros((2, len(names), len(names)))
        for pair in self.overlap:
            a, b = (names.index(t) for t in pair.traits)
            shared[a, b] = shared[b, a] = pair.shared
            correlation[a, b] = correlation[b, a] = pair.correlation
        return overlap_intercepts(n, shared, correlation, inflation=[t.intercept for t in self.traits], names=names)

    def rates(self) -> DirtRates:
        """Share of rows that each fault befalls."""
        if isinstance(self.dirt, bool):
            return DIRTY if self.dirt else CLEAN
        unknown = sorted(set(self.dirt) - set(DIRTY.__dataclass_fields__))
        if unknown:
            raise ConfigError(f"unknown faults {unknown}", where="simulate/dirt",
                              remedy=f"Known faults: {', '.join(DIRTY.__dataclass_fields__)}.")  # fmt: skip
        return DirtRates(**{**DIRTY.__dict__, **self.dirt})


def config_from(
    design: str | Path | Mapping[str, Any] | SimulateConfig | None, S: ArrayLike | None, loadings: ArrayLike | None,
    h2: Sequence[float] | None, n: float | Sequence[float] | None,
) -> SimulateConfig:  # fmt: skip
    """Make a config of what :func:`gsem_spark.steps.simulation.simulate.simulate` was given: a design, or matrices."""
    matrices = {"S": S, "loadings": loadings, "h2": h2, "n": n}
    extra = [key for key, value in matrices.items() if value is not None]
    if design is not None and extra:
        raise ConfigError(f"a design and {', '.join(extra)} are given", where="simulate", remedy="Give one or the other.")
    if S is not None or loadings is not None:
        matrix = np.atleast_2d(np.asarray(S if S is not None else loadings, dtype=np.float64))
        k = len(matrix)
        given = np.atleast_1d(np.asarray(100_000.0 if n is None else n, dtype=np.float64))
        if given.size not in (1, k) or (h2 is not None and len(h2) != k):
            raise ConfigError(f"n and h2 need one value a trait ({k})", where="simulate/n")
        sizes = np.broadcast_to(given, k).tolist()
        shares = h2 if h2 is not None else [None] * k
        traits = [{"name": f"T{j + 1}", "n": sizes[j], "h2": shares[j]} for j in range(k)]
        return SimulateConfig.parse({"traits": traits, "S" if S is not None else "loadings": matrix.tolist()})
    if extra:
        raise ConfigError(f"{', '.join(extra)} without S or loadings", where="simulate", remedy="Give S, or loadings with h2.")
    if isinstance(design, SimulateConfig):
        return design
    if isinstance(design, Mapping):
        return SimulateConfig.parse(design)
    name = "demo" if design is None else str(design)
    return SimulateConfig.parse(PRESETS[name]) if name in PRESETS else SimulateConfig.from_yaml(name)


def _matrix(rows: Matrix | None, name: str) -> NDArray[np.float64]:
    lengths = {len(row) for row in rows or []}
    if len(lengths) != 1:
        raise ConfigError(f"the rows of {name} differ in length: {sorted(lengths)}", where=f"simulate/{name}")
    return np.asarray(rows, dtype=np.float64)
