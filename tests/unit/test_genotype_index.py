"""Variants before their genotypes are read: chromosomes, names, rules; the cut into blocks and tasks; lists of samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsem_spark.errors import DataError
from gsem_spark.readers import index_table, sample_frame
from gsem_spark.steps.genotypes import index as genotype_index
from gsem_spark.steps.genotypes.index import block_size, cut_blocks, share_out, usable_variants, with_chromosomes
from gsem_spark.steps.genotypes.samples import check_samples, chosen_samples, read_list, sample_names

RULES = {"autosomes": 22, "chromosomes": None, "sex_chromosomes": "drop", "multiallelic": "drop"}


def index_of(rows: list[tuple[str, int, str, int]], file: int = 0) -> pa.Table:
    chrom, bp, snp, alleles = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [], [], [])
    letters = pa.array(["A"] * len(rows), pa.string())
    table = index_table(pa.array(chrom, pa.string()), pa.array(bp, pa.int64()), pa.array(snp, pa.string()), letters,
                        pa.array(["G"] * len(rows), pa.string()), pa.array(alleles, pa.int32()))
    return with_chromosomes(table, file)


def test_chromosomes_by_every_name() -> None:
    names = ["1", "chr2", "Chr22", "X", "chrY", "XY", "MT", "chrM", "23", "26", "0", "27", "GL000192", ""]
    found = index_of([(name, 1, f"rs{i}", 2) for i, name in enumerate(names)]).column("chr").to_pylist()
    assert found == [1, 2, 22, 23, 24, 25, 26, 26, 23, 26, 0, None, None, None]


def test_each_rule_counts_what_the_rules_before_it_left() -> None:
    rows = [("1", 5, "rs1", 2), ("0", 0, "rs2", 2), ("weird", 3, "rs3", 2), ("X", 9, "rs4", 3), ("2", 7, "rs5", 3),
            ("2", 8, ".", 2), ("2", -4, "rs6", 2), ("3", 1, "rs7", 2), ("3", 2, "rs7", 2), ("3", 2, "rs8", 2)]
    kept, tallies = usable_variants(index_of(rows), **RULES)
    assert kept.column("snp").to_pylist() == ["rs1", "2:8:G:A", "rs6", "rs8"]
    assert kept.column("bp").to_pylist() == [5, 8, 0, 2]
    counts = {t.rule: (t.rows_in, t.rows_dropped) for t in tallies}
    assert counts == {"unplaced": (10, 2), "sex_chromosome": (8, 1), "multiallelic": (7, 1), "no_position": (6, 1),
                      "no_name": (6, 1), "duplicate": (6, 2)}
    assert next(t for t in tallies if t.rule == "unplaced").examples == ("rs2 (0:0 G/A)", "rs3 (weird:3 G/A)")
    chosen, tallies = usable_variants(index_of(rows), **{**RULES, "chromosomes": (3, 1)})
    assert chosen.column("chr").to_pylist() == [1, 3]
    with pytest.raises(DataError, match=r"1 of 8 variants lie on sex chromosomes or are mitochondrial: rs4 \(X:9 G/A\)"):
        usable_variants(index_of(rows), **{**RULES, "sex_chromosomes": "refuse"})
    with pytest.raises(DataError, match=r"1 of 7 variants have not two alleles: rs5 \(2:7 G/A\)\n.*bcftools norm"):
        usable_variants(index_of(rows), **{**RULES, "multiallelic": "refuse"})


def test_a_block_has_a_thousand_variants_or_twenty_million_genotypes() -> None:
    assert [block_size(n) for n in (1, 20_000, 40_000, 500_000, 10**9)] == [1000, 1000, 500, 40, 1]


@settings(max_examples=60, deadline=None)
@given(
    chromosomes=st.lists(st.integers(1, 4), max_size=40), cut=st.integers(0, 40), cores=st.integers(1, 9),
    sequential=st.tuples(st.booleans(), st.booleans()), size=st.integers(1, 7),
)
def test_blocks_hold_every_variant_once_in_order_whatever_the_tasks(chromosomes, cut, cores, sequential, size) -> None:
    rows = [(str(c), i, f"rs{i}", 2) for i, c in enumerate(chromosomes)]
    index = pa.concat_tables([index_of(rows[:cut], 0), index_of(rows[cut:], 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genotype_index, "BLOCK_VARIANTS", size)
        plans = cut_blocks(index, 10)
    for c in set(chromosomes):
        own = [p for p in plans if p.chr == c]
        assert [p.block for p in own] == list(range(len(own)))
        assert [p.first for p in own] == np.cumsum([0, *(p.n_variants for p in own)])[:-1].tolist()
        names = [snp for p in own for snp in p.rows().column("snp").to_pylist()]
        assert names == [r[2] for r in rows if r[0] == str(c)]
    assert max((p.n_variants for p in plans), default=0) <= size
    tasks = share_out(plans, dict(enumerate(sequential)), 10, cores, 1, 50)
    assert sorted(i for task in tasks for i in task) == list(range(len(plans)))
    for task in tasks:
        assert len({plans[i].file for i in task}) == 1
        if sequential[plans[task[0]].file]:
            places = [plans[i].start for i in task]
            assert places == sorted(places)
    for file in (0, 1):
        of_file = [task for task in tasks if plans[task[0]].file == file]
        assert len(of_file) <= 1 or not sequential[file]


def test_samples_by_name() -> None:
    people = sample_frame(["1", "2", "1"], ["a", "a", "b"])
    assert sample_names(people) == ["a:1", "a:2", "b:1"]
    assert sample_names(people.iloc[:2]) == ["1", "2"]
    places, said = chosen_samples(people, ("b 1", "a 2", "c 9"), None)
    assert places is not None
    assert (places.tolist(), said) == ([1, 2], ["1 of 3 samples of the keep list are not among the genotypes (c 9)"])
    assert chosen_samples(people, None, None) == (None, [])
    with pytest.raises(DataError, match="1 names of the list stand for several samples: 1"):
        chosen_samples(people, ("1",), None)
    with pytest.raises(DataError, match="none of 3 samples is left"):
        chosen_samples(people, None, ("a 1", "a 2", "b 1"))
    with pytest.raises(DataError, match="1 samples occur more than once: a 1"):
        check_samples(pd.concat([people, people.iloc[:1]]), "x.fam")
    with pytest.raises(DataError, match="holds no sample"):
        read_list(("#FID IID",), "keep")
