"""A GWAS of any model on arrays: read, fitted without the SNP and compiled once, then run over batches of SNPs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.columns import check_batch
from gsem_spark.methods.gwas.general import fit_general
from gsem_spark.methods.gwas.kernel import screen_predictor
from gsem_spark.methods.gwas.linear import Shared
from gsem_spark.methods.gwas.moments import Gc, gc_factors, smoothing_bounds
from gsem_spark.methods.gwas.result_rows import RowTable
from gsem_spark.methods.gwas.routes import Parts, Route, choose_route, targets_of
from gsem_spark.methods.gwas.settings import Estimation, check_inversion, check_settings, pivot_tolerance
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE, cholesky
from gsem_spark.methods.gwas.snp_model import SNP, Row, choose_rows, read_snp_model
from gsem_spark.methods.gwas.tape import Tape
from gsem_spark.methods.gwas.targets import Targets
from gsem_spark.methods.gwas.user_batch import Batch, Found, closed_batch, linear_batch, user_batch
from gsem_spark.methods.gwas.without_snp import fit_without_snp
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.smooth import is_positive_definite, near_pd
from gsem_spark.thresholds import SNP_SE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COMPILED: Final = (outcomes.MISSING, outcomes.NO_SE, outcomes.NO_VARIANCE)


@dataclass(frozen=True, eq=False)
class UserModelGwas:
    """A GWAS of one model made ready: broadcast it, then call :meth:`fit` on batches of SNPs. Build it with :meth:`prepare`.

    Parameters
    ----------
    traits
        Trait names of the covariance structure: what the columns of ``beta`` and ``se`` must be. The model may use fewer.
    model
        What is fitted to every SNP: with the measurement fixed, where that is asked for.
    rows
        The result's rows of each SNP, in order.
    predictor
        What the model calls the SNP.
    route
        ``analytic``: the closed form of a model with fixed measurement; ``reduced``: the same model where the SNP's effects enter
        the traits' covariances, solved in the SNP's own paths; ``iterative``: all parameters; ``general``: the SEM engine,
        one SNP at a time (ML, constraints).
    route_reason
        Why that route: for the record of the run.
    estimation, gc, std_lv, fix_measurement, snp_se, q_snp
        As given to :meth:`prepare`.
    S, V, R, gc_factors, columns
        Of the k traits in the model: (k, k), (k*, k*), (k, k), (k,), and their columns in ``traits`` (k,).
    start
        (q,) no-SNP solution in the places of the model's parameters.
    parts, targets, table
        Compiled arrays; what the kernels are asked for; how rows come from it.
    chol_s
        (k, k) Cholesky factor of S, zero where S is not positive definite.
    base_bits
        Matrices smoothed for all SNPs (bits of ``outcomes``).
    notes
        How the model was understood, and what its measurement part's fit had to say.
    toler
        Share of its diagonal element that a pivot of a SNP's normal equations has to exceed.
    """

    traits: tuple[str, ...]
    model: Model
    rows: tuple[Row, ...]
    predictor: str
    route: Route
    route_reason: str
    estimation: Estimation
    gc: Gc
    std_lv: bool
    fix_measurement: bool
    snp_se: float
    q_snp: bool
    S: Floats
    V: Floats
    R: Floats
    gc_factors: Floats
    columns: Ints
    start: Floats
    parts: Parts
    targets: Targets
    table: RowTable
    chol_s: Floats
    base_bits: int
    notes: tuple[str, ...]
    toler: float

    @classmethod
    def prepare(
        cls, cov: CovStruct, model: str | Model, sub: str | Sequence[str] | None = None, q_snp: bool = True,
        fix_measurement: bool = True, std_lv: bool = False, estimation: Estimation = "DWLS", gc: Gc = "standard",
        snp_se: float = SNP_SE, predictor: str = SNP, route: Route | None = None, toler: float | None = None,
    ) -> UserModelGwas:
        r"""Read the model, fit its measurement part and arrange all that SNPs share.

        Parameters
        ----------
        cov
            S, V and I; the model may use some of its traits.
        model
            lavaan syntax with ``SNP`` as a predictor, e.g. ``"F1 =~ a + b + c\nF1 ~ SNP"``.
        sub
            Rows to keep, as ``"F1~SNP"``; None: all paths of the SNP; ``"all"``: every row.
        q_snp
            Give Q_SNP of each factor that the SNP points at and whose indicators are all observed.
        fix_measurement
            Hold loadings, regressions and covariances at the fit without the SNP; variances stay free.
        std_lv
            Fix the factors' (residual) variances at 1 instead of each first loading.
        estimation
            ``"DWLS"`` or ``"ML"``.
        gc
            ``"standard"``, ``"conserv"`` or ``"none"`` (see ``CommonFactorGwas.prepare``).
        snp_se
            Standard error given to the SNP's variance, > 0.
        predictor
            Name of the predictor in the model.
        route
            None chooses the fastest exact route; a name asks for a slower one, to compare.
        toler
            Tolerance of matrix inversion (see ``fit_snps``).

        Raises
        ------
        ModelError
            For a model that cannot be read, has no SNP, has it as an outcome, or is not identified; for a ``sub`` that names no
            row; for a setting without such a value; for a V that is singular at ``toler``.
        ConvergenceError
            When the measurement part has no optimum and is to be fixed there.
        """
        check_settings(gc, snp_se, estimation, toler)
        read = read_snp_model(model, cov.traits, std_lv, predictor)
        part = cov.subset(read.traits)
        fitted, start, S, V, bits, notes = fit_without_snp(read, part, estimation, fix_measurement)
        rows = choose_rows(fitted, sub, predictor)
        factors, R = gc_factors(part, gc)
        table = RowTable.of(fitted, rows, predictor, q_snp, estimation == "ML")
        error = snp_se * snp_se
        share = pivot_tolerance(toler)
        check_inversion(toler, {"V": V, "the intercepts' correlations": R})
        smooth_v = not is_positive_definite(V)
        bounds = smoothing_bounds(V, R, error) if smooth_v and is_positive_definite(R) else None
        V_known = near_pd(V).matrix if bounds is not None else V
        chosen, reason, parts = choose_route(fitted, start, table, S, V_known, R, error, bounds, estimation, route, share)
        chol_s = S.copy()
        if not (is_positive_definite(S) and cholesky(chol_s, S.shape[0], PIVOT_TOLERANCE)):
            chol_s = np.zeros_like(S)
        bits |= outcomes.V_SMOOTHED if smooth_v or not is_positive_definite(R) else 0
        columns = np.array([cov.traits.index(t) for t in read.traits], dtype=np.int64)
        return cls(
            cov.traits, fitted, rows, predictor, chosen, reason, estimation, gc, bool(std_lv), bool(fix_measurement),
            float(snp_se), bool(q_snp), S, V, R, factors, columns, start, parts, targets_of(fitted, table, R, parts), table,
            chol_s, bits, (*read.notes, *notes), share,
        )

    @property
    def chisq_df(self) -> int:
        """Degrees of freedom of the model; the SNP's variance is a moment and a parameter, or under ML neither."""
        return self.model.df

    @property
    def free_parameters(self) -> int:
        """Parameters that can move on their own; under ML the SNP's variance is given."""
        return self.model.n_estimated - (1 if self.estimation == "ML" else 0)

    def warm_up(self) -> None:
        """Compile the kernels, or read them from their cache, so that the first batch does not pay for it."""
        c = len(self.traits)
        self.fit(np.zeros((1, c)), np.full((1, c), 0.01), np.full(1, 0.3))

    def fit(self, beta: ArrayLike, se: ArrayLike, maf: ArrayLike) -> dict[str, NDArray[Any]]:
        """Fit the model to every SNP of a batch. Each SNP's numbers depend on nothing but its own row.

        Parameters
        ----------
        beta
            (n, c) effects on the standardised traits, per allele; one column a trait of ``traits``.
        se
            (n, c) their standard errors, not corrected.
        maf
            (n,) minor allele frequency in the reference, in (0, 1).

        Returns
        -------
        dict
            Arrays (n * len(rows),) under the names of ``RESULT_COLUMNS``: all rows of the first SNP, then of the second. Rows
            without a fit hold NaN; fixed parameters have no SE; Q_SNP stands with the paths to its factor, elsewhere it is NaN
            with df 0. Model chi-square, status and message are those of the SNP.

        Raises
        ------
        ModelError
            When the shapes do not agree with each other and with the traits. Never for what a single SNP holds.
        """
        frequency = np.asarray(maf, dtype=np.float64)
        return self.fit_predictor(beta, se, 2.0 * frequency * (1.0 - frequency))

    def fit_predictor(self, beta: ArrayLike, se: ArrayLike, variance: ArrayLike) -> dict[str, NDArray[Any]]:
        """:meth:`fit` for predictors of any variance (n,), e.g. genes and the heritability of their expression."""
        b, s, v = check_batch(beta, se, variance, self.traits)
        n, t, f = v.size, len(self.table.places), len(self.table.factors)
        wide = t if self.table.has_defined else 1
        found = Found(
            np.full((n, t), np.nan), np.full((n, t, wide), np.nan), np.full((n, f), np.nan), np.full((n, 1), np.nan),
            np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.zeros(n),
        )
        smoothed = np.zeros(n, dtype=np.int64)
        batch = Batch(b, s, v, self.columns, self.gc_factors, self.S, self.chol_s)
        everything = np.arange(n, dtype=np.int64)
        if self.route == "general":
            found.codes[:] = outcomes.NEEDS_SMOOTHING
        else:
            self._run(everything, False, batch, found)
            self._run_smoothed(batch, found, smoothed)
        for row in np.flatnonzero(found.codes == outcomes.NEEDS_SMOOTHING).tolist():
            self._fit_slowly(row, batch, found, smoothed)
        if self.base_bits:
            smoothed[~np.isin(found.codes, COMPILED)] |= self.base_bits
        return self.table.columns(found, smoothed, self.chisq_df, self.free_parameters)

    def frame(self, columns: dict[str, NDArray[Any]]) -> pd.DataFrame:
        """Columns of :meth:`fit` as a frame, with ``snp`` (row of the batch), ``lhs``, ``op`` and ``rhs`` before them."""
        n = len(columns["est"]) // len(self.rows)
        out = pd.DataFrame({"snp": np.repeat(np.arange(n), len(self.rows))})
        for name in ("lhs", "op", "rhs"):
            out[name] = np.tile(np.array([getattr(r, name) for r in self.rows], dtype=object), n)
        out = pd.concat([out, pd.DataFrame(columns)], axis=1)
        out.attrs |= {"route": self.route, "route_reason": self.route_reason}
        return out

    def _run(self, rows: Ints, smooth: bool, batch: Batch, found: Found) -> None:
        parts = self.parts
        full = np.empty((self.S.shape[0] + 1,) * 2) if smooth else None
        if parts.reduced is not None and parts.shared is not None and parts.reduced.exact:
            closed_batch(rows, full, parts.reduced, parts.shared, self.targets, batch, found)
        elif parts.reduced is not None and parts.shared is not None:
            shared = Shared(*(x.copy() for x in parts.shared)) if smooth else parts.shared
            linear_batch(rows, full, parts.reduced, shared, self.targets, batch, found)
        elif parts.tape is not None and parts.sampling is not None:
            start = self._search_start(parts.tape)
            user_batch(rows, full, parts.tape, parts.sampling, self.targets, start, batch, found)

    def _search_start(self, tape: Tape) -> Floats:
        out = np.zeros(tape.q)
        free = (tape.parameter >= 0) & (self.model.path_index >= 0)
        out[tape.parameter[free]] = self.start[self.model.path_index[free]]
        return out

    def _run_smoothed(self, batch: Batch, found: Found, smoothed: Ints) -> None:
        """Fit the rows that need smoothing of S_full only, in compiled code; leave the rest as they are."""
        rows = np.flatnonzero(found.codes == outcomes.NEEDS_SMOOTHING)
        if rows.size == 0:
            return
        with suppress(np.linalg.LinAlgError):  # an eigen-decomposition failed: that row, and those after it, go the slow way
            self._run(rows, True, batch, found)
        done = rows[found.codes[rows] != outcomes.NEEDS_SMOOTHING]
        smoothed[done] |= outcomes.S_SMOOTHED

    def _fit_slowly(self, row: int, batch: Batch, found: Found, smoothed: Ints) -> None:
        """One SNP by the general engine."""
        beta, se, v = batch.beta[row, self.columns], batch.se[row, self.columns], float(batch.variance[row])
        found.codes[row], found.culprits[row] = screen_predictor(beta, se, v)
        found.z_smooth[row] = 0.0
        if found.codes[row] != outcomes.OK:
            return
        one = fit_general(
            self.model, self.estimation, self.S, self.V, self.R, beta, se * self.gc_factors, v, self.snp_se**2, self.start,
            self.targets, self.toler,
        )
        places = np.array(self.table.places, dtype=np.int64)
        found.est[row] = one.theta[places]
        covariance = one.covariance[np.ix_(places, places)]
        found.covariance[row] = covariance if self.table.has_defined else np.diag(covariance)[:, None]
        found.q[row], found.chisq[row, 0] = one.q, one.chisq
        found.codes[row], found.culprits[row], smoothed[row] = one.code, one.culprit, one.smoothed
        found.z_smooth[row] = one.z_smooth
