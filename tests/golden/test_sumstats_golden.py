"""Standardised effects under compat="genomicsem" against GenomicSEM's sumstats(), and under the default rules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_munge_golden import TRAITS, run

RTOL = 1e-6


def against(frame: pd.DataFrame, answer: pd.DataFrame, trait: str) -> None:
    ours = frame[frame.keep_per_snp].set_index("snp")
    assert ours.index.is_unique
    assert answer.index.isin(ours.index).all()
    np.testing.assert_allclose(ours.loc[answer.index, "beta"], answer[f"beta.{trait}"], rtol=RTOL)
    np.testing.assert_allclose(ours.loc[answer.index, "se"], answer[f"se.{trait}"], rtol=RTOL)


@pytest.fixture(scope="module")
def compat_frames(demo_data: Path) -> dict[str, pd.DataFrame]:
    return {trait: run(demo_data / "raw", trait, "genomicsem")[0] for trait in TRAITS}


def test_compat_gives_the_effects_and_the_rows_of_the_reference(small: Path, compat_frames: dict[str, pd.DataFrame]) -> None:
    answer = pd.read_csv(small / "answers" / "sumstats" / "default.tsv.gz", sep="\t").set_index("SNP")
    complete = None
    for trait, frame in compat_frames.items():
        against(frame, answer, trait)
        mine = set(frame.snp[frame.keep_per_snp])
        complete = mine if complete is None else complete & mine
    assert complete == set(answer.index)  # listwise over the six traits: the very rows that the reference returns


@pytest.mark.slow
@pytest.mark.parametrize("trait", TRAITS)
def test_compat_gives_the_effects_of_the_large_set(shared_golden: Callable[[str], Path], trait: str) -> None:
    root = shared_golden("golden/gsem")
    answer = pd.read_csv(root / "answers" / "sumstats" / "default.tsv.gz", sep="\t").set_index("SNP")
    frame, _ = run(root / "inputs", trait, "genomicsem")
    against(frame, answer, trait)


@pytest.mark.parametrize("trait", TRAITS)
def test_default_effects_are_the_references_but_for_the_frequency(small: Path, demo_data: Path, trait: str) -> None:
    # the file's own frequency (FRQ) scales by default, the panel's in the reference: both are rounded to 4 digits
    answer = pd.read_csv(small / "answers" / "sumstats" / "default.tsv.gz", sep="\t").set_index("SNP")
    frame, _ = run(demo_data / "raw", trait, None)
    ours = frame[frame.keep_per_snp].set_index("snp")
    both = answer.index.intersection(ours.index)
    assert len(both) > 0.99 * len(answer)
    np.testing.assert_allclose(ours.loc[both, "beta"], answer.loc[both, f"beta.{trait}"], rtol=2e-3)
    np.testing.assert_allclose(ours.loc[both, "se"], answer.loc[both, f"se.{trait}"], rtol=2e-3)
