"""S, V, I and N by ldsc's own estimator: the other method beside GenomicSEM's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.arrays import LdscTrait
from gsem_spark.methods.ldsc.covstruct import CovStruct, unvech, vech, vech_indices
from gsem_spark.methods.ldsc.jackknife import effective_blocks, liability_factor
from gsem_spark.methods.ldsc.two_step import TWO_STEP_CUT, Correlation, PairData, Regression, correlation, heritability

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TwoStepRules:
    """Settings of ldsc's own estimator, picklable.

    Parameters
    ----------
    n_blocks
        Jackknife blocks.
    cut, cut_pairs
        Chi-square cut of step 1 for heritabilities and for pairs of traits; None: one step. ldsc's defaults.
    chisq_max
        SNPs with a chi-square of at least this are left out, and in pairs those whose z1² z2² is at least its square; None, as
        in ldsc: all take part.
    """

    n_blocks: int = 200
    cut: float | None = TWO_STEP_CUT
    cut_pairs: float | None = None
    chisq_max: float | None = None

    @property
    def as_settings(self) -> dict[str, Any]:
        """What is kept with a structure."""
        return {
            "method": "ldsc", "n_blocks": self.n_blocks, "two_step": self.cut, "two_step_pairs": self.cut_pairs,
            "chisq_max": self.chisq_max,
        }  # fmt: skip


def two_step_from_arrays(
    traits: Sequence[LdscTrait], l2: ArrayLike, wld: ArrayLike, M: float, n_blocks: int = 200,
    cut: float | None = TWO_STEP_CUT, cut_pairs: float | None = None, chisq_max: float | None = None,
    settings: Mapping[str, Any] | None = None, inputs: Mapping[str, str] | None = None,
) -> CovStruct:
    """Estimate S, V, I and N of k traits as ldsc does (``--h2`` on the diagonal, ``--rg`` off it).

    Every element comes from the SNPs that its traits share; V is the jackknife covariance of all elements, block b of one with
    block b of the others.

    Parameters
    ----------
    traits, l2, wld, M, n_blocks, settings, inputs
        As :func:`~gsem_spark.methods.ldsc.arrays.ldsc_from_arrays`; copies of a SNP after the first are left out.
    cut, cut_pairs, chisq_max
        As :class:`TwoStepRules`.

    Raises
    ------
    DataError
        When a trait has no usable SNP or a pair too few.
    """
    rules = TwoStepRules(effective_blocks(len(traits), n_blocks), cut, cut_pairs, chisq_max)
    L, W = np.asarray(l2, np.float64), np.asarray(wld, np.float64)
    found = {
        (i, j): pair_regression(traits[i], traits[j], L, W, M, rules) for i in range(len(traits)) for j in range(i, len(traits))
    }
    return two_step_structure(
        [t.name for t in traits], found, M, rules, sample_prevalence=np.array([t.sample_prevalence for t in traits]),
        population_prevalence=np.array([t.population_prevalence for t in traits]), settings=settings, inputs=inputs,
    )


def pair_regression(
    first: LdscTrait, second: LdscTrait, l2: Floats, wld: Floats, M: float, rules: TwoStepRules
) -> Regression | Correlation:
    """What one element of S comes from: a heritability where both traits are the same (by name), else a genetic correlation.

    Raises
    ------
    DataError
        When a trait has no usable SNP, or the traits share too few.
    """
    data = pair_data(first, second, l2, wld)
    if first.name == second.name:
        return heritability(
            data.z1, data.n1, data.l2, data.wld, M, n_blocks=rules.n_blocks, cut=rules.cut, chisq_max=rules.chisq_max
        )
    return correlation(data, M, n_blocks=rules.n_blocks, cut=rules.cut_pairs, chisq_max=rules.chisq_max)


def two_step_structure(
    names: Sequence[str], found: Mapping[tuple[int, int], Regression | Correlation], M: float, rules: TwoStepRules, *,
    sample_prevalence: Floats, population_prevalence: Floats, settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None, notices: Sequence[str] = (),
) -> CovStruct:
    """Put the regressions of all pairs (i <= j, numbers of ``names``) together.

    Parameters
    ----------
    names
        k traits.
    found
        What :func:`pair_regression` gave for each, all with the same number of blocks.
    M, rules
        SNPs that the LD scores stand for, and how the regressions were made.
    sample_prevalence, population_prevalence
        (k,) shares of cases; NaN for the observed scale.
    settings, inputs, notices
        Kept with the structure.
    """
    blocks = rules.n_blocks
    rows, columns = vech_indices(len(names))
    places = list(zip(columns.tolist(), rows.tolist(), strict=True))
    order = [_element(found[place]) for place in places]
    root = np.sqrt(liability_factor(sample_prevalence, population_prevalence))
    scale = vech(np.outer(root, root))
    pseudo = np.column_stack([blocks * r.estimate - (blocks - 1) * r.deleted[:, 0] for r in order]) * scale
    made = CovStruct.from_matrices(
        S=unvech(np.array([r.estimate for r in order]) * scale), V=np.atleast_2d(np.cov(pseudo, rowvar=False)) / blocks,
        I=unvech([r.intercept for r in order]), traits=list(names), N=np.array([r.mean_n for r in order]), M=M,
        sample_prevalence=sample_prevalence, population_prevalence=population_prevalence,
        diagnostics={
            "traits": [_trait_record(name, _element(found[i, i])) for i, name in enumerate(names)],
            "pairs": [_pair_record(names[i], names[j], found[i, j]) for i, j in places if i != j],
        },
        settings={**rules.as_settings, **(settings or {})}, inputs=inputs,
    )
    return made.with_notices(notices)


def pair_data(a: LdscTrait, b: LdscTrait, l2: Floats, wld: Floats) -> PairData:
    """SNPs that two traits share, in panel order; of copies of a SNP the first counts, rows with a missing value do not."""
    (at_a, row_a), (at_b, row_b) = _places(a), _places(b)
    shared, i, j = np.intersect1d(at_a, at_b, assume_unique=True, return_indices=True)
    i, j = row_a[i], row_b[j]
    return PairData(
        np.asarray(a.z, np.float64)[i], np.asarray(b.z, np.float64)[j], np.asarray(a.n, np.float64)[i],
        np.asarray(b.n, np.float64)[j], l2[shared], wld[shared],
    )


def _places(trait: LdscTrait) -> tuple[Ints, Ints]:
    ord = np.asarray(trait.ord, np.int64)
    usable = np.flatnonzero(np.isfinite(np.asarray(trait.z, np.float64)) & np.isfinite(np.asarray(trait.n, np.float64)))
    if usable.size == 0:
        raise DataError("no SNP has both a Z-score and a sample size", where=f"trait {trait.name}")
    place, first = np.unique(ord[usable], return_index=True)
    return place, usable[first]


def _element(found: Regression | Correlation) -> Regression:
    return found.covariance if isinstance(found, Correlation) else found


def _trait_record(name: str, r: Regression) -> dict[str, Any]:
    return {
        "trait": name, "n_snps": r.n_snps, "n_snps_step_1": r.n_snps_step_1, "n": r.mean_n, "mean_chisq": r.mean_y,
        "lambda_gc": r.lambda_gc, "intercept": r.intercept, "intercept_se": r.intercept_se, "ratio": r.ratio,
        "ratio_se": r.ratio_se, "h2_observed": r.estimate, "h2_observed_se": r.se,
    }


def _pair_record(first: str, second: str, found: Regression | Correlation) -> dict[str, Any]:
    """Figures of a pair: those of its covariance, and ldsc's own rg, whose heritabilities are over the shared SNPs."""
    r = _element(found)
    z = r.estimate / r.se if r.se > 0 else np.nan
    p, neglog10p = pvalues.from_z(z)
    record = {
        "trait_1": first, "trait_2": second, "n_snps": r.n_snps, "mean_zz": r.mean_y, "intercept": r.intercept,
        "intercept_se": r.intercept_se, "cov_g_observed": r.estimate, "cov_g_observed_se": r.se, "z": z, "p": float(p),
        "neglog10p": float(neglog10p),
    }
    if isinstance(found, Correlation):
        record |= {"rg": found.rg, "rg_se": found.se, "rg_z": found.z, "rg_p": found.p, "rg_neglog10p": found.neglog10p}
    return record
