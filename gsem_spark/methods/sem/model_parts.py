"""What a model is made of: its paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gsem_spark.methods.sem.expressions import number_text

Operator = Literal["=~", "~", "~~"]


@dataclass(frozen=True)
class Path:
    """One arrow of the diagram.

    Parameters
    ----------
    lhs, op, rhs
        As lavaan writes them: ``F =~ x`` (factor to indicator), ``y ~ x`` (x to y), ``a ~~ b`` ((residual) covariance).
    fixed
        The value of a fixed parameter; None for a free one.
    label
        Free parameters with the same label are one parameter.
    start
        Where the estimation of a free parameter starts; None leaves it to :mod:`gsem_spark.methods.sem.starts`.
    constant
        Label of a fixed parameter: what constraints and defined parameters call its value.
    """

    lhs: str
    op: Operator
    rhs: str
    fixed: float | None = None
    label: str | None = None
    start: float | None = None
    constant: str | None = None

    @property
    def name(self) -> str:
        """The path as text, e.g. ``F1=~BMI``."""
        return f"{self.lhs}{self.op}{self.rhs}"

    @property
    def syntax(self) -> str:
        """The path as a line of lavaan syntax."""
        modifier = f"{number_text(self.fixed)}*" if self.fixed is not None else f"{self.label}*" if self.label else ""
        if self.op == "=~" and not modifier:
            modifier = "NA*"
        term = f"{modifier}{self.rhs}"
        if self.op == "=~" and self.label:
            term = f"NA*{self.rhs} + {term}"
        if self.constant:
            term += f" + {self.constant}*{self.rhs}"
        return f"{self.lhs} {self.op} {term}"
