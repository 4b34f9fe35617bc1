"""Multivariate Wald tests on the traits' own effects: any association, and any contrast of them, with sample overlap allowed for.

Under the independent-pathways model every trait has its own path from the SNP, so the estimates are the traits' effects b and
their sampling covariance is V = D R D, with D the GC-corrected standard errors and R the correlations that shared samples give
(LDSC intercepts). A linear hypothesis L b = 0 has the statistic (L b)' (L V L')^-1 (L b), chi-square with rank(L) df (Wald 1943,
Trans Am Math Soc 54:426); L = 1 is the omnibus test. It equals the chi-square of GenomicSEM's saturated model with all effects
fixed at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.columns import by_name, check_batch
from gsem_spark.methods.gwas.jit import jit
from gsem_spark.methods.gwas.kernel import screen
from gsem_spark.methods.gwas.moments import Gc, gc_factors, spd_inverse
from gsem_spark.methods.gwas.settings import check_inversion, check_settings, pivot_tolerance
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, cholesky, forward, quadratic
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.model_checks import nearest
from gsem_spark.methods.sem.smooth import is_positive_definite, near_pd
from gsem_spark.thresholds import SNP_SE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Contrast = ArrayLike | Mapping[str, float]

OMNIBUS: Final = "omnibus"
RANK_RTOL: Final = 1e-9
"""Singular values of L (rows scaled to length 1) below this share of the largest count as zero."""
WALD_COLUMNS: Final = (
    "chisq", "df", "p", "neglog10p", "est", "se", "omnibus_chisq", "omnibus_df", "omnibus_p", "omnibus_neglog10p", "status",
    "message",
)
"""Keys of :meth:`WaldTest.fit`, in order."""
NO_CONTRAST: Final = "the variance of a contrast's values is singular: no test of it"


@dataclass(frozen=True, eq=False)
class WaldTest:
    """Wald tests made ready: broadcast it, then call :meth:`fit` on batches of SNPs. Build it with :meth:`prepare`.

    Parameters
    ----------
    traits
        k trait names; the order of the columns of ``beta`` and ``se``.
    names
        Of the tests, one row a SNP and test.
    contrasts
        L of each test, (rank, k).
    gc_factors
        (k,) factors of the standard errors.
    R, precision
        (k, k) correlation of the effects' errors, and its inverse.
    smoothed
        R was not positive definite and its nearest positive definite neighbour is used.
    toler
        As given to :meth:`prepare`.
    """

    traits: tuple[str, ...]
    names: tuple[str, ...]
    contrasts: tuple[Floats, ...]
    gc_factors: Floats
    R: Floats
    precision: Floats
    smoothed: bool
    toler: float = PIVOT_TOLERANCE

    @classmethod
    def prepare(
        cls, cov: CovStruct, contrast: Contrast | Mapping[str, Contrast] | None = None, gc: Gc = "standard",
        toler: float | None = None,
    ) -> WaldTest:
        """Read the hypotheses.

        Parameters
        ----------
        cov
            Names and intercepts of k >= 2 traits.
        contrast
            None: the omnibus test alone. A vector (k,) or matrix (r, k): one test of L b = 0. ``{"BMI": 1, "WHR": -1}``: one
            contrast by trait names. ``{"name": vector, matrix or weights by trait, ...}``: several tests.
        gc
            Correction of standard errors by the intercepts.
        toler
            Tolerance of matrix inversion, as of ``fit_snps``: the intercepts' correlations R, and the variance of a contrast's
            values.

        Raises
        ------
        ModelError
            For fewer than two traits, an unknown trait, an L of the wrong shape or without full row rank, or an R that is
            singular at ``toler``.
        """
        check_settings(gc, SNP_SE, "DWLS", toler)
        k = len(cov.traits)
        if k < 2:
            raise ModelError(
                f"a multivariate test needs at least 2 traits, and the covariance structure has {k}: {', '.join(cov.traits)}",
                remedy="add traits; the test of one trait is its own z",
            )
        named = _named(contrast, cov.traits)
        factors, R = gc_factors(cov, gc)
        smoothed = not is_positive_definite(R)
        if smoothed:
            R = near_pd(R).matrix
            R = np.ascontiguousarray(R / np.sqrt(np.outer(np.diag(R), np.diag(R))))
        check_inversion(toler, {"the intercepts' correlations": R})
        return cls(cov.traits, tuple(named), tuple(named.values()), factors, R, spd_inverse(R), smoothed, pivot_tolerance(toler))

    def fit(self, beta: ArrayLike, se: ArrayLike, maf: ArrayLike) -> dict[str, NDArray[Any]]:
        """Test every SNP of a batch.

        Parameters
        ----------
        beta, se, maf
            As for ``CommonFactorGwas.fit``.

        Returns
        -------
        dict
            Arrays (n * tests,) under the names of ``WALD_COLUMNS``: all tests of the first SNP, then of the second. ``est`` and
            ``se`` are the contrast's value and its error where it has 1 df, else NaN.
        """
        b, s, m = check_batch(beta, se, maf, self.traits)
        n, t, k = m.size, len(self.names), len(self.traits)
        df = np.array([c.shape[0] for c in self.contrasts], dtype=np.int64)
        out, omnibus = np.full((n, t, 3), np.nan), np.full(n, np.nan)
        codes, culprits = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        wald_batch(
            np.vstack(self.contrasts), df, self.gc_factors, self.R, self.precision, self.toler, b, s, m, out, omnibus, codes,
            culprits,
        )
        codes[(codes == outcomes.OK) & np.isnan(out[:, :, 0]).any(axis=1)] = outcomes.SINGULAR
        status, message = outcomes.describe(
            codes, culprits, np.zeros(n, dtype=np.int64), self.traits, {outcomes.SINGULAR: NO_CONTRAST}
        )
        if self.smoothed:
            done = codes == outcomes.OK
            status[done], message[done] = "smoothed", "the intercepts' correlations smoothed"
        dfs = np.tile(df, n)
        p, neglog10p = pvalues.from_chisq(out[:, :, 0].ravel(), dfs)
        omnibus_p, omnibus_log = pvalues.from_chisq(omnibus, k)
        values = (
            out[:, :, 0].ravel(), dfs.astype(np.int32), p, neglog10p, out[:, :, 1].ravel(), out[:, :, 2].ravel(),
            np.repeat(omnibus, t), np.full(n * t, k, dtype=np.int32), np.repeat(omnibus_p, t), np.repeat(omnibus_log, t),
            np.repeat(status, t), np.repeat(message, t),
        )
        return dict(zip(WALD_COLUMNS, values, strict=True))


def wald(
    cov: CovStruct, beta: ArrayLike | pd.DataFrame, se: ArrayLike | pd.DataFrame, maf: ArrayLike,
    contrast: Contrast | Mapping[str, Contrast] | None = None, gc: Gc = "standard", toler: float | None = None,
) -> pd.DataFrame:
    """Test n SNPs for association with any of k traits, and contrasts of their effects.

    Parameters
    ----------
    cov, contrast, gc, toler
        As for :meth:`WaldTest.prepare`.
    beta, se
        (n, k) effects on the standardised traits and their standard errors; columns of frames are matched by name.
    maf
        (n,) minor allele frequencies. They cancel; a SNP without variance has no test.

    Returns
    -------
    DataFrame
        One row a SNP and test: ``snp`` (row of ``beta``, from 0), ``test``, then the columns of ``WALD_COLUMNS``.

    Examples
    --------
    >>> import numpy as np
    >>> cov = CovStruct.from_matrices(np.eye(2) * 0.3, np.eye(3) * 1e-4, np.array([[1.0, 0.2], [0.2, 1.0]]), ["A", "B"])
    >>> rows = wald(cov, [[0.03, 0.01]], [[0.01, 0.01]], [0.3], contrast={"A": 1, "B": -1})
    >>> [f"{x:.4f}" for x in rows.loc[0, ["chisq", "omnibus_chisq"]]], rows.loc[0, "test"]
    (['2.5000', '9.1667'], 'A - B')
    """
    test = WaldTest.prepare(cov, contrast, gc, toler)
    columns = test.fit(by_name(beta, cov.traits, "beta"), by_name(se, cov.traits, "se"), maf)
    n = len(columns["chisq"]) // len(test.names)
    head = pd.DataFrame({"snp": np.repeat(np.arange(n), len(test.names)), "test": np.tile(np.array(test.names, dtype=object), n)})
    return pd.concat([head, pd.DataFrame(columns)], axis=1)


def _named(contrast: Contrast | Mapping[str, Contrast] | None, traits: tuple[str, ...]) -> dict[str, Floats]:
    """Each test's name and L."""
    if contrast is None:
        return {OMNIBUS: np.eye(len(traits))}
    if not isinstance(contrast, Mapping):
        return {"contrast": _matrix("contrast", contrast, traits)}
    if not contrast:
        raise ModelError("contrast is empty", remedy="leave it out for the omnibus test")
    if all(isinstance(value, int | float | np.number) for value in contrast.values()):
        return {_spelt(contrast): _matrix(_spelt(contrast), contrast, traits)}
    return {str(name): _matrix(str(name), value, traits) for name, value in contrast.items()}


def _spelt(weights: Mapping[str, Any]) -> str:
    """Weights as text, e.g. ``A - 2*B``."""
    terms = [("-" if w < 0 else "+", t if abs(w) == 1 else f"{abs(w):g}*{t}") for t, w in weights.items()]
    text = " ".join(f"{sign} {term}" for sign, term in terms)
    return text.removeprefix("+ ")


def _matrix(name: str, value: Any, traits: tuple[str, ...]) -> Floats:
    k = len(traits)
    if isinstance(value, Mapping):
        unknown = [t for t in value if t not in traits]
        if unknown:
            raise ModelError(f"the contrast {name} names {unknown[0]!r}, no trait", remedy=nearest(unknown[0], list(traits)))
        value = [float(value.get(t, 0.0)) for t in traits]
    L = np.atleast_2d(np.asarray(value, dtype=np.float64))
    if L.ndim != 2 or L.shape[1] != k or not np.all(np.isfinite(L)):
        raise ModelError(f"the contrast {name} must be finite numbers of shape ({k},) or (r, {k}), not {np.shape(value)}",
                         remedy=f"give one weight a trait, in the order {', '.join(traits)}, or weights by name")
    length = np.linalg.norm(L, axis=1)
    singular = np.linalg.svd(L / np.where(length > 0, length, 1.0)[:, None], compute_uv=False)
    if L.shape[0] > k or not np.all(length > 0) or singular[-1] <= RANK_RTOL * singular[0]:
        raise ModelError(f"the {L.shape[0]} rows of the contrast {name} are not independent of each other",
                         remedy="take out the rows that follow from the others")
    return np.ascontiguousarray(L)


@jit
def wald_batch(
    contrasts: Floats, df: Ints, gc: Floats, R: Floats, precision: Floats, toler: float, beta: Floats, se: Floats, maf: Floats,
    out: Floats, omnibus: Floats, codes: Ints, culprits: Ints,
) -> None:
    """Test every SNP; ``out`` (n, tests, 3) gets chi-square, estimate and error, ``omnibus`` (n,) the k-df chi-square.

    ``contrasts`` holds the rows of all L, ``df`` (tests,) how many belong to each.
    """
    n, k = beta.shape
    u, scale, left, value, square = np.empty(k), np.empty(k), np.empty((k, k)), np.empty(k), np.empty((k, k))
    for row in range(n):
        codes[row], culprits[row] = screen(beta[row], se[row], maf[row])
        if codes[row] != outcomes.OK:
            continue
        for j in range(k):
            scale[j] = se[row, j] * gc[j]
            u[j] = beta[row, j] / scale[j]
        omnibus[row] = quadratic(precision, k, u)
        first = 0
        for t in range(df.size):
            r = df[t]
            for a in range(r):
                value[a] = 0.0
                for j in range(k):
                    left[a, j] = contrasts[first + a, j] * scale[j]
                    value[a] += left[a, j] * u[j]
                for b in range(a + 1):
                    total = 0.0
                    for i in range(k):
                        for j in range(k):
                            total += left[a, i] * R[i, j] * left[b, j]
                    square[a, b] = total
            first += r
            if r == 1:
                out[row, t, 1] = value[0]
                out[row, t, 2] = sqrt(square[0, 0])
            out[row, t, 0] = forward(square, r, value) if cholesky(square, r, toler) else np.nan
