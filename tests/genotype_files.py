"""Small genotype files for tests, written with the formats' own libraries when a test needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ALLELES = (("A", "G"), ("C", "T"), ("T", "C"), ("G", "A"))


@dataclass(frozen=True)
class Cohort:
    """Genotypes to be written: ``G`` is (variants, samples) copies of ``a1``, -9 missing."""

    G: np.ndarray
    chr: np.ndarray
    bp: np.ndarray
    snp: np.ndarray
    a1: np.ndarray
    a2: np.ndarray
    fid: np.ndarray
    iid: np.ndarray
    father: np.ndarray
    mother: np.ndarray
    sex: np.ndarray

    @classmethod
    def draw(cls, n: int, variants: Mapping[int, int], missing: float = 0.0, seed: int = 1) -> Cohort:
        """Independent variants in Hardy-Weinberg proportions, so many a chromosome; the last fifth of samples are offspring."""
        rng = np.random.default_rng(seed)
        chr_ = np.repeat(list(variants), list(variants.values()))
        m = len(chr_)
        af = rng.uniform(0.05, 0.95, m)
        G = rng.binomial(2, af[:, None], (m, n)).astype(np.int8)
        G[rng.random(G.shape) < missing] = -9
        bp = np.concatenate([np.sort(rng.choice(1_000_000, k, replace=False)) + 1 for k in variants.values()])
        pairs = [ALLELES[i % len(ALLELES)] for i in range(m)]
        iid = np.array([f"s{i}" for i in range(n)])
        offspring = np.arange(n) >= n - n // 5
        return cls(
            G, chr_, bp, np.array([f"rs{i}" for i in range(m)], object), np.array([p[0] for p in pairs]),
            np.array([p[1] for p in pairs]), np.array(["fam"] * n), iid,
            np.where(offspring, "s0", "0"), np.where(offspring, "s1", "0"), np.arange(n) % 2 + 1,
        )

    def variants(self, which: Any) -> Cohort:
        """Some of the variants."""
        return replace(self, **{name: getattr(self, name)[which] for name in ("G", "chr", "bp", "snp", "a1", "a2")})

    def samples(self, which: Any) -> Cohort:
        """Some of the samples, or all in another order."""
        names = ("fid", "iid", "father", "mother", "sex")
        return replace(self, G=self.G[:, which], **{name: getattr(self, name)[which] for name in names})

    def with_calls(self, G: np.ndarray) -> Cohort:
        """Other genotypes of the same variants and samples."""
        return replace(self, G=G)


def write_bed(prefix: Path, cohort: Cohort) -> Path:
    """A PLINK 1 fileset; gives the path of its .bed."""
    from bed_reader import to_bed

    path = prefix.with_suffix(".bed")
    calls = cohort.G.T.astype(np.float64)
    calls[calls < 0] = np.nan
    properties = {
        "fid": cohort.fid, "iid": cohort.iid, "father": cohort.father, "mother": cohort.mother, "sex": cohort.sex,
        "pheno": np.full(len(cohort.iid), "-9"), "chromosome": cohort.chr.astype(str), "sid": cohort.snp,
        "cm_position": np.zeros(len(cohort.snp)), "bp_position": cohort.bp, "allele_1": cohort.a1, "allele_2": cohort.a2,
    }
    to_bed(path, calls, properties=properties)
    return path
