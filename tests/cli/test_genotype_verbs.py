"""``genotypes`` and ``kinship`` as they are typed, in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from genotype_files import Cohort, write_bed, write_bgen
from verb_runner import type_in

import gsem_spark as gs


def in_one_line(*arguments):
    """Run a verb; its exit status, and all that it printed in one line."""
    status, said = type_in(*arguments)
    return status, " ".join(said.split())


@pytest.fixture
def mice() -> Cohort:
    return Cohort.draw(30, {1: 60, 2: 40, 23: 3}, missing=0.02, seed=12)


def test_from_files_to_kinships(parquet_workspace: gs.Workspace, mice: Cohort, tmp_path: Path) -> None:
    place = parquet_workspace.location
    for chromosome in (1, 2):
        write_bgen(tmp_path / f"chr{chromosome}.bgen", mice.variants(mice.chr == chromosome), index=chromosome == 1)
    options = ("--cohort", "mice", "--maf", 0.1, "--as-reference", "-q")
    status, said = in_one_line("genotypes", place, tmp_path / "chr{chr}.bgen", *options)
    assert status == 0, said
    for words in ("genotypes │ done", "load_variants │ done", "cohort mice: 30 samples", "minor allele frequency below 0.1"):
        assert words in said
    ws = gs.Workspace.open(place, parquet_workspace.spark)
    af = np.nanmean(np.where(mice.G < 0, np.nan, mice.G), axis=1) / 2
    kept = (mice.chr < 23) & (np.minimum(af, 1 - af) >= 0.1 + 1e-3)
    reference = ws.read("reference_variants").toPandas().set_index("snp")
    assert set(mice.snp[kept]) <= set(reference.index)
    np.testing.assert_allclose(reference.loc[mice.snp[kept], "maf"], np.minimum(af, 1 - af)[kept], atol=2e-3)
    assert reference.loc[mice.snp[kept], "a1"].tolist() == mice.a1[kept].tolist()

    status, said = in_one_line("kinship", place, "--kind", "standardised", "-q")
    assert status == 0, said
    for words in ("kinship │ done", "largest eigenvalues", "also without chromosomes │ 1, 2"):
        assert words in said
    status, said = in_one_line("kinship", place, "--kind", "low_rank", "--rank", 3, "--no-loco", "-q")
    assert (status, "rank │ 3" in said) == (0, True), said


def test_what_is_wrong_is_said_with_its_remedy(parquet_workspace: gs.Workspace, mice: Cohort, tmp_path: Path) -> None:
    place = parquet_workspace.location
    _, said = in_one_line("kinship", place)
    assert said.startswith(f"error: no genotypes are loaded where: {place} remedy: gsem-spark genotypes")
    status, said = in_one_line("genotypes", place, tmp_path / "no.bed", "-q")
    assert (status, "the file does not exist" in said) == (4, True)
    bed = write_bed(tmp_path / "mice", mice)
    status, said = in_one_line("genotypes", place, bed, "--info", 0.5, "-q")
    assert (status, "hard calls do not say how well they were imputed" in said) == (2, True)
    status, said = in_one_line("genotypes", place, bed, "--chromosomes", "1-x", "-q")
    assert (status, "no list of chromosomes" in said) == (2, True)
    status, said = in_one_line("genotypes", place, bed, "--chromosomes", "1-2", "-q")
    assert (status, "sex_chromosome" in said, "3 of 103 variants left out" in said) == (0, True, True), said
    status, said = in_one_line("kinship", place, "--kind", "low_rank")
    assert (status, "needs a rank" in said) == (2, True)
