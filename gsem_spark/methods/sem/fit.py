"""The result of fitting one model: estimates with their errors, fit, what was implied, and what a reader must know."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.indices import Verdict, residual_correlations, verdict
from gsem_spark.methods.sem.model import Model
from gsem_spark.methods.sem.painters import PATH_DIAGRAM, paint
from gsem_spark.methods.sem.smooth import SmoothedMoments

if TYPE_CHECKING:
    from gsem_spark.methods.sem.findings import Diagnosis

Floats = NDArray[np.float64]

PARAMETER_COLUMNS: Final = (
    "lhs", "op", "rhs", "label", "free", "est", "se", "z", "p", "neglog10p", "std_est", "std_se", "std_all",
    "std_all_se",
)
_TEXT: Final = ("lhs", "op", "rhs", "label")
_SECTIONS: Final = (
    ("=~", "Latent variables"), ("~", "Regressions"), ("~~", "Variances and covariances"), (":=", "Defined parameters"),
)


@dataclass(frozen=True, eq=False)
class Source:
    """What a fit was made from.

    Parameters
    ----------
    cov
        The covariance structure of the model's traits, as it was given.
    moments
        Its S and V, smoothed where they were not positive definite.
    standard_theta
        (q,) estimates of the fit on the standardised matrices; NaN where that did not converge.
    """

    cov: CovStruct
    moments: SmoothedMoments
    standard_theta: Floats


@dataclass(frozen=True, eq=False)
class Fit:
    """One fitted model.

    Parameters
    ----------
    model
        What was fitted.
    estimation
        ``DWLS`` or ``ML``.
    status
        ok, smoothed, heywood, singular or not_converged; the worst that holds, ``messages`` say all of it.
    parameters
        One row a path, then one a defined parameter: ``lhs op rhs label free est se z p neglog10p std_est std_se std_all
        std_all_se``. ``est`` and ``se`` are in the units of S; ``std_est`` and ``std_se`` come from a second fit on S and V
        standardised (GenomicSEM's STD_Genotype); ``std_all`` is that fit with the factors standardised too. Fixed paths, and
        those that sit on a bound, have no se, z or p. An SE under constraints respects them.
    indices
        Fit indices (see :mod:`gsem_spark.methods.sem.indices`).
    implied, residual
        (k, k) frames: implied covariances, and observed (smoothed, where it was) minus implied.
    theta, theta_cov
        (q,) free parameters in the order of ``model.free_names`` and their (q, q) sandwich covariance; NaN where there is none.
    messages
        Sentences: smoothing, Heywood cases, convergence, identification.
    converged, gradient_norm, iterations
        How the estimation ended; the gradient is in curvature units, at most 1e-11 at a clean optimum.
    tried
        One sentence for each start that failed before the one that was kept.
    source
        What the fit was made from and what it gave on the standardised scale; None for a fit that was read back from JSON,
        which keeps the results but not V.
    """

    model: Model
    estimation: Estimation
    status: str
    parameters: pd.DataFrame
    indices: Mapping[str, float]
    implied: pd.DataFrame
    residual: pd.DataFrame
    theta: Floats
    theta_cov: Floats
    messages: tuple[str, ...]
    converged: bool
    gradient_norm: float
    iterations: int
    tried: tuple[str, ...] = ()
    source: Source | None = None

    @property
    def constraints(self) -> pd.DataFrame:
        """One row a constraint: its text, its slack at the estimate (0 for a met equality), whether it holds with equality."""
        limits = self.model.restrictions
        active = set(limits.active_inequalities(self.theta))
        rows = [(t, f.value(self.theta), True) for t, f in zip(limits.equality_texts, limits.equalities, strict=True)]
        rows += [(t, f.value(self.theta), i in active)
                 for i, (t, f) in enumerate(zip(limits.inequality_texts, limits.inequalities, strict=True))]
        return pd.DataFrame(rows, columns=["constraint", "slack", "active"])

    @property
    def residual_standardised(self) -> pd.DataFrame:
        """(k, k) observed minus implied correlations: where the model misfits, whatever the scales of the traits."""
        names = list(self.model.observed)
        observed, implied = (self.residual + self.implied).to_numpy(), self.implied.to_numpy()
        return pd.DataFrame(residual_correlations(observed, implied), index=names, columns=names)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What is wrong with the fit, why, and what to do (see :func:`gsem_spark.methods.sem.diagnose.diagnose`).

        Raises
        ------
        DataError
            For a fit that was read back from JSON.
        """
        from gsem_spark.methods.sem.diagnose import diagnose

        return diagnose(self)

    def sources(self) -> Source:
        """Return S, V and what else the fit was made from.

        Raises
        ------
        DataError
            For a fit that was read back from JSON.
        """
        if self.source is None:
            raise DataError("this fit was read back without its V", remedy="fit the model again: user_model(cov, fit.model)")
        return self.source

    @property
    def verdict(self) -> dict[str, Verdict]:
        """Judgement of each index, and ``overall``, against the usual thresholds."""
        return verdict(self.indices)

    def value(self, lhs: str, op: str, rhs: str, column: str = "est") -> float:
        """One number of the parameter table, e.g. ``fit.value("F1", "=~", "BMI", "se")``.

        Raises
        ------
        DataError
            When there is no such path or column.
        """
        rows = self.parameters[
            (self.parameters["lhs"] == lhs) & (self.parameters["op"] == op) & (self.parameters["rhs"] == rhs)
        ]
        if rows.empty or column not in rows:
            raise DataError(f"the fit has no path {lhs}{op}{rhs} with a column {column!r}")
        return float(rows[column].iloc[0])

    def draw(self, path: str | Path = "path_diagram.svg", *, standardised: bool = True, hide_below: float = 0.0) -> Path:
        """Draw the path diagram to a file, ``.svg``, ``.png`` or ``.dot`` by its ending, and return where it is.

        Parameters
        ----------
        path
            Where to; ``path_diagram.svg`` in the current folder by default.
        standardised
            Print the standardised solution; else the one in the units of S.
        hide_below
            Leave out loadings with a smaller absolute value.

        Raises
        ------
        ConfigError
            For another ending.
        ModelError
            When the model has no one-headed arrow.
        """
        return paint(PATH_DIAGRAM, self, path, standardised=standardised, hide_below=hide_below)

    # --- text --------------------------------------------------------------------------------------------------------
    def summary(self) -> str:
        """Tables as users know them from lavaan: fit first, then the parameters by kind."""
        return "\n".join([*self._head(), "", *self._fit_lines(), *self._parameter_lines(), *self._message_lines()])

    def _head(self) -> list[str]:
        ended = f"after {self.iterations} iterations (gradient {self.gradient_norm:.1e})"
        return [
            f"{self.estimation} fit of {self.model.k} traits, {self.model.n_estimated} free parameters",
            f"{'Converged' if self.converged else 'NOT CONVERGED'} {ended}; status: {self.status}",
        ]

    def _fit_lines(self) -> list[str]:
        i, judged = self.indices, self.verdict
        rows = [
            ("Chi-square", f"{i['chisq']:.3f}", ""),
            ("Degrees of freedom", f"{i['df']:.0f}", ""),
            ("P-value", f"{i['p']:.4g}" if i["p"] != 0 else pvalues.scientific(i["neglog10p"], 3), ""),
            ("AIC", f"{i['aic']:.3f}", ""),
            ("CFI", f"{i['cfi']:.4f}", judged["cfi"]),
            ("TLI", f"{i['tli']:.4f}", judged["tli"]),
            ("RMSEA", f"{i['rmsea']:.4f}", judged["rmsea"]),
            ("  90% interval", f"{i['rmsea_low']:.4f} to {i['rmsea_high']:.4f}", ""),
            ("SRMR", f"{i['srmr']:.4f}", judged["srmr"]),
        ]
        return ["Model fit:", *(f"  {name:<24}{value:>20}  {word}".rstrip() for name, value, word in rows)]

    def _parameter_lines(self) -> list[str]:
        width = max(len(n) for n in (*self.model.variables, *(d.name for d in self.model.defined))) + 4
        heads = "".join(f"{h:>11}" for h in ("Estimate", "Std.Err", "z-value", "P(>|z|)", "Std.Est", "Std.SE", "Std.all"))
        lines: list[str] = []
        for op, title in _SECTIONS:
            rows = self.parameters[self.parameters["op"] == op]
            if rows.empty:
                continue
            lines += ["", f"{title}:", f"  {'':<{2 * width}}{heads}"]
            for row in rows.itertuples():
                path = f"{row.lhs:<{width - 4}} {row.op:<2} {row.rhs:<{width}}"
                cells = [_cell(x) for x in (row.est, row.se, row.z, row.p, row.std_est, row.std_se, row.std_all)]
                if row.p == 0:  # below the smallest number, not zero
                    strength: Any = row.neglog10p
                    cells[3] = f"{pvalues.scientific(strength, 3 if strength < 1000 else 1):>11}"
                lines.append(f"  {path:<{2 * width}}" + "".join(cells))
        return lines

    def _message_lines(self) -> list[str]:
        return ["", "Notes:", *(f"  - {m}" for m in self.messages)] if self.messages else []

    # --- as plain data -----------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Plain lists, mappings and numbers; NaN becomes None."""
        record: dict[str, Any] = {
            "model": self.model.to_dict(), "estimation": self.estimation, "status": self.status,
            "parameters": self.parameters.to_dict(orient="records"), "indices": dict(self.indices),
            "implied": self.implied.to_numpy().tolist(), "residual": self.residual.to_numpy().tolist(),
            "theta": self.theta.tolist(), "theta_cov": self.theta_cov.tolist(), "messages": list(self.messages),
            "converged": self.converged, "gradient_norm": self.gradient_norm, "iterations": self.iterations,
            "tried": list(self.tried),
        }
        return {key: _without_nan(value) for key, value in record.items()}

    def to_json(self) -> str:
        """One JSON object; numbers round-trip exactly."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`.

        Raises
        ------
        DataError
            When a part is missing.
        """
        try:
            model = Model.from_dict(data["model"])
            q, names = model.n_free, list(model.observed)
            return cls(
                model=model, estimation=data["estimation"], status=data["status"],
                parameters=parameter_frame(data["parameters"]),
                indices={k: _number(v) for k, v in data["indices"].items()},
                implied=pd.DataFrame(_array(data["implied"]), index=names, columns=names),
                residual=pd.DataFrame(_array(data["residual"]), index=names, columns=names),
                theta=_array(data["theta"]), theta_cov=_array(data["theta_cov"]).reshape(q, q),
                messages=tuple(data["messages"]), converged=bool(data["converged"]),
                gradient_norm=_number(data["gradient_norm"]), iterations=int(data["iterations"]),
                tried=tuple(data.get("tried", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is not a stored fit: {error!r}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read :meth:`to_json`'s text. Raises :class:`DataError` when it is not one."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"a stored fit is not valid JSON: {error}") from error
        return cls.from_dict(data)


def parameter_frame(records: Any) -> pd.DataFrame:
    """Put a parameter table, given as records or columns, into its column order and types."""
    if isinstance(records, Mapping):  # fresh from a fit: lists of text, arrays of numbers
        return pd.DataFrame({c: np.array(records[c], dtype=object) if c in _TEXT else records[c] for c in PARAMETER_COLUMNS})
    frame = pd.DataFrame(records, columns=list(PARAMETER_COLUMNS))
    text = list(_TEXT)
    frame[text] = frame[text].astype(object)
    frame["label"] = frame["label"].map(lambda x: x if isinstance(x, str) else "")
    frame["free"] = frame["free"].astype(bool)
    numbers = [c for c in PARAMETER_COLUMNS if c not in (*text, "free")]
    frame[numbers] = frame[numbers].astype(np.float64)
    return frame


def _cell(value: Any) -> str:
    if math.isnan(value):
        return f"{'':>11}"
    return f"{value:>11.3e}" if value != 0 and abs(value) < 1e-3 else f"{value:>11.3f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else None
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> float:
    return math.nan if value is None else value if isinstance(value, int) else float(value)


def _array(values: Any) -> Floats:
    return np.array(values, dtype=np.float64)
