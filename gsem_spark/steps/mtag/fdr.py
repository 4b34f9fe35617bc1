"""maxFDR of an MTAG run as a Spark job: tasks search ranges of grid points, the driver merges their best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.mtag.fdr import FdrProblem, fdr_problem
from gsem_spark.methods.mtag.lattice import Lattice, grid
from gsem_spark.methods.mtag.maxfdr import GridBest, MaxFdr, conclude, merge_best, search
from gsem_spark.methods.mtag.spike_slab import spike_slab
from gsem_spark.steps import exchange
from gsem_spark.steps.found_runs import FinishedRun, finished, run_id_of
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.mtag.model import ModelFacts, read_model
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig, checked_config
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.steps.mtag.run import MtagRun

Floats = NDArray[np.float64]
PIECE_POINTS: Final = 65_536
"""Grid points of one piece of work: about a tenth of a second."""
PIECES_PER_JOB: Final = 1_000
"""Pieces of one Spark job, after which progress is told."""
LARGEST_GRID: Final = 20_000_000_000
"""Beyond this many points a search takes days of processor time."""


class FdrConfig(StepConfig):
    """Settings of the maxFDR search."""

    mtag_run: str | None = Field(None, description="MTAG run; the last one by default")
    intervals: int = Field(10, ge=1, description="grid steps from 0 to 1")
    p_threshold: float = Field(GENOME_WIDE_P, gt=0, lt=1, description="significance of a hit")
    states: tuple[str, ...] | None = Field(
        None, description="states that a SNP may be in, as T and F by trait (TTF: causal for the first two); all when left out"
    )
    fit_causal_share: bool = Field(
        False, description="search only near each trait's share of causal SNPs, from a mixture fitted to its Z-scores"
    )
    causal_share: tuple[float, ...] | None = Field(None, description="those shares, where they are known")
    refine: bool = Field(False, description="search on between grid points from the best one")


class FdrStep(Step[FdrConfig]):
    """Search for the largest false discovery rate over all ways of sharing causal SNPs out among the traits."""

    name: ClassVar[str] = "mtag_fdr"
    reads: ClassVar[tuple[str, ...]] = ("mtag_models", "mtag_results")
    writes: ClassVar[tuple[str, ...]] = ("mtag_fdr",)

    _facts: ModelFacts
    _mtag_run: str

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """The MTAG run's model; raises :class:`DataError` where there is none, :class:`ConfigError` for a grid without sense."""
        c = self.config
        entry = finished(ws, "mtag", c.mtag_run, "mtag")
        found = read_model(ws, entry.run_id)
        if found is None:
            raise DataError(f"there is no model of run {entry.run_id}", where="table mtag_models", remedy="run mtag again")
        if found.model.one_result:
            raise ConfigError("maxFDR of a meta-analysis (equal_h2) has no meaning: all traits are one", where="mtag_fdr",
                              remedy="run mtag without equal_h2")
        if c.fit_causal_share and c.causal_share is not None:
            raise ConfigError("shares of causal SNPs are given and to be fitted", where="causal_share", remedy="choose one")
        if c.causal_share is not None and len(c.causal_share) != len(found.model.traits):
            raise ConfigError(f"{len(c.causal_share)} shares for {len(found.model.traits)} traits", where="causal_share",
                              remedy="give one share a trait")
        self._facts, self._mtag_run = found, entry.run_id
        _, lattice = self._problem()
        if lattice.size > LARGEST_GRID:
            raise ConfigError(f"the grid has {lattice.size:,} points", where="intervals",
                              remedy="take fewer intervals, or name the states that are plausible")
        return {"mtag_run": entry.run_id}

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the bound is in ``mtag_fdr``."""
        return bool(ws.count("mtag_fdr", {"run_id": run_id}))

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Search, conclude, commit."""
        c, traits = self.config, self._facts.model.traits
        share = None if c.causal_share is None else np.array(c.causal_share)
        if c.fit_causal_share:
            with progress.stage("maxFDR: shares of causal SNPs"):
                share = _fitted_shares(ws, self._mtag_run, traits)
        problem, lattice = self._problem()
        best = _search(ws, problem, lattice, share, progress)
        found = conclude(problem, lattice, best, traits=traits, refine=c.refine)
        rows = _rows(found, share, plan.run_id, self._mtag_run)
        ws.put("mtag_fdr", rows, {"run_id": plan.run_id}, metadata={"run_id": plan.run_id})
        bounds = dict(zip(traits, found.refined_fdr.tolist(), strict=True))
        summary = {"max_fdr": bounds, "searched": found.searched, "feasible": found.feasible, "mtag_run": self._mtag_run}
        return Outcome(len(traits), summary=summary, warnings=found.notices)

    def _problem(self) -> tuple[FdrProblem, Lattice]:
        c, model = self.config, self._facts.model
        states = None if c.states is None else _states(c.states, len(model.traits))
        problem = fdr_problem(
            model.omega, model.sigma, self._facts.n_mean, p_threshold=c.p_threshold, states=states, traits=model.traits
        )
        return problem, grid(len(model.traits), c.intervals, problem.states)


def _states(names: Sequence[str], k: int) -> NDArray[np.bool_]:
    wrong = [name for name in names if len(name) != k or set(name.upper()) - {"T", "F"}]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is not a state of {k} traits", where="states",
                          remedy=f"write {k} letters T or F, e.g. {'T' * k} for a SNP that is causal for all")
    return np.array([[letter == "T" for letter in name.upper()] for name in names], dtype=np.bool_)


def _search(ws: Workspace, problem: FdrProblem, lattice: Lattice, share: Floats | None, progress: Progress) -> GridBest:
    context = ws.spark.sparkContext
    shared, size, piece = context.broadcast((problem, lattice, share)), lattice.size, PIECE_POINTS

    def best_of_pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[GridBest]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                the_problem, the_lattice, near = shared.value
                yield search(the_problem, the_lattice, number * piece, min((number + 1) * piece, size), near)

    pieces, best = -(-size // piece), None
    with progress.stage("maxFDR", total=size, unit="grid points") as stage:
        for start in range(0, pieces, PIECES_PER_JOB):
            stop = min(start + PIECES_PER_JOB, pieces)
            tasks = min(stop - start, 8 * int(context.defaultParallelism))
            found = gathered(ws.spark.range(start, stop, 1, tasks), best_of_pieces)
            best = merge_best([*([best] if best is not None else []), *found])
            stage.advance(min(stop * piece, size) - start * piece)
    if best is None:
        raise ConfigError("the grid has no point", where="intervals")
    return best


def _fitted_shares(ws: Workspace, mtag_run: str, traits: Sequence[str]) -> Floats:
    """Each trait's share of causal SNPs: one task a trait, its Z-scores in an order of their own."""
    rows = ws.source("mtag_results", ["trait", "z", "n"], {"run_id": mtag_run})
    read, names = rows.read, list(traits)

    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (pa.Table.from_batches([batch]) for batch in read(batches))
        yield from exchange.packages("rows", tables, _trait_number)

    def _trait_number(table: pa.Table) -> NDArray[np.int64]:
        return np.asarray(pc.index_in(table.column("trait"), value_set=pa.array(names)).to_numpy(), np.int64)

    def receive(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for trait, kinds in exchange.received(batches):
            table = kinds["rows"].sort_by([("z", "ascending"), ("n", "ascending")])
            found = spike_slab(table.column("z").to_numpy(), table.column("n").to_numpy())
            yield pa.RecordBatch.from_pydict({"trait": [trait], "share": [found.causal_share], "sure": [found.converged]})

    together = rows.frame.mapInArrow(send, exchange.PACKED_SCHEMA).repartition(len(names), "bucket")
    found = {r["trait"]: r for r in together.mapInArrow(receive, "trait long, share double, sure boolean").collect()}
    unsure = [names[t] for t, row in sorted(found.items()) if not row["sure"]]
    if unsure or len(found) < len(names):
        raise DataError(f"no share of causal SNPs can be told for {', '.join(unsure) or 'some traits'}", where="fit_causal_share",
                        remedy="search the whole grid, or give causal_share")
    return np.array([found[t]["share"] for t in range(len(names))])


def _rows(found: MaxFdr, share: Floats | None, run_id: str, mtag_run: str) -> list[dict[str, Any]]:
    states = ["".join("T" if causal else "F" for causal in state) for state in found.states.tolist()]
    return [
        {
            "run_id": run_id, "mtag_run": mtag_run, "trait": trait, "max_fdr": float(found.refined_fdr[t]),
            "grid_fdr": float(found.fdr[t]), "grid_index": int(found.index[t]),
            "probabilities": found.refined_probabilities[t].tolist(), "states": states,
            "causal_share": None if share is None else float(share[t]), "intervals": found.intervals,
            "p_threshold": found.p_threshold, "searched": found.searched, "feasible": found.feasible,
        }
        for t, trait in enumerate(found.traits)
    ]


@dataclass(frozen=True)
class FdrRun(FinishedRun):
    """A finished maxFDR search."""

    def table(self) -> pd.DataFrame:
        """One row a trait: the bound, where it is reached, and what was searched."""
        rows = self.workspace.rows("mtag_fdr", {"run_id": self.run_id}).to_pandas()
        place = {t: i for i, t in enumerate(self.report.summary["max_fdr"])}
        ordered: pd.DataFrame = rows.sort_values("trait", key=lambda c: c.map(place), ignore_index=True)
        return ordered

    @property
    def fdr(self) -> dict[str, float]:
        """The bound by trait."""
        return dict(self.report.summary["max_fdr"])


def max_fdr(
    ws: Workspace, run: MtagRun | str | None = None, intervals: int = 10, *, progress: Progress | None = None, **settings: Any
) -> FdrRun:
    """Upper bound of the false discovery rate of an MTAG run's traits.

    Parameters
    ----------
    ws
        The run's workspace.
    run
        What ``mtag`` returned, or its run id; the last run by default.
    intervals
        Grid steps from 0 to 1: C(intervals + 2^k - 1, 2^k - 1) points for k traits.
    progress
        Where to show progress; silent by default.
    **settings
        ``p_threshold``, ``states`` (such as ``["FFF", "TTT", "TFF"]``), ``fit_causal_share``, ``causal_share``, ``refine``.

    Returns
    -------
    FdrRun
        The bound by trait, kept in ``mtag_fdr``; warned of above 5 %.

    Raises
    ------
    DataError
        There is no such run.
    ConfigError
        A setting is wrong, or leaves no grid point.

    Notes
    -----
    Source: Turley et al. 2018, Nat Genet 50:229, Supplementary Note 1.1.4.
    """
    config = checked_config(FdrConfig, "max_fdr", mtag_run=run_id_of(run), intervals=intervals, **settings)
    return FdrRun(ws, FdrStep(config).run(ws, progress))
