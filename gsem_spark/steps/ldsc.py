"""LD score regression on Spark: two passes over one join give every pair of traits its block sums.

SNPs are joined by name, brought together by chunk of the panel, kept, and mapped through the pure functions of
:mod:`gsem_spark.methods.ldsc.regression`. What comes back to the driver is a few numbers a chunk, pair and block. Block sums
are kept in ``ldsc_blocks``, so that a new trait costs only its own pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator
from pyspark.sql import functions as F

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.ldsc.arrays import block_notices, chisq_limit
from gsem_spark.methods.ldsc.blocks import PairBlocks, PairTotals, collect_blocks, plan_second_pass
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.ldsc.covstruct_files import nan_to_none
from gsem_spark.methods.ldsc.jackknife import assemble, effective_blocks
from gsem_spark.methods.ldsc.regression import (
    BLOCK_SUMS,
    CHUNK_SNPS,
    MEDIAN_BINS,
    PAIR_SUMS,
    FirstPass,
    PassPlan,
    SecondPass,
    TraitRows,
    first_pass,
    second_pass,
    split_chunk,
)
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig, content_hash
from gsem_spark.thresholds import LDSC_INFO_MIN, LDSC_MAF_MIN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

PAIRS_PER_PASS: Final = 5000
"""Pairs whose block sums are made in one go: bounds what the driver holds to some hundred MB whatever the number of traits."""


class LdscConfig(StepConfig):
    """Settings of LD score regression."""

    traits: tuple[str, ...] = Field(min_length=1, description="trait names; their order is that of every matrix")
    panel: str = Field("eur", description="LD-score panel")
    n_blocks: int = Field(200, ge=2, description="jackknife blocks; raised to (k+1)(k+2)/2+1 for more than 18 traits")
    chisq_max: float | None = Field(None, gt=0, description="leave out SNPs above it; default max(0.001 max N, 80) per trait")
    chromosomes: Literal["odd", "even"] | tuple[int, ...] | None = Field(None, description="chromosomes used; all by default")
    info_min: float = Field(LDSC_INFO_MIN, ge=0, description="lowest imputation quality, where the file has one")
    maf_min: float = Field(LDSC_MAF_MIN, ge=0, le=0.5, description="lowest minor allele frequency in the GWAS, else reference")
    sample_prevalence: dict[str, float | None] = Field(default_factory=dict, description="overrides the traits table")
    population_prevalence: dict[str, float | None] = Field(default_factory=dict, description="overrides the traits table")

    @field_validator("traits")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({t for t in value if value.count(t) > 1})
        if repeated:
            raise ValueError(f"traits named twice: {', '.join(repeated)}")
        return value

    @field_validator("chromosomes")
    @classmethod
    def _sorted(cls, value: Literal["odd", "even"] | tuple[int, ...] | None) -> Literal["odd", "even"] | tuple[int, ...] | None:
        if isinstance(value, tuple):
            if not value:
                raise ValueError("an empty list selects no chromosome; leave it out to use all")
            return tuple(sorted(set(value)))
        return value


@dataclass(frozen=True)
class TraitSource:
    """What the ``traits`` table says of one trait."""

    name: str
    file_id: str
    sample_prevalence: float
    population_prevalence: float
    reference_rules: bool
    """Munged under ``compat="genomicsem"``: munge has applied the reference's INFO and MAF rules, so no reader's filter."""


@dataclass(frozen=True)
class PairResult:
    """Block sums of one pair with what is kept beside them."""

    names: tuple[str, str]
    blocks: PairBlocks
    figures: Mapping[str, Any]


class LdscStep(Step[LdscConfig]):
    """Estimate S, V, I, N, M of a set of traits and keep them in ``covstructs``."""

    name: ClassVar[str] = "ldsc"
    reads: ClassVar[tuple[str, ...]] = ("sumstats", "traits", "ld_scores", "ldsc_blocks")
    writes: ClassVar[tuple[str, ...]] = ("ldsc_blocks", "covstructs")

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Versions of the panel and of each trait; raises :class:`DataError` for a trait or panel that is not there."""
        sources = trait_sources(ws, self.config)
        return {f"ld_scores/{self.config.panel}": panel_version(ws, self.config.panel), **{
            f"sumstats/{s.name}": s.file_id for s in sources
        }, "prevalences": content_hash(nan_to_none([[s.sample_prevalence, s.population_prevalence] for s in sources]))}

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the structure is in ``covstructs``."""
        entry = ws.runs.last(run_id)
        if entry is not None and entry.status == "empty":
            return True
        return not ws.read("covstructs").where(F.col("covstruct_id") == run_id).select("covstruct_id").isEmpty()

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Make the block sums that are missing, commit them, and put the structure together."""
        config = self.config
        sources = trait_sources(ws, config)
        n_blocks = effective_blocks(len(sources), config.n_blocks)
        wanted = self._blocks_ids(plan, sources, n_blocks)
        with progress.stage("LDSC: block sums kept from earlier runs"):
            known = stored_blocks(ws, list(wanted), n_blocks)
        M = panel_m(ws, config)
        missing = {i: pair for i, pair in wanted.items() if i not in known}
        if missing:
            made = make_blocks(ws, config, sources, list(missing.values()), M, n_blocks, progress)
            if made is None:
                return Outcome(0, warnings=("no SNP of these traits has a Z-score, a sample size and LD scores",))
            fresh = dict(zip(missing, made, strict=True))
            store_blocks(ws, config.panel, fresh, plan.run_id)
            known |= fresh
        cov = self._assemble(plan, sources, {pair: known[i] for i, pair in wanted.items()}, M, n_blocks)
        ws.replace("covstructs", ws.frame("covstructs", [covstruct_row(cov, plan.run_id)]), {"covstruct_id": plan.run_id},
                   metadata={"run_id": plan.run_id})
        summary = {"traits": cov.k, "M": M, "n_blocks": n_blocks, "pairs_made": len(missing), "pairs_kept": len(wanted) - len(missing)}
        return Outcome(1, summary=summary, warnings=tuple(cov.warnings))

    def _blocks_ids(self, plan: Plan, sources: Sequence[TraitSource], n_blocks: int) -> dict[str, tuple[int, int]]:
        """Each pair's content hash: what its block sums depend on, and nothing else."""
        c = self.config
        common = [
            self.revision, CHUNK_SNPS, plan.inputs[f"ld_scores/{c.panel}"], c.panel, n_blocks, c.chisq_max, c.chromosomes,
            c.info_min, c.maf_min,
        ]
        out = {}
        for i in range(len(sources)):
            for j in range(i, len(sources)):
                versions = sorted([sources[i].name, sources[i].file_id] for i in (i, j))
                out[content_hash([*common, versions])] = (i, j)
        return out

    def _assemble(
        self, plan: Plan, sources: Sequence[TraitSource], results: Mapping[tuple[int, int], PairResult], M: float, n_blocks: int
    ) -> CovStruct:
        c = self.config
        return assemble(
            c.traits, {pair: result.blocks for pair, result in results.items()}, M,
            sample_prevalence=np.array([s.sample_prevalence for s in sources]),
            population_prevalence=np.array([s.population_prevalence for s in sources]),
            trait_figures=[results[i, i].figures for i in range(len(sources))],
            settings={**c.model_dump(mode="json", include={"panel", "chisq_max", "chromosomes", "info_min", "maf_min"}),
                      "n_blocks": n_blocks},
            inputs=dict(plan.inputs), notices=block_notices(len(sources), n_blocks),
        )


def ldsc(
    ws: Workspace,
    traits: Sequence[Any],
    n_blocks: int = 200,
    *,
    panel: str = "eur",
    chisq_max: float | None = None,
    chromosomes: Literal["odd", "even"] | Sequence[int] | None = None,
    info_min: float = LDSC_INFO_MIN,
    maf_min: float = LDSC_MAF_MIN,
    sample_prevalence: Mapping[str, float | None] | Sequence[float | None] | None = None,
    population_prevalence: Mapping[str, float | None] | Sequence[float | None] | None = None,
    progress: Progress | None = None,
) -> CovStruct:
    """Estimate the genetic covariance structure of munged traits by LD score regression.

    Parameters
    ----------
    ws
        Workspace with ``sumstats`` of the traits and ``ld_scores`` of the panel.
    traits
        Trait names (or :class:`gsem_spark.Trait`); their order is that of every matrix.
    n_blocks
        Jackknife blocks; for more than 18 traits (k + 1)(k + 2) / 2 + 1 are used.
    panel
        LD-score panel.
    chisq_max
        SNPs with a larger chi-square are left out; by default max(0.001 · max N, 80), per trait.
    chromosomes
        ``"odd"``, ``"even"`` or a list; all by default. M counts these chromosomes only.
    info_min, maf_min
        Lowest imputation quality and minor allele frequency, where known.
    sample_prevalence, population_prevalence
        Shares of cases by trait name (or in the order of ``traits``), instead of those given to ``munge``; None: observed scale.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    CovStruct
        Also kept in ``covstructs``. The same call again reads it from there.

    Raises
    ------
    DataError
        A trait or the panel is not in the workspace, or too few SNPs are left.
    ConfigError
        A setting is out of its range.
    """
    names = tuple(t if isinstance(t, str) else str(t.name) for t in traits)
    chosen = chromosomes if isinstance(chromosomes, str) or chromosomes is None else tuple(chromosomes)
    try:
        config = LdscConfig(
            traits=names, panel=panel, n_blocks=n_blocks, chisq_max=chisq_max, chromosomes=chosen, info_min=info_min,
            maf_min=maf_min, sample_prevalence=_by_name(sample_prevalence, names, "sample_prevalence"),
            population_prevalence=_by_name(population_prevalence, names, "population_prevalence"),
        )
    except ValueError as error:
        details = getattr(error, "errors", lambda: [{"msg": str(error), "loc": ()}])()
        raise ConfigError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in details), where="ldsc") from None
    report = LdscStep(config).run(ws, progress)
    if report.status == "empty" or (report.status == "skipped" and report.rows == 0):
        raise DataError("; ".join(report.warnings), where=f"traits {', '.join(names)}",
                        remedy="check that SNP names of the summary statistics and of the LD-score panel are both rsIDs")
    return read_covstruct(ws, report.run_id)


def read_covstruct(ws: Workspace, covstruct_id: str) -> CovStruct:
    """Read one structure of ``covstructs``; a :class:`DataError` says when there is none of that id."""
    row = ws.read("covstructs").where(F.col("covstruct_id") == covstruct_id).first()
    if row is None:
        raise DataError(f"there is no covariance structure {covstruct_id!r}", where="table covstructs", remedy="run ldsc first")
    record = row.asDict()
    return CovStruct.from_record({
        **record, "diagnostics": json.loads(record["diagnostics"]), "settings": json.loads(record["settings"]),
    })


def covstruct_row(cov: CovStruct, covstruct_id: str) -> dict[str, Any]:
    """A structure as a row of ``covstructs``."""
    record = cov.as_record()
    return {
        **record, "covstruct_id": covstruct_id,
        "S": cov.S.ravel().tolist(), "V": cov.V.ravel().tolist(), "I": cov.I.ravel().tolist(),
        "diagnostics": json.dumps(nan_to_none(record["diagnostics"])), "settings": json.dumps(nan_to_none(record["settings"])),
    }


# --- what the run depends on -------------------------------------------------------------------------------------------------
def trait_sources(ws: Workspace, config: LdscConfig) -> list[TraitSource]:
    """Look the traits up, in the order of the config."""
    rows = {row["trait"]: row for row in ws.read("traits").where(F.col("trait").isin(list(config.traits))).collect()}
    absent = [t for t in config.traits if t not in rows]
    if absent:
        known = sorted(row["trait"] for row in ws.read("traits").select("trait").collect())
        raise DataError(
            f"no munged summary statistics of {', '.join(absent)}; there are {', '.join(known) or 'none'}", where="table traits",
            remedy="run munge for these traits first",
        )
    return [
        TraitSource(
            t, rows[t]["file_id"], _prevalence(config.sample_prevalence, t, rows[t]["sample_prevalence"]),
            _prevalence(config.population_prevalence, t, rows[t]["population_prevalence"]),
            json.loads(rows[t]["settings"] or "{}").get("compat") == "genomicsem",
        )
        for t in config.traits
    ]


def _prevalence(given: Mapping[str, float | None], trait: str, stored: float | None) -> float:
    value = given.get(trait) if trait in given else stored
    return np.nan if value is None else float(value)


def _by_name(
    values: Mapping[str, float | None] | Sequence[float | None] | None, names: Sequence[str], what: str
) -> dict[str, float | None]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        if len(values) != len(names):
            raise ValueError(f"{what} has {len(values)} values for {len(names)} traits")
        values = dict(zip(names, values, strict=True))
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(f"{what} names {', '.join(unknown)}, not among the traits")
    return {name: None if value is None or np.isnan(value) else float(value) for name, value in values.items()}


def panel_version(ws: Workspace, panel: str) -> str:
    """Content hash of an LD-score panel: the same rows give the same hash, whatever files and order they stand in."""
    rows = ws.read("ld_scores").where(F.col("panel") == panel)
    columns = ("snp", "chr", "ord", "l2", "wld", "m")
    got = rows.agg(F.count("*").alias("n"), F.bit_xor(F.xxhash64(*columns)).alias("hash")).first()
    if got is None or got["n"] == 0:
        known = sorted(row["panel"] for row in ws.read("ld_scores").select("panel").distinct().collect())
        raise DataError(f"no LD scores of panel {panel!r}; there are {', '.join(known) or 'none'}", where="table ld_scores",
                        remedy="load them first: gs.load_references(ws, ld_scores=..., panel=...)")
    return f"{got['n']}:{got['hash'] & (2**64 - 1):016x}"


def panel_rows(ws: Workspace, config: LdscConfig) -> DataFrame:
    """LD scores of the panel on the chosen chromosomes."""
    rows = ws.read("ld_scores").where(F.col("panel") == config.panel)
    if config.chromosomes == "odd":
        return rows.where(F.col("chr") % 2 == 1)
    if config.chromosomes == "even":
        return rows.where(F.col("chr") % 2 == 0)
    return rows if config.chromosomes is None else rows.where(F.col("chr").isin(list(config.chromosomes)))


def panel_m(ws: Workspace, config: LdscConfig) -> float:
    """SNPs that the LD scores of the chosen chromosomes stand for."""
    by_chromosome = panel_rows(ws, config).groupBy("chr").agg(F.max("m").alias("m")).collect()
    if not by_chromosome:
        raise DataError(f"panel {config.panel!r} has no LD scores on chromosomes {config.chromosomes}", where="table ld_scores")
    return float(sum(row["m"] for row in sorted(by_chromosome, key=lambda row: row["chr"])))


# --- block sums --------------------------------------------------------------------------------------------------------------
def joined_rows(ws: Workspace, config: LdscConfig, sources: Sequence[TraitSource]) -> DataFrame:
    """Rows of all traits with their LD scores, whole chunks side by side: chunk, trait (number), ord, z, n, l2, wld."""
    names = [s.name for s in sources]
    frequency = F.coalesce(F.least("eaf", 1.0 - F.col("eaf")), F.col("maf"))
    usable = (F.col("info").isNull() | (F.col("info") >= config.info_min)) & (frequency.isNull() | (frequency >= config.maf_min))
    exempt = [s.name for s in sources if s.reference_rules]
    if exempt:
        usable = usable | F.col("trait").isin(exempt)
    rows = (
        ws.read("sumstats")
        .where(F.col("trait").isin(names) & F.col("z").isNotNull() & F.col("n").isNotNull() & usable)
        .select("snp", (F.array_position(F.array(*map(F.lit, names)), F.col("trait")) - 1).cast("int").alias("trait"), "z", "n")
    )
    scores = panel_rows(ws, config).select("snp", "ord", "l2", "wld")
    # A hash join of two shuffled sides: sorting 1 million names per trait for a merge join costs more than the join.
    joined = rows.join(scores.hint("shuffle_hash"), "snp")
    chunk = F.expr(f"ord div {CHUNK_SNPS}").cast("int").alias("chunk")
    return joined.select(chunk, "trait", "ord", "z", "n", "l2", "wld").repartition("chunk").sortWithinPartitions("chunk")


def make_blocks(
    ws: Workspace, config: LdscConfig, sources: Sequence[TraitSource], pairs: Sequence[tuple[int, int]], M: float, n_blocks: int,
    progress: Progress,
) -> list[PairResult] | None:
    """Compute the block sums of pairs of traits (numbers in ``sources``); None when no SNP is there at all."""
    # Traits by name, so that a pair's sums are the same bits in whatever order a structure lists its traits.
    used = sorted({t for pair in pairs for t in pair}, key=lambda t: sources[t].name)
    chosen = [sources[t] for t in used]
    names = [s.name for s in chosen]
    local = np.array([sorted((used.index(i), used.index(j))) for i, j in pairs], dtype=np.int64)
    rows = joined_rows(ws, config, chosen).persist()
    try:
        with progress.stage("LDSC: joining summary statistics and LD scores"):
            sizes = {r["trait"]: r for r in rows.groupBy("trait").agg(F.count("*").alias("rows"), F.max("n").alias("n")).collect()}
        if not sizes:
            return None
        _none_missing(names, sizes)
        limits = np.array([chisq_limit(float(sizes[t]["n"]), config.chisq_max) for t in range(len(names))])
        out: list[PairResult] = []
        for start in range(0, len(local), PAIRS_PER_PASS):
            part = local[start : start + PAIRS_PER_PASS]
            with progress.stage("LDSC: weights and block boundaries", total=len(part), unit="pairs") as stage:
                first = _run_first(rows, part, limits)
                stage.advance(len(part))
            plan, totals = plan_second_pass(first, part, names, M, n_blocks)
            with progress.stage("LDSC: block sums", total=len(part), unit="pairs") as stage:
                made = collect_blocks(_run_second(rows, plan, limits), plan, totals)
                stage.advance(len(part))
            for (i, j), blocks in zip(part.tolist(), made, strict=True):
                figures = {} if i != j else {
                    "n_merged": int(sizes[i]["rows"]), "chisq_max": float(limits[i]),
                    "snps_removed": int(sizes[i]["rows"] - totals.bins[i].sum()),
                }
                out.append(PairResult((names[i], names[j]), blocks, figures))
        return out
    finally:
        rows.unpersist()


def _none_missing(names: Sequence[str], sizes: Mapping[int, Any]) -> None:
    absent = [name for t, name in enumerate(names) if t not in sizes]
    if absent:
        raise DataError(f"no SNP with a Z-score, a sample size and LD scores in {', '.join(absent)}", where="table sumstats",
                        remedy="check that SNP names are rsIDs and that the file has a sample size (or give n)")


_FIRST_SCHEMA: Final = "chunk int, count array<bigint>, sums array<double>, bins array<bigint>"
_SECOND_SCHEMA: Final = (
    "chunk int, pair array<bigint>, block array<bigint>, count array<bigint>, sums array<double>, "
    "middle_trait array<bigint>, middle array<double>"
)


def _run_first(rows: DataFrame, pairs: np.ndarray, limits: np.ndarray) -> list[FirstPass]:
    def mapper(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for chunk, traits in chunks_of(batches, limits):
            done = first_pass(chunk, traits, pairs)
            yield _batch(chunk, count=done.count, sums=done.sums, bins=done.bins)

    got = rows.mapInArrow(mapper, _FIRST_SCHEMA).toArrow()
    return [
        FirstPass(chunk, count, sums.reshape(-1, PAIR_SUMS), bins.reshape(-1, MEDIAN_BINS))
        for chunk, count, sums, bins in _arrays(got)
    ]


def _run_second(rows: DataFrame, plan: PassPlan, limits: np.ndarray) -> list[SecondPass]:
    def mapper(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for chunk, traits in chunks_of(batches, limits):
            done = second_pass(chunk, traits, plan)
            yield _batch(chunk, pair=done.pair, block=done.block, count=done.count, sums=done.sums,
                         middle_trait=done.middle_trait, middle=done.middle)

    got = rows.mapInArrow(mapper, _SECOND_SCHEMA).toArrow()
    return [
        SecondPass(chunk, pair, block, count, sums.reshape(-1, BLOCK_SUMS), middle_trait, middle)
        for chunk, pair, block, count, sums, middle_trait, middle in _arrays(got)
    ]


def chunks_of(batches: Iterator[pa.RecordBatch], limits: np.ndarray) -> Iterator[tuple[int, list[TraitRows]]]:
    """Cut a stream of batches that is sorted by chunk into chunks; rows within a chunk may come in any order."""
    pending: list[pa.RecordBatch] = []
    current: int | None = None
    for batch in batches:
        chunk = batch.column("chunk").to_numpy()
        starts = np.flatnonzero(np.r_[True, chunk[1:] != chunk[:-1]]) if chunk.size else np.zeros(0, dtype=np.intp)
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), chunk.size], strict=True):
            if current is not None and chunk[start] != current:
                yield current, _sorted_chunk(pending, limits)
                pending = []
            current = int(chunk[start])
            pending.append(batch.slice(start, end - start))
    if current is not None:
        yield current, _sorted_chunk(pending, limits)


def _sorted_chunk(parts: Sequence[pa.RecordBatch], limits: np.ndarray) -> list[TraitRows]:
    """A total order of a chunk's rows (trait, SNP, then the values themselves), so that arrival order leaves no trace."""
    table = pa.Table.from_batches(parts)
    trait, ord, z, n, l2, wld = (table.column(c).to_numpy() for c in ("trait", "ord", "z", "n", "l2", "wld"))
    order = np.lexsort((n, z, ord, trait))
    return split_chunk(trait[order].astype(np.int64), TraitRows(ord, z, n, l2, wld).take(order), limits)


def _batch(chunk: int, **columns: np.ndarray) -> pa.RecordBatch:
    lists = {
        name: pa.ListArray.from_arrays(pa.array([0, values.size], pa.int32()), pa.array(values.ravel()))
        for name, values in columns.items()
    }
    return pa.RecordBatch.from_pydict({"chunk": pa.array([chunk], pa.int32()), **lists})


def _arrays(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches():
        for at in range(batch.num_rows):
            yield (int(batch.column(0)[at].as_py()), *(column[at].values.to_numpy(zero_copy_only=False) for column in batch.columns[1:]))


# --- block sums in the catalog -------------------------------------------------------------------------------------------------
def stored_blocks(ws: Workspace, ids: Sequence[str], n_blocks: int) -> dict[str, PairResult]:
    """Block sums that earlier runs left behind, by their id; incomplete ones do not count."""
    if not ws.exists("ldsc_blocks"):
        return {}
    rows = ws.read("ldsc_blocks").where(F.col("blocks_id").isin(list(ids))).toPandas()
    out = {}
    for blocks_id, part in rows.groupby("blocks_id", sort=True):
        if len(part) != n_blocks:
            continue
        ordered = part.sort_values("block")
        beside = json.loads(ordered["pair"].iloc[0])
        blocks = PairBlocks(
            ordered["n_snps"].to_numpy(np.int64), np.array(ordered["xtx"].tolist()).reshape(-1, 2, 2),
            np.array(ordered["xty"].tolist()), PairTotals.from_record(beside["totals"]),
        )
        out[str(blocks_id)] = PairResult((ordered["trait_1"].iloc[0], ordered["trait_2"].iloc[0]), blocks, beside["figures"])
    return out


def store_blocks(ws: Workspace, panel: str, results: Mapping[str, PairResult], run_id: str) -> None:
    """Keep new block sums, all in one commit."""
    rows = []
    for blocks_id, result in results.items():
        beside = json.dumps({"totals": result.blocks.totals.as_record(), "figures": result.figures})
        for b in range(len(result.blocks.count)):
            rows.append({
                "blocks_id": blocks_id, "panel": panel, "trait_1": result.names[0], "trait_2": result.names[1], "block": b,
                "n_snps": int(result.blocks.count[b]), "xtx": result.blocks.xtx[b].ravel().tolist(),
                "xty": result.blocks.xty[b].tolist(), "pair": beside,
            })
    ws.replace("ldsc_blocks", ws.frame("ldsc_blocks", rows), [{"blocks_id": i} for i in results], metadata={"run_id": run_id})
