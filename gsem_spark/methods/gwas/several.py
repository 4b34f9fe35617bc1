"""Several SNPs, or several genes, in one model: their LD, their effects and the traits as one covariance structure.

S holds the predictors' covariances LD_ab sd_a sd_b, their covariances v_a b_aj with the traits, and the traits' S. The effects
of SNPs in LD err together: cov(v_a b_aj, v_b b_bl) = d_aj d_bl LD_ab R_jl with d = se g v, as the z-scores of SNPs a and b
correlate by LD and those of traits j and l by R (Grotzinger et al. 2019, Nat Hum Behav 3:513, supplement, on models with several
SNPs). Fit the result with ``user_model``, each predictor under its own name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods.gwas.columns import by_name, check_batch
from gsem_spark.methods.gwas.moments import Gc, gc_factors
from gsem_spark.methods.gwas.settings import check_settings
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.thresholds import SNP_SE

Floats = NDArray[np.float64]

GENE_SE: Final = 1e-8
"""Standard error given to the variances and covariances of genes in a model of several (GenomicSEM's value for multiGene)."""
LD_SYMMETRY: Final = 1e-8


def multi_snp(
    cov: CovStruct, beta: ArrayLike | pd.DataFrame, se: ArrayLike | pd.DataFrame, maf: ArrayLike, ld: ArrayLike | pd.DataFrame,
    names: Sequence[str] | None = None, gc: Gc = "standard", snp_se: float = SNP_SE, flipped: ArrayLike | None = None,
) -> CovStruct:
    """Put f SNPs with their LD beside the traits.

    Parameters
    ----------
    cov
        S, V and I of k traits.
    beta, se
        (f, k) effects and standard errors; columns of frames are matched by name.
    maf
        (f,) minor allele frequencies, in (0, 1).
    ld
        (f, f) correlations of the SNPs. A frame is put in the order of ``names`` by its own.
    names
        (f,) names of the SNPs in the model; None: those of ``ld`` where it is a frame, else SNP1, SNP2, ...
    gc
        Correction of standard errors by the intercepts. GenomicSEM's multiSNP always multiplies by the intercepts, which is
        ``"conserv"``.
    snp_se
        Standard error given to the SNPs' variances and covariances.
    flipped
        (f,) True for SNPs whose LD was computed for the other allele; the signs of their LD change.

    Returns
    -------
    CovStruct
        Of the SNPs, then the traits: give it to ``user_model``.

    Raises
    ------
    ModelError
        For shapes that disagree, names that repeat or are those of traits, an LD that is no correlation matrix, a SNP with a
        missing effect, no error or no variance.
    """
    frequency = np.asarray(maf, dtype=np.float64)
    return _several(cov, beta, se, 2.0 * frequency * (1.0 - frequency), ld, names, gc, snp_se, flipped, "SNP")


def multi_gene(
    cov: CovStruct, beta: ArrayLike | pd.DataFrame, se: ArrayLike | pd.DataFrame, hsq: ArrayLike, ld: ArrayLike | pd.DataFrame,
    names: Sequence[str] | None = None, gc: Gc = "standard", gene_se: float = GENE_SE,
) -> CovStruct:
    """Put f genes beside the traits; as :func:`multi_snp`, with the heritability of expression ``hsq`` (f,) for the variance.

    ``ld`` holds the correlations of the genes' predicted expression.
    """
    return _several(cov, beta, se, np.asarray(hsq, dtype=np.float64), ld, names, gc, gene_se, None, "Gene")


def _several(
    cov: CovStruct, beta: ArrayLike | pd.DataFrame, se: ArrayLike | pd.DataFrame, variance: Floats, ld: ArrayLike | pd.DataFrame,
    names: Sequence[str] | None, gc: Gc, error: float, flipped: ArrayLike | None, kind: str,
) -> CovStruct:
    check_settings(gc, error, "DWLS")
    b, s, v = check_batch(by_name(beta, cov.traits, "beta"), by_name(se, cov.traits, "se"), variance, cov.traits)
    f, k = b.shape
    labels = _labels(ld, names, f, kind, cov.traits)
    correlation = _correlation(ld, labels, flipped)
    for what, bad in (
        ("a missing effect", ~np.isfinite(b).all(axis=1)),
        ("a standard error that is not positive", ~((s > 0) & np.isfinite(s)).all(axis=1)),
        ("no variance", ~((v > 0) & np.isfinite(v))),
    ):
        if bad.any():
            raise ModelError(f"{what}: {', '.join(np.array(labels)[bad])}", remedy="leave it out, here and in the LD matrix")
    g, R = gc_factors(cov, gc)
    sd = np.sqrt(v)
    m = f + k
    S = np.empty((m, m))
    S[:f, :f] = correlation * np.outer(sd, sd)
    S[f:, :f] = (v[:, None] * b).T
    S[:f, f:] = S[f:, :f].T
    S[f:, f:] = cov.S
    sampling = _sampling(cov, correlation, R, s * g * v[:, None], error)
    return CovStruct.from_matrices(S, sampling, _intercepts(cov, f), [*labels, *cov.traits])


def _sampling(cov: CovStruct, ld: Floats, R: Floats, d: Floats, error: float) -> Floats:
    """V of all moments in vech order of (predictors, traits); ``d`` (f, k): errors of the predictors' covariances with traits."""
    f, k = d.shape
    rows, columns = vech_indices(f + k)
    V = np.zeros((rows.size, rows.size))
    among = np.flatnonzero(rows < f)
    V[among, among] = error * error
    cross = np.flatnonzero((rows >= f) & (columns < f))
    snp, trait = columns[cross], rows[cross] - f
    own = d[snp, trait]
    V[np.ix_(cross, cross)] = np.outer(own, own) * ld[np.ix_(snp, snp)] * R[np.ix_(trait, trait)]
    inner = np.flatnonzero(columns >= f)  # vech order of the traits alone
    V[np.ix_(inner, inner)] = cov.V
    return V


def _intercepts(cov: CovStruct, f: int) -> Floats:
    out = np.eye(f + cov.k)
    out[f:, f:] = cov.I
    return out


def _labels(ld: ArrayLike | pd.DataFrame, names: Sequence[str] | None, f: int, kind: str, traits: Sequence[str]) -> list[str]:
    labels = list(names) if names is not None else list(map(str, ld.columns)) if isinstance(ld, pd.DataFrame) else []
    labels = labels or [f"{kind}{i + 1}" for i in range(f)]
    if len(labels) != f:
        raise ModelError(f"{f} rows of effects have {len(labels)} names: {', '.join(labels)}", remedy="give one name a row")
    if len(set(labels)) < f or set(labels) & set(traits):
        odd = sorted({n for n in labels if labels.count(n) > 1} | (set(labels) & set(traits)))
        raise ModelError(f"names repeat, or are those of traits: {', '.join(odd)}", remedy="give every predictor its own name")
    return labels


def _correlation(ld: ArrayLike | pd.DataFrame, labels: list[str], flipped: ArrayLike | None) -> Floats:
    if isinstance(ld, pd.DataFrame):
        frame = ld.set_axis(list(map(str, ld.columns)), axis=1)
        rows = list(frame.columns) if isinstance(ld.index, pd.RangeIndex) else list(map(str, ld.index))
        frame = frame.set_axis(rows, axis=0)
        missing = [n for n in labels if n not in frame.columns or n not in frame.index]
        if missing:
            raise ModelError(f"the LD matrix has no row or column {', '.join(missing)}", remedy="name both as the SNPs")
        ld = frame.loc[labels, labels].to_numpy()
    out = np.array(ld, dtype=np.float64)
    f = len(labels)
    sound = out.shape == (f, f) and bool(
        np.all(np.isfinite(out)) and np.all(np.abs(out) <= 1.0 + LD_SYMMETRY)
        and np.allclose(out, out.T, rtol=0, atol=LD_SYMMETRY) and np.allclose(np.diagonal(out), 1.0, rtol=0, atol=LD_SYMMETRY)
    )
    if not sound:
        raise ModelError(f"the LD matrix {out.shape} must be the correlations of {f} predictors: symmetric, 1 on its diagonal",
                         remedy="give correlations r, not r squared or covariances")
    sign = np.ones(f) if flipped is None else np.where(np.asarray(flipped, dtype=bool), -1.0, 1.0)
    return np.asarray((out + out.T) / 2.0 * np.outer(sign, sign))
