"""Blocks of genotypes as tasks make them: read, summarised, filtered, packed; each task leaves a note of what its filters did."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark import errors
from gsem_spark.catalog.part_files import Part
from gsem_spark.errors import DataError, GsemError
from gsem_spark.methods.lmm.genotypes import filter_variants, summarise
from gsem_spark.readers import GenotypeReader
from gsem_spark.steps import exchange
from gsem_spark.steps.genotypes.index import EXAMPLES, BlockPlan, share_out

if TYPE_CHECKING:
    from gsem_spark.catalog.staged_write import StagedWrite
    from gsem_spark.catalog.workspace import Workspace

TASK_BYTES: Final = 200_000_000
"""Decoded genotypes of a task, and so of a file of the table: what a scan reads in one task, and what a lost task costs."""
SLICE_VALUES: Final = 4_000_000
"""Genotypes summarised at a time: some 200 MB of float64 while it lasts."""
_FIGURES: Final = ("af", "maf", "missing", "hwe_p", "info")
_WITHOUT_INFORMATION: Final = ("no_calls", "monomorphic")


@dataclass(frozen=True)
class VariantFilters:
    """Limits of :func:`~gsem_spark.methods.lmm.genotypes.filter_variants`, and whether variants without information stay."""

    maf: float
    missing: float
    hwe_p: float
    info: float
    keep_monomorphic: bool

    def reasons(self, summary: pd.DataFrame) -> NDArray[np.object_]:
        """Why each variant is left out; None for those that are kept."""
        found = filter_variants(summary, self.maf, self.missing, self.hwe_p, self.info)
        if self.keep_monomorphic:
            found[np.isin(found.astype(str), _WITHOUT_INFORMATION)] = None
        return found

    @property
    def meanings(self) -> dict[str, str]:
        """The rules in their order, with their limits."""
        informative = {} if self.keep_monomorphic else {"no_calls": "no sample has a genotype"}
        varying = {} if self.keep_monomorphic else {"monomorphic": "does not vary among the samples"}
        return {
            **informative,
            "missing": f"more than {self.missing:g} of the samples have no genotype",
            **varying,
            "maf": f"minor allele frequency below {self.maf:g}",
            "hwe": f"Hardy-Weinberg p below {self.hwe_p:g}",
            "info": f"imputation information below {self.info:g}",
        }


def listed_variants(ws: Workspace, readers: Sequence[GenotypeReader]) -> list[pa.Table]:
    """Variants of every file: from its list, read by the driver, or by tasks that go through the file, part by part."""
    work = [(i, part) for i, r in enumerate(readers) for part in r.index_parts]
    found: dict[tuple[int, str], pa.Table] = {}
    if work:
        shared = tuple(readers)

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for number in (n for batch in batches for n in batch.column(0).to_pylist()):
                file, part = work[number]
                packed = exchange.pack(shared[file].variants(part))
                columns = [pa.array([number]), pa.array([packed], pa.binary())]
                yield pa.RecordBatch.from_arrays(columns, names=["number", "packed"])

        try:
            rows = ws.spark.range(0, len(work), 1, len(work)).mapInArrow(run, "number long, packed binary").collect()
        except Exception as error:
            raise _task_error(error, readers) from error
        found = {work[row["number"]]: exchange.unpack(bytes(row["packed"])) for row in rows}
    return [pa.concat_tables([found[i, part] for part in r.index_parts]) if r.index_parts else r.variants()
            for i, r in enumerate(readers)]


def staged_blocks(
    ws: Workspace, cohort: str, filters: VariantFilters, readers: Sequence[GenotypeReader], columns: NDArray[np.int64] | None,
    plans: Sequence[BlockPlan], n_samples: int,
) -> StagedWrite:
    """Run the job that reads and filters the blocks; nothing is committed yet."""
    context = ws.spark.sparkContext
    width = 1 if readers[0].kind == "calls" else 4
    sequential = {i: r.sequential for i, r in enumerate(readers)}
    tasks = share_out(plans, sequential, n_samples, int(context.defaultParallelism), width, TASK_BYTES)
    shared = context.broadcast((tuple(plans), tuple(readers)))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Part] | bytes]:
        all_plans, all_readers = shared.value
        for number in (n for batch in batches for n in batch.column(0).to_pylist()):
            yield from read_blocks(all_readers, [all_plans[i] for i in tasks[number]], columns, cohort, filters)

    frame = ws.spark.range(0, len(tasks), 1, max(len(tasks), 1))
    try:
        return ws.stage(["genotype_blocks"], frame, read)
    except GsemError:
        raise
    except Exception as error:
        raise _task_error(error, readers) from error


def read_blocks(
    readers: Sequence[GenotypeReader], plans: Sequence[BlockPlan], columns: NDArray[np.int64] | None, cohort: str,
    filters: VariantFilters,
) -> Iterator[tuple[str, Part] | bytes]:
    """Rows of ``genotype_blocks`` of one task's blocks, all of one file; at the end a note of what the filters did."""
    dropped: Counter[str] = Counter()
    examples: dict[str, list[tuple[int, int, str]]] = {}
    by_chr: Counter[str] = Counter()
    blocks = 0
    tables = [plan.rows() for plan in plans]
    for plan, rows, G in zip(plans, tables, readers[plans[0].file].read(iter(tables), columns), strict=True):
        summary = summarise_slices(G)
        reasons = filters.reasons(summary)
        kept = np.array([reason is None for reason in reasons], bool)
        names = rows.column("snp").to_pylist()
        for at in np.flatnonzero(~kept).tolist():
            rule = str(reasons[at])
            dropped[rule] += 1
            if len(examples.setdefault(rule, [])) < EXAMPLES:
                examples[rule].append((plan.chr, plan.first + at, names[at]))
        if kept.any():
            by_chr[str(plan.chr)] += int(kept.sum())
            blocks += 1
            place: dict[str, str | int | None] = {"cohort": cohort, "chr": plan.chr}
            yield "genotype_blocks", Part(place, block_row(plan, rows.filter(pa.array(kept)), G[kept], summary[kept]))
    note = {"dropped": dropped, "examples": examples, "by_chr": by_chr, "kept": by_chr.total(), "blocks": blocks}
    yield json.dumps(note).encode()


def summarise_slices(G: NDArray[Any]) -> pd.DataFrame:
    """Summary of a block, a slice of variants at a time, so that memory does not grow with the samples."""
    size = max(1, SLICE_VALUES // max(G.shape[1], 1))
    return pd.concat([summarise(G[a : a + size]) for a in range(0, len(G), size)], ignore_index=True)


def block_row(plan: BlockPlan, rows: pa.Table, G: NDArray[Any], summary: pd.DataFrame) -> pa.Table:
    """One block as a row of ``genotype_blocks``, without its partition columns."""
    lists = {name: rows.column(name).to_pylist() for name in ("snp", "a1", "a2", "bp")}
    figures = {name: summary[name].to_numpy(np.float64) for name in _FIGURES}
    return pa.table({
        "block": pa.array([plan.block], pa.int32()),
        "first": pa.array([plan.first], pa.int64()),
        **{name: pa.array([lists[name]], pa.list_(pa.string())) for name in ("snp", "a1", "a2")},
        "bp": pa.array([lists["bp"]], pa.list_(pa.int64())),
        **{name: pa.ListArray.from_arrays(pa.array([0, len(v)], pa.int32()), pa.array(v)) for name, v in figures.items()},
        "genotypes": pa.array([np.ascontiguousarray(G).tobytes()], pa.binary()),
        "n_variants": pa.array([len(G)], pa.int64()),
        "n_samples": pa.array([G.shape[1]], pa.int64()),
    })


def _task_error(error: Exception, readers: Sequence[GenotypeReader]) -> GsemError:
    """What a task said of a file, as the error that it was there."""
    text = str(error)
    match = re.search(r"gsem_spark\.errors\.(\w+): (.+)(?:\n\s*Remedy: (.+))?", text)
    kind = getattr(errors, match.group(1), None) if match is not None else None
    if match is not None and isinstance(kind, type) and issubclass(kind, GsemError):
        return kind(match.group(2).strip(), remedy=(match.group(3) or "").strip())
    cause = next((line.strip() for line in text.splitlines() if "Error" in line and "Py4J" not in line), text.splitlines()[0])
    names = ", ".join(Path(r.path).name for r in readers[:EXAMPLES])
    return DataError(f"the genotypes cannot be read: {cause[:300]}", where=names,
                     remedy="check the file; every worker must see it under this path")
