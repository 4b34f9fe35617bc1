"""A small cohort for mixed models: families, a trait with polygenic background and one strong variant, and its text files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from genotype_files import Cohort, write_bed

from gsem_spark.methods.lmm import kinship

HIT = 17
"""Variant with an effect on every trait."""
VARIANTS = {1: 70, 2: 50, 5: 40}


@dataclass(frozen=True)
class MixedData:
    """Genotypes and phenotypes of the same samples; ``phenotypes`` has FID, IID, y, y2, age, sex, household."""

    cohort: Cohort
    phenotypes: pd.DataFrame

    @classmethod
    def draw(cls, n: int = 90, seed: int = 8) -> MixedData:
        """Samples in families of three that share half of their genotypes' noise."""
        rng = np.random.default_rng(seed)
        cohort = Cohort.draw(n, VARIANTS, seed=seed)
        G = cohort.G.copy()
        for first in range(0, n, 3):  # the second and third of a family have half of the first one's calls
            for other in (first + 1, first + 2):
                same = rng.random(len(G)) < 0.5
                G[same, other] = G[same, first]
        G[rng.random(G.shape) < 0.02] = -9
        G[5] = -9
        G[6] = 1
        cohort = cohort.with_calls(G)
        K = kinship(np.delete(G, [5, 6], axis=0), "standardised")
        root = np.linalg.cholesky(K + 1e-6 * np.eye(n))
        hit = np.where(G[HIT] < 0, 1, G[HIT])
        age, sex = rng.uniform(20, 70, n).round(1), cohort.sex
        shared = root @ rng.normal(size=n)
        y = 1.3 * hit + shared + 0.03 * age + rng.normal(size=n)
        y2 = 1.1 * hit + 0.6 * shared + 0.8 * (root @ rng.normal(size=n)) + rng.normal(size=n)
        household = np.array([f"h{i // 4}" for i in rng.permutation(n)])
        table = pd.DataFrame({"FID": cohort.fid, "IID": cohort.iid, "y": y.round(6), "y2": y2.round(6), "age": age,
                              "sex": np.where(sex == 1, "male", "female"), "household": household})
        return cls(cohort, table)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The PLINK fileset and the phenotype file, its lines in another order; two samples have no y, one is a stranger."""
        folder.mkdir(parents=True, exist_ok=True)
        bed = write_bed(folder / "families", self.cohort)
        table = self.phenotypes.sample(frac=1.0, random_state=3)
        table = pd.concat([table, table.iloc[:1].assign(IID="stranger")], ignore_index=True)
        table.loc[table["IID"].isin(["s4", "s50"]), "y"] = np.nan
        table.to_csv(folder / "phenotypes.tsv", sep="\t", index=False, na_rep="NA")
        return bed, folder / "phenotypes.tsv"
