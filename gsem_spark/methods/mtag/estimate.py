"""The MTAG estimator: each trait's best linear unbiased estimate of a SNP's effect from all traits' Z-scores.

Source: Turley et al. 2018, Nat Genet 50:229, Online Methods, eq. 1 (general) and Supplementary Note 1.1-1.3 (special cases).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.mtag.kernel import effects
from gsem_spark.methods.mtag.matrices import Repair, repair_psd, square
from gsem_spark.methods.mtag.numerical import TIME_LIMIT_SECONDS, group_by_n, numerical_omega, searched_omega
from gsem_spark.methods.mtag.omega import (
    OmegaEstimate,
    check_options,
    estimate_omega,
    omega_sums,
    require_positive_variances,
)

Floats = NDArray[np.float64]

@dataclass(frozen=True)
class MtagColumns:
    """Estimates of m SNPs, all arrays (m, k), NaN in rows where a trait is missing.

    Parameters
    ----------
    beta, se
        Effect of the standardised genotype on the standardised trait, and its standard error; see :func:`unstandardise`.
    z, p, neglog10p
        Test that the effect is 0.
    """

    beta: Floats
    se: Floats
    z: Floats
    p: Floats
    neglog10p: Floats


@dataclass(frozen=True)
class MtagModel:
    """Omega and Sigma, checked and repaired: small, sent to every worker, applied to batches of SNPs.

    Parameters
    ----------
    traits
        k names, in the order of all matrices.
    omega
        (k, k) variances and covariances of standardised effects per SNP.
    sigma
        (k, k) LD score intercepts.
    method
        How Omega came about, see :class:`~gsem_spark.methods.mtag.omega.OmegaEstimate`.
    notices
        Sentences on repairs.
    """

    traits: tuple[str, ...]
    omega: Floats
    sigma: Floats
    method: str = "fixed"
    notices: tuple[str, ...] = ()

    @property
    def rank_one(self) -> bool:
        """Whether all genetic correlations are taken to be 1 (``perfect_gencov``, ``equal_h2``)."""
        return self.method in ("perfect_gencov", "equal_h2")

    @property
    def one_result(self) -> bool:
        """Whether all traits have the same result (``equal_h2``: a meta-analysis)."""
        return self.method == "equal_h2"

    def fit(self, z: ArrayLike, n: ArrayLike) -> MtagColumns:
        """Estimate a batch of SNPs; results do not depend on how SNPs are put into batches.

        Parameters
        ----------
        z, n
            (m, k) Z-scores on common effect alleles and sample sizes.

        Raises
        ------
        DataError
            When shapes disagree.
        """
        Z, N = _checked(z, n, len(self.traits))
        beta, se = effects(Z, N, self.omega, self.sigma, rank_one=self.rank_one)
        with np.errstate(invalid="ignore"):
            z_out = beta / se
        p, neglog10p = pvalues.from_z(z_out)
        return MtagColumns(beta, se, z_out, p, neglog10p)

    def z_scores(self, z: ArrayLike, n: ArrayLike) -> Floats:
        """The Z-scores of :meth:`fit` alone, (m, k), the same bits for a third of the time."""
        Z, N = _checked(z, n, len(self.traits))
        beta, se = effects(Z, N, self.omega, self.sigma, rank_one=self.rank_one)
        with np.errstate(invalid="ignore"):
            return np.asarray(beta / se, dtype=np.float64)

    def weights(self, n: ArrayLike) -> Floats:
        """Weights (k, k) of a SNP with sample sizes n (k,): row t holds those by which trait t's estimate sums z / sqrt(N)."""
        N = np.asarray(n, np.float64)
        k = len(self.traits)
        rows = np.broadcast_to(N, (k, k))
        beta, _ = effects(np.diag(np.sqrt(N)), rows, self.omega, self.sigma, rank_one=self.rank_one)
        return beta.T.copy()


@dataclass(frozen=True)
class MtagEstimate:
    """What :func:`estimate` returns: matrices, and one row a SNP, one column a trait.

    Parameters
    ----------
    model
        Traits, Omega, Sigma and notices.
    omega, sigma
        (k, k) as used.
    omega_estimate
        How Omega came about.
    beta, se, z, p, neglog10p
        (m, k), see :class:`MtagColumns`.
    """

    model: MtagModel
    omega: Floats
    sigma: Floats
    omega_estimate: OmegaEstimate
    beta: Floats
    se: Floats
    z: Floats
    p: Floats
    neglog10p: Floats


def estimate(
    z: ArrayLike,
    n: ArrayLike,
    sigma: ArrayLike,
    omega: ArrayLike | None = None,
    *,
    traits: Sequence[str] | None = None,
    no_overlap: bool = False,
    perfect_gencov: bool = False,
    equal_h2: bool = False,
    numerical: bool = False,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    repair: bool = True,
) -> MtagEstimate:
    """Multi-trait analysis of GWAS on arrays.

    Parameters
    ----------
    z
        (m, k) Z-scores of k traits, effects counted for the same allele in all. Rows with a missing value give NaN and do
        not take part in Omega.
    n
        (m, k) sample sizes, or (k,) where they are the same for all SNPs.
    sigma
        (k, k) LD score intercepts; with ``no_overlap`` only the diagonal counts.
    omega
        (k, k) variances and covariances of standardised effects per SNP; estimated by the method of moments when None.
    traits
        Names, for messages; "trait 1" and so on when None.
    no_overlap
        Whether the samples are disjoint: covariances of Sigma are 0.
    perfect_gencov, equal_h2
        Restrictions of Omega: genetic correlations of 1; equal heritabilities besides.
    numerical, time_limit_seconds
        Whether Omega is searched for by maximum likelihood, and for how long; a search that does not end is said in
        ``model.notices``. Without effect where Omega is given or never estimated (``equal_h2``).
    repair
        Whether an Omega or Sigma that is not positive semidefinite is made so (and said in ``model.notices``); else it is an
        error.

    Raises
    ------
    ConfigError
        For ``equal_h2`` without ``perfect_gencov``.
    DataError
        For one trait, shapes that disagree, no N, or no SNP with all traits.
    ModelError
        For a matrix of the wrong shape, not symmetric, with a variance that is not positive, or beyond repair.

    Examples
    --------
    >>> import numpy as np
    >>> result = estimate([[2.0, 3.0]], [10_000, 40_000], np.eye(2), np.full((2, 2), 1e-5) + np.eye(2) * 1e-6)
    >>> result.z.round(3).tolist()
    [[3.503, 3.549]]
    """
    check_options(perfect_gencov, equal_h2)
    Z, N = _checked(z, n, None)
    k = Z.shape[1]
    names = tuple(traits) if traits is not None else tuple(f"trait {i + 1}" for i in range(k))
    sigma_used, notices = checked_sigma(sigma, names, no_overlap=no_overlap, repair=repair)
    if omega is None:
        sums = omega_sums(Z, N)
        found = estimate_omega(sums, sigma_used, names, perfect_gencov=perfect_gencov, equal_h2=equal_h2)
        if numerical and not equal_h2:
            search = numerical_omega(
                group_by_n(Z, N), sigma_used, found.raw, perfect_gencov=perfect_gencov, time_limit_seconds=time_limit_seconds
            )
            notices += () if search.converged else (f"Omega: {search.message}",)
            found = searched_omega(search, found.raw, sums.count, perfect_gencov=perfect_gencov)
    else:
        found = fixed_omega(omega, names, perfect_gencov=perfect_gencov, equal_h2=equal_h2)
    model = mtag_model(names, found, sigma_used, notices, repair=repair)
    out = model.fit(Z, N)
    return MtagEstimate(model, model.omega, model.sigma, found, out.beta, out.se, out.z, out.p, out.neglog10p)


def mtag_model(
    traits: Sequence[str], found: OmegaEstimate, sigma: Floats, notices: Sequence[str] = (), *, repair: bool = True
) -> MtagModel:
    """Put Omega and a checked Sigma together.

    Raises
    ------
    ModelError
        When Omega is not positive semidefinite and ``repair`` is off, or cannot be repaired.
    """
    # Where correlations are set to 1, the estimate's own covariances are not used and need no repair.
    restricted = found.method in ("perfect_gencov", "equal_h2")
    said = () if restricted else _repaired(found.repair, "Omega", traits, allowed=repair)
    return MtagModel(tuple(traits), found.omega, sigma, found.method, (*notices, *said))


def fixed_omega(
    omega: ArrayLike, traits: Sequence[str], *, perfect_gencov: bool = False, equal_h2: bool = False
) -> OmegaEstimate:
    """Take Omega from the user, with the restrictions asked for.

    Raises
    ------
    ConfigError
        For ``equal_h2`` without ``perfect_gencov``.
    ModelError
        For a matrix of the wrong shape, not symmetric, or with a variance that is not positive.
    """
    check_options(perfect_gencov, equal_h2)
    k = len(traits)
    raw = square(omega, "Omega", k)
    require_positive_variances(raw, "Omega", traits)
    repair = repair_psd(raw)
    if equal_h2:
        return OmegaEstimate(np.ones((k, k)), raw, repair, "equal_h2", 0)
    if perfect_gencov:
        root = np.sqrt(np.diag(raw))
        return OmegaEstimate(np.outer(root, root), raw, repair, "perfect_gencov", 0)
    return OmegaEstimate(repair.matrix, raw, repair, "fixed", 0)


def checked_sigma(
    sigma: ArrayLike, traits: Sequence[str], *, no_overlap: bool = False, repair: bool = True
) -> tuple[Floats, tuple[str, ...]]:
    """Check Sigma, drop its covariances with ``no_overlap``, repair it where it is not positive semidefinite.

    Returns
    -------
    sigma, notices
        (k, k) and the sentences on what was done.

    Raises
    ------
    DataError
        When there are fewer than two traits.
    ModelError
        As for Omega, and when it is singular even after the repair.
    """
    if len(traits) < 2:
        raise DataError("MTAG needs at least 2 traits", remedy="give two or more traits")
    given = square(sigma, "Sigma", len(traits))
    require_positive_variances(given, "Sigma", traits)
    if no_overlap:
        given = np.diag(np.diag(given))
    done = repair_psd(given)
    said = _repaired(done, "Sigma", traits, allowed=repair)
    try:
        np.linalg.cholesky(done.matrix)
    except np.linalg.LinAlgError:
        raise ModelError(
            f"Sigma is singular (smallest eigenvalue {done.min_eigenvalue_after:.3g}): the errors of two traits are the same",
            where="Sigma", remedy="leave out one of two traits that come from the same GWAS",
        ) from None
    return done.matrix, said


def unstandardise(beta: ArrayLike, se: ArrayLike, eaf: ArrayLike) -> tuple[Floats, Floats]:
    """Effects per copy of the allele, in standard deviations of the trait: divided by sqrt(2 f (1 - f)).

    Parameters
    ----------
    beta, se
        (m, k) standardised effects and standard errors.
    eaf
        (m, k) allele frequencies of each trait, or (m,) one for all; in a meta-analysis (``equal_h2``) their mean. NaN where
        a frequency is not inside (0, 1).
    """
    f = np.asarray(eaf, np.float64)
    f = f[:, None] if f.ndim == 1 else f
    with np.errstate(invalid="ignore"):
        scale = np.sqrt(np.where((f > 0) & (f < 1), 2.0 * f * (1.0 - f), np.nan))
    return np.asarray(beta, np.float64) / scale, np.asarray(se, np.float64) / scale


def _repaired(done: Repair, name: str, traits: Sequence[str], *, allowed: bool) -> tuple[str, ...]:
    if not done.needed:
        return ()
    if not allowed or not done.success:
        what = done.sentence(name, traits) if allowed else (
            f"{name} is not positive semidefinite (smallest eigenvalue {done.min_eigenvalue:.3g})"
        )
        raise ModelError(what, where=name, remedy="leave out traits, or allow the repair (repair=True)")
    return (done.sentence(name, traits),)


def _checked(z: ArrayLike, n: ArrayLike, k: int | None) -> tuple[Floats, Floats]:
    Z, N = np.asarray(z, np.float64), np.asarray(n, np.float64)
    if Z.ndim != 2:
        raise DataError(f"z has {Z.ndim} dimensions instead of 2 (SNPs × traits)", where="z")
    if Z.shape[1] < 2:
        raise DataError(f"MTAG needs at least 2 traits, and there is {Z.shape[1]}", where="z", remedy="give two or more traits")
    if k is not None and Z.shape[1] != k:
        raise DataError(f"z has {Z.shape[1]} columns, but the model has {k} traits", where="z")
    N = np.broadcast_to(N, Z.shape) if N.ndim == 1 and N.size == Z.shape[1] else N
    if N.shape != Z.shape:
        raise DataError(
            f"n has the shape {N.shape} and z {Z.shape}", where="n", remedy="give a sample size for every SNP and trait"
        )
    with np.errstate(invalid="ignore"):
        known = N > 0
    absent = np.flatnonzero(~known.any(axis=0)) if len(N) else np.zeros(0, dtype=np.intp)
    if absent.size:
        raise DataError(
            f"no SNP has a sample size in column {', '.join(str(i + 1) for i in absent)}", where="n",
            remedy="give N: MTAG's weights depend on it",
        )
    usable = (known & np.isfinite(Z) & np.isfinite(N)).all(axis=1, keepdims=True)
    return (Z, N) if usable.all() else (np.where(usable, Z, np.nan), np.where(usable, N, np.nan))
