"""ldsc's own estimator as a step: every regression goes over its SNPs several times, so each task has whole traits.

Traits are put into groups, and a task has the rows of two groups: it makes the regressions of all pairs between them. A
trait's rows are sent to as many tasks as there are groups, and no task holds more than two groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.arrays import LdscTrait, block_notices
from gsem_spark.methods.ldsc.jackknife import effective_blocks
from gsem_spark.methods.ldsc.two_step import Correlation, Regression
from gsem_spark.methods.ldsc.two_step_covstruct import TwoStepRules, pair_regression, two_step_structure
from gsem_spark.steps import exchange
from gsem_spark.steps.gather import gathered
from gsem_spark.steps.ldsc.inputs import LdscConfig, TraitSource, hm3_listed
from gsem_spark.steps.ldsc.passes import joined_rows, none_missing, with_scores
from gsem_spark.steps.ldsc.step import LdscStep, covstruct_row
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.step import Outcome, Plan

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace

Pair = tuple[int, int]
_Found = Regression | Correlation | DataError
GROUP_TRAITS: Final = 6
"""Most traits of a group: a task then holds at most twelve traits, some 600 MB at a million SNPs each."""


class TwoStepLdscStep(LdscStep):
    """Estimate S, V, I, N, M as the program ldsc does, and keep them in ``covstructs``."""

    name: ClassVar[str] = "ldsc_two_step"
    reads: ClassVar[tuple[str, ...]] = ("sumstats", "traits", "ld_scores")
    writes: ClassVar[tuple[str, ...]] = ("covstructs",)

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Regress all pairs, put the structure together, commit it."""
        c, sources = self.config, self._sources
        M, k = self._panel.total_m(c.chromosomes), len(sources)
        rules = TwoStepRules(effective_blocks(k, c.n_blocks), c.two_step, c.two_step_pairs, c.chisq_max)
        with progress.stage("LDSC: joining, regressions", total=k * (k + 1) // 2, unit="pairs") as stage:
            found = regressions(ws, c, sources, M, rules)
            stage.advance(k * (k + 1) // 2)
        if not found:
            return Outcome(0, warnings=("no SNP of these traits has a Z-score, a sample size and LD scores",))
        kept = ("panel", "chromosomes", "info_min", "maf_min")
        cov = two_step_structure(
            c.traits, found, M, rules, sample_prevalence=np.array([s.sample_prevalence for s in sources]),
            population_prevalence=np.array([s.population_prevalence for s in sources]),
            settings=c.model_dump(mode="json", include=set(kept)), inputs=dict(plan.inputs),
            notices=block_notices(k, rules.n_blocks),
        )
        with progress.stage("LDSC: keeping the results"):
            said = {"run_id": plan.run_id}
            ws.put("covstructs", [covstruct_row(cov, plan.run_id)], {"covstruct_id": plan.run_id}, metadata=said)
        return Outcome(1, summary={"traits": k, "M": M, "n_blocks": rules.n_blocks}, warnings=tuple(cov.warnings))


def trait_groups(k: int, tasks: int) -> list[range]:
    """Cut k traits into as few groups as give so many pairs of groups, none larger than GROUP_TRAITS."""
    wanted = next(g for g in range(1, k + 1) if g == k or (g * (g + 1) // 2 >= tasks and -(-k // g) <= GROUP_TRAITS))
    edges = np.linspace(0, k, wanted + 1).astype(int).tolist()
    return [range(a, b) for a, b in pairwise(edges)]


def regressions(
    ws: Workspace, config: LdscConfig, sources: Sequence[TraitSource], M: float, rules: TwoStepRules
) -> dict[Pair, Regression | Correlation]:
    """Regressions of all pairs of traits (numbers in ``sources``); nothing when no SNP is there at all.

    Raises
    ------
    DataError
        A trait has no usable SNP, or a pair too few.
    """
    names, listed_only = [s.name for s in sources], hm3_listed(ws)
    groups = trait_groups(len(names), 2 * int(ws.spark.sparkContext.defaultParallelism))
    tasks = [(a, b) for a in range(len(groups)) for b in range(a, len(groups))]
    members = [sorted({*groups[a], *groups[b]}) for a, b in tasks]

    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _, kinds in exchange.received(batches):
            rows = with_scores(kinds, listed_only)
            if rows is None:
                continue
            for task, wanted in enumerate(members):
                mine = rows.filter(pc.is_in(rows.column("trait"), value_set=pa.array(wanted, pa.int32())))
                if mine.num_rows:
                    packed = [pa.array([task], pa.int32()), pa.array(["rows"]), pa.array([exchange.pack(mine)], pa.binary())]
                    yield pa.RecordBatch.from_arrays(packed, names=["bucket", "kind", "packed"])

    def receive(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[dict[int, int], dict[Pair, _Found]]]:
        for task, kinds in exchange.received(batches):
            a, b = tasks[task]
            traits, l2, wld = _panel_traits(kinds["rows"], names)
            counts = {t: traits[t].ord.size for t in traits}
            found: dict[Pair, _Found] = {}
            for pair in ((i, j) for i in groups[a] for j in groups[b] if i <= j and i in traits and j in traits):
                try:
                    found[pair] = pair_regression(traits[pair[0]], traits[pair[1]], l2, wld, M, rules)
                except DataError as error:
                    found[pair] = error
            yield counts, found

    rows = joined_rows(ws, config, sources).mapInArrow(send, exchange.PACKED_SCHEMA)
    counts: dict[int, int] = {}
    found: dict[Pair, _Found] = {}
    for counted, made in gathered(rows.repartition(len(tasks), "bucket"), receive):
        counts |= counted
        found |= made
    if not counts:
        return {}
    none_missing(names, np.array([counts.get(t, 0) for t in range(len(names))]))
    return {pair: _made(found[pair], [names[t] for t in pair]) for pair in sorted(found)}


def _made(found: _Found, names: Sequence[str]) -> Regression | Correlation:
    if isinstance(found, DataError):
        place = f"trait {names[0]}" if names[0] == names[1] else f"traits {names[0]} and {names[1]}"
        raise DataError(found.what, where=place, remedy=found.remedy)
    return found


def _panel_traits(rows: pa.Table, names: Sequence[str]) -> tuple[dict[int, LdscTrait], NDArray[np.float64], NDArray[np.float64]]:
    """Traits of a task by number, on the part of the panel that any of them has; of copies of a SNP the smallest comes first."""
    keys = ("trait", "ord", "z", "n")
    rows = rows.sort_by([(key, "ascending") for key in keys])
    trait, ord = rows.column("trait").to_numpy(), rows.column("ord").to_numpy()
    _, first, place = np.unique(ord, return_index=True, return_inverse=True)
    z, n, l2, wld = (rows.column(name).to_numpy() for name in ("z", "n", "l2", "wld"))
    edges, place = np.searchsorted(trait, np.arange(len(names) + 1)), place.ravel()
    traits = {t: LdscTrait(names[t], place[i:j], z[i:j], n[i:j]) for t, (i, j) in enumerate(pairwise(edges.tolist())) if i < j}
    return traits, l2[first], wld[first]
