"""MTAG on Spark: one join, one pass of sums for Omega, then every SNP through the estimator; restart is by chromosome.

Chromosomes are written in waves, each one atomic commit. The model (Omega, Sigma) is kept before the first of them, so that a
run that goes on after a crash goes on with the same numbers.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator
from pyspark.sql import functions as F

from gsem_spark.catalog.part_files import Part
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.gwas.effective_n import lambda_gc
from gsem_spark.methods.mtag.estimate import MtagColumns, MtagModel, checked_sigma, fixed_omega, unstandardise
from gsem_spark.methods.mtag.filters import TraitFilter
from gsem_spark.methods.mtag.numerical import TIME_LIMIT_SECONDS
from gsem_spark.methods.mtag.omega import check_options
from gsem_spark.methods.mtag.summary import ScanSums, merge_scan_sums, scan_sums, summary_table, weights_table
from gsem_spark.steps import exchange, medians
from gsem_spark.steps.ld_arrays import panel_config
from gsem_spark.steps.ldsc_inputs import panel_source
from gsem_spark.steps.mtag_model import ModelFacts, counts_of, estimated_sigma, make_model, model_row, part_sums, read_model
from gsem_spark.steps.mtag_rows import RowRules, choose_rows, joined, matrix
from gsem_spark.steps.panel import trait_rows
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Report, Step, StepConfig, checked_config, content_hash
from gsem_spark.thresholds import MTAG_MAF_MIN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.store import Scope
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.mtag_fdr import FdrRun

Floats = NDArray[np.float64]
Matrix = tuple[tuple[float, ...], ...]
WAVE_ROWS: Final = 6_000_000
"""Result rows (SNPs times traits) of one commit: bounds what workers hold, and what a lost driver loses."""
META: Final = "meta"
"""Name of the one result of a meta-analysis."""


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
            fixed_omega(np.array(c.omega, np.float64), c.traits, perfect_gencov=c.perfect_gencov, equal_h2=c.equal_h2)
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
        return None if self.config.sigma is None else _array(self.config.sigma, "sigma")

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Join, make the model, write the chromosomes that are missing, then add up."""
        c, run_id = self.config, plan.run_id
        with progress.stage("MTAG: filters"):
            chosen = choose_rows(ws, c.traits, RowRules(c.maf_min, c.info_min, c.drop_ambiguous), c.size_filter)
        wide = joined(ws, chosen).persist()
        try:
            with progress.stage("MTAG: joining traits, sums for Omega"):
                parts = part_sums(wide, grouped=c.numerical)
            counts, facts = counts_of(parts), read_model(ws, run_id)
            if facts is None:
                facts = make_model(c, self._sigma(ws, wide, counts, progress), parts, chosen.dropped)
                ws.put("mtag_models", [model_row(facts, run_id)], {"run_id": run_id}, metadata={"run_id": run_id})
            done = {int(str(key[1])) for key, n in ws.count("mtag_results", {"run_id": run_id}).items() if n}
            self.begin(ws, plan)
            self._write(ws, wide, facts.model, run_id, counts, done, progress)
            with progress.stage("MTAG: summary"):
                summary = _summary(wide, facts)
        finally:
            wide.unpersist()
        state = {str(chromosome): str(n) for chromosome, n in counts.items()}
        rows = facts.n_snps * len(_names(facts.model))
        return Outcome(rows, state, {**summary, "sigma_from": self._sigma_source(), "resumed": sorted(done)}, facts.sentences)

    def _sigma(self, ws: Workspace, wide: DataFrame, counts: Mapping[int, int], progress: Progress) -> Floats:
        given = self.given_sigma()
        if given is not None or not counts:
            return given if given is not None else np.eye(len(self.config.traits))
        with progress.stage("MTAG: Sigma by LD score regression"):
            return estimated_sigma(ws, wide, self.config)

    def _sigma_source(self) -> str:
        if self.cov is not None:
            return "covariance structure"
        return "given" if self.config.sigma is not None else f"LD score regression, panel {self.config.panel}"

    def _write(
        self, ws: Workspace, wide: DataFrame, model: MtagModel, run_id: str, counts: Mapping[int, int], done: set[int],
        progress: Progress,
    ) -> None:
        with progress.stage("MTAG", total=sum(counts.values()), unit="SNPs") as stage:
            stage.advance(sum(n for chromosome, n in counts.items() if chromosome in done))
            missing = {chromosome: n for chromosome, n in counts.items() if chromosome not in done}
            shared = ws.spark.sparkContext.broadcast(model)

            def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[Part]:
                for chromosome, rows in _unpacked(batches):
                    yield from result_parts(shared.value, rows, {"run_id": run_id, "chr": chromosome})

            for wave in _waves(missing, WAVE_ROWS // len(_names(model))):
                scopes: list[Scope] = [{"run_id": run_id, "chr": chromosome} for chromosome in wave]
                said = {"run_id": run_id, "chr": wave}
                ws.replace_parts("mtag_results", wide.where(F.col("chr").isin(wave)), parts, scopes, metadata=said)
                stage.advance(sum(counts[chromosome] for chromosome in wave), note=f"chr {wave[0]}–{wave[-1]}")


def _unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    for batch in batches:
        for i in range(batch.num_rows):
            yield batch.column("chr")[i].as_py(), exchange.unpack(batch.column("packed")[i].as_buffer())


def _waves(counts: Mapping[int, int], snps: int) -> list[list[int]]:
    """Chromosomes in order, packed into waves of at most so many SNPs (one chromosome at least)."""
    packed: list[list[int]] = []
    size = 0
    for chromosome in sorted(counts):
        if not packed or size + counts[chromosome] > snps:
            packed.append([])
            size = 0
        packed[-1].append(chromosome)
        size += counts[chromosome]
    return packed


def _names(model: MtagModel) -> tuple[str, ...]:
    """What results are told apart by: the traits, or the meta-analysis."""
    return (META,) if model.one_result else model.traits


def result_parts(model: MtagModel, rows: pa.Table, place: Mapping[str, Any]) -> Iterator[Part]:
    """One stretch's wide rows through the estimator; one part a trait. NaN becomes null, as tables keep it."""
    if not rows.num_rows:
        return
    z, n, eaf = (matrix(rows, name) for name in ("z", "n", "eaf"))
    out = model.fit(z, n)
    if model.one_result:
        eaf = np.nanmean(eaf, axis=1, keepdims=True) if not np.isnan(eaf).all(axis=1).any() else _row_means(eaf)
        z = n = np.full_like(eaf, np.nan)
        out = MtagColumns(*(getattr(out, name)[:, :1] for name in ("beta", "se", "z", "p", "neglog10p")))
    # A frequency is known from the reference where the GWAS has none; which of the two alleles it is of does not matter here.
    frequency = np.where(np.isnan(eaf), rows.column("maf").to_numpy()[:, None], eaf)
    beta, se = unstandardise(out.beta, out.se, frequency)
    shared = {name: rows.column(name) for name in ("snp", "bp", "a1", "a2")}
    of_trait = {
        "eaf": eaf, "n": n, "z": z, "mtag_beta": beta, "mtag_se": se, "std_beta": out.beta, "std_se": out.se, "mtag_z": out.z,
        "mtag_p": out.p, "neglog10p": out.neglog10p,
    }
    for t, trait in enumerate(_names(model)):
        columns = {name: pa.array(values[:, t].copy(), from_pandas=True) for name, values in of_trait.items()}
        yield Part({**place, "trait": trait}, pa.table({**shared, **columns}))


def _row_means(values: Floats) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    means = np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nan)[:, None]


def _summary(wide: DataFrame, facts: ModelFacts) -> dict[str, Any]:
    """Figures before and after, by trait, with the weights; medians are exact."""
    model, k = facts.model, len(facts.model.traits)
    sums, bins = _scan(wide, model)
    values = _median_values(wide, model, [medians.middle_bins(b) for b in bins])
    found = [medians.median_of(b, medians.middle_bins(b), sorted(v)) for b, v in zip(bins, values, strict=True)]
    inflation = np.array([np.nan if m is None else lambda_gc(m) for m in found]).reshape(2, k).T
    table = summary_table(merge_scan_sums(sums), model, inflation)
    weights = weights_table(model, facts.n_mean)
    return {
        "snps": facts.n_snps, "omega_method": model.method, "traits": _records(table), "weights": _records(weights),
        "filters": {t: dict(found) for t, found in facts.filters.items()},
    }


def _scan(wide: DataFrame, model: MtagModel) -> tuple[list[ScanSums], list[NDArray[np.int64]]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums, bins = [], np.zeros((2 * len(model.traits), medians.N_BINS), np.int64)
        for batch in batches:
            for part, packed in zip(batch.column("part").to_pylist(), batch.column("packed").to_pylist(), strict=True):
                rows = exchange.unpack(packed)
                z, n = matrix(rows, "z"), matrix(rows, "n")
                out = model.fit(z, n)
                sums.append(scan_sums(z, n, out, part))
                bins += np.stack([medians.histogram(column * column) for column in np.hstack([z, out.z]).T])
        yield pa.RecordBatch.from_arrays([pa.array([pickle.dumps((sums, bins))], pa.binary())], names=["found"])

    sums: list[ScanSums] = []
    bins = np.zeros((2 * len(model.traits), medians.N_BINS), np.int64)
    for row in wide.mapInArrow(run, "found binary").collect():
        more, counted = pickle.loads(bytes(row["found"]))
        sums += more
        bins += counted
    return sums, list(bins)


def _median_values(wide: DataFrame, model: MtagModel, wanted: list[list[int]]) -> list[list[float]]:
    """Chi-squares that lie in the middle bins: first of the inputs, trait by trait, then of MTAG."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _, rows in _unpacked(batches):
            z = matrix(rows, "z")
            out = model.fit(z, matrix(rows, "n"))
            columns = np.hstack([z, out.z]).T
            found = [medians.inside(c * c, bins).tolist() for c, bins in zip(columns, wanted, strict=True)]
            yield pa.RecordBatch.from_arrays([pa.array([pickle.dumps(found)], pa.binary())], names=["found"])

    values: list[list[float]] = [[] for _ in wanted]
    for row in wide.mapInArrow(run, "found binary").collect():
        for mine, more in zip(values, pickle.loads(bytes(row["found"])), strict=True):
            mine.extend(more)
    return values


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): None if isinstance(v, float) and v != v else v for name, v in row.items()} for row in table.to_dict("records")
    ]


def _array(rows: Sequence[Sequence[float]], name: str) -> Floats:
    """A matrix of the config as an array; rows of unequal length are no matrix."""
    if len({len(row) for row in rows}) > 1:
        raise ConfigError(f"the rows of {name} have {', '.join(str(len(r)) for r in rows)} values", where=name,
                          remedy="give a square matrix")
    return np.array(rows, np.float64)


@dataclass(frozen=True)
class MtagRun:
    """A finished MTAG run: its results stay in the tables, this knows where."""

    workspace: Workspace
    report: Report

    @property
    def run_id(self) -> str:
        """Key of the run in every table."""
        return self.report.run_id

    @property
    def warnings(self) -> tuple[str, ...]:
        """Repairs, and what was found against MTAG's assumptions."""
        return self.report.warnings

    @property
    def facts(self) -> ModelFacts:
        """Omega, Sigma and what they rest on."""
        found = read_model(self.workspace, self.run_id)
        if found is None:
            raise DataError(f"there is no model of run {self.run_id!r}", where="table mtag_models", remedy="run mtag again")
        return found

    @property
    def traits(self) -> tuple[str, ...]:
        """Traits in the order of the matrices."""
        return self.facts.model.traits

    @property
    def omega(self) -> pd.DataFrame:
        """Variances and covariances of standardised effects per SNP, as used."""
        model = self.facts.model
        return pd.DataFrame(model.omega, list(model.traits), list(model.traits))

    @property
    def sigma(self) -> pd.DataFrame:
        """LD score intercepts, as used."""
        model = self.facts.model
        return pd.DataFrame(model.sigma, list(model.traits), list(model.traits))

    @property
    def summary(self) -> pd.DataFrame:
        """Per trait: SNPs, N, mean chi-square, λ and hits before and after, GWAS-equivalent N."""
        return pd.DataFrame(self.report.summary.get("traits", []))

    @property
    def weights(self) -> pd.DataFrame:
        """Which trait informs which, at the mean sample sizes."""
        return pd.DataFrame(self.report.summary.get("weights", []))

    def results(self, trait: str | None = None) -> DataFrame:
        """Per-SNP results as a Spark frame, of all traits or one."""
        rows = self.workspace.read("mtag_results").where(F.col("run_id") == self.run_id)
        return rows if trait is None else rows.where(F.col("trait") == trait)

    def max_fdr(self, intervals: int = 10, **settings: Any) -> FdrRun:
        """Upper bound of each trait's false discovery rate; see :func:`gsem_spark.max_fdr`."""
        from gsem_spark.steps.mtag_fdr import max_fdr

        return max_fdr(self.workspace, self, intervals, **settings)


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


def given_matrix(value: ArrayLike | pd.DataFrame | str | Path | None, traits: Sequence[str], name: str) -> Matrix | None:
    """A matrix given as numbers, a labelled frame, or a text file of numbers, as the config keeps it.

    Raises
    ------
    ConfigError
        The file cannot be read, or a frame does not have the traits.
    """
    if value is None:
        return None
    if isinstance(value, (str, Path)):
        try:
            value = np.loadtxt(value, ndmin=2)
        except (OSError, ValueError) as error:
            raise ConfigError(f"the matrix cannot be read: {str(error).splitlines()[0]}", where=str(value),
                              remedy="give a text file with one row of numbers a trait, separated by blanks or tabs") from None
    if isinstance(value, pd.DataFrame):
        absent = [t for t in traits if t not in value.index or t not in value.columns]
        if absent:
            raise ConfigError(f"{name} lacks {', '.join(absent)}", where=name, remedy="name rows and columns by trait")
        value = value.loc[list(traits), list(traits)].to_numpy()
    try:
        found = np.asarray(value, np.float64)
    except (ValueError, TypeError):
        raise ConfigError(f"{name} is not a matrix of numbers", where=name, remedy="give rows of equal length") from None
    if found.ndim != 2:
        raise ConfigError(f"{name} has {found.ndim} dimensions instead of 2", where=name, remedy="give a square matrix")
    return tuple(tuple(row) for row in found.tolist())
