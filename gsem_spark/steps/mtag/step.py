"""MTAG on Spark: one join, one pass of sums for Omega, then every SNP through the estimator; restart is by chromosome.

The model (Omega, Sigma) is kept before the first chromosome is, so that a run that goes on after a crash goes on with the same
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.mtag.estimate import checked_sigma, fixed_omega
from gsem_spark.methods.mtag.filters import TraitFilter
from gsem_spark.methods.mtag.numerical import TIME_LIMIT_SECONDS
from gsem_spark.methods.mtag.omega import check_options
from gsem_spark.steps.given_matrices import Matrix, given_matrix, square_rows
from gsem_spark.steps.gwas.panel import trait_rows
from gsem_spark.steps.ldsc.inputs import panel_source
from gsem_spark.steps.ldsc.panel_arrays import panel_config
from gsem_spark.steps.mtag.model import counts_of, estimated_sigma, make_model, model_row, part_sums, read_model
from gsem_spark.steps.mtag.rows import RowRules, choose_rows
from gsem_spark.steps.mtag.run import MtagRun
from gsem_spark.steps.mtag.stretches import WideRows, brought_together
from gsem_spark.steps.mtag.write import result_names, summarised, write_results
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig, checked_config, content_hash
from gsem_spark.thresholds import MTAG_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct

Floats = NDArray[np.float64]


class MtagConfig(StepConfig):
    """Settings of MTAG."""

    traits: tuple[str, ...] = Field(min_length=1, description="trait names; the first one's alleles are those of the results")
    panel: str = Field("eur", description="LD-score panel, where the intercepts are to be estimated")
    n_blocks: int = Field(200, ge=2, description="jackknife blocks of that estimate")
    sigma: Matrix | None = Field(None, description="fixed LD score intercepts, rows and columns in the order of the traits")
    omega: Matrix | None = Field(None, description="fixed variances and covariances of standardised effects per SNP")
    no_overlap: bool = Field(False, description="samples are disjoint: covariances of Sigma are 0")
    perfect_gencov: bool = Field(False, description="genetic correlations are 1")
    equal_h2: bool = Field(False, description="heritabilities are equal besides: a meta-analysis; needs perfect_gencov")
    numerical: bool = Field(False, description="search for Omega by maximum likelihood instead of the method of moments")
    time_limit_seconds: float = Field(TIME_LIMIT_SECONDS, gt=0, description="time limit of that search")
    repair: bool = Field(True, description="make an Omega or Sigma that is not positive semidefinite so, and say it")
    maf_min: float | None = Field(MTAG_MAF_MIN, ge=0, le=0.5, description="rows with a MAF of at most this are left out")
    info_min: float | None = Field(None, ge=0, description="lowest imputation quality, where the file has one")
    n_min: Literal["auto"] | float | None = Field("auto", description="lowest N; auto: 2/3 of the 90th percentile")
    n_max: float | None = Field(None, ge=0, description="highest N")
    n_near_mode: float | None = Field(None, ge=0, description="largest distance from the most frequent N, as a share of it")
    n_near_mode_distance: float | None = Field(None, ge=0, description="the same in samples")
    drop_ambiguous: bool = Field(True, description="leave out A/T and C/G variants")

    @field_validator("traits")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := sorted({t for t in value if value.count(t) > 1}):
            raise ValueError(f"traits named twice: {', '.join(repeated)}")
        return value

    @property
    def size_filter(self) -> TraitFilter:
        """Filters of sample sizes; those of single rows stand in :class:`RowRules`."""
        return TraitFilter(None, self.n_min, self.n_max, self.n_near_mode, self.n_near_mode_distance)


class MtagStep(Step[MtagConfig]):
    """Estimate each trait's effect at every SNP from all traits' Z-scores."""

    name: ClassVar[str] = "mtag"
    reads: ClassVar[tuple[str, ...]] = ("traits", "sumstats", "ld_scores")
    writes: ClassVar[tuple[str, ...]] = ("mtag_models", "mtag_results")

    def __init__(self, config: MtagConfig, cov: CovStruct | None = None) -> None:
        super().__init__(config)
        if cov is not None and config.sigma is not None:
            raise ConfigError("both a covariance structure and a matrix of intercepts are given", where="sigma",
                              remedy="give cov or sigma")
        self.cov = cov if cov is None or cov.traits == config.traits else cov.subset(config.traits)

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Version of each trait, and of what Sigma comes from; wrong settings and matrices are refused here, before any work."""
        c = self.config
        check_options(c.perfect_gencov, c.equal_h2)
        if len(c.traits) < 2:
            raise DataError("MTAG needs at least 2 traits", where="mtag", remedy="give two or more traits")
        given = self.given_sigma()
        if given is not None:
            checked_sigma(given, c.traits, no_overlap=c.no_overlap, repair=c.repair)
        if c.omega is not None:
            fixed_omega(square_rows(c.omega, "omega"), c.traits, perfect_gencov=c.perfect_gencov, equal_h2=c.equal_h2)
        _ = c.size_filter
        versions = {f"sumstats/{t}": row["file_id"] for t, row in trait_rows(ws, c.traits).items()}
        if self.cov is not None:
            return {**versions, "intercepts": content_hash(self.cov.I.tolist())}
        if given is None:
            version = panel_source(ws, panel_config(c.panel)).version
            return {**versions, f"ld_scores/{c.panel}": version}
        return versions

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the run's model is in ``mtag_models``."""
        return bool(ws.count("mtag_models", {"run_id": run_id}))

    def given_sigma(self) -> Floats | None:
        """Sigma, where it need not be estimated."""
        if self.cov is not None:
            return np.asarray(self.cov.I, np.float64)
        return None if self.config.sigma is None else square_rows(self.config.sigma, "sigma")

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Join, make the model, write the chromosomes that are missing, then add up."""
        c, run_id = self.config, plan.run_id
        with progress.stage("MTAG: filters"):
            chosen = choose_rows(ws, c.traits, RowRules(c.maf_min, c.info_min, c.drop_ambiguous), c.size_filter)
        with ExitStack() as stack:
            with progress.stage("MTAG: joining traits, sums for Omega"):
                measure = partial(part_sums, grouped=c.numerical)
                wide, parts = stack.enter_context(brought_together(ws, chosen, run_id, measure))
            parts.sort(key=lambda p: p.part)
            counts, facts = counts_of(parts), read_model(ws, run_id)
            if facts is None:
                facts = make_model(c, self._sigma(ws, wide, counts, run_id, progress), parts, chosen.dropped)
                ws.put("mtag_models", [model_row(facts, run_id)], {"run_id": run_id}, metadata={"run_id": run_id})
            done = {int(str(key[1])) for key, n in ws.count("mtag_results", {"run_id": run_id}).items() if n}
            self.begin(ws, plan)
            scan = write_results(ws, wide, facts.model, run_id, counts, done, progress)
            with progress.stage("MTAG: summary"):
                summary = summarised(wide, facts, scan)
        state = {str(chromosome): str(n) for chromosome, n in counts.items()}
        rows = facts.n_snps * len(result_names(facts.model))
        return Outcome(rows, state, {**summary, "sigma_from": self._sigma_source(), "resumed": sorted(done)}, facts.sentences)

    def _sigma(self, ws: Workspace, wide: WideRows, counts: Mapping[int, int], run_id: str, progress: Progress) -> Floats:
        given = self.given_sigma()
        if given is not None or not counts:
            return given if given is not None else np.eye(len(self.config.traits))
        with progress.stage("MTAG: Sigma by LD score regression"):
            return estimated_sigma(ws, wide, self.config, run_id)

    def _sigma_source(self) -> str:
        if self.cov is not None:
            return "covariance structure"
        return "given" if self.config.sigma is not None else f"LD score regression, panel {self.config.panel}"

def mtag(
    ws: Workspace,
    traits: Sequence[Any],
    cov: CovStruct | None = None,
    sigma: ArrayLike | pd.DataFrame | str | Path | None = None,
    omega: ArrayLike | pd.DataFrame | str | Path | None = None,
    no_overlap: bool = False,
    perfect_gencov: bool = False,
    equal_h2: bool = False,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> MtagRun:
    """Multi-trait analysis of GWAS on munged traits.

    Parameters
    ----------
    ws
        Workspace that holds the traits' summary statistics.
    traits
        Two or more names (or :class:`gsem_spark.Trait`); their order is that of every matrix.
    cov
        Covariance structure whose intercepts I make Sigma; traits are matched by name.
    sigma
        Sigma itself: a matrix in the order of the traits, a frame with trait names, or a text file of numbers. With neither,
        Sigma is estimated by LD score regression (ldsc's own estimator) over the SNPs that MTAG uses.
    omega
        Omega, likewise; estimated by the method of moments when None.
    no_overlap, perfect_gencov, equal_h2
        Disjoint samples; genetic correlations of 1; equal heritabilities besides (a meta-analysis, trait ``meta``).
    progress
        Where to show progress; silent by default.
    **settings
        Further settings of :class:`MtagConfig`: ``panel n_blocks numerical time_limit_seconds repair maf_min info_min n_min n_max
        n_near_mode n_near_mode_distance drop_ambiguous``.

    Returns
    -------
    MtagRun
        Results in ``mtag_results``, Omega and Sigma in ``mtag_models``; running it again with the same inputs does nothing.

    Raises
    ------
    ConfigError
        A setting is wrong, or ``equal_h2`` is asked for without ``perfect_gencov``.
    DataError
        One trait; a trait that is not there, has no N or other alleles; no SNP in common.
    ModelError
        A matrix of the wrong shape, not symmetric, or with a variance that is not positive.

    Notes
    -----
    Source: Turley et al. 2018, Nat Genet 50:229.
    """
    names = tuple(t if isinstance(t, str) else str(t.name) for t in traits)
    config = checked_config(
        MtagConfig, "mtag", traits=names, sigma=given_matrix(sigma, names, "sigma"), omega=given_matrix(omega, names, "omega"),
        no_overlap=no_overlap, perfect_gencov=perfect_gencov, equal_h2=equal_h2, **settings,
    )
    return MtagRun(ws, MtagStep(config, cov).run(ws, progress))
