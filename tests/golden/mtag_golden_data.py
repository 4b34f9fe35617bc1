"""The six simulated traits of the MTAG and ldsc golden sets, and the reference programs' answers.

Source: ``tests/data/mtag`` (README there): inputs and answers of JonJala/mtag 1.0.8 in ten modes and of bulik/ldsc 1.0.1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DATA = Path(__file__).parents[1] / "data" / "mtag"
TRAITS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
CONSTANT_N = {"AAA": 90_000, "BBB": 60_000, "EEE": 180_000}
AMBIGUOUS = ("AT", "TA", "CG", "GC")


@dataclass(frozen=True)
class Mode:
    """One run of the reference program: its answers, and the SNPs that it used."""

    name: str
    traits: tuple[str, ...]
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    table: pd.DataFrame

    @property
    def z(self) -> np.ndarray:
        return self.table[[f"Z{t}" for t in self.traits]].to_numpy()

    @property
    def n(self) -> np.ndarray:
        return self.table[[f"N{t}" for t in self.traits]].to_numpy(float)

    @property
    def eaf(self) -> np.ndarray:
        return self.table["FRQ"].to_numpy()

    @property
    def answer_rows(self) -> np.ndarray:
        """Places in ``table`` of the SNPs whose estimates are kept."""
        return np.asarray(pd.Index(self.table["row"]).get_indexer(self.arrays["rows"]))


@cache
def six() -> pd.DataFrame:
    """All SNPs in panel order; N of traits with one N filled in where the trait has the SNP."""
    table = pd.read_csv(DATA / "six.tsv.xz", sep="\t", float_precision="round_trip")
    for trait, n in CONSTANT_N.items():
        table[f"N{trait}"] = np.where(table[f"Z{trait}"].notna(), float(n), np.nan)
    return table.assign(row=np.arange(len(table)), ambiguous=(table.A1 + table.A2).isin(AMBIGUOUS))


@cache
def answers() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(DATA / "answers.npz") as stored:
        return json.loads((DATA / "answers.json").read_text()), dict(stored)


@cache
def mode(name: str) -> Mode:
    facts, arrays = answers()
    mine = facts["modes"][name]
    table = six()
    kept = table[~table["ambiguous"] & table[[f"Z{t}" for t in mine["traits"]]].notna().all(axis=1)]
    prefix = f"{name}/"
    own = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    return Mode(name, tuple(mine["traits"]), mine, own, kept.reset_index(drop=True))


def total_M() -> float:
    return float(answers()[0]["M"])
