"""From what a kernel found to the rows that users read: one row a path or defined parameter and SNP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gsem_spark.methods import pvalues
from gsem_spark.methods.gwas import outcomes
from gsem_spark.methods.gwas.defined import delta_errors, evaluate_rows
from gsem_spark.methods.gwas.outcomes import describe
from gsem_spark.methods.gwas.snp_model import Row
from gsem_spark.methods.gwas.user_batch import Found
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.model import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESULT_COLUMNS: Final = (
    "est", "se", "z", "p", "neglog10p", "chisq", "chisq_df", "chisq_p", "aic", "q_snp", "q_snp_df", "q_snp_p", "q_snp_neglog10p",
    "status", "message", "z_smooth",
)
"""Keys of every per-SNP model's columns, in order."""
NO_GENE_VARIANCE: Final[Mapping[int, str]] = {
    outcomes.NO_VARIANCE: "the predictor's variance is not positive",
}


@dataclass(frozen=True)
class RowTable:
    """How each row follows from the targets.

    Parameters
    ----------
    places
        (t,) places in theta that the kernels are asked for.
    sources
        For each row: the place in ``places``; or -1 with a fixed value in ``constants``; or -2 - d for expression d.
    constants
        (rows,) fixed values.
    given
        Whether the row is given and has no error (the SNP's variance under ML).
    expressions
        Defined parameters as expressions of labels.
    labels
        Place in ``places`` of every label in them.
    fixed_labels
        Values of labels of fixed parameters.
    factors
        (name, traits) of every factor with a Q_SNP.
    row_factor
        For each row its place in ``factors``, or -1.
    names
        Variables that messages speak of: the traits of the model, then its factors.
    other_messages
        Messages that replace those of SNPs.
    """

    places: tuple[int, ...]
    sources: tuple[int, ...]
    constants: tuple[float, ...]
    given: tuple[bool, ...]
    expressions: tuple[ex.Expression, ...]
    labels: Mapping[str, int]
    fixed_labels: Mapping[str, float]
    factors: tuple[tuple[str, tuple[int, ...]], ...]
    row_factor: tuple[int, ...]
    names: tuple[str, ...]
    other_messages: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, rows: tuple[Row, ...], predictor: str, q_snp: bool, variance_given: bool) -> RowTable:
        """Find the targets and the factors that rows need."""
        functions = [model.defined_functions[r.place].expression for r in rows if r.op == ":="]
        used = dict.fromkeys(n for e in functions for n in ex.names_in(e))
        label_place = {n: model.label_index[n] for n in used if n in model.label_index}
        index = model.path_index.tolist()
        own = [index[r.place] for r in rows if r.op != ":=" and index[r.place] >= 0]
        places = tuple(dict.fromkeys([*own, *label_place.values()]))
        factors = _factors(model, rows, predictor) if q_snp else ()
        sources, expression = [], 0
        for row in rows:
            if row.op == ":=":
                sources.append(-2 - expression)
                expression += 1
            else:
                sources.append(places.index(index[row.place]) if index[row.place] >= 0 else -1)
        named = [name for name, _ in factors]
        return cls(
            places, tuple(sources),
            tuple(float(model.fixed_values[r.place]) if s == -1 else np.nan for r, s in zip(rows, sources, strict=True)),
            tuple(variance_given and r.lhs == r.rhs == predictor for r in rows),
            tuple(functions), {n: places.index(p) for n, p in label_place.items()},
            {n: v for n, v in model.constants.items() if n in used}, factors,
            tuple(named.index(r.lhs) if r.op == "~" and r.rhs == predictor and r.lhs in named else -1 for r in rows),
            model.variables[1:], NO_GENE_VARIANCE if predictor != "SNP" else {},
        )

    @property
    def has_defined(self) -> bool:
        """Whether covariances of the targets are needed."""
        return bool(self.expressions)

    def columns(self, found: Found, smoothed: Ints, chisq_df: int, free_parameters: int) -> dict[str, NDArray[Any]]:
        """Columns (n * rows,) under the names of ``RESULT_COLUMNS``; all rows of a SNP together."""
        n, r = found.codes.size, len(self.sources)
        fitted = np.isin(found.codes, (outcomes.OK, outcomes.HEYWOOD_TRAIT))
        est, se = self._estimates(found, fitted)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = est / se
        p, neglog10p = pvalues.from_z(z)
        chisq = np.where(fitted, found.chisq[:, 0], np.nan)
        chisq_p, _ = pvalues.from_chisq(chisq, chisq_df)
        status, message = describe(found.codes, found.culprits, smoothed, self.names, self.other_messages)
        q, q_df, q_p, q_neglog10p = self._heterogeneity(found, fitted)

        def each(values: NDArray[Any]) -> NDArray[Any]:
            return values if r == 1 else np.repeat(values, r)

        values = (
            est.ravel(), se.ravel(), z.ravel(), p.ravel(), neglog10p.ravel(), each(chisq),
            np.full(n * r, chisq_df, dtype=np.int32), each(chisq_p), each(chisq + 2.0 * free_parameters),
            q.ravel(), np.tile(q_df, n), q_p.ravel(), q_neglog10p.ravel(), each(status), each(message), each(found.z_smooth),
        )
        return dict(zip(RESULT_COLUMNS, values, strict=True))

    def _estimates(self, found: Found, fitted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        n, r = found.codes.size, len(self.sources)
        est, se = np.full((n, r), np.nan), np.full((n, r), np.nan)
        defined = self._defined(found) if self.has_defined else []
        for row, source in enumerate(self.sources):
            if source >= 0:
                est[:, row] = found.est[:, source]
                if not self.given[row]:
                    se[:, row] = np.sqrt(found.covariance[:, source, source if self.has_defined else 0])
            elif source == -1:
                est[:, row] = self.constants[row]
            else:
                est[:, row], se[:, row] = defined[-2 - source]
        est[~fitted] = np.nan
        se[~fitted] = np.nan
        return est, se

    def _defined(self, found: Found) -> list[tuple[Floats, Floats]]:
        n = found.codes.size
        values = {name: found.est[:, place] for name, place in self.labels.items()}
        values |= {name: np.full(n, value) for name, value in self.fixed_labels.items()}
        return [
            (evaluate_rows(e, values, n), delta_errors(e, values, self.labels, found.covariance)) for e in self.expressions
        ]

    def _heterogeneity(self, found: Found, fitted: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int32], Floats, Floats]:
        n, r = found.codes.size, len(self.sources)
        q, p, neglog10p = (np.full((n, r), np.nan) for _ in range(3))
        df = np.zeros(r, dtype=np.int32)
        for row, factor in enumerate(self.row_factor):
            if factor >= 0:
                df[row] = len(self.factors[factor][1]) - 1
                q[:, row] = np.where(fitted, found.q[:, factor], np.nan)
                p[:, row], neglog10p[:, row] = pvalues.from_chisq(q[:, row], df[row])
        return q, df, p, neglog10p


def _factors(model: Model, rows: tuple[Row, ...], predictor: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Factors among the rows that the predictor points at and whose indicators are all traits, with these traits."""
    out = []
    for row in rows:
        if row.op == "~" and row.rhs == predictor and row.lhs in model.latent:
            indicators = [p.rhs for p in model.paths if p.op == "=~" and p.lhs == row.lhs]
            if indicators and all(x in model.observed for x in indicators):
                out.append((row.lhs, tuple(model.observed.index(x) - 1 for x in indicators)))
    return tuple(out)
