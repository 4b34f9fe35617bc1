"""Reading the mixed-model reference data, and the comparisons that several files share."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gsem_spark.methods.lmm import KinshipSums, kinship_sums

DATA = Path(__file__).parents[1] / "data" / "lmm"
GEMMA = DATA / "gemma"
LIMIX = DATA / "limix"


def load(path: Path) -> np.ndarray:
    with gzip.open(path) as handle:
        return np.load(handle, allow_pickle=False)


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t")


@dataclass(frozen=True)
class Cohort:
    """Genotypes (variants in rows, int8, -1 missing), variant ids, chromosomes, and the six phenotypes."""

    G: np.ndarray
    snps: pd.Index
    chromosome: np.ndarray
    phenotypes: np.ndarray

    def rows(self, names) -> np.ndarray:
        return self.snps.get_indexer(names)


def read_bed(bed: Path, bim: Path, n: int) -> tuple[np.ndarray, pd.DataFrame]:
    variants = pd.read_csv(bim, sep=r"\s+", header=None)
    with gzip.open(bed) as handle:
        packed = np.frombuffer(handle.read(), np.uint8)[3:].reshape(len(variants), -1)
    codes = np.stack([(packed >> shift) & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(len(variants), -1)[:, :n]
    return np.array([2, -1, 1, 0], np.int8)[codes], variants


def mouse(name: str = "mouse_hs1940") -> Cohort:
    """The HS1940 mice; ``mouse_chr19_missing`` has chromosome 19 alone, with masked calls."""
    fam = pd.read_csv(GEMMA / "mouse_hs1940.fam.gz", sep=r"\s+", header=None)
    G, bim = read_bed(GEMMA / f"{name}.bed.gz", GEMMA / f"{name}.bim.gz", len(fam))
    return Cohort(G, pd.Index(bim[1]), bim[0].to_numpy().astype(str), fam.iloc[:, 5:].to_numpy(float))


@cache
def mice() -> Cohort:
    return mouse()


@cache
def gemma_sums() -> tuple[KinshipSums, KinshipSums]:
    """GEMMA -gk 1 on the variants that pass its filter for phenotype 1, all 1,940 mice: on chromosome 19, and all of them."""
    cohort = mice()
    passed = cohort.rows(table(GEMMA / "cd8_lmm4.assoc.txt.gz")["rs"])
    on19 = cohort.chromosome[passed] == "19"
    part = kinship_sums(cohort.G[passed[on19]])
    return part, part + kinship_sums(cohort.G[passed[~on19]])


def null_model(name: str) -> dict:
    return json.loads((GEMMA / "null_models.json").read_text())[name]


def six_digits(value: float, printed: float) -> None:
    """GEMMA's logs print six significant digits."""
    np.testing.assert_allclose(value, printed, rtol=5.01e-6)
