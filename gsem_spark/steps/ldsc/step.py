"""LD score regression as a step: block sums that are not there yet are made, kept and put together into S, V, I, N, M.

Block sums are kept per pair in ``ldsc_blocks`` under a hash of what they depend on, so that a new trait costs only its own
pairs. How they are made stands in :mod:`gsem_spark.steps.ldsc.passes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.ldsc.arrays import block_notices
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.ldsc.covstruct_files import nan_to_none
from gsem_spark.methods.ldsc.jackknife import assemble, effective_blocks
from gsem_spark.methods.ldsc.regression import CHUNK_SNPS
from gsem_spark.methods.ldsc.two_step import TWO_STEP_CUT
from gsem_spark.steps.found_runs import finished
from gsem_spark.steps.ldsc.inputs import LdscConfig, PanelSource, TraitSource, panel_source, trait_sources
from gsem_spark.steps.ldsc.passes import PairResult, block_rows, make_blocks, stored_blocks
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step, checked_config, content_hash
from gsem_spark.thresholds import LDSC_INFO_MIN, LDSC_MAF_MIN

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


class LdscStep(Step[LdscConfig]):
    """Estimate S, V, I, N, M of a set of traits and keep them in ``covstructs``."""

    name: ClassVar[str] = "ldsc"
    reads: ClassVar[tuple[str, ...]] = ("sumstats", "traits", "ld_scores", "ldsc_blocks")
    writes: ClassVar[tuple[str, ...]] = ("ldsc_blocks", "covstructs")

    _sources: list[TraitSource]
    _panel: PanelSource

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """Versions of the panel and of each trait; raises :class:`DataError` for a trait or panel that is not there."""
        self._sources, self._panel = trait_sources(ws, self.config), panel_source(ws, self.config)
        return {
            f"ld_scores/{self.config.panel}": self._panel.version,
            **{f"sumstats/{s.name}": s.file_id for s in self._sources},
            "prevalences": content_hash(nan_to_none([[s.sample_prevalence, s.population_prevalence] for s in self._sources])),
        }

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the structure is in ``covstructs``."""
        entry = ws.runs.last(run_id)
        if entry is not None and entry.status == "empty":
            return True
        return bool(ws.count("covstructs", {"covstruct_id": run_id}))

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Make the block sums that are missing, commit them, and put the structure together."""
        config, sources = self.config, self._sources
        M = self._panel.total_m(config.chromosomes)
        n_blocks = effective_blocks(len(sources), config.n_blocks)
        wanted = self._blocks_ids(plan, sources, n_blocks)
        with progress.stage("LDSC: block sums kept from earlier runs"):
            known = stored_blocks(ws, list(wanted), n_blocks)
        missing = {i: pair for i, pair in wanted.items() if i not in known}
        fresh: dict[str, PairResult] = {}
        if missing:
            made = make_blocks(ws, config, sources, list(missing.values()), M, n_blocks, progress)
            if made is None:
                return Outcome(0, warnings=("no SNP of these traits has a Z-score, a sample size and LD scores",))
            fresh = dict(zip(missing, made, strict=True))
            known |= fresh
        cov = self._assemble(plan, sources, {pair: known[i] for i, pair in wanted.items()}, M, n_blocks)
        with progress.stage("LDSC: keeping the results"):
            self._keep(ws, cov, fresh, plan)
        kept = len(wanted) - len(fresh)
        summary = {"traits": cov.k, "M": M, "n_blocks": n_blocks, "pairs_made": len(fresh), "pairs_kept": kept}
        return Outcome(1, summary=summary, warnings=tuple(cov.warnings))

    def _keep(self, ws: Workspace, cov: CovStruct, fresh: Mapping[str, PairResult], plan: Plan) -> None:
        """Commit new block sums and the structure; each stands for itself, so a crash between the two commits does no harm."""
        said = {"run_id": plan.run_id}
        if fresh:
            ws.put("ldsc_blocks", block_rows(fresh, self.config.panel), [{"blocks_id": i} for i in fresh], metadata=said)
        ws.put("covstructs", [covstruct_row(cov, plan.run_id)], {"covstruct_id": plan.run_id}, metadata=said)

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
            settings={**c.model_dump(mode="json", include={"panel", "method", "chisq_max", "chromosomes", "info_min", "maf_min"}),
                      "n_blocks": n_blocks},
            inputs=dict(plan.inputs), notices=block_notices(len(sources), n_blocks),
        )


def ldsc_step(config: LdscConfig) -> LdscStep:
    """Make the step of the config's method."""
    from gsem_spark.steps.ldsc.two_step import TwoStepLdscStep

    return TwoStepLdscStep(config) if config.method == "ldsc" else LdscStep(config)


def ldsc(
    ws: Workspace,
    traits: Sequence[Any],
    n_blocks: int = 200,
    *,
    panel: str = "eur",
    method: Literal["genomicsem", "ldsc"] = "genomicsem",
    chisq_max: float | None = None,
    two_step: float | None = TWO_STEP_CUT,
    two_step_pairs: float | None = None,
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
    method
        ``"genomicsem"``: GenomicSEM's regressions, whose weights stay fixed. ``"ldsc"``: those of the program ldsc, which take
        their weights from their own fit, heritabilities in two steps; every pair of traits is regressed anew in each run.
    chisq_max
        SNPs with a larger chi-square are left out; by default max(0.001 · max N, 80), per trait, and none with method ldsc.
    two_step, two_step_pairs
        With method ldsc the chi-square cut of step 1 for heritabilities and for pairs of traits (None: one step).
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
    config = checked_config(
        LdscConfig, "ldsc", traits=names, panel=panel, method=method, n_blocks=n_blocks, chisq_max=chisq_max, two_step=two_step,
        two_step_pairs=two_step_pairs, chromosomes=chosen, info_min=info_min, maf_min=maf_min,
        sample_prevalence=_by_name(sample_prevalence, names, "sample_prevalence"),
        population_prevalence=_by_name(population_prevalence, names, "population_prevalence"),
    )
    report = ldsc_step(config).run(ws, progress)
    if report.status == "empty" or (report.status == "skipped" and report.rows == 0):
        raise DataError("; ".join(report.warnings), where=f"traits {', '.join(names)}",
                        remedy="check that SNP names of the summary statistics and of the LD-score panel are both rsIDs")
    return read_covstruct(ws, report.run_id)


def _by_name(
    values: Mapping[str, float | None] | Sequence[float | None] | None, names: Sequence[str], what: str
) -> dict[str, float | None]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        if len(values) != len(names):
            raise ConfigError(f"{what} has {len(values)} values for {len(names)} traits")
        values = dict(zip(names, values, strict=True))
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ConfigError(f"{what} names {', '.join(unknown)}, not among the traits")
    return {name: None if value is None or np.isnan(value) else float(value) for name, value in values.items()}


def read_covstruct(ws: Workspace, covstruct_id: str) -> CovStruct:
    """Read one structure of ``covstructs``; a :class:`DataError` says when there is none of that id."""
    rows = ws.records("covstructs", {"covstruct_id": covstruct_id})
    if not rows:
        raise DataError(f"there is no covariance structure {covstruct_id!r}", where="table covstructs", remedy="run ldsc first")
    record = rows[0]
    return CovStruct.from_record({
        **record, "diagnostics": json.loads(record["diagnostics"]), "settings": json.loads(record["settings"]),
    })


def chosen_covstruct(ws: Workspace, covstruct_id: str | None = None) -> CovStruct:
    """Read a structure by its id; that of the last LD score regression, by whatever method, for None or ``last``.

    Raises
    ------
    DataError
        There is none.
    """
    if covstruct_id is None or covstruct_id == "last":
        covstruct_id = finished(ws, ("ldsc", "ldsc_two_step"), None, "ldsc").run_id
    return read_covstruct(ws, covstruct_id)


def covstruct_row(cov: CovStruct, covstruct_id: str) -> dict[str, Any]:
    """Write a structure as a row of ``covstructs``."""
    record = cov.as_record()
    return {
        **record, "covstruct_id": covstruct_id,
        "S": cov.S.ravel().tolist(), "V": cov.V.ravel().tolist(), "I": cov.I.ravel().tolist(),
        "diagnostics": json.dumps(nan_to_none(record["diagnostics"])), "settings": json.dumps(nan_to_none(record["settings"])),
    }
