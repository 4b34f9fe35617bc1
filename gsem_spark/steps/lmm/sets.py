"""Joint tests of named sets of variants: the variants of a set are brought together from their blocks and tested as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from gsem_spark.catalog.part_files import Part
from gsem_spark.errors import DataError
from gsem_spark.methods.lmm.scan import ScanPlan, scan_block
from gsem_spark.steps.genotypes.source import decode
from gsem_spark.steps.lmm.rows import Tested, block_rows, result_rows, with_hsq

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.arrow_access import Source

PIECES: Final = (
    "set string, chr int, place long, snp string, a1 string, a2 string, bp long, n_samples long, genotypes binary"
)


def read_sets(path: str) -> dict[str, list[str]]:
    """Sets by variant: of which sets each variant is, from a file with a set's name and a variant's name a line.

    Raises
    ------
    DataError
        The file is missing, empty, or a line has not two words.
    """
    if not Path(path).is_file():
        raise DataError("the file does not exist", where=path, remedy="a line has the name of a set and that of a variant")
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if words and len(words) != 2:
            raise DataError(f"line {number} has {len(words)} words, two are wanted: {line[:60]}", where=path,
                            remedy="a line has the name of a set and that of a variant")
        if words and words[0] not in sets.setdefault(words[1], []):
            sets[words[1]].append(words[0])
    if not sets:
        raise DataError("the file holds no set", where=path, remedy="a line has the name of a set and that of a variant")
    return sets


def check_sizes(sets: Mapping[str, list[str]], room: int, path: str) -> None:
    """Raise a :class:`DataError` where a set has more effects than samples leave degrees of freedom."""
    sizes: dict[str, int] = {}
    for names in sets.values():
        for name in names:
            sizes[name] = sizes.get(name, 0) + 1
    largest = max(sizes, key=lambda name: (sizes[name], name))
    if sizes[largest] >= room:
        raise DataError(f"set {largest!r} has {sizes[largest]} variants, the samples leave {room} degrees of freedom", where=path,
                        remedy="make sets smaller")


def set_pieces(source: Source, sets: Mapping[str, list[str]], tasks: int) -> DataFrame:
    """The variants of sets, a row a variant and set, each set in one partition in the order of the genome."""
    read, wanted = source.read, dict(sets)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read(batches):
            for row in block_rows(batch):
                found = [(i, name) for i, snp in enumerate(row["snp"]) for name in wanted.get(snp, ())]
                genotypes = decode(row) if found else np.empty((0, 0))
                for i, name in found:
                    one = {"set": name, "chr": row["chr"], "place": row["block"] * 1_000_000 + i, "snp": row["snp"][i],
                           "a1": row["a1"][i], "a2": row["a2"][i], "bp": row["bp"][i], "n_samples": row["n_samples"],
                           "genotypes": genotypes[i].tobytes()}
                    yield pa.RecordBatch.from_pylist([one], schema=_piece_schema())

    pieces = source.frame.mapInArrow(run, PIECES)
    return pieces.repartition(tasks, "set", "chr").sortWithinPartitions("chr", "set", "place")


def set_parts(tested: Iterable[Tested], batches: Iterable[pa.RecordBatch], run_id: str) -> Iterator[Part]:
    """Test each set with the plans for its chromosome: what a set has on another chromosome is tested there."""
    opened: dict[int, Any] = {}
    every = list(tested)
    rows = (row for batch in batches for row in batch.to_pylist())
    for (chromosome, name), pieces in groupby(rows, key=lambda r: (r["chr"], r["set"])):
        members = list(pieces)
        block = np.stack([decode({**m, "n_variants": 1})[0] for m in members])
        columns = {key: [m[key] for m in members] for key in ("snp", "a1", "a2", "bp")}
        for number, one in enumerate(every):
            if one.chromosome not in (None, chromosome):
                continue
            plan: ScanPlan = opened.setdefault(number, one.plan.load())
            chosen = block if one.places is None else np.ascontiguousarray(block[:, one.places])
            frame = with_hsq(plan, scan_block(plan, chosen, sets=[list(range(len(block)))]))
            kind = frame["hypothesis"].replace({"effect": "set"}) + f":{name}"
            yield Part({"run_id": run_id, "chr": chromosome}, result_rows(frame.assign(design=kind, trait=one.trait), columns))


def _piece_schema() -> pa.Schema:
    text, number = pa.string(), pa.int64()
    return pa.schema([("set", text), ("chr", pa.int32()), ("place", number), ("snp", text), ("a1", text), ("a2", text),
                      ("bp", number), ("n_samples", number), ("genotypes", pa.binary())])
