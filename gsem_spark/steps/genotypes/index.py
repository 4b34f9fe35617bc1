"""The variants of genotype files before any genotype is read: chromosomes, names, what cannot be used, the cut into blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.steps import exchange
from gsem_spark.steps.references.text import chromosome_codes

BLOCK_VARIANTS: Final = 1000
"""Most variants of a block."""
BLOCK_VALUES: Final = 20_000_000
"""Most genotypes of a block: 20 MB of hard calls, 80 MB of dosages. With more than 20,000 samples blocks have fewer variants."""
EXAMPLES: Final = 3
LAST_CODE: Final = 26
_BARE: Final = ("", ".")


@dataclass(frozen=True)
class Tally:
    """What one rule did to variants, as ``qc_log`` keeps it."""

    rule: str
    meaning: str
    rows_in: int
    rows_dropped: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockPlan:
    """A block of consecutive variants of a chromosome of one file; ``packed`` are its rows of the index.

    ``start`` is the place of its first variant in the file.
    """

    file: int
    start: int
    chr: int
    block: int
    first: int
    n_variants: int
    packed: bytes

    def rows(self) -> pa.Table:
        """The block's variants."""
        return exchange.unpack(self.packed)


def with_chromosomes(index: pa.Table, file: int) -> pa.Table:
    """The index with ``chr`` (PLINK's code, null where there is none of that name) and ``file``."""
    names = index.column("chrom").combine_chunks()
    codes = chromosome_codes(names)
    numeric = pc.if_else(pc.match_substring_regex(names, pattern="^(?i:chr)?[0-9]{1,2}$"), names, None)
    digits = pc.cast(pc.replace_substring_regex(numeric, pattern="^(?i:chr)", replacement=""), pa.int32())
    known = pc.if_else(pc.less_equal(pc.fill_null(digits, 0), LAST_CODE), digits, None)
    files = pa.array(np.full(index.num_rows, file, np.int32))
    return index.append_column("chr", pc.coalesce(codes, known)).append_column("file", files)


def usable_variants(
    index: pa.Table, *, autosomes: int, chromosomes: Sequence[int] | None, sex_chromosomes: str, multiallelic: str
) -> tuple[pa.Table, list[Tally]]:
    """Variants that genotypes are read of, and what each rule did.

    Parameters
    ----------
    index
        Variants with ``chr``, of all files.
    autosomes
        Chromosomes above this number are sex chromosomes or mitochondrial.
    chromosomes
        Those wanted; None for all.
    sex_chromosomes, multiallelic
        ``drop`` or ``refuse``.

    Raises
    ------
    DataError
        Sex chromosomes or multi-allelic variants are there and to be refused, with their number and examples.
    """
    tallies: list[Tally] = []
    chr_ = pc.fill_null(index.column("chr"), 0)
    index = _drop(index, pc.equal(chr_, 0), "unplaced", "chromosome 0, or of a name that is not known", tallies)
    other = pc.greater(index.column("chr"), autosomes)
    if sex_chromosomes == "refuse":
        _refuse(index, other, "lie on sex chromosomes or are mitochondrial",
                'leave them out: sex_chromosomes="drop" (command line: --sex-chromosomes drop)')
    index = _drop(index, other, "sex_chromosome", f"not an autosome: chromosome above {autosomes}", tallies)
    if chromosomes is not None:
        wanted = pa.array(list(chromosomes), pa.int32())
        index = _drop(index, pc.invert(pc.is_in(index.column("chr"), value_set=wanted)), "chromosome",
                      f"not on a chosen chromosome ({', '.join(map(str, chromosomes))})", tallies)
    several = pc.not_equal(index.column("alleles"), 2)
    if multiallelic == "refuse":
        _refuse(index, several, "have not two alleles",
                'leave them out: multiallelic="drop", or split them first (bcftools norm -m -any)')
    index = _drop(index, several, "multiallelic", "other than two alleles; split them (bcftools norm -m -any) to keep them",
                  tallies)
    index = _place(index, tallies)
    index = _name(index, tallies)
    codes = index.column("snp").combine_chunks().dictionary_encode().indices.to_numpy()
    copies = np.bincount(codes) if len(codes) else np.zeros(0, np.int64)
    index = _drop(index, pa.array(copies[codes] > 1), "duplicate", "variant name that stands more than once; all copies", tallies)
    return index, tallies


def _drop(index: pa.Table, bad: pa.Array, rule: str, meaning: str, tallies: list[Tally]) -> pa.Table:
    n = int(pc.sum(bad).as_py() or 0)
    tallies.append(Tally(rule, meaning, index.num_rows, n, _examples(index, bad) if n else ()))
    return index.filter(pc.invert(bad)) if n else index


def _refuse(index: pa.Table, bad: pa.Array, what: str, remedy: str) -> None:
    n = int(pc.sum(bad).as_py() or 0)
    if n:
        raise DataError(f"{n:,} of {index.num_rows:,} variants {what}: {', '.join(_examples(index, bad))}", where="genotypes",
                        remedy=remedy)


def _examples(index: pa.Table, bad: pa.Array) -> tuple[str, ...]:
    rows = index.filter(bad).slice(0, EXAMPLES).to_pylist()
    return tuple(f"{r['snp']} ({r['chrom']}:{r['bp']} {r['a2']}/{r['a1']})" for r in rows)


def _place(index: pa.Table, tallies: list[Tally]) -> pa.Table:
    """Negative positions become 0."""
    bp = index.column("bp")
    below = pc.less(bp, 0)
    n = int(pc.sum(below).as_py() or 0)
    meaning = "repair: negative positions become 0, not known (PLINK skips such variants)"
    tallies.append(Tally("no_position", meaning, index.num_rows, n, _examples(index, below) if n else ()))
    return index.set_column(index.column_names.index("bp"), "bp", pc.if_else(below, 0, bp)) if n else index


def _name(index: pa.Table, tallies: list[Tally]) -> pa.Table:
    """Variants without a name are called by place and alleles."""
    names = index.column("snp")
    bare = pc.is_in(names, value_set=pa.array(_BARE))
    n = int(pc.sum(bare).as_py() or 0)
    tallies.append(Tally("no_name", "repair: variants without a name are called chromosome:position:a2:a1", index.num_rows, n,
                         _examples(index, bare) if n else ()))
    if not n:
        return index
    text = [pc.cast(index.column(c), pa.string()) for c in ("chr", "bp", "a2", "a1")]
    called = pc.if_else(bare, pc.binary_join_element_wise(*text, ":"), names)
    return index.set_column(index.column_names.index("snp"), "snp", called)


def block_size(n_samples: int) -> int:
    """Variants of a block, from the number of samples alone."""
    return int(min(BLOCK_VARIANTS, max(1, BLOCK_VALUES // max(n_samples, 1))))


def cut_blocks(index: pa.Table, n_samples: int) -> list[BlockPlan]:
    """Blocks of consecutive variants, numbered within each chromosome in the order of the files.

    The cut depends on the variants and the number of samples alone, never on tasks.
    """
    size = block_size(n_samples)
    chrs: NDArray[np.int64] = index.column("chr").to_numpy().astype(np.int64)
    files: NDArray[np.int64] = index.column("file").to_numpy().astype(np.int64)
    order = np.argsort(chrs, kind="stable")  # files keep their order within a chromosome
    sorted_already = bool((np.diff(order) == 1).all())
    ordered = (index if sorted_already else index.take(pa.array(order))).drop_columns(["chr", "file"]).combine_chunks()
    plans: list[BlockPlan] = []
    numbers: dict[int, int] = {}
    firsts: dict[int, int] = {}
    for start, stop in _stretches(chrs[order], files[order]):
        chromosome, file = int(chrs[order[start]]), int(files[order[start]])
        for a in range(start, stop, size):
            b = min(a + size, stop)
            rows = ordered.slice(a, b - a)
            block, first = numbers.get(chromosome, 0), firsts.get(chromosome, 0)
            start_place = rows.column("place")[0].as_py()
            plans.append(BlockPlan(file, start_place, chromosome, block, first, b - a, exchange.pack(rows, "zstd")))
            numbers[chromosome], firsts[chromosome] = block + 1, first + b - a
    return plans


def _stretches(*keys: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Beginnings and ends of stretches in which all keys stay the same."""
    n = len(keys[0])
    changes = np.zeros(n, bool)
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    edges = [0, *np.flatnonzero(changes).tolist(), n] if n else []
    yield from pairwise(edges)


def share_out(plans: Sequence[BlockPlan], sequential: Mapping[int, bool], n_samples: int, cores: int, bytes_per_value: int,
              task_bytes: int) -> list[list[int]]:
    """Numbers of blocks by task: consecutive blocks of one file; all blocks of a file that has to be read from its beginning."""
    total = sum(p.n_variants for p in plans) * n_samples * bytes_per_value
    limit = max(1, min(task_bytes, -(-total // max(cores, 1)))) if total else 1
    tasks: list[list[int]] = []
    size = 0
    order = sorted(range(len(plans)), key=lambda i: (plans[i].file, plans[i].start if sequential.get(plans[i].file) else i))
    for i in order:
        plan = plans[i]
        same_file = bool(tasks) and plans[tasks[-1][-1]].file == plan.file
        if not same_file or (size >= limit and not sequential.get(plan.file, False)):
            tasks.append([])
            size = 0
        tasks[-1].append(i)
        size += plan.n_variants * n_samples * bytes_per_value
    return tasks


def merged_tallies(tallies: Sequence[Tally], notes: Sequence[Mapping[str, Any]], meanings: Mapping[str, str], rows_in: int
                   ) -> list[Tally]:
    """Tallies of the index and of the tasks, rule after rule; each rule's input is what the one before it left."""
    out = list(tallies)
    left = rows_in
    for rule, meaning in meanings.items():
        dropped = sum(int(note["dropped"].get(rule, 0)) for note in notes)
        examples = sorted((e for note in notes for e in note["examples"].get(rule, [])), key=lambda e: (e[0], e[1]))
        out.append(Tally(rule, meaning, left, dropped, tuple(e[2] for e in examples[:EXAMPLES])))
        left -= dropped
    return out
